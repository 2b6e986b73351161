//! How late a symbol's messages come, and what is made of it: live bots decide on nothing that is not the market's price
//! any more (contract section 4).

use std::time::{Duration, Instant};

/// A message that was sent longer ago than this, by the venue's clock, tells no current price.
pub(crate) const LATE: Duration = Duration::from_secs(2);

/// Messages are in time again once one comes within this: a lag about [`LATE`] is not told again and again.
const IN_TIME: Duration = Duration::from_secs(1);

/// While more has been received than was read yet, what was sent longer ago than this waits to be decided on until the
/// rest is read.
pub(crate) const BACKLOG: Duration = Duration::from_millis(250);

/// The longest time that decisions wait for a backlog to be read.
pub(crate) const READ_WITHIN: Duration = Duration::from_secs(1);

/// One symbol's messages.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// When the last late message came, until they are in time again.
    late_at: Option<Instant>,
}

/// What a message changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LagChange {
    /// Nothing.
    None,
    /// Messages are late from now on.
    Began,
    /// They are in time again.
    Ended,
}

impl Lag {
    /// Whether the symbol's messages are late, so that its price has to be asked for.
    pub(crate) const fn is_late(&self) -> bool {
        self.late_at.is_some()
    }

    /// Takes in how long ago a message was sent that is read now.
    pub(crate) fn hear(&mut self, age: Duration, now: Instant) -> LagChange {
        if age > LATE {
            return if self.late_at.replace(now).is_none() { LagChange::Began } else { LagChange::None };
        }
        if age <= IN_TIME && self.late_at.take().is_some() { LagChange::Ended } else { LagChange::None }
    }

    /// The venue told, when it was asked at that time, the very price that was heard last: whether nothing that is late is
    /// on its way any more. A market in which nobody trades is not late, however old its last message.
    pub(crate) fn confirmed(&mut self, asked_at: Instant, settle: Duration) -> bool {
        let is_over =
            self.late_at.is_some_and(|late_at| asked_at.saturating_duration_since(late_at) >= settle);
        if is_over {
            self.late_at = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_message_more_than_two_seconds_old_is_late_and_is_told_of_once() {
        let (mut lag, now) = (Lag::default(), Instant::now());
        assert_eq!(lag.hear(ms(2_000), now), LagChange::None);
        assert_eq!(lag.hear(ms(2_001), now), LagChange::Began);
        assert_eq!(lag.hear(ms(20_000), now), LagChange::None);
        assert_eq!(lag.hear(ms(1_500), now), LagChange::None, "it may be late again at once");
        assert!(lag.is_late());
        assert_eq!(lag.hear(ms(1_000), now), LagChange::Ended);
        assert!(!lag.is_late());
        assert_eq!(lag.hear(ms(1_000), now), LagChange::None);
    }

    #[test]
    fn a_quiet_market_whose_last_price_the_venue_confirms_is_late_no_more() {
        let (mut lag, now) = (Lag::default(), Instant::now());
        lag.hear(ms(5_000), now);
        assert!(!lag.confirmed(now + ms(9_999), ms(10_000)) && lag.is_late());
        assert!(lag.confirmed(now + ms(10_000), ms(10_000)) && !lag.is_late());
        assert!(!lag.confirmed(now + ms(20_000), ms(10_000)));
    }
}
