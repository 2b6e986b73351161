//! Inbound hooks, and what they were sent.

use model::{AccountId, BotId, HookId, SignalId, Timestamp};
use sqlx::Row as _;

use super::idempotency::keep;
use super::{Page, Store, StoreError, parsed, reading, worded, writing};
use crate::answer::KeptAnswer;
use crate::secrets::SealedRecord;
use crate::signals::{Hook, Sameness, Signal, SignalStatus};

/// Notes within a transaction that a signal is done.
pub(super) const SIGNAL_DONE: &str = "UPDATE signals SET status = 'done' WHERE id = $1";

/// Items as a stored text; none of them has a comma.
pub(super) fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// A stored text as the items that it lists.
pub(super) fn items<T: std::str::FromStr>(column: &'static str, text: &str) -> Result<Vec<T>, StoreError> {
    text.split(',').filter(|item| !item.is_empty()).map(|item| parsed(column, item)).collect()
}

macro_rules! hook {
    ($row:expr) => {{
        let row = $row;
        let sealed: Option<Vec<u8>> = row.try_get("sealed")?;
        let secret = match sealed {
            None => None,
            Some(sealed) => Some(SealedRecord {
                key_version: row.try_get("key_version")?,
                data_key: row.try_get("data_key")?,
                sealed,
            }),
        };
        Hook {
            id: parsed("id", row.try_get("id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            bot_id: parsed("bot_id", row.try_get("bot_id")?)?,
            actions: items("actions", row.try_get("actions")?)?,
            has_secret: secret.is_some(),
            allow_ips: items("allow_ips", row.try_get("allow_ips")?)?,
            previous_until: row.try_get::<Option<i64>, _>("previous_until")?.map(Timestamp::from_nanos),
            created_at: Timestamp::from_nanos(row.try_get("created_at")?),
            rotated_at: row.try_get::<Option<i64>, _>("rotated_at")?.map(Timestamp::from_nanos),
            secret,
        }
    }};
}

macro_rules! signal {
    ($row:expr) => {{
        let row = $row;
        let code: Option<String> = row.try_get("code")?;
        let message: Option<String> = row.try_get("message")?;
        let trade_id: Option<String> = row.try_get("trade_id")?;
        let positions: Option<String> = row.try_get("positions")?;
        let amount: Option<String> = row.try_get("amount")?;
        Signal {
            id: parsed("id", row.try_get("id")?)?,
            hook_id: parsed("hook_id", row.try_get("hook_id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            bot_id: parsed("bot_id", row.try_get("bot_id")?)?,
            trade_id: trade_id.map(|id| parsed("trade_id", &id)).transpose()?,
            action: parsed("action", row.try_get("action")?)?,
            positions: positions.map(|word| worded("positions", word)).transpose()?.unwrap_or_default(),
            amount: amount.map(|amount| parsed("amount", &amount)).transpose()?,
            status: parsed("status", row.try_get("status")?)?,
            failure: code.zip(message),
            received_at: Timestamp::from_nanos(row.try_get("received_at")?),
            attempts: row.try_get("attempts")?,
        }
    }};
}

impl Store {
    /// Stores a hook; false where its bot has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_hook(
        &self,
        hook: &Hook,
        token_hash: &str,
        answer: Option<&KeptAnswer>,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO hooks (id, account_id, bot_id, token_hash, actions, allow_ips, created_at,
                key_version, data_key, sealed)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
        let secret = hook.secret.as_ref();
        writing!(self, transaction => {
            let insert = sqlx::query(sql)
                .bind(hook.id.to_string())
                .bind(hook.account_id.to_string())
                .bind(hook.bot_id.to_string())
                .bind(token_hash)
                .bind(list(hook.actions.iter().map(|action| action.as_str())))
                .bind(list(&hook.allow_ips))
                .bind(hook.created_at.nanos())
                .bind(secret.map(|secret| secret.key_version))
                .bind(secret.map(|secret| secret.data_key.clone()))
                .bind(secret.map(|secret| secret.sealed.clone()));
            let is_new = insert.execute(&mut *transaction).await?.rows_affected() == 1;
            if let Some(answer) = answer.filter(|_| is_new) {
                keep!(answer).execute(&mut *transaction).await?;
            }
            Ok(is_new)
        })
    }

    /// A bot's hook.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn hook(&self, account: AccountId, bot: BotId) -> Result<Option<Hook>, StoreError> {
        let sql = "SELECT hooks.* FROM hooks JOIN bots ON bots.id = hooks.bot_id
            WHERE hooks.account_id = $1 AND bot_id = $2 AND hooks.deleted_at IS NULL AND bots.deleted_at IS NULL";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.to_string()).bind(bot.to_string());
            query.fetch_optional(pool).await?.map(|row| Ok(hook!(row))).transpose()
        })
    }

    /// The hook that a token opens, unless its bot is deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn hook_by_token(&self, hash: &str, now: Timestamp) -> Result<Option<Hook>, StoreError> {
        let sql = "SELECT hooks.* FROM hooks JOIN bots ON bots.id = hooks.bot_id
                JOIN accounts ON accounts.id = hooks.account_id AND accounts.suspended_at IS NULL
            WHERE (token_hash = $1 OR (previous_hash = $1 AND previous_until > $2))
                AND hooks.deleted_at IS NULL AND bots.deleted_at IS NULL";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(hash).bind(now.nanos());
            query.fetch_optional(pool).await?.map(|row| Ok(hook!(row))).transpose()
        })
    }

    /// Gives a hook another token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rotate_hook(
        &self,
        hook: &Hook,
        token_hash: &str,
        answer: Option<&KeptAnswer>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE hooks SET previous_hash = token_hash, previous_until = $3, token_hash = $2, rotated_at = $4
            WHERE id = $1";
        writing!(self, transaction => {
            sqlx::query(sql)
                .bind(hook.id.to_string())
                .bind(token_hash)
                .bind(hook.previous_until.map(Timestamp::nanos))
                .bind(hook.rotated_at.map(Timestamp::nanos))
                .execute(&mut *transaction)
                .await?;
            if let Some(answer) = answer {
                keep!(answer).execute(&mut *transaction).await?;
            }
        });
        Ok(())
    }

    /// Deletes a bot's hook; false where it has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn delete_hook(
        &self,
        account: AccountId,
        bot: BotId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE hooks SET deleted_at = $3, key_version = NULL, data_key = NULL, sealed = NULL
            WHERE account_id = $1 AND bot_id = $2 AND deleted_at IS NULL";
        writing!(self, transaction => {
            let update = sqlx::query(sql).bind(account.to_string()).bind(bot.to_string()).bind(now.nanos());
            Ok(update.execute(&mut *transaction).await?.rows_affected() == 1)
        })
    }

    /// Secrets of hooks that are stored as nothing but a hash: of which account, of which hook, and the hash.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn unsealed_hooks(&self) -> Result<Vec<(AccountId, HookId, String)>, StoreError> {
        let sql = "SELECT account_id, id, secret_hash FROM hooks WHERE secret_hash IS NOT NULL";
        reading!(self, pool => {
            let rows = sqlx::query(sql).fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                let account = parsed("account_id", row.try_get("account_id")?)?;
                Ok((account, parsed("id", row.try_get("id")?)?, row.try_get("secret_hash")?))
            })
            .collect()
        })
    }

    /// Puts what is sealed in the place of the hash alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn seal_hook(&self, id: HookId, secret: &SealedRecord) -> Result<(), StoreError> {
        let sql =
            "UPDATE hooks SET secret_hash = NULL, key_version = $2, data_key = $3, sealed = $4 WHERE id = $1";
        writing!(self, transaction => {
            let update = sqlx::query(sql).bind(id.to_string()).bind(secret.key_version);
            update.bind(&secret.data_key).bind(&secret.sealed).execute(&mut *transaction).await?;
        });
        Ok(())
    }

    /// The last signal of the same hook that came since then and is the same; where that goes by their bodies, only
    /// without a signal about the same bot in between that was, or will be, carried out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn signal_before(
        &self,
        signal: &Signal,
        same: &Sameness,
        since: Timestamp,
    ) -> Result<Option<Signal>, StoreError> {
        let sql = match same {
            Sameness::Id(_) => {
                "SELECT * FROM signals WHERE hook_id = $1 AND dedupe = $2 AND received_at > $3
                ORDER BY received_at DESC LIMIT 1"
            }
            Sameness::Body(_) => {
                "SELECT * FROM signals AS before WHERE hook_id = $1 AND dedupe = $2 AND received_at > $3
                    AND NOT EXISTS (SELECT 1 FROM signals AS other WHERE other.bot_id = before.bot_id
                        AND other.received_at >= before.received_at AND other.dedupe <> before.dedupe
                        AND other.status <> 'failed')
                ORDER BY received_at DESC LIMIT 1"
            }
        };
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(signal.hook_id.to_string()).bind(same.text()).bind(since.nanos());
            query.fetch_optional(pool).await?.map(|row| Ok(signal!(row))).transpose()
        })
    }

    /// Stores a signal.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn add_signal(&self, signal: &Signal, same: &Sameness) -> Result<(), StoreError> {
        let sql = "INSERT INTO signals (id, hook_id, account_id, bot_id, trade_id, action, positions, amount, dedupe,
                status, attempts, next_at, received_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $11)";
        writing!(self, transaction => {
            sqlx::query(sql)
                .bind(signal.id.to_string())
                .bind(signal.hook_id.to_string())
                .bind(signal.account_id.to_string())
                .bind(signal.bot_id.to_string())
                .bind(signal.trade_id.map(|id| id.to_string()))
                .bind(signal.action.as_str())
                .bind(super::write::word(&signal.positions))
                .bind(signal.amount.map(|amount| amount.to_string()))
                .bind(same.text())
                .bind(signal.status.as_str())
                .bind(signal.received_at.nanos())
                .execute(&mut *transaction)
                .await?;
        });
        Ok(())
    }

    /// Signals that are not done with, oldest first, and when each is to be tried.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn waiting_signals(&self, limit: u32) -> Result<Vec<(Signal, Timestamp)>, StoreError> {
        let sql = "SELECT * FROM signals WHERE status = 'accepted' ORDER BY id LIMIT $1";
        reading!(self, pool => {
            let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                let next_at = Timestamp::from_nanos(row.try_get("next_at")?);
                Ok((signal!(row), next_at))
            })
            .collect()
        })
    }

    /// Notes what became of a signal that was tried; one that is done stays so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn note_signal(
        &self,
        id: SignalId,
        status: SignalStatus,
        failure: Option<(String, String)>,
        next_at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE signals SET status = $2, code = $3, message = $4, next_at = $5, attempts = attempts + 1
            WHERE id = $1 AND status = 'accepted'";
        let (code, message) = failure.unzip();
        writing!(self, transaction => {
            let update = sqlx::query(sql).bind(id.to_string()).bind(status.as_str()).bind(code).bind(message);
            update.bind(next_at.nanos()).execute(&mut *transaction).await?;
        });
        Ok(())
    }

    /// Forgets a few of the oldest signals, those from before `until` that are done with; tells how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn forget_signals(&self, until: Timestamp, most: u32) -> Result<u64, StoreError> {
        let sql = "DELETE FROM signals WHERE received_at < $1 AND status <> 'accepted'
            AND id <= (SELECT MAX(id) FROM (SELECT id FROM signals ORDER BY id LIMIT $2) AS oldest)";
        writing!(self, transaction => {
            let delete = sqlx::query(sql).bind(until.nanos()).bind(i64::from(most));
            Ok(delete.execute(&mut *transaction).await?.rows_affected())
        })
    }

    /// What a bot's hooks were sent, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn signals(
        &self,
        account: AccountId,
        bot: BotId,
        limit: u32,
        after: Option<SignalId>,
    ) -> Result<Page<Signal>, StoreError> {
        let sql = "SELECT * FROM signals WHERE account_id = $1 AND bot_id = $2 AND id < $3
            ORDER BY id DESC LIMIT $4";
        let rows: Result<Vec<Signal>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(bot.to_string())
                .bind(after.unwrap_or(SignalId::from_u128(u128::MAX)).to_string())
                .bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(signal!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }
}
