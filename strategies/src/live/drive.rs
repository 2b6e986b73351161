//! What a live bot does next: whatever its goal needs and nothing under way forbids.

use model::{ExitReason, OrderKind, Price, Qty};
use rust_decimal::{Decimal, RoundingStrategy};

use super::order::{LiveOrder, Recall, Role, Terms};
use super::trade::{Closing, LiveTrade};
use super::{ENTRY_RESTS_S, Goal, LiveBot, LiveStep, Mint, Pause, RISE};
use crate::machine::{Action, Event};

/// How much less than its stop a resting stop may sell for, as a fraction of it.
const STOP_SLACK: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

impl LiveBot {
    /// Does what its goal needs and what nothing under way forbids.
    pub(super) fn drive(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if self.is_still {
            return;
        }
        match self.goal {
            Goal::Trade => {
                // One that it was to sell by before it was told to go on.
                self.take_back(|order| order.role == Role::Exit, steps);
                if self.entry_rests_until <= self.clock {
                    self.take_back(LiveOrder::rests_to_buy, steps);
                }
                self.buy_reached(mint, steps);
                self.protect(mint, steps);
            }
            Goal::Release => {
                self.withdraw_entries(steps);
                self.take_back(|_| true, steps);
            }
            Goal::Leave(reason) => self.leave(reason, mint, steps),
        }
    }

    fn leave(&mut self, reason: ExitReason, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.withdraw_entries(steps);
        // What is locked in a resting order cannot be sold by another, and nothing more is to be bought.
        self.take_back(|order| order.role == Role::Protection || order.rests_to_buy(), steps);
        if self.is_selling() {
            return;
        }
        match self.sellable() {
            Some(all) if self.leaving.is_over(self.clock) => {
                // What is more than the venue takes in one order is sold in parts, one after the other.
                let qty = self.machine.market_rules().part(all);
                self.place(Role::Exit, Terms::Market, qty, Some(reason), mint, steps);
            }
            Some(_) => {}
            None if self.is_entering() => {}
            None => {
                if self.holds_most() {
                    self.tell_dust(steps);
                }
                self.finish(reason, steps);
            }
        }
    }

    /// Keeps one order at the venue that sells all at the stop.
    fn protect(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if !self.machine.is_holding() || self.is_exiting() {
            return;
        }
        let level = self.machine.stop_price().filter(|_| self.rules.stop_on_venue);
        let wanted = level.zip(self.sellable().map(|all| self.machine.market_rules().stop_part(all)));
        let resting = self.trade.open_orders().find(|order| order.role == Role::Protection);
        match (resting.map(|order| (order.qty, order.terms)), wanted) {
            (Some((qty, Terms::StopLimit { stop, .. })), Some((level, all))) => {
                if qty != all || self.has_moved(stop, level) {
                    self.take_back(|order| order.role == Role::Protection, steps);
                }
            }
            (Some(_), _) => self.take_back(|order| order.role == Role::Protection, steps),
            (None, Some((stop, qty))) => {
                if !self.is_above(stop) || !self.protecting.is_over(self.clock) {
                    return;
                }
                let least = stop.decimal() * (Decimal::ONE - STOP_SLACK);
                let least = Price::new(least.round_dp_with_strategy(8, RoundingStrategy::ToZero)).ok();
                let limit =
                    least.and_then(|price| price.floor_to_tick(self.machine.market_rules().market.tick_size));
                if let Some(limit) = limit {
                    if !self.machine.market_rules().is_sellable(qty, limit) {
                        self.tell_no_stop(stop, steps);
                        return;
                    }
                    let reason = Some(self.machine.stop_reason(stop));
                    self.place(Role::Protection, Terms::StopLimit { stop, limit }, qty, reason, mint, steps);
                }
            }
            (None, None) => {
                if let Some(stop) = level {
                    self.tell_no_stop(stop, steps);
                }
            }
        }
    }

    /// Buys the next safety order that a price reached while another was to be bought first, if the newest price still
    /// reaches it.
    fn buy_reached(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        let Some(reached) = self.reached.filter(|_| self.may_enter()) else { return };
        self.reached = None;
        let reached = self.last.unwrap_or(reached);
        let reaction = self.machine.next_entry(reached);
        for action in reaction.actions {
            if let Action::Buy { index, qty, price } = action {
                self.reached = Some(reached);
                self.enter(index, qty, price, mint, steps);
            }
        }
        self.meet(reaction.error, steps);
    }

