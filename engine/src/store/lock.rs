//! One server to a store: a second one would trade the same bots again.
//!
//! A file is held by a lock on another file beside it, a schema of a PostgreSQL server by an advisory lock of a
//! session of its own. Both end with the process, however it ends. Whoever only reads, or makes keys, needs neither.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fence::{Fence, NODE, OUTAGE};
use super::private::MODE;
use super::{Store, StoreError, postgres_options};

/// What our advisory locks are told apart by from others': `bpx1`.
const CLASS: i32 = 0x6270_7831;

/// How long a session that is ending may still hold its lock: the server notices soon after the process is gone.
const ENDING: Duration = Duration::from_secs(3);

/// How often the session that holds a lock is looked after.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long it may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// A store that nobody else serves; let go when this is dropped.
#[derive(Debug)]
pub(crate) struct StoreLock(Kind);

#[derive(Debug)]
enum Kind {
    /// The lock ends with the file.
    File(File),
    /// The lock ends with the session.
    Session(Box<Session>),
    /// A session that is looked after.
    Watched { let_go: oneshot::Sender<()>, watch: JoinHandle<()> },
    /// Nobody else can reach it.
    Private,
}

/// The session that holds an advisory lock, and how another one is made.
#[derive(Debug)]
struct Session {
    options: PgConnectOptions,
    /// `None` once it was lost.
    connection: Option<PgConnection>,
    is_locked: bool,
}

impl StoreLock {
    /// Takes a store, before anything in it is touched.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another server has it.
    pub(super) async fn take(url: &str) -> Result<Self, StoreError> {
        match Store::file(url) {
            Some(file) if is_private(url, &file) => Ok(Self(Kind::Private)),
            Some(file) => take_file(&file),
            None if Store::is_postgres(url) => take_session(url).await,
            // It is refused when it is opened.
            None => Ok(Self(Kind::Private)),
        }
    }

    /// The file that is locked, where it is one.
    pub(super) const fn file(&self) -> Option<&File> {
        match &self.0 {
            Kind::File(file) => Some(file),
            _ => None,
        }
    }

    /// Looks after the session from here on: one that is lost is replaced by another, as long as the fence stands. To be
    /// called on a runtime that lives as long as the lock.
    pub(super) fn keep(self, fence: Arc<Fence>) -> Self {
        let Kind::Session(session) = self.0 else { return self };
        let (let_go, asked) = oneshot::channel();
        let watch = tokio::spawn(watch(*session, asked, fence));
        Self(Kind::Watched { let_go, watch })
    }

    /// Lets it go and waits until others can see that.
    pub(crate) async fn release(self) {
        match self.0 {
            Kind::Watched { let_go, watch } => {
                // The session may be lost already.
                let _ = let_go.send(());
                let _ = tokio::time::timeout(ANSWERS_WITHIN, watch).await;
            }
            Kind::Session(session) => session.close().await,
            Kind::File(_) | Kind::Private => {}
        }
    }
}

/// Whether nobody else can reach it: it is in memory, or a file without a name.
pub(super) fn is_private(url: &str, file: &Path) -> bool {
    file.as_os_str().is_empty() || url.contains("mode=memory") || file.to_string_lossy().contains(":memory:")
}

fn take_file(database: &Path) -> Result<StoreLock, StoreError> {
    // By whatever name it is called.
    let database = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    if let Some(links) = std::fs::metadata(&database).ok().map(|file| file.nlink()).filter(|links| *links > 1)
    {
        return Err(StoreError::HardLinked(database, links));
    }
    let path = beside(&database);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let mut file = match options.open(&path) {
        Ok(file) => file,
        // Opening the database says it better.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(StoreLock(Kind::Private)),
        Err(error) if is_read_only(error.kind()) => return Err(StoreError::ReadOnly),
        Err(error) => return Err(StoreError::Lock { file: path, error }),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut held_by = String::new();
            // For the message alone.
            let _ = file.read_to_string(&mut held_by);
            let process = if held_by.trim().is_empty() { "a process" } else { held_by.trim() };
            let holder = format!("{process} holds {}", path.display());
            return Err(StoreError::InUse { store: database.display().to_string(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::Lock { file: path, error }),
    }
    // For whoever is refused; the lock holds without it.
    let _ = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
    Ok(StoreLock(Kind::File(file)))
}

fn is_read_only(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// The file that is locked. It stays where it is: who removed it could not know who has it open.
fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    PathBuf::from(path)
}

async fn take_session(url: &str) -> Result<StoreLock, StoreError> {
    let name = format!("botprimex, process {}", std::process::id());
    let options = postgres_options(url)?.application_name(&name);
    let mut session = PgConnection::connect_with(&options).await?;
    let deadline = Instant::now() + ENDING;
    while !try_lock(&mut session).await? {
        if Instant::now() >= deadline {
            let store = options.get_database().unwrap_or("the database").to_owned();
            let holder = holder(&mut session).await.unwrap_or_else(|| "a session".to_owned());
            return Err(StoreError::InUse { store, holder: format!("{holder} holds its advisory lock") });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let session = Session { options, connection: Some(session), is_locked: true };
    Ok(StoreLock(Kind::Session(Box::new(session))))
}

/// Tries to take the lock of the schema that the session works in.
async fn try_lock(session: &mut PgConnection) -> Result<bool, StoreError> {
    let asked =
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext(coalesce(current_schema(), '')))");
    Ok(asked.bind(CLASS).fetch_one(session).await?)
}

/// Who has it: what the session calls itself, and where it comes from.
async fn holder(session: &mut PgConnection) -> Option<String> {
    let asked = sqlx::query(
        "SELECT a.application_name, coalesce(host(a.client_addr), 'a local socket') AS address
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid::bigint = $1
             AND l.objid::bigint = hashtext(coalesce(current_schema(), ''))::bigint & 4294967295
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    let row = asked.bind(i64::from(CLASS)).fetch_optional(session).await.ok()??;
    let (name, address): (String, String) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
    Some(format!("`{name}` from {address}"))
}

impl Session {
    /// Sees to it that there is a session which has the lock, if that can be; the epoch that stands.
    async fn renew(&mut self) -> Result<i64, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.options).await?,
        };
        if !self.is_locked {
            self.is_locked = try_lock(&mut connection).await?;
        }
        let epoch = sqlx::query_scalar("SELECT epoch FROM fences WHERE node = $1").bind(NODE);
        let epoch = epoch.fetch_one(&mut connection).await?;
        self.connection = Some(connection);
        Ok(epoch)
    }

    async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }
}

