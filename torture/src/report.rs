//! One screen that tells what was done and what was found.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::disk_error;
use crate::drill::Drilled;
use crate::exchange::Ledger;
use crate::failpoints::{PLACES, Reached};
use crate::kills::Outcome;
use crate::noisy::Heard;
use crate::one_way::{Exits, Failed};
use crate::oracle::{KINDS, Violations};
use crate::owners::Acted;
use crate::pauses::Paused;
use crate::power_cut::Found;
use crate::restores::Restored;
use crate::take_over::TakenOver;
use crate::webhooks::{Delivered, judge};
use crate::{noisy, one_way, owners, pauses, seen, take_over};

/// Prints what came of a kill run.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print(outcome: &Outcome, replay: &str) {
    let Outcome { ledger, books, violations, recoveries, .. } = outcome;
    let closed = books.trades.iter().filter(|trade| trade.is_closed).count();
    println!("kills        {} in {} s", outcome.kills, outcome.took.as_secs());
    if outcome.store_kills.0 > 0 {
        let (kills, ended) = outcome.store_kills;
        println!(
            "store        killed {kills} times; the server ended for it {ended} times, and lived on else"
        );
    }
    let of = |share| percentile(recoveries, share).as_millis();
    println!("recovery     p50 {} ms, p99 {} ms, max {} ms", of(50), of(99), of(100));
    println!("absent       proven {} s after it was decided", outcome.absent_after.as_secs());
    println!("exchange     {} orders, {} fills ({})", ledger.orders.len(), ledger.fills.len(), kinds(ledger));
    println!(
        "books        {} intents, {} orders, {} fills, {} trades, {closed} closed, {} events of trades",
        books.intents.len(),
        books.orders.len(),
        books.fills.len(),
        books.trades.len(),
        books.events.len(),
    );
    let faults: Vec<String> = ledger.faults.iter().map(|(name, times)| format!("{name} {times}")).collect();
    println!("faults       {}", faults.join(", "));
    let mut alarms = BTreeMap::<&str, usize>::new();
    for (code, _) in &books.alarms {
        *alarms.entry(code).or_default() += 1;
    }
    println!("told         {}", counted(&alarms));
    for trouble in &outcome.troubles {
        println!("in error     {trouble}");
    }
    verdict(violations, replay);
}

/// Prints what came of ending it at every step.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_steps(reached: &Reached, violations: &Violations, took: Duration, replay: &str) {
    println!("ended at     how often, by kind of bot, in {} s", took.as_secs());
    for place in &PLACES {
        println!("{:<13}{}", place.name, reached.kinds(place));
    }
    verdict(violations, replay);
}

/// Prints what came of a disk that failed.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_disk_errors(all: &[disk_error::Failed], violations: &Violations, replay: &str) {
    for disk_error::Failed { fault, ended_after, orders, recovery } in all {
        let ended = match ended_after {
            Some(after) => {
                format!("ended after {} ms, ready again in {} ms", after.as_millis(), recovery.as_millis())
            }
            None => "lived on".to_owned(),
        };
        println!("{:<28}{ended}; {orders} orders at the exchange so far", fault.what);
    }
    verdict(violations, replay);
}

/// Prints what came of the drill.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_drill(drilled: &Drilled, replay: &str) {
    let Drilled {
        kills,
        falls,
        at_exchange,
        acted_after,
        in_doubt,
        samples,
        longest_gap,
        gaps_told,
        violations,
    } = drilled;
    let of = |share| percentile(acted_after, share).as_millis();
    println!("kills        {kills}; prices fell through stops {falls} times meanwhile");
    println!(
        "stops        {at_exchange} at the exchange, {} watched by the engine",
        acted_after.len() + in_doubt
    );
    println!("acted on     p50 {} ms, p99 {} ms, max {} ms after ready", of(50), of(99), of(100));
    println!("in doubt     {in_doubt} waited for an order of before, and were told");
    println!(
        "unguarded    {} ms at the longest, seen {samples} times; {gaps_told} longer than 5 s, and told why",
        longest_gap.as_millis()
    );
    verdict(violations, replay);
}

