//! What is paid out to an account.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AccountId, PayoutId, Period, Quote, Timestamp};

/// How it stands with a payout.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayoutStatus {
    /// It arrived.
    Paid,
    /// It did not arrive; the money is back.
    Failed,
    /// It was called off.
    Canceled,
}

impl PayoutStatus {
    /// Every status there is; all of them are final.
    pub const ALL: [Self; 3] = [Self::Paid, Self::Failed, Self::Canceled];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

impl FromStr for PayoutStatus {
    type Err = PayoutStatusError;
    fn from_str(text: &str) -> Result<Self, PayoutStatusError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(PayoutStatusError)
    }
}

/// A text that is no final status of a payout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("one of paid, failed, canceled is wanted")]
pub struct PayoutStatusError;

/// What was paid out to an account, or failed to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payout {
    /// Its id.
    pub id: PayoutId,
    /// To whom.
    pub account_id: AccountId,
    /// For what: `manual`, `connect` (by Stripe), or the operator's own word.
    pub kind: String,
    /// How it ended.
    pub status: PayoutStatus,
    /// Before fees.
    pub gross: Quote,
    /// What it cost.
    pub fees: Quote,
    /// In which currency or coin.
    pub currency: String,
    /// Which time it is for.
    pub period: Period,
    /// When it ended so.
    pub processed_at: Timestamp,
}
