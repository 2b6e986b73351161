//! Orders of a past that the books have lost: a restored backup does not know what its bots did after it was taken. The
//! venue does, and an order's id tells whose it is and what it was for.

use model::{ClientOrderId, ExitReason, Qty, Side};

use super::order::{LiveOrder, Recall, Report, Role, Terms};
use super::{Goal, LiveBot, LiveStep};

/// The order of exit reasons in an id: appended to, never changed.
const REASONS: [ExitReason; 6] = [
    ExitReason::StopLoss,
    ExitReason::TrailingStop,
    ExitReason::TakeProfit,
    ExitReason::TrailingTakeProfit,
    ExitReason::Manual,
    ExitReason::Signal,
];

/// The last step of a ladder that an id tells apart; the steps beyond it count as added by hand.
const LAST_STEP: u16 = 254;

/// What an order's id says that it is for.
pub(super) fn purpose(role: Role, reason: Option<ExitReason>) -> u16 {
    let place = |reason| REASONS.iter().position(|known| Some(*known) == reason);
    let reason = || place(reason).and_then(|place| u16::try_from(place).ok()).unwrap_or(0xff);
    match role {
        Role::Entry(index) => u16::try_from(index).unwrap_or(u16::MAX).min(LAST_STEP + 1),
        Role::Added => 1 << 8,
        Role::Exit => 2 << 8 | reason(),
        Role::Protection => 3 << 8 | reason(),
    }
}

/// What an order was for, and why it sold.
pub fn purpose_of(id: ClientOrderId) -> Option<(Role, Option<ExitReason>)> {
    let (_, purpose) = id.origin()?;
    let detail = purpose & 0xff;
    let reason = REASONS.get(usize::from(detail)).copied();
    Some(match purpose >> 8 {
        0 if detail <= LAST_STEP => (Role::Entry(detail.into()), None),
        0 | 1 => (Role::Added, None),
        2 => (Role::Exit, reason),
        _ => (Role::Protection, reason),
    })
}

/// An order that the books do not know, as the venue has it now that it is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostOrder {
    /// What it was for.
    pub role: Role,
    /// Why it sold.
    pub reason: Option<ExitReason>,
    /// How it was worked.
    pub terms: Terms,
    /// How much was asked for.
    pub qty: Qty,
    /// How it ended, and all of its executions.
    pub report: Report,
}

impl LiveBot {
    /// What an order is called from here on: its id tells whose it is and what for.
    pub fn named(&self, id: ClientOrderId, role: Role, reason: Option<ExitReason>) -> ClientOrderId {
        match self.rules.origin {
            Some(origin) => id.telling(origin, purpose(role, reason)),
            None => id,
        }
    }

    /// Keeps it from acting on what it is told, or lets it act again.
    pub fn set_still(&mut self, is_still: bool) {
        self.is_still = is_still;
    }

    /// Ends the trade that it is in, if a lost order began the next one: what was left of it was too little to be sold.
    /// Book what comes of it before [`LiveBot::relive`].
    pub fn make_way(&mut self, lost: &LostOrder, steps: &mut Vec<LiveStep>) {
        let begins = lost.role == Role::Entry(0) && !self.knows(lost.report.client_id);
        if begins && self.machine.is_holding() {
            let reason = match self.goal {
                Goal::Leave(reason) => reason,
                Goal::Trade | Goal::Release => self.trade.sold_for().unwrap_or(ExitReason::Manual),
            };
            self.finish(reason, steps);
        }
    }

    /// Takes into its books what a lost order executed, in the order of time, without acting on it; whether that is the
    /// bot's. What is sold without anything held is not.
    pub fn relive(&mut self, lost: &LostOrder, steps: &mut Vec<LiveStep>) -> bool {
        let (id, is_buy) = (lost.report.client_id, lost.role.side() == Side::Buy);
        let Some(newest) = lost.report.executions.last() else { return true };
        let (at, price) = (newest.at, newest.price);
        if self.knows(id) {
            return true;
        }
        if !is_buy && !self.machine.is_holding() {
            return false;
        }
        if is_buy && !self.machine.is_holding() {
            self.trade.orders.retain(|order| order.end.is_none());
        }
        self.now = self.now.max(at);
        let mut order = LiveOrder {
            client_id: id,
            role: lost.role,
            terms: lost.terms,
            qty: lost.qty,
            reason: lost.reason,
            decided: price,
            at,
            trigger: None,
            executions: Vec::new(),
            executed: Qty::ZERO,
            end: None,
            is_cancel_asked: true,
            recall: Recall::Canceled,
            is_booked: true,
        };
        order.hear(&lost.report);
        self.trade.orders.push(order);
        let place = self.trade.orders.len() - 1;
        if is_buy {
            // It asked for it then.
            self.machine.await_entry();
        } else if lost.role == Role::Protection {
            self.stopped_at_venue(place, steps);
        }
        self.book(place, steps);
        self.last = Some(price);
        self.conclude(steps);
        true
    }

    /// Ends a trade of which lost orders sold all.
    fn conclude(&mut self, steps: &mut Vec<LiveStep>) {
        self.finish_if_sold(steps);
        if let Goal::Leave(reason) = self.goal
            && self.machine.is_holding()
            && self.is_quiet()
            && self.sellable().is_none()
        {
            self.finish(reason, steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_reads_as_it_is_written() {
        let origin = model::OrderOrigin::new("store", model::BotId::new());
        let read =
            |role, reason| purpose_of(ClientOrderId::new().telling(origin, purpose(role, reason))).unwrap();
        for index in [0, 1, 254] {
            assert_eq!(read(Role::Entry(index), None), (Role::Entry(index), None));
        }
        assert_eq!(read(Role::Entry(300), None), (Role::Added, None));
        assert_eq!(read(Role::Added, None), (Role::Added, None));
        for role in [Role::Exit, Role::Protection] {
            assert_eq!(read(role, None), (role, None));
            for reason in REASONS {
                assert_eq!(read(role, Some(reason)), (role, Some(reason)));
            }
        }
        assert_eq!(purpose_of(ClientOrderId::new()), None);
    }
}
