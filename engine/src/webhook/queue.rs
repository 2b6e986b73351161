//! What an endpoint still has to hear, in lanes: events of one bot in order, one at a time, so that one that is
//! retried holds up its own bot's later events and nobody else's. Time is an argument.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{BotId, EventKind, Timestamp, WebhookId};

use crate::store::{Attempt, Delivery, DeliveryStatus, Origin, Progress, StoredEvent, Webhook};

/// How long after each failure an event is tried again (contract §5); after the last it is given up.
pub(crate) const SCHEDULE_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// The longest pause that an endpoint may ask for.
const LONGEST_PAUSE_S: u64 = 86_400;

/// An endpoint that has failed for this long is disabled.
const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);

/// How many events wait in memory at most; further ones are read when there is room.
const AHEAD: usize = 10_000;

/// What keeps its order: one bot's events, or those of the account itself; what is delivered once more apart from
/// what is new.
pub(crate) type Lane = (Origin, Option<BotId>);

/// What one attempt came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The endpoint took it: a status from 200 to 299.
    Taken,
    /// It is gone for good: 410.
    Gone,
    /// Anything else; with the pause that it asks for, in seconds.
    Failed(Option<u64>),
}

/// An event that is to be delivered, how often it was tried, and when it is due.
#[derive(Clone, Debug)]
struct Item {
    event: Arc<StoredEvent>,
    delivery: Delivery,
}

impl Item {
    fn due(&self) -> Timestamp {
        self.delivery.next_at.unwrap_or(Timestamp::MIN)
    }
}

/// The queue of one endpoint.
#[derive(Debug)]
pub(crate) struct Queue {
    id: WebhookId,
    kinds: Vec<EventKind>,
    at_once: usize,
    progress: Progress,
    /// What the store knows of events after those that are settled.
    known: HashMap<i64, Delivery>,
    lanes: HashMap<Lane, VecDeque<Item>>,
    /// Lanes whose first event is due, by its place.
    ready: BTreeSet<(i64, Lane)>,
    /// Lanes whose first event waits, by when it is due.
    resting: BTreeSet<(Timestamp, Lane)>,
    busy: HashSet<Lane>,
    /// Places of new events that are not done with.
    open: BTreeSet<i64>,
    waiting: usize,
    read: i64,
    /// Whether there are rows that a start would have to know of until they are settled.
    has_rows: bool,
    noted: Progress,
}

impl Queue {
    /// Goes on where the store says that the endpoint is; `known` are its deliveries that a start has to know of.
    pub(crate) fn new(webhook: &Webhook, known: impl IntoIterator<Item = Delivery>) -> Self {
        let known: HashMap<_, _> = known.into_iter().map(|delivery| (delivery.event_seq, delivery)).collect();
        Self {
            id: webhook.id,
            kinds: webhook.kinds.clone(),
            at_once: webhook.concurrency.max(1) as usize,
            progress: webhook.progress.clone(),
            has_rows: !known.is_empty(),
            known,
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            resting: BTreeSet::new(),
            busy: HashSet::new(),
            open: BTreeSet::new(),
            waiting: 0,
            read: webhook.progress.settled,
            noted: webhook.progress.clone(),
        }
    }

    /// Takes over what its owner changed; `hurry` makes everything that waits due.
    pub(crate) fn change(&mut self, webhook: &Webhook, hurry: bool) {
        self.kinds.clone_from(&webhook.kinds);
        self.at_once = webhook.concurrency.max(1) as usize;
        if hurry {
            for (_, lane) in std::mem::take(&mut self.resting) {
                if let Some(item) = self.lanes.get_mut(&lane).and_then(VecDeque::front_mut) {
                    item.delivery.next_at = None;
                    self.ready.insert((item.event.seq, lane));
                }
            }
        }
    }

    /// How far it got.
    #[cfg(test)]
    fn progress(&self) -> &Progress {
        &self.progress
    }

    /// After which event to read on, and how many; `None` while enough is there.
    pub(crate) fn wants(&self) -> Option<(i64, usize)> {
        let room = AHEAD.saturating_sub(self.waiting);
        (self.progress.disabled.is_none() && room >= AHEAD / 2).then_some((self.read, room))
    }

    /// Takes in an account's events up to a place, in order.
    pub(crate) fn push(
        &mut self,
        events: impl IntoIterator<Item = Arc<StoredEvent>>,
        read: i64,
        now: Timestamp,
    ) {
        for event in events {
            self.read = self.read.max(event.seq);
            let known = self.known.remove(&event.seq);
            let is_done = known.as_ref().is_some_and(|delivery| delivery.status != DeliveryStatus::Waiting);
            let is_wanted = self.kinds.is_empty() || self.kinds.contains(&event.kind);
            // What was begun is ended, whatever is wanted now.
            if is_done || !(is_wanted || known.is_some()) {
                continue;
            }
            self.open.insert(event.seq);
            let delivery = known.unwrap_or_else(|| Delivery::of(&event, self.id, Origin::Event, now));
            self.add(Item { event, delivery }, now);
        }
        self.read = self.read.max(read);
        self.settle();
    }

