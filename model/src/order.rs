//! Orders and their fills, as a trade lists them (contract §3).

use serde::{Deserialize, Serialize};

use crate::{ClientOrderId, FillId, OrderId, Price, Qty, Quote, Timestamp};

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Base for quote.
    Buy,
    /// Quote for base.
    Sell,
}

impl Side {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

/// How an order is worked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    /// At whatever the book gives.
    Market,
    /// At its price or better.
    Limit,
    /// It rests, and sells once the price has fallen to its own.
    StopLossLimit,
}

impl OrderType {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::Limit => "limit",
            Self::StopLossLimit => "stop_loss_limit",
        }
    }
}

/// Where an order is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Decided and durable, not yet known at the venue.
    Intent,
    /// On the venue's book.
    Open,
    /// On the book, filled in part.
    PartiallyFilled,
    /// Filled whole.
    Filled,
    /// Taken back; what was filled counts.
    Canceled,
    /// Refused by the venue.
    Rejected,
    /// Ended by the venue; what was filled counts.
    Expired,
    /// Sent, and what became of it must be asked for.
    Unknown,
}

impl OrderStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Open => "open",
            Self::PartiallyFilled => "partially_filled",
            Self::Filled => "filled",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

/// An order of a trade.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Order {
    /// Ours.
    pub id: OrderId,
    /// What the venue is told to call it.
    pub client_order_id: ClientOrderId,
    /// Which way.
    pub side: Side,
    /// How it is worked.
    #[serde(rename = "type")]
    pub kind: OrderType,
    /// Where it stands.
    pub status: OrderStatus,
    /// The price decided at.
    pub price: Price,
    /// How much, in base.
    pub qty: Qty,
    /// How much of that has filled.
    pub filled_qty: Qty,
    /// When it was decided.
    pub created_at: Timestamp,
    /// What filled it.
    pub fills: Vec<Fill>,
    /// When it was where; on paper there is nothing to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub receipt: Option<Receipt>,
}

/// When a live order was where, by our own clock; `None` where it has not come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Receipt {
    /// The tick that caused it was read from the socket.
    #[schema(required)]
    pub ticked_at: Option<Timestamp>,
    /// The bot had decided.
    #[schema(required)]
    pub decided_at: Option<Timestamp>,
    /// It was durable.
    #[schema(required)]
    pub journaled_at: Option<Timestamp>,
    /// It was handed to the connection.
    #[schema(required)]
    pub sent_at: Option<Timestamp>,
    /// The venue was first heard of it.
    #[schema(required)]
    pub acknowledged_at: Option<Timestamp>,
    /// The last of its executions was heard of.
    #[schema(required)]
    pub filled_at: Option<Timestamp>,
}

/// One execution of an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Fill {
    /// Ours.
    pub id: FillId,
    /// When, by the venue's clock.
    pub at: Timestamp,
    /// What was paid.
    pub price: Price,
    /// How much, in base.
    pub qty: Qty,
    /// What it cost, in `fee_asset`.
    pub fee: Quote,
    /// The coin the fee was taken in.
    pub fee_asset: String,
    /// What one such coin was worth in the trade's quote coin at that moment, where it is neither of the pair's two; kept,
    /// and what the trade's books go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub fee_price: Option<Quote>,
    /// The venue's own number of it; on paper there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub venue_trade_id: Option<i64>,
}

/// How entries are worked at the venue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// At whatever the book gives.
    #[default]
    Market,
    /// At the price decided at or better; what is left of it is taken back after 30 seconds.
    Limit,
}

impl From<OrderKind> for OrderType {
    fn from(kind: OrderKind) -> Self {
        match kind {
            OrderKind::Market => Self::Market,
            OrderKind::Limit => Self::Limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_one() {
        #[track_caller]
        fn check(value: impl Serialize, name: &str) {
            assert_eq!(serde_json::to_value(value).unwrap(), name);
        }
        for status in [crate::TradeStatus::Open, crate::TradeStatus::Closed] {
            check(status, status.as_str());
        }
        for side in [Side::Buy, Side::Sell] {
            check(side, side.as_str());
        }
        for kind in [OrderType::Market, OrderType::Limit, OrderType::StopLossLimit] {
            check(kind, kind.as_str());
        }
        for status in [
            OrderStatus::Intent,
            OrderStatus::Open,
            OrderStatus::PartiallyFilled,
            OrderStatus::Filled,
            OrderStatus::Canceled,
            OrderStatus::Rejected,
            OrderStatus::Expired,
            OrderStatus::Unknown,
        ] {
            check(status, status.as_str());
        }
    }
}
