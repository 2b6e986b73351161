//! Accounts that may do nothing for a while, and accounts that are deleted.

use model::{AccountId, BotId, Timestamp};
use sqlx::Row as _;

use super::{Store, StoreError, parsed, reading, writing};

/// What became of an account that was to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountDeletion {
    /// It is deleted: its keys are revoked, its connections and endpoints erased; its trades stay.
    Deleted,
    /// It has so many bots, and is as it was.
    HasBots(i64),
    /// There is no such account.
    NotFound,
}

impl Store {
    /// Suspends an account from then on, or lets it go on; false where there is none. One that is suspended already stays so
    /// since when it was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn suspend_account(&self, id: AccountId, at: Option<Timestamp>) -> Result<bool, StoreError> {
        let suspend = "UPDATE accounts SET suspended_at = COALESCE(suspended_at, $2) WHERE id = $1 AND deleted_at IS NULL";
        let resume = "UPDATE accounts SET suspended_at = $2 WHERE id = $1 AND deleted_at IS NULL";
        let sql = if at.is_some() { suspend } else { resume };
        writing!(self, transaction => {
            let update = sqlx::query(sql).bind(id.to_string()).bind(at.map(Timestamp::nanos));
            Ok(update.execute(&mut *transaction).await?.rows_affected() == 1)
        })
    }

    /// Deletes an account that has no bots.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_account(&self, id: AccountId, now: Timestamp) -> Result<AccountDeletion, StoreError> {
        const ERASE: [&str; 4] = [
            "UPDATE accounts SET deleted_at = $2 WHERE id = $1",
            "UPDATE api_keys SET revoked_at = $2 WHERE account_id = $1 AND revoked_at IS NULL",
            "UPDATE webhooks SET deleted_at = $2, secret = '', data_key = NULL, sealed = NULL
                WHERE account_id = $1 AND deleted_at IS NULL",
            "UPDATE hooks SET deleted_at = $2 WHERE account_id = $1 AND deleted_at IS NULL",
        ];
        let found = "SELECT (SELECT COUNT(*) FROM bots WHERE account_id = $1 AND deleted_at IS NULL) AS bots
            FROM accounts WHERE id = $1 AND deleted_at IS NULL";
        let connections =
            "UPDATE exchange_connections SET deleted_at = $2, data_key = $3, api_key = $3, api_secret = $3
            WHERE account_id = $1 AND deleted_at IS NULL";
        writing!(self, transaction => {
            let row = sqlx::query(found).bind(id.to_string()).fetch_optional(&mut *transaction).await?;
            let bots: Option<i64> = row.map(|row| row.try_get("bots")).transpose()?;
            let outcome = match bots {
                None => AccountDeletion::NotFound,
                Some(0) => AccountDeletion::Deleted,
                Some(bots) => AccountDeletion::HasBots(bots),
            };
            if outcome == AccountDeletion::Deleted {
                for sql in ERASE {
                    sqlx::query(sql).bind(id.to_string()).bind(now.nanos()).execute(&mut *transaction).await?;
                }
                let erase = sqlx::query(connections).bind(id.to_string()).bind(now.nanos());
                erase.bind(Vec::<u8>::new()).execute(&mut *transaction).await?;
            }
            Ok(outcome)
        })
    }

    /// Whether an account may make and run bots; `None` where it is deleted or there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_account_active(&self, id: AccountId) -> Result<Option<bool>, StoreError> {
        let sql = "SELECT suspended_at IS NULL FROM accounts WHERE id = $1 AND deleted_at IS NULL";
        reading!(self, pool => Ok(sqlx::query_scalar(sql).bind(id.to_string()).fetch_optional(pool).await?))
    }

    /// Deleted accounts of which bots are left: none, but of servers before that was kept from happening.
    pub(crate) async fn deleted_accounts_with_bots(&self) -> Result<Vec<AccountId>, StoreError> {
        let sql = "SELECT id FROM accounts WHERE deleted_at IS NOT NULL AND EXISTS
            (SELECT 1 FROM bots WHERE bots.account_id = accounts.id AND bots.deleted_at IS NULL) ORDER BY id";
        let ids: Vec<String> = reading!(self, pool => sqlx::query_scalar(sql).fetch_all(pool).await?);
        ids.iter().map(|id| parsed("id", id)).collect()
    }

    /// The accounts that are suspended.
    pub(crate) async fn suspended_accounts(&self) -> Result<Vec<AccountId>, StoreError> {
        let sql = "SELECT id FROM accounts WHERE suspended_at IS NOT NULL AND deleted_at IS NULL ORDER BY id";
        let ids: Vec<String> = reading!(self, pool => sqlx::query_scalar(sql).fetch_all(pool).await?);
        ids.iter().map(|id| parsed("id", id)).collect()
    }

    /// An account's bots that live, or go on by themselves once their venue answers.
    pub(crate) async fn living_bots_of(&self, account: AccountId) -> Result<Vec<BotId>, StoreError> {
        let sql = "SELECT id FROM bots WHERE account_id = $1 AND deleted_at IS NULL
            AND (status IN ('starting', 'running', 'stopping')
                OR (status = 'error' AND trouble_code = 'venue_unreachable'))
            ORDER BY id";
        let ids: Vec<String> =
            reading!(self, pool => sqlx::query_scalar(sql).bind(account.to_string()).fetch_all(pool).await?);
        ids.iter().map(|id| parsed("id", id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Change, NewBot};
    use crate::store::stores;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[tokio::test]
    async fn an_account_is_suspended_resumed_and_deleted_once_it_has_no_bots() {
        for (store, _folder) in stores().await {
            let id = store.create_account("one", NOW).await.unwrap().id;
            let other = store.create_account("two", NOW).await.unwrap().id;
            let later = NOW.plus_seconds(60);
            assert!(store.suspend_account(id, Some(NOW)).await.unwrap());
            assert!(store.suspend_account(id, Some(later)).await.unwrap());
            let accounts = store.accounts().await.unwrap();
            assert_eq!(
                accounts.iter().map(|account| account.suspended_at).collect::<Vec<_>>(),
                [Some(NOW), None]
            );
            assert_eq!(store.suspended_accounts().await.unwrap(), [id]);
            assert_eq!(store.is_account_active(id).await.unwrap(), Some(false));
            assert!(store.suspend_account(id, None).await.unwrap());
            assert_eq!(store.is_account_active(id).await.unwrap(), Some(true));
            assert!(store.suspended_accounts().await.unwrap().is_empty());
            assert!(!store.suspend_account(AccountId::from_u128(9), Some(NOW)).await.unwrap());

            let bot = BotId::from_u128(1);
            store
                .run(format!(
                    "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
                     VALUES ('{bot}', '{id}', 'binance', 'BTC/USDT', 'dca', TRUE, '{{}}', 'running', 0)"
                ))
                .await;
            assert_eq!(store.living_bots_of(id).await.unwrap(), [bot]);
            assert_eq!(store.delete_account(id, NOW).await.unwrap(), AccountDeletion::HasBots(1));
            store.run(format!("UPDATE bots SET deleted_at = 1 WHERE id = '{bot}'")).await;
            assert!(store.living_bots_of(id).await.unwrap().is_empty());
            assert_eq!(store.delete_account(id, NOW).await.unwrap(), AccountDeletion::Deleted);
            assert_eq!(store.delete_account(id, NOW).await.unwrap(), AccountDeletion::NotFound);
            assert_eq!(store.is_account_active(id).await.unwrap(), None);
            assert!(store.deleted_accounts_with_bots().await.unwrap().is_empty());
            store.run(format!("UPDATE bots SET deleted_at = NULL WHERE id = '{bot}'")).await;
            assert_eq!(store.deleted_accounts_with_bots().await.unwrap(), [id]);
            // A request that was let in before makes no bot after.
            let body = r#"{"name":"b","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
                "max_open_trades":1,"stop_loss":-4,"dry_run":true}"#;
            let definition = strategies::BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
            for (number, account_id) in [(2, id), (3, other)] {
                let (id, definition) = (BotId::from_u128(number), definition.clone());
                let made =
                    NewBot { id, account_id, definition, capital: model::Quote::ZERO, created_at: NOW };
                store.commit([Change { created: Some(Box::new(made)), ..Change::default() }]).await.unwrap();
                assert_eq!(store.bot(account_id, id).await.unwrap().is_some(), account_id == other);
            }
            let left: Vec<AccountId> =
                store.accounts().await.unwrap().iter().map(|account| account.id).collect();
            assert_eq!(left, [other]);
            store.close().await;
        }
    }
}
