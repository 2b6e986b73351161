//! Committed events, the endpoints they go to, and what became of them there.

use model::{AccountId, BotId, EventId, EventKind, Timestamp, WebhookId};
use sqlx::Row as _;

use super::{Page, Store, StoreError, parsed, reading, worded, writing};

/// An event as it was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its place in the outbox; later events have higher ones.
    pub seq: i64,
    /// The same in every delivery.
    pub id: EventId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The bot it is about.
    pub bot_id: Option<BotId>,
    /// What happened.
    pub kind: EventKind,
    /// The body that is signed and delivered.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

/// Where events go.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub account_id: AccountId,
    /// Where to.
    pub url: String,
    /// Which events; empty means all.
    pub kinds: Vec<EventKind>,
    /// What deliveries are signed with: `whsec_` and base64.
    pub secret: String,
    /// Of its account's events, this one and all before it are done with.
    pub settled: i64,
    /// Since when every delivery has failed.
    pub failing_since: Option<Timestamp>,
    /// Why nothing is delivered any more.
    pub disabled: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

/// How far an event got at an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryStatus {
    /// It failed and is tried again.
    Waiting,
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Failed,
}

impl DeliveryStatus {
    /// The name in the store and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// What became of an event at an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The event's place in the outbox.
    pub event_seq: i64,
    /// How far it got.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// What the endpoint answered last.
    pub http_status: Option<u16>,
    /// When this was noted.
    pub updated_at: Timestamp,
}

