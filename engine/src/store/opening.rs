//! Opening a store, and bringing its schema up to date: once, however many processes start at the same time.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::room::Room;
use super::writer::{PostgresWriter, SqliteWriter};
use super::{
    POSTGRES, READERS, SQLITE, Store, StoreError, checkpoint, lock, migrator, postgres_options, private,
};

/// The first SQLite without the WAL-reset corruption race of 3.7.0 to 3.51.2.
const LEAST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long another process may keep a file locked while this one opens it: it may be making the schema.
const LOCKED_FOR: Duration = Duration::from_secs(30);

/// How soon a locked file is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How long what writes may wait for the only connection that does.
const WRITES_WITHIN: Duration = Duration::from_secs(5);

/// How long a command waits for a database that a server may be about to make.
const APPEARS_WITHIN: Duration = Duration::from_secs(2);

impl Store {
    /// Opens a store, makes it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is left half done.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite:") {
            let deadline = Instant::now() + LOCKED_FOR;
            loop {
                match open_sqlite(url).await {
                    Err(StoreError::Open { error, .. }) if is_locked(&error) && Instant::now() < deadline => {
                        tokio::time::sleep(TRY_AGAIN).await;
                    }
                    opened => return opened,
                }
            }
        }
        if Self::is_postgres(url) {
            return open_postgres(url).await;
        }
        let scheme = url.split(':').next().unwrap_or_default();
        Err(StoreError::Url(format!("{scheme}:…")))
    }

    /// Opens a store that a server made, for a command beside whichever server has it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none, and as [`Store::open`].
    pub async fn open_existing(url: &str) -> Result<Self, StoreError> {
        let deadline = Instant::now() + APPEARS_WITHIN;
        while let Some(missing) = missing(url).await? {
            if Instant::now() >= deadline {
                return Err(StoreError::Missing(missing));
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        Self::open(url).await
    }

    /// Whether a URL names a PostgreSQL server.
    pub(super) fn is_postgres(url: &str) -> bool {
        url.starts_with("postgres:") || url.starts_with("postgresql:")
    }

    /// The file that a URL names, where it is a file.
    pub(crate) fn file(url: &str) -> Option<PathBuf> {
        let options = url.starts_with("sqlite:").then(|| SqliteConnectOptions::from_str(url).ok())??;
        Some(options.get_filename().to_owned())
    }
}

/// The absolute path of a file, for messages; as it is given where that cannot be told.
pub(super) fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// What a URL names, where no server has made a store there.
async fn missing(url: &str) -> Result<Option<String>, StoreError> {
    if let Some(file) = Store::file(url) {
        let is_there = lock::is_private(url, &file) || file.exists();
        return Ok((!is_there).then(|| absolute(&file).display().to_string()));
    }
    if !Store::is_postgres(url) {
        // It is refused when it is opened.
        return Ok(None);
    }
    let asked = PgPoolOptions::new().max_connections(1).connect_with(postgres_options(url)?).await?;
    let sql = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL, current_database()::text, current_schema()::text";
    let found: (bool, String, Option<String>) = sqlx::query_as(sql).fetch_one(&asked).await?;
    asked.close().await;
    let (is_there, database, schema) = found;
    Ok((!is_there).then(|| format!("{database}, schema {}", schema.unwrap_or_default())))
}

async fn open_sqlite(url: &str) -> Result<Store, StoreError> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("wal_autocheckpoint", checkpoint::NET)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON");
    let file = options.get_filename();
    let at = |error: sqlx::Error| match read_only(error) {
        StoreError::Database(error) => StoreError::Open { file: absolute(file), error },
        other => other,
    };
    if !lock::is_private(url, file) {
        private::keep_private(file);
    }
    // A file does not hang up: nobody need ask whether it is still there.
    let pool = || SqlitePoolOptions::new().test_before_acquire(false);
    let alone = pool().max_connections(1).acquire_timeout(WRITES_WITHIN);
    // A group of changes that does not fit into the cache spills to the file before it is committed: at a tenth of the most
    // that is written a second, that made the slowest hundredth wait three times as long.
    let cached = options.clone().pragma("cache_size", "-65536");
    let writer = alone.connect_with(cached).await.map_err(at)?;
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&writer).await.map_err(at)?;
    if !is_safe(&version) {
        return Err(StoreError::Unsafe(version));
    }
    migrate_sqlite(&writer).await.map_err(|error| match error {
        StoreError::Database(error) => at(error),
        other => other,
    })?;
    // An old file that may not be written passes the migrations: nothing is pending.
    sqlx::query("UPDATE accounts SET name = name WHERE id = ''").execute(&writer).await.map_err(at)?;
    let checkpoints = checkpoint::start(&options, &writer).await?;
    let readers =
        pool().max_connections(READERS).connect_with(options.clone().read_only(true)).await.map_err(at)?;
    let folder = (!lock::is_private(url, file)).then(|| absolute(file).parent().map(Path::to_owned));
    let room = Room::of(folder.flatten());
    Ok(Store::Sqlite { writer: SqliteWriter::new(writer, checkpoints), readers, room })
}

