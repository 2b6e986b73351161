//! Every recorded frame decodes, and recordings give exactly the counts that their publisher states.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use connectors::binance::{Decoder, Frame, Subscriptions};

use super::recorded;

/// How many of each kind.
#[derive(Default, PartialEq, Eq, Debug)]
struct Counts {
    trades: u32,
    agg_trades: u32,
    book_tickers: u32,
    klines: u32,
    depths: u32,
    other: u32,
}

impl Counts {
    fn add(&mut self, frame: Frame) {
        let slot = match frame {
            Frame::Trade { .. } => &mut self.trades,
            Frame::AggTrade { .. } => &mut self.agg_trades,
            Frame::BookTicker { .. } => &mut self.book_tickers,
            Frame::Kline { .. } => &mut self.klines,
            Frame::Depth { .. } => &mut self.depths,
            _ => &mut self.other,
        };
        *slot += 1;
    }
}

fn symbols(pairs: &[&str]) -> Subscriptions {
    let mut symbols = Subscriptions::new();
    for pair in pairs {
        symbols.add(&pair.parse().unwrap());
    }
    symbols
}

/// The JSON behind the receive time of each line.
fn count_capture(file: &Path) -> Counts {
    let lines = BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap())).lines();
    let (mut decoder, symbols) = (Decoder::new(), symbols(&["BTC/USDT"]));
    let mut counts = Counts::default();
    for line in lines {
        let line = line.unwrap();
        let (_, json) = line.split_once(' ').unwrap();
        counts
            .add(decoder.decode(json.as_bytes(), &symbols).unwrap_or_else(|error| panic!("{error}: {json}")));
    }
    counts
}

#[test]
fn the_spot_captures_give_their_published_counts() {
    let (Some(first), Some(second), Some(fixture)) = (
        recorded("data/hftbacktest/spot/btcusdt_20240808.gz"),
        recorded("data/hftbacktest/spot/btcusdt_20240809.gz"),
        recorded("exchanges/fixtures/binance/captures/hft_spot_btcusdt_20240808.gz"),
    ) else {
        return;
    };
    let (first, second) = (count_capture(&first), count_capture(&second));
    assert_eq!(first, count_capture(&fixture));
    let total = |of: fn(&Counts) -> u32| of(&first) + of(&second);
    assert_eq!(total(|c| c.trades + c.book_tickers + c.depths + c.other), 41_249 + 58_325);
    assert_eq!(total(|c| c.trades), 19_904);
    assert_eq!(total(|c| c.book_tickers), 73_174);
    assert_eq!(total(|c| c.depths), 6_495);
    assert_eq!(total(|c| c.other), 1, "the book snapshot");
}

#[test]
fn recorded_sessions_of_several_streams_decode() {
    let pairs =
        ["NKN/USDT", "BLZ/ETH", "LRC/BTC", "RUNE/EUR", "CRV/USDT", "COMP/USDT", "OMG/BUSD", "ZRX/USDT"];
    for name in
        ["cf_BINANCE_2021-10-11_depth_bookTicker_kline_aggTrade.jsonl", "cf_BINANCE_US_2021-10-11.jsonl"]
    {
        let Some(file) = recorded(&format!("exchanges/fixtures/binance/captures/{name}")) else { return };
        let (mut decoder, symbols, mut counts) = (Decoder::new(), symbols(&pairs), Counts::default());
        let mut expected = Counts::default();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let envelope: serde_json::Value = serde_json::from_str(line).unwrap();
            if envelope["t"] != "recv" {
                continue;
            }
            let frame = envelope["data"].as_str().unwrap();
            counts.add(
                decoder.decode(frame.as_bytes(), &symbols).unwrap_or_else(|error| panic!("{error}: {frame}")),
            );
            let stream = serde_json::from_str::<serde_json::Value>(frame).unwrap()["stream"].to_string();
            let slot = match stream.split('@').nth(1).unwrap_or_default().trim_end_matches('"') {
                "depth" => &mut expected.depths,
                "aggTrade" => &mut expected.agg_trades,
                "bookTicker" => &mut expected.book_tickers,
                "kline_1m" => &mut expected.klines,
                _ => &mut expected.other,
            };
            *slot += 1;
        }
        assert_eq!(counts, expected, "{name}");
        assert!(counts.depths > 0 && counts.book_tickers > 0 && counts.klines > 0, "{counts:?}");
    }
}

#[test]
fn single_recorded_messages_decode() {
    let Some(root) = recorded("exchanges/fixtures/binance") else { return };
    let symbols = symbols(&["BTC/USDT", "ETH/USDT", "BNB/BTC"]);
    let mut decoder = Decoder::new();
    let mut seen = 0;
    for folder in ["execution_report", "doc_user_stream", "doc_ws_api", "ws_control"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let text = std::fs::read(file.unwrap().path()).unwrap();
            decoder.decode(&text, &symbols).unwrap();
            seen += 1;
        }
    }
    for line in std::fs::read_to_string(root.join("ws_user_or_market_lines/gct_wsHandleData_a.jsonl"))
        .unwrap()
        .lines()
    {
        decoder.decode(line.as_bytes(), &symbols).unwrap();
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
    let book = std::fs::read(root.join("book_ticker/ccxt_ws_bookTicker_1.json")).unwrap();
    assert!(matches!(decoder.decode(&book, &symbols), Ok(Frame::BookTicker { .. })));
    let trades = std::fs::read(root.join("trades/nt2_ws_spot_agg_trade.json")).unwrap();
    let Ok(Frame::AggTrade { tick, last_id: 228_423, .. }) = decoder.decode(&trades, &symbols) else {
        panic!()
    };
    assert_eq!(
        (tick.price.to_string(), tick.qty.to_string()),
        ("1632.46".to_owned(), "0.34305000".to_owned())
    );
}
