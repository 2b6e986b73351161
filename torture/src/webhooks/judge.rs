//! What is wrong with what the endpoints got, by the events as they lie in the database and nothing else of ours.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::endpoints::{Came, Endpoint, Endpoints, Manner, hash};
use super::owners::Turned;
use crate::books::Database;
use crate::oracle::Violations;

/// Every kind of thing that can be wrong, as the report lists them.
pub(crate) const KINDS: [&str; 12] = [
    "deliveries lost",
    "deliveries out of order",
    "deliveries doubled in vain",
    "deliveries phantom",
    "deliveries astray",
    "deliveries late",
    "retried late",
    "bodies different",
    "signatures wrong",
    "sequences off",
    "turns not told",
    "contacts at the trap",
];

/// How many requests to an endpoint are on their way at once: so far their notes may be out of order.
const AT_ONCE: usize = 4;

/// How soon after a start what the last life owed is made again.
const RETRIED_WITHIN: Duration = Duration::from_secs(1);

/// How soon nineteen of twenty events are first brought to an endpoint that is well, restarts included.
const FIRST_P95: Duration = Duration::from_secs(2);

/// A life of the server that was ended, and when the next could be used; in nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kill {
    pub(crate) at: i64,
    pub(crate) ready: i64,
}

/// An event as it was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) account: String,
    /// Whose order it keeps: its bot's, or its account's.
    pub(crate) lane: String,
    pub(crate) sequence: usize,
    /// What every delivery of it has for its body.
    pub(crate) hash: u64,
    /// When, by the clock; `None` where its time is the market's.
    pub(crate) at: Option<i64>,
    /// Whether an owner turned a bot.
    pub(crate) is_turn: bool,
}

