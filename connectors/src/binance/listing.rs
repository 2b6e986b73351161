//! What the venue lists: `exchangeInfo` to the grid that each pair is traded on.

use model::{OrderBounds, Pair, Price, Qty, Quote};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::fields;
use super::filters::{Factors, FilterFault, Filters, Grid, OpenOrders, Relation};
use super::trade::OrderRequest;

/// A pair as the venue lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedMarket {
    /// The pair.
    pub pair: Pair,
    /// The venue's name for it, `BTCUSDT`.
    pub symbol: String,
    /// Whether orders are taken now (`status` is `TRADING`).
    pub trading: bool,
    /// The venue's word for that: `TRADING`, `HALT`, `BREAK`, `CANCEL_ONLY`.
    pub status: String,
    /// Prices are multiples of this: `PRICE_FILTER`, or where that is off the finest that the quote coin allows.
    pub tick_size: Price,
    /// Quantities are multiples of this: `LOT_SIZE`, or where that is off the finest that the base coin allows.
    pub lot_step: Qty,
    /// The smallest order, in quote: `NOTIONAL`, on older symbols `MIN_NOTIONAL`; 0 where neither is on.
    pub min_notional: Quote,
    /// Every rule that its orders are held to.
    pub filters: Filters,
}

/// Every pair in an answer to `GET /api/v3/exchangeInfo` that can be held exactly. Symbols with other letters than
/// A to Z and digits, which the venue has since 2025, and grids beyond a [`Price`]'s or [`Qty`]'s range are left out.
///
/// # Errors
/// Where the answer is not as documented.
pub fn listed(body: &[u8]) -> Result<Vec<ListedMarket>, serde_json::Error> {
    let info: ExchangeInfo = serde_json::from_slice(body)?;
    Ok(info.symbols.into_iter().filter_map(Listing::market).collect())
}

/// The fields of `GET /api/v3/exchangeInfo` that are read.
#[derive(Deserialize)]
struct ExchangeInfo {
    symbols: Vec<Listing>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    symbol: String,
    status: String,
    base_asset: String,
    quote_asset: String,
    #[serde(default = "finest_places")]
    base_asset_precision: u32,
    #[serde(default = "finest_places")]
    quote_asset_precision: u32,
    #[serde(default)]
    order_types: Vec<String>,
    filters: Vec<Filter>,
}

/// The most decimal places that a price has.
fn finest_places() -> u32 {
    8
}

/// One filter. A rule with the value 0 is off.
#[derive(Deserialize)]
#[serde(tag = "filterType", rename_all_fields = "camelCase")]
enum Filter {
    #[serde(rename = "PRICE_FILTER")]
    Price { min_price: Option<String>, max_price: Option<String>, tick_size: String },
    #[serde(rename = "LOT_SIZE")]
    Lot { min_qty: Option<String>, max_qty: Option<String>, step_size: String },
    #[serde(rename = "MARKET_LOT_SIZE")]
    MarketLot { min_qty: Option<String>, max_qty: Option<String>, step_size: String },
    #[serde(rename = "NOTIONAL")]
    Notional {
        min_notional: String,
        #[serde(default)]
        apply_min_to_market: bool,
        max_notional: Option<String>,
        #[serde(default)]
        apply_max_to_market: bool,
    },
    #[serde(rename = "MIN_NOTIONAL")]
    MinNotional {
        min_notional: String,
        #[serde(default)]
        apply_to_market: bool,
    },
    #[serde(rename = "PERCENT_PRICE_BY_SIDE")]
    PercentPriceBySide {
        bid_multiplier_up: String,
        bid_multiplier_down: String,
        ask_multiplier_up: String,
        ask_multiplier_down: String,
    },
    #[serde(rename = "PERCENT_PRICE")]
    PercentPrice { multiplier_up: String, multiplier_down: String },
    #[serde(rename = "MAX_NUM_ORDERS")]
    MaxNumOrders {
        #[serde(alias = "limit")]
        max_num_orders: u32,
    },
    #[serde(rename = "MAX_NUM_ALGO_ORDERS")]
    MaxNumAlgoOrders { max_num_algo_orders: u32 },
    #[serde(other)]
    Other,
}

