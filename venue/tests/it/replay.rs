//! A recorded market is played as it was recorded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use rust_decimal::Decimal;
use serde_json::Value;
use venue::{Config, MarketSource, Speed, Start};

use crate::Socket;
use crate::client::{self, amount, http};

/// Recorded data beside the project, or a word that it is not there.
fn recorded(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BOTPRIMEX_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let file = root.join(path);
    if !file.exists() {
        println!("skipped: {} is not there", file.display());
        return None;
    }
    Some(file)
}

fn replay(files: Vec<PathBuf>) -> Config {
    let market = MarketSource::Replay { files, pair: None, start: Start::Subscribe };
    Config { market, speed: Speed::Max, ..Config::default() }
}

#[tokio::test]
async fn a_capture_is_played_frame_for_frame() {
    let Some(file) = recorded("data/hftbacktest/spot/btcusdt_20240808.gz") else { return };
    let venue = venue::start(replay(vec![file])).await.unwrap();
    let began = client::now_ms();
    let mut socket = Socket::open(&venue, "/stream").await;
    let streams = r#"["btcusdt@trade","btcusdt@bookTicker","btcusdt@depth@100ms"]"#;
    socket.say(format!(r#"{{"method":"SUBSCRIBE","params":{streams},"id":"a"}}"#)).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut last_id = 0;
    while let Some(frame) = socket.hear().await {
        let Some(stream) = frame["stream"].as_str() else { continue };
        *counts.entry(stream.to_owned()).or_default() += 1;
        if stream == "btcusdt@trade" {
            // It is sent today, and tells of what was traded then.
            let (sent_at, at) = (frame["data"]["E"].as_u64().unwrap(), frame["data"]["T"].as_i64().unwrap());
            assert!(u128::from(sent_at) >= began && at < 1_730_000_000_000, "{frame}");
            let id = frame["data"]["t"].as_i64().unwrap();
            assert!(id > last_id);
            last_id = id;
        }
    }
    let expected = [("btcusdt@bookTicker", 28_040), ("btcusdt@depth@100ms", 3_451), ("btcusdt@trade", 9_757)];
    assert_eq!(counts, expected.map(|(stream, count)| (stream.to_owned(), count)).into());
    let progress = venue.progress().borrow().clone();
    assert_eq!((progress.prints, progress.finished), (9_757, true));
    venue.stop().await;
}

#[tokio::test]
async fn a_lone_stream_gets_its_last_frame() {
    let Some(file) = recorded("data/hftbacktest/spot/btcusdt_20240808.gz") else { return };
    let venue = venue::start(replay(vec![file])).await.unwrap();
    let mut socket = Socket::open(&venue, "/ws/btcusdt@trade").await;
    let mut count = 0;
    while socket.hear().await.is_some() {
        count += 1;
    }
    assert_eq!(count, 9_757);
    venue.stop().await;
}

#[tokio::test]
async fn plain_rows_become_trades_and_a_bad_one_ends_them() {
    let mut file = tempfile::Builder::new().prefix("ETHUSDT-").suffix(".csv").tempfile().unwrap();
    writeln!(file, "timestamp,price,qty\n1700000000,2000.5,1\n1700000001,2001,2").unwrap();
    let venue = venue::start(replay(vec![file.path().to_owned()])).await.unwrap();
    let mut socket = Socket::open(&venue, "/ws/ethusdt@trade").await;
    let prices = [socket.hear().await.unwrap(), socket.hear().await.unwrap()].map(|frame| frame["p"].clone());
    assert_eq!(prices, ["2000.50000000", "2001.00000000"]);
    venue.stop().await;
    writeln!(file, "1700000002,much").unwrap();
    let error = venue::start(replay(vec![file.path().to_owned()])).await.unwrap_err().to_string();
    assert!(error.contains("line 4") && error.contains("much"), "{error}");
}

#[tokio::test]
async fn an_order_fills_at_the_time_of_the_market_that_is_played() {
    let mut file = tempfile::Builder::new().prefix("ETHUSDT-").suffix(".csv").tempfile().unwrap();
    writeln!(file, "timestamp,price,qty\n1700000000,2000.5,1\n1700000001,2001,2").unwrap();
    let config = Config { control: true, ..replay(vec![file.path().to_owned()]) };
    let venue = venue::start(Config { credentials: client::config().credentials, ..config }).await.unwrap();
    let mut socket = Socket::open(&venue, "/ws/ethusdt@trade").await;
    while socket.hear().await.is_some_and(|frame| frame["p"] != "2001.00000000") {}
    let order = "symbol=ETHUSDT&side=BUY&type=MARKET&quantity=1&newOrderRespType=FULL";
    let (status, placed) = client::ask(&venue, "POST", "/api/v3/order", order).await;
    assert_eq!((status, &placed["transactTime"]), (200, &1_700_000_001_000_i64.into()), "{placed}");
    let fills = &client::ledger(&venue).await["fills"];
    assert_eq!(fills[0]["time"], 1_700_000_001_000_i64);
    venue.stop().await;
}

#[tokio::test]
async fn time_goes_on_in_a_recorded_market_that_is_over() {
    let mut file = tempfile::Builder::new().prefix("ETHUSDT-").suffix(".csv").tempfile().unwrap();
    writeln!(file, "timestamp,price,qty\n1700000000,2000.5,1\n1700000001,2001,2").unwrap();
    let config = Config { control: true, ..replay(vec![file.path().to_owned()]) };
    let venue = venue::start(config).await.unwrap();
    let mut socket = Socket::open(&venue, "/ws/ethusdt@trade").await;
    while socket.hear().await.is_some_and(|frame| frame["p"] != "2001.00000000") {}
    let mut times = vec![1_700_000_001_000];
    for price in ["2002", "2003", "2004"] {
        // Longer than the milliseconds that times are told in.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let body = serde_json::json!({"symbol": "ETHUSDT", "price": price}).to_string();
        let url = format!("http://{}/venue/price", venue.address());
        assert!(http().post(url).body(body).send().await.unwrap().status().is_success());
        times.push(socket.hear().await.unwrap()["T"].as_i64().unwrap());
    }
    assert!(times.windows(2).all(|two| two[0] < two[1]), "{times:?}");
    assert!(times[3] < 1_700_000_031_000, "by as much as has passed: {times:?}");
    venue.stop().await;
}

#[tokio::test]
async fn two_markets_under_one_symbol_are_refused() {
    for pairs in [["BTC/USDT", "BTC/USDT"], ["AB/CUSDT", "ABC/USDT"]] {
        let market = MarketSource::RandomWalk { pairs: pairs.map(|pair| pair.parse().unwrap()).to_vec() };
        let error = venue::start(Config { market, ..Config::default() }).await.unwrap_err().to_string();
        assert!(error.contains(pairs[1]) && error.contains("twice"), "{error}");
    }
}

/// The levels of a side as text, by price.
fn levels(side: &Value) -> BTreeMap<Decimal, Value> {
    side.as_array().unwrap().iter().map(|level| (amount(&level[0]), level[1].clone())).collect()
}

#[tokio::test]
async fn the_book_over_http_is_the_recorded_one() {
    let Some(file) = recorded("data/hftbacktest/spot/btcusdt_20240808.gz") else { return };
    let rows = BufReader::new(MultiGzDecoder::new(File::open(&file).unwrap())).lines();
    let mut whole = rows.map(Result::unwrap).filter(|row| row.contains("lastUpdateId"));
    let snapshot: Value = serde_json::from_str(whole.next().unwrap().split_once(' ').unwrap().1).unwrap();
    assert!(whole.next().is_none());
    let (mut bids, mut asks) = (levels(&snapshot["bids"]), levels(&snapshot["asks"]));
    let mut update_id = snapshot["lastUpdateId"].as_i64().unwrap();

    let venue = venue::start(replay(vec![file])).await.unwrap();
    let mut socket = Socket::open(&venue, "/ws/btcusdt@depth@100ms").await;
    while let Some(change) = socket.hear().await {
        if change["u"].as_i64().unwrap() <= update_id {
            continue;
        }
        assert!(change["U"].as_i64().unwrap() <= update_id + 1);
        update_id = change["u"].as_i64().unwrap();
        for (side, changes) in [(&mut bids, &change["b"]), (&mut asks, &change["a"])] {
            side.extend(levels(changes));
            side.retain(|_, qty| qty != "0.00000000");
        }
    }
    let url = format!("http://{}/api/v3/depth?symbol=BTCUSDT&limit=5000", venue.address());
    let book: Value = http().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(book["lastUpdateId"], update_id);
    let best: BTreeMap<_, _> = bids.into_iter().rev().take(5_000).collect();
    assert!(best.len() > 1_000, "{}", best.len());
    assert_eq!(levels(&book["bids"]), best);
    assert_eq!(levels(&book["asks"]), asks.into_iter().take(5_000).collect());
    venue.stop().await;
}
