//! What every strategy's machine hears and answers: the surface that the executors, on paper and live, work with.

use model::{ExitReason, LadderStep, Mark, Price, PriceMove, Qty, Timestamp, Trail, Wait, Watch};
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::dca::Dca;
use crate::error::StrategyError;
use crate::market_rules::MarketRules;
use crate::plan::Plan;

/// What a machine is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The price moved out of the watch, or just moved: both give the same.
    Price(PriceMove),
    /// An entry that it asked for filled, whole or in part.
    Bought {
        /// What was paid, for the highs.
        price: Price,
        /// What was spent, in quote: without the fee on paper, with it where the venue told it.
        notional: Decimal,
        /// How much was received.
        qty: Qty,
    },
    /// Its owner bought more by hand: no step of the ladder, whose triggers stay where they are.
    Added {
        /// What was paid, for the highs.
        price: Price,
        /// What was spent, in quote, as in [`Event::Bought`].
        notional: Decimal,
        /// How much was received.
        qty: Qty,
    },
    /// An entry that it asked for came to nothing; its trigger stands.
    NotBought,
    /// An entry filled by more than was told: what all entries come to.
    Recounted {
        /// What was paid, for the highs.
        price: Price,
        /// What was spent for all of them, as in [`Event::Bought`].
        notional: Decimal,
        /// How much was received by all of them.
        qty: Qty,
    },
    /// Everything was sold.
    Sold {
        /// When: on paper by the tick that decided it, live by the venue's time of the last execution.
        at: Timestamp,
    },
}

/// What a machine asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Buy at market.
    Buy {
        /// 0 for the base order, then the safety orders.
        index: u32,
        /// How much, on the lot grid.
        qty: Qty,
        /// The price decided at.
        price: Price,
    },
    /// Sell everything at market.
    Sell {
        /// Why.
        reason: ExitReason,
        /// The price decided at.
        price: Price,
        /// The stop that was hit, for a stop.
        stop: Option<Price>,
    },
}

/// The answer to an event: what to do, and what to wait for next.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reaction {
    /// In this order. Until all of them have filled the machine waits for nothing else.
    pub actions: Vec<Action>,
    /// What it sleeps on.
    pub watch: Watch,
    /// Why it cannot go on.
    pub error: Option<StrategyError>,
}

/// A bot's machine: what its strategy decides by, and where its trade stands. What is serialized is what a restart needs
/// beside the plan.
#[derive(Clone, Debug)]
pub enum Machine {
    /// Of a ladder.
    Dca(Dca),
}

/// Asks the machine of whichever strategy it is.
macro_rules! ask {
    ($machine:expr, $it:ident => $answer:expr) => {
        match $machine {
            Machine::Dca($it) => $answer,
        }
    };
}

impl Machine {
    /// A machine that holds nothing yet.
    pub fn new(plan: &Plan) -> Self {
        match plan {
            Plan::Dca(plan) => Self::Dca(Dca::new(plan.clone())),
        }
    }

    /// Goes on from what was serialized of one of the same strategy; its levels are what the plan says, which may be
    /// another than the one that it began on.
    ///
    /// # Errors
    /// A text that is no such state.
    pub(crate) fn restore(plan: &Plan, state: &RawValue) -> Result<Self, serde_json::Error> {
        Ok(match plan {
            Plan::Dca(plan) => Self::Dca(Dca::restore(plan.clone(), serde_json::from_str(state.get())?)),
        })
    }

    /// The same machine under other rules of the same strategy, whose levels count from now on.
    #[must_use]
    pub(crate) fn replanned(&self, plan: &Plan) -> Self {
        match (self, plan) {
            (Self::Dca(machine), Plan::Dca(plan)) => Self::Dca(machine.replanned(plan.clone())),
        }
    }

    /// What it does and waits for after an event.
    pub fn on(&mut self, event: &Event) -> Reaction {
        ask!(self, machine => machine.on(event))
    }

    /// What it would ask for after a move, which it is not told of.
    pub fn foretell(&self, moved: &PriceMove) -> Vec<Action> {
        self.clone().on(&Event::Price(*moved)).actions
    }

