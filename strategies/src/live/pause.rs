//! How long a live bot waits before it tries again what the venue refused.

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a bot waits after a refusal, doubled from one to the next.
const FIRST_PAUSE_S: u64 = 2;
const LONGEST_PAUSE_S: u64 = 3_600;

/// How long at most where it must sell.
const LONGEST_EXIT_PAUSE_S: u64 = 5;

/// Refusals in a row, and until when nothing of the kind is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Pause {
    pub(super) refusals: u32,
    pub(super) until: Timestamp,
}

impl Pause {
    pub(super) const NONE: Self = Self { refusals: 0, until: Timestamp::MIN };

    pub(super) fn after_refusal(self, now: Timestamp) -> Self {
        let seconds = (FIRST_PAUSE_S << self.refusals.min(16)).min(LONGEST_PAUSE_S);
        Self { refusals: self.refusals + 1, until: now.plus_seconds(seconds) }
    }

    pub(super) fn after_refused_exit(self, now: Timestamp) -> Self {
        let seconds = (1 << self.refusals.min(16)).min(LONGEST_EXIT_PAUSE_S);
        Self { refusals: self.refusals.saturating_add(1), until: now.plus_seconds(seconds) }
    }

    /// Whether its owner is to hear of this refusal: of the first and then of every eightfold.
    pub(super) const fn is_to_be_told(self) -> bool {
        self.refusals.is_power_of_two() && self.refusals.trailing_zeros().is_multiple_of(3)
    }
}
