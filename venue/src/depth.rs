//! The book of a replay as far as it was recorded: a snapshot and what changed since.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rust_decimal::Decimal;

use crate::market::BookChange;
use crate::world::Level;

/// How many changes are kept for a snapshot that comes after them: it was asked for before it was received.
const KEPT: usize = 1_000;

/// The recorded book of a pair. Before a snapshot it holds the levels that have changed since the recording began.
#[derive(Debug, Default)]
pub(crate) struct RecordedBook {
    /// The last update that it holds; 0 before the first.
    pub(crate) update_id: i64,
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
    recent: VecDeque<Arc<BookChange>>,
}

impl RecordedBook {
    /// Takes a change or a snapshot in. One that leaves a gap begins the book anew.
    pub(crate) fn take(&mut self, change: &Arc<BookChange>) {
        if change.first.is_none() {
            return self.begin(change);
        }
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(change.clone());
        self.apply(change);
    }

    /// The levels, best first, where both sides have some: bids, asks.
    pub(crate) fn levels(&self) -> Option<(Vec<Level>, Vec<Level>)> {
        let level = |(price, qty): (&Decimal, &Decimal)| (*price, *qty);
        let is_known = !self.bids.is_empty() && !self.asks.is_empty();
        is_known.then(|| (self.bids.iter().rev().map(level).collect(), self.asks.iter().map(level).collect()))
    }

    fn begin(&mut self, snapshot: &BookChange) {
        let since = self.recent.iter().filter(|change| change.last > snapshot.last);
        let since: Vec<Arc<BookChange>> = since.cloned().collect();
        let follows = |change: &Arc<BookChange>| change.first.is_some_and(|first| first <= snapshot.last + 1);
        // An old one, whose next changes are not kept, says less than is known.
        if snapshot.last < self.update_id && !since.first().is_some_and(follows) {
            return;
        }
        (self.bids, self.asks) = (BTreeMap::new(), BTreeMap::new());
        self.set(snapshot);
        for change in since {
            self.apply(&change);
        }
    }

    fn apply(&mut self, change: &BookChange) {
        if change.last <= self.update_id {
            return;
        }
        if self.update_id > 0 && change.first.is_some_and(|first| first > self.update_id + 1) {
            (self.bids, self.asks) = (BTreeMap::new(), BTreeMap::new());
        }
        self.set(change);
    }

    fn set(&mut self, change: &BookChange) {
        self.update_id = change.last;
        for (side, levels) in [(&mut self.bids, &change.bids), (&mut self.asks, &change.asks)] {
            for (price, qty) in levels {
                if qty.is_zero() {
                    side.remove(price);
                } else {
                    side.insert(*price, *qty);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(first: Option<i64>, last: i64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Arc<BookChange> {
        let levels = |side: &[(i64, i64)]| {
            side.iter().map(|(price, qty)| (Decimal::from(*price), Decimal::from(*qty))).collect()
        };
        Arc::new(BookChange { first, last, bids: levels(bids), asks: levels(asks) })
    }

    #[track_caller]
    fn check(book: &RecordedBook, update_id: i64, bids: &[i64], asks: &[i64]) {
        let prices = |side: Vec<Level>| side.into_iter().map(|(price, _)| price).collect::<Vec<_>>();
        let expected = |side: &[i64]| side.iter().copied().map(Decimal::from).collect::<Vec<_>>();
        let (found_bids, found_asks) = book.levels().unwrap();
        assert_eq!(book.update_id, update_id);
        assert_eq!((prices(found_bids), prices(found_asks)), (expected(bids), expected(asks)));
    }

    #[test]
    fn a_snapshot_and_what_changed_since_are_the_book() {
        let mut book = RecordedBook::default();
        book.take(&change(Some(5), 9, &[(99, 1)], &[]));
        assert!(book.levels().is_none());
        book.take(&change(Some(10), 14, &[(98, 1)], &[(102, 1)]));
        check(&book, 14, &[99, 98], &[102]);
        // It was received late: the last change is newer.
        book.take(&change(None, 11, &[(99, 1), (97, 1)], &[(101, 1), (103, 1)]));
        check(&book, 14, &[99, 98, 97], &[101, 102, 103]);
        book.take(&change(Some(15), 15, &[(99, 0), (100, 2)], &[(101, 0)]));
        check(&book, 15, &[100, 98, 97], &[102, 103]);
        book.take(&change(Some(14), 15, &[(1, 1)], &[]));
        check(&book, 15, &[100, 98, 97], &[102, 103]);
    }

    #[test]
    fn after_a_gap_only_what_is_known_again_is_told() {
        let mut book = RecordedBook::default();
        book.take(&change(None, 10, &[(99, 1)], &[(101, 1)]));
        book.take(&change(Some(12), 13, &[(98, 1)], &[(102, 1)]));
        check(&book, 13, &[98], &[102]);
        book.take(&change(None, 3, &[(1, 1)], &[(2, 1)]));
        check(&book, 13, &[98], &[102]);
        book.take(&change(None, 20, &[(97, 1)], &[(103, 1)]));
        check(&book, 20, &[97], &[103]);
    }
}
