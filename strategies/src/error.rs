//! Why a bot cannot go on, or not be restored.

use model::{Faults, Qty, Quote};
use rust_decimal::Decimal;

/// Why a bot cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StrategyError {
    /// An entry is worth less than the venue accepts.
    #[error("entry {entry} comes to {worth}, below the venue's minimum of {minimum}: raise its stake")]
    BelowMinimum {
        /// Which entry, from 1.
        entry: u32,
        /// What it is worth, in quote.
        worth: Decimal,
        /// What it must be worth.
        minimum: Quote,
    },
    /// An entry is less than the venue accepts.
    #[error("entry {entry} buys {qty}, below the venue's minimum of {minimum}: raise its stake")]
    TooFew {
        /// Which entry, from 1.
        entry: u32,
        /// How much it would buy, in base.
        qty: Qty,
        /// What it must buy.
        minimum: Qty,
    },
    /// An entry is more than the venue accepts in one order.
    #[error(
        "entry {entry} buys {qty}, above the venue's maximum of {maximum} for one order: lower its stake"
    )]
    TooMany {
        /// Which entry, from 1.
        entry: u32,
        /// How much it would buy, in base.
        qty: Qty,
        /// What it may buy.
        maximum: Qty,
    },
    /// A number left the range that can be kept exactly.
    #[error("an amount at this price cannot be kept exactly: lower the stake")]
    OutOfRange,
}

impl StrategyError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BelowMinimum { .. } | Self::TooFew { .. } => "stake_below_minimum",
            Self::TooMany { .. } => "stake_above_maximum",
            Self::OutOfRange => "amount_out_of_range",
        }
    }
}

/// A stored state that cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The definition does not fit the market any more.
    #[error("the definition does not fit the market: {0}")]
    Definition(#[from] Faults),
    /// The text is no state.
    #[error("the stored state cannot be read: {0}")]
    State(#[from] serde_json::Error),
}
