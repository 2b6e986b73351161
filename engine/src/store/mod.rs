//! The books on disk: SQLite by default, PostgreSQL by URL, one set of methods for both.
//!
//! What is written goes through `writer`, under the fence where the process has taken the store. SQLite runs in WAL mode with `synchronous = FULL`: with less, a power cut loses commits
//! that were acknowledged.

mod accounts;
mod backup;
mod bot_list;
mod bots;
mod checkpoint;
mod closed;
mod deliveries;
mod events;
mod exchanges;
mod fence;
#[cfg(test)]
mod fenced_tests;
mod files;
mod idempotency;
mod inbound;
mod ladders;
mod late;
mod lock;
mod marks;
mod master_keys;
mod opening;
mod overview;
mod payouts;
mod portfolio;
mod private;
mod realized;
mod repeat;
mod room;
mod rows;
mod sealed;
mod stats;
mod subscriptions;
mod suspensions;
mod taking;
mod trades;
mod trip;
mod url;
mod webhooks;
mod write;
mod writer;

pub use accounts::{Account, ApiKey, KeyGrant};
pub use backup::Backup;
pub use bot_list::Cursor;
pub(crate) use bot_list::{Lean, StoredOrder};
pub use bots::{BotFilter, StoredBot};
pub(crate) use closed::ClosedTrade;
pub use deliveries::{Attempt, Delivery, DeliveryFilter, DeliveryStatus, Origin};
pub use events::{EventFilter, StoredEvent};
pub use exchanges::{ExchangeConnection, KeyPermissions};
pub(crate) use overview::Overview;
pub(crate) use portfolio::{Holdings, OpenTrade};
pub(crate) use private::MODE as PRIVATE_MODE;
pub(crate) use stats::{KnownStats, StatsKey};
pub use subscriptions::Billing;
pub use suspensions::AccountDeletion;
pub use trades::TradeFilter;
pub use webhooks::{Progress, Webhook};

pub(crate) use deliveries::{Notes, OpenRows};
#[cfg(test)]
pub(crate) use exchanges::tests::{connection, stores};
pub(crate) use fence::{OnLoss, Tenure};
pub(crate) use late::{JournaledOrder, JournaledStamp};
pub(crate) use lock::StoreLock;
pub(crate) use master_keys::{KeyState, KnownKey};
pub use sealed::Forgotten;
pub(crate) use sealed::{Sealed, SealedKind};
pub use url::{database_file, shown_database_url};
pub(crate) use webhooks::SealedWebhook;
pub(crate) use write::Batch;
pub use write::News;

use self::room::Room;
use self::writer::{PostgresWriter, SqliteWriter};
use crate::fair::FairSemaphore;

use std::path::PathBuf;
use std::str::FromStr;

use model::AccountId;
use sqlx::SqlSafeStr as _;
use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::SqlitePool;

