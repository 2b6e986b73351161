//! The law of the backtest: scanning for the rows that leave the watch is feeding every row.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod files;
mod recorded;

use std::collections::BTreeMap;

use backtest::{Candles, Run, Ticks};
use model::{Market, Price, PriceMove, Timestamp};
use proptest::prelude::*;
use serde_json::value::RawValue;
use strategies::{BotDefinition, Candle, PaperBot, PaperStep, Plan};

fn bot(fields: &str) -> BotDefinition {
    let mut body: BTreeMap<String, Box<RawValue>> = serde_json::from_str(
        r#"{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":3,"stop_loss":-10,"dry_run":true}"#,
    )
    .unwrap();
    body.extend(serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(fields).unwrap());
    BotDefinition::parse(&body).unwrap()
}

fn market() -> Market {
    Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0.0003".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    }
}

fn cents(cents: i64) -> Price {
    Price::from_e8(cents * 1_000_000).unwrap()
}

/// Definitions that trade often on paths of a few percent.
fn definitions() -> impl Strategy<Value = BotDefinition> {
    let maybe = || proptest::option::of(10..300_u32);
    (1..6_u32, 100..900_u32, 10..300_u32, maybe(), maybe(), 20..300_u32, 80..160_u32, 0..40_u32).prop_map(
        |(entries, stop, profit, trail, arm, deviation, scale, cooldown)| {
            let pct = |hundredths: u32| format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let maybe = |value: Option<u32>| value.map_or("null".to_owned(), pct);
            bot(&format!(
                r#"{{"max_open_trades":{entries},"stop_loss":-{},"take_profit":{},"trailing_stop":{},
                    "trailing_take_profit":{},"dca":{{"price_deviation":{},"step_scale":{},"volume_scale":{},
                    "cooldown_s":{cooldown}}}}}"#,
                pct(stop),
                pct(profit),
                maybe(trail),
                maybe(arm),
                pct(deviation),
                pct(scale),
                pct(scale)
            ))
        },
    )
}

/// Walks in cents around 100, long enough for many blocks.
fn walks() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![20 => -12..=12_i64, 1 => -300..=300_i64];
    proptest::collection::vec(step, 1..1_500).prop_map(|steps| {
        let mut at = 10_000_i64;
        steps
            .into_iter()
            .map(|by| {
                at = (at + by).clamp(2_000, 50_000);
                at
            })
            .collect()
    })
}

/// Ticks of a walk; every third shares its time with the one before.
fn ticks(walk: &[i64]) -> Ticks {
    let mut ticks = Ticks::default();
    for (row, price) in (0_i64..).zip(walk) {
        ticks.push(Timestamp::from_millis((row - row % 3) * 700), cents(*price)).unwrap();
    }
    ticks
}

/// Candles of a walk, four prices each.
fn candles(walk: &[i64]) -> Candles {
    let mut candles = Candles::default();
    for (minute, four) in (0_i64..).zip(walk.chunks_exact(4)) {
        let (high, low) = (*four.iter().max().unwrap(), *four.iter().min().unwrap());
        let at = Timestamp::from_millis(minute * 5_000);
        candles
            .push(&Candle::new(at, cents(four[0]), cents(high), cents(low), cents(four[3])).unwrap())
            .unwrap();
    }
    candles
}

/// What feeding every row gives.
fn every_row<T>(
    plan: &Plan,
    rows: impl Iterator<Item = T>,
    mut feed: impl FnMut(&mut PaperBot, T, &mut Vec<PaperStep>),
) -> Run {
    let mut paper = PaperBot::with_plan(&plan.clone());
    let mut steps = Vec::new();
    for row in rows {
        feed(&mut paper, row, &mut steps);
    }
    let trades = steps
        .into_iter()
        .filter_map(|step| match step {
            PaperStep::Exited(books) => Some(books),
            PaperStep::Entered(_) | PaperStep::StopHit { .. } => None,
        })
        .collect();
    let open_trade = paper.machine().is_holding().then(|| paper.books().clone());
    Run { trades, open_trade, ..Run::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn scanning_ticks_is_feeding_every_tick(definition in definitions(), walk in walks()) {
        let Ok(plan) = Plan::new(&definition, &market()) else { return Ok(()) };
        let ticks = ticks(&walk);
        let expected = every_row(&plan, ticks.iter(), |paper, (at, price), steps| {
            paper.on_move(&PriceMove::tick(price, at), steps).unwrap();
        });
        let run = backtest::run_ticks_on(&plan, &ticks).unwrap();
        prop_assert!(run.woken <= ticks.len());
        prop_assert_eq!((run.trades, run.open_trade), (expected.trades, expected.open_trade));
    }

    #[test]
    fn scanning_candles_is_feeding_every_candle(definition in definitions(), walk in walks()) {
        let Ok(plan) = Plan::new(&definition, &market()) else { return Ok(()) };
        let candles = candles(&walk);
        let expected = every_row(&plan, candles.iter(), |paper, candle, steps| {
            paper.on_candle(&candle, steps).unwrap();
        });
        let run = backtest::run_candles_on(&plan, &candles).unwrap();
        prop_assert_eq!((run.trades, run.open_trade), (expected.trades, expected.open_trade));
    }
}

#[test]
fn a_bot_below_the_venues_minimum_is_refused_before_it_runs() {
    let ticks = ticks(&[10_000]);
    let refused = backtest::run_ticks(&bot(r#"{"stake_amount":4}"#), &market(), &ticks).unwrap_err();
    assert!(refused.to_string().contains("below the venue's minimum of 5"), "{refused}");
}

#[test]
fn a_history_never_goes_back() {
    let mut ticks = ticks(&[10_000]);
    let told = ticks.push(Timestamp::from_millis(-1), cents(10_000)).unwrap_err();
    assert!(told.to_string().starts_with("the time goes back"));
    let mut candles = candles(&[10_000; 4]);
    let again = candles.get(0).unwrap();
    assert!(candles.push(&again).is_err());
}
