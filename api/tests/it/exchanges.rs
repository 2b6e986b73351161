//! Exchange connections over HTTP, checked with a real venue.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{BotChange, BotStatus, Change, Store};
use model::BotId;
use reqwest::Method;
use serde_json::{Value, json};
use venue::{Config, Credential, Venue};

use crate::bots::SEED;
use crate::live::Live;
use crate::server::{Answer, Server, Tenant};

/// An address where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

fn credential(number: u32) -> Credential {
    Credential { key: format!("public-key-{number:04}"), secret: format!("hidden-secret-{number:04}") }
}

/// A venue with four credentials, and a server on it.
async fn start() -> (Venue, Server) {
    let credentials = (1..=4).map(credential).collect();
    let venue = venue::start(Config { credentials, ..Config::default() }).await.unwrap();
    let server = Server::start(&venue.address().to_string()).await;
    (venue, server)
}

async fn stop((venue, server): (Venue, Server)) {
    server.stop().await;
    venue.stop().await;
}

fn body(Credential { key, secret }: &Credential) -> String {
    json!({"exchange": "binance", "name": "main", "api_key": key, "api_secret": secret}).to_string()
}

async fn store(server: &Server, who: &Tenant, number: u32) -> String {
    let made = server.post(who, "/v1/exchanges", &body(&credential(number))).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["id"].as_str().unwrap().to_owned()
}

async fn delete(server: &Server, who: &Tenant, id: &str) -> u16 {
    server.ask(who, Method::DELETE, &format!("/v1/exchanges/{id}"), None).await.status
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.body["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn a_connection_is_made_listed_and_deleted_and_its_secrets_stay_inside() {
    let (venue, server) = start().await;
    let tenant = server.tenant(&[]).await;
    let made = server.post(&tenant, "/v1/exchanges", &body(&credential(1))).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_str().unwrap();
    assert!(id.starts_with("exc_"));
    assert_eq!(made.headers["location"], format!("/v1/exchanges/{id}").as_str());
    let permissions = json!({"read": true, "spot_trading": true, "withdrawals": false});
    let shown = json!({"id": id, "exchange": "binance", "name": "main", "key_hint": "…0001",
        "permissions": permissions, "ip_bound": false, "trades_until": null, "created_at": made.body["created_at"]});
    let warnings = made.body["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{made:?}");
    assert!(warnings[0]["message"].as_str().unwrap().contains("from any address"));

    let unnamed = json!({"exchange": "binance", "name": null, "api_key": credential(2).key,
        "api_secret": credential(2).secret});
    let second = server.post(&tenant, "/v1/exchanges", &unnamed.to_string()).await;
    assert_eq!((second.status, &second.body["name"]), (201, &json!("binance")));
    let third = store(&server, &tenant, 3).await;

    let list = server.get(&tenant, "/v1/exchanges").await;
    assert_eq!(ids(&list), [third.as_str(), second.body["id"].as_str().unwrap(), id]);
    assert_eq!(list.body["data"][2], shown, "without warnings, which belong to the making");
    let page = server.get(&tenant, "/v1/exchanges?limit=2").await;
    assert_eq!((ids(&page).len(), &page.body["has_more"]), (2, &json!(true)));
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let rest = server.get(&tenant, &format!("/v1/exchanges?starting_after={cursor}")).await;
    assert_eq!((ids(&rest), &rest.body["has_more"]), (vec![id], &json!(false)));

    assert_eq!(delete(&server, &tenant, id).await, 204);
    assert_eq!(delete(&server, &tenant, id).await, 404);
    assert_eq!(ids(&server.get(&tenant, "/v1/exchanges").await).len(), 2);
    let again = server.post(&tenant, "/v1/exchanges", &body(&credential(1))).await;
    assert_eq!(again.status, 201, "a key that was deleted may come back: {again:?}");
    for answer in [&made, &second, &list, &again] {
        let text = answer.body.to_string();
        assert!(!text.contains("hidden") && !text.contains("public-key"), "{text}");
    }
    for path in [format!("/v1/exchanges/{id}"), format!("/v1/exchanges/{third}")] {
        assert_eq!(server.get(&tenant, &path).await.status, 405);
    }
    stop((venue, server)).await;
}

#[actix_web::test]
async fn every_bad_field_is_named_at_once_and_none_is_repeated() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let long = "x".repeat(5_000);
    for (body, refused) in [
        (json!({}), vec!["exchange", "api_key", "api_secret"]),
        (
            json!({"exchange": null, "api_key": "", "api_secret": ""}),
            vec!["exchange", "api_key", "api_secret"],
        ),
        (
            json!({"exchange": "leaked", "name": "", "api_key": "leaked key", "api_secret": 7, "passphrase": "leaked"}),
            vec!["exchange", "name", "api_key", "api_secret", "passphrase"],
        ),
        (
            json!({"exchange": "binance", "api_key": "k\u{e9}y", "api_secret": long}),
            vec!["api_key", "api_secret"],
        ),
        (
            json!({"exchange": "binance", "name": "a\nb", "api_key": long, "api_secret": ["leaked"]}),
            vec!["name", "api_key", "api_secret"],
        ),
        (
            json!({"exchange": "binance", "api_key": "key",
                "api_secret": "-----BEGIN PRIVATE KEY-----\nbGVha2Vk\n-----END PRIVATE KEY-----\n"}),
            vec!["api_secret"],
        ),
    ] {
        let answer = server.post(&tenant, "/v1/exchanges", &body.to_string()).await;
        assert_eq!(answer.refused(), refused, "{body}");
        let text = answer.body.to_string();
        assert!(!text.contains("leaked") && !text.contains("bGVha2Vk"), "{text}");
    }
    assert_eq!(server.get(&tenant, "/v1/exchanges?colour=1").await.refused(), ["colour"]);
    server.stop().await;
}

