//! A kill at every named step of an order's way, for every kind of bot; see `engine/src/failpoint.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fleet::{self, Kind};
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::process::pause;

/// A place on an order's way.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    /// At which place a process ends first, so that the next one has something to come by.
    after: Option<&'static str>,
    /// Whether only bots whose stop rests at the exchange come by it.
    needs_resting_stop: bool,
}

const fn place(name: &'static str) -> Place {
    Place { name, after: None, needs_resting_stop: false }
}

const fn place_after(name: &'static str, after: &'static str) -> Place {
    Place { after: Some(after), ..place(name) }
}

const fn place_of_stops(name: &'static str) -> Place {
    Place { needs_resting_stop: true, ..place(name) }
}

/// The places, in the order in which an order comes by them.
pub(crate) const PLACES: [Place; 19] = [
    // A decision is made and handed to the ledger, which writes it.
    place("decided"),
    place("recorded"),
    place("committing"),
    place("committed"),
    // The connection has it, notes that it leaves, sends it, and hears what became of it.
    place("journaled"),
    place("noted"),
    place("sent"),
    place("answered"),
    place("unknown"),
    // The bot hears of it, protects what it holds, replaces that stop, and closes the trade.
    place("heard"),
    place_of_stops("protecting"),
    place_of_stops("canceling"),
    place_of_stops("canceled"),
    place("closing"),
    place("closed"),
    // What is not known is asked for, above all after a start: what had been sent, and what had only been noted.
    place_after("found", "sent"),
    place_after("not-found", "noted"),
    place_after("absent", "noted"),
    place("taking-up"),
];

impl Place {
    /// Whether bots of a kind come by it at all.
    pub(crate) fn is_passed_by(&self, kind: Kind) -> bool {
        !self.needs_resting_stop || fleet::stops_on_venue(kind, 0)
    }
}

/// How long a process may live until it comes by a place for the nth time; then it does not count. Long enough for an
/// order's absence to be proven.
const REACHED_WITHIN: Duration = Duration::from_secs(12);

/// How often a place is tried until it has been reached once.
const MOST_TRIES: usize = 4;

/// How often each place ended a process, by kind of bot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached(BTreeMap<&'static str, BTreeMap<&'static str, usize>>);

impl Reached {
    fn count(&mut self, place: &'static str, kind: Kind) {
        *self.0.entry(place).or_default().entry(kind.as_str()).or_default() += 1;
    }

    /// Takes over what was reached elsewhere.
    pub(crate) fn merge(&mut self, other: Self) {
        for (place, kinds) in other.0 {
            for (kind, times) in kinds {
                *self.0.entry(place).or_default().entry(kind).or_default() += times;
            }
        }
    }

    /// How often a place was reached by bots of a kind.
    pub(crate) fn times(&self, place: &Place, kind: Kind) -> usize {
        self.0.get(place.name).and_then(|kinds| kinds.get(kind.as_str())).copied().unwrap_or(0)
    }

    /// Whether it was by every kind that comes by it.
    pub(crate) fn is_complete(&self, place: &Place) -> bool {
        Kind::PURE.iter().all(|kind| !place.is_passed_by(*kind) || self.times(place, *kind) > 0)
    }

    /// How often by each kind.
    pub(crate) fn kinds(&self, place: &Place) -> String {
        let told = |kind: &Kind| match self.times(place, *kind) {
            0 if !place.is_passed_by(*kind) => format!("{} has no resting stop", kind.as_str()),
            times => format!("{} {times}", kind.as_str()),
        };
        Kind::PURE.iter().map(told).collect::<Vec<_>>().join(", ")
    }
}

/// Ends a server at every place, first at its first passing and then at a later one, for one kind of bot; what the
/// oracle says in the end.
pub(crate) async fn run(plan: &Plan, kind: Kind, folder: &Path) -> Result<(Reached, Violations)> {
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut reached = Reached::default();
    let (stage, life) = Stage::set(plan, folder).await?;
    pause(Duration::from_secs(1));
    life.kill()?;
    for place in PLACES.iter().filter(|place| place.is_passed_by(kind)) {
        let later = if place.after.is_some() { 1 } else { dice.random_range(2..6) };
        for (passing, number) in [1, later, 1, 1].into_iter().zip(1..=MOST_TRIES) {
            if number > 2 && reached.times(place, kind) > 0 {
                break;
            }
            if let Some(before) = place.after {
                ends_at(&stage, before, 1)?;
            }
            if ends_at(&stage, place.name, passing)? {
                reached.count(place.name, kind);
            }
        }
        eprintln!(
            "torture: {} bots, {}: ended {} times",
            kind.as_str(),
            place.name,
            reached.times(place, kind)
        );
    }
    let mut violations = Violations::default();
    let life = stage.server.live().await?;
    stage.close(life, &mut violations).await?;
    violations.merge(stage.judge().await?.2);
    Ok((reached, violations))
}

/// Starts a server that is to end at a place; whether it came by it in time.
fn ends_at(stage: &Stage, place: &str, passing: u32) -> Result<bool> {
    let armed = format!("{place}:{passing}");
    let mut process = stage.server.launch(&[("TORTURE_FAILPOINT", armed.as_str())])?;
    let began = Instant::now();
    while process.ended()?.is_none() {
        if began.elapsed() > REACHED_WITHIN {
            process.kill()?;
            return Ok(false);
        }
        pause(Duration::from_millis(5));
    }
    Ok(true)
}
