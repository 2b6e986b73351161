//! The only place that reads a clock.

use std::time::SystemTime;

use model::Timestamp;

/// Now, by the machine's clock.
#[allow(clippy::disallowed_methods, reason = "this is the one place where the venue reads the wall clock")]
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
