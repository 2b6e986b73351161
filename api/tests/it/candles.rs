//! Candles over HTTP, from a simulated exchange.

use serde_json::{Value, json};
use venue::{Config, Speed};

use crate::server::Server;

#[actix_web::test]
async fn candles_are_the_venues_with_every_digit() {
    let venue = venue::start(Config { speed: Speed::Times(120.0), control: true, ..Config::default() })
        .await
        .unwrap();
    let server = Server::start(&venue.address().to_string()).await;
    let tenant = server.tenant(&["bots:read"]).await;
    let path = "/v1/candles?pair=BTC/USDT&interval=1m";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // A few minutes of its market, until one candle at least is over.
    let shown = loop {
        let shown = server.get(&tenant, path).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        if shown.body["data"].as_array().unwrap().len() >= 3 {
            break shown.body;
        }
        assert!(std::time::Instant::now() < deadline, "{shown:?}");
        actix_web::rt::time::sleep(std::time::Duration::from_millis(1_100)).await;
    };
    let candles = shown["data"].as_array().unwrap();
    assert_eq!(
        (&shown["interval"], &shown["exchange"], &shown["has_more"]),
        (&json!("1m"), &json!("binance"), &json!(false))
    );
    assert_eq!(candles[0]["closed"], true);
    // The same candle as the venue itself tells it.
    let opened: model::Timestamp = candles[0]["opened_at"].as_str().unwrap().parse().unwrap();
    let url = format!(
        "http://{}/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1&startTime={}",
        venue.address(),
        opened.millis()
    );
    let theirs: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    for (place, name) in [(1, "open"), (2, "high"), (3, "low"), (4, "close"), (5, "volume")] {
        let told: rust_decimal::Decimal = theirs[0][place].as_str().unwrap().parse().unwrap();
        assert_eq!(candles[0][name].to_string().parse::<rust_decimal::Decimal>().unwrap(), told, "{name}");
    }
    // From one on, page by page.
    let from = candles[0]["opened_at"].as_str().unwrap();
    let page = server.get(&tenant, &format!("{path}&from={from}&limit=1")).await.body;
    assert_eq!((&page["data"][0], &page["has_more"]), (&candles[0], &json!(true)));
    let next = server
        .get(&tenant, &format!("{path}&from={}&limit=1", page["next_from"].as_str().unwrap()))
        .await
        .body;
    assert_eq!(next["data"][0]["opened_at"], candles[1]["opened_at"]);
    let until = server
        .get(&tenant, &format!("{path}&from={from}&to={}", candles[1]["opened_at"].as_str().unwrap()))
        .await;
    assert_eq!(until.body["data"].as_array().unwrap().len(), 1, "`to` is not included");

    assert_eq!(server.get(&tenant, "/v1/candles?pair=NO/PAIR").await.refused(), ["pair"]);
    assert_eq!(server.get(&tenant, "/v1/candles").await.refused(), ["pair"]);
    let wrong = server.get(&tenant, "/v1/candles?pair=x&exchange=moon&interval=7m&limit=0&from=now").await;
    assert_eq!(wrong.refused(), ["exchange", "pair", "interval", "from", "limit"]);

    // What is over is remembered; what is not known is not made up.
    venue.stop().await;
    let known = server.get(&tenant, &format!("{path}&from={from}&limit=1")).await;
    assert_eq!((known.status, &known.body["data"][0]), (200, &candles[0]));
    let silent = server.get(&tenant, "/v1/candles?pair=ETH/USDT").await;
    assert_eq!((silent.status, &silent.body["error"]["code"]), (503, &json!("venue_unreachable")));
    server.stop().await;
}
