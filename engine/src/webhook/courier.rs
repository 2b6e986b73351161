//! The courier: what all webhook sinks share, so that an endpoint that is slow, dead or hostile holds up nothing but
//! itself.
//!
//! One reader follows the outbox for all of them: what it reads is kept a while, and each of the account's sinks is given
//! of it what it asks for. One that is further behind has pages read for itself, when it is its account's turn. One
//! writer notes what came of the attempts of all of them, together. What nobody has room for stays in the outbox, so
//! that the memory that all this takes is bounded ([`super::share`]).

mod feed;
mod reading;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message};
use model::{AccountId, WebhookId};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::endpoint::Endpoint;
use super::post::Post;
use super::queue::{Fetch, Queue, Row};
use super::share::Shares;
use super::sink::{Again, Changed, Fetched, Heard, Leave, Rest, WebhookSink};
use crate::actors::deliver;
use crate::store::{
    Delivery, DeliveryStatus, Notes, OpenRows, Origin, Progress, Store, StoreError, StoredEvent, Webhook,
};
use feed::Feed;

/// How often what came of attempts is noted.
const BEAT: Duration = Duration::from_millis(25);

/// After how many beats the outbox is looked at though nobody rang: another process may have written.
const LOOK_EVERY: u32 = 40;

/// How many beats the store is left alone after it failed.
const STORE_PAUSE: u32 = 40;

/// How many events are read at once.
const PAGE: u32 = 1_000;

/// How many deliveries are noted without waiting for the next beat.
const MANY_NOTES: usize = 1_000;

/// While more deliveries than this are not noted yet, no sink is given more events.
const MOST_UNNOTED: usize = 10_000;

/// Something may have been committed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Doorbell;

/// Where the outbox ends: what comes after is read for everybody.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Begin(pub(crate) i64);

/// An endpoint is there; `rows` says what the store has of deliveries to it that are not settled.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Open {
    pub(crate) webhook: Webhook,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) rows: OpenRows,
}

/// An endpoint is another now; `hurry` where what failed before may work now.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Change {
    pub(crate) webhook: Webhook,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) hurry: bool,
}

/// Nothing more goes to an endpoint; tell when nothing more is written of how far it is.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close(pub(crate) WebhookId, pub(crate) oneshot::Sender<()>);

/// The store has events that are to be delivered once more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Replay(pub(crate) WebhookId);

/// Begin nothing more; tell when all that was under way is noted.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Finish(pub(crate) oneshot::Sender<()>);

/// What the store had of everybody's events.
#[derive(Message)]
#[rtype(result = "()")]
struct Page(Result<Vec<StoredEvent>, String>);

/// What the store had of the events that one endpoint waits for, of so many at most; and up to which place all was there.
#[derive(Message)]
#[rtype(result = "()")]
struct Own(Want, usize, i64, Result<Vec<Row>, String>);

/// What the store had of what one endpoint asked for.
#[derive(Message)]
#[rtype(result = "()")]
struct Found(WebhookId, Fetch, Result<Vec<Row>, String>);

/// A sink has room for so many events after a place; it is answered when there are some.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(super) struct Want {
    pub(super) id: WebhookId,
    pub(super) read: i64,
    pub(super) room: usize,
}

/// A sink has room for what it left in the store; it is answered in any case.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub(super) struct WantFetched(pub(super) WebhookId, pub(super) Fetch);

/// What came of a sink's attempt; and how far it is, with whether rows before that can be closed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Note {
    pub(super) id: WebhookId,
    pub(super) delivery: Option<Delivery>,
    pub(super) moved: Option<(Progress, bool)>,
}

/// Of a sink that is to rest nothing is on its way.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Idle(pub(super) WebhookId);

/// The notes are written, or not.
#[derive(Message)]
#[rtype(result = "()")]
struct Noted(Arc<Notes>, Result<(), String>);

/// A sink, what it waits for, and how far it said that it is.
struct Sink {
    account: AccountId,
    address: Addr<WebhookSink>,
    want: Option<Want>,
    fetch: Option<Fetch>,
    settled: i64,
    /// The last event of which the store had a delivery when the sink was opened.
    known_until: i64,
}

