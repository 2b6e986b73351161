//! What accounts pay for, and what Stripe told of it.

use model::{AccountId, Period, Plans, Subscription, SubscriptionStatus, Tier, Timestamp};
use sqlx::Row as _;

use super::{Account, Store, StoreError, parsed, reading, writing};
use crate::billing::StripeSubscription;

/// How it stands with what an account pays for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Billing {
    /// Whose.
    pub account: Account,
    pub(crate) status: SubscriptionStatus,
    pub(crate) period: Period,
    pub(crate) cancel_at_period_end: bool,
    pub(crate) revision: i64,
    /// Who the account is at Stripe when it pays.
    pub stripe_customer: Option<String>,
    /// And when it is paid.
    pub stripe_account: Option<String>,
}

impl Billing {
    /// What the account may use.
    pub fn subscription(&self, plans: &Plans) -> Subscription {
        Subscription {
            plan: self.account.plan,
            status: self.status,
            limits: plans.of(self.account.plan),
            period: self.period,
            cancel_at_period_end: self.cancel_at_period_end,
        }
    }
}

/// Writes what an account may use within a transaction, where nobody else did since it was decided.
pub(super) const SUBSCRIBE: &str =
    "UPDATE accounts SET plan = $3, status = $4, period_start = $5, period_end = $6, cancel_at_period_end = $7,
         revision = revision + 1
     WHERE id = $1 AND revision = $2";

/// Writes what Stripe told of a subscription.
pub(super) const TELL: &str =
    "INSERT INTO stripe_subscriptions (id, customer, plan, status, period_start, period_end, cancel_at_period_end, told,
         updates)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, plan = excluded.plan, status = excluded.status,
         period_start = excluded.period_start, period_end = excluded.period_end,
         cancel_at_period_end = excluded.cancel_at_period_end, told = excluded.told, updates = excluded.updates";

/// Writes an event of Stripe's that is done with.
pub(super) const DONE: &str =
    "INSERT INTO stripe_events (id, kind, created_at, received_at, outcome) VALUES ($1, $2, $3, $4, $5)";

/// Writes a payout, or how it ended after all.
pub(super) const PAY: &str =
    "INSERT INTO payouts (id, account_id, kind, status, gross, fees, currency, period_start, period_end, processed_at,
         stripe_payout, stripe_order)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     ON CONFLICT (id) DO UPDATE SET status = excluded.status, gross = excluded.gross,
         processed_at = excluded.processed_at, stripe_order = excluded.stripe_order";

/// The statements of a change about money, for whichever database the transaction is on.
macro_rules! write_billing {
    ($transaction:ident, $change:expr) => {
        use $crate::store::subscriptions::{DONE, PAY, SUBSCRIBE, TELL};
        let $crate::billing::BillingChange { subscription, payout, told, event } = $change;
        if let Some((account, subscription, revision)) = subscription {
            let update = sqlx::query(SUBSCRIBE)
                .bind(account.to_string())
                .bind(revision)
                .bind(subscription.plan.as_str())
                .bind(subscription.status.as_str())
                .bind(subscription.period.start.map(Timestamp::nanos))
                .bind(subscription.period.end.map(Timestamp::nanos))
                .bind(subscription.cancel_at_period_end);
            if update.execute(&mut *$transaction).await?.rows_affected() != 1 {
                return Err(StoreError::Raced);
            }
        }
        if let Some((payout, stripe)) = payout {
            let (name, order) = stripe.unzip();
            sqlx::query(PAY)
                .bind(payout.id.to_string())
                .bind(payout.account_id.to_string())
                .bind(payout.kind)
                .bind(payout.status.as_str())
                .bind(payout.gross.to_string())
                .bind(payout.fees.to_string())
                .bind(payout.currency)
                .bind(payout.period.start.map(Timestamp::nanos))
                .bind(payout.period.end.map(Timestamp::nanos))
                .bind(payout.processed_at.nanos())
                .bind(name)
                .bind(order)
                .execute(&mut *$transaction)
                .await?;
        }
        if let Some(told) = told {
            sqlx::query(TELL)
                .bind(told.id)
                .bind(told.customer)
                .bind(told.plan.as_str())
                .bind(told.status.as_str())
                .bind(told.period.start.map(Timestamp::nanos))
                .bind(told.period.end.map(Timestamp::nanos))
                .bind(told.cancel_at_period_end)
                .bind(told.told)
                .bind(serde_json::to_string(&told.updates).unwrap_or_default())
                .execute(&mut *$transaction)
                .await?;
        }
        if let Some(event) = event {
            sqlx::query(DONE)
                .bind(event.id)
                .bind(event.kind)
                .bind(event.created_at.nanos())
                .bind(event.received_at.nanos())
                .bind(event.outcome)
                .execute(&mut *$transaction)
                .await?;
        }
    };
}
pub(super) use write_billing;

