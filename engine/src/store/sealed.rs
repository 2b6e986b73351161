//! Everything that is sealed with the master key, whatever it is: read and written in batches, to be sealed anew.

use model::{AccountId, Exchange, ExchangeId, HookId, Timestamp, WebhookId};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading, worded, writing};
use crate::secrets::{SealedAnswer, SealedCredential, SealedRecord};

/// What there is that is sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SealedKind {
    /// What exchange connections sign with.
    Exchanges,
    /// What webhooks sign with.
    Webhooks,
    /// What inbound hooks are sent with.
    Hooks,
    /// Kept answers.
    Answers,
}

/// Something sealed, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sealed {
    /// An exchange connection's, and by what its key is recognised.
    Exchange {
        account: AccountId,
        id: ExchangeId,
        exchange: Exchange,
        sealed: SealedCredential,
        key_hash: Vec<u8>,
    },
    /// An endpoint's.
    Webhook { account: AccountId, id: WebhookId, sealed: SealedRecord },
    /// An inbound hook's.
    Hook { account: AccountId, id: HookId, sealed: SealedRecord },
    /// An answer, by its idempotency key.
    Answer { account: AccountId, key: String, sealed: SealedAnswer },
}

impl Sealed {
    /// Where it stands among its kind.
    pub(crate) fn place(&self) -> (String, String) {
        match self {
            Self::Exchange { account, id, .. } => (account.to_string(), id.to_string()),
            Self::Webhook { account, id, .. } => (account.to_string(), id.to_string()),
            Self::Hook { account, id, .. } => (account.to_string(), id.to_string()),
            Self::Answer { account, key, .. } => (account.to_string(), key.clone()),
        }
    }
}

macro_rules! sealed_row {
    ($kind:expr, $row:expr) => {{
        let row = $row;
        let (account, id): (&str, &str) = (row.try_get("account_id")?, row.try_get("id")?);
        let account = parsed("account_id", account)?;
        let key_version = row.try_get("key_version")?;
        match $kind {
            SealedKind::Exchanges => {
                let (data_key, api_key) = (row.try_get("data_key")?, row.try_get("api_key")?);
                let api_secret = row.try_get("api_secret")?;
                let sealed = SealedCredential { key_version, data_key, api_key, api_secret };
                let exchange = worded("exchange", row.try_get("exchange")?)?;
                let key_hash = row.try_get("key_hash")?;
                Sealed::Exchange { account, id: parsed("id", id)?, exchange, sealed, key_hash }
            }
            SealedKind::Webhooks | SealedKind::Hooks => {
                let (data_key, sealed) = (row.try_get("data_key")?, row.try_get("sealed")?);
                let sealed = SealedRecord { key_version, data_key, sealed };
                if $kind == SealedKind::Hooks {
                    Sealed::Hook { account, id: parsed("id", id)?, sealed }
                } else {
                    Sealed::Webhook { account, id: parsed("id", id)?, sealed }
                }
            }
            SealedKind::Answers => {
                let sealed = SealedAnswer { key_version, body: row.try_get("body")? };
                Sealed::Answer { account, key: id.to_owned(), sealed }
            }
        }
    }};
}

/// How much was erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// Exchange connections.
    pub exchanges: u64,
    /// Webhooks, whose secrets alone.
    pub webhooks: u64,
    /// Inbound hooks that ask for a secret: deleted, since without it they would be open.
    pub hooks: u64,
}

/// Why a webhook is off whose secret was erased.
const SECRET_LOST: &str = "its secret was lost: rotate it, then enable the webhook";

impl SealedKind {
    pub(crate) const ALL: [Self; 4] = [Self::Exchanges, Self::Webhooks, Self::Hooks, Self::Answers];

    /// Up to $4 of those that are not under version $1, after the place ($2, $3).
    const fn select(self) -> &'static str {
        match self {
            Self::Exchanges => {
                "SELECT account_id, id, exchange, key_version, data_key, api_key, api_secret, key_hash
                FROM exchange_connections
                WHERE deleted_at IS NULL AND key_version <> $1 AND (account_id, id) > ($2, $3)
                ORDER BY account_id, id LIMIT $4"
            }
            Self::Webhooks => {
                "SELECT account_id, id, key_version, data_key, sealed FROM webhooks
                WHERE deleted_at IS NULL AND sealed IS NOT NULL AND key_version <> $1
                    AND (account_id, id) > ($2, $3)
                ORDER BY account_id, id LIMIT $4"
            }
            Self::Hooks => {
                "SELECT account_id, id, key_version, data_key, sealed FROM hooks
                WHERE deleted_at IS NULL AND sealed IS NOT NULL AND key_version <> $1
                    AND (account_id, id) > ($2, $3)
                ORDER BY account_id, id LIMIT $4"
            }
            Self::Answers => {
                "SELECT account_id, idempotency_key AS id, key_version, body FROM answers
                WHERE key_version <> $1 AND (account_id, idempotency_key) > ($2, $3)
                ORDER BY account_id, idempotency_key LIMIT $4"
            }
        }
    }
}

