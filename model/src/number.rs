//! Exact decimals on the wire: a JSON number carried as raw text, never through a float.
//!
//! `#[serde(with = "model::number")]` writes a [`Decimal`] as a JSON number with the digits it has
//! (`12.50` stays `12.50`) and reads a number or a string. It relies on `serde_json`'s raw values, so
//! such a field cannot be read in a flattened or untagged type.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// More than the longest text of a decimal: 29 digits, a sign, a point and a leading zero.
const LONGEST: usize = 40;

/// A decimal's text on the stack: what `Display` of [`Decimal`] writes, several times as fast. A decision is told in dozens
/// of numbers.
pub(crate) struct Text {
    bytes: [u8; LONGEST],
    from: usize,
}

impl Text {
    pub(crate) fn of(value: Decimal) -> Self {
        let mut text = Self::of_scaled(value.mantissa().unsigned_abs(), value.scale());
        if value.is_sign_negative() {
            text.put(b'-');
        }
        text
    }

    /// Of `mantissa` divided by ten to the power of `scale`.
    pub(crate) fn of_scaled(mantissa: u128, scale: u32) -> Self {
        let mut text = Self { bytes: [0; LONGEST], from: LONGEST };
        let (mut left, mut written) = (mantissa, 0);
        // From the last digit on; one stands before the point.
        while left > 0 || written <= scale {
            if written == scale && scale > 0 {
                text.put(b'.');
            }
            let digit;
            (left, digit) = match u64::try_from(left) {
                Ok(word) => (u128::from(word / 10), (word % 10) as u8),
                Err(_) => (left / 10, (left % 10) as u8),
            };
            text.put(b'0' + digit);
            written += 1;
        }
        text
    }

    fn put(&mut self, byte: u8) {
        self.from = self.from.saturating_sub(1);
        if let Some(free) = self.bytes.get_mut(self.from) {
            *free = byte;
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(self.from..).unwrap_or_default()).unwrap_or_default()
    }

    /// Writes it as a JSON number.
    pub(crate) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.as_str()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

/// Writes a decimal as its `Display` does.
pub(crate) fn display(value: Decimal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if f.precision().is_some() || f.width().is_some() || f.sign_plus() {
        return fmt::Display::fmt(&value, f);
    }
    f.write_str(Text::of(value).as_str())
}

/// Why a text is not a number that this system can hold exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a decimal number at all.
    #[error("`{0}` is not a decimal number")]
    NotANumber(String),
    /// More digits than an exact decimal can hold (28).
    #[error("`{0}` has more digits than can be kept exactly (28)")]
    TooManyDigits(String),
    /// Outside the range of the quantity; the text says which range.
    #[error("{value} is out of range: {range}")]
    OutOfRange {
        /// The value given.
        value: String,
        /// The range in words.
        range: &'static str,
    },
}

/// Reads a decimal text exactly, in plain (`0.10`) or scientific (`1.5e-05`) form.
///
/// # Errors
/// [`NumberError::NotANumber`] for other text (also `NaN` and infinities), [`NumberError::TooManyDigits`]
/// where exactness would be lost.
pub fn parse(text: &str) -> Result<Decimal, NumberError> {
    let shown = || text.chars().take(60).collect::<String>();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'));
    if plain {
        return Decimal::from_str_exact(text).map_err(|error| match error {
            rust_decimal::Error::Underflow
            | rust_decimal::Error::ExceedsMaximumPossibleValue
            | rust_decimal::Error::LessThanMinimumPossibleValue
            | rust_decimal::Error::ScaleExceedsMaximumPrecision(_) => NumberError::TooManyDigits(shown()),
            _ => NumberError::NotANumber(shown()),
        });
    }
    scientific(text).ok_or_else(|| NumberError::NotANumber(shown()))
}

/// `1.5e-05` without loss; `None` where the text is no such number or does not fit.
fn scientific(text: &str) -> Option<Decimal> {
    let (digits, exponent) = text.split_once(['e', 'E'])?;
    let mantissa = Decimal::from_str_exact(digits).ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    if exponent.abs() > 28 {
        return None;
    }
    if exponent >= 0 {
        return Decimal::from_i128_with_scale(10_i128.pow(exponent.unsigned_abs()), 0).checked_mul(mantissa);
    }
    let scale = mantissa.scale().checked_add(exponent.unsigned_abs())?;
    (scale <= 28).then(|| Decimal::from_i128_with_scale(mantissa.mantissa(), scale))
}

