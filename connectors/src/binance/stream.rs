//! One market-data connection that stays up: it reconnects, subscribes again, answers and sends pings, notices a
//! dead peer and a silent symbol, and counts what it had to drop.
//!
//! It is driven by whoever owns it through [`MarketStream::next_batch`] and never leaves that runtime: a socket
//! lives on the runtime that opened it.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use model::{Pair, Tick};
use rand::Rng as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::decode::{DecodeError, Decoder, Frame, MAX_FRAME_BYTES};
use super::subscriptions::{Subscriptions, SymbolId};

/// How a connection is kept.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Base URL without path, such as `wss://stream.binance.com:9443`.
    pub url: String,
    /// A new connection is opened before the venue closes this one (after 24 h).
    pub rotate_after: Duration,
    /// A peer that has sent nothing for this long, though pinged, is dead.
    pub dead_after: Duration,
    /// How often we ping.
    pub ping_every: Duration,
    /// A symbol is stale once it was silent for this long while the connection lived.
    pub stale_after: Duration,
    /// The shortest wait before a reconnect; it doubles from failure to failure.
    pub retry_first: Duration,
    /// The longest wait before a reconnect.
    pub retry_most: Duration,
    /// The pause between two requests: the venue closes a connection that sends more than five a second.
    pub request_pause: Duration,
}

impl StreamConfig {
    /// What suits the venue, on this base URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            rotate_after: Duration::from_mins(23 * 60 + 30),
            dead_after: Duration::from_secs(30),
            ping_every: Duration::from_secs(10),
            stale_after: Duration::from_secs(15),
            retry_first: Duration::from_millis(250),
            retry_most: Duration::from_secs(30),
            request_pause: Duration::from_millis(300),
        }
    }
}

/// What the owner of a connection is told.
#[derive(Clone, PartialEq, Debug)]
pub enum StreamEvent {
    /// A public trade.
    Tick(SymbolId, Tick),
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
    /// The venue refused a request, with its code.
    Refused(i64),
}

/// What a connection has seen since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Text frames received.
    pub frames: u64,
    /// Ticks among them.
    pub ticks: u64,
    /// Frames that could not be decoded or held an impossible amount.
    pub bad_frames: u64,
    /// Connections made.
    pub connects: u64,
}

/// Bad frames in a minute after which the connection is not trusted any more.
const BAD_FRAMES_A_MINUTE: u32 = 10;

/// Frames taken in one batch before the owner gets a turn.
const BATCH: usize = 256;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A market-data connection and what is subscribed to on it.
#[derive(Debug)]
pub struct MarketStream {
    config: StreamConfig,
    subscriptions: Subscriptions,
    decoder: Decoder,
    counters: Counters,
    socket: Option<Connection>,
    retry_at: Instant,
    failures: u32,
}

/// An open socket and its deadlines.
#[derive(Debug)]
struct Connection {
    socket: Box<Socket>,
    opened_at: Instant,
    heard_at: Instant,
    ping_at: Instant,
    requests: VecDeque<String>,
    request_at: Instant,
    bad_since: Instant,
    bad_frames: u32,
    /// When each symbol was heard last, and whether its silence was told.
    heard: Vec<(Instant, bool)>,
}

impl Connection {
    /// Notes that a symbol was heard, or begins to be listened for.
    fn hear(&mut self, symbol: SymbolId, now: Instant) {
        let index = symbol.0 as usize;
        if self.heard.len() <= index {
            self.heard.resize(index + 1, (now, false));
        }
        if let Some(heard) = self.heard.get_mut(index) {
            *heard = (now, false);
        }
    }
}

impl MarketStream {
    /// A connection that opens with the first [`MarketStream::next_batch`].
    pub fn new(config: StreamConfig) -> Self {
        Self {
            config,
            subscriptions: Subscriptions::new(),
            decoder: Decoder::new(),
            counters: Counters::default(),
            socket: None,
            retry_at: Instant::now(),
            failures: 0,
        }
    }

    /// Subscribes to a pair's trades, now or once connected; its id on this connection.
    pub fn subscribe(&mut self, pair: &Pair) -> SymbolId {
        let id = self.subscriptions.add(pair);
        if let Some(connection) = &mut self.socket {
            connection.hear(id, Instant::now());
            connection.requests.extend(self.subscriptions.requests("SUBSCRIBE", std::slice::from_ref(pair)));
        }
        id
    }

    /// Drops a pair.
    pub fn unsubscribe(&mut self, id: SymbolId) {
        self.subscriptions.remove(id);
        if let (Some(connection), Some(pair)) = (&mut self.socket, self.subscriptions.pair(id).cloned()) {
            connection.requests.extend(self.subscriptions.requests("UNSUBSCRIBE", &[pair]));
        }
    }

    /// The pair of an id.
    pub fn pair(&self, id: SymbolId) -> Option<&Pair> {
        self.subscriptions.pair(id)
    }

    /// What it has seen so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Waits for something to happen, then appends all that is there, up to a few hundred events. Safe to drop
    /// while it waits.
    pub async fn next_batch(&mut self, events: &mut Vec<StreamEvent>) {
        let before = events.len();
        while events.len() == before {
            if self.socket.is_none() {
                self.connect(events).await;
                continue;
            }
            if let Err(reason) = self.turn(events).await {
                self.disconnect(reason, events);
            }
        }
    }

