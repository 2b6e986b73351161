//! What an account pays for, and how much of everything that allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What an account pays for; the lowest needs no subscription.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlanLimits {
    /// Requests in any minute, of each key.
    pub requests_per_minute: u32,
    /// Bots of the account; without it there is no bound.
    #[schema(required)]
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

/// How it stands with an account's subscription.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// In force.
    #[default]
    Active,
    /// In force, and not paid for yet.
    Trialing,
    /// In force; the last payment failed and is tried again.
    PastDue,
    /// Not in force: payments failed for good.
    Unpaid,
    /// Not in force until it is resumed.
    Paused,
    /// Not in force yet: the first payment is not made.
    Incomplete,
    /// Over.
    Canceled,
}

impl SubscriptionStatus {
    /// Every status there is.
    pub const ALL: [Self; 7] = [
        Self::Active,
        Self::Trialing,
        Self::PastDue,
        Self::Unpaid,
        Self::Paused,
        Self::Incomplete,
        Self::Canceled,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Trialing => "trialing",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Incomplete => "incomplete",
            Self::Canceled => "canceled",
        }
    }

    /// Whether its plan is in force.
    pub const fn is_in_force(self) -> bool {
        matches!(self, Self::Active | Self::Trialing | Self::PastDue)
    }

    /// The plan that is in force where `paid` is paid for: the lowest while it is not.
    pub const fn plan(self, paid: Tier) -> Tier {
        if self.is_in_force() { paid } else { Tier::Standard }
    }
}

impl FromStr for SubscriptionStatus {
    type Err = SubscriptionStatusError;
    fn from_str(text: &str) -> Result<Self, SubscriptionStatusError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(SubscriptionStatusError)
    }
}

/// A text that is no status of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("one of active, trialing, past_due, unpaid, paused, incomplete, canceled is wanted")]
pub struct SubscriptionStatusError;

/// From when to when; `null` where that is not bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Period {
    /// Its beginning.
    #[schema(required)]
    pub start: Option<Timestamp>,
    /// Its end.
    #[schema(required)]
    pub end: Option<Timestamp>,
}

/// What an account may use, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct Subscription {
    /// The plan in force: the lowest while the subscription is not.
    pub plan: Tier,
    /// How it stands.
    pub status: SubscriptionStatus,
    /// What the plan allows.
    pub limits: PlanLimits,
    /// What is paid for now.
    pub period: Period,
    /// Whether it ends with the period instead of going on.
    pub cancel_at_period_end: bool,
}

impl Subscription {
    /// Whether owners want to be told of the way from this to `other`: the beginning of a period moves with its end.
    pub fn differs(&self, other: &Self) -> bool {
        let told = |it: &Self| (it.plan, it.status, it.limits, it.period.end, it.cancel_at_period_end);
        told(self) != told(other)
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
        for status in SubscriptionStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("gold".parse::<Tier>().is_err());
    }
}