    /// The next entry alone, where a price that it was told of before had reached its trigger as well.
    pub(crate) fn next_entry(&mut self, reached: Price) -> Reaction {
        ask!(self, machine => machine.next_entry(reached))
    }

    /// What it sleeps on now.
    pub fn watch(&self) -> Watch {
        ask!(self, machine => machine.watch())
    }

    /// What it would sleep on if it could not buy.
    pub(crate) fn way_out(&self) -> Watch {
        ask!(self, machine => machine.way_out())
    }

    /// The next level that it would act at on the way up.
    pub(crate) fn next_above(&self) -> Option<Price> {
        ask!(self, machine => machine.next_above())
    }

    /// The next level that it would act at on the way down.
    pub(crate) fn next_below(&self) -> Option<Price> {
        ask!(self, machine => machine.next_below())
    }

    /// Counts a price that was passed into its highs, without deciding anything.
    pub(crate) fn observe(&mut self, price: Price) {
        ask!(self, machine => machine.observe(price));
    }

    /// Counts a price into its highs that it slept through before a restart; `entered` is when it last bought.
    pub(crate) fn recall(&mut self, mark: &Mark, entered: Timestamp) {
        ask!(self, machine => machine.recall(mark, entered));
    }

    /// Takes no price before this time for one that it slept through.
    pub(crate) fn count_from(&mut self, at: Timestamp) {
        ask!(self, machine => machine.count_from(at));
    }

    /// The stop as it stands, a trailing one included.
    pub fn stop_price(&self) -> Option<Price> {
        ask!(self, machine => machine.stop_price())
    }

    /// What the trailing stop follows from, of a trade that has one.
    pub fn trailing_stop(&self) -> Option<Trail> {
        ask!(self, machine => machine.trailing_stop())
    }

    /// Why a trade would close at this stop: the stop itself, or what trails above it.
    pub(crate) fn stop_reason(&self, level: Price) -> ExitReason {
        ask!(self, machine => machine.stop_reason(level))
    }

    /// Waits for an entry that its owner asked for; until it has filled it only watches for the way out.
    pub(crate) fn await_entry(&mut self) {
        ask!(self, machine => machine.await_entry());
    }

    /// How many of its own entries have been bought.
    pub(crate) fn steps_bought(&self) -> u32 {
        ask!(self, machine => machine.steps_bought())
    }

    /// Whether all is to be sold: until then it asks for nothing more.
    pub(crate) fn set_leaving(&mut self, is_leaving: bool) {
        ask!(self, machine => machine.set_leaving(is_leaving));
    }

    /// Goes on with entries under way, or on its way out.
    pub(crate) fn amid(mut self, awaiting: u32, is_leaving: bool) -> Self {
        ask!(&mut self, machine => machine.go_on(awaiting, is_leaving));
        self
    }

    /// The take-profit price.
    pub fn take_profit_price(&self) -> Option<Price> {
        ask!(self, machine => machine.take_profit_price())
    }

    /// Where the next entry would be bought.
    pub fn next_trigger(&self) -> Option<Price> {
        ask!(self, machine => machine.next_trigger())
    }

    /// Whether anything is held.
    pub fn is_holding(&self) -> bool {
        ask!(self, machine => machine.is_holding())
    }

    /// The entries that are not bought yet; empty while nothing is held.
    pub(crate) fn steps_ahead(&self) -> Vec<LadderStep> {
        ask!(self, machine => machine.steps_ahead())
    }

    /// What it would act on next, the nearest way out first.
    pub fn waits(&self) -> Vec<Wait> {
        ask!(self, machine => machine.waits())
    }

    /// What the venue takes.
    pub(crate) fn market_rules(&self) -> &MarketRules {
        ask!(self, machine => &machine.plan().rules)
    }

    /// What it decides by.
    pub fn plan(&self) -> Plan {
        match self {
            Self::Dca(machine) => Plan::Dca(machine.plan().clone()),
        }
    }
}

impl Serialize for Machine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ask!(self, machine => machine.phase().serialize(serializer))
    }
}
