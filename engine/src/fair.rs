//! A semaphore whose permits are shared fairly between accounts (or whatever else its keys are).

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A semaphore that serves its keys in turn and gives none of them more than its share: a key with a thousand waiters
/// delays another key by one turn. Clones share the permits.
#[derive(Debug)]
pub struct FairSemaphore<K: Copy + Eq + Hash> {
    state: Arc<Mutex<State<K>>>,
}

impl<K: Copy + Eq + Hash> Clone for FairSemaphore<K> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone() }
    }
}

#[derive(Debug)]
struct State<K: Copy + Eq + Hash> {
    free: usize,
    per_key: usize,
    held: HashMap<K, usize>,
    waiting: HashMap<K, VecDeque<oneshot::Sender<FairPermit<K>>>>,
    /// Keys with waiters, each once; the first is served next.
    turns: VecDeque<K>,
}

/// One permit, given back when it is dropped.
#[derive(Debug)]
pub struct FairPermit<K: Copy + Eq + Hash> {
    semaphore: FairSemaphore<K>,
    key: K,
}

impl<K: Copy + Eq + Hash> FairSemaphore<K> {
    /// A semaphore with `total` permits, of which a key holds at most `per_key`; both are at least 1.
    pub fn new(total: usize, per_key: usize) -> Self {
        let state = State {
            free: total.max(1),
            per_key: per_key.max(1),
            held: HashMap::new(),
            waiting: HashMap::new(),
            turns: VecDeque::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a permit. A wait that is dropped gives up its place.
    pub async fn acquire(&self, key: K) -> FairPermit<K> {
        let permit = {
            let (sender, permit) = oneshot::channel();
            let mut state = self.lock();
            let waiting = state.waiting.entry(key).or_default();
            waiting.push_back(sender);
            if waiting.len() == 1 {
                state.turns.push_back(key);
            }
            permit
        };
        self.serve();
        // A sender is dropped only once its receiver is.
        permit.await.unwrap_or_else(|_| unreachable!("a waiter that still listens is not forgotten"))
    }

    /// How many wait for a permit of `key`.
    pub fn waiting(&self, key: K) -> usize {
        let state = self.lock();
        state.waiting.get(&key).map_or(0, |waiting| waiting.iter().filter(|one| !one.is_closed()).count())
    }

    /// Whether `key` holds its whole share.
    pub fn is_used_up(&self, key: K) -> bool {
        let state = self.lock();
        state.held.get(&key).is_some_and(|held| *held >= state.per_key)
    }

    /// Hands free permits to those whose turn it is.
    fn serve(&self) {
        loop {
            // The lock is released before a permit is sent: one that nobody takes is dropped here, which locks again.
            let Some((key, sender)) = self.lock().next() else { return };
            let _ = sender.send(FairPermit { semaphore: self.clone(), key });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash> State<K> {
    fn next(&mut self) -> Option<(K, oneshot::Sender<FairPermit<K>>)> {
        if self.free == 0 {
            return None;
        }
        for _ in 0..self.turns.len() {
            let key = self.turns.pop_front()?;
            let Some(waiting) = self.waiting.get_mut(&key) else { continue };
            while waiting.pop_front_if(|one| one.is_closed()).is_some() {}
            let may_take = self.held.get(&key).is_none_or(|held| *held < self.per_key);
            let sender = if may_take { waiting.pop_front() } else { None };
            if waiting.is_empty() {
                self.waiting.remove(&key);
            } else {
                self.turns.push_back(key);
            }
            if let Some(sender) = sender {
                self.free -= 1;
                *self.held.entry(key).or_default() += 1;
                return Some((key, sender));
            }
        }
        None
    }
}

impl<K: Copy + Eq + Hash> Drop for FairPermit<K> {
    fn drop(&mut self) {
        let mut state = self.semaphore.lock();
        state.free += 1;
        if let Some(held) = state.held.get_mut(&self.key) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.key);
            }
        }
        drop(state);
        self.semaphore.serve();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_key_with_many_waiters_delays_another_by_one_turn() {
        let semaphore = FairSemaphore::new(2, 1);
        let noisy = semaphore.acquire("noisy").now_or_never().unwrap();
        let mut crowd: Vec<_> = (0..100).map(|_| Box::pin(semaphore.acquire("noisy"))).collect();
        for one in &mut crowd {
            assert!(one.as_mut().now_or_never().is_none(), "the share is one");
        }
        assert_eq!((semaphore.waiting("noisy"), semaphore.is_used_up("noisy")), (100, true));
        let quiet = semaphore.acquire("quiet").now_or_never().expect("one permit is left for others");
        let mut late = pin!(semaphore.acquire("late"));
        assert!(late.as_mut().now_or_never().is_none(), "all are taken");
        drop(quiet);
        let late = late.now_or_never().expect("the free permit is not the crowd's");
        drop((noisy, late));
        assert_eq!(semaphore.waiting("noisy"), 99, "one of the crowd has its turn");
    }

    #[test]
    fn a_wait_that_is_dropped_takes_nothing_along() {
        let semaphore = FairSemaphore::new(1, 1);
        let held = semaphore.acquire(1).now_or_never().unwrap();
        for _ in 0..1_000 {
            assert!(semaphore.acquire(2).now_or_never().is_none());
        }
        let mut given = Box::pin(semaphore.acquire(3));
        assert!(given.as_mut().now_or_never().is_none());
        drop(held);
        // It was sent to a wait that is dropped before it looks.
        drop(given);
        assert!(semaphore.acquire(4).now_or_never().is_some());
        let state = semaphore.lock();
        assert!(state.held.is_empty() && state.waiting.is_empty() && state.turns.is_empty());
    }
}
