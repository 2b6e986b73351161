//! Writes the first corpus of every target from what the venue really sent.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Every so many frames of a capture one is taken.
const STRIDE: usize = 100;

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared =
        std::env::var_os("BOTPRIMEX_SHARED").map_or_else(|| here.join("../../../shared"), PathBuf::from);
    let venue = shared.join("exchanges/fixtures/binance");
    let corpus = here.join("corpus");
    write(&corpus.join("frame"), &frames(&venue)?)?;
    write(&corpus.join("listing"), &listings(&venue)?)?;
    write(&corpus.join("refusal"), &refusals())?;
    write(&corpus.join("user"), &messages(&venue, &["execution_report", "doc_user_stream", "doc_ws_api"])?)?;
    let folders = ["orders", "place_order", "cancel_order", "executions", "doc_rest"];
    write(&corpus.join("order"), &messages(&venue, &folders)?)?;
    write(&corpus.join("account"), &messages(&venue, &["balances"])?)
}

fn write(folder: &Path, seeds: &[Vec<u8>]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:04}")), seed)?;
    }
    println!("{}: {} seeds", folder.display(), seeds.len());
    Ok(())
}

/// Frames of the captures, and every single message beside them.
fn frames(venue: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    let capture = std::fs::File::open(venue.join("captures/hft_spot_btcusdt_20240808.gz"))?;
    for line in BufReader::new(flate2::read::GzDecoder::new(capture)).lines().step_by(STRIDE) {
        frames.extend(line?.split_once(' ').map(|(_, json)| json.as_bytes().to_vec()));
    }
    for name in
        ["cf_BINANCE_2021-10-11_depth_bookTicker_kline_aggTrade.jsonl", "cf_BINANCE_US_2021-10-11.jsonl"]
    {
        let text = std::fs::read_to_string(venue.join("captures").join(name))?;
        let envelopes = text.lines().step_by(7).filter_map(|line| serde_json::from_str::<Value>(line).ok());
        frames.extend(envelopes.filter_map(|line| Some(line.get("data")?.as_str()?.as_bytes().to_vec())));
    }
    for folder in ["book_ticker", "trades", "execution_report", "doc_user_stream", "doc_ws_api", "ws_control"]
    {
        for file in std::fs::read_dir(venue.join(folder))? {
            let mut bytes = Vec::new();
            std::fs::File::open(file?.path())?.read_to_end(&mut bytes)?;
            frames.push(bytes);
        }
    }
    Ok(frames)
}

/// The single messages of these folders; of recorded exchanges the responses.
fn messages(venue: &Path, folders: &[&str]) -> std::io::Result<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    for folder in folders {
        for file in std::fs::read_dir(venue.join(folder))? {
            let body: Value = serde_json::from_str(&std::fs::read_to_string(file?.path())?)?;
            match body.pointer("/0/response") {
                Some(response) => messages.push(response.to_string().into_bytes()),
                None => messages.push(body.to_string().into_bytes()),
            }
        }
    }
    Ok(messages)
}

/// Every listing, a symbol at a time: short inputs find more.
fn listings(venue: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut listings = Vec::new();
    for file in std::fs::read_dir(venue.join("instruments"))? {
        let body: Value = serde_json::from_str(&std::fs::read_to_string(file?.path())?)?;
        let body = body.pointer("/0/response").unwrap_or(&body);
        for symbol in body.get("symbols").and_then(Value::as_array).into_iter().flatten() {
            listings.push(json!({ "symbols": [symbol] }).to_string().into_bytes());
        }
    }
    Ok(listings)
}

/// The documented codes as answers with status 400: two bytes of status and one of effect stand before a body.
fn refusals() -> Vec<Vec<u8>> {
    let codes = [-1000, -1003, -1007, -1008, -1013, -1021, -1022, -1121, -2010, -2011, -2013, -2015];
    let body = |code: i64| json!({ "code": code, "msg": "Invalid symbol." }).to_string().into_bytes();
    codes.map(|code| [vec![0x90, 0x01, 0x01], body(code)].concat()).to_vec()
}
