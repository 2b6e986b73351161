//! The courier: every endpoint, what each still has to hear, and the requests on their way to them.
//!
//! One reader follows the outbox for all of them: what it reads is kept a while for the account that it is about, and
//! each of the account's endpoints takes it from there when it has room. One that is further behind reads for itself.
//! One writer notes what came of the attempts of all of them, together. So an endpoint that is slow, dead or hostile
//! holds up nothing but itself.

mod feed;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message};
use model::{AccountId, Timestamp, WebhookId};
use rand::Rng as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::endpoint::Endpoint;
use super::post::Post;
use super::queue::{Lane, Outcome, Queue};
use crate::actors::deliver;
use crate::clock;
use crate::store::{Attempt, Delivery, DeliveryStatus, Notes, Store, StoreError, StoredEvent, Webhook};
use feed::Feed;

/// How often what is due is looked at, and what came of attempts is noted.
const BEAT: Duration = Duration::from_millis(25);

/// After how many beats the outbox is looked at though nobody rang: another process may have written.
const LOOK_EVERY: u32 = 40;

/// How many beats the store is left alone after it failed.
const STORE_PAUSE: u32 = 40;

/// How many events are read at once.
const PAGE: u32 = 1_000;

/// How many deliveries are noted without waiting for the next beat.
const MANY_NOTES: usize = 1_000;

/// Something may have been committed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Doorbell;

/// Where the outbox ends: what comes after is read for everybody.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Begin(pub(crate) i64);

/// An endpoint is there; `known` are its deliveries that a start has to know of.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Open {
    pub(crate) webhook: Webhook,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) known: Vec<Delivery>,
}

/// An endpoint is another now; `hurry` where what failed before may work now.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Change {
    pub(crate) webhook: Webhook,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) hurry: bool,
}

/// Nothing more goes to an endpoint.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close(pub(crate) WebhookId);

/// Events are delivered once more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Replay(pub(crate) WebhookId, pub(crate) Vec<(Arc<StoredEvent>, Delivery)>);

/// Begin nothing more; tell when all that was under way is noted.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Finish(pub(crate) oneshot::Sender<()>);

/// What the store had of everybody's events.
#[derive(Message)]
#[rtype(result = "()")]
struct Page(Result<Vec<StoredEvent>, String>);

/// What the store had for one endpoint; and up to which place all was there.
#[derive(Message)]
#[rtype(result = "()")]
struct Own(WebhookId, i64, Result<Vec<StoredEvent>, String>);

/// An attempt is over.
#[derive(Message)]
#[rtype(result = "()")]
struct Tried {
    id: WebhookId,
    lane: Lane,
    came: (Outcome, Attempt),
}

/// The notes are written, or not.
#[derive(Message)]
#[rtype(result = "()")]
struct Noted(Arc<Notes>, Result<(), String>);

/// What an endpoint that is disabled still had to hear is given up, or not.
#[derive(Message)]
#[rtype(result = "()")]
struct GivenUp(Result<(), String>);

/// An endpoint that is delivered to.
struct Sink {
    account: AccountId,
    endpoint: Arc<Endpoint>,
    queue: Queue,
    is_reading: bool,
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
    feeds: HashMap<AccountId, Feed>,
    /// The event that was read last.
    read: i64,
    is_reading: bool,
    may_have_more: bool,
    /// Endpoints by when something of theirs is due next.
    due: BTreeSet<(Timestamp, WebhookId)>,
    tried: Vec<Delivery>,
    moved: HashSet<WebhookId>,
    is_noting: bool,
    unwritten: Option<Arc<Notes>>,
    beats: u32,
    pause: u32,
    finishing: Option<oneshot::Sender<()>>,
}

