//! Exact money: [`Price`], [`Qty`], [`Quote`], [`Pct`] and [`Rate`].
//!
//! A price is an integer count of 1e-8 quote units, so that the watch index, the history scans and the
//! machines compare one machine word; everything that multiplies is `rust_decimal`. Only meaningful
//! arithmetic exists, and what rounds names its direction.

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::number::{self, NumberError, Text};

/// Decimal places of a [`Price`].
const PRICE_SCALE: u32 = 8;

/// What one base coin costs, in quote: positive, a whole number of 1e-8, at most 92,233,720,368.54775807.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(i64);

impl Price {
    /// The smallest price: 0.00000001.
    pub const MIN: Self = Self(1);
    /// The largest price.
    pub const MAX: Self = Self(i64::MAX);

    /// A price from an exact decimal.
    ///
    /// # Errors
    /// [`NumberError::OutOfRange`] at or below zero, above [`Price::MAX`], or with more than eight decimals.
    pub fn new(value: Decimal) -> Result<Self, NumberError> {
        let range = "a price is above 0, at most 92233720368.54775807, with at most 8 decimals";
        let refused = || NumberError::OutOfRange { value: value.to_string(), range };
        let plain = value.normalize();
        if plain.scale() > PRICE_SCALE {
            return Err(refused());
        }
        let units =
            plain.mantissa().checked_mul(10_i128.pow(PRICE_SCALE - plain.scale())).ok_or_else(refused)?;
        let units = i64::try_from(units).map_err(|_| refused())?;
        Self::from_e8(units).ok_or_else(refused)
    }

    /// A price from its count of 1e-8 quote units; `None` unless positive.
    pub const fn from_e8(units: i64) -> Option<Self> {
        if units > 0 { Some(Self(units)) } else { None }
    }

    /// The count of 1e-8 quote units.
    pub const fn e8(self) -> i64 {
        self.0
    }

    /// The price as a decimal, without trailing zeros.
    pub fn decimal(self) -> Decimal {
        Decimal::new(self.0, PRICE_SCALE).normalize()
    }

    /// Its text, without trailing zeros.
    fn text(self) -> Text {
        let (mut units, mut scale) = (self.0.unsigned_abs(), PRICE_SCALE);
        while scale > 0 && units.is_multiple_of(10) {
            (units, scale) = (units / 10, scale - 1);
        }
        Text::of_scaled(units.into(), scale)
    }

    /// This price rounded down to a multiple of `tick`; `None` where that is zero.
    pub const fn floor_to_tick(self, tick: Self) -> Option<Self> {
        Self::from_e8(self.0 - self.0 % tick.0)
    }

    /// Whether this price is a multiple of `tick`.
    pub const fn is_on_tick(self, tick: Self) -> bool {
        self.0 % tick.0 == 0
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.precision().is_some() || f.width().is_some() || f.sign_plus() {
            return fmt::Display::fmt(&self.decimal(), f);
        }
        f.write_str(self.text().as_str())
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Price({self})")
    }
}

