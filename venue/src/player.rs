//! Plays the market: paces it, takes each event into the world, and hands its frames to whoever listens. It alone
//! moves the market, so that every stream tells what happened in the order in which it did.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::{sleep, sleep_until};
use model::{Pair, Price, Qty, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::Shared;
use crate::config::Speed;
use crate::market::{Happening, Market, MarketEvent, Script};

/// How far a market has been played.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Public trades so far.
    pub prints: u64,
    /// The last of them: its pair, price and time.
    pub last: Option<(Pair, Price, Timestamp)>,
    /// A replay is at its end, and every connection has been handed all of it.
    pub finished: bool,
}

/// Somebody moves a pair by hand.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) pair: usize,
    pub(crate) price: Price,
    pub(crate) qty: Qty,
    /// Hears when it is done.
    pub(crate) done: oneshot::Sender<()>,
}

/// Plays until the market ends, which a made-up one never does; moves by hand are made ever after.
pub(crate) async fn play(
    shared: Arc<Shared>,
    market: Market,
    progress: watch::Sender<Progress>,
    moves: mpsc::UnboundedReceiver<Move>,
) {
    let mut player = Player { shared, script: market.script, progress, moves, reached: None };
    let shared = player.shared.clone();
    let mut waits = market.waits;
    while waits {
        tokio::select! {
            () = shared.subscribed.notified() => waits = false,
            Some(by_hand) = player.moves.recv() => drop(player.make(by_hand).await),
        }
    }
    player.play().await;
    while !player.shared.hub().is_idle() {
        sleep(Duration::from_millis(2)).await;
    }
    player.progress.send_modify(|progress| progress.finished = true);
    // Whoever looks at the progress later still finds it.
    let gone = player.progress.clone();
    loop {
        tokio::select! {
            () = gone.closed() => return,
            Some(by_hand) = player.moves.recv() => drop(player.make(by_hand).await),
        }
    }
}

struct Player {
    shared: Arc<Shared>,
    script: Box<dyn Script>,
    progress: watch::Sender<Progress>,
    moves: mpsc::UnboundedReceiver<Move>,
    /// The time of the latest event, by the market's own time, and when it was played.
    reached: Option<(Timestamp, Instant)>,
}

impl Player {
    /// The whole script.
    async fn play(&mut self) {
        let began = *self.shared.began.get_or_init(Instant::now);
        let mut first = None;
        let mut played = 0_u64;
        while let Some(event) = self.script.next_event() {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::error!(%error, "the replay ends here");
                    return;
                }
            };
            played += 1;
            let due = match self.shared.config.speed {
                Speed::Times(times) => {
                    let into = event.at.since(*first.get_or_insert(event.at)).max(0).unsigned_abs();
                    began + Duration::from_nanos(into).div_f64(times)
                }
                Speed::Max => began,
            };
            // The server's own tasks have their turns as well.
            if self.shared.config.speed == Speed::Max && played.is_multiple_of(64) {
                tokio::task::yield_now().await;
            }
            if self.wait(due).await.is_continue() {
                self.apply(event).await;
            }
        }
    }

    /// Waits for an event's time; it ends early with a move that makes the event void.
    async fn wait(&mut self, due: Instant) -> ControlFlow<()> {
        loop {
            if let Ok(by_hand) = self.moves.try_recv() {
                self.make(by_hand).await?;
            }
            if due <= Instant::now() {
                return ControlFlow::Continue(());
            }
            tokio::select! {
                () = sleep_until(due) => {}
                Some(by_hand) = self.moves.recv() => self.make(by_hand).await?,
            }
        }
    }

    /// Makes a move by hand; it breaks where what the script told before is void.
    async fn make(&mut self, Move { pair, price, qty, done }: Move) -> ControlFlow<()> {
        let goes_on = self.script.go_on_from(pair, price);
        let now = self.shared.clock.now();
        // A recording keeps its own time, which is long ago and goes on as fast as it was played.
        let earliest = if goes_on { now } else { self.market_time().unwrap_or(Timestamp::MIN) };
        let frames = self.shared.world().jump(pair, price, qty, earliest, &self.shared.hub());
        self.tell(frames, Some((pair, price, now))).await;
        // Whoever asked may have gone.
        let _gone = done.send(());
        if goes_on { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The time in the market, going on from its latest event; `None` before the first.
    fn market_time(&self) -> Option<Timestamp> {
        let (at, played) = self.reached?;
        let passed = match self.shared.config.speed {
            Speed::Times(times) => played.elapsed().mul_f64(times),
            Speed::Max => played.elapsed(),
        };
        let passed = i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX);
        Some(Timestamp::from_nanos(at.nanos().saturating_add(passed)))
    }

    async fn apply(&mut self, event: MarketEvent) {
        self.reached = Some((event.at, Instant::now()));
        let print = match event.happening {
            Happening::Print(print) => Some((event.pair, print.price, event.at)),
            Happening::Top(_) | Happening::Other => None,
        };
        let frames = self.shared.world().apply(event, &self.shared.hub());
        self.tell(frames, print).await;
    }

    /// Hands out what happened, then counts it.
    async fn tell(&self, frames: Vec<(String, String)>, print: Option<(usize, Price, Timestamp)>) {
        for (stream, data) in frames {
            hand_out(&self.shared, &stream, &data).await;
        }
        let Some((pair, price, at)) = print else { return };
        let Some(pair) = self.shared.world().symbols.get(pair).map(|symbol| symbol.pair.clone()) else {
            return;
        };
        self.progress.send_modify(|progress| {
            progress.prints += 1;
            progress.last = Some((pair, price, at));
        });
    }
}

/// Hands one frame to everybody who listens to its stream. At full speed a slow listener holds the market back;
/// else one that has fallen hopelessly behind is let go.
async fn hand_out(shared: &Shared, stream: &str, data: &str) {
    if shared.is_silent(stream) {
        return;
    }
    let addressed = shared.hub().addressed(stream, data);
    for (id, listener, frame) in addressed {
        let is_gone = match shared.config.speed {
            Speed::Max => listener.send(frame).await.is_err(),
            Speed::Times(_) => listener.try_send(frame).is_err(),
        };
        if is_gone {
            shared.hub().close(id);
        }
    }
}
