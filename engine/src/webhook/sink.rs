//! A webhook sink: one endpoint, what it still has to hear, its back-off, and the requests on their way to it. Events
//! come from the courier when it asks for them; what came of an attempt goes there to be written down.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext as _, Addr, AsyncContext as _, Context, Handler, Message, SpawnHandle};
use model::{Timestamp, WebhookId};
use rand::Rng as _;

use super::courier::{Courier, Idle, Note, Want};
use super::endpoint::Endpoint;
use super::post::Post;
use super::queue::{Lane, Outcome, Queue};
use crate::actors::deliver;
use crate::clock;
use crate::store::{Attempt, Delivery, StoredEvent, Webhook};

/// Events of its account, and up to which place there are no others.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Heard(pub(super) Vec<Arc<StoredEvent>>, pub(super) i64);

/// Its owner changed it; `hurry` where what failed before may work now.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Changed {
    pub(super) webhook: Webhook,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) hurry: bool,
}

/// Events are delivered once more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Again(pub(super) Vec<(Arc<StoredEvent>, Delivery)>);

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
    is_asking: bool,
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
    ) -> Self {
        Self { id, endpoint, queue, post, courier, is_asking: false, is_resting: false, timer: None }
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
        if let Some((read, room)) = self.queue.wants().filter(|_| !self.is_asking) {
            self.is_asking = true;
            deliver(&self.courier, Want { id: self.id, read, room });
        }
        self.wait(now, ctx);
    }

    fn send(&self, lane: Lane, event: Arc<StoredEvent>, ctx: &Context<Self>) {
        let (me, post, endpoint) = (ctx.address(), self.post.clone(), self.endpoint.clone());
        // Not on the actor's context, which looks at all that it waits for whenever one is ready.
        actix_rt::spawn(async move {
            let came = post.send(&endpoint, &event.id.to_string(), event.body.clone(), clock::now()).await;
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
        self.queue.push(events, read, clock::now());
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

    fn handle(&mut self, Again(deliveries): Again, ctx: &mut Self::Context) {
        let now = clock::now();
        for (event, delivery) in deliveries {
            self.queue.replay(event, delivery, now);
        }
        self.turn(ctx);
    }
}

impl Handler<Tried> for WebhookSink {
    type Result = ();

    fn handle(&mut self, Tried(lane, came): Tried, ctx: &mut Self::Context) {
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
