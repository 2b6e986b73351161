//! What one call of a machine costs.
//!
//! Promise: a call costs at most 0.3 µs. Floor: asking the bot's watch whether the same prices leave it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::{Market, Price, PriceMove, Timestamp};
use strategies::{BotDefinition, PaperBot};

fn five_entries(more: &str) -> PaperBot {
    let body = format!(
        r#"{{"name":"five","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":5,"stop_loss":-30,"dry_run":true{more},
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
    PaperBot::new(&bot, &market).unwrap()
}

fn price(cents: i64) -> Price {
    Price::from_e8(cents * 1_000_000).unwrap()
}

/// Calls that find nothing to do: what a spurious wake costs.
fn calls_that_change_nothing(criterion: &mut Criterion) {
    let prices: Vec<Price> = (0..1_000).map(|row| price(6_000_000 + row * 37 % 1_000)).collect();
    let mut group = criterion.benchmark_group("1000 calls that change nothing");
    group.throughput(Throughput::Elements(1_000));
    for (name, more) in
        [("fixed levels", ""), ("both trailing", r#","trailing_stop":5,"trailing_take_profit":1"#)]
    {
        let mut bot = five_entries(more);
        let mut steps = Vec::new();
        bot.on_move(&PriceMove::tick(price(6_000_000), Timestamp::MIN), &mut steps).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for price in &prices {
                    let moved = PriceMove::tick(black_box(*price), Timestamp::MIN);
                    black_box(bot.on_move(&moved, &mut steps).unwrap());
                }
            });
        });
    }
    let mut bot = five_entries("");
    bot.on_move(&PriceMove::tick(price(6_000_000), Timestamp::MIN), &mut Vec::new()).unwrap();
    let watch = bot.watch();
    group.bench_function("floor: asking the watch", |bencher| {
        bencher.iter(|| {
            prices
                .iter()
                .filter(|price| watch.is_left_by(black_box(**price), Timestamp::MIN, **price))
                .count()
        });
    });
    group.finish();
}

/// Calls that each fill an order: base, four safety orders, take profit.
fn a_whole_trade(criterion: &mut Criterion) {
    let path = [6_000_000, 5_900_000, 5_840_000, 5_700_000, 5_500_000, 6_200_000].map(price);
    let mut group = criterion.benchmark_group("a trade of five entries, six calls");
    group.throughput(Throughput::Elements(6));
    let mut bot = five_entries("");
    let (mut steps, mut second) = (Vec::new(), 0);
    group.bench_function("machine, paper fills, books", |bencher| {
        bencher.iter(|| {
            steps.clear();
            for price in path {
                second += 1;
                let moved = PriceMove::tick(black_box(price), Timestamp::from_millis(second));
                bot.on_move(&moved, &mut steps).unwrap();
            }
            assert_eq!(steps.len(), 6);
        });
    });
    group.finish();
}

criterion_group!(benches, calls_that_change_nothing, a_whole_trade);
criterion_main!(benches);
