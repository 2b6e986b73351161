//! Live bots over HTTP, on a real account at a simulated exchange that a test moves by hand.

use std::time::{Duration, Instant};

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use venue::{Config, Credential, Speed, Venue};

use crate::server::{Answer, Server, Tenant};

/// A bot that buys at once, and sells only where a test moves the price to.
const BODY: &str = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":1,"stop_loss":-10,"take_profit":5,"dry_run":false}"#;

/// A venue, a server on it, and the owner of a key that trades there.
pub(crate) struct Live {
    pub(crate) venue: Venue,
    pub(crate) server: Server,
    pub(crate) owner: Tenant,
    http: reqwest::Client,
}

impl Live {
    pub(crate) async fn start() -> Self {
        Self::start_with(model::Plans::default()).await
    }

    pub(crate) async fn start_with(plans: model::Plans) -> Self {
        let credentials = vec![Credential { key: "key".to_owned(), secret: "secret".to_owned() }];
        // The market stands nearly still.
        let speed = Speed::Times(0.2);
        let balances = vec![("USDT".to_owned(), 10_000.into())];
        let config = Config { credentials, speed, balances, control: true, ..Config::default() };
        let venue = venue::start(config).await.unwrap();
        let access = api::AccessConfig::default();
        let server = Server::start_with(&venue.address().to_string(), plans, access).await;
        let owner = server.tenant(&[]).await;
        let connection =
            json!({"exchange": "binance", "name": "main", "api_key": "key", "api_secret": "secret"});
        let stored = server.post(&owner, "/v1/exchanges", &connection.to_string()).await;
        assert_eq!(stored.status, 201, "{stored:?}");
        Self { venue, server, owner, http: reqwest::Client::new() }
    }

    pub(crate) async fn end(self) {
        self.server.stop().await;
        self.venue.stop().await;
    }

    /// A bot that holds, with its stop resting at the venue; its path.
    pub(crate) async fn holding_bot(&self) -> String {
        let made = self.server.post(&self.owner, "/v1/bots", BODY).await;
        assert_eq!(made.status, 201, "{made:?}");
        let path = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
        self.turn(&path, "start", "").await;
        self.protected(&path).await;
        path
    }

    pub(crate) async fn turn(&self, path: &str, turn: &str, body: &str) -> Value {
        let answer = self.server.post(&self.owner, &format!("{path}/{turn}"), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&str>) -> Answer {
        self.server.ask(&self.owner, method, path, body).await
    }

    /// Waits until a bot is as wanted.
    pub(crate) async fn until(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let bot = self.server.get(&self.owner, path).await.body;
            if is_wanted(&bot) {
                return bot;
            }
            assert!(Instant::now() < deadline, "{bot}");
            actix_web::rt::time::sleep(Duration::from_millis(400)).await;
        }
    }

    /// Waits until a bot holds and its stop rests at the venue.
    pub(crate) async fn protected(&self, path: &str) -> Value {
        let rests = |order: &Value| order["type"] == "stop_loss_limit" && order["status"] == "open";
        let holds = |bot: &Value| {
            bot["open_trade"]["orders"].as_array().is_some_and(|orders| orders.iter().any(rests))
        };
        self.until(path, holds).await
    }

    /// The venue's own books of the account.
    pub(crate) async fn ledger(&self) -> Value {
        let url = format!("http://{}/venue/ledger", self.venue.address());
        let mut books: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        books["accounts"][0].take()
    }

    /// How many orders are open at the venue, and how many coins the account has in all.
    pub(crate) async fn stands(&self) -> (usize, Decimal) {
        let ledger = self.ledger().await;
        let open = ledger["orders"].as_array().unwrap().iter().filter(|order| order["status"] == "NEW");
        let coins = &ledger["balances"]["BTC"];
        let amount = |key: &str| coins[key].as_str().map_or(Decimal::ZERO, |text| text.parse().unwrap());
        (open.count(), amount("free") + amount("locked"))
    }

