//! Bots over HTTP, on a venue that does not answer: what needs no market.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::Server;

/// The published example, as it stands.
pub(crate) const SEED: &str = r#"{
"name": "BTC DCA Bot",
"exchange": "binance",
"pair": "BTC/USDT",
"strategy": "dca",
"stake_amount": 50,
"max_open_trades": 5,
"stop_loss": -10,
"dry_run": true
}"#;

/// An address where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

#[actix_web::test]
async fn a_bot_is_made_read_changed_listed_and_deleted() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let made = server.post(&tenant, "/v1/bots", SEED).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["status"], "stopped");
    assert_eq!(made.body["take_profit"], 2);
    let id = made.body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/bots/{id}");
    assert_eq!(made.headers["location"], path.as_str());
    assert_eq!(made.headers["ratelimit-policy"], "\"plan\";q=100;w=60");

    let patch = r#"{"stake_amount":12.50,"dca":{"cooldown_s":60}}"#;
    let patched = server.ask(&tenant, Method::PATCH, &path, Some(patch)).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let text = reqwest::Client::new()
        .get(format!("{}{path}", server.url))
        .bearer_auth(&tenant.key)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.contains("\"stake_amount\":12.50,"), "no digit is lost: {text}");
    assert!(text.contains("\"cooldown_s\":60"), "{text}");
    assert_eq!(server.ask(&tenant, Method::PUT, &path, Some(SEED)).await.body["stake_amount"], 50);

    for _ in 0..4 {
        assert_eq!(server.post(&tenant, "/v1/bots", SEED).await.status, 201);
    }
    let first = server.get(&tenant, "/v1/bots?limit=3&status=stopped").await.body;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (3, &json!(true)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.get(&tenant, &format!("/v1/bots?limit=3&starting_after={cursor}")).await.body;
    assert_eq!((second["data"].as_array().unwrap().len(), &second["has_more"]), (2, &json!(false)));
    assert_eq!(second["data"][1]["id"], id.as_str(), "the oldest is last");
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(server.get(&tenant, "/v1/bots?status=running").await.body["data"], json!([]));

    assert_eq!(server.ask(&tenant, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(server.get(&tenant, &path).await.status, 404);
    assert_eq!(server.get(&tenant, &format!("{path}/trades")).await.status, 200, "its trades stay readable");
    server.stop().await;
}

#[actix_web::test]
async fn every_field_wrong_in_turn_is_named() {
    let server = Server::start(NOWHERE).await;
    let mut tenant = server.tenant(&[]).await;
    let seed: Value = serde_json::from_str(SEED).unwrap();
    let digits = "1".repeat(40);
    let mut asked = 0;
    for field in seed.as_object().unwrap().keys() {
        let mut missing = seed.clone();
        missing.as_object_mut().unwrap().remove(field);
        let wrong =
            ["null", "[]", "{}", "\"\"", "\"x/y\"", "-0", "1e400", "1.123456789", &digits, "7e-9", "true"];
        let wrong = wrong.iter().filter(|value| !(field == "name" && **value == "\"x/y\""));
        let wrong = wrong.filter(|value| !(field == "dry_run" && **value == "true"));
        let wrong = wrong.filter(|value| !(field == "stop_loss" && **value == "null"));
        for body in std::iter::once(missing.to_string()).chain(wrong.map(|value| {
            let mut texts: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
                serde_json::from_str(SEED).unwrap();
            texts.insert(
                field.clone(),
                serde_json::value::RawValue::from_string((*value).to_owned()).unwrap(),
            );
            serde_json::to_string(&texts).unwrap()
        })) {
            asked += 1;
            if asked % 90 == 0 {
                // Another key, before the plan of this one is used up.
                tenant = server.tenant(&[]).await;
            }
            let answer = server.post(&tenant, "/v1/bots", &body).await;
            assert!(answer.refused().iter().any(|param| param == field), "{field}: {body}: {answer:?}");
        }
    }
    assert_eq!(asked, 93);
    tenant = server.tenant(&[]).await;
    let unknown = SEED.replace("\"stop_loss\"", "\"stoploss\"");
    let answer = server.post(&tenant, "/v1/bots", &unknown).await;
    assert_eq!(answer.refused(), ["stop_loss", "stoploss"]);
    assert_eq!(answer.body["error"]["param"], "stop_loss");
    for (change, param) in [
        (r#""dca":{"price_deviation":30},"#, "dca.price_deviation"),
        (r#""dca":{"step_scale":0},"#, "dca.step_scale"),
        (r#""trailing_stop":100,"#, "trailing_stop"),
        (r#""take_profit":-1,"#, "take_profit"),
        (r#""stop_loss_basis":"x","#, "stop_loss_basis"),
        (r#""exchange_id":"x","#, "exchange_id"),
    ] {
        let answer = server.post(&tenant, "/v1/bots", &SEED.replacen('{', &format!("{{{change}"), 1)).await;
        if param == "dca.price_deviation" {
            // A ladder deeper than 100 % is known with the fee, so with the market: there is none here.
            assert_eq!(answer.status, 201);
        } else {
            assert_eq!(answer.refused(), [param]);
        }
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(server.post(&tenant, "/v1/bots", &large).await.status, 413);
    assert_eq!(server.get(&tenant, "/v1/bots").await.body["data"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[actix_web::test]
async fn a_stranger_is_told_nothing() {
    let server = Server::start(NOWHERE).await;
    let (one, two) = (server.tenant(&[]).await, server.tenant(&[]).await);
    let made = server.post(&one, "/v1/bots", SEED).await.body;
    let path = format!("/v1/bots/{}", made["id"].as_str().unwrap());
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/start")),
        (Method::POST, format!("{path}/stop")),
        (Method::GET, format!("{path}/trades")),
    ] {
        let answer = server.ask(&two, method, &path, None).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (404, &json!("resource_missing")),
            "{path}"
        );
    }
    let patched = server.ask(&two, Method::PATCH, &path, Some("{\"stop_loss\":-20}")).await;
    assert_eq!(patched.status, 404);
    let seen = server.get(&two, &format!("/v1/bots?starting_after={}", made["id"].as_str().unwrap())).await;
    assert_eq!(seen.body["data"], json!([]));
    assert_eq!(server.get(&one, &path).await.body["stop_loss"], -10);

    let reader = server.tenant(&["bots:read"]).await;
    assert_eq!(server.get(&reader, "/v1/bots").await.status, 200);
    assert_eq!(server.post(&reader, "/v1/bots", SEED).await.status, 403);
    assert_eq!(server.get(&reader, "/v1/trades").await.status, 403);
    let nobody = crate::server::Tenant { account: one.account, key: engine::new_key() };
    let answer = server.get(&nobody, "/v1/bots").await;
    assert_eq!(answer.status, 401);
    assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    server.stop().await;
}

#[actix_web::test]
async fn a_key_has_its_plan_and_no_more() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    for left in (0..100).rev() {
        let answer = server.get(&tenant, "/v1/bots").await;
        assert_eq!(answer.status, 200);
        assert!(answer.headers["ratelimit"].to_str().unwrap().starts_with(&format!("\"plan\";r={left};t=")));
    }
    let answer = server.get(&tenant, "/v1/bots").await;
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(answer.body["error"]["code"], "rate_limited");
    assert_eq!(server.get(&server.tenant(&[]).await, "/v1/bots").await.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn an_endpoint_is_made_with_a_secret_that_is_shown_once() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let body = r#"{"url":"http://127.0.0.1:9/hook","events":["trade.closed"]}"#;
    let made = server.post(&tenant, "/v1/webhooks", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.body["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/v1/webhooks/{}", made.body["id"].as_str().unwrap());
    let read = server.get(&tenant, &path).await;
    assert_eq!((read.status, &read.body["secret"]), (200, &Value::Null));
    assert_eq!(server.get(&tenant, "/v1/webhooks").await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&server.tenant(&[]).await, &path).await.status, 404);
    for (body, param) in [
        ("{}", "url"),
        (r#"{"url":7}"#, "url"),
        (r#"{"url":"https://10.0.0.1/"}"#, "url"),
        (r#"{"url":"https://example.com/","events":["x"]}"#, "events"),
        (r#"{"url":"https://example.com/","colour":1}"#, "colour"),
    ] {
        assert_eq!(server.post(&tenant, "/v1/webhooks", body).await.refused(), [param], "{body}");
    }
    assert_eq!(server.ask(&tenant, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(server.get(&tenant, &path).await.status, 404);
    server.stop().await;
}

#[actix_web::test]
async fn a_bot_that_was_read_may_be_changed_and_put_back() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let made = server.post(&tenant, "/v1/bots", SEED).await.body;
    let path = format!("/v1/bots/{}", made["id"].as_str().unwrap());
    let mut read = server.get(&tenant, &path).await.body;
    read["name"] = json!("renamed");
    for method in [Method::PUT, Method::PATCH] {
        let back = server.ask(&tenant, method, &path, Some(&read.to_string())).await;
        assert_eq!((back.status, &back.body["name"]), (200, &json!("renamed")), "{back:?}");
        // What a change answers has the warnings beside it.
        read = back.body;
    }
    let others = [
        ("id", json!("bot_0190f5fe7a2b7c3d8e4f5a6b7c8d9e0f")),
        ("status", json!("running")),
        ("error", json!({"code": "internal"})),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("stats", json!({"trades": 7})),
        ("open_trade", json!({"id": "trade_0190f5fe7a2b7c3d8e4f5a6b7c8d9e0f"})),
        ("waiting_for", json!("rain")),
    ];
    for (field, value) in others {
        let mut body = read.clone();
        body[field] = value;
        for method in [Method::PUT, Method::PATCH] {
            let refused = server.ask(&tenant, method, &path, Some(&body.to_string())).await;
            assert_eq!(refused.refused(), [field], "{refused:?}");
        }
        body["stake_amount"] = json!(-1);
        let refused = server.ask(&tenant, Method::PUT, &path, Some(&body.to_string())).await;
        assert_eq!(refused.refused(), [field, "stake_amount"], "all faults are told together");
    }
    let clone = server.post(&tenant, &format!("{path}/clone"), &read.to_string()).await;
    assert_eq!(clone.status, 201, "{clone:?}");
    server.stop().await;
}

#[actix_web::test]
async fn null_is_no_stop_and_no_take_profit_in_each_body() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let mut body: Value = serde_json::from_str(SEED).unwrap();
    (body["stop_loss"], body["take_profit"]) = (Value::Null, Value::Null);
    let made = server.post(&tenant, "/v1/bots", &body.to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let none = |bot: &Value| {
        assert_eq!((&bot["stop_loss"], &bot["take_profit"]), (&Value::Null, &Value::Null), "{bot}");
    };
    none(&made.body);
    assert_eq!(made.body["warnings"][0]["code"], "no_stop_loss", "{made:?}");
    let path = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
    let set = server.ask(&tenant, Method::PATCH, &path, Some(r#"{"stop_loss":-5,"take_profit":3}"#)).await;
    assert_eq!((&set.body["stop_loss"], &set.body["take_profit"]), (&json!(-5), &json!(3)));
    let patch = r#"{"stop_loss":null,"take_profit":null}"#;
    none(&server.ask(&tenant, Method::PATCH, &path, Some(patch)).await.body);
    none(&server.ask(&tenant, Method::PUT, &path, Some(&body.to_string())).await.body);
    none(&server.get(&tenant, &path).await.body);
    let trailing = server.ask(&tenant, Method::PATCH, &path, Some(r#"{"trailing_take_profit":1}"#)).await;
    assert_eq!(trailing.refused(), ["trailing_take_profit"]);
    server.stop().await;
}
