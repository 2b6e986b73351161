//! What Stripe tells, signed as it signs.

use std::time::{SystemTime, UNIX_EPOCH};

use engine::{Secret, Store, StripeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::{Plans, Tier};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::server::{Server, Tenant};

const SECRET: &str = "whsec_of_this_test";
const PATH: &str = "/v1/integrations/stripe";

fn config() -> StripeConfig {
    let plans = [("price_ent".to_owned(), Tier::Enterprise)].into();
    StripeConfig { webhook_secret: Secret::new(SECRET.to_owned()), plans }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(secret: &str, at: u64, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let signature = mac.chain_update(format!("{at}.{body}")).finalize().into_bytes();
    format!("t={at},v1={}", hex::encode(signature))
}

async fn deliver_as(server: &Server, header: Option<&str>, body: &str) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(format!("{}{PATH}", server.url)).body(body.to_owned());
    request = request.header("content-type", "application/json; charset=utf-8");
    if let Some(header) = header {
        request = request.header("stripe-signature", header);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[track_caller]
fn outcome((status, body): (u16, Value)) -> String {
    assert_eq!((status, &body["received"]), (200, &json!(true)), "{body}");
    body["outcome"].as_str().unwrap().to_owned()
}

async fn deliver(server: &Server, event: &Value) -> String {
    let body = event.to_string();
    outcome(deliver_as(server, Some(&signed(SECRET, now(), &body)), &body).await)
}

/// An event about a subscription of the customer `cus_1`.
fn subscription(id: &str, kind: &str, created: u64, status: &str, price: &Value) -> Value {
    json!({"id": id, "object": "event", "api_version": "2025-08-27.basil", "created": created, "livemode": false,
        "type": format!("customer.subscription.{kind}"), "pending_webhooks": 1,
        "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status,
            "cancel_at_period_end": false, "pause_collection": null, "metadata": {"plan": "enterprise"},
            "items": {"object": "list", "data": [{"id": "si_1", "price": price,
                "current_period_start": 1_774_000_000, "current_period_end": 1_776_592_000}]}}}})
}

fn pro() -> Value {
    json!({"id": "price_pro", "lookup_key": "pro_monthly"})
}

fn payout(id: &str, kind: &str, created: u64) -> Value {
    json!({"id": id, "object": "event", "created": created, "type": format!("payout.{kind}"), "account": "acct_1",
        "data": {"object": {"id": "po_1", "object": "payout", "amount": 12_345, "currency": "usd", "status": kind}}})
}

async fn link(server: &Server, tenant: &Tenant) {
    let store = Store::open(&server.database_url).await.unwrap();
    let plans = Plans::default();
    let linked = engine::link_stripe(&store, &plans, tenant.account, Some("cus_1"), Some("acct_1"));
    linked.await.unwrap();
    store.close().await;
}

async fn in_force(server: &Server, tenant: &Tenant) -> (String, String) {
    let shown = server.get(tenant, "/v1/account/subscription").await.body;
    (shown["plan"].as_str().unwrap().to_owned(), shown["status"].as_str().unwrap().to_owned())
}

/// The data of the events of a kind, oldest first.
async fn told(server: &Server, tenant: &Tenant, kind: &str) -> Vec<Value> {
    let events = server.get(tenant, "/v1/events?limit=100").await.body;
    let events = events["data"].as_array().unwrap().iter().rev();
    events.filter(|event| event["event"] == kind).map(|event| event["data"].clone()).collect()
}

#[actix_web::test]
async fn updates_of_one_second_count_in_the_order_in_which_they_happened() {
    let before = |mut event: Value, previous: Value| {
        event["data"]["previous_attributes"] = previous;
        event
    };
    let items = |price: Value| subscription("", "", 0, "", &price)["data"]["object"]["items"].clone();
    let paid =
        || before(subscription("evt_1", "updated", 100, "active", &pro()), json!({"status": "incomplete"}));
    let upgraded = || {
        let event = subscription("evt_2", "updated", 100, "active", &json!({"id": "price_ent"}));
        before(event, json!({"items": items(pro())}))
    };
    let late = || {
        let event = subscription("evt_3", "updated", 100, "incomplete", &json!({"id": "price_ent"}));
        before(event, json!({"status": "incomplete", "items": items(pro())}))
    };
    for events in [[paid(), upgraded(), late()], [upgraded(), late(), paid()], [late(), paid(), upgraded()]] {
        let server = Server::start_with_stripe(config()).await;
        let tenant = server.tenant(&[]).await;
        link(&server, &tenant).await;
        for event in &events {
            deliver(&server, event).await;
        }
        let in_force = in_force(&server, &tenant).await;
        assert_eq!(in_force, ("enterprise".to_owned(), "active".to_owned()), "{events:?}");
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_subscription_of_a_connected_account_sets_no_plan() {
    let server = Server::start_with_stripe(config()).await;
    let tenant = server.tenant(&[]).await;
    link(&server, &tenant).await;
    let mut event = subscription("evt_1", "created", 100, "active", &pro());
    event["account"] = json!("acct_1");
    assert_eq!(deliver(&server, &event).await, "ignored");
    assert_eq!(in_force(&server, &tenant).await.0, "standard");
    server.stop().await;
}

#[actix_web::test]
async fn a_subscriptions_life_sets_the_plan_however_it_is_delivered() {
    let server = Server::start_with_stripe(config()).await;
    let tenant = server.tenant(&[]).await;
    link(&server, &tenant).await;
    let created = subscription("evt_1", "created", 100, "active", &pro());
    assert_eq!(deliver(&server, &created).await, "applied");
    assert_eq!(
        in_force(&server, &tenant).await,
        ("pro".to_owned(), "active".to_owned()),
        "no metadata is read"
    );
    let shown = server.get(&tenant, "/v1/account/subscription").await.body;
    assert_eq!(shown["period"], json!({"start": "2026-03-20T09:46:40Z", "end": "2026-04-19T09:46:40Z"}));
    assert_eq!(deliver(&server, &created).await, "repeated");

    let upgraded = subscription("evt_3", "updated", 300, "active", &json!({"id": "price_ent"}));
    assert_eq!(deliver(&server, &upgraded).await, "applied");
    let late = subscription("evt_2", "updated", 200, "past_due", &pro());
    assert_eq!(deliver(&server, &late).await, "older");
    assert_eq!(in_force(&server, &tenant).await, ("enterprise".to_owned(), "active".to_owned()));
    let paused = subscription("evt_4", "paused", 400, "paused", &json!({"id": "price_ent"}));
    assert_eq!(deliver(&server, &paused).await, "applied");
    assert_eq!(in_force(&server, &tenant).await, ("standard".to_owned(), "paused".to_owned()));
    let resumed = subscription("evt_5", "resumed", 500, "active", &json!({"id": "price_ent"}));
    assert_eq!(deliver(&server, &resumed).await, "applied");
    let deleted = subscription("evt_6", "deleted", 600, "canceled", &json!({"id": "price_ent"}));
    assert_eq!(deliver(&server, &deleted).await, "applied");
    let after_its_end = subscription("evt_7", "updated", 600, "active", &json!({"id": "price_ent"}));
    assert_eq!(deliver(&server, &after_its_end).await, "older");
    assert_eq!(in_force(&server, &tenant).await, ("standard".to_owned(), "canceled".to_owned()));

    let told = told(&server, &tenant, "subscription.changed").await;
    let plans: Vec<_> =
        told.iter().map(|it| (it["plan"].as_str().unwrap(), it["status"].as_str().unwrap())).collect();
    assert_eq!(
        plans,
        [
            ("pro", "active"),
            ("enterprise", "active"),
            ("standard", "paused"),
            ("enterprise", "active"),
            ("standard", "canceled")
        ]
    );
    for (before, after) in told.iter().zip(&told[1..]) {
        assert_eq!(after["previous"]["plan"], before["plan"]);
        assert_eq!(after["previous"]["status"], before["status"]);
    }
    assert_eq!(told[1]["limits"]["requests_per_minute"], 1_000);
    server.stop().await;
}

#[actix_web::test]
async fn a_price_that_nobody_configured_takes_no_plan_away() {
    let server = Server::start_with_stripe(config()).await;
    let tenant = server.tenant(&[]).await;
    link(&server, &tenant).await;
    let unknown = json!({"id": "price_new", "lookup_key": null});
    deliver(&server, &subscription("evt_1", "created", 100, "active", &pro())).await;
    assert_eq!(deliver(&server, &subscription("evt_2", "updated", 200, "active", &unknown)).await, "applied");
    assert_eq!(in_force(&server, &tenant).await, ("pro".to_owned(), "active".to_owned()));
    deliver(&server, &subscription("evt_3", "updated", 300, "unpaid", &unknown)).await;
    assert_eq!(in_force(&server, &tenant).await, ("standard".to_owned(), "unpaid".to_owned()));
    deliver(&server, &subscription("evt_4", "updated", 400, "active", &unknown)).await;
    assert_eq!(in_force(&server, &tenant).await, ("pro".to_owned(), "active".to_owned()), "it pays again");
    deliver(&server, &subscription("evt_5", "updated", 500, "active", &json!({"id": "price_ent"}))).await;
    assert_eq!(in_force(&server, &tenant).await.0, "enterprise");
    server.stop().await;
}

#[actix_web::test]
async fn what_was_told_before_an_account_was_linked_counts_then() {
    let server = Server::start_with_stripe(config()).await;
    let tenant = server.tenant(&[]).await;
    let created = subscription("evt_1", "created", 100, "trialing", &pro());
    assert_eq!(deliver(&server, &created).await, "nobody");
    assert_eq!(deliver(&server, &payout("evt_2", "paid", 100)).await, "nobody");
    assert_eq!(in_force(&server, &tenant).await.0, "standard");
    link(&server, &tenant).await;
    assert_eq!(in_force(&server, &tenant).await, ("pro".to_owned(), "trialing".to_owned()));
    assert_eq!(told(&server, &tenant, "subscription.changed").await.len(), 1);
    let other = server.tenant(&[]).await;
    let store = Store::open(&server.database_url).await.unwrap();
    let taken = engine::link_stripe(&store, &Plans::default(), other.account, Some("cus_1"), None).await;
    assert!(matches!(taken, Err(engine::EngineError::Conflict { .. })), "a customer is one account");
    store.close().await;
    server.stop().await;
}

#[actix_web::test]
async fn a_payout_is_told_as_it_ended() {
    let server = Server::start_with_stripe(config()).await;
    let tenant = server.tenant(&[]).await;
    link(&server, &tenant).await;
    assert_eq!(deliver(&server, &payout("evt_1", "created", 100)).await, "ignored");
    assert_eq!(deliver(&server, &payout("evt_3", "failed", 300)).await, "applied");
    assert_eq!(deliver(&server, &payout("evt_2", "paid", 200)).await, "older");
    let told = told(&server, &tenant, "payout.processed").await;
    assert_eq!(told.len(), 1);
    let expected = [("status", "failed"), ("kind", "connect"), ("currency", "USD")];
    for (field, value) in expected {
        assert_eq!(told[0][field], value, "{told:?}");
    }
    assert_eq!((&told[0]["gross"], &told[0]["net"]), (&json!(123.45), &json!(123.45)));
    // Without a connected account it is the operator's own.
    let mut own = payout("evt_4", "paid", 400);
    own.as_object_mut().unwrap().remove("account");
    assert_eq!(deliver(&server, &own).await, "ignored");
    assert_eq!(
        deliver(
            &server,
            &json!({"id": "evt_5", "created": 1, "type": "invoice.paid", "data": {"object": {}}})
        )
        .await,
        "ignored"
    );
    server.stop().await;
}

#[actix_web::test]
async fn what_stripe_did_not_sign_is_refused() {
    let server = Server::start_with_stripe(config()).await;
    let body = subscription("evt_1", "created", 100, "active", &pro()).to_string();
    let at = now();
    let good = signed(SECRET, at, &body);
    for bad in [
        None,
        Some(String::new()),
        Some(signed("whsec_other", at, &body)),
        Some(signed(SECRET, at - 400, &body)),
        Some(signed(SECRET, at + 400, &body)),
        Some(good.replace("v1=", "v0=")),
        Some(signed(SECRET, at, &body.replace("cus_1", "cus_2"))),
    ] {
        let (status, answer) = deliver_as(&server, bad.as_deref(), &body).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!("Stripe-Signature")), "{answer}");
    }
    for (body, param) in [("[]", "body"), ("{\"id\":\"evt_9\"}", "body")] {
        let (status, answer) = deliver_as(&server, Some(&signed(SECRET, at, body)), body).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{answer}");
    }
    let several = format!("{},v1={}", good.replace("v1=", "v1=00"), good.split("v1=").nth(1).unwrap());
    assert_eq!(outcome(deliver_as(&server, Some(&several), &body).await), "nobody");
    server.stop().await;
}

#[actix_web::test]
async fn without_a_secret_there_is_nothing_there() {
    let server = Server::start("127.0.0.1:1").await;
    let body = subscription("evt_1", "created", 100, "active", &pro()).to_string();
    let (status, answer) = deliver_as(&server, Some(&signed("", now(), &body)), &body).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("resource_missing")));
    server.stop().await;
}
