//! What a tick costs with bots asleep on its symbol, and what waking one costs.
//!
//! Promise: a tick that wakes none of 100,000 costs at most twice what it costs with 100, and at most 50 ns.
//! Floor: walking the same prices and comparing each with two bounds.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use engine::{Wake, WatchIndex};
use model::{Price, Rate, Timestamp, Trail, Watch};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;

const CENT: i64 = 1_000_000;

fn price(cents: i64) -> Price {
    Price::from_e8(cents * CENT).unwrap()
}

/// A walk of cents that stays within one percent of 60,000.00, so that nothing below crosses.
fn calm_walk(ticks: usize) -> Vec<Price> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut cents = 6_000_000_i64;
    (0..ticks)
        .map(|_| {
            cents = (cents + random.random_range(-300..=300)).clamp(5_940_000, 6_060_000);
            price(cents)
        })
        .collect()
}

/// Bots asleep on bounds two to thirty percent away, every third one trailing by as much.
fn asleep(bots: u32) -> WatchIndex {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut index = WatchIndex::new();
    for bot in 0..bots {
        let away = random.random_range(120_000..1_800_000_i64);
        let trail = (bot % 3 == 0).then(|| Trail {
            high: price(6_000_000),
            distance: Rate::new(Decimal::new(random.random_range(30..300), 3)).unwrap(),
            tick_size: price(1),
        });
        let watch = Watch {
            below: Some(price(6_000_000 - away)),
            above: Some(price(6_000_000 + away)),
            trail,
            at: None,
        };
        let slot = index.add();
        assert_eq!(index.set(slot, &watch, 0), None);
    }
    index
}

fn ticks_that_wake_nobody(criterion: &mut Criterion) {
    let prices = calm_walk(4_096);
    let mut group = criterion.benchmark_group("4096 ticks that wake nobody");
    group.bench_function("floor: two compares a tick", |bencher| {
        let (below, above) = (black_box(price(5_000_000)), black_box(price(7_000_000)));
        bencher.iter(|| prices.iter().filter(|price| **price <= below || **price >= above).count());
    });
    for bots in [100, 100_000] {
        let mut index = asleep(bots);
        let mut woken: Vec<Wake> = Vec::new();
        group.bench_function(format!("{bots} bots"), |bencher| {
            bencher.iter(|| {
                for price in &prices {
                    index.on_tick(*price, Timestamp::MIN, &mut woken);
                }
            });
        });
        assert!(woken.is_empty());
    }
    group.finish();
}

/// A falling price wakes a few of 100,000 bots at a time: the cost of each wake with its new watch, by the median
/// and the 99th percentile of ticks.
fn one_wake_of_many(_: &mut Criterion) {
    let mut index = asleep(100_000);
    let mut woken: Vec<Wake> = Vec::new();
    let mut nanos: Vec<u128> = Vec::new();
    let mut cents = 6_000_000;
    while nanos.len() < 20_000 {
        cents -= 10;
        let start = Instant::now();
        index.on_tick(price(cents), Timestamp::MIN, &mut woken);
        let wakes = woken.len() as u128;
        for wake in woken.drain(..) {
            let next = Watch { below: Some(price(1)), ..Watch::NEVER };
            index.set(wake.slot, &next, wake.seq);
        }
        if let Some(each) = start.elapsed().as_nanos().checked_div(wakes) {
            nanos.push(each);
        }
        if cents < 4_300_000 {
            break;
        }
    }
    nanos.sort_unstable();
    let at = |part: usize| nanos.get(nanos.len() * part / 100).copied().unwrap_or_default();
    println!(
        "one wake among 100,000 and its new watch: p50 {} ns, p99 {} ns over {} ticks",
        at(50),
        at(99),
        nanos.len()
    );
}

criterion_group!(benches, ticks_that_wake_nobody, one_wake_of_many);
criterion_main!(benches);
