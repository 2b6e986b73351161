//! Laws that hold for every definition and every price path.

use model::{Price, PriceMove, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use strategies::{BotDefinition, Candle, PaperBot, PaperStep, Plan};

use super::{bot, market};

/// Definitions of every shape, valid or not on the market.
pub(crate) fn definitions() -> impl Strategy<Value = BotDefinition> {
    let percent = |most: u32| (1..most * 100).prop_map(|hundredths| Decimal::new(i64::from(hundredths), 2));
    let maybe = |most: u32| proptest::option::of(percent(most));
    (percent(1_000), 1..8_u32, percent(99), percent(20), maybe(30), maybe(30), percent(9), any::<bool>(), 50..300_i64, 0..4_u64)
        .prop_map(|(stake, entries, stop, profit, trail, arm, deviation, average, scale, cooldown)| {
            let shown = |pct: Option<Decimal>| pct.map_or("null".to_owned(), |pct| pct.to_string());
            let basis = if average { "average" } else { "base_order" };
            bot(&format!(
                r#"{{"stake_amount":{stake},"max_open_trades":{entries},"stop_loss":-{stop},"take_profit":{profit},
                    "trailing_stop":{},"trailing_take_profit":{},"stop_loss_basis":"{basis}",
                    "dca":{{"price_deviation":{deviation},"step_scale":{},"volume_scale":{},"cooldown_s":{cooldown}}}}}"#,
                shown(trail),
                shown(arm),
                Decimal::new(scale, 2),
                Decimal::new(scale, 2)
            ))
        })
}

/// Paths of hundredths, with jumps.
pub(crate) fn paths() -> impl Strategy<Value = Vec<Price>> {
    let moves = prop_oneof![9 => -200..200_i64, 1 => -3_000..3_000_i64];
    proptest::collection::vec(moves, 1..300).prop_map(|moves| {
        let mut cents = 10_000_i64;
        let next = |by: i64| {
            cents = (cents + by).clamp(1, 1_000_000);
            Price::from_e8(cents * 1_000_000).unwrap()
        };
        moves.into_iter().map(next).collect()
    })
}

pub(crate) fn at(index: usize) -> Timestamp {
    Timestamp::from_millis(i64::try_from(index).unwrap() * 700)
}