impl Store {
    /// Up to `limit` sealed things of a kind that are not under this version of the master key, in the order of their
    /// places, after one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn sealed(
        &self,
        kind: SealedKind,
        not_under: i64,
        after: &(String, String),
        limit: u32,
    ) -> Result<Vec<Sealed>, StoreError> {
        reading!(self, pool => {
            let query = sqlx::query(kind.select()).bind(not_under).bind(&after.0).bind(&after.1);
            let rows = query.bind(i64::from(limit)).fetch_all(pool).await?.into_iter();
            rows.map(|row| Ok(sealed_row!(kind, row))).collect()
        })
    }

    /// Writes what was sealed anew, all or nothing; what was erased meanwhile stays erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn reseal(&self, all: &[Sealed]) -> Result<(), StoreError> {
        const EXCHANGE: &str = "UPDATE exchange_connections
            SET key_version = $2, data_key = $3, api_key = $4, api_secret = $5, key_hash = $6
            WHERE id = $1 AND deleted_at IS NULL";
        const WEBHOOK: &str = "UPDATE webhooks SET key_version = $2, data_key = $3, sealed = $4
            WHERE id = $1 AND deleted_at IS NULL AND sealed IS NOT NULL";
        const HOOK: &str = "UPDATE hooks SET key_version = $2, data_key = $3, sealed = $4
            WHERE id = $1 AND deleted_at IS NULL AND sealed IS NOT NULL";
        const ANSWER: &str = "UPDATE answers SET key_version = $3, body = $4
            WHERE account_id = $1 AND idempotency_key = $2";
        writing!(self, transaction => {
            for sealed in all {
                let update = match sealed {
                    Sealed::Exchange { id, sealed, key_hash, .. } => {
                        let update = sqlx::query(EXCHANGE).bind(id.to_string()).bind(sealed.key_version);
                        let update = update.bind(&sealed.data_key).bind(&sealed.api_key);
                        update.bind(&sealed.api_secret).bind(key_hash)
                    }
                    Sealed::Webhook { id, sealed, .. } => {
                        let update = sqlx::query(WEBHOOK).bind(id.to_string()).bind(sealed.key_version);
                        update.bind(&sealed.data_key).bind(&sealed.sealed)
                    }
                    Sealed::Hook { id, sealed, .. } => {
                        let update = sqlx::query(HOOK).bind(id.to_string()).bind(sealed.key_version);
                        update.bind(&sealed.data_key).bind(&sealed.sealed)
                    }
                    Sealed::Answer { account, key, sealed } => {
                        let update = sqlx::query(ANSWER).bind(account.to_string()).bind(key);
                        update.bind(sealed.key_version).bind(&sealed.body)
                    }
                };
                update.execute(&mut *transaction).await?;
            }
        });
        Ok(())
    }

    /// Erases everything that is sealed: for operators whose master key is lost. Connections are deleted, and so are
    /// inbound hooks that ask for a secret; webhooks are disabled until their owners rotate their secrets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_secrets(&self, now: Timestamp) -> Result<Forgotten, StoreError> {
        const EXCHANGES: &str =
            "UPDATE exchange_connections SET deleted_at = $1, data_key = $2, api_key = $2, api_secret = $2
            WHERE deleted_at IS NULL";
        const WEBHOOKS: &str =
            "UPDATE webhooks SET secret = '', data_key = NULL, sealed = NULL, key_version = NULL,
                header_names = '', previous_until = NULL
            WHERE deleted_at IS NULL AND sealed IS NOT NULL";
        const HOOKS: &str =
            "UPDATE hooks SET deleted_at = $1, key_version = NULL, data_key = NULL, sealed = NULL
            WHERE deleted_at IS NULL AND sealed IS NOT NULL";
        let sealed =
            "SELECT id FROM webhooks WHERE deleted_at IS NULL AND sealed IS NOT NULL AND disabled IS NULL";
        let ids: Vec<String> = reading!(self, pool => sqlx::query_scalar(sealed).fetch_all(pool).await?);
        for id in ids {
            self.turn_webhook(parsed("id", &id)?, Some(SECRET_LOST), now).await?;
        }
        writing!(self, transaction => {
            let erase = sqlx::query(EXCHANGES).bind(now.nanos()).bind(Vec::<u8>::new());
            let exchanges = erase.execute(&mut *transaction).await?.rows_affected();
            let webhooks = sqlx::query(WEBHOOKS).execute(&mut *transaction).await?.rows_affected();
            let hooks = sqlx::query(HOOKS).bind(now.nanos()).execute(&mut *transaction).await?.rows_affected();
            // Nothing is left that it would be needed for.
            sqlx::query("DELETE FROM master_keys WHERE state = 'next'").execute(&mut *transaction).await?;
            Ok(Forgotten { exchanges, webhooks, hooks })
        })
    }

    /// Whether anything is stored that its owner would lose with the master key; kept answers go after a day anyway.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn has_sealed(&self) -> Result<bool, StoreError> {
        let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM exchange_connections WHERE deleted_at IS NULL)
            OR EXISTS (SELECT 1 FROM webhooks WHERE deleted_at IS NULL AND sealed IS NOT NULL)
            OR EXISTS (SELECT 1 FROM hooks WHERE deleted_at IS NULL AND sealed IS NOT NULL)";
        reading!(self, pool => Ok(sqlx::query(sql).fetch_optional(pool).await?.is_some()))
    }
}
