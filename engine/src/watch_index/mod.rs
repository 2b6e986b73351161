//! Who wakes at which price: every watch of one symbol, so that a tick touches only the bots it concerns.
//!
//! Fixed bounds and times lie in heaps whose stale entries are dropped when they surface; a trailing watch lies
//! in a group with all that have seen the same highest price, and a new high melds groups without waking anybody.
//! The nearest bound of each kind is cached, so a tick that crosses nothing costs a few compares.
//!
//! An index decides in one of two ways. On paper every tick counts: what a bot missed while it thought is kept and told
//! afterwards. On a real account the newest price alone does, because that is what an order would get: ticks that were
//! received together are passed, which counts them into the highs, and the last of them is tested.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use model::{Mark, Price, PriceMove, Timestamp, Watch};

mod extremes;
mod recent;
mod trails;

pub use recent::{Newest, RecentPrices};
use trails::Trails;

/// The least number of missed ticks that are looked through for ones to drop.
const TRIM_AT: usize = 4_096;

/// A bot's place in an index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

/// A watch was left: whose, by what, and at which tick of the symbol, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wake {
    /// Whose watch.
    pub slot: Slot,
    /// What to tell it.
    pub moved: PriceMove,
    /// The tick; the new watch names it.
    pub seq: u64,
}

/// A heap entry: it counts only while its slot still has this generation.
type Entry = (i64, Slot, u32);

/// All watches of one symbol.
#[derive(Debug, Default)]
pub struct WatchIndex {
    slots: Vec<SlotState>,
    free: Vec<Slot>,
    below: BinaryHeap<Entry>,
    above: BinaryHeap<Reverse<Entry>>,
    due: BinaryHeap<Reverse<Entry>>,
    trails: Trails,
    recent: Arc<RecentPrices>,
    near: Near,
    seq: u64,
    /// Whether only the newest price is decided on, and the tick that was tested last, unless others were passed since.
    is_by_newest: bool,
    tested: Option<(u64, Price, Timestamp)>,
    /// Ticks since the earliest wake that has not been answered, oldest first.
    missed: VecDeque<(u64, Price, Timestamp)>,
    /// The number of missed ticks at which those are dropped that every answer already covers.
    trim_at: usize,
    awaiting: usize,
    mark: Option<Mark>,
}

/// The nearest bounds; what is not watched is out of reach.
#[derive(Clone, Copy, Debug)]
struct Near {
    below: i64,
    above: i64,
    due: i64,
}

