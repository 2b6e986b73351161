//! The rows of one file.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

/// One file's rows, checked, oldest first.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) file: PathBuf,
    pub(crate) rows: Rows,
    /// Rows left out because they were like the one before.
    pub(crate) repeated: u64,
}

/// Columns by kind.
#[derive(Debug)]
pub(crate) enum Rows {
    Ticks(TickRows),
    Candles(CandleRows),
}

/// Public trades: 24 bytes each.
#[derive(Debug, Default)]
pub(crate) struct TickRows {
    pub(crate) at: Vec<i64>,
    pub(crate) price: Vec<i64>,
    /// The venue's number of the trade, else a hash of its quantity.
    pub(crate) key: Vec<u64>,
    /// Whether every key is the venue's number.
    pub(crate) has_ids: bool,
}

/// Candles: the time, then open, high, low and close.
#[derive(Debug, Default)]
pub(crate) struct CandleRows {
    pub(crate) at: Vec<i64>,
    pub(crate) prices: Vec<[i64; 4]>,
}

impl TickRows {
    /// Appends a trade.
    pub(crate) fn push(&mut self, at: i64, price: i64, key: u64) -> Result<(), String> {
        later(self.at.last().copied(), at)?;
        self.at.push(at);
        self.price.push(price);
        self.key.push(key);
        Ok(())
    }

    pub(crate) fn row(&self, index: usize) -> Option<(i64, i64, u64)> {
        Some((*self.at.get(index)?, *self.price.get(index)?, *self.key.get(index)?))
    }
}

impl CandleRows {
    /// Appends a candle; `false` where it repeats the one before.
    pub(crate) fn push(&mut self, at: i64, prices: [i64; 4]) -> Result<bool, String> {
        let [open, high, low, close] = prices;
        if low > open.min(close).min(high) {
            return Err("the candle's low is above one of its prices".to_owned());
        }
        if high < open.max(close) {
            return Err("the candle's high is below one of its prices".to_owned());
        }
        later(self.at.last().copied(), at)?;
        if self.at.last() == Some(&at) {
            if self.prices.last() == Some(&prices) {
                return Ok(false);
            }
            return Err("a second row of the same time has other values".to_owned());
        }
        self.at.push(at);
        self.prices.push(prices);
        Ok(true)
    }
}

fn later(before: Option<i64>, at: i64) -> Result<(), String> {
    match before.filter(|before| at < *before) {
        Some(before) => {
            let [before, given] = [before, at].map(model::Timestamp::from_nanos);
            Err(format!("the time goes back from {before} to {given}; rows must be in order, oldest first"))
        }
        None => Ok(()),
    }
}

/// What tells a trade from another of the same time and price.
pub(crate) fn key(id: Option<&str>, qty: Option<&str>) -> (u64, bool) {
    if let Some(id) = id.and_then(|id| id.parse().ok()) {
        return (id, true);
    }
    let mut hasher = DefaultHasher::new();
    (id, qty).hash(&mut hasher);
    (hasher.finish(), false)
}
