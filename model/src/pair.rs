//! What is traded, and where.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A base coin priced in a quote coin, written `BTC/USDT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    text: Box<str>,
    slash: u8,
}

/// A text that is no pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pair such as BTC/USDT")]
pub struct PairError(String);

impl Pair {
    /// The coin that is bought and sold.
    pub fn base(&self) -> &str {
        self.text.split_at(usize::from(self.slash)).0
    }

    /// The coin that prices are in.
    pub fn quote(&self) -> &str {
        self.text.split_at(usize::from(self.slash) + 1).1
    }

    /// The text form, `BTC/USDT`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pair {
    type Err = PairError;
    fn from_str(text: &str) -> Result<Self, PairError> {
        let refused = || PairError(text.chars().take(60).collect());
        let is_coin = |coin: &str| {
            (1..=20).contains(&coin.len())
                && coin.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        };
        let (base, quote) = text.split_once('/').ok_or_else(refused)?;
        if !is_coin(base) || !is_coin(quote) || base == quote {
            return Err(refused());
        }
        let slash = u8::try_from(base.len()).map_err(|_| refused())?;
        Ok(Self { text: text.into(), slash })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A venue that bots can trade on. A venue is added by adding a folder to `connectors` and a name here.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Binance spot.
    Binance,
}

impl Exchange {
    /// Every venue there is, for messages that list them.
    pub const ALL: [Self; 1] = [Self::Binance];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binance => "binance",
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_knows_its_coins() {
        let pair: Pair = "BTC/USDT".parse().unwrap();
        assert_eq!((pair.base(), pair.quote()), ("BTC", "USDT"));
        for bad in ["BTCUSDT", "BTC/", "/USDT", "btc/usdt", "BTC/USDT/X", "BTC/BTC", "B C/USDT", ""] {
            assert!(bad.parse::<Pair>().is_err(), "{bad}");
        }
    }
}
