//! How many requests a key may make in any minute: a log of when it made them, so that no stretch of time that is as
//! long as the window ever holds more than its plan allows.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ApiError;

/// How many parts the keys are spread over; each has a lock of its own.
const SHARDS: usize = 16;

/// How many keys one part remembers: as many as its table holds before it would grow to 64 Ki places. All parts
/// together hold 458,752 keys in less than 48 MiB, as long as each makes a few requests only.
const MOST_IN_SHARD: usize = 28_672;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// A full part looks for keys to forget this often at most, in nanoseconds; a newcomer is turned away for as long.
const LOOK_EVERY_NS: u64 = SECOND_NS;

/// Counts requests per key. Time is an argument: nanoseconds of any clock that never goes back. A coarser one would let
/// in what comes up to one of its ticks too early.
#[derive(Debug)]
pub struct Limiter<K> {
    window_ns: u64,
    shards: [Mutex<Shard<K>>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard<K> {
    /// When each key made the requests that still count, oldest first.
    logs: HashMap<K, VecDeque<u64>>,
    forgot_ns: u64,
}

/// What is left to a key after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// How many requests any window may hold.
    pub limit: u32,
    /// How many could be made at once now.
    pub remaining: u32,
    /// Whole seconds until the oldest request that counts no longer does, so that there is room for one more: after a
    /// refusal, waiting them works.
    pub reset_s: u64,
    /// How long the window is, in seconds.
    pub window_s: u64,
    /// Whether the request may be answered.
    pub allowed: bool,
}

impl Quota {
    /// Refuses what may not be answered; `of` says what there is too much of.
    pub(crate) fn admit(&self, of: &'static str) -> Result<(), ApiError> {
        if self.allowed { Ok(()) } else { Err(ApiError::RateLimited { of, retry_after_s: self.reset_s }) }
    }
}

impl<K: Eq + Hash> Limiter<K> {
    /// One that looks back so far, in whole seconds, at least one.
    pub fn new(window: Duration) -> Self {
        let window_ns = window.as_secs().max(1) * SECOND_NS;
        let shards = [(); SHARDS].map(|()| Mutex::new(Shard { logs: HashMap::new(), forgot_ns: 0 }));
        Self { window_ns, shards, hasher: RandomState::new() }
    }

    /// Counts one request of `key`, which may make `limit` in any window. A refused one costs nothing.
    pub fn take(&self, key: K, limit: u32, now_ns: u64) -> Quota {
        let place = usize::try_from(self.hasher.hash_one(&key) % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(place) else { return self.turned_away(limit) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.forget(now_ns, self.window_ns);
        let is_full = shard.logs.len() >= MOST_IN_SHARD;
        let log = match shard.logs.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            // A key that cannot be counted cannot be let in.
            Entry::Vacant(_) if is_full => return self.turned_away(limit),
            Entry::Vacant(new) => new.insert(VecDeque::new()),
        };
        self.count(log, limit, now_ns)
    }

    fn count(&self, log: &mut VecDeque<u64>, limit: u32, now_ns: u64) -> Quota {
        // Threads read the clock before they wait for each other: what one of them saw may be older than the last.
        let now_ns = log.back().map_or(now_ns, |last| now_ns.max(*last));
        while log.pop_front_if(|oldest| *oldest + self.window_ns <= now_ns).is_some() {}
        let most = limit as usize;
        let allowed = log.len() < most;
        if allowed {
            log.push_back(now_ns);
        }
        // Where a plan became smaller, more than it allows may count still.
        let next_to_go = log.get(log.len().saturating_sub(most.max(1)));
        let free_ns = next_to_go.map_or(self.window_ns, |at| (at + self.window_ns).saturating_sub(now_ns));
        Quota {
            limit,
            remaining: u32::try_from(most.saturating_sub(log.len())).unwrap_or(u32::MAX),
            reset_s: free_ns.div_ceil(SECOND_NS),
            window_s: self.window_ns / SECOND_NS,
            allowed,
        }
    }

    const fn turned_away(&self, limit: u32) -> Quota {
        let (reset_s, window_s) = (LOOK_EVERY_NS / SECOND_NS, self.window_ns / SECOND_NS);
        Quota { limit, remaining: 0, reset_s, window_s, allowed: false }
    }
}

impl<K> Shard<K> {
    /// Forgets the keys that made no request in the last window: once in a window, or sooner where there is no room.
    fn forget(&mut self, now_ns: u64, window_ns: u64) {
        let is_full = self.logs.len() >= MOST_IN_SHARD;
        let every_ns = if is_full { LOOK_EVERY_NS } else { window_ns };
        if now_ns < self.forgot_ns + every_ns {
            return;
        }
        self.forgot_ns = now_ns;
        self.logs.retain(|_, log| log.back().is_some_and(|last| now_ns < last + window_ns));
        if self.logs.is_empty() {
            self.logs = HashMap::new();
        }
    }
}

impl Quota {
    /// The value of the `RateLimit-Policy` header.
    pub fn policy(&self) -> String {
        format!("\"plan\";q={};w={}", self.limit, self.window_s)
    }

