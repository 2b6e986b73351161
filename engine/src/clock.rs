//! The wall clock, for what is told to people, and one that never steps, for what waits. Decisions go by the time of the
//! ticks.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;
use tokio::time::{Duration, Instant};

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A moment by both clocks.
static BEGAN: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (now(), Instant::now()));

/// Now, by a clock that goes on evenly whatever happens to the wall clock: from the wall clock's time when it was asked
/// first.
pub(crate) fn steady() -> Timestamp {
    let (at, began) = *BEGAN;
    let passed = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(at.nanos().saturating_add(passed))
}

/// When the clock of [`steady`] shows a time.
pub(crate) fn instant_of(steady: Timestamp) -> Instant {
    let (at, began) = *BEGAN;
    began + Duration::from_nanos(u64::try_from(steady.since(at)).unwrap_or(0))
}
