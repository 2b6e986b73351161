//! A pair as its venue trades it, and what is heard of it.

use crate::{Price, Qty, Quote, Rate, Timestamp};

/// The grid and the costs that a decision is made under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Market {
    /// Prices are multiples of this.
    pub tick_size: Price,
    /// Quantities are multiples of this; above 0.
    pub lot_step: Qty,
    /// The smallest order, in quote; 0 where there is no bound.
    pub min_notional: Quote,
    /// What a taker pays, as a fraction of the order's worth.
    pub fee: Rate,
    /// How much worse than the decided price a paper market order fills, as a fraction.
    pub slippage: Rate,
}

/// One public trade of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tick {
    /// What was paid.
    pub price: Price,
    /// How much changed hands, in base.
    pub qty: Qty,
    /// When, by the venue's clock.
    pub at: Timestamp,
}
