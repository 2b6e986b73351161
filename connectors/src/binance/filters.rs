//! What the venue would refuse, found before it is asked.

use std::fmt;

use model::{Price, Side};
use rust_decimal::Decimal;

use super::trade::{OrderRequest, RequestKind};

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
    /// what depends on it is not checked. Not checked either is what depends on balances (`MAX_POSITION` among it).
    ///
    /// # Errors
    /// [`FilterFault`], the first that it breaks.
    pub fn check(
        &self,
        order: &OrderRequest,
        reference: Option<Price>,
        open: OpenOrders,
    ) -> Result<(), FilterFault> {
        self.check_kind(order.kind)?;
        let qty = order.qty.decimal();
        self.lot.check("LOT_SIZE", "quantity", qty)?;
        if order.kind == RequestKind::Market {
            self.market_lot.check("MARKET_LOT_SIZE", "quantity", qty)?;
        }
        if let Some(price) = order.kind.price() {
            self.price.check("PRICE_FILTER", "price", price.decimal())?;
        }
        if let RequestKind::StopLossLimit { stop, .. } = order.kind {
            self.price.check("PRICE_FILTER", "stop price", stop.decimal())?;
        }
        self.check_distance(order, reference)?;
        self.check_worth(order, reference)?;
        self.check_count(order.kind, open)
    }

    /// Whether the venue's average price decides if it takes an order: one within a fifth of the last price might lead
    /// to the other answer. Of five minutes' average that is further than a market goes.
    pub fn hangs_on_average(&self, order: &OrderRequest, last: Price, open: OpenOrders) -> bool {
        let at = |hundredths: i64| {
            let moved = last.decimal().checked_mul(Decimal::new(hundredths, 2));
            let reference = moved.and_then(|price| Price::new(price.round_dp(8)).ok());
            self.check(order, reference, open).is_ok()
        };
        let usual = at(100);
        at(80) != usual || at(120) != usual
    }

    fn check_kind(&self, kind: RequestKind) -> Result<(), FilterFault> {
        let word = kind.as_str();
        if self.order_types.is_empty() || self.order_types.iter().any(|taken| taken == word) {
            return Ok(());
        }
        let bound = self.order_types.join(", ");
        Err(fault("orderTypes", "type", &word, Relation::Not, &bound))
    }

    /// How far the price is from the average.
    fn check_distance(&self, order: &OrderRequest, reference: Option<Price>) -> Result<(), FilterFault> {
        let factors = match order.side {
            Side::Buy => self.bid_factors,
            Side::Sell => self.ask_factors,
        };
        let (Some(factors), Some(price), Some(reference)) = (factors, order.kind.price(), reference) else {
            return Ok(());
        };
        // A bound beyond what a decimal can hold holds nothing back.
        let bound = |factor: Decimal| reference.decimal().checked_mul(factor);
        let band = Grid { min: bound(factors.down), max: bound(factors.up), step: None };
        band.check("PERCENT_PRICE_BY_SIDE", "price", price.decimal())
    }

    /// What it is worth, a market order at the reference price.
    fn check_worth(&self, order: &OrderRequest, reference: Option<Price>) -> Result<(), FilterFault> {
        let is_market = order.kind == RequestKind::Market;
        let Some(price) = order.kind.price().or(reference) else { return Ok(()) };
        let bounds = Grid {
            min: self.min_notional.filter(|_| !is_market || self.applies_min_to_market),
            max: self.max_notional.filter(|_| !is_market || self.applies_max_to_market),
            step: None,
        };
        let worth = price.decimal().checked_mul(order.qty.decimal());
        bounds.check("NOTIONAL", "notional", worth.unwrap_or(Decimal::MAX))
    }

    fn check_count(&self, kind: RequestKind, open: OpenOrders) -> Result<(), FilterFault> {
        // A market order never rests.
        let rests = kind != RequestKind::Market;
        let counted = [
            ("MAX_NUM_ORDERS", self.max_orders.filter(|_| rests), open.orders),
            ("MAX_NUM_ALGO_ORDERS", self.max_algo_orders.filter(|_| kind.is_stop()), open.algo_orders),
        ];
        for (filter, most, open) in counted {
            if let Some(most) = most.filter(|most| open >= *most) {
                return Err(fault(filter, "open orders", &open.saturating_add(1), Relation::Above, &most));
            }
        }
        Ok(())
    }
}

impl Grid {
    fn check(&self, filter: &'static str, what: &'static str, value: Decimal) -> Result<(), FilterFault> {
        let broken = |relation, bound: &Decimal| Err(fault(filter, what, &value, relation, bound));
        match self {
            Self { min: Some(min), .. } if value < *min => broken(Relation::Below, min),
            Self { max: Some(max), .. } if value > *max => broken(Relation::Above, max),
            // Multiples count from 0, not from the least.
            Self { step: Some(step), .. } if value.checked_rem(*step).is_none_or(|rest| !rest.is_zero()) => {
                broken(Relation::Off, step)
            }
            Self { step: Some(step), .. } if value.is_zero() => broken(Relation::Below, step),
            _ => Ok(()),
        }
    }
}

fn fault(
    filter: &'static str,
    what: &'static str,
    value: &dyn fmt::Display,
    relation: Relation,
    bound: &dyn fmt::Display,
) -> FilterFault {
    FilterFault { filter, what, value: value.to_string(), relation, bound: bound.to_string() }
}
