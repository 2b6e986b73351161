//! Single fields of a frame: exact prices and times from their text.

use model::{Price, Qty, Timestamp};
use rust_decimal::Decimal;

/// A price text as an exact price; `None` for zero, negatives, more than eight significant decimals, anything
/// beyond range, and whatever is no plain decimal (`NaN`, `1e30`).
pub(super) fn price(text: &str) -> Option<Price> {
    Price::from_e8(e8(text.as_bytes())?)
}

/// A quantity text: 0 or more, exact.
pub(super) fn qty(text: &str) -> Option<Qty> {
    let value = e8(text.as_bytes()).map(|units| Decimal::new(units, 8));
    Qty::new(value.or_else(|| decimal(text))?).ok()
}

/// A number in the venue's own form: up to 20 digits, and up to 20 more behind a point (`rest-api.md`, read
/// 2026-07-21); `None` also where it has more than the 28 digits that can be kept exactly.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| part.len() <= 20 && part.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits(whole) && is_digits(decimals) { model::number::parse(text).ok() } else { None }
}

/// Milliseconds or, where the stream was opened with `timeUnit=MICROSECOND`, microseconds: told apart by size
/// (1e14 ms is the year 5138, 1e14 µs is 1973).
pub(super) const fn time(number: i64) -> Timestamp {
    if number.unsigned_abs() >= 100_000_000_000_000 {
        Timestamp::from_micros(number)
    } else {
        Timestamp::from_millis(number)
    }
}

/// A plain unsigned decimal as a count of 1e-8.
fn e8(text: &[u8]) -> Option<i64> {
    let mut units = 0_i64;
    let mut decimals: Option<u32> = None;
    for byte in text {
        match (byte, decimals) {
            (b'.', None) => decimals = Some(0),
            // Beyond the eighth place only zeros change nothing.
            (b'0', Some(8..)) => {}
            (b'0'..=b'9', places) if places.is_none_or(|places| places < 8) => {
                units = units.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
                decimals = places.map(|places| places + 1);
            }
            _ => return None,
        }
    }
    let has_digits = text.iter().any(u8::is_ascii_digit);
    let missing = 8_u32.saturating_sub(decimals.unwrap_or(0));
    if has_digits { units.checked_mul(10_i64.checked_pow(missing)?) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(price(text).map(|price| price.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn prices_are_read_exactly() {
        check("61837.63000000", Some("61837.63"));
        check("0.00000001", Some("0.00000001"));
        check("92233720368.54775807", Some("92233720368.54775807"));
        check("100", Some("100"));
        check("100.", Some("100"));
        check("1.0000000000", Some("1"));
    }

    #[test]
    fn what_is_no_price_is_none() {
        let sixty = "9".repeat(60);
        for text in [
            "0",
            "0.0",
            "-1",
            "+1",
            "NaN",
            "Infinity",
            "1e30",
            "1E3",
            "",
            ".",
            "1.2.3",
            " 1",
            "92233720368.54775808",
            "0.000000001",
            "1,5",
            sixty.as_str(),
        ] {
            check(text, None);
        }
    }

    #[test]
    fn quantities_are_read_exactly_as_far_as_the_venue_may_send_them() {
        for text in ["0", "0.00000001", "123456.000000000000000001", "100000000.12345678901234567890"] {
            assert_eq!(qty(text).map(Qty::decimal), text.parse().ok(), "{text}");
        }
        let long = format!("0.{}", "1".repeat(24));
        for text in [long.as_str(), "-1", "1e-5", "", ".", "NaN", "9999999999999999"] {
            assert_eq!(qty(text), None, "{text}");
        }
    }

    #[test]
    fn microseconds_are_told_from_milliseconds() {
        assert_eq!(time(1_723_161_255_342), time(1_723_161_255_342_000));
    }

    proptest! {
        #[test]
        fn every_price_reads_as_decimals_read_it(units in 1..=i64::MAX) {
            let text = Decimal::new(units, 8).to_string();
            prop_assert_eq!(price(&text), Price::from_e8(units));
        }

        #[test]
        fn no_number_panics(text in "[0-9.]{0,50}") {
            let _ = (price(&text), qty(&text), decimal(&text));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (price(&text), qty(&text), decimal(&text));
        }
    }
}
