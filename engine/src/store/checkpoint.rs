//! Moving committed pages from SQLite's write-ahead log into the file, beside the writer and not in its way.
//!
//! Left to itself the connection that commits also copies, and everybody waits. What would keep a commit waiting is
//! taken from it here, each measured: copying, by a connection that passes the writer by; waiting until what was
//! copied is on the disk, by a sync of the file before the log is begun anew, which is the one thing that the writer
//! has to stand still for; and making the log longer, for which the file system's own journal is written with
//! every commit, by making it as long as it gets at once.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Notify;

use super::StoreError;

/// Pages in the log at which the writer copies by itself after all.
pub(super) const NET: &str = "16000";

/// Pages in the log at which it is begun anew, which the writer waits for.
const LONG: i64 = 4_000;

/// The log's pages that tell that the store is written to in earnest: then it gets its whole length.
const USED: i64 = 250;

/// What it gets, in bytes: more than is written until it is begun anew, as a part of it stays in memory.
const ROOM: i64 = 20_000_000;

/// The bytes of a page in the log.
const FRAME: u64 = 4_096 + 24;

/// How long commits gather before their pages are copied.
const PAUSE: Duration = Duration::from_millis(20);

/// The copier, as the writer sees it.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    committed: Notify,
    has_failed: AtomicBool,
}

impl Checkpoints {
    /// Something was committed.
    ///
    /// # Errors
    /// [`StoreError::NotCopied`]; then no commit since can be relied on.
    pub(super) fn committed(&self) -> Result<(), StoreError> {
        self.0.committed.notify_one();
        if self.0.has_failed.load(Ordering::Acquire) { Err(StoreError::NotCopied) } else { Ok(()) }
    }
}

/// Copies what an earlier process left in the log, and starts the copier, which ends once the writer is closed.
///
/// # Errors
/// [`StoreError`]. What is taken up from a log is relied on, and a process that ended because the disk failed it may
/// have left there what never reached the disk: it has to be in the file.
pub(super) async fn start(
    options: &SqliteConnectOptions,
    writer: &SqlitePool,
) -> Result<Checkpoints, StoreError> {
    let mut connection = options.connect().await?;
    passive(&mut connection).await?;
    let shared = Arc::new(Shared::default());
    let path = options.get_filename();
    let copier = Copier { connection, writer: writer.clone(), file: open(path), has_room: is_long(path) };
    tokio::spawn(run(copier, shared.clone()));
    Ok(Checkpoints(shared))
}

/// The database's file, to sync it. It is never closed: SQLite's locks on a file end as soon as its process closes
/// the file anywhere, and with them what keeps other processes from removing a log that is in use.
fn open(path: &Path) -> Option<&'static File> {
    match File::open(path) {
        Ok(file) => Some(Box::leak(Box::new(file))),
        // It is in memory.
        Err(_) => None,
    }
}

/// Whether a database's log is as long as it gets already; it is kept by whatever kills a process.
fn is_long(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(Path::new(&log)).is_ok_and(|log| log.len() > LONG.unsigned_abs() * FRAME)
}

async fn run(mut copier: Copier, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.committed.notified() => {}
            () = copier.writer.close_event() => break,
        }
        tokio::time::sleep(PAUSE).await;
        match copier.turn().await {
            Ok(()) => {}
            Err(_) if copier.writer.is_closed() => break,
            Err(error) if is_of_the_disk(&error) => {
                // What the disk could not keep may be gone, and asking it again would not tell.
                tracing::error!(%error, "the database's log cannot be copied into its file");
                shared.has_failed.store(true, Ordering::Release);
                break;
            }
            // Nothing is lost: the log keeps what was not copied, and the writer's own net catches it.
            Err(error) => tracing::warn!(%error, "the database's log could not be copied into its file"),
        }
    }
    let _ = copier.connection.close().await;
}

struct Copier {
    connection: SqliteConnection,
    writer: SqlitePool,
    file: Option<&'static File>,
    /// The log is as long as it gets.
    has_room: bool,
}

impl Copier {
    async fn turn(&mut self) -> Result<(), sqlx::Error> {
        let pages = self.copy().await?;
        if pages > USED && !self.has_room {
            make_room(&self.writer).await?;
            self.has_room = true;
        }
        if pages > LONG {
            // What was committed meanwhile, so that the writer waits for little.
            self.copy().await?;
            sqlx::query("PRAGMA wal_checkpoint(RESTART)").execute(&self.writer).await?;
        }
        Ok(())
    }

    /// Copies what nobody waits for, and waits until it is on the disk; how many pages the log has.
    async fn copy(&mut self) -> Result<i64, sqlx::Error> {
        let pages = passive(&mut self.connection).await?;
        if let Some(file) = self.file {
            let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
            synced.map_err(std::io::Error::other)??;
        }
        Ok(pages)
    }
}

async fn passive(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (_busy, pages, _copied): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    Ok(pages)
}

/// Makes the log as long as it gets: by what is written into it and taken back.
async fn make_room(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE room (filled BLOB)").execute(&mut *transaction).await?;
    let fill = sqlx::query("INSERT INTO room VALUES (zeroblob(?))").bind(ROOM);
    fill.execute(&mut *transaction).await?;
    transaction.rollback().await
}

/// Whether the disk failed, and not only somebody else was there first or it is full.
fn is_of_the_disk(error: &sqlx::Error) -> bool {
    /// `SQLITE_IOERR`; what else is in its code tells where.
    const IO: u32 = 10;
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(told) => {
            told.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == IO)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use model::{BotTurned, DomainEvent, EventData, EventId, Timestamp};

    use super::*;
    use crate::change::Change;
    use crate::store::Store;

    #[tokio::test]
    async fn a_log_in_use_gets_its_whole_length_at_once_and_is_begun_anew_when_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("books.db");
        let store = Store::open(&format!("sqlite://{}", file.display())).await.unwrap();
        let account_id = store.create_account("one", Timestamp::MIN).await.unwrap().id;
        let told = BotTurned::started(model::BotId::new(), &"x".repeat(1_000), "user");
        let event = || DomainEvent {
            id: EventId::new(),
            account_id,
            bot_id: None,
            at: Timestamp::MIN,
            data: EventData::BotStarted(told.clone()),
        };
        // About a hundred pages.
        let commit = async || {
            let events = (0..200).map(|_| event()).collect();
            store.commit([Change { events, ..Change::default() }]).await.unwrap();
        };
        assert!(!is_long(&file));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_long(&file) {
            assert!(Instant::now() < deadline);
            commit().await;
        }
        let log = folder.path().join("books.db-wal");
        let length = std::fs::metadata(&log).unwrap().len();
        assert!(length < 2 * ROOM.unsigned_abs(), "{length} bytes at once");
        for _ in 0..100 {
            commit().await;
            // Where the disk is busy the copier is as slow as the writer.
            tokio::time::sleep(2 * PAUSE).await;
        }
        let longer = std::fs::metadata(&log).unwrap().len();
        assert!(longer < 2 * ROOM.unsigned_abs(), "{longer} bytes after more than twice as much");
        store.close().await;
    }

    #[test]
    fn a_disk_that_fails_is_told_from_one_that_is_full_or_in_use() {
        let io = |kind| sqlx::Error::Io(std::io::Error::from(kind));
        assert!(is_of_the_disk(&io(std::io::ErrorKind::Other)));
        assert!(!is_of_the_disk(&sqlx::Error::PoolTimedOut));
    }
}
