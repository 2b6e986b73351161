//! Ten recorded minutes of BTC/USDT under a tight ladder.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use backtest::{Ticks, run_ticks};
use connectors::binance::{Decoder, Frame, Subscriptions};
use model::{ExitReason, Market};

use super::{bot, market};

/// The recorded public trades; `None`, and said, where the recording is not here.
fn recording() -> Option<Ticks> {
    let root = std::env::var_os("BOTPRIMEX_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let (mut decoder, mut symbols) = (Decoder::new(), Subscriptions::new());
    symbols.add(&"BTC/USDT".parse().unwrap());
    let mut ticks = Ticks::default();
    for day in ["08", "09"] {
        let path = format!("data/hftbacktest/spot/btcusdt_202408{day}.gz");
        let Ok(file) = std::fs::File::open(root.join(&path)) else {
            println!("skipped: the recorded data {path} is not here");
            return None;
        };
        for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
            let line = line.unwrap();
            let frame = line.split_once(' ').unwrap().1;
            if let Ok(Frame::Trade { tick, .. }) = decoder.decode(frame.as_bytes(), &symbols) {
                ticks.push(tick.at, tick.price).unwrap();
            }
        }
    }
    Some(ticks)
}

#[test]
fn a_tight_ladder_closes_thirteen_trades_three_of_them_at_the_stop() {
    let Some(ticks) = recording() else { return };
    assert_eq!(ticks.len(), 19_904);
    let definition = bot(r#"{"stake_amount":50,"max_open_trades":4,"take_profit":0.03,"stop_loss":-0.15,
            "dca":{"price_deviation":0.03,"step_scale":1.2,"volume_scale":1.5}}"#);
    let market = Market {
        lot_step: "0.00001".parse().unwrap(),
        fee: "0.0001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        ..market()
    };
    let run = run_ticks(&definition, &market, &ticks).unwrap();
    let reasons: Vec<ExitReason> = run.trades.iter().map(|books| books.exit.unwrap().reason).collect();
    assert_eq!(reasons.len(), 13);
    assert_eq!(reasons.iter().filter(|reason| **reason == ExitReason::StopLoss).count(), 3);
    assert!(run.woken < 200, "the machine was called {} times for {} ticks", run.woken, ticks.len());
}
