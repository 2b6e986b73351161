//! How much an address may ask for in a minute.

use std::collections::HashMap;
use std::net::IpAddr;

use model::Timestamp;

use crate::fault::Fault;

/// The weight of requests that an address may make in a minute.
pub(crate) const WEIGHT: u32 = 6_000;

/// Requests over the limit after which an address is banned.
const PATIENCE: u32 = 100;

/// How long a ban lasts, in seconds.
const BAN_S: i64 = 120;

/// What an address has used.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    minute: i64,
    weight: u32,
    refused: u32,
    banned_until_ms: i64,
}

/// What every address has used.
#[derive(Debug, Default)]
pub(crate) struct Limits(HashMap<IpAddr, Used>);

impl Limits {
    /// Counts a request; the weight used in this minute, or the refusal and the seconds to wait.
    pub(crate) fn take(&mut self, address: IpAddr, weight: u32, now: Timestamp) -> Result<u32, (Fault, i64)> {
        let now_ms = now.millis();
        let used = self.0.entry(address).or_default();
        if used.banned_until_ms > now_ms {
            let fault = Fault::with_status(418, -1003, "Way too much request weight used; IP banned.");
            return Err((fault, (used.banned_until_ms - now_ms) / 1_000 + 1));
        }
        let minute = now_ms.div_euclid(60_000);
        if used.minute != minute {
            *used = Used { minute, ..Used::default() };
        }
        if used.weight + weight > WEIGHT {
            used.refused += 1;
            if used.refused > PATIENCE {
                used.banned_until_ms = now_ms + BAN_S * 1_000;
            }
            let message = format!(
                "Too much request weight used; current limit is {WEIGHT} request weight per 1 MINUTE."
            );
            return Err((Fault::with_status(429, -1003, message), 60 - now_ms.rem_euclid(60_000) / 1_000));
        }
        used.weight += weight;
        Ok(used.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_much_is_refused_and_then_banned() {
        let mut limits = Limits::default();
        let address = IpAddr::from([127, 0, 0, 1]);
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        assert_eq!(limits.take(address, WEIGHT, at(0)), Ok(WEIGHT));
        let (fault, wait) = limits.take(address, 1, at(10)).unwrap_err();
        assert_eq!((fault.status, wait), (429, 50));
        assert_eq!(limits.take(address, 1, at(60)), Ok(1), "waiting as told works");
        assert_eq!(limits.take(address, WEIGHT - 1, at(60)), Ok(WEIGHT));
        for _ in 0..=PATIENCE {
            assert!(limits.take(address, 1, at(61)).is_err());
        }
        let (fault, wait) = limits.take(address, 1, at(120)).unwrap_err();
        assert_eq!((fault.status, wait), (418, 62));
        assert_eq!(limits.take(address, 1, at(182)), Ok(1));
    }
}
