//! What was paid out.

use model::{AccountId, Payout, PayoutId, Period, Timestamp};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading};

impl Store {
    /// Payouts of everybody, or of one account, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn payouts(&self, account: Option<AccountId>) -> Result<Vec<Payout>, StoreError> {
        let sql = "SELECT * FROM payouts WHERE ($1 IS NULL OR account_id = $1) ORDER BY id DESC";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.map(|id| id.to_string()));
            let rows = query.fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                Ok(Payout {
                    id: parsed("id", row.try_get("id")?)?,
                    account_id: parsed("account_id", row.try_get("account_id")?)?,
                    kind: row.try_get("kind")?,
                    status: parsed("status", row.try_get("status")?)?,
                    gross: parsed("gross", row.try_get("gross")?)?,
                    fees: parsed("fees", row.try_get("fees")?)?,
                    currency: row.try_get("currency")?,
                    period: Period {
                        start: row.try_get::<Option<i64>, _>("period_start")?.map(Timestamp::from_nanos),
                        end: row.try_get::<Option<i64>, _>("period_end")?.map(Timestamp::from_nanos),
                    },
                    processed_at: Timestamp::from_nanos(row.try_get("processed_at")?),
                })
            })
            .collect()
        })
    }

    /// Our name of a payout of Stripe's, and the order of what was told last of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn payout_by_stripe(&self, name: &str) -> Result<Option<(PayoutId, i64)>, StoreError> {
        let sql = "SELECT id, stripe_order FROM payouts WHERE stripe_payout = $1";
        reading!(self, pool => {
            let row = sqlx::query(sql).bind(name).fetch_optional(pool).await?;
            row.map(|row| Ok((parsed("id", row.try_get("id")?)?, row.try_get("stripe_order")?))).transpose()
        })
    }

    /// Whose connected account of Stripe's this is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn account_of_connected(
        &self,
        connected: &str,
    ) -> Result<Option<AccountId>, StoreError> {
        let sql = "SELECT id FROM accounts WHERE stripe_account = $1";
        reading!(self, pool => {
            let id: Option<String> = sqlx::query_scalar(sql).bind(connected).fetch_optional(pool).await?;
            id.map(|id| parsed("id", &id)).transpose()
        })
    }
}
