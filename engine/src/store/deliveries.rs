//! Deliveries as they are stored: what is still to be made, and a log of the others.

use std::collections::HashMap;

use model::{AccountId, DeliveryId, EventId, EventKind, Timestamp, WebhookId};
use sqlx::Row as _;

use super::idempotency::keep;
use super::rows::row;
use super::write::{Dialect, Statement, write_rows};
use super::{Page, Progress, Store, StoreError, StoredEvent, parsed, reading, writing};
use crate::answer::KeptAnswer;
use crate::store::events::listed;
use crate::store::webhooks::GIVE_UP;

/// A delivery of an event to an endpoint, as its last attempt left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Its id; an event that is delivered once more has another.
    pub id: DeliveryId,
    /// Where to.
    pub webhook_id: WebhookId,
    /// Why it is made.
    pub origin: Origin,
    /// The event's place in the outbox; 0 for a test.
    pub event_seq: i64,
    /// The event.
    pub event_id: EventId,
    /// What happened: a kind's name, or `webhook.test`.
    pub kind: String,
    /// How far it got.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// What came of the last attempt.
    pub last: Option<Attempt>,
    /// When it came up.
    pub created_at: Timestamp,
    /// When this was noted.
    pub updated_at: Timestamp,
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attempt {
    /// The status that the endpoint answered with.
    pub http_status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// How its answer began, control characters escaped.
    pub answer: Option<String>,
    /// Why there was no answer, or why it did not count.
    pub error: Option<String>,
}

/// Why a delivery is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// Something happened.
    Event,
    /// Somebody asked for it once more.
    Replay,
    /// Somebody asked for a test.
    Test,
}

impl Origin {
    /// The name in the store and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Replay => "replay",
            Self::Test => "test",
        }
    }
}

/// How far a delivery got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryStatus {
    /// It is to be made, or failed and is tried again.
    Waiting,
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Failed,
}

impl DeliveryStatus {
    /// Every status there is.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Failed];

    /// The name in the store and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// What the store has of an endpoint's deliveries that a start has to know of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct OpenRows {
    /// The place of the last event that such a delivery is of.
    pub(crate) last_event: Option<i64>,
    /// The first replay that waits.
    pub(crate) first_replay: Option<DeliveryId>,
}

/// Which deliveries of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliveryFilter {
    /// That got so far.
    pub status: Option<DeliveryStatus>,
    /// Of events of these kinds; empty means all.
    pub kinds: Vec<EventKind>,
}

macro_rules! delivery {
    ($row:expr) => {{
        let row = $row;
        let attempts = row.try_get::<i64, _>("attempts")?;
        let last = Attempt {
            http_status: small(row.try_get("http_status")?),
            duration_ms: small(row.try_get("duration_ms")?).unwrap_or_default(),
            answer: row.try_get("answer")?,
            error: row.try_get("error")?,
        };
        Delivery {
            id: parsed("id", row.try_get("id")?)?,
            webhook_id: parsed("webhook_id", row.try_get("webhook_id")?)?,
            origin: known(
                row.try_get("origin")?,
                &[Origin::Event, Origin::Replay, Origin::Test],
                Origin::as_str,
            )?,
            event_seq: row.try_get("event_seq")?,
            event_id: parsed("event_id", row.try_get("event_id")?)?,
            kind: row.try_get("kind")?,
            status: known(row.try_get("status")?, &DeliveryStatus::ALL, DeliveryStatus::as_str)?,
            attempts: small(Some(attempts)).unwrap_or(u32::MAX),
            next_at: row.try_get::<Option<i64>, _>("next_at")?.map(Timestamp::from_nanos),
            last: (attempts > 0).then_some(last),
            created_at: Timestamp::from_nanos(row.try_get("created_at")?),
            updated_at: Timestamp::from_nanos(row.try_get("updated_at")?),
        }
    }};
}

fn small<T: TryFrom<i64>>(number: Option<i64>) -> Option<T> {
    number.and_then(|number| T::try_from(number).ok())
}

fn known<T: Copy>(word: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, StoreError> {
    let corrupt = || StoreError::Corrupt { column: "deliveries", value: word.chars().take(60).collect() };
    all.iter().copied().find(|it| name(*it) == word).ok_or_else(corrupt)
}

static WRITE_DELIVERIES: Statement = Statement::new(
    "INSERT INTO deliveries (webhook_id, id, event_seq, event_id, kind, origin, status, is_open, attempts, next_at,
         http_status, duration_ms, answer, error, created_at, updated_at) SELECT *",
    16,
    "WHERE v.column1 IS NOT NULL
     ON CONFLICT (webhook_id, id) DO UPDATE SET status = excluded.status, is_open = excluded.is_open,
         attempts = excluded.attempts, next_at = excluded.next_at, http_status = excluded.http_status,
         duration_ms = excluded.duration_ms, answer = excluded.answer, error = excluded.error,
         updated_at = excluded.updated_at",
);
static CLOSE_DELIVERIES: Statement = Statement::new(
    "UPDATE deliveries SET is_open = FALSE",
    2,
    "WHERE deliveries.is_open AND deliveries.webhook_id = v.column1 AND deliveries.event_seq <= v.column2
         AND deliveries.status <> 'waiting'",
);

