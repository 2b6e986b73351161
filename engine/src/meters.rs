//! What the actors count while they work, for whoever wants to watch: some of it read here, all of it published
//! through the `metrics` facade. Every handle is looked up once.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use model::{Receipt, Timestamp};
use strategies::live::{End, Role};

use crate::change::BotStatus;
use crate::health::MarketHealth;
use crate::store::Overview;

/// Counters since the start; written by the actors, read by anybody.
#[derive(Debug)]
pub struct Meters {
    ticks: AtomicU64,
    decisions: AtomicU64,
    under_way: Totals,
    /// How many events wait in memory for webhook endpoints.
    webhook_events: Arc<AtomicUsize>,
    orders: [OrderMeters; 3],
    published: Published,
    /// When the store may be counted again.
    overview_due: Mutex<Option<Instant>>,
}

impl Default for Meters {
    /// Publishes to the recorder that is installed by now, if one is.
    fn default() -> Self {
        describe();
        Self {
            overview_due: Mutex::default(),
            ticks: AtomicU64::default(),
            decisions: AtomicU64::default(),
            under_way: Totals::default(),
            webhook_events: Arc::default(),
            orders: [Role::Entry(0), Role::Exit, Role::Protection].map(OrderMeters::of),
            published: Published::default(),
        }
    }
}

impl Meters {
    /// Ticks that the feeds have handed to whoever watched for them.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Acquire)
    }

    /// Moves that bots were woken by and have decided on.
    pub fn decisions(&self) -> u64 {
        self.decisions.load(Ordering::Acquire)
    }

    /// How many events wait in memory for webhook endpoints.
    pub fn webhook_events(&self) -> usize {
        self.webhook_events.load(Ordering::Relaxed)
    }

    /// Where the number of events that wait in memory for webhook endpoints is kept.
    pub(crate) fn webhook_events_count(&self) -> Arc<AtomicUsize> {
        self.webhook_events.clone()
    }

    pub(crate) fn count_ticks(&self, ticks: u64) {
        self.ticks.fetch_add(ticks, Ordering::Release);
    }

    pub(crate) fn count_decision(&self) {
        self.decisions.fetch_add(1, Ordering::Release);
    }

    /// An order is over; with the times it took, where this process saw them all.
    pub(crate) fn count_order(&self, role: Role, end: &End, receipt: Option<&Receipt>) {
        let [entries, exits, stops] = &self.orders;
        let meters = match role {
            Role::Entry(_) | Role::Added => entries,
            Role::Exit => exits,
            Role::Protection => stops,
        };
        meters.count(end, receipt);
    }

    /// So many executions of an account are its owner's own.
    pub(crate) fn count_foreign(&self, executions: usize) {
        self.published.foreign.increment(u64::try_from(executions).unwrap_or(u64::MAX));
    }

    /// Whether the store is to be counted again: it costs what it costs, so a hundred times as long passes in between. Nobody
    /// else is told so until it was.
    pub(crate) fn overview_is_due(&self) -> Option<OverviewTurn> {
        let mut due = self.overview_due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if due.is_some_and(|due| now < due) {
            return None;
        }
        *due = Some(now + LONGEST_OVERVIEW);
        Some(OverviewTurn)
    }

    /// Publishes what was counted in the store, which `took` that long.
    pub(crate) fn publish_overview(
        &self,
        _: OverviewTurn,
        overview: &Overview,
        took: Duration,
        now: Timestamp,
    ) {
        let next = Instant::now() + (took * 100).clamp(SHORTEST_OVERVIEW, LONGEST_OVERVIEW);
        *self.overview_due.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        for status in BotStatus::ALL {
            let count = overview.bots.get(status.as_str()).copied().unwrap_or_default();
            gauge!("botprimex_bots", "status" => status.as_str()).set(number(count));
        }
        gauge!("botprimex_webhook_events_undelivered").set(number(overview.undelivered));
        let age = overview.oldest_undelivered.map_or(Duration::ZERO, |oldest| span(oldest, now));
        gauge!("botprimex_webhook_oldest_undelivered_seconds").set(age.as_secs_f64());
    }

    /// Publishes what is not published as it happens: how it stands now.
    pub(crate) fn publish(&self, ledger_depth: usize, [limited, banned]: [u64; 2], health: &MarketHealth) {
        let exchange = health.exchange().as_str();
        let is_up = health.down_since().is_none();
        gauge!("botprimex_market_data_up", "exchange" => exchange).set(if is_up { 1.0 } else { 0.0 });
        if let Some(age) = health.last_tick_age() {
            gauge!("botprimex_market_data_last_tick_age_seconds", "exchange" => exchange)
                .set(age.as_secs_f64());
        }
        let published = &self.published;
        published.ticks.absolute(self.ticks());
        published.decisions.absolute(self.decisions());
        published.limited.absolute(limited);
        published.banned.absolute(banned);
        let depth = i64::try_from(ledger_depth).unwrap_or(i64::MAX);
        let totals = &self.under_way;
        let now = |total: &AtomicI64| total.load(Ordering::Relaxed);
        for (gauge, value) in [
            (&published.ledger_depth, depth),
            (&published.waiting, now(&totals.waiting)),
            (&published.unknown, now(&totals.unknown)),
            (&published.up, now(&totals.up)),
            (&published.down, now(&totals.down)),
            (&published.webhook_events, i64::try_from(self.webhook_events()).unwrap_or(i64::MAX)),
        ] {
            gauge.set(number(value));
        }
    }
}

