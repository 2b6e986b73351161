//! What a preview says is what the bot then trades.

use model::{Market, Price, PriceMove, Timestamp};
use proptest::prelude::*;
use strategies::{BotDefinition, PaperBot, PaperStep, Plan, Preview, PreviewedEntry};

use super::laws::definitions;
use super::{bot, market, price};

/// One line an entry: its quantity, price and the levels after it.
fn lines(preview: &Preview) -> Vec<String> {
    let line = |previewed: &PreviewedEntry| {
        let PreviewedEntry { entry, stop, take_profit, .. } = previewed;
        let level = |level: &Option<Price>| level.map_or("none".to_owned(), |level| level.to_string());
        format!("{} @ {}: stop {}, profit {}", entry.qty, entry.price, level(stop), level(take_profit))
    };
    preview.entries.iter().map(line).collect()
}

fn messages(preview: &Preview) -> Vec<&str> {
    preview.warnings.iter().map(|warning| warning.message.as_str()).collect()
}

#[test]
fn the_worked_example_is_previewed_to_the_last_digit() {
    let definition = bot(r#"{"dca":{"price_deviation":2,"step_scale":1.5,"volume_scale":2}}"#);
    let preview = Preview::new(&definition, &market("0.01", "0.001", "0.001"), price("100")).unwrap();
    assert_eq!(
        lines(&preview),
        [
            "0.500 @ 100: stop 90.09, profit 102.21",
            "0.510 @ 98.09: stop 89.22, profit 101.22",
            "1.052 @ 95.09: stop 87.4, profit 99.17",
        ]
    );
    let last = preview.entries.last().unwrap();
    assert_eq!(last.stake.to_string(), "200.26064058");
    assert!(last.average.to_string().starts_with("97.119612"));
    assert_eq!(preview.funds_needed(), last.stake);
    // 2.062 sold at 99.17 and at 87.40, less 0.1 %.
    assert_eq!(last.profit_at_take_profit.unwrap().decimal().normalize().to_string(), "4.02341088");
    assert_eq!(preview.worst_loss().decimal().normalize().to_string(), "20.22205938");
    assert!(preview.warnings.is_empty(), "{preview:?}");
}

#[test]
fn the_published_deal_is_previewed_with_what_its_stop_cuts_off() {
    for (take_profit, first, second) in
        [("2", "3163.63", "3159.89"), ("3", "3194.65", "3190.87"), ("4", "3225.67", "3221.85")]
    {
        let definition = bot(&format!(
            r#"{{"pair":"ETH/USDT","stake_amount":100,"max_open_trades":4,"stop_loss":-4,"stop_loss_basis":"base_order",
                "take_profit":{take_profit},"dca":{{"safety_stake":15,"price_deviation":1,"step_scale":4,"volume_scale":1.7}}}}"#
        ));
        let preview =
            Preview::new(&definition, &market("0.01", "0.0001", "0.001"), price("3095.40")).unwrap();
        let lines = lines(&preview);
        assert_eq!(lines[0], format!("0.0324 @ 3095.4: stop 2974.55, profit {first}"));
        assert_eq!(lines[1], format!("0.0049 @ 3067.51: stop 2974.55, profit {second}"));
        assert!(lines[2].starts_with("0.0087 @ 2943.57") && lines[3].starts_with("0.0178 @ 2447.81"));
        assert_eq!(preview.entries[1].stake.to_string(), "115.437080759");
        assert_eq!(
            preview.entries.iter().map(|entry| entry.is_reached).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(
            messages(&preview),
            ["2 of 3 safety orders lie at or below the stop (2974.55 before entry 3) and will not fill"]
        );
        assert_eq!(preview.worst_loss(), preview.entries[1].loss_at_stop);
    }
}

