//! Moments and candle steps.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC: nanoseconds since 1970, from 1677 to 2262. On the wire RFC 3339 ending in `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time such as 2026-04-01T12:00:00Z")]
pub struct TimestampError(String);

impl Timestamp {
    /// The first moment there is.
    pub const MIN: Self = Self(i64::MIN);
    /// The last moment there is.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since 1970.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From microseconds since 1970, ending at the range's bounds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// From milliseconds since 1970, ending at the range's bounds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From a date in an HTTP header, such as `Sun, 06 Nov 1994 08:49:37 GMT`; `None` for anything else.
    ///
    /// Source: RFC 9110, 5.6.7; the obsolete forms are not read.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let moment = jiff::fmt::rfc2822::parse(text).ok()?;
        i64::try_from(moment.timestamp().as_nanosecond()).ok().map(Self)
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `seconds` more, ending at [`Timestamp::MAX`].
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        let nanos = seconds.saturating_mul(1_000_000_000);
        Self(self.0.saturating_add_unsigned(nanos))
    }

    /// The next moment that can be told from this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Nanoseconds from `earlier` to this moment; negative where it is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(moment) => fmt::Display::fmt(&moment, f),
            Err(_) => f.write_str("out of range"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads RFC 3339. A year that this type cannot hold gives its nearest bound.
impl FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let refused = || TimestampError(text.chars().take(60).collect());
        let year = text.get(..4).and_then(|year| digits(year, 4)).ok_or_else(refused)?;
        if !has_offset(text) {
            return Err(refused());
        }
        if HELD_YEARS.contains(&year) {
            let moment: jiff::Timestamp = text.parse().map_err(|_| refused())?;
            let bound = if moment.as_second() < 0 { Self::MIN } else { Self::MAX };
            return Ok(i64::try_from(moment.as_nanosecond()).map_or(bound, Self));
        }
        // The rest is checked in a year that has the same calendar.
        let alike = format!("{}{}", 2_000 + year % 400, text.get(4..).unwrap_or_default());
        alike.parse::<jiff::Timestamp>().map_err(|_| refused())?;
        Ok(if year < *HELD_YEARS.start() { Self::MIN } else { Self::MAX })
    }
}

/// The years that a [`Timestamp`] holds, the first and the last in part.
const HELD_YEARS: RangeInclusive<u32> = 1_677..=2_262;

/// A number of exactly so many digits.
fn digits(text: &str, length: usize) -> Option<u32> {
    let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Whether a text ends as RFC 3339 asks for: in `Z`, or in an offset of at most 23:59. jiff takes offsets of 25 hours,
/// and other forms besides.
fn has_offset(text: &str) -> bool {
    if text.ends_with(['Z', 'z']) {
        return true;
    }
    let offset = text.len().checked_sub(6).and_then(|at| text.get(at..)).unwrap_or_default();
    let parts = offset.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'));
    parts.is_some_and(|(hours, minutes)| {
        digits(hours, 2).is_some_and(|hours| hours <= 23) && digits(minutes, 2).is_some_and(|it| it <= 59)
    })
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A candle's step.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum Interval {
    /// One second.
    #[serde(rename = "1s")]
    OneSecond,
    /// One minute.
    #[serde(rename = "1m")]
    OneMinute,
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// One hour.
    #[serde(rename = "1h")]
    OneHour,
    /// One UTC day.
    #[serde(rename = "1d")]
    OneDay,
}

impl Interval {
    /// The step in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::OneSecond => 1,
            Self::OneMinute => 60,
            Self::FiveMinutes => 300,
            Self::OneHour => 3_600,
            Self::OneDay => 86_400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_it_writes() {
        let moment = Timestamp::from_millis(1_723_161_255_342);
        assert_eq!(moment.to_string(), "2024-08-08T23:54:15.342Z");
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let moment = text.parse::<Timestamp>().ok().map(|moment| moment.to_string());
        assert_eq!(moment.as_deref(), expected, "{text}");
    }

    #[test]
    fn an_offset_is_at_most_a_day_and_is_applied() {
        check("2026-04-01T12:00:00+05:30", Some("2026-04-01T06:30:00Z"));
        check("2026-04-01T12:00:00.5-23:59", Some("2026-04-02T11:59:00.5Z"));
        check("2026-04-01t12:00:00z", Some("2026-04-01T12:00:00Z"));
        for refused in [
            "2026-04-01T12:00:00+25:59",
            "2026-04-01T12:00:00+24:00",
            "2026-04-01T12:00:00+05:60",
            "2026-04-01T12:00:00+0530",
            "2026-04-01T12:00:00+05",
            "2026-04-01T12:00:00",
            "2026-04-01T12:00:00Z[UTC]",
            "2026-02-30T12:00:00Z",
            "+012026-04-01T12:00:00Z",
            "é026-04-01T12:00:00Z",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn a_year_beyond_the_range_is_the_nearest_bound() {
        let bound = |bound: Timestamp| Some(bound.to_string());
        check("9999-12-31T23:59:59Z", bound(Timestamp::MAX).as_deref());
        check("2262-12-31T00:00:00Z", bound(Timestamp::MAX).as_deref());
        check("2262-04-11T00:00:00Z", Some("2262-04-11T00:00:00Z"));
        check("1600-02-29T00:00:00+01:00", bound(Timestamp::MIN).as_deref());
        check("0001-01-01T00:00:00Z", bound(Timestamp::MIN).as_deref());
        check("9999-13-31T23:59:59Z", None);
        check("9900-02-29T00:00:00Z", None);
    }

    #[test]
    fn a_date_of_http_is_a_moment() {
        let moment = Timestamp::from_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(moment.map(Timestamp::millis), Some(784_111_777_000));
        assert_eq!(Timestamp::from_http_date("120"), None);
    }
}
