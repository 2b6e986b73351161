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

mod drive;
mod order;
mod outcome;
mod pause;
mod relive;
mod trade;
mod troubles;
mod words;

use std::borrow::Cow;

use model::{
    ClientOrderId, ExitReason, Faults, Mark, OrderKind, OrderOrigin, Pair, Price, PriceMove, Qty, Side,
    Timestamp, Watch,
};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

pub use order::{End, Execution, LiveOrder, Report, Role, Terms};
use pause::Pause;
pub use relive::{LostOrder, purpose_of};
pub use trade::{Closing, LiveTrade, cost_of};
use troubles::Troubles;
pub use words::CannotAdd;
use words::Goal;

use crate::error::RestoreError;
use crate::funds::Funds;
use crate::machine::{Action, Event, Machine};
use crate::plan::Plan;

/// A resting stop that trails is moved once it would rise by this fraction.
const RISE: Decimal = Decimal::from_parts(1, 0, 0, false, 3);

/// How long a limit order of an entry rests at the venue; what is left of it is taken back then (contract section 3).
const ENTRY_RESTS_S: u64 = 30;

/// What a live bot needs to know beside its plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveRules {
    /// What it trades.
    pub pair: Pair,
    /// Whether its stop also rests at the venue.
    pub stop_on_venue: bool,
    /// How its entries are worked.
    pub entries: OrderKind,
    /// What its orders' ids say of whose they are; nothing where this is `None`.
    pub origin: Option<OrderOrigin>,
}

/// What is to be done, or what happened, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LiveStep {
    /// Journal this order, then send it.
    Place(LiveOrder),
    /// Take this order back.
    Cancel(ClientOrderId),
    /// Do not send this order if it has not left yet; the report that it is canceled follows then.
    Withdraw(ClientOrderId),
    /// Ask the venue for this order and its executions.
    Ask(ClientOrderId),
    /// This order came to nothing, and is not kept any more.
    Ended(LiveOrder),
    /// The base order filled: the trade has begun.
    Opened,
    /// Another order of the trade filled, whole or in part, and has ended: a further entry, more by hand, or a sale.
    Filled(ClientOrderId),
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
    /// What was told under this code is over.
    Resolved {
        /// The code.
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

/// A bot on a real account. What is serialised is what a restart needs.
#[derive(Clone, Debug)]
pub struct LiveBot {
    machine: Machine,
    rules: LiveRules,
    trade: LiveTrade,
    goal: Goal,
    /// The market's last price and time that it was told of.
    last: Option<Price>,
    now: Timestamp,
    /// The time that pauses go by: the engine's, which goes on while nothing is traded.
    clock: Timestamp,
    entering: Pause,
    leaving: Pause,
    protecting: Pause,
    /// Until when its limit entry rests, by `clock`; after a restart it rests no longer.
    entry_rests_until: Timestamp,
    /// The price that reached more of the ladder than can be bought at once: the rest follows, one by one.
    reached: Option<Price>,
    /// Whether its owner knows that its trade is too small for a stop that rests at the venue.
    is_told_of_no_stop: bool,
    troubles: Troubles,
    /// Whether it only listens for now.
    is_still: bool,
}

/// A [`LiveBot`] as it is serialised.
#[derive(Serialize, Deserialize)]
struct State<'a, M> {
    phase: M,
    trade: Cow<'a, LiveTrade>,
    goal: Goal,
    last: Option<Price>,
    now: Timestamp,
    entering: Pause,
    leaving: Pause,
    protecting: Pause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reached: Option<Price>,
    #[serde(default)]
    is_told_of_no_stop: bool,
    #[serde(default)]
    troubles: Cow<'a, Troubles>,
}

impl Serialize for LiveBot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = State {
            phase: &self.machine,
            trade: Cow::Borrowed(&self.trade),
            goal: self.goal,
            last: self.last,
            now: self.now,
            entering: self.entering,
            leaving: self.leaving,
            protecting: self.protecting,
            reached: self.reached,
            is_told_of_no_stop: self.is_told_of_no_stop,
            troubles: Cow::Borrowed(&self.troubles),
        };
        state.serialize(serializer)
    }
}

