//! The owners of the bots: all day long they start and stop them, one after the other, whatever becomes of the server
//! meanwhile. Whoever gets no answer asks again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How long an answer may take, and how long after none it is asked again.
const ANSWER: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(20);

/// How long one wish may go unanswered, through all restarts.
const PATIENCE: Duration = Duration::from_mins(1);

/// An account and the bots that its owner turns on and off.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) key: String,
    pub(crate) bots: Vec<String>,
}

/// Where the server is, while it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place(Arc<Mutex<Option<String>>>);

impl Place {
    /// The server is there, or nowhere.
    pub(crate) fn set(&self, url: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How often each bot was turned on and off, as the server said.
pub(crate) type Turned = HashMap<String, usize>;

/// The owners at work.
#[derive(Debug)]
pub(crate) struct Work {
    thread: JoinHandle<Result<Turned>>,
    done: Arc<AtomicUsize>,
}

impl Work {
    /// Has them turn bots so many times in all, one in every such while.
    pub(crate) fn begin(owners: Vec<Owner>, place: Place, times: usize, every: Duration) -> Self {
        let done = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = done.clone();
        // They share the pace.
        let every = every * u32::try_from(owners.len()).unwrap_or(u32::MAX);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let work = owners.into_iter().map(|owner| {
                    let (place, begun, done) = (place.clone(), begun.clone(), counted.clone());
                    tokio::spawn(async move { owner.work(&place, every, &begun, &done, times).await })
                });
                let mut all = Turned::new();
                for owner in work.collect::<Vec<_>>() {
                    all.extend(owner.await.context("an owner panicked")??);
                }
                Ok(all)
            })
        });
        Self { thread, done }
    }

    /// How often a bot was turned so far.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether they have gone home.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// What they have done.
    pub(crate) fn end(self) -> Result<Turned> {
        self.thread.join().ok().context("the owners' thread panicked")?
    }
}

impl Owner {
    async fn work(
        self,
        place: &Place,
        every: Duration,
        begun: &AtomicUsize,
        done: &AtomicUsize,
        times: usize,
    ) -> Result<Turned> {
        let http = reqwest::Client::builder().timeout(ANSWER).build()?;
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut turned = Turned::new();
        let all = |verb: &'static str| self.bots.iter().map(move |bot| (bot.clone(), verb));
        let day: Vec<(String, &str)> = all("start").chain(all("stop")).collect();
        let mut wishes = day.iter().cycle();
        while begun.fetch_add(1, Ordering::Relaxed) < times
            && let Some((bot, verb)) = wishes.next()
        {
            due.tick().await;
            self.turn(&http, place, bot, verb).await?;
            *turned.entry(bot.clone()).or_default() += 1;
            done.fetch_add(1, Ordering::Relaxed);
        }
        // At the end of the day all are off.
        for (bot, times) in turned.iter_mut().filter(|(_, times)| !times.is_multiple_of(2)) {
            self.turn(&http, place, bot, "stop").await?;
            *times += 1;
        }
        Ok(turned)
    }

    /// Asks until it is said to be done.
    async fn turn(&self, http: &reqwest::Client, place: &Place, bot: &str, verb: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline {
            if let Some(url) = place.get() {
                let request = http.post(format!("{url}/v1/bots/{bot}/{verb}")).bearer_auth(&self.key);
                match request.json(&json!({})).send().await {
                    Ok(answer) if answer.status().is_success() => return Ok(()),
                    Ok(answer) => {
                        let status = answer.status();
                        last = format!("{status} {}", answer.text().await.unwrap_or_default());
                    }

                    Err(error) => last = error.to_string(),
                }
            }
            sleep(AGAIN).await;
        }
        bail!("{bot} could not be told to {verb}: {last}")
    }
}