/// An attempt to deliver an event to an endpoint has ended.
pub(crate) fn count_attempt(is_delivered: bool) {
    let result = if is_delivered { "delivered" } else { "failed" };
    counter!("botprimex_webhook_attempts_total", "result" => result).increment(1);
}

/// The right to count the store.
#[must_use]
#[derive(Debug)]
pub(crate) struct OverviewTurn;

/// How soon the store is counted again at the earliest, and at the latest where somebody asks.
const SHORTEST_OVERVIEW: Duration = Duration::from_millis(100);
const LONGEST_OVERVIEW: Duration = Duration::from_mins(1);

fn number(count: i64) -> f64 {
    f64::from(i32::try_from(count).unwrap_or(i32::MAX))
}

/// Says what is published.
fn describe() {
    // Both are there from the start: a rate of what has never happened is 0.
    for result in ["delivered", "failed"] {
        counter!("botprimex_webhook_attempts_total", "result" => result).increment(0);
    }
    describe_counter!("botprimex_ticks_total", "Public trades heard from venues.");
    describe_counter!("botprimex_decisions_total", "Times that a bot was woken by a price and decided.");
    describe_counter!("botprimex_venue_refusals_total", "Answers 429 and 418 of venues, by status.");
    describe_counter!(
        "botprimex_foreign_executions_total",
        "Executions on our accounts of orders that no bot placed."
    );
    describe_counter!("botprimex_orders_total", "Live orders that are over, by role and how they ended.");
    describe_counter!(
        "botprimex_webhook_attempts_total",
        "Attempts to deliver an event to an endpoint, by result."
    );
    describe_gauge!("botprimex_ledger_depth", "Changes that wait for the disk.");
    describe_gauge!("botprimex_intents_waiting", "Durable orders that wait to be sent.");
    describe_gauge!("botprimex_orders_unknown", "Orders of which it is not known what the venue did.");
    describe_gauge!("botprimex_exchange_connections", "Sockets of accounts at venues, by state: up or down.");
    describe_gauge!("botprimex_webhook_events_in_memory", "Events in memory for webhook endpoints.");
    describe_gauge!(
        "botprimex_webhook_events_undelivered",
        "Outbox: events that enabled endpoints have not settled, each endpoint counted."
    );
    describe_gauge!(
        "botprimex_webhook_oldest_undelivered_seconds",
        Unit::Seconds,
        "Outbox: the age of the oldest event that an enabled endpoint has not settled, in seconds; 0 where there is none."
    );
    describe_gauge!("botprimex_bots", "Bots by status, deleted ones left out.");
    describe_gauge!(
        "botprimex_market_data_up",
        "Whether market data of a venue come in: 0 while its connection is down although some pair is listened to."
    );
    describe_gauge!(
        "botprimex_market_data_last_tick_age_seconds",
        Unit::Seconds,
        "How long ago the last public trade was heard from a venue, in seconds, to two seconds; absent before the first."
    );
    describe_histogram!(
        "botprimex_order_stage_seconds",
        Unit::Seconds,
        "How long a live order took from the stage before to this one, in seconds, by stage and role."
    );
}

