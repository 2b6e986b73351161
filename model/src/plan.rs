//! What an account pays for, and how much of everything that allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an account pays for; the lowest needs no subscription.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// 100 requests a minute.
    #[default]
    Standard,
    /// 300 requests a minute.
    Pro,
    /// 1,000 requests a minute.
    Enterprise,
}

impl Tier {
    /// Every plan there is, the lowest first.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Pro, Self::Enterprise];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("one of standard, pro, enterprise is wanted")]
pub struct TierError;

impl FromStr for Tier {
    type Err = TierError;
    fn from_str(text: &str) -> Result<Self, TierError> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == text).ok_or(TierError)
    }
}

/// How much of everything a plan allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlanLimits {
    /// Requests in any minute, of each key.
    pub requests_per_minute: u32,
    /// Bots of the account; without it there is no bound.
    pub bots: Option<u32>,
    /// Webhook endpoints of the account.
    pub webhooks: u32,
}

/// What every plan allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plans {
    /// Of [`Tier::Standard`].
    pub standard: PlanLimits,
    /// Of [`Tier::Pro`].
    pub pro: PlanLimits,
    /// Of [`Tier::Enterprise`].
    pub enterprise: PlanLimits,
}

impl Plans {
    /// What a plan allows.
    pub const fn of(&self, tier: Tier) -> PlanLimits {
        match tier {
            Tier::Standard => self.standard,
            Tier::Pro => self.pro,
            Tier::Enterprise => self.enterprise,
        }
    }
}

impl Default for Plans {
    /// The requests are the published ones; the rest is wide enough to be met by mistakes alone.
    fn default() -> Self {
        Self {
            standard: PlanLimits { requests_per_minute: 100, bots: Some(1_000), webhooks: 250 },
            pro: PlanLimits { requests_per_minute: 300, bots: Some(10_000), webhooks: 1_000 },
            enterprise: PlanLimits { requests_per_minute: 1_000, bots: None, webhooks: 5_000 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_one() {
        for tier in Tier::ALL {
            assert_eq!(serde_json::to_string(&tier).unwrap(), format!("\"{tier}\""));
            assert_eq!(tier.as_str().parse(), Ok(tier));
        }
        assert!("gold".parse::<Tier>().is_err());
    }
}