impl Filter {
    /// Adds what it says; `None` where that cannot be held exactly.
    fn add_to(self, filters: &mut Filters) -> Option<()> {
        match self {
            Self::Price { min_price, max_price, tick_size } => {
                filters.price = grid(min_price, max_price, &tick_size)?;
            }
            Self::Lot { min_qty, max_qty, step_size } => filters.lot = grid(min_qty, max_qty, &step_size)?,
            Self::MarketLot { min_qty, max_qty, step_size } => {
                filters.market_lot = grid(min_qty, max_qty, &step_size)?;
            }
            Self::Notional { min_notional, apply_min_to_market, max_notional, apply_max_to_market } => {
                filters.min_notional = bound(Some(min_notional))?;
                filters.max_notional = bound(max_notional)?;
                filters.applies_min_to_market = apply_min_to_market;
                filters.applies_max_to_market = apply_max_to_market;
            }
            Self::MinNotional { min_notional, apply_to_market } => {
                filters.min_notional = bound(Some(min_notional))?;
                filters.applies_min_to_market = apply_to_market;
            }
            Self::PercentPriceBySide {
                bid_multiplier_up,
                bid_multiplier_down,
                ask_multiplier_up,
                ask_multiplier_down,
            } => {
                filters.bid_factors = Some(factors(&bid_multiplier_down, &bid_multiplier_up)?);
                filters.ask_factors = Some(factors(&ask_multiplier_down, &ask_multiplier_up)?);
            }
            Self::PercentPrice { multiplier_up, multiplier_down } => {
                let factors = Some(factors(&multiplier_down, &multiplier_up)?);
                (filters.bid_factors, filters.ask_factors) = (factors, factors);
            }
            Self::MaxNumOrders { max_num_orders } => filters.max_orders = Some(max_num_orders),
            Self::MaxNumAlgoOrders { max_num_algo_orders } => {
                filters.max_algo_orders = Some(max_num_algo_orders);
            }
            Self::Other => {}
        }
        Some(())
    }
}

/// A bound, where 0 is off; `None` where it cannot be held exactly.
#[expect(clippy::option_option, reason = "a rule that is off is not one that cannot be read")]
fn bound(text: Option<String>) -> Option<Option<Decimal>> {
    let Some(text) = text else { return Some(None) };
    fields::decimal(&text).map(|value| Some(value).filter(|value| !value.is_zero()))
}

fn grid(min: Option<String>, max: Option<String>, step: &str) -> Option<Grid> {
    Some(Grid { min: bound(min)?, max: bound(max)?, step: bound(Some(step.to_owned()))? })
}

fn factors(down: &str, up: &str) -> Option<Factors> {
    Some(Factors { down: fields::decimal(down)?, up: fields::decimal(up)? })
}

impl Listing {
    fn market(self) -> Option<ListedMarket> {
        let pair: Pair = format!("{}/{}", self.base_asset, self.quote_asset).parse().ok()?;
        let mut filters = Filters { order_types: self.order_types, ..Filters::default() };
        for filter in self.filters {
            filter.add_to(&mut filters)?;
        }
        let finest = |places: u32| Decimal::new(1, places.min(finest_places()));
        let tick_size = *filters.price.step.get_or_insert(finest(self.quote_asset_precision));
        let lot_step = *filters.lot.step.get_or_insert(finest(self.base_asset_precision));
        Some(ListedMarket {
            pair,
            symbol: self.symbol,
            trading: self.status == "TRADING",
            tick_size: Price::new(tick_size).ok()?,
            lot_step: Qty::new(lot_step).ok()?,
            min_notional: Quote::new(filters.min_notional.unwrap_or_default()).ok()?,
            filters,
            status: self.status,
        })
    }
}