    /// Takes in what is to be delivered once more.
    pub(crate) fn replay(&mut self, event: Arc<StoredEvent>, delivery: Delivery, now: Timestamp) {
        self.has_rows = true;
        self.add(Item { event, delivery }, now);
    }

    fn add(&mut self, item: Item, now: Timestamp) {
        let lane = (item.delivery.origin, item.event.bot_id);
        let items = self.lanes.entry(lane).or_default();
        items.push_back(item);
        self.waiting += 1;
        if items.len() == 1 {
            self.rest(lane, now);
        }
    }

    /// Puts a lane that is not busy where its first event belongs.
    fn rest(&mut self, lane: Lane, now: Timestamp) {
        let Some(item) = self.lanes.get(&lane).and_then(VecDeque::front) else { return };
        if item.due() <= now {
            self.ready.insert((item.event.seq, lane));
        } else {
            self.resting.insert((item.due(), lane));
        }
    }

    /// The next event to deliver now, if any: it is on its way until [`Queue::tried`].
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<(Lane, Arc<StoredEvent>)> {
        while let Some((_, lane)) = self.resting.first().copied().filter(|(due, _)| *due <= now) {
            self.resting.pop_first();
            self.rest(lane, now);
        }
        if self.busy.len() >= self.at_once || self.progress.disabled.is_some() {
            return None;
        }
        let (_, lane) = self.ready.pop_first()?;
        self.busy.insert(lane);
        Some((lane, self.lanes.get(&lane)?.front()?.event.clone()))
    }

    /// Whether something is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// When something is due next, if nothing is now.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.resting.first().map(|(due, _)| *due)
    }

    /// What an attempt came to; `jitter`, from 0 to 1, delays a retry by up to a tenth. Answers what is to be noted.
    pub(crate) fn tried(
        &mut self,
        lane: Lane,
        (outcome, attempt): (Outcome, Attempt),
        now: Timestamp,
        jitter: f64,
    ) -> Option<Delivery> {
        self.busy.remove(&lane);
        let items = self.lanes.get_mut(&lane)?;
        let delivery = &mut items.front_mut()?.delivery;
        delivery.attempts += 1;
        delivery.last = Some(attempt);
        delivery.updated_at = now;
        delivery.next_at = None;
        match outcome {
            Outcome::Taken => {
                delivery.status = DeliveryStatus::Delivered;
                self.progress.failing_since = None;
            }
            Outcome::Gone => {
                delivery.status = DeliveryStatus::Failed;
                disable(&mut self.progress, "the endpoint answered 410 Gone", now);
            }
            Outcome::Failed(pause) => {
                let since = *self.progress.failing_since.get_or_insert(now);
                if Duration::from_nanos(now.since(since).unsigned_abs()) >= GIVE_UP_AFTER {
                    disable(&mut self.progress, "every delivery failed for five days", now);
                }
                match SCHEDULE_S.get(delivery.attempts as usize - 1) {
                    Some(after) => {
                        let pause = pause.unwrap_or_default().min(LONGEST_PAUSE_S);
                        delivery.next_at = Some(now.plus_seconds(jittered(*after, jitter).max(pause)));
                    }
                    None => delivery.status = DeliveryStatus::Failed,
                }
            }
        }
        let note = delivery.clone();
        if note.status == DeliveryStatus::Waiting {
            self.has_rows = true;
        } else {
            items.pop_front();
            self.waiting -= 1;
            if items.is_empty() {
                self.lanes.remove(&lane);
            }
            if note.origin == Origin::Event {
                self.open.remove(&note.event_seq);
            }
        }
        self.rest(lane, now);
        self.settle();
        Some(note)
    }

    /// Whether a start has to know of a delivery.
    pub(crate) fn holds(&mut self, note: &Delivery) -> bool {
        let is_open = note.status == DeliveryStatus::Waiting
            || (note.origin == Origin::Event && note.event_seq > self.progress.settled);
        self.has_rows |= is_open;
        is_open
    }

    /// How far it is, where that has changed since it was last asked; and whether rows before that can be closed.
    pub(crate) fn moved(&mut self) -> Option<(Progress, bool)> {
        if self.noted == self.progress {
            return None;
        }
        let closes = self.has_rows && self.noted.settled != self.progress.settled;
        if closes && self.open.is_empty() && self.waiting == 0 {
            self.has_rows = false;
        }
        self.noted = self.progress.clone();
        Some((self.progress.clone(), closes))
    }

    fn settle(&mut self) {
        self.progress.settled = self.open.first().map_or(self.read, |first| first - 1);
    }
}

fn disable(progress: &mut Progress, why: &str, now: Timestamp) {
    progress.disabled = Some(why.to_owned());
    progress.disabled_at = Some(now);
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
mod tests;
