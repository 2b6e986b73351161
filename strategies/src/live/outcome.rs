//! What the end of an order means for its bot.

use model::{ClientOrderId, ExitReason, Price, Qty};
use rust_decimal::Decimal;

use super::order::{End, LiveOrder, Role, Terms};
use super::pause::{Backoff, Pause};
use super::{Goal, LiveBot, LiveStep, trade};
use crate::error::StrategyError;
use crate::machine::Event;

/// Refusals in a row after which a bot that holds nothing gives up, where waiting mends nothing.
const MOST_REFUSALS: u32 = 3;

/// Words of refusals that may pass by themselves: they are about the account's state and the market's, not about the
/// order (the venue's `errors.md`, "Messages for -1010, -2010 and -2011").
const MAY_PASS: [&str; 5] = [
    "insufficient balance",
    "disabled on this account",
    "may not place or cancel orders",
    "market is closed",
    "maintenance",
];

/// What is over once it buys.
const ENTRY_TROUBLES: [&str; 4] =
    ["entry_refused", "stake_below_minimum", "stake_above_maximum", "amount_out_of_range"];

fn may_pass(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    MAY_PASS.iter().any(|passing| words.contains(passing))
}

impl LiveBot {
    /// An order is settled.
    pub(super) fn book(&mut self, place: usize, steps: &mut Vec<LiveStep>) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let (role, id) = (order.role, order.client_id);
        // Neither what we took back ourselves nor what the venue never had was cancelled there by somebody else.
        let is_our_doing = order.is_cancel_asked || order.end == Some(End::NeverArrived);
        let has_filled = !order.told().is_zero();
        // Withdrawn before it left: its step waits for its trigger again, and at first no longer.
        let is_withdrawn = order.end == Some(End::Canceled);
        let refused = match &order.end {
            Some(End::Rejected(words)) => Some(words.clone()),
            _ => None,
        };
        match role {
            Role::Entry(index) if has_filled => {
                self.entering = Pause::NONE;
                self.bought(place);
                steps.push(if index == 0 { LiveStep::Opened } else { LiveStep::Filled(id) });
                for code in ENTRY_TROUBLES {
                    self.resolve(code, "the bot buys again", steps);
                }
            }
            Role::Entry(_) => self.not_bought(refused, is_withdrawn, steps),
            Role::Added if has_filled => {
                self.bought(place);
                steps.push(LiveStep::Filled(id));
            }
            Role::Added => self.not_added(refused.as_deref(), steps),
            Role::Exit if has_filled => {
                self.leaving = Pause::NONE;
                self.resolve("exit_refused", "the venue sells again", steps);
                self.sold(id, steps);
            }
            Role::Exit => self.not_sold(refused.as_deref(), steps),
            Role::Protection if has_filled => self.sold(id, steps),
            Role::Protection => self.not_protected(refused, is_our_doing, steps),
        }
        self.forget_empty(steps);
    }

    /// Something was sold: a part, where there is more to sell. What leaves nothing but dust ends the trade, if not at once
    /// then when what is under way has ended, and is reported as that alone.
    fn sold(&self, id: ClientOrderId, steps: &mut Vec<LiveStep>) {
        if self.holds_most() || self.sellable().is_some() {
            steps.push(LiveStep::Filled(id));
        }
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

    fn not_bought(&mut self, refused: Option<Box<str>>, is_withdrawn: bool, steps: &mut Vec<LiveStep>) {
        self.machine.on(&Event::NotBought);
        self.reached = None;
        let Some(words) = refused else {
            self.entering = if is_withdrawn {
                self.entering.after_loss(Backoff::EMPTY_ENTRY, self.clock)
            } else {
                self.entering.after_nothing(Backoff::EMPTY_ENTRY, self.clock)
            };
            return;
        };
        self.entering = self.entering.after_refusal(Backoff::REFUSED_ENTRY, self.clock);
        if may_pass(&words) {
            let message = || format!("the venue refused to buy: {words}; it is tried again until it passes");
            return self.report_trouble("entry_refused", &words, message, steps);
        }
        let message = format!("the venue refused to buy: {words}");
        self.tell_trouble("entry_refused", &words, message, steps);
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
            self.leaving = self.leaving.after_nothing(Backoff::EXIT, self.clock);
            return;
        };
        self.leaving = self.leaving.after_refusal(Backoff::EXIT, self.clock);
        if self.is_leaving() {
            let message = || {
                format!(
                    "the venue refused to sell: {words}; it is tried again every few seconds, and once coins become free"
                )
            };
            self.report_trouble("exit_refused", words, message, steps);
        }
    }

    fn not_protected(&mut self, refused: Option<Box<str>>, is_our_doing: bool, steps: &mut Vec<LiveStep>) {
        if let Some(words) = refused {
            self.protecting = self.protecting.after_refusal(Backoff::STOP, self.clock);
            let message =
                || format!("the stop cannot rest at the venue ({words}); the engine's own stop watches");
            self.report_trouble("stop_refused", &words, message, steps);
        } else if is_our_doing || self.is_still {
            self.protecting = Pause::NONE;
        } else if self.goal == Goal::Trade {
            self.protecting = self.protecting.after_loss(Backoff::STOP, self.clock);
            if self.protecting.is_first() {
                let message = "the stop was cancelled at the venue; it is placed again".to_owned();
                steps.push(LiveStep::Told { code: "stop_canceled", message });
            }
        }
    }

    /// The venue has said something of an order: what that ends is reported.
    pub(super) fn note_answer(
        &mut self,
        id: ClientOrderId,
        role: Role,
        is_open: bool,
        steps: &mut Vec<LiveStep>,
    ) {
        if role == Role::Protection && is_open {
            self.resolve("stop_refused", "the stop rests at the venue", steps);
        }
        if self.troubles.has("order_unknown") {
            let message = "it is known what became of the order";
            self.resolve_cause("order_unknown", &id.to_string(), message, steps);
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
    pub(super) fn meet(&mut self, trouble: Option<StrategyError>, steps: &mut Vec<LiveStep>) {
        if let Some(trouble) = trouble {
            self.entering = self.entering.after_refusal(Backoff::REFUSED_ENTRY, self.clock);
            self.tell_trouble(trouble.code(), trouble.code(), trouble.to_string(), steps);
        }
    }

    /// Tells of what keeps it from buying; a bot that holds nothing gives up after a few times.
    fn tell_trouble(&mut self, code: &'static str, cause: &str, message: String, steps: &mut Vec<LiveStep>) {
        if self.entering.refusals >= MOST_REFUSALS && !self.machine.is_holding() {
            steps.push(LiveStep::GaveUp { code, message });
        } else {
            self.report_trouble(code, cause, || message, steps);
        }
    }

    /// Tells that most of a trade is left as dust.
    pub(super) fn tell_dust(&self, steps: &mut Vec<LiveStep>) {
        let market = &self.machine.market_rules().market;
        let least = market.bounds.min_qty.max(market.lot_step);
        let minimum = if self.held() < least {
            format!("fewer than the venue's minimum of {least}")
        } else {
            format!("worth less than the venue's minimum of {}", market.min_notional)
        };
        let message = format!(
            "{} {} of the trade are {minimum}: they cannot be sold, and stay on the account as dust that has its cost",
            self.held(),
            self.rules.pair.base(),
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
            self.machine.market_rules().market.min_notional
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
