//! An order on its way: what is known of it, and what is to be done about it next.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use connectors::binance::trade::OrderRequest;
use model::{BotId, Pair, Price, Qty, Receipt, Timestamp};
use strategies::live::{End, Report, Role};

use super::retry::Retries;
use super::route::ANSWERED_WITHIN;
use super::sending::RESEND_AFTER;
use crate::clock;

/// How long an order that the venue did not take for now waits until it is sent again, where the venue does not say.
const SEND_RETRIES: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(5);

/// How long an order that is still open is not taken back again. It is to be gone soon once the venue takes cancels again.
const CANCEL_RETRIES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3);

/// How long after its decision an entry of an earlier run of this process may have left at the latest: it is sent within
/// a second, and may have waited a little in the socket's task.
const ENTRY_LEFT_WITHIN_S: u64 = 5;

/// An order on its way.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own: asking, taking back and the end overlap"
)]
pub(super) struct Tracked {
    pub(super) bot: BotId,
    pub(super) pair: Pair,
    pub(super) role: Role,
    /// What is sent, and what it says; `None` where it left before this process began.
    pub(super) order: Option<(OrderRequest, String)>,
    /// When it was decided, by the venue's clock: it has no trace of it from before.
    pub(super) since: Timestamp,
    /// How long before this moment it had left at the latest: what its absence is proven from. It may have waited long
    /// before. By the monotonic clock, so that a step of the other proves nothing.
    left: (Duration, Instant),
    pub(super) receipt: Receipt,
    /// What it was stamped with, by the venue's clock, and journaled; `None` where the venue refused that time.
    pub(super) stamped_at: Option<Timestamp>,
    /// Another stamp of it is on its way to the journal.
    pub(super) is_restamping: bool,
    /// From when on, by the venue's clock, its absence there is final: the last request that any process can have sent for
    /// it is refused as too old by then, and the venue's queries have caught up. `None` where this process sends it.
    pub(super) absent_at: Option<Timestamp>,
    /// The venue's limits have room for it, which is taken.
    pub(super) is_admitted: bool,
    /// When it was decided, by the clock that its age is reckoned by.
    pub(super) decided: Instant,
    /// The price at or below which it is still to be bought.
    pub(super) trigger: Option<Price>,
    /// When the venue last refused it, or its cancel, for its time.
    clock_refused_at: Option<Instant>,
    /// When it may be sent again.
    pub(super) send_at: Option<Instant>,
    /// How often it was sent to no effect.
    pub(super) sends: Retries,
    /// When the venue is asked for it next; `None` while nothing is in doubt.
    pub(super) ask_at: Option<Instant>,
    pub(super) asks: u32,
    pub(super) is_asking: bool,
    /// Its bot was told that it is in doubt.
    pub(super) is_doubted: bool,
    /// When the venue was last asked for it and knew it.
    pub(super) found_at: Option<Instant>,
    /// It has been asked for since its bot came.
    pub(super) is_accounted: bool,
    pub(super) wants_cancel: bool,
    /// When it was taken back last, while no answer has come.
    pub(super) canceled_at: Option<Instant>,
    /// How often it was taken back.
    pub(super) cancels: Retries,
    /// The venue's own number of it, where it has told.
    pub(super) venue_id: Option<i64>,
    pub(super) executed: Qty,
    /// Its executions by number, and how much each was.
    pub(super) executions: HashMap<i64, Qty>,
    pub(super) end: bool,
    /// How it ended, as it was told first.
    pub(super) ended: Option<End>,
    pub(super) settled_at: Option<Instant>,
}

