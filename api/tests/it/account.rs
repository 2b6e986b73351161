//! What an account may use, and how a change of it by another process is noticed.

use std::time::{Duration, Instant};

use api::AccessConfig;
use engine::Store;
use futures_util::future::join_all;
use model::{Payout, PayoutId, PayoutStatus, Period, PlanLimits, Plans, Subscription, Tier, Timestamp};
use serde_json::{Value, json};

use crate::bots::SEED;
use crate::live::Live;
use crate::receiver::Receiver;
use crate::server::{Server, Tenant};

const NOWHERE: &str = "127.0.0.1:1";

/// As `admin` does it, beside the server.
pub(crate) async fn give(server: &Server, tenant: &Tenant, plans: &Plans, plan: Tier) -> bool {
    let store = Store::open(&server.database_url).await.unwrap();
    let wanted = |before| Subscription { plan, ..before };
    let (_, is_told) = engine::change_subscription(&store, plans, tenant.account, wanted).await.unwrap();
    store.close().await;
    is_told
}

#[actix_web::test]
async fn an_account_sees_its_plan_and_hears_of_another_one() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let receiver = Receiver::start();
    server.post(&tenant, "/v1/webhooks", &json!({"url": receiver.url}).to_string()).await;
    server.post(&tenant, "/v1/bots", SEED).await;
    let account = server.get(&tenant, "/v1/account").await.body;
    assert_eq!((&account["id"], &account["plan"]), (&json!(tenant.account), &json!("standard")));
    assert_eq!(account["usage"], json!({"bots": 1, "webhooks": 1}));
    assert_eq!(account["egress_addresses"], json!([]), "the operator tells none");
    let before = json!({"plan": "standard", "status": "active", "limits": account["limits"],
        "period": {"start": null, "end": null}, "cancel_at_period_end": false});
    assert_eq!(server.get(&tenant, "/v1/account/subscription").await.body, before);
    assert_eq!(before["limits"]["requests_per_minute"], 100);

    let mut stream = reqwest::Client::new()
        .get(format!("{}/v1/stream", server.url))
        .bearer_auth(&tenant.key)
        .send()
        .await
        .unwrap();
    assert!(give(&server, &tenant, &Plans::default(), Tier::Pro).await);
    let given = Instant::now();
    let mut followed = String::new();
    while !followed.contains("event: subscription.changed") {
        let chunk = actix_web::rt::time::timeout(Duration::from_secs(3), stream.chunk()).await;
        followed.push_str(std::str::from_utf8(&chunk.expect(&followed).unwrap().unwrap()).unwrap());
    }
    drop(stream);
    let told = receiver.heard(1).await[0].body();
    assert!(given.elapsed() < Duration::from_secs(3), "it took {:?}", given.elapsed());
    assert_eq!(told["event"], "subscription.changed");
    let after = server.get(&tenant, "/v1/account/subscription").await;
    assert_eq!(after.body["plan"], "pro");
    let mut expected = after.body.clone();
    expected["previous"] = before;
    expected["message"] = "The plan is pro now; it was standard".into();
    assert_eq!(told["data"], expected);
    // The key's own limit follows within a second.
    let deadline = Instant::now() + Duration::from_secs(2);
    while server.get(&tenant, "/v1/account").await.headers["ratelimit-policy"] != "\"plan\";q=300;w=60" {
        assert!(Instant::now() < deadline);
        actix_web::rt::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!give(&server, &tenant, &Plans::default(), Tier::Pro).await, "nothing moved, so nothing is told");
    let reader = Tenant { key: server.key(tenant.account, &["bots:read"]).await, ..tenant.clone() };
    assert_eq!(server.get(&reader, "/v1/account").await.status, 403);
    server.stop().await;
}

#[actix_web::test]
async fn a_subscription_ends_with_its_period() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let receiver = Receiver::start();
    server.post(&tenant, "/v1/webhooks", &json!({"url": receiver.url}).to_string()).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let end = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap() + 1_000);
    let period = Period { start: None, end: Some(end) };
    let store = Store::open(&server.database_url).await.unwrap();
    let wanted = |before| Subscription { plan: Tier::Pro, period, cancel_at_period_end: true, ..before };
    engine::change_subscription(&store, &Plans::default(), tenant.account, wanted).await.unwrap();
    store.close().await;
    let told = receiver.heard(2).await[1].body();
    assert_eq!(told["event"], "subscription.changed");
    let at: Timestamp = told["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((0..300).contains(&(at.millis() - end.millis())), "it ended at {at}, not at {end}");
    let stands =
        |it: &Value| (it["plan"].clone(), it["status"].clone(), it["limits"]["requests_per_minute"].clone());
    assert_eq!(stands(&told["data"]), (json!("standard"), json!("canceled"), json!(100)));
    assert_eq!(stands(&told["data"]["previous"]), (json!("pro"), json!("active"), json!(300)));
    assert_eq!(server.get(&tenant, "/v1/account/subscription").await.body["status"], "canceled");
    server.stop().await;
}

