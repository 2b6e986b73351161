//! What it costs to make a tick of a venue's frame.
//!
//! Floor: `serde_json` reading the same fields into a struct that borrows, no number converted.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use connectors::binance::{Decoder, Frame, Subscriptions};
use criterion::{Criterion, criterion_group, criterion_main};
use serde::Deserialize;

/// A recorded frame of a combined stream (2024-08-08).
const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;

/// A recorded frame of a raw stream (2026-08-12).
const BOOK: &str = r#"{"u":98494969448,"s":"BTCUSDT","b":"63704.00000000","B":"4.77471000","a":"63704.01000000","A":"11.33198000"}"#;

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    data: Lean<'a>,
}

#[derive(Deserialize)]
struct Lean<'a> {
    s: &'a str,
    t: i64,
    p: &'a str,
    q: &'a str,
    #[serde(rename = "T")]
    at: i64,
}

fn decode(criterion: &mut Criterion) {
    let mut symbols = Subscriptions::new();
    symbols.add(&"BTC/USDT".parse().unwrap());
    let mut decoder = Decoder::new();
    assert!(matches!(decoder.decode(TRADE.as_bytes(), &symbols), Ok(Frame::Trade { .. })));
    assert!(matches!(decoder.decode(BOOK.as_bytes(), &symbols), Ok(Frame::BookTicker { .. })));

    let mut group = criterion.benchmark_group("one frame");
    group.bench_function("floor: serde_json, a trade's texts", |bencher| {
        bencher.iter(|| {
            let Wrapped { data } = serde_json::from_str(black_box(TRADE)).unwrap();
            black_box((data.s, data.t, data.p, data.q, data.at));
        });
    });
    group.bench_function("a trade to a tick", |bencher| {
        bencher.iter(|| decoder.decode(black_box(TRADE.as_bytes()), &symbols));
    });
    group.bench_function("the best bid and ask", |bencher| {
        bencher.iter(|| decoder.decode(black_box(BOOK.as_bytes()), &symbols));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
