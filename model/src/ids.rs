//! Identifiers: a prefix that tells what it names, and a version-7 UUID that sorts by creation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A text that is no identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not an id that starts with `{prefix}`")]
pub struct IdError {
    given: String,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after all earlier ones of this process.
            #[expect(clippy::new_without_default, reason = "every call makes another id")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id made from given bits: for tests, and for replays that must repeat.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// The bits, for a store's binary key.
            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .filter(|hex| hex.len() == 32 && !hex.bytes().any(|b| b.is_ascii_uppercase()))
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or_else(|| IdError { given: text.chars().take(60).collect(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

id!(/** A bot. */ BotId, "bot_");
id!(/** A trade: a bot's first buy to flat. */ TradeId, "trade_");
id!(/** An order of a trade. */ OrderId, "ord_");
id!(/** One execution of an order. */ FillId, "fill_");
id!(/** A stored exchange connection. */ ExchangeId, "exc_");
id!(/** A webhook endpoint. */ WebhookId, "whk_");
id!(/** A domain event, the same in every delivery of it. */ EventId, "evt_");
id!(/** One delivery of an event to an endpoint: its first attempt and every retry. */ DeliveryId, "dlv_");
id!(/** A bot's inbound hook. */ HookId, "hook_");
id!(/** What an inbound hook was sent. */ SignalId, "sig_");
id!(/** A payout to an account. */ PayoutId, "po_");
id!(/** An API key's public name; not the key. */ KeyId, "key_");
id!(/** An account: who owns bots, keys and endpoints. */ AccountId, "acc_");
id!(/** One HTTP request. */ RequestId, "req_");
id!(
    /** What we call an order at a venue: 32 lower-case hex digits, minted once per intent, which fits every
    venue's rules. */
    ClientOrderId, ""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_creation_and_read_as_they_write() {
        let ids: Vec<BotId> = (0..1_000).map(|_| BotId::new()).collect();
        assert!(ids.is_sorted());
        let text = ids[0].to_string();
        assert!(text.starts_with("bot_"));
        assert_eq!(text.parse(), Ok(ids[0]));
    }

    #[test]
    fn another_kinds_id_is_refused() {
        assert!(TradeId::new().to_string().parse::<BotId>().is_err());
        assert!("bot_".parse::<BotId>().is_err());
        assert!("bot_a1b2c3d4".parse::<BotId>().is_err());
    }
}