/// The schema's steps, per database: number, name, SQL.
const SQLITE: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../../migrations/sqlite/0001_first.sql")),
    (2, "marks", include_str!("../../../migrations/sqlite/0002_marks.sql")),
    (3, "exchanges", include_str!("../../../migrations/sqlite/0003_exchanges.sql")),
    (4, "live", include_str!("../../../migrations/sqlite/0004_live.sql")),
    (5, "no status index", include_str!("../../../migrations/sqlite/0005_no_status_index.sql")),
    (6, "answers", include_str!("../../../migrations/sqlite/0006_answers.sql")),
    (7, "billing", include_str!("../../../migrations/sqlite/0007_billing.sql")),
    (8, "signals", include_str!("../../../migrations/sqlite/0008_signals.sql")),
    (9, "keys", include_str!("../../../migrations/sqlite/0009_keys.sql")),
    (10, "webhooks", include_str!("../../../migrations/sqlite/0010_webhooks.sql")),
    (13, "portfolio", include_str!("../../../migrations/sqlite/0013_portfolio.sql")),
    (14, "stats", include_str!("../../../migrations/sqlite/0014_stats.sql")),
    (15, "usd", include_str!("../../../migrations/sqlite/0015_usd.sql")),
    (16, "fees", include_str!("../../../migrations/sqlite/0016_fees.sql")),
    (20, "ladders", include_str!("../../../migrations/sqlite/0020_ladders.sql")),
    (21, "key versions", include_str!("../../../migrations/sqlite/0021_key_versions.sql")),
    (22, "key ends", include_str!("../../../migrations/sqlite/0022_key_ends.sql")),
    (23, "rebookings", include_str!("../../../migrations/sqlite/0023_rebookings.sql")),
    (24, "venue accounts", include_str!("../../../migrations/sqlite/0024_venue_accounts.sql")),
    (25, "period ends", include_str!("../../../migrations/sqlite/0025_period_ends.sql")),
    (26, "best trade", include_str!("../../../migrations/sqlite/0026_best_trade.sql")),
    (27, "fences", include_str!("../../../migrations/sqlite/0027_fences.sql")),
    (28, "stripe updates", include_str!("../../../migrations/sqlite/0028_stripe_updates.sql")),
    (29, "hook secrets", include_str!("../../../migrations/sqlite/0029_hook_secrets.sql")),
    (30, "capital", include_str!("../../../migrations/sqlite/0030_capital.sql")),
    (31, "fee rates", include_str!("../../../migrations/sqlite/0031_fee_rates.sql")),
    (32, "suspensions", include_str!("../../../migrations/sqlite/0032_suspensions.sql")),
    (33, "restored", include_str!("../../../migrations/sqlite/0033_restored.sql")),
    (34, "bot names", include_str!("../../../migrations/sqlite/0034_bot_names.sql")),
];
const POSTGRES: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../../migrations/postgres/0001_first.sql")),
    (2, "marks", include_str!("../../../migrations/postgres/0002_marks.sql")),
    (3, "exchanges", include_str!("../../../migrations/postgres/0003_exchanges.sql")),
    (4, "live", include_str!("../../../migrations/postgres/0004_live.sql")),
    (6, "answers", include_str!("../../../migrations/postgres/0006_answers.sql")),
    (7, "billing", include_str!("../../../migrations/postgres/0007_billing.sql")),
    (8, "signals", include_str!("../../../migrations/postgres/0008_signals.sql")),
    (9, "keys", include_str!("../../../migrations/postgres/0009_keys.sql")),
    (10, "webhooks", include_str!("../../../migrations/postgres/0010_webhooks.sql")),
    (13, "portfolio", include_str!("../../../migrations/postgres/0013_portfolio.sql")),
    (14, "stats", include_str!("../../../migrations/postgres/0014_stats.sql")),
    (15, "usd", include_str!("../../../migrations/postgres/0015_usd.sql")),
    (16, "fees", include_str!("../../../migrations/postgres/0016_fees.sql")),
    (20, "ladders", include_str!("../../../migrations/postgres/0020_ladders.sql")),
    (21, "key versions", include_str!("../../../migrations/postgres/0021_key_versions.sql")),
    (22, "key ends", include_str!("../../../migrations/postgres/0022_key_ends.sql")),
    (23, "rebookings", include_str!("../../../migrations/postgres/0023_rebookings.sql")),
    (24, "venue accounts", include_str!("../../../migrations/postgres/0024_venue_accounts.sql")),
    (25, "period ends", include_str!("../../../migrations/postgres/0025_period_ends.sql")),
    (26, "best trade", include_str!("../../../migrations/postgres/0026_best_trade.sql")),
    (27, "fences", include_str!("../../../migrations/postgres/0027_fences.sql")),
    (28, "stripe updates", include_str!("../../../migrations/postgres/0028_stripe_updates.sql")),
    (29, "hook secrets", include_str!("../../../migrations/postgres/0029_hook_secrets.sql")),
    (30, "capital", include_str!("../../../migrations/postgres/0030_capital.sql")),
    (31, "fee rates", include_str!("../../../migrations/postgres/0031_fee_rates.sql")),
    (32, "suspensions", include_str!("../../../migrations/postgres/0032_suspensions.sql")),
    (33, "restored", include_str!("../../../migrations/postgres/0033_restored.sql")),
    (34, "bot names", include_str!("../../../migrations/postgres/0034_bot_names.sql")),
];

