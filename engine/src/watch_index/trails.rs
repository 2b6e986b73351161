//! Watches that trail the highest price.
//!
//! They lie in groups of one highest price each, the highest group at the bottom. A new high takes the groups at
//! or below it off the top and melds them into one; nobody wakes, nobody moves inside a heap. Each group knows
//! the highest level from the bottom up to it, so the top answers for all.

use std::collections::BinaryHeap;

use model::Rate;
use rust_decimal::Decimal;

use super::Slot;

/// What is left of the high at a trail's level, in units of 1e-10.
const KEEP_UNIT: i64 = 10_000_000_000;

/// The trailing watches of one symbol.
#[derive(Debug, Default)]
pub(super) struct Trails {
    groups: Vec<Group>,
    entries: usize,
}

#[derive(Debug)]
struct Group {
    high: i64,
    /// By what is kept of the high: the one that is left first on top.
    heap: BinaryHeap<(i64, Slot, u32)>,
    /// The highest level of this group and those under it.
    reach: i64,
}

impl Group {
    fn level(&self) -> i64 {
        let Some((keep, ..)) = self.heap.peek() else { return 0 };
        let level = i128::from(self.high) * i128::from(*keep) / i128::from(KEEP_UNIT);
        i64::try_from(level).unwrap_or(i64::MAX)
    }
}

impl Trails {
    /// Whether a price neither raises a high nor reaches a level.
    #[inline]
    pub(super) fn is_calm(&self, price: i64) -> bool {
        self.groups.last().is_none_or(|top| price < top.high && price > top.reach)
    }

    /// Adds a watch whose highest price is `high`.
    pub(super) fn insert(&mut self, high: i64, distance: Rate, slot: Slot, generation: u32) {
        let at = self.groups.partition_point(|group| group.high > high);
        if self.groups.get(at).is_none_or(|group| group.high != high) {
            self.groups.insert(at, Group { high, heap: BinaryHeap::new(), reach: 0 });
        }
        if let Some(group) = self.groups.get_mut(at) {
            group.heap.push((keep(distance), slot, generation));
            self.entries += 1;
        }
        self.reach_from(at);
    }

    /// Counts a price into the highs; whether it is higher than one of them.
    pub(super) fn raise(&mut self, price: i64) -> bool {
        let is_higher = self.groups.last().is_some_and(|top| top.high < price);
        let mut melded = BinaryHeap::new();
        let mut raised = false;
        while self.groups.last().is_some_and(|top| top.high <= price) {
            if let Some(mut group) = self.groups.pop() {
                melded.append(&mut group.heap);
                raised = true;
            }
        }
        if raised {
            self.groups.push(Group { high: price, heap: melded, reach: 0 });
            self.reach_from(self.groups.len() - 1);
        }
        is_higher
    }

    /// Takes one watch whose level is at or above `price`.
    pub(super) fn pop_at_or_above(&mut self, price: i64) -> Option<(Slot, u32)> {
        let at = (0..self.groups.len())
            .rev()
            .take_while(|at| self.groups.get(*at).is_some_and(|group| group.reach >= price))
            .find(|at| self.groups.get(*at).is_some_and(|group| group.level() >= price))?;
        let group = self.groups.get_mut(at)?;
        let (_, slot, generation) = group.heap.pop()?;
        self.entries -= 1;
        if group.heap.is_empty() {
            self.groups.remove(at);
        }
        self.reach_from(at);
        Some((slot, generation))
    }

    /// Drops entries that do not count any more once they are most of what there is.
    pub(super) fn compact(&mut self, live: usize, current: impl Fn(Slot, u32) -> bool) {
        if self.entries <= 2 * live {
            return;
        }
        for group in &mut self.groups {
            group.heap.retain(|(_, slot, generation)| current(*slot, *generation));
        }
        self.groups.retain(|group| !group.heap.is_empty());
        self.entries = self.groups.iter().map(|group| group.heap.len()).sum();
        self.reach_from(0);
    }

    /// Renews the reach of a group and of those above it.
    fn reach_from(&mut self, at: usize) {
        let under = at.checked_sub(1).and_then(|under| self.groups.get(under));
        let mut reach = under.map_or(0, |group| group.reach);
        for group in self.groups.iter_mut().skip(at) {
            reach = reach.max(group.level());
            group.reach = reach;
        }
    }
}

/// What is left of the high, rounded up: a wake may come a hair early, never late.
fn keep(distance: Rate) -> i64 {
    let keep = (Decimal::ONE - distance.decimal()) * Decimal::from(KEEP_UNIT);
    i64::try_from(keep.ceil()).unwrap_or(KEEP_UNIT)
}