impl FromStr for Price {
    type Err = NumberError;
    fn from_str(text: &str) -> Result<Self, NumberError> {
        Self::new(number::parse(text)?)
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(number::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// `Price * Qty`: what that quantity is worth, in quote.
///
/// # Panics
/// Where the product leaves 96 bits: validation bounds what a bot may hold far below that.
impl Mul<Qty> for Price {
    type Output = Quote;
    fn mul(self, qty: Qty) -> Quote {
        Quote(self.decimal() * qty.0)
    }
}

/// A newtype over an exact decimal with the wire form of a JSON number.
macro_rules! decimal_newtype {
    ($(#[$doc:meta])* $name:ident, $range:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(Decimal);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(Decimal::ZERO);

            /// Checks the range.
            ///
            /// # Errors
            #[doc = concat!("[`NumberError::OutOfRange`] unless ", $range, ".")]
            pub fn new(value: Decimal) -> Result<Self, NumberError> {
                let accepts: fn(&Decimal) -> bool = $accepts;
                if accepts(&value) {
                    Ok(Self(value))
                } else {
                    Err(NumberError::OutOfRange { value: value.to_string(), range: $range })
                }
            }

            /// The exact decimal.
            pub const fn decimal(self) -> Decimal {
                self.0
            }

            /// Whether this is zero.
            pub const fn is_zero(self) -> bool {
                self.0.is_zero()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                number::display(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NumberError;
            fn from_str(text: &str) -> Result<Self, NumberError> {
                Self::new(number::parse(text)?)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                number::serialize(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(number::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

/// The largest amount, of base or of quote, that a field may hold: 1e15. It keeps every product of a
/// price, a quantity and a fee inside 96 bits.
fn is_amount(value: &Decimal) -> bool {
    *value <= Decimal::from(1_000_000_000_000_000_u64)
}

decimal_newtype! {
    /// A quantity of the base coin: 0 or more.
    Qty, "a quantity is from 0 to 1e15", |value| !value.is_sign_negative() && is_amount(value)
}

decimal_newtype! {
    /// An amount of the quote coin; negative where it is a loss.
    Quote, "an amount is from -1e15 to 1e15", |value| is_amount(&value.abs())
}

decimal_newtype! {
    /// A percentage: `-10` is ten percent down.
    Pct, "a percentage is from -1e6 to 1e6", |value| value.abs() <= Decimal::from(1_000_000_u32)
}

decimal_newtype! {
    /// A fraction of one: the fee rate 0.001 is 0.1 %.
    Rate, "a rate is at least 0 and below 1", |value| !value.is_sign_negative() && *value < Decimal::ONE
}

impl Pct {
    /// The percentage as a fraction of one: `-10` gives `-0.1`.
    pub fn fraction(self) -> Decimal {
        let value = self.0;
        Decimal::try_from_i128_with_scale(value.mantissa(), value.scale() + 2)
            .unwrap_or_else(|_| value / Decimal::ONE_HUNDRED)
    }
}

impl Rate {
    /// The rate that a percentage names: 0.1 % gives 0.001.
    ///
    /// # Errors
    /// [`NumberError::OutOfRange`] below 0 % or from 100 % on.
    pub fn from_pct(pct: Pct) -> Result<Self, NumberError> {
        Self::new(pct.fraction())
    }
}

impl Add for Qty {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Qty {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Add for Quote {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Quote {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Quote {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<Rate> for Quote {
    type Output = Self;
    fn mul(self, rate: Rate) -> Self {
        Self(self.0 * rate.0)
    }
}

impl std::iter::Sum for Quote {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl std::iter::Sum for Qty {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_exact_to_eight_decimals() {
        let price: Price = "61837.63000000".parse().unwrap();
        assert_eq!(price.e8(), 6_183_763_000_000);
        assert_eq!(price.to_string(), "61837.63");
        assert_eq!(format!("{price:>10.1}"), "   61837.6");
        for (units, text) in [
            (1, "0.00000001"),
            (100_000_000, "1"),
            (120_000_000_000, "1200"),
            (i64::MAX, "92233720368.54775807"),
        ] {
            let price = Price::from_e8(units).unwrap();
            assert_eq!((price.to_string(), price.decimal().to_string()), (text.to_owned(), text.to_owned()));
        }
        for bad in ["0", "-1", "1e30", "0.000000001", "92233720368.54775808"] {
            assert!(bad.parse::<Price>().is_err(), "{bad}");
        }
        assert_eq!("92233720368.54775807".parse::<Price>().unwrap(), Price::MAX);
    }

    #[test]
    fn a_price_rounds_down_to_its_tick() {
        let tick = "0.01".parse().unwrap();
        assert_eq!("98.098".parse::<Price>().unwrap().floor_to_tick(tick), Some("98.09".parse().unwrap()));
        assert_eq!("0.009".parse::<Price>().unwrap().floor_to_tick(tick), None);
    }

    #[test]
    fn a_percentage_is_a_fraction_without_rounding() {
        assert_eq!("-10".parse::<Pct>().unwrap().fraction().to_string(), "-0.10");
        assert_eq!("0.1".parse::<Pct>().unwrap().fraction().to_string(), "0.001");
    }

    #[test]
    fn amounts_are_bounded() {
        assert!("1000000000000000".parse::<Qty>().is_ok());
        assert!("1000000000000001".parse::<Qty>().is_err());
        assert!("-0.1".parse::<Qty>().is_err());
        assert!(Qty::new(Decimal::ONE / Decimal::from(3)).is_ok(), "however many decimals");
        assert!("-1000000000000001".parse::<Quote>().is_err());
    }
}
