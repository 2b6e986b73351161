//! What one account's endpoints may use of what all share: events in memory, and requests under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::AccountId;

use crate::fair::{FairPermit, FairSemaphore};

/// How many events wait in memory for all endpoints of one account, and for all there are. What does not fit stays in
/// the outbox and is read when there is room.
const IN_MEMORY_PER_ACCOUNT: usize = 16_384;
const IN_MEMORY: usize = 65_536;

/// How many events an endpoint may have in memory, however many others or however few there are; and as many more that
/// have failed and are tried again.
const LEAST_WINDOW: usize = 4;
const LARGEST_WINDOW: usize = 256;

/// How many requests of one account are under way at once, and of all. Each takes a socket and, where nobody answers,
/// ten seconds.
const REQUESTS_PER_ACCOUNT: usize = 64;
const REQUESTS: usize = 512;

/// How many pages of the outbox are read at once for endpoints that are behind, accounts taking turns.
const READS: usize = 1;

/// What the endpoints of all accounts share.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    /// How many endpoints are open.
    endpoints: Arc<AtomicUsize>,
    requests: FairSemaphore<AccountId>,
    reads: FairSemaphore<AccountId>,
    in_memory: Arc<AtomicUsize>,
}

impl Shares {
    /// `in_memory` is where the number of events that wait in memory is published.
    pub(super) fn new(in_memory: Arc<AtomicUsize>) -> Self {
        Self {
            endpoints: Arc::default(),
            requests: FairSemaphore::new(REQUESTS, REQUESTS_PER_ACCOUNT),
            reads: FairSemaphore::new(READS, 1),
            in_memory,
        }
    }

    /// The share of an account's next endpoint; `siblings` counts those of the account that are open.
    pub(super) fn endpoint(&self, account: AccountId, siblings: &Arc<AtomicUsize>) -> Share {
        siblings.fetch_add(1, Ordering::Relaxed);
        self.endpoints.fetch_add(1, Ordering::Relaxed);
        Share { shares: self.clone(), account, siblings: siblings.clone(), held: 0 }
    }

    /// Waits for an account's turn to read from the store.
    pub(super) fn read(&self, account: AccountId) -> impl Future<Output = FairPermit<AccountId>> + use<> {
        let reads = self.reads.clone();
        async move { reads.acquire(account).await }
    }
}

/// One endpoint's share; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    account: AccountId,
    siblings: Arc<AtomicUsize>,
    held: usize,
}

impl Share {
    /// How many events the endpoint may have in memory now, beside as many that are tried again.
    pub(super) fn window(&self) -> usize {
        let of = |all: usize, endpoints: &AtomicUsize| all / endpoints.load(Ordering::Relaxed).max(1);
        let window = of(IN_MEMORY_PER_ACCOUNT, &self.siblings).min(of(IN_MEMORY, &self.shares.endpoints));
        (window / 2).clamp(LEAST_WINDOW, LARGEST_WINDOW)
    }

    /// Notes how many events the endpoint has in memory.
    pub(super) fn hold(&mut self, events: usize) {
        let in_memory = &self.shares.in_memory;
        in_memory.fetch_add(events, Ordering::Relaxed);
        in_memory.fetch_sub(std::mem::replace(&mut self.held, events), Ordering::Relaxed);
    }

    /// Waits for the account's turn to send a request.
    pub(super) fn request(&self) -> impl Future<Output = FairPermit<AccountId>> + use<> {
        let (requests, account) = (self.shares.requests.clone(), self.account);
        async move { requests.acquire(account).await }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
        self.siblings.fetch_sub(1, Ordering::Relaxed);
        self.shares.endpoints.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_shrinks_with_the_number_of_endpoints_and_what_is_held_is_bounded() {
        let in_memory = Arc::default();
        let shares = Shares::new(Arc::clone(&in_memory));
        let account = AccountId::from_u128(1);
        let siblings = Arc::default();
        let mut first = shares.endpoint(account, &siblings);
        assert_eq!(first.window(), LARGEST_WINDOW);
        let mut others: Vec<_> = (0..249).map(|_| shares.endpoint(account, &siblings)).collect();
        assert_eq!(first.window(), IN_MEMORY_PER_ACCOUNT / 250 / 2);
        for share in others.iter_mut().chain([&mut first]) {
            share.hold(share.window() * 2);
        }
        assert!((1..=IN_MEMORY_PER_ACCOUNT).contains(&in_memory.load(Ordering::Relaxed)));
        let strangers: Vec<_> = (0..10_000_u128)
            .map(|other| shares.endpoint(AccountId::from_u128(2 + other), &Arc::default()))
            .collect();
        assert_eq!(first.window(), LEAST_WINDOW);
        drop((strangers, others));
        first.hold(3);
        assert_eq!((first.window(), in_memory.load(Ordering::Relaxed)), (LARGEST_WINDOW, 3));
        drop(first);
        assert_eq!(in_memory.load(Ordering::Relaxed), 0);
    }
}
