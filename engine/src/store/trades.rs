//! Trades with their orders and fills, and what a bot's trades add up to.

use std::collections::HashMap;

use model::{AccountId, BotId, Fill, Order, OrderId, Pair, Side, Timestamp, Trade, TradeId, TradeStatus};
use sqlx::{QueryBuilder, Row as _};

use super::{Page, Store, StoreError, parsed, reading, worded};

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

/// A column that may be NULL, as what its text stands for.
macro_rules! maybe {
    ($row:ident, $column:literal) => {
        $row.try_get::<Option<String>, _>($column)?.map(|text| parsed($column, &text)).transpose()?
    };
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
            profit: maybe!(row, "profit"),
            profit_pct: maybe!(row, "profit_pct"),
            profit_usd: maybe!(row, "profit_usd"),
            exit_reason: exit_reason.map(|word| worded("exit_reason", word)).transpose()?,
            stop_price: maybe!(row, "stop_price"),
            take_profit_price: maybe!(row, "take_profit_price"),
            orders: Vec::new(),
        }
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
        let mut page = self.trade_rows(account, filter, limit, after).await?;
        self.fill_in_orders(&mut page.rows).await?;
        Ok(page)
    }

    /// The same without their orders.
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
        let sql = "SELECT * FROM trades WHERE account_id = $1 AND ($2 IS NULL OR id < $2)
                AND ($3 IS NULL OR bot_id = $3) AND ($4 IS NULL OR pair = $4) AND ($5 IS NULL OR status = $5)
                AND ($6 IS NULL OR opened_at >= $6) AND ($7 IS NULL OR opened_at < $7)
            ORDER BY id DESC LIMIT $8";
        let status = filter.status.map(|status| match status {
            TradeStatus::Open => "open",
            TradeStatus::Closed => "closed",
        });
        let rows: Result<Vec<Trade>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(after.map(|id| id.to_string()))
                .bind(filter.bot_id.map(|id| id.to_string()))
                .bind(filter.pair.as_ref().map(ToString::to_string))
                .bind(status)
                .bind(filter.from.map(Timestamp::nanos))
                .bind(filter.to.map(Timestamp::nanos))
                .bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_trade!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }

    /// A bot's open trades, of which there is one at most unless it was turned from one pair to another.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_trades(&self, account: AccountId, bot: BotId) -> Result<Vec<Trade>, StoreError> {
        // The status stands there as it is: so the index of open trades serves.
        let sql =
            "SELECT * FROM trades WHERE account_id = $1 AND bot_id = $2 AND status = 'open' ORDER BY id";
        let trades: Result<Vec<Trade>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(bot.to_string());
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_trade!(row))).collect()
        });
        let mut trades = trades?;
        self.fill_in_orders(&mut trades).await?;
        Ok(trades)
    }

    /// A trade of an account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn trade(&self, account: AccountId, id: TradeId) -> Result<Option<Trade>, StoreError> {
        let sql = "SELECT * FROM trades WHERE account_id = $1 AND id = $2";
        let trade: Result<Option<Trade>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(id.to_string());
            query.fetch_optional(pool).await?.map(|row| Ok(stored_trade!(row))).transpose()
        });
        let mut trade = Vec::from_iter(trade?);
        self.fill_in_orders(&mut trade).await?;
        Ok(trade.pop())
    }

    /// Puts the orders and fills into trades.
    async fn fill_in_orders(&self, trades: &mut [Trade]) -> Result<(), StoreError> {
        if trades.is_empty() {
            return Ok(());
        }
        let mut orders = self.orders(trades).await?;
        for trade in trades {
            trade.orders = orders.remove(&trade.id).unwrap_or_default();
        }
        Ok(())
    }

    async fn orders(&self, trades: &[Trade]) -> Result<HashMap<TradeId, Vec<Order>>, StoreError> {
        let mut found: HashMap<TradeId, Vec<Order>> = HashMap::new();
        let mut fills: HashMap<OrderId, Vec<Fill>> = HashMap::new();
        reading!(self, pool => {
            let mut select = QueryBuilder::new(
                "SELECT fills.* FROM fills JOIN orders ON orders.id = fills.order_id WHERE orders.trade_id IN (",
            );
            let mut ids = select.separated(", ");
            for trade in trades {
                ids.push_bind(trade.id.to_string());
            }
            select.push(") ORDER BY fills.at, fills.venue_trade_id, fills.id");
            for row in select.build().fetch_all(pool).await? {
                fills.entry(parsed("order_id", row.try_get("order_id")?)?).or_default().push(Fill {
                    id: parsed("id", row.try_get("id")?)?,
                    at: Timestamp::from_nanos(row.try_get("at")?),
                    price: parsed("price", row.try_get("price")?)?,
                    qty: parsed("qty", row.try_get("qty")?)?,
                    fee: parsed("fee", row.try_get("fee")?)?,
                    fee_asset: row.try_get("fee_asset")?,
                    venue_trade_id: row.try_get("venue_trade_id")?,
                });
            }
            let mut select = QueryBuilder::new("SELECT * FROM orders WHERE trade_id IN (");
            let mut ids = select.separated(", ");
            for trade in trades {
                ids.push_bind(trade.id.to_string());
            }
            select.push(") ORDER BY id");
            for row in select.build().fetch_all(pool).await? {
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
        });
        Ok(found)
    }
}
