//! A bot on paper: the machine, an executor that fills what it asks for, and the trade's books. Dry run and
//! backtest are this and nothing else.

use crate::BotDefinition;
use model::{ExitReason, Faults, Mark, Market, Price, PriceMove, Qty, Timestamp, Watch};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::books::{Books, Entry, Exit};
use crate::error::{RestoreError, StrategyError};
use crate::funds::Funds;
use crate::machine::{Action, Event, Machine};
use crate::plan::Plan;

/// One thing that happened to a trade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PaperStep {
    /// An entry filled; with index 0 the trade begins.
    Entered(Entry),
    /// The stop was reached; the exit follows.
    StopHit {
        /// Where the stop stood.
        stop: Price,
        /// The price that reached it.
        price: Price,
        /// When.
        at: Timestamp,
    },
    /// The trade is flat; its books are complete.
    Exited(Books),
}

/// A machine with its paper executor and books. A clone is cheap and shares the plan; what is serialised is what a
/// restart needs.
#[derive(Clone, Debug)]
pub struct PaperBot {
    machine: Machine,
    books: Books,
}

impl Serialize for PaperBot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = serializer.serialize_struct("State", 2)?;
        state.serialize_field("phase", &self.machine)?;
        state.serialize_field("books", &self.books)?;
        state.end()
    }
}

/// A [`PaperBot`] as it is serialised.
#[derive(Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    phase: &'a RawValue,
    books: Books,
}

impl PaperBot {
    /// A bot that holds nothing yet.
    ///
    /// # Errors
    /// What [`Plan::new`] refuses.
    pub fn new(bot: &BotDefinition, market: &Market) -> Result<Self, Faults> {
        Ok(Self::with_plan(&Plan::new(bot, market)?))
    }

    /// A bot on a plan that others may share.
    pub fn with_plan(plan: &Plan) -> Self {
        Self { machine: Machine::new(plan), books: Books::default() }
    }

    /// Everything that a restart needs, as JSON.
    ///
    /// # Panics
    /// Never: every part is JSON.
    pub fn state(&self) -> String {
        serde_json::to_string(self).expect("every part is JSON")
    }

    /// Goes on from a stored [`PaperBot::state`].
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(plan: &Plan, state: &str) -> Result<Self, RestoreError> {
        let State { phase, books } = serde_json::from_str(state)?;
        Ok(Self { machine: Machine::restore(plan, phase)?, books })
    }

    /// The same bot under another plan, whose levels count from now on.
    #[must_use]
    pub fn replanned(&self, plan: &Plan) -> Self {
        Self { machine: self.machine.replanned(plan), books: self.books.clone() }
    }

    /// Tells the bot of a move; what happened is appended to `steps`.
    ///
    /// # Errors
    /// [`StrategyError`] where it cannot go on; what had happened before is in `steps`.
    pub fn on_move(&mut self, moved: &PriceMove, steps: &mut Vec<PaperStep>) -> Result<Watch, StrategyError> {
        let reaction = self.machine.on(&Event::Price(*moved));
        let mut watch = reaction.watch;
        for action in reaction.actions {
            watch = self.fill(action, moved.at, steps)?;
        }
        reaction.error.map_or(Ok(watch), Err)
    }

    /// Sells everything at `price` because its owner asked, or a signal came; nothing where nothing is held.
    ///
    /// # Errors
    /// [`StrategyError::OutOfRange`].
    pub fn close(
        &mut self,
        reason: ExitReason,
        price: Price,
        at: Timestamp,
        steps: &mut Vec<PaperStep>,
    ) -> Result<Watch, StrategyError> {
        if !self.machine.is_holding() {
            return Ok(self.machine.watch());
        }
        self.fill(Action::Sell { reason, price, stop: None }, self.not_before(at), steps)
    }

    /// Buys that much more at `price` because its owner asked, beside the ladder; nothing where nothing is held.
    ///
    /// # Errors
    /// [`StrategyError::OutOfRange`].
    pub fn add(
        &mut self,
        qty: Qty,
        price: Price,
        at: Timestamp,
        steps: &mut Vec<PaperStep>,
    ) -> Result<Watch, StrategyError> {
        if !self.machine.is_holding() {
            return Ok(self.machine.watch());
        }
        let index = self.machine.steps_bought();
        let entry = self.bought(index, true, qty, price, self.not_before(at))?;
        steps.push(PaperStep::Entered(entry));
        self.told(&Event::Added { price: entry.price, notional: notional(&entry)?, qty })
    }

