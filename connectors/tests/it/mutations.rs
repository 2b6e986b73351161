//! Seeded damage to what the venue really sends: 50,000 frames a run, the same ones in every run. The fuzz targets in
//! `connectors/fuzz` go on from here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use connectors::binance::rest::{Effect, VenueError, listed};
use connectors::binance::{Decoder, Subscriptions};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::recorded;

const RUNS: u32 = 50_000;

/// One of each kind, as recorded or as documented; more are read from the recordings where they are present.
const FRAMES: [&str; 9] = [
    r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#,
    r#"{"e":"aggTrade","E":1672515782136,"s":"BTCUSDT","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,"m":true,"M":true}"#,
    r#"{"u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}"#,
    r#"{"e":"kline","E":1672515782136,"s":"BTCUSDT","k":{"t":1672515780000,"T":1672515839999,"s":"BTCUSDT","i":"1m","f":-1,"L":-1,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":false,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}"#,
    r#"{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","100"]]}"#,
    r#"{"result":null,"id":1}"#,
    r#"{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}"#,
    r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#,
    r#"{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","baseAssetPrecision":8,"quoteAssetPrecision":8,"filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01","tickSize":"0.01000000"},{"filterType":"LOT_SIZE","stepSize":"0.00001000"},{"filterType":"NOTIONAL","minNotional":"5.00000000"}]}]}"#,
];

/// What is put in the place of a piece: what breaks readers of numbers, texts and JSON.
const PIECES: [&[u8]; 16] = [
    b"",
    b"0",
    b"-1",
    b"1e30",
    b"NaN",
    b"null",
    b"99999999999999999999999999999999",
    b"0.000000000000000000000000001",
    b"9223372036854775808",
    b"\"",
    b"\\u0000",
    b"\xff\xfe",
    b"{",
    b"]",
    b"[[[[[[[[",
    b",",
];

/// One damage or two: a piece put over a stretch, a bit turned, a stretch told twice, or the end cut off.
fn damage(frame: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..=2) {
        let start = random.random_range(0..=frame.len());
        let end = random.random_range(start..=frame.len().min(start + 24));
        match random.random_range(0..8) {
            0 => frame.truncate(start),
            1 => frame.extend_from_within(start..end),
            2..=3 if start < frame.len() => frame[start] ^= 1 << random.random_range(0..8),
            _ => drop(frame.splice(start..end, PIECES[random.random_range(0..PIECES.len())].iter().copied())),
        }
    }
}

/// The inline frames and every hundredth of a recorded session.
fn originals() -> Vec<Vec<u8>> {
    let mut originals: Vec<_> = FRAMES.iter().map(|frame| frame.as_bytes().to_vec()).collect();
    if let Some(file) = recorded("exchanges/fixtures/binance/captures/cf_BINANCE_US_2021-10-11.jsonl") {
        for line in std::fs::read_to_string(file).unwrap().lines().step_by(100) {
            let envelope: serde_json::Value = serde_json::from_str(line).unwrap();
            originals.extend(envelope["data"].as_str().map(|frame| frame.as_bytes().to_vec()));
        }
    }
    originals
}

#[test]
fn no_damaged_frame_panics_or_harms_the_next() {
    let mut symbols = Subscriptions::new();
    symbols.add(&"BTC/USDT".parse().unwrap());
    let (mut decoder, originals, mut random) =
        (Decoder::new(), originals(), StdRng::seed_from_u64(20_261_124));
    let whole = decoder.decode(FRAMES[0].as_bytes(), &symbols).unwrap();
    let (mut read, mut refused) = (0, 0);
    for run in 0..RUNS {
        let mut frame = originals[random.random_range(0..originals.len())].clone();
        damage(&mut frame, &mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _ = listed(&frame);
            let _ = VenueError::of_answer(Effect::Order, 400, None, &frame);
            decoder.decode(&frame, &symbols)
        }));
        match outcome.unwrap_or_else(|_| panic!("run {run}: {:?}", String::from_utf8_lossy(&frame))) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
        assert_eq!(decoder.decode(FRAMES[0].as_bytes(), &symbols), Ok(whole), "after run {run}");
    }
    assert!(
        read > RUNS / 20 && refused > RUNS / 20,
        "the damage is worth its time: {read} read, {refused} refused"
    );
}
