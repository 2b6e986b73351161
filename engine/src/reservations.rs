//! Limits on how many there may be of something: exact, however many are made at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::AccountId;
use tokio::sync::Notify;

/// What accounts are about to make: checked against a limit, and not in the store yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reservations(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    ended: Notify,
}

/// Each account's reservations, by the order in which they were asked for.
#[derive(Debug, Default)]
struct Pending {
    accounts: HashMap<AccountId, BTreeSet<u64>>,
    last: u64,
}

/// A place below a limit. It is held until what was made is in the store, or was not made.
#[derive(Debug)]
pub(crate) struct Reservation {
    shared: Arc<Shared>,
    account: AccountId,
    number: u64,
}

impl Reservations {
    /// Reserves one more of what `count` says how many there are in the store; `None` where those are `most` already.
    /// Where it depends on what becomes of others that were asked for before, it waits for them.
    ///
    /// # Errors
    /// What `count` fails of.
    pub(crate) async fn reserve<E, F>(
        &self,
        account: AccountId,
        most: u64,
        count: impl Fn() -> F,
    ) -> Result<Option<Reservation>, E>
    where
        F: Future<Output = Result<u64, E>>,
    {
        let reservation = self.0.enter(account);
        loop {
            let one_ends = self.0.ended.notified();
            // One that ends after this is counted twice at worst. Those that were asked for later count this one.
            let before = reservation.before();
            let there = count().await?;
            if there >= most {
                return Ok(None);
            }
            if there + before < most {
                return Ok(Some(reservation));
            }
            one_ends.await;
        }
    }
}

impl Shared {
    fn enter(self: &Arc<Self>, account: AccountId) -> Reservation {
        let mut pending = self.lock();
        pending.last += 1;
        let number = pending.last;
        pending.accounts.entry(account).or_default().insert(number);
        Reservation { shared: self.clone(), account, number }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// How many were asked for before this one and have not ended.
    fn before(&self) -> u64 {
        let pending = self.shared.lock();
        pending.accounts.get(&self.account).map_or(0, |numbers| numbers.range(..self.number).count() as u64)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut pending = self.shared.lock();
        if let Some(numbers) = pending.accounts.get_mut(&self.account) {
            numbers.remove(&self.number);
            if numbers.is_empty() {
                pending.accounts.remove(&self.account);
            }
        }
        drop(pending);
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const ACCOUNT: AccountId = AccountId::from_u128(1);

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn as_many_are_made_as_the_limit_allows_and_no_more_or_fewer() {
        for round in 0..50 {
            let (reservations, there) = (Reservations::default(), Arc::new(AtomicU64::new(990)));
            let creations = (0..32_u64).map(|number| {
                let (reservations, there) = (reservations.clone(), there.clone());
                tokio::spawn(async move {
                    let count = || async {
                        tokio::task::yield_now().await;
                        Ok::<_, ()>(there.load(Ordering::SeqCst))
                    };
                    let place = reservations.reserve(ACCOUNT, 1_000, count).await.unwrap();
                    tokio::task::yield_now().await;
                    // Every third is not made after all.
                    let is_made = place.is_some() && number % 3 != 0;
                    there.fetch_add(u64::from(is_made), Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    drop(place);
                    is_made
                })
            });
            let mut made = 0;
            for creation in creations.collect::<Vec<_>>() {
                made += u64::from(creation.await.unwrap());
            }
            assert_eq!((made, there.load(Ordering::SeqCst)), (10, 1_000), "round {round}");
            assert!(reservations.0.lock().accounts.is_empty());
        }
    }

    #[tokio::test]
    async fn another_account_waits_for_nobody() {
        let reservations = Reservations::default();
        let count = || async { Ok::<_, ()>(0) };
        let held = reservations.reserve(ACCOUNT, 1, count).await.unwrap();
        let other = reservations.reserve(AccountId::from_u128(2), 1, count).await.unwrap();
        assert!(held.is_some() && other.is_some());
    }
}