impl Default for Near {
    fn default() -> Self {
        Self { below: 0, above: i64::MAX, due: i64::MAX }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct SlotState {
    generation: u32,
    /// The last tick it was told of.
    told: u64,
    /// The tick that it was last woken by.
    woken: u64,
    /// The highest price it knew of then.
    high: i64,
    awaiting: bool,
    taken: bool,
}

impl WatchIndex {
    /// An index that watches nothing, and decides on every tick.
    pub fn new() -> Self {
        Self::default()
    }

    /// An index that watches nothing, and decides on the newest price alone.
    pub fn by_newest() -> Self {
        Self { is_by_newest: true, ..Self::default() }
    }

    /// What its ticks come to.
    pub fn recent(&self) -> &Arc<RecentPrices> {
        &self.recent
    }

    /// The price that was tested last; `None` where ticks were passed since, or there was none.
    pub fn tested_price(&self) -> Option<Price> {
        self.tested.map(|(_, price, _)| price)
    }

    /// Takes a place that sleeps until [`WatchIndex::set`].
    pub fn add(&mut self) -> Slot {
        if let Some(slot) = self.free.pop() {
            if let Some(state) = self.slots.get_mut(slot.0 as usize) {
                state.taken = true;
            }
            return slot;
        }
        let slot = Slot(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(SlotState { taken: true, ..SlotState::default() });
        slot
    }

    /// Gives a place back; nothing wakes it any more. A place that was given back already stays so.
    pub fn remove(&mut self, slot: Slot) {
        self.answer(slot);
        if let Some(state) = self.slots.get_mut(slot.0 as usize).filter(|state| state.taken) {
            state.taken = false;
            state.generation = state.generation.wrapping_add(1);
            self.free.push(slot);
        }
    }

    /// The tick that was heard last, counted from 1; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The tick that last raised the high of a trailing watch, told once. Whoever waits for it sleeps on, so this is
    /// how it can be known after a restart.
    pub fn take_mark(&mut self) -> Option<Mark> {
        self.mark.take()
    }

    /// Replaces a watch by one that was made after tick `made_at`. If a tick since then has left it, it is
    /// answered with a wake by the first that did, and the slot awaits its next watch.
    ///
    /// What a slot missed is kept only while it has been woken and not answered: any other watch is set with
    /// [`WatchIndex::seq`].
    pub fn set(&mut self, slot: Slot, watch: &Watch, made_at: u64) -> Option<Wake> {
        self.answer(slot);
        let state = self.slots.get_mut(slot.0 as usize)?;
        state.told = made_at;
        if let Some(wake) = self.left_already(slot, watch, made_at) {
            let state = self.slots.get_mut(slot.0 as usize)?;
            state.generation = state.generation.wrapping_add(1);
            state.high = watch.trail.map_or(0, |trail| trail.high.e8());
            self.await_answer(slot, wake.seq);
            return Some(wake);
        }
        self.install(slot, watch);
        None
    }

    /// Replaces the watch of a slot that sleeps by one that was made without hearing a tick since the last: what it
    /// slept through still counts for what trails, and the watch is tested from the next tick on.
    pub fn amend(&mut self, slot: Slot, watch: &Watch) {
        self.answer(slot);
        self.install(slot, watch);
    }

    /// Puts a slot's watch where ticks find it; highs count from the tick that the slot was last told of.
    fn install(&mut self, slot: Slot, watch: &Watch) {
        let Some(state) = self.slots.get_mut(slot.0 as usize) else { return };
        state.generation = state.generation.wrapping_add(1);
        state.high = watch.trail.map_or(0, |trail| trail.high.e8());
        let state = *state;
        let generation = state.generation;
        if let Some(below) = watch.below {
            self.below.push((below.e8(), slot, generation));
            self.near.below = self.near.below.max(below.e8());
        }
        if let Some(above) = watch.above {
            self.above.push(Reverse((above.e8(), slot, generation)));
            self.near.above = self.near.above.min(above.e8());
        }
        if let Some(at) = watch.at {
            self.due.push(Reverse((at.nanos(), slot, generation)));
            self.near.due = self.near.due.min(at.nanos());
        }
        if let Some(trail) = watch.trail {
            let (missed, _) = self.recent.extremes_since(state.told);
            if missed > state.high {
                let kept = self.missed.iter().rev().find(|(.., price, _)| price.e8() == missed);
                // Where it was not kept it was heard by now.
                let heard_by = || self.recent.newest_since(0).map(|newest| newest.at);
                let at = kept.map(|(.., at)| *at).or_else(heard_by);
                self.mark = at.zip(Price::from_e8(missed)).map(|(at, high)| Mark { at, high });
            }
            let high = state.high.max(missed);
            self.trails.insert(high, trail.distance, slot, generation);
        }
        self.compact();
    }

    /// Hears a tick; who must be told of it is appended to `woken`.
    #[inline]
    pub fn on_tick(&mut self, price: Price, at: Timestamp, woken: &mut Vec<Wake>) {
        self.hear(price, at, true);
        self.test(price, at, woken);
    }

    /// Hears a tick that is not decided on, at least not yet: it counts into what trails.
    pub fn pass(&mut self, price: Price, at: Timestamp) {
        self.hear(price, at, false);
        self.tested = None;
        self.raise(price, at);
    }

    /// Hears of a tick that is older than the newest one: it counts into what trails, and that is all.
    pub fn count(&mut self, price: Price, at: Timestamp) {
        self.seq += 1;
        self.recent.count(self.seq, price);
        self.raise(price, at);
    }

    fn raise(&mut self, price: Price, at: Timestamp) {
        if self.trails.raise(price.e8()) {
            self.mark = Some(Mark { at, high: price });
        }
    }

    /// Decides on the tick that was heard last: who must be told of it is appended to `woken`.
    pub fn decide(&mut self, woken: &mut Vec<Wake>) {
        if let Some(Newest { price, at, .. }) = self.recent.newest_since(0) {
            self.recent.confirm();
            self.test(price, at, woken);
        }
    }

    #[inline]
    fn hear(&mut self, price: Price, at: Timestamp, is_current: bool) {
        self.seq += 1;
        self.recent.push(Newest { seq: self.seq, price, at, is_current });
        if self.awaiting > 0 && !self.is_by_newest {
            self.miss(price, at);
        }
    }

    #[inline]
    fn test(&mut self, price: Price, at: Timestamp, woken: &mut Vec<Wake>) {
        let units = price.e8();
        self.tested = Some((self.seq, price, at));
        let calm = units > self.near.below && units < self.near.above && at.nanos() < self.near.due;
        if calm && self.trails.is_calm(units) {
            return;
        }
        self.wake(price, at, woken);
    }

    /// The slow half of [`WatchIndex::test`].
    fn wake(&mut self, price: Price, at: Timestamp, woken: &mut Vec<Wake>) {
        let units = price.e8();
        while let Some((level, slot, generation)) = self.below.peek().copied() {
            if level < units && self.is_current(slot, generation) {
                break;
            }
            self.below.pop();
            self.rouse(slot, generation, price, at, woken);
        }
        while let Some(Reverse((level, slot, generation))) = self.above.peek().copied() {
            if level > units && self.is_current(slot, generation) {
                break;
            }
            self.above.pop();
            self.rouse(slot, generation, price, at, woken);
        }
        while let Some(Reverse((time, slot, generation))) = self.due.peek().copied() {
            if time > at.nanos() && self.is_current(slot, generation) {
                break;
            }
            self.due.pop();
            self.rouse(slot, generation, price, at, woken);
        }
        self.raise(price, at);
        while let Some((slot, generation)) = self.trails.pop_at_or_above(units) {
            self.rouse(slot, generation, price, at, woken);
        }
        self.near = Near {
            below: self.below.peek().map_or(0, |(level, ..)| *level),
            above: self.above.peek().map_or(i64::MAX, |Reverse((level, ..))| *level),
            due: self.due.peek().map_or(i64::MAX, |Reverse((time, ..))| *time),
        };
    }

    /// Wakes a slot if the entry that surfaced is its current watch.
    fn rouse(&mut self, slot: Slot, generation: u32, price: Price, at: Timestamp, woken: &mut Vec<Wake>) {
        if !self.is_current(slot, generation) {
            return;
        }
        let Some(state) = self.slots.get_mut(slot.0 as usize) else { return };
        state.generation = state.generation.wrapping_add(1);
        let (told, known) = (state.told, state.high);
        let (high, low) = self.recent.extremes_since(told);
        let high = high.max(known);
        let seq = self.seq;
        self.await_answer(slot, seq);
        woken.push(Wake { slot, moved: moved(price, at, high, low), seq });
    }

    fn is_current(&self, slot: Slot, generation: u32) -> bool {
        self.slots.get(slot.0 as usize).is_some_and(|state| state.generation == generation)
    }

    /// The first tick after `made_at` that leaves the watch; where the newest price alone counts, that one if it does.
    fn left_already(&self, slot: Slot, watch: &Watch, made_at: u64) -> Option<Wake> {
        if self.is_by_newest {
            let (seq, price, at) = self.tested.filter(|(seq, ..)| *seq > made_at)?;
            let (high, low) = self.recent.extremes_since(made_at);
            let moved = moved(price, at, high, low);
            return watch.is_left_by(price, at, moved.high).then_some(Wake { slot, moved, seq });
        }
        let (mut high, mut low) = (0, i64::MAX);
        let from = self.missed.partition_point(|(seq, ..)| *seq <= made_at);
        for (seq, price, at) in self.missed.range(from..).copied() {
            high = high.max(price.e8());
            low = low.min(price.e8());
            let highest = Price::from_e8(high).unwrap_or(price);
            if watch.is_left_by(price, at, highest) {
                return Some(Wake { slot, moved: moved(price, at, high, low), seq });
            }
        }
        None
    }

    /// Whether a slot has been woken and not answered.
    pub fn is_awaited(&self, slot: Slot) -> bool {
        self.slots.get(slot.0 as usize).is_some_and(|state| state.awaiting)
    }

    /// The number of ticks that are kept for slots that have not answered.
    pub fn backlog(&self) -> usize {
        self.missed.len()
    }

    /// The slots that have been woken and not answered, each with the number of ticks since its wake.
    pub fn behind(&self) -> impl Iterator<Item = (Slot, u64)> {
        let awaited = (0..).map(Slot).zip(&self.slots).filter(|(_, state)| state.awaiting);
        awaited.map(|(slot, state)| (slot, self.seq.saturating_sub(state.woken)))
    }

    /// Keeps a tick for slots that have not answered, and drops those that all of them have decided on.
    #[inline]
    fn miss(&mut self, price: Price, at: Timestamp) {
        self.missed.push_back((self.seq, price, at));
        if self.missed.len() >= self.trim_at.max(TRIM_AT) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let awaited = self.slots.iter().filter(|state| state.awaiting);
        let decided = awaited.map(|state| state.woken).min().unwrap_or(self.seq);
        self.missed.drain(..self.missed.partition_point(|(seq, ..)| *seq <= decided));
        self.trim_at = 2 * self.missed.len();
    }

    fn await_answer(&mut self, slot: Slot, seq: u64) {
        if let Some(state) = self.slots.get_mut(slot.0 as usize).filter(|state| !state.awaiting) {
            state.awaiting = true;
            state.woken = seq;
            self.awaiting += 1;
        }
    }

    fn answer(&mut self, slot: Slot) {
        if let Some(state) = self.slots.get_mut(slot.0 as usize).filter(|state| state.awaiting) {
            state.awaiting = false;
            self.awaiting -= 1;
        }
    }

    /// Drops stale heap entries once they are most of what there is, and missed ticks nobody waits for.
    fn compact(&mut self) {
        if self.awaiting == 0 {
            self.missed.clear();
            self.missed.shrink_to(2 * TRIM_AT);
        }
        let live = self.slots.len().max(64);
        let slots = &self.slots;
        let current = |slot: Slot, generation: u32| {
            slots.get(slot.0 as usize).is_some_and(|state| state.generation == generation)
        };
        if self.below.len() > 2 * live {
            self.below.retain(|(_, slot, generation)| current(*slot, *generation));
        }
        if self.above.len() > 2 * live {
            self.above.retain(|Reverse((_, slot, generation))| current(*slot, *generation));
        }
        if self.due.len() > 2 * live {
            self.due.retain(|Reverse((_, slot, generation))| current(*slot, *generation));
        }
        self.trails.compact(live, current);
    }
}

fn moved(price: Price, at: Timestamp, high: i64, low: i64) -> PriceMove {
    PriceMove {
        price,
        at,
        high: Price::from_e8(high).unwrap_or(price).max(price),
        low: Price::from_e8(low).unwrap_or(price).min(price),
    }
}

#[cfg(test)]
mod tests {
    use model::{Rate, Trail};
    use proptest::prelude::*;

    use super::*;

    fn price(cents: i64) -> Price {
        Price::from_e8(cents * 1_000_000).unwrap()
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(i64::try_from(second).unwrap() * 1_000)
    }

    fn tick(index: &mut WatchIndex, cents: i64) -> Vec<Wake> {
        let mut woken = Vec::new();
        let now = at(index.seq() + 1);
        index.on_tick(price(cents), now, &mut woken);
        woken
    }

    fn below(cents: i64) -> Watch {
        Watch { below: Some(price(cents)), ..Watch::NEVER }
    }

    #[test]
    fn a_crossing_between_the_wake_and_the_new_watch_is_not_lost() {
        let mut index = WatchIndex::new();
        let slot = index.add();
        assert_eq!(index.set(slot, &below(100), 0), None);
        let woken = tick(&mut index, 100);
        assert_eq!((woken[0].slot, woken[0].seq), (slot, 1));
        assert!(tick(&mut index, 90).is_empty(), "it is still thinking");
        assert!(tick(&mut index, 99).is_empty());
        let wake = index.set(slot, &below(95), 1).expect("the price was at 90 meanwhile");
        assert_eq!((wake.seq, wake.moved.price), (2, price(90)));
        assert_eq!(index.set(slot, &below(80), wake.seq), None);
        assert!(tick(&mut index, 81).is_empty());
        assert_eq!(tick(&mut index, 80).len(), 1);
    }

    #[test]
    fn an_old_watch_never_wakes() {
        let mut index = WatchIndex::new();
        let slot = index.add();
        index.set(slot, &below(100), 0);
        index.set(slot, &below(50), 0);
        assert!(tick(&mut index, 99).is_empty());
        index.remove(slot);
        assert!(tick(&mut index, 10).is_empty());
        assert_eq!(index.add(), slot, "its place is used again");
        assert!(tick(&mut index, 5).is_empty());
        index.remove(slot);
        index.remove(slot);
        assert_ne!(index.add(), index.add(), "a place given back twice is not given out twice");
    }

    #[test]
    fn a_wake_tells_the_extremes_since_the_last_one() {
        let mut index = WatchIndex::new();
        let slot = index.add();
        index.set(slot, &below(90), 0);
        for cents in [100, 120, 95] {
            assert!(tick(&mut index, cents).is_empty());
        }
        let woken = tick(&mut index, 89);
        assert_eq!((woken[0].moved.high, woken[0].moved.low), (price(120), price(89)));
    }

    #[test]
    fn a_high_that_is_slept_through_is_marked() {
        let mut index = WatchIndex::new();
        let slot = index.add();
        let trail = Trail { high: price(100), distance: "0.1".parse().unwrap(), tick_size: price(1) };
        let trailing = Watch { trail: Some(trail), ..Watch::NEVER };
        index.set(slot, &Watch { above: Some(price(100)), ..Watch::NEVER }, 0);
        assert_eq!(tick(&mut index, 100).len(), 1);
        for cents in [103, 102] {
            assert!(tick(&mut index, cents).is_empty(), "it is still thinking");
        }
        assert_eq!(index.take_mark(), None, "nobody trails");
        assert_eq!(index.set(slot, &trailing, 1), None);
        assert_eq!(index.take_mark(), Some(Mark { at: at(2), high: price(103) }), "as if it had slept");
        for cents in [103, 101] {
            assert!(tick(&mut index, cents).is_empty());
        }
        assert_eq!(index.take_mark(), None, "that is no rise");
        assert!(tick(&mut index, 104).is_empty());
        assert_eq!(index.take_mark(), Some(Mark { at: at(6), high: price(104) }));
        assert_eq!(index.take_mark(), None, "it is told once");
    }

    #[test]
    fn an_index_by_the_newest_price_wakes_by_that_alone() {
        let mut index = WatchIndex::by_newest();
        let (low, high) = (index.add(), index.add());
        index.set(low, &below(90), 0);
        index.set(high, &Watch { above: Some(price(110)), ..Watch::NEVER }, 0);
        let mut woken = Vec::new();
        for (cents, second) in [(85, 1), (115, 2), (100, 3)] {
            index.pass(price(cents), at(second));
        }
        assert!(!index.recent().newest_since(0).unwrap().is_current, "not read to its end");
        index.decide(&mut woken);
        assert!(woken.is_empty(), "both levels were left again");
        assert!(index.recent().newest_since(0).unwrap().is_current);
        index.pass(price(88), at(4));
        index.pass(price(89), at(5));
        index.decide(&mut woken);
        assert_eq!((woken.len(), woken[0].slot, woken[0].seq), (1, low, 5));
        assert_eq!((woken[0].moved.price, woken[0].moved.high), (price(89), price(115)));
        // While it thinks the price is at 110 and falls back: by the newest its next watch is not left.
        index.on_tick(price(110), at(6), &mut Vec::new());
        index.on_tick(price(95), at(7), &mut Vec::new());
        assert_eq!(index.set(low, &Watch { above: Some(price(105)), ..Watch::NEVER }, 5), None);
        let wake = index.set(low, &below(95), 5).expect("the newest price is at its level");
        assert_eq!((wake.seq, wake.moved.high), (7, price(110)));
    }

    #[test]
    fn prices_that_are_passed_raise_what_trails() {
        let trail = Trail { high: price(100), distance: "0.1".parse().unwrap(), tick_size: price(1) };
        let mut index = WatchIndex::by_newest();
        let slot = index.add();
        index.set(slot, &Watch { trail: Some(trail), ..Watch::NEVER }, 0);
        index.pass(price(200), at(1));
        assert_eq!(index.take_mark(), Some(Mark { at: at(1), high: price(200) }));
        let mut woken = Vec::new();
        index.on_tick(price(181), at(2), &mut woken);
        // Told late, and older than what is known.
        index.count(price(220), at(1));
        assert_eq!(index.recent().newest_since(0).map(|newest| newest.price), Some(price(181)));
        assert!(woken.is_empty());
        index.on_tick(price(198), at(3), &mut woken);
        assert_eq!((woken.len(), woken[0].moved.high), (1, price(220)), "10 % under 2.20");
    }

    #[test]
    fn a_watch_that_is_amended_keeps_the_high_that_was_slept_through() {
        let trail = Trail { high: price(100), distance: "0.03".parse().unwrap(), tick_size: price(1) };
        let trailing = Watch { trail: Some(trail), ..Watch::NEVER };
        let mut index = WatchIndex::new();
        let slot = index.add();
        index.set(slot, &trailing, 0);
        for cents in [104, 200, 196] {
            assert!(tick(&mut index, cents).is_empty());
        }
        index.amend(slot, &trailing);
        assert!(tick(&mut index, 195).is_empty());
        let woken = tick(&mut index, 194);
        assert_eq!((woken.len(), woken[0].moved.high), (1, price(200)));
    }

    /// Watches of every kind around 100.
    fn watches() -> impl Strategy<Value = Watch> {
        let trail = (5_000..12_000_i64, 1..900_i64).prop_map(|(high, distance)| Trail {
            high: price(high),
            distance: Rate::new(rust_decimal::Decimal::new(distance, 4)).unwrap(),
            tick_size: price(1),
        });
        (
            proptest::option::of(8_000..10_000_i64),
            proptest::option::of(10_000..12_000_i64),
            proptest::option::of(trail),
            proptest::option::weighted(0.1, 0..400_u64),
        )
            .prop_map(|(below, above, trail, due)| Watch {
                below: below.map(price),
                above: above.map(price),
                trail,
                at: due.map(at),
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn an_index_wakes_whom_a_plain_scan_wakes(
            watches in proptest::collection::vec(watches(), 1..40),
            moves in proptest::collection::vec(-120..120_i64, 1..300),
            answers in proptest::collection::vec((watches(), 0..6_u64), 300),
        ) {
            let mut index = WatchIndex::new();
            let mut plain: Vec<Plain> = Vec::new();
            for watch in &watches {
                let slot = index.add();
                prop_assert_eq!(index.set(slot, watch, 0), None);
                plain.push(Plain { watch: *watch, seen: Vec::new(), answer_at: None });
            }
            let (mut cents, mut answers) = (10_000, answers.into_iter().cycle());
            for by in moves {
                cents = (cents + by).clamp(5_000, 15_000);
                let mut woken = tick(&mut index, cents);
                woken.sort_by_key(|wake| wake.slot);
                let (seq, now) = (index.seq(), at(index.seq()));
                let mut expected = Vec::new();
                for (slot, bot) in (0..).map(Slot).zip(&mut plain) {
                    bot.seen.push((seq, price(cents), now));
                    if bot.answer_at.is_none() && bot.first_left() == Some(seq) {
                        expected.push(slot);
                        bot.seen.clear();
                        bot.answer_at = Some((seq + answers.next().unwrap().1, seq));
                    }
                }
                prop_assert_eq!(woken.iter().map(|wake| wake.slot).collect::<Vec<_>>(), expected);
                for (slot, bot) in (0..).map(Slot).zip(&mut plain) {
                    let Some((_, made_at)) = bot.answer_at.filter(|(due, _)| *due <= seq) else { continue };
                    let (watch, delay) = answers.next().unwrap();
                    bot.watch = watch;
                    let left = bot.first_left();
                    let wake = index.set(slot, &watch, made_at);
                    prop_assert_eq!(wake.map(|wake| wake.seq), left);
                    bot.answer_at = left.map(|left| (seq + delay + 1, left));
                    if let Some(left) = left {
                        bot.seen.retain(|(seen, ..)| *seen > left);
                    }
                }
            }
        }
    }

    /// A bot as a plain scan keeps it: everything it has not been told of.
    struct Plain {
        watch: Watch,
        seen: Vec<(u64, Price, Timestamp)>,
        /// When it answers its wake, and by which tick it was woken.
        answer_at: Option<(u64, u64)>,
    }

    impl Plain {
        fn first_left(&self) -> Option<u64> {
            let mut high = Price::MIN;
            let left = self.seen.iter().find(|(_, price, at)| {
                high = high.max(*price);
                self.watch.is_left_by(*price, *at, high)
            });
            left.map(|(seq, ..)| *seq)
        }
    }
}
