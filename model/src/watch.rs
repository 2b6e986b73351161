//! What a sleeping bot waits for.
//!
//! A strategy does nothing on almost every tick, and it knows what it would react to next. It says so in a
//! [`Watch`]; a market owes the bot one [`PriceMove`] once its watch is left, and nothing before.

use serde::{Deserialize, Serialize};

use crate::{Price, Rate, Timestamp};

/// The price went somewhere: one tick, with the extremes of every tick since the move before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PriceMove {
    /// The tick's price.
    pub price: Price,
    /// The tick's time.
    pub at: Timestamp,
    /// The highest price since the last move told, this one included.
    pub high: Price,
    /// The lowest price since the last move told, this one included.
    pub low: Price,
}

impl PriceMove {
    /// A single tick, with nothing untold before it.
    pub const fn tick(price: Price, at: Timestamp) -> Self {
        Self { price, at, high: price, low: price }
    }
}

/// A price that was reached, and when: what a trailing level that slept has to know after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The time of the tick.
    pub at: Timestamp,
    /// Its price.
    pub high: Price,
}

/// What would make a strategy act. It is left by a tick at or below `below`, at or above `above`, at or under
/// the level that `trail` draws, or at or after `at`. All `None` sleeps for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Watch {
    /// Wake at or below this price.
    pub below: Option<Price>,
    /// Wake at or above this price.
    pub above: Option<Price>,
    /// Wake this far under the highest price since.
    pub trail: Option<Trail>,
    /// Wake with the first tick at or after this time.
    pub at: Option<Timestamp>,
}

impl Watch {
    /// Wakes with whatever tick comes next.
    pub const ANY: Self = Self { below: None, above: None, trail: None, at: Some(Timestamp::MIN) };
    /// Never wakes.
    pub const NEVER: Self = Self { below: None, above: None, trail: None, at: None };

    /// Whether a tick leaves the watch, `high` being the highest price since the watch was made.
    pub fn is_left_by(&self, price: Price, at: Timestamp, high: Price) -> bool {
        self.below.is_some_and(|below| price <= below)
            || self.above.is_some_and(|above| price >= above)
            || self.at.is_some_and(|due| at >= due)
            || self.trail.is_some_and(|trail| trail.level(high).is_some_and(|level| price <= level))
    }
}

/// A level that follows the highest price: `high · (1 − distance)`, rounded down to the tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trail {
    /// The highest price so far.
    pub high: Price,
    /// How far under it the level lies, as a fraction.
    pub distance: Rate,
    /// The grid the level lies on.
    pub tick_size: Price,
}

impl Trail {
    /// The level once `high` has been seen as well; `None` where it rounds to zero.
    pub fn level(&self, high: Price) -> Option<Price> {
        let high = self.high.max(high);
        let keep = rust_decimal::Decimal::ONE - self.distance.decimal();
        let exact =
            i128::from(high.e8()).checked_mul(keep.mantissa())? / 10_i128.checked_pow(keep.scale())?;
        let floored = i64::try_from(exact).ok()?;
        Price::from_e8(floored)?.floor_to_tick(self.tick_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn a_trail_follows_the_high_down_to_the_tick() {
        let trail =
            Trail { high: price("100"), distance: "0.005".parse().unwrap(), tick_size: price("0.01") };
        assert_eq!(trail.level(price("99")), Some(price("99.50")));
        assert_eq!(trail.level(price("101.03")), Some(price("100.52")));
    }

    #[test]
    fn a_watch_is_left_at_its_bounds() {
        let watch = Watch { below: Some(price("90")), above: Some(price("110")), ..Watch::NEVER };
        let now = Timestamp::from_millis(1);
        for (at, left) in [("90", true), ("90.01", false), ("109.99", false), ("110", true)] {
            assert_eq!(watch.is_left_by(price(at), now, price(at)), left, "{at}");
        }
        assert!(Watch::ANY.is_left_by(price("1"), now, price("1")));
    }
}
