//! Prices as integers of 1e-8.

use std::str::FromStr as _;

use rust_decimal::{Decimal, RoundingStrategy};

/// Decimal places of a price.
const SCALE: u32 = 8;

/// One price unit is 1e-8.
const UNITS: f64 = 1e8;

/// Digits that the text of a binary float holds for sure.
const FLOAT_DIGITS: u32 = 15;

/// Reads a price above 0 from decimal text; more than 15 digits with more than eight decimals are a binary float's text and
/// read as the nearest decimal of 15 significant digits.
pub(crate) fn price(text: &str) -> Result<i64, String> {
    match plain(text.as_bytes()) {
        Some(units) if units > 0 => Ok(units),
        _ => exact(text),
    }
}

/// Reads a price above 0 from a binary float: the nearest decimal of 15 significant digits.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "what is read is a float; the result is checked to be the float's own decimal"
)]
pub(crate) fn price_of_float(value: f64) -> Result<i64, String> {
    if !value.is_finite() || value <= 0.0 {
        return Err(not_positive(&value.to_string()));
    }
    let units = (value * UNITS).round();
    if (1.0..1e15).contains(&units) && units / UNITS == value {
        return Ok(units as i64);
    }
    let text = format!("{value:.14e}");
    let decimal = Decimal::from_scientific(&text).map_err(|_| out_of_range(&text))?;
    units_of(decimal, &text)
}

/// Up to eight decimals and 17 digits, without sign or exponent; `None` for anything else.
fn plain(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let (mut units, mut decimals, mut digits, mut is_fraction) = (0_i64, 0_u32, 0_u32, false);
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                units = units * 10 + i64::from(byte - b'0');
                digits += 1;
                decimals += u32::from(is_fraction);
            }
            b'.' if !is_fraction => is_fraction = true,
            _ => return None,
        }
    }
    if digits == 0 || decimals > SCALE {
        return None;
    }
    units.checked_mul(10_i64.checked_pow(SCALE - decimals)?)
}

fn exact(text: &str) -> Result<i64, String> {
    let is_numeric = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    if text.is_empty() || !is_numeric {
        return Err(not_positive(text));
    }
    let decimal =
        if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { Decimal::from_str(text) };
    let decimal = decimal.map_err(|_| not_positive(text))?;
    if decimal <= Decimal::ZERO {
        return Err(not_positive(text));
    }
    let significant = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = significant.trim_start_matches(['0', '.', '+']).bytes().filter(u8::is_ascii_digit).count();
    let decimal = if digits > FLOAT_DIGITS as usize && decimal.normalize().scale() > SCALE {
        let strategy = RoundingStrategy::MidpointNearestEven;
        decimal.round_sf_with_strategy(FLOAT_DIGITS, strategy).unwrap_or(decimal)
    } else {
        decimal
    };
    units_of(decimal, text)
}

fn units_of(decimal: Decimal, text: &str) -> Result<i64, String> {
    if decimal.normalize().scale() > SCALE {
        return Err(format!("the price {text} has more than 8 decimals"));
    }
    model::Price::new(decimal).map(model::Price::e8).map_err(|_| out_of_range(text))
}

fn not_positive(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("expected a price above 0, got `{shown}`")
}

fn out_of_range(text: &str) -> String {
    format!("the price {text} is above {}", model::Price::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(price(text).ok(), expected, "{text}");
    }

    #[test]
    fn a_price_is_read_exactly_in_every_spelling() {
        check("1", Some(100_000_000));
        check("64123.45", Some(6_412_345_000_000));
        check("0.00000001", Some(1));
        check(".5", Some(50_000_000));
        check("1e-05", Some(1_000));
        check("6.4E4", Some(6_400_000_000_000));
        check("1.500000000000", Some(150_000_000));
        check("0.07678911000000001", Some(7_678_911));
        check("92233720368.54775807", Some(i64::MAX));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for bad in [
            "",
            "0",
            "-1",
            "NaN",
            "inf",
            "1,5",
            "1.2.3",
            "0.000000001",
            "1e400",
            "92233720369",
            "0x10",
            "1_0",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn a_float_is_the_nearest_decimal_of_15_digits() {
        assert_eq!(price_of_float(0.076_789_110_000_000_01), Ok(7_678_911));
        assert_eq!(price_of_float(0.1 + 0.2), Ok(30_000_000));
        assert_eq!(price_of_float(64_123.45), Ok(6_412_345_000_000));
        for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0, 1e-9, 1e30] {
            assert!(price_of_float(bad).is_err(), "{bad}");
        }
    }
}