    /// The value of the `RateLimit` header.
    pub fn state(&self) -> String {
        format!("\"plan\";r={};t={}", self.remaining, self.reset_s)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const MINUTE_NS: u64 = 60 * SECOND_NS;
    const MS: u64 = SECOND_NS / 1_000;

    #[test]
    fn a_key_gets_its_plan_and_waiting_as_told_works() {
        let limiter = Limiter::new(MINUTE);
        for left in (0..100).rev() {
            let quota = limiter.take("a", 100, 500 * MS);
            assert!(quota.allowed);
            assert_eq!(quota.remaining, left);
        }
        let refused = limiter.take("a", 100, 1_700 * MS);
        assert_eq!((refused.allowed, refused.reset_s), (false, 59));
        assert!(limiter.take("b", 100, 1_700 * MS).allowed);
        assert!(!limiter.take("a", 100, 60_500 * MS - 1).allowed, "a minute is not over");
        assert!(limiter.take("a", 100, 1_700 * MS + refused.reset_s * SECOND_NS).allowed);
    }

    #[test]
    fn the_edge_of_a_minute_lets_no_second_plan_through() {
        let limiter = Limiter::new(MINUTE);
        assert!(limiter.take("a", 100, 0).allowed);
        let late = |at| (0..200).filter(|_| limiter.take("a", 100, at * MS).allowed).count();
        assert_eq!(late(59_900), 99);
        assert_eq!(late(60_100), 1, "only what the first request leaves");
    }

    #[test]
    fn a_smaller_plan_counts_what_the_larger_one_let_through() {
        let limiter = Limiter::new(MINUTE);
        for second in 0..30 {
            assert!(limiter.take("a", 300, second * SECOND_NS).allowed);
        }
        let refused = limiter.take("a", 10, 30 * SECOND_NS);
        assert_eq!((refused.allowed, refused.remaining, refused.reset_s), (false, 0, 50));
        assert!(!limiter.take("a", 10, 80 * SECOND_NS - 1).allowed);
        assert!(limiter.take("a", 10, 80 * SECOND_NS).allowed);
    }

    proptest! {
        #[test]
        fn no_minute_holds_more_than_the_plan_and_none_is_refused_without_need(
            gaps in prop::collection::vec(prop_oneof![Just(0_u64), 1..50_u64, 1..3_000_u64, 50_000..70_000_u64], 1..400),
            limit in 1..40_u32,
        ) {
            let limiter = Limiter::new(MINUTE);
            let (mut now, mut taken) = (0, Vec::new());
            for gap in gaps {
                now += gap * MS + gap % 7;
                let in_minute = |end: u64| taken.iter().filter(|at| **at + MINUTE_NS > end).count();
                let before = in_minute(now);
                let quota = limiter.take("a", limit, now);
                prop_assert_eq!(quota.allowed, before < limit as usize);
                if quota.allowed {
                    prop_assert_eq!(quota.remaining as usize, limit as usize - before - 1);
                    taken.push(now);
                } else {
                    prop_assert!(in_minute(now + quota.reset_s * SECOND_NS) < limit as usize, "waiting works");
                    let sooner = now + quota.reset_s.saturating_sub(1) * SECOND_NS;
                    prop_assert!(in_minute(sooner) >= limit as usize, "and no second of it is too many");
                }
            }
            for at in &taken {
                let minute = taken.iter().filter(|other| (*at..at + MINUTE_NS).contains(other)).count();
                prop_assert!(minute <= limit as usize);
            }
        }
    }

    #[test]
    fn eight_at_once_share_one_plan() {
        let limiter = Limiter::new(MINUTE);
        let began = std::time::Instant::now();
        let taken: Vec<usize> = std::thread::scope(|scope| {
            let client = || {
                let ask = |_: &usize| {
                    let now_ns = u64::try_from(began.elapsed().as_nanos()).unwrap();
                    limiter.take("a", 1_000, now_ns).allowed
                };
                (0..5_000).filter(ask).count()
            };
            let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().sum::<usize>(), 1_000, "{taken:?}");
    }

    /// What the tables and logs take, as they allocate it.
    fn bytes<K>(limiter: &Limiter<K>) -> usize {
        let of_shard = |shard: &Mutex<Shard<K>>| {
            let shard = shard.lock().unwrap();
            let places = (shard.logs.capacity() * 8 / 7).next_power_of_two();
            let logs: usize = shard.logs.values().map(|log| log.capacity() * size_of::<u64>()).sum();
            places * (size_of::<(K, VecDeque<u64>)>() + 1) + logs
        };
        limiter.shards.iter().map(of_shard).sum()
    }

    #[test]
    fn a_million_keys_fit_into_64_mebibytes_and_idle_ones_are_forgotten() {
        let limiter = Limiter::new(MINUTE);
        let mut most = 0;
        for key in 0..1_000_000_u128 {
            let quota = limiter.take(key, 100, 1);
            assert!(quota.allowed || quota.reset_s == 1);
            if key % 50_000 == 0 {
                most = most.max(bytes(&limiter));
            }
        }
        most = most.max(bytes(&limiter));
        assert!((32 << 20..=64 << 20).contains(&most), "{most} bytes");
        // Every part is asked by one of these.
        for key in 0..1_000_u128 {
            assert!(limiter.take(key, 100, MINUTE_NS + 1).allowed);
        }
        let left: usize = limiter.shards.iter().map(|shard| shard.lock().unwrap().logs.len()).sum();
        assert_eq!(left, 1_000);
    }
}
