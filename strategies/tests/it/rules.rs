//! Every rule of contract §4 on its own.

use model::{PriceMove, Timestamp};
use strategies::{Candle, PaperBot, Plan};

use super::{bot, line, market, price, run};

#[track_caller]
fn check(fields: &str, prices: &[&str], expected: &[&str]) {
    let mut paper = PaperBot::new(&bot(fields), &market("0.01", "0.001", "0.001")).unwrap();
    assert_eq!(run(&mut paper, 0, prices), expected);
}

#[track_caller]
fn check_candles(fields: &str, candles: &[[&str; 4]], expected: &[&str]) {
    let mut paper = PaperBot::new(&bot(fields), &market("0.01", "0.001", "0.001")).unwrap();
    let mut steps = Vec::new();
    for (minute, [open, high, low, close]) in (0..).zip(candles) {
        let at = Timestamp::from_millis(minute * 60_000);
        let candle = Candle::new(at, price(open), price(high), price(low), price(close)).unwrap();
        paper.on_candle(&candle, &mut steps).unwrap();
    }
    assert_eq!(steps.iter().map(line).collect::<Vec<_>>(), expected);
}

#[track_caller]
fn check_refused(fields: &str, fee: &str, params: &[&str]) {
    let faults = Plan::new(&bot(fields), &market("0.01", "0.001", fee)).unwrap_err().0;
    assert_eq!(faults.iter().map(|fault| fault.param.as_str()).collect::<Vec<_>>(), params, "{faults:?}");
}

#[test]
fn a_stop_loss_sells_at_the_ticks_price() {
    check("{}", &["100", "80"], &["0 0.500 @ 100", "stop 90.09", "stop_loss 0.500 @ 80"]);
}

#[test]
fn a_gap_fills_every_safety_order_it_jumped_at_the_ticks_price() {
    check("{}", &["100", "95"], &["0 0.500 @ 100", "1 0.527 @ 95", "2 0.527 @ 95"]);
}

#[test]
fn a_trailing_stop_names_itself_only_above_the_stop() {
    let fields = r#"{"trailing_stop":5,"take_profit":50,"max_open_trades":1}"#;
    check(
        fields,
        &["100", "110", "104.51", "104.50"],
        &["0 0.500 @ 100", "stop 104.5", "trailing_stop 0.500 @ 104.5"],
    );
    let fields = r#"{"trailing_stop":20,"max_open_trades":1}"#;
    check(fields, &["100", "90.09"], &["0 0.500 @ 100", "stop 90.09", "stop_loss 0.500 @ 90.09"]);
}

#[test]
fn an_entry_restarts_the_trailing_high() {
    let fields = r#"{"trailing_stop":9,"take_profit":50,"max_open_trades":2,"dca":{"price_deviation":5}}"#;
    check(
        fields,
        &["100", "101", "95", "92", "89", "86.45"],
        &["0 0.500 @ 100", "1 0.527 @ 95", "stop 87.77", "stop_loss 1.027 @ 86.45"],
    );
}

#[test]
fn a_trailing_take_profit_arms_then_follows() {
    let fields = r#"{"trailing_take_profit":1,"max_open_trades":1}"#;
    check(
        fields,
        &["100", "102.31", "105", "103.96", "103.95"],
        &["0 0.500 @ 100", "trailing_take_profit 0.500 @ 103.95"],
    );
}

#[test]
fn a_new_entry_disarms() {
    let fields = r#"{"trailing_take_profit":5,"dca":{"price_deviation":0.5},"max_open_trades":2}"#;
    // The fall after arming ends the trade long before a safety order could fill, so a gap through both decides
    // by the order of the rules: take profit first.
    check(fields, &["100", "102.31", "90.5"], &["0 0.500 @ 100", "trailing_take_profit 0.500 @ 90.5"]);
}

