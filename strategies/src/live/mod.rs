//! A bot on a real account: the machine, the orders it has at the venue, and its trade's books.
//!
//! Pure like the machine itself: it is told of prices and of what the venue reports, and answers with what to do,
//! in an order that is safe to carry out one by one. An order that it asks for is journaled before it leaves. What
//! became of it is known, refused or unknown; while it is unknown nothing is sent in its place.
//!
//! Three things follow from that, whatever happens in between:
//! - one entry at a time, and one order that sells: what is sold was bought and is not being sold already;
//! - reports may come in any order and any number of times: the books are the same;
//! - what is held is guarded: by an order that rests at the venue, and by the machine's own stop.

mod order;
mod trade;

use std::borrow::Cow;
use std::sync::Arc;

use model::{ClientOrderId, ExitReason, Mark, OrderKind, Pair, Price, PriceMove, Qty, Timestamp, Watch};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize, Serializer};

pub use order::{End, Execution, LiveOrder, Report, Role, Terms};
pub use trade::{Closing, LiveTrade};

use crate::dca::{Action, Dca, Event, Phase};
use crate::paper::RestoreError;
use crate::plan::Plan;

/// How much less than its stop a resting stop may sell for, as a fraction of it.
const STOP_SLACK: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

/// A resting stop that trails is moved once it would rise by this fraction.
const RISE: Decimal = Decimal::from_parts(1, 0, 0, false, 3);

/// How long a bot waits after a refusal, doubled from one to the next.
const FIRST_PAUSE_S: u64 = 2;
const LONGEST_PAUSE_S: u64 = 3_600;

/// Refusals in a row after which a bot that holds nothing gives up.
const MOST_REFUSALS: u32 = 3;

/// What a live bot needs to know beside its plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveRules {
    /// What it trades.
    pub pair: Pair,
    /// Whether its stop also rests at the venue.
    pub stop_on_venue: bool,
    /// How its entries are worked.
    pub entries: OrderKind,
}

/// What is to be done, or what happened, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LiveStep {
    /// Journal this order, then send it.
    Place(LiveOrder),
    /// Take this order back.
    Cancel(ClientOrderId),
    /// Ask the venue for this order and its executions.
    Ask(ClientOrderId),
    /// This order came to nothing, and is not kept any more.
    Ended(LiveOrder),
    /// The base order filled: the trade has begun.
    Opened,
    /// The stop loss was reached, by the price or at the venue.
    StopHit {
        /// Where the stop stood.
        stop: Price,
        /// The price that reached it.
        price: Price,
        /// When.
        at: Timestamp,
    },
    /// The trade is flat; its books are complete.
    Closed(Box<LiveTrade>),
    /// Its owner must know of something; the bot goes on.
    Told {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence.
        message: String,
    },
    /// It cannot go on, and holds nothing.
    GaveUp {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence.
        message: String,
    },
}

/// What it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Goal {
    /// It trades.
    #[default]
    Trade,
    /// It sells what it holds.
    Leave(ExitReason),
    /// It takes its orders back and keeps what it holds.
    Release,
}

/// Refusals in a row, and until when nothing of the kind is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Pause {
    refusals: u32,
    until: Timestamp,
}

impl Pause {
    const NONE: Self = Self { refusals: 0, until: Timestamp::MIN };

    fn after_refusal(self, now: Timestamp) -> Self {
        let seconds = (FIRST_PAUSE_S << self.refusals.min(16)).min(LONGEST_PAUSE_S);
        Self { refusals: self.refusals + 1, until: now.plus_seconds(seconds) }
    }
}

/// A bot on a real account. What is serialised is what a restart needs.
#[derive(Clone, Debug)]
pub struct LiveBot {
    machine: Dca,
    rules: LiveRules,
    trade: LiveTrade,
    goal: Goal,
    /// The market's last price and time that it was told of.
    last: Option<Price>,
    now: Timestamp,
    entering: Pause,
    leaving: Pause,
    protecting: Pause,
}

