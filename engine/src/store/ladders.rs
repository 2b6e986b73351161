//! What the ladders of an account's bots need together: kept as bots are made, redefined and deleted, so that nobody has
//! to read them all. What a bot needed that is deleted, or trades for another coin or another kind of money now, stays
//! counted where it has traded, since what it made stays as well: else its losses would be taken off money that is not there
//! any more.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::Row as _;
use strategies::BotDefinition;

use super::realized::Key;
use super::{Store, StoreError, reading, writing};
use crate::change::NewBot;

/// How many bots, and what their ladders need in all, fees included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ladder {
    pub(crate) bots: i64,
    pub(crate) capital: Decimal,
}

/// Changes of such sums; where bots are taken away they are below zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ladders(pub(crate) BTreeMap<Key, Ladder>);

impl Ladders {
    /// Counts a bot that is made.
    pub(crate) fn create(&mut self, bot: &NewBot) {
        self.add(key(bot), 1, bot.capital.decimal());
    }

    /// Counts bots, or takes them away. What leaves the range of a decimal, which no definition lets a bot come near,
    /// stays out.
    pub(super) fn add(&mut self, key: Key, bots: i64, capital: Decimal) {
        let sum = self.0.entry(key).or_default();
        sum.bots += bots;
        let signed = if bots < 0 { -capital } else { capital };
        sum.capital = sum.capital.checked_add(signed).unwrap_or(sum.capital);
    }
}

fn key(bot: &NewBot) -> Key {
    let BotDefinition { exchange, pair, dry_run, .. } = &bot.definition;
    (bot.account_id, *exchange, *dry_run, pair.quote().to_owned())
}

/// A bot as its row stands, counted so many times, in a transaction of whichever database; none that was deleted.
macro_rules! count_bot {
    ($transaction:ident, $ladders:expr, $id:expr, $times:expr) => {
        let select = sqlx::query(
            "SELECT account_id, exchange, dry_run, pair, capital FROM bots WHERE id = $1 AND deleted_at IS NULL",
        );
        if let Some(row) = select.bind($id.to_string()).fetch_optional(&mut *$transaction).await? {
            let (key, capital) = $crate::store::ladders::stored_bot!(row);
            $ladders.add(key, $times, capital);
        }
    };
}

/// What a bot needed taken away, and what it needs counted in its place, which is nothing where it is deleted. What it needed
/// for trades that its account keeps on another book than it counts on now stays.
macro_rules! recount_bot {
    ($transaction:ident, $ladders:expr, $id:expr, $was:ident, $is:ident) => {
        let traded = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM trades WHERE bot_id = $1)");
        let has_traded: bool = traded.bind($id.to_string()).fetch_one(&mut *$transaction).await?;
        for (key, sum) in $was.0 {
            let stays = has_traded && !$is.0.contains_key(&key);
            $ladders.add(key, sum.bots, if stays { rust_decimal::Decimal::ZERO } else { -sum.capital });
        }
        for (key, sum) in $is.0 {
            $ladders.add(key, sum.bots, sum.capital);
        }
    };
}

/// One row of either database as whose bot it is, where and for what, and what its ladder needs.
macro_rules! stored_bot {
    ($row:ident) => {{
        let pair: model::Pair = $crate::store::parsed("pair", sqlx::Row::try_get(&$row, "pair")?)?;
        let capital: Option<&str> = sqlx::Row::try_get(&$row, "capital")?;
        let key = (
            $crate::store::parsed("account_id", sqlx::Row::try_get(&$row, "account_id")?)?,
            $crate::store::worded("exchange", sqlx::Row::try_get(&$row, "exchange")?)?,
            sqlx::Row::try_get(&$row, "dry_run")?,
            pair.quote().to_owned(),
        );
        (key, $crate::store::parsed("capital", capital.unwrap_or("0"))?)
    }};
}

/// Adds sums to what the store has, in a transaction of whichever database.
macro_rules! add_ladders {
    ($transaction:ident, $ladders:expr) => {
        for ((account, exchange, dry_run, quote), sum) in $ladders.0 {
            let select = sqlx::query(
                "SELECT bots, capital FROM ladders
                 WHERE account_id = $1 AND exchange = $2 AND dry_run = $3 AND quote = $4",
            )
            .bind(account.to_string())
            .bind(exchange.as_str())
            .bind(dry_run)
            .bind(&quote);
            let mut known = $crate::store::ladders::Ladder::default();
            if let Some(row) = select.fetch_optional(&mut *$transaction).await? {
                known.bots = sqlx::Row::try_get(&row, "bots")?;
                known.capital = $crate::store::parsed("capital", sqlx::Row::try_get(&row, "capital")?)?;
            }
            let capital = known.capital.checked_add(sum.capital).unwrap_or(known.capital);
            sqlx::query(
                "INSERT INTO ladders (account_id, exchange, dry_run, quote, bots, capital)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (account_id, exchange, dry_run, quote)
                 DO UPDATE SET bots = excluded.bots, capital = excluded.capital",
            )
            .bind(account.to_string())
            .bind(exchange.as_str())
            .bind(dry_run)
            .bind(quote)
            .bind(known.bots + sum.bots)
            .bind(capital.to_string())
            .execute(&mut *$transaction)
            .await?;
        }
    };
}
pub(crate) use {add_ladders, count_bot, recount_bot, stored_bot};

impl Store {
    /// Fills in what an older version did not keep.
    pub(super) async fn fill_in_ladders(&self) -> Result<(), StoreError> {
        let has = "SELECT EXISTS (SELECT 1 FROM ladders)";
        let bots = "SELECT account_id, exchange, dry_run, pair, capital, deleted_at IS NOT NULL AS is_deleted FROM bots
            WHERE deleted_at IS NULL OR EXISTS (SELECT 1 FROM trades WHERE trades.bot_id = bots.id)";
        let mut sums = Ladders::default();
        reading!(self, pool => {
            let is_kept: bool = sqlx::query_scalar(has).fetch_one(pool).await?;
            if !is_kept {
                for row in sqlx::query(bots).fetch_all(pool).await? {
                    let is_deleted: bool = row.try_get("is_deleted")?;
                    let (key, capital) = stored_bot!(row);
                    sums.add(key, i64::from(!is_deleted), capital);
                }
            }
        });
        writing!(self, transaction => {
            if !sums.0.is_empty() {
                add_ladders!(transaction, sums);
            }
        });
        Ok(())
    }
}
