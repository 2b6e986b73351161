//! What was read of an account's events lately, for all of its endpoints.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::store::StoredEvent;

/// How many events are kept.
const KEPT: usize = 4_096;

/// An account's latest events.
#[derive(Debug)]
pub(super) struct Feed {
    /// All of the account's events after this place, as far as they are read, are here.
    from: i64,
    events: VecDeque<Arc<StoredEvent>>,
}

impl Feed {
    /// Of an account whose events after a place are going to be read.
    pub(super) fn new(from: i64) -> Self {
        Self { from, events: VecDeque::new() }
    }

    /// Adds the next event.
    pub(super) fn push(&mut self, event: StoredEvent) {
        self.events.push_back(Arc::new(event));
        if self.events.len() > KEPT
            && let Some(oldest) = self.events.pop_front()
        {
            self.from = oldest.seq;
        }
    }

    /// Events after a place, so many at most; `None` where it is further behind than what is kept.
    pub(super) fn after(&self, read: i64, most: usize) -> Option<Vec<Arc<StoredEvent>>> {
        if read < self.from {
            return None;
        }
        let first = self.events.partition_point(|event| event.seq <= read);
        Some(self.events.range(first..).take(most).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use model::{AccountId, EventId, EventKind, Timestamp};

    use super::*;

    fn event(seq: i64) -> StoredEvent {
        StoredEvent {
            seq,
            id: EventId::from_u128(seq.unsigned_abs().into()),
            account_id: AccountId::from_u128(1),
            bot_id: None,
            kind: EventKind::BotError,
            sequence: seq,
            body: String::new(),
            at: Timestamp::MIN,
        }
    }

    #[test]
    fn what_was_read_lately_is_there_and_what_was_not_is_not_guessed() {
        let mut feed = Feed::new(10);
        let after = |feed: &Feed, read, most| {
            feed.after(read, most).map(|events| events.iter().map(|event| event.seq).collect::<Vec<_>>())
        };
        assert_eq!((after(&feed, 9, 5), after(&feed, 10, 5)), (None, Some(vec![])));
        for seq in [12, 15, 19] {
            feed.push(event(seq));
        }
        assert_eq!(after(&feed, 10, 2), Some(vec![12, 15]));
        assert_eq!(after(&feed, 15, 5), Some(vec![19]));
        for place in 0..4_096 {
            feed.push(event(20 + place));
        }
        assert_eq!(after(&feed, 18, 1), None, "the last that is forgotten is 19");
        assert_eq!(after(&feed, 19, 1), Some(vec![20]));
    }
}