#[actix_web::test]
async fn a_key_that_the_venue_does_not_take_is_not_stored() {
    let (venue, server) = start().await;
    let tenant = server.tenant(&[]).await;
    let wrong_key = Credential { key: "nobodys".to_owned(), ..credential(1) };
    let wrong_secret = Credential { secret: "another".to_owned(), ..credential(1) };
    for wrong in [wrong_key, wrong_secret] {
        let answer = server.post(&tenant, "/v1/exchanges", &body(&wrong)).await;
        assert_eq!(answer.refused(), ["api_key"], "{answer:?}");
        let told = answer.body["error"]["message"].as_str().unwrap();
        assert!(told.contains("binance does not accept this key"), "{told}");
    }
    assert_eq!(ids(&server.get(&tenant, "/v1/exchanges").await), [""; 0]);
    stop((venue, server)).await;
}

#[actix_web::test]
async fn a_venue_that_does_not_answer_leaves_nothing_stored() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let answer = server.post(&tenant, "/v1/exchanges", &body(&credential(1))).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &json!("venue_unreachable")));
    let told = answer.body["error"]["message"].as_str().unwrap();
    assert!(told.contains("is not stored: try again"), "{told}");
    assert_eq!(ids(&server.get(&tenant, "/v1/exchanges").await), [""; 0]);
    server.stop().await;
}

/// The venue behind a door that changes one word of what it says, or lacks one path.
fn changed(venue: &Venue, from: &'static str, to: &'static str) -> (actix_web::dev::ServerHandle, String) {
    let inner = format!("http://{}", venue.address());
    let forward = move |request: HttpRequest| {
        let url = format!("{inner}{}", request.uri());
        async move {
            if request.path() == from {
                return HttpResponse::NotFound().body(to);
            }
            let mut asked = reqwest::Client::new().get(url);
            if let Some(key) = request.headers().get("x-mbx-apikey") {
                asked = asked.header("x-mbx-apikey", key.to_str().unwrap());
            }
            let answer = asked.send().await.unwrap();
            let status = actix_web::http::StatusCode::from_u16(answer.status().as_u16()).unwrap();
            let text = answer.text().await.unwrap().replace(from, to);
            HttpResponse::build(status).content_type("application/json").body(text)
        }
    };
    let app = move || actix_web::App::new().default_service(web::to(forward.clone()));
    let door = actix_web::HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = door.addrs()[0].to_string();
    let door = door.run();
    let handle = door.handle();
    actix_web::rt::spawn(door);
    (handle, address)
}

