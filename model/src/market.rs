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
    /// How large one order may be, and how many may rest.
    pub bounds: OrderBounds,
}

/// What a venue holds the orders of a pair to, beside their grid. A bound of `None` is off.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct OrderBounds {
    /// The smallest order, in base; 0 where there is no bound.
    pub min_qty: Qty,
    /// The largest order with a price, in base.
    pub max_qty: Option<Qty>,
    /// The largest order at the market, in base.
    pub max_market_qty: Option<Qty>,
    /// How many stops an account may have open at a time.
    pub max_stops: Option<u32>,
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
