//! What the actors count while they work, for whoever wants to watch: some of it read here, all of it published
//! through the `metrics` facade. Every handle is looked up once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use model::{Receipt, Timestamp};
use strategies::live::{End, Role};

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
}

impl Default for Meters {
    /// Publishes to the recorder that is installed by now, if one is.
    fn default() -> Self {
        Self {
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

    /// Publishes what is not published as it happens: how it stands now.
    pub(crate) fn publish(&self, ledger_depth: usize, [limited, banned]: [u64; 2]) {
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
            gauge.set(f64::from(i32::try_from(value).unwrap_or(i32::MAX)));
        }
    }
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