/// Mints what an order is called; a fresh one each time, never used before.
pub trait Mint: FnMut() -> ClientOrderId {}
impl<F: FnMut() -> ClientOrderId> Mint for F {}

impl LiveBot {
    /// A bot that holds nothing yet.
    pub fn new(plan: &Plan, rules: LiveRules) -> Self {
        Self {
            machine: Machine::new(plan),
            rules,
            trade: LiveTrade::default(),
            goal: Goal::Trade,
            last: None,
            now: Timestamp::MIN,
            clock: Timestamp::MIN,
            entering: Pause::NONE,
            leaving: Pause::NONE,
            protecting: Pause::NONE,
            entry_rests_until: Timestamp::MIN,
            reached: None,
            is_told_of_no_stop: false,
            troubles: Troubles::default(),
            is_still: false,
        }
    }

    /// Goes on from where it was serialised. Report what the venue says of every order of
    /// [`LiveBot::open_orders`], then call [`LiveBot::take_up`].
    ///
    /// # Errors
    /// [`RestoreError::State`].
    pub fn restore(plan: &Plan, rules: LiveRules, state: &str) -> Result<Self, RestoreError> {
        let state: State<'_, &RawValue> = serde_json::from_str(state)?;
        let trade = state.trade.into_owned();
        let awaiting = trade.open_orders().filter(|order| order.role.is_entry()).count();
        let machine = Machine::restore(plan, state.phase)?
            .amid(u32::try_from(awaiting).unwrap_or(u32::MAX), matches!(state.goal, Goal::Leave(_)));
        Ok(Self {
            machine,
            rules,
            trade,
            goal: state.goal,
            last: state.last,
            now: state.now,
            clock: Timestamp::MIN,
            entering: state.entering,
            leaving: state.leaving,
            protecting: state.protecting,
            entry_rests_until: Timestamp::MIN,
            reached: state.reached,
            is_told_of_no_stop: state.is_told_of_no_stop,
            troubles: state.troubles.into_owned(),
            is_still: false,
        })
    }

    /// The same bot under other rules, whose levels count from now on; [`LiveBot::follow`] takes its orders along.
    #[must_use]
    pub fn replanned(self, plan: &Plan, rules: LiveRules) -> Self {
        let awaiting = u32::from(self.is_entering());
        let machine = self.machine.replanned(plan).amid(awaiting, self.is_leaving());
        Self { machine, rules, protecting: Pause::NONE, reached: None, ..self }
    }

    /// The same bot under the same rules on another grid. What was refused for the grid's sake is tried again at once.
    #[must_use]
    pub fn regridded(self, plan: &Plan) -> Self {
        let rules = self.rules.clone();
        let leaving = self.leaving.ended();
        Self { leaving, ..self.replanned(plan, rules) }
    }

    /// Does what its rules say now that they have changed.
    pub fn follow(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.drive(mint, steps);
    }

    /// Tells it the time that its pauses go by, before anything else is told. It is never less than it was.
    pub fn set_time(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
    }

    /// When it is to be told that time has passed, by the clock of [`LiveBot::set_time`], if nothing else happens.
    pub fn timer(&self) -> Option<Timestamp> {
        let waits = match self.goal {
            Goal::Leave(_) if !self.is_selling() => [Some(self.leaving.until), None, None],
            // An order under way is reported on.
            Goal::Leave(_) | Goal::Release => [None, None, None],
            Goal::Trade => [
                Some(self.entering.until).filter(|_| !self.is_entering()),
                Some(self.protecting.until).filter(|_| self.machine.is_holding()),
                Some(self.entry_rests_until)
                    .filter(|_| self.trade.open_orders().any(LiveOrder::rests_to_buy)),
            ],
        };
        waits.into_iter().flatten().filter(|until| *until > self.clock).min()
    }

