//! A POST that is sent again under its `Idempotency-Key`.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use crate::bots::SEED;
use crate::server::{Answer, Server, Tenant};

const NOWHERE: &str = "127.0.0.1:1";

impl Server {
    async fn post_once(&self, who: &Tenant, path: &str, key: &str, body: &str) -> Answer {
        self.ask_with(who, Method::POST, path, Some(body), &[("idempotency-key", key)]).await
    }
}

#[track_caller]
fn check_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &answer.body["error"]["code"]), (status, &json!(code)), "{answer:?}");
}

async fn bots(server: &Server, tenant: &Tenant) -> usize {
    server.get(tenant, "/v1/bots?limit=100").await.body["data"].as_array().unwrap().len()
}

#[actix_web::test]
async fn the_first_answer_is_given_again_and_nothing_is_done_twice() {
    let server = Server::start(NOWHERE).await;
    let (tenant, other) = (server.tenant(&[]).await, server.tenant(&[]).await);
    let first = server.post_once(&tenant, "/v1/bots", "one", SEED).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = server.post_once(&tenant, "/v1/bots", "one", SEED).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
    assert_eq!(bots(&server, &tenant).await, 1);

    let changed = SEED.replace("50", "60");
    check_error(&server.post_once(&tenant, "/v1/bots", "one", &changed).await, 422, "idempotency_key_reused");
    let start = format!("/v1/bots/{}/start", first.body["id"].as_str().unwrap());
    check_error(&server.post_once(&tenant, &start, "one", "").await, 422, "idempotency_key_reused");
    assert_eq!(server.post_once(&other, "/v1/bots", "one", SEED).await.status, 201, "of another account");
    assert_eq!((bots(&server, &tenant).await, bots(&server, &other).await), (1, 1));
    server.stop().await;
}

#[actix_web::test]
async fn what_moves_a_bot_is_answered_again_as_it_was() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let bot = server.post(&tenant, "/v1/bots", SEED).await.body;
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    let started = server.post_once(&tenant, &format!("{path}/start"), "go", "").await;
    assert_eq!(started.status, 200, "{started:?}");
    assert_eq!(server.post(&tenant, &format!("{path}/stop"), "").await.body["status"], "stopped");
    let again = server.post_once(&tenant, &format!("{path}/start"), "go", "").await;
    assert_eq!((again.status, &again.body), (200, &started.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(server.get(&tenant, &path).await.body["status"], "stopped", "it was not started again");
    server.stop().await;
}

#[actix_web::test]
async fn only_what_was_done_is_kept() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let reader = Tenant { key: server.key(tenant.account, &["bots:read"]).await, ..tenant.clone() };
    check_error(&server.post_once(&reader, "/v1/bots", "k", SEED).await, 403, "scope_missing");
    let bad = server.post_once(&tenant, "/v1/bots", "k", "{}").await;
    assert_eq!(bad.status, 400);
    let nobody = Tenant { key: "bpx_live_x".to_owned(), ..tenant.clone() };
    assert_eq!(server.post_once(&nobody, "/v1/bots", "k", SEED).await.status, 401);
    assert_eq!(server.post_once(&tenant, "/v1/bots/bot_1/start", "k", "").await.status, 404);
    let made = server.post_once(&tenant, "/v1/bots", "k", SEED).await;
    assert_eq!(made.status, 201, "{made:?}");
    let read = server.post_once(&reader, "/v1/bots", "k", SEED).await;
    check_error(&read, 403, "scope_missing");
    // Elsewhere than with POST the header means nothing.
    let path = made.headers["location"].to_str().unwrap().to_owned();
    let header = [("idempotency-key", "k")];
    assert_eq!(server.ask_with(&tenant, Method::DELETE, &path, None, &header).await.status, 204);
    server.stop().await;
}

#[actix_web::test]
async fn a_key_is_printable_and_of_bounded_length() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    for bad in ["", "ä", "a\tb", &"x".repeat(256)] {
        let answer = server.post_once(&tenant, "/v1/bots", bad, SEED).await;
        assert_eq!(answer.refused(), ["Idempotency-Key"], "{bad}");
    }
    for good in ["x", "a b", &"x".repeat(255)] {
        assert_eq!(server.post_once(&tenant, "/v1/bots", good, SEED).await.status, 201);
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = server.ask_with(&tenant, Method::POST, "/v1/bots", Some(SEED), &twice).await;
    assert_eq!(answer.refused(), ["Idempotency-Key"]);
    server.stop().await;
}

#[actix_web::test]
async fn of_many_at_once_one_is_done_and_the_others_are_told_to_wait_or_answered_the_same() {
    let server = Arc::new(Server::start(NOWHERE).await);
    let tenant = server.tenant(&[]).await;
    let asked: Vec<_> = (0..16)
        .map(|_| {
            let (server, tenant) = (server.clone(), tenant.clone());
            actix_web::rt::spawn(async move { server.post_once(&tenant, "/v1/bots", "k", SEED).await })
        })
        .collect();
    let mut ids = Vec::new();
    for answer in asked {
        let answer = answer.await.unwrap();
        match answer.status {
            201 => ids.push(answer.body["id"].clone()),
            _ => check_error(&answer, 409, "idempotency_key_in_use"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(bots(&server, &tenant).await, 1);
    assert_ne!(ids[0], Value::Null);
    Arc::into_inner(server).unwrap().stop().await;
}
