//! What a request is refused with, and the dice that decide what goes wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::config::Faults;

/// A refusal as the venue words it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// The HTTP status.
    pub(crate) status: u16,
    pub(crate) code: i64,
    pub(crate) msg: String,
    /// After how many seconds it may be tried again, where the venue says so.
    pub(crate) retry_after_s: Option<i64>,
    /// What became of the parts of what was asked.
    pub(crate) data: Option<Value>,
}

impl Fault {
    /// A refusal with status 400.
    pub(crate) fn new(code: i64, msg: impl Into<String>) -> Self {
        Self::with_status(400, code, msg)
    }

    pub(crate) fn with_status(status: u16, code: i64, msg: impl Into<String>) -> Self {
        Self { status, code, msg: msg.into(), retry_after_s: None, data: None }
    }

    /// The same, to be tried again after some seconds.
    pub(crate) fn retry_after(self, seconds: i64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The same, with what became of the parts.
    pub(crate) fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }

    pub(crate) fn filter(name: &str) -> Self {
        Self::new(-1013, format!("Filter failure: {name}"))
    }

    pub(crate) fn mandatory(name: &str) -> Self {
        Self::new(-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
    }

    pub(crate) fn json(&self) -> Value {
        match &self.data {
            Some(data) => json!({"code": self.code, "msg": self.msg, "data": data}),
            None => json!({"code": self.code, "msg": self.msg}),
        }
    }
}

/// How it is told that an order was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ack {
    Told,
    Late,
    /// Nobody knows: 504 over HTTP, silence over a socket.
    Lost,
    /// The connection is closed instead.
    Closed,
}

/// Decides what goes wrong, and counts what did; the same seed, the same requests: the same faults.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<Rolled>);

#[derive(Debug)]
struct Rolled {
    dice: ChaCha8Rng,
    happened: BTreeMap<&'static str, u64>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Rolled { dice: ChaCha8Rng::seed_from_u64(seed ^ 0xfa17), happened: BTreeMap::new() }))
    }

    fn rolled(&self) -> MutexGuard<'_, Rolled> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it happens this time, `share` being 0 to 1.
    pub(crate) fn happens(&self, what: &'static str, share: f64) -> bool {
        if share <= 0.0 {
            return false;
        }
        let mut rolled = self.rolled();
        let happens = rolled.dice.random_bool(share.clamp(0.0, 1.0));
        if happens {
            *rolled.happened.entry(what).or_default() += 1;
        }
        happens
    }

    /// How it is told this time.
    pub(crate) fn ack(&self, faults: &Faults) -> Ack {
        if self.happens("acksLost", faults.lose_ack_rate) {
            return if self.between(0, 1) == 0 { Ack::Lost } else { Ack::Closed };
        }
        if self.happens("acksLate", faults.late_ack_rate) { Ack::Late } else { Ack::Told }
    }

    /// A whole number from one to another, both included.
    pub(crate) fn between(&self, least: u64, most: u64) -> u64 {
        self.rolled().dice.random_range(least..=most.max(least))
    }

    /// How long a connection lives.
    pub(crate) fn life(&self, about: Duration) -> Duration {
        about.mul_f64(self.rolled().dice.random_range(0.5..=1.5))
    }

    /// How often each fault has happened so far.
    pub(crate) fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.rolled().happened.clone()
    }
}