/// The columns of a [`Billing`].
const COLUMNS: &str =
    "SELECT id, name, plan, created_at, suspended_at, status, period_start, period_end, cancel_at_period_end, revision,
        stripe_customer, stripe_account FROM accounts WHERE ";

macro_rules! billing {
    ($row:expr) => {{
        let row = $row;
        Billing {
            account: Account {
                id: parsed("id", row.try_get("id")?)?,
                name: row.try_get("name")?,
                plan: parsed("plan", row.try_get("plan")?)?,
                created_at: Timestamp::from_nanos(row.try_get("created_at")?),
                suspended_at: row.try_get::<Option<i64>, _>("suspended_at")?.map(Timestamp::from_nanos),
            },
            status: parsed("status", row.try_get("status")?)?,
            period: Period {
                start: row.try_get::<Option<i64>, _>("period_start")?.map(Timestamp::from_nanos),
                end: row.try_get::<Option<i64>, _>("period_end")?.map(Timestamp::from_nanos),
            },
            cancel_at_period_end: row.try_get("cancel_at_period_end")?,
            revision: row.try_get("revision")?,
            stripe_customer: row.try_get("stripe_customer")?,
            stripe_account: row.try_get("stripe_account")?,
        }
    }};
}

impl Store {
    /// How it stands with what an account pays for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn billing(&self, account: AccountId) -> Result<Option<Billing>, StoreError> {
        self.billing_where("id = $1", &account.to_string()).await
    }

    /// The same of whoever is this customer of Stripe's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn billing_of_customer(&self, customer: &str) -> Result<Option<Billing>, StoreError> {
        self.billing_where("stripe_customer = $1", customer).await
    }

    async fn billing_where(&self, is: &'static str, value: &str) -> Result<Option<Billing>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("{COLUMNS}{is}"));
        reading!(self, pool => {
            let row = sqlx::query(sql).bind(value).fetch_optional(pool).await?;
            row.map(|row| Ok(billing!(row))).transpose()
        })
    }

    /// An account's plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn plan(&self, account: AccountId) -> Result<Option<Tier>, StoreError> {
        let sql = "SELECT plan FROM accounts WHERE id = $1";
        reading!(self, pool => {
            let plan: Option<String> =
                sqlx::query_scalar(sql).bind(account.to_string()).fetch_optional(pool).await?;
            plan.map(|plan| parsed("plan", &plan)).transpose()
        })
    }

    /// How many bots an account has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn bots_there(&self, account: AccountId) -> Result<u64, StoreError> {
        self.counted("SELECT COUNT(*) FROM bots WHERE account_id = $1 AND deleted_at IS NULL", account).await
    }

    /// How many of them live.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn bots_alive(&self, account: AccountId) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM bots WHERE account_id = $1 AND deleted_at IS NULL
            AND status IN ('starting', 'running', 'stopping')";
        self.counted(sql, account).await
    }

    /// How many webhook endpoints an account has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn webhooks_there(&self, account: AccountId) -> Result<u64, StoreError> {
        self.counted("SELECT COUNT(*) FROM webhooks WHERE account_id = $1 AND deleted_at IS NULL", account)
            .await
    }

    async fn counted(&self, sql: &'static str, account: AccountId) -> Result<u64, StoreError> {
        reading!(self, pool => {
            let count: i64 = sqlx::query_scalar(sql).bind(account.to_string()).fetch_one(pool).await?;
            Ok(count.unsigned_abs())
        })
    }

    /// Says who an account is at Stripe; what is not given stays as it was.
    ///
    /// # Errors
    /// [`StoreError::Raced`] where another account is that already; false where there is no such account.
    pub async fn link_stripe(
        &self,
        account: AccountId,
        customer: Option<&str>,
        connected: Option<&str>,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE accounts SET stripe_customer = COALESCE($2, stripe_customer),
            stripe_account = COALESCE($3, stripe_account) WHERE id = $1";
        writing!(self, transaction => {
            let update = sqlx::query(sql).bind(account.to_string()).bind(customer).bind(connected);
            match update.execute(&mut *transaction).await {
                Ok(done) => Ok(done.rows_affected() == 1),
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Err(StoreError::Raced),
                Err(error) => return Err(error.into()),
            }
        })
    }

    /// What Stripe told last of a customer's subscriptions.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn stripe_subscriptions(
        &self,
        customer: &str,
    ) -> Result<Vec<StripeSubscription>, StoreError> {
        let sql = "SELECT * FROM stripe_subscriptions WHERE customer = $1 ORDER BY id";
        reading!(self, pool => {
            let rows = sqlx::query(sql).bind(customer).fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                Ok(StripeSubscription {
                    id: row.try_get("id")?,
                    customer: row.try_get("customer")?,
                    plan: parsed("plan", row.try_get("plan")?)?,
                    status: parsed("status", row.try_get("status")?)?,
                    period: Period {
                        start: row.try_get::<Option<i64>, _>("period_start")?.map(Timestamp::from_nanos),
                        end: row.try_get::<Option<i64>, _>("period_end")?.map(Timestamp::from_nanos),
                    },
                    cancel_at_period_end: row.try_get("cancel_at_period_end")?,
                    told: row.try_get("told")?,
                    // Unreadable ones decide nothing.
                    updates: serde_json::from_str(row.try_get("updates")?).unwrap_or_default(),
                })
            })
            .collect()
        })
    }

    /// Whether an event of Stripe's is done with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn has_stripe_event(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "SELECT COUNT(*) FROM stripe_events WHERE id = $1";
        reading!(self, pool => {
            let count: i64 = sqlx::query_scalar(sql).bind(id).fetch_one(pool).await?;
            Ok(count > 0)
        })
    }

    /// Forgets a few of Stripe's events, of those that came before `until`; tells how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn forget_stripe_events(&self, until: Timestamp, most: u32) -> Result<u64, StoreError> {
        let sql = "DELETE FROM stripe_events WHERE id IN (
                SELECT id FROM stripe_events WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
        writing!(self, transaction => {
            let delete = sqlx::query(sql).bind(until.nanos()).bind(i64::from(most));
            Ok(delete.execute(&mut *transaction).await?.rows_affected())
        })
    }

    /// Where the outbox is, and whom events about money since a place in it tell of something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn billing_events_after(&self, seq: i64) -> Result<Vec<(i64, AccountId)>, StoreError> {
        let sql = "SELECT seq, account_id FROM events
            WHERE seq > $1 AND kind IN ('subscription.changed', 'payout.processed') ORDER BY seq";
        reading!(self, pool => {
            let rows = sqlx::query(sql).bind(seq).fetch_all(pool).await?.into_iter();
            rows.map(|row| Ok((row.try_get("seq")?, parsed("account_id", row.try_get("account_id")?)?))).collect()
        })
    }

    /// Subscriptions that end with a period which is over at `until`, and when, the first first: none that Stripe keeps.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn ending(&self, until: Timestamp) -> Result<Vec<(AccountId, Timestamp)>, StoreError> {
        let sql = "SELECT id, period_end FROM accounts
            WHERE cancel_at_period_end AND period_end <= $1 AND status <> 'canceled'
                AND NOT EXISTS (SELECT 1 FROM stripe_subscriptions AS told
                    WHERE told.customer = accounts.stripe_customer AND told.status <> 'canceled')
            ORDER BY period_end LIMIT 1000";
        reading!(self, pool => {
            let rows = sqlx::query(sql).bind(until.nanos()).fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                Ok((parsed("id", row.try_get("id")?)?, Timestamp::from_nanos(row.try_get("period_end")?)))
            })
            .collect()
        })
    }

    /// The last place in the outbox.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_event(&self) -> Result<i64, StoreError> {
        let sql = "SELECT COALESCE(MAX(seq), 0) FROM events";
        reading!(self, pool => Ok(sqlx::query_scalar(sql).fetch_one(pool).await?))
    }
}
