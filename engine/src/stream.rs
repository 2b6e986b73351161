//! What happens in one account, as it happens: every committed event once, in order, from any of them on; and where
//! each bot is in its life.
//!
//! Events are read from the outbox when whoever follows asks for more, so that nothing is lost or told twice however
//! slow that is, and nothing is kept for it. Where a bot is, is a state: all of them are told first, then each change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use model::{AccountId, BotId, EventId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use crate::change::{BotStatus, BotTrouble};
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::{BotFilter, News, StoredEvent};

/// How many events are read at once.
const PAGE: u32 = 100;

/// How many changes of bots wait for one that follows; more, and all are read anew.
const WAITING: usize = 256;

/// How long a commit of another process may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many may follow one account at once.
const MOST_FOLLOWERS: usize = 20;

/// A place before every event: where one begins who follows an account in which nothing has happened yet.
const BEFORE_ALL: EventId = EventId::from_u128(0);

/// Where a bot is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BotTurn {
    /// Which bot.
    pub bot_id: BotId,
    /// Its status; `None` once it was deleted.
    pub status: Option<BotStatus>,
    /// Why it cannot go on, when `status` is [`BotStatus::Error`].
    pub trouble: Option<BotTrouble>,
}

/// What is told to whoever follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// From where to go on after a break, before anything happened.
    From(EventId),
    /// Something happened.
    Event(Arc<StoredEvent>),
    /// A bot is where it is.
    Bot(BotTurn),
}

/// A bell: something may have been committed, or a bot has turned.
#[derive(Clone, Debug)]
enum Ring {
    Committed,
    Turned(BotTurn),
}

/// Who follows which account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followers(Arc<DashMap<AccountId, broadcast::Sender<Ring>>>);

impl Followers {
    /// Tells those whom something concerns that was committed.
    pub(crate) fn committed(&self, news: &News) {
        if self.0.is_empty() {
            return;
        }
        let mut left = HashSet::new();
        let mut ring = |account: AccountId, ring: Ring| {
            // Nobody listens any more where it cannot be sent.
            if self.0.get(&account).is_some_and(|sender| sender.send(ring).is_err()) {
                left.insert(account);
            }
        };
        for (account, turn) in &news.turned {
            ring(*account, Ring::Turned(turn.clone()));
        }
        for account in &news.told {
            ring(*account, Ring::Committed);
        }
        for account in left {
            self.0.remove_if(&account, |_, sender| sender.receiver_count() == 0);
        }
    }

    fn follow(&self, account: AccountId) -> Option<broadcast::Receiver<Ring>> {
        let sender = self.0.entry(account).or_insert_with(|| broadcast::channel(WAITING).0);
        (sender.receiver_count() < MOST_FOLLOWERS).then(|| sender.subscribe())
    }
}

/// What one who follows an account has heard.
pub struct EventStream {
    engine: EngineHandle,
    account: AccountId,
    rings: broadcast::Receiver<Ring>,
    /// The place of the last event that was told.
    after: i64,
    bots: HashMap<BotId, BotTurn>,
    may_have_more: bool,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("account", &self.account).finish_non_exhaustive()
    }
}

impl EngineHandle {
    /// Follows an account from after an event on, or else from now on; with what is told at once.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] where there is no such event any more, [`EngineError::Conflict`] where too many follow
    /// already.
    pub async fn follow(
        &self,
        account: AccountId,
        after: Option<EventId>,
    ) -> Result<(EventStream, Vec<Told>), EngineError> {
        let Some(rings) = self.inner.followers.follow(account) else {
            let message =
                format!("this account is followed {MOST_FOLLOWERS} times already: end another stream");
            return Err(EngineError::Conflict { code: "too_many_streams", message });
        };
        let found = self
            .on_store(move |store| async move {
                match after {
                    Some(BEFORE_ALL) => Ok(Some((BEFORE_ALL, 0))),
                    Some(id) => Ok(store.event(account, id).await?.map(|event| (event.id, event.seq))),
                    None => {
                        let last =
                            store.events(account, &crate::store::EventFilter::default(), 1, None).await?;
                        let last = last.rows.first().map(|event| (event.id, event.seq));
                        Ok(Some(last.unwrap_or((BEFORE_ALL, 0))))
                    }
                }
            })
            .await?;
        let why = "names no event of the last 30 days: catch up with GET /v1/events, and follow without it";
        let (id, seq) = found.ok_or_else(|| EngineError::field("Last-Event-ID", why))?;
        let engine = self.clone();
        let (bots, after) = (HashMap::new(), seq);
        let mut stream = EventStream { engine, account, rings, after, bots, may_have_more: true };
        let mut told = vec![Told::From(id)];
        told.extend(stream.look_at_bots().await?.into_iter().map(Told::Bot));
        Ok((stream, told))
    }
}

impl EventStream {
    /// What happens next; nothing where nothing happens until a deadline.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn next(&mut self, deadline: Instant) -> Result<Vec<Told>, EngineError> {
        loop {
            if self.may_have_more {
                let (account, after) = (self.account, self.after);
                let ask = move |store: crate::store::Store| async move {
                    store.events_after(account, after, PAGE).await
                };
                let events = self.engine.read_list(self.account, ask).await?;
                self.may_have_more = events.len() >= PAGE as usize;
                if let Some(last) = events.last() {
                    self.after = last.seq;
                    return Ok(events.into_iter().map(|event| Told::Event(Arc::new(event))).collect());
                }
            }
            let until = deadline.min(Instant::now() + LOOK_EVERY);
            match timeout_at(until, self.rings.recv()).await {
                Ok(Ok(Ring::Turned(turn))) => {
                    if self.learn(&turn) {
                        return Ok(vec![Told::Bot(turn)]);
                    }
                }
                Ok(Err(RecvError::Lagged(_))) => {
                    self.may_have_more = true;
                    let turns = self.look_at_bots().await?;
                    if !turns.is_empty() {
                        return Ok(turns.into_iter().map(Told::Bot).collect());
                    }
                }
                Ok(Err(RecvError::Closed)) => {
                    return Err(EngineError::Unavailable("the engine stops".to_owned()));
                }
                Err(_) if Instant::now() >= deadline => return Ok(Vec::new()),
                Ok(Ok(Ring::Committed)) | Err(_) => self.may_have_more = true,
            }
        }
    }

    /// Whether a bot is elsewhere than it was told to be last.
    fn learn(&mut self, turn: &BotTurn) -> bool {
        if turn.status.is_none() {
            return self.bots.remove(&turn.bot_id).is_some();
        }
        self.bots.insert(turn.bot_id, turn.clone()).as_ref() != Some(turn)
    }

    /// Where all bots are, as far as that is new.
    async fn look_at_bots(&mut self) -> Result<Vec<BotTurn>, EngineError> {
        let (mut turns, mut after) = (Vec::new(), None);
        let mut gone: HashSet<BotId> = self.bots.keys().copied().collect();
        loop {
            let page = self.engine.bots(self.account, BotFilter::default(), 1_000, after).await?;
            after = page.rows.last().map(|bot| bot.id);
            for bot in page.rows {
                gone.remove(&bot.id);
                let turn = BotTurn { bot_id: bot.id, status: Some(bot.status), trouble: bot.trouble };
                if self.learn(&turn) {
                    turns.push(turn);
                }
            }
            if !page.has_more {
                break;
            }
        }
        for bot_id in gone {
            self.bots.remove(&bot_id);
            turns.push(BotTurn { bot_id, status: None, trouble: None });
        }
        Ok(turns)
    }
}
