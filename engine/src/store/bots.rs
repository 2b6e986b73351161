//! Bots as they are stored.

use std::collections::{BTreeMap, BTreeSet};

use model::{AccountId, BotId, Exchange, Pair, Quote, Timestamp};
use serde_json::value::RawValue;
use sqlx::{QueryBuilder, Row as _};
use strategies::BotDefinition;

use super::{Page, Store, StoreError, reading};
use crate::actors::fleet::{SUSPENDED, UNREACHABLE};
use crate::change::{BotStatus, BotTrouble};

/// A bot's row.
#[derive(Clone, Debug)]
pub struct StoredBot {
    /// Its id.
    pub id: BotId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it does.
    pub definition: BotDefinition,
    /// Where it is in its life.
    pub status: BotStatus,
    /// Why it cannot go on, when `status` is [`BotStatus::Error`].
    pub trouble: Option<BotTrouble>,
    /// What it goes on from: [`crate::Recorder::resume`] reads it.
    pub state: Option<String>,
    /// What its whole ladder needs, fees included, in quote: by the price at which it was last defined.
    pub capital: Quote,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which bots of an account; what is `None` does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BotFilter {
    /// In this status.
    pub status: Option<BotStatus>,
    /// On this venue.
    pub exchange: Option<Exchange>,
    /// Of this pair.
    pub pair: Option<Pair>,
    /// Of this strategy.
    pub strategy: Option<String>,
    /// On paper, or not.
    pub dry_run: Option<bool>,
    /// With this in the name, whatever the case.
    pub search: Option<String>,
}

/// A definition as it was stored.
pub(super) fn definition(text: &str) -> Result<BotDefinition, StoreError> {
    let corrupt = || StoreError::Corrupt { column: "definition", value: text.chars().take(60).collect() };
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(|_| corrupt())?;
    BotDefinition::parse(&fields).map_err(|_| corrupt())
}

/// One row of either database as a [`StoredBot`].
macro_rules! stored_bot {
    ($row:expr) => {{
        let row = $row;
        let code: Option<String> = row.try_get("trouble_code")?;
        let message: Option<String> = row.try_get("trouble_message")?;
        $crate::store::StoredBot {
            id: $crate::store::parsed("id", row.try_get("id")?)?,
            account_id: $crate::store::parsed("account_id", row.try_get("account_id")?)?,
            definition: $crate::store::bots::definition(row.try_get("definition")?)?,
            status: $crate::store::parsed("status", row.try_get("status")?)?,
            trouble: code
                .map(|code| $crate::change::BotTrouble { code, message: message.unwrap_or_default() }),
            state: row.try_get("state")?,
            capital: $crate::store::parsed(
                "capital",
                row.try_get::<Option<&str>, _>("capital")?.unwrap_or("0"),
            )?,
            created_at: model::Timestamp::from_nanos(row.try_get("created_at")?),
        }
    }};
}

pub(super) use stored_bot;

impl StoredBot {
    /// Whether it lives, or goes on by itself once its venue answers.
    pub(crate) fn is_living(&self) -> bool {
        match self.status {
            BotStatus::Starting | BotStatus::Running | BotStatus::Stopping => true,
            BotStatus::Error => {
                let waits = |trouble: &BotTrouble| [UNREACHABLE, SUSPENDED].contains(&trouble.code.as_str());
                self.trouble.as_ref().is_some_and(waits)
            }
            BotStatus::Stopped => false,
        }
    }
}

impl Store {
    /// A bot of an account, unless it was deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bot(&self, account: AccountId, id: BotId) -> Result<Option<StoredBot>, StoreError> {
        let sql =
            "SELECT id, account_id, definition, status, trouble_code, trouble_message, state, capital, created_at
            FROM bots WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(id.to_string());
            query.fetch_optional(pool).await?.map(|row| Ok(stored_bot!(row))).transpose()
        })
    }

    /// Whether an account has, or once had, such a bot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_had_bot(&self, account: AccountId, id: BotId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM bots WHERE account_id = $1 AND id = $2";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(id.to_string());
            Ok(query.fetch_optional(pool).await?.is_some())
        })
    }

    /// Some bots of an account, deleted ones as well.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn bots_named(
        &self,
        account: AccountId,
        ids: &BTreeSet<BotId>,
    ) -> Result<Vec<StoredBot>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        reading!(self, pool => {
            let mut select = QueryBuilder::new(
                "SELECT id, account_id, definition, status, trouble_code, trouble_message, state, capital,
                    created_at FROM bots WHERE account_id = ",
            );
            select.push_bind(account.to_string()).push(" AND id IN (");
            let mut named = select.separated(", ");
            for id in ids {
                named.push_bind(id.to_string());
            }
            select.push(")");
            select.build().fetch_all(pool).await?.into_iter().map(|row| Ok(stored_bot!(row))).collect()
        })
    }

    /// Bots of everybody, or of one account, for operators; deleted ones left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_bots(&self, account: Option<AccountId>) -> Result<Vec<StoredBot>, StoreError> {
        let sql =
            "SELECT id, account_id, definition, status, trouble_code, trouble_message, state, capital, created_at
            FROM bots WHERE deleted_at IS NULL AND ($1 IS NULL OR account_id = $1) ORDER BY id";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.map(|id| id.to_string()));
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_bot!(row))).collect()
        })
    }

    /// An account's bots that trade at a venue, are to go on doing so once it answers, or may have left something there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bots_at_venues(&self, account: AccountId) -> Result<Vec<StoredBot>, StoreError> {
        let sql =
            "SELECT id, account_id, definition, status, trouble_code, trouble_message, state, capital, created_at
            FROM bots WHERE account_id = $1 AND deleted_at IS NULL AND NOT dry_run
                AND (status IN ('starting', 'running', 'stopping') OR state IS NOT NULL
                    OR (status = 'error' AND trouble_code IN ('venue_unreachable', 'pair_suspended')))
            ORDER BY id";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string());
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_bot!(row))).collect()
        })
    }

    /// Bots that are to live after a restart: all that were neither stopped nor told to stay in error; in pages,
    /// oldest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn living_bots(&self, limit: u32, after: Option<BotId>) -> Result<Page<StoredBot>, StoreError> {
        let sql =
            "SELECT id, account_id, definition, status, trouble_code, trouble_message, state, capital, created_at
            FROM bots WHERE deleted_at IS NULL AND id > $1
                AND (status IN ('starting', 'running', 'stopping')
                    OR (status = 'error' AND trouble_code IN ('venue_unreachable', 'pair_suspended')))
            ORDER BY id LIMIT $2";
        let rows: Result<Vec<StoredBot>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql).bind(after.map_or_else(String::new, |id| id.to_string())).bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_bot!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }
}
