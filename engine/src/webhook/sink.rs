//! A webhook sink: one endpoint, what it still has to hear, and the requests on their way to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{
    Actor, ActorContext as _, AsyncContext as _, Context, Handler, Message, SpawnHandle, WrapFuture as _,
};
use model::{BotId, Timestamp};
use rand::Rng as _;
use tokio::runtime::Handle;

use super::address::Targets;
use super::queue::{Outcome, Queue};
use super::sign::signature;
use crate::actors::deliver;
use crate::clock;
use crate::store::{Delivery, Store, StoreError, StoredEvent, Webhook};

/// How long the store is left alone after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Something may have been committed for this endpoint.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Doorbell;

/// The endpoint was deleted.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// What the store had.
#[derive(Message)]
#[rtype(result = "()")]
struct Read(Result<Vec<StoredEvent>, String>);

/// What the store had noted of earlier deliveries.
#[derive(Message)]
#[rtype(result = "()")]
struct Known(Result<Vec<Delivery>, String>);

/// The notes are written, or not.
#[derive(Message)]
#[rtype(result = "()")]
struct Noted(Result<(), String>);

/// An attempt is over.
#[derive(Message)]
#[rtype(result = "()")]
struct Tried {
    lane: Option<BotId>,
    outcome: Outcome,
}

/// The actor.
pub(crate) struct WebhookSink {
    webhook: Webhook,
    store: Store,
    /// Where the store's connections live.
    io: Handle,
    client: reqwest::Client,
    targets: Targets,
    /// Rung from outside, so that a thousand commits are one message.
    bell: Arc<AtomicBool>,
    queue: Option<Queue>,
    is_reading: bool,
    is_noting: bool,
    may_have_more: bool,
    timer: Option<SpawnHandle>,
}

impl WebhookSink {
    pub(crate) fn new(
        webhook: Webhook,
        store: Store,
        io: Handle,
        client: reqwest::Client,
        targets: Targets,
        bell: Arc<AtomicBool>,
    ) -> Self {
        Self {
            webhook,
            store,
            io,
            client,
            targets,
            bell,
            queue: None,
            is_reading: false,
            is_noting: false,
            may_have_more: true,
            timer: None,
        }
    }

    /// Asks the store for something; the answer comes back as a message.
    fn ask<T: Send + 'static, M>(
        &self,
        ctx: &mut Context<Self>,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        answer: impl FnOnce(Result<T, String>) -> M + 'static,
    ) where
        Self: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let asked = self.io.spawn(question);
        let me = ctx.address();
        let told = async move {
            let result = match asked.await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            deliver(&me, answer(result));
        };
        ctx.spawn(told.into_actor(self));
    }

    /// Reads, delivers and notes whatever can be now.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        self.read(ctx);
        let now = clock::now();
        while let Some(event) = self.queue.as_mut().and_then(|queue| queue.next(now)) {
            self.send(event, now, ctx);
        }
        self.note(ctx);
        self.wait(now, ctx);
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        let Some(queue) = &self.queue else { return };
        if self.is_reading || !self.may_have_more {
            return;
        }
        if let Some((seq, limit)) = queue.wants() {
            self.is_reading = true;
            self.may_have_more = false;
            let (store, account) = (self.store.clone(), self.webhook.account_id);
            self.ask(ctx, async move { store.events_after(account, seq, limit).await }, Read);
        }
    }

    fn send(&self, event: StoredEvent, now: Timestamp, ctx: &mut Context<Self>) {
        let lane = event.bot_id;
        let request = self.request(event, now);
        let me = ctx.address();
        let tried = async move {
            let outcome = match request {
                Some(request) => attempt(request).await,
                None => Outcome::Failed(None),
            };
            deliver(&me, Tried { lane, outcome });
        };
        ctx.spawn(tried.into_actor(self));
    }

    /// The signed request; `None` where the address is not allowed any more.
    fn request(&self, event: StoredEvent, now: Timestamp) -> Option<reqwest::RequestBuilder> {
        let url = self.targets.check(&self.webhook.url).ok()?;
        let id = event.id.to_string();
        let seconds = now.millis() / 1_000;
        let signature = signature(&self.webhook.secret, &id, seconds, &event.body)?;
        let request = self.client.post(url).header("content-type", "application/json");
        let request = request.header("webhook-id", id).header("webhook-timestamp", seconds);
        Some(request.header("webhook-signature", signature).body(event.body))
    }

    fn note(&mut self, ctx: &mut Context<Self>) {
        if self.is_noting {
            return;
        }
        let Some((webhook, notes)) = self.queue.as_mut().and_then(Queue::notes) else { return };
        self.is_noting = true;
        let store = self.store.clone();
        self.ask(ctx, async move { store.settle(&webhook, &notes).await }, Noted);
    }

    /// Sleeps until something is due again.
    fn wait(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let due = self.queue.as_ref().and_then(Queue::due).filter(|due| *due > now);
        if let Some(due) = due {
            let after = Duration::from_nanos(due.since(now).unsigned_abs());
            self.timer = Some(ctx.run_later(after, Self::turn));
        }
    }

    /// Says that the store failed and tries again later.
    fn pause(&self, error: &str, ctx: &mut Context<Self>) {
        tracing::error!(webhook = %self.webhook.id, error, "the store failed a webhook sink");
        ctx.run_later(STORE_PAUSE, |sink, ctx| {
            sink.may_have_more = true;
            if sink.queue.is_none() {
                sink.begin(ctx);
            }
            sink.turn(ctx);
        });
    }

    fn begin(&self, ctx: &mut Context<Self>) {
        let (store, webhook) = (self.store.clone(), self.webhook.clone());
        self.ask(ctx, async move { store.unsettled(&webhook).await }, Known);
    }
}