/// A [`LiveBot`] as it is serialised.
#[derive(Serialize, Deserialize)]
struct State<'a> {
    phase: Cow<'a, Phase>,
    trade: Cow<'a, LiveTrade>,
    goal: Goal,
    last: Option<Price>,
    now: Timestamp,
    entering: Pause,
    leaving: Pause,
    protecting: Pause,
}

impl Serialize for LiveBot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = State {
            phase: Cow::Borrowed(self.machine.phase()),
            trade: Cow::Borrowed(&self.trade),
            goal: self.goal,
            last: self.last,
            now: self.now,
            entering: self.entering,
            leaving: self.leaving,
            protecting: self.protecting,
        };
        state.serialize(serializer)
    }
}

/// Mints what an order is called; a fresh one each time, never used before.
pub trait Mint: FnMut() -> ClientOrderId {}
impl<F: FnMut() -> ClientOrderId> Mint for F {}

impl LiveBot {
    /// A bot that holds nothing yet.
    pub fn new(plan: Arc<Plan>, rules: LiveRules) -> Self {
        Self {
            machine: Dca::new(plan),
            rules,
            trade: LiveTrade::default(),
            goal: Goal::Trade,
            last: None,
            now: Timestamp::MIN,
            entering: Pause::NONE,
            leaving: Pause::NONE,
            protecting: Pause::NONE,
        }
    }

    /// Goes on from where it was serialised. Report what the venue says of every order of
    /// [`LiveBot::open_orders`], then call [`LiveBot::take_up`].
    ///
    /// # Errors
    /// [`RestoreError::State`].
    pub fn restore(plan: Arc<Plan>, rules: LiveRules, state: &str) -> Result<Self, RestoreError> {
        let state: State<'_> = serde_json::from_str(state)?;
        let mut trade = state.trade.into_owned();
        // Whether the venue heard of a request to cancel is not known: it is asked again.
        for order in &mut trade.orders {
            order.is_cancel_asked &= order.end.is_some();
        }
        let awaiting = trade.open_orders().filter(|order| matches!(order.role, Role::Entry(_))).count();
        let machine = Dca::restore(plan, state.phase.into_owned())
            .amid(u32::try_from(awaiting).unwrap_or(u32::MAX), matches!(state.goal, Goal::Leave(_)));
        Ok(Self {
            machine,
            rules,
            trade,
            goal: state.goal,
            last: state.last,
            now: state.now,
            entering: state.entering,
            leaving: state.leaving,
            protecting: state.protecting,
        })
    }

    /// The same bot under other rules, whose levels count from now on.
    #[must_use]
    pub fn replanned(self, plan: Arc<Plan>, rules: LiveRules) -> Self {
        let awaiting = u32::from(self.is_entering());
        let machine = Dca::restore(plan, self.machine.phase().clone()).amid(awaiting, self.is_leaving());
        Self { machine, rules, ..self }
    }

    /// Tells it of a move of the price.
    pub fn on_move(&mut self, moved: &PriceMove, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.now = self.now.max(moved.at);
        self.last = Some(moved.price);
        if self.goal == Goal::Trade {
            let reaction = self.machine.on(&Event::Price(*moved));
            for action in reaction.actions {
                match action {
                    Action::Buy { index, qty, price } if self.may_enter() => {
                        self.enter(index, qty, price, mint, steps);
                    }
                    Action::Buy { .. } => drop(self.machine.on(&Event::NotBought)),
                    Action::Sell { reason, price, stop } => {
                        if let (Some(stop), ExitReason::StopLoss) = (stop, reason) {
                            steps.push(LiveStep::StopHit { stop, price, at: moved.at });
                        }
                        self.goal = Goal::Leave(reason);
                    }
                }
            }
            if let Some(trouble) = reaction.trouble {
                self.entering = self.entering.after_refusal(self.now);
                self.tell_trouble(trouble.code(), trouble.to_string(), steps);
            }
        }
        self.drive(mint, steps);
    }

