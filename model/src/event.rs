//! What users are told of (contract §5).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{AccountId, BotId, EventId, Timestamp};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EventKind {
    /// A bot began to run.
    #[serde(rename = "bot.started")]
    BotStarted,
    /// A bot stopped.
    #[serde(rename = "bot.stopped")]
    BotStopped,
    /// A trade's base order filled.
    #[serde(rename = "trade.opened")]
    TradeOpened,
    /// A trade is flat again.
    #[serde(rename = "trade.closed")]
    TradeClosed,
    /// A trade's stop was hit; its `trade.closed` follows.
    #[serde(rename = "trade.stoploss")]
    TradeStoploss,
    /// A bot cannot go on.
    #[serde(rename = "bot.error")]
    BotError,
    /// An account's plan changed.
    #[serde(rename = "subscription.changed")]
    SubscriptionChanged,
    /// A payout was made.
    #[serde(rename = "payout.processed")]
    PayoutProcessed,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [Self; 8] = [
        Self::BotStarted,
        Self::BotStopped,
        Self::TradeOpened,
        Self::TradeClosed,
        Self::TradeStoploss,
        Self::BotError,
        Self::SubscriptionChanged,
        Self::PayoutProcessed,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BotStarted => "bot.started",
            Self::BotStopped => "bot.stopped",
            Self::TradeOpened => "trade.opened",
            Self::TradeClosed => "trade.closed",
            Self::TradeStoploss => "trade.stoploss",
            Self::BotError => "bot.error",
            Self::SubscriptionChanged => "subscription.changed",
            Self::PayoutProcessed => "payout.processed",
        }
    }
}

/// An event as it is stored with the change it tells of, and later delivered unchanged.
#[derive(Clone, Debug)]
pub struct DomainEvent {
    /// The same in every delivery.
    pub id: EventId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The bot it is about; events of one bot are delivered in order.
    pub bot_id: Option<BotId>,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// The JSON object under `data`.
    pub data: Box<RawValue>,
}

impl DomainEvent {
    /// The body that is stored, signed and delivered.
    ///
    /// # Panics
    /// Never: every part is valid JSON.
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            id: EventId,
            event: EventKind,
            timestamp: Timestamp,
            data: &'a RawValue,
        }
        let body = Body { id: self.id, event: self.kind, timestamp: self.at, data: &self.data };
        serde_json::to_string(&body).expect("every part is valid JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_the_contract_shows() {
        let event = DomainEvent {
            id: EventId::from_u128(7),
            account_id: AccountId::from_u128(1),
            bot_id: None,
            kind: EventKind::TradeClosed,
            at: Timestamp::from_millis(1_775_053_800_000),
            data: RawValue::from_string(r#"{"profit_pct":2.40}"#.to_owned()).unwrap(),
        };
        assert_eq!(
            event.body(),
            r#"{"id":"evt_00000000000000000000000000000007","event":"trade.closed","timestamp":"2026-04-01T14:30:00Z","data":{"profit_pct":2.40}}"#
        );
    }

    #[test]
    fn names_on_the_wire_are_one() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }
}
