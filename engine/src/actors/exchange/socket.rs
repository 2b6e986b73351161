//! The connection's socket: a task that owns it, and what it hears.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{
    AskId, Balance, Call, Credential, TradeEvent, TradeStream, TradeStreamConfig, UserReport,
};
use model::{ClientOrderId, Timestamp};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};

use super::client::VenueClient;
use super::route::{Health, Route};
use super::venue_clock::VenueClock;
use super::{ExchangeConnection, deliver};
use crate::health::Warnings;
use crate::live;

type Body = Result<Vec<u8>, VenueError>;

/// A call that is to be made over it.
struct Ask {
    call: Call<Vec<u8>>,
    at: Timestamp,
    called_at: Instant,
    answer: oneshot::Sender<Body>,
}

/// The way to the task that owns the socket.
#[derive(Clone, Debug)]
pub(super) struct Line {
    asks: UnboundedSender<Ask>,
    signs: Arc<Signs>,
}

/// What the socket's task shows of it.
#[derive(Debug, Default)]
struct Signs {
    health: Health,
    /// How many orders and cancels were sent and are not answered.
    unanswered: AtomicUsize,
    /// An order waits for the socket to be opened.
    hurry: Notify,
}

/// What is to be sent over a socket that is not open yet.
#[derive(Debug)]
pub(super) struct Asked(UnboundedReceiver<Ask>);

impl Line {
    /// A line to a socket that [`open`] is to open.
    pub(super) fn new() -> (Self, Asked) {
        let (asks, asked) = unbounded_channel();
        (Self { asks, signs: Arc::default() }, Asked(asked))
    }

    /// Makes a call over the socket; it is on its way once this returns.
    pub(super) fn call<T>(
        &self,
        call: Call<T>,
        at: Timestamp,
    ) -> impl Future<Output = Result<T, VenueError>> + use<T> {
        let (answer, told) = oneshot::channel();
        self.signs.health.call();
        if call.changes_orders() {
            self.signs.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        // Where the socket has ended its connection has as well.
        let _ = self.asks.send(Ask { call: call.raw(), at, called_at: Instant::now(), answer });
        async move {
            let ended = || Err(call.unanswered("the connection has ended".to_owned()));
            call.read(told.await.unwrap_or_else(|_| ended()))
        }
    }

    /// How many orders and cancels were sent and are not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.signs.unanswered.load(Ordering::Relaxed)
    }

    pub(super) fn health(&self) -> &Health {
        &self.signs.health
    }

    /// Opens the socket soon, where it is down: an order waits for it.
    pub(super) fn dial_soon(&self) {
        self.signs.hurry.notify_one();
    }
}

/// What it heard, but for answers.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Heard {
    Up,
    Down,
    Report(Box<UserReport>),
    /// What the account has now of the coins that moved, as far as it was told.
    Balances(Vec<Balance>),
}

/// Opens a socket that stays up.
pub(super) fn open(
    config: TradeStreamConfig,
    credential: &Credential,
    client: &VenueClient,
    asked: Asked,
    me: Addr<ExchangeConnection>,
) {
    let (clock, signs) = (client.clock().clone(), client.socket().signs.clone());
    let stream = TradeStream::new(config, credential, clock.now()).with_budget(client.budget().clone());
    actix_rt::spawn(listen(stream, clock, asked, signs, me));
}

/// What waits for an answer.
struct Pending {
    called_at: Instant,
    changes_orders: bool,
    answer: oneshot::Sender<Body>,
}

