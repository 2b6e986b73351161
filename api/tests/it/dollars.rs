//! What trades for a coin that is no dollar are worth in dollars: by the venue's price of their close, for good.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use venue::{Config, MarketSource, Speed, Steps, Venue};

use crate::server::{Server, Tenant};

/// A bot on paper that trades ETH for BTC.
const BODY: &str = r#"{"name":"ether","exchange":"binance","pair":"ETH/BTC","strategy":"dca","stake_amount":0.01,
    "max_open_trades":1,"stop_loss":-10,"take_profit":50,"dry_run":true,"dca":{"cooldown_s":1000000}}"#;

struct World {
    venue: Venue,
    server: Server,
    tenant: Tenant,
}

impl World {
    /// A venue of these pairs whose market moves by hand only.
    async fn start(pairs: &[&str]) -> Self {
        let pairs = pairs.iter().map(|pair| pair.parse().unwrap()).collect();
        let steps = Steps {
            tick_size: "0.00001".parse().unwrap(),
            min_notional: "0.0001".parse().unwrap(),
            ..Steps::default()
        };
        let config = Config {
            market: MarketSource::RandomWalk { pairs },
            speed: Speed::Times(0.000_001),
            control: true,
            steps,
            ..Config::default()
        };
        let venue = venue::start(config).await.unwrap();
        let server = Server::start(&venue.address().to_string()).await;
        let tenant = server.tenant(&[]).await;
        Self { venue, server, tenant }
    }

    async fn price(&self, symbol: &str, price: &str) {
        let url = format!("http://{}/venue/price", self.venue.address());
        let body = json!({"symbol": symbol, "price": price}).to_string();
        let answer = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    async fn get(&self, path: &str) -> Value {
        self.server.get(&self.tenant, path).await.body
    }

    /// The newest trade once it is as wanted; meanwhile somebody trades at these prices.
    async fn until(&self, trades: &[(&str, &str)], is_wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            for (symbol, price) in trades {
                self.price(symbol, price).await;
            }
            let page = self.get("/v1/trades?limit=1").await;
            let trade = page["data"].get(0).cloned().unwrap_or_default();
            if is_wanted(&trade) {
                return trade;
            }
            assert!(Instant::now() < deadline, "{trade}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn begin(&self) {
        let made = self.server.post(&self.tenant, "/v1/bots", BODY).await;
        assert_eq!(made.status, 201, "{made:?}");
        let bot = made.body["id"].as_str().unwrap();
        let started = self.server.post(&self.tenant, &format!("/v1/bots/{bot}/start"), "").await;
        assert_eq!(started.status, 200, "{started:?}");
    }

    async fn end(self) {
        self.server.stop().await;
        self.venue.stop().await;
    }
}

fn decimal(value: &Value) -> Decimal {
    value.to_string().parse().unwrap_or_else(|_| panic!("{value}"))
}

#[actix_web::test]
async fn a_trade_keeps_the_rate_of_its_close_whatever_the_price_does_later() {
    let world = World::start(&["ETH/BTC", "BTC/USDT"]).await;
    world.begin().await;
    // 0.01 at 0.05 is 0.2 ETH, for a fee of 0.1 %.
    let open = world
        .until(&[("ETHBTC", "0.05"), ("BTCUSDT", "60000.5")], |trade| {
            trade["status"] == "open" && trade["usd_rate"] == json!(60_000.5)
        })
        .await;
    assert_eq!(decimal(&open["profit_usd"]), decimal(&open["profit"]) * Decimal::new(600_005, 1), "{open}");
    world.until(&[("BTCUSDT", "61234.56789")], |trade| trade["usd_rate"] == json!(61_234.567_89)).await;
    let closed = world.until(&[("ETHBTC", "0.08")], |trade| trade["status"] == "closed").await;
    // 0.2 · 0.08 · 0.999 - 0.2 · 0.05 · 1.001 = 0.005974, and 0.005974 · 61234.56789 = 365.81530857…
    assert_eq!(closed["profit"], json!(0.005_974), "{closed}");
    assert_eq!(closed["usd_rate"], json!(61_234.567_89));
    assert_eq!(closed["profit_usd"], json!(365.815_308_57));

    let path = format!("/v1/trades/{}", closed["id"].as_str().unwrap());
    world.price("BTCUSDT", "1000").await;
    let reads = world.until(&[("BTCUSDT", "1000")], |trade| trade["status"] == "closed").await;
    assert_eq!(reads["profit_usd"], closed["profit_usd"]);
    let one = world.get(&path).await;
    assert_eq!((&one["usd_rate"], &one["profit_usd"]), (&closed["usd_rate"], &closed["profit_usd"]));
    let events = world.get("/v1/events?event=trade.closed").await;
    let told = &events["data"][0]["data"];
    assert_eq!(
        (&told["usd_rate"], &told["profit_usd"]),
        (&closed["usd_rate"], &closed["profit_usd"]),
        "{events}"
    );
    let portfolio = world.get("/v1/portfolio").await;
    assert_eq!(portfolio["dry_run"]["realized_profit_usd"], closed["profit_usd"], "{portfolio}");
    assert_eq!(portfolio["dry_run"]["unvalued_trades"], json!(0));
    let url = format!("{}/v1/trades?format=csv", world.server.url);
    let csv = reqwest::Client::new().get(url).bearer_auth(&world.tenant.key).send().await.unwrap();
    let csv = csv.text().await.unwrap();
    assert!(csv.contains("profit_usd,usd_rate,") && csv.contains(",365.81530857,61234.56789,"), "{csv}");
    world.end().await;
}

#[actix_web::test]
async fn a_coin_without_a_dollar_price_of_its_own_is_valued_through_another() {
    let world = World::start(&["ETH/BTC", "BTC/ETH", "BTC/BNB", "BNB/USDT"]).await;
    world.begin().await;
    let prices = [("ETHBTC", "0.05"), ("BTCBNB", "100.5"), ("BNBUSDT", "600.1")];
    let open = world.until(&prices, |trade| trade["usd_rate"] == json!(60_310.05)).await;
    assert_eq!(open["status"], "open");
    world.end().await;
}

#[actix_web::test]
async fn what_cannot_be_valued_says_so_and_closes_all_the_same() {
    let world = World::start(&["ETH/BTC"]).await;
    world.begin().await;
    world.until(&[("ETHBTC", "0.05")], |trade| trade["status"] == "open").await;
    let closed = world.until(&[("ETHBTC", "0.08")], |trade| trade["status"] == "closed").await;
    assert_eq!((&closed["usd_rate"], &closed["profit_usd"]), (&Value::Null, &Value::Null), "{closed}");
    let portfolio = world.get("/v1/portfolio").await;
    let dry = &portfolio["dry_run"];
    assert_eq!((&dry["realized_profit_usd"], &dry["unvalued_trades"]), (&json!(0), &json!(1)), "{portfolio}");
    world.end().await;
}