fn migrator(steps: &[(i64, &'static str, &'static str)]) -> Migrator {
    let step = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

/// How many connections read a file: two for lists ([`Store::list_shares`]), one each for the outbox and for webhook
/// endpoints that are behind, and two for everything that is short.
const READERS: u32 = 6;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no store that there is.
    #[error("`{0}` is no database URL: use sqlite://FILE or postgres://…")]
    Url(String),
    /// The database was written by a newer version of this program.
    #[error("the database is from a newer version (migration {0}): use that version, or restore a backup")]
    Newer(i64),
    /// The database cannot be written to.
    #[error("the database is read-only: give this user the right to write the file and its folder")]
    ReadOnly,
    /// It cannot be opened.
    #[error("the database {} cannot be opened: {error}", file.display())]
    Open {
        /// Which file, by its absolute path.
        file: PathBuf,
        /// Why not.
        error: sqlx::Error,
    },
    /// No server has made it, and this is none.
    #[error(
        "there is no database {0}: `botprimex serve` makes one; to use another, name it with --database-url or DATABASE_URL"
    )]
    Missing(String),
    /// A copy cannot be made.
    #[error("no backup could be made at {}: {why}", file.display())]
    Backup {
        /// Where it would be.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// Another server has it.
    #[error(
        "{store} is in use by another server ({holder}): stop it first, or give this one a database of its own with \
         --database-url"
    )]
    InUse {
        /// Which.
        store: String,
        /// Who has it, and by what.
        holder: String,
    },
    /// It has several names, and a server by each would corrupt it: the log lies beside the name.
    #[error(
        "{0} has {1} hard links, and a server that opens it by another of them would corrupt it: remove the others, or \
         use a copy"
    )]
    HardLinked(PathBuf, u64),
    /// Another server has taken it since.
    #[error("another server has taken the store: its epoch is {now}, this process's is {epoch}")]
    Fenced {
        /// The epoch of this process.
        epoch: i64,
        /// The one that stands; 0 where there is none.
        now: i64,
    },
    /// Commits that were acknowledged are not there any more.
    #[error(
        "the database has lost commits that were acknowledged ({found} of {acknowledged} are there), as after a failover to a \
         server that lagged behind: compare the open trades with the venue's before a server is started again"
    )]
    LostTail {
        /// How many of this process were acknowledged.
        acknowledged: i64,
        /// How many there are.
        found: i64,
    },
    /// The file that this process has open is not the one that others find.
    #[error("{} was deleted or replaced while the server ran: what it writes would be lost", .0.display())]
    Gone(PathBuf),
    /// The database server does not answer.
    #[error("the database does not answer")]
    NoAnswer,
    /// The lock is gone and cannot be had again.
    #[error("the session that kept other servers from this database was lost and could not be replaced: {0}")]
    LockLost(String),
    /// It cannot be made sure that no other server has it.
    #[error("{} cannot be locked against other servers: {error}", file.display())]
    Lock {
        /// What would be locked.
        file: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The bundled SQLite has a known corruption bug.
    #[error("SQLite {0} can corrupt its file: 3.51.3 or later is needed")]
    Unsafe(String),
    /// A schema change failed; it was rolled back.
    #[error("the database could not be brought up to date: {0}")]
    Migration(MigrateError),
    /// A change of a bot that the store does not have.
    #[error("a change is about a bot that is not in the store")]
    UnknownBot,
    /// A value that this program did not write.
    #[error("the database holds `{value}` as {column}, which makes no sense")]
    Corrupt {
        /// Of what.
        column: &'static str,
        /// The value, cut to 60 characters.
        value: String,
    },
    /// What was committed earlier could not be moved to where it belongs.
    #[error("the disk did not keep what was committed")]
    NotCopied,
    /// Somebody else changed the same at the same time; nothing is written.
    #[error("somebody else changed this at the same time")]
    Raced,
    /// Whatever the database says.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether it may be over soon, and nothing was written: somebody else has it locked, or its disk is full.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) | Self::Open { error, .. } => {
                matches!(error, sqlx::Error::PoolTimedOut) || opening::is_locked(error) || is_full(error)
            }
            Self::NoAnswer => true,
            _ => false,
        }
    }

    /// Whether a SQLite file could not grow, so that what was to be written was taken back.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if is_full(error))
    }
}

/// Whether the database says that its disk is full.
fn is_full(error: &sqlx::Error) -> bool {
    /// `SQLITE_FULL`, and PostgreSQL's `disk_full`.
    const FULL: [&str; 2] = ["13", "53100"];
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| FULL.contains(&&*code))
}

/// A part of a list, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether older ones follow.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Of one row more than asked for, the last only tells that there are more.
    pub(crate) fn of(mut rows: Vec<T>, limit: u32) -> Self {
        let limit = limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Self { rows, has_more }
    }
}

