//! What the venue lists: `exchangeInfo` to the grid that each pair is traded on.

use model::{Pair, Price, Qty, Quote};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::fields;
use super::filters::Filters;

/// A pair as the venue lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedMarket {
    /// The pair.
    pub pair: Pair,
    /// The venue's name for it, `BTCUSDT`.
    pub symbol: String,
    /// Whether orders are taken now (`status` is `TRADING`).
    pub trading: bool,
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
    Price { tick_size: String },
    #[serde(rename = "LOT_SIZE")]
    Lot { step_size: String },
    #[serde(rename = "NOTIONAL", alias = "MIN_NOTIONAL")]
    Notional { min_notional: String },
    #[serde(other)]
    Other,
}

impl Listing {
    fn market(self) -> Option<ListedMarket> {
        let pair: Pair = format!("{}/{}", self.base_asset, self.quote_asset).parse().ok()?;
        let (mut tick_size, mut lot_step, mut min_notional) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
        for filter in &self.filters {
            match filter {
                Filter::Price { tick_size: text } => tick_size = fields::decimal(text)?,
                Filter::Lot { step_size: text } => lot_step = fields::decimal(text)?,
                Filter::Notional { min_notional: text } => min_notional = fields::decimal(text)?,
                Filter::Other => {}
            }
        }
        let or_finest = |step: Decimal, places: u32| {
            if step.is_zero() { Decimal::new(1, places.min(finest_places())) } else { step }
        };
        Some(ListedMarket {
            pair,
            symbol: self.symbol,
            trading: self.status == "TRADING",
            tick_size: Price::new(or_finest(tick_size, self.quote_asset_precision)).ok()?,
            lot_step: Qty::new(or_finest(lot_step, self.base_asset_precision)).ok()?,
            min_notional: Quote::new(min_notional).ok()?,
            filters: Filters::default(),
        })
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
