//! Endpoints as they are stored: where events go, and how far each got.

use model::{AccountId, EventKind, Timestamp, WebhookId};
use sqlx::Row as _;

use super::idempotency::keep;
use super::{Page, Store, StoreError, parsed, reading, worded, writing};
use crate::answer::KeptAnswer;
use crate::secrets::SealedRecord;

/// Where events go, without what deliveries are signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub account_id: AccountId,
    /// Where to.
    pub url: String,
    /// What its owner says of it.
    pub description: String,
    /// Which events; empty means all.
    pub kinds: Vec<EventKind>,
    /// How many deliveries may be on their way to it at once.
    pub concurrency: u32,
    /// The names of the headers that its owner adds to every delivery.
    pub header_names: Vec<String>,
    /// Until when secrets from before the last rotation sign as well at the longest.
    pub previous_until: Option<Timestamp>,
    /// How far it got, and whether it goes on.
    pub progress: Progress,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How far an endpoint got.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Of its account's events, this one and all before it are done with.
    pub settled: i64,
    /// Since when every delivery has failed.
    pub failing_since: Option<Timestamp>,
    /// Why nothing is delivered any more.
    pub disabled: Option<String>,
    /// Since when.
    pub disabled_at: Option<Timestamp>,
}

/// An endpoint with its secrets as they are stored: sealed, or, from before they were, as they are.
#[derive(Clone)]
pub(crate) struct SealedWebhook {
    pub(crate) webhook: Webhook,
    pub(crate) secrets: Result<SealedRecord, String>,
}

