//! What an endpoint still has to hear, in lanes: events of one bot in order, one at a time, so that one that is
//! retried holds up its own bot's later events and nobody else's. Time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use model::{BotId, Timestamp};

use crate::store::{Delivery, DeliveryStatus, StoredEvent, Webhook};

/// How long after each failure an event is tried again (contract §5); after the last it is given up.
pub(crate) const SCHEDULE_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// An endpoint that has failed for this long is disabled.
const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);

/// How many events are looked at ahead of the one that is settled last.
const AHEAD: usize = 1_000;

/// How many deliveries are on their way at once.
const AT_ONCE: usize = 4;

/// Events of one bot, or those of the account itself.
type Lane = Option<BotId>;

/// What one attempt came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The endpoint took it: a status from 200 to 299.
    Taken(u16),
    /// It is gone for good: 410.
    Gone,
    /// Anything else; the status where there was an answer.
    Failed(Option<u16>),
}

/// An event and how often it was tried.
#[derive(Clone, Debug)]
struct Item {
    event: StoredEvent,
    attempts: u32,
    due: Timestamp,
}

/// The queue of one endpoint.
#[derive(Debug)]
pub(crate) struct Queue {
    webhook: Webhook,
    /// What was found in the store of events after those that are settled.
    known: BTreeMap<i64, Delivery>,
    lanes: HashMap<Lane, VecDeque<Item>>,
    busy: HashMap<Lane, i64>,
    open: BTreeSet<i64>,
    read: i64,
    notes: BTreeMap<i64, Delivery>,
    is_changed: bool,
}

impl Queue {
    /// Goes on where the store says that the endpoint is.
    pub(crate) fn new(webhook: Webhook, known: Vec<Delivery>) -> Self {
        Self {
            read: webhook.settled,
            known: known.into_iter().map(|delivery| (delivery.event_seq, delivery)).collect(),
            webhook,
            lanes: HashMap::new(),
            busy: HashMap::new(),
            open: BTreeSet::new(),
            notes: BTreeMap::new(),
            is_changed: false,
        }
    }

    /// The endpoint as it stands.
    pub(crate) fn webhook(&self) -> &Webhook {
        &self.webhook
    }

    /// After which event to read on, and how many; `None` while enough is there.
    pub(crate) fn wants(&self) -> Option<(i64, u32)> {
        let room = AHEAD.saturating_sub(self.open.len());
        let wanted = self.webhook.disabled.is_none() && room >= AHEAD / 2;
        wanted.then(|| (self.read, u32::try_from(room).unwrap_or(u32::MAX)))
    }

    /// Takes events in, in the order of their places.
    pub(crate) fn push(&mut self, events: Vec<StoredEvent>) {
        for event in events {
            self.read = self.read.max(event.seq);
            let known = self.known.remove(&event.seq);
            let is_done = known.is_some_and(|delivery| delivery.status != DeliveryStatus::Waiting);
            let is_wanted = self.webhook.kinds.is_empty() || self.webhook.kinds.contains(&event.kind);
            if is_done || !is_wanted {
                continue;
            }
            self.open.insert(event.seq);
            let item = Item {
                attempts: known.map_or(0, |delivery| delivery.attempts),
                due: known.and_then(|delivery| delivery.next_at).unwrap_or(Timestamp::MIN),
                event,
            };
            self.lanes.entry(item.event.bot_id).or_default().push_back(item);
        }
        self.settle();
    }

    /// The next event to deliver now, if any: it is on its way until [`Queue::tried`].
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<StoredEvent> {
        if self.busy.len() >= AT_ONCE || self.webhook.disabled.is_some() {
            return None;
        }
        let due = self.lanes.iter().filter(|(lane, _)| !self.busy.contains_key(*lane));
        let due = due.filter_map(|(lane, items)| items.front().map(|item| (lane, item)));
        let (lane, item) =
            due.filter(|(_, item)| item.due <= now).min_by_key(|(_, item)| (item.due, item.event.seq))?;
        self.busy.insert(*lane, item.event.seq);
        Some(item.event.clone())
    }

