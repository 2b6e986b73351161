//! Moving committed pages from SQLite's write-ahead log into the file, beside the writer and not in its way.
//!
//! Left to itself the connection that commits also copies, and everybody waits: a stall of tens of milliseconds
//! every few thousand changes.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Notify;

/// Pages in the log at which the writer copies by itself after all.
pub(super) const NET: &str = "16000";

/// Pages in the log at which it is begun anew, which the writer waits for.
const LONG: i64 = 4_000;

/// How long commits gather before their pages are copied.
const PAUSE: Duration = Duration::from_millis(20);

/// Tells the copier that there is something to copy.
#[derive(Clone, Debug)]
pub struct Checkpoints(Arc<Notify>);

impl Checkpoints {
    /// Something was committed.
    pub(super) fn committed(&self) {
        self.0.notify_one();
    }
}

/// Starts the copier; it ends once the writer is closed.
pub(super) async fn start(
    options: &SqliteConnectOptions,
    writer: &SqlitePool,
) -> Result<Checkpoints, sqlx::Error> {
    let connection = options.connect().await?;
    let committed = Arc::new(Notify::new());
    tokio::spawn(copy(connection, writer.clone(), committed.clone()));
    Ok(Checkpoints(committed))
}

async fn copy(mut connection: SqliteConnection, writer: SqlitePool, committed: Arc<Notify>) {
    loop {
        tokio::select! {
            () = committed.notified() => {}
            () = writer.close_event() => break,
        }
        tokio::time::sleep(PAUSE).await;
        let copied = match passive(&mut connection).await {
            Ok(pages) if pages > LONG => restart(&writer).await,
            other => other.map(drop),
        };
        // Nothing is lost: the log keeps what was not copied, and the writer's own net catches it.
        if let Err(error) = copied
            && !writer.is_closed()
        {
            tracing::warn!(%error, "the database's log could not be copied into its file");
        }
    }
    let _ = connection.close().await;
}

/// Copies what nobody waits for; how many pages the log has.
async fn passive(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (_busy, pages, _copied): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    Ok(pages)
}

/// Begins the log anew; little is left to copy.
async fn restart(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(RESTART)").execute(writer).await.map(drop)
}
