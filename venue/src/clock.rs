//! The venue's clock, what its `time` says and what requests are stamped by; and waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;
use tokio::time::Instant;

/// One venue's clock: this machine's wall clock, and as far ahead of it as a test has set it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead_ns = self.ahead_ms.load(Ordering::Relaxed).saturating_mul(1_000_000);
        let now_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        Timestamp::from_nanos(now_ns.saturating_add(ahead_ns))
    }

    /// Sets it so far ahead of the wall clock; behind, where negative.
    pub(crate) fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }
}

/// Waits until then; for ever without one.
pub(crate) async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}
