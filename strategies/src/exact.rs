//! Levels and quantities, rounded once from the exact value.
//!
//! A level is `notional / quantity · factor`, a quantity `stake / price`: quotients of integers. They are
//! formed in 128 bits where that fits, which is almost always, and in big integers where it does not, so that
//! no definition can make a level that is a tick off.

use std::cmp::Ordering;
use std::ops::{Add, AddAssign, Mul, MulAssign, Sub};

use model::{Price, Qty};
use num_bigint::BigInt;
use num_rational::{BigRational, Ratio};
use rust_decimal::Decimal;

/// Which way a quotient is rounded to its grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rounding {
    Down,
    Up,
}

/// An exact positive fraction, kept small where it fits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Factor {
    Small { numerator: i128, denominator: i128 },
    Big(Box<BigRational>),
}

impl Factor {
    pub(crate) fn new(value: &Exact) -> Self {
        Self::quotient(value, &Exact::from(Decimal::ONE))
    }

    /// `above / below`, which is not 0.
    pub(crate) fn quotient(above: &Exact, below: &Exact) -> Self {
        let scale = above.scale.max(below.scale);
        let (above, below) = (above.units(scale), below.units(scale));
        if let (Ok(above), Ok(below)) = (i128::try_from(&above), i128::try_from(&below)) {
            let (numerator, denominator) = Ratio::new(above, below).into_raw();
            return Self::Small { numerator, denominator };
        }
        let value = BigRational::new(above, below);
        match (i128::try_from(value.numer()), i128::try_from(value.denom())) {
            (Ok(numerator), Ok(denominator)) => Self::Small { numerator, denominator },
            _ => Self::Big(Box::new(value)),
        }
    }

    fn parts(&self) -> (BigInt, BigInt) {
        match self {
            Self::Small { numerator, denominator } => ((*numerator).into(), (*denominator).into()),
            Self::Big(value) => (value.numer().clone(), value.denom().clone()),
        }
    }
}

/// A decimal of any length: sums and products of decimals keep every digit, and there is no fraction to reduce.
#[derive(Clone, Debug)]
pub(crate) struct Exact {
    mantissa: BigInt,
    /// How many of its digits are decimals.
    scale: u32,
}

impl Exact {
    /// In units of `10^-scale`, what is smaller cut off.
    pub(crate) fn units(&self, scale: u32) -> BigInt {
        match scale.cmp(&self.scale) {
            Ordering::Equal => self.mantissa.clone(),
            Ordering::Greater => &self.mantissa * power_of_ten(scale - self.scale),
            Ordering::Less => &self.mantissa / power_of_ten(self.scale - scale),
        }
    }

    /// The decimal of so many decimals at or next above a value that is not below 0; `None` where there is none.
    pub(crate) fn ceil(&self, scale: u32) -> Option<Decimal> {
        let units = self.units(scale);
        let is_cut = Self { mantissa: units.clone(), scale } < *self;
        let units = i128::try_from(units).ok()?.checked_add(is_cut.into())?;
        Decimal::try_from_i128_with_scale(units, scale).ok()
    }

    /// The same with what is smaller cut off.
    pub(crate) fn cut(&self, scale: u32) -> Option<Decimal> {
        Decimal::try_from_i128_with_scale(i128::try_from(self.units(scale)).ok()?, scale).ok()
    }
}

fn power_of_ten(exponent: u32) -> BigInt {
    10_i128.checked_pow(exponent).map_or_else(|| BigInt::from(10).pow(exponent), BigInt::from)
}

impl From<Decimal> for Exact {
    fn from(value: Decimal) -> Self {
        Self { mantissa: value.mantissa().into(), scale: value.scale() }
    }
}

impl From<u64> for Exact {
    fn from(value: u64) -> Self {
        Self { mantissa: value.into(), scale: 0 }
    }
}

impl AddAssign<&Self> for Exact {
    fn add_assign(&mut self, other: &Self) {
        *self = &*self + other;
    }
}

impl Add for &Exact {
    type Output = Exact;

    fn add(self, other: Self) -> Exact {
        let scale = self.scale.max(other.scale);
        Exact { mantissa: self.units(scale) + other.units(scale), scale }
    }
}

impl Sub for &Exact {
    type Output = Exact;

    fn sub(self, other: Self) -> Exact {
        let scale = self.scale.max(other.scale);
        Exact { mantissa: self.units(scale) - other.units(scale), scale }
    }
}

