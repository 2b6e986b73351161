//! Endpoints, their deliveries and the events that go there, as their owner sees them.

use std::time::Duration;

use engine::{Change, Store};
use model::{AccountId, BotFailed, BotId, DomainEvent, EventData, EventId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::receiver::{Received, Receiver};
use crate::server::{Server, Tenant};

/// An address where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

impl Server {
    /// Something happens to a bot of an account.
    pub(crate) async fn happen(&self, account: AccountId, bot: u128, messages: &[&str]) {
        let store = Store::open(&self.database_url).await.unwrap();
        let event = |message: &&str| DomainEvent {
            id: EventId::new(),
            account_id: account,
            bot_id: Some(BotId::from_u128(bot)),
            at: now(),
            data: EventData::BotError(BotFailed {
                bot_id: Some(BotId::from_u128(bot)),
                code: "test".to_owned(),
                message: (*message).to_owned(),
                resolved: false,
            }),
        };
        let events = messages.iter().map(event).collect();
        store.commit([Change { events, ..Change::default() }]).await.unwrap();
        store.close().await;
    }

    /// Waits until an answer is as wanted.
    async fn until(&self, who: &Tenant, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(who, path).await.body;
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{answer:#}");
            sleep(Duration::from_millis(300)).await;
        }
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

fn messages(received: &[Received]) -> Vec<String> {
    received.iter().map(|came| came.body()["data"]["message"].as_str().unwrap().to_owned()).collect()
}

fn verifies(secret: &Value, came: &Received) -> bool {
    let mut headers = reqwest::header::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, came.header(name).parse().unwrap());
    }
    let library = standardwebhooks::Webhook::new(secret.as_str().unwrap()).unwrap();
    library.verify(came.text.as_bytes(), &headers).is_ok()
}

#[actix_web::test]
async fn an_endpoint_is_made_changed_tested_rotated_and_deleted() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let receiver = Receiver::start();
    let body =
        json!({"url": receiver.url, "description": "mine", "headers": {"X-Team": "hush", "X-Old": "1"}});
    let made = server.post(&tenant, "/v1/webhooks", &body.to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (secret, path) =
        (made.body["secret"].clone(), format!("/v1/webhooks/{}", made.body["id"].as_str().unwrap()));
    assert_eq!((&made.body["status"], &made.body["concurrency"]), (&json!("enabled"), &json!(4)));

    let tested = server.post(&tenant, &format!("{path}/test"), "").await;
    assert_eq!(tested.status, 200, "{tested:?}");
    assert_eq!(tested.body["status"], "delivered", "{tested:?}");
    assert_eq!((&tested.body["http_status"], &tested.body["response"]), (&json!(200), &json!("thanks")));
    let came = receiver.heard(1).await.remove(0);
    assert!(verifies(&secret, &came));
    assert_eq!((came.header("x-team"), came.header("content-type")), ("hush", "application/json"));
    assert_eq!(
        (came.header("webhook-id"), &came.body()["event"]),
        (tested.body["event_id"].as_str().unwrap(), &json!("webhook.test"))
    );

    let rotated = server.post(&tenant, &format!("{path}/rotate-secret"), "{}").await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert_ne!(rotated.body["secret"], secret);
    server.post(&tenant, &format!("{path}/test"), "").await;
    let came = receiver.heard(2).await.remove(1);
    assert!(verifies(&secret, &came) && verifies(&rotated.body["secret"], &came), "both sign for a day");

    let change = r#"{"events":["bot.error"],"description":null,"concurrency":2.0,"headers":{"x-old":null,"X-New":"2"}}"#;
    let changed = server.ask(&tenant, Method::PATCH, &path, Some(change)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let shown = server.get(&tenant, &path).await;
    assert_eq!(shown.body, changed.body);
    assert_eq!(shown.body["events"], json!(["bot.error"]));
    assert_eq!(
        (&shown.body["description"], &shown.body["header_names"]),
        (&json!(""), &json!(["X-Team", "X-New"]))
    );
    assert!(!shown.body.to_string().contains("hush"), "values of headers are not shown");

    for (body, param) in [
        (r#"{"url":null}"#, "url"),
        (r#"{"url":"https://10.0.0.1/"}"#, "url"),
        (r#"{"url":"https://example.com/a\r\nb"}"#, "url"),
        (r#"{"url":"https://example.com/a\u0000"}"#, "url"),
        (r#"{"url":" https://example.com/a"}"#, "url"),
        (r#"{"description":"a\u0000b"}"#, "description"),
        (r#"{"description":"a\u001bb"}"#, "description"),
        (r#"{"events":[]}"#, "events"),
        (r#"{"headers":{"Host":"x"}}"#, "headers"),
        (r#"{"headers":["x"]}"#, "headers"),
        (r#"{"concurrency":0}"#, "concurrency"),
        (r#"{"status":"paused"}"#, "status"),
        (r#"{"secret":"whsec_x"}"#, "secret"),
    ] {
        assert_eq!(server.ask(&tenant, Method::PATCH, &path, Some(body)).await.refused(), [param], "{body}");
    }
    let stranger = server.tenant(&[]).await;
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/test")),
        (Method::POST, format!("{path}/rotate-secret")),
        (Method::GET, format!("{path}/deliveries")),
        (Method::GET, format!("{path}/deliveries/{}", tested.body["id"].as_str().unwrap())),
        (Method::POST, format!("{path}/deliveries/{}/replay", tested.body["id"].as_str().unwrap())),
    ] {
        let body = if method == Method::GET { None } else { Some("{}") };
        assert_eq!(server.ask(&stranger, method.clone(), &path, body).await.status, 404, "{method} {path}");
    }
    assert_eq!(server.ask(&tenant, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(server.get(&tenant, &path).await.status, 404);
    let books = std::fs::read(server.database_url.strip_prefix("sqlite://").unwrap()).unwrap();
    let holds = |text: &str| books.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!holds(secret.as_str().unwrap()) && !holds("hush"), "secrets are sealed");
    server.stop().await;
}

#[actix_web::test]
async fn what_is_changed_at_once_is_all_changed() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let receiver = Receiver::start();
    let made = server.post(&tenant, "/v1/webhooks", &json!({"url": receiver.url}).to_string()).await;
    let path = format!("/v1/webhooks/{}", made.body["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate-secret");
    for round in 1..=2 {
        let (description, concurrency) =
            (json!({"description": round.to_string()}), json!({"concurrency": round}));
        let headers = json!({"headers": {(format!("X-{round}")): "1"}});
        let change = async |body: Value| {
            server.ask(&tenant, Method::PATCH, &path, Some(&body.to_string())).await.status
        };
        let (first, second, a, b, c) = tokio::join!(
            server.post(&tenant, &rotate, ""),
            server.post(&tenant, &rotate, ""),
            change(description),
            change(concurrency),
            change(headers),
        );
        assert_eq!((first.status, second.status, a, b, c), (200, 200, 200, 200, 200));
        let shown = server.get(&tenant, &path).await.body;
        assert_eq!(shown["description"], round.to_string());
        assert_eq!(shown["concurrency"], round);
        assert_eq!(shown["header_names"].as_array().unwrap().len(), round);
        server.post(&tenant, &format!("{path}/test"), "").await;
        let came = receiver.heard(round).await.remove(round - 1);
        for rotated in [first, second] {
            assert!(verifies(&rotated.body["secret"], &came), "every secret that was told signs");
        }
    }
    let refused = server.post(&tenant, &rotate, "").await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("too_many_secrets")));
    server.post(&tenant, &format!("{path}/test"), "").await;
    let came = receiver.heard(3).await.remove(2);
    assert!(verifies(&made.body["secret"], &came), "the first one as well, for its day");
    server.stop().await;
}

#[actix_web::test]
async fn what_failed_is_retried_and_what_was_missed_is_replayed() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let receiver = Receiver::start();
    let began = now();
    let made = server.post(&tenant, "/v1/webhooks", &json!({"url": receiver.url}).to_string()).await;
    let path = format!("/v1/webhooks/{}", made.body["id"].as_str().unwrap());
    let list = format!("{path}/deliveries");

    receiver.answer(500, "<oops>\u{7}");
    server.happen(tenant.account, 1, &["a", "b"]).await;
    let waiting = server.until(&tenant, &list, |list| list["data"][0]["attempts"] == 1).await;
    let first = &waiting["data"][0];
    assert_eq!((&first["status"], &first["http_status"]), (&json!("waiting"), &json!(500)));
    assert_eq!(first["response"], "\\u{3c}oops\\u{3e}\\u{7}");
    assert!(first["next_attempt_at"].is_string() && first["duration_ms"].is_number(), "{first}");
    assert_eq!(waiting["data"].as_array().unwrap().len(), 1, "the second waits for the first");
    receiver.answer(200, "");
    let came = receiver.heard(3).await;
    assert_eq!(messages(&came), ["a", "a", "b"], "in order, after five seconds");
    assert_eq!(came[0].header("webhook-id"), came[1].header("webhook-id"));
    assert_eq!((&came[0].body()["sequence"], &came[2].body()["sequence"]), (&json!(1), &json!(2)));
    let done = server.until(&tenant, &list, |list| list["data"][0]["event_id"] == came[2].body()["id"]).await;
    let retried = &done["data"][1];
    assert_eq!((&retried["id"], &retried["attempts"]), (&first["id"], &json!(2)), "the same delivery");
    assert_eq!(retried["status"], "delivered");

    let replay = format!("{list}/{}/replay", first["id"].as_str().unwrap());
    let again = server.post(&tenant, &replay, "").await;
    assert_eq!((again.status, &again.body["origin"]), (202, &json!("replay")), "{again:?}");
    assert_ne!(again.body["id"], first["id"]);
    assert_eq!(receiver.heard(4).await[3].text, came[0].text, "the same event");

    let off = server.ask(&tenant, Method::PATCH, &path, Some(r#"{"status":"disabled"}"#)).await.body;
    assert_eq!((&off["status"], off["disabled_at"].is_string()), (&json!("disabled"), true), "{off}");
    server.happen(tenant.account, 1, &["c", "d"]).await;
    assert_eq!(server.post(&tenant, &replay, "").await.status, 409);
    let since = json!({"since": began}).to_string();
    assert_eq!(server.post(&tenant, &format!("{path}/replay"), &since).await.status, 409);
    let on = server.ask(&tenant, Method::PATCH, &path, Some(r#"{"status":"enabled"}"#)).await.body;
    assert_eq!((&on["status"], &on["disabled_reason"]), (&json!("enabled"), &Value::Null));
    server.happen(tenant.account, 1, &["e"]).await;
    assert_eq!(messages(&receiver.heard(5).await)[4], "e", "it hears what happens from now on");
    let missed = server.post(&tenant, &format!("{path}/replay"), &since).await;
    assert_eq!((missed.status, &missed.body), (202, &json!({"replayed": 2, "has_more": false})));
    assert_eq!(messages(&receiver.heard(7).await)[5..], ["c", "d"]);
    server
        .until(&tenant, &format!("{list}?status=delivered"), |list| {
            list["data"].as_array().unwrap().len() == 6
        })
        .await;
    let none = server.post(&tenant, &format!("{path}/replay"), &since).await;
    assert_eq!(none.body["replayed"], 0, "{none:?}");
    assert_eq!(server.get(&tenant, &format!("{list}?event=trade.closed")).await.body["data"], json!([]));
    assert_eq!(server.get(&tenant, &format!("{list}?status=lost")).await.refused(), ["status"]);
    assert_eq!(server.post(&tenant, &format!("{path}/replay"), "{}").await.refused(), ["since"]);
    server.stop().await;
}

#[actix_web::test]
async fn an_endpoint_that_is_gone_is_disabled_and_says_why() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let receiver = Receiver::start();
    receiver.answer(410, "");
    let made = server.post(&tenant, "/v1/webhooks", &json!({"url": receiver.url}).to_string()).await;
    let path = format!("/v1/webhooks/{}", made.body["id"].as_str().unwrap());
    server.happen(tenant.account, 1, &["a", "b"]).await;
    let shown = server.until(&tenant, &path, |webhook| webhook["status"] == "disabled").await;
    assert!(shown["disabled_reason"].as_str().unwrap().contains("410"), "{shown}");
    assert!(shown["disabled_at"].is_string());
    server.stop().await;
}

#[actix_web::test]
async fn events_can_be_caught_up_on_from_any_of_them() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    server.happen(tenant.account, 1, &["a", "b"]).await;
    server.happen(tenant.account, 2, &["c"]).await;
    server.happen(tenant.account, 1, &["d"]).await;
    let told = |answer: &Value| -> Vec<(String, i64)> {
        let event = |event: &Value| {
            (event["data"]["message"].as_str().unwrap().to_owned(), event["sequence"].as_i64().unwrap())
        };
        answer["data"].as_array().unwrap().iter().map(event).collect()
    };
    let owned = |pairs: &[(&str, i64)]| -> Vec<(String, i64)> {
        pairs.iter().map(|(message, sequence)| ((*message).to_owned(), *sequence)).collect()
    };
    let all = server.get(&tenant, "/v1/events").await.body;
    assert_eq!(told(&all), owned(&[("d", 3), ("c", 1), ("b", 2), ("a", 1)]), "{all:#}");
    let first = all["data"][3]["id"].as_str().unwrap();
    let next =
        server.get(&tenant, &format!("/v1/events?order=asc&starting_after={first}&limit=2")).await.body;
    assert_eq!((told(&next), &next["has_more"]), (owned(&[("b", 2), ("c", 1)]), &json!(true)));
    let bot = BotId::from_u128(2);
    let one = server.get(&tenant, &format!("/v1/events?bot_id={bot}&event=bot.error")).await.body;
    assert_eq!(told(&one), owned(&[("c", 1)]));
    let none = server.get(&tenant, "/v1/events?event=trade.closed&from=2026-01-01T00:00:00Z").await.body;
    assert_eq!(none["data"], json!([]));
    assert_eq!(server.get(&tenant, "/v1/events?to=2026-01-01T00:00:00Z").await.body["data"], json!([]));
    let unknown = EventId::new();
    let refused = server.get(&tenant, &format!("/v1/events?starting_after={unknown}")).await;
    assert_eq!(refused.refused(), ["starting_after"]);
    assert_eq!(server.get(&server.tenant(&[]).await, "/v1/events").await.body["data"], json!([]));
    server.stop().await;
}
