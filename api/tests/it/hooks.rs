//! Inbound hooks: who may send what, and that it happens once.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::bots::SEED;
use crate::live::Live;
use crate::server::{Server, Tenant};

const NOWHERE: &str = "127.0.0.1:1";

/// Sends a body as charts do: with no header of its own.
async fn send(server: &Server, path: &str, body: &str) -> (u16, Value) {
    let asked = reqwest::Client::new().post(format!("{}{path}", server.url)).body(body.to_owned());
    let answer = asked.header("content-type", "text/plain; charset=utf-8").send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[track_caller]
fn check_refused((status, answer): &(u16, Value), expected: u16, code: &str) {
    assert_eq!((*status, &answer["error"]["code"]), (expected, &json!(code)), "{answer}");
}

async fn bot(server: &Server, tenant: &Tenant) -> String {
    let made = server.post(tenant, "/v1/bots", SEED).await.body;
    format!("/v1/bots/{}", made["id"].as_str().unwrap())
}

/// Makes a bot's hook; where it is posted to.
async fn hook(server: &Server, tenant: &Tenant, bot: &str, body: &str) -> String {
    let made = server.post(tenant, &format!("{bot}/hook"), body).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["path"].as_str().unwrap().to_owned()
}

/// Waits until the last signal of a bot is done with.
async fn carried_out(server: &Server, tenant: &Tenant, bot: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let signals = server.get(tenant, &format!("{bot}/signals")).await.body;
        if signals["data"][0]["status"] != "accepted" {
            return signals["data"][0].clone();
        }
        assert!(Instant::now() < deadline, "{signals}");
        actix_web::rt::time::sleep(Duration::from_millis(50)).await;
    }
}

