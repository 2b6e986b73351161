use model::{AccountId, EventId};

use super::*;

fn webhook() -> Webhook {
    Webhook {
        id: WebhookId::from_u128(1),
        account_id: AccountId::from_u128(1),
        url: "https://example.com".to_owned(),
        description: String::new(),
        kinds: Vec::new(),
        concurrency: 4,
        header_names: Vec::new(),
        previous_until: None,
        progress: Progress::default(),
        created_at: Timestamp::MIN,
    }
}

fn event(seq: i64, bot: u128) -> Arc<StoredEvent> {
    Arc::new(StoredEvent {
        seq,
        id: EventId::from_u128(seq.unsigned_abs().into()),
        account_id: AccountId::from_u128(1),
        bot_id: Some(BotId::from_u128(bot)),
        kind: EventKind::TradeOpened,
        sequence: seq,
        body: String::new(),
        at: Timestamp::MIN,
    })
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(0).plus_seconds(second)
}

const WINDOW: usize = 32;

fn empty(webhook: &Webhook) -> Queue {
    let mut queue = Queue::new(webhook, false, None);
    queue.set_window(WINDOW);
    queue
}

fn rows(events: impl IntoIterator<Item = Arc<StoredEvent>>) -> Vec<Row> {
    events.into_iter().map(Row::new).collect()
}

fn queue(webhook: &Webhook, events: Vec<Arc<StoredEvent>>) -> Queue {
    let mut queue = empty(webhook);
    queue.push(rows(events), 0, at(0));
    queue
}

fn seqs(queue: &mut Queue, second: u64) -> Vec<i64> {
    std::iter::from_fn(|| queue.next(at(second)).map(|(_, event)| event.seq)).collect()
}

fn lane(bot: u128) -> Lane {
    (Origin::Event, event(1, bot).bot_id)
}

fn tried(queue: &mut Queue, lane: Lane, outcome: Outcome, second: u64) -> Delivery {
    queue.tried(lane, (outcome, Attempt::default()), at(second), 0.0).unwrap()
}

const REFUSED: Outcome = Outcome::Failed(None);

#[test]
fn one_bot_is_told_of_in_order_and_holds_up_no_other() {
    let mut queue = queue(&webhook(), vec![event(1, 1), event(2, 1), event(3, 2)]);
    assert_eq!(seqs(&mut queue, 0), [1, 3]);
    tried(&mut queue, lane(1), REFUSED, 0);
    let taken = tried(&mut queue, lane(2), Outcome::Taken, 0);
    assert!(queue.holds(&taken), "the first is not settled");
    assert_eq!(seqs(&mut queue, 4), [0; 0], "the second of bot 1 waits for the first");
    assert_eq!(queue.progress().settled, 0);
    assert_eq!(queue.due(), Some(at(5)));
    assert_eq!(seqs(&mut queue, 5), [1]);
    tried(&mut queue, lane(1), Outcome::Taken, 5);
    Outbox::of(vec![event(1, 1), event(2, 1), event(3, 2)]).serve(&mut queue, 5);
    assert_eq!(seqs(&mut queue, 5), [2]);
    let taken = tried(&mut queue, lane(1), Outcome::Taken, 5);
    assert_eq!(queue.progress().settled, 3);
    assert!(!queue.holds(&taken));
    let (progress, closes) = queue.moved().unwrap();
    assert_eq!((progress.settled, closes), (3, true), "the row of the third can be closed");
    assert_eq!(queue.moved(), None);
}

#[test]
fn an_event_is_retried_by_the_schedule_and_then_given_up() {
    let mut queue = queue(&webhook(), vec![event(1, 1), event(2, 1)]);
    let mut now = 0;
    let mut waits = Vec::new();
    let last = loop {
        assert_eq!(seqs(&mut queue, now), [1]);
        let note = tried(&mut queue, lane(1), REFUSED, now);
        let Some(due) = note.next_at else { break note };
        waits.push(due.since(at(now)).unsigned_abs() / 1_000_000_000);
        now += waits.last().unwrap();
    };
    assert_eq!(waits, SCHEDULE_S);
    assert_eq!((last.status, last.attempts), (DeliveryStatus::Failed, 10));
    Outbox::of(vec![event(1, 1), event(2, 1)]).serve(&mut queue, now);
    assert_eq!(seqs(&mut queue, now), [2], "the next one has its turn");
}