impl ListedMarket {
    /// What quantities of market and other orders are multiples of.
    pub fn common_step(&self) -> Qty {
        let market = self.filters.market_lot.step.and_then(|step| Qty::new(step).ok());
        market.map_or(self.lot_step, |step| step.max(self.lot_step))
    }

    /// How large one order may be, and how many stops may rest.
    pub fn bounds(&self) -> OrderBounds {
        let Filters { lot, market_lot, max_algo_orders, .. } = &self.filters;
        let qty = |bound: Option<Decimal>| bound.and_then(|bound| Qty::new(bound).ok());
        OrderBounds {
            min_qty: qty(lot.min.max(market_lot.min)).unwrap_or_default(),
            max_qty: qty(lot.max),
            max_market_qty: qty(lot.max.into_iter().chain(market_lot.max).min()),
            max_stops: *max_algo_orders,
        }
    }

    /// Whether the venue would take an order of this pair now, as far as what it lists tells: its status, then
    /// [`Filters::check`].
    ///
    /// # Errors
    /// [`FilterFault`], the first rule that it breaks.
    pub fn check(
        &self,
        order: &OrderRequest,
        reference: Option<Price>,
        open: OpenOrders,
    ) -> Result<(), FilterFault> {
        if !self.trading {
            return Err(FilterFault {
                filter: "status",
                what: "status",
                value: self.status.clone(),
                relation: Relation::Not,
                bound: "TRADING".to_owned(),
            });
        }
        self.filters.check(order, reference, open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(filters: &str) -> Vec<ListedMarket> {
        let info = format!(
            r#"{{"symbols":[{{"symbol":"BTCUSDT","status":"BREAK","baseAsset":"BTC","quoteAsset":"USDT",
            "baseAssetPrecision":8,"quoteAssetPrecision":6,"filters":[{filters}]}}]}}"#
        );
        listed(info.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(filters: &str, tick_size: &str, lot_step: &str, min_notional: &str) {
        let market = with(filters).remove(0);
        assert!(!market.trading);
        assert_eq!(market.tick_size, tick_size.parse().unwrap());
        assert_eq!(market.lot_step.decimal(), lot_step.parse().unwrap());
        assert_eq!(market.min_notional.decimal(), min_notional.parse().unwrap());
    }

    #[test]
    fn filters_give_the_grid() {
        let filters = r#"{"filterType":"PRICE_FILTER","tickSize":"0.01000000","minPrice":"0.01"},
            {"filterType":"LOT_SIZE","stepSize":"0.00001000"},{"filterType":"TRAILING_DELTA","maxTrailingAboveDelta":2000},
            {"filterType":"MARKET_LOT_SIZE","stepSize":"0.00000000"},"#;
        let new = r#"{"filterType":"NOTIONAL","minNotional":"5.00000000","avgPriceMins":5}"#;
        let old = r#"{"filterType":"MIN_NOTIONAL","minNotional":"10.00000000","applyToMarket":true}"#;
        check(&format!("{filters}{new}"), "0.01", "0.00001", "5");
        check(&format!("{filters}{old}"), "0.01", "0.00001", "10");
    }

    #[test]
    fn a_rule_that_is_off_leaves_the_coins_own_precision() {
        check("", "0.000001", "0.00000001", "0");
        let off = r#"{"filterType":"PRICE_FILTER","tickSize":"0.00000000"},{"filterType":"LOT_SIZE","stepSize":"0"}"#;
        check(off, "0.000001", "0.00000001", "0");
    }

    #[test]
    fn what_cannot_be_held_exactly_is_left_out() {
        for tick in ["-1", "0.000000001", "NaN", "1e30"] {
            let filter = format!(r#"{{"filterType":"PRICE_FILTER","tickSize":"{tick}"}}"#);
            assert_eq!(with(&filter), [], "{tick}");
        }
    }
}
