//! The statements of a small batch in one trip to SQLite.
//!
//! Its connection lives on a thread of its own, and every statement goes there and comes back: for the few rows of one
//! bot's change that is most of what its commit costs beside the disk.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Either, Executor as _};

use super::StoreError;
use super::write::{Dialect, Statement, Value, bound};

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

    /// Writes all of it.
    ///
    /// # Errors
    /// [`StoreError`]; the transaction is not to be committed then.
    pub(super) async fn go(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        if self.touches.is_empty() {
            return Ok(());
        }
        // Its parts are texts of this program; nothing from outside is among them.
        let query = bound!(sqlx::query(AssertSqlSafe(self.sql)), self.values);
        let mut touches = self.touches.into_iter();
        let mut done = connection.fetch_many(query);
        while let Some(done) = done.try_next().await? {
            let Either::Left(done) = done else { continue };
            let expected = touches.next().flatten();
            if expected.is_some_and(|expected| done.rows_affected() != expected as u64) {
                return Err(StoreError::UnknownBot);
            }
        }
        Ok(())
    }
}