#[test]
fn an_endpoint_may_ask_for_a_longer_pause_but_not_for_a_shorter_one() {
    for (asked, seconds) in [(1, 5), (60, 60), (u64::MAX, 86_400)] {
        let mut queue = queue(&webhook(), vec![event(1, 1)]);
        assert_eq!(seqs(&mut queue, 0), [1]);
        let note = tried(&mut queue, lane(1), Outcome::Failed(Some(asked)), 0);
        assert_eq!(note.next_at, Some(at(seconds)), "{asked}");
    }
}

#[test]
fn what_was_noted_is_gone_on_from_under_the_same_ids() {
    let mut first = queue(&webhook(), vec![event(1, 1), event(2, 2)]);
    assert_eq!(seqs(&mut first, 0), [1, 2]);
    let notes = [
        tried(&mut first, lane(2), Outcome::Taken, 0),
        tried(&mut first, lane(1), Outcome::Failed(Some(6)), 0),
    ];
    assert!(notes.iter().all(|note| first.holds(note)));
    let webhook = Webhook { progress: first.progress().clone(), ..webhook() };
    let mut second = Queue::new(&webhook, true, None);
    second.set_window(WINDOW);
    assert_eq!(second.wants(), Some((0, WINDOW)));
    let known = |event: Arc<StoredEvent>| {
        let delivery = notes.iter().find(|note| note.event_seq == event.seq).cloned();
        Row { event, delivery }
    };
    second.push([event(1, 1), event(2, 2)].map(known), 0, at(4));
    assert_eq!(seqs(&mut second, 4), [0; 0], "one was taken, the other is not due");
    assert_eq!(seqs(&mut second, 6), [1]);
    assert_eq!(tried(&mut second, lane(1), Outcome::Taken, 6).id, notes[1].id);
}

#[test]
fn an_endpoint_that_is_gone_or_fails_for_five_days_is_disabled() {
    let mut gone = queue(&webhook(), vec![event(1, 1), event(2, 2)]);
    assert_eq!(seqs(&mut gone, 0), [1, 2]);
    tried(&mut gone, lane(1), Outcome::Gone, 0);
    assert!(gone.progress().disabled.is_some());
    assert_eq!((gone.wants(), seqs(&mut gone, 0).len()), (None, 0));

    let events = (1..=3).map(|seq| event(seq, seq.unsigned_abs().into())).collect();
    let mut failing = queue(&webhook(), events);
    assert_eq!(seqs(&mut failing, 0), [1, 2, 3]);
    tried(&mut failing, lane(1), REFUSED, 0);
    tried(&mut failing, lane(2), REFUSED, 5 * 86_400 - 1);
    assert_eq!(failing.progress().disabled, None);
    tried(&mut failing, lane(3), REFUSED, 5 * 86_400);
    assert_eq!(failing.progress().disabled_at, Some(at(5 * 86_400)));
}

#[test]
fn only_so_many_are_on_their_way_and_only_what_is_wanted() {
    let narrow = Webhook { concurrency: 2, ..webhook() };
    let mut queue = queue(&narrow, (1..=5).map(|seq| event(seq, seq.unsigned_abs().into())).collect());
    assert_eq!(seqs(&mut queue, 0), [1, 2]);
    queue.change(&Webhook { concurrency: 3, kinds: vec![EventKind::BotError], ..webhook() }, false);
    assert_eq!(seqs(&mut queue, 0), [3], "what was taken in is delivered");
    queue.push(rows([event(6, 6)]), 9, at(0));
    for bot in 1..=3 {
        tried(&mut queue, lane(bot), Outcome::Taken, 0);
    }
    assert_eq!(seqs(&mut queue, 0), [4, 5]);
    tried(&mut queue, lane(5), Outcome::Taken, 0);
    tried(&mut queue, lane(4), Outcome::Taken, 0);
    assert_eq!((seqs(&mut queue, 0).len(), queue.progress().settled), (0, 9));
}