static MOVE_ON: Statement = Statement::new(
    "UPDATE webhooks SET settled = v.column2, failing_since = v.column3, disabled = v.column4, disabled_at = v.column5",
    5,
    // Whoever disabled it meanwhile has the last word.
    "WHERE webhooks.id = v.column1 AND webhooks.disabled IS NULL",
);

/// What is noted in one transaction of what several endpoints were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// How far endpoints got.
    pub(crate) progress: Vec<(WebhookId, Progress)>,
    /// Deliveries, and whether a start has to know of each.
    pub(crate) deliveries: Vec<(Delivery, bool)>,
    /// Endpoints that are past deliveries which a start had to know of, and how far they are.
    pub(crate) closed: Vec<(WebhookId, i64)>,
    /// What whoever asked for them is answered.
    pub(crate) answer: Option<KeptAnswer>,
}

impl Notes {
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.is_empty() && self.deliveries.is_empty() && self.closed.is_empty()
    }
}

macro_rules! write_notes {
    ($transaction:ident, $dialect:expr, $notes:ident) => {
        let rows = $notes.deliveries.iter().flat_map(|(delivery, is_open)| {
            let last = delivery.last.as_ref();
            row![
                delivery.webhook_id.to_string(),
                delivery.id.to_string(),
                delivery.event_seq,
                delivery.event_id.to_string(),
                delivery.kind.clone(),
                delivery.origin.as_str(),
                delivery.status.as_str(),
                *is_open,
                i64::from(delivery.attempts),
                delivery.next_at.map(Timestamp::nanos),
                last.and_then(|last| last.http_status.map(i64::from)),
                last.map(|last| i64::from(last.duration_ms)),
                last.and_then(|last| last.answer.clone()),
                last.and_then(|last| last.error.clone()),
                delivery.created_at.nanos(),
                delivery.updated_at.nanos(),
            ]
        });
        write_rows!($transaction, $dialect, WRITE_DELIVERIES, rows);
        let closed = $notes.closed.iter().flat_map(|(id, settled)| row![id.to_string(), *settled]);
        write_rows!($transaction, $dialect, CLOSE_DELIVERIES, closed);
        let rows = $notes.progress.iter().flat_map(|(id, progress)| {
            row![
                id.to_string(),
                progress.settled,
                progress.failing_since.map(Timestamp::nanos),
                progress.disabled.clone(),
                progress.disabled_at.map(Timestamp::nanos),
            ]
        });
        write_rows!($transaction, $dialect, MOVE_ON, rows);
        for (id, _) in $notes.progress.iter().filter(|(_, progress)| progress.disabled.is_some()) {
            sqlx::query(GIVE_UP).bind(id.to_string()).execute(&mut *$transaction).await?;
        }
        if let Some(answer) = &$notes.answer {
            keep!(answer).execute(&mut *$transaction).await?;
        }
    };
}

