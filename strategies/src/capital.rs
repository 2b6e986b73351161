//! What a bot needs to trade its whole ladder.

use model::{BotDefinition, Quote, StrategyDefinition};

use crate::exact::Exact;
use crate::plan::MAX_LADDER;

/// How many decimals it is told with.
const DECIMALS: u32 = 8;

/// The stakes of a bot's whole ladder together, in quote, before fees; rounded up to eight decimals. A ladder that no
/// plan takes comes to the most that one may.
pub fn ladder_stake(bot: &BotDefinition) -> Quote {
    let StrategyDefinition::Dca(dca) = &bot.strategy;
    let most = Exact::from(MAX_LADDER);
    let scale = Exact::from(dca.volume_scale);
    let mut stake = Exact::from(dca.safety_stake.decimal());
    let mut total = Exact::from(bot.stake_amount.decimal());
    for _ in 1..bot.max_open_trades {
        total += &stake;
        if total > most {
            total = most;
            break;
        }
        stake *= &scale;
    }
    let stake = total.ceil(DECIMALS).unwrap_or_default();
    Quote::new(stake.normalize()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &str, expected: &str) {
        let body = format!(
            r#"{{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "stop_loss":-10,"dry_run":true,{fields}}}"#
        );
        let bot = BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap();
        assert_eq!(ladder_stake(&bot).to_string(), expected);
    }

    #[test]
    fn a_ladder_needs_the_sum_of_its_stakes() {
        check(r#""max_open_trades":1"#, "50");
        check(r#""max_open_trades":3,"dca":{"volume_scale":2}"#, "200");
        check(r#""max_open_trades":3,"dca":{"safety_stake":10,"volume_scale":1.00000001}"#, "70.0000001");
        check(r#""max_open_trades":100,"dca":{"volume_scale":9}"#, "1000000000000");
    }
}