/// Reads all of them, in their order.
pub(crate) async fn events(database: &Database) -> Result<Vec<Event>> {
    let sql = "SELECT id, account_id, COALESCE(bot_id, account_id), CAST(sequence AS TEXT), kind, body, CAST(at AS TEXT)
               FROM events ORDER BY seq";
    let mut all = Vec::new();
    for row in database.rows::<7>(sql).await? {
        let [id, account, lane, sequence, kind, body, at] = row.map(Option::unwrap_or_default);
        let (head, data) = body.split_once(r#","data":"#).context("a body without data")?;
        let is_turn = matches!(kind.as_str(), "bot.started" | "bot.stopped");
        all.push(Event {
            hash: hash(&format!(r#"{head},"sequence":{sequence},"data":{data}"#)),
            sequence: sequence.parse()?,
            at: is_turn.then(|| at.parse()).transpose()?,
            is_turn: is_turn && data.contains(r#""reason":"user""#),
            id,
            account,
            lane,
        });
    }
    Ok(all)
}

/// What was found beside what is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    pub(crate) events: usize,
    pub(crate) endpoints: BTreeMap<Manner, usize>,
    pub(crate) attempts: usize,
    /// To endpoints that take everything: how many were taken, and how many of these again.
    pub(crate) taken: usize,
    pub(crate) doubled: usize,
    /// The most that one kill doubled.
    pub(crate) most_doubled: usize,
    /// The longest that something was taken before a kill that doubled it.
    pub(crate) unnoted: Duration,
    /// From the event to its first attempt, at endpoints that are well; sorted.
    pub(crate) first: Vec<Duration>,
    /// From ready to the first attempt, of endpoints that were owed something; sorted.
    pub(crate) retried: Vec<Duration>,
    pub(crate) trapped: usize,
    pub(crate) violations: Violations,
}

/// Compares. `accounts` are their ids, in the order of their numbers.
pub(crate) fn judge(
    endpoints: &Endpoints,
    accounts: &[String],
    events: &[Event],
    kills: &[Kill],
    turned: &Turned,
) -> Found {
    let mut found = Found { events: events.len(), trapped: endpoints.trapped(), ..Found::default() };
    if found.trapped > 0 {
        found.violations.note("contacts at the trap", format!("{} times", found.trapped));
    }
    check_sequences(events, &mut found.violations);
    check_turns(events, turned, &mut found.violations);
    let by_id: HashMap<&str, &Event> = events.iter().map(|event| (event.id.as_str(), event)).collect();
    let mut doubled = vec![0; kills.len()];
    for endpoint in &endpoints.all {
        *found.endpoints.entry(endpoint.manner).or_default() += 1;
        let came = endpoint.came();
        found.attempts += came.len();
        let own: Vec<&Event> =
            events.iter().filter(|event| accounts.get(endpoint.account) == Some(&event.account)).collect();
        check_came(endpoint, &came, &by_id, accounts, &mut found.violations);
        if endpoint.manner.takes_all() {
            check_all_taken(endpoint, &came, &own, &mut found.violations);
            check_doubled(endpoint, &came, kills, &mut doubled, &mut found);
        }
        if endpoint.manner == Manner::Well {
            time(&came, &own, kills, &mut found);
        }
    }
    found.most_doubled = doubled.into_iter().max().unwrap_or_default();
    found.first.sort_unstable();
    found.retried.sort_unstable();
    let p95 = found.first.get(found.first.len() * 95 / 100).copied().unwrap_or_default();
    if p95 > FIRST_P95 {
        found.violations.note("deliveries late", format!("p95 of first attempts: {} ms", p95.as_millis()));
    }
    found
}

/// Places are given from 1 on, without gaps, in the order of the outbox.
fn check_sequences(events: &[Event], violations: &mut Violations) {
    let mut last: HashMap<&str, usize> = HashMap::new();
    for event in events {
        let before = last.entry(&event.lane).or_default();
        if event.sequence != *before + 1 {
            violations.note("sequences off", format!("{}: {} after {before}", event.lane, event.sequence));
        }
        *before = event.sequence;
    }
}

/// Every turn that was acknowledged is told of once, and no other.
fn check_turns(events: &[Event], turned: &Turned, violations: &mut Violations) {
    let mut told: HashMap<&str, usize> = HashMap::new();
    for event in events.iter().filter(|event| event.is_turn) {
        *told.entry(&event.lane).or_default() += 1;
    }
    for (bot, times) in turned {
        let told = told.get(bot.as_str()).copied().unwrap_or_default();
        if told != *times {
            violations.note("turns not told", format!("{bot}: turned {times} times, told {told} times"));
        }
    }
}

/// What came is what was committed for this account, under its id, word for word, and signed.
fn check_came(
    endpoint: &Endpoint,
    came: &[Came],
    by_id: &HashMap<&str, &Event>,
    accounts: &[String],
    violations: &mut Violations,
) {
    for came in came {
        let told = || format!("{} at {}", came.id, endpoint.url);
        match by_id.get(came.id.as_str()) {
            None => violations.note("deliveries phantom", told()),
            Some(event) if accounts.get(endpoint.account) != Some(&event.account) => {
                violations.note("deliveries astray", told());
            }
            Some(event) if event.hash != came.hash => violations.note("bodies different", told()),
            Some(_) => {}
        }
        if !came.is_signed {
            violations.note("signatures wrong", told());
        }
    }
}

/// Everything was taken, and every bot's events first came in their order.
fn check_all_taken(endpoint: &Endpoint, came: &[Came], own: &[&Event], violations: &mut Violations) {
    let mut place: HashMap<&str, usize> = HashMap::new();
    for (number, came) in came.iter().enumerate().filter(|(_, came)| came.is_taken) {
        place.entry(&came.id).or_insert(number);
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    for event in own {
        match place.get(event.id.as_str()) {
            None => violations.note("deliveries lost", format!("{} at {}", event.id, endpoint.url)),
            Some(place) => {
                if last.insert(&event.lane, *place).is_some_and(|before| before > *place) {
                    violations.note("deliveries out of order", format!("{} at {}", event.id, endpoint.url));
                }
            }
        }
    }
}

/// What was taken came again only where a kill came between it and its note. Notes are written in the order of the
/// attempts, so that what a kill doubles is what an endpoint took last.
fn check_doubled(
    endpoint: &Endpoint,
    came: &[Came],
    kills: &[Kill],
    doubled: &mut [usize],
    found: &mut Found,
) {
    let mut in_vain = |came: &Came| {
        let told = format!("{} at {}", came.id, endpoint.url);
        found.violations.note("deliveries doubled in vain", told);
    };
    let taken: Vec<&Came> = came.iter().filter(|came| came.is_taken).collect();
    // When each of them came next.
    let mut next: HashMap<&str, i64> = HashMap::new();
    let mut again: Vec<Option<i64>> = taken.iter().rev().map(|came| next.insert(&came.id, came.at)).collect();
    again.reverse();
    found.taken += next.len();
    found.doubled += taken.len() - next.len();
    for (kill, doubled) in kills.iter().zip(doubled) {
        let until = taken.partition_point(|came| came.at <= kill.at);
        let mut noted = 0;
        for (came, again) in taken.iter().zip(&mut again).take(until).rev() {
            match again.take_if(|again| *again > kill.at) {
                Some(_) if noted > AT_ONCE => in_vain(came),
                Some(_) => {
                    *doubled += 1;
                    found.unnoted = found.unnoted.max(since(kill.at, came.at));
                }
                None => noted += 1,
            }
        }
    }
    taken.iter().zip(again).filter(|(_, again)| again.is_some()).for_each(|(came, _)| in_vain(came));
}

/// How soon events first came, and how soon after a start what the killed life owed did.
fn time(came: &[Came], own: &[&Event], kills: &[Kill], found: &mut Found) {
    let at: HashMap<&str, i64> =
        own.iter().filter_map(|event| Some((event.id.as_str(), event.at?))).collect();
    let mut seen = HashSet::new();
    let timed = came.iter().filter_map(|came| Some((came, *at.get(came.id.as_str())?)));
    for (came, event_at) in timed.clone().filter(|(came, _)| seen.insert(&came.id)) {
        found.first.push(since(came.at, event_at));
    }
    for kill in kills {
        // Of what there was an event for before the kill, that is what was on its way, or not yet.
        let is_owed = |(came, event_at): &(&Came, i64)| *event_at < kill.at && came.at > kill.at;
        if let Some((came, _)) = timed.clone().find(is_owed) {
            let after = since(came.at, kill.ready);
            found.retried.push(after);
            if after > RETRIED_WITHIN {
                found.violations.note("retried late", format!("{} ms after ready", after.as_millis()));
            }
        }
    }
}

fn since(later: i64, earlier: i64) -> Duration {
    Duration::from_nanos(u64::try_from(later - earlier).unwrap_or_default())
}

#[cfg(test)]
mod tests;