/// The actor.
pub(crate) struct Courier {
    store: Store,
    /// Where the store's connections live.
    io: Handle,
    post: Post,
    /// Rung from outside, so that a thousand commits are one message.
    bell: Arc<AtomicBool>,
    sinks: HashMap<WebhookId, Sink>,
    /// How many sinks each account has.
    siblings: HashMap<AccountId, Arc<AtomicUsize>>,
    shares: Shares,
    feed: Feed,
    /// The event that was read last.
    read: i64,
    is_reading: bool,
    may_have_more: bool,
    tried: Vec<Delivery>,
    moved: HashMap<WebhookId, (Progress, bool)>,
    is_noting: bool,
    unwritten: Option<Arc<Notes>>,
    /// Who waits for the end of what is being written, because their endpoint is closed.
    closing: Vec<oneshot::Sender<()>>,
    beats: u32,
    pause: u32,
    /// Sinks of which something is on its way, while all are to rest; and who waits for that.
    finishing: Option<(HashSet<WebhookId>, oneshot::Sender<()>)>,
}

impl Courier {
    /// `in_memory` is where the number of events that wait in memory is published.
    pub(crate) fn new(
        store: Store,
        io: Handle,
        post: Post,
        bell: Arc<AtomicBool>,
        in_memory: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            store,
            io,
            post,
            bell,
            sinks: HashMap::new(),
            siblings: HashMap::new(),
            shares: Shares::new(in_memory),
            feed: Feed::default(),
            read: 0,
            is_reading: false,
            may_have_more: false,
            tried: Vec::new(),
            moved: HashMap::new(),
            is_noting: false,
            unwritten: None,
            closing: Vec::new(),
            beats: 0,
            pause: 0,
            finishing: None,
        }
    }

    /// Asks the store for something; the answer comes back as a message.
    fn ask<T: Send + 'static, M>(
        &self,
        ctx: &Context<Self>,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        answer: impl FnOnce(Result<T, String>) -> M + Send + 'static,
    ) where
        Self: Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        let me = ctx.address();
        self.io.spawn(async move {
            let result = question.await.map_err(|error| error.to_string());
            deliver(&me, answer(result));
        });
    }

    /// Follows the outbox, as long as somebody listens.
    fn follow(&mut self, ctx: &Context<Self>) {
        if self.is_reading || !self.may_have_more || self.feed.is_empty() || self.finishing.is_some() {
            return;
        }
        self.is_reading = true;
        self.may_have_more = false;
        let (store, read) = (self.store.clone(), self.read);
        self.ask(ctx, async move { store.outbox_after(read, PAGE).await }, Page);
    }

    /// Notes what came of the attempts since it did so last, of all endpoints at once.
    fn note(&mut self, ctx: &Context<Self>) {
        if self.is_noting || self.pause > 0 {
            return;
        }
        let notes = self.unwritten.take().unwrap_or_else(|| Arc::new(self.gather()));
        if notes.is_empty() {
            return;
        }
        self.is_noting = true;
        let (store, written) = (self.store.clone(), notes.clone());
        self.ask(ctx, async move { store.note(&written).await }, move |result| Noted(notes, result));
    }

    fn gather(&mut self) -> Notes {
        let mut notes = Notes::default();
        for mut delivery in std::mem::take(&mut self.tried) {
            let is_waiting = delivery.status == DeliveryStatus::Waiting;
            let is_open = match self.sinks.get(&delivery.webhook_id) {
                // A start has to know of what is still to be made, and of what was made before something that is.
                Some(sink) => {
                    is_waiting || (delivery.origin == Origin::Event && delivery.event_seq > sink.settled)
                }
                None => {
                    give_up(&mut delivery);
                    false
                }
            };
            notes.deliveries.push((delivery, is_open));
        }
        for (id, (progress, closes)) in std::mem::take(&mut self.moved) {
            if !self.sinks.contains_key(&id) {
                continue;
            }
            if closes {
                notes.closed.push((id, progress.settled));
            }
            notes.progress.push((id, progress));
        }
        notes
    }

    fn forget(&mut self, id: WebhookId) {
        let Some(sink) = self.sinks.remove(&id) else { return };
        deliver(&sink.address, Leave);
        if !self.sinks.values().any(|other| other.account == sink.account) {
            self.feed.close(sink.account);
            self.siblings.remove(&sink.account);
        }
    }

    /// Writes no more how far endpoints got that are gone, and tells those who wait for that.
    fn end_closing(&mut self) {
        if self.is_noting {
            return;
        }
        if let Some(notes) = &mut self.unwritten {
            Arc::make_mut(notes).progress.retain(|(id, _)| self.sinks.contains_key(id));
        }
        for done in self.closing.drain(..) {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
    }

    /// Whether all is written that there was to write.
    fn is_written(&self) -> bool {
        self.tried.is_empty() && self.moved.is_empty() && self.unwritten.is_none() && !self.is_noting
    }

    /// Looks after whatever goes by the clock.
    fn beat(&mut self, ctx: &Context<Self>) {
        self.beats = self.beats.wrapping_add(1);
        self.pause = self.pause.saturating_sub(1);
        self.note(ctx);
        if self.beats.is_multiple_of(LOOK_EVERY) {
            self.may_have_more = true;
            self.serve_all(None, ctx);
        }
        if self.pause == 0 {
            self.follow(ctx);
        }
        let is_over = self.is_written() && self.finishing.as_ref().is_some_and(|(busy, _)| busy.is_empty());
        if let Some((_, done)) = self.finishing.take_if(|_| is_over) {
            // Whoever asked may have lost patience.
            let _ = done.send(());
        }
    }

    fn failed(&mut self, error: &str) {
        tracing::error!(error, "the store failed the webhooks");
        self.pause = STORE_PAUSE;
    }
}