#[test]
fn what_is_delivered_once_more_goes_beside_what_is_new() {
    let mut queue = queue(&webhook(), vec![event(2, 1)]);
    assert_eq!(seqs(&mut queue, 0), [2]);
    assert_eq!(queue.fetch(), None);
    queue.expect_replays();
    let fetch = queue.fetch().unwrap();
    assert_eq!((fetch.origin, fetch.after, fetch.limit), (Origin::Replay, 0, WINDOW / 2));
    let again = Delivery::of(&event(1, 1), webhook().id, Origin::Replay, at(0));
    queue.fetched(fetch, vec![Row { event: event(1, 1), delivery: Some(again) }], false, at(0));
    assert_eq!((queue.fetch(), seqs(&mut queue, 0)), (None, vec![1]));
    let note = tried(&mut queue, (Origin::Replay, event(1, 1).bot_id), Outcome::Taken, 0);
    assert!(!queue.holds(&note));
    assert_eq!(queue.progress().settled, 1, "the new one is still on its way");
}

#[test]
fn a_new_address_is_tried_at_once() {
    let mut queue = queue(&webhook(), vec![event(1, 1)]);
    assert_eq!(seqs(&mut queue, 0), [1]);
    tried(&mut queue, lane(1), REFUSED, 0);
    assert_eq!(seqs(&mut queue, 1), [0; 0]);
    queue.change(&webhook(), true);
    assert_eq!(seqs(&mut queue, 1), [1]);
}

/// Carries a queue's requests out over an outbox of events in order, as the courier does over the store.
struct Outbox {
    events: Vec<Arc<StoredEvent>>,
    replays: Vec<Row>,
    page: usize,
    most_waiting: usize,
}

impl Outbox {
    fn of(events: Vec<Arc<StoredEvent>>) -> Self {
        Self { events, replays: Vec::new(), page: 16, most_waiting: 0 }
    }

    /// Gives the queue all that it has room for now.
    fn serve(&mut self, queue: &mut Queue, second: u64) {
        let end = self.events.last().map_or(0, |event| event.seq);
        loop {
            let before = (queue.read, queue.waiting(), queue.left.clone(), queue.replayed);
            if let Some((read, room)) = queue.wants() {
                let new = self.events.iter().filter(|event| event.seq > read).take(room).cloned();
                let new: Vec<_> = rows(new);
                let read = if new.len() < room { end } else { 0 };
                queue.push(new, read, at(second));
            }
            if let Some(fetch) = queue.fetch() {
                let all = match fetch.origin {
                    Origin::Replay => self.replays.clone(),
                    _ => rows(self.events.iter().cloned()),
                };
                let limit = fetch.limit.min(self.page);
                let found = all.into_iter().filter(|row| row.place(fetch.origin) > fetch.after);
                let found: Vec<_> = found.take(limit).collect();
                let has_more = found.len() >= limit;
                queue.fetched(fetch, found, has_more, at(second));
            }
            self.most_waiting = self.most_waiting.max(queue.waiting());
            if before == (queue.read, queue.waiting(), queue.left.clone(), queue.replayed) {
                return;
            }
        }
    }

    /// Delivers all that is due at a moment; `accepts` says what the endpoint does with an event. What it took, in order.
    fn deliver(
        &mut self,
        queue: &mut Queue,
        second: u64,
        accepts: impl Fn(&StoredEvent) -> bool,
    ) -> Vec<i64> {
        let mut taken = Vec::new();
        loop {
            self.serve(queue, second);
            let Some((lane, event)) = queue.next(at(second)) else { return taken };
            let outcome = if accepts(&event) { Outcome::Taken } else { REFUSED };
            tried(queue, lane, outcome, second);
            taken.extend((outcome == Outcome::Taken).then_some(event.seq));
        }
    }
}

/// Events of so many bots in turn.
fn of_bots(bots: u128, events: i64) -> Vec<Arc<StoredEvent>> {
    (1..=events).map(|seq| event(seq, u128::from(seq.unsigned_abs()) % bots)).collect()
}

fn of_bot(taken: &[i64], bots: i64, bot: i64) -> Vec<i64> {
    taken.iter().copied().filter(|seq| seq % bots == bot).collect()
}