    /// How much to buy by hand at `price`, as [`crate::MarketRules::added`] has it.
    ///
    /// # Errors
    /// What [`crate::MarketRules::added`] refuses.
    pub fn added(&self, funds: Funds, price: Price) -> Result<Qty, Faults> {
        self.machine.market_rules().added(funds, price, self.books.stake())
    }

    /// A time that does not go back behind the trade's last entry.
    fn not_before(&self, at: Timestamp) -> Timestamp {
        self.books.entries.last().map_or(at, |last| at.max(last.at))
    }

    /// Books a buy as a market order at the decided price plus slippage, for the market's fee.
    fn bought(
        &mut self,
        index: u32,
        by_hand: bool,
        qty: Qty,
        decided: Price,
        at: Timestamp,
    ) -> Result<Entry, StrategyError> {
        let market = self.machine.market_rules().market;
        let worse = Decimal::ONE + market.slippage.decimal();
        let price = slipped(decided, worse, RoundingStrategy::ToPositiveInfinity)?;
        let entry = Entry { index, by_hand, at, decided, price, qty, fee: (price * qty) * market.fee };
        self.books.entries.push(entry);
        Ok(entry)
    }

    /// Tells the machine of a fill; what it sleeps on from then on.
    fn told(&mut self, event: &Event) -> Result<Watch, StrategyError> {
        let reaction = self.machine.on(event);
        reaction.error.map_or(Ok(reaction.watch), Err)
    }

    /// Fills an order as a market order at the decided price plus slippage, for the market's fee.
    pub(crate) fn fill(
        &mut self,
        action: Action,
        at: Timestamp,
        steps: &mut Vec<PaperStep>,
    ) -> Result<Watch, StrategyError> {
        let event = match action {
            Action::Buy { index, qty, price: decided } => {
                if index == 0 {
                    self.books = Books::default();
                }
                let entry = self.bought(index, false, qty, decided, at)?;
                steps.push(PaperStep::Entered(entry));
                Event::Bought { price: entry.price, notional: notional(&entry)?, qty }
            }
            Action::Sell { reason, price: decided, stop } => {
                if let Some(stop) = stop {
                    steps.push(PaperStep::StopHit { stop, price: decided, at });
                }
                let price = self.sold_at(decided).ok_or(StrategyError::OutOfRange)?;
                let qty = self.books.amount();
                let fee = (price * qty) * self.machine.market_rules().market.fee;
                self.books.exit = Some(Exit { at, decided, price, qty, fee, reason });
                steps.push(PaperStep::Exited(std::mem::take(&mut self.books)));
                Event::Sold { at }
            }
        };
        self.told(&event)
    }

    /// What a market order that is decided at `price` is sold at; `None` where slippage leaves nothing of it.
    pub(crate) fn sold_at(&self, price: Price) -> Option<Price> {
        let slippage = self.machine.market_rules().market.slippage.decimal();
        slipped(price, Decimal::ONE - slippage, RoundingStrategy::ToZero).ok()
    }

    /// Counts the highest price that it has slept through into its highs, without deciding anything.
    pub fn observe(&mut self, high: Price) {
        self.machine.observe(high);
    }

    /// After a restart: counts a price that it slept through into its highs. One that it had already counted, or that
    /// came before its last entry, changes nothing.
    pub fn recall(&mut self, mark: &Mark) {
        if let Some(last) = self.books.entries.last() {
            self.machine.recall(mark, last.at);
        }
    }

    /// After a pause in which it was not to watch: takes no price before this time for one that it slept through.
    pub fn count_from(&mut self, at: Timestamp) {
        self.machine.count_from(at);
    }

    /// What the bot sleeps on.
    pub fn watch(&self) -> Watch {
        self.machine.watch()
    }

    /// The open trade's books; no entries while flat.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The machine: its levels and whether it holds.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }
}

/// What an entry is worth, in quote, without its fee.
fn notional(entry: &Entry) -> Result<Decimal, StrategyError> {
    entry.price.decimal().checked_mul(entry.qty.decimal()).ok_or(StrategyError::OutOfRange)
}

/// A price made worse by slippage, to eight decimals.
fn slipped(price: Price, factor: Decimal, strategy: RoundingStrategy) -> Result<Price, StrategyError> {
    if factor == Decimal::ONE {
        return Ok(price);
    }
    let exact = price.decimal().checked_mul(factor).ok_or(StrategyError::OutOfRange)?;
    Price::new(exact.round_dp_with_strategy(8, strategy)).map_err(|_| StrategyError::OutOfRange)
}
