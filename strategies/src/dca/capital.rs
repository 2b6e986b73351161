//! What the stakes of a ladder come to.

use model::Quote;

use super::definition::DcaDefinition;
use crate::definition::BotDefinition;
use crate::exact::Exact;
use crate::market_rules::MAX_STAKE;

/// The stakes of a whole ladder together, in quote; of one that no plan takes the most that one may spend.
pub(crate) fn stakes(bot: &BotDefinition, dca: &DcaDefinition) -> Quote {
    let most = Exact::from(MAX_STAKE);
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
    // As many decimals as every such total can be kept with.
    total.ceil(DECIMALS).and_then(|stake| Quote::new(stake.normalize()).ok()).unwrap_or_default()
}

/// How many decimals of a sum of stakes are kept.
const DECIMALS: u32 = 12;
