//! One open socket, its deadlines, and when the next is dialled: what every connection to this venue has.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt as _, Sink as _, SinkExt as _, StreamExt as _};
use rand::Rng as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::decode::MAX_FRAME_BYTES;

/// Bad frames in a minute after which a connection is not trusted any more.
const BAD_FRAMES_A_MINUTE: u32 = 10;

/// Frames taken in one batch before the owner gets a turn.
pub(super) const BATCH: usize = 256;

/// How long a connection may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// A connection that lived this long was a good one: the wait before the next starts from the shortest again.
/// Even so a venue that ends each at once is dialled far less than the 300 times in 5 minutes that it allows.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// The shortest time between two tries where the next cannot wait.
const HURRIED_EVERY: Duration = Duration::from_secs(1);

/// Why a connection is given up.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) reason: String,
    /// Whether its end was foreseen, so that it says nothing against the next one.
    pub(super) is_announced: bool,
    /// The status that the venue answered instead of opening it, and how long it wants to be left alone.
    pub(super) refused: Option<(u16, Option<Duration>)>,
}

pub(super) fn fault(reason: impl Into<String>) -> Down {
    Down { reason: reason.into(), is_announced: false, refused: None }
}

pub(super) fn announced(reason: &str) -> Down {
    Down { reason: reason.to_owned(), is_announced: true, refused: None }
}

/// How a socket is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) rotate_after: Duration,
    pub(super) dead_after: Duration,
    pub(super) ping_every: Duration,
    /// Between two messages.
    pub(super) pause: Duration,
}

/// What came: a frame, an error, or the end.
pub(super) type Came = Option<Result<Message, SocketError>>;

/// An open socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Box<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    keep: Keep,
    opened_at: Instant,
    heard_at: Instant,
    ping_at: Instant,
    /// When the next message may be sent.
    send_at: Instant,
    /// Whether something that was sent may still be in our own buffer.
    has_unflushed: bool,
    bad_since: Instant,
    bad_frames: u32,
}

impl Socket {
    /// Opens a socket.
    pub(super) async fn open(url: &str, keep: Keep) -> Result<Self, Down> {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let opening = timeout(OPEN_WITHIN, connect_async_with_config(url, Some(limits), true));
        let opened = opening
            .await
            .map_err(|_| fault(format!("cannot connect: no answer in {} s", OPEN_WITHIN.as_secs())))?;
        let (socket, _) = opened.map_err(|error| Down {
            refused: refusal(&error),
            ..fault(format!("cannot connect: {error}"))
        })?;
        bound_silence(socket.get_ref(), keep.dead_after);
        let now = Instant::now();
        Ok(Self {
            stream: Box::new(socket),
            keep,
            opened_at: now,
            heard_at: now,
            ping_at: now + keep.ping_every,
            send_at: now,
            has_unflushed: false,
            bad_since: now,
            bad_frames: 0,
        })
    }

    /// How long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// When something is due: a message if one waits, else a ping; or the end of a peer that stays silent.
    pub(super) fn wake_at(&self, has_message: bool) -> Instant {
        let message_at = if has_message { self.send_at } else { self.ping_at.max(self.send_at) };
        message_at.min(self.heard_at + self.keep.dead_after)
    }

    /// When it should be renewed.
    pub(super) fn renew_at(&self) -> Instant {
        self.opened_at + self.keep.rotate_after
    }

    /// Waits for what comes, until then. Meanwhile what was sent goes out. Safe to drop.
    pub(super) async fn next_until(&mut self, wake_at: Instant) -> Option<Came> {
        tokio::select! {
            biased;
            came = self.next() => Some(came),
            () = sleep_until(wake_at) => None,
        }
    }

    /// What is there already, all of it: the runtime's own limit on how much a task may read in one turn would make a
    /// backlog look as if it had ended.
    pub(super) fn next_now(&mut self) -> Option<Came> {
        tokio::task::unconstrained(self.next()).now_or_never()
    }

    async fn next(&mut self) -> Came {
        let came = poll_fn(|context| {
            if self.has_unflushed {
                match Pin::new(&mut *self.stream).poll_flush(context) {
                    Poll::Ready(Ok(())) => self.has_unflushed = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => {}
                }
            }
            self.stream.poll_next_unpin(context)
        });
        came.await
    }

    /// The text of what came, where it is one.
    pub(super) fn text(&mut self, came: Came, now: Instant) -> Result<Option<Utf8Bytes>, Down> {
        self.heard_at = now;
        match came {
            None => Err(fault("the venue closed the connection")),
            Some(Err(error)) => Err(fault(error.to_string())),
            Some(Ok(Message::Text(text))) => Ok(Some(text)),
            Some(Ok(Message::Close(None))) => Err(fault("closed")),
            Some(Ok(Message::Close(Some(frame)))) => Err(fault(format!("closed: {frame}"))),
            // Pings are answered by the socket itself when it is next polled.
            Some(Ok(_)) => Ok(None),
        }
    }

    /// Counts a bad frame; too many in a minute end the connection.
    pub(super) fn mistrust(&mut self, now: Instant, error: &dyn std::fmt::Display) -> Result<(), Down> {
        if now - self.bad_since > Duration::from_mins(1) {
            (self.bad_since, self.bad_frames) = (now, 0);
        }
        self.bad_frames += 1;
        if self.bad_frames < BAD_FRAMES_A_MINUTE {
            return Ok(());
        }
        Err(fault(format!("{BAD_FRAMES_A_MINUTE} bad frames in a minute, the last: {error}")))
    }

