//! The statements of a small batch in one trip to SQLite.
//!
//! Its connection lives on a thread of its own, and every statement goes there and comes back: for the few rows of one
//! bot's change that is most of what its commit costs beside the disk.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Either, Executor as _};

use super::StoreError;
use super::fence::{COUNT_SQLITE, Fence, NODE};
use super::rows::{Value, row};
use super::write::{Dialect, Statement, bound};

/// Statements with their rows.
#[derive(Debug, Default)]
pub(super) struct Trip {
    /// One after the other; the database takes as many values for each as it has places.
    sql: String,
    values: Vec<Value>,
    /// How many rows each has to touch, where that is known: those of bots.
    touches: Vec<Option<usize>>,
}

impl Trip {
    /// The most rows of one statement: what is prepared for other batches is kept prepared, and there are not to be
    /// too many kinds.
    pub(super) const MOST: usize = 4;

    /// Adds a statement, if it has rows.
    pub(super) fn add(&mut self, statement: &'static Statement, values: Vec<Value>, touches: Option<usize>) {
        let rows = values.len() / statement.columns;
        if rows == 0 {
            return;
        }
        let (text, missing) = statement.text(rows, Dialect::Sqlite);
        self.sql.push_str(text);
        self.sql.push(';');
        let nulls: Vec<Value> = values.iter().take(statement.columns).map(Value::null).collect();
        self.values.extend(values);
        self.values.extend(nulls.iter().cycle().take(missing * statement.columns).map(Value::null));
        self.touches.push(touches);
    }

    /// Writes all of it, once the batch is counted where there is a fence; whether it could be counted.
    ///
    /// # Errors
    /// [`StoreError`]; the transaction is not to be committed then, nor where it could not be counted.
    pub(super) async fn go(
        self,
        connection: &mut SqliteConnection,
        fence: Option<&Fence>,
    ) -> Result<bool, StoreError> {
        let Self { mut sql, values, touches } = self;
        let mut count = Vec::new();
        if let Some(fence) = fence {
            sql = format!("{COUNT_SQLITE};{sql}");
            count.extend(row![NODE, fence.epoch(), fence.commits()]);
        }
        if sql.is_empty() {
            return Ok(true);
        }
        // Its parts are texts of this program; nothing from outside is among them.
        let query = bound!(sqlx::query(AssertSqlSafe(sql)), count.into_iter().chain(values));
        let mut touches = touches.into_iter();
        let mut is_counted = fence.is_none();
        let mut done = connection.fetch_many(query);
        while let Some(done) = done.try_next().await? {
            let Either::Left(done) = done else { continue };
            if !is_counted {
                if done.rows_affected() != 1 {
                    return Ok(false);
                }
                is_counted = true;
                continue;
            }
            let expected = touches.next().flatten();
            if expected.is_some_and(|expected| done.rows_affected() != expected as u64) {
                return Err(StoreError::UnknownBot);
            }
        }
        Ok(true)
    }
}
