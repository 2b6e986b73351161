//! A trade's books: what was bought, what was sold, what is left.

use model::{ExitReason, Pct, Price, Qty, Quote, Rate, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// One buy that filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// 0 for the base order, then the safety orders. Of what was bought by hand, how many of them were before it.
    pub index: u32,
    /// Whether its owner bought it by hand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// When.
    pub at: Timestamp,
    /// The price decided at.
    pub decided: Price,
    /// What was paid.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// What it cost, in quote.
    pub fee: Quote,
}

/// The sell that ended the trade.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub at: Timestamp,
    /// The price decided at.
    pub decided: Price,
    /// What was got.
    pub price: Price,
    /// How much: everything that was held.
    pub qty: Qty,
    /// What it cost, in quote.
    pub fee: Quote,
    /// Why.
    pub reason: ExitReason,
}

/// The fills of one trade, and what follows from them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Books {
    /// Buys, oldest first.
    pub entries: Vec<Entry>,
    /// The sell, once it is flat.
    pub exit: Option<Exit>,
}

impl Books {
    /// Base bought.
    pub fn amount(&self) -> Qty {
        self.entries.iter().map(|entry| entry.qty).sum()
    }

    /// Quote spent, fees included: `Σ buy·(1+f)`.
    pub fn stake(&self) -> Quote {
        self.entries.iter().map(|entry| entry.price * entry.qty + entry.fee).sum()
    }

    /// Fees paid so far, in quote.
    pub fn fees(&self) -> Quote {
        self.entries.iter().map(|entry| entry.fee).chain(self.exit.map(|exit| exit.fee)).sum()
    }

    /// The average cost price A, fee included; zero before the first buy.
    pub fn average(&self) -> Decimal {
        self.stake().decimal().checked_div(self.amount().decimal()).unwrap_or_default()
    }

    /// Profit in quote: realised once flat, else what selling all at `last` for a fee of `fee` would leave.
    pub fn profit(&self, last: Price, fee: Rate) -> Quote {
        let back = if let Some(exit) = self.exit {
            exit.price * exit.qty - exit.fee
        } else {
            let worth = last * self.amount();
            worth - worth * fee
        };
        back - self.stake()
    }

    /// A profit as a percentage of what was spent, to eight decimals.
    pub fn profit_pct(&self, profit: Quote) -> Pct {
        let share = profit.decimal().checked_div(self.stake().decimal()).unwrap_or_default();
        Pct::new((share * Decimal::ONE_HUNDRED).round_dp(8).normalize()).unwrap_or_default()
    }
}
