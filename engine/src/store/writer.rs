//! The only ways to write a store: transactions that are checked against the fence before anything else is done in
//! them, and whose commit is followed by a look at the files, before anybody is told.
//!
//! Nothing else can write. SQLite's other connections are read-only, and so are PostgreSQL's sessions unless a
//! transaction says otherwise, as those that are begun here do.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Database, Postgres, Sqlite, Transaction};

use super::StoreError;
use super::checkpoint::Checkpoints;
use super::fence::{
    Authority, CHECK_POSTGRES, CHECK_SQLITE, COUNT_POSTGRES, COUNT_POSTGRES_IN_ORDER, Fence, NODE, READ,
};
use super::files::Files;
use super::trip::Trip;

/// What PostgreSQL is asked to let only one transaction at a time hold: the right to add events.
const EVENTS_LOCK: i64 = 0x0062_7078_6576_7473;

/// Writes a SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteWriter {
    /// The only connection that writes.
    pool: SqlitePool,
    authority: Authority,
    /// What is checked after each commit, where it is a file that this process took.
    files: Option<Arc<Files>>,
    checkpoints: Checkpoints,
}

/// Writes a schema of a PostgreSQL server.
#[derive(Clone, Debug)]
pub struct PostgresWriter {
    pool: PgPool,
    authority: Authority,
}

/// A transaction that writes; it is taken back unless [`Write::commit`] is called.
pub(super) struct Write<'w, D: Database> {
    transaction: Transaction<'static, D>,
    /// Whose files are looked at after the commit.
    file: Option<&'w SqliteWriter>,
}

impl<D: Database> Deref for Write<'_, D> {
    type Target = D::Connection;
    fn deref(&self) -> &D::Connection {
        &self.transaction
    }
}

impl<D: Database> DerefMut for Write<'_, D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.transaction
    }
}

impl<D: Database> Write<'_, D> {
    /// Commits, and waits until it is durable, in files that others will find.
    ///
    /// # Errors
    /// [`StoreError`]; it may be committed all the same.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await?;
        self.file.map_or(Ok(()), SqliteWriter::committed)
    }
}

impl SqliteWriter {
    pub(super) const fn new(pool: SqlitePool, checkpoints: Checkpoints) -> Self {
        Self { pool, authority: Authority::Command, files: None, checkpoints }
    }

    /// The same, of the process that took the store.
    pub(super) fn of_server(&self, fence: Arc<Fence>, files: Option<Arc<Files>>) -> Self {
        Self { authority: Authority::Server(fence), files, ..self.clone() }
    }

    pub(super) fn fence(&self) -> Option<&Fence> {
        self.authority.fence()
    }