fn all_ticks(paper: &mut PaperBot, path: &[Price]) -> Vec<PaperStep> {
    let mut steps = Vec::new();
    for (index, price) in path.iter().enumerate() {
        paper.on_move(&PriceMove::tick(*price, at(index)), &mut steps).unwrap();
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn only_the_ticks_that_leave_the_watch_matter(definition in definitions(), path in paths()) {
        let Ok(plan) = Plan::new(&definition, &market("0.01", "0.00001", "0.001")) else { return Ok(()) };
        let expected = all_ticks(&mut PaperBot::with_plan(&plan), &path);
        let mut sleeper = PaperBot::with_plan(&plan);
        let (mut steps, mut watch) = (Vec::new(), sleeper.watch());
        let mut untold: Option<(Price, Price)> = None;
        for (index, price) in path.iter().copied().enumerate() {
            let (high, low) = untold.map_or((price, price), |(high, low)| (high.max(price), low.min(price)));
            untold = Some((high, low));
            if watch.is_left_by(price, at(index), high) {
                watch = sleeper.on_move(&PriceMove { price, at: at(index), high, low }, &mut steps).unwrap();
                untold = None;
            }
        }
        prop_assert_eq!(steps, expected);
    }

    #[test]
    fn profit_is_the_sum_of_the_fills_and_all_is_on_its_grid(definition in definitions(), path in paths()) {
        let market = market("0.01", "0.001", "0.001");
        let Ok(mut paper) = PaperBot::new(&definition, &market) else { return Ok(()) };
        for step in all_ticks(&mut paper, &path) {
            let PaperStep::Exited(books) = step else { continue };
            let exit = books.exit.unwrap();
            let fee = market.fee.decimal();
            let paid: Decimal =
                books.entries.iter().map(|e| e.price.decimal() * e.qty.decimal() * (Decimal::ONE + fee)).sum();
            let got = exit.price.decimal() * exit.qty.decimal() * (Decimal::ONE - fee);
            prop_assert_eq!(books.profit(exit.price, market.fee).decimal(), got - paid);
            prop_assert_eq!(exit.qty, books.amount());
            for entry in &books.entries {
                prop_assert!(entry.price.is_on_tick(market.tick_size));
                prop_assert_eq!(entry.qty.decimal() % market.lot_step.decimal(), Decimal::ZERO);
            }
        }
    }

    #[test]
    fn levels_are_on_the_tick_grid(definition in definitions(), path in paths()) {
        let market = market("0.05", "0.001", "0.001");
        let Ok(mut paper) = PaperBot::new(&definition, &market) else { return Ok(()) };
        for (index, price) in path.iter().enumerate() {
            let watch = paper.on_move(&PriceMove::tick(*price, at(index)), &mut Vec::new()).unwrap();
            for level in [watch.below, watch.above, paper.machine().stop_price()].into_iter().flatten() {
                prop_assert!(level.is_on_tick(market.tick_size), "{}", level);
            }
        }
    }

    #[test]
    fn a_candle_is_the_ticks_of_its_path(definition in definitions(), path in paths()) {
        // One candle per price, open = high = low = close, is that tick.
        let Ok(plan) = Plan::new(&definition, &market("0.01", "0.00001", "0.001")) else { return Ok(()) };
        let expected = all_ticks(&mut PaperBot::with_plan(&plan), &path);
        let mut paper = PaperBot::with_plan(&plan);
        let mut steps = Vec::new();
        for (index, price) in path.iter().copied().enumerate() {
            paper.on_candle(&Candle::new(at(index), price, price, price, price).unwrap(), &mut steps).unwrap();
        }
        prop_assert_eq!(steps, expected);
    }

    #[test]
    fn a_candles_walk_equals_a_fine_path_through_it(definition in definitions(), path in paths()) {
        // Every cent between the candle's corners as a tick of its own: levels lie on cents, so each is touched.
        let Ok(plan) = Plan::new(&definition, &market("0.01", "0.00001", "0.001")) else { return Ok(()) };
        let (mut walked, mut fine) = (PaperBot::with_plan(&plan), PaperBot::with_plan(&plan));
        let (mut steps, mut expected) = (Vec::new(), Vec::new());
        for (index, four) in path.chunks_exact(4).take(12).enumerate() {
            let (high, low) = (*four.iter().max().unwrap(), *four.iter().min().unwrap());
            let (open, close) = (four[0], four[3]);
            let corners = if close >= open { [open, low, high, close] } else { [open, high, low, close] };
            walked.on_candle(&Candle::new(at(index), open, high, low, close).unwrap(), &mut steps).unwrap();
            let mut cents = corners[0].e8();
            fine.on_move(&PriceMove::tick(open, at(index)), &mut expected).unwrap();
            for corner in corners {
                while cents != corner.e8() {
                    cents += if corner.e8() > cents { 1_000_000 } else { -1_000_000 };
                    let tick = PriceMove::tick(Price::from_e8(cents).unwrap(), at(index));
                    fine.on_move(&tick, &mut expected).unwrap();
                }
            }
        }
        prop_assert_eq!(steps, expected);
    }

    #[test]
    fn a_restart_anywhere_changes_nothing(definition in definitions(), path in paths(), every in 1..40_usize) {
        let Ok(plan) = Plan::new(&definition, &market("0.01", "0.00001", "0.001")) else { return Ok(()) };
        let expected = all_ticks(&mut PaperBot::with_plan(&plan), &path);
        let mut paper = PaperBot::with_plan(&plan);
        let mut steps = Vec::new();
        for (index, price) in path.iter().enumerate() {
            if index % every == 0 {
                let watch = paper.watch();
                paper = PaperBot::restore(&plan, &paper.state()).unwrap();
                prop_assert_eq!(paper.watch(), watch);
            }
            paper.on_move(&PriceMove::tick(*price, at(index)), &mut steps).unwrap();
        }
        prop_assert_eq!(steps, expected);
    }

    #[test]
    fn no_price_can_make_a_machine_panic(
        definition in definitions(),
        prices in proptest::collection::vec(1..=i64::MAX, 1..60),
        lot in prop_oneof![Just("0.00000001"), Just("1"), Just("1000000")],
    ) {
        let mut market = market("0.00000001", lot, "0.001");
        market.min_notional = "5".parse().unwrap();
        let Ok(mut paper) = PaperBot::new(&definition, &market) else { return Ok(()) };
        for (index, units) in prices.into_iter().enumerate() {
            let tick = PriceMove::tick(Price::from_e8(units).unwrap(), at(index));
            if paper.on_move(&tick, &mut Vec::new()).is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_hundred_thousand_sleeping_bots_fit_in_forty_megabytes() {
    // What a definition comes to is shared; beside it a bot is this and one vector of its open trade's entries.
    assert!(std::mem::size_of::<PaperBot>() <= 400, "{}", std::mem::size_of::<PaperBot>());
}

#[test]
fn the_longest_ladder_of_the_longest_numbers_runs_to_its_end() {
    let definition = bot(r#"{"max_open_trades":100,"stop_loss":-99.99999999,"stake_amount":12.34567891,
            "dca":{"price_deviation":0.50000001,"step_scale":1.00000001,"volume_scale":1.01234567}}"#);
    let mut paper = PaperBot::new(&definition, &market("0.01", "0.00000001", "0.00075")).unwrap();
    let mut steps = Vec::new();
    let mut cents = 6_000_000_i64;
    for index in 0.. {
        let price = Price::from_e8(cents * 1_000_000).unwrap();
        let watch = paper.on_move(&PriceMove::tick(price, at(index)), &mut steps).unwrap();
        if steps.len() == 100 {
            break;
        }
        cents = watch.below.unwrap().e8() / 1_000_000;
    }
    assert_eq!(paper.books().entries.len(), 100);
    // D₉₉ is a little over 99 · 0.50000001 %, so the last trigger is a little under half of P₀.
    assert!((3_029_000..3_035_000).contains(&cents), "{cents}");
}
