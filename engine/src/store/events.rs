//! The outbox: what was committed, in the order in which it is told.

use std::collections::HashMap;

use model::{AccountId, BotId, EventId, EventKind, Timestamp};
use sqlx::{QueryBuilder, Row as _};

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
    /// Its place among its bot's events, or among those of its account that are about none: from 1, without gaps.
    pub sequence: i64,
    /// The body that is signed and delivered.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

/// Which of an account's events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventFilter {
    /// Of these kinds; empty means all.
    pub kinds: Vec<EventKind>,
    /// About this bot.
    pub bot_id: Option<BotId>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

macro_rules! stored_event {
    ($row:expr) => {{
        let row = $row;
        let bot_id: Option<String> = row.try_get("bot_id")?;
        let sequence = row.try_get("sequence")?;
        StoredEvent {
            seq: row.try_get("seq")?,
            id: parsed("id", row.try_get("id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            bot_id: bot_id.map(|text| parsed("bot_id", &text)).transpose()?,
            kind: worded("kind", row.try_get("kind")?)?,
            sequence,
            body: numbered(row.try_get("body")?, sequence),
            at: Timestamp::from_nanos(row.try_get("at")?),
        }
    }};
}

/// A stored body with its event's place, which is only known once it is written.
fn numbered(body: &str, sequence: i64) -> String {
    match body.split_once(r#","data":"#) {
        Some((head, data)) => format!(r#"{head},"sequence":{sequence},"data":{data}"#),
        None => body.to_owned(),
    }
}

impl Store {
    /// Everybody's events after `seq`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outbox_after(&self, seq: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let sql = "SELECT * FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(seq).bind(i64::from(limit));
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_event!(row))).collect()
        })
    }

    /// The place of the last event there is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outbox_end(&self) -> Result<i64, StoreError> {
        reading!(self, pool => {
            Ok(sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM events").fetch_one(pool).await?)
        })
    }

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

    /// An account's events at these places, as far as they are kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn events_at(
        &self,
        account: AccountId,
        places: &[i64],
    ) -> Result<HashMap<i64, StoredEvent>, StoreError> {
        if places.is_empty() {
            return Ok(HashMap::new());
        }
        reading!(self, pool => {
            let mut select = QueryBuilder::new("SELECT * FROM events WHERE account_id = ");
            select.push_bind(account.to_string()).push(" AND seq IN (");
            let mut listed = select.separated(", ");
            for place in places {
                listed.push_bind(*place);
            }
            select.push(")");
            let mut found = HashMap::new();
            for row in select.build().fetch_all(pool).await? {
                let event = stored_event!(row);
                found.insert(event.seq, event);
            }
            Ok(found)
        })
    }

    /// An account's event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn event(&self, account: AccountId, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        let sql = "SELECT * FROM events WHERE account_id = $1 AND id = $2";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(id.to_string());
            query.fetch_optional(pool).await?.map(|row| Ok(stored_event!(row))).transpose()
        })
    }

    /// An account's events, newest first unless asked otherwise, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events(
        &self,
        account: AccountId,
        filter: &EventFilter,
        limit: u32,
        after: Option<EventId>,
    ) -> Result<Page<StoredEvent>, StoreError> {
        const NEWEST_FIRST: &str = "SELECT * FROM events WHERE account_id = $1
                AND seq < COALESCE((SELECT seq FROM events WHERE id = $2 AND account_id = $1), 9223372036854775807)
                AND ($3 = '' OR $3 LIKE '%,' || kind || ',%') AND ($4 IS NULL OR bot_id = $4)
                AND at >= $5 AND at < $6 ORDER BY seq DESC LIMIT $7";
        const OLDEST_FIRST: &str = "SELECT * FROM events WHERE account_id = $1
                AND seq > COALESCE((SELECT seq FROM events WHERE id = $2 AND account_id = $1), 0)
                AND ($3 = '' OR $3 LIKE '%,' || kind || ',%') AND ($4 IS NULL OR bot_id = $4)
                AND at >= $5 AND at < $6 ORDER BY seq LIMIT $7";
        let sql = if filter.ascending { OLDEST_FIRST } else { NEWEST_FIRST };
        let rows: Result<Vec<StoredEvent>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(after.map(|id| id.to_string()))
                .bind(listed(&filter.kinds))
                .bind(filter.bot_id.map(|id| id.to_string()))
                .bind(filter.from.map_or(i64::MIN, Timestamp::nanos))
                .bind(filter.to.map_or(i64::MAX, Timestamp::nanos))
                .bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_event!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }

    /// Forgets a few of the oldest events, those from before `until`; tells how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_events(&self, until: Timestamp, most: u32) -> Result<u64, StoreError> {
        let sql = "DELETE FROM events WHERE at < $1
            AND seq <= (SELECT MAX(seq) FROM (SELECT seq FROM events ORDER BY seq LIMIT $2) AS oldest)";
        writing!(self, transaction => {
            let delete = sqlx::query(sql).bind(until.nanos()).bind(i64::from(most));
            Ok(delete.execute(&mut *transaction).await?.rows_affected())
        })
    }
}

/// Kinds between commas, as a statement looks for one; nothing for all.
pub(super) fn listed(kinds: &[EventKind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(",{},", names.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_place() {
        let body = r#"{"id":"evt_1","event":"bot.error","timestamp":"…Z","data":{"message":",\"data\":"}}"#;
        let told = numbered(body, 7);
        assert_eq!(
            told,
            r#"{"id":"evt_1","event":"bot.error","timestamp":"…Z","sequence":7,"data":{"message":",\"data\":"}}"#
        );
    }
}
