//! Answers that are kept for a day.

use model::{AccountId, Timestamp};
use sqlx::Row as _;

use super::{Store, StoreError, reading, writing};
use crate::answer::{Asked, KEPT_S, KeptAnswer};
use crate::secrets::SealedAnswer;

/// Writes an answer within a transaction. One that is kept already stays, unless it is too old to be given, or 202: that
/// was kept until more is known.
pub(super) const KEEP: &str =
    "INSERT INTO answers (idempotency_key, account_id, request, scope, status, location, body, created_at, key_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (account_id, idempotency_key) DO UPDATE SET request = excluded.request, scope = excluded.scope,
         status = excluded.status, location = excluded.location, body = excluded.body,
         created_at = excluded.created_at, key_version = excluded.key_version
     WHERE answers.created_at <= excluded.created_at - 86400000000000 OR answers.status = 202";

/// The query that writes an answer, for whichever database the executor is on.
macro_rules! keep {
    ($answer:expr) => {{
        let answer: &$crate::answer::KeptAnswer = $answer;
        sqlx::query($crate::store::idempotency::KEEP)
            .bind(&answer.asked.key)
            .bind(answer.asked.account_id.to_string())
            .bind(&answer.asked.request)
            .bind(&answer.scope)
            .bind(i64::from(answer.status))
            .bind(&answer.location)
            .bind(&answer.sealed.body)
            .bind(answer.at.nanos())
            .bind(answer.sealed.key_version)
    }};
}
pub(super) use keep;

/// The latest moment of which an answer is not given any more.
fn too_old(now: Timestamp) -> i64 {
    now.nanos().saturating_sub(KEPT_S * 1_000_000_000)
}

impl Store {
    /// What is kept under a key, unless it is older than a day.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn answer(
        &self,
        account: AccountId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        let sql = "SELECT request, scope, status, location, body, created_at, key_version FROM answers
            WHERE account_id = $1 AND idempotency_key = $2 AND created_at > $3";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(key).bind(too_old(now));
            let row = query.fetch_optional(pool).await?;
            row.map(|row| {
                let status: i64 = row.try_get("status")?;
                let request = row.try_get("request")?;
                Ok(KeptAnswer {
                    asked: Asked { account_id: account, key: key.to_owned(), request },
                    status: u16::try_from(status)
                        .map_err(|_| StoreError::Corrupt { column: "status", value: status.to_string() })?,
                    location: row.try_get("location")?,
                    scope: row.try_get("scope")?,
                    sealed: SealedAnswer {
                        key_version: row.try_get("key_version")?,
                        body: row.try_get("body")?,
                    },
                    at: Timestamp::from_nanos(row.try_get("created_at")?),
                })
            })
            .transpose()
        })
    }

    /// Keeps an answer in a transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn keep_answer(&self, answer: &KeptAnswer) -> Result<(), StoreError> {
        writing!(self, transaction => {
            keep!(answer).execute(&mut *transaction).await?;
        });
        Ok(())
    }

    /// Forgets answers that are too old to be given.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn forget_answers(&self, now: Timestamp) -> Result<(), StoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM answers WHERE created_at <= $1").bind(too_old(now)).execute(&mut *transaction).await?;
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::exchanges::tests::stores;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[tokio::test]
    async fn the_first_answer_stays_for_a_day() {
        for (store, _folder) in stores().await {
            let account = store.create_account("one", NOW).await.unwrap().id;
            let asked = Asked::new(account, "key".to_owned(), "/v1/bots", b"{}");
            let answer = |status, at| KeptAnswer {
                asked: asked.clone(),
                status,
                location: Some("/v1/bots/1".to_owned()),
                scope: None,
                sealed: SealedAnswer { key_version: 1, body: "noise".to_owned() },
                at,
            };
            let first = answer(201, NOW);
            let later = NOW.plus_seconds(24 * 3_600 - 1);
            store.keep_answer(&first).await.unwrap();
            store.keep_answer(&answer(200, later)).await.unwrap();
            assert_eq!(store.answer(account, "key", later).await.unwrap(), Some(first));
            assert_eq!(store.answer(account, "other", later).await.unwrap(), None);
            let day = NOW.plus_seconds(24 * 3_600);
            assert_eq!(store.answer(account, "key", day).await.unwrap(), None);
            let second = answer(202, day);
            store.keep_answer(&second).await.unwrap();
            assert_eq!(store.answer(account, "key", day).await.unwrap(), Some(second));
            store.forget_answers(day.plus_seconds(24 * 3_600)).await.unwrap();
            store.keep_answer(&answer(204, NOW)).await.unwrap();
            assert_eq!(store.answer(account, "key", NOW).await.unwrap().unwrap().status, 204, "it is gone");
        }
    }
}
