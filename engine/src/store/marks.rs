//! The highs that trailing bots slept through.

use std::collections::HashMap;

use model::{Mark, Pair, Price, Timestamp};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading, writing};

impl Store {
    /// Every pair's marks, oldest first. Those that no open trade could have slept through are dropped before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn marks(&self) -> Result<HashMap<Pair, Vec<Mark>>, StoreError> {
        let sql = "DELETE FROM marks WHERE NOT EXISTS (SELECT 1 FROM
                (SELECT pair, MIN(opened_at) AS since FROM trades WHERE status = 'open' GROUP BY pair) AS held
            WHERE held.pair = marks.pair AND held.since <= marks.at)";
        writing!(self, transaction => { sqlx::query(sql).execute(&mut *transaction).await?; });
        let sql = "SELECT pair, at, high FROM marks ORDER BY at";
        let rows: Result<Vec<(String, i64, i64)>, StoreError> = reading!(self, pool => {
            let rows = sqlx::query(sql).fetch_all(pool).await?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
        });
        let mut marks: HashMap<Pair, Vec<Mark>> = HashMap::new();
        for (pair, at, high) in rows? {
            let corrupt = || StoreError::Corrupt { column: "high", value: high.to_string() };
            let mark =
                Mark { at: Timestamp::from_nanos(at), high: Price::from_e8(high).ok_or_else(corrupt)? };
            marks.entry(parsed("pair", &pair)?).or_default().push(mark);
        }
        Ok(marks)
    }
}
