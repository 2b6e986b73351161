//! The highest and lowest price since any tick.

/// Two stacks of the ticks that are an extreme of everything after them: what came since a tick is found by
/// binary search, and a tick costs constant time on average.
#[derive(Debug, Default)]
pub(super) struct Extremes {
    highs: Vec<(u64, i64)>,
    lows: Vec<(u64, i64)>,
}

impl Extremes {
    /// Appends a tick.
    #[inline]
    pub(super) fn push(&mut self, seq: u64, price: i64) {
        while self.highs.last().is_some_and(|(_, high)| *high <= price) {
            self.highs.pop();
        }
        self.highs.push((seq, price));
        while self.lows.last().is_some_and(|(_, low)| *low >= price) {
            self.lows.pop();
        }
        self.lows.push((seq, price));
    }

    /// The highest price of the ticks after `seq`; 0 where there are none.
    pub(super) fn high_since(&self, seq: u64) -> i64 {
        first_after(&self.highs, seq).unwrap_or(0)
    }

    /// The lowest price of the ticks after `seq`; the largest number where there are none.
    pub(super) fn low_since(&self, seq: u64) -> i64 {
        first_after(&self.lows, seq).unwrap_or(i64::MAX)
    }
}

fn first_after(stack: &[(u64, i64)], seq: u64) -> Option<i64> {
    stack.get(stack.partition_point(|(at, _)| *at <= seq)).map(|(_, price)| *price)
}
