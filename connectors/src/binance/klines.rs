//! Candles of the past.

use model::{Pair, Price, Timestamp};
use rust_decimal::Decimal;
use serde::de::IgnoredAny;

pub use super::error::VenueError;
use super::fields;
use super::rest::{Rest, read, unreadable};
use super::subscriptions::symbol;
use super::transport::HttpCall;

/// The most candles of one answer.
pub const MOST_KLINES: u32 = 1_000;

/// The longest answer: 1,000 candles are about 200 kB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What a call weighs at the venue (Binance, REST general information, read 2026-11-24).
pub const WEIGHT: u32 = 2;

/// One candle, as the venue made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kline {
    /// When it begins.
    pub open_at: Timestamp,
    /// Its last millisecond.
    pub close_at: Timestamp,
    /// Its first price.
    pub open: Price,
    /// Its highest.
    pub high: Price,
    /// Its lowest.
    pub low: Price,
    /// Its last.
    pub close: Price,
    /// What changed hands, in base.
    pub volume: Decimal,
    /// The same in quote.
    pub quote_volume: Decimal,
    /// How many trades.
    pub trades: u64,
}

/// Open time, open, high, low, close, volume, close time, quote volume, trades, and three that nobody asks for.
type Row<'a> =
    (i64, &'a str, &'a str, &'a str, &'a str, &'a str, i64, &'a str, u64, IgnoredAny, IgnoredAny, IgnoredAny);

impl Rest {
    /// Candles of a pair in steps that the venue knows (`1m`, `1h`, `1d`), oldest first: those that begin from `from` on
    /// and until `to`, both included; the last ones where `from` is missing.
    ///
    /// # Errors
    /// [`VenueError`]; -1121 where the venue does not list the pair.
    pub async fn klines(
        &self,
        pair: &Pair,
        step: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<Kline>, VenueError> {
        let limit = limit.min(MOST_KLINES);
        let bound = |name: &str, at: Option<Timestamp>| {
            at.map_or_else(String::new, |at| format!("&{name}={}", at.millis().max(0)))
        };
        let path = format!(
            "/api/v3/klines?symbol={}&interval={step}&limit={limit}{}{}",
            symbol(pair),
            bound("startTime", from),
            bound("endTime", to)
        );
        let body = self.transport.call(HttpCall::get(&path, MAX_ANSWER_BYTES)).await?;
        let rows: Vec<Row<'_>> = read(&body)?;
        let kline = |row: Row<'_>| kline(&row).ok_or_else(|| unreadable(&"a candle is no possible one"));
        rows.into_iter().map(kline).collect()
    }
}

fn kline(row: &Row<'_>) -> Option<Kline> {
    let (open_at, open, high, low, close, volume, close_at, quote_volume, trades, ..) = row;
    let kline = Kline {
        open_at: fields::time(*open_at),
        close_at: fields::time(*close_at),
        open: fields::price(open)?,
        high: fields::price(high)?,
        low: fields::price(low)?,
        close: fields::price(close)?,
        volume: fields::decimal(volume)?,
        quote_volume: fields::decimal(quote_volume)?,
        trades: *trades,
    };
    let (top, bottom) = (kline.open.max(kline.close), kline.open.min(kline.close));
    (kline.high >= top && kline.low <= bottom && kline.open_at <= kline.close_at).then_some(kline)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of `GET /api/v3/klines` as Binance documents it (read 2026-11-24).
    const DOCUMENTED: &str = r#"[[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",
        1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]]"#;

    #[test]
    fn every_digit_of_the_documented_candle_is_kept() {
        let rows: Vec<Row<'_>> = serde_json::from_str(DOCUMENTED).unwrap();
        let kline = kline(&rows[0]).unwrap();
        assert_eq!(kline.open_at.to_string(), "2017-07-03T00:00:00Z");
        assert_eq!((kline.open.to_string(), kline.high.to_string()), ("0.0163479".into(), "0.8".into()));
        assert_eq!((kline.volume.to_string(), kline.trades), ("148976.11427815".into(), 308));
    }

    #[test]
    fn an_impossible_candle_is_refused() {
        for (known, wrong) in
            [("0.80000000", "0.01000000"), ("\"0.01634790\"", "\"x\""), ("1499644799999", "1")]
        {
            let text = DOCUMENTED.replace(known, wrong);
            let rows: Vec<Row<'_>> = serde_json::from_str(&text).unwrap();
            assert_eq!(kline(&rows[0]), None, "{wrong}");
        }
    }
}
