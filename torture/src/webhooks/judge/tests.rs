use super::*;

const SECOND: i64 = 1_000_000_000;

fn at(number: usize) -> i64 {
    i64::try_from(number).unwrap() * SECOND
}

/// Three events of a bot, a second apart, each told a moment later; a kill after the second.
fn events() -> Vec<Event> {
    let event = |number: usize| Event {
        id: format!("evt_{number}"),
        account: "acc_1".to_owned(),
        lane: "bot_1".to_owned(),
        sequence: number,
        hash: number as u64,
        at: Some(at(number)),
        is_turn: true,
    };
    (1..=3).map(event).collect()
}

fn came(number: usize, at: i64) -> Came {
    Came { id: format!("evt_{number}"), hash: number as u64, at, is_taken: true, is_signed: true }
}

fn all_came() -> Vec<Came> {
    (1..=3).map(|number| came(number, at(number) + 1_000)).collect()
}

const KILL: Kill = Kill { at: 2 * SECOND + 2_000, ready: 2 * SECOND + 300_000_000 };

fn judged(came: Vec<Came>, events: &[Event], turns: usize, trapped: usize) -> Found {
    let turned = Turned::from([("bot_1".to_owned(), turns)]);
    judge(&Endpoints::of(came, trapped), &["acc_1".to_owned()], events, &[KILL], &turned)
}

#[track_caller]
fn check(came: Vec<Came>, wrong: &str) {
    let found = judged(came, &events(), 3, 0);
    assert_eq!(found.violations.count(wrong), 1, "{wrong}: {:?}", found.violations);
}

#[test]
fn all_is_well_where_everything_came_once() {
    let found = judged(all_came(), &events(), 3, 0);
    assert!(found.violations.is_empty(), "{:?}", found.violations);
    assert_eq!((found.taken, found.doubled, found.retried.len()), (3, 0, 0));
}

#[test]
fn what_was_on_its_way_at_a_kill_may_come_twice_and_nothing_else() {
    let mut again = all_came();
    again.insert(2, came(2, KILL.ready + 1_000));
    let found = judged(again, &events(), 3, 0);
    assert!(found.violations.is_empty(), "{:?}", found.violations);
    assert_eq!((found.doubled, found.most_doubled, found.retried.len()), (1, 1, 1));

    let mut without_a_kill = all_came();
    without_a_kill.push(came(3, 3 * SECOND + 5_000));
    check(without_a_kill, "deliveries doubled in vain");
}

#[test]
fn what_was_taken_long_before_a_kill_may_not_come_again() {
    let events: Vec<Event> = (0..9)
        .map(|number| {
            let lane = format!("bot_{number}");
            Event { id: format!("evt_{number}"), lane, sequence: 1, is_turn: false, ..events().remove(0) }
        })
        .collect();
    let mut came: Vec<Came> = (0..9).map(|number| Came { hash: 1, ..came(number, SECOND + 1_000) }).collect();
    let again = |of: usize| Came { at: KILL.ready, ..came[of].clone() };
    let (late, early) = (again(4), again(2));
    came.push(late);
    let count = |came| judged(came, &events, 0, 0).violations.count("deliveries doubled in vain");
    assert_eq!(count(came.clone()), 0);
    came.push(early);
    assert_eq!(count(came), 1);
}

#[test]
fn whatever_is_wrong_is_found() {
    check(all_came().into_iter().filter(|came| came.id != "evt_2").collect(), "deliveries lost");
    check(vec![came(1, SECOND), came(3, 3 * SECOND), came(2, 3 * SECOND + 5)], "deliveries out of order");
    let changed = |change: fn(&mut Came)| {
        let mut all = all_came();
        change(all.last_mut().unwrap());
        all
    };
    check(changed(|last| last.hash = 7), "bodies different");
    check(changed(|last| last.is_signed = false), "signatures wrong");
    check(changed(|last| last.at += 3 * SECOND), "deliveries late");
    let mut phantom = all_came();
    phantom.push(came(4, 4 * SECOND));
    check(phantom, "deliveries phantom");
    check(vec![came(1, SECOND), came(2, KILL.ready + 2 * SECOND), came(3, 5 * SECOND)], "retried late");
}

#[test]
fn events_themselves_have_to_be_right() {
    let mut gap = events();
    gap[2].sequence = 4;
    assert_eq!(judged(all_came(), &gap, 3, 0).violations.count("sequences off"), 1);
    let mut astray = events();
    astray[1].account = "acc_2".to_owned();
    assert_eq!(judged(all_came(), &astray, 3, 0).violations.count("deliveries astray"), 1);
    assert_eq!(judged(all_came(), &events(), 4, 0).violations.count("turns not told"), 1);
    assert_eq!(judged(all_came(), &events(), 3, 2).violations.count("contacts at the trap"), 1);
}
