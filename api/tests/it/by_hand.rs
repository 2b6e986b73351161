//! What the owner of a live bot's account does by hand at the venue, where the bot cannot see it coming.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;
use serde_json::{Value, json};
use venue::{Config, Credential, Faults, Speed, Venue};

use crate::server::{Server, Tenant};

const KEY: &str = "public-key-by-hand";

/// A live bot that holds its base order and rests its stop, on a venue whose market moves when it is told to.
struct World {
    venue: Venue,
    server: Server,
    tenant: Tenant,
}

impl World {
    async fn start(stop_on_venue: bool) -> Self {
        Self::start_with(Faults::default(), stop_on_venue).await
    }

    async fn start_with(faults: Faults, stop_on_venue: bool) -> Self {
        let credentials = vec![Credential { key: KEY.to_owned(), secret: "hidden".to_owned() }];
        let speed = Speed::Times(0.000_001);
        let config = Config { credentials, control: true, speed, faults, ..Config::default() };
        let venue = venue::start(config).await.unwrap();
        let server = Server::start(&venue.address().to_string()).await;
        let tenant = server.tenant(&[]).await;
        let stored = json!({"exchange": "binance", "api_key": KEY, "api_secret": "hidden"});
        assert_eq!(server.post(&tenant, "/v1/exchanges", &stored.to_string()).await.status, 201);
        let body = json!({"name": "by hand", "exchange": "binance", "pair": "BTC/USDT", "strategy": "dca",
            "stake_amount": 600, "max_open_trades": 1, "stop_loss": -10, "take_profit": 50,
            "stop_on_venue": stop_on_venue, "dry_run": false});
        let made = server.post(&tenant, "/v1/bots", &body.to_string()).await;
        let bot = made.body["id"].as_str().unwrap();
        let started = server.post(&tenant, &format!("/v1/bots/{bot}/start"), "").await;
        assert_eq!((started.status, &started.body["status"]), (200, &json!("running")));
        let world = Self { venue, server, tenant };
        world
            .until("it holds", async |world| {
                world.control("price", json!({"symbol": "BTCUSDT", "price": "60000"})).await;
                world.trade().await["status"] == "open" && world.resting().await.is_some() == stop_on_venue
            })
            .await;
        world
    }

