//! One market-data connection that stays up: it reconnects, subscribes again, answers and sends pings, notices a
//! dead peer and a silent symbol, and counts what it had to drop.
//!
//! It is driven by whoever owns it through [`MarketStream::next_batch`] and never leaves that runtime: a socket
//! lives on the runtime that opened it.

mod connection;
mod hearing;

use std::time::Duration;

use model::{Pair, Tick, Timestamp};
use tokio::time::Instant;

use self::connection::Connection;
use self::hearing::Hearing;
use super::socket::{Down, Retries};
use super::subscriptions::{MAX_STREAMS, SymbolId};

/// How a connection is kept.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Base URL without path, such as `wss://stream.binance.com:9443`. For `wss` the process must have installed
    /// a `rustls` crypto provider.
    pub url: String,
    /// A new connection is opened before the venue closes this one (after 24 h).
    pub rotate_after: Duration,
    /// A peer that has sent nothing for this long, though pinged, is dead.
    pub dead_after: Duration,
    /// How often we ping.
    pub ping_every: Duration,
    /// A symbol is stale once it was silent for this long while the connection lived; told within an eighth more.
    pub stale_after: Duration,
    /// The shortest wait before a reconnect; it doubles from failure to failure.
    pub retry_first: Duration,
    /// The longest wait before a reconnect.
    pub retry_most: Duration,
    /// The pause between two messages. The venue closes a connection that sends more than five in any second,
    /// pings and the pongs that it asks for among them.
    pub request_pause: Duration,
}

impl StreamConfig {
    /// What suits the venue, on this base URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            rotate_after: Duration::from_mins(23 * 60 + 30),
            dead_after: Duration::from_secs(25),
            ping_every: Duration::from_secs(10),
            // With the eighth: within a quarter of a minute.
            stale_after: Duration::from_secs(13),
            retry_first: Duration::from_millis(250),
            retry_most: Duration::from_secs(30),
            request_pause: Duration::from_millis(350),
        }
    }
}

/// What the owner of a connection is told.
#[derive(Clone, PartialEq, Debug)]
pub enum StreamEvent {
    /// A public trade.
    Tick {
        /// Of which symbol.
        symbol: SymbolId,
        /// Its price, quantity and time.
        tick: Tick,
        /// When the venue sent the message, by the venue's clock.
        sent_at: Timestamp,
    },
    /// The connection is up and everything is being subscribed to.
    Connected,
    /// The connection is down.
    Disconnected {
        /// Why, for the log.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A symbol has been silent while the connection lived.
    Stale(SymbolId),
    /// The venue refused a request, with its code, or [`TOO_MANY_STREAMS`] before it was even asked.
    Refused(i64),
}

/// The venue's code for a stream beyond the [`MAX_STREAMS`] of one connection.
pub const TOO_MANY_STREAMS: i64 = 4;

/// What a connection has seen since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Text frames received.
    pub frames: u64,
    /// Ticks among them.
    pub ticks: u64,
    /// Frames that could not be decoded or held an impossible amount.
    pub bad_frames: u64,
    /// Frames above [`MAX_FRAME_BYTES`](super::MAX_FRAME_BYTES); each ended its connection.
    pub oversized_frames: u64,
    /// Connections made.
    pub connects: u64,
}

/// A market-data connection and what is subscribed to on it.
#[derive(Debug)]
pub struct MarketStream {
    config: StreamConfig,
    hearing: Hearing,
    connection: Option<Connection>,
    /// Streams beyond the limit that the owner has not been told of.
    refused: usize,
    retries: Retries,
}

impl MarketStream {
    /// A connection that opens with the first [`MarketStream::next_batch`].
    pub fn new(config: StreamConfig) -> Self {
        let retries = Retries::new(config.retry_first, config.retry_most);
        Self { config, hearing: Hearing::default(), connection: None, refused: 0, retries }
    }

    /// Subscribes to a pair's trades, now or once connected; its id on this connection.
    ///
    /// Without [`MarketStream::room`] the pair gets its id and no trades, and the next batch says
    /// [`StreamEvent::Refused`] with [`TOO_MANY_STREAMS`]; it may be subscribed to again once there is room.
    pub fn subscribe(&mut self, pair: &Pair) -> SymbolId {
        let id = self.hearing.subscribe(pair, Instant::now());
        if !self.hearing.subscriptions.is_wanted(id) {
            self.refused += 1;
        }
        id
    }

    /// Drops a pair.
    pub fn unsubscribe(&mut self, id: SymbolId) {
        self.hearing.subscriptions.remove(id);
    }

    /// Asks the venue once more for a pair that is subscribed to, in case it has forgotten. To one that has not it
    /// changes nothing, and no trade is missed meanwhile.
    pub fn resubscribe(&mut self, id: SymbolId) {
        self.hearing.subscriptions.ask_again(id);
    }

    /// How many more pairs can be subscribed to, of [`MAX_STREAMS`].
    pub fn room(&self) -> usize {
        MAX_STREAMS - self.hearing.subscriptions.wanted()
    }

    /// The pair of an id.
    pub fn pair(&self, id: SymbolId) -> Option<&Pair> {
        self.hearing.subscriptions.pair(id)
    }

    /// The venue's id of the last trade that was told of a symbol; ids count up by one from trade to trade.
    pub fn last_trade_id(&self, id: SymbolId) -> Option<i64> {
        self.hearing.last_trade_id(id)
    }

    /// What it has seen so far.
    pub fn counters(&self) -> Counters {
        self.hearing.counters
    }

    /// Waits for something to happen, then appends all that is there, up to a few hundred events; returns whether more
    /// had been received than that. Safe to drop while it waits.
    pub async fn next_batch(&mut self, events: &mut Vec<StreamEvent>) -> bool {
        let before = events.len();
        for _ in 0..std::mem::take(&mut self.refused) {
            events.push(StreamEvent::Refused(TOO_MANY_STREAMS));
        }
        while events.len() == before {
            let Some(connection) = &mut self.connection else {
                self.connect(events).await;
                continue;
            };
            if let Err(down) = connection.turn(&self.config, &mut self.hearing, events).await {
                self.disconnect(down, events);
            }
        }
        self.connection.as_ref().is_some_and(Connection::has_more)
    }

    /// Opens a socket once it is time.
    async fn connect(&mut self, events: &mut Vec<StreamEvent>) {
        self.retries.due().await;
        match Connection::open(&self.config).await {
            Ok(connection) => {
                self.hearing.start_over(Instant::now());
                self.connection = Some(connection);
                events.push(StreamEvent::Connected);
            }
            Err(down) => self.disconnect(down, events),
        }
    }

    /// Drops the socket and sets the time of the next try.
    fn disconnect(&mut self, down: Down, events: &mut Vec<StreamEvent>) {
        let age = self.connection.take().map(|connection| connection.age());
        let retry_in = self.retries.after(&down, age);
        events.push(StreamEvent::Disconnected { reason: down.reason, retry_in });
    }
}
