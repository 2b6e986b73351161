//! A webhook sink: one endpoint, what it still has to hear, its back-off, and the requests on their way to it. Events
//! come from the courier when it asks for them; what came of an attempt goes there to be written down. How many events
//! wait in memory and how many requests are under way is its account's share.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext as _, Addr, AsyncContext as _, Context, Handler, Message, SpawnHandle};
use bytes::Bytes;
use model::{Timestamp, WebhookId};
use rand::Rng as _;

use super::courier::{Courier, Idle, Note, Want, WantFetched};
use super::endpoint::Endpoint;
use super::post::Post;
use super::queue::{Fetch, Lane, Outcome, Queue, Row};
use super::share::Share;
use crate::actors::deliver;
use crate::clock;
use crate::meters;
use crate::store::{Attempt, Delivery, StoredEvent, Webhook};

/// Events of its account, and up to which place there are no others.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Heard(pub(super) Vec<Row>, pub(super) i64);

/// What it asked the store for, and whether there is more behind the last row.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Fetched(pub(super) Fetch, pub(super) Vec<Row>, pub(super) bool);

/// Its owner changed it; `hurry` where what failed before may work now.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Changed {
    pub(super) webhook: Webhook,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) hurry: bool,
}

/// The store has events that are to be delivered once more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Again;

/// Begin nothing more, and tell the courier once nothing is on its way.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Rest;

/// It was deleted or disabled.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Leave;

/// An attempt is over.
#[derive(Message)]
#[rtype(result = "()")]
struct Tried(Lane, (Outcome, Attempt));

/// The actor.
pub(super) struct WebhookSink {
    id: WebhookId,
    endpoint: Arc<Endpoint>,
    queue: Queue,
    post: Post,
    courier: Addr<Courier>,
    share: Share,
    is_asking: bool,
    is_fetching: bool,
    is_resting: bool,
    timer: Option<(Timestamp, SpawnHandle)>,
}

impl WebhookSink {
    pub(super) fn new(
        id: WebhookId,
        endpoint: Arc<Endpoint>,
        queue: Queue,
        post: Post,
        courier: Addr<Courier>,
        share: Share,
    ) -> Self {
        let (is_asking, is_fetching, is_resting, timer) = (false, false, false, None);
        Self { id, endpoint, queue, post, courier, share, is_asking, is_fetching, is_resting, timer }
    }

    /// Asks for what there is room for, sends what is due, and sleeps until something is.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        if self.is_resting {
            if !self.queue.is_busy() {
                deliver(&self.courier, Idle(self.id));
            }
            return;
        }
        let now = clock::now();
        while let Some((lane, event)) = self.queue.next(now) {
            self.send(lane, event, ctx);
        }
        self.queue.set_window(self.share.window());
        self.share.hold(self.queue.waiting());
        if !self.is_fetching
            && let Some(fetch) = self.queue.fetch()
        {
            self.is_fetching = true;
            deliver(&self.courier, WantFetched(self.id, fetch));
        }
        if let Some((read, room)) = self.queue.wants().filter(|_| !self.is_asking) {
            self.is_asking = true;
            deliver(&self.courier, Want { id: self.id, read, room });
        }
        self.wait(now, ctx);
    }

    fn send(&self, lane: Lane, event: Arc<StoredEvent>, ctx: &Context<Self>) {
        let (me, post, endpoint) = (ctx.address(), self.post.clone(), self.endpoint.clone());
        let under_way = self.share.request();
        // Not on the actor's context, which looks at all that it waits for whenever one is ready.
        actix_rt::spawn(async move {
            let _under_way = under_way.await;
            let came = post.send(&endpoint, &event.id.to_string(), body(&event), clock::now()).await;
            deliver(&me, Tried(lane, came));
        });
    }

    fn wait(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        let due = self.queue.due().filter(|due| *due > now);
        if due == self.timer.map(|(due, _)| due) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = due.map(|due| {
            let after = Duration::from_nanos(due.since(now).unsigned_abs());
            let woken = move |sink: &mut Self, ctx: &mut Context<Self>| {
                sink.timer = None;
                sink.turn(ctx);
            };
            (due, ctx.run_later(after, woken))
        });
    }

    /// Has the courier write down how far it is, and what came of an attempt.
    fn note(&mut self, delivery: Option<Delivery>) {
        if let Some(delivery) = &delivery {
            self.queue.holds(delivery);
        }
        let moved = self.queue.moved();
        if delivery.is_some() || moved.is_some() {
            deliver(&self.courier, Note { id: self.id, delivery, moved });
        }
    }
}

/// An event's body, which all endpoints share that it goes to.
fn body(event: &Arc<StoredEvent>) -> Bytes {
    struct Body(Arc<StoredEvent>);
    impl AsRef<[u8]> for Body {
        fn as_ref(&self) -> &[u8] {
            self.0.body.as_bytes()
        }
    }
    Bytes::from_owner(Body(event.clone()))
}

impl Actor for WebhookSink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.turn(ctx);
    }
}

impl Handler<Heard> for WebhookSink {
    type Result = ();

    fn handle(&mut self, Heard(events, read): Heard, ctx: &mut Self::Context) {
        self.is_asking = false;
        // It may be smaller than when it was asked for.
        self.queue.set_window(self.share.window());
        self.queue.push(events, read, clock::now());
        self.note(None);
        self.turn(ctx);
    }
}

impl Handler<Fetched> for WebhookSink {
    type Result = ();

    fn handle(&mut self, Fetched(fetch, rows, has_more): Fetched, ctx: &mut Self::Context) {
        self.is_fetching = false;
        self.queue.set_window(self.share.window());
        self.queue.fetched(fetch, rows, has_more, clock::now());
        self.note(None);
        self.turn(ctx);
    }
}

impl Handler<Changed> for WebhookSink {
    type Result = ();

    fn handle(&mut self, changed: Changed, ctx: &mut Self::Context) {
        self.endpoint = changed.endpoint;
        self.queue.change(&changed.webhook, changed.hurry);
        self.turn(ctx);
    }
}

impl Handler<Again> for WebhookSink {
    type Result = ();

    fn handle(&mut self, _: Again, ctx: &mut Self::Context) {
        self.queue.expect_replays();
        self.turn(ctx);
    }
}

impl Handler<Tried> for WebhookSink {
    type Result = ();

    fn handle(&mut self, Tried(lane, came): Tried, ctx: &mut Self::Context) {
        meters::count_attempt(came.0 == Outcome::Taken);
        let jitter = rand::rng().random_range(0.0..=1.0);
        let delivery = self.queue.tried(lane, came, clock::now(), jitter);
        self.note(delivery);
        self.turn(ctx);
    }
}

impl Handler<Rest> for WebhookSink {
    type Result = ();

    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) {
        self.is_resting = true;
        self.turn(ctx);
    }
}

impl Handler<Leave> for WebhookSink {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