    async fn control(&self, what: &str, body: Value) -> Value {
        let url = format!("http://{}/venue/{what}", self.venue.address());
        let answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{what}: {answer:?}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// What rests at the venue, by its client id.
    async fn resting(&self) -> Option<String> {
        let url = format!("http://{}/venue/ledger", self.venue.address());
        let ledger: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let orders = ledger["accounts"][0]["orders"].as_array().unwrap();
        let open = orders.iter().find(|order| order["status"] == "NEW" && order["side"] == "SELL")?;
        Some(open["clientOrderId"].as_str().unwrap().to_owned())
    }

    /// Waits, no longer than the ten seconds in which an owner must be told.
    async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so(self).await {
            assert!(Instant::now() < deadline, "in ten seconds: {what}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the owner was told of this.
    async fn is_told(&self, code: &str) -> bool {
        let events = self.server.get(&self.tenant, "/v1/events?limit=100").await;
        events.body["data"].as_array().unwrap().iter().any(|event| event["data"]["code"] == code)
    }

    async fn trade(&self) -> Value {
        let trades = self.server.get(&self.tenant, "/v1/trades?limit=1").await;
        trades.body["data"][0].clone()
    }

    async fn stop(self) {
        self.server.stop().await;
        self.venue.stop().await;
    }
}

#[actix_web::test]
async fn a_stop_that_is_cancelled_by_hand_is_told_of_and_placed_again() {
    let world = World::start(true).await;
    let first = world.resting().await.unwrap();
    world.control("cancel", json!({"key": KEY, "symbol": "BTCUSDT", "clientOrderId": first})).await;
    world
        .until("another stop rests", async |world| world.resting().await.is_some_and(|id| id != first))
        .await;
    world.until("it is told", async |world| world.is_told("stop_canceled").await).await;
    assert_eq!(world.trade().await["status"], "open");
    world.stop().await;
}

#[actix_web::test]
async fn coins_that_are_sold_by_hand_are_told_of_and_no_others_are_sold_for_them() {
    let world = World::start(false).await;
    // The account began with a coin of its owner's, which the bot did not buy; now half of the bot's is gone too.
    world.control("balance", json!({"key": KEY, "asset": "BTC", "delta": "-1.005"})).await;
    world.until("it is told", async |world| world.is_told("coins_missing").await).await;
    let trade = world.trade().await;
    let profit = |trade: &Value| trade["profit"].as_f64().unwrap();
    assert_eq!(trade["amount"], json!(0.00499), "what is gone is not its own any more: {trade}");
    assert!((-2.0..0.0).contains(&profit(&trade)), "nor does it lose what that cost: {trade}");
    world.control("price", json!({"symbol": "BTCUSDT", "price": "53000"})).await;
    world.until("the trade is closed", async |world| world.trade().await["status"] == "closed").await;
    let trade = world.trade().await;
    let sold =
        trade["orders"].as_array().unwrap().iter().find(|order| order["side"] == "sell").unwrap().clone();
    assert_eq!((&sold["qty"], &sold["status"]), (&json!(0.00499), &json!("filled")), "{trade}");
    // 0.00499 from 60,000 to 53,000, and the fees of both ways.
    assert!((-37.0..-34.0).contains(&profit(&trade)), "{trade}");
    world.stop().await;
}

#[actix_web::test]
async fn coins_that_a_stop_has_sold_unheard_are_not_missing() {
    // Neither the stream nor a question tells of the stop before four seconds have gone; the balance does at once.
    let faults = Faults { drop_report_rate: 1.0, hide: Duration::from_secs(4), ..Faults::default() };
    let world = World::start_with(faults, true).await;
    // What was there before is taken away, so that what is sold is short.
    world.control("balance", json!({"key": KEY, "asset": "BTC", "delta": "-1"})).await;
    world.control("price", json!({"symbol": "BTCUSDT", "price": "53900"})).await;
    world.until("the trade is closed", async |world| world.trade().await["status"] == "closed").await;
    let trade = world.trade().await;
    assert_eq!(trade["exit_reason"], "stop_loss", "{trade}");
    assert!(!world.is_told("coins_missing").await);
    world.stop().await;
}

#[actix_web::test]
async fn the_price_that_reaches_the_stop_sells_all_and_the_books_are_the_venues() {
    let world = World::start(true).await;
    world.control("price", json!({"symbol": "BTCUSDT", "price": "53000"})).await;
    world.until("the trade is closed", async |world| world.trade().await["status"] == "closed").await;
    let trade = world.trade().await;
    assert_eq!(trade["exit_reason"], "stop_loss", "{trade}");
    let url = format!("http://{}/venue/ledger", world.venue.address());
    let ledger: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let theirs: Vec<&Value> =
        ledger["accounts"][0]["fills"].as_array().unwrap().iter().map(|fill| &fill["id"]).collect();
    let orders = trade["orders"].as_array().unwrap();
    let fills = orders.iter().flat_map(|order| order["fills"].as_array().unwrap());
    let mut ours: Vec<&Value> = fills.map(|fill| &fill["venue_trade_id"]).collect();
    ours.sort_by_key(|id| id.as_i64());
    assert_eq!(ours[..2], theirs[..2], "the first two are the entry and the exit");
    world.stop().await;
}

impl World {
    /// A bot on paper that holds its base order, bought at this price; its path.
    async fn paper(&self, price: &str) -> String {
        let body = json!({"name": "paper", "exchange": "binance", "pair": "BTC/USDT", "strategy": "dca",
            "stake_amount": 600, "max_open_trades": 1, "stop_loss": -50, "take_profit": 50, "dry_run": true});
        let made = self.server.post(&self.tenant, "/v1/bots", &body.to_string()).await;
        let path = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
        self.hold(&path, price).await;
        path
    }

    /// Starts a bot, which buys at this price.
    async fn hold(&self, path: &str, price: &str) {
        assert_eq!(self.server.post(&self.tenant, &format!("{path}/start"), "").await.status, 200);
        self.until("it holds", async |world| {
            world.control("price", json!({"symbol": "BTCUSDT", "price": price})).await;
            world.bot(path).await["open_trade"].is_object()
        })
        .await;
    }

    async fn bot(&self, path: &str) -> Value {
        self.server.get(&self.tenant, path).await.body
    }

    /// What was reported of a bot, the newest first.
    async fn events(&self, path: &str) -> Vec<Value> {
        let id = path.rsplit('/').next().unwrap();
        let events = self.server.get(&self.tenant, "/v1/events?limit=100").await;
        let events = events.body["data"].as_array().unwrap().iter();
        events.filter(|event| event["data"]["bot_id"] == id).cloned().collect()
    }
}

#[actix_web::test]
async fn a_paper_bot_that_is_told_to_close_sells_at_once_at_the_last_price() {
    let world = World::start(false).await;
    let path = world.paper("60000").await;
    // No trade of the pair follows.
    let stopped = world.server.post(&world.tenant, &format!("{path}/stop"), r#"{"positions":"close"}"#).await;
    assert_eq!((stopped.status, &stopped.body["status"]), (200, &json!("stopped")), "{stopped:?}");
    let id = path.rsplit('/').next().unwrap();
    let trades = world.server.get(&world.tenant, &format!("/v1/trades?bot_id={id}")).await;
    let trade = &trades.body["data"][0];
    assert_eq!((&trade["exit_price"], &trade["exit_reason"]), (&json!(60000), &json!("manual")), "{trade}");
    let events = world.events(&path).await;
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["bot.stopped", "trade.closed", "trade.opened", "bot.started"]);
    for event in &events {
        let message = event["data"]["message"].as_str().unwrap_or_default();
        assert!(message.len() > 8, "in words: {event}");
    }
    let closed = events[1]["data"]["message"].as_str().unwrap();
    assert!(closed.starts_with("Sold 0.01 BTC at 60000 USDT by hand: a loss of 1.2 USDT"), "{closed}");
    world.stop().await;
}

#[actix_web::test]
async fn a_stopped_bot_whose_trade_is_closed_does_not_stop_again() {
    let world = World::start(false).await;
    let path = world.paper("60000").await;
    assert_eq!(world.server.post(&world.tenant, &format!("{path}/stop"), "").await.status, 200);
    let trade = world.bot(&path).await["open_trade"]["id"].as_str().unwrap().to_owned();
    let closed = world.server.post(&world.tenant, &format!("/v1/trades/{trade}/close"), "").await;
    assert_eq!((closed.status, &closed.body["status"]), (200, &json!("closed")), "{closed:?}");
    world.until("it is stopped", async |world| world.bot(&path).await["status"] == "stopped").await;
    let events = world.events(&path).await;
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["trade.closed", "bot.stopped", "trade.opened", "bot.started"]);
    // Started again, its end is news.
    world.hold(&path, "60000").await;
    assert_eq!(world.server.post(&world.tenant, &format!("{path}/stop"), "").await.status, 200);
    assert_eq!(world.events(&path).await[0]["event"], "bot.stopped");
    world.stop().await;
}

#[actix_web::test]
async fn a_portfolio_counts_with_the_price_and_the_capital_that_the_bot_shows() {
    let world = World::start(false).await;
    let path = world.paper("60000").await;
    let portfolio = async || world.server.get(&world.tenant, "/v1/portfolio").await.body;
    // What the venue told of all pairs is kept for a few seconds from here on.
    portfolio().await;
    world.control("price", json!({"symbol": "BTCUSDT", "price": "61000"})).await;
    let shows = async |world: &World| world.bot(&path).await["open_trade"]["last_price"] == 61000;
    world.until("the bot shows it", shows).await;
    let currency = |portfolio: &Value| portfolio["dry_run"]["currencies"][0].clone();
    assert_eq!(currency(&portfolio().await)["exposure"].as_f64(), Some(610.0), "0.01 at 61,000");
    let before = world.bot(&path).await["stats"]["capital"].clone();
    let patched =
        world.server.ask(&world.tenant, reqwest::Method::PATCH, &path, Some(r#"{"name":"other"}"#)).await;
    assert_eq!((patched.status, &patched.body["stats"]["capital"]), (200, &before), "{patched:?}");
    let trade = world.bot(&path).await["open_trade"]["id"].as_str().unwrap().to_owned();
    let added = format!("/v1/trades/{trade}/add-funds");
    assert_eq!(world.server.post(&world.tenant, &added, r#"{"amount":1000}"#).await.status, 200);
    let capital = world.bot(&path).await["stats"]["capital"].clone();
    assert_ne!(capital, before);
    assert_eq!(currency(&portfolio().await)["capital"].as_f64(), capital.as_f64());
    world.stop().await;
}
