//! Who owns what, and with which keys they come.

use model::{AccountId, KeyId, Tier, Timestamp};
use sqlx::Row as _;

use super::inbound::{items, list};
use super::{Store, StoreError, parsed, reading, writing};
use crate::cidr::Cidr;

/// Who owns bots, keys and endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What it is called.
    pub name: String,
    /// Its plan.
    pub plan: Tier,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when its bots are stopped, and its keys may start nothing.
    pub suspended_at: Option<Timestamp>,
}

/// An API key, without what it is spelled like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it is called.
    pub name: String,
    /// What it may do, such as `bots:read`; empty means everything.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Option<Timestamp>,
    /// Since when it is not good any more.
    pub revoked_at: Option<Timestamp>,
    /// From where it may be used; empty means from anywhere.
    pub allow_ips: Vec<Cidr>,
    /// The part of its spelling that may be shown.
    pub hint: String,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// What a key lets its bearer do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyGrant {
    /// The key.
    pub key: ApiKey,
    /// The plan of its account.
    pub plan: Tier,
    /// Whether its account is suspended: it may read, stop bots and close trades.
    pub is_suspended: bool,
}

/// One row of either database as an [`ApiKey`].
macro_rules! stored_key {
    ($row:expr) => {{
        let row = $row;
        let scopes: &str = row.try_get("scopes")?;
        ApiKey {
            id: parsed("id", row.try_get("id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            name: row.try_get("name")?,
            scopes: scopes.split(',').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
            created_at: Timestamp::from_nanos(row.try_get("created_at")?),
            expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp::from_nanos),
            revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(Timestamp::from_nanos),
            allow_ips: items("allow_ips", row.try_get("allow_ips")?)?,
            hint: row.try_get("hint")?,
            last_used_at: row.try_get::<Option<i64>, _>("last_used_at")?.map(Timestamp::from_nanos),
        }
    }};
}

impl Store {
    /// Makes an account on the standard plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_account(&self, name: &str, now: Timestamp) -> Result<Account, StoreError> {
        let account = Account {
            id: AccountId::new(),
            name: name.to_owned(),
            plan: Tier::Standard,
            created_at: now,
            suspended_at: None,
        };
        let sql = "INSERT INTO accounts (id, name, plan, created_at) VALUES ($1, $2, $3, $4)";
        writing!(self, transaction => {
            let insert = sqlx::query(sql).bind(account.id.to_string()).bind(&account.name).bind(account.plan.as_str());
            insert.bind(now.nanos()).execute(&mut *transaction).await?;
        });
        Ok(account)
    }

    /// Every account that is not deleted, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let sql = "SELECT id, name, plan, created_at, suspended_at FROM accounts
            WHERE deleted_at IS NULL ORDER BY id";
        reading!(self, pool => {
            let rows = sqlx::query(sql).fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                Ok(Account {
                    id: parsed("id", row.try_get("id")?)?,
                    name: row.try_get("name")?,
                    plan: parsed("plan", row.try_get("plan")?)?,
                    created_at: Timestamp::from_nanos(row.try_get("created_at")?),
                    suspended_at: row.try_get::<Option<i64>, _>("suspended_at")?.map(Timestamp::from_nanos),
                })
            })
            .collect()
        })
    }

    /// Stores a key by the hash of its spelling; false where there is no such account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_key(&self, key: &ApiKey, sha256: [u8; 32]) -> Result<bool, StoreError> {
        let sql = "INSERT INTO api_keys (id, account_id, name, sha256, scopes, created_at, expires_at, allow_ips, hint)
            SELECT $1, id, $3, $4, $5, $6, $7, $8, $9 FROM accounts WHERE id = $2 AND deleted_at IS NULL";
        writing!(self, transaction => {
            let insert = sqlx::query(sql)
                .bind(key.id.to_string())
                .bind(key.account_id.to_string())
                .bind(&key.name)
                .bind(sha256.to_vec())
                .bind(key.scopes.join(","))
                .bind(key.created_at.nanos())
                .bind(key.expires_at.map(Timestamp::nanos))
                .bind(list(&key.allow_ips))
                .bind(&key.hint);
            Ok(insert.execute(&mut *transaction).await?.rows_affected() == 1)
        })
    }

    /// Keys of everybody, or of one account, oldest first; revoked ones too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self, account: Option<AccountId>) -> Result<Vec<ApiKey>, StoreError> {
        let sql = "SELECT * FROM api_keys
            WHERE ($1 IS NULL OR account_id = $1) ORDER BY id";
        reading!(self, pool => {
            let query = sqlx::query(sql).bind(account.map(|id| id.to_string()));
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(stored_key!(row))).collect()
        })
    }

    /// Makes a key useless from `now` on; false where there is no such key. One revoked already stays so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";
        writing!(self, transaction => {
            let update = sqlx::query(sql).bind(id.to_string()).bind(now.nanos());
            Ok(update.execute(&mut *transaction).await?.rows_affected() == 1)
        })
    }

    /// Puts another key beside one, which is good until `until` at the latest from then on; false where there is no such
    /// key, or it is good no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate_key(
        &self,
        old: KeyId,
        new: &ApiKey,
        sha256: [u8; 32],
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let retire = "UPDATE api_keys SET expires_at = CASE WHEN expires_at < $2 THEN expires_at ELSE $2 END
            WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)";
        let insert = "INSERT INTO api_keys (id, account_id, name, sha256, scopes, created_at, expires_at, allow_ips, hint)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        writing!(self, transaction => {
            let retire = sqlx::query(retire).bind(old.to_string()).bind(until.nanos()).bind(new.created_at.nanos());
            if retire.execute(&mut *transaction).await?.rows_affected() != 1 {
                return Ok(false);
            }
            sqlx::query(insert)
                .bind(new.id.to_string())
                .bind(new.account_id.to_string())
                .bind(&new.name)
                .bind(sha256.to_vec())
                .bind(new.scopes.join(","))
                .bind(new.created_at.nanos())
                .bind(new.expires_at.map(Timestamp::nanos))
                .bind(list(&new.allow_ips))
                .bind(&new.hint)
                .execute(&mut *transaction)
                .await?;
            Ok(true)
        })
    }

    /// Notes that a key was used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn key_used(&self, id: KeyId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
        writing!(self, transaction => {
            sqlx::query(sql).bind(id.to_string()).bind(now.nanos()).execute(&mut *transaction).await?;
        });
        Ok(())
    }

    /// What the key with this hash grants, revoked and expired ones included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn key_by_hash(&self, sha256: [u8; 32]) -> Result<Option<KeyGrant>, StoreError> {
        let sql =
            "SELECT api_keys.*, accounts.plan AS plan, accounts.suspended_at IS NOT NULL AS is_suspended
            FROM api_keys JOIN accounts ON accounts.id = api_keys.account_id WHERE sha256 = $1";
        reading!(self, pool => {
            let row = sqlx::query(sql).bind(sha256.to_vec()).fetch_optional(pool).await?;
            row.map(|row| {
                let plan = parsed("plan", row.try_get("plan")?)?;
                Ok(KeyGrant { plan, is_suspended: row.try_get("is_suspended")?, key: stored_key!(row) })
            })
            .transpose()
        })
    }
}
