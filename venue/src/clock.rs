//! The wall clock: what the venue's `time` says and what requests are stamped with.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
