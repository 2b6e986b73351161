//! What a symbol's ticks came to, published by its index: for bots that decide by the newest price, and for whoever
//! shows a level that trails.

use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Price, Timestamp};

use super::extremes::Extremes;

/// The newest tick of a symbol, and the extremes since any earlier one. The index writes it, anybody reads it.
#[derive(Debug, Default)]
pub struct RecentPrices(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    newest: Option<Newest>,
    extremes: Extremes,
}

/// The tick that was heard last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newest {
    /// Which one, counted from 1.
    pub seq: u64,
    /// Its price.
    pub price: Price,
    /// Its time.
    pub at: Timestamp,
    /// Whether it is the market's price, as far as is known: false while it is part of a backlog that has not been read
    /// to its end, and where it came too late.
    pub is_current: bool,
}

impl RecentPrices {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest tick after `seq`; `None` where there is none.
    pub fn newest_since(&self, seq: u64) -> Option<Newest> {
        self.state().newest.filter(|newest| newest.seq > seq)
    }

    /// The number of ticks so far.
    pub fn seq(&self) -> u64 {
        self.state().newest.map_or(0, |newest| newest.seq)
    }

    /// The highest price of the ticks after `seq`; `None` where there are none.
    pub fn high_since(&self, seq: u64) -> Option<Price> {
        Price::from_e8(self.state().extremes.high_since(seq)).filter(|price| price.e8() > 0)
    }

    /// Appends a tick.
    #[inline]
    pub(super) fn push(&self, newest: Newest) {
        let mut state = self.state();
        state.extremes.push(newest.seq, newest.price.e8());
        state.newest = Some(newest);
    }

    /// Appends a tick to the extremes alone, because it is older than the newest one.
    pub(super) fn count(&self, seq: u64, price: Price) {
        self.state().extremes.push(seq, price.e8());
    }

    /// The newest tick is the market's price.
    pub(super) fn confirm(&self) {
        if let Some(newest) = &mut self.state().newest {
            newest.is_current = true;
        }
    }

    /// The highest and the lowest price of the ticks after `seq`, in units: 0 and the largest number without any.
    pub(super) fn extremes_since(&self, seq: u64) -> (i64, i64) {
        let state = self.state();
        (state.extremes.high_since(seq), state.extremes.low_since(seq))
    }
}
