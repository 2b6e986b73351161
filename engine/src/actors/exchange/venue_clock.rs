//! What time it is at the venue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::Timestamp;

use crate::clock;

/// How far the wall clock may leave the monotonic one between two looks. Slewing moves both alike.
const STEP_NS: i64 = 100_000_000;

/// How much of the time that an answer took is counted as its way back. The venue refuses what is stamped a second
/// ahead of its clock, and takes what is up to five seconds late.
const MOST_WAY_BACK: Duration = Duration::from_millis(500);

/// The venue's clock, counted on by this machine's monotonic clock from the time that the venue told last, so that a
/// step of the wall clock does not move it. Clones share it, and so do all connections to the venue: what one learns
/// from a refusal helps the others.
#[derive(Clone, Debug)]
pub(crate) struct VenueClock(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// The venue's time at that moment.
    at: Timestamp,
    moment: Instant,
    /// When the venue told its time last.
    learned_at: Option<Instant>,
}

impl Default for VenueClock {
    /// The wall clock's time, until the venue tells its own.
    fn default() -> Self {
        let known = Known { at: clock::now(), moment: Instant::now(), learned_at: None };
        Self(Arc::new(Mutex::new(known)))
    }
}

impl VenueClock {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The venue's time now.
    pub(crate) fn now(&self) -> Timestamp {
        let known = self.known();
        later(known.at, known.moment.elapsed())
    }

    /// The venue's time now; `None` until it has told it.
    pub(crate) fn told(&self) -> Option<Timestamp> {
        let known = self.known();
        known.learned_at.map(|_| later(known.at, known.moment.elapsed()))
    }

    /// The venue's time when the wall clock showed this, as the two clocks stand to each other now.
    pub(super) fn at_venue(&self, wall: Timestamp) -> Timestamp {
        let ago = clock::now().nanos().saturating_sub(wall.nanos());
        Timestamp::from_nanos(self.now().nanos().saturating_sub(ago))
    }

    /// Takes in what the venue told, in an answer that was asked for and heard at these moments.
    pub(crate) fn learn(&self, told: Timestamp, asked_at: Instant, heard_at: Instant) {
        let way_back = ((heard_at - asked_at) / 2).min(MOST_WAY_BACK);
        let at = later(told, way_back);
        *self.known() = Known { at, moment: heard_at, learned_at: Some(heard_at) };
    }

    /// Whether the venue has told its time after this moment.
    pub(super) fn has_learned_since(&self, moment: Instant) -> bool {
        self.known().learned_at.is_some_and(|at| at > moment)
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_nanos(at.nanos().saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
}

/// Notices steps of the wall clock. Which of the two clocks is right afterwards is not known: NTP sets the wall clock,
/// while the monotonic one stands still in a machine that is suspended.
#[derive(Debug, Default)]
pub(super) struct StepDetector(Option<(Instant, Timestamp)>);

impl StepDetector {
    /// Compares both clocks with the last look; the step in ns, if there was one.
    pub(super) fn look(&mut self, now: Instant, wall: Timestamp) -> Option<i64> {
        let (before, wall_before) = self.0.replace((now, wall))?;
        let passed = i64::try_from((now - before).as_nanos()).unwrap_or(i64::MAX);
        let step = wall.nanos().saturating_sub(wall_before.nanos()).saturating_sub(passed);
        (step.saturating_abs() >= STEP_NS).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_venues_time_goes_by_the_monotonic_clock_from_what_was_told() {
        let clock = VenueClock::default();
        let start = Instant::now();
        assert!(!clock.has_learned_since(start));
        clock.learn(Timestamp::from_millis(5_000), start, start + ms(40));
        assert!(clock.has_learned_since(start) && !clock.has_learned_since(start + ms(40)));
        let known = clock.known();
        assert_eq!((known.at.millis(), known.moment), (5_020, start + ms(40)));
        drop(known);
        // A slow answer says little; a stamp must not be ahead.
        clock.learn(Timestamp::from_millis(5_000), start, start + ms(4_000));
        assert_eq!(clock.known().at.millis(), 5_500);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_noticed_in_either_direction_and_a_slow_look_is_none() {
        let (mut steps, start) = (StepDetector::default(), Instant::now());
        let wall = |ms: i64| Timestamp::from_millis(1_700_000_000_000 + ms);
        assert_eq!(steps.look(start, wall(0)), None);
        assert_eq!(steps.look(start + ms(50), wall(50)), None);
        assert_eq!(
            steps.look(start + ms(9_050), wall(9_051)),
            None,
            "the process was paused, the clocks were not"
        );
        assert_eq!(steps.look(start + ms(9_100), wall(11_101)), Some(2_000_000_000));
        assert_eq!(steps.look(start + ms(9_150), wall(11_151)), None);
        assert_eq!(steps.look(start + ms(9_200), wall(5_201)), Some(-6_000_000_000));
    }
}