#[actix_web::test]
async fn a_hook_is_made_shown_rotated_and_deleted() {
    let server = Server::start(NOWHERE).await;
    let (tenant, other) = (server.tenant(&[]).await, server.tenant(&[]).await);
    let bot = bot(&server, &tenant).await;
    assert_eq!(server.get(&tenant, &format!("{bot}/hook")).await.status, 404);
    let once = [("idempotency-key", "hook")];
    let path = format!("{bot}/hook");
    let made = server.ask_with(&tenant, Method::POST, &path, None, &once).await;
    assert_eq!((made.status, made.headers["location"].to_str().unwrap()), (201, path.as_str()));
    let again = server.ask_with(&tenant, Method::POST, &path, None, &once).await;
    assert_eq!(again.body, made.body, "the token as well");
    assert_eq!(server.post(&tenant, &path, "").await.body["error"]["code"], "hook_exists");
    assert_eq!(server.post(&other, &path, "").await.status, 404);
    assert_eq!(server.get(&other, &path).await.status, 404);
    let shown = server.get(&tenant, &path).await.body;
    assert_eq!(
        (&shown["id"], &shown["token"], &shown["path"]),
        (&made.body["id"], &Value::Null, &Value::Null)
    );
    assert_eq!(shown["actions"], json!(["start", "stop", "close", "add"]));

    let first = made.body["path"].as_str().unwrap().to_owned();
    assert_eq!(send(&server, &first, "stop").await.0, 202);
    let rotated = server.post(&tenant, &format!("{bot}/hook/rotate"), "").await.body;
    let second = rotated["path"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(
        send(&server, &first, r#"{"action":"stop","id":"a"}"#).await.0,
        202,
        "both are good for a while"
    );
    assert_eq!(send(&server, &second, r#"{"action":"stop","id":"b"}"#).await.0, 202);
    let third = server.post(&tenant, &format!("{bot}/hook/rotate"), r#"{"overlap_s":0}"#).await.body;
    check_refused(&send(&server, &second, "stop").await, 404, "resource_missing");
    check_refused(&send(&server, &first, "stop").await, 404, "resource_missing");
    let third = third["path"].as_str().unwrap().to_owned();
    assert_eq!(server.ask(&tenant, Method::DELETE, &path, None).await.status, 204);
    check_refused(&send(&server, &third, "stop").await, 404, "resource_missing");
    assert_eq!(server.ask(&tenant, Method::DELETE, &path, None).await.status, 404);
    let reader = Tenant { key: server.key(tenant.account, &["bots:write"]).await, ..tenant.clone() };
    assert_eq!(server.post(&reader, &path, "").await.status, 403);
    server.stop().await;
}

#[actix_web::test]
async fn what_a_hook_does_not_allow_is_refused() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let elsewhere =
        hook(&server, &tenant, &bot(&server, &tenant).await, r#"{"allow_ips":["203.0.113.0/24"]}"#).await;
    check_refused(&send(&server, &elsewhere, "stop").await, 403, "address_not_allowed");
    let body = r#"{"actions":["stop"],"secret":"a secret","allow_ips":["127.0.0.0/8"]}"#;
    let guarded = hook(&server, &tenant, &bot(&server, &tenant).await, body).await;
    check_refused(&send(&server, &guarded, "stop").await, 403, "secret_wrong");
    check_refused(
        &send(&server, &guarded, r#"{"action":"stop","secret":"A secret"}"#).await,
        403,
        "secret_wrong",
    );
    assert_eq!(send(&server, &guarded, r#"{"action":"stop","secret":"a secret"}"#).await.0, 202);
    let not_allowed = send(&server, &guarded, r#"{"action":"close","secret":"a secret"}"#).await;
    assert_eq!((not_allowed.0, &not_allowed.1["error"]["param"]), (400, &json!("action")));

    let mut open = hook(&server, &tenant, &bot(&server, &tenant).await, "").await;
    let mut sent = 0;
    for (body, param) in [
        (r#"{"action":"buy"}"#, "action"),
        (r#"{"positions":"hold"}"#, "action"),
        (r#"{"action":"stop","positions":"sell"}"#, "positions"),
        (r#"{"action":"start","positions":"hold"}"#, "positions"),
        (r#"{"action":"add","amount":-1}"#, "amount"),
        (r#"{"action":"add","amount":50.01}"#, "amount"),
        (r#"{"action":"close","amount":1}"#, "amount"),
        (r#"{"action":"stop","id":""}"#, "id"),
        (r#"{"action":"stop","id":"a\u0000b"}"#, "id"),
        (r#"{"action":"stop","id":"a\u001bb"}"#, "id"),
        (r#"{"action":"stop","colour":1}"#, "colour"),
        (r#"{"action":"stop","timenow":"2020-01-01T00:00:00Z"}"#, "timenow"),
        (r#"{"action":"stop","timenow":"soon"}"#, "timenow"),
    ] {
        sent += 1;
        if sent == 10 {
            open = hook(&server, &tenant, &bot(&server, &tenant).await, "").await;
        }
        let refused = send(&server, &open, body).await;
        assert_eq!((refused.0, &refused.1["error"]["param"]), (400, &json!(param)), "{body}: {}", refused.1);
    }
    check_refused(&send(&server, &open, "sell everything").await, 400, "json_invalid");
    check_refused(&send(&server, &open, &format!("{}stop", " ".repeat(8_192))).await, 413, "body_too_large");
    for bad in [r#"{"actions":[]}"#, r#"{"secret":"short"}"#, r#"{"allow_ips":["x"]}"#, r#"{"colour":1}"#] {
        let answer = server.post(&tenant, &format!("{}/hook", bot(&server, &tenant).await), bad).await;
        assert_eq!(answer.refused().len(), 1, "{bad}");
    }
    server.stop().await;
}

#[actix_web::test]
async fn ten_a_minute_and_the_same_counts_once() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let path = bot(&server, &tenant).await;
    let address = hook(&server, &tenant, &path, "").await;
    let first = send(&server, &address, "stop").await;
    assert_eq!(
        (first.0, &first.1["duplicate"], &first.1["status"]),
        (202, &json!(false), &json!("accepted"))
    );
    let same = send(&server, &address, "stop").await;
    assert_eq!((same.0, &same.1["duplicate"], &same.1["id"]), (202, &json!(true), &first.1["id"]));
    for id in ["a", "b", "a"] {
        let body = format!(r#"{{"action":"stop","id":"{id}","timenow":"{}"}}"#, now());
        assert_eq!(send(&server, &address, &body).await.0, 202);
    }
    let signals = server.get(&tenant, &format!("{path}/signals")).await.body;
    assert_eq!(signals["data"].as_array().unwrap().len(), 3, "{signals}");
    for _ in 0..5 {
        assert_eq!(send(&server, &address, "stop").await.0, 202);
    }
    let refused = send(&server, &address, "stop").await;
    check_refused(&refused, 429, "rate_limited");
    let message = refused.1["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("too many signals for this hook; try again in "), "{message}");
    server.stop().await;
}

#[actix_web::test]
async fn a_body_sent_again_after_another_was_carried_out_is_another_signal() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let path = bot(&server, &tenant).await;
    let address = hook(&server, &tenant, &path, "").await;
    for word in ["start", "stop", "start"] {
        let sent = send(&server, &address, word).await;
        assert_eq!((sent.0, &sent.1["duplicate"]), (202, &json!(false)), "{word}");
        carried_out(&server, &tenant, &path).await;
    }
    assert_eq!(send(&server, &address, "start").await.1["duplicate"], true);
    assert_eq!(server.get(&tenant, &path).await.body["status"], "starting");
    // By its owner as well.
    assert_eq!(server.post(&tenant, &format!("{path}/stop"), "").await.status, 200);
    assert_eq!(send(&server, &address, "start").await.1["duplicate"], false);
    server.stop().await;
}

#[actix_web::test]
async fn a_wrong_secret_uses_up_its_senders_guesses_and_not_the_hook() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let address = hook(&server, &tenant, &bot(&server, &tenant).await, r#"{"secret":"a secret"}"#).await;
    for _ in 0..20 {
        check_refused(&send(&server, &address, "stop").await, 403, "secret_wrong");
    }
    check_refused(&send(&server, &address, "stop").await, 429, "rate_limited");
    assert_eq!(send(&server, &address, r#"{"action":"stop","secret":"a secret"}"#).await.0, 202);
    server.stop().await;
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    model::Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap()).to_string()
}

#[actix_web::test]
async fn a_signal_starts_adds_closes_and_stops() {
    let live = Live::start().await;
    let (server, tenant) = (&live.server, &live.owner);
    let body = r#"{"name":"paper","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":1,"stop_loss":-10,"take_profit":5,"dry_run":true,"dca":{"cooldown_s":3600}}"#;
    let made = server.post(tenant, "/v1/bots", body).await.body;
    let path = format!("/v1/bots/{}", made["id"].as_str().unwrap());
    let address = hook(server, tenant, &path, "").await;
    assert_eq!(send(server, &address, "add").await.0, 202);
    let failed = carried_out(server, tenant, &path).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("no_trade_open")));
    assert_eq!(send(server, &address, "start").await.0, 202);
    let bot = live.until(&path, |bot| bot["open_trade"].is_object()).await;
    let add = send(server, &address, r#"{"action":"add","amount":20}"#).await;
    assert_eq!((add.0, &add.1["amount"]), (202, &json!(20)));
    assert_eq!(carried_out(server, tenant, &path).await["status"], "done");
    let trade = format!("/v1/trades/{}", bot["open_trade"]["id"].as_str().unwrap());
    let added = server.get(tenant, &trade).await.body;
    assert_eq!(added["orders"].as_array().unwrap().len(), 2, "{added}");
    assert_eq!(send(server, &address, "close").await.0, 202);
    assert_eq!(carried_out(server, tenant, &path).await["status"], "done");
    let closed = server.get(tenant, &trade).await.body;
    assert_eq!((&closed["status"], &closed["exit_reason"]), (&json!("closed"), &json!("signal")), "{closed}");
    assert_eq!(send(server, &address, r#"{"action":"stop","positions":"close"}"#).await.0, 202);
    live.until(&path, |bot| bot["status"] == "stopped").await;
    live.end().await;
}
