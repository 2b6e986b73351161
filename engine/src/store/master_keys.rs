//! What master keys are recognised by: the one in force, the next one while a rotation goes on, and those before.

use model::Timestamp;
use serde::Deserialize;
use sqlx::Row as _;

use super::{Store, StoreError, reading, worded, writing};

/// A master key as the store knows it, which does not tell what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KnownKey {
    /// Counted up with every rotation.
    pub(crate) version: i64,
    /// What it is recognised by.
    pub(crate) check_value: Vec<u8>,
    /// What it is good for.
    pub(crate) state: KeyState,
}

/// What a master key is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyState {
    /// It is in force.
    Current,
    /// Part of what is stored is sealed with it by now, the rest with the current one.
    Next,
    /// Nothing is opened with it any more.
    Retired,
}

impl Store {
    /// All master keys that were ever used, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn master_keys(&self) -> Result<Vec<KnownKey>, StoreError> {
        let sql = "SELECT version, check_value, state FROM master_keys ORDER BY version";
        reading!(self, pool => {
            let rows = sqlx::query(sql).fetch_all(pool).await?.into_iter();
            rows.map(|row| {
                let state = worded("state", row.try_get("state")?)?;
                Ok(KnownKey { version: row.try_get("version")?, check_value: row.try_get("check_value")?, state })
            })
            .collect()
        })
    }

    /// Remembers by what the master key in force is recognised, in the place of what was there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn remember_master_key(
        &self,
        version: i64,
        check_value: [u8; 32],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO master_keys (version, check_value, created_at, state) VALUES ($1, $2, $3, 'current')
            ON CONFLICT (version) DO UPDATE SET check_value = excluded.check_value, created_at = excluded.created_at";
        writing!(self, transaction => {
            let insert = sqlx::query(sql).bind(version).bind(check_value.to_vec()).bind(now.nanos());
            insert.execute(&mut *transaction).await?;
            Ok(())
        })
    }

    /// Notes that what is stored is being sealed with another master key: from now on a server needs both.
    ///
    /// # Errors
    /// [`StoreError`], also where a rotation goes on already.
    pub(crate) async fn begin_rotation(
        &self,
        version: i64,
        check_value: [u8; 32],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO master_keys (version, check_value, created_at, state) VALUES ($1, $2, $3, 'next')";
        writing!(self, transaction => {
            let insert = sqlx::query(sql).bind(version).bind(check_value.to_vec()).bind(now.nanos());
            insert.execute(&mut *transaction).await?;
            Ok(())
        })
    }

    /// Puts the next master key in force and retires the one before, unless more than `unreadable` secrets are sealed
    /// with others than the next; false then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn end_rotation(&self, version: i64, unreadable: usize) -> Result<bool, StoreError> {
        let retire = "UPDATE master_keys SET state = 'retired' WHERE state = 'current'";
        let enact = "UPDATE master_keys SET state = 'current' WHERE state = 'next' AND version = $1";
        let left = "SELECT
            (SELECT COUNT(*) FROM exchange_connections WHERE deleted_at IS NULL AND key_version <> $1)
            + (SELECT COUNT(*) FROM webhooks WHERE deleted_at IS NULL AND sealed IS NOT NULL AND key_version <> $1)
            + (SELECT COUNT(*) FROM hooks WHERE deleted_at IS NULL AND sealed IS NOT NULL AND key_version <> $1)
            + (SELECT COUNT(*) FROM answers WHERE key_version <> $1)";
        writing!(self, transaction => {
            sqlx::query(retire).execute(&mut *transaction).await?;
            let enacted = sqlx::query(enact).bind(version).execute(&mut *transaction).await?.rows_affected();
            let left: i64 = sqlx::query_scalar(left).bind(version).fetch_one(&mut *transaction).await?;
            let is_over = enacted == 1 && usize::try_from(left).is_ok_and(|left| left <= unreadable);
            if !is_over {
                return Ok(false);
            }
            Ok(true)
        })
    }

    /// Leaves nothing of what was written over: what the key before opens would stand in SQLite's pages and log, and in
    /// the rows that PostgreSQL keeps until they are vacuumed.
    ///
    /// # Errors
    /// [`StoreError`], as where there is no room for a copy.
    pub(crate) async fn drop_replaced(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { writer, .. } => writer.vacuum().await,
            Self::Postgres { writer, .. } => {
                writer.vacuum("VACUUM FULL exchange_connections, webhooks, hooks, answers").await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::exchanges::tests::stores;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[tokio::test]
    async fn a_master_key_is_remembered_by_its_check_value_and_replaced_by_the_next() {
        for (store, _folder) in stores().await {
            let known = async || {
                let keys = store.master_keys().await.unwrap().into_iter();
                keys.map(|key| (key.version, key.check_value[0], key.state)).collect::<Vec<_>>()
            };
            assert_eq!(known().await, []);
            for value in [[1; 32], [2; 32]] {
                store.remember_master_key(1, value, NOW).await.unwrap();
            }
            assert_eq!(known().await, [(1, 2, KeyState::Current)]);
            assert!(!store.end_rotation(2, 0).await.unwrap(), "none was begun");
            assert_eq!(known().await, [(1, 2, KeyState::Current)]);
            store.begin_rotation(2, [3; 32], NOW).await.unwrap();
            assert!(store.begin_rotation(3, [4; 32], NOW).await.is_err(), "one goes on");
            assert!(store.end_rotation(2, 0).await.unwrap());
            assert_eq!(known().await, [(1, 2, KeyState::Retired), (2, 3, KeyState::Current)]);
        }
    }
}
