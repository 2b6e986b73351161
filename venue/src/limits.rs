//! How much an address may ask for in a minute, and for how long it is refused once it asked for more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use model::Timestamp;

use crate::fault::Fault;

/// The weight of requests that an address may make in a minute.
pub(crate) const WEIGHT: u32 = 6_000;

/// Requests over the limit after which an address is banned.
const PATIENCE: u32 = 100;

/// How long such a ban lasts, in ms.
const BAN_MS: i64 = 120_000;

/// What is used of the limits once a request is answered, as far as its answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Used {
    /// Weight in this minute.
    pub(crate) weight: Option<u32>,
    /// Unfilled orders in ten seconds and in a day.
    pub(crate) orders: Option<[u32; 2]>,
}

/// What an address has used.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    minute: i64,
    weight: u32,
    /// Since it was last told to wait and did.
    refused: u32,
    refused_until_ms: i64,
    banned_until_ms: i64,
    /// Since the last ban.
    requests: u64,
}

/// What every address has used.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    used: HashMap<IpAddr, Usage>,
    /// Among the faults: a ban after so many requests, and its length in ms.
    ban: Option<(u64, i64)>,
}

impl Limits {
    /// With a ban after so many requests, where that is among the faults.
    pub(crate) fn new(ban_after: Option<u64>, ban: Duration) -> Self {
        let ban_ms = i64::try_from(ban.as_millis()).unwrap_or(BAN_MS);
        Self { used: HashMap::new(), ban: ban_after.map(|requests| (requests, ban_ms)) }
    }

    /// Counts a request; the weight used in this minute, or the refusal with the seconds to wait. `pause_s` is how
    /// long the dice refuse this address, if they do.
    pub(crate) fn take(
        &mut self,
        address: IpAddr,
        weight: u32,
        pause_s: Option<i64>,
        now: Timestamp,
    ) -> Result<u32, Fault> {
        let now_ms = now.millis();
        let used = self.used.entry(address).or_default();
        if used.banned_until_ms > now_ms {
            return Err(banned(used.banned_until_ms, now_ms));
        }
        used.requests += 1;
        if let Some((most, ban_ms)) = self.ban
            && used.requests > most
        {
            (used.requests, used.banned_until_ms) = (0, now_ms + ban_ms);
            return Err(banned(used.banned_until_ms, now_ms));
        }
        let minute = now_ms.div_euclid(60_000);
        if used.minute != minute {
            (used.minute, used.weight) = (minute, 0);
        }
        if used.refused_until_ms <= now_ms {
            used.refused = 0;
            if let Some(pause_s) = pause_s {
                used.refused_until_ms = now_ms + pause_s * 1_000;
            } else if used.weight + weight > WEIGHT {
                used.refused_until_ms = (minute + 1) * 60_000;
            } else {
                used.weight += weight;
                return Ok(used.weight);
            }
        }
        used.refused += 1;
        if used.refused > PATIENCE {
            used.banned_until_ms = now_ms + BAN_MS;
        }
        let message =
            format!("Too much request weight used; current limit is {WEIGHT} request weight per 1 MINUTE.");
        let wait_s = seconds_until(used.refused_until_ms, now_ms);
        Err(Fault::with_status(429, -1003, message).retry_after(wait_s))
    }
}

fn banned(until_ms: i64, now_ms: i64) -> Fault {
    let message = format!("Way too much request weight used; IP banned until {until_ms}.");
    Fault::with_status(418, -1003, message).retry_after(seconds_until(until_ms, now_ms))
}

/// Whole seconds after which a time has certainly come.
const fn seconds_until(until_ms: i64, now_ms: i64) -> i64 {
    (until_ms - now_ms + 999) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    #[track_caller]
    fn check(taken: Result<u32, Fault>, status: u16, wait_s: i64) {
        let fault = taken.unwrap_err();
        assert_eq!((fault.status, fault.retry_after_s), (status, Some(wait_s)));
    }

    #[test]
    fn who_asks_too_much_is_refused_and_then_banned() {
        let mut limits = Limits::default();
        assert_eq!(limits.take(HERE, WEIGHT, None, at(0)), Ok(WEIGHT));
        check(limits.take(HERE, 1, None, at(10)), 429, 50);
        assert_eq!(limits.take(HERE, 1, None, at(60)), Ok(1), "waiting as told works");
        assert_eq!(limits.take(HERE, WEIGHT - 1, None, at(60)), Ok(WEIGHT));
        for _ in 0..=PATIENCE {
            assert!(limits.take(HERE, 1, None, at(61)).is_err());
        }
        check(limits.take(HERE, 1, None, at(120)), 418, 61);
        assert_eq!(limits.take(HERE, 1, None, at(181)), Ok(1));
    }

    #[test]
    fn a_pause_by_the_dice_is_as_long_as_it_says() {
        let mut limits = Limits::default();
        check(limits.take(HERE, 1, Some(2), at(0)), 429, 2);
        check(limits.take(HERE, 1, None, at(1)), 429, 1);
        assert_eq!(limits.take(HERE, 1, None, at(2)), Ok(1));
    }

    #[test]
    fn a_ban_comes_after_so_many_requests_and_again() {
        let mut limits = Limits::new(Some(2), Duration::from_secs(5));
        for begin in [0, 5] {
            assert!(limits.take(HERE, 1, None, at(begin)).is_ok());
            assert!(limits.take(HERE, 1, None, at(begin)).is_ok());
            check(limits.take(HERE, 1, None, at(begin)), 418, 5);
            check(limits.take(HERE, 1, None, at(begin + 4)), 418, 1);
        }
    }
}
