//! History as columns of integers: times in nanoseconds, prices in 1e-8 quote.

use model::{Price, Timestamp};
use strategies::Candle;

/// A row that cannot follow the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HistoryError {
    /// A tick's time is earlier than the one before it.
    #[error("the time goes back from {before} to {given}")]
    GoesBack {
        /// The row before.
        before: Timestamp,
        /// This row.
        given: Timestamp,
    },
    /// A candle's opening time is not later than the one before it.
    #[error("the candle at {given} does not open after the one at {before}")]
    NotLater {
        /// The row before.
        before: Timestamp,
        /// This row.
        given: Timestamp,
    },
}

/// Public trades of one pair, oldest first; several may share a time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ticks {
    pub(crate) at: Vec<i64>,
    pub(crate) price: Vec<i64>,
}

impl Ticks {
    /// Appends a tick.
    ///
    /// # Errors
    /// [`HistoryError::GoesBack`].
    pub fn push(&mut self, at: Timestamp, price: Price) -> Result<(), HistoryError> {
        if let Some(before) = self.at.last().filter(|before| at.nanos() < **before) {
            return Err(HistoryError::GoesBack { before: Timestamp::from_nanos(*before), given: at });
        }
        self.at.push(at.nanos());
        self.price.push(price.e8());
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// A tick by its row.
    pub fn get(&self, row: usize) -> Option<(Timestamp, Price)> {
        Some((Timestamp::from_nanos(*self.at.get(row)?), Price::from_e8(*self.price.get(row)?)?))
    }

    /// The ticks from `from` up to, but not including, `to`.
    #[must_use]
    pub fn between(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let rows = rows_between(&self.at, from, to);
        let part = |column: &[i64]| column.get(rows.clone()).unwrap_or_default().to_vec();
        Self { at: part(&self.at), price: part(&self.price) }
    }

    /// Every tick, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, Price)> + '_ {
        (0..self.len()).filter_map(|row| self.get(row))
    }
}

/// Candles of one pair and step, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candles {
    pub(crate) at: Vec<i64>,
    pub(crate) open: Vec<i64>,
    pub(crate) high: Vec<i64>,
    pub(crate) low: Vec<i64>,
    pub(crate) close: Vec<i64>,
}

impl Candles {
    /// Appends a candle.
    ///
    /// # Errors
    /// [`HistoryError::NotLater`].
    pub fn push(&mut self, candle: &Candle) -> Result<(), HistoryError> {
        if let Some(before) = self.at.last().filter(|before| candle.at.nanos() <= **before) {
            return Err(HistoryError::NotLater { before: Timestamp::from_nanos(*before), given: candle.at });
        }
        let [open, high, low, close] = candle.prices().map(Price::e8);
        self.at.push(candle.at.nanos());
        self.open.push(open);
        self.high.push(high);
        self.low.push(low);
        self.close.push(close);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// A candle by its row.
    pub fn get(&self, row: usize) -> Option<Candle> {
        let price = |column: &[i64]| column.get(row).copied().and_then(Price::from_e8);
        let at = Timestamp::from_nanos(*self.at.get(row)?);
        Candle::new(at, price(&self.open)?, price(&self.high)?, price(&self.low)?, price(&self.close)?).ok()
    }

    /// The candles that open from `from` up to, but not at, `to`.
    #[must_use]
    pub fn between(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let rows = rows_between(&self.at, from, to);
        let part = |column: &[i64]| column.get(rows.clone()).unwrap_or_default().to_vec();
        Self {
            at: part(&self.at),
            open: part(&self.open),
            high: part(&self.high),
            low: part(&self.low),
            close: part(&self.close),
        }
    }

    /// Every candle, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Candle> + '_ {
        (0..self.len()).filter_map(|row| self.get(row))
    }
}

/// The rows whose times lie in a half-open span.
fn rows_between(at: &[i64], from: Option<Timestamp>, to: Option<Timestamp>) -> std::ops::Range<usize> {
    let row = |time: Timestamp| at.partition_point(|at| *at < time.nanos());
    let start = from.map_or(0, row);
    start..to.map_or(at.len(), row).max(start)
}