    /// Begins a transaction, while the store is this process's.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where it is not any more.
    pub(super) async fn begin(&self) -> Result<Write<'_, Sqlite>, StoreError> {
        let mut write = self.begin_unchecked().await?;
        if let Some(fence) = self.fence() {
            let check = sqlx::query(CHECK_SQLITE).bind(NODE).bind(fence.epoch());
            if check.fetch_optional(&mut *write).await?.is_none() {
                let row = sqlx::query_as(READ).bind(NODE).fetch_optional(&mut *write).await?;
                return Err(fence.refuse(row));
            }
        }
        Ok(write)
    }

    /// Writes the first statements of a batch, which count it, all in one trip; whether it is to go on: one that is
    /// repeated may have been committed.
    ///
    /// # Errors
    /// [`StoreError`], as where the store is not this process's any more.
    pub(super) async fn fill_batch(
        &self,
        write: &mut Write<'_, Sqlite>,
        trip: Trip,
        is_repeated: bool,
    ) -> Result<bool, StoreError> {
        if !trip.go(write, self.fence()).await?
            && let Some(fence) = self.fence()
        {
            let row = sqlx::query_as(READ).bind(NODE).fetch_optional(&mut **write).await?;
            return fence.judge(row, is_repeated).map(|()| false);
        }
        Ok(true)
    }

    /// Begins a batch of the ledger, however long another process keeps the file locked: what was decided is not dropped.
    ///
    /// # Errors
    /// [`StoreError`], but not that it is locked.
    pub(super) async fn begin_batch(&self) -> Result<Write<'_, Sqlite>, StoreError> {
        let mut is_told = false;
        loop {
            match self.begin_unchecked().await {
                Err(error) if error.may_pass() && !error.is_full() => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "the database is locked by another process: nothing is written until it lets go");
                    }
                }
                Ok(write) => {
                    if is_told {
                        tracing::info!("the database can be written again");
                    }
                    return Ok(write);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin_unchecked(&self) -> Result<Write<'_, Sqlite>, StoreError> {
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Write { transaction, file: Some(self) })
    }

    /// Writes over another connection from here on. A statement that finds the disk full may take its transaction back by
    /// itself, which the connection does not notice: it would refuse to begin another.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        self.pool.acquire().await?.close().await?;
        Ok(())
    }

    /// Something was committed.
    fn committed(&self) -> Result<(), StoreError> {
        self.checkpoints.committed()?;
        let (Some(files), Some(fence)) = (&self.files, self.fence()) else { return Ok(()) };
        files.check().map_err(|error| fence.lose(error))
    }

    /// Writes the file anew without what was deleted in it, and empties the log.
    ///
    /// # Errors
    /// [`StoreError`], as where there is no room for a copy.
    pub(super) async fn vacuum(&self) -> Result<(), StoreError> {
        sqlx::query("VACUUM").execute(&self.pool).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await?;
        Ok(())
    }

    /// Copies the file as it is at this moment into an empty one.
    ///
    /// # Errors
    /// [`StoreError`], as where there is no room for it.
    pub(super) async fn copy_into(&self, file: &std::path::Path) -> Result<(), StoreError> {
        let copy = sqlx::query("VACUUM INTO $1").bind(file.to_string_lossy().into_owned());
        copy.execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn without_sync(&self) -> Result<(), StoreError> {
        sqlx::query("PRAGMA synchronous = NORMAL").execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// The connection itself, for what a test does behind the store's back.
    #[cfg(test)]
    pub(crate) const fn connection(&self) -> &SqlitePool {
        &self.pool
    }
}

impl PostgresWriter {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool, authority: Authority::Command }
    }

    /// The same, of the process that took the store.
    pub(super) fn of_server(&self, fence: Arc<Fence>) -> Self {
        Self { authority: Authority::Server(fence), ..self.clone() }
    }

    pub(super) fn fence(&self) -> Option<&Fence> {
        self.authority.fence()
    }

    /// Begins a transaction, while the store is this process's.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where it is not any more.
    pub(super) async fn begin(&self) -> Result<Write<'_, Postgres>, StoreError> {
        let mut write = self.begin_unchecked().await?;
        if let Some(fence) = self.fence() {
            let check = sqlx::query(CHECK_POSTGRES).bind(NODE).bind(fence.epoch());
            if check.fetch_optional(&mut *write).await?.is_none() {
                let row = sqlx::query_as(READ).bind(NODE).fetch_optional(&mut *write).await?;
                return Err(fence.refuse(row));
            }
        }
        Ok(write)
    }

    /// Begins a batch of the ledger and counts it; `None` where it is repeated and had been committed. Of those that
    /// add events one goes on at a time: a reader in the order of `seq` must not pass one that is committed later.
    ///
    /// # Errors
    /// [`StoreError`], as where the store is not this process's any more.
    pub(super) async fn begin_batch(
        &self,
        has_events: bool,
        is_repeated: bool,
    ) -> Result<Option<Write<'_, Postgres>>, StoreError> {
        let mut write = self.begin_unchecked().await?;
        let Some(fence) = self.fence() else {
            write.order_events(has_events).await?;
            return Ok(Some(write));
        };
        let sql = if has_events { COUNT_POSTGRES_IN_ORDER } else { COUNT_POSTGRES };
        let mut count = sqlx::query_scalar(sql).bind(NODE).bind(fence.epoch()).bind(fence.commits());
        if has_events {
            count = count.bind(EVENTS_LOCK);
        }
        let counted: i64 = count.fetch_one(&mut *write).await?;
        if counted == 1 {
            return Ok(Some(write));
        }
        let row = sqlx::query_as(READ).bind(NODE).fetch_optional(&mut *write).await?;
        fence.judge(row, is_repeated).map(|()| None)
    }

    /// Begins a batch that is not the ledger's.
    ///
    /// # Errors
    /// [`StoreError`], as where the store is not this process's any more.
    pub(super) async fn begin_other_batch(
        &self,
        has_events: bool,
    ) -> Result<Write<'_, Postgres>, StoreError> {
        let mut write = self.begin().await?;
        write.order_events(has_events).await?;
        Ok(write)
    }

    async fn begin_unchecked(&self) -> Result<Write<'_, Postgres>, StoreError> {
        let transaction = self.pool.begin_with("BEGIN READ WRITE").await?;
        Ok(Write { transaction, file: None })
    }

    /// Writes tables anew without what was deleted in them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn vacuum(&self, sql: &'static str) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?.detach();
        // It takes as long as there is much, and is of a connection that is used for nothing else.
        sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
        sqlx::query(sql).execute(&mut connection).await?;
        Ok(())
    }

    /// The connections themselves, for what a test does behind the store's back.
    #[cfg(test)]
    pub(crate) async fn connection(&self) -> sqlx::pool::PoolConnection<Postgres> {
        let mut connection = self.pool.acquire().await.unwrap();
        sqlx::query("SET default_transaction_read_only = off").execute(&mut *connection).await.unwrap();
        connection
    }
}

impl Write<'_, Postgres> {
    async fn order_events(&mut self, has_events: bool) -> Result<(), StoreError> {
        if has_events {
            let alone = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(EVENTS_LOCK);
            alone.execute(&mut **self).await?;
        }
        Ok(())
    }
}
