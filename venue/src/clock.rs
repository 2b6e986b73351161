//! The wall clock, what the venue's `time` says and what requests are stamped with; and waiting.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;
use tokio::time::Instant;

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Waits until then; for ever without one.
pub(crate) async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}
