//! Fees in a third coin, on the built binary: what a trade made is what the exchange's own ledger comes to.

use std::time::{Duration, Instant};

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::process::{Process, botprimex};
use super::serve::{User, user};

const BODY: &str = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":900,
    "max_open_trades":1,"stop_loss":-20,"take_profit":5,"stop_on_venue":false,"dry_run":false,
    "dca":{"cooldown_s":1000000}}"#;

struct World {
    venue: Process,
    user: User,
    database_url: String,
    _folder: tempfile::TempDir,
}

impl World {
    /// An exchange whose market moves by hand only, and where fees are taken in BNB.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
        let venue = ["venue", "--listen", "127.0.0.1:0", "--random-walk", "--speed", "0.000001", "--control"];
        let pairs = ["--pairs", "BTC/USDT", "--pairs", "BNB/USDT", "--fee-coin", "BNB", "--fee", "0.075"];
        let funds = ["--balance", "USDT=10000", "--balance", "BNB=3", "--partial-fills", "4"];
        let credential = ["--credential", "the-key:the-secret"];
        let venue = Process::start(botprimex(&[&venue[..], &pairs, &funds, &credential].concat()));
        let user = user(&database_url);
        Self { venue, user, database_url, _folder: folder }
    }

    fn serve(&self) -> Process {
        let venue = &self.venue.url;
        let mut serve =
            botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", &self.database_url]);
        serve.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", venue);
        serve.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", venue.replace("http", "ws"));
        let ws_api = format!("{}/ws-api/v3", venue.replace("http", "ws"));
        serve.env("BOTPRIMEX_VENUES__BINANCE__WS_API_URL", ws_api);
        Process::start(serve)
    }

    async fn price(&self, symbol: &str, price: &str) {
        let body = json!({"symbol": symbol, "price": price}).to_string();
        let url = format!("{}/venue/price", self.venue.url);
        assert!(reqwest::Client::new().post(url).body(body).send().await.unwrap().status().is_success());
    }

    /// The newest trade once it is as wanted; meanwhile somebody trades at these prices.
    async fn until(
        &self,
        server: &Process,
        prices: &[(&str, &str)],
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            for (symbol, price) in prices {
                self.price(symbol, price).await;
            }
            let (_, page) = self.user.ask(server, Method::GET, "/v1/trades?limit=1", None).await;
            let trade = page["data"].get(0).cloned().unwrap_or_default();
            if is_wanted(&trade) {
                return trade;
            }
            assert!(Instant::now() < deadline, "{trade}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What the exchange says that was executed: side, worth and fee.
    async fn executed(&self) -> Vec<(String, Decimal, Decimal)> {
        let url = format!("{}/venue/ledger", self.venue.url);
        let books: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let decimal = |value: &Value| value.as_str().unwrap().parse::<Decimal>().unwrap();
        let fills = books["accounts"][0]["fills"].as_array().unwrap();
        let executed = |fill: &Value| {
            assert_eq!(fill["commissionAsset"], "BNB", "{fill}");
            let side = if fill["isBuyer"] == json!(true) { "buy" } else { "sell" };
            (side.to_owned(), decimal(&fill["price"]) * decimal(&fill["qty"]), decimal(&fill["commission"]))
        };
        fills.iter().map(executed).collect()
    }
}

#[tokio::test]
async fn a_trade_whose_fees_were_taken_in_a_third_coin_made_what_the_exchange_says_to_the_last_digit() {
    let world = World::start();
    let server = world.serve();
    let key = r#"{"exchange":"binance","api_key":"the-key","api_secret":"the-secret"}"#;
    assert_eq!(world.user.ask(&server, Method::POST, "/v1/exchanges", Some(key)).await.0, 201);
    world.price("BNBUSDT", "612.34").await;
    let (_, bot) = world.user.ask(&server, Method::POST, "/v1/bots", Some(BODY)).await;
    let start = format!("/v1/bots/{}/start", bot["id"].as_str().unwrap());
    assert_eq!(world.user.ask(&server, Method::POST, &start, None).await.0, 200);
    let prices = [("BNBUSDT", "612.34"), ("BTCUSDT", "60000")];
    let bought = world.until(&server, &prices, |trade| trade["orders"][0]["status"] == "filled").await;
    let paid = |trade: &Value, order: usize| -> Vec<Value> {
        trade["orders"][order]["fills"].as_array().unwrap().iter().map(|f| f["fee_price"].clone()).collect()
    };
    assert!(paid(&bought, 0).iter().all(|price| *price == json!(612.34)), "{bought}");

    // Valued once: neither the price of later nor being told again after a crash moves it.
    server.kill();
    let server = world.serve();
    let prices = [("BNBUSDT", "587.65"), ("BTCUSDT", "60100")];
    world.until(&server, &prices, |trade| trade["profit"].is_number()).await;
    let closed = world.until(&server, &[("BTCUSDT", "64000")], |trade| trade["status"] == "closed").await;
    assert_eq!(paid(&closed, 0), paid(&bought, 0));
    assert!(paid(&closed, 1).iter().all(|price| *price == json!(587.65)), "{closed}");

    let (mut profit, mut fees) = (Decimal::ZERO, Decimal::ZERO);
    let executed = world.executed().await;
    for (side, worth, fee) in &executed {
        let (sign, bnb) = match side.as_str() {
            "buy" => (-Decimal::ONE, Decimal::new(61_234, 2)),
            _ => (Decimal::ONE, Decimal::new(58_765, 2)),
        };
        profit += sign * worth - fee * bnb;
        fees += fee * bnb;
    }
    println!("{} executions: {executed:?}; by hand {profit}, fees {fees}", executed.len());
    assert_eq!(closed["profit"].to_string().parse::<Decimal>().unwrap(), profit, "{closed}");
    assert_eq!(closed["fees"].to_string().parse::<Decimal>().unwrap(), fees, "{closed}");
    assert_eq!((&closed["profit_usd"], &closed["unvalued_fees"]), (&closed["profit"], &json!(0)));
    assert!(server.stop());
}
