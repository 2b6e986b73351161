//! How many orders an account may place while none of them fills.

use model::Timestamp;
use serde_json::{Value, json};

use crate::fault::Fault;

/// A limit of unfilled orders.
struct Limit {
    length_ms: i64,
    most: u32,
    interval: &'static str,
    interval_num: u32,
}

/// Both limits; a window begins with every multiple of its length, a day at midnight UTC.
const LIMITS: [Limit; 2] = [
    Limit { length_ms: 10_000, most: 100, interval: "SECOND", interval_num: 10 },
    Limit { length_ms: 86_400_000, most: 200_000, interval: "DAY", interval_num: 1 },
];

/// How many orders an order's first fill takes off the counts: more where it had to wait for it.
const OFF_AS_TAKER: u32 = 1;
const OFF_AS_MAKER: u32 = 5;

/// What an account has used of the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct OrderCounts([Window; 2]);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Window {
    number: i64,
    count: u32,
}

impl OrderCounts {
    /// Refuses one more order where that would be too many.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Fault> {
        for (limit, count) in LIMITS.iter().zip(self.used(now)) {
            if count >= limit.most {
                let message = format!(
                    "Too many new orders; current limit is {} orders per {} {}.",
                    limit.most, limit.interval_num, limit.interval
                );
                let wait_ms = limit.length_ms - now.millis().rem_euclid(limit.length_ms);
                return Err(Fault::with_status(429, -1015, message).retry_after((wait_ms + 999) / 1_000));
            }
        }
        Ok(())
    }

    /// An order was placed.
    pub(crate) fn add(&mut self, now: Timestamp) {
        for (window, limit) in self.0.iter_mut().zip(LIMITS) {
            let number = now.millis().div_euclid(limit.length_ms);
            let count = if window.number == number { window.count } else { 0 };
            *window = Window { number, count: count + 1 };
        }
    }

    /// An order filled for the first time.
    pub(crate) fn first_fill(&mut self, is_maker: bool) {
        let off = if is_maker { OFF_AS_MAKER } else { OFF_AS_TAKER };
        for window in &mut self.0 {
            window.count = window.count.saturating_sub(off);
        }
    }

    /// What is used of each limit: in ten seconds, in a day.
    pub(crate) fn used(&self, now: Timestamp) -> [u32; 2] {
        let mut used = [0; 2];
        for ((used, window), limit) in used.iter_mut().zip(self.0).zip(LIMITS) {
            if window.number == now.millis().div_euclid(limit.length_ms) {
                *used = window.count;
            }
        }
        used
    }
}

/// The limits as they are listed; with `used` as answers repeat them.
pub(crate) fn listed(used: Option<[u32; 2]>) -> Vec<Value> {
    let shown = LIMITS.iter().enumerate().map(|(index, limit)| {
        let mut shown = json!({"rateLimitType": "ORDERS", "interval": limit.interval,
            "intervalNum": limit.interval_num, "limit": limit.most});
        let count = used.and_then(|used| used.get(index).copied());
        if let (Some(count), Some(object)) = (count, shown.as_object_mut()) {
            object.insert("count".to_owned(), json!(count));
        }
        shown
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfilled_orders_count_and_fills_take_off() {
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        let mut counts = OrderCounts::default();
        for _ in 0..100 {
            assert_eq!(counts.check(at(3)), Ok(()));
            counts.add(at(3));
        }
        let fault = counts.check(at(4)).unwrap_err();
        assert_eq!((fault.status, fault.code, fault.retry_after_s), (429, -1015, Some(6)));
        counts.first_fill(false);
        assert_eq!((counts.check(at(4)), counts.used(at(4))), (Ok(()), [99, 99]));
        counts.first_fill(true);
        assert_eq!((counts.used(at(4)), counts.used(at(10))), ([94, 94], [0, 94]));
        assert_eq!(counts.used(at(86_400)), [0, 0]);
        for _ in 0..30 {
            counts.first_fill(true);
        }
        counts.add(at(11));
        assert_eq!(counts.used(at(11)), [1, 1], "fills are no credit");
    }
}