macro_rules! stored_event {
    ($row:expr) => {{
        let row = $row;
        let bot_id: Option<String> = row.try_get("bot_id")?;
        StoredEvent {
            seq: row.try_get("seq")?,
            id: parsed("id", row.try_get("id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            bot_id: bot_id.map(|text| parsed("bot_id", &text)).transpose()?,
            kind: worded("kind", row.try_get("kind")?)?,
            body: row.try_get("body")?,
            at: Timestamp::from_nanos(row.try_get("at")?),
        }
    }};
}

macro_rules! stored_webhook {
    ($row:expr) => {{
        let row = $row;
        let kinds: &str = row.try_get("kinds")?;
        let kinds = kinds.split(',').filter(|kind| !kind.is_empty());
        Webhook {
            id: parsed("id", row.try_get("id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            url: row.try_get("url")?,
            kinds: kinds.map(|kind| worded("kinds", kind.to_owned())).collect::<Result<_, _>>()?,
            secret: row.try_get("secret")?,
            settled: row.try_get("settled")?,
            failing_since: row.try_get::<Option<i64>, _>("failing_since")?.map(Timestamp::from_nanos),
            disabled: row.try_get("disabled")?,
            created_at: Timestamp::from_nanos(row.try_get("created_at")?),
        }
    }};
}

impl Store {
    /// An account's events after `seq`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events_after(
        &self,
        account: AccountId,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let sql = "SELECT * FROM events WHERE account_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(seq).bind(i64::from(limit));
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_event!(row))).collect()
        })
    }

    /// An account's events, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<EventId>,
    ) -> Result<Page<StoredEvent>, StoreError> {
        let sql = "SELECT * FROM events WHERE account_id = $1
                AND ($2 IS NULL OR seq < (SELECT seq FROM events WHERE id = $2 AND account_id = $1))
            ORDER BY seq DESC LIMIT $3";
        let rows: Result<Vec<StoredEvent>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(after.map(|id| id.to_string()))
                .bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_event!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }

    /// Stores an endpoint; it hears what is committed from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_webhook(&self, webhook: &Webhook) -> Result<Webhook, StoreError> {
        let sql = "INSERT INTO webhooks (id, account_id, url, kinds, secret, settled, created_at)
            SELECT $1, $2, $3, $4, $5, COALESCE((SELECT MAX(seq) FROM events), 0), $6 RETURNING settled";
        let kinds: Vec<&str> = webhook.kinds.iter().map(|kind| kind.as_str()).collect();
        writing!(self, pool => {
            let insert = sqlx::query_scalar(sql)
                .bind(webhook.id.to_string())
                .bind(webhook.account_id.to_string())
                .bind(&webhook.url)
                .bind(kinds.join(","))
                .bind(&webhook.secret)
                .bind(webhook.created_at.nanos());
            Ok(Webhook { settled: insert.fetch_one(pool).await?, ..webhook.clone() })
        })
    }

    /// Endpoints of everybody, or of one account, newest first; deleted ones left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn webhooks(&self, account: Option<AccountId>) -> Result<Vec<Webhook>, StoreError> {
        let sql = "SELECT * FROM webhooks WHERE deleted_at IS NULL AND ($1 IS NULL OR account_id = $1)
            ORDER BY id DESC";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.map(|id| id.to_string()));
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_webhook!(row))).collect()
        })
    }

    /// Deletes an endpoint; false where the account has no such.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_webhook(
        &self,
        account: AccountId,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE webhooks SET deleted_at = $3 WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL";
        writing!(self, pool => {
            let update = sqlx::query(sql).bind(account.to_string()).bind(id.to_string()).bind(now.nanos());
            Ok(update.execute(pool).await?.rows_affected() == 1)
        })
    }

    /// What became of an endpoint's events after those that are settled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unsettled(&self, webhook: &Webhook) -> Result<Vec<Delivery>, StoreError> {
        let sql = "SELECT * FROM deliveries WHERE webhook_id = $1 AND event_seq > $2 ORDER BY event_seq";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(webhook.id.to_string()).bind(webhook.settled);
            let rows = query.fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                let status: &str = row.try_get("status")?;
                Ok(Delivery {
                    event_seq: row.try_get("event_seq")?,
                    status: match status {
                        "delivered" => DeliveryStatus::Delivered,
                        "failed" => DeliveryStatus::Failed,
                        _ => DeliveryStatus::Waiting,
                    },
                    attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
                    next_at: row.try_get::<Option<i64>, _>("next_at")?.map(Timestamp::from_nanos),
                    http_status: row
                        .try_get::<Option<i64>, _>("http_status")?
                        .and_then(|status| u16::try_from(status).ok()),
                    updated_at: Timestamp::from_nanos(row.try_get("updated_at")?),
                })
            })
            .collect()
        })
    }

    /// Notes how far an endpoint is: its row, and what became of single events, in one transaction. Delivered
    /// events that are settled need no row any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle(&self, webhook: &Webhook, deliveries: &[Delivery]) -> Result<(), StoreError> {
        let sql = "INSERT INTO deliveries (webhook_id, event_seq, status, attempts, next_at, http_status, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (webhook_id, event_seq) DO UPDATE SET
                status = excluded.status, attempts = excluded.attempts, next_at = excluded.next_at,
                http_status = excluded.http_status, updated_at = excluded.updated_at";
        writing!(self, pool => {
            let mut transaction = pool.begin().await?;
            sqlx::query("UPDATE webhooks SET settled = $2, failing_since = $3, disabled = $4 WHERE id = $1")
                .bind(webhook.id.to_string())
                .bind(webhook.settled)
                .bind(webhook.failing_since.map(Timestamp::nanos))
                .bind(&webhook.disabled)
                .execute(&mut *transaction)
                .await?;
            for delivery in deliveries {
                sqlx::query(sql)
                    .bind(webhook.id.to_string())
                    .bind(delivery.event_seq)
                    .bind(delivery.status.as_str())
                    .bind(i64::from(delivery.attempts))
                    .bind(delivery.next_at.map(Timestamp::nanos))
                    .bind(delivery.http_status.map(i64::from))
                    .bind(delivery.updated_at.nanos())
                    .execute(&mut *transaction)
                    .await?;
            }
            sqlx::query("DELETE FROM deliveries WHERE webhook_id = $1 AND event_seq <= $2 AND status = 'delivered'")
                .bind(webhook.id.to_string())
                .bind(webhook.settled)
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
    }
}