/// Prints what came of killing it while it delivered.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_webhooks(delivered: &Delivered, replay: &str) {
    let Delivered { kills, accounts, took, recoveries, found } = delivered;
    let of = |sorted: &[Duration], share| percentile(sorted, share).as_millis();
    println!("kills        {kills} in {} s", took.as_secs());
    let recovery = |share| of(recoveries, share);
    println!("recovery     p50 {} ms, max {} ms", recovery(50), recovery(100));
    let kinds: Vec<String> =
        found.endpoints.iter().map(|(manner, count)| format!("{manner:?} {count}")).collect();
    println!("endpoints    of {accounts} accounts: {}", kinds.join(", "));
    println!(
        "events       {} committed, {} attempts seen, {} deliveries taken",
        found.events, found.attempts, found.taken
    );
    println!(
        "doubled      {}, by one kill {} at most, of what was taken {} ms before it at most",
        found.doubled,
        found.most_doubled,
        found.unnoted.as_millis()
    );
    let first = |share| of(&found.first, share);
    println!(
        "first try    p50 {} ms, p95 {} ms, max {} ms after the event",
        first(50),
        first(95),
        first(100)
    );
    let retried = |share| of(&found.retried, share);
    println!(
        "owed         {} times an endpoint was owed something by a killed life: tried p50 {} ms, max {} ms after ready",
        found.retried.len(),
        retried(50),
        retried(100)
    );
    verdict_of(&judge::KINDS, &found.violations, replay);
}

/// Prints what came of servers that were taken over from.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_take_over(taken: &TakenOver, replay: &str) {
    let line = |what: &str, sorted: &[Duration]| {
        let of = |share| percentile(sorted, share).as_millis();
        println!("{what:<13}p50 {} ms, p99 {} ms, max {} ms", of(50), of(99), of(100));
    };
    println!(
        "take-overs   {}; the first wrote in {} and traded in {}",
        taken.runs, taken.wrote, taken.traded
    );
    println!("in time      {} orders that were committed before were accepted after", taken.in_time);
    line("paused", &taken.paused);
    line("second ready", &taken.ready_after);
    line("first ended", &taken.ended_after);
    println!("exchange     {} orders, {} fills", taken.orders, taken.fills);
    println!("API          looked at {} times, {} trades in the end", taken.looks, taken.trades);
    let kinds = [take_over::KINDS.as_slice(), &seen::KINDS, &KINDS].concat();
    verdict_of(&kinds, &taken.violations, replay);
}

/// Prints what came of ways that failed.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_one_way(failed: &Failed, replay: &str) {
    let Failed { faults, longest, bound, took, orders, fills, trades, .. } = failed;
    println!("faults       {faults} of {} s at most, in {} s", longest.as_secs(), took.as_secs());
    println!("exchange     {orders} orders, {fills} fills, {trades} trades");
    println!(
        "failed                at exchange  by engine  in doubt      p50      max  (bound {} s)",
        bound.as_secs()
    );
    let mut all = Vec::new();
    for (what, Exits { after, at_exchange, in_doubt }) in &failed.exits {
        let of = |share| percentile(after, share).as_millis();
        let exits = format!("{at_exchange:>12}{:>11}{in_doubt:>10}", after.len());
        println!("{what:<21}{exits}{:>6} ms{:>6} ms", of(50), of(100));
        all.extend(after);
    }
    all.sort_unstable();
    let of = |share| percentile(&all, share).as_millis();
    println!("all exits    p50 {} ms, p99 {} ms, max {} ms", of(50), of(99), of(100));
    let kinds = [one_way::KINDS.as_slice(), &seen::KINDS, &KINDS].concat();
    verdict_of(&kinds, &failed.violations, replay);
}

/// Prints what came of pauses across levels that were touched.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_pauses(paused: &Paused, replay: &str) {
    let Paused { pauses, longest, took, touched, orders, fills, trades, .. } = paused;
    println!("pauses       {pauses} of {} s at most, in {} s", longest.as_secs(), took.as_secs());
    println!("exchange     {orders} orders, {fills} fills, {trades} trades");
    println!("touched      {}", counted(touched));
    let kinds = [pauses::KINDS.as_slice(), &seen::KINDS, &KINDS].concat();
    verdict_of(&kinds, &paused.violations, replay);
}

