//! Pages of an account's bots in the orders that they may be listed in.

use std::collections::HashMap;

use model::{AccountId, BotId, Quote};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, Row as _};

use super::bots::stored_bot;
use super::{BotFilter, Page, Store, StoreError, StoredBot, parsed, reading};
use crate::change::BotStatus;

/// Which rows a filter lets through; its values are the first seven.
const FILTERED: &str = "FROM bots WHERE account_id = $1 AND deleted_at IS NULL
    AND ($2 IS NULL OR status = $2) AND ($3 IS NULL OR exchange = $3) AND ($4 IS NULL OR pair = $4)
    AND ($5 IS NULL OR strategy = $5) AND ($6 IS NULL OR dry_run = $6) AND ($7 IS NULL OR name LIKE $7 ESCAPE '\\')";

const COLUMNS: &str =
    "id, account_id, definition, status, trouble_code, trouble_message, state, capital, created_at";

/// Where a page begins: after this row, as it was when the page before was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The row's bot.
    pub id: BotId,
    /// What the list is sorted by, of that row; empty where that is the time at which bots were made.
    pub value: String,
}

/// An order that the database keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoredOrder {
    /// By when a bot was made.
    Created,
    /// By its name, in lower case.
    Name,
}

/// A bot as it is ranked by what it made.
#[derive(Clone, Debug)]
pub(crate) struct Lean {
    pub(crate) id: BotId,
    pub(crate) capital: Quote,
}

/// The values of [`FILTERED`].
macro_rules! filtered {
    ($query:expr, $account:expr, $filter:expr) => {
        $query
            .bind($account.to_string())
            .bind($filter.status.map(BotStatus::as_str))
            .bind($filter.exchange.map(model::Exchange::as_str))
            .bind($filter.pair.as_ref().map(ToString::to_string))
            .bind($filter.strategy.clone())
            .bind($filter.dry_run)
            .bind($filter.search.as_deref().map(pattern))
    };
}

/// A pattern that every name matches in which the text stands.
fn pattern(search: &str) -> String {
    let escaped = search.to_lowercase().replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    format!("%{escaped}%")
}

impl Store {
    /// Bots of an account in an order that the database keeps, with their names in lower case; `after` is the last of the
    /// page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn bots_in_order(
        &self,
        account: AccountId,
        filter: &BotFilter,
        (order, is_descending): (StoredOrder, bool),
        limit: u32,
        after: Option<&Cursor>,
    ) -> Result<Page<(StoredBot, String)>, StoreError> {
        let (than, way) = if is_descending { ("<", "DESC") } else { (">", "ASC") };
        let sql = match (order, after) {
            (StoredOrder::Created, None) => format!("ORDER BY id {way} LIMIT $8"),
            (StoredOrder::Created, Some(_)) => format!("AND id {than} $9 ORDER BY id {way} LIMIT $8"),
            (StoredOrder::Name, None) => format!("ORDER BY name {way}, id {way} LIMIT $8"),
            (StoredOrder::Name, Some(_)) => {
                // A bot that is named without its name stands where it stands now.
                let name = "COALESCE(NULLIF($10, ''), (SELECT name FROM bots WHERE account_id = $1 AND id = $9), '')";
                format!("AND (name, id) {than} ({name}, $9) ORDER BY name {way}, id {way} LIMIT $8")
            }
        };
        let sql = format!("SELECT {COLUMNS}, name {FILTERED} {sql}");
        let rows: Result<Vec<_>, StoreError> = reading!(self, pool => {
            let mut query = filtered!(sqlx::query(AssertSqlSafe(sql)), account, filter).bind(i64::from(limit) + 1);
            if let Some(after) = after {
                query = query.bind(after.id.to_string());
                if order == StoredOrder::Name {
                    query = query.bind(after.value.clone());
                }
            }
            let rows = query.fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                let name = row.try_get::<Option<String>, _>("name")?.unwrap_or_default();
                Ok((stored_bot!(row), name))
            }).collect()
        });
        Ok(Page::of(rows?, limit))
    }

    /// How many bots a filter lets through.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn count_bots_like(
        &self,
        account: AccountId,
        filter: &BotFilter,
    ) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) {FILTERED}");
        let count: i64 = reading!(self, pool => {
            let query = filtered!(sqlx::query_scalar(AssertSqlSafe(sql)), account, filter);
            query.fetch_one(pool).await?
        });
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Every bot that a filter lets through, as it is ranked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn lean_bots(
        &self,
        account: AccountId,
        filter: &BotFilter,
    ) -> Result<Vec<Lean>, StoreError> {
        let sql = format!("SELECT id, capital {FILTERED} ORDER BY id");
        reading!(self, pool => {
            let query = filtered!(sqlx::query(AssertSqlSafe(sql)), account, filter);
            let rows = query.fetch_all(pool).await?.into_iter();
            rows.map(|row| Ok(Lean {
                id: parsed("id", row.try_get("id")?)?,
                capital: parsed("capital", row.try_get::<Option<&str>, _>("capital")?.unwrap_or("0"))?,
            })).collect()
        })
    }

    /// What the closed trades of each of an account's bots made together, in quote.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn profits_by_bot(
        &self,
        account: AccountId,
    ) -> Result<HashMap<BotId, Decimal>, StoreError> {
        let sql = "SELECT bot_id, profit FROM trades WHERE account_id = $1 AND status = 'closed' AND profit IS NOT NULL";
        reading!(self, pool => {
            let mut sums: HashMap<BotId, Decimal> = HashMap::new();
            for row in sqlx::query(sql).bind(account.to_string()).fetch_all(pool).await? {
                let profit: Quote = parsed("profit", row.try_get("profit")?)?;
                let sum = sums.entry(parsed("bot_id", row.try_get("bot_id")?)?).or_default();
                *sum = sum.checked_add(profit.decimal()).unwrap_or(*sum);
            }
            Ok(sums)
        })
    }
}