    /// What so many events of a kind told, and no more of it.
    async fn heard(&self, kind: &str, times: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let events = self.server.get(&self.owner, "/v1/events?limit=100").await.body;
            let of_kind = events["data"].as_array().unwrap().iter().filter(|event| event["event"] == kind);
            let heard: Vec<Value> = of_kind.map(|event| event["data"].clone()).collect();
            assert!(heard.len() <= times && Instant::now() < deadline, "{kind}: {heard:?}");
            if heard.len() == times {
                return heard;
            }
            actix_web::rt::time::sleep(Duration::from_millis(400)).await;
        }
    }

    /// Somebody trades at this much of the entry price.
    pub(crate) async fn move_to(&self, bot: &Value, percent: i64) {
        let entry: Decimal = bot["open_trade"]["entry_price"].to_string().parse().unwrap();
        let price = format!("{:.2}", entry * Decimal::new(percent, 2));
        let body = json!({"symbol": "BTCUSDT", "price": price}).to_string();
        let url = format!("http://{}/venue/price", self.venue.address());
        assert!(self.http.post(url).body(body).send().await.unwrap().status().is_success());
    }
}

#[actix_web::test]
async fn hold_keeps_the_coins_and_start_rests_a_new_stop() {
    let live = Live::start().await;
    let path = live.holding_bot().await;
    let (open, coins) = live.stands().await;
    assert!(open == 1 && coins > Decimal::new(5, 4), "{open} {coins}");
    live.turn(&path, "stop", r#"{"positions":"hold"}"#).await;
    let held = live.until(&path, |bot| bot["status"] == "stopped").await;
    assert_eq!(live.stands().await, (0, coins), "the stop is taken back, the coins stay");
    assert_eq!(held["open_trade"]["status"], "open");

    live.turn(&path, "start", "").await;
    let again = live.protected(&path).await;
    assert_eq!(again["open_trade"]["id"], held["open_trade"]["id"], "it takes the trade up again");
    assert_eq!(live.stands().await, (1, coins));
    let orders = again["open_trade"]["orders"].as_array().unwrap();
    let told = orders.iter().map(|order| json!([order["side"], order["status"]]));
    assert_eq!(told.collect::<Value>(), json!([["buy", "filled"], ["sell", "canceled"], ["sell", "open"]]));
    let receipt = &orders[0]["receipt"];
    for moment in ["ticked_at", "decided_at", "journaled_at", "sent_at", "acknowledged_at", "filled_at"] {
        assert!(receipt[moment].is_string(), "{moment} of {receipt}");
    }
    live.end().await;
}

#[actix_web::test]
async fn close_sells_and_drain_ends_with_the_trade() {
    let live = Live::start().await;
    let path = live.holding_bot().await;
    live.turn(&path, "stop", r#"{"positions":"close"}"#).await;
    let closed = live.until(&path, |bot| bot["status"] == "stopped").await;
    assert_eq!((&closed["open_trade"], &closed["stats"]["trades"]), (&Value::Null, &json!(1)));
    let (open, coins) = live.stands().await;
    assert!(open == 0 && coins < Decimal::new(1, 5), "{open} {coins}");

    live.turn(&path, "start", "").await;
    let bot = live.protected(&path).await;
    let draining = live.turn(&path, "stop", r#"{"positions":"drain"}"#).await;
    assert_eq!((&draining["status"], live.stands().await.0), (&json!("stopping"), 1), "it goes on guarded");
    live.move_to(&bot, 106).await;
    let drained = live.until(&path, |bot| bot["status"] == "stopped").await;
    assert_eq!((&drained["open_trade"], &drained["stats"]["trades"]), (&Value::Null, &json!(2)));
    let trades = live.server.get(&live.owner, &format!("{path}/trades")).await.body;
    let reasons: Vec<_> =
        trades["data"].as_array().unwrap().iter().map(|trade| &trade["exit_reason"]).collect();
    assert_eq!(reasons, ["take_profit", "manual"]);
    assert_eq!(live.stands().await.0, 0);
    live.end().await;
}

#[actix_web::test]
async fn what_holds_coins_neither_turns_to_paper_nor_goes_without_force() {
    let live = Live::start().await;
    let path = live.holding_bot().await;
    let (patch, forced) = (r#"{"dry_run":true}"#, format!("{path}?force=true"));
    let refused = |answer: Answer| (answer.status, answer.body["error"]["code"].as_str().unwrap().to_owned());
    let running = (409, "bot_running".to_owned());
    assert_eq!(refused(live.ask(Method::PATCH, &path, Some(patch)).await), running);
    // Where its coins are is where it trades.
    let elsewhere = r#"{"exchange_id":"exc_00000000000000000000000000000001"}"#;
    assert_eq!(refused(live.ask(Method::PATCH, &path, Some(elsewhere)).await), running);
    assert_eq!(refused(live.ask(Method::DELETE, &path, None).await), running);
    live.turn(&path, "stop", "").await;
    live.until(&path, |bot| bot["status"] == "stopped").await;
    let held = (409, "trade_open".to_owned());
    assert_eq!(refused(live.ask(Method::PATCH, &path, Some(patch)).await), held);
    assert_eq!(refused(live.ask(Method::DELETE, &path, None).await), held);

    live.turn(&path, "start", "").await;
    live.protected(&path).await;
    let (open, coins) = live.stands().await;
    assert_eq!((open, live.ask(Method::DELETE, &forced, None).await.status), (1, 204));
    assert_eq!(live.stands().await, (0, coins), "its stop is taken back before it goes, the coins stay");
    assert_eq!(live.ask(Method::GET, &path, None).await.status, 404);
    let trades = live.server.get(&live.owner, "/v1/trades").await.body;
    assert_eq!(trades["data"][0]["orders"][1]["status"], "canceled");
    live.end().await;
}

#[actix_web::test]
async fn once_it_is_flat_a_bot_may_turn_to_paper_and_back() {
    let live = Live::start().await;
    let path = live.holding_bot().await;
    live.turn(&path, "stop", r#"{"positions":"close"}"#).await;
    live.until(&path, |bot| bot["status"] == "stopped").await;
    let fills = live.ledger().await["fills"].as_array().unwrap().len();
    let patched = live.ask(Method::PATCH, &path, Some(r#"{"dry_run":true}"#)).await;
    assert_eq!((patched.status, &patched.body["dry_run"]), (200, &json!(true)), "{patched:?}");
    live.turn(&path, "start", "").await;
    live.until(&path, |bot| bot["open_trade"]["dry_run"] == true).await;
    assert_eq!(live.ledger().await["fills"].as_array().unwrap().len(), fills, "paper buys nothing");
    // Paper that holds does not become live either.
    live.turn(&path, "stop", "").await;
    let back = live.ask(Method::PATCH, &path, Some(r#"{"dry_run":false}"#)).await;
    assert_eq!((back.status, &back.body["error"]["code"]), (409, &json!("trade_open")));
    live.end().await;
}

#[actix_web::test]
async fn a_trade_too_small_to_be_sold_at_its_stop_is_warned_of_told_of_and_left_as_dust() {
    let live = Live::start().await;
    let body =
        |stake: &str| BODY.replace(r#"amount":50"#, &format!(r#"amount":{stake}"#)).replace("-10", "-20");
    let unsellable = live.server.post(&live.owner, "/v1/bots", &body("5.2")).await;
    assert_eq!(
        unsellable.refused(),
        ["stake_amount"],
        "what its fee leaves of it is below the venue's minimum"
    );
    let paper = body("5.2").replace(r#""dry_run":false"#, r#""dry_run":true"#);
    let paper = live.server.post(&live.owner, "/v1/bots", &paper).await;
    assert_eq!((paper.status, &paper.body["warnings"][0]["param"]), (201, &json!("stop_loss")), "{paper:?}");
    let small = live.server.post(&live.owner, "/v1/bots", &body("6.5")).await;
    assert_eq!((small.status, &small.body["warnings"][0]["param"]), (201, &json!("stop_loss")), "{small:?}");

    let path = format!("/v1/bots/{}", small.body["id"].as_str().unwrap());
    live.turn(&path, "start", "").await;
    let bot = live.until(&path, |bot| bot["open_trade"]["status"] == "open").await;
    live.move_to(&bot, 75).await;
    live.heard("trade.stoploss", 1).await;
    let told = live.heard("bot.error", 2).await;
    assert!(told.iter().all(|data| data["code"] == "below_minimum"), "that no stop rests, and now: {told:?}");
    let closed = live.heard("trade.closed", 1).await.remove(0);
    assert_eq!(
        (&closed["trade_id"], &closed["exit_reason"]),
        (&bot["open_trade"]["id"], &json!("stop_loss"))
    );
    assert_eq!(
        (&closed["exit_price"], &closed["profit_pct"]),
        (&Value::Null, &json!(0)),
        "the dust keeps its cost"
    );
    live.end().await;
}
