//! How long a live bot waits before it tries again what came to nothing.

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// How tries follow each other: the first wait and the longest, in seconds. From one try to the next it doubles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first_s: u64,
    longest_s: u64,
}

impl Backoff {
    /// Buys that the venue refused.
    pub(super) const REFUSED_ENTRY: Self = Self { first_s: 2, longest_s: 300 };
    /// Buys that filled nothing, or waited too long to be sent.
    pub(super) const EMPTY_ENTRY: Self = Self { first_s: 1, longest_s: 5 };
    /// Sales: what must be sold is tried again every few seconds.
    pub(super) const EXIT: Self = Self { first_s: 1, longest_s: 5 };
    /// Stops that the venue did not take, or did not keep.
    pub(super) const STOP: Self = Self { first_s: 2, longest_s: 60 };

    fn wait_s(self, tries: u32) -> u64 {
        (self.first_s << tries.min(16)).min(self.longest_s)
    }
}

/// Tries in a row that came to nothing, and until when the next one waits, by the bot's own clock. A restart does not
/// wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Pause {
    #[serde(default)]
    tries: u32,
    /// How many of the tries the venue refused.
    pub(super) refusals: u32,
    /// When the last try came to nothing.
    #[serde(skip, default = "never")]
    since: Timestamp,
    #[serde(skip, default = "never")]
    pub(super) until: Timestamp,
}

const fn never() -> Timestamp {
    Timestamp::MIN
}

impl Pause {
    pub(super) const NONE: Self =
        Self { tries: 0, refusals: 0, since: Timestamp::MIN, until: Timestamp::MIN };

    pub(super) fn is_over(self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// After a try that came to nothing without a refusal.
    pub(super) fn after_nothing(self, backoff: Backoff, now: Timestamp) -> Self {
        let until = now.plus_seconds(backoff.wait_s(self.tries));
        Self { tries: self.tries.saturating_add(1), since: now, until, ..self }
    }

    /// After a try that the venue refused.
    pub(super) fn after_refusal(self, backoff: Backoff, now: Timestamp) -> Self {
        Self { refusals: self.refusals.saturating_add(1), ..self.after_nothing(backoff, now) }
    }

    /// After an order was taken away that was neither refused nor came to nothing by itself: the first of a series is
    /// placed again at once. A series ends once nothing was taken away for longer than the longest wait.
    pub(super) fn after_loss(self, backoff: Backoff, now: Timestamp) -> Self {
        if self.tries == 0 || now > self.until.plus_seconds(backoff.longest_s) {
            return Self { tries: 1, since: now, until: now, ..Self::NONE };
        }
        self.after_nothing(backoff, now)
    }

    /// Whether a series has just begun.
    pub(super) const fn is_first(self) -> bool {
        self.tries == 1
    }

    /// Without waiting longer than a second after the last try.
    pub(super) fn shortened(self, now: Timestamp) -> Self {
        Self { until: self.until.min(now.max(self.since.plus_seconds(1))), ..self }
    }

    /// Tries again at once; the tries count on.
    pub(super) const fn ended(self) -> Self {
        Self { until: Timestamp::MIN, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut pause = Pause::NONE;
        let waits: Vec<i64> = (0..5)
            .map(|_| {
                pause = pause.after_refusal(Backoff::EXIT, second(100));
                pause.until.since(second(100)) / 1_000_000_000
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(pause.shortened(second(100)).until, second(101), "not twice within a second");
    }

    #[test]
    fn an_order_that_rested_long_is_placed_again_at_once_and_one_of_a_series_is_not() {
        let first = Pause::NONE.after_loss(Backoff::STOP, second(100));
        assert!(first.is_over(second(100)) && first.is_first());
        let second_time = first.after_loss(Backoff::STOP, second(101));
        assert_eq!((second_time.until, second_time.is_first()), (second(105), false));
        assert!(second_time.after_loss(Backoff::STOP, second(166)).is_over(second(166)));
    }
}
