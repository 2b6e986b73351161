//! Times as nanoseconds since 1970.

use rust_decimal::Decimal;

/// 1980-01-01: what is earlier is no market's time, and makes the units below unambiguous.
const FIRST: i64 = 315_532_800;

/// Reads seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size, or ISO 8601, which is UTC where
/// it has no offset.
pub(crate) fn nanos(text: &str) -> Result<i64, String> {
    if let Ok(number) = text.parse::<i64>() {
        return nanos_of(number);
    }
    if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && let Some(number) = decimal(text)
    {
        return nanos_of_decimal(number, text);
    }
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
        let civil: jiff::civil::DateTime = text.parse()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    let moment = moment.map_err(|_| no_time(text))?;
    let nanos = i64::try_from(moment.as_nanosecond()).map_err(|_| no_time(text))?;
    in_range(nanos, text)
}

/// Reads a whole number of seconds, milliseconds, microseconds or nanoseconds, told apart by size.
pub(crate) fn nanos_of(number: i64) -> Result<i64, String> {
    let unit = unit(number).ok_or_else(|| too_early(&number.to_string()))?;
    number.checked_mul(unit).ok_or_else(|| no_time(&number.to_string()))
}

/// Checks a time that is known in nanoseconds.
pub(crate) fn in_range(nanos: i64, text: &str) -> Result<i64, String> {
    if nanos < FIRST * 1_000_000_000 { Err(too_early(text)) } else { Ok(nanos) }
}

/// Reads a float of seconds, milliseconds, microseconds or nanoseconds.
pub(crate) fn nanos_of_float(value: f64) -> Result<i64, String> {
    let text = value.to_string();
    let number = decimal(&text).ok_or_else(|| no_time(&text))?;
    nanos_of_decimal(number, &text)
}

fn nanos_of_decimal(number: Decimal, text: &str) -> Result<i64, String> {
    let whole = i64::try_from(number.trunc().mantissa()).map_err(|_| no_time(text))?;
    let unit = unit(whole).ok_or_else(|| too_early(text))?;
    let nanos = number.checked_mul(Decimal::from(unit)).ok_or_else(|| no_time(text))?.trunc();
    i64::try_from(nanos.mantissa()).map_err(|_| no_time(text))
}

fn decimal(text: &str) -> Option<Decimal> {
    if text.contains(['e', 'E']) { Decimal::from_scientific(text).ok() } else { text.parse().ok() }
}

/// Nanoseconds in the unit of a number since 1970; `None` before 1980.
const fn unit(number: i64) -> Option<i64> {
    const MILLIS: i64 = FIRST * 1_000;
    const MICROS: i64 = MILLIS * 1_000;
    const NANOS: i64 = MICROS * 1_000;
    match number {
        NANOS.. => Some(1),
        MICROS.. => Some(1_000),
        MILLIS.. => Some(1_000_000),
        FIRST.. => Some(1_000_000_000),
        _ => None,
    }
}

fn too_early(text: &str) -> String {
    format!("the time {text} is before 1980")
}

fn no_time(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("expected a time since 1970 (s, ms, µs or ns) or in ISO 8601, up to 2262, got `{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(nanos(text).ok(), expected, "{text}");
    }

    #[test]
    fn a_time_is_read_in_every_unit() {
        let second = 1_704_067_200_000_000_000;
        for text in [
            "1704067200",
            "1704067200000",
            "1704067200000000",
            "1704067200000000000",
            "1704067200.0",
            "1.7040672e9",
            "1.7040672e+12",
            "2024-01-01",
            "2024-01-01 00:00:00",
            "2024-01-01T00:00:00Z",
            "2024-01-01 01:00:00+01:00",
            "2024-01-01T00:00:00.000",
        ] {
            check(text, Some(second));
        }
        check("1704067200.123456789", Some(second + 123_456_789));
        check("2024-01-01T00:00:00.000000001Z", Some(second + 1));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "0",
            "45000",
            "20240101",
            "20240101000000",
            "1979-12-31",
            "01/02/2024",
            "NaN",
            "-1704067200",
            "soon",
        ] {
            check(bad, None);
        }
    }
}
