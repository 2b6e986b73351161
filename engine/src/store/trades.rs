//! Trades with their orders and fills, and what a bot's trades add up to.

use std::collections::HashMap;

use model::{
    AccountId, BotId, FeeRates, Fill, Order, OrderId, Pair, Side, Timestamp, Trade, TradeId, TradeStatus,
};
use sqlx::{QueryBuilder, Row as _};

use super::stats::closed_after;
use super::{KnownStats, Page, StatsKey, Store, StoreError, parsed, reading, snapshot, worded};

/// Which trades of an account; what is `None` does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TradeFilter {
    /// Of this bot.
    pub bot_id: Option<BotId>,
    /// Of this pair.
    pub pair: Option<Pair>,
    /// Open or closed.
    pub status: Option<TradeStatus>,
    /// Opened at this time or later.
    pub from: Option<Timestamp>,
    /// Opened before this time.
    pub to: Option<Timestamp>,
}

/// A page of an account's trades. It begins where the index says, however many are before it: were `id < $2` joined with
/// `$2 IS NULL`, all of those would be looked at.
const OF_ACCOUNT: &str = "SELECT * FROM trades WHERE account_id = $1 AND id < $2 AND $3 IS NULL
        AND ($4 IS NULL OR pair = $4) AND ($5 IS NULL OR status = $5)
        AND ($6 IS NULL OR opened_at >= $6) AND ($7 IS NULL OR opened_at < $7)
    ORDER BY id DESC LIMIT $8";

/// A page of a bot's; the account is compared in a way that keeps the databases from its index.
const OF_BOT: &str = "SELECT * FROM trades WHERE account_id || '' = $1 AND id < $2 AND bot_id = $3
        AND ($4 IS NULL OR pair = $4) AND ($5 IS NULL OR status = $5)
        AND ($6 IS NULL OR opened_at >= $6) AND ($7 IS NULL OR opened_at < $7)
    ORDER BY id DESC LIMIT $8";

/// A column that may be NULL, as what its text stands for.
macro_rules! maybe {
    ($row:ident, $column:literal) => {
        $row.try_get::<Option<String>, _>($column)?.map(|text| parsed($column, &text)).transpose()?
    };
}

/// Fee rates as they are stored.
pub(super) fn fee_rates(text: Option<&str>) -> Result<Option<FeeRates>, StoreError> {
    let corrupt =
        |text: &str| StoreError::Corrupt { column: "fee_rates", value: text.chars().take(60).collect() };
    text.map(|text| serde_json::from_str(text).map_err(|_| corrupt(text))).transpose()
}

/// One row of either database as a [`Trade`] without orders.
macro_rules! stored_trade {
    ($row:expr) => {{
        let row = $row;
        let entry_price: &str = row.try_get("entry_price")?;
        let exit_reason: Option<String> = row.try_get("exit_reason")?;
        Trade {
            id: parsed("id", row.try_get("id")?)?,
            bot_id: parsed("bot_id", row.try_get("bot_id")?)?,
            exchange: worded("exchange", row.try_get("exchange")?)?,
            pair: parsed("pair", row.try_get("pair")?)?,
            side: Side::Buy,
            status: worded("status", row.try_get("status")?)?,
            dry_run: row.try_get("dry_run")?,
            opened_at: Timestamp::from_nanos(row.try_get("opened_at")?),
            closed_at: row.try_get::<Option<i64>, _>("closed_at")?.map(Timestamp::from_nanos),
            entry_price: parsed("entry_price", entry_price)?,
            exit_price: maybe!(row, "exit_price"),
            amount: parsed("amount", row.try_get("amount")?)?,
            stake: parsed("stake", row.try_get("stake")?)?,
            fees: parsed("fees", row.try_get("fees")?)?,
            unvalued_fees: u32::try_from(row.try_get::<i64, _>("unvalued_fees")?).unwrap_or(u32::MAX),
            profit: maybe!(row, "profit"),
            profit_pct: maybe!(row, "profit_pct"),
            profit_usd: maybe!(row, "profit_usd"),
            usd_rate: maybe!(row, "usd_rate"),
            exit_reason: exit_reason.map(|word| worded("exit_reason", word)).transpose()?,
            stop_price: maybe!(row, "stop_price"),
            take_profit_price: maybe!(row, "take_profit_price"),
            fee_rates: fee_rates(row.try_get("fee_rates")?)?,
            orders: Vec::new(),
            standing: None,
        }
    }};
}

