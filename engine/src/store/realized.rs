//! What an account's closed trades add up to: kept as they close, so that nobody has to read them all.

use std::collections::BTreeMap;

use model::{AccountId, Exchange, Rate, Trade, TradeStatus};
use rust_decimal::Decimal;
use sqlx::Row as _;

use super::rows::{Value, row};
use super::write::{Dialect, Statement};
use super::{Store, StoreError, parsed, reading, worded};

/// Whose trades, where, on paper or not, and in which quote coin.
pub(crate) type Key = (AccountId, Exchange, bool, String);

/// What trades made together, in their quote coin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) trades: i64,
    pub(crate) profit: Decimal,
    pub(crate) fees: Decimal,
    /// In US dollars, as each trade was valued when it closed.
    pub(crate) profit_usd: Decimal,
    /// How many of them had no value in dollars then; they are not in `profit_usd`.
    pub(crate) unvalued: i64,
}

impl Sum {
    /// The same, counted on or taken off.
    fn times(self, sign: i64) -> Self {
        let signed = |value: Decimal| value * Decimal::from(sign);
        Self {
            trades: self.trades * sign,
            profit: signed(self.profit),
            fees: signed(self.fees),
            profit_usd: signed(self.profit_usd),
            unvalued: self.unvalued * sign,
        }
    }

    /// Both together. What leaves the range of a decimal, which no definition lets a trade come near, stays out.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            trades: self.trades + other.trades,
            profit: self.profit.checked_add(other.profit).unwrap_or(self.profit),
            fees: self.fees.checked_add(other.fees).unwrap_or(self.fees),
            profit_usd: self.profit_usd.checked_add(other.profit_usd).unwrap_or(self.profit_usd),
            unvalued: self.unvalued + other.unvalued,
        }
    }
}

/// Sums of trades that have closed. A trade closes once, in one change, so each counts once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Realized(pub(crate) BTreeMap<Key, Sum>);

impl Realized {
    /// Counts a trade if it has closed.
    pub(crate) fn add(&mut self, account: AccountId, trade: &Trade) {
        let Some(profit) = trade.profit.filter(|_| trade.status == TradeStatus::Closed) else { return };
        let key = (account, trade.exchange, trade.dry_run, trade.pair.quote().to_owned());
        let one = Sum {
            trades: 1,
            profit: profit.decimal(),
            fees: trade.fees.decimal(),
            profit_usd: trade.profit_usd.unwrap_or_default().decimal(),
            unvalued: i64::from(trade.profit_usd.is_none()),
        };
        let sum = self.0.entry(key).or_default();
        *sum = sum.plus(one);
    }
}

impl Realized {
    /// Counts a trade's books that are other than they were.
    pub(crate) fn correct(&mut self, account: AccountId, before: Option<&Trade>, after: &Trade) {
        let (mut now, mut was) = (Self::default(), Self::default());
        now.add(account, after);
        if let Some(before) = before {
            was.add(account, before);
        }
        for (sums, sign) in [(now, 1), (was, -1)] {
            for (key, one) in sums.0 {
                let sum = self.0.entry(key).or_default();
                *sum = sum.plus(one.times(sign));
            }
        }
    }
}

/// What is known of keys.
pub(crate) static FIND: Statement = Statement::new(
    "SELECT realized.*",
    4,
    "JOIN realized ON realized.account_id = v.column1 AND realized.exchange = v.column2
         AND realized.dry_run = v.column3 AND realized.quote = v.column4",
);
pub(crate) static WRITE: Statement = Statement::new(
    "INSERT INTO realized (account_id, exchange, dry_run, quote, trades, profit, fees, profit_usd, unvalued) SELECT *",
    9,
    "WHERE v.column1 IS NOT NULL
     ON CONFLICT (account_id, exchange, dry_run, quote)
     DO UPDATE SET trades = excluded.trades, profit = excluded.profit, fees = excluded.fees,
         profit_usd = excluded.profit_usd, unvalued = excluded.unvalued",
);

impl Realized {
    /// What [`FIND`] asks for.
    pub(crate) fn keys(&self) -> Vec<Value> {
        self.0.keys().flat_map(key_row).collect()
    }

    /// Counts what the store has of a key on.
    pub(crate) fn count(&mut self, key: &Key, known: Sum) {
        if let Some(sum) = self.0.get_mut(key) {
            *sum = known.plus(*sum);
        }
    }

    /// What [`WRITE`] takes.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = Value> {
        self.0.into_iter().flat_map(|(key, sum)| {
            let (profit, fees) = (Value::shown(sum.profit), Value::shown(sum.fees));
            let sums = row![sum.trades, profit, fees, Value::shown(sum.profit_usd), sum.unvalued];
            key_row(&key).into_iter().chain(sums)
        })
    }
}

fn key_row((account, exchange, dry_run, quote): &Key) -> [Value; 4] {
    row![Value::shown(account), exchange.as_str(), *dry_run, Value::shown(quote)]
}

