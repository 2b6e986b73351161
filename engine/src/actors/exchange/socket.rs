//! The connection's socket: a task that owns it, and what it hears.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{
    AskId, Balance, Credential, SharedBudget, TradeEvent, TradeStream, TradeStreamConfig, UserReport,
};
use model::{ClientOrderId, Pair, Timestamp};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::sending::{ANSWERED_WITHIN, Answered};
use super::venue_clock::VenueClock;
use super::{ExchangeConnection, deliver};
use crate::live;

/// What is sent over it.
pub(super) enum Ask {
    /// An order, as it was journaled.
    Place { id: ClientOrderId, body: String, at: Timestamp },
    /// An order is taken back.
    Cancel { id: ClientOrderId, pair: Pair, at: Timestamp },
}

/// The way to the task that owns the socket.
pub(super) struct Line {
    asks: UnboundedSender<Ask>,
    signs: Arc<Signs>,
}

/// What the socket's task shows of it.
#[derive(Debug, Default)]
struct Signs {
    /// How much was sent and is not answered.
    unanswered: AtomicUsize,
    /// When the first thing was sent since anything was heard.
    silent_since: Mutex<Option<Instant>>,
}

impl Signs {
    fn silent_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Sends something over the socket; whether there still is one.
    pub(super) fn send(&self, ask: Ask) -> bool {
        self.signs.unanswered.fetch_add(1, Ordering::Relaxed);
        self.signs.silent_since().get_or_insert_with(Instant::now);
        self.asks.send(ask).is_ok()
    }

    /// How much was sent and is not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.signs.unanswered.load(Ordering::Relaxed)
    }

    /// Whether it has answered in time, or said anything since: a connection whose other end is gone looks well for
    /// half a minute.
    pub(super) fn is_healthy(&self) -> bool {
        self.signs.silent_since().is_none_or(|since| since.elapsed() < ANSWERED_WITHIN)
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
    budget: &SharedBudget,
    clock: &VenueClock,
    me: Addr<ExchangeConnection>,
) -> Line {
    let stream = TradeStream::new(config, credential, clock.now()).with_budget(budget.clone());
    let (asks, asked) = unbounded_channel();
    let signs = Arc::<Signs>::default();
    actix_rt::spawn(listen(stream, clock.clone(), asked, signs.clone(), me));
    Line { asks, signs }
}

/// Keeps the socket, and hands what it hears to the connection; ends with it.
async fn listen(
    mut stream: TradeStream,
    clock: VenueClock,
    mut asked: UnboundedReceiver<Ask>,
    signs: Arc<Signs>,
    me: Addr<ExchangeConnection>,
) {
    let mut waiting: HashMap<AskId, (ClientOrderId, bool)> = HashMap::new();
    let mut events = Vec::new();
    loop {
        tokio::select! {
            biased;
            ask = asked.recv() => {
                stream.set_time(clock.now());
                match ask {
                    Some(Ask::Place { id, body, at }) => waiting.insert(stream.place(&body, at), (id, false)),
                    Some(Ask::Cancel { id, pair, at }) => {
                        waiting.insert(stream.cancel(&pair, id, at), (id, true))
                    }
                    None => return,
                };
            }
            () = stream.next_batch(&mut events) => {}
        }
        for event in events.drain(..) {
            if is_heard(&event) {
                *signs.silent_since() = None;
            }
            match event {
                TradeEvent::Up => deliver(&me, Heard::Up),
                TradeEvent::Down { reason, retry_in } => {
                    tracing::warn!(%reason, ?retry_in, "an account's stream is down");
                    deliver(&me, Heard::Down);
                }
                TradeEvent::Refused(error) => log_refusal(&error),
                TradeEvent::Report(report) => deliver(&me, Heard::Report(report)),
                TradeEvent::Balances { balances, .. } => deliver(&me, Heard::Balances(balances)),
                TradeEvent::Moved { .. } => deliver(&me, Heard::Balances(Vec::new())),
                TradeEvent::Answer { id, result } => {
                    if let Some((client_id, is_cancel)) = waiting.remove(&id) {
                        signs.unanswered.fetch_sub(1, Ordering::Relaxed);
                        deliver(&me, Answered { client_id, is_cancel, result });
                    }
                }
            }
        }
    }
}

/// Whether the venue said this: that no answer came, and why nothing was sent, are told alike.
fn is_heard(event: &TradeEvent) -> bool {
    match event {
        TradeEvent::Up | TradeEvent::Report(_) | TradeEvent::Balances { .. } | TradeEvent::Moved { .. } => {
            true
        }
        TradeEvent::Answer { result, .. } => {
            !matches!(result, Err(VenueError::Unknown { .. } | VenueError::Retry { .. }))
        }
        TradeEvent::Down { .. } | TradeEvent::Refused(_) => false,
    }
}

fn log_refusal(error: &VenueError) {
    tracing::error!(%error, "the venue refused an account's stream");
}

impl ExchangeConnection {
    /// Its socket, where it is up and answers.
    pub(super) fn healthy_socket(&self) -> Option<&Line> {
        self.socket.as_ref().filter(|socket| self.is_up && socket.is_healthy())
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
