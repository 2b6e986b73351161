//! What is made of silence: when prices are asked for instead, when a stream is asked for once more, and when the
//! bots' owners are told.

use std::time::{Duration, Instant};

/// How long silence is borne.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// How long a symbol may be silent while its connection lives until its stream counts as dead; noticed within an
    /// eighth more.
    pub stream: Duration,
    /// How often silence is looked after, and prices are asked for meanwhile.
    pub look_every: Duration,
    /// How long the venue may tell no price by any way before the owners of live bots hear of it.
    pub live: Duration,
    /// How long the connection may be down before the owners of bots on paper do.
    pub paper: Duration,
}

/// A dead stream is noticed within 15 s and its price known in another way within two more; owners of live bots are
/// told after 10 s without any, those of bots on paper after a minute.
impl Default for Patience {
    fn default() -> Self {
        Self {
            stream: Duration::from_secs(13),
            look_every: Duration::from_secs(2),
            live: Duration::from_secs(10),
            paper: Duration::from_mins(1),
        }
    }
}

/// One symbol: how it is heard, and how else its price is learnt.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    is_silent: bool,
    /// Whether its stream was asked for once more.
    is_asked_again: bool,
    /// Since when asking for its price fails.
    failing_since: Option<Instant>,
    is_told: bool,
}

impl Silence {
    /// Whether its price has to be asked for: nothing was heard since its stream fell silent or the connection
    /// broke.
    pub(crate) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether owners have been told, and it has not recovered since.
    pub(crate) const fn is_told(&self) -> bool {
        self.is_told
    }

    /// The connection broke.
    pub(crate) const fn broke(&mut self) {
        self.is_silent = true;
    }

    /// Its stream is silent although the connection lives; whether it is to be asked for once more. A market may
    /// just be quiet: it is never a reason to connect anew.
    pub(crate) const fn fell_silent(&mut self) -> bool {
        self.is_silent = true;
        !std::mem::replace(&mut self.is_asked_again, true)
    }

    /// Its stream is heard.
    pub(crate) fn heard(&mut self) {
        *self = Self::default();
    }

    /// The venue told its price when it was asked.
    pub(crate) const fn priced(&mut self) {
        (self.failing_since, self.is_told) = (None, false);
    }

    /// The venue did not, having been asked at that time; whether owners are to be told now.
    pub(crate) fn unpriced(&mut self, asked_at: Instant, now: Instant, patience: &Patience) -> bool {
        let since = *self.failing_since.get_or_insert(asked_at);
        let is_due = !self.is_told && now.saturating_duration_since(since) >= patience.live;
        self.is_told |= is_due;
        is_due
    }
}

/// The connection as a whole.
#[derive(Debug, Default)]
pub(crate) struct Downtime {
    since: Option<Instant>,
    is_told: bool,
}

impl Downtime {
    /// It is down, or still is.
    pub(crate) fn down(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Whether it is down.
    pub(crate) const fn is_down(&self) -> bool {
        self.since.is_some()
    }

    /// It is up.
    pub(crate) fn up(&mut self) {
        *self = Self::default();
    }

    /// Whether the owners of bots on paper are to be told now.
    pub(crate) fn is_due(&mut self, now: Instant, patience: &Patience) -> bool {
        let is_long = self.since.is_some_and(|since| now.saturating_duration_since(since) >= patience.paper);
        let is_due = is_long && !self.is_told;
        self.is_told |= is_due;
        is_due
    }

    /// Whether they have been, and it is still down.
    pub(crate) const fn is_told(&self) -> bool {
        self.is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        stream: Duration::from_secs(13),
        look_every: Duration::from_secs(2),
        live: Duration::from_secs(10),
        paper: Duration::from_mins(1),
    };

    #[test]
    fn owners_are_told_as_late_as_is_promised() {
        assert_eq!(Patience::default(), PATIENCE);
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_quiet_market_is_asked_after_and_asked_for_once_more_and_nobody_hears_of_it() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        assert!(!silence.is_silent());
        assert!(silence.fell_silent());
        // Ten minutes in which nobody trades, the venue answering every two seconds.
        for second in (0..600).step_by(2) {
            assert!(silence.is_silent() && !silence.fell_silent() && !silence.is_told());
            silence.priced();
            // Once in a while it does not.
            assert!(
                second % 10 != 0
                    || !silence.unpriced(start + seconds(second), start + seconds(second), &PATIENCE)
            );
        }
        silence.heard();
        assert!(!silence.is_silent());
        assert!(silence.fell_silent(), "another silence is another matter");
    }

    #[test]
    fn owners_of_live_bots_are_told_once_until_a_price_is_known_again() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        silence.broke();
        let mut told = Vec::new();
        for second in (0..60).step_by(2) {
            if silence.unpriced(start + seconds(second), start + seconds(second + 1), &PATIENCE) {
                told.push(second);
            }
            if second == 30 {
                silence.priced();
            }
        }
        // The first question failed at 0, the first after the recovery at 32.
        assert_eq!(told, [10, 42]);
        assert!(silence.is_told());
        silence.heard();
        assert!(!silence.is_told());
    }

    #[test]
    fn owners_of_bots_on_paper_are_told_once_of_a_connection_that_stays_down() {
        let (mut downtime, start) = (Downtime::default(), Instant::now());
        assert!(!downtime.is_due(start, &PATIENCE));
        let mut told = Vec::new();
        for second in 0..200 {
            if second == 100 {
                downtime.up();
            }
            downtime.down(start + seconds(second));
            if downtime.is_due(start + seconds(second), &PATIENCE) {
                told.push(second);
            }
        }
        assert_eq!(told, [60, 160]);
    }
}