/// Puts the orders and fills into trades, as this connection sees them.
macro_rules! fill_in_orders {
    ($connection:ident, $trades:expr) => {{
        let mut trades: Vec<&mut Trade> = $trades.collect();
        let mut found: HashMap<TradeId, Vec<Order>> = HashMap::new();
        let mut fills: HashMap<OrderId, Vec<Fill>> = HashMap::new();
        if !trades.is_empty() {
            let mut select = QueryBuilder::new(
                "SELECT fills.* FROM fills JOIN orders ON orders.id = fills.order_id WHERE orders.trade_id IN (",
            );
            let mut ids = select.separated(", ");
            for trade in trades.iter() {
                ids.push_bind(trade.id.to_string());
            }
            select.push(") ORDER BY fills.at, fills.venue_trade_id, fills.id");
            for row in select.build().fetch_all(&mut *$connection).await? {
                fills.entry(parsed("order_id", row.try_get("order_id")?)?).or_default().push(Fill {
                    id: parsed("id", row.try_get("id")?)?,
                    at: Timestamp::from_nanos(row.try_get("at")?),
                    price: parsed("price", row.try_get("price")?)?,
                    qty: parsed("qty", row.try_get("qty")?)?,
                    fee: parsed("fee", row.try_get("fee")?)?,
                    fee_asset: row.try_get("fee_asset")?,
                    fee_price: maybe!(row, "fee_price"),
                    venue_trade_id: row.try_get("venue_trade_id")?,
                });
            }
            let mut select = QueryBuilder::new("SELECT * FROM orders WHERE trade_id IN (");
            let mut ids = select.separated(", ");
            for trade in trades.iter() {
                ids.push_bind(trade.id.to_string());
            }
            select.push(") ORDER BY id");
            for row in select.build().fetch_all(&mut *$connection).await? {
                let id = parsed("id", row.try_get("id")?)?;
                let receipt: Option<String> = row.try_get("receipt")?;
                found.entry(parsed("trade_id", row.try_get("trade_id")?)?).or_default().push(Order {
                    id,
                    client_order_id: parsed("client_order_id", row.try_get("client_order_id")?)?,
                    side: worded("side", row.try_get("side")?)?,
                    kind: worded("kind", row.try_get("kind")?)?,
                    status: worded("status", row.try_get("status")?)?,
                    price: parsed("price", row.try_get("price")?)?,
                    qty: parsed("qty", row.try_get("qty")?)?,
                    filled_qty: parsed("filled_qty", row.try_get("filled_qty")?)?,
                    created_at: Timestamp::from_nanos(row.try_get("created_at")?),
                    fills: fills.remove(&id).unwrap_or_default(),
                    receipt: receipt.and_then(|text| serde_json::from_str(&text).ok()),
                });
            }
        }
        for trade in &mut trades {
            trade.orders = found.remove(&trade.id).unwrap_or_default();
        }
    }};
}

/// A page of trades without their orders, as this connection sees them.
macro_rules! trade_rows {
    ($connection:ident, $account:expr, $filter:expr, $limit:expr, $after:expr) => {{
        let sql = if $filter.bot_id.is_some() { OF_BOT } else { OF_ACCOUNT };
        let status = $filter.status.map(TradeStatus::as_str);
        let query = sqlx::query(sql)
            .bind($account.to_string())
            .bind($after.unwrap_or(TradeId::from_u128(u128::MAX)).to_string())
            .bind($filter.bot_id.map(|id| id.to_string()))
            .bind($filter.pair.as_ref().map(ToString::to_string))
            .bind(status)
            .bind($filter.from.map(Timestamp::nanos))
            .bind($filter.to.map(Timestamp::nanos))
            .bind(i64::from($limit) + 1);
        let rows = query.fetch_all(&mut *$connection).await?;
        let rows =
            rows.into_iter().map(|row| Ok(stored_trade!(row))).collect::<Result<Vec<Trade>, StoreError>>();
        Page::of(rows?, $limit)
    }};
}

/// A bot's open trades with their orders, as this connection sees them.
macro_rules! open_trades {
    ($connection:ident, $account:expr, $bot:expr) => {{
        // The status stands there as it is: so the index of open trades serves.
        let sql =
            "SELECT * FROM trades WHERE account_id = $1 AND bot_id = $2 AND status = 'open' ORDER BY id";
        let query = sqlx::query(sql).bind($account.to_string()).bind($bot.to_string());
        let rows = query.fetch_all(&mut *$connection).await?;
        let trades = rows.into_iter().map(|row| Ok(stored_trade!(row)));
        let mut trades = trades.collect::<Result<Vec<Trade>, StoreError>>()?;
        fill_in_orders!($connection, trades.iter_mut());
        trades
    }};
}

