//! One open socket and its deadlines.

use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::hearing::{Heard, Hearing};
use super::{StreamConfig, StreamEvent};
use crate::binance::decode::{DecodeError, MAX_FRAME_BYTES};

/// Bad frames in a minute after which the connection is not trusted any more.
const BAD_FRAMES_A_MINUTE: u32 = 10;

/// Frames taken in one batch before the owner gets a turn.
const BATCH: usize = 256;

/// How long a connection may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Silence is looked for this many times while it may last, however many symbols and frames there are.
const SILENCE_CHECKS: u32 = 8;

/// Why a connection is given up.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) reason: String,
    /// Whether its end was foreseen, so that it says nothing against the next one.
    pub(super) is_announced: bool,
}

fn fault(reason: impl Into<String>) -> Down {
    Down { reason: reason.into(), is_announced: false }
}

fn announced(reason: &str) -> Down {
    Down { reason: reason.to_owned(), is_announced: true }
}

/// An open socket.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Box<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    opened_at: Instant,
    heard_at: Instant,
    ping_at: Instant,
    /// When the next message may be sent.
    send_at: Instant,
    silence_at: Instant,
    /// A request on its way out.
    request: Option<String>,
    bad_since: Instant,
    bad_frames: u32,
}

impl Connection {
    /// Opens a socket.
    pub(super) async fn open(config: &StreamConfig) -> Result<Self, Down> {
        let url = format!("{}/stream", config.url.trim_end_matches('/'));
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let opening = timeout(OPEN_WITHIN, connect_async_with_config(url, Some(limits), true));
        let (socket, _) = opening
            .await
            .map_err(|_| fault(format!("cannot connect: no answer in {} s", OPEN_WITHIN.as_secs())))?
            .map_err(|error| fault(format!("cannot connect: {error}")))?;
        let now = Instant::now();
        Ok(Self {
            socket: Box::new(socket),
            opened_at: now,
            heard_at: now,
            ping_at: now + config.ping_every,
            send_at: now,
            silence_at: now + config.stale_after / SILENCE_CHECKS,
            request: None,
            bad_since: now,
            bad_frames: 0,
        })
    }

    /// How long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// One wait: frames, a message that is due, or a deadline.
    pub(super) async fn turn(
        &mut self,
        config: &StreamConfig,
        hearing: &mut Hearing,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), Down> {
        let has_request = self.request.is_some() || hearing.subscriptions.has_changes();
        let message_at = if has_request { self.send_at } else { self.ping_at.max(self.send_at) };
        let wake_at = message_at
            .min(self.silence_at)
            .min(self.heard_at + config.dead_after)
            .min(self.opened_at + config.rotate_after);
        let first = tokio::select! {
            biased;
            message = self.socket.next() => Some(message),
            () = sleep_until(wake_at) => None,
        };
        let now = Instant::now();
        let (mut next, mut taken) = (first, 0);
        while let Some(message) = next {
            self.heard_at = now;
            self.take(message, now, hearing, events)?;
            taken += 1;
            // What is not taken stays in the socket: nothing that was read may be dropped.
            next = if taken < BATCH { self.socket.next().now_or_never() } else { None };
        }
        self.check(now, config, hearing, events)?;
        if now >= self.send_at { self.send(now, config, hearing).await } else { Ok(()) }
    }

    /// Takes one message in.
    fn take(
        &mut self,
        message: Option<Result<Message, SocketError>>,
        now: Instant,
        hearing: &mut Hearing,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), Down> {
        let frame = match message {
            None => return Err(fault("the venue closed the connection")),
            Some(Err(error)) => {
                hearing.counters.oversized_frames += u64::from(matches!(error, SocketError::Capacity(_)));
                return Err(fault(error.to_string()));
            }
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(None))) => return Err(fault("closed")),
            Some(Ok(Message::Close(Some(frame)))) => return Err(fault(format!("closed: {frame}"))),
            // Pings are answered by the socket itself when it is next polled.
            Some(Ok(_)) => return Ok(()),
        };
        match hearing.hear(frame.as_bytes(), now, events) {
            Heard::Well => Ok(()),
            Heard::Shutdown => Err(announced("the venue announced a shutdown")),
            Heard::Bad(error) => self.mistrust(now, &error),
        }
    }

    /// Counts a bad frame; too many in a minute end the connection.
    fn mistrust(&mut self, now: Instant, error: &DecodeError) -> Result<(), Down> {
        if now - self.bad_since > Duration::from_mins(1) {
            (self.bad_since, self.bad_frames) = (now, 0);
        }
        self.bad_frames += 1;
        if self.bad_frames < BAD_FRAMES_A_MINUTE {
            return Ok(());
        }
        Err(fault(format!("{BAD_FRAMES_A_MINUTE} bad frames in a minute, the last: {error}")))
    }

    /// Checks the deadlines.
    fn check(
        &mut self,
        now: Instant,
        config: &StreamConfig,
        hearing: &mut Hearing,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), Down> {
        if now - self.heard_at >= config.dead_after {
            return Err(fault(format!("nothing was heard for {} s", config.dead_after.as_secs())));
        }
        if now - self.opened_at >= config.rotate_after {
            return Err(announced("the connection is renewed before the venue ends it"));
        }
        if now >= self.silence_at {
            hearing.tell_silence(now, config.stale_after, events);
            self.silence_at = now + config.stale_after / SILENCE_CHECKS;
        }
        Ok(())
    }

    /// Sends the one message that is due, if any: a request, else a ping.
    async fn send(&mut self, now: Instant, config: &StreamConfig, hearing: &mut Hearing) -> Result<(), Down> {
        // Let go only once it is sent: the caller may stop waiting in between.
        self.request = self.request.take().or_else(|| hearing.subscriptions.next_request());
        let message = match &self.request {
            Some(request) => Message::text(request.clone()),
            None if now >= self.ping_at => Message::Ping(bytes::Bytes::new()),
            None => return Ok(()),
        };
        timeout(config.dead_after, self.socket.send(message))
            .await
            .map_err(|_| fault("the venue takes nothing in"))?
            .map_err(|error| fault(error.to_string()))?;
        let sent_at = Instant::now();
        if self.request.take().is_none() {
            self.ping_at = sent_at + config.ping_every;
        }
        self.send_at = sent_at + config.request_pause;
        Ok(())
    }
}