    /// Tells it what the venue knows of an order; whether that is one of its trade's.
    pub fn on_report(&mut self, report: &Report, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) -> bool {
        let Some(place) = self.trade.orders.iter().position(|order| order.client_id == report.client_id)
        else {
            return false;
        };
        let Some(order) = self.trade.orders.get_mut(place) else { return false };
        let was_booked = order.is_booked;
        let heard = order.hear(report);
        if heard.has_new_executions && order.role == Role::Protection && self.goal == Goal::Trade {
            self.stopped_at_venue(place, steps);
        }
        let Some(order) = self.trade.orders.get_mut(place) else { return true };
        if order.end.is_some() && order.lacks_executions() && heard.has_ended {
            steps.push(LiveStep::Ask(order.client_id));
        }
        if was_booked && heard.has_new_executions {
            self.correct(place, steps);
        } else if !was_booked && order.is_settled() {
            order.is_booked = true;
            self.book(place, steps);
        }
        self.drive(mint, steps);
        true
    }

    /// After a crash: a mark that it slept through counts into what trails.
    pub fn recall(&mut self, mark: &Mark) {
        let filled = self.trade.orders.iter().filter(|order| !order.executions.is_empty());
        let entered = filled.filter(|order| matches!(order.role, Role::Entry(_))).map(|order| order.at).max();
        if let Some(entered) = entered {
            self.machine.recall(mark, entered);
        }
    }

    /// After a pause in which it was not to watch: takes no price before this time for one that it slept through.
    pub fn count_from(&mut self, at: Timestamp) {
        self.machine.count_from(at);
    }

    /// Goes on where it was.
    pub fn take_up(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.drive(mint, steps);
    }

    /// Its owner wants everything sold.
    pub fn close(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if !matches!(self.goal, Goal::Leave(_)) {
            self.goal = Goal::Leave(ExitReason::Manual);
            self.leaving = Pause::NONE;
        }
        self.drive(mint, steps);
    }

    /// Its owner wants it to take its orders back and keep what it holds: done once [`LiveBot::is_quiet`].
    pub fn release(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if self.goal == Goal::Trade {
            self.goal = Goal::Release;
        }
        self.drive(mint, steps);
    }

    /// Its owner wants it to go on.
    pub fn resume(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if self.goal == Goal::Release {
            self.goal = Goal::Trade;
        }
        (self.entering, self.protecting) = (Pause::NONE, Pause::NONE);
        self.drive(mint, steps);
    }

    /// Tells it that this much of what it holds is not on the account any more: sold or moved by its owner's hand.
    pub fn on_missing(&mut self, gone: Qty, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        let held = self.trade.held(&self.rules.pair);
        let gone = gone.min(held);
        if gone.is_zero() {
            return;
        }
        self.trade.missing += gone;
        let base = self.rules.pair.base();
        let message = format!(
            "{gone} {base} of the trade are not on the account any more; the bot sells no others for them"
        );
        steps.push(LiveStep::Told { code: "coins_missing", message });
        if self.sellable().is_none() && self.goal == Goal::Trade {
            self.goal = Goal::Leave(ExitReason::Manual);
        }
        self.drive(mint, steps);
    }

    /// What it sleeps on.
    pub fn watch(&self) -> Watch {
        match self.goal {
            Goal::Release => Watch::NEVER,
            // An order under way is reported on; else it waits to try again.
            Goal::Leave(_) if self.is_selling() || self.is_entering() => Watch::NEVER,
            Goal::Leave(_) => Watch { at: Some(self.leaving.until), ..Watch::NEVER },
            Goal::Trade => self.trading_watch(),
        }
    }