impl Store {
    /// Notes what endpoints were told, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]; then none of it is noted.
    pub(crate) async fn note(&self, notes: &Notes) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { writer, .. } => {
                let mut transaction = writer.begin().await?;
                write_notes!(transaction, Dialect::Sqlite, notes);
                transaction.commit().await
            }
            Self::Postgres { writer, .. } => {
                let mut transaction = writer.begin().await?;
                write_notes!(transaction, Dialect::Postgres, notes);
                transaction.commit().await
            }
        }
    }

    /// What there is of deliveries that a start has to know of, by endpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn open_rows(&self) -> Result<HashMap<WebhookId, OpenRows>, StoreError> {
        let sql = "SELECT webhook_id, MAX(event_seq) AS last_event,
                MIN(CASE WHEN origin = 'replay' AND status = 'waiting' THEN id END) AS first_replay
            FROM deliveries WHERE is_open GROUP BY webhook_id";
        reading!(self, pool => {
            let mut found = HashMap::new();
            for row in sqlx::query(sql).fetch_all(pool).await? {
                let first_replay: Option<String> = row.try_get("first_replay")?;
                let rows = OpenRows {
                    last_event: row.try_get("last_event")?,
                    first_replay: first_replay.map(|text| parsed("id", &text)).transpose()?,
                };
                found.insert(parsed("webhook_id", row.try_get("webhook_id")?)?, rows);
            }
            Ok(found)
        })
    }

    /// Deliveries of events that a start has to know of: of one endpoint, of events after a place and up to another.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn open_deliveries(
        &self,
        webhook: WebhookId,
        after: i64,
        until: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = "SELECT * FROM deliveries WHERE is_open AND webhook_id = $1 AND event_seq > $2 AND event_seq <= $3
            AND origin = 'event' ORDER BY event_seq";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(webhook.to_string()).bind(after).bind(until);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(delivery!(row))).collect()
        })
    }

    /// An endpoint's replays that wait, oldest first, `after` being the last that is known; one whose event is forgotten
    /// cannot be made any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn waiting_replays(
        &self,
        account: AccountId,
        webhook: WebhookId,
        after: DeliveryId,
        limit: usize,
    ) -> Result<Vec<(StoredEvent, Delivery)>, StoreError> {
        let sql =
            "SELECT * FROM deliveries WHERE webhook_id = $1 AND id > $2 AND origin = 'replay' AND is_open
            AND status = 'waiting' ORDER BY id LIMIT $3";
        let replays: Result<Vec<Delivery>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(webhook.to_string())
                .bind(after.to_string())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX));
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(delivery!(row))).collect()
        });
        let replays = replays?;
        let places: Vec<i64> = replays.iter().map(|replay| replay.event_seq).collect();
        let events = self.events_at(account, &places).await?;
        let found = |replay: Delivery| Some((events.get(&replay.event_seq)?.clone(), replay));
        Ok(replays.into_iter().filter_map(found).collect())
    }

    /// An endpoint's deliveries, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        filter: &DeliveryFilter,
        limit: u32,
        after: Option<DeliveryId>,
    ) -> Result<Page<Delivery>, StoreError> {
        let sql = "SELECT * FROM deliveries WHERE webhook_id = $1 AND id < $2
            AND ($3 IS NULL OR status = $3) AND ($4 = '' OR $4 LIKE '%,' || kind || ',%')
            ORDER BY id DESC LIMIT $5";
        let rows: Result<Vec<Delivery>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(webhook.to_string())
                .bind(after.unwrap_or(DeliveryId::from_u128(u128::MAX)).to_string())
                .bind(filter.status.map(DeliveryStatus::as_str))
                .bind(listed(&filter.kinds))
                .bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(delivery!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }

    /// An endpoint's delivery.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delivery(&self, webhook: WebhookId, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let sql = "SELECT * FROM deliveries WHERE webhook_id = $1 AND id = $2";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(webhook.to_string()).bind(id.to_string());
            query.fetch_optional(pool).await?.map(|row| Ok(delivery!(row))).transpose()
        })
    }

    /// Forgets a few of an endpoint's oldest deliveries: those from before `until`, and those beyond the newest
    /// `keep`; tells how many. What is still to be made stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn forget_deliveries(
        &self,
        webhook: WebhookId,
        until: Timestamp,
        keep: u32,
        most: u32,
    ) -> Result<u64, StoreError> {
        let sql = "DELETE FROM deliveries WHERE webhook_id = $1 AND id IN (
                SELECT id FROM deliveries WHERE webhook_id = $1 AND NOT is_open AND (created_at < $2
                    OR id <= (SELECT id FROM deliveries WHERE webhook_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $3))
                ORDER BY id LIMIT $4)";
        writing!(self, transaction => {
            let delete = sqlx::query(sql)
                .bind(webhook.to_string())
                .bind(until.nanos())
                .bind(i64::from(keep))
                .bind(i64::from(most));
            Ok(delete.execute(&mut *transaction).await?.rows_affected())
        })
    }

    /// Ends tests that a server left behind which was killed: nobody knows what came of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn end_tests(&self) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET is_open = FALSE, status = 'failed', attempts = 1,
                error = 'the server ended before it knew the answer'
            WHERE is_open AND origin = 'test'";
        writing!(self, transaction => {
            sqlx::query(sql).execute(&mut *transaction).await?;
        });
        Ok(())
    }

    /// The places of an endpoint's events, from `since` on, that it took, or that are still to be delivered to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn taken_since(
        &self,
        webhook: WebhookId,
        since: Timestamp,
    ) -> Result<std::collections::HashSet<i64>, StoreError> {
        let sql = "SELECT event_seq FROM deliveries WHERE webhook_id = $1 AND created_at >= $2 AND status <> 'failed'";
        reading!(self, pool => {
            let query = sqlx::query_scalar(sql).bind(webhook.to_string()).bind(since.nanos());
            Ok(query.fetch_all(pool).await?.into_iter().collect())
        })
    }
}

impl Delivery {
    /// An event that is to be delivered.
    pub(crate) fn of(event: &StoredEvent, webhook_id: WebhookId, origin: Origin, now: Timestamp) -> Self {
        Self {
            id: DeliveryId::new(),
            webhook_id,
            origin,
            event_seq: event.seq,
            event_id: event.id,
            kind: event.kind.as_str().to_owned(),
            status: DeliveryStatus::Waiting,
            attempts: 0,
            next_at: None,
            last: None,
            created_at: now,
            updated_at: now,
        }
    }
}

#[cfg(test)]
mod tests;