impl Mul for &Exact {
    type Output = Exact;

    fn mul(self, other: Self) -> Exact {
        Exact { mantissa: &self.mantissa * &other.mantissa, scale: self.scale + other.scale }
    }
}

impl MulAssign<&Self> for Exact {
    fn mul_assign(&mut self, other: &Self) {
        *self = &*self * other;
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let scale = self.scale.max(other.scale);
        self.units(scale).partial_cmp(&other.units(scale))
    }
}

/// `notional / qty · factor` on the tick grid; `None` where that is no price (0, or above the largest).
pub(crate) fn level(
    notional: Decimal,
    qty: Decimal,
    factor: &Factor,
    tick: Price,
    rounding: Rounding,
) -> Option<Price> {
    let (notional, qty) = (notional.normalize(), qty.normalize());
    // In units of 1e-8 quote: (n / 10^a) / (q / 10^b) · 10^8 · factor.
    let up = (8 + qty.scale()).saturating_sub(notional.scale());
    let down = notional.scale().saturating_sub(8 + qty.scale());
    let ticks = quotient(
        [notional.mantissa(), 10_i128.pow(up)],
        [qty.mantissa(), 10_i128.pow(down), i128::from(tick.e8())],
        factor,
        rounding,
    )?;
    let units = ticks.checked_mul(i128::from(tick.e8()))?;
    Price::from_e8(i64::try_from(units).ok()?)
}

/// `stake / price`, rounded up to the lot; `None` where it leaves the range of a quantity.
pub(crate) fn quantity(stake: &Factor, price: Price, lot: Qty) -> Option<Qty> {
    let lot = lot.decimal().normalize();
    let lots = quotient(
        [100_000_000, 10_i128.pow(lot.scale())],
        [i128::from(price.e8()), lot.mantissa(), 1],
        stake,
        Rounding::Up,
    )?;
    let mantissa = lots.checked_mul(lot.mantissa())?;
    Qty::new(Decimal::try_from_i128_with_scale(mantissa, lot.scale()).ok()?).ok()
}