/// Adds sums to what the store has, in a transaction of whichever database: by two statements for however many accounts.
macro_rules! add_realized {
    ($transaction:ident, $dialect:expr, $realized:expr) => {
        let mut realized = $realized;
        let keys = realized.keys();
        for keys in keys.chunks($crate::store::realized::FIND.columns * $crate::store::write::Statement::MOST)
        {
            let rows = keys.len() / $crate::store::realized::FIND.columns;
            // Rows of nulls join with nothing.
            let (text, missing) = $crate::store::realized::FIND.text(rows, $dialect);
            let nulls = keys.iter().cycle().take(missing * $crate::store::realized::FIND.columns);
            let values = keys.iter().cloned().chain(nulls.map($crate::store::rows::Value::null));
            let select = $crate::store::write::bound!(sqlx::query(text), values);
            for row in select.fetch_all(&mut *$transaction).await? {
                let key = (
                    $crate::store::parsed("account_id", sqlx::Row::try_get(&row, "account_id")?)?,
                    $crate::store::worded("exchange", sqlx::Row::try_get(&row, "exchange")?)?,
                    sqlx::Row::try_get(&row, "dry_run")?,
                    sqlx::Row::try_get(&row, "quote")?,
                );
                realized.count(&key, $crate::store::realized::stored_sum!(row));
            }
        }
        $crate::store::write::write_rows!(
            $transaction,
            $dialect,
            $crate::store::realized::WRITE,
            realized.into_rows()
        );
    };
}

/// One row of either database as a [`Sum`].
macro_rules! stored_sum {
    ($row:ident) => {
        $crate::store::realized::Sum {
            trades: sqlx::Row::try_get(&$row, "trades")?,
            profit: $crate::store::parsed("profit", sqlx::Row::try_get(&$row, "profit")?)?,
            fees: $crate::store::parsed("fees", sqlx::Row::try_get(&$row, "fees")?)?,
            profit_usd: $crate::store::parsed("profit_usd", sqlx::Row::try_get(&$row, "profit_usd")?)?,
            unvalued: sqlx::Row::try_get(&$row, "unvalued")?,
        }
    };
}
pub(crate) use {add_realized, stored_sum};

impl Store {
    /// Fills in what an older version did not keep: what bots need, and what closed trades add up to.
    pub(crate) async fn fill_in_sums(&self, fee: Rate) -> Result<(), StoreError> {
        let has = "SELECT EXISTS (SELECT 1 FROM realized)";
        let closed = "SELECT account_id, exchange, dry_run, pair, profit, fees, profit_usd FROM trades WHERE status = 'closed'";
        let mut sums = Realized::default();
        reading!(self, pool => {
            let is_kept: bool = sqlx::query_scalar(has).fetch_one(pool).await?;
            if !is_kept {
                for row in sqlx::query(closed).fetch_all(pool).await? {
                    let pair: model::Pair = parsed("pair", row.try_get("pair")?)?;
                    let exchange: Exchange = worded("exchange", row.try_get("exchange")?)?;
                    let profit: Option<&str> = row.try_get("profit")?;
                    let profit_usd: Option<&str> = row.try_get("profit_usd")?;
                    let key = (
                        parsed("account_id", row.try_get("account_id")?)?,
                        exchange,
                        row.try_get("dry_run")?,
                        pair.quote().to_owned(),
                    );
                    let sum = sums.0.entry(key).or_default();
                    *sum = sum.plus(Sum {
                        trades: 1,
                        profit: parsed("profit", profit.unwrap_or("0"))?,
                        fees: parsed("fees", row.try_get("fees")?)?,
                        profit_usd: parsed("profit_usd", profit_usd.unwrap_or("0"))?,
                        unvalued: i64::from(profit_usd.is_none()),
                    });
                }
            }
        });
        let dialect = if matches!(self, Self::Sqlite { .. }) { Dialect::Sqlite } else { Dialect::Postgres };
        super::writing!(self, transaction => {
            if !sums.0.is_empty() {
                add_realized!(transaction, dialect, sums);
            }
        });
        self.fill_in_capital(fee).await?;
        self.fill_in_ladders().await
    }

    async fn fill_in_capital(&self, fee: Rate) -> Result<(), StoreError> {
        let missing = "SELECT id FROM bots WHERE capital IS NULL AND deleted_at IS NULL";
        super::writing!(self, transaction => {
            let ids: Vec<String> = sqlx::query_scalar(missing).fetch_all(&mut *transaction).await?;
            for id in ids {
                let select = sqlx::query_scalar("SELECT definition FROM bots WHERE id = $1").bind(&id);
                let definition: String = select.fetch_one(&mut *transaction).await?;
                let capital = strategies::ladder_stake(&super::bots::definition(&definition)?, fee);
                sqlx::query("UPDATE bots SET capital = $2 WHERE id = $1")
                    .bind(id)
                    .bind(capital.to_string())
                    .execute(&mut *transaction)
                    .await?;
            }
        });
        Ok(())
    }
}
