//! What the journal knows of an order that nobody has on his list any more, and the books of its trade.

use model::{
    AccountId, BotId, ClientOrderId, ExchangeId, OrderType, Pair, Price, Qty, Side, Timestamp, TradeId,
};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading};

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
