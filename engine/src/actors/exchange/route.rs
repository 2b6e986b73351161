//! The two routes to the venue, and how each looks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connectors::binance::rest::VenueError;

/// How long a route may owe an answer until it is no longer trusted. And how long an order that guards or sells, or a
/// cancel, may go without one until its order is asked for: such queries are few, and go by the reserved lane.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// How long after an answer what guards or sells may leave by its route.
const PROVEN_FOR: Duration = Duration::from_millis(250);

/// How old a question may be whose answer proves that its route works.
pub(super) const PROOF_WITHIN: Duration = Duration::from_secs(5);

/// How a call reaches the venue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Route {
    Rest,
    Socket,
}

impl Route {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Rest => Self::Socket,
            Self::Socket => Self::Rest,
        }
    }
}

/// What is known of a route.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the first call was made since anything was heard.
    silent_since: Option<Instant>,
    /// Of the calls that were answered the one that was made last: when, and when it was answered.
    proof: Option<(Instant, Instant)>,
    /// The last call failed on its way.
    is_failing: bool,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is made.
    pub(super) fn call(&self) {
        self.state().silent_since.get_or_insert_with(Instant::now);
    }

    /// The venue said something by this route.
    pub(super) fn hear(&self) {
        let mut state = self.state();
        (state.silent_since, state.is_failing) = (None, false);
    }

    /// A call came to this; whether it was the venue who said so decides what it tells of the route.
    pub(super) fn judge<T>(&self, called_at: Instant, result: &Result<T, VenueError>) {
        if is_answer(result) {
            let mut state = self.state();
            (state.silent_since, state.is_failing) = (None, false);
            if called_at.elapsed() < PROOF_WITHIN
                && state.proof.is_none_or(|(made_at, _)| made_at <= called_at)
            {
                state.proof = Some((called_at, Instant::now()));
            }
        } else {
            self.state().is_failing = true;
        }
    }

    /// Whether it failed last, or owes an answer for too long: a connection whose other end is gone looks well for
    /// half a minute.
    pub(super) fn is_suspect(&self) -> bool {
        let state = self.state();
        state.is_failing || state.silent_since.is_some_and(|since| since.elapsed() >= ANSWERED_WITHIN)
    }

    /// Whether it has just answered a call that was made since then, and not failed after it.
    pub(super) fn is_proven_since(&self, moment: Instant) -> bool {
        let state = self.state();
        let is_proof = |(called_at, answered_at): (Instant, Instant)| {
            called_at >= moment && answered_at.elapsed() < PROVEN_FOR
        };
        !state.is_failing && state.proof.is_some_and(is_proof)
    }
}

/// Whether the venue said this itself: what was not sent, and what got no answer, is worded alike.
pub(super) fn is_answer<T>(result: &Result<T, VenueError>) -> bool {
    !matches!(result, Err(VenueError::Unknown { .. } | VenueError::Retry { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry() -> Result<(), VenueError> {
        Err(VenueError::Retry { after: None, message: String::new() })
    }

    #[test]
    fn only_the_answer_to_a_call_made_since_proves_that_a_route_works() {
        let health = Health::default();
        let earlier = Instant::now();
        health.call();
        assert!(!health.is_proven_since(earlier), "it was called");
        health.hear();
        assert!(!health.is_proven_since(earlier), "it said something that nobody had asked for");
        health.judge(earlier, &Ok(()));
        assert!(health.is_proven_since(earlier));
        assert!(!health.is_proven_since(Instant::now()), "what was decided later needs a proof of its own");
        health.judge(earlier, &retry());
        assert!(!health.is_proven_since(earlier) && health.is_suspect());
        let refused = VenueError::Rejected { code: -2013, message: String::new() };
        health.judge(earlier, &Err::<(), _>(refused));
        assert!(health.is_proven_since(earlier) && !health.is_suspect(), "a refusal is an answer");
    }
}