#[test]
fn a_stake_below_the_minimum_and_a_trigger_at_zero_are_warned_of() {
    let least = Market { min_notional: "10".parse().unwrap(), ..market("1", "1", "0.001") };
    let definition =
        bot(r#"{"max_open_trades":3,"stop_loss":-99.9,"dca":{"safety_stake":5,"price_deviation":45}}"#);
    let preview = Preview::new(&definition, &least, price("2")).unwrap();
    assert_eq!(
        messages(&preview),
        [
            "such a bot is refused: entry 2 comes to 5, below the venue's minimum of 10: raise its stake",
            "the triggers of 1 safety orders round to 0: they never fire",
            "after a buy at 1 the stop rounds down to 0, below the pair's tick of 1: it never acts",
        ]
    );
    assert_eq!(preview.entries.len(), 2);
}

#[test]
fn a_trailing_stop_that_cuts_the_ladder_off_is_named() {
    let definition = bot(r#"{"trailing_stop":1,"dca":{"price_deviation":2}}"#);
    let preview = Preview::new(&definition, &market("0.01", "0.001", "0.001"), price("100")).unwrap();
    assert_eq!(preview.warnings[0].param, "trailing_stop");
}

/// What a paper bot has done after the base price and each trigger in turn.
fn traded(definition: &BotDefinition, market: &Market, preview: &Preview) -> (Vec<PaperStep>, PaperBot) {
    let mut paper = PaperBot::new(definition, market).unwrap();
    let mut steps = Vec::new();
    for (second, previewed) in (0..).zip(&preview.entries) {
        let tick = PriceMove::tick(previewed.entry.decided, Timestamp::from_millis(second * 1_000));
        paper.on_move(&tick, &mut steps).unwrap();
        if !previewed.is_reached {
            break;
        }
    }
    (steps, paper)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_paper_bot_fed_its_triggers_trades_exactly_its_preview(
        definition in definitions(), cents in 100..2_000_000_i64, slippage in prop_oneof![Just("0"), Just("0.0004")],
    ) {
        let market = Market { slippage: slippage.parse().unwrap(), ..market("0.01", "0.001", "0.001") };
        let base = Price::from_e8(cents * 1_000_000).unwrap();
        let Ok(preview) = Preview::new(&definition, &market, base) else { return Ok(()) };
        let (steps, paper) = traded(&definition, &market, &preview);
        let reached: Vec<&PreviewedEntry> = preview.entries.iter().filter(|entry| entry.is_reached).collect();
        let entered: Vec<_> = steps.iter().filter_map(|step| match step {
            PaperStep::Entered(entry) => Some(*entry),
            _ => None,
        }).collect();
        prop_assert_eq!(entered.len(), reached.len());
        for (entered, previewed) in entered.iter().zip(&reached) {
            let wanted = strategies::Entry { at: Timestamp::MIN, ..*entered };
            prop_assert_eq!(previewed.entry, wanted);
        }
        let last = *reached.last().unwrap();
        match steps.last() {
            // The next trigger lay at or under the stop: it sold instead.
            Some(PaperStep::Exited(books)) => {
                prop_assert!(reached.len() < preview.entries.len());
                prop_assert_eq!(books.stake(), last.stake);
            }
            _ => {
                prop_assert_eq!(paper.books().stake(), last.stake);
                prop_assert_eq!(paper.books().average(), last.average);
                prop_assert_eq!(paper.machine().stop_price(), last.stop);
                prop_assert_eq!(paper.machine().take_profit_price(), last.take_profit);
            }
        }
        // Sold at the levels that it names, it makes and loses what it says.
        if let (Some(level), false) = (last.take_profit, definition.trailing_take_profit.is_some()) {
            let (mut paper, mut steps) = (PaperBot::new(&definition, &market).unwrap(), Vec::new());
            for (second, previewed) in (0..).zip(&reached) {
                let at = Timestamp::from_millis(second * 1_000);
                paper.on_move(&PriceMove::tick(previewed.entry.decided, at), &mut steps).unwrap();
            }
            paper.on_move(&PriceMove::tick(level, Timestamp::from_millis(1_000_000)), &mut steps).unwrap();
            let Some(PaperStep::Exited(books)) = steps.last() else { panic!("{steps:?}") };
            let exit = books.exit.unwrap();
            prop_assert_eq!(Some(books.profit(exit.price, market.fee)), last.profit_at_take_profit);
        }
    }
}

/// The codes of what a preview warns of at this price.
fn codes(fields: &str, market: &Market, at: &str) -> Vec<&'static str> {
    let preview = Preview::new(&bot(fields), market, price(at)).unwrap();
    preview.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn a_stop_that_rounds_to_nothing_is_warned_of() {
    let market = market("0.00000001", "1", "0.001");
    let fields = r#"{"stop_loss":-10,"max_open_trades":1}"#;
    assert_eq!(codes(fields, &market, "0.00000001"), ["stop_below_tick"]);
    assert!(codes(fields, &market, "0.0000001").is_empty());
}

#[test]
fn a_ladder_beyond_the_largest_order_is_warned_of_or_refused() {
    let bounds = model::OrderBounds { max_market_qty: Some("8".parse().unwrap()), ..Default::default() };
    let market = Market { bounds, ..market("0.01", "0.1", "0.001") };
    let fields =
        |stake: u32| format!(r#"{{"stake_amount":{stake},"stop_loss":-50,"dca":{{"safety_stake":50}}}}"#);
    assert_eq!(codes(&fields(50), &market, "10"), ["sold_in_parts"]);
    assert!(codes(&fields(50), &market, "100").is_empty());
    assert!(codes(&fields(90), &market, "10").contains(&"stake_above_maximum"));
    let plan = |stake| Plan::new(&bot(&fields(stake)), &market).unwrap();
    let refused = plan(90).check_minimum(price("10")).unwrap_err().to_string();
    assert_eq!(
        refused,
        "stake_amount: entry 1 buys 9.0, above the venue's maximum of 8 for one order: lower its stake"
    );
    plan(50).check_minimum(price("10")).unwrap();
}

#[test]
fn a_ladder_without_a_stop_reaches_every_step_and_may_lose_all() {
    let market = market("0.01", "0.001", "0.001");
    let preview = Preview::new(
        &bot(r#"{"stop_loss":null,"take_profit":null,"max_open_trades":9}"#),
        &market,
        price("100"),
    );
    let preview = preview.unwrap();
    assert_eq!(preview.warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["no_stop_loss"]);
    assert!(preview.entries.iter().all(|entry| entry.is_reached && entry.stop.is_none()));
    assert!(preview.entries.iter().all(|entry| entry.take_profit.is_none()));
    assert_eq!(preview.worst_loss(), preview.funds_needed());
}
