//! The scan: which row is the first to leave a watch.
//!
//! A block of rows is looked at as a whole; only a block that may hold the row is gone through one by one. A
//! row found may turn out to change nothing, but none that would is passed over.

use model::{Price, Trail, Watch};

/// Rows looked at together.
const BLOCK: usize = 64;

/// Three columns of equal length: each row's time, lowest and highest price. A tick's are the same.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) at: &'a [i64],
    pub(crate) low: &'a [i64],
    pub(crate) high: &'a [i64],
}

/// Where a scan ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The row that leaves the watch; `None` where none does.
    pub(crate) row: Option<usize>,
    /// The highest price of the rows passed over, while something trails.
    pub(crate) passed: Option<Price>,
}

impl Columns<'_> {
    /// The first row at or after `from` that leaves the watch.
    pub(crate) fn next(&self, from: usize, watch: &Watch) -> Found {
        let rows = |column: &'_ [i64]| column.len().saturating_sub(from);
        let due = match watch.at {
            Some(due) => self.at.get(from..).map_or(0, |times| times.partition_point(|at| *at < due.nanos())),
            None => rows(self.at),
        };
        let until = from.saturating_add(due);
        let low = self.low.get(from..until).unwrap_or_default();
        let high = self.high.get(from..until).unwrap_or_default();
        let band =
            Band { below: watch.below.map_or(0, Price::e8), above: watch.above.map_or(i64::MAX, Price::e8) };
        let (offset, passed) = match &watch.trail {
            None if watch.below.is_none() && watch.above.is_none() => (None, None),
            None => (band.first_outside(low, high), None),
            Some(trail) => band.first_under_trail(low, high, trail),
        };
        let by_time = (until < self.at.len()).then_some(until);
        Found { row: offset.map(|offset| from + offset).or(by_time), passed: passed.and_then(Price::from_e8) }
    }
}

/// Two bounds; a price at or beyond one is outside.
#[derive(Clone, Copy)]
struct Band {
    below: i64,
    above: i64,
}

impl Band {
    /// Negative exactly where a row is outside: the sign survives an `or` over a whole block, and SSE2, which has
    /// no comparison of 64 bits, does it two rows at a time. Prices are positive, so nothing wraps.
    fn outside(self, low: i64, high: i64) -> i64 {
        low.wrapping_sub(self.below).wrapping_sub(1) | self.above.wrapping_sub(1).wrapping_sub(high)
    }

    fn first_outside(self, low: &[i64], high: &[i64]) -> Option<usize> {
        let blocks = low.chunks(BLOCK).zip(high.chunks(BLOCK));
        let hit = |(low, high): (&[i64], &[i64])| {
            low.iter().zip(high).fold(0, |sign, (low, high)| sign | self.outside(*low, *high)) < 0
        };
        let (number, (low, high)) = blocks.enumerate().find(|(_, block)| hit(*block))?;
        let inside = low.iter().zip(high).position(|(low, high)| self.outside(*low, *high) < 0)?;
        Some(number * BLOCK + inside)
    }

    /// The first row outside, or at or under the level that the highest price so far draws; and the highest
    /// price of the rows before it.
    fn first_under_trail(self, low: &[i64], high: &[i64], trail: &Trail) -> (Option<usize>, Option<i64>) {
        let mut highest = trail.high.e8();
        let mut level = level(trail, highest);
        for (number, (low, high)) in low.chunks(BLOCK).zip(high.chunks(BLOCK)).enumerate() {
            let top = high.iter().copied().fold(highest, i64::max);
            let bottom = low.iter().copied().fold(i64::MAX, i64::min);
            let block_level = if top > highest { self::level(trail, top) } else { level };
            if bottom > block_level && self.outside(bottom, top_of(high)) >= 0 {
                (highest, level) = (top, block_level);
                continue;
            }
            for (row, (low, high)) in low.iter().zip(high).enumerate() {
                let before = highest;
                if *high > highest {
                    highest = *high;
                    level = self::level(trail, highest);
                }
                if *low <= level || self.outside(*low, *high) < 0 {
                    return (Some(number * BLOCK + row), Some(before));
                }
            }
        }
        (None, Some(highest))
    }
}

fn top_of(high: &[i64]) -> i64 {
    high.iter().copied().fold(0, i64::max)
}

/// The trailing level for a highest price; 0, which no price reaches, where there is none.
fn level(trail: &Trail, highest: i64) -> i64 {
    Price::from_e8(highest).and_then(|high| trail.level(high)).map_or(0, Price::e8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    #[track_caller]
    fn check(prices: &[i64], watch: &Watch, expected: Option<usize>) {
        let at: Vec<i64> = (0..prices.len()).map(|row| i64::try_from(row).unwrap()).collect();
        let columns = Columns { at: &at, low: prices, high: prices };
        assert_eq!(columns.next(0, watch).row, expected);
    }

    fn e8(units: i64) -> Option<Price> {
        Price::from_e8(units)
    }

    #[test]
    fn a_scan_finds_the_first_row_outside_wherever_it_lies() {
        let watch = Watch { below: e8(10), above: e8(20), ..Watch::NEVER };
        for row in [0, 1, 63, 64, 65, 127, 199] {
            for price in [10, 9, 1, 20, 21, i64::MAX - 1] {
                let mut prices = vec![15; 200];
                prices[row] = price;
                check(&prices, &watch, Some(row));
            }
        }
        check(&[11, 19, 15], &watch, None);
    }

    #[test]
    fn a_scan_stops_at_the_time_waited_for() {
        let at = |nanos| Watch { at: Some(Timestamp::from_nanos(nanos)), ..Watch::NEVER };
        check(&[1; 9], &at(i64::MIN), Some(0));
        check(&[1; 9], &at(4), Some(4));
        check(&[1; 9], &at(9), None);
    }

    #[test]
    fn a_trail_is_followed_across_blocks() {
        let tick_size = Price::MIN;
        let trail =
            Trail { high: Price::from_e8(1_000).unwrap(), distance: "0.1".parse().unwrap(), tick_size };
        let watch = Watch { trail: Some(trail), ..Watch::NEVER };
        let mut prices: Vec<i64> = (1_000..1_300).collect();
        check(&prices, &watch, None);
        prices.push(1_170);
        check(&prices, &watch, None);
        prices.push(1_169);
        check(&prices, &watch, Some(301));
    }
}
