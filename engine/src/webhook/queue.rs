//! What an endpoint still has to hear, in lanes: events of one bot in order, one at a time, so that one that is
//! retried holds up its own bot's later events and nobody else's. Time is an argument.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{BotId, DeliveryId, EventKind, Timestamp, WebhookId};

use crate::store::{Attempt, Delivery, DeliveryStatus, Origin, Progress, StoredEvent, Webhook};

/// How long after each failure an event is tried again (contract §5); after the last it is given up.
pub(crate) const SCHEDULE_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// The longest pause that an endpoint may ask for.
const LONGEST_PAUSE_S: u64 = 86_400;

/// An endpoint that has failed for this long is disabled.
const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);

/// What keeps its order: one bot's events, or those of the account itself; what is delivered once more apart from
/// what is new.
pub(crate) type Lane = (Origin, Option<BotId>);

/// Where something stands in what an endpoint is told: an event by its place in the outbox, a replay by its id.
pub(crate) type Place = u128;

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

/// An event of the outbox, and its delivery where the store has one.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) event: Arc<StoredEvent>,
    pub(crate) delivery: Option<Delivery>,
}

impl Row {
    pub(crate) fn new(event: Arc<StoredEvent>) -> Self {
        Self { event, delivery: None }
    }

    pub(crate) fn of(event: StoredEvent, delivery: Option<Delivery>) -> Self {
        Self { event: Arc::new(event), delivery }
    }

    fn is_done(&self) -> bool {
        self.delivery.as_ref().is_some_and(|delivery| delivery.status != DeliveryStatus::Waiting)
    }

    fn place(&self, origin: Origin) -> Place {
        match &self.delivery {
            Some(delivery) if origin == Origin::Replay => delivery.id.as_u128(),
            _ => place_of(self.event.seq),
        }
    }
}

fn place_of(seq: i64) -> Place {
    u128::try_from(seq).unwrap_or_default()
}

/// What an endpoint needs of the store besides the newest events: waiting replays, or what it left there before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fetch {
    pub(crate) origin: Origin,
    /// Only what stands behind this place.
    pub(crate) after: Place,
    /// How far the queue had read: rows of lanes that were left in the store. `None` reads on.
    until: Option<Place>,
    /// How many rows at most.
    pub(crate) limit: usize,
}

/// How many rows are read again at once; most of them may be other lanes'.
const FETCHED_AT_ONCE: usize = 256;

/// An event that is to be delivered, how often it was tried, and when it is due.
#[derive(Clone, Debug)]
struct Item {
    event: Arc<StoredEvent>,
    delivery: Delivery,
    place: Place,
    /// Whether it was fetched, and did not come as one of the newest events.
    is_fetched: bool,
}

impl Item {
    fn due(&self) -> Timestamp {
        self.delivery.next_at.unwrap_or(Timestamp::MIN)
    }
}

/// What a lane still has to deliver.
#[derive(Debug, Default)]
struct Backlog {
    /// In order; the first is the one that is tried.
    items: VecDeque<Item>,
    /// From this place on the lane's events are only in the store.
    left_from: Option<Place>,
}

/// The queue of one endpoint. What it has no room for stays in the store: the newest events are read on when there is
/// room, and a lane that is slow or blocked leaves its later events behind and has them read again.
#[derive(Debug)]
pub(crate) struct Queue {
    id: WebhookId,
    kinds: Vec<EventKind>,
    at_once: usize,
    /// How many events may wait in memory, and how many more that have failed and are tried again.
    window: usize,
    progress: Progress,
    lanes: HashMap<Lane, Backlog>,
    /// Lanes whose first event is due, by its place.
    ready: BTreeSet<(i64, Lane)>,
    /// Lanes whose first event waits, by when it is due.
    resting: BTreeSet<(Timestamp, Lane)>,
    busy: HashSet<Lane>,
    /// Lanes whose first event has failed.
    blocked: HashSet<Lane>,
    /// Lanes that left events in the store, by the first of them.
    left: BTreeSet<(Origin, Place, Lane)>,
    /// Places of new events in memory that are not done with.
    open: BTreeSet<i64>,
    waiting: usize,
    /// How many of those that wait were fetched.
    fetched: usize,
    read: i64,
    /// Up to which replay all are read, and whether more may follow.
    replayed: Place,
    may_have_replays: bool,
    last_fetched: Origin,
    /// Whether there are rows that a start would have to know of until they are settled.
    has_rows: bool,
    noted: Progress,
}