    /// Tells it that the time of [`LiveBot::timer`] has come: it does what had to wait for it.
    pub fn on_time(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.drive(mint, steps);
    }

    /// Tells it of a move of the price.
    pub fn on_move(&mut self, moved: &PriceMove, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.now = self.now.max(moved.at);
        self.last = Some(moved.price);
        if self.is_trading() {
            let reaction = self.machine.on(&Event::Price(*moved));
            for action in reaction.actions {
                match action {
                    Action::Buy { index, qty, price } if self.may_enter() => {
                        self.enter(index, qty, price, mint, steps);
                    }
                    Action::Buy { .. } => {
                        self.reached = Some(moved.price).filter(|_| self.is_entering());
                        self.machine.on(&Event::NotBought);
                    }
                    Action::Sell { reason, price, stop } => {
                        if let (Some(stop), ExitReason::StopLoss) = (stop, reason) {
                            steps.push(LiveStep::StopHit { stop, price, at: moved.at });
                        }
                        self.turn_to(Goal::Leave(reason));
                    }
                }
            }
            self.meet(reaction.error, steps);
        }
        self.drive(mint, steps);
    }

    /// Tells it what was traded since it was told of a move, without a decision: the highest price, and the newest with its
    /// time, where that is the market's.
    pub fn observe(&mut self, high: Price, newest: Option<(Price, Timestamp)>) {
        self.machine.observe(high);
        if let Some((price, at)) = newest {
            self.now = self.now.max(at);
            self.last = Some(price);
        }
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
        let (role, is_open) = (order.role, order.end.is_none());
        self.note_answer(report.client_id, role, is_open, steps);
        let Some(order) = self.trade.orders.get_mut(place) else { return true };
        if heard.has_begun_to_fill && order.role == Role::Protection {
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
        if heard.has_new_executions || heard.has_ended {
            self.finish_if_sold(steps);
        }
        self.drive(mint, steps);
        true
    }

    /// Whether an order is one of its trade's.
    pub fn knows(&self, order: ClientOrderId) -> bool {
        self.trade.orders.iter().any(|known| known.client_id == order)
    }

    /// Whether a report tells of executions that it does not know.
    pub fn lacks(&self, report: &Report) -> bool {
        let Some(order) = self.trade.orders.iter().find(|known| known.client_id == report.client_id) else {
            return !report.executions.is_empty();
        };
        let is_known =
            |told: &Execution| order.executions.iter().any(|known| known.trade_id == told.trade_id);
        !report.executions.iter().all(is_known)
    }

    /// Takes back into its trade an order that it had let go of as come to nothing, because the venue tells of
    /// executions after all; report them next.
    pub fn adopt(&mut self, client_id: ClientOrderId, side: Side, qty: Qty) {
        let role = match side {
            Side::Buy if self.machine.is_holding() => Role::Added,
            Side::Buy => Role::Entry(0),
            Side::Sell => Role::Exit,
        };
        self.trade.orders.push(LiveOrder::ended(
            client_id,
            role,
            qty,
            self.last.unwrap_or(Price::MIN),
            self.now,
        ));
    }

    /// After a crash: a mark that it slept through counts into what trails.
    pub fn recall(&mut self, mark: &Mark) {
        if let Some(entered) = self.trade.entered_at() {
            self.machine.recall(mark, entered);
        }
    }

    /// After a pause in which it was not to watch: takes no price before this time for one that it slept through.
    pub fn count_from(&mut self, at: Timestamp) {
        self.machine.count_from(at);
        self.troubles.forget();
    }

    /// Goes on where it was cut off: what it was selling it sells, what it had let go of it takes up.
    pub fn take_up(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if self.goal == Goal::Release {
            self.goal = Goal::Trade;
        }
        (self.entering, self.protecting) = (Pause::NONE, Pause::NONE);
        self.leaving = self.leaving.ended();
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
        if self.sellable().is_none() && self.is_trading() {
            self.turn_to(Goal::Leave(ExitReason::Manual));
        }
        self.drive(mint, steps);
    }

    /// Whether it waits to sell what was refused, and so much free on the account is enough for it.
    pub fn could_sell_from(&self, free: Decimal) -> bool {
        let waits = self.is_leaving() && !self.is_selling() && !self.leaving.is_over(self.clock);
        waits && self.sellable().is_some_and(|all| all.decimal() <= free)
    }

    /// Tells it that coins which it could not sell have become free: it does not wait much longer.
    pub fn on_freed(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.leaving = self.leaving.shortened(self.clock);
        self.drive(mint, steps);
    }

    /// What it sleeps on, beside its [`LiveBot::timer`].
    pub fn watch(&self) -> Watch {
        match self.goal {
            Goal::Release | Goal::Leave(_) => Watch::NEVER,
            Goal::Trade => self.trading_watch(),
        }
    }

    fn trading_watch(&self) -> Watch {
        let is_paused = !self.entering.is_over(self.clock) && !self.is_entering();
        let mut watch = if is_paused { self.machine.way_out() } else { self.machine.watch() };
        if self.machine.is_holding() && self.rules.stop_on_venue {
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

    /// Whether it is neither on its way out of its trade nor to keep still.
    pub fn is_trading(&self) -> bool {
        self.goal == Goal::Trade
    }

    /// Whether it is on its way out of its trade.
    pub fn is_leaving(&self) -> bool {
        matches!(self.goal, Goal::Leave(_))
    }

    /// Whether it still holds most of what it bought.
    fn holds_most(&self) -> bool {
        self.held() > self.trade.sold() + self.trade.missing
    }

    /// How much of the base coin it holds.
    pub fn held(&self) -> Qty {
        self.trade.held(&self.rules.pair)
    }

    /// The trade that it is in, or the orders that may become one.
    pub fn trade(&self) -> &LiveTrade {
        &self.trade
    }

    /// How many buys by hand its trade has.
    pub fn count_added(&self) -> usize {
        self.trade.orders.iter().filter(|order| order.role == Role::Added).count()
    }

    /// How much to buy by hand at `price`, as [`crate::MarketRules::added`] has it.
    ///
    /// # Errors
    /// What [`crate::MarketRules::added`] refuses.
    pub fn added(&self, funds: Funds, price: Price) -> Result<Qty, Faults> {
        self.machine.market_rules().added(funds, price, self.trade.stake(&self.rules.pair))
    }

    /// The rules beside its plan.
    pub fn rules(&self) -> &LiveRules {
        &self.rules
    }

    /// What its orders' ids say of whose they are.
    pub fn origin(&self) -> Option<OrderOrigin> {
        self.rules.origin
    }

    /// The machine: its levels and whether it holds.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    // What is under way

    fn is_entering(&self) -> bool {
        self.trade.open_orders().any(|order| order.role.is_entry())
    }

    fn is_selling(&self) -> bool {
        self.trade.open_orders().any(|order| !order.role.is_entry())
    }

    fn is_exiting(&self) -> bool {
        self.trade.open_orders().any(|order| order.role == Role::Exit)
    }

    fn resting_stop(&self) -> Option<Price> {
        self.trade.open_orders().find_map(|order| match order.terms {
            Terms::StopLimit { stop, .. } => Some(stop),
            Terms::Market | Terms::Limit(_) => None,
        })
    }

    /// What is held, down to the lot; `None` where that is nothing.
    fn in_lots(&self) -> Option<Qty> {
        self.machine.market_rules().in_lots(self.held().decimal()).filter(|qty| !qty.is_zero())
    }

    /// What is held, down to the lot; `None` where that is too little for the venue to take.
    fn sellable(&self) -> Option<Qty> {
        let price = self.last.or_else(|| self.machine.stop_price())?;
        self.in_lots().filter(|qty| self.machine.market_rules().is_sellable(*qty, price))
    }
}
