//! Writing a batch of the ledger to PostgreSQL, again and again until its outcome is known.
//!
//! What happened to a transaction whose connection broke is not known. The batch is repeated as it is over a fresh
//! connection; the count in the fence's row tells whether it was committed already. So a server that restarts, or a
//! connection that breaks, costs a pause and nothing else.

use std::time::{Duration, Instant};

use super::StoreError;
use super::fence::OUTAGE;
use super::opening::is_locked;
use super::write::{Batch, write_counted};
use super::writer::PostgresWriter;

/// How long one try may take: a connection that is cut off without a word answers never.
const TRY_WITHIN: Duration = Duration::from_secs(8);

/// The first wait before the next try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest one.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Writes a batch once, whatever happens on the way.
///
/// # Errors
/// [`StoreError`] where it cannot be written as it is, the store is not this process's any more, or the server stayed
/// away for [`OUTAGE`].
pub(super) async fn write_once(writer: &PostgresWriter, batch: Batch) -> Result<(), StoreError> {
    let Some(fence) = writer.fence() else { return write_counted(writer, batch, false).await };
    let mut failing_since = None;
    let mut wait = FIRST_WAIT;
    loop {
        let is_repeated = failing_since.is_some();
        let tried = tokio::time::timeout(TRY_WITHIN, write_counted(writer, batch.clone(), is_repeated)).await;
        let error = match tried {
            Ok(Ok(())) => {
                fence.committed();
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => StoreError::NoAnswer,
        };
        let since: Instant = *failing_since.get_or_insert_with(Instant::now);
        // A server that says who is in the way is there: another session's lock ends nobody, it is waited for.
        let is_in_the_way = matches!(&error, StoreError::Database(told) if is_locked(told));
        if is_in_the_way {
            failing_since = Some(Instant::now());
        } else if is_definite(&error) || since.elapsed() >= OUTAGE {
            return Err(error);
        }
        tracing::warn!(%error, "a batch is written again: its outcome is not known");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Whether the same batch would fail in the same way again.
fn is_definite(error: &StoreError) -> bool {
    match error {
        StoreError::Database(sqlx::Error::Database(told)) => {
            // Data that does not fit, a broken constraint, what may not be done, what does not exist.
            let code = told.code().unwrap_or_default();
            ["22", "23", "28", "3D", "3F", "42"].iter().any(|class| code.starts_with(class))
        }
        StoreError::Database(_) | StoreError::NoAnswer => false,
        _ => true,
    }
}
