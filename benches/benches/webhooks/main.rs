//! Webhooks at full speed, the store included: events that the ledger commits, their deliveries, and what came of each
//! written down; and what endpoints that are slow, dead or hostile cost the others.
//!
//! Promise: at least 5,000 deliveries a second to one endpoint, 15,000 to ten and to two hundred, for at most 0.08 s of
//! CPU per thousand. An endpoint of ten that is slow or dead moves the others' p99, from committed to received, by less
//! than a fifth; so do twenty bad ones of two hundred.
//! Floor: a loop of signed POSTs by the same client library with the same body to the same receiver, as many at once,
//! in the same run.
//!
//! The receiver and what makes the events have threads of their own in this process. The server's CPU is that of all
//! other threads, as the kernel counts it for each (`/proc/self/task/*/schedstat`); it holds the commits of the events
//! as well. All share the machine's cores.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark"
)]

mod bare;
mod cpu;
mod receiver;
mod rig;

use std::time::{Duration, Instant};

use cpu::Spent;
use receiver::Manner;
use rig::Rig;

/// Endpoints, deliveries, and how many a second are promised.
const SUSTAINED: [(usize, usize, f64); 3] =
    [(1, 40_000, 5_000.0), (10, 120_000, 15_000.0), (200, 120_000, 15_000.0)];

/// What comes before, so that connections and statements are there: a part of that.
const WARM: usize = 10;

/// How many requests to one endpoint are on their way at once.
const AT_ONCE: usize = engine::CONCURRENCY as usize;

/// How often each of the ways endpoints can be is gone through, for how long, and how much is delivered meanwhile to
/// those that are well. What counts is the median of the rounds, as others' work on the machine comes in bursts.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(3);
const PACE: usize = 2_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let is_asked = |what: &str| only.as_deref().is_none_or(|only| what.contains(only));
    let rig = Rig::start().await;
    for (endpoints, deliveries, promised) in SUSTAINED {
        if is_asked(&format!("sustained-{endpoints}-")) {
            sustained(&rig, endpoints, deliveries, promised).await;
        }
    }
    for (endpoints, bad) in FAIRNESS {
        if is_asked("fairness") {
            fairness(&rig, endpoints, bad).await;
        }
    }
    rig.stop().await;
}

/// As fast as it goes, from the first event until what came of the last delivery is written.
async fn sustained(rig: &Rig, endpoints: usize, deliveries: usize, promised: f64) {
    let events = deliveries / endpoints;
    let urls: Vec<String> = (0..endpoints).map(|index| rig.receiver.endpoint(index, Manner::Well)).collect();
    let body = rig::event(0, rig.account).body();
    bare::post(&urls, AT_ONCE, &body, deliveries / WARM);
    let (bare_took, bare_spent) = bare::post(&urls, AT_ONCE, &body, deliveries);
    let hooks = rig.open(&urls).await;
    rig.deliver(events / WARM, endpoints).await;
    let (before, began) = (Spent::now(), Instant::now());
    rig.deliver(events, endpoints).await;
    let took = began.elapsed();
    let spent = Spent::now().of_server_since(&before);
    assert_eq!(rig.delivered(&hooks).await, (events + events / WARM) * endpoints, "every one is noted");
    rig.close(hooks).await;

    let rate = |took: Duration| deliveries as f64 / took.as_secs_f64();
    let per_thousand = |spent: Duration| spent.as_secs_f64() * 1_000.0 / deliveries as f64;
    let all: Duration = spent.values().sum();
    println!(
        "{endpoints:>3} endpoints: {:>6.0} deliveries/s ({promised:.0} promised), {:.3} CPU s per 1,000 (0.080 promised)",
        rate(took),
        per_thousand(all)
    );
    println!(
        "    a bare loop of signed POSTs: {:>6.0}/s, {:.3} CPU s per 1,000; ours is {:.2} of its rate",
        rate(bare_took),
        per_thousand(bare_spent),
        rate(took) / rate(bare_took)
    );
    let named: Vec<String> = spent
        .iter()
        .filter(|(_, spent)| per_thousand(**spent) >= 0.000_5)
        .map(|(name, spent)| format!("{name} {:.3}", per_thousand(*spent)))
        .collect();
    println!("    by thread: {}", named.join(", "));
}

/// Endpoints, and how the first of them are bad.
const FAIRNESS: [(usize, &[&[Manner]]); 2] = [
    (10, &[&[Manner::Slow], &[Manner::Dead]]),
    (200, &[&[Manner::Slow, Manner::Dead, Manner::Silent, Manner::Endless, Manner::Reset, Manner::Redirect]]),
];

/// A steady pace, where all endpoints are well and where some are not, by turns.
async fn fairness(rig: &Rig, endpoints: usize, bad: &[&[Manner]]) {
    let count = endpoints / 10;
    let mut well = Rounds::default();
    let mut beside: Vec<Rounds> = bad.iter().map(|_| Rounds::default()).collect();
    for _ in 0..ROUNDS {
        well.add(paced(rig, endpoints, count, &[Manner::Well]).await);
        for (manners, rounds) in bad.iter().zip(&mut beside) {
            rounds.add(paced(rig, endpoints, count, manners).await);
        }
    }
    let (p50, p99) = well.medians();
    println!("{endpoints} endpoints, all well: from committed to received p50 {p50:?}, p99 {p99:?}");
    for (manners, mut rounds) in bad.iter().zip(beside) {
        let (own_p50, own_p99) = rounds.medians();
        let moved = (own_p99.as_secs_f64() / p99.as_secs_f64() - 1.0) * 100.0;
        println!(
            "    {count} of them {manners:?}: the others p50 {own_p50:?}, p99 {own_p99:?}, moved by {moved:+.0} % (less than 20 promised)"
        );
    }
}

/// The percentiles of each round.
#[derive(Default)]
struct Rounds {
    p50: Vec<Duration>,
    p99: Vec<Duration>,
}

impl Rounds {
    fn add(&mut self, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        self.p50.push(at(50));
        self.p99.push(at(99));
    }

    fn medians(&mut self) -> (Duration, Duration) {
        let median = |all: &mut Vec<Duration>| {
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        (median(&mut self.p50), median(&mut self.p99))
    }
}

/// How long it took from committed to received at the endpoints after the first `count`.
async fn paced(rig: &Rig, endpoints: usize, count: usize, manners: &[Manner]) -> Vec<Duration> {
    let bad = manners.iter().copied().cycle().take(count);
    let each = bad.chain(std::iter::repeat(Manner::Well)).take(endpoints).enumerate();
    let urls: Vec<String> = each.map(|(index, manner)| rig.receiver.endpoint(index, manner)).collect();
    let hooks = rig.open(&urls).await;
    let every = Duration::from_secs(1).mul_f64(endpoints as f64 / PACE as f64);
    let times = rig.pace(every, ROUND, count..endpoints).await;
    rig.close(hooks).await;
    times
}
