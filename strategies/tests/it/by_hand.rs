//! Trades that are closed and added to by hand: the laws hold with them.

use model::{ExitReason, Price, PriceMove, Qty, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use strategies::{Funds, PaperBot, PaperStep, Plan};

use super::laws::{at, definitions, paths};
use super::{bot, market, price, run};

/// What an owner does after a tick.
#[derive(Clone, Copy, Debug)]
enum Act {
    Nothing,
    Close,
    Add(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act =
        prop_oneof![20 => Just(Act::Nothing), 1 => Just(Act::Close), 3 => (1..500_u32).prop_map(Act::Add)];
    proptest::collection::vec(act, 300)
}

fn carry_out(act: Act, paper: &mut PaperBot, last: Price, now: Timestamp, steps: &mut Vec<PaperStep>) {
    match act {
        Act::Nothing => {}
        Act::Close => drop(paper.close(ExitReason::Manual, last, now, steps).unwrap()),
        Act::Add(amount) => {
            let amount = model::Quote::new(amount.into()).unwrap();
            let qty = paper.added(Funds::Amount(amount), last).unwrap();
            paper.add(qty, last, now, steps).unwrap();
        }
    }
}

/// Every tick told, and everything done that the owner wants.
fn all_ticks(paper: &mut PaperBot, path: &[Price], acts: &[Act]) -> Vec<PaperStep> {
    let mut steps = Vec::new();
    for (index, (price, act)) in path.iter().zip(acts).enumerate() {
        paper.on_move(&PriceMove::tick(*price, at(index)), &mut steps).unwrap();
        carry_out(*act, paper, *price, at(index), &mut steps);
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn only_the_ticks_that_leave_the_watch_matter(definition in definitions(), path in paths(), acts in acts()) {
        let Ok(plan) = Plan::new(&definition, &market("0.01", "0.00001", "0.001")) else { return Ok(()) };
        let expected = all_ticks(&mut PaperBot::with_plan(&plan), &path, &acts);
        let mut sleeper = PaperBot::with_plan(&plan);
        let (mut steps, mut watch) = (Vec::new(), sleeper.watch());
        let mut untold: Option<(Price, Price)> = None;
        for (index, (price, act)) in path.iter().copied().zip(&acts).enumerate() {
            let (high, low) = untold.map_or((price, price), |(high, low)| (high.max(price), low.min(price)));
            untold = Some((high, low));
            if watch.is_left_by(price, at(index), high) {
                watch = sleeper.on_move(&PriceMove { price, at: at(index), high, low }, &mut steps).unwrap();
                untold = None;
            }
            let before = steps.len();
            carry_out(*act, &mut sleeper, price, at(index), &mut steps);
            if steps.len() > before {
                // Its feed counts from then on.
                (watch, untold) = (sleeper.watch(), None);
            }
        }
        prop_assert_eq!(steps, expected);
    }

    #[test]
    fn profit_is_the_sum_of_the_fills(definition in definitions(), path in paths(), acts in acts()) {
        let market = market("0.01", "0.001", "0.001");
        let Ok(mut paper) = PaperBot::new(&definition, &market) else { return Ok(()) };
        let steps = all_ticks(&mut paper, &path, &acts);
        let fee = market.fee.decimal();
        let (mut spent, mut bought) = (Decimal::ZERO, Decimal::ZERO);
        for step in &steps {
            match step {
                PaperStep::Entered(entry) => {
                    spent += entry.price.decimal() * entry.qty.decimal() * (Decimal::ONE + fee);
                    bought += entry.qty.decimal();
                    prop_assert_eq!(entry.qty.decimal() % market.lot_step.decimal(), Decimal::ZERO);
                }
                PaperStep::Exited(books) => {
                    let exit = books.exit.unwrap();
                    prop_assert_eq!(exit.qty.decimal(), bought, "all that was bought is sold");
                    let got = exit.price.decimal() * exit.qty.decimal() * (Decimal::ONE - fee);
                    prop_assert_eq!(books.profit(exit.price, market.fee).decimal(), got - spent);
                    (spent, bought) = (Decimal::ZERO, Decimal::ZERO);
                }
                PaperStep::StopHit { .. } => {}
            }
        }
        prop_assert_eq!(paper.books().amount().decimal(), bought, "what is open is held");
    }

    #[test]
    fn a_restart_anywhere_changes_nothing(
        definition in definitions(), path in paths(), acts in acts(), every in 1..40_usize,
    ) {
        let Ok(plan) = Plan::new(&definition, &market("0.01", "0.00001", "0.001")) else { return Ok(()) };
        let expected = all_ticks(&mut PaperBot::with_plan(&plan), &path, &acts);
        let mut paper = PaperBot::with_plan(&plan);
        let mut steps = Vec::new();
        for (index, (price, act)) in path.iter().zip(&acts).enumerate() {
            if index % every == 0 {
                let watch = paper.watch();
                paper = PaperBot::restore(&plan, &paper.state()).unwrap();
                prop_assert_eq!(paper.watch(), watch);
            }
            paper.on_move(&PriceMove::tick(*price, at(index)), &mut steps).unwrap();
            carry_out(*act, &mut paper, *price, at(index), &mut steps);
        }
        prop_assert_eq!(steps, expected);
    }

    #[test]
    fn what_is_added_moves_no_trigger(definition in definitions(), amount in 1..10_000_u32, cents in 9_900..10_100_i64) {
        let definition = strategies::BotDefinition { trailing_stop: None, ..definition };
        let Ok(mut paper) = PaperBot::new(&definition, &market("0.01", "0.001", "0.001")) else { return Ok(()) };
        paper.on_move(&PriceMove::tick(price("100"), at(0)), &mut Vec::new()).unwrap();
        let mut alone = paper.clone();
        carry_out(Act::Add(amount), &mut paper, Price::from_e8(cents * 1_000_000).unwrap(), at(1), &mut Vec::new());
        // With the stop out of the way only the ladder wakes it on the way down.
        let ladder = |paper: &mut PaperBot| {
            let stop = paper.machine().stop_price();
            paper.watch().below.filter(|below| Some(*below) != stop)
        };
        let (with, without) = (ladder(&mut paper), ladder(&mut alone));
        if let (Some(with), Some(without)) = (with, without) {
            prop_assert_eq!(with, without);
        }
    }
}

#[test]
fn what_is_added_counts_into_the_average_and_the_levels_follow() {
    let definition = bot(r#"{"max_open_trades":3,"dca":{"price_deviation":2}}"#);
    let mut paper = PaperBot::new(&definition, &market("0.01", "0.001", "0.001")).unwrap();
    assert_eq!(run(&mut paper, 0, &["100"]), ["0 0.500 @ 100"]);
    let mut steps = Vec::new();
    let qty: Qty = "0.5".parse().unwrap();
    paper.add(qty, price("99"), at(1), &mut steps).unwrap();
    let [PaperStep::Entered(added)] = steps.as_slice() else { panic!("{steps:?}") };
    assert!(added.by_hand);
    // (50 + 49.5) · 1.001 / 1 = 99.5995: the stop 10 % under it, the take profit 2 % over it after a fee of 0.1 %.
    assert_eq!(paper.books().average().normalize().to_string(), "99.5995");
    assert_eq!(paper.machine().stop_price(), Some(price("89.63")));
    assert_eq!(paper.machine().take_profit_price(), Some(price("101.70")));
    assert_eq!(paper.watch().below, Some(price("98.09")), "the first safety order is still to come");
    assert_eq!(run(&mut paper, 2, &["98.09", "101.69"]), ["1 0.510 @ 98.09", "take_profit 1.510 @ 101.69"]);
}

#[test]
fn after_a_close_by_hand_the_next_trade_begins_as_after_any_other() {
    let definition = bot(r#"{"max_open_trades":1,"dca":{"cooldown_s":10}}"#);
    let mut paper = PaperBot::new(&definition, &market("0.01", "0.001", "0.001")).unwrap();
    run(&mut paper, 0, &["100"]);
    let mut steps = Vec::new();
    paper.close(ExitReason::Signal, price("101"), Timestamp::from_millis(5_000), &mut steps).unwrap();
    let [PaperStep::Exited(books)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(books.exit.unwrap().reason, ExitReason::Signal);
    assert!(run(&mut paper, 5, &["101", "101", "101"]).is_empty(), "it cools down first");
    assert_eq!(run(&mut paper, 15, &["101"]), ["0 0.496 @ 101"]);
}

#[test]
fn what_the_venue_would_not_take_is_refused() {
    let least = model::Market { min_notional: "5".parse().unwrap(), ..market("0.01", "0.001", "0.001") };
    let paper = PaperBot::new(&bot("{}"), &least).unwrap();
    let refused = |funds: Funds| paper.added(funds, price("100")).unwrap_err().0.remove(0).param;
    assert_eq!(refused(Funds::Amount("4.8".parse().unwrap())), "amount");
    assert_eq!(refused(Funds::Amount("1000000000001".parse().unwrap())), "amount");
    assert_eq!(refused(Funds::Qty("0.0005".parse().unwrap())), "qty");
    assert_eq!(refused(Funds::Qty("0".parse().unwrap())), "qty");
    let taken = |funds: Funds| paper.added(funds, price("100")).unwrap().to_string();
    assert_eq!(taken(Funds::Amount("5.01".parse().unwrap())), "0.051");
    assert_eq!(taken(Funds::Qty("0.051".parse().unwrap())), "0.051");
}
