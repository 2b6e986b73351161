//! What a bot needs to trade everything that its definition allows.

use model::{Market, Price, Quote, Rate};

use crate::dca;
use crate::definition::BotDefinition;
use crate::preview::Preview;
use crate::strategy::StrategyDefinition;

/// What a bot's whole ladder spends if its base order is decided at `price`, in quote: from rounded quantities, fees
/// included, as a preview shows it. `None` where its market refuses the definition.
pub fn ladder_funds(bot: &BotDefinition, market: &Market, price: Price) -> Option<Quote> {
    Preview::new(bot, market, price).ok().map(|preview| preview.funds_needed())
}

/// The stakes of a bot's whole ladder together with a fee on them, in quote: what stands in for [`ladder_funds`] while
/// neither market nor price is known. A ladder that no plan takes comes to the most that one may.
pub fn ladder_stake(bot: &BotDefinition, fee: Rate) -> Quote {
    let stake = match &bot.strategy {
        StrategyDefinition::Dca(dca) => dca::stakes(bot, dca),
    };
    stake + stake * fee
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(fields: &str) -> BotDefinition {
        let body = format!(
            r#"{{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "stop_loss":-10,"dry_run":true,{fields}}}"#
        );
        BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap()
    }

    #[track_caller]
    fn check(fields: &str, fee: &str, expected: &str) {
        assert_eq!(ladder_stake(&bot(fields), fee.parse().unwrap()).to_string(), expected);
    }

    #[test]
    fn a_ladder_needs_the_sum_of_its_stakes_and_the_fee_on_them() {
        check(r#""max_open_trades":1"#, "0", "50");
        check(r#""max_open_trades":3,"dca":{"volume_scale":2}"#, "0.001", "200.200");
        let fields = r#""max_open_trades":3,"dca":{"safety_stake":0.01,"volume_scale":1.00000001}"#;
        check(fields, "0", "50.0200000001");
        check(r#""max_open_trades":100,"dca":{"volume_scale":9}"#, "0", "1000000000000");
    }

    #[test]
    fn what_a_ladder_needs_is_what_its_rounded_quantities_cost() {
        let market = Market {
            tick_size: "0.01".parse().unwrap(),
            lot_step: "0.1".parse().unwrap(),
            min_notional: "5".parse().unwrap(),
            fee: "0.001".parse().unwrap(),
            slippage: Rate::ZERO,
            bounds: model::OrderBounds::default(),
        };
        let bot = bot(r#""max_open_trades":2,"dca":{"price_deviation":2}"#);
        // 0.1 at 40,000 and 0.1 at 39,239.20, which is 2 % below 40,040.
        let funds = ladder_funds(&bot, &market, "40000".parse().unwrap());
        assert_eq!(funds.map(|funds| funds.decimal().normalize().to_string()).as_deref(), Some("7931.84392"));
    }
}
