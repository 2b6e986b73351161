//! How an open trade stands, and what a bot would act on next (contract §3).

use serde::Serialize;

use crate::{Pct, Price, Qty, Quote, Timestamp};

/// How an open trade stands against the market.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Standing {
    /// The pair's last price; `null` while none is known.
    #[schema(required)]
    pub last_price: Option<Price>,
    /// How many steps of the ladder have been bought, the base order included.
    pub entries: u32,
    /// How many steps the ladder has.
    #[schema(required)]
    pub max_entries: Option<u32>,
    /// The ladder's steps, the base order first. Empty where the venue has not told yet what its pair is like.
    pub ladder: Vec<LadderStep>,
    /// Where the next safety order would be bought; `null` where none is left that the price can reach.
    #[schema(required)]
    pub next_entry_price: Option<Price>,
    /// How far the take-profit price is from the last price, in percent of the last price, to four decimals.
    #[schema(required)]
    pub take_profit_distance_pct: Option<Pct>,
    /// How far the stop is from the last price, in percent of the last price, to four decimals: below 0 while it is under it.
    #[schema(required)]
    pub stop_distance_pct: Option<Pct>,
}

/// One step of an open trade's ladder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct LadderStep {
    /// 0 for the base order, then the safety orders.
    pub index: u32,
    /// What was paid on average; of a step to come its trigger, `null` where that rounds to 0.
    #[schema(required)]
    pub price: Option<Price>,
    /// How much was bought, or would be, in base.
    #[schema(required)]
    pub qty: Option<Qty>,
    /// What was spent, or would be, in quote, the fee included.
    #[schema(required)]
    pub stake: Option<Quote>,
    /// Where the step is in its life.
    pub status: LadderStatus,
    /// How far its price is from the last price, in percent of the last price, to four decimals; `null` of a filled one.
    #[schema(required)]
    pub distance_pct: Option<Pct>,
}

/// Where a step of a ladder is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LadderStatus {
    /// It was bought, whole or in part.
    Filled,
    /// Its order is at the venue, or on its way there.
    Resting,
    /// It waits for its trigger.
    Waiting,
    /// The stop lies at or above its trigger, or its trigger rounds to 0: it will not be bought.
    Unreachable,
}

/// What a bot would act on next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct Wait {
    /// What for.
    pub kind: WaitKind,
    /// The price at which it would act.
    #[schema(required)]
    pub price: Option<Price>,
    /// The time before which it does not act.
    #[schema(required)]
    pub at: Option<Timestamp>,
    /// A sentence for people, where something keeps the bot from acting.
    #[schema(required)]
    pub message: Option<String>,
}

impl Wait {
    /// Waits for a price.
    pub const fn for_price(kind: WaitKind, price: Price) -> Self {
        Self { kind, price: Some(price), at: None, message: None }
    }

    /// Waits for something that is neither a price nor a time, as `message` says.
    pub const fn held_up(kind: WaitKind, message: String) -> Self {
        Self { kind, price: None, at: None, message: Some(message) }
    }
}

/// What a bot waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// The first trade of the pair, or the first after its cooldown: it buys the base order then.
    BaseOrder,
    /// The trigger of its next safety order.
    SafetyOrder,
    /// Its take-profit price.
    TakeProfit,
    /// The level under the highest price since its take-profit price was reached.
    TrailingTakeProfit,
    /// Its stop.
    StopLoss,
    /// Its trailing stop.
    TrailingStop,
    /// What becomes of an order at the venue.
    Order,
    /// Market data of its venue, which are down.
    MarketData,
    /// Its venue, which does not say what the pair is like.
    Venue,
}