/// Sends once; no redirect is followed.
async fn attempt(request: reqwest::RequestBuilder) -> Outcome {
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Outcome::Taken(answer.status().as_u16()),
        Ok(answer) if answer.status().as_u16() == 410 => Outcome::Gone,
        Ok(answer) => Outcome::Failed(Some(answer.status().as_u16())),
        Err(_) => Outcome::Failed(None),
    }
}

impl Actor for WebhookSink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
    }
}

impl Handler<Known> for WebhookSink {
    type Result = ();

    fn handle(&mut self, Known(known): Known, ctx: &mut Self::Context) {
        match known {
            Ok(known) => {
                self.queue = Some(Queue::new(self.webhook.clone(), known));
                self.turn(ctx);
            }
            Err(error) => self.pause(&error, ctx),
        }
    }
}

impl Handler<Doorbell> for WebhookSink {
    type Result = ();

    fn handle(&mut self, _: Doorbell, ctx: &mut Self::Context) {
        self.bell.store(false, Ordering::Release);
        self.may_have_more = true;
        self.turn(ctx);
    }
}

impl Handler<Read> for WebhookSink {
    type Result = ();

    fn handle(&mut self, Read(events): Read, ctx: &mut Self::Context) {
        self.is_reading = false;
        match events {
            Ok(events) => {
                self.may_have_more |= !events.is_empty();
                if let Some(queue) = self.queue.as_mut().filter(|_| !events.is_empty()) {
                    queue.push(events);
                }
                self.turn(ctx);
            }
            Err(error) => self.pause(&error, ctx),
        }
    }
}

impl Handler<Tried> for WebhookSink {
    type Result = ();

    fn handle(&mut self, tried: Tried, ctx: &mut Self::Context) {
        if let Some(queue) = &mut self.queue {
            queue.tried(tried.lane, tried.outcome, clock::now(), rand::rng().random_range(0.0..=1.0));
            if let Some(why) = &queue.webhook().disabled {
                tracing::warn!(webhook = %self.webhook.id, why, "an endpoint is disabled");
            }
        }
        self.turn(ctx);
    }
}

impl Handler<Noted> for WebhookSink {
    type Result = ();

    fn handle(&mut self, Noted(noted): Noted, ctx: &mut Self::Context) {
        self.is_noting = false;
        match noted {
            Ok(()) => self.note(ctx),
            // What was not noted is told again after a restart, under the same id.
            Err(error) => self.pause(&error, ctx),
        }
    }
}

impl Handler<Close> for WebhookSink {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