impl Store {
    /// Trades of an account with their orders and fills, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn trades(
        &self,
        account: AccountId,
        filter: &TradeFilter,
        limit: u32,
        after: Option<TradeId>,
    ) -> Result<Page<Trade>, StoreError> {
        Ok(snapshot!(self, connection => {
            let mut page = trade_rows!(connection, account, filter, limit, after);
            fill_in_orders!(connection, page.rows.iter_mut());
            page
        }))
    }

    /// The same without the orders of those that are closed. What an open one has sold already is in its orders only.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn trade_rows(
        &self,
        account: AccountId,
        filter: &TradeFilter,
        limit: u32,
        after: Option<TradeId>,
    ) -> Result<Page<Trade>, StoreError> {
        Ok(snapshot!(self, connection => {
            let mut page = trade_rows!(connection, account, filter, limit, after);
            let is_open = |trade: &&mut Trade| trade.status == TradeStatus::Open;
            fill_in_orders!(connection, page.rows.iter_mut().filter(is_open));
            page
        }))
    }

    /// How many trades of an account a filter lets through.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn count_trades(
        &self,
        account: AccountId,
        filter: &TradeFilter,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM trades WHERE account_id = $1 AND ($2 IS NULL OR bot_id = $2)
                AND ($3 IS NULL OR pair = $3) AND ($4 IS NULL OR status = $4)
                AND ($5 IS NULL OR opened_at >= $5) AND ($6 IS NULL OR opened_at < $6)";
        let count: i64 = reading!(self, pool => {
            let query = sqlx::query_scalar(sql)
                .bind(account.to_string())
                .bind(filter.bot_id.map(|id| id.to_string()))
                .bind(filter.pair.as_ref().map(ToString::to_string))
                .bind(filter.status.map(TradeStatus::as_str))
                .bind(filter.from.map(Timestamp::nanos))
                .bind(filter.to.map(Timestamp::nanos));
            query.fetch_one(pool).await?
        });
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// A bot's open trades, of which there is one at most unless it was turned from one pair to another.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_trades(&self, account: AccountId, bot: BotId) -> Result<Vec<Trade>, StoreError> {
        Ok(snapshot!(self, connection => open_trades!(connection, account, bot)))
    }

    /// A trade of an account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn trade(&self, account: AccountId, id: TradeId) -> Result<Option<Trade>, StoreError> {
        let sql = "SELECT * FROM trades WHERE account_id = $1 AND id = $2";
        Ok(snapshot!(self, connection => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(id.to_string());
            let row = query.fetch_optional(&mut *connection).await?;
            let trade = row.map(|row| Ok(stored_trade!(row))).transpose();
            let mut trade = Vec::from_iter::<Option<Trade>>(trade.map_err(|error: StoreError| error)?);
            fill_in_orders!(connection, trade.iter_mut());
            trade.pop()
        }))
    }

    /// What a bot holds, and what its closed trades add up to, as of one moment; the sums go on from what is known.
    pub(crate) async fn standing(
        &self,
        account: AccountId,
        key: &StatsKey,
        known: Option<KnownStats>,
    ) -> Result<(Vec<Trade>, KnownStats), StoreError> {
        let known = match known {
            Some(known) => known,
            None => self.stored_stats(key).await?,
        };
        let (open, later) = snapshot!(self, connection => {
            let later = closed_after!(connection, key, known.last);
            (open_trades!(connection, account, key.bot_id), later)
        });
        Ok((open, self.summed_up(key, known, &later).await?))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::store::stores;

    #[tokio::test]
    async fn a_page_is_found_by_index_however_far_down_it_is() {
        let (store, _folder) = stores().await.remove(0);
        let Store::Sqlite { readers, .. } = &store else { panic!() };
        for (sql, index) in [
            (OF_ACCOUNT, "trades_by_account (account_id=? AND id<?)"),
            (OF_BOT, "trades_by_bot (bot_id=? AND id<?)"),
        ] {
            let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
            let steps = explain.fetch_all(readers).await.unwrap();
            let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
            assert_eq!(steps, [format!("SEARCH trades USING INDEX {index}")]);
        }
    }
}
