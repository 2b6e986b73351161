//! What every strategy's machine hears and answers: the surface that the executors, on paper and live, work with.

use model::{ExitReason, Price, PriceMove, Qty, Timestamp, Watch};
use rust_decimal::Decimal;

use crate::error::StrategyError;

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
