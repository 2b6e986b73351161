//! How long something waits until it is tried again: from try to try twice as long, up to a bound.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Tries of one thing.
#[derive(Clone, Debug)]
pub(super) struct Retries {
    /// The first wait and the longest.
    waits: RangeInclusive<Duration>,
    tries: u32,
    /// When it may be tried again.
    next_at: Option<Instant>,
}

impl Retries {
    pub(super) const fn new(waits: RangeInclusive<Duration>) -> Self {
        Self { waits, tries: 0, next_at: None }
    }

    /// It is tried now.
    pub(super) fn begin(&mut self) {
        let wait = self.waits.start().saturating_mul(2_u32.saturating_pow(self.tries)).min(*self.waits.end());
        self.tries += 1;
        self.next_at = Some(Instant::now() + wait);
    }

    /// The last try does not count: it cannot have had an effect.
    pub(super) const fn discount(&mut self) {
        self.tries = self.tries.saturating_sub(1);
        self.next_at = None;
    }

    /// How long until it may be tried again; `None` where it may be tried now.
    pub(super) fn wait(&self) -> Option<Duration> {
        let wait = self.next_at?.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut retries = Retries::new(Duration::from_secs(1)..=Duration::from_secs(3));
        assert_eq!(retries.wait(), None);
        for expected in [1, 2, 3, 3] {
            retries.begin();
            let wait = retries.wait().unwrap();
            assert_eq!(wait.as_millis().div_ceil(1_000), expected, "{wait:?}");
        }
    }
}
