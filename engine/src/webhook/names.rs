//! What names stand for, asked for so that names nobody answers for delay no others.
//!
//! The system's resolver holds a thread for as long as a name's servers like, and a runtime has only so many. So the
//! names that were told quickly the last time have threads of their own, which no other name ever takes.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How many names are asked for at once in each lane; a runtime has 512 threads for whatever blocks.
const AT_ONCE: usize = 192;

/// What takes longer was not quick.
const QUICK: Duration = Duration::from_secs(1);

/// How many quick names are remembered, all of an installation's endpoints; beyond that all are learnt anew.
const REMEMBERED: usize = 100_000;

/// Asks for a name and waits for the answer.
type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Who is asked for names; clones share its threads.
#[derive(Clone)]
pub(super) struct Names(Arc<Lanes>);

struct Lanes {
    ask: Box<Ask>,
    quick: Arc<Semaphore>,
    other: Arc<Semaphore>,
    known: Mutex<HashSet<String>>,
}

impl Names {
    /// Those that the system's resolver knows.
    pub(super) fn of_system() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    /// Those that `ask` knows, which may block.
    pub(super) fn new(ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        let lane = || Arc::new(Semaphore::new(AT_ONCE));
        Self(Arc::new(Lanes { ask: Box::new(ask), quick: lane(), other: lane(), known: Mutex::default() }))
    }

    /// The addresses that a name stands for right now.
    ///
    /// # Errors
    /// What the resolver says.
    pub(super) async fn addresses(&self, name: String) -> io::Result<Vec<IpAddr>> {
        let lanes = self.0.clone();
        let lane = if lanes.knows(&name) { &lanes.quick } else { &lanes.other };
        let place = lane.clone().acquire_owned().await.map_err(io::Error::other)?;
        let asked = tokio::task::spawn_blocking(move || {
            // Who asked may have given up; the thread is taken until the resolver does too.
            let _place = place;
            let began = Instant::now();
            let found = (lanes.ask)(&name);
            lanes.learn(name, found.is_ok() && began.elapsed() < QUICK);
            found
        });
        asked.await?
    }
}

impl Lanes {
    fn knows(&self, name: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    fn learn(&self, name: String, was_quick: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !was_quick {
            known.remove(&name);
            return;
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A resolver that answers for `good` at once, and for all others once the sender is dropped.
    fn resolver() -> (Names, Sender<()>) {
        let (end, is_over): (Sender<()>, Receiver<()>) = channel();
        let is_over = Mutex::new(is_over);
        let names = Names::new(move |name| {
            if !name.starts_with("good") {
                // One waits for the sender, and the others for that one.
                let _ = is_over.lock().unwrap().recv();
            }
            Ok(vec![IpAddr::from([93, 184, 215, 14])])
        });
        (names, end)
    }

    #[tokio::test]
    async fn names_that_nobody_answers_for_delay_none_that_were_quick() {
        let (names, end) = resolver();
        assert_eq!(names.addresses("good".to_owned()).await.unwrap().len(), 1);
        let dead: Vec<_> = (0..3 * AT_ONCE)
            .map(|n| {
                let names = names.clone();
                tokio::spawn(async move { names.addresses(format!("dead{n}")).await })
            })
            .collect();
        let is_full = async {
            while names.0.other.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), is_full).await.unwrap();
        // Only half of the threads wait, so one that was quick is asked for at once; a new one waits behind them.
        let again = tokio::time::timeout(Duration::from_secs(30), names.addresses("good".to_owned()));
        assert_eq!(again.await.unwrap().unwrap().len(), 1);
        let mut new = tokio::spawn({
            let names = names.clone();
            async move { names.addresses("good2".to_owned()).await }
        });
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut new).await.is_err());
        drop(end);
        for task in dead {
            task.await.unwrap().unwrap();
        }
        new.await.unwrap().unwrap();
        assert!(names.0.knows("good2"));
    }

    #[tokio::test]
    async fn a_name_that_was_not_told_is_not_quick_any_more() {
        let answers = Mutex::new(vec![Err(io::Error::other("none")), Ok(vec![IpAddr::from([1, 1, 1, 1])])]);
        let names = Names::new(move |_| answers.lock().unwrap().pop().unwrap());
        names.addresses("a".to_owned()).await.unwrap();
        assert!(names.0.knows("a"));
        assert!(names.addresses("a".to_owned()).await.is_err());
        assert!(!names.0.knows("a"));
    }
}