    fn trading_watch(&self) -> Watch {
        let is_paused = self.entering.until > self.now;
        let mut watch = if is_paused && !self.is_entering() {
            let out = self.machine.way_out();
            Watch { at: Some(self.entering.until), ..out }
        } else {
            self.machine.watch()
        };
        if self.machine.is_holding() && self.rules.stop_on_venue {
            if self.protecting.until > self.now {
                watch.at = Some(watch.at.map_or(self.protecting.until, |at| at.min(self.protecting.until)));
            }
            // What trails wakes nobody as it rises: the resting stop is taken along in steps.
            if let (Some(trail), Some(stop)) = (watch.trail, self.resting_stop()) {
                let keep = Decimal::ONE - trail.distance.decimal();
                let next = (stop.decimal() * (Decimal::ONE + RISE)).checked_div(keep).unwrap_or_default();
                let next =
                    Price::new(next.round_dp_with_strategy(8, RoundingStrategy::ToPositiveInfinity)).ok();
                watch.above = watch.above.into_iter().chain(next.map(|next| next.max(trail.high))).min();
            }
        }
        watch
    }

    /// Orders whose end is not known yet.
    pub fn open_orders(&self) -> impl Iterator<Item = &LiveOrder> {
        self.trade.open_orders()
    }

    /// Whether nothing of it is under way at the venue.
    pub fn is_quiet(&self) -> bool {
        self.open_orders().next().is_none()
    }

    /// Whether it is on its way out of its trade.
    pub fn is_leaving(&self) -> bool {
        matches!(self.goal, Goal::Leave(_))
    }

    /// How much of the base coin it holds.
    pub fn held(&self) -> Qty {
        self.trade.held(&self.rules.pair)
    }

    /// The trade that it is in, or the orders that may become one.
    pub fn trade(&self) -> &LiveTrade {
        &self.trade
    }

    /// The machine: its levels and whether it holds.
    pub fn machine(&self) -> &Dca {
        &self.machine
    }

    // What it does next

    /// Does what its goal needs and what nothing under way forbids.
    fn drive(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        match self.goal {
            Goal::Trade => self.protect(mint, steps),
            Goal::Release => self.take_back(|order| order.role != Role::Exit, steps),
            Goal::Leave(reason) => self.leave(reason, mint, steps),
        }
    }

    fn leave(&mut self, reason: ExitReason, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.machine.leave();
        // What is locked in a resting order cannot be sold by another.
        self.take_back(|order| order.role == Role::Protection, steps);
        if self.is_selling() {
            return;
        }
        match self.sellable() {
            Some(qty) if self.leaving.until <= self.now => {
                self.place(Role::Exit, Terms::Market, qty, mint, steps);
            }
            Some(_) => {}
            None if self.is_entering() => {}
            None => self.finish(reason, steps),
        }
    }

    /// Keeps one order at the venue that sells all at the stop.
    fn protect(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if !self.rules.stop_on_venue || !self.machine.is_holding() {
            return;
        }
        let wanted = self.machine.stop_price().zip(self.sellable());
        let resting = self.trade.open_orders().find(|order| order.role == Role::Protection);
        match (resting.map(|order| (order.qty, order.terms)), wanted) {
            (Some((qty, Terms::StopLimit { stop, .. })), Some((level, all))) => {
                let has_risen = level.decimal() >= stop.decimal() * (Decimal::ONE + RISE);
                if qty != all || level < stop || has_risen {
                    self.take_back(|order| order.role == Role::Protection, steps);
                }
            }
            (Some(_), _) => self.take_back(|order| order.role == Role::Protection, steps),
            (None, Some((stop, qty))) => {
                let is_above = self.last.is_none_or(|last| last > stop);
                if !is_above || self.protecting.until > self.now {
                    return;
                }
                let least = stop.decimal() * (Decimal::ONE - STOP_SLACK);
                let least = Price::new(least.round_dp_with_strategy(8, RoundingStrategy::ToZero)).ok();
                let limit = least.and_then(|price| price.floor_to_tick(self.machine.plan().market.tick_size));
                if let Some(limit) = limit {
                    self.place(Role::Protection, Terms::StopLimit { stop, limit }, qty, mint, steps);
                }
            }
            (None, None) => {}
        }
    }

