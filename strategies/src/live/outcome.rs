//! What the end of an order means for its bot.

use model::{ExitReason, Price, Qty};
use rust_decimal::Decimal;

use super::order::{End, LiveOrder, Role, Terms};
use super::{Goal, LiveBot, LiveStep, Pause, trade};
use crate::dca::Event;
use crate::paper::Trouble;

/// Refusals in a row after which a bot that holds nothing gives up, where waiting mends nothing.
const MOST_REFUSALS: u32 = 3;

/// The longest wait before it is tried again to buy what the venue refused for what may pass.
const LONGEST_ENTRY_PAUSE_S: u64 = 5 * 60;

/// Words of refusals that may pass by themselves: they are about the account's state and the market's, not about the
/// order (the venue's `errors.md`, "Messages for -1010, -2010 and -2011").
const MAY_PASS: [&str; 5] = [
    "insufficient balance",
    "disabled on this account",
    "may not place or cancel orders",
    "market is closed",
    "maintenance",
];

fn may_pass(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    MAY_PASS.iter().any(|passing| words.contains(passing))
}

impl LiveBot {
    /// An order is settled.
    pub(super) fn book(&mut self, place: usize, steps: &mut Vec<LiveStep>) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let role = order.role;
        // Neither what we took back ourselves nor what the venue never had was cancelled there by somebody else.
        let is_our_doing = order.is_cancel_asked || order.end == Some(End::NeverArrived);
        let has_filled = !order.told().is_zero();
        let refused = match &order.end {
            Some(End::Rejected(words)) => Some(words.clone()),
            _ => None,
        };
        match role {
            Role::Entry(index) if has_filled => {
                self.entering = Pause::NONE;
                self.bought(place);
                if index == 0 {
                    steps.push(LiveStep::Opened);
                }
            }
            Role::Entry(_) => self.not_bought(refused, steps),
            Role::Added if has_filled => self.bought(place),
            Role::Added => self.not_added(refused.as_deref(), steps),
            Role::Exit if has_filled => self.leaving = Pause::NONE,
            Role::Exit => self.not_sold(refused.as_deref(), steps),
            Role::Protection if has_filled => {}
            Role::Protection => self.not_protected(refused, is_our_doing, steps),
        }
        self.forget_empty(steps);
    }

    fn bought(&mut self, place: usize) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let notional = order.executions.iter().map(|e| trade::spent(e, &self.rules.pair)).sum();
        let received: Decimal = order.executions.iter().map(|e| e.received(&self.rules.pair)).sum();
        let price = order.average_price().unwrap_or(order.decided);
        let qty = Qty::new(received).unwrap_or_default();
        let event = match order.role {
            Role::Added => Event::Added { price, notional, qty },
            _ => Event::Bought { price, notional, qty },
        };
        self.machine.on(&event);
        self.last = self.last.or(Some(price));
    }

    fn not_bought(&mut self, refused: Option<Box<str>>, steps: &mut Vec<LiveStep>) {
        self.machine.on(&Event::NotBought);
        self.reached = None;
        let Some(words) = refused else {
            // The book gave nothing at the price: the next tick may.
            self.entering = Pause { until: self.now.plus_seconds(1), ..self.entering };
            return;
        };
        self.entering = self.entering.after_refusal(self.now);
        if !may_pass(&words) {
            let message = format!("the venue refused to buy: {words}");
            return self.tell_trouble("entry_refused", message, steps);
        }
        let longest = self.now.plus_seconds(LONGEST_ENTRY_PAUSE_S);
        self.entering.until = self.entering.until.min(longest);
        if self.entering.refusals == 1 {
            let message = format!("the venue refused to buy: {words}; it is tried again until it passes");
            steps.push(LiveStep::Told { code: "entry_refused", message });
        }
    }

    fn not_added(&mut self, refused: Option<&str>, steps: &mut Vec<LiveStep>) {
        self.machine.on(&Event::NotBought);
        let why = refused.unwrap_or("the book gave nothing, or the order never arrived");
        let message = format!("nothing was added to the trade: {why}");
        steps.push(LiveStep::Told { code: "add_refused", message });
    }

    fn not_sold(&mut self, refused: Option<&str>, steps: &mut Vec<LiveStep>) {
        let Some(words) = refused else {
            // The book gave nothing, or it never arrived.
            self.leaving = Pause { until: self.now.plus_seconds(1), ..self.leaving };
            return;
        };
        self.leaving = self.leaving.after_refused_exit(self.now);
        if self.is_leaving() && self.leaving.is_to_be_told() {
            let times = match self.leaving.refusals {
                1 => String::new(),
                times => format!(" {times} times"),
            };
            let message = format!(
                "the venue refused to sell{times}: {words}; it is tried again every few seconds, and once coins \
                 become free"
            );
            steps.push(LiveStep::Told { code: "exit_refused", message });
        }
    }

    fn not_protected(&mut self, refused: Option<Box<str>>, is_our_doing: bool, steps: &mut Vec<LiveStep>) {
        if let Some(words) = refused {
            self.protecting = self.protecting.after_refusal(self.now);
            let message =
                format!("the stop cannot rest at the venue ({words}); the engine's own stop watches");
            steps.push(LiveStep::Told { code: "stop_refused", message });
        } else if is_our_doing {
            self.protecting = Pause::NONE;
        } else if self.goal == Goal::Trade {
            let message = "the stop was cancelled at the venue; it is placed again".to_owned();
            steps.push(LiveStep::Told { code: "stop_canceled", message });
        }
    }

    /// The stop that rests at the venue has begun to fill.
    pub(super) fn stopped_at_venue(&mut self, place: usize, steps: &mut Vec<LiveStep>) {
        let Some(order) = self.trade.orders.get_mut(place) else { return };
        let Terms::StopLimit { stop, .. } = order.terms else { return };
        let (price, at) = order.executions.last().map_or((stop, self.now), |e| (e.price, e.at));
        let reason = *order.reason.get_or_insert_with(|| self.machine.stop_reason(stop));
        self.last = Some(price);
        match self.goal {
            // Its own stop has told of it already.
            Goal::Leave(ExitReason::StopLoss | ExitReason::TrailingStop) => return,
            Goal::Leave(_) | Goal::Trade => self.turn_to(Goal::Leave(reason)),
            // What is left of it is kept.
            Goal::Release => {}
        }
        if reason == ExitReason::StopLoss {
            steps.push(LiveStep::StopHit { stop, price, at });
        }
    }

    /// An order that was thought settled has filled by more.
    pub(super) fn correct(&mut self, place: usize, steps: &mut Vec<LiveStep>) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let message = format!("more of order {} filled than the venue had told", order.client_id);
        steps.push(LiveStep::Told { code: "fill_late", message });
        if order.role.is_entry() {
            let pair = &self.rules.pair;
            let (stake, received) = (self.trade.stake(pair), self.trade.received(pair));
            let was_holding = self.machine.is_holding();
            let price = order.average_price().unwrap_or(order.decided);
            self.machine.on(&Event::Recounted { price, notional: stake.decimal(), qty: received });
            if !was_holding {
                steps.push(LiveStep::Opened);
            }
        }
    }

    /// Waits after what keeps its machine from buying, and tells of it.
    pub(super) fn meet(&mut self, trouble: Option<Trouble>, steps: &mut Vec<LiveStep>) {
        if let Some(trouble) = trouble {
            self.entering = self.entering.after_refusal(self.now);
            self.tell_trouble(trouble.code(), trouble.to_string(), steps);
        }
    }

    /// Tells of what keeps it from buying; a bot that holds nothing gives up after a few times.
    pub(super) fn tell_trouble(&mut self, code: &'static str, message: String, steps: &mut Vec<LiveStep>) {
        let gives_up = self.entering.refusals >= MOST_REFUSALS && !self.machine.is_holding();
        let told =
            if gives_up { LiveStep::GaveUp { code, message } } else { LiveStep::Told { code, message } };
        steps.push(told);
    }

    /// Tells that most of a trade is left as dust.
    pub(super) fn tell_dust(&self, steps: &mut Vec<LiveStep>) {
        let message = format!(
            "{} {} of the trade are worth less than the venue's minimum of {}: they cannot be sold, and stay on the \
             account as dust that has its cost",
            self.held(),
            self.rules.pair.base(),
            self.machine.plan().market.min_notional
        );
        steps.push(LiveStep::Told { code: "below_minimum", message });
    }

    /// Tells, once a trade, that its stop is too small to rest at the venue.
    pub(super) fn tell_no_stop(&mut self, stop: Price, steps: &mut Vec<LiveStep>) {
        if std::mem::replace(&mut self.is_told_of_no_stop, true) {
            return;
        }
        let message = format!(
            "at its stop of {stop} the trade is too small for the venue's minimum of {}: no stop rests at the venue, and \
             there the trade could not be sold",
            self.machine.plan().market.min_notional
        );
        steps.push(LiveStep::Told { code: "below_minimum", message });
    }

    /// Lets go of orders that came to nothing. One that is taken never to have arrived stays, in case it had.
    fn forget_empty(&mut self, steps: &mut Vec<LiveStep>) {
        let is_empty = |order: &LiveOrder| {
            order.is_booked && order.told().is_zero() && order.end != Some(End::NeverArrived)
        };
        steps.extend(self.trade.orders.extract_if(.., |order| is_empty(order)).map(LiveStep::Ended));
    }
}