impl Actor for Courier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(BEAT, |courier, ctx| courier.beat(ctx));
    }
}

impl Handler<Begin> for Courier {
    type Result = ();

    fn handle(&mut self, Begin(end): Begin, _: &mut Self::Context) {
        self.read = end;
    }
}

impl Handler<Doorbell> for Courier {
    type Result = ();

    fn handle(&mut self, _: Doorbell, ctx: &mut Self::Context) {
        self.bell.store(false, Ordering::Release);
        self.may_have_more = true;
        self.follow(ctx);
    }
}

impl Handler<Open> for Courier {
    type Result = ();

    fn handle(&mut self, open: Open, ctx: &mut Self::Context) {
        let Open { webhook, endpoint, rows } = open;
        if self.feed.is_empty() {
            // What was not followed is nobody's here.
            self.read = self.read.max(webhook.progress.settled);
        }
        let (id, account, settled) = (webhook.id, webhook.account_id, webhook.progress.settled);
        self.feed.open(account, self.read);
        let known_until = rows.last_event.unwrap_or(settled);
        let queue = Queue::new(&webhook, known_until > settled, rows.first_replay);
        let share = self.shares.endpoint(account, self.siblings.entry(account).or_default());
        let address = WebhookSink::new(id, endpoint, queue, self.post.clone(), ctx.address(), share).start();
        self.sinks.insert(id, Sink { account, address, want: None, fetch: None, settled, known_until });
        self.may_have_more = true;
        self.follow(ctx);
    }
}

impl Handler<Change> for Courier {
    type Result = ();

    fn handle(&mut self, change: Change, _: &mut Self::Context) {
        let Change { webhook, endpoint, hurry } = change;
        if let Some(sink) = self.sinks.get(&webhook.id) {
            deliver(&sink.address, Changed { webhook, endpoint, hurry });
        }
    }
}

impl Handler<Close> for Courier {
    type Result = ();

    fn handle(&mut self, Close(id, done): Close, _: &mut Self::Context) {
        self.forget(id);
        self.moved.remove(&id);
        for delivery in self.tried.iter_mut().filter(|delivery| delivery.webhook_id == id) {
            give_up(delivery);
        }
        self.closing.push(done);
        self.end_closing();
    }
}

impl Handler<Replay> for Courier {
    type Result = ();

    fn handle(&mut self, Replay(id): Replay, _: &mut Self::Context) {
        if let Some(sink) = self.sinks.get(&id) {
            deliver(&sink.address, Again);
        }
    }
}

impl Handler<Finish> for Courier {
    type Result = ();

    fn handle(&mut self, Finish(done): Finish, ctx: &mut Self::Context) {
        for sink in self.sinks.values() {
            deliver(&sink.address, Rest);
        }
        self.finishing = Some((self.sinks.keys().copied().collect(), done));
        self.note(ctx);
    }
}

impl Handler<Page> for Courier {
    type Result = ();

