//! What a definition comes to on its market.

use std::sync::Arc;

use model::{Faults, Market, Price, Warning};

use crate::dca::DcaPlan;
use crate::definition::BotDefinition;
use crate::market_rules::MarketRules;
use crate::strategy::StrategyDefinition;

/// A bot's rules in the form that deciding needs. A clone shares them: bots with one definition on one market may have one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Plan {
    /// Of a ladder.
    Dca(Arc<DcaPlan>),
}

impl Plan {
    /// Works a definition out against its market (contract §4).
    ///
    /// # Errors
    /// Everything in it that cannot work there: a ladder that reaches 100 % or spends beyond reason, one of two or more
    /// entries whose deviation is not larger than the fee, a stop that would fire at once, a take-profit of 0 without a fee.
    pub fn new(bot: &BotDefinition, market: &Market) -> Result<Self, Faults> {
        match &bot.strategy {
            StrategyDefinition::Dca(dca) => DcaPlan::new(bot, dca, market).map(Arc::new).map(Self::Dca),
        }
    }

    /// What is allowed, but its owner should know.
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Self::Dca(plan) => plan.warnings(),
        }
    }

    /// Checks every entry against the venue's minimum, reckoned from rounded quantities, if the first one filled at `price`.
    ///
    /// # Errors
    /// The stakes that are below [`Market::min_notional`] or beyond [`Market::bounds`], and the stake of a live bot that
    /// could not sell again what it would receive.
    pub fn check_minimum(&self, price: Price) -> Result<(), Faults> {
        match self {
            Self::Dca(plan) => plan.check_minimum(price),
        }
    }

    /// The same rules on the pair's grid as it is now, at the fees of before.
    #[must_use]
    pub fn on_grid(&self, market: &Market) -> Self {
        match self {
            Self::Dca(plan) => Self::Dca(Arc::new(plan.on_grid(market))),
        }
    }

    /// What the venue takes.
    pub fn market_rules(&self) -> &MarketRules {
        match self {
            Self::Dca(plan) => &plan.rules,
        }
    }

    /// What it is decided under.
    pub fn market(&self) -> &Market {
        &self.market_rules().market
    }

    /// Whether another bot has it as well.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Dca(plan) => Arc::strong_count(plan) > 1,
        }
    }
}