#[test]
fn the_next_base_order_waits_for_a_later_tick_and_for_the_cooldown() {
    let definition = bot(r#"{"max_open_trades":1,"dca":{"cooldown_s":3}}"#);
    let mut paper = PaperBot::new(&definition, &market("0.01", "0.001", "0.001")).unwrap();
    assert_eq!(run(&mut paper, 0, &["100", "103"]), ["0 0.500 @ 100", "take_profit 0.500 @ 103"]);
    assert!(run(&mut paper, 2, &["100", "100"]).is_empty());
    assert_eq!(run(&mut paper, 4, &["100"]), ["0 0.500 @ 100"]);

    let mut paper =
        PaperBot::new(&bot(r#"{"max_open_trades":1}"#), &market("0.01", "0.001", "0.001")).unwrap();
    let mut steps = Vec::new();
    for _ in 0..3 {
        for text in ["100", "103"] {
            paper.on_move(&PriceMove::tick(price(text), Timestamp::from_millis(7)), &mut steps).unwrap();
        }
    }
    assert_eq!(steps.len(), 2, "ticks that share the closing tick's time open nothing");
}

#[test]
fn slippage_makes_buys_dearer_and_sells_cheaper_but_moves_no_trigger() {
    let mut market = market("0.01", "0.001", "0");
    market.slippage = "0.001".parse().unwrap();
    let mut paper = PaperBot::new(&bot(r#"{"max_open_trades":1}"#), &market).unwrap();
    assert_eq!(run(&mut paper, 0, &["100"]), ["0 0.500 @ 100.1"]);
    assert_eq!(run(&mut paper, 1, &["103"]), ["take_profit 0.500 @ 102.897"]);
}

#[test]
fn inside_a_candle_a_trigger_fills_at_its_own_price() {
    check_candles("{}", &[["100", "101", "97", "100.5"]], &["0 0.500 @ 100", "1 0.510 @ 98.09"]);
    check_candles("{}", &[["100", "103", "99", "99.5"]], &["0 0.500 @ 100", "take_profit 0.500 @ 102.21"]);
}

#[test]
fn a_closed_trade_is_not_followed_in_its_own_candle() {
    check_candles(
        r#"{"max_open_trades":1}"#,
        &[["100", "110", "100", "101"], ["101", "101", "101", "101"]],
        &["0 0.500 @ 100", "take_profit 0.500 @ 102.21", "0 0.496 @ 101"],
    );
}

#[test]
fn a_trailing_stop_inside_a_candle_closes_at_its_level() {
    check_candles(
        r#"{"max_open_trades":1,"trailing_stop":5,"take_profit":50}"#,
        &[["100", "110", "100", "101"]],
        &["0 0.500 @ 100", "stop 104.5", "trailing_stop 0.500 @ 104.5"],
    );
}

#[test]
fn inside_a_candle_a_stop_that_slippage_put_above_the_price_is_met_at_once() {
    let mut market = market("0.01", "0.001", "0");
    market.slippage = "0.02".parse().unwrap();
    let mut paper = PaperBot::new(&bot(r#"{"max_open_trades":1,"stop_loss":-1}"#), &market).unwrap();
    let mut steps = Vec::new();
    let candle = Candle::new(Timestamp::MIN, price("100"), price("105"), price("100"), price("104")).unwrap();
    paper.on_candle(&candle, &mut steps).unwrap();
    let lines: Vec<_> = steps.iter().map(line).collect();
    assert_eq!(lines, ["0 0.500 @ 102", "stop 100.98", "stop_loss 0.500 @ 98"]);
}

#[test]
fn what_the_open_jumped_over_fills_at_the_open() {
    check_candles(
        "{}",
        &[["100", "100", "100", "100"], ["95", "95", "95", "95"]],
        &["0 0.500 @ 100", "1 0.527 @ 95", "2 0.527 @ 95"],
    );
}

#[test]
fn definitions_that_cannot_work_are_refused() {
    check_refused(r#"{"max_open_trades":60}"#, "0.001", &["dca.price_deviation"]);
    check_refused(r#"{"stop_loss":-0.05}"#, "0.001", &["stop_loss"]);
    check_refused(r#"{"dca":{"price_deviation":0.1}}"#, "0.001", &["dca.price_deviation"]);
    check_refused(r#"{"take_profit":0}"#, "0", &["take_profit"]);
    check_refused(
        r#"{"stake_amount":1000000000000,"dca":{"volume_scale":100,"price_deviation":0.2}}"#,
        "0.001",
        &["dca.volume_scale"],
    );
}

#[test]
fn safety_orders_below_the_stop_are_warned_of() {
    let warned =
        |fields| !Plan::new(&bot(fields), &market("0.01", "0.001", "0.001")).unwrap().warnings().is_empty();
    assert!(warned(r#"{"stop_loss":-3,"stop_loss_basis":"base_order"}"#));
    assert!(warned(r#"{"stop_loss":-2}"#));
    assert!(!warned("{}"));
}

#[test]
fn a_stake_under_the_venues_minimum_is_refused_where_the_price_is_known_and_told_where_not() {
    let mut market = market("0.01", "0.001", "0.001");
    market.min_notional = "51".parse().unwrap();
    let plan = Plan::new(&bot("{}"), &market).unwrap();
    let params: Vec<_> =
        plan.check_minimum(price("100")).unwrap_err().0.into_iter().map(|fault| fault.param).collect();
    assert_eq!(params, ["stake_amount", "dca.safety_stake"]);
    let mut paper = PaperBot::with_plan(&plan);
    let told = paper.on_move(&PriceMove::tick(price("100"), Timestamp::MIN), &mut Vec::new()).unwrap_err();
    assert_eq!(told.to_string(), "entry 1 comes to 50.000, below the venue's minimum of 51: raise its stake");
}

#[test]
fn a_bot_without_a_stop_holds_whatever_the_price_and_one_without_a_take_profit_too() {
    let fields = r#"{"stop_loss":null,"max_open_trades":1}"#;
    check(fields, &["100", "1", "0.01", "102.3"], &["0 0.500 @ 100", "take_profit 0.500 @ 102.3"]);
    let fields = r#"{"take_profit":null,"max_open_trades":1}"#;
    check(fields, &["100", "9000", "90"], &["0 0.500 @ 100", "stop 90.09", "stop_loss 0.500 @ 90"]);
    let fields = r#"{"stop_loss":null,"take_profit":null,"trailing_stop":5,"max_open_trades":1}"#;
    check(fields, &["100", "110", "104.5"], &["0 0.500 @ 100", "stop 104.5", "trailing_stop 0.500 @ 104.5"]);
    check_candles(
        r#"{"stop_loss":null,"take_profit":null,"max_open_trades":1}"#,
        &[["100", "100", "100", "100"], ["100", "9000", "0.01", "100"]],
        &["0 0.500 @ 100"],
    );
    let codes = |fields| {
        let plan = Plan::new(&bot(fields), &market("0.01", "0.001", "0.001")).unwrap();
        plan.warnings().iter().map(|warning| warning.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(r#"{"stop_loss":null}"#), ["no_stop_loss"]);
    assert_eq!(codes(r#"{"stop_loss":null,"trailing_stop":5}"#), [""; 0]);
}
