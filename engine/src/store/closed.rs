//! An account's closed trades, as far as they are added up.

use model::{AccountId, BotId, Pair, Quote, Timestamp};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading};
use crate::profits::ProfitFilter;

/// What a closed trade made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClosedTrade {
    pub(crate) bot_id: BotId,
    pub(crate) pair: Pair,
    pub(crate) dry_run: bool,
    pub(crate) closed_at: Timestamp,
    pub(crate) profit: Quote,
    /// `None` where its currency had no known price then.
    pub(crate) profit_usd: Option<Quote>,
    pub(crate) fees: Quote,
}

impl Store {
    /// The closed trades that a filter lets through, in the order in which they were closed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn closed_trades(
        &self,
        account: AccountId,
        filter: &ProfitFilter,
    ) -> Result<Vec<ClosedTrade>, StoreError> {
        let sql = "SELECT bot_id, pair, dry_run, closed_at, profit, profit_usd, fees FROM trades
            WHERE account_id = $1 AND status = 'closed' AND profit IS NOT NULL
                AND ($2 IS NULL OR closed_at >= $2) AND ($3 IS NULL OR closed_at < $3)
                AND ($4 IS NULL OR bot_id = $4) AND ($5 IS NULL OR pair = $5) AND ($6 IS NULL OR dry_run = $6)
            ORDER BY closed_at, id";
        reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(filter.from.map(Timestamp::nanos))
                .bind(filter.to.map(Timestamp::nanos))
                .bind(filter.bot_id.map(|id| id.to_string()))
                .bind(filter.pair.as_ref().map(ToString::to_string))
                .bind(filter.dry_run);
            let rows = query.fetch_all(pool).await?.into_iter();
            rows.map(|row| Ok(ClosedTrade {
                bot_id: parsed("bot_id", row.try_get("bot_id")?)?,
                pair: parsed("pair", row.try_get("pair")?)?,
                dry_run: row.try_get("dry_run")?,
                closed_at: Timestamp::from_nanos(row.try_get("closed_at")?),
                profit: parsed("profit", row.try_get("profit")?)?,
                profit_usd: row
                    .try_get::<Option<&str>, _>("profit_usd")?
                    .map(|text| parsed("profit_usd", text))
                    .transpose()?,
                fees: parsed("fees", row.try_get("fees")?)?,
            })).collect()
        })
    }
}
