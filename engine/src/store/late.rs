//! What the journal knows of an order that nobody has on his list any more, and the books of its trade.

use std::collections::BTreeSet;
use std::ops::Range;

use model::{
    AccountId, BotId, ClientOrderId, ExchangeId, OrderType, Pair, Price, Qty, Side, Timestamp, TradeId,
};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading, writing};

/// An order as it was journaled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JournaledOrder {
    pub(crate) client_id: ClientOrderId,
    pub(crate) account_id: AccountId,
    pub(crate) exchange_id: ExchangeId,
    pub(crate) bot_id: BotId,
    pub(crate) trade_id: TradeId,
    pub(crate) pair: Pair,
    pub(crate) side: Side,
    pub(crate) kind: OrderType,
    pub(crate) qty: Qty,
    /// What it was to trade at; `None` at the market.
    pub(crate) price: Option<Price>,
    pub(crate) decided_at: Timestamp,
}

/// When an order's last request was stamped, and by which process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct JournaledStamp {
    /// The venue's time on it; `None` where an older version journaled it.
    pub(crate) stamped_at: Option<Timestamp>,
    /// Likewise.
    pub(crate) epoch: Option<i64>,
}

/// What a journaled body says under a name.
fn said<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    body.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

impl Store {
    /// The order of that id, if one was ever journaled.
    pub(crate) async fn journaled(&self, id: ClientOrderId) -> Result<Option<JournaledOrder>, StoreError> {
        let sql = "SELECT account_id, exchange_id, bot_id, trade_id, pair, body, decided_at FROM intents
            WHERE client_order_id = $1";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(id.to_string());
            let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
            let body: &str = row.try_get("body")?;
            let corrupt = || StoreError::Corrupt { column: "body", value: body.chars().take(60).collect() };
            let number = |name| said(body, name).map(|text| parsed("body", text)).transpose();
            let (kind, price) = match said(body, "type").ok_or_else(corrupt)? {
                "LIMIT" => (OrderType::Limit, number("price")?),
                "STOP_LOSS_LIMIT" => (OrderType::StopLossLimit, number("stopPrice")?),
                _ => (OrderType::Market, None),
            };
            Ok(Some(JournaledOrder {
                client_id: id,
                account_id: parsed("account_id", row.try_get("account_id")?)?,
                exchange_id: parsed("exchange_id", row.try_get("exchange_id")?)?,
                bot_id: parsed("bot_id", row.try_get("bot_id")?)?,
                trade_id: parsed("trade_id", row.try_get("trade_id")?)?,
                pair: parsed("pair", row.try_get("pair")?)?,
                side: if said(body, "side") == Some("BUY") { Side::Buy } else { Side::Sell },
                kind,
                qty: parsed("body", said(body, "quantity").ok_or_else(corrupt)?)?,
                price,
                decided_at: Timestamp::from_nanos(row.try_get("decided_at")?),
            }))
        })
    }

    /// What an order was stamped with last, if it was ever journaled.
    pub(crate) async fn journaled_stamp(
        &self,
        id: ClientOrderId,
    ) -> Result<Option<JournaledStamp>, StoreError> {
        let sql = "SELECT stamped_at, epoch FROM intents WHERE client_order_id = $1";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(id.to_string());
            let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
            let stamped_at: Option<i64> = row.try_get("stamped_at")?;
            Ok(Some(JournaledStamp {
                stamped_at: stamped_at.map(Timestamp::from_nanos),
                epoch: row.try_get("epoch")?,
            }))
        })
    }

    /// Notes orders that belong to no bot, so that their owner is told of them once.
    pub(crate) async fn note_strays(&self, ids: &[ClientOrderId]) -> Result<(), StoreError> {
        writing!(self, transaction => {
            for id in ids {
                let insert = "INSERT INTO strays (client_order_id) VALUES ($1) ON CONFLICT DO NOTHING";
                sqlx::query(insert).bind(id.to_string()).execute(&mut *transaction).await?;
            }
        });
        Ok(())
    }

    /// Whether an order was ever journaled, is in the books, or is known to be no bot's.
    pub(crate) async fn is_known(&self, id: ClientOrderId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM intents WHERE client_order_id = $1
            UNION ALL SELECT 1 FROM orders WHERE client_order_id = $1
            UNION ALL SELECT 1 FROM strays WHERE client_order_id = $1 LIMIT 1";
        reading!(self, pool => {
            Ok(sqlx::query(sql).bind(id.to_string()).fetch_optional(pool).await?.is_some())
        })
    }

    /// Whether any order was ever journaled.
    pub(crate) async fn has_journaled(&self) -> Result<bool, StoreError> {
        reading!(self, pool => {
            Ok(sqlx::query("SELECT 1 FROM intents LIMIT 1").fetch_optional(pool).await?.is_some())
        })
    }

    /// The venue's numbers of what is booked of an order.
    pub(crate) async fn booked(&self, id: ClientOrderId) -> Result<BTreeSet<i64>, StoreError> {
        let sql = "SELECT fills.venue_trade_id FROM orders JOIN fills ON fills.order_id = orders.id
            WHERE orders.client_order_id = $1 AND fills.venue_trade_id IS NOT NULL";
        let numbers: Vec<i64> = reading!(self, pool => {
            sqlx::query_scalar(sql).bind(id.to_string()).fetch_all(pool).await?
        });
        Ok(numbers.into_iter().collect())
    }

    /// The pairs that had orders over a connection in a stretch of time, and when the last of each was decided; no more
    /// than so many, those that had theirs last.
    pub(crate) async fn traded(
        &self,
        id: ExchangeId,
        when: Range<Timestamp>,
        limit: u32,
    ) -> Result<Vec<(Pair, Timestamp)>, StoreError> {
        // Bot by bot, as the journal is indexed; an order's id begins with when it was minted.
        let sql =
            "SELECT intents.pair, MAX(intents.decided_at) AS last FROM exchange_connections AS connection
            JOIN bots ON bots.account_id = connection.account_id
            JOIN intents ON intents.bot_id = bots.id
                AND intents.client_order_id >= $2 AND intents.client_order_id < $3
            WHERE connection.id = $1 AND intents.exchange_id = $1
            GROUP BY intents.pair ORDER BY last DESC LIMIT $4";
        let minted = |at: Timestamp| ClientOrderId::from_u128(u128::try_from(at.millis()).unwrap_or(0) << 80);
        let (first, end) = (minted(when.start).to_string(), minted(when.end).to_string());
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(id.to_string()).bind(first).bind(end);
            let rows = query.bind(i64::from(limit)).fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| Ok((parsed("pair", row.try_get("pair")?)?, Timestamp::from_nanos(row.try_get("last")?))))
                .collect()
        })
    }

    /// Closed trades with fees that nobody could value yet, and whose, the oldest first.
    pub(crate) async fn unvalued_trades(&self, limit: u32) -> Result<Vec<(AccountId, TradeId)>, StoreError> {
        let sql = "SELECT account_id, id FROM trades WHERE unvalued_fees > 0 AND status = 'closed'
            ORDER BY id LIMIT $1";
        reading!(self, pool => {
            let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| Ok((parsed("account_id", row.try_get("account_id")?)?, parsed("id", row.try_get("id")?)?)))
                .collect()
        })
    }

    /// What a closed trade left that is too little to be sold, and at which connection.
    pub(crate) async fn dust_at(&self, trade: TradeId) -> Result<Option<(ExchangeId, Qty)>, StoreError> {
        let sql = "SELECT exchange_id, qty FROM dust WHERE trade_id = $1";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(trade.to_string());
            let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
            Ok(Some((parsed("exchange_id", row.try_get("exchange_id")?)?, parsed("qty", row.try_get("qty")?)?)))
        })
    }

    /// What a closed trade left that is too little to be sold.
    pub(crate) async fn dust_of(&self, trade: TradeId) -> Result<Option<Qty>, StoreError> {
        let sql = "SELECT qty FROM dust WHERE trade_id = $1";
        let qty: Option<String> = reading!(self, pool => {
            sqlx::query_scalar(sql).bind(trade.to_string()).fetch_optional(pool).await?
        });
        qty.map(|qty| parsed("qty", &qty)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use model::EventId;

    use super::super::exchanges::tests::stores;
    use super::*;

    async fn run(store: &Store, sql: String) {
        assert_eq!(store.run(sql).await, 1);
    }

    /// An order whose id was minted, and that was decided, in this second.
    async fn journal(
        store: &Store,
        [account, exchange, bot]: [&str; 3],
        pair: &str,
        second: u32,
    ) -> ClientOrderId {
        let id =
            ClientOrderId::from_u128((u128::from(second) * 1_000) << 80 | EventId::new().as_u128() >> 48);
        let insert = format!(
            "INSERT INTO intents (client_order_id, account_id, exchange_id, bot_id, trade_id, role, pair, body, decided_at)
             VALUES ('{id}', '{account}', '{exchange}', '{bot}', 'trade', 'entry', '{pair}', 'body', {second}000000000)"
        );
        run(store, insert).await;
        id
    }

    #[tokio::test]
    async fn a_connections_pairs_are_those_that_it_traded_then() {
        for (store, _folder) in stores().await {
            let account = store.create_account("one", Timestamp::MIN).await.unwrap().id.to_string();
            let (one, two) = (ExchangeId::new(), ExchangeId::new());
            for (number, id) in [one, two].iter().enumerate() {
                let insert = format!(
                    "INSERT INTO exchange_connections (id, account_id, exchange, name, key_version, data_key, api_key, api_secret,
                         key_hint, key_hash, permissions, ip_bound, created_at)
                     SELECT '{id}', '{account}', 'binance', 'name', 1, blob, blob, blob, '', blob, '', TRUE, 0
                     FROM (SELECT CAST('{number}' AS {}) AS blob) AS made",
                    if matches!(store, Store::Postgres { .. }) { "BYTEA" } else { "BLOB" },
                );
                run(&store, insert).await;
            }
            for bot in ["bot_1", "bot_2"] {
                let insert = format!(
                    "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
                     VALUES ('{bot}', '{account}', 'binance', 'BTC/USDT', 'dca', FALSE, '{{}}', 'stopped', 0)"
                );
                run(&store, insert).await;
            }
            let (first, second) = (one.to_string(), two.to_string());
            for (exchange, bot, pair, second) in [
                (&first, "bot_1", "BTC/USDT", 200),
                (&first, "bot_1", "BTC/USDT", 300),
                (&first, "bot_2", "ETH/USDT", 400),
                (&first, "bot_2", "SOL/USDT", 99),
                (&second, "bot_2", "XRP/USDT", 500),
                (&second, "bot_2", "ADA/USDT", 600),
            ] {
                journal(&store, [&account, exchange, bot], pair, second).await;
            }
            let at = |second: i64| Timestamp::from_millis(second * 1_000);
            let pairs = async |id, limit| {
                let found = store.traded(id, at(100)..at(600), limit).await.unwrap();
                found.iter().map(|(pair, last)| (pair.to_string(), *last)).collect::<Vec<_>>()
            };
            let (eth, btc) = (("ETH/USDT".to_owned(), at(400)), ("BTC/USDT".to_owned(), at(300)));
            assert_eq!(pairs(one, 50).await, [eth.clone(), btc]);
            assert_eq!(pairs(one, 1).await, [eth]);
            assert_eq!(pairs(two, 50).await, [("XRP/USDT".to_owned(), at(500))]);
            assert_eq!(pairs(ExchangeId::new(), 50).await, []);
        }
    }

    #[tokio::test]
    async fn what_is_booked_of_an_order_is_told_by_the_venues_numbers() {
        for (store, _folder) in stores().await {
            let account = store.create_account("one", Timestamp::MIN).await.unwrap().id.to_string();
            let (booked, empty) = (ClientOrderId::new(), ClientOrderId::new());
            run(&store, format!(
                "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
                 VALUES ('bot', '{account}', 'binance', 'BTC/USDT', 'dca', FALSE, '{{}}', 'stopped', 0)"
            )).await;
            run(&store, format!(
                "INSERT INTO trades (id, account_id, bot_id, exchange, pair, status, dry_run, opened_at, entry_price, amount,
                     stake, fees) VALUES ('trade', '{account}', 'bot', 'binance', 'BTC/USDT', 'open', FALSE, 0, '1', '1', '1', '0')"
            )).await;
            for id in [booked, empty] {
                run(&store, format!(
                    "INSERT INTO orders (id, trade_id, client_order_id, side, kind, status, price, qty, filled_qty, created_at)
                     VALUES ('{id}', 'trade', '{id}', 'buy', 'market', 'filled', '1', '1', '1', 0)"
                )).await;
            }
            for number in [7, 9] {
                run(
                    &store,
                    format!(
                        "INSERT INTO fills (id, order_id, at, price, qty, fee, fee_asset, venue_trade_id)
                     VALUES ('fill_{number}', '{booked}', 0, '1', '1', '0', 'BTC', {number})"
                    ),
                )
                .await;
            }
            assert_eq!(store.booked(booked).await.unwrap(), BTreeSet::from([7, 9]));
            assert_eq!(store.booked(empty).await.unwrap(), BTreeSet::new());
            assert_eq!(store.booked(ClientOrderId::new()).await.unwrap(), BTreeSet::new());
        }
    }
}