/// Keeps the socket, and hands what it hears to the connection; ends with it.
async fn listen(
    mut stream: TradeStream,
    clock: VenueClock,
    Asked(mut asked): Asked,
    signs: Arc<Signs>,
    me: Addr<ExchangeConnection>,
) {
    let mut waiting: HashMap<AskId, Pending> = HashMap::new();
    let mut down_warnings = Warnings::default();
    let mut events = Vec::new();
    loop {
        tokio::select! {
            biased;
            ask = asked.recv() => {
                let Some(Ask { call, at, called_at, answer }) = ask else { return };
                stream.set_time(clock.now());
                let changes_orders = call.changes_orders();
                waiting.insert(stream.call(&call, at), Pending { called_at, changes_orders, answer });
            }
            () = signs.hurry.notified() => stream.dial_soon(),
            () = stream.next_batch(&mut events) => {}
        }
        for event in events.drain(..) {
            if is_heard(&event) {
                signs.health.hear();
            }
            match event {
                TradeEvent::Up => {
                    down_warnings.is_over();
                    deliver(&me, Heard::Up);
                }
                TradeEvent::Down { reason, retry_in } if down_warnings.is_due(Instant::now()) => {
                    tracing::warn!(%reason, ?retry_in, "an account's stream is down");
                    deliver(&me, Heard::Down);
                }
                TradeEvent::Down { reason, retry_in } => {
                    tracing::debug!(%reason, ?retry_in, "an account's stream is still down");
                    deliver(&me, Heard::Down);
                }
                TradeEvent::Refused(error) => log_refusal(&error),
                TradeEvent::Report(report) => deliver(&me, Heard::Report(report)),
                TradeEvent::Balances { balances, .. } => deliver(&me, Heard::Balances(balances)),
                TradeEvent::Moved { .. } => deliver(&me, Heard::Balances(Vec::new())),
                TradeEvent::Time { at, took } => {
                    let now = Instant::now();
                    clock.learn(at, now.checked_sub(took).unwrap_or(now), now);
                }
                TradeEvent::Answer { id, result } => {
                    if let Some(pending) = waiting.remove(&id) {
                        if pending.changes_orders {
                            signs.unanswered.fetch_sub(1, Ordering::Relaxed);
                        }
                        signs.health.judge(pending.called_at, &result);
                        // Who asked may have heard by the other route.
                        let _ = pending.answer.send(result);
                    }
                }
            }
        }
    }
}

/// Whether the venue said this.
fn is_heard(event: &TradeEvent) -> bool {
    match event {
        TradeEvent::Up | TradeEvent::Report(_) | TradeEvent::Balances { .. } | TradeEvent::Moved { .. } => {
            true
        }
        TradeEvent::Answer { .. }
        | TradeEvent::Time { .. }
        | TradeEvent::Down { .. }
        | TradeEvent::Refused(_) => false,
    }
}

fn log_refusal(error: &VenueError) {
    tracing::error!(%error, "the venue refused an account's stream");
}

impl ExchangeConnection {
    /// Whether the account's stream tells what happens: it is up, and answers.
    pub(super) fn is_told(&self) -> bool {
        self.is_up && !self.client.health(Route::Socket).is_suspect()
    }
}

impl Handler<Heard> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, heard: Heard, ctx: &mut Context<Self>) {
        match heard {
            Heard::Up => {
                self.is_up = true;
                tracing::info!(connection = %self.id, "an account's stream is up");
                self.catch_up();
                self.missed.listen();
                self.ask_due(&ctx.address());
            }
            Heard::Down => {
                if std::mem::replace(&mut self.is_up, false) {
                    self.looked_at = Instant::now();
                    self.count_soon();
                }
            }
            Heard::Report(user) => {
                let Ok(id) = user.order.client_order_id.parse::<ClientOrderId>() else { return };
                let Some(order) = self.orders.get_mut(&id) else {
                    return self.look_up(id, user, &ctx.address());
                };
                if !user.order.is_of(&order.pair, order.role.side()) {
                    tracing::error!(connection = %self.id, order = %id, "a report contradicts its order");
                    order.ask_after(Duration::ZERO);
                    return;
                }
                order.venue_id = Some(user.order.venue_order_id);
                if let Some(report) = live::told(&user, &order.pair) {
                    self.report(report);
                }
            }
            Heard::Balances(balances) => {
                self.tell_freed(&balances);
                self.count_soon();
            }
        }
    }
}