/// A decimal as raw JSON text.
///
/// # Panics
/// Never: the text of a decimal is a JSON number.
pub fn to_raw(value: Decimal) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("the text of a decimal is a JSON number")
}

/// Writes a decimal as a JSON number.
///
/// # Errors
/// Whatever the serializer reports.
pub fn serialize<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    Text::of(*value).serialize(serializer)
}

/// Reads a JSON number or a string holding one, exactly.
///
/// # Errors
/// A message naming the text where it is no exact number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    from_raw(&raw).map_err(de::Error::custom)
}

/// A raw JSON value (a number, or a string holding one) as an exact decimal.
///
/// # Errors
/// As [`parse`]; any other JSON value is [`NumberError::NotANumber`].
pub fn from_raw(raw: &RawValue) -> Result<Decimal, NumberError> {
    let text = raw.get();
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    parse(inner)
}

/// A raw JSON value that a client wrote as an exact decimal: any JSON number, or a string that holds one in plain form, with
/// at most eight decimals and nothing in front but a minus sign (`0.50`, not `+5`, `5.`, `05` or `1e2`).
///
/// # Errors
/// As [`from_raw`], and [`NumberError::NotANumber`] for a string in another form.
pub fn from_input(raw: &RawValue) -> Result<Decimal, NumberError> {
    let text = raw.get();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !is_plain(inner) => Err(NumberError::NotANumber(text.chars().take(60).collect())),
        _ => from_raw(raw),
    }
}

/// The most decimals that a number in a string may be written with.
const MAX_WRITTEN_DECIMALS: usize = 8;

/// Whether a text is a number as the published schemas spell one in a string.
fn is_plain(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').map_or((unsigned, None), |(a, b)| (a, Some(b)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_minus_zero = text.starts_with('-') && unsigned.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && !is_minus_zero
        && decimals.is_none_or(|part| digits(part) && part.len() <= MAX_WRITTEN_DECIMALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, ()>) {
        assert_eq!(parse(text).map(|d| d.to_string()).map_err(|_| ()), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn numbers_keep_their_digits() {
        check("12.50", Ok("12.50"));
        check("-10", Ok("-10"));
        check("1.5e-05", Ok("0.000015"));
        check("1E3", Ok("1000"));
    }

    #[test]
    fn what_is_no_exact_number_is_refused() {
        for text in ["", "NaN", "inf", "1e309", "1,5", "0x10", "1.2.3", "--1", "1e"] {
            check(text, Err(()));
        }
        check(&"1".repeat(40), Err(()));
        check("0.12345678901234567890123456789012345678901", Err(()));
    }

    proptest::proptest! {
        #[test]
        fn the_text_of_a_decimal_is_that_of_its_display(mantissa: i128, width in 0_u32..97, scale in 0_u32..29) {
            let mantissa = mantissa % (1_i128 << width);
            let value = Decimal::from_i128_with_scale(mantissa, scale);
            for value in [value, -value] {
                let text = Text::of(value);
                proptest::prop_assert_eq!(text.as_str(), value.to_string());
            }
        }
    }

    #[test]
    fn the_longest_and_the_shortest_texts_are_whole() {
        for value in [Decimal::MAX, Decimal::MIN, Decimal::ZERO, -Decimal::ZERO] {
            for scale in [0, 1, 28] {
                let mut value = value;
                value.set_scale(scale).unwrap();
                assert_eq!(Text::of(value).as_str(), value.to_string());
            }
        }
    }

    #[test]
    fn a_decimal_survives_json() {
        #[derive(Serialize, Deserialize)]
        struct Row {
            #[serde(with = "super")]
            value: Decimal,
        }
        let row: Row = serde_json::from_str(r#"{"value":12.50}"#).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"value":12.50}"#);
        let row: Row = serde_json::from_str(r#"{"value":"0.10"}"#).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"value":0.10}"#);
        for value in [Decimal::MIN, Decimal::MAX, -Decimal::MAX / Decimal::from(10_u64.pow(19))] {
            let told = serde_json::to_string(&Row { value }).unwrap();
            assert_eq!(told, format!(r#"{{"value":{value}}}"#));
        }
        let value = Decimal::from_i128_with_scale(-1, 28);
        assert_eq!(serde_json::to_string(&Row { value }).unwrap(), format!(r#"{{"value":{value}}}"#));
    }
}
