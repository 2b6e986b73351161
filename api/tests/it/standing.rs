//! What people see of an open trade, of what a bot waits for, and of a server whose venue is silent.

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::live::Live;
use crate::receiver::Receiver;
use crate::server::Server;

const LADDER: &str = r#"{"name":"ladder","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":3,"stop_loss":-10,"take_profit":5,"dry_run":true,"dca":{"price_deviation":2}}"#;

/// A bot that holds its base order; its path.
async fn holding(live: &Live, body: &str) -> String {
    let made = live.server.post(&live.owner, "/v1/bots", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
    live.turn(&path, "start", "").await;
    live.until(&path, |bot| bot["open_trade"].is_object()).await;
    path
}

fn number(value: &Value) -> Decimal {
    value.to_string().parse().unwrap_or_else(|_| panic!("no number: {value}"))
}

#[actix_web::test]
async fn a_filled_safety_order_is_reported_and_shows_in_the_ladder() {
    let live = Live::start().await;
    let (named, all) = (Receiver::start(), Receiver::start());
    for (url, events) in [(&named.url, json!(["trade.updated"])), (&all.url, Value::Null)] {
        let mut body = json!({"url": url});
        if !events.is_null() {
            body["events"] = events;
        }
        assert_eq!(live.server.post(&live.owner, "/v1/webhooks", &body.to_string()).await.status, 201);
    }
    for is_paper in [true, false] {
        let body = LADDER.replace("true", &is_paper.to_string());
        let bot = holding(&live, &body).await;
        let before = live.server.get(&live.owner, &bot).await.body;
        let trade = &before["open_trade"];
        let states = |trade: &Value| {
            let steps = trade["ladder"].as_array().unwrap().iter();
            steps.map(|step| step["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(states(trade), ["filled", "waiting", "waiting"], "{trade}");
        assert_eq!((&trade["entries"], &trade["max_entries"]), (&json!(1), &json!(3)));
        assert_eq!(trade["next_entry_price"], trade["ladder"][1]["price"]);
        assert_eq!(trade["ladder"][0]["price"], trade["orders"][0]["fills"][0]["price"], "{trade}");
        let (last, next) = (number(&trade["last_price"]), number(&trade["next_entry_price"]));
        let distance = number(&trade["ladder"][1]["distance_pct"]);
        let expected = ((next - last) / last * Decimal::ONE_HUNDRED).round_dp(4).normalize();
        assert_eq!(distance.normalize(), expected, "{trade}");
        assert!(number(&trade["take_profit_distance_pct"]) > Decimal::from(4), "{trade}");
        assert!(number(&trade["stop_distance_pct"]) < Decimal::from(-9), "{trade}");
        let waits: Vec<_> =
            before["waiting_for"].as_array().unwrap().iter().map(|wait| &wait["kind"]).collect();
        assert_eq!(waits, ["take_profit", "safety_order", "stop_loss"], "{before}");

        live.move_to(&before, 97).await;
        let after = live.until(&bot, |bot| bot["open_trade"]["entries"] == 2).await;
        let trade = &after["open_trade"];
        assert_eq!(states(trade), ["filled", "filled", "waiting"], "{trade}");
        let path = format!("/v1/trades/{}", trade["id"].as_str().unwrap());
        let alone = live.server.get(&live.owner, &path).await.body;
        let listed = live.server.get(&live.owner, "/v1/trades?status=open&limit=1").await.body;
        for shown in [&alone, &listed["data"][0]] {
            assert_eq!(shown["next_entry_price"], trade["next_entry_price"]);
            assert_eq!(states(shown), states(trade));
        }

        let told = live.server.get(&live.owner, "/v1/events?event=trade.updated&limit=1").await.body;
        let data = &told["data"][0]["data"];
        assert_eq!(
            (&data["kind"], &data["index"], &data["side"]),
            (&json!("entry"), &json!(1), &json!("buy")),
            "{told}"
        );
        for field in ["entry_price", "stop_price", "take_profit_price"] {
            assert_eq!(data[field], alone[field], "{field} of {told}");
        }
        assert_eq!(
            (&data["bot_id"], &data["trade_id"], &data["pair"]),
            (&alone["bot_id"], &alone["id"], &alone["pair"])
        );
        assert_eq!(data["price"], alone["ladder"][1]["price"]);
        assert_eq!(data["amount"], alone["ladder"][1]["qty"]);

        let added = live.server.post(&live.owner, &format!("{path}/add-funds"), r#"{"amount":100}"#).await;
        assert_eq!(added.status, 200, "{added:?}");
        let told = live.server.get(&live.owner, "/v1/events?event=trade.updated&limit=1").await.body;
        let data = &told["data"][0]["data"];
        assert_eq!((&data["kind"], &data["index"]), (&json!("funds_added"), &json!(1)), "{told}");
        assert_eq!(data["entry_price"], added.body["entry_price"]);
        assert_eq!(added.body["entries"], 2, "what is added by hand is no step of the ladder");
        live.turn(&bot, "stop", r#"{"positions":"hold"}"#).await;
        let stopped = live.until(&bot, |bot| bot["status"] == "stopped").await;
        assert_eq!(stopped["waiting_for"], json!([]));
        assert_eq!(states(&stopped["open_trade"]), ["filled", "filled", "waiting"]);
    }
    let kinds = |heard: Vec<crate::receiver::Received>| {
        heard.iter().map(|received| received.body()["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(named.heard(4).await), ["trade.updated"; 4]);
    let mut others = kinds(all.heard(6).await);
    others.sort();
    assert_eq!(
        others,
        ["bot.started", "bot.started", "bot.stopped", "bot.stopped", "trade.opened", "trade.opened"]
    );
    let shown = live.server.get(&live.owner, "/v1/webhooks?limit=1").await.body;
    assert_eq!(shown["data"][0]["events"].as_array().unwrap().len(), 8, "{shown}");
    live.end().await;
}

#[actix_web::test]
async fn closing_a_trade_says_that_its_bot_buys_again_or_stops_it() {
    let live = Live::start().await;
    for is_paper in [true, false] {
        let bot = holding(&live, &LADDER.replace("true", &is_paper.to_string())).await;
        let trade =
            live.server.get(&live.owner, &bot).await.body["open_trade"]["id"].as_str().unwrap().to_owned();
        let closed = live.server.post(&live.owner, &format!("/v1/trades/{trade}/close"), "").await;
        assert_eq!((closed.status, &closed.body["then"]), (200, &json!("continue")), "{closed:?}");
        assert!(closed.body["message"].as_str().unwrap().contains("buys again"), "{closed:?}");
        let again = live.until(&bot, |bot| bot["open_trade"].is_object()).await;
        assert_eq!(again["status"], "running");

        let trade = again["open_trade"]["id"].as_str().unwrap();
        let refused =
            live.server.post(&live.owner, &format!("/v1/trades/{trade}/close"), r#"{"then":"rest"}"#).await;
        assert_eq!(refused.refused(), ["then"]);
        let closed =
            live.server.post(&live.owner, &format!("/v1/trades/{trade}/close"), r#"{"then":"stop"}"#).await;
        assert_eq!(
            (closed.status, &closed.body["status"], &closed.body["exit_reason"], &closed.body["then"]),
            (200, &json!("closed"), &json!("manual"), &json!("stop")),
            "{closed:?}"
        );
        let stopped = live.until(&bot, |bot| bot["status"] == "stopped").await;
        assert_eq!((&stopped["open_trade"], &stopped["stats"]["trades"]), (&Value::Null, &json!(2)));

        // A stopped bot sells what it kept, and stays what it is: nothing more is reported of it.
        live.turn(&bot, "start", "").await;
        let held = live.until(&bot, |bot| bot["open_trade"].is_object()).await;
        live.turn(&bot, "stop", "").await;
        live.until(&bot, |bot| bot["status"] == "stopped").await;
        let stops = async || {
            let told = live.server.get(&live.owner, "/v1/events?event=bot.stopped&limit=100").await.body;
            told["data"].as_array().unwrap().len()
        };
        let before = stops().await;
        let trade = held["open_trade"]["id"].as_str().unwrap();
        let closed = live
            .server
            .post(&live.owner, &format!("/v1/trades/{trade}/close"), r#"{"then":"continue"}"#)
            .await;
        assert_eq!(
            (closed.status, &closed.body["status"], &closed.body["then"]),
            (200, &json!("closed"), &json!("continue")),
            "{closed:?}"
        );
        live.until(&bot, |bot| bot["status"] == "stopped" && bot["open_trade"].is_null()).await;
        assert_eq!(stops().await, before);
    }
    live.end().await;
}

#[actix_web::test]
async fn a_clone_has_the_definition_of_its_model_but_for_what_its_body_changes() {
    let live = Live::start().await;
    let bot = holding(&live, LADDER).await;
    let model = live.server.get(&live.owner, &bot).await.body;
    let made = live.server.post(&live.owner, &format!("{bot}/clone"), "").await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
    assert_eq!(made.headers["location"].to_str().unwrap(), path);
    assert_ne!(made.body["id"], model["id"]);
    assert_eq!((&made.body["status"], &made.body["open_trade"]), (&json!("stopped"), &Value::Null));
    for field in
        ["name", "exchange", "pair", "strategy", "stake_amount", "max_open_trades", "stop_loss", "dca"]
    {
        assert_eq!(made.body[field], model[field], "{field}");
    }
    let other = live
        .server
        .post(&live.owner, &format!("{bot}/clone"), r#"{"name":"b","dca":{"cooldown_s":9}}"#)
        .await;
    assert_eq!(
        (other.status, &other.body["name"], &other.body["dca"]["cooldown_s"]),
        (201, &json!("b"), &json!(9))
    );
    assert_eq!(other.body["dca"]["price_deviation"], 2);
    let refused =
        live.server.post(&live.owner, &format!("{bot}/clone"), r#"{"colour":1,"stop_loss":3}"#).await;
    assert_eq!(refused.refused(), ["stop_loss", "colour"]);
    let unknown = "/v1/bots/bot_00000000000000000000000000000009/clone";
    assert_eq!(live.ask(Method::POST, unknown, None).await.status, 404);
    let stranger = live.server.tenant(&[]).await;
    assert_eq!(live.server.post(&stranger, &format!("{bot}/clone"), "").await.status, 404);
    let reader = live.server.key(live.owner.account, &["bots:read"]).await;
    let reader = crate::server::Tenant { key: reader, ..live.owner.clone() };
    assert_eq!(live.server.post(&reader, &format!("{bot}/clone"), "").await.status, 403);
    let key = [("idempotency-key", "one")];
    let twice = format!("{bot}/clone");
    let first = live.server.ask_with(&live.owner, Method::POST, &twice, None, &key).await;
    let second = live.server.ask_with(&live.owner, Method::POST, &twice, None, &key).await;
    assert_eq!((first.status, &first.body), (201, &second.body));
    live.end().await;
}

#[actix_web::test]
async fn a_server_whose_venue_is_down_is_degraded_and_its_bots_say_why() {
    let live = Live::start().await;
    let ready = live.server.get(&live.owner, "/readyz").await;
    assert_eq!((ready.status, ready.body), (200, json!({"status": "ready"})));
    let bot = holding(&live, LADDER).await;
    let Live { venue, server, owner, .. } = live;
    venue.stop().await;
    let wait = async |is_wanted: &dyn Fn(&Value) -> bool, path: &str| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let body = server.get(&owner, path).await.body;
            if is_wanted(&body) {
                return body;
            }
            assert!(std::time::Instant::now() < deadline, "{body}");
            actix_web::rt::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let degraded = wait(&|body| body["status"] == "degraded", "/readyz").await;
    assert!(degraded["reasons"][0].as_str().unwrap().starts_with("market data of binance are down since "));
    let shown = wait(&|body| body["waiting_for"][0]["kind"] == "market_data", &bot).await;
    assert_eq!(shown["status"], "running");
    assert!(shown["waiting_for"][0]["message"].as_str().unwrap().contains("down since"), "{shown}");
    server.stop().await;
}

#[actix_web::test]
async fn a_bot_whose_venue_was_never_reached_says_that_it_waits_for_it() {
    let server = Server::start("127.0.0.1:1").await;
    let owner = server.tenant(&[]).await;
    let made = server.post(&owner, "/v1/bots", LADDER).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
    let started = server.post(&owner, &format!("{path}/start"), "").await;
    assert_eq!((started.status, &started.body["status"]), (200, &json!("starting")), "{started:?}");
    assert_eq!(started.body["waiting_for"][0]["kind"], "venue", "{started:?}");
    let degraded = server.get(&owner, "/readyz").await;
    assert_eq!((degraded.status, &degraded.body["status"]), (200, &json!("degraded")));
    assert_eq!(degraded.body["reasons"], json!(["1 bots wait for binance to say what their pairs are like"]));
    server.stop().await;
}

#[actix_web::test]
async fn what_a_trailing_stop_waits_for_follows_the_high_that_it_slept_through() {
    let live = Live::start().await;
    let trailing =
        LADDER.replace(r#""stop_loss":-10,"take_profit":5"#, r#""stop_loss":null,"take_profit":null"#);
    let trailing = trailing.replace(r#""dry_run""#, r#""trailing_stop":3,"dry_run""#);
    let path = holding(&live, &trailing).await;
    let bot = live.server.get(&live.owner, &path).await.body;
    let entered = number(&bot["open_trade"]["entry_price"]);
    // Nothing is at a level on the way up: nobody is woken.
    live.move_to(&bot, 110).await;
    let risen = live
        .until(&path, |bot| number(&bot["open_trade"]["stop_price"]) > entered * Decimal::new(105, 2))
        .await;
    let wait = risen["waiting_for"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&wait["kind"], &wait["price"]),
        (&json!("trailing_stop"), &risen["open_trade"]["stop_price"])
    );
    let listed = live.server.get(&live.owner, "/v1/bots").await.body;
    assert!(listed["data"][0].get("waiting_for").is_none(), "as the list says of itself");
    live.end().await;
}
