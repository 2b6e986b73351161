//! How many requests a key may make: a fixed minute that begins with the key's first request.

use std::hash::Hash;

use dashmap::DashMap;

/// How long a window lasts, in seconds.
const WINDOW_S: u64 = 60;

/// How many keys are remembered before those whose window is over are forgotten.
const REMEMBERED: usize = 10_000;

/// Counts requests per key. Time is an argument: milliseconds of any clock that never goes back.
#[derive(Debug)]
pub struct Limiter<K: Eq + Hash> {
    windows: DashMap<K, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began_ms: u64,
    used: u32,
}

/// What is left to a key after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// How many requests a window holds.
    pub limit: u32,
    /// How many are left in it.
    pub remaining: u32,
    /// Whole seconds until it is full again; waiting them always works.
    pub reset_s: u64,
    /// Whether the request may be answered.
    pub allowed: bool,
}

impl<K: Eq + Hash> Default for Limiter<K> {
    fn default() -> Self {
        Self { windows: DashMap::new() }
    }
}

impl<K: Eq + Hash> Limiter<K> {
    /// Counts one request of `key`, whose plan allows `limit` a minute. A refused one costs nothing.
    pub fn take(&self, key: K, limit: u32, now_ms: u64) -> Quota {
        if self.windows.len() >= REMEMBERED {
            self.windows.retain(|_, window| !window.is_over(now_ms));
        }
        let mut window = self.windows.entry(key).or_insert(Window { began_ms: now_ms, used: 0 });
        if window.is_over(now_ms) {
            *window = Window { began_ms: now_ms, used: 0 };
        }
        let allowed = window.used < limit;
        if allowed {
            window.used += 1;
        }
        let left_ms = (window.began_ms + WINDOW_S * 1_000).saturating_sub(now_ms);
        Quota {
            limit,
            remaining: limit.saturating_sub(window.used),
            reset_s: left_ms.div_ceil(1_000),
            allowed,
        }
    }
}

impl Window {
    const fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.began_ms + WINDOW_S * 1_000
    }
}

impl Quota {
    /// The value of the `RateLimit-Policy` header.
    pub fn policy(&self) -> String {
        format!("\"plan\";q={};w={WINDOW_S}", self.limit)
    }

    /// The value of the `RateLimit` header.
    pub fn state(&self) -> String {
        format!("\"plan\";r={};t={}", self.remaining, self.reset_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gets_its_plan_and_waiting_as_told_works() {
        let limiter = Limiter::default();
        for left in (0..100).rev() {
            let quota = limiter.take("a", 100, 500);
            assert!(quota.allowed);
            assert_eq!(quota.remaining, left);
        }
        let refused = limiter.take("a", 100, 1_700);
        assert_eq!((refused.allowed, refused.reset_s), (false, 59));
        assert!(limiter.take("b", 100, 1_700).allowed);
        assert!(!limiter.take("a", 100, 60_499).allowed);
        assert!(limiter.take("a", 100, 1_700 + refused.reset_s * 1_000).allowed);
    }

    #[test]
    fn keys_whose_window_is_over_are_forgotten() {
        let limiter = Limiter::default();
        for key in 0..REMEMBERED {
            limiter.take(key, 1, 0);
        }
        limiter.take(usize::MAX, 1, 60_000);
        assert_eq!(limiter.windows.len(), 1);
    }
}