/// Prints what another account noticed of a noisy one.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_noisy(heard: &Heard, replay: &str) {
    let Heard { noise, length, trades, too_busy, memory, queue, refused, stopped_after, .. } = heard;
    println!(
        "noise        {noise} bots for {} s: {trades} trades; {too_busy} were too busy in the end",
        length.as_secs()
    );
    let line = |what: &str, sorted: &[Duration]| {
        let of = |share| percentile(sorted, share).as_millis();
        println!("{what:<13}{}: p50 {} ms, p99 {} ms, max {} ms", sorted.len(), of(50), of(99), of(100));
    };
    line("commands", &heard.commands);
    line("live closes", &heard.closes);
    println!("refused      {refused} with 503");
    println!("queue        {queue} changes at most");
    println!("memory       {} MB, then {} MB at most", memory.0, memory.1);
    println!("SIGTERM      ended after {} ms", stopped_after.as_millis());
    verdict_of(&noisy::KINDS, &heard.violations, replay);
}

/// Prints what came of owners who act while it is killed.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_owners(acted: &Acted, replay: &str) {
    let Acted { kills, took, recoveries, actions, orders, fills, trades, .. } = acted;
    println!("kills        {kills} in {} s", took.as_secs());
    let of = |share| percentile(recoveries, share).as_millis();
    println!("recovery     p50 {} ms, max {} ms", of(50), of(100));
    println!("exchange     {orders} orders, {fills} fills, {trades} trades");
    println!("action       acknowledged  refused  unanswered");
    for (action, [acknowledged, refused, unanswered]) in actions {
        println!("{action:<13}{acknowledged:>12}{refused:>9}{unanswered:>12}");
    }
    let kinds = [owners::KINDS.as_slice(), &seen::KINDS, &KINDS].concat();
    verdict_of(&kinds, &acted.violations, replay);
}

/// Prints what came of restored copies.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_restores(restored: &Restored, replay: &str) {
    let Restored { restores, took, recoveries, lost, ledger, troubles, .. } = restored;
    println!("restores     {restores} in {} s, {lost} executions that the copies lacked", took.as_secs());
    let of = |share| percentile(recoveries, share).as_millis();
    println!("recovery     p50 {} ms, max {} ms", of(50), of(100));
    println!("exchange     {} orders, {} fills", ledger.orders.len(), ledger.fills.len());
    for trouble in troubles {
        println!("in error     {trouble}");
    }
    verdict_of(&KINDS, &restored.violations, replay);
}

/// Prints whether a broken way was found out.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_control(way: &str, symptom: &str, violations: &Violations) {
    let found: Vec<String> = KINDS
        .iter()
        .filter(|kind| violations.count(kind) > 0)
        .map(|kind| format!("{kind} {}", violations.count(kind)))
        .collect();
    let verdict = if violations.count(symptom) > 0 { "found out" } else { "NOT FOUND OUT" };
    println!("{way}: {verdict} ({})", found.join(", "));
}

/// Prints what came of cutting the power.
#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
pub(crate) fn print_cuts(what: &str, found: &Found) {
    let Found { places, cuts, opened, lost, most_lost, broken, took } = found;
    println!(
        "{what}: {cuts} cuts of {places} places, {opened} stores opened, {lost} lacked acknowledged commits (up to \
         {most_lost}), {broken} broken; in {} s",
        took.as_secs()
    );
}

fn verdict(violations: &Violations, replay: &str) {
    verdict_of(&KINDS, violations, replay);
}

#[expect(clippy::print_stdout, reason = "the report is what this program answers")]
fn verdict_of(kinds: &[&str], violations: &Violations, replay: &str) {
    for kind in kinds {
        println!("{kind:<27}{}", violations.count(kind));
    }
    for (kind, examples) in violations.examples() {
        for example in examples {
            println!("    {kind}: {example}");
        }
    }
    println!("{}", if violations.is_empty() { "all is well" } else { "BROKEN" });
    println!("again        {replay}");
}

/// The kinds of orders that there were.
fn kinds(ledger: &Ledger) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for order in &ledger.orders {
        *counts.entry(&order.kind).or_default() += 1;
    }
    counted(&counts)
}

fn counted(counts: &BTreeMap<&str, usize>) -> String {
    counts.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

/// The value below which `share` percent of the sorted values lie.
fn percentile(sorted: &[Duration], share: usize) -> Duration {
    let place = (sorted.len() * share).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}