impl Courier {
    pub(crate) fn new(store: Store, io: Handle, post: Post, bell: Arc<AtomicBool>) -> Self {
        Self {
            store,
            io,
            post,
            bell,
            sinks: HashMap::new(),
            feeds: HashMap::new(),
            read: 0,
            is_reading: false,
            may_have_more: false,
            due: BTreeSet::new(),
            tried: Vec::new(),
            moved: HashSet::new(),
            is_noting: false,
            unwritten: None,
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
        if self.is_reading || !self.may_have_more || self.feeds.is_empty() || self.finishing.is_some() {
            return;
        }
        self.is_reading = true;
        self.may_have_more = false;
        let (store, read) = (self.store.clone(), self.read);
        self.ask(ctx, async move { store.outbox_after(read, PAGE).await }, Page);
    }

    /// Gives an endpoint what it has room for, and sends what is due.
    fn turn(&mut self, id: WebhookId, ctx: &Context<Self>) {
        if self.finishing.is_some() {
            return;
        }
        let now = clock::now();
        self.feed(id, now, ctx);
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        let me = ctx.address();
        while let Some((lane, event)) = sink.queue.next(now) {
            send(&me, &self.post, id, &sink.endpoint, lane, &event);
        }
        if let Some(due) = sink.queue.due().filter(|due| *due > now) {
            self.due.insert((due, id));
        }
    }

    fn feed(&mut self, id: WebhookId, now: Timestamp, ctx: &Context<Self>) {
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        let Some(feed) = self.feeds.get(&sink.account) else { return };
        while let Some((read, room)) = sink.queue.wants() {
            match feed.after(read, room) {
                Some(events) if events.is_empty() => return,
                Some(events) => {
                    sink.queue.push(events, read, now);
                    self.moved.insert(id);
                }
                None => {
                    if !std::mem::replace(&mut sink.is_reading, true) {
                        let (store, account, complete) = (self.store.clone(), sink.account, self.read);
                        let page = async move { store.events_after(account, read, PAGE).await };
                        self.ask(ctx, page, move |page| Own(id, complete, page));
                    }
                    return;
                }
            }
        }
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
            let is_open = match self.sinks.get_mut(&delivery.webhook_id) {
                Some(sink) => sink.queue.holds(&delivery),
                None => {
                    if delivery.status == DeliveryStatus::Waiting {
                        (delivery.status, delivery.next_at) = (DeliveryStatus::Failed, None);
                    }
                    false
                }
            };
            notes.deliveries.push((delivery, is_open));
        }
        for id in std::mem::take(&mut self.moved) {
            let Some((progress, closes)) = self.sinks.get_mut(&id).and_then(|sink| sink.queue.moved()) else {
                continue;
            };
            if closes {
                notes.closed.push((id, progress.settled));
            }
            notes.progress.push((id, progress));
        }
        notes
    }

    /// Lets an endpoint go that is disabled.
    fn let_go(&mut self, id: WebhookId, why: &str, ctx: &Context<Self>) {
        tracing::warn!(webhook = %id, why, "an endpoint is disabled");
        self.forget(id);
        let store = self.store.clone();
        self.ask(ctx, async move { store.give_up(id).await }, GivenUp);
    }

    fn forget(&mut self, id: WebhookId) {
        let Some(sink) = self.sinks.remove(&id) else { return };
        if !self.sinks.values().any(|other| other.account == sink.account) {
            self.feeds.remove(&sink.account);
        }
    }

    fn is_idle(&self) -> bool {
        let is_written = self.tried.is_empty() && self.unwritten.is_none() && !self.is_noting;
        is_written && self.moved.is_empty() && !self.sinks.values().any(|sink| sink.queue.is_busy())
    }

    /// Looks after whatever goes by the clock.
    fn beat(&mut self, ctx: &Context<Self>) {
        self.beats = self.beats.wrapping_add(1);
        self.pause = self.pause.saturating_sub(1);
        let now = clock::now();
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            self.turn(id, ctx);
        }
        self.note(ctx);
        if self.beats.is_multiple_of(LOOK_EVERY) {
            self.may_have_more = true;
        }
        if self.pause == 0 {
            self.follow(ctx);
        }
        if self.finishing.is_some() && self.is_idle() {
            // Whoever asked may have lost patience.
            let _ = self.finishing.take().map(|done| done.send(()));
        }
    }

    fn failed(&mut self, error: &str) {
        tracing::error!(error, "the store failed the webhooks");
        self.pause = STORE_PAUSE;
    }
}

