//! What a request is refused with, and the dice that decide what goes wrong.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// A refusal as the venue words it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// The HTTP status.
    pub(crate) status: u16,
    pub(crate) code: i64,
    pub(crate) msg: String,
}

impl Fault {
    /// A refusal with status 400.
    pub(crate) fn new(code: i64, msg: impl Into<String>) -> Self {
        Self { status: 400, code, msg: msg.into() }
    }

    pub(crate) fn with_status(status: u16, code: i64, msg: impl Into<String>) -> Self {
        Self { status, code, msg: msg.into() }
    }

    pub(crate) fn filter(name: &str) -> Self {
        Self::new(-1013, format!("Filter failure: {name}"))
    }

    pub(crate) fn mandatory(name: &str) -> Self {
        Self::new(-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
    }

    pub(crate) fn json(&self) -> Value {
        json!({"code": self.code, "msg": self.msg})
    }
}

/// Decides what goes wrong; the same seed, the same requests: the same faults.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<ChaCha8Rng>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 0xfa17)))
    }

    /// Whether it happens this time, `share` being 0 to 1.
    pub(crate) fn happens(&self, share: f64) -> bool {
        share > 0.0
            && self.0.lock().unwrap_or_else(PoisonError::into_inner).random_bool(share.clamp(0.0, 1.0))
    }

    /// How long a connection lives.
    pub(crate) fn life(&self, about: Duration) -> Duration {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        about.mul_f64(dice.random_range(0.5..=1.5))
    }
}