    /// Whether the peer still lives.
    pub(super) fn check_alive(&self, now: Instant) -> Result<(), Down> {
        if now - self.heard_at >= self.keep.dead_after {
            return Err(fault(format!("nothing was heard for {} s", self.keep.dead_after.as_secs())));
        }
        Ok(())
    }

    /// Whether a message may be sent.
    pub(super) fn may_send(&self, now: Instant) -> bool {
        now >= self.send_at
    }

    /// Sends a ping if one is due.
    pub(super) async fn ping(&mut self, now: Instant) -> Result<(), Down> {
        if now < self.ping_at || !self.may_send(now) {
            return Ok(());
        }
        self.send(Message::Ping(bytes::Bytes::new())).await?;
        self.ping_at = Instant::now() + self.keep.ping_every;
        Ok(())
    }

    /// Sends a message. Where this is dropped before it is done nothing of the message was sent or ever will be; once
    /// it is done the message counts as sent, though its last bytes may still be on their way out.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Down> {
        timeout(self.keep.dead_after, self.stream.feed(message))
            .await
            .map_err(|_| fault("the venue takes nothing in"))?
            .map_err(|error| fault(error.to_string()))?;
        // What does not go out at once goes while the next frame is waited for.
        self.has_unflushed = !matches!(self.stream.flush().now_or_never(), Some(Ok(())));
        self.send_at = Instant::now() + self.keep.pause;
        Ok(())
    }
}

/// What the venue answered instead of opening a socket.
fn refusal(error: &SocketError) -> Option<(u16, Option<Duration>)> {
    let SocketError::Http(answer) = error else { return None };
    let seconds =
        answer.headers().get("retry-after").and_then(|text| text.to_str().ok()?.trim().parse().ok());
    Some((answer.status().as_u16(), seconds.map(Duration::from_secs)))
}

/// Has the kernel end a connection whose peer acknowledges nothing for this long: a half-open socket then dies while
/// something is being sent, and not only when our own deadline finds it silent.
fn bound_silence(stream: &MaybeTlsStream<TcpStream>, limit: Duration) {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
    {
        let tcp = match stream {
            MaybeTlsStream::Plain(tcp) => tcp,
            MaybeTlsStream::Rustls(tls) => tls.get_ref().0,
            _ => return,
        };
        // Our own deadline holds without it.
        let _ = socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(limit));
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "fuchsia")))]
    let _ = (stream, limit);
}

/// When a connection is dialled again.
#[derive(Debug)]
pub(super) struct Retries {
    first: Duration,
    most: Duration,
    at: Instant,
    /// When the last try began.
    tried_at: Option<Instant>,
    failures: u32,
}

impl Retries {
    /// At once; later from `first` to `most`.
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, at: Instant::now(), tried_at: None, failures: 0 }
    }

    /// Waits until it is time.
    pub(super) async fn due(&mut self) {
        sleep_until(self.at).await;
        // Should the caller give up while it dials, the next try waits like any other.
        let now = Instant::now();
        (self.at, self.tried_at) = (now + self.first, Some(now));
    }

    /// Brings the next try forward, to a second after the last one at the earliest.
    pub(super) fn hurry(&mut self) {
        let earliest = self.tried_at.map_or_else(Instant::now, |at| at + HURRIED_EVERY);
        self.at = self.at.min(earliest);
    }

    /// Sets the time of the next try, after a connection of this age or none: now where a good one was announced to
    /// end, else later from failure to failure, with jitter so that many do not come back at once.
    pub(super) fn after(&mut self, down: &Down, age: Option<Duration>) -> Duration {
        if age.is_some_and(|age| age > SETTLED_AFTER) {
            self.failures = 0;
        }
        let longest = self.first.saturating_mul(1 << self.failures.min(16)).min(self.most);
        let retry_in = if down.is_announced && self.failures == 0 {
            Duration::ZERO
        } else {
            longest.mul_f64(rand::rng().random_range(0.5..=1.0))
        };
        self.failures = self.failures.saturating_add(1);
        self.not_before(Instant::now() + retry_in);
        retry_in
    }

    /// Puts the next try off.
    pub(super) fn not_before(&mut self, at: Instant) {
        self.at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep {
        rotate_after: Duration::from_hours(1),
        dead_after: Duration::from_secs(30),
        ping_every: Duration::from_secs(10),
        pause: Duration::ZERO,
    };

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
    #[tokio::test]
    async fn the_kernel_gives_up_a_peer_that_acknowledges_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let accept = async {
            let (socket, _) = listener.accept().await.unwrap();
            tokio_tungstenite::accept_async(socket).await.unwrap()
        };
        let (socket, _peer) = tokio::join!(Socket::open(&url, KEEP), accept);
        let socket = socket.unwrap();
        let MaybeTlsStream::Plain(tcp) = socket.stream.get_ref() else { panic!() };
        let limit = socket2::SockRef::from(tcp).tcp_user_timeout().unwrap();
        assert_eq!(limit, Some(KEEP.dead_after));
    }

    #[test]
    fn waits_double_from_failure_to_failure_and_start_over_after_a_good_connection() {
        let (first, most) = (Duration::from_millis(250), Duration::from_secs(30));
        let mut retries = Retries::new(first, most);
        for longest in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let waited = retries.after(&fault("gone"), None);
            let longest = Duration::from_millis(longest);
            assert!(waited >= longest / 2 && waited <= longest, "{waited:?} of {longest:?}");
        }
        let good = Some(SETTLED_AFTER + Duration::from_secs(1));
        assert!(retries.after(&fault("gone"), good) <= first);
        assert!(retries.after(&announced("renewed"), good).is_zero());
        assert!(!retries.after(&announced("renewed"), Some(Duration::ZERO)).is_zero(), "not twice in a row");
    }
}