/// Sends an event on its way.
fn send(
    me: &Addr<Courier>,
    post: &Post,
    id: WebhookId,
    endpoint: &Arc<Endpoint>,
    lane: Lane,
    event: &Arc<StoredEvent>,
) {
    let (me, post, endpoint, event) = (me.clone(), post.clone(), endpoint.clone(), event.clone());
    // Not on the actor's context, which looks at all that it waits for whenever one is ready.
    actix_rt::spawn(async move {
        let came = post.send(&endpoint, &event.id.to_string(), event.body.clone(), clock::now()).await;
        deliver(&me, Tried { id, lane, came });
    });
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
        let Open { webhook, endpoint, known } = open;
        if self.feeds.is_empty() {
            // What was not followed is nobody's here.
            self.read = self.read.max(webhook.progress.settled);
        }
        self.feeds.entry(webhook.account_id).or_insert_with(|| Feed::new(self.read));
        let queue = Queue::new(&webhook, known);
        let sink = Sink { account: webhook.account_id, endpoint, queue, is_reading: false };
        self.sinks.insert(webhook.id, sink);
        self.may_have_more = true;
        self.turn(webhook.id, ctx);
        self.follow(ctx);
    }
}

impl Handler<Change> for Courier {
    type Result = ();

    fn handle(&mut self, change: Change, ctx: &mut Self::Context) {
        if let Some(sink) = self.sinks.get_mut(&change.webhook.id) {
            sink.endpoint = change.endpoint;
            sink.queue.change(&change.webhook, change.hurry);
        }
        self.turn(change.webhook.id, ctx);
    }
}

impl Handler<Close> for Courier {
    type Result = ();

    fn handle(&mut self, Close(id): Close, _: &mut Self::Context) {
        self.forget(id);
    }
}

impl Handler<Replay> for Courier {
    type Result = ();

    fn handle(&mut self, Replay(id, deliveries): Replay, ctx: &mut Self::Context) {
        let now = clock::now();
        if let Some(sink) = self.sinks.get_mut(&id) {
            for (event, delivery) in deliveries {
                sink.queue.replay(event, delivery, now);
            }
        }
        self.turn(id, ctx);
    }
}

impl Handler<Finish> for Courier {
    type Result = ();

    fn handle(&mut self, Finish(done): Finish, ctx: &mut Self::Context) {
        self.finishing = Some(done);
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
            if let Some(feed) = self.feeds.get_mut(&event.account_id) {
                told.insert(event.account_id);
                feed.push(event);
            }
        }
        let ids = self.sinks.iter().filter(|(_, sink)| told.contains(&sink.account)).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            self.turn(id, ctx);
        }
        self.follow(ctx);
    }
}

impl Handler<Own> for Courier {
    type Result = ();

    fn handle(&mut self, Own(id, complete, events): Own, ctx: &mut Self::Context) {
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        sink.is_reading = false;
        match events {
            Ok(events) => {
                let read = if events.len() < PAGE as usize { complete } else { 0 };
                sink.queue.push(events.into_iter().map(Arc::new), read, clock::now());
                self.moved.insert(id);
                self.turn(id, ctx);
            }
            Err(error) => {
                self.due.insert((clock::now().plus_seconds(1), id));
                self.failed(&error);
            }
        }
    }
}

impl Handler<Tried> for Courier {
    type Result = ();

    fn handle(&mut self, tried: Tried, ctx: &mut Self::Context) {
        let Tried { id, lane, came } = tried;
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        let jitter = rand::rng().random_range(0.0..=1.0);
        if let Some(delivery) = sink.queue.tried(lane, came, clock::now(), jitter) {
            self.tried.push(delivery);
            self.moved.insert(id);
        }
        self.turn(id, ctx);
        if self.tried.len() >= MANY_NOTES {
            self.note(ctx);
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
                        self.let_go(*id, why, ctx);
                    }
                }
                if self.tried.len() >= MANY_NOTES {
                    self.note(ctx);
                }
            }
            // What was not noted is told again after a restart, under the same id.
            Err(error) => {
                self.failed(&error);
                self.unwritten = Some(notes).filter(|notes| !notes.is_empty());
            }
        }
    }
}

impl Handler<GivenUp> for Courier {
    type Result = ();

    fn handle(&mut self, GivenUp(result): GivenUp, _: &mut Self::Context) {
        if let Err(error) = result {
            self.failed(&error);
        }
    }
}
