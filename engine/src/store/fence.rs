//! The fence of a store: which process may write it.
//!
//! A process takes the store at its start by raising the epoch of its row, in a transaction of its own. Every
//! transaction of that process is then conditional on the epoch, so a process that was paused while another one took
//! the store over writes nothing when it goes on, however late. The ledger's transactions are counted in the same row:
//! one whose outcome is unknown is repeated only where the count says that it was not committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::StoreError;

/// How long a PostgreSQL server may be away until the process gives it up: a restart, a failover or a lost connection is
/// survived by writing again, and what longer outages cost is decided by whoever supervises the process.
pub(super) const OUTAGE: Duration = Duration::from_secs(20);

/// The row of the only engine of a store.
pub(super) const NODE: &str = "main";

/// Locks the row against every transaction that checks it; those that do are over by then.
pub(super) const LOCK_POSTGRES: &str = "SELECT epoch FROM fences WHERE node = $1 FOR UPDATE";

/// Raises the epoch, and begins to count.
pub(super) const TAKE: &str =
    "UPDATE fences SET epoch = epoch + 1, commits = 0 WHERE node = $1 RETURNING epoch, store";

/// How far the row is.
pub(super) const READ: &str = "SELECT epoch, commits FROM fences WHERE node = $1";

/// Finds the row as long as the epoch stands.
pub(super) const CHECK_SQLITE: &str = "SELECT 1 FROM fences WHERE node = $1 AND epoch = $2";

/// Likewise, and keeps another process from raising it until the transaction is over. The ledger's count goes on beside
/// it: it changes no key.
pub(super) const CHECK_POSTGRES: &str = "SELECT 1 FROM fences WHERE node = $1 AND epoch = $2 FOR KEY SHARE";

/// Counts a batch of the ledger, unless another process has the store or the batch was counted already.
pub(super) const COUNT_SQLITE: &str =
    "UPDATE fences SET commits = commits + 1 WHERE node = ? AND epoch = ? AND commits = ?";

/// Likewise; how many rows that were.
pub(super) const COUNT_POSTGRES: &str =
    "WITH counted AS (UPDATE fences SET commits = commits + 1 WHERE node = $1 AND epoch = $2 AND commits = $3 RETURNING 1)
     SELECT COUNT(*) FROM counted";

/// Likewise, of a batch with events: of those one goes on at a time.
pub(super) const COUNT_POSTGRES_IN_ORDER: &str =
    "WITH counted AS (UPDATE fences SET commits = commits + 1 WHERE node = $1 AND epoch = $2 AND commits = $3 RETURNING 1)
     SELECT COUNT(*) FROM counted, pg_advisory_xact_lock($4)";

/// What is to happen once it is certain that the store is not this process's any more: nothing may be written or sent,
/// and the process ends.
#[derive(Clone)]
pub(crate) struct OnLoss(Arc<dyn Fn(String) + Send + Sync>);

impl OnLoss {
    /// Calls this with the reason, perhaps more than once.
    pub(crate) fn new(tell: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The store is lost.
    pub(super) fn tell(&self, why: impl std::fmt::Display) {
        (self.0)(why.to_string());
    }
}

impl std::fmt::Debug for OnLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnLoss")
    }
}

/// One taking of a store: its number, and which store it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tenure {
    /// A text that was drawn when the store was made.
    pub(crate) store: String,
    /// How many processes have taken it, with this one.
    pub(crate) epoch: i64,
}

/// This process's right to write a store.
#[derive(Debug)]
pub(crate) struct Fence {
    tenure: Tenure,
    /// Batches of the ledger that are known to be committed.
    commits: AtomicI64,
    on_loss: OnLoss,
}

impl Fence {
    pub(super) const fn new(tenure: Tenure, on_loss: OnLoss) -> Self {
        Self { tenure, commits: AtomicI64::new(0), on_loss }
    }

    pub(super) const fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    pub(super) const fn epoch(&self) -> i64 {
        self.tenure.epoch
    }

    /// How many batches of the ledger are known to be committed.
    pub(super) fn commits(&self) -> i64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// One more is.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// What it means that a check or a count did not find the row as this process left it.
    ///
    /// # Errors
    /// Unless the batch that is repeated had been committed.
    pub(super) fn judge(&self, row: Option<(i64, i64)>, is_repeated: bool) -> Result<(), StoreError> {
        let acknowledged = self.commits();
        let error = match row {
            Some((epoch, commits)) if epoch == self.epoch() => {
                if is_repeated && commits == acknowledged + 1 {
                    return Ok(());
                }
                if commits < acknowledged {
                    StoreError::LostTail { acknowledged, found: commits }
                } else {
                    StoreError::Fenced { epoch: self.epoch(), now: epoch }
                }
            }
            other => StoreError::Fenced { epoch: self.epoch(), now: other.map_or(0, |(epoch, _)| epoch) },
        };
        Err(self.lose(error))
    }

    /// Another epoch stands, or none.
    pub(super) fn refuse(&self, row: Option<(i64, i64)>) -> StoreError {
        let now = row.map_or(0, |(epoch, _)| epoch);
        self.lose(StoreError::Fenced { epoch: self.epoch(), now })
    }

    /// Ends this process's work for this reason.
    pub(super) fn lose(&self, error: StoreError) -> StoreError {
        self.on_loss.tell(&error);
        error
    }
}

/// By what right a store is written.
#[derive(Clone, Debug)]
pub(super) enum Authority {
    /// A command of an operator, or a test, beside whichever server has the store: each of its transactions stands for
    /// itself.
    Command,
    /// The process that took the store: none of its transactions is committed after another process did.
    Server(Arc<Fence>),
}

impl Authority {
    pub(super) fn fence(&self) -> Option<&Fence> {
        match self {
            Self::Command => None,
            Self::Server(fence) => Some(fence),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_row_says_whether_a_batch_was_committed_lost_or_fenced_off() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let on_loss = {
            let told = told.clone();
            OnLoss::new(move |why| told.lock().unwrap().push(why))
        };
        let fence = Fence::new(Tenure { store: String::new(), epoch: 3 }, on_loss);
        fence.committed();
        fence.committed();
        let judge = |row, is_repeated| fence.judge(row, is_repeated).map_err(|error| error.to_string());
        assert_eq!(judge(Some((3, 3)), true), Ok(()), "it was committed");
        assert!(told.lock().unwrap().is_empty());
        for (row, is_repeated, expected) in [
            (Some((3, 3)), false, "epoch is 3"),
            (Some((3, 1)), true, "1 of 2"),
            (Some((3, 4)), true, "epoch is 3"),
            (Some((4, 3)), true, "epoch is 4"),
            (None, true, "epoch is 0"),
        ] {
            let error = judge(row, is_repeated).unwrap_err();
            assert!(error.contains(expected), "{row:?}: {error}");
        }
        assert_eq!(told.lock().unwrap().len(), 5);
    }
}
