//! One market-data connection: what it hears, and what it asks for.

use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::hearing::{Heard, Hearing};
use super::{StreamConfig, StreamEvent};
use crate::binance::socket::{BATCH, Came, Down, Keep, Socket, announced};

/// Silence is looked for this many times while it may last, however many symbols and frames there are.
const SILENCE_CHECKS: u32 = 8;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    silence_at: Instant,
    /// Received beyond the last batch: what the next one begins with.
    ahead: Option<Came>,
    /// A request on its way out.
    request: Option<String>,
}

impl Connection {
    /// Opens a socket.
    pub(super) async fn open(config: &StreamConfig) -> Result<Self, Down> {
        let url = format!("{}/stream", config.url.trim_end_matches('/'));
        let keep = Keep {
            rotate_after: config.rotate_after,
            dead_after: config.dead_after,
            ping_every: config.ping_every,
            pause: config.request_pause,
        };
        let socket = Socket::open(&url, keep).await?;
        let silence_at = Instant::now() + config.stale_after / SILENCE_CHECKS;
        Ok(Self { socket, silence_at, ahead: None, request: None })
    }

    /// How long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.socket.age()
    }

    /// Whether more had been received than the last batch took.
    pub(super) const fn has_more(&self) -> bool {
        self.ahead.is_some()
    }

    /// One wait: frames, a message that is due, or a deadline.
    pub(super) async fn turn(
        &mut self,
        config: &StreamConfig,
        hearing: &mut Hearing,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), Down> {
        let has_request = self.request.is_some() || hearing.subscriptions.has_changes();
        let wake_at = self.socket.wake_at(has_request).min(self.silence_at).min(self.socket.renew_at());
        let first = match self.ahead.take() {
            Some(ahead) => Some(ahead),
            None => self.socket.next_until(wake_at).await,
        };
        let now = Instant::now();
        let (mut next, mut taken) = (first, 0);
        while let Some(came) = next {
            self.take(came, now, hearing, events)?;
            taken += 1;
            next = self.socket.next_now();
            if taken == BATCH {
                break;
            }
        }
        // Nothing that was read may be dropped.
        self.ahead = next;
        self.check(now, config, hearing, events)?;
        if self.socket.may_send(now) { self.send(now, hearing).await } else { Ok(()) }
    }

    /// Takes one message in.
    fn take(
        &mut self,
        came: Came,
        now: Instant,
        hearing: &mut Hearing,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), Down> {
        let is_oversized = matches!(came, Some(Err(SocketError::Capacity(_))));
        hearing.counters.oversized_frames += u64::from(is_oversized);
        let Some(frame) = self.socket.text(came, now)? else { return Ok(()) };
        match hearing.hear(frame.as_bytes(), now, events) {
            Heard::Well => Ok(()),
            Heard::Shutdown => Err(announced("the venue announced a shutdown")),
            Heard::Bad(error) => self.socket.mistrust(now, &error),
        }
    }

    /// Checks the deadlines.
    fn check(
        &mut self,
        now: Instant,
        config: &StreamConfig,
        hearing: &mut Hearing,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), Down> {
        self.socket.check_alive(now)?;
        if now >= self.socket.renew_at() {
            return Err(announced("the connection is renewed before the venue ends it"));
        }
        if now >= self.silence_at {
            hearing.tell_silence(now, config.stale_after, events);
            self.silence_at = now + config.stale_after / SILENCE_CHECKS;
        }
        Ok(())
    }

    /// Sends the one message that is due, if any: a request, else a ping.
    async fn send(&mut self, now: Instant, hearing: &mut Hearing) -> Result<(), Down> {
        // Let go only once it is sent: the caller may stop waiting in between.
        self.request = self.request.take().or_else(|| hearing.subscriptions.next_request());
        let Some(request) = &self.request else { return self.socket.ping(now).await };
        self.socket.send(Message::text(request.clone())).await?;
        self.request = None;
        Ok(())
    }
}
