//! Candles of every step, made from prints.

use std::collections::VecDeque;

use model::{Price, Timestamp};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::market::Print;
use crate::params::eight;

/// Every step there is, by name and length in ms.
const STEPS: [(&str, i64); 15] = [
    ("1s", 1_000),
    ("1m", 60_000),
    ("3m", 180_000),
    ("5m", 300_000),
    ("15m", 900_000),
    ("30m", 1_800_000),
    ("1h", 3_600_000),
    ("2h", 7_200_000),
    ("4h", 14_400_000),
    ("6h", 21_600_000),
    ("8h", 28_800_000),
    ("12h", 43_200_000),
    ("1d", 86_400_000),
    ("3d", 259_200_000),
    ("1w", 604_800_000),
];

/// How many candles of a step are kept.
const KEPT: usize = 1_000;

/// One candle.
#[derive(Clone, Debug)]
struct Candle {
    opened_ms: i64,
    open: Price,
    high: Price,
    low: Price,
    close: Price,
    volume: Decimal,
    quote: Decimal,
    taker_volume: Decimal,
    taker_quote: Decimal,
    count: u64,
    first_id: i64,
    last_id: i64,
}

/// The candles of one step.
#[derive(Debug)]
struct Step {
    name: &'static str,
    length_ms: i64,
    candles: VecDeque<Candle>,
    told_at: Timestamp,
}

/// All candles of a symbol.
#[derive(Debug)]
pub(crate) struct Candles(Vec<Step>);

impl Default for Candles {
    fn default() -> Self {
        let step =
            |(name, length_ms)| Step { name, length_ms, candles: VecDeque::new(), told_at: Timestamp::MIN };
        Self(STEPS.map(step).into())
    }
}

impl Candles {
    /// Takes a print in; `tell` is given the name of each step and what its stream says, where it is time: once a
    /// second or two, and when a candle closes.
    pub(crate) fn add(
        &mut self,
        print: &Print,
        at: Timestamp,
        symbol: &str,
        mut tell: impl FnMut(&str, &dyn Fn() -> Value),
    ) {
        for step in &mut self.0 {
            let opened_ms = step.opening(at.millis());
            if let Some(last) = step.candles.back().filter(|last| last.opened_ms < opened_ms) {
                tell(step.name, &|| last.event(step, symbol, at, true));
            }
            let pause = if step.length_ms == 1_000 { 1_000_000_000 } else { 2_000_000_000 };
            let is_due = step.told_at == Timestamp::MIN || at.since(step.told_at) >= pause;
            step.take(print, opened_ms);
            if let Some(last) = step.candles.back().filter(|_| is_due) {
                tell(step.name, &|| last.event(step, symbol, at, false));
                step.told_at = at;
            }
        }
    }

    /// The last `limit` candles of a step between two times in ms; `None` for an unknown step.
    pub(crate) fn rows(&self, name: &str, from: Option<i64>, to: Option<i64>, limit: usize) -> Option<Value> {
        let step = self.0.iter().find(|step| step.name == name)?;
        let within = |candle: &&Candle| {
            from.is_none_or(|from| candle.opened_ms >= from) && to.is_none_or(|to| candle.opened_ms <= to)
        };
        let found: Vec<&Candle> = step.candles.iter().filter(within).collect();
        let start = if from.is_some() { 0 } else { found.len().saturating_sub(limit) };
        Some(found.into_iter().skip(start).take(limit).map(|candle| candle.row(step)).collect())
    }
}

impl Step {
    /// When the candle opens that a time in ms lies in. Binance's weeks begin on Mondays, and 1970 on a Thursday.
    fn opening(&self, ms: i64) -> i64 {
        let first_ms = if self.name == "1w" { 4 * 86_400_000 } else { 0 };
        first_ms + (ms - first_ms).div_euclid(self.length_ms) * self.length_ms
    }

    fn take(&mut self, print: &Print, opened_ms: i64) {
        let worth = print.price.decimal() * print.qty.decimal();
        let is_new = self.candles.back().is_none_or(|last| last.opened_ms < opened_ms);
        if is_new {
            if self.candles.len() == KEPT {
                self.candles.pop_front();
            }
            self.candles.push_back(Candle {
                opened_ms,
                open: print.price,
                high: print.price,
                low: print.price,
                close: print.price,
                volume: Decimal::ZERO,
                quote: Decimal::ZERO,
                taker_volume: Decimal::ZERO,
                taker_quote: Decimal::ZERO,
                count: 0,
                first_id: print.id,
                last_id: print.id,
            });
        }
        let Some(candle) = self.candles.back_mut() else { return };
        candle.high = candle.high.max(print.price);
        candle.low = candle.low.min(print.price);
        candle.close = print.price;
        candle.volume += print.qty.decimal();
        candle.quote += worth;
        if !print.is_buyer_maker {
            candle.taker_volume += print.qty.decimal();
            candle.taker_quote += worth;
        }
        candle.count += 1;
        candle.last_id = print.id;
    }
}

impl Candle {
    fn row(&self, step: &Step) -> Value {
        json!([
            self.opened_ms,
            eight(self.open.decimal()),
            eight(self.high.decimal()),
            eight(self.low.decimal()),
            eight(self.close.decimal()),
            eight(self.volume),
            self.opened_ms + step.length_ms - 1,
            eight(self.quote),
            self.count,
            eight(self.taker_volume),
            eight(self.taker_quote),
            "0"
        ])
    }

    fn event(&self, step: &Step, symbol: &str, at: Timestamp, is_closed: bool) -> Value {
        json!({"e": "kline", "E": at.millis(), "s": symbol, "k": {
            "t": self.opened_ms, "T": self.opened_ms + step.length_ms - 1, "s": symbol, "i": step.name,
            "f": self.first_id, "L": self.last_id, "o": eight(self.open.decimal()),
            "c": eight(self.close.decimal()), "h": eight(self.high.decimal()), "l": eight(self.low.decimal()),
            "v": eight(self.volume), "n": self.count, "x": is_closed, "q": eight(self.quote),
            "V": eight(self.taker_volume), "Q": eight(self.taker_quote), "B": "0"}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candles_open_when_binances_do() {
        let candles = Candles::default();
        let opening = |name: &str, at: &str| {
            let step = candles.0.iter().find(|step| step.name == name).unwrap();
            Timestamp::from_millis(step.opening(at.parse::<Timestamp>().unwrap().millis())).to_string()
        };
        // 2026-03-02 was a Monday.
        assert_eq!(opening("1w", "2026-03-02T00:00:00Z"), "2026-03-02T00:00:00Z");
        assert_eq!(opening("1w", "2026-03-08T23:59:59.999Z"), "2026-03-02T00:00:00Z");
        assert_eq!(opening("1w", "2026-03-01T23:59:59.999Z"), "2026-02-23T00:00:00Z");
        assert_eq!(opening("1d", "2026-03-05T13:00:00Z"), "2026-03-05T00:00:00Z");
        assert_eq!(opening("1m", "2026-03-05T13:00:59Z"), "2026-03-05T13:00:00Z");
    }
}
