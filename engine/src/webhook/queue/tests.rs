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

fn queue(webhook: &Webhook, known: Vec<Delivery>, events: Vec<Arc<StoredEvent>>) -> Queue {
    let mut queue = Queue::new(webhook, known);
    queue.push(events, 0, at(0));
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
    let mut queue = queue(&webhook(), Vec::new(), vec![event(1, 1), event(2, 1), event(3, 2)]);
    assert_eq!(seqs(&mut queue, 0), [1, 3]);
    tried(&mut queue, lane(1), REFUSED, 0);
    let taken = tried(&mut queue, lane(2), Outcome::Taken, 0);
    assert!(queue.holds(&taken), "the first is not settled");
    assert_eq!(seqs(&mut queue, 4), [0; 0], "the second of bot 1 waits for the first");
    assert_eq!(queue.progress().settled, 0);
    assert_eq!(queue.due(), Some(at(5)));
    assert_eq!(seqs(&mut queue, 5), [1]);
    tried(&mut queue, lane(1), Outcome::Taken, 5);
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
    let mut queue = queue(&webhook(), Vec::new(), vec![event(1, 1), event(2, 1)]);
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
    assert_eq!(seqs(&mut queue, now), [2], "the next one has its turn");
}

#[test]
fn an_endpoint_may_ask_for_a_longer_pause_but_not_for_a_shorter_one() {
    for (asked, seconds) in [(1, 5), (60, 60), (u64::MAX, 86_400)] {
        let mut queue = queue(&webhook(), Vec::new(), vec![event(1, 1)]);
        assert_eq!(seqs(&mut queue, 0), [1]);
        let note = tried(&mut queue, lane(1), Outcome::Failed(Some(asked)), 0);
        assert_eq!(note.next_at, Some(at(seconds)), "{asked}");
    }
}

#[test]
fn what_was_noted_is_gone_on_from_under_the_same_ids() {
    let mut first = queue(&webhook(), Vec::new(), vec![event(1, 1), event(2, 2)]);
    assert_eq!(seqs(&mut first, 0), [1, 2]);
    let notes = vec![
        tried(&mut first, lane(2), Outcome::Taken, 0),
        tried(&mut first, lane(1), Outcome::Failed(Some(6)), 0),
    ];
    assert!(notes.iter().all(|note| first.holds(note)));
    let webhook = Webhook { progress: first.progress().clone(), ..webhook() };
    let mut second = Queue::new(&webhook, notes.clone());
    assert_eq!(second.wants(), Some((0, AHEAD)));
    second.push(vec![event(1, 1), event(2, 2)], 0, at(4));
    assert_eq!(seqs(&mut second, 4), [0; 0], "one was taken, the other is not due");
    assert_eq!(seqs(&mut second, 6), [1]);
    assert_eq!(tried(&mut second, lane(1), Outcome::Taken, 6).id, notes[1].id);
}

#[test]
fn an_endpoint_that_is_gone_or_fails_for_five_days_is_disabled() {
    let mut gone = queue(&webhook(), Vec::new(), vec![event(1, 1), event(2, 2)]);
    assert_eq!(seqs(&mut gone, 0), [1, 2]);
    tried(&mut gone, lane(1), Outcome::Gone, 0);
    assert!(gone.progress().disabled.is_some());
    assert_eq!((gone.wants(), seqs(&mut gone, 0).len()), (None, 0));

    let events = (1..=3).map(|seq| event(seq, seq.unsigned_abs().into())).collect();
    let mut failing = queue(&webhook(), Vec::new(), events);
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
    let mut queue =
        queue(&narrow, Vec::new(), (1..=5).map(|seq| event(seq, seq.unsigned_abs().into())).collect());
    assert_eq!(seqs(&mut queue, 0), [1, 2]);
    queue.change(&Webhook { concurrency: 3, kinds: vec![EventKind::BotError], ..webhook() }, false);
    assert_eq!(seqs(&mut queue, 0), [3], "what was taken in is delivered");
    queue.push([event(6, 6)], 9, at(0));
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
    let mut queue = queue(&webhook(), Vec::new(), vec![event(2, 1)]);
    assert_eq!(seqs(&mut queue, 0), [2]);
    let again = Delivery::of(&event(1, 1), webhook().id, Origin::Replay, at(0));
    queue.replay(event(1, 1), again, at(0));
    assert_eq!(seqs(&mut queue, 0), [1]);
    let note = tried(&mut queue, (Origin::Replay, event(1, 1).bot_id), Outcome::Taken, 0);
    assert!(!queue.holds(&note));
    assert_eq!(queue.progress().settled, 1, "the new one is still on its way");
}

#[test]
fn a_new_address_is_tried_at_once() {
    let mut queue = queue(&webhook(), Vec::new(), vec![event(1, 1)]);
    assert_eq!(seqs(&mut queue, 0), [1]);
    tried(&mut queue, lane(1), REFUSED, 0);
    assert_eq!(seqs(&mut queue, 1), [0; 0]);
    queue.change(&webhook(), true);
    assert_eq!(seqs(&mut queue, 1), [1]);
}