impl Queue {
    /// Goes on where the store says that the endpoint is. `has_rows`: the store has deliveries that are not settled;
    /// `replays`: the first replay that waits there.
    pub(crate) fn new(webhook: &Webhook, has_rows: bool, replays: Option<DeliveryId>) -> Self {
        Self {
            id: webhook.id,
            kinds: webhook.kinds.clone(),
            at_once: webhook.concurrency.max(1) as usize,
            window: 1,
            progress: webhook.progress.clone(),
            has_rows,
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            resting: BTreeSet::new(),
            busy: HashSet::new(),
            blocked: HashSet::new(),
            left: BTreeSet::new(),
            open: BTreeSet::new(),
            waiting: 0,
            fetched: 0,
            read: webhook.progress.settled,
            replayed: replays.map_or(0, |first| first.as_u128().saturating_sub(1)),
            may_have_replays: replays.is_some(),
            last_fetched: Origin::Event,
            noted: webhook.progress.clone(),
        }
    }

    /// Takes over what its owner changed; `hurry` makes everything that waits due.
    pub(crate) fn change(&mut self, webhook: &Webhook, hurry: bool) {
        self.kinds.clone_from(&webhook.kinds);
        self.at_once = webhook.concurrency.max(1) as usize;
        if hurry {
            for (_, lane) in std::mem::take(&mut self.resting) {
                if let Some(item) = self.lanes.get_mut(&lane).and_then(|backlog| backlog.items.front_mut()) {
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

    /// Sets how many events may wait in memory, beside as many that are tried again.
    pub(crate) fn set_window(&mut self, window: usize) {
        self.window = window.max(1);
    }

    /// How many events wait in memory.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many events one lane may have in memory.
    fn lane_window(&self) -> usize {
        (self.window / 4).max(1)
    }

    /// How many more of the newest events there is room for: half of the window is kept for what is fetched, if any is.
    fn room(&self) -> usize {
        let fetches = self.fetched > 0 || self.may_have_replays || !self.left.is_empty();
        let share = if fetches { self.window.div_ceil(2) } else { self.window };
        let newest = self.waiting - self.blocked.len() - self.fetched;
        share.saturating_sub(newest).min(self.room_for_any())
    }

    /// How many more events there is room for that are fetched.
    fn room_to_fetch(&self) -> usize {
        self.window.div_ceil(2).saturating_sub(self.fetched).min(self.room_for_any())
    }

    fn room_for_any(&self) -> usize {
        let is_full = self.blocked.len() >= self.window;
        if is_full { 0 } else { self.window.saturating_sub(self.waiting - self.blocked.len()) }
    }

    /// After which event to read on, and how many; `None` while there is little room.
    pub(crate) fn wants(&self) -> Option<(i64, usize)> {
        let room = self.room();
        let is_worth_it = room > 0 && room * 4 >= self.window;
        (self.progress.disabled.is_none() && is_worth_it).then_some((self.read, room))
    }

    /// Replays were noted in the store.
    pub(crate) fn expect_replays(&mut self) {
        self.may_have_replays = true;
    }

    /// What else to read, where there is room; it is answered by [`Queue::fetched`]. Replays and events take turns.
    pub(crate) fn fetch(&mut self) -> Option<Fetch> {
        let room = self.room_to_fetch();
        if self.progress.disabled.is_some() || room == 0 || room * 4 < self.window {
            return None;
        }
        let turns = match self.last_fetched {
            Origin::Event => [Origin::Replay, Origin::Event],
            Origin::Replay | Origin::Test => [Origin::Event, Origin::Replay],
        };
        let fetch = turns.into_iter().find_map(|origin| self.fetch_of(origin, room))?;
        self.last_fetched = fetch.origin;
        Some(fetch)
    }

    fn fetch_of(&self, origin: Origin, room: usize) -> Option<Fetch> {
        let is_free = |lane: &Lane| {
            let is_short = |backlog: &Backlog| backlog.items.len() * 2 <= self.lane_window();
            !self.blocked.contains(lane) && self.lanes.get(lane).is_some_and(is_short)
        };
        let left = self.left.iter().find(|(of, _, lane)| *of == origin && is_free(lane));
        if let Some((_, first, _)) = left {
            let after = first.saturating_sub(1);
            let until = Some(self.read_up_to(origin));
            return Some(Fetch { origin, after, until, limit: FETCHED_AT_ONCE });
        }
        let reads_on = origin == Origin::Replay && self.may_have_replays;
        reads_on.then_some(Fetch { origin, after: self.replayed, until: None, limit: room })
    }

    fn read_up_to(&self, origin: Origin) -> Place {
        if origin == Origin::Event { place_of(self.read) } else { self.replayed }
    }

    /// Takes in an account's newest events up to a place, in order, as far as there is room.
    pub(crate) fn push(&mut self, rows: impl IntoIterator<Item = Row>, read: i64, now: Timestamp) {
        let before = self.read;
        let mut rows = rows.into_iter().filter(|row| row.event.seq > before).peekable();
        while let Some(row) = rows.next_if(|row| self.room() > 0 || !self.is_wanted(row)) {
            self.read = row.event.seq;
            self.has_rows |= row.delivery.is_some();
            self.take(Origin::Event, row, now);
        }
        if rows.peek().is_none() {
            self.read = self.read.max(read);
        }
        self.settle();
    }

    /// Takes in what was asked for; `has_more` where the store has more behind the last row.
    pub(crate) fn fetched(&mut self, fetch: Fetch, rows: Vec<Row>, has_more: bool, now: Timestamp) {
        let Fetch { origin, after, until, .. } = fetch;
        let last = rows.last().map(|row| row.place(origin));
        let Some(until) = until else {
            self.replayed = last.unwrap_or(after);
            self.may_have_replays = has_more;
            for row in rows {
                self.take(origin, row, now);
            }
            return;
        };
        // All up to here was seen, whether or not there was room for it.
        let seen = if has_more { last.unwrap_or(until).min(until) } else { until };
        let mut full = HashSet::new();
        for row in rows {
            let (lane, place) = ((origin, row.event.bot_id), row.place(origin));
            let left_from = self.lanes.get(&lane).and_then(|backlog| backlog.left_from);
            let is_left = left_from.is_some_and(|first| first > after && first <= place);
            if place > until || !is_left || full.contains(&lane) || !self.is_wanted(&row) {
                continue;
            }
            if self.room_to_fetch() == 0 || self.is_full(lane) {
                full.insert(lane);
                self.leave(lane, Some(place));
            } else {
                self.add(lane, row, true, now);
            }
        }
        let passed = |(of, first, lane): &&(Origin, Place, Lane)| {
            *of == origin && *first > after && *first <= seen && !full.contains(lane)
        };
        let passed: Vec<Lane> = self.left.iter().filter(passed).map(|(_, _, lane)| *lane).collect();
        for lane in passed {
            self.leave(lane, Some(seen + 1).filter(|next| *next <= self.read_up_to(origin)));
        }
        self.settle();
    }

    /// What was begun is ended, whatever is wanted now.
    fn is_wanted(&self, row: &Row) -> bool {
        let is_wanted = EventKind::subscribed(&self.kinds).contains(&row.event.kind);
        !row.is_done() && (is_wanted || row.delivery.is_some())
    }

    fn is_full(&self, lane: Lane) -> bool {
        let is_long = |backlog: &Backlog| backlog.items.len() >= self.lane_window();
        self.blocked.contains(&lane) || self.lanes.get(&lane).is_some_and(is_long)
    }

    /// Takes in what follows everything of its lane.
    fn take(&mut self, origin: Origin, row: Row, now: Timestamp) {
        let lane = (origin, row.event.bot_id);
        if !self.is_wanted(&row) || self.lanes.get(&lane).is_some_and(|backlog| backlog.left_from.is_some()) {
            return;
        }
        if self.is_full(lane) {
            let place = row.place(origin);
            self.leave(lane, Some(place));
        } else {
            self.add(lane, row, origin == Origin::Replay, now);
        }
    }

    /// Notes from which place on a lane's events are in the store only.
    fn leave(&mut self, lane: Lane, from: Option<Place>) {
        let Some(backlog) = self.lanes.get_mut(&lane) else { return };
        if let Some(before) = std::mem::replace(&mut backlog.left_from, from) {
            self.left.remove(&(lane.0, before, lane));
        }
        match from {
            Some(from) => drop(self.left.insert((lane.0, from, lane))),
            None if backlog.items.is_empty() => drop(self.lanes.remove(&lane)),
            None => {}
        }
    }

    fn add(&mut self, lane: Lane, row: Row, is_fetched: bool, now: Timestamp) {
        let place = row.place(lane.0);
        let Row { event, delivery } = row;
        if lane.0 == Origin::Event {
            self.open.insert(event.seq);
        }
        let mut delivery = delivery.unwrap_or_else(|| Delivery::of(&event, self.id, lane.0, now));
        // The store has it.
        delivery.last = None;
        let items = &mut self.lanes.entry(lane).or_default().items;
        items.push_back(Item { event, delivery, place, is_fetched });
        self.waiting += 1;
        self.fetched += usize::from(is_fetched);
        if items.len() == 1 {
            self.rest(lane, now);
        }
    }

    /// Puts a lane that is not busy where its first event belongs. One whose first event has failed is blocked: it keeps
    /// nothing else in memory until that one is done with.
    fn rest(&mut self, lane: Lane, now: Timestamp) {
        let Some(item) = self.lanes.get_mut(&lane).and_then(|backlog| backlog.items.front_mut()) else {
            return;
        };
        if item.delivery.attempts > 0 && self.blocked.insert(lane) {
            self.fetched -= usize::from(std::mem::take(&mut item.is_fetched));
        }
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
        Some((lane, self.lanes.get(&lane)?.items.front()?.event.clone()))
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
        let backlog = self.lanes.get_mut(&lane)?;
        let delivery = &mut backlog.items.front_mut()?.delivery;
        delivery.attempts += 1;
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
        let note = Delivery { last: Some(attempt), ..delivery.clone() };
        if note.status == DeliveryStatus::Waiting {
            self.has_rows = true;
            self.leave_all_but_first(lane);
        } else {
            self.blocked.remove(&lane);
            let done = backlog.items.pop_front();
            let is_over = backlog.items.is_empty() && backlog.left_from.is_none();
            self.waiting -= 1;
            self.fetched -= usize::from(done.is_some_and(|item| item.is_fetched));
            if is_over {
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

    /// Leaves in the store what waits behind a lane's first event, which has failed.
    fn leave_all_but_first(&mut self, lane: Lane) {
        let Some(backlog) = self.lanes.get_mut(&lane) else { return };
        let behind = backlog.items.split_off(1.min(backlog.items.len()));
        backlog.items.shrink_to_fit();
        self.waiting -= behind.len();
        self.fetched -= behind.iter().filter(|item| item.is_fetched).count();
        if lane.0 == Origin::Event {
            for item in &behind {
                self.open.remove(&item.event.seq);
            }
        }
        if let Some(first) = behind.front() {
            self.leave(lane, Some(first.place));
        }
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
        if closes && self.open.is_empty() && self.left.is_empty() && self.waiting == 0 {
            self.has_rows = false;
        }
        self.noted = self.progress.clone();
        Some((self.progress.clone(), closes))
    }

    fn settle(&mut self) {
        let left = self.left.first().filter(|(origin, ..)| *origin == Origin::Event);
        let left = left.map(|(_, first, _)| i64::try_from(*first).unwrap_or(i64::MAX));
        let first = self.open.first().copied().into_iter().chain(left).min();
        self.progress.settled = first.map_or(self.read, |first| first - 1);
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