    fn may_enter(&self) -> bool {
        self.entering.until <= self.now && !self.is_entering()
    }

    fn enter(&mut self, index: u32, qty: Qty, price: Price, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if index == 0 {
            // What came to nothing before is not part of it.
            self.trade = LiveTrade::default();
        }
        let terms = match self.rules.entries {
            OrderKind::Market => Terms::Market,
            OrderKind::Limit => Terms::Limit(price),
        };
        self.place(Role::Entry(index), terms, qty, mint, steps);
    }

    fn place(&mut self, role: Role, terms: Terms, qty: Qty, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        let order = LiveOrder {
            client_id: mint(),
            role,
            terms,
            qty,
            decided: self.last.unwrap_or(Price::MIN),
            at: self.now,
            executions: Vec::new(),
            executed: Qty::ZERO,
            end: None,
            is_cancel_asked: false,
            is_booked: false,
        };
        self.trade.orders.push(order.clone());
        steps.push(LiveStep::Place(order));
    }

    /// Asks, once, for open orders to be taken back.
    fn take_back(&mut self, which: impl Fn(&LiveOrder) -> bool, steps: &mut Vec<LiveStep>) {
        let open = self.trade.orders.iter_mut().filter(|order| order.end.is_none() && !order.is_cancel_asked);
        for order in open.filter(|order| which(order)) {
            order.is_cancel_asked = true;
            steps.push(LiveStep::Cancel(order.client_id));
        }
    }

    fn finish(&mut self, reason: ExitReason, steps: &mut Vec<LiveStep>) {
        let at = self.trade.sold_at().unwrap_or(self.now);
        self.machine.on(&Event::Sold { at: self.now });
        self.goal = Goal::Trade;
        (self.entering, self.leaving, self.protecting) = (Pause::NONE, Pause::NONE, Pause::NONE);
        let mut trade = std::mem::take(&mut self.trade);
        if trade.opened_at().is_some() {
            trade.closing = Some(Closing { reason, at });
            steps.push(LiveStep::Closed(Box::new(trade)));
        }
    }

    // What an order's end means