/// What is published as it stands.
#[derive(Debug)]
struct Published {
    ticks: Counter,
    decisions: Counter,
    limited: Counter,
    banned: Counter,
    foreign: Counter,
    ledger_depth: Gauge,
    waiting: Gauge,
    unknown: Gauge,
    up: Gauge,
    down: Gauge,
    webhook_events: Gauge,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            ticks: counter!("botprimex_ticks_total"),
            decisions: counter!("botprimex_decisions_total"),
            limited: counter!("botprimex_venue_refusals_total", "status" => "429"),
            banned: counter!("botprimex_venue_refusals_total", "status" => "418"),
            foreign: counter!("botprimex_foreign_executions_total"),
            ledger_depth: gauge!("botprimex_ledger_depth"),
            waiting: gauge!("botprimex_intents_waiting"),
            unknown: gauge!("botprimex_orders_unknown"),
            up: gauge!("botprimex_exchange_connections", "state" => "up"),
            down: gauge!("botprimex_exchange_connections", "state" => "down"),
            webhook_events: gauge!("botprimex_webhook_events_in_memory"),
        }
    }
}

/// The orders of one role.
#[derive(Debug)]
struct OrderMeters {
    ends: [Counter; 5],
    stages: [Histogram; 5],
}

impl OrderMeters {
    fn of(role: Role) -> Self {
        let role = role.as_str();
        let ends = ["filled", "canceled", "expired", "rejected", "never_arrived"];
        let stages = ["decided", "journaled", "sent", "acknowledged", "filled"];
        Self {
            ends: ends.map(|end| counter!("botprimex_orders_total", "role" => role, "end" => end)),
            stages: stages
                .map(|stage| histogram!("botprimex_order_stage_seconds", "stage" => stage, "role" => role)),
        }
    }

    fn count(&self, end: &End, receipt: Option<&Receipt>) {
        let [filled, canceled, expired, rejected, never_arrived] = &self.ends;
        match end {
            End::Filled => filled,
            End::Canceled => canceled,
            End::Expired => expired,
            End::Rejected(_) => rejected,
            End::NeverArrived => never_arrived,
        }
        .increment(1);
        let Some(receipt) = receipt else { return };
        let Receipt { ticked_at, decided_at, journaled_at, sent_at, acknowledged_at, filled_at } = *receipt;
        let moments = [ticked_at, decided_at, journaled_at, sent_at, acknowledged_at, filled_at];
        for (histogram, (from, to)) in self.stages.iter().zip(moments.iter().zip(moments.iter().skip(1))) {
            if let (Some(from), Some(to)) = (from, to) {
                histogram.record(span(*from, *to));
            }
        }
    }
}

/// The time between two moments; the clock may have been set back meanwhile.
fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(to.since(from)).unwrap_or(0))
}

/// What all connections together have under way.
#[derive(Debug, Default)]
struct Totals {
    waiting: AtomicI64,
    unknown: AtomicI64,
    up: AtomicI64,
    down: AtomicI64,
}

/// What a connection has under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct UnderWay {
    /// Durable orders that wait to be sent.
    pub(crate) waiting: usize,
    /// Sent ones that the venue has not been heard of yet.
    pub(crate) unknown: usize,
    /// Whether its socket is up.
    pub(crate) is_up: bool,
}

/// One connection's part of what is under way; it goes with it.
#[derive(Debug)]
pub(crate) struct Share {
    meters: Arc<Meters>,
    told: [i64; 4],
}

impl Share {
    pub(crate) fn of(meters: Arc<Meters>) -> Self {
        let mut share = Self { meters, told: [0; 4] };
        share.tell(UnderWay::default());
        share
    }

    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// How it stands with this connection from now on.
    pub(crate) fn tell(&mut self, UnderWay { waiting, unknown, is_up }: UnderWay) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.set([count(waiting), count(unknown), i64::from(is_up), i64::from(!is_up)]);
    }

    fn set(&mut self, now: [i64; 4]) {
        let totals = &self.meters.under_way;
        let totals = [&totals.waiting, &totals.unknown, &totals.up, &totals.down];
        for (total, (before, now)) in totals.into_iter().zip(self.told.iter().zip(now)) {
            total.fetch_add(now - before, Ordering::Relaxed);
        }
        self.told = now;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set([0; 4]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_has_under_way_goes_with_it() {
        let meters = Arc::new(Meters::default());
        let read = || {
            let Totals { waiting, unknown, up, down } = &meters.under_way;
            [waiting, unknown, up, down].map(|total| total.load(Ordering::Relaxed))
        };
        let (mut one, two) = (Share::of(meters.clone()), Share::of(meters.clone()));
        one.tell(UnderWay { waiting: 3, unknown: 1, is_up: true });
        assert_eq!(read(), [3, 1, 1, 1]);
        one.tell(UnderWay { waiting: 1, unknown: 0, is_up: true });
        assert_eq!(read(), [1, 0, 1, 1]);
        drop(one);
        assert_eq!(read(), [0, 0, 0, 1]);
        drop(two);
        assert_eq!(read(), [0; 4]);
    }
}