macro_rules! stored_webhook {
    ($row:expr) => {{
        let row = $row;
        let (kinds, names): (&str, &str) = (row.try_get("kinds")?, row.try_get("header_names")?);
        let kinds = kinds.split(',').filter(|kind| !kind.is_empty());
        Webhook {
            id: parsed("id", row.try_get("id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            url: row.try_get("url")?,
            description: row.try_get("description")?,
            kinds: kinds.map(|kind| worded("kinds", kind.to_owned())).collect::<Result<_, _>>()?,
            concurrency: u32::try_from(row.try_get::<i64, _>("concurrency")?).unwrap_or(1),
            header_names: names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            previous_until: row.try_get::<Option<i64>, _>("previous_until")?.map(Timestamp::from_nanos),
            progress: Progress {
                settled: row.try_get("settled")?,
                failing_since: row.try_get::<Option<i64>, _>("failing_since")?.map(Timestamp::from_nanos),
                disabled: row.try_get("disabled")?,
                disabled_at: row.try_get::<Option<i64>, _>("disabled_at")?.map(Timestamp::from_nanos),
            },
            created_at: Timestamp::from_nanos(row.try_get("created_at")?),
        }
    }};
}

macro_rules! sealed_webhook {
    ($row:expr) => {{
        let row = $row;
        let sealed: Option<Vec<u8>> = row.try_get("sealed")?;
        let secrets = match sealed {
            None => Err(row.try_get("secret")?),
            Some(sealed) => Ok(SealedRecord {
                key_version: row.try_get("key_version")?,
                data_key: row.try_get("data_key")?,
                sealed,
            }),
        };
        SealedWebhook { webhook: stored_webhook!(row), secrets }
    }};
}

/// Gives up what an endpoint that is disabled still had to hear.
pub(super) const GIVE_UP: &str = "UPDATE deliveries SET is_open = FALSE, next_at = NULL,
        error = CASE status WHEN 'waiting' THEN 'the endpoint was disabled' ELSE error END,
        status = CASE status WHEN 'waiting' THEN 'failed' ELSE status END
    WHERE is_open AND webhook_id = $1";

impl Store {
    /// Stores an endpoint; it hears what is committed from now on. `None` where its account has `most` already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_webhook(
        &self,
        webhook: &Webhook,
        secrets: &SealedRecord,
        most: u32,
        answer: Option<&KeptAnswer>,
    ) -> Result<Option<Webhook>, StoreError> {
        let sql = "INSERT INTO webhooks (id, account_id, url, kinds, secret, settled, created_at, description,
                concurrency, header_names, key_version, data_key, sealed)
            SELECT $1, $2, $3, $4, '', COALESCE((SELECT MAX(seq) FROM events), 0), $5, $6, $7, $8, $9, $10, $11
            WHERE (SELECT COUNT(*) FROM webhooks WHERE account_id = $2 AND deleted_at IS NULL) < $12
            RETURNING settled";
        writing!(self, transaction => {
            let insert = sqlx::query_scalar(sql)
                .bind(webhook.id.to_string())
                .bind(webhook.account_id.to_string())
                .bind(&webhook.url)
                .bind(kinds(webhook))
                .bind(webhook.created_at.nanos())
                .bind(&webhook.description)
                .bind(i64::from(webhook.concurrency))
                .bind(webhook.header_names.join(","))
                .bind(secrets.key_version)
                .bind(&secrets.data_key)
                .bind(&secrets.sealed)
                .bind(i64::from(most));
            if matches!(self, Self::Postgres { .. }) {
                // Of two that count at once, each would count the other out. SQLite has one that writes.
                let alone = sqlx::query("SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE");
                alone.bind(webhook.account_id.to_string()).execute(&mut *transaction).await?;
            }
            let settled: Option<i64> = insert.fetch_optional(&mut *transaction).await?;
            if let Some(answer) = answer.filter(|_| settled.is_some()) {
                keep!(answer).execute(&mut *transaction).await?;
            }
            let progress = |settled| Progress { settled, ..Progress::default() };
            Ok(settled.map(|settled| Webhook { progress: progress(settled), ..webhook.clone() }))
        })
    }

    /// An account's endpoints, newest first, `after` being the last of the page before; deleted ones left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn webhooks(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<WebhookId>,
    ) -> Result<Page<Webhook>, StoreError> {
        let sql =
            "SELECT * FROM webhooks WHERE deleted_at IS NULL AND account_id = $1 AND ($2 IS NULL OR id < $2)
            ORDER BY id DESC LIMIT $3";
        let rows: Result<Vec<Webhook>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(after.map(|id| id.to_string()))
                .bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_webhook!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }

    /// An account's endpoint with its secrets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn webhook(
        &self,
        account: AccountId,
        id: WebhookId,
    ) -> Result<Option<SealedWebhook>, StoreError> {
        let sql = "SELECT * FROM webhooks WHERE deleted_at IS NULL AND account_id = $1 AND id = $2";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(id.to_string());
            query.fetch_optional(pool).await?.map(|row| Ok(sealed_webhook!(row))).transpose()
        })
    }

    /// Everybody's endpoints with their secrets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn all_webhooks(&self) -> Result<Vec<SealedWebhook>, StoreError> {
        let sql = "SELECT * FROM webhooks WHERE deleted_at IS NULL ORDER BY id";
        reading!(self, pool => {
            let rows = sqlx::query(sql).fetch_all(pool).await?.into_iter();
            rows.map(|row| Ok(sealed_webhook!(row))).collect()
        })
    }

    /// Stores what its owner decides of an endpoint, and its secrets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn change_webhook(
        &self,
        webhook: &Webhook,
        secrets: &SealedRecord,
        answer: Option<&KeptAnswer>,
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE webhooks SET url = $2, kinds = $3, description = $4, concurrency = $5, header_names = $6,
                previous_until = $7, key_version = $8, data_key = $9, sealed = $10, secret = ''
            WHERE id = $1 AND deleted_at IS NULL";
        writing!(self, transaction => {
            let update = sqlx::query(sql)
                .bind(webhook.id.to_string())
                .bind(&webhook.url)
                .bind(kinds(webhook))
                .bind(&webhook.description)
                .bind(i64::from(webhook.concurrency))
                .bind(webhook.header_names.join(","))
                .bind(webhook.previous_until.map(Timestamp::nanos))
                .bind(secrets.key_version)
                .bind(&secrets.data_key)
                .bind(&secrets.sealed);
            update.execute(&mut *transaction).await?;
            if let Some(answer) = answer {
                keep!(answer).execute(&mut *transaction).await?;
            }
        });
        Ok(())
    }

    /// Lets an endpoint hear what is committed from now on, or nothing any more; what was still to be delivered is
    /// given up. Answers how far it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn turn_webhook(
        &self,
        id: WebhookId,
        disabled: Option<&str>,
        now: Timestamp,
    ) -> Result<Progress, StoreError> {
        const TURN: &str = "UPDATE webhooks SET disabled = $2, disabled_at = $3, failing_since = NULL,
                settled = COALESCE((SELECT MAX(seq) FROM events), 0) WHERE id = $1 RETURNING settled";
        let disabled_at = disabled.map(|_| now);
        let settled = writing!(self, transaction => {
            sqlx::query(GIVE_UP).bind(id.to_string()).execute(&mut *transaction).await?;
            let turn = sqlx::query_scalar(TURN).bind(id.to_string()).bind(disabled);
            turn.bind(disabled_at.map(Timestamp::nanos)).fetch_one(&mut *transaction).await?
        });
        Ok(Progress { settled, failing_since: None, disabled: disabled.map(str::to_owned), disabled_at })
    }

    /// Deletes an endpoint and erases its secrets; false where the account has no such.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_webhook(
        &self,
        account: AccountId,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE webhooks SET deleted_at = $3, secret = '', data_key = NULL, sealed = NULL
            WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL";
        writing!(self, transaction => {
            let update = sqlx::query(sql).bind(account.to_string()).bind(id.to_string()).bind(now.nanos());
            Ok(update.execute(&mut *transaction).await?.rows_affected() == 1)
        })
    }
}

fn kinds(webhook: &Webhook) -> String {
    webhook.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",")
}