impl Tracked {
    pub(super) fn new(bot: BotId, pair: Pair, role: Role, since: Timestamp, receipt: Receipt) -> Self {
        let came_at = Instant::now();
        Self {
            bot,
            pair,
            role,
            order: None,
            since,
            left: (Duration::ZERO, came_at),
            receipt,
            stamped_at: None,
            is_restamping: false,
            absent_at: None,
            is_admitted: false,
            decided: came_at,
            trigger: None,
            clock_refused_at: None,
            send_at: None,
            sends: Retries::new(SEND_RETRIES),
            ask_at: None,
            asks: 0,
            is_asking: false,
            is_doubted: false,
            found_at: None,
            is_accounted: true,
            wants_cancel: false,
            canceled_at: None,
            cancels: Retries::new(CANCEL_RETRIES),
            venue_id: None,
            executed: Qty::ZERO,
            executions: HashMap::new(),
            end: false,
            ended: None,
            settled_at: None,
        }
    }

    /// Takes a report in; whether it says anything that was not known.
    pub(super) fn hear(&mut self, report: &Report) -> bool {
        let now = clock::now();
        let mut is_news = self.receipt.acknowledged_at.is_none();
        self.receipt.acknowledged_at.get_or_insert(now);
        for execution in &report.executions {
            if self.executions.insert(execution.trade_id, execution.qty).is_none() {
                self.receipt.filled_at = Some(now);
                is_news = true;
            }
        }
        is_news |= report.executed > self.executed || (report.end.is_some() && !self.end);
        self.executed = self.executed.max(report.executed);
        self.end |= report.end.is_some();
        if self.ended.is_none() {
            self.ended.clone_from(&report.end);
        }
        if self.is_settled() {
            self.settled_at.get_or_insert_with(Instant::now);
        }
        is_news
    }

    pub(super) fn lacks_executions(&self) -> bool {
        self.executions.values().copied().sum::<Qty>() < self.executed
    }

    /// Nothing more will happen to it, and all that did is known.
    pub(super) fn is_settled(&self) -> bool {
        self.end && !self.lacks_executions()
    }

    /// It is to stay at the venue until its time comes, and the venue has it.
    pub(super) fn rests(&self) -> bool {
        self.role != Role::Exit && self.receipt.acknowledged_at.is_some() && !self.end && !self.wants_cancel
    }

    /// Whether the answer to a cancel may still come in time.
    pub(super) fn is_canceling(&self) -> bool {
        self.canceled_at.is_some_and(|at| at.elapsed() < ANSWERED_WITHIN)
    }

    /// It left so long ago at the latest.
    pub(super) fn left(&mut self, ago: Duration) {
        self.left = (ago, Instant::now());
    }

    /// How long ago it left at the latest.
    pub(super) fn age(&self) -> Duration {
        let (before, moment) = self.left;
        before + moment.elapsed()
    }

    /// The venue refused it, or its cancel, for its time, which was learned then: how soon it is sent again. Once at once,
    /// and then not faster than anything else that is refused.
    pub(super) fn wait_after_clock_refusal(&mut self) -> Duration {
        let before = self.clock_refused_at.replace(Instant::now());
        let is_first = before.is_none_or(|at| at.elapsed() > ANSWERED_WITHIN);
        if is_first { Duration::ZERO } else { RESEND_AFTER }
    }

    pub(super) fn ask_after(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.ask_at = Some(self.ask_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// When an order of an earlier run of this process left at the latest: entries do not wait long, what sells waits for
/// as long as the venue's limits make it.
pub(super) fn left_by(role: Role, since: Timestamp, sent_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match (role, sent_at) {
        (_, Some(sent_at)) => sent_at,
        (Role::Entry(_) | Role::Added, None) => now.min(since.plus_seconds(ENTRY_LEFT_WITHIN_S)),
        (Role::Exit | Role::Protection, None) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_proven_from_when_an_order_can_have_left_and_not_from_its_decision() {
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        let left = |role, sent_at| left_by(role, at(100), sent_at, at(400));
        assert_eq!(left(Role::Exit, None), at(400));
        assert_eq!(left(Role::Protection, None), at(400));
        assert_eq!(left(Role::Exit, Some(at(350))), at(350));
        assert_eq!(left(Role::Entry(0), None), at(105), "an entry is given up after five seconds");
        assert_eq!(left_by(Role::Entry(0), at(100), None, at(102)), at(102));
    }
}
