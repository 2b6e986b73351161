//! Plays the market: paces it, takes each event into the world, and hands its frames to whoever listens.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::{sleep, sleep_until};
use model::{Pair, Price, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Shared;
use crate::config::Speed;
use crate::market::{Happening, Market};

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

/// Plays until the market ends; a made-up one never does.
pub(crate) async fn play(shared: Arc<Shared>, market: Market, progress: watch::Sender<Progress>) {
    if market.waits {
        shared.subscribed.notified().await;
    }
    let began = Instant::now();
    let mut first = None;
    for (played, event) in market.events.enumerate() {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "the replay ends here");
                break;
            }
        };
        match shared.config.speed {
            Speed::Times(times) => {
                let first = *first.get_or_insert(event.at);
                let into = Duration::from_nanos(event.at.since(first).max(0).unsigned_abs());
                let due = began + into.div_f64(times);
                if due > Instant::now() {
                    sleep_until(due).await;
                }
            }
            // The server's own tasks have their turns as well.
            Speed::Max if played.is_multiple_of(64) => tokio::task::yield_now().await,
            Speed::Max => {}
        }
        let print = match event.happening {
            Happening::Print(print) => Some((event.pair, print.price, event.at)),
            Happening::Top(_) | Happening::Other => None,
        };
        let (frames, pair) = {
            let mut world = shared.world();
            let frames = world.apply(event, &shared.hub());
            let pair = print.and_then(|(pair, ..)| world.symbols.get(pair)).map(|symbol| symbol.pair.clone());
            (frames, pair)
        };
        for (stream, data) in frames {
            hand_out(&shared, &stream, &data).await;
        }
        if let (Some((_, price, at)), Some(pair)) = (print, pair) {
            progress.send_modify(|progress| {
                progress.prints += 1;
                progress.last = Some((pair, price, at));
            });
        }
    }
    while !shared.hub().is_idle() {
        sleep(Duration::from_millis(2)).await;
    }
    progress.send_modify(|progress| progress.finished = true);
    // Whoever looks at the progress later still finds it.
    progress.closed().await;
}

/// Hands one frame to everybody who listens to its stream. At full speed a slow listener holds the market back;
/// else one that has fallen hopelessly behind is let go.
async fn hand_out(shared: &Shared, stream: &str, data: &str) {
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