#[test]
fn a_dead_endpoint_keeps_a_few_events_in_memory_and_gets_all_in_order_once_it_is_back() {
    let mut outbox = Outbox::of(of_bots(20, 10_000));
    let mut queue = empty(&webhook());
    assert_eq!(outbox.deliver(&mut queue, 0, |_| false), [0; 0]);
    assert_eq!((queue.waiting(), queue.read), (20, 10_000), "of each bot the event that is tried");
    assert_eq!(queue.progress().settled, 0);
    assert_eq!(outbox.deliver(&mut queue, 5, |_| false), [0; 0]);
    let taken = outbox.deliver(&mut queue, 305, |_| true);
    for bot in 0..20 {
        assert!(of_bot(&taken, 20, bot).is_sorted(), "bot {bot}: {:?}", of_bot(&taken, 20, bot));
    }
    let all: BTreeSet<_> = taken.iter().copied().collect();
    assert_eq!((taken.len(), all.len(), queue.progress().settled), (10_000, 10_000, 10_000));
    assert!(outbox.most_waiting <= WINDOW + 20, "{}", outbox.most_waiting);
    assert!(queue.blocked.is_empty());
    assert!(queue.lanes.is_empty() && queue.left.is_empty() && queue.open.is_empty() && queue.fetched == 0);
}

#[test]
fn a_bot_whose_event_is_refused_for_long_holds_up_no_other() {
    let mut outbox = Outbox::of(of_bots(5, 2_000));
    let mut queue = empty(&webhook());
    let taken = outbox.deliver(&mut queue, 0, |event| event.seq % 5 != 3);
    assert_eq!(taken.len(), 1_600, "all of the other four");
    assert_eq!((queue.waiting(), queue.progress().settled), (1, 2));
    outbox.events.extend((2_001..=3_000).map(|seq| event(seq, u128::from(seq.unsigned_abs()) % 5)));
    let taken = outbox.deliver(&mut queue, 5, |event| event.seq != 3);
    assert_eq!(taken.len(), 800);
    let taken = outbox.deliver(&mut queue, 305, |_| true);
    assert_eq!(taken, (0..600).map(|turn| 3 + 5 * turn).collect::<Vec<i64>>());
    assert_eq!(queue.progress().settled, 3_000);
}

#[test]
fn replays_are_read_from_the_store_as_there_is_room_and_keep_their_order() {
    let events = of_bots(3, 400);
    let replay = |(place, event): (usize, &Arc<StoredEvent>)| {
        let delivery = Delivery {
            id: DeliveryId::from_u128(1_000 + place as u128),
            ..Delivery::of(event, webhook().id, Origin::Replay, at(0))
        };
        Row { event: event.clone(), delivery: Some(delivery) }
    };
    let mut outbox = Outbox {
        replays: events.iter().enumerate().map(replay).collect(),
        ..Outbox::of(vec![event(500, 7)])
    };
    let mut queue = Queue::new(&webhook(), false, Some(DeliveryId::from_u128(1_000)));
    queue.set_window(WINDOW);
    let taken = outbox.deliver(&mut queue, 0, |event| event.seq % 3 != 1);
    assert!(outbox.most_waiting <= WINDOW + 1, "{}", outbox.most_waiting);
    assert!(taken.contains(&500), "what is new has room beside replays");
    assert_eq!(taken.len(), 1 + 266, "bot 1 is refused, and holds up nobody");
    let taken = outbox.deliver(&mut queue, 5, |_| true);
    assert_eq!(taken, (0..134).map(|turn| 1 + 3 * turn).collect::<Vec<i64>>());
    assert_eq!((queue.progress().settled, queue.waiting(), queue.fetch()), (500, 0, None));
}

#[test]
fn a_slow_endpoint_is_given_others_events_beside_a_busy_bots() {
    let mut events: Vec<_> = (1..=1_000).map(|seq| event(seq, 1)).collect();
    events.push(event(1_001, 2));
    let mut outbox = Outbox::of(events);
    let mut queue = empty(&webhook());
    outbox.serve(&mut queue, 0);
    assert_eq!(seqs(&mut queue, 0), [1, 1_001], "the busy bot's other events stay in the store");
    tried(&mut queue, lane(2), Outcome::Taken, 0);
    tried(&mut queue, lane(1), Outcome::Taken, 0);
    let taken = outbox.deliver(&mut queue, 0, |_| true);
    assert_eq!(taken, (2..=1_000).collect::<Vec<i64>>());
    assert_eq!(queue.progress().settled, 1_001);
}
