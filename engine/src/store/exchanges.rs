//! Exchange connections as they are stored.

use model::{AccountId, Exchange, ExchangeId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;

use super::idempotency::keep;
use super::{Page, Store, StoreError, parsed, reading, worded, writing};
use crate::answer::KeptAnswer;
use crate::secrets::SealedCredential;

/// A stored exchange connection, without what it signs with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeConnection {
    /// Its id.
    pub id: ExchangeId,
    /// Whose it is.
    pub account_id: AccountId,
    /// At which venue.
    pub exchange: Exchange,
    /// What its owner calls it.
    pub name: String,
    /// The last four characters of the public key.
    pub key_hint: String,
    /// What the venue let the key do when it was stored.
    pub permissions: KeyPermissions,
    /// Whether the venue takes the key only from addresses that its owner listed there.
    pub ip_bound: bool,
    /// Until when the venue lets the key trade, where it said so when it was stored.
    pub trades_until: Option<Timestamp>,
    /// What the venue calls the account that the key is of, where it said so when it was stored.
    pub venue_account: Option<i64>,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// What a venue lets a key do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyPermissions {
    /// Read orders and balances.
    pub read: bool,
    /// Place and cancel spot orders.
    pub spot_trading: bool,
    /// Take money out; a key that can is never stored.
    pub withdrawals: bool,
}

macro_rules! connection {
    ($row:expr) => {{
        let row = $row;
        ExchangeConnection {
            id: parsed("id", row.try_get("id")?)?,
            account_id: parsed("account_id", row.try_get("account_id")?)?,
            exchange: worded("exchange", row.try_get("exchange")?)?,
            name: row.try_get("name")?,
            key_hint: row.try_get("key_hint")?,
            permissions: permissions(row.try_get("permissions")?)?,
            ip_bound: row.try_get("ip_bound")?,
            trades_until: row.try_get::<Option<i64>, _>("trades_until")?.map(Timestamp::from_nanos),
            venue_account: row.try_get("venue_account")?,
            created_at: Timestamp::from_nanos(row.try_get("created_at")?),
        }
    }};
}

/// A row with what it signs with.
macro_rules! sealed_connection {
    ($row:expr) => {{
        let row = $row;
        let sealed = SealedCredential {
            key_version: row.try_get("key_version")?,
            data_key: row.try_get("data_key")?,
            api_key: row.try_get("api_key")?,
            api_secret: row.try_get("api_secret")?,
        };
        (connection!(row), sealed)
    }};
}

fn permissions(text: &str) -> Result<KeyPermissions, StoreError> {
    serde_json::from_str(text)
        .map_err(|_| StoreError::Corrupt { column: "permissions", value: text.chars().take(60).collect() })
}