    /// Whether a stop that rests is to be moved to a level: one that trails is taken along in steps.
    fn has_moved(&self, resting: Price, level: Price) -> bool {
        let is_trailing = self.machine.stop_reason(level) == ExitReason::TrailingStop;
        let step = if is_trailing { RISE } else { Decimal::ZERO };
        let has_risen = level > resting && level.decimal() >= resting.decimal() * (Decimal::ONE + step);
        // Where the price is below the level already all is sold next; until then the one that rests guards it.
        level < resting || (has_risen && self.is_above(level))
    }

    fn is_above(&self, stop: Price) -> bool {
        self.last.is_none_or(|last| last > stop)
    }

    pub(super) fn may_enter(&self) -> bool {
        self.entering.is_over(self.clock) && !self.is_entering() && !self.is_exiting()
    }

    pub(super) fn enter(
        &mut self,
        index: u32,
        qty: Qty,
        price: Price,
        mint: &mut impl Mint,
        steps: &mut Vec<LiveStep>,
    ) {
        if index == 0 {
            // What came to nothing before is not part of it.
            self.trade = LiveTrade::default();
        }
        let terms = match self.rules.entries {
            OrderKind::Market => Terms::Market,
            OrderKind::Limit => Terms::Limit(price),
        };
        self.entry_rests_until = self.clock.plus_seconds(ENTRY_RESTS_S);
        self.place(Role::Entry(index), terms, qty, None, mint, steps);
    }

    pub(super) fn place(
        &mut self,
        role: Role,
        terms: Terms,
        qty: Qty,
        reason: Option<ExitReason>,
        mint: &mut impl Mint,
        steps: &mut Vec<LiveStep>,
    ) {
        let order = LiveOrder {
            client_id: self.named(mint(), role, reason),
            role,
            terms,
            qty,
            reason,
            decided: self.last.unwrap_or(Price::MIN),
            at: self.now,
            trigger: self.machine.next_trigger().filter(|_| matches!(role, Role::Entry(1..))),
            executions: Vec::new(),
            executed: Qty::ZERO,
            end: None,
            is_cancel_asked: false,
            recall: Recall::No,
            is_booked: false,
        };
        self.trade.orders.push(order.clone());
        steps.push(LiveStep::Place(order));
    }

    /// Asks, once, for open orders to be taken back.
    fn take_back(&mut self, which: impl Fn(&LiveOrder) -> bool, steps: &mut Vec<LiveStep>) {
        let open = self
            .trade
            .orders
            .iter_mut()
            .filter(|order| order.end.is_none() && order.recall != Recall::Canceled);
        for order in open.filter(|order| which(order)) {
            (order.is_cancel_asked, order.recall) = (true, Recall::Canceled);
            steps.push(LiveStep::Cancel(order.client_id));
        }
    }

    /// Keeps entries that have not left from leaving, asking once: what is on its way out buys nothing more.
    fn withdraw_entries(&mut self, steps: &mut Vec<LiveStep>) {
        let open = self.trade.orders.iter_mut().filter(|order| order.end.is_none() && order.role.is_entry());
        for order in open.filter(|order| order.recall == Recall::No) {
            order.recall = Recall::Withdrawn;
            steps.push(LiveStep::Withdraw(order.client_id));
        }
    }

    /// Ends a trade of which all was sold after it was to leave no more, or by a stop that was being taken back.
    pub(super) fn finish_if_sold(&mut self, steps: &mut Vec<LiveStep>) {
        let reason = self.trade.sold_for().filter(|_| self.machine.is_holding() && !self.is_leaving());
        if let Some(reason) = reason
            && !self.is_selling()
            && !self.is_entering()
            && !self.holds_most()
            && self.sellable().is_none()
        {
            self.finish(reason, steps);
        }
    }

    pub(super) fn finish(&mut self, reason: ExitReason, steps: &mut Vec<LiveStep>) {
        let at = self.trade.sold_at().unwrap_or(self.now);
        for code in ["exit_refused", "stop_refused"] {
            self.resolve(code, "the trade is closed", steps);
        }
        // Counted from the venue's time of the execution: its report may be here before the public trade that it made,
        // and on that one nothing is bought again (contract section 4).
        self.machine.on(&Event::Sold { at });
        self.turn_to(Goal::Trade);
        (self.entering, self.leaving, self.protecting) = (Pause::NONE, Pause::NONE, Pause::NONE);
        self.is_told_of_no_stop = false;
        let mut trade = std::mem::take(&mut self.trade);
        if trade.opened_at().is_some() {
            trade.closing = Some(Closing { reason, at });
            steps.push(LiveStep::Closed(Box::new(trade)));
        }
    }
}
