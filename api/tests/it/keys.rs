//! Keys: from where, until when, and that their use is noted.

use std::time::{Duration, Instant};

use engine::Store;
use model::Timestamp;

use crate::server::{Server, Tenant};

#[actix_web::test]
async fn a_key_is_good_from_its_own_addresses_alone() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    let from = async |networks: &[&str]| Tenant {
        key: server.key_from(tenant.account, &[], None, networks).await,
        ..tenant.clone()
    };
    let refused = server.get(&from(&["203.0.113.0/24", "2001:db8::/32"]).await, "/v1/bots").await;
    assert_eq!((refused.status, refused.body["error"]["code"].as_str()), (403, Some("address_not_allowed")));
    let here = from(&["203.0.113.0/24", "127.0.0.1"]).await;
    assert_eq!(server.get(&here, "/v1/bots").await.status, 200);
    // Nobody but a trusted proxy may say that it is somewhere else.
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    let elsewhere = from(&["203.0.113.0/24"]).await;
    let claimed = server.ask_with(&elsewhere, reqwest::Method::GET, "/v1/bots", None, &forwarded).await;
    assert_eq!(claimed.status, 403);
    server.stop().await;
}

#[actix_web::test]
async fn a_keys_use_is_noted_and_its_end_noticed_within_a_second() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    let store = Store::open(&server.database_url).await.unwrap();
    let stored = async || store.keys(Some(tenant.account)).await.unwrap().remove(0);
    assert_eq!(stored().await.last_used_at, None);
    assert_eq!(server.get(&tenant, "/v1/bots").await.status, 200);
    let deadline = Instant::now() + Duration::from_secs(5);
    while stored().await.last_used_at.is_none() {
        assert!(Instant::now() < deadline);
        actix_web::rt::time::sleep(Duration::from_millis(20)).await;
    }
    let noted = stored().await.last_used_at;
    assert_eq!(server.get(&tenant, "/v1/bots").await.status, 200);
    assert_eq!(stored().await.last_used_at, noted, "once a minute is enough");
    assert!(store.revoke_key(stored().await.id, Timestamp::MIN).await.unwrap());
    let revoked = Instant::now();
    while server.get(&tenant, "/v1/bots").await.status == 200 {
        assert!(revoked.elapsed() < Duration::from_secs(1));
        actix_web::rt::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.get(&tenant, "/v1/bots").await.status, 401);
    store.close().await;
    server.stop().await;
}

#[actix_web::test]
async fn a_key_that_was_just_used_makes_and_starts_nothing_once_its_account_is_suspended_or_deleted() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    // As the operator's command does, which runs in a process of its own.
    let store = Store::open(&server.database_url).await.unwrap();
    let made = server.post(&tenant, "/v1/bots", crate::bots::SEED).await.body;
    let path = format!("/v1/bots/{}", made["id"].as_str().unwrap());
    assert!(store.suspend_account(tenant.account, Some(Timestamp::MIN)).await.unwrap());
    for (path, body) in [("/v1/bots", crate::bots::SEED), (&*format!("{path}/start"), "")] {
        let refused = server.post(&tenant, path, body).await;
        assert_eq!((refused.status, &refused.body["error"]["code"]), (403, &"account_suspended".into()));
    }
    assert_eq!(server.get(&tenant, &path).await.body["status"], "stopped");
    assert!(store.suspend_account(tenant.account, None).await.unwrap());
    assert_eq!(server.ask(&tenant, reqwest::Method::DELETE, &path, None).await.status, 204);
    assert_eq!(server.get(&tenant, "/v1/bots").await.status, 200);
    let deleted = store.delete_account(tenant.account, Timestamp::MIN).await.unwrap();
    assert_eq!(deleted, engine::AccountDeletion::Deleted);
    assert_eq!(server.post(&tenant, "/v1/bots", crate::bots::SEED).await.status, 401);
    assert_eq!(store.all_bots(Some(tenant.account)).await.unwrap().len(), 0);
    store.close().await;
    server.stop().await;
}