#[actix_web::test]
async fn what_a_key_may_do_decides_whether_it_is_stored() {
    let venue = venue::start(Config { credentials: vec![credential(1)], ..Config::default() }).await.unwrap();
    for (from, to, told) in [
        ("\"enableWithdrawals\":false", "\"enableWithdrawals\":true", Err("without withdrawals")),
        (
            "\"enableInternalTransfer\":false",
            "\"enableInternalTransfer\":true",
            Err("without withdrawals and transfers"),
        ),
        ("\"permitsUniversalTransfer\":false", "\"permitsUniversalTransfer\":true", Err("and transfers")),
        (
            "\"enableSpotAndMarginTrading\":true",
            "\"enableSpotAndMarginTrading\":false",
            Err("allow spot trading"),
        ),
        ("\"enableReading\":true", "\"enableReading\":false", Err("allow reading")),
        ("\"canTrade\":true", "\"canTrade\":false", Err("may not trade")),
        ("\"ipRestrict\":false", "\"ipRestrict\":true", Ok(Value::Null)),
        (
            "\"ipRestrict\":false",
            "\"ipRestrict\":true,\"tradingAuthorityExpirationTime\":1800000000000",
            Ok(json!("2027-01-15T08:00:00Z")),
        ),
    ] {
        let (door, address) = changed(&venue, from, to);
        let server = Server::start(&address).await;
        let tenant = server.tenant(&[]).await;
        let answer = server.post(&tenant, "/v1/exchanges", &body(&credential(1))).await;
        match told {
            Ok(trades_until) => {
                assert_eq!((answer.status, &answer.body["ip_bound"]), (201, &json!(true)), "{answer:?}");
                let warnings = answer.body["warnings"].as_array().unwrap();
                assert_eq!(warnings.is_empty(), trades_until.is_null(), "{answer:?}");
                let list = server.get(&tenant, "/v1/exchanges").await;
                assert_eq!(list.body["data"][0]["trades_until"], trades_until);
            }
            Err(told) => {
                assert_eq!(answer.refused(), ["api_key"]);
                let message = answer.body["error"]["message"].as_str().unwrap();
                assert!(message.contains(told), "{to}: {message}");
                assert_eq!(ids(&server.get(&tenant, "/v1/exchanges").await), [""; 0]);
            }
        }
        server.stop().await;
        door.stop(false).await;
    }
    venue.stop().await;
}

#[actix_web::test]
async fn a_test_network_that_does_not_tell_what_a_key_may_do_is_warned_of() {
    let venue = venue::start(Config { credentials: vec![credential(1)], ..Config::default() }).await.unwrap();
    let (door, address) = changed(&venue, "/sapi/v1/account/apiRestrictions", "no such page");
    let server = Server::start(&address).await;
    let tenant = server.tenant(&[]).await;
    let wrong = Credential { secret: "another".to_owned(), ..credential(1) };
    assert_eq!(server.post(&tenant, "/v1/exchanges", &body(&wrong)).await.refused(), ["api_key"]);
    let made = server.post(&tenant, "/v1/exchanges", &body(&credential(1))).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["permissions"], json!({"read": true, "spot_trading": true, "withdrawals": false}));
    assert!(made.body["warnings"][0]["message"].as_str().unwrap().contains("test network"), "{made:?}");
    server.stop().await;
    door.stop(false).await;
    venue.stop().await;
}

#[actix_web::test]
async fn a_stranger_neither_sees_nor_takes_a_connection() {
    let (venue, server) = start().await;
    let (one, two) = (server.tenant(&[]).await, server.tenant(&[]).await);
    let id = store(&server, &one, 1).await;
    assert_eq!(ids(&server.get(&two, "/v1/exchanges").await), [""; 0]);
    assert_eq!(ids(&server.get(&two, &format!("/v1/exchanges?starting_after={id}")).await), [""; 0]);
    assert_eq!(delete(&server, &two, &id).await, 404);
    for path in ["exc_", "x", "bot_0190f5fe7a2b7c3d8e4f5a6b7c8d9e0f"] {
        assert_eq!(delete(&server, &one, path).await, 404);
    }
    for who in [&one, &two] {
        let again = server.post(who, "/v1/exchanges", &body(&credential(1))).await;
        assert_eq!((again.status, &again.body["error"]["code"]), (409, &json!("api_key_in_use")));
    }
    let reader = server.tenant(&["exchanges:read"]).await;
    assert_eq!(server.get(&reader, "/v1/exchanges").await.status, 200);
    assert_eq!(server.post(&reader, "/v1/exchanges", &body(&credential(2))).await.status, 403);
    assert_eq!(delete(&server, &reader, &id).await, 403);
    let writer = server.tenant(&["exchanges:write"]).await;
    assert_eq!(server.get(&writer, "/v1/exchanges").await.status, 403);
    store(&server, &writer, 2).await;
    assert_eq!(ids(&server.get(&one, "/v1/exchanges").await), [id]);
    stop((venue, server)).await;
}

