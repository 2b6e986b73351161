//! Files of market history: what is read, and what is refused by name (contract §6).
//!
//! A file's format is told by its content, not by its name. Rows go straight into columns of integers, so a compressed or
//! large file is never in memory as text.

mod arrow;
mod columns;
mod csv;
mod error;
mod json;
mod merge;
mod number;
mod open;
mod table;
mod time;

use std::path::PathBuf;

use model::{Price, Timestamp};

use crate::history::{Candles, Ticks};

pub use error::ReadError;
pub use merge::Note;

/// The rows of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum History {
    /// Public trades.
    Ticks(Ticks),
    /// Candles of one step.
    Candles(Candles),
}

impl History {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Ticks(ticks) => ticks.len(),
            Self::Candles(candles) => candles.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the first row begins with.
    pub fn first_price(&self) -> Option<Price> {
        match self {
            Self::Ticks(ticks) => ticks.get(0).map(|(_, price)| price),
            Self::Candles(candles) => candles.get(0).map(|candle| {
                let [open, ..] = candle.prices();
                open
            }),
        }
    }

    /// The rows from `from` up to, but not including, `to`.
    #[must_use]
    pub fn between(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        match self {
            Self::Ticks(ticks) => Self::Ticks(ticks.between(from, to)),
            Self::Candles(candles) => Self::Candles(candles.between(from, to)),
        }
    }
}

/// Reads files as one history, in whatever order they are given. The notes tell gaps, repeated rows and overlaps.
///
/// # Errors
/// [`ReadError`] names the file, the line where there is one, and the reason: a format that is not read, a bad row, files
/// that do not belong together.
pub fn read(files: &[PathBuf]) -> Result<(History, Vec<Note>), ReadError> {
    let tables = files.iter().map(|file| open::read(file)).collect::<Result<Vec<_>, _>>()?;
    merge::merge(tables)
}
