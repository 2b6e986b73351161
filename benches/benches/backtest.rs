//! How fast a five-entry ladder goes over history.
//!
//! Floor: adding the same columns up, which reads every byte that the scan reads.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use backtest::{Candles, Ticks};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::{Market, Price, Timestamp};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use strategies::{BotDefinition, Candle, Plan};

const ROWS: usize = 1_000_000;

fn plan(more: &str) -> Plan {
    let body = format!(
        r#"{{"name":"five","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":5,"stop_loss":-15,"dry_run":true{more},
        "dca":{{"price_deviation":1,"step_scale":1.5,"volume_scale":1.7}}}}"#
    );
    let bot = BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap();
    let market = Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    };
    Plan::new(&bot, &market).unwrap()
}

fn price(cents: i64) -> Price {
    Price::from_e8(cents * 1_000_000).unwrap()
}

/// A walk around 60,000.00 with steps of up to `step` cents.
fn walk(rows: usize, step: i64) -> Vec<i64> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut cents = 6_000_000_i64;
    (0..rows)
        .map(|_| {
            cents = (cents + random.random_range(-step..=step)).clamp(3_000_000, 12_000_000);
            cents
        })
        .collect()
}

fn ticks() -> Ticks {
    let mut ticks = Ticks::default();
    for (row, cents) in (0_i64..).zip(walk(ROWS, 300)) {
        ticks.push(Timestamp::from_millis(row * 100), price(cents)).unwrap();
    }
    ticks
}

fn candles() -> Candles {
    let mut candles = Candles::default();
    for (minute, four) in (0_i64..).zip(walk(ROWS * 4, 1_500).chunks_exact(4)) {
        let &[open, a, b, close] = four else { continue };
        let (high, low) = (open.max(a).max(b).max(close), open.min(a).min(b).min(close));
        let at = Timestamp::from_millis(minute * 60_000);
        let candle = Candle::new(at, price(open), price(high), price(low), price(close)).unwrap();
        candles.push(&candle).unwrap();
    }
    candles
}

fn a_million_rows(criterion: &mut Criterion) {
    let (ticks, candles) = (ticks(), candles());
    let column: Vec<i64> = ticks.iter().map(|(_, price)| price.e8()).collect();
    let mut group = criterion.benchmark_group("a million rows under a five-entry ladder");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.sample_size(20);
    for (name, more) in [("fixed levels", ""), ("trailing", r#","trailing_stop":4,"trailing_take_profit":1"#)]
    {
        let plan = plan(more);
        group.bench_function(format!("ticks, {name}"), |bencher| {
            bencher.iter(|| black_box(backtest::run_ticks_on(&plan.clone(), &ticks).unwrap()));
        });
        group.bench_function(format!("candles, {name}"), |bencher| {
            bencher.iter(|| black_box(backtest::run_candles_on(&plan.clone(), &candles).unwrap()));
        });
    }
    group.bench_function("floor: adding one column up", |bencher| {
        bencher.iter(|| black_box(&column).iter().fold(0_i64, |sum, price| sum.wrapping_add(*price)));
    });
    group.finish();
}

criterion_group!(benches, a_million_rows);
criterion_main!(benches);