/// A live bot that names a connection, or none.
async fn live_bot(server: &Server, who: &Tenant, exchange_id: Option<&str>) -> String {
    let mut body: Value = serde_json::from_str(SEED).unwrap();
    body["dry_run"] = json!(false);
    body["exchange_id"] = json!(exchange_id);
    let made = server.post(who, "/v1/bots", &body.to_string()).await;
    assert_eq!((made.status, &made.body["exchange_id"]), (201, &json!(exchange_id)), "{made:?}");
    made.body["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn check((param, message): (String, String), expected: &str, told: &str) {
    assert_eq!(param, expected, "{message}");
    assert!(message.contains(told), "{message}");
}

#[actix_web::test]
async fn a_live_bot_is_told_which_connection_it_lacks() {
    let (venue, server) = start().await;
    let tenant = server.tenant(&[]).await;
    let start = async |bot: &str| {
        let answer = server.post(&tenant, &format!("/v1/bots/{bot}/start"), "").await;
        assert_eq!(answer.refused().len(), 1);
        let error = &answer.body["error"];
        (error["param"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let bot = live_bot(&server, &tenant, None).await;
    check(start(&bot).await, "exchange_id", "there is none to binance: store one");
    let first = store(&server, &tenant, 1).await;
    // The only one there is; it trades over it until it is stopped, and so long it cannot be deleted.
    assert_eq!(turn(&server, &tenant, &bot, "start").await, "running");
    assert_eq!(delete(&server, &tenant, &first).await, 409);
    stopped(&server, &tenant, &bot).await;
    let second = store(&server, &tenant, 2).await;
    check(start(&bot).await, "exchange_id", "there are 2 connections to binance");
    let named = live_bot(&server, &tenant, Some(&second)).await;
    assert_eq!(turn(&server, &tenant, &named, "start").await, "running");
    stopped(&server, &tenant, &named).await;
    assert_eq!(delete(&server, &tenant, &second).await, 204);
    check(start(&named).await, "exchange_id", "no connection to binance of this account");
    assert_eq!(delete(&server, &tenant, &first).await, 204);
    stop((venue, server)).await;
}

/// Starts a bot, or stops it and sells what it may have bought; its status then.
async fn turn(server: &Server, who: &Tenant, bot: &str, turn: &str) -> String {
    let body = if turn == "stop" { r#"{"positions":"close"}"# } else { "" };
    let answer = server.post(who, &format!("/v1/bots/{bot}/{turn}"), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["status"].as_str().unwrap().to_owned()
}

/// Stops a bot and waits until nothing of it is left at the venue.
async fn stopped(server: &Server, who: &Tenant, bot: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while turn(server, who, bot, "stop").await != "stopped" {
        assert!(std::time::Instant::now() < deadline, "it does not stop");
        actix_web::rt::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn a_connection_that_a_bot_trades_with_stays() {
    let (venue, server) = start().await;
    let tenant = server.tenant(&[]).await;
    let (first, second) = (store(&server, &tenant, 1).await, store(&server, &tenant, 2).await);
    let named = live_bot(&server, &tenant, Some(&first)).await;
    let unnamed = live_bot(&server, &tenant, None).await;
    let books = Store::open(&server.database_url).await.unwrap();
    let put = async |bot: &str, status| {
        let id: BotId = bot.parse().unwrap();
        let bot = BotChange { id, account_id: tenant.account, status, trouble: None, state: None };
        books.commit([Change { bot: Some(bot), ..Change::default() }]).await.unwrap();
    };
    put(&named, BotStatus::Running).await;
    let path = format!("/v1/exchanges/{first}");
    let answer = server.ask(&tenant, Method::DELETE, &path, None).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (409, &json!("exchange_in_use")));
    assert!(answer.body["error"]["message"].as_str().unwrap().contains(&named), "{answer:?}");
    put(&unnamed, BotStatus::Stopping).await;
    assert_eq!(delete(&server, &tenant, &second).await, 409, "a bot that names none may use it");
    put(&unnamed, BotStatus::Stopped).await;
    assert_eq!(delete(&server, &tenant, &second).await, 204);
    put(&named, BotStatus::Error).await;
    assert_eq!(delete(&server, &tenant, &first).await, 204);
    books.close().await;
    stop((venue, server)).await;
}

#[actix_web::test]
async fn a_connection_that_alone_reaches_an_open_trade_stays() {
    let live = Live::start().await;
    let path = live.holding_bot().await;
    let held = stopped_holding(&live, &path).await;
    let connections = live.server.get(&live.owner, "/v1/exchanges").await;
    let connection = format!("/v1/exchanges/{}", ids(&connections)[0]);
    let answer = live.ask(Method::DELETE, &connection, None).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (409, &json!("exchange_in_use")),
        "{answer:?}"
    );
    let message = answer.body["error"]["message"].as_str().unwrap();
    for told in [held["id"].as_str().unwrap(), "positions `close`", "?force=true"] {
        assert!(message.contains(told), "{message}");
    }
    let close = format!("/v1/trades/{}/close", held["open_trade"]["id"].as_str().unwrap());
    assert_eq!(live.server.post(&live.owner, &close, "").await.status, 200);
    live.until(&path, |bot| bot["status"] == "stopped").await;
    assert_eq!(live.ask(Method::DELETE, &connection, None).await.status, 204);
    live.end().await;
}

#[actix_web::test]
async fn a_trade_whose_connection_is_gone_goes_on_over_another_of_the_same_account() {
    let live = Live::start().await;
    let path = live.holding_bot().await;
    let held = stopped_holding(&live, &path).await;
    let close = format!("/v1/trades/{}/close", held["open_trade"]["id"].as_str().unwrap());
    for turn in [format!("{path}/start"), close] {
        forget(&live).await;
        let refused = live.server.post(&live.owner, &turn, "").await;
        assert_eq!(refused.refused(), ["exchange_id"]);
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("store a key of that account"));
        let body = body(&Credential { key: "key".to_owned(), secret: "secret".to_owned() });
        assert_eq!(live.server.post(&live.owner, "/v1/exchanges", &body).await.status, 201);
        assert_eq!(live.server.post(&live.owner, &turn, "").await.status, 200);
        if turn.ends_with("start") {
            assert_eq!(live.protected(&path).await["open_trade"]["id"], held["open_trade"]["id"]);
            stopped_holding(&live, &path).await;
        }
    }
    let closed = live.until(&path, |bot| bot["status"] == "stopped").await;
    assert_eq!((&closed["open_trade"], &closed["stats"]["trades"]), (&Value::Null, &json!(1)));
    let (open, coins) = live.stands().await;
    assert!(open == 0 && coins < rust_decimal::Decimal::new(1, 5), "{open} {coins}");
    live.end().await;
}

#[actix_web::test]
async fn a_bot_names_only_connections_of_its_account() {
    let (venue, server) = start().await;
    let (tenant, stranger) = (server.tenant(&[]).await, server.tenant(&[]).await);
    let (own, foreign) = (store(&server, &tenant, 1).await, store(&server, &stranger, 4).await);
    let bot = live_bot(&server, &tenant, Some(&own)).await;
    let path = format!("/v1/bots/{bot}");
    for named in [foreign, model::ExchangeId::new().to_string()] {
        let patch = json!({"exchange_id": named});
        let told =
            format!("{named} is no connection to binance of this account: GET /v1/exchanges lists them");
        for dry_run in [true, false] {
            let mut body: Value = serde_json::from_str(SEED).unwrap();
            (body["dry_run"], body["exchange_id"]) = (json!(dry_run), json!(named));
            for (method, path, body) in [
                (Method::POST, "/v1/bots", &body),
                (Method::POST, "/v1/bots/preview", &body),
                (Method::PUT, path.as_str(), &body),
                (Method::PATCH, path.as_str(), &patch),
            ] {
                let answer = server.ask(&tenant, method, path, Some(&body.to_string())).await;
                assert_eq!(answer.refused(), ["exchange_id"]);
                assert_eq!(answer.body["error"]["details"][0]["message"], told, "{path}");
            }
        }
    }
    let bots = server.get(&tenant, "/v1/bots").await;
    assert_eq!((ids(&bots), &bots.body["data"][0]["exchange_id"]), (vec![bot.as_str()], &json!(own)));

    assert_eq!(delete(&server, &tenant, &own).await, 204);
    let renamed = server.ask(&tenant, Method::PATCH, &path, Some(r#"{"name":"other"}"#)).await;
    assert_eq!((renamed.status, &renamed.body["exchange_id"]), (200, &json!(own)), "{renamed:?}");
    stop((venue, server)).await;
}

/// Stops a bot, which keeps what it holds.
async fn stopped_holding(live: &Live, path: &str) -> Value {
    live.turn(path, "stop", r#"{"positions":"hold"}"#).await;
    let held = live.until(path, |bot| bot["status"] == "stopped").await;
    assert_eq!(held["open_trade"]["status"], "open");
    held
}

/// Erases every connection, as whoever lost the master key does.
async fn forget(live: &Live) {
    let books = Store::open(&live.server.database_url).await.unwrap();
    assert_eq!(books.forget_secrets(model::Timestamp::MIN).await.unwrap().exchanges, 1);
    books.close().await;
}