    /// Opens a socket once it is time.
    async fn connect(&mut self, events: &mut Vec<StreamEvent>) {
        sleep_until(self.retry_at).await;
        // Should the caller give up while this dials, the next try waits like any other.
        self.retry_at = Instant::now() + self.config.retry_first;
        let url = format!("{}/stream", self.config.url.trim_end_matches('/'));
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let opened =
            timeout(Duration::from_secs(10), connect_async_with_config(url, Some(limits), true)).await;
        match opened {
            Ok(Ok((socket, _))) => {
                let now = Instant::now();
                let requests = self.subscriptions.subscribe_all().into();
                self.counters.connects += 1;
                self.socket = Some(Connection {
                    socket: Box::new(socket),
                    opened_at: now,
                    heard_at: now,
                    ping_at: now + self.config.ping_every,
                    requests,
                    request_at: now,
                    bad_since: now,
                    bad_frames: 0,
                    heard: vec![(now, false); self.subscriptions.count()],
                });
                events.push(StreamEvent::Connected);
            }
            Ok(Err(error)) => self.disconnect(format!("cannot connect: {error}"), events),
            Err(_) => self.disconnect("cannot connect: no answer in 10 s".to_owned(), events),
        }
    }

    /// Drops the socket and sets the time of the next try, with jitter so that many do not come back at once.
    fn disconnect(&mut self, reason: String, events: &mut Vec<StreamEvent>) {
        let lived_long = self.socket.take().is_some_and(|c| c.opened_at.elapsed() > Duration::from_mins(1));
        self.failures = if lived_long { 0 } else { self.failures.saturating_add(1) };
        let longest = self
            .config
            .retry_first
            .saturating_mul(1 << self.failures.saturating_sub(1).min(16))
            .min(self.config.retry_most);
        let retry_in = longest.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.retry_at = Instant::now() + retry_in;
        events.push(StreamEvent::Disconnected { reason, retry_in });
    }

    /// One wait: frames, a request that is due, or a deadline. An error is why the connection is given up.
    async fn turn(&mut self, events: &mut Vec<StreamEvent>) -> Result<(), String> {
        let Some(connection) = &mut self.socket else { return Ok(()) };
        let next_request = if connection.requests.is_empty() { None } else { Some(connection.request_at) };
        let deadline = connection
            .ping_at
            .min(connection.heard_at + self.config.dead_after)
            .min(Instant::now() + self.config.stale_after);
        let wake_at = next_request.map_or(deadline, |at| at.min(deadline));
        let first = tokio::select! {
            biased;
            message = connection.socket.next() => Some(message),
            () = sleep_until(wake_at) => None,
        };
        let now = Instant::now();
        if let Some(first) = first {
            connection.heard_at = now;
            let mut message = first;
            for _ in 0..BATCH {
                self.take(message, now, events)?;
                let Some(connection) = &mut self.socket else { return Ok(()) };
                match connection.socket.next().now_or_never() {
                    Some(next) => message = next,
                    None => break,
                }
            }
        }
        self.keep(now, events).await
    }

    /// Takes one message in.
    fn take(
        &mut self,
        message: Option<Result<Message, SocketError>>,
        now: Instant,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), String> {
        let Some(connection) = &mut self.socket else { return Ok(()) };
        let frame = match message {
            None => return Err("the venue closed the connection".to_owned()),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                return Err(frame.map_or_else(|| "closed".to_owned(), |frame| format!("closed: {frame}")));
            }
            // Pings are answered by the socket itself when it is next polled.
            Some(Ok(_)) => return Ok(()),
        };
        self.counters.frames += 1;
        match self.decoder.decode(frame.as_bytes(), &self.subscriptions) {
            Ok(Frame::Trade { symbol, tick, .. }) => {
                self.counters.ticks += 1;
                connection.hear(symbol, now);
                events.push(StreamEvent::Tick(symbol, tick));
            }
            Ok(Frame::Refused(code)) => events.push(StreamEvent::Refused(code)),
            Ok(Frame::ServerShutdown) => return Err("the venue announced a shutdown".to_owned()),
            Ok(_) => {}
            // One symbol's impossible amount says nothing against the connection.
            Err(DecodeError::Amount(_)) => self.counters.bad_frames += 1,
            Err(error) => {
                self.counters.bad_frames += 1;
                if now - connection.bad_since > Duration::from_mins(1) {
                    (connection.bad_since, connection.bad_frames) = (now, 0);
                }
                connection.bad_frames += 1;
                if connection.bad_frames >= BAD_FRAMES_A_MINUTE {
                    return Err(format!("{BAD_FRAMES_A_MINUTE} bad frames in a minute, the last: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Sends what is due and checks the deadlines.
    async fn keep(&mut self, now: Instant, events: &mut Vec<StreamEvent>) -> Result<(), String> {
        let Some(connection) = &mut self.socket else { return Ok(()) };
        if now - connection.heard_at >= self.config.dead_after {
            return Err(format!("nothing was heard for {} s", self.config.dead_after.as_secs()));
        }
        if now - connection.opened_at > self.config.rotate_after {
            return Err("the connection is renewed before the venue ends it".to_owned());
        }
        for (index, (heard_at, told)) in connection.heard.iter_mut().enumerate() {
            let symbol = SymbolId(u32::try_from(index).unwrap_or(u32::MAX));
            if !*told && now - *heard_at > self.config.stale_after && self.subscriptions.is_wanted(symbol) {
                *told = true;
                events.push(StreamEvent::Stale(symbol));
            }
        }
        if now >= connection.request_at
            && let Some(request) = connection.requests.front().cloned()
        {
            // Taken off only once it is sent: the caller may stop waiting in between.
            connection.socket.send(Message::Text(request.into())).await.map_err(|error| error.to_string())?;
            connection.requests.pop_front();
            connection.request_at = now + self.config.request_pause;
        } else if now >= connection.ping_at {
            let ping = Message::Ping(bytes::Bytes::new());
            connection.socket.send(ping).await.map_err(|error| error.to_string())?;
            connection.ping_at = now + self.config.ping_every;
        }
        Ok(())
    }
}
