//! The contract's worked example and the deal that a rival published, to the last digit.

use std::str::FromStr;

use rust_decimal::Decimal;
use strategies::PaperBot;

use super::{bot, market, price, run};

#[test]
fn the_worked_example_holds_to_the_last_digit() {
    let definition = bot(r#"{"dca":{"price_deviation":2,"step_scale":1.5,"volume_scale":2}}"#);
    let mut paper = PaperBot::new(&definition, &market("0.01", "0.001", "0.001")).unwrap();
    assert_eq!(run(&mut paper, 0, &["100"]), ["0 0.500 @ 100"]);
    assert_eq!(paper.watch().below, Some(price("98.09")));
    assert_eq!(run(&mut paper, 1, &["98.10", "98.09"]), ["1 0.510 @ 98.09"]);
    assert_eq!(paper.watch().below, Some(price("95.09")));
    assert_eq!(run(&mut paper, 3, &["95.09"]), ["2 1.052 @ 95.09"]);
    assert_eq!(paper.books().stake().decimal(), Decimal::from_str("200.26064058").unwrap());
    assert_eq!(paper.books().amount().decimal(), Decimal::from_str("2.062").unwrap());
    assert!(paper.books().average().to_string().starts_with("97.119612"));
    assert_eq!(paper.machine().stop_price(), Some(price("87.40")));
    assert_eq!(paper.machine().take_profit_price(), Some(price("99.17")));
    assert_eq!(run(&mut paper, 4, &["99.16", "99.17"]), ["take_profit 2.062 @ 99.17"]);
}

#[test]
fn a_published_deal_is_reproduced() {
    for (take_profit, first, second) in
        [("2", "3163.63", "3159.89"), ("3", "3194.65", "3190.87"), ("4", "3225.67", "3221.85")]
    {
        let definition = bot(&format!(
            r#"{{"pair":"ETH/USDT","stake_amount":100,"max_open_trades":4,"stop_loss":-4,"stop_loss_basis":"base_order",
                "take_profit":{take_profit},"dca":{{"safety_stake":15,"price_deviation":1,"step_scale":4,"volume_scale":1.7}}}}"#
        ));
        let mut paper = PaperBot::new(&definition, &market("0.01", "0.0001", "0.001")).unwrap();
        assert_eq!(run(&mut paper, 0, &["3095.40"]), ["0 0.0324 @ 3095.4"]);
        assert_eq!(paper.machine().take_profit_price(), Some(price(first)));
        assert_eq!(paper.machine().stop_price(), Some(price("2974.55")));
        assert_eq!(run(&mut paper, 1, &["3067.51"]), ["1 0.0049 @ 3067.51"]);
        assert_eq!(paper.books().stake().decimal(), Decimal::from_str("115.437080759").unwrap());
        assert_eq!(paper.machine().take_profit_price(), Some(price(second)));
        assert_eq!(paper.machine().stop_price(), Some(price("2974.55")));
    }
}

#[test]
fn the_published_deals_deeper_safety_orders_lie_where_it_says() {
    // The stop lies above them, so a stop far down lets them fill.
    let definition = bot(r#"{"pair":"ETH/USDT","stake_amount":100,"max_open_trades":4,"stop_loss":-90,
            "dca":{"safety_stake":15,"price_deviation":1,"step_scale":4,"volume_scale":1.7}}"#);
    let mut paper = PaperBot::new(&definition, &market("0.01", "0.0001", "0.001")).unwrap();
    let steps = run(&mut paper, 0, &["3095.40", "3067.51", "2943.57", "2447.81"]);
    assert_eq!(
        steps,
        ["0 0.0324 @ 3095.4", "1 0.0049 @ 3067.51", "2 0.0087 @ 2943.57", "3 0.0178 @ 2447.81"]
    );
}

#[test]
fn a_restart_goes_on_with_the_trade() {
    let definition =
        bot(r#"{"dca":{"price_deviation":2,"step_scale":1.5,"volume_scale":2},"trailing_stop":3}"#);
    let market = market("0.01", "0.001", "0.001");
    let plan = strategies::Plan::new(&definition, &market).unwrap();
    let prices = ["100", "98.09", "99", "95", "96", "98", "94", "100", "101"];
    let mut whole = PaperBot::with_plan(&plan.clone());
    let mut restarted = PaperBot::with_plan(&plan.clone());
    for (second, price) in (0..).zip(prices) {
        let expected = run(&mut whole, second, &[price]);
        restarted = PaperBot::restore(&plan.clone(), &restarted.state()).unwrap();
        assert_eq!(run(&mut restarted, second, &[price]), expected);
    }
    assert_eq!(restarted.watch(), whole.watch());
    assert!(PaperBot::restore(&plan, "{\"phase\":7}").is_err());
}
