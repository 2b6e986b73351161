//! The wall clock: for what is told to people. Decisions go by the time of the ticks.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