#[actix_web::test]
async fn a_payout_is_told_with_every_digit() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let receiver = Receiver::start();
    server.post(&tenant, "/v1/webhooks", &json!({"url": receiver.url}).to_string()).await;
    let start = Timestamp::from_millis(1_772_323_200_000);
    let payout = Payout {
        id: PayoutId::new(),
        account_id: tenant.account,
        kind: "affiliate".to_owned(),
        status: PayoutStatus::Paid,
        gross: "125.00".parse().unwrap(),
        fees: "1.50".parse().unwrap(),
        currency: "USD".to_owned(),
        period: Period { start: Some(start), end: None },
        processed_at: start,
    };
    let store = Store::open(&server.database_url).await.unwrap();
    engine::note_payout(&store, payout.clone()).await.unwrap();
    assert_eq!(store.payouts(Some(tenant.account)).await.unwrap(), [payout]);
    store.close().await;
    let told = receiver.heard(1).await;
    let data = r#""kind":"affiliate","status":"paid","amount":123.50,"gross":125.00,"fees":1.50,"net":123.50,
        "currency":"USD","period":{"start":"2026-03-01T00:00:00Z","end":null},"processed_at":"2026-03-01T00:00:00Z","message":"Payout of 123.50 USD: paid"}"#;
    assert!(told[0].text.contains(&data.replace("\n        ", "")), "{}", told[0].text);
    server.stop().await;
}

/// Where the lowest plan holds one bot, and one endpoint.
fn narrow() -> Plans {
    let plans = Plans::default();
    Plans { standard: PlanLimits { bots: Some(1), webhooks: 1, ..plans.standard }, ..plans }
}

#[actix_web::test]
async fn beyond_a_plan_nothing_is_made() {
    let server = Server::start_with(NOWHERE, narrow(), AccessConfig::default()).await;
    let tenant = server.tenant(&[]).await;
    let first = server.post(&tenant, "/v1/bots", SEED).await;
    assert_eq!(first.status, 201);
    let refused = server.post(&tenant, "/v1/bots", SEED).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("plan_limit_reached")));
    assert!(give(&server, &tenant, &narrow(), Tier::Pro).await);
    assert_eq!(server.post(&tenant, "/v1/bots", SEED).await.status, 201);
    let hook = json!({"url": "https://example.com/a"}).to_string();
    assert!(give(&server, &tenant, &narrow(), Tier::Standard).await);
    assert_eq!(server.post(&tenant, "/v1/webhooks", &hook).await.status, 201);
    assert_eq!(server.post(&tenant, "/v1/webhooks", &hook).await.status, 409);
    server.stop().await;
}

#[actix_web::test]
async fn a_plan_is_not_passed_by_requests_at_once() {
    let mut plans = Plans::default();
    plans.standard = PlanLimits { bots: Some(3), webhooks: 3, ..plans.standard };
    let server = Server::start_with(NOWHERE, plans, AccessConfig::default()).await;
    let tenant = server.tenant(&[]).await;
    let hook = json!({"url": "https://example.com/a"}).to_string();
    for (path, body) in [("/v1/bots", SEED), ("/v1/webhooks", &hook)] {
        let answers = join_all((0..16).map(|_| server.post(&tenant, path, body))).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        let refused = answers.iter().filter(|answer| answer.status == 409).count();
        assert_eq!((made, refused), (3, 13), "{path}");
        assert_eq!(server.get(&tenant, path).await.body["data"].as_array().unwrap().len(), 3);
    }
    // A smaller plan than what is there: of those only so many are started.
    assert!(give(&server, &tenant, &plans, Tier::Pro).await);
    for _ in 0..3 {
        assert_eq!(server.post(&tenant, "/v1/bots", SEED).await.status, 201);
    }
    assert!(give(&server, &tenant, &plans, Tier::Standard).await);
    let bots = server.get(&tenant, "/v1/bots").await.body;
    let paths = bots["data"].as_array().unwrap().iter();
    let paths: Vec<_> = paths.map(|bot| format!("/v1/bots/{}/start", bot["id"].as_str().unwrap())).collect();
    let answers = join_all(paths.iter().map(|path| server.post(&tenant, path, ""))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(409)), (3, 3), "{statuses:?}");
    server.stop().await;
}

#[actix_web::test]
async fn a_smaller_plan_leaves_stops_and_take_profits_at_work() {
    let live = Live::start_with(narrow()).await;
    let tenant = live.owner.clone();
    assert!(give(&live.server, &tenant, &narrow(), Tier::Pro).await);
    let body = |name: &str| {
        format!(
            r#"{{"name":"{name}","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
                "max_open_trades":1,"stop_loss":-10,"take_profit":50,"dry_run":true,"dca":{{"cooldown_s":3600}}}}"#
        )
    };
    let mut paths = Vec::new();
    for name in ["one", "two", "three"] {
        let made = live.server.post(&tenant, "/v1/bots", &body(name)).await;
        paths.push(format!("/v1/bots/{}", made.body["id"].as_str().unwrap()));
    }
    for path in &paths[..2] {
        live.turn(path, "start", "").await;
        live.until(path, |bot| bot["open_trade"].is_object()).await;
    }
    assert!(give(&live.server, &tenant, &narrow(), Tier::Standard).await);
    let refused = live.server.post(&tenant, &format!("{}/start", paths[2]), "").await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("plan_limit_reached")));
    // What holds something may be stopped and taken up again: it may need its stop.
    live.turn(&paths[0], "stop", r#"{"positions":"hold"}"#).await;
    live.turn(&paths[0], "start", "").await;
    let bot = live.until(&paths[0], |bot| bot["status"] == "running" && bot["open_trade"].is_object()).await;
    live.move_to(&bot, 85).await;
    for path in &paths[..2] {
        live.until(path, |bot| bot["open_trade"].is_null()).await;
        let trades = live.server.get(&tenant, &format!("{path}/trades")).await.body;
        assert_eq!(trades["data"][0]["exit_reason"], "stop_loss", "{trades}");
        assert_ne!(live.server.get(&tenant, path).await.body["status"], Value::Null);
    }
    live.end().await;
}