/// Runs the same statements on whichever database it is: `$pool` is its pool for reading.
macro_rules! reading {
    ($store:expr, $pool:ident => $body:expr) => {
        match $store {
            $crate::store::Store::Sqlite { readers: $pool, .. } => $body,
            $crate::store::Store::Postgres { readers: $pool, .. } => $body,
        }
    };
}

/// Runs statements that write in one transaction: `$transaction` is its connection. What the body returns is returned
/// once that is durable; where it leaves early nothing is written.
macro_rules! writing {
    ($store:expr, $transaction:ident => $body:expr) => {
        match $store {
            $crate::store::Store::Sqlite { writer, .. } => {
                let mut write = writer.begin().await?;
                let $transaction = &mut *write;
                let done = $body;
                write.commit().await?;
                done
            }
            $crate::store::Store::Postgres { writer, .. } => {
                let mut write = writer.begin().await?;
                let $transaction = &mut *write;
                let done = $body;
                write.commit().await?;
                done
            }
        }
    };
}
/// Runs statements on whichever database it is as of one moment: `$connection` sees nothing that is committed meanwhile.
macro_rules! snapshot {
    ($store:expr, $connection:ident => $body:expr) => {
        match $store {
            $crate::store::Store::Sqlite { readers, .. } => {
                let mut transaction = readers.begin().await?;
                let $connection = &mut *transaction;
                let found = $body;
                transaction.rollback().await?;
                found
            }
            $crate::store::Store::Postgres { readers, .. } => {
                let mut transaction =
                    readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                let $connection = &mut *transaction;
                let found = $body;
                transaction.rollback().await?;
                found
            }
        }
    };
}
use {reading, snapshot, writing};

/// A stored text as what it stands for.
fn parsed<T: FromStr>(column: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt { column, value: text.chars().take(60).collect() })
}

/// A stored word as the enum that serde reads it as.
fn worded<T: serde::de::DeserializeOwned>(column: &'static str, word: String) -> Result<T, StoreError> {
    let value = serde_json::Value::String(word);
    serde_json::from_value(value.clone())
        .map_err(|_| StoreError::Corrupt { column, value: value.to_string() })
}

/// An open store. The serving process writes to it under the fence, commands beside it without.
#[derive(Clone, Debug)]
pub enum Store {
    /// One file.
    Sqlite {
        /// The only way to write.
        writer: SqliteWriter,
        /// Connections that read.
        readers: SqlitePool,
        /// How much room its disk has.
        room: Room,
    },
    /// A server.
    Postgres {
        /// The only way to write.
        writer: PostgresWriter,
        /// Connections that read; their sessions cannot write.
        readers: PgPool,
    },
}

/// What each of our sessions at a PostgreSQL server is set to. It reads unless a transaction says otherwise; and a process
/// that is paused, or whose network is cut off, keeps no other one waiting for longer than this.
const SESSION: [(&str, &str); 5] = [
    ("default_transaction_read_only", "on"),
    ("idle_in_transaction_session_timeout", "2s"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "60s"),
    ("tcp_user_timeout", "5s"),
];

/// How a session at a PostgreSQL server is made.
fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)?.options(SESSION))
}

impl Store {
    /// How many lists are read at once, and how many of one account's: the other connections are for what is short.
    pub(crate) fn list_shares(&self) -> FairSemaphore<AccountId> {
        match self {
            Self::Sqlite { .. } => FairSemaphore::new(2, 1),
            Self::Postgres { .. } => FairSemaphore::new(3, 2),
        }
    }

    /// Closes every connection; what was committed is on disk.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { readers, .. } => readers.close().await,
        }
    }

    /// Lets commits return before they are on the disk: the power-cut test's proof that it would notice.
    ///
    /// # Errors
    /// [`StoreError`].
    #[doc(hidden)]
    pub async fn commit_without_sync(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { writer, .. } => writer.without_sync().await,
            Self::Postgres { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
impl Store {
    /// Runs a statement behind the store's back; how many rows it touched.
    pub(crate) async fn run(&self, sql: impl Into<String>) -> u64 {
        let sql = sqlx::AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite { writer, .. } => {
                sqlx::query(sql).execute(writer.connection()).await.unwrap().rows_affected()
            }
            Self::Postgres { writer, .. } => {
                let mut connection = writer.connection().await;
                sqlx::query(sql).execute(&mut *connection).await.unwrap().rows_affected()
            }
        }
    }
}