/// Keeps a session that has the lock until it is let go of. One that was lost is no reason to end: what is written is
/// fenced. Another process's epoch is, and a server that stays away.
async fn watch(mut session: Session, mut asked: oneshot::Receiver<()>, fence: Arc<Fence>) {
    let mut failing_since = None;
    loop {
        tokio::select! {
            // Dropped as well: nobody holds the lock any more.
            _ = &mut asked => return session.close().await,
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
        let why = match tokio::time::timeout(ANSWERS_WITHIN, session.renew()).await {
            Ok(Ok(epoch)) if epoch != fence.epoch() => {
                fence.refuse(Some((epoch, 0)));
                return;
            }
            Ok(Ok(_)) if session.is_locked => {
                failing_since = None;
                continue;
            }
            Ok(Ok(_)) => "another session has it".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => StoreError::NoAnswer.to_string(),
        };
        if session.connection.is_none() {
            session.is_locked = false;
        }
        tracing::warn!(
            why,
            "the lock that keeps other servers from this database is lost: it is taken again"
        );
        let since: Instant = *failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= OUTAGE {
            fence.lose(StoreError::LockLost(why));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(url: &str) -> Result<StoreLock, StoreError> {
        StoreLock::take(url).await
    }

    #[tokio::test]
    async fn a_file_is_served_once_by_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("books.db");
        std::fs::write(&file, "").unwrap();
        let url = format!("sqlite://{}", file.display());
        let held = take(&url).await.unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for url in [url.clone(), format!("sqlite://{}", link.display())] {
            let error = take(&url).await.unwrap_err().to_string();
            let told = format!("process {} holds {}.lock", std::process::id(), file.display());
            assert!(error.contains(&told) && error.contains("stop it first"), "{error}");
        }
        held.release().await;
        take(&url).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_with_another_hard_link_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("books.db"), folder.path().join("other.db"));
        std::fs::write(&file, "").unwrap();
        std::fs::hard_link(&file, &link).unwrap();
        for name in [&file, &link] {
            let error = take(&format!("sqlite://{}", name.display())).await.unwrap_err().to_string();
            assert!(error.contains("2 hard links"), "{error}");
        }
        std::fs::remove_file(&link).unwrap();
        take(&format!("sqlite://{}", file.display())).await.unwrap();
    }

    #[tokio::test]
    async fn a_schema_is_served_once() {
        let Ok(server) = std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") else {
            println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set");
            return;
        };
        let mut owner = PgConnection::connect(&server).await.unwrap();
        let schemas = [1, 2].map(|_| format!("lock_{}", model::EventId::new()).to_lowercase());
        let glue = if server.contains('?') { '&' } else { '?' };
        for schema in &schemas {
            let made = sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}")));
            made.execute(&mut owner).await.unwrap();
        }
        let [one, other] = schemas.map(|name| format!("{server}{glue}options=-c%20search_path%3D{name}"));
        let held = take(&one).await.unwrap();
        let error = take(&one).await.unwrap_err().to_string();
        assert!(error.contains(&format!("process {}` from 127.0.0.1", std::process::id())), "{error}");
        take(&other).await.unwrap().release().await;
        held.release().await;
        take(&one).await.unwrap().release().await;
    }
}
