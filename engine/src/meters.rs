//! What the actors count while they work, for whoever wants to watch.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start; written by the actors, read by anybody.
#[derive(Debug, Default)]
pub struct Meters {
    ticks: AtomicU64,
    decisions: AtomicU64,
}

impl Meters {
    /// Ticks that the feeds have handed to whoever watched for them.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Acquire)
    }

    /// Moves that bots were woken by and have decided on.
    pub fn decisions(&self) -> u64 {
        self.decisions.load(Ordering::Acquire)
    }

    pub(crate) fn count_ticks(&self, ticks: u64) {
        self.ticks.fetch_add(ticks, Ordering::Release);
    }

    pub(crate) fn count_decision(&self) {
        self.decisions.fetch_add(1, Ordering::Release);
    }
}
