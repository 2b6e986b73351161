//! A kill at every named step of an order's way, for every kind of bot; see `engine/src/failpoint.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fleet::Kind;
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::process::pause;

/// The places, in the order in which an order comes by them.
pub(crate) const PLACES: [&str; 19] = [
    // A decision is made and handed to the ledger, which writes it.
    "decided",
    "recorded",
    "committing",
    "committed",
    // The connection has it, notes that it leaves, sends it, and hears what became of it.
    "journaled",
    "noted",
    "sent",
    "answered",
    "unknown",
    // The bot hears of it, protects what it holds, replaces that stop, and closes the trade.
    "heard",
    "protecting",
    "canceling",
    "canceled",
    "closing",
    "closed",
    // What is not known is asked for, above all after a start.
    "found",
    "not-found",
    "absent",
    "taking-up",
];

/// How long a process may live until it comes by a place for the nth time; then it does not count.
const REACHED_WITHIN: Duration = Duration::from_secs(6);

/// How often each place ends a process, by kind of bot.
#[derive(Debug, Default)]
pub(crate) struct Reached(BTreeMap<&'static str, BTreeMap<&'static str, usize>>);

impl Reached {
    /// How often a place was reached by all kinds together.
    pub(crate) fn times(&self, place: &str) -> usize {
        self.0.get(place).map_or(0, |kinds| kinds.values().sum())
    }

    /// How often by each.
    pub(crate) fn kinds(&self, place: &str) -> String {
        let kinds = self.0.get(place).into_iter().flatten();
        kinds.map(|(kind, times)| format!("{kind} {times}")).collect::<Vec<_>>().join(", ")
    }
}

/// Ends a server at every place, first at its first passing and then at a later one, for one kind of bot; what the
/// oracle says in the end.
pub(crate) async fn run(plan: &Plan, kind: Kind, folder: &Path, reached: &mut Reached) -> Result<Violations> {
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let (stage, life) = Stage::set(plan, folder).await?;
    pause(Duration::from_secs(1));
    life.kill()?;
    for place in PLACES {
        for passing in [1, dice.random_range(2..6)] {
            let armed = format!("{place}:{passing}");
            let mut process = stage.server.launch(&[("TORTURE_FAILPOINT", armed.as_str())])?;
            let began = Instant::now();
            let ended = loop {
                if process.ended()?.is_some() {
                    break true;
                }
                if began.elapsed() > REACHED_WITHIN {
                    break false;
                }
                pause(Duration::from_millis(5));
            };
            if ended {
                *reached.0.entry(place).or_default().entry(kind.as_str()).or_default() += 1;
            } else {
                process.kill()?;
            }
        }
        eprintln!("torture: {} bots, {place}: {}", kind.as_str(), reached.kinds(place));
    }
    let mut violations = Violations::default();
    let life = stage.server.live().await?;
    stage.close(life, &mut violations).await?;
    violations.merge(stage.judge().await?.2);
    Ok(violations)
}