impl Store {
    /// Stores a connection with what it signs with; false where its key, known by `key_hash`, is stored already,
    /// by whomever.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_exchange(
        &self,
        connection: &ExchangeConnection,
        sealed: &SealedCredential,
        key_hash: [u8; 32],
        answer: Option<&KeptAnswer>,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO exchange_connections (id, account_id, exchange, name, key_version, data_key, api_key,
                api_secret, key_hint, key_hash, permissions, ip_bound, created_at, trades_until, venue_account)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";
        let KeyPermissions { read, spot_trading, withdrawals } = connection.permissions;
        let permissions =
            serde_json::json!({"read": read, "spot_trading": spot_trading, "withdrawals": withdrawals});
        writing!(self, transaction => {
            let insert = sqlx::query(sql)
                .bind(connection.id.to_string())
                .bind(connection.account_id.to_string())
                .bind(connection.exchange.as_str())
                .bind(&connection.name)
                .bind(sealed.key_version)
                .bind(&sealed.data_key)
                .bind(&sealed.api_key)
                .bind(&sealed.api_secret)
                .bind(&connection.key_hint)
                .bind(key_hash.to_vec())
                .bind(permissions.to_string())
                .bind(connection.ip_bound)
                .bind(connection.created_at.nanos())
                .bind(connection.trades_until.map(Timestamp::nanos))
                .bind(connection.venue_account);
            let is_new = insert.execute(&mut *transaction).await?.rows_affected() == 1;
            if let Some(answer) = answer.filter(|_| is_new) {
                keep!(answer).execute(&mut *transaction).await?;
            }
            Ok(is_new)
        })
    }

    /// An account's connections, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn exchanges(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<ExchangeId>,
    ) -> Result<Page<ExchangeConnection>, StoreError> {
        let sql =
            "SELECT id, account_id, exchange, name, key_hint, permissions, ip_bound, trades_until, venue_account,
                created_at
            FROM exchange_connections WHERE account_id = $1 AND deleted_at IS NULL AND ($2 IS NULL OR id < $2)
            ORDER BY id DESC LIMIT $3";
        let rows: Result<Vec<ExchangeConnection>, StoreError> = reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(after.map(|id| id.to_string()))
                .bind(i64::from(limit) + 1);
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(connection!(row))).collect()
        });
        Ok(Page::of(rows?, limit))
    }

    /// An account's connections to a venue with what they sign with, oldest first; only the one with this id, where
    /// one is asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn sealed_exchanges(
        &self,
        account: AccountId,
        exchange: Option<Exchange>,
        id: Option<ExchangeId>,
    ) -> Result<Vec<(ExchangeConnection, SealedCredential)>, StoreError> {
        let sql =
            "SELECT id, account_id, exchange, name, key_version, data_key, api_key, api_secret, key_hint,
                permissions, ip_bound, trades_until, venue_account, created_at
            FROM exchange_connections WHERE account_id = $1 AND deleted_at IS NULL
                AND ($2 IS NULL OR exchange = $2) AND ($3 IS NULL OR id = $3)
            ORDER BY id";
        reading!(self, pool => {
            let query = sqlx::query(sql)
                .bind(account.to_string())
                .bind(exchange.map(Exchange::as_str))
                .bind(id.map(|id| id.to_string()));
            query.fetch_all(pool).await?.into_iter().map(|row| Ok(sealed_connection!(row))).collect()
        })
    }

    /// What the venue calls the account that a connection is of, which may be deleted by now; `None` where it never said.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn venue_account(
        &self,
        account: AccountId,
        id: ExchangeId,
    ) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT venue_account FROM exchange_connections WHERE account_id = $1 AND id = $2";
        reading!(self, pool => {
            let query = sqlx::query_scalar(sql).bind(account.to_string()).bind(id.to_string());
            Ok(query.fetch_optional(pool).await?.flatten())
        })
    }

    /// Erases what a connection signs with and takes it out of every list; false where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn delete_exchange(
        &self,
        account: AccountId,
        id: ExchangeId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE exchange_connections SET deleted_at = $3, data_key = $4, api_key = $4, api_secret = $4
            WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL";
        writing!(self, transaction => {
            let update = sqlx::query(sql)
                .bind(account.to_string())
                .bind(id.to_string())
                .bind(now.nanos())
                .bind(Vec::<u8>::new());
            Ok(update.execute(&mut *transaction).await?.rows_affected() == 1)
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use model::EventId;
    use sqlx::AssertSqlSafe;

    use super::super::{Forgotten, StoredBot};
    use super::*;
    use crate::change::{BotChange, BotStatus, BotTrouble, Change, NewBot};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// Empty stores: a file, and a schema of its own on the server that `BOTPRIMEX_TEST_POSTGRES_URL` names.
    pub(crate) async fn stores() -> Vec<(Store, tempfile::TempDir)> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("books.db").display());
        let mut stores = vec![(Store::open(&url).await.unwrap(), folder)];
        match std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") {
            Ok(server) => {
                let name = format!("test_{}", EventId::new());
                let pool = sqlx::PgPool::connect(&server).await.unwrap();
                sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).execute(&pool).await.unwrap();
                let glue = if server.contains('?') { '&' } else { '?' };
                let url = format!("{server}{glue}options=-c%20search_path%3D{name}");
                stores.push((Store::open(&url).await.unwrap(), tempfile::tempdir().unwrap()));
            }
            Err(_) => println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set"),
        }
        stores
    }

    /// A connection as a test stores it.
    pub(crate) fn connection(account_id: AccountId) -> ExchangeConnection {
        ExchangeConnection {
            id: ExchangeId::new(),
            account_id,
            exchange: Exchange::Binance,
            name: "main".to_owned(),
            key_hint: "Fj0j".to_owned(),
            permissions: KeyPermissions { read: true, spot_trading: true, withdrawals: false },
            ip_bound: true,
            trades_until: Some(NOW.plus_seconds(60)),
            venue_account: Some(354_937_868),
            created_at: NOW,
        }
    }

    fn sealed() -> SealedCredential {
        SealedCredential {
            key_version: 1,
            data_key: vec![1; 72],
            api_key: vec![2; 50],
            api_secret: vec![3; 60],
        }
    }

    #[tokio::test]
    async fn a_connection_is_its_accounts_alone_and_reads_as_it_was_written() {
        for (store, _folder) in stores().await {
            let one = store.create_account("one", NOW).await.unwrap().id;
            let two = store.create_account("two", NOW).await.unwrap().id;
            let made: Vec<_> = (0..3).map(|_| connection(one)).collect();
            for (n, connection) in (0..).zip(&made) {
                assert!(store.create_exchange(connection, &sealed(), [n; 32], None).await.unwrap());
            }
            let page = store.exchanges(one, 2, None).await.unwrap();
            assert_eq!((&page.rows[0], &page.rows[1], page.has_more), (&made[2], &made[1], true));
            let page = store.exchanges(one, 2, Some(made[1].id)).await.unwrap();
            assert_eq!((page.rows.as_slice(), page.has_more), (&made[..1], false));
            assert_eq!(store.exchanges(two, 2, None).await.unwrap().rows, []);

            let found = store.sealed_exchanges(one, None, Some(made[1].id)).await.unwrap();
            assert_eq!(found, [(made[1].clone(), sealed())]);
            assert_eq!(store.sealed_exchanges(one, Some(Exchange::Binance), None).await.unwrap().len(), 3);
            assert_eq!(store.sealed_exchanges(two, None, Some(made[1].id)).await.unwrap(), []);
            assert!(!store.delete_exchange(two, made[1].id, NOW).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_key_is_stored_once_until_it_is_deleted_and_then_nothing_is_left_of_it() {
        for (store, _folder) in stores().await {
            let one = store.create_account("one", NOW).await.unwrap().id;
            let two = store.create_account("two", NOW).await.unwrap().id;
            assert!(!store.has_sealed().await.unwrap());
            let (first, second) = (connection(one), connection(two));
            assert!(store.create_exchange(&first, &sealed(), [7; 32], None).await.unwrap());
            assert!(!store.create_exchange(&second, &sealed(), [7; 32], None).await.unwrap());
            assert!(!store.create_exchange(&connection(one), &sealed(), [7; 32], None).await.unwrap());
            assert!(store.has_sealed().await.unwrap());

            assert!(store.delete_exchange(one, first.id, NOW).await.unwrap());
            assert!(!store.delete_exchange(one, first.id, NOW).await.unwrap());
            assert_eq!(store.exchanges(one, 9, None).await.unwrap().rows, []);
            assert!(!store.has_sealed().await.unwrap());
            let left =
                "SELECT length(data_key) + length(api_key) + length(api_secret) FROM exchange_connections";
            let left: Vec<i64> = match &store {
                Store::Sqlite { readers, .. } => sqlx::query_scalar(left).fetch_all(readers).await.unwrap(),
                Store::Postgres { readers, .. } => {
                    let left: Vec<i32> = sqlx::query_scalar(left).fetch_all(readers).await.unwrap();
                    left.into_iter().map(i64::from).collect()
                }
            };
            assert_eq!(left, [0], "the row stays, what it signed with does not");
            assert!(store.create_exchange(&second, &sealed(), [7; 32], None).await.unwrap());
            assert_eq!(
                store.forget_secrets(NOW).await.unwrap(),
                Forgotten { exchanges: 1, webhooks: 0, hooks: 0 }
            );
            assert!(!store.has_sealed().await.unwrap());
        }
    }

    #[tokio::test]
    async fn bots_that_trade_at_a_venue_are_told_from_those_on_paper_and_at_rest() {
        let body = r#"{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":2,"stop_loss":-10,"dry_run":false}"#;
        let living = [BotStatus::Starting, BotStatus::Running, BotStatus::Stopping];
        for (store, _folder) in stores().await {
            let account_id = store.create_account("one", NOW).await.unwrap().id;
            let add = async |body: &str, status, trouble: Option<&str>| {
                let definition =
                    strategies::BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
                let bot = NewBot {
                    id: model::BotId::new(),
                    account_id,
                    definition,
                    capital: model::Quote::ZERO,
                    created_at: NOW,
                };
                let trouble =
                    trouble.map(|code| BotTrouble { code: code.to_owned(), message: String::new() });
                let change = BotChange { id: bot.id, account_id, status, trouble, state: None };
                let id = bot.id;
                let changes = [
                    Change { created: Some(Box::new(bot)), ..Change::default() },
                    Change { bot: Some(change), ..Change::default() },
                ];
                store.commit(changes).await.unwrap();
                id
            };
            let mut expected = Vec::new();
            for status in living {
                expected.push(add(body, status, None).await);
                add(&body.replace("false", "true"), status, None).await;
            }
            expected.push(add(body, BotStatus::Error, Some("venue_unreachable")).await);
            add(body, BotStatus::Error, Some("panicked")).await;
            add(body, BotStatus::Stopped, None).await;
            let found = store.bots_at_venues(account_id).await.unwrap();
            assert!(found.iter().all(StoredBot::is_living));
            assert_eq!(found.iter().map(|bot| bot.id).collect::<Vec<_>>(), expected);
            assert!(store.bots_at_venues(AccountId::new()).await.unwrap().is_empty());
        }
    }
}
