//! Whether market data come in: written by the feed and the fleet, read by whoever asks how the server is.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::{Exchange, Timestamp};

use crate::clock;

/// How a venue's market data come in.
#[derive(Debug)]
pub(crate) struct MarketHealth {
    exchange: Exchange,
    /// Since when the connection is down, in ns since 1970; 0 while it is up or nothing is listened to.
    down_since: AtomicI64,
    /// When a trade was last noticed, in ns since 1970, by our own clock; 0 before the first.
    heard_at: AtomicI64,
    /// Whether some pair is listened to.
    is_listening: AtomicBool,
    /// The number of bots that wait for the venue to say what their pair is like.
    waiting_bots: AtomicUsize,
}

impl MarketHealth {
    pub(crate) fn of(exchange: Exchange) -> Self {
        Self {
            exchange,
            down_since: AtomicI64::default(),
            heard_at: AtomicI64::default(),
            is_listening: AtomicBool::default(),
            waiting_bots: AtomicUsize::default(),
        }
    }

    /// The venue.
    pub(crate) const fn exchange(&self) -> Exchange {
        self.exchange
    }

    /// The connection is up.
    pub(crate) fn up(&self) {
        self.down_since.store(0, Ordering::Relaxed);
    }

    /// The connection is down, or still is.
    pub(crate) fn down(&self) {
        let now = clock::now().nanos();
        let _ = self.down_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether some pair is listened to.
    pub(crate) fn set_listening(&self, is_listening: bool) {
        self.is_listening.store(is_listening, Ordering::Relaxed);
    }

    /// A trade was heard within the last moments.
    pub(crate) fn heard(&self) {
        self.heard_at.store(clock::now().nanos(), Ordering::Relaxed);
    }

    /// So many bots wait for the venue to say what their pair is like.
    pub(crate) fn set_waiting_bots(&self, count: usize) {
        self.waiting_bots.store(count, Ordering::Relaxed);
    }

    /// Since when market data that are listened to are down.
    pub(crate) fn down_since(&self) -> Option<Timestamp> {
        let since = self.down_since.load(Ordering::Relaxed);
        let is_down = since > 0 && self.is_listening.load(Ordering::Relaxed);
        is_down.then_some(Timestamp::from_nanos(since))
    }

    /// How long ago the last trade was heard, to two seconds; `None` before the first.
    pub(crate) fn last_tick_age(&self) -> Option<Duration> {
        let at = self.heard_at.load(Ordering::Relaxed);
        let age = clock::now().since(Timestamp::from_nanos(at));
        (at > 0).then(|| Duration::from_nanos(u64::try_from(age).unwrap_or(0)))
    }

    /// What keeps bots from their market data, for people.
    pub(crate) fn hindrance(&self) -> Option<String> {
        let since = self.down_since()?;
        Some(format!(
            "market data of {} are down since {since}; the bot goes on by itself once they are back",
            self.exchange
        ))
    }

    /// Why the server cannot do all of its work just now: nothing that strangers may not know.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let exchange = self.exchange;
        let down = self.down_since().map(|since| format!("market data of {exchange} are down since {since}"));
        let waiting = self.waiting_bots.load(Ordering::Relaxed);
        let waiting = (waiting > 0)
            .then(|| format!("{waiting} bots wait for {exchange} to say what their pairs are like"));
        down.into_iter().chain(waiting).collect()
    }
}

/// How long after the first warning about a lasting trouble the second one is due; each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause between two warnings about a lasting trouble.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// When a trouble that lasts is warned of in the log: at once, and then again and again with longer pauses.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    next: Option<(Instant, Duration)>,
}

impl Warnings {
    /// Whether a warning is due now that the trouble was met once more.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        match self.next {
            Some((at, _)) if now < at => false,
            Some((_, pause)) => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                self.next = Some((now + pause, pause));
                true
            }
            None => {
                self.next = Some((now + FIRST_PAUSE, FIRST_PAUSE));
                true
            }
        }
    }

    /// The trouble is over; whether it had been warned of.
    pub(crate) fn is_over(&mut self) -> bool {
        self.next.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_trouble_is_warned_of_at_once_and_then_ever_less_often() {
        let (mut warnings, start) = (Warnings::default(), Instant::now());
        let due = |warnings: &mut Warnings, from: u64| {
            (from..4 * 3_600)
                .filter(|second| warnings.is_due(start + Duration::from_secs(*second)))
                .collect::<Vec<_>>()
        };
        assert_eq!(due(&mut warnings, 0), [0, 60, 180, 420, 900, 1_860, 3_780, 7_380, 10_980]);
        assert!(warnings.is_over());
        assert!(!warnings.is_over());
        assert!(warnings.is_due(start), "another trouble is another matter");
    }

    #[test]
    fn data_that_nobody_listens_to_are_not_missed() {
        let health = MarketHealth::of(Exchange::Binance);
        health.down();
        assert_eq!(health.down_since(), None);
        health.set_listening(true);
        let since = health.down_since().unwrap();
        health.down();
        assert_eq!(health.down_since(), Some(since), "it is still the same outage");
        assert_eq!(health.reasons(), [format!("market data of binance are down since {since}")]);
        health.up();
        assert!(health.reasons().is_empty() && health.hindrance().is_none());
        health.set_waiting_bots(3);
        assert_eq!(health.reasons(), ["3 bots wait for binance to say what their pairs are like"]);
    }
}