    fn handle(&mut self, Page(events): Page, ctx: &mut Self::Context) {
        self.is_reading = false;
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                self.may_have_more = true;
                return self.failed(&error);
            }
        };
        self.may_have_more |= events.len() >= PAGE as usize;
        let mut told = HashSet::new();
        for event in events {
            if event.seq <= self.read {
                continue;
            }
            self.read = event.seq;
            let account = event.account_id;
            if self.feed.push(event) {
                told.insert(account);
            }
        }
        self.serve_all(Some(&told), ctx);
        self.follow(ctx);
    }
}

impl Handler<Own> for Courier {
    type Result = ();

    fn handle(&mut self, Own(want, limit, complete, rows): Own, _: &mut Self::Context) {
        let Some(sink) = self.sinks.get_mut(&want.id) else { return };
        match rows {
            Ok(rows) => {
                let read = if rows.len() < limit { complete } else { 0 };
                deliver(&sink.address, Heard(rows, read));
            }
            Err(error) => {
                sink.want = Some(want);
                self.failed(&error);
            }
        }
    }
}

impl Handler<Found> for Courier {
    type Result = ();

    fn handle(&mut self, Found(id, fetch, rows): Found, _: &mut Self::Context) {
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        match rows {
            Ok(rows) => {
                // Of a full page of replays some may be left out because their events are forgotten.
                let is_full = rows.len() >= fetch.limit;
                let has_more = is_full || (fetch.origin == Origin::Replay && !rows.is_empty());
                deliver(&sink.address, Fetched(fetch, rows, has_more));
            }
            Err(error) => {
                sink.fetch = Some(fetch);
                self.failed(&error);
            }
        }
    }
}

impl Handler<WantFetched> for Courier {
    type Result = ();

    fn handle(&mut self, WantFetched(id, fetch): WantFetched, ctx: &mut Self::Context) {
        if let Some(sink) = self.sinks.get_mut(&id) {
            sink.fetch = Some(fetch);
            self.serve(id, ctx);
        }
    }
}

impl Handler<Want> for Courier {
    type Result = ();

    fn handle(&mut self, want: Want, ctx: &mut Self::Context) {
        if let Some(sink) = self.sinks.get_mut(&want.id) {
            sink.want = Some(want);
            self.serve(want.id, ctx);
        }
    }
}

impl Handler<Note> for Courier {
    type Result = ();

    fn handle(&mut self, Note { id, delivery, moved }: Note, ctx: &mut Self::Context) {
        self.tried.extend(delivery);
        if let Some((progress, closes)) = moved {
            if let Some(sink) = self.sinks.get_mut(&id) {
                sink.settled = progress.settled;
            }
            let before = self.moved.get(&id).is_some_and(|(_, closes)| *closes);
            self.moved.insert(id, (progress, closes || before));
        }
        if self.tried.len() >= MANY_NOTES {
            self.note(ctx);
        }
    }
}

impl Handler<Idle> for Courier {
    type Result = ();

    fn handle(&mut self, Idle(id): Idle, _: &mut Self::Context) {
        if let Some((busy, _)) = &mut self.finishing {
            busy.remove(&id);
        }
    }
}

impl Handler<Noted> for Courier {
    type Result = ();

    fn handle(&mut self, Noted(notes, result): Noted, ctx: &mut Self::Context) {
        self.is_noting = false;
        match result {
            Ok(()) => {
                for (id, progress) in &notes.progress {
                    if let Some(why) = &progress.disabled {
                        tracing::warn!(webhook = %id, why, "an endpoint is disabled");
                        self.forget(*id);
                    }
                }
                self.end_closing();
                if notes.deliveries.len() >= MOST_UNNOTED {
                    self.serve_all(None, ctx);
                }
                if self.tried.len() >= MANY_NOTES {
                    self.note(ctx);
                }
            }
            // What was not noted is told again after a restart, under the same id.
            Err(error) => {
                self.failed(&error);
                self.unwritten = Some(notes).filter(|notes| !notes.is_empty());
                self.end_closing();
            }
        }
    }
}

/// Has a delivery that was to be made again not made any more.
fn give_up(delivery: &mut Delivery) {
    if delivery.status == DeliveryStatus::Waiting {
        (delivery.status, delivery.next_at) = (DeliveryStatus::Failed, None);
    }
}