/// Brings a file's schema up to date in one transaction, which no other process writes beside. What is there is read
/// inside it: another process may just have done the same.
async fn migrate_sqlite(writer: &SqlitePool) -> Result<(), StoreError> {
    if is_current(writer).await {
        return Ok(());
    }
    let mut alone = writer.begin_with("BEGIN IMMEDIATE").await?;
    // `run` asks for a `Send` that a borrowed connection cannot show.
    migrator(SQLITE).run_direct(None, &mut *alone, false).await.map_err(migration)?;
    alone.commit().await?;
    Ok(())
}

/// Whether a file has exactly the schema of this version; then nothing needs to be locked.
async fn is_current(writer: &SqlitePool) -> bool {
    let applied =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version");
    let Ok(applied): Result<Vec<(i64, Vec<u8>)>, _> = applied.fetch_all(writer).await else { return false };
    let steps = migrator(SQLITE);
    let expected = steps.iter().map(|step| (step.version, step.checksum.to_vec()));
    applied.into_iter().eq(expected)
}

async fn open_postgres(url: &str) -> Result<Store, StoreError> {
    // By a session of its own: it writes, and may take long. The migrator holds an advisory lock meanwhile.
    let migrating = PgPoolOptions::new().max_connections(1).connect(url).await?;
    migrator(POSTGRES).run(&migrating).await.map_err(migration)?;
    migrating.close().await;
    let readers: PgPool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(postgres_options(url)?)
        .await?;
    Ok(Store::Postgres { writer: PostgresWriter::new(readers.clone()), readers })
}

/// Whether another process or session has a lock that this one waited for.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    /// `SQLITE_BUSY` and `SQLITE_LOCKED`, the low byte of their extended codes.
    const SQLITE: [u32; 2] = [5, 6];
    /// PostgreSQL's `lock_not_available`, and a statement that waited for one for too long.
    const POSTGRES: [&str; 2] = ["55P03", "57014"];
    let Some(code) = error.as_database_error().and_then(DatabaseError::code) else { return false };
    match code.parse::<u32>() {
        Ok(code) => SQLITE.contains(&(code & 0xff)),
        Err(_) => POSTGRES.contains(&&*code),
    }
}

fn is_safe(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= LEAST_SQLITE
}

fn read_only(error: sqlx::Error) -> StoreError {
    let told = error.to_string();
    if told.contains("readonly") || told.contains("read-only") { StoreError::ReadOnly } else { error.into() }
}

fn migration(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => StoreError::Newer(version),
        MigrateError::Execute(error) => read_only(error),
        other if other.to_string().contains("readonly") => StoreError::ReadOnly,
        other => StoreError::Migration(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &tempfile::TempDir) -> String {
        format!("sqlite://{}", folder.path().join("books.db").display())
    }

    #[tokio::test]
    async fn a_file_opens_again_with_safe_settings() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let store = Store::open(&file(&folder)).await.unwrap();
            let Store::Sqlite { writer, .. } = &store else { panic!() };
            let writer = writer.connection();
            let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(writer).await.unwrap();
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(writer).await.unwrap();
            assert_eq!((synchronous, mode.as_str()), (2, "wal"));
            store.close().await;
        }
    }

    #[tokio::test]
    async fn a_database_from_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&file(&folder)).await.unwrap();
        store
            .run(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', TRUE, x'00', 0)",
            )
            .await;
        store.close().await;
        let error = Store::open(&file(&folder)).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer(9_999)), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_is_no_store_is_refused_without_its_password() {
        let error = Store::open("mysql://user:secret@host/db").await.unwrap_err().to_string();
        assert!(error.contains("mysql:") && !error.contains("secret"), "{error}");
    }

    #[tokio::test]
    async fn a_command_makes_no_database_and_names_the_one_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let error = Store::open_existing(&file(&folder)).await.unwrap_err().to_string();
        let path = folder.path().join("books.db");
        assert!(error.contains(&path.display().to_string()) && error.contains("serve"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        Store::open(&file(&folder)).await.unwrap().close().await;
        Store::open_existing(&file(&folder)).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("books.db");
        let error = Store::open(&format!("sqlite://{}", path.display())).await.unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn an_unsafe_sqlite_is_known() {
        for (version, safe) in [("3.46.0", false), ("3.51.2", false), ("3.51.3", true), ("4.0.0", true)] {
            assert_eq!(is_safe(version), safe, "{version}");
        }
    }

    /// Each on a runtime of its own, as processes are.
    fn open_at_once(url: &str) {
        let starts = std::sync::Barrier::new(6);
        std::thread::scope(|threads| {
            for _ in 0..6 {
                threads.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    starts.wait();
                    runtime.block_on(async { Store::open(url).await.unwrap().close().await });
                });
            }
        });
    }

    #[test]
    fn many_processes_make_a_fresh_database_at_once() {
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            open_at_once(&file(&folder));
        }
        let Ok(server) = std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") else {
            println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set");
            return;
        };
        for _ in 0..3 {
            let schema = format!("opening_{}", model::EventId::new()).to_lowercase();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let owner = PgPool::connect(&server).await.unwrap();
                let made = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
                sqlx::query(made).execute(&owner).await.unwrap();
                owner.close().await;
            });
            let glue = if server.contains('?') { '&' } else { '?' };
            open_at_once(&format!("{server}{glue}options=-c%20search_path%3D{schema}"));
        }
    }
}
