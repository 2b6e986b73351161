//! What was read of the outbox lately, for all endpoints: each event is in memory once, however many endpoints wait
//! for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use model::AccountId;

use crate::store::StoredEvent;

/// How many events are kept of all accounts together, and how many bytes of bodies.
const KEPT: usize = 16_384;
const KEPT_BYTES: usize = 16 * 1_024 * 1_024;

/// The latest events of the accounts that have endpoints.
#[derive(Debug, Default)]
pub(super) struct Feed {
    accounts: HashMap<AccountId, Latest>,
    /// Whose the kept events are, oldest first.
    order: VecDeque<AccountId>,
    bytes: usize,
}

/// An account's latest events.
#[derive(Debug)]
struct Latest {
    /// All of the account's events after this place, as far as they are read, are here.
    from: i64,
    events: VecDeque<Arc<StoredEvent>>,
}

impl Feed {
    /// Whether nobody's events are kept.
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Keeps an account's events after a place, once they are read.
    pub(super) fn open(&mut self, account: AccountId, from: i64) {
        self.accounts.entry(account).or_insert_with(|| Latest { from, events: VecDeque::new() });
    }

    /// Keeps nothing more of an account.
    pub(super) fn close(&mut self, account: AccountId) {
        let Some(latest) = self.accounts.remove(&account) else { return };
        self.bytes -= latest.events.iter().map(|event| event.body.len()).sum::<usize>();
        self.order.retain(|other| *other != account);
    }

    /// Adds the next event; false where its account is not followed.
    pub(super) fn push(&mut self, event: StoredEvent) -> bool {
        let Some(latest) = self.accounts.get_mut(&event.account_id) else { return false };
        self.bytes += event.body.len();
        self.order.push_back(event.account_id);
        latest.events.push_back(Arc::new(event));
        while self.order.len() > KEPT || self.bytes > KEPT_BYTES {
            self.forget_oldest();
        }
        true
    }

    fn forget_oldest(&mut self) {
        let oldest = self.order.pop_front().and_then(|account| self.accounts.get_mut(&account));
        if let Some(latest) = oldest
            && let Some(event) = latest.events.pop_front()
        {
            latest.from = event.seq;
            self.bytes -= event.body.len();
        }
    }

    /// An account's events after a place, so many at most; `None` where that is further behind than what is kept.
    pub(super) fn after(
        &self,
        account: AccountId,
        read: i64,
        most: usize,
    ) -> Option<impl ExactSizeIterator<Item = &Arc<StoredEvent>>> {
        let latest = self.accounts.get(&account).filter(|latest| read >= latest.from)?;
        let first = latest.events.partition_point(|event| event.seq <= read);
        Some(latest.events.range(first..).take(most))
    }
}

#[cfg(test)]
mod tests {
    use model::{EventId, EventKind, Timestamp};

    use super::*;

    fn event(account: u128, seq: i64, bytes: usize) -> StoredEvent {
        StoredEvent {
            seq,
            id: EventId::from_u128(seq.unsigned_abs().into()),
            account_id: AccountId::from_u128(account),
            bot_id: None,
            kind: EventKind::BotError,
            sequence: seq,
            body: "x".repeat(bytes),
            at: Timestamp::MIN,
        }
    }

    fn after(feed: &Feed, account: u128, read: i64, most: usize) -> Option<Vec<i64>> {
        let found = feed.after(AccountId::from_u128(account), read, most)?;
        Some(found.map(|event| event.seq).collect())
    }

    #[test]
    fn what_was_read_lately_is_there_and_what_was_not_is_not_guessed() {
        let mut feed = Feed::default();
        assert!(!feed.push(event(1, 1, 1)), "nobody follows the account");
        feed.open(AccountId::from_u128(1), 10);
        assert_eq!((after(&feed, 1, 9, 5), after(&feed, 1, 10, 5)), (None, Some(vec![])));
        for seq in [12, 15, 19] {
            assert!(feed.push(event(1, seq, 1)));
        }
        assert_eq!(after(&feed, 1, 10, 2), Some(vec![12, 15]));
        assert_eq!(after(&feed, 1, 15, 5), Some(vec![19]));
        feed.open(AccountId::from_u128(2), 19);
        for seq in 20..20 + i64::try_from(KEPT).unwrap() {
            feed.push(event(2, seq, 1));
        }
        assert_eq!(after(&feed, 1, 15, 5), None, "all accounts together have so much room");
        assert_eq!((after(&feed, 1, 19, 5), after(&feed, 2, 19, 1)), (Some(vec![]), Some(vec![20])));
    }

    #[test]
    fn large_bodies_leave_room_for_fewer() {
        let mut feed = Feed::default();
        feed.open(AccountId::from_u128(1), 0);
        for seq in 1..=40 {
            feed.push(event(1, seq, 1_024 * 1_024));
            assert!(feed.bytes <= KEPT_BYTES);
        }
        assert_eq!(after(&feed, 1, 24, 1), Some(vec![25]));
        assert_eq!(after(&feed, 1, 23, 1), None);
        feed.close(AccountId::from_u128(1));
        assert!(feed.order.is_empty() && feed.bytes == 0 && feed.is_empty());
    }
}
