//! Changes to rows: many in one transaction, each statement with many rows.

use std::collections::BTreeMap;

use model::{BotDefinition, BotId, DomainEvent, Fill, FillId, Order, OrderId, Timestamp, Trade, TradeId};
use serde::Serialize;
use sqlx::QueryBuilder;

use super::{Store, StoreError};
use crate::change::{BotChange, BotStatus, Change, NewBot};

/// How many rows one statement carries: with the widest table below what both databases can bind.
const ROWS: usize = 1_000;

/// The last word on every row that a batch of changes touches.
#[derive(Default)]
struct Batch<'a> {
    created: Vec<&'a NewBot>,
    redefined: Vec<&'a (BotId, BotDefinition)>,
    deleted: Vec<&'a (BotId, Timestamp)>,
    bots: BTreeMap<BotId, BotChange>,
    trades: BTreeMap<TradeId, (&'a Trade, String)>,
    orders: BTreeMap<OrderId, (TradeId, &'a Order)>,
    fills: BTreeMap<FillId, (OrderId, &'a Fill)>,
    events: Vec<&'a DomainEvent>,
}

impl<'a> Batch<'a> {
    fn of(changes: &'a [Change]) -> Result<Self, StoreError> {
        let mut batch = Self::default();
        for change in changes {
            batch.created.extend(&change.created);
            batch.redefined.extend(&change.redefined);
            batch.deleted.extend(&change.deleted);
            if let Some(bot) = &change.bot {
                let earlier = batch.bots.insert(bot.id, bot.clone());
                if let (Some(now), Some(BotChange { state: Some(state), .. })) =
                    (batch.bots.get_mut(&bot.id), earlier)
                {
                    now.state.get_or_insert(state);
                }
            }
            if let Some(trade) = &change.trade {
                let account = change.account_id().ok_or(StoreError::Ownerless(trade.id))?;
                batch.trades.insert(trade.id, (trade, account.to_string()));
                for order in &trade.orders {
                    batch.orders.insert(order.id, (trade.id, order));
                    batch.fills.extend(order.fills.iter().map(|fill| (fill.id, (order.id, fill))));
                }
            }
            batch.events.extend(&change.events);
        }
        Ok(batch)
    }
}

/// The statements of a batch, for whichever database the transaction is on.
macro_rules! write_batch {
    ($transaction:ident, $batch:ident) => {
        for rows in chunks($batch.created.iter().copied()) {
            let mut insert = QueryBuilder::new(
                "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status,
                     created_at) ",
            );
            insert.push_values(rows, |mut row, bot: &NewBot| {
                row.push_bind(bot.id.to_string())
                    .push_bind(bot.account_id.to_string())
                    .push_bind(bot.definition.exchange.as_str())
                    .push_bind(bot.definition.pair.to_string())
                    .push_bind(bot.definition.strategy.as_str())
                    .push_bind(bot.definition.dry_run)
                    .push_bind(bot.definition.to_json().get().to_owned())
                    .push_bind(BotStatus::Stopped.as_str())
                    .push_bind(bot.created_at.nanos());
            });
            insert.build().execute(&mut *$transaction).await?;
        }
        for (id, definition) in &$batch.redefined {
            let update = sqlx::query(
                "UPDATE bots SET exchange = $2, pair = $3, strategy = $4, dry_run = $5, definition = $6 WHERE id = $1",
            )
            .bind(id.to_string())
            .bind(definition.exchange.as_str())
            .bind(definition.pair.to_string())
            .bind(definition.strategy.as_str())
            .bind(definition.dry_run)
            .bind(definition.to_json().get().to_owned());
            update.execute(&mut *$transaction).await?;
        }
        for rows in chunks($batch.bots.values()) {
            let bots = rows.len() as u64;
            let mut update = QueryBuilder::new(
                "UPDATE bots SET status = v.column2, trouble_code = v.column3, trouble_message = v.column4,
                     state = COALESCE(v.column5, bots.state) FROM (",
            );
            update.push_values(rows, |mut row, bot: &BotChange| {
                row.push_bind(bot.id.to_string())
                    .push_bind(bot.status.as_str())
                    .push_bind(bot.trouble.as_ref().map(|trouble| trouble.code.clone()))
                    .push_bind(bot.trouble.as_ref().map(|trouble| trouble.message.clone()))
                    .push_bind(bot.state.clone());
            });
            update.push(") AS v WHERE bots.id = v.column1");
            if update.build().execute(&mut *$transaction).await?.rows_affected() != bots {
                return Err(StoreError::UnknownBot);
            }
        }
        for (id, at) in &$batch.deleted {
            let update = sqlx::query("UPDATE bots SET deleted_at = $2 WHERE id = $1");
            update.bind(id.to_string()).bind(at.nanos()).execute(&mut *$transaction).await?;
        }
        for rows in chunks($batch.trades.values()) {
            let mut insert = QueryBuilder::new(
                "INSERT INTO trades (id, account_id, bot_id, exchange, pair, status, dry_run, opened_at, closed_at,
                     entry_price, exit_price, amount, stake, fees, profit, profit_pct, profit_usd, exit_reason,
                     stop_price, take_profit_price) ",
            );
            insert.push_values(rows, |mut row, (trade, account): &(&Trade, String)| {
                row.push_bind(trade.id.to_string())
                    .push_bind(account.clone())
                    .push_bind(trade.bot_id.to_string())
                    .push_bind(trade.exchange.as_str())
                    .push_bind(trade.pair.to_string())
                    .push_bind(word(&trade.status))
                    .push_bind(trade.dry_run)
                    .push_bind(trade.opened_at.nanos())
                    .push_bind(trade.closed_at.map(|at| at.nanos()))
                    .push_bind(trade.entry_price.to_string())
                    .push_bind(text(trade.exit_price))
                    .push_bind(trade.amount.to_string())
                    .push_bind(trade.stake.to_string())
                    .push_bind(trade.fees.to_string())
                    .push_bind(text(trade.profit))
                    .push_bind(text(trade.profit_pct))
                    .push_bind(text(trade.profit_usd))
                    .push_bind(trade.exit_reason.map(|reason| reason.as_str()))
                    .push_bind(text(trade.stop_price))
                    .push_bind(text(trade.take_profit_price));
            });
            insert.push(
                " ON CONFLICT (id) DO UPDATE SET status = excluded.status, closed_at = excluded.closed_at,
                     entry_price = excluded.entry_price, exit_price = excluded.exit_price, amount = excluded.amount,
                     stake = excluded.stake, fees = excluded.fees, profit = excluded.profit,
                     profit_pct = excluded.profit_pct, profit_usd = excluded.profit_usd,
                     exit_reason = excluded.exit_reason, stop_price = excluded.stop_price,
                     take_profit_price = excluded.take_profit_price",
            );
            insert.build().execute(&mut *$transaction).await?;
        }
        for rows in chunks($batch.orders.values()) {
            let mut insert = QueryBuilder::new(
                "INSERT INTO orders (id, trade_id, client_order_id, side, kind, status, price, qty, filled_qty,
                     created_at) ",
            );
            insert.push_values(rows, |mut row, (trade, order): &(TradeId, &Order)| {
                row.push_bind(order.id.to_string())
                    .push_bind(trade.to_string())
                    .push_bind(order.client_order_id.to_string())
                    .push_bind(word(&order.side))
                    .push_bind(word(&order.kind))
                    .push_bind(word(&order.status))
                    .push_bind(order.price.to_string())
                    .push_bind(order.qty.to_string())
                    .push_bind(order.filled_qty.to_string())
                    .push_bind(order.created_at.nanos());
            });
            insert.push(
                " ON CONFLICT (id) DO UPDATE SET status = excluded.status, filled_qty = excluded.filled_qty",
            );
            insert.build().execute(&mut *$transaction).await?;
        }
        for rows in chunks($batch.fills.values()) {
            let mut insert = QueryBuilder::new("INSERT INTO fills (id, order_id, at, price, qty, fee, fee_asset) ");
            insert.push_values(rows, |mut row, (order, fill): &(OrderId, &Fill)| {
                row.push_bind(fill.id.to_string())
                    .push_bind(order.to_string())
                    .push_bind(fill.at.nanos())
                    .push_bind(fill.price.to_string())
                    .push_bind(fill.qty.to_string())
                    .push_bind(fill.fee.to_string())
                    .push_bind(fill.fee_asset.clone());
            });
            insert.push(" ON CONFLICT (id) DO NOTHING");
            insert.build().execute(&mut *$transaction).await?;
        }
        for rows in chunks($batch.events.iter().copied()) {
            let mut insert = QueryBuilder::new("INSERT INTO events (id, account_id, bot_id, kind, body, at) ");
            insert.push_values(rows, |mut row, event: &DomainEvent| {
                row.push_bind(event.id.to_string())
                    .push_bind(event.account_id.to_string())
                    .push_bind(text(event.bot_id))
                    .push_bind(event.kind.as_str())
                    .push_bind(event.body())
                    .push_bind(event.at.nanos());
            });
            insert.build().execute(&mut *$transaction).await?;
        }
    };
}

impl Store {
    /// Writes changes in one transaction, in order, and waits until it is durable.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is written.
    pub async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let batch = Batch::of(changes)?;
        match self {
            Self::Sqlite { writer, .. } => {
                let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
                write_batch!(transaction, batch);
                transaction.commit().await?;
            }
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                write_batch!(transaction, batch);
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

fn chunks<'a, T>(rows: impl Iterator<Item = &'a T>) -> Vec<Vec<&'a T>> {
    let rows: Vec<&T> = rows.collect();
    rows.chunks(ROWS).map(<[&T]>::to_vec).collect()
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// The wire name of an enum.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