    /// An order is settled.
    fn book(&mut self, place: usize, steps: &mut Vec<LiveStep>) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let (role, is_cancel_asked) = (order.role, order.is_cancel_asked);
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
            Role::Exit if has_filled => self.leaving = Pause::NONE,
            Role::Exit => {
                self.leaving = self.leaving.after_refusal(self.now);
                if let Some(words) = refused {
                    let message = format!("the venue refused to sell: {words}; it is tried again");
                    steps.push(LiveStep::Told { code: "exit_refused", message });
                }
            }
            Role::Protection if has_filled => {}
            Role::Protection => self.not_protected(refused, is_cancel_asked, steps),
        }
        self.forget_empty(steps);
    }

    fn bought(&mut self, place: usize) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let notional = order.executions.iter().map(|e| trade::spent(e, &self.rules.pair)).sum();
        let received: Decimal = order.executions.iter().map(|e| trade::gained(e, &self.rules.pair)).sum();
        let price = order.average_price().unwrap_or(order.decided);
        let qty = Qty::new(received).unwrap_or_default();
        self.machine.on(&Event::Bought { price, notional, qty });
        self.last = self.last.or(Some(price));
    }

    fn not_bought(&mut self, refused: Option<Box<str>>, steps: &mut Vec<LiveStep>) {
        self.machine.on(&Event::NotBought);
        let Some(words) = refused else {
            // The book gave nothing at the price: the next tick may.
            self.entering = Pause { until: self.now.plus_seconds(1), ..self.entering };
            return;
        };
        self.entering = self.entering.after_refusal(self.now);
        let message = format!("the venue refused to buy: {words}");
        self.tell_trouble("entry_refused", message, steps);
    }

    fn not_protected(&mut self, refused: Option<Box<str>>, is_cancel_asked: bool, steps: &mut Vec<LiveStep>) {
        if let Some(words) = refused {
            self.protecting = self.protecting.after_refusal(self.now);
            let message =
                format!("the stop cannot rest at the venue ({words}); the engine's own stop watches");
            steps.push(LiveStep::Told { code: "stop_refused", message });
        } else if is_cancel_asked {
            self.protecting = Pause::NONE;
        } else if self.goal == Goal::Trade {
            let message = "the stop was cancelled at the venue; it is placed again".to_owned();
            steps.push(LiveStep::Told { code: "stop_canceled", message });
        }
    }

    /// The stop that rests at the venue has begun to fill.
    fn stopped_at_venue(&mut self, place: usize, steps: &mut Vec<LiveStep>) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let Terms::StopLimit { stop, .. } = order.terms else { return };
        let (price, at) = order.executions.last().map_or((stop, self.now), |e| (e.price, e.at));
        let reason = self.machine.stop_reason(stop);
        self.goal = Goal::Leave(reason);
        self.last = Some(price);
        if reason == ExitReason::StopLoss {
            steps.push(LiveStep::StopHit { stop, price, at });
        }
    }

    /// An order that was thought settled has filled by more.
    fn correct(&mut self, place: usize, steps: &mut Vec<LiveStep>) {
        let Some(order) = self.trade.orders.get(place) else { return };
        let message = format!("more of order {} filled than the venue had told", order.client_id);
        steps.push(LiveStep::Told { code: "fill_late", message });
        if matches!(order.role, Role::Entry(_)) {
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

    /// Tells of what keeps it from buying; a bot that holds nothing gives up after a few times.
    fn tell_trouble(&mut self, code: &'static str, message: String, steps: &mut Vec<LiveStep>) {
        let gives_up = self.entering.refusals >= MOST_REFUSALS && !self.machine.is_holding();
        let told =
            if gives_up { LiveStep::GaveUp { code, message } } else { LiveStep::Told { code, message } };
        steps.push(told);
    }

    /// Lets go of orders that came to nothing. One that is taken never to have arrived stays, in case it had.
    fn forget_empty(&mut self, steps: &mut Vec<LiveStep>) {
        let is_empty = |order: &LiveOrder| {
            order.is_booked && order.told().is_zero() && order.end != Some(End::NeverArrived)
        };
        steps.extend(self.trade.orders.extract_if(.., |order| is_empty(order)).map(LiveStep::Ended));
    }

    // What is under way

    fn is_entering(&self) -> bool {
        self.trade.open_orders().any(|order| matches!(order.role, Role::Entry(_)))
    }

    fn is_selling(&self) -> bool {
        self.trade.open_orders().any(|order| !matches!(order.role, Role::Entry(_)))
    }

    fn resting_stop(&self) -> Option<Price> {
        self.trade.open_orders().find_map(|order| match order.terms {
            Terms::StopLimit { stop, .. } => Some(stop),
            Terms::Market | Terms::Limit(_) => None,
        })
    }

    /// What is held, down to the lot; `None` where that is too little for the venue to take.
    fn sellable(&self) -> Option<Qty> {
        let market = &self.machine.plan().market;
        let lot = market.lot_step.decimal();
        let held = self.trade.held(&self.rules.pair).decimal();
        let qty = Qty::new((held.checked_div(lot)?.floor() * lot).normalize()).ok()?;
        let price = self.last.or_else(|| self.machine.stop_price())?;
        let is_enough = !qty.is_zero() && price * qty >= market.min_notional;
        is_enough.then_some(qty)
    }
}