/// `(n₁·n₂·factor) / (d₁·d₂·d₃)` as a whole number; `None` where it does not fit 128 bits.
fn quotient(
    numerators: [i128; 2],
    denominators: [i128; 3],
    factor: &Factor,
    rounding: Rounding,
) -> Option<i128> {
    let [n1, n2] = numerators;
    let [d1, d2, d3] = denominators;
    if let Factor::Small { numerator, denominator } = factor {
        let above = n1.checked_mul(n2).and_then(|n| n.checked_mul(*numerator));
        let below =
            d1.checked_mul(d2).and_then(|d| d.checked_mul(d3)).and_then(|d| d.checked_mul(*denominator));
        if let (Some(above), Some(below)) = (above, below) {
            let (whole, rest) = (above.checked_div(below)?, above.checked_rem(below)?);
            return Some(if rest > 0 && rounding == Rounding::Up { whole + 1 } else { whole });
        }
    }
    let (numerator, denominator) = factor.parts();
    let above = BigInt::from(n1) * n2 * numerator;
    let below = BigInt::from(d1) * d2 * d3 * denominator;
    if below == BigInt::ZERO {
        return None;
    }
    let whole = match rounding {
        Rounding::Down => above / below,
        Rounding::Up => (above + &below - 1) / below,
    };
    i128::try_from(whole).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rational(value: Decimal) -> BigRational {
        BigRational::new(value.mantissa().into(), BigInt::from(10).pow(value.scale()))
    }

    fn factor(value: Decimal) -> Factor {
        Factor::new(&value.into())
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check_level(notional: &str, qty: &str, factor: &str, rounding: Rounding, expected: &str) {
        let factor = self::factor(decimal(factor));
        let tick = "0.01".parse().unwrap();
        let level = level(decimal(notional), decimal(qty), &factor, tick, rounding);
        assert_eq!(level.map(|price| price.to_string()).as_deref(), Some(expected));
    }

    #[test]
    fn a_level_is_rounded_once() {
        check_level("50", "0.5", "0.98098", Rounding::Down, "98.09");
        check_level("50", "0.5", "0.98098", Rounding::Up, "98.1");
        check_level("50", "0.5", "0.9809", Rounding::Up, "98.09");
        check_level("1", "3", "1", Rounding::Down, "0.33");
    }

    #[test]
    fn big_and_small_arithmetic_agree() {
        let small = factor(decimal("1.2345678"));
        let big = Factor::Big(Box::new(rational(decimal("1.2345678"))));
        let tick = "0.00000001".parse().unwrap();
        for (notional, qty) in [("123456.7890123", "7.13"), ("0.00001", "99999"), ("1", "3")] {
            for rounding in [Rounding::Down, Rounding::Up] {
                assert_eq!(
                    level(decimal(notional), decimal(qty), &small, tick, rounding),
                    level(decimal(notional), decimal(qty), &big, tick, rounding)
                );
            }
        }
    }

    #[test]
    fn a_quantity_is_rounded_up_to_the_lot() {
        let stake = factor(decimal("50"));
        let lot = "0.001".parse().unwrap();
        assert_eq!(quantity(&stake, "98.09".parse().unwrap(), lot), Some("0.510".parse().unwrap()));
        assert_eq!(quantity(&stake, "100".parse().unwrap(), lot), Some("0.500".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn levels_and_quantities_are_the_exact_quotient_rounded_once(
            notional in 1..i64::MAX, notional_scale in 0..16_u32,
            held in 1..i64::MAX, held_scale in 0..16_u32,
            factor in 1..10_i64.pow(15), tick in 1..10_i64.pow(9),
        ) {
            let (notional, held) = (Decimal::new(notional, notional_scale), Decimal::new(held, held_scale));
            let value = rational(Decimal::new(factor, 12));
            let small = self::factor(Decimal::new(factor, 12));
            let tick = Price::from_e8(tick).unwrap();
            let ticks = rational(notional) / rational(held) * &value / rational(tick.decimal());
            for (rounding, whole) in [(Rounding::Down, ticks.floor()), (Rounding::Up, ticks.ceil())] {
                let expected = (whole * rational(tick.decimal()) * BigInt::from(100_000_000)).to_integer();
                let expected = i64::try_from(expected).ok().and_then(Price::from_e8);
                prop_assert_eq!(level(notional, held, &small, tick, rounding), expected);
            }
            let lot = Qty::new(Decimal::new(factor, 12)).unwrap();
            let lots = rational(notional) / rational(tick.decimal()) / rational(lot.decimal());
            let expected = lots.ceil() * rational(lot.decimal());
            if let Some(qty) = quantity(&self::factor(notional), tick, lot) {
                prop_assert_eq!(rational(qty.decimal()), expected);
            }
        }
    }

    fn any_decimal() -> impl Strategy<Value = Decimal> {
        (any::<i64>(), 0..=18_u32).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale))
    }

    proptest! {
        #[test]
        fn exact_decimals_reckon_as_fractions_do(a in any_decimal(), b in any_decimal(), times in 0..40_u32) {
            let value = |exact: &Exact| BigRational::new(exact.mantissa.clone(), BigInt::from(10).pow(exact.scale));
            let (one, other) = (Exact::from(a), Exact::from(b));
            prop_assert_eq!(value(&(&one + &other)), rational(a) + rational(b));
            prop_assert_eq!(value(&(&one - &other)), rational(a) - rational(b));
            prop_assert_eq!(one.partial_cmp(&other), rational(a).partial_cmp(&rational(b)));
            let (mut power, mut expected) = (one.clone(), rational(a));
            for _ in 0..times {
                power *= &other;
                expected *= rational(b);
            }
            prop_assert_eq!(value(&power), expected.clone());
            prop_assert_eq!(&power, &power.clone());
            if b > Decimal::ZERO {
                let quotient = match Factor::quotient(&power, &other) {
                    Factor::Small { numerator, denominator } => BigRational::new(numerator.into(), denominator.into()),
                    Factor::Big(value) => *value,
                };
                prop_assert_eq!(quotient, &expected / rational(b));
            }
            if let Some(up) = power.ceil(8).filter(|_| expected >= rational(Decimal::ZERO)) {
                prop_assert_eq!(rational(up), (&expected * BigInt::from(10_i64.pow(8))).ceil() / BigInt::from(10_i64.pow(8)));
            }
            if let Some(cut) = power.cut(9) {
                prop_assert_eq!(rational(cut), (&expected * BigInt::from(10_i64.pow(9))).trunc() / BigInt::from(10_i64.pow(9)));
            }
        }
    }
}
