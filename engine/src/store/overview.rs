//! What an operator's counters show of the store.

use std::collections::BTreeMap;

use model::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading};
use crate::change::BotStatus;

/// How many bots and undelivered events there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Overview {
    /// Bots that are not deleted, by status.
    pub(crate) bots: BTreeMap<&'static str, i64>,
    /// Events that an enabled endpoint has not settled yet, those that it does not want included; one that waits for two
    /// endpoints counts twice.
    pub(crate) undelivered: i64,
    /// When the oldest of them happened.
    pub(crate) oldest_undelivered: Option<Timestamp>,
}

impl Store {
    /// Counts bots and undelivered events. It reads a row of each bot: no more often than needed, please.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn overview(&self) -> Result<Overview, StoreError> {
        let bots = "SELECT status, COUNT(*) AS bots FROM bots WHERE deleted_at IS NULL GROUP BY status";
        let waiting = "SELECT
                (SELECT COUNT(*) FROM events WHERE events.account_id = webhooks.account_id
                    AND events.seq > webhooks.settled) AS waiting,
                (SELECT events.at FROM events WHERE events.account_id = webhooks.account_id
                    AND events.seq > webhooks.settled ORDER BY events.seq LIMIT 1) AS oldest
            FROM webhooks WHERE deleted_at IS NULL AND disabled IS NULL";
        let mut overview = Overview::default();
        reading!(self, pool => {
            for row in sqlx::query(bots).fetch_all(pool).await? {
                let status: BotStatus = parsed("status", row.try_get("status")?)?;
                overview.bots.insert(status.as_str(), row.try_get("bots")?);
            }
            for row in sqlx::query(waiting).fetch_all(pool).await? {
                overview.undelivered += row.try_get::<i64, _>("waiting")?;
                let oldest = row.try_get::<Option<i64>, _>("oldest")?.map(Timestamp::from_nanos);
                let known = overview.oldest_undelivered;
                overview.oldest_undelivered = known.into_iter().chain(oldest).min();
            }
        });
        Ok(overview)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stores;

    #[tokio::test]
    async fn bots_are_counted_by_status_and_events_by_the_endpoints_that_have_not_settled_them() {
        for (store, _folder) in stores().await {
            let account = store.create_account("one", Timestamp::MIN).await.unwrap().id;
            for (number, status) in (1..).zip(["running", "running", "stopped"]) {
                let bot = model::BotId::from_u128(number);
                store
                    .run(format!(
                        "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
                         VALUES ('{bot}', '{account}', 'binance', 'BTC/USDT', 'dca', TRUE, '{{}}', '{status}', 0)"
                    ))
                    .await;
            }
            store.run("UPDATE bots SET deleted_at = 1 WHERE status = 'stopped'").await;
            assert_eq!(store.overview().await.unwrap().oldest_undelivered, None);
            for number in 1..=3 {
                store
                    .run(format!(
                        "INSERT INTO events (id, account_id, kind, body, at) VALUES ('e{number}', '{account}', 'k', '', {number}000)"
                    ))
                    .await;
            }
            // One has taken the first event, one nothing, and one is disabled.
            for (name, settled, disabled) in [("a", 1, "NULL"), ("b", 0, "NULL"), ("c", 0, "'why'")] {
                store
                    .run(format!(
                        "INSERT INTO webhooks (id, account_id, url, kinds, secret, settled, created_at, disabled)
                         VALUES ('{name}', '{account}', 'u', '', '', {settled}, 0, {disabled})"
                    ))
                    .await;
            }
            let overview = store.overview().await.unwrap();
            assert_eq!(overview.bots, BTreeMap::from([("running", 2)]));
            assert_eq!(
                (overview.undelivered, overview.oldest_undelivered),
                (5, Some(Timestamp::from_nanos(1_000)))
            );
            store.close().await;
        }
    }
}