    /// When something is due next, if nothing is now.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let idle = self.lanes.iter().filter(|(lane, _)| !self.busy.contains_key(*lane));
        idle.filter_map(|(_, items)| items.front().map(|item| item.due)).min()
    }

    /// What an attempt came to; `jitter`, from 0 to 1, delays a retry by up to a tenth.
    pub(crate) fn tried(&mut self, lane: Lane, outcome: Outcome, now: Timestamp, jitter: f64) {
        self.busy.remove(&lane);
        let Some(items) = self.lanes.get_mut(&lane) else { return };
        let Some(item) = items.front_mut() else { return };
        item.attempts += 1;
        let seq = item.event.seq;
        let mut note = Delivery {
            event_seq: seq,
            status: DeliveryStatus::Waiting,
            attempts: item.attempts,
            next_at: None,
            http_status: None,
            updated_at: now,
        };
        match outcome {
            Outcome::Taken(status) => {
                note.http_status = Some(status);
                note.status = DeliveryStatus::Delivered;
                self.webhook.failing_since = None;
            }
            Outcome::Gone => {
                note.http_status = Some(410);
                note.status = DeliveryStatus::Failed;
                self.webhook.disabled = Some("the endpoint answered 410 Gone".to_owned());
            }
            Outcome::Failed(status) => {
                note.http_status = status;
                let since = *self.webhook.failing_since.get_or_insert(now);
                if Duration::from_nanos(now.since(since).unsigned_abs()) >= GIVE_UP_AFTER {
                    self.webhook.disabled = Some("every delivery failed for five days".to_owned());
                }
                match SCHEDULE_S.get(item.attempts as usize - 1) {
                    Some(after) => {
                        item.due = now.plus_seconds(jittered(*after, jitter));
                        note.next_at = Some(item.due);
                    }
                    None => note.status = DeliveryStatus::Failed,
                }
            }
        }
        if note.status != DeliveryStatus::Waiting {
            items.pop_front();
            if items.is_empty() {
                self.lanes.remove(&lane);
            }
            self.open.remove(&seq);
        }
        self.notes.insert(seq, note);
        self.settle();
    }

    /// What is to be written down, if anything, once.
    pub(crate) fn notes(&mut self) -> Option<(Webhook, Vec<Delivery>)> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let settled = self.webhook.settled;
        let worth = |note: &Delivery| note.event_seq > settled || note.status == DeliveryStatus::Failed;
        let notes = std::mem::take(&mut self.notes).into_values().filter(worth).collect();
        Some((self.webhook.clone(), notes))
    }

    fn settle(&mut self) {
        self.webhook.settled = self.open.first().map_or(self.read, |first| first - 1);
        self.is_changed = true;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_arithmetic,
    reason = "a few seconds more or less of a day"
)]
fn jittered(seconds: u64, jitter: f64) -> u64 {
    seconds + (seconds as f64 * 0.1 * jitter.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use model::{AccountId, EventId, EventKind, WebhookId};

    use super::*;

    fn webhook() -> Webhook {
        Webhook {
            id: WebhookId::from_u128(1),
            account_id: AccountId::from_u128(1),
            url: "https://example.com".to_owned(),
            kinds: Vec::new(),
            secret: String::new(),
            settled: 0,
            failing_since: None,
            disabled: None,
            created_at: Timestamp::MIN,
        }
    }

    fn event(seq: i64, bot: u128) -> StoredEvent {
        StoredEvent {
            seq,
            id: EventId::from_u128(seq.unsigned_abs().into()),
            account_id: AccountId::from_u128(1),
            bot_id: Some(BotId::from_u128(bot)),
            kind: EventKind::TradeOpened,
            body: String::new(),
            at: Timestamp::MIN,
        }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_nanos(0).plus_seconds(second)
    }

    fn seqs(queue: &mut Queue, second: u64) -> Vec<i64> {
        std::iter::from_fn(|| queue.next(at(second)).map(|event| event.seq)).collect()
    }

    fn lane(bot: u128) -> Lane {
        event(1, bot).bot_id
    }

    #[test]
    fn one_bot_is_told_of_in_order_and_holds_up_no_other() {
        let mut queue = Queue::new(webhook(), Vec::new());
        queue.push(vec![event(1, 1), event(2, 1), event(3, 2)]);
        assert_eq!(seqs(&mut queue, 0), [1, 3]);
        queue.tried(lane(1), Outcome::Failed(Some(500)), at(0), 0.0);
        queue.tried(lane(2), Outcome::Taken(200), at(0), 0.0);
        assert_eq!(seqs(&mut queue, 4), [0; 0], "the second of bot 1 waits for the first");
        assert_eq!(queue.webhook().settled, 0);
        assert_eq!(queue.due(), Some(at(5)));
        assert_eq!(seqs(&mut queue, 5), [1]);
        queue.tried(lane(1), Outcome::Taken(204), at(5), 0.0);
        assert_eq!(seqs(&mut queue, 5), [2]);
        queue.tried(lane(1), Outcome::Taken(204), at(5), 0.0);
        assert_eq!(queue.webhook().settled, 3);
        assert_eq!(queue.notes().unwrap().1, []);
        assert_eq!(queue.notes(), None);
    }

    #[test]
    fn an_event_is_retried_by_the_schedule_and_then_given_up() {
        let mut queue = Queue::new(webhook(), Vec::new());
        queue.push(vec![event(1, 1), event(2, 1)]);
        let mut now = 0;
        let mut waits = Vec::new();
        loop {
            assert_eq!(seqs(&mut queue, now), [1]);
            queue.tried(lane(1), Outcome::Failed(None), at(now), 0.0);
            let due = queue.due().unwrap();
            if due == Timestamp::MIN {
                break;
            }
            waits.push(due.since(at(now)).unsigned_abs() / 1_000_000_000);
            now += waits.last().unwrap();
        }
        assert_eq!(waits, SCHEDULE_S);
        assert_eq!(seqs(&mut queue, now), [2], "the next one has its turn");
        assert_eq!(queue.notes().unwrap().1[0].status, DeliveryStatus::Failed);
    }

    #[test]
    fn what_was_noted_is_gone_on_from() {
        let mut first = Queue::new(webhook(), Vec::new());
        first.push(vec![event(1, 1), event(2, 2)]);
        assert_eq!(seqs(&mut first, 0), [1, 2]);
        first.tried(lane(2), Outcome::Taken(200), at(0), 0.0);
        first.tried(lane(1), Outcome::Failed(None), at(0), 1.0);
        let (webhook, notes) = first.notes().unwrap();
        let mut second = Queue::new(webhook, notes);
        assert_eq!(second.wants(), Some((0, 1_000)));
        second.push(vec![event(1, 1), event(2, 2)]);
        assert_eq!(seqs(&mut second, 4), [0; 0], "one was taken, the other is not due");
        assert_eq!(seqs(&mut second, 6), [1]);
    }

    #[test]
    fn an_endpoint_that_is_gone_or_fails_for_five_days_is_disabled() {
        let mut queue = Queue::new(webhook(), Vec::new());
        queue.push(vec![event(1, 1), event(2, 2)]);
        assert_eq!(seqs(&mut queue, 0), [1, 2]);
        queue.tried(lane(1), Outcome::Gone, at(0), 0.0);
        assert!(queue.webhook().disabled.is_some());
        assert_eq!((queue.wants(), seqs(&mut queue, 0).len()), (None, 0));

        let mut queue = Queue::new(webhook(), Vec::new());
        queue.push((1..=3).map(|seq| event(seq, seq.unsigned_abs().into())).collect());
        assert_eq!(seqs(&mut queue, 0), [1, 2, 3]);
        queue.tried(lane(1), Outcome::Failed(None), at(0), 0.0);
        queue.tried(lane(2), Outcome::Failed(None), at(5 * 86_400 - 1), 0.0);
        assert_eq!(queue.webhook().disabled, None);
        queue.tried(lane(3), Outcome::Failed(None), at(5 * 86_400), 0.0);
        assert!(queue.webhook().disabled.is_some());
    }
}
