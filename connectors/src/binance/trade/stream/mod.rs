//! One connection to the venue's socket interface that stays up: the user's own stream, and orders over the same
//! socket.
//!
//! It is driven by whoever owns it through [`TradeStream::next_batch`] and never leaves that runtime. What it says is
//! decided in [`talk`], which knows no socket.

mod talk;

use std::pin::Pin;
use std::time::Duration;

use model::{ClientOrderId, Pair, Timestamp};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use self::talk::{Ask, Talk};
use super::call::Call;
use super::report::{Balance, UserReport};
use crate::binance::budget::{AccountTag, Cost, Lane, SharedBudget};
use crate::binance::error::VenueError;
use crate::binance::sign::Credential;
use crate::binance::socket::{BATCH, Down, Keep, Retries, Socket};

/// How a connection is kept.
#[derive(Clone, Debug)]
pub struct TradeStreamConfig {
    /// The whole address, such as `wss://ws-api.binance.com:443/ws-api/v3`. For `wss` the process must have installed
    /// a `rustls` crypto provider.
    pub url: String,
    /// A new connection is opened before the venue closes this one (after 24 h).
    pub rotate_after: Duration,
    /// A peer that has sent nothing for this long, though pinged, is dead.
    pub dead_after: Duration,
    /// How often we ping.
    pub ping_every: Duration,
    /// The shortest wait before a reconnect; it doubles from failure to failure.
    pub retry_first: Duration,
    /// The longest wait before a reconnect.
    pub retry_most: Duration,
    /// How long an answer may take. What an order's was is unknown then; a connection that leaves its subscription
    /// unanswered is given up.
    pub answer_within: Duration,
}

impl TradeStreamConfig {
    /// What suits the venue, at this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            rotate_after: Duration::from_mins(23 * 60 + 30),
            dead_after: Duration::from_secs(25),
            ping_every: Duration::from_secs(10),
            retry_first: Duration::from_millis(250),
            retry_most: Duration::from_secs(30),
            answer_within: Duration::from_secs(10),
        }
    }
}

impl TradeStreamConfig {
    fn keep(&self) -> Keep {
        Keep {
            rotate_after: self.rotate_after,
            dead_after: self.dead_after,
            ping_every: self.ping_every,
            pause: Duration::ZERO,
        }
    }
}

/// A socket that is being opened.
struct Dialling(Pin<Box<dyn Future<Output = Result<Socket, Down>> + Send>>);

impl Dialling {
    fn new(url: String, keep: Keep) -> Self {
        Self(Box::pin(async move { Socket::open(&url, keep).await }))
    }
}

impl std::fmt::Debug for Dialling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dialling")
    }
}

/// A request of one [`TradeStream`]; ids count up and are never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(pub u64);

/// What the owner of a connection is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TradeEvent {
    /// The user's own stream is subscribed to: from now on nothing is missed, and what happened before must be asked
    /// for over REST.
    Up,
    /// The connection is down.
    Down {
        /// Why, for the log.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The venue refused the subscription; `Down` follows. After [`VenueError::Auth`] it will refuse the next as well.
    Refused(VenueError),
    /// Something happened to an order of the account.
    Report(Box<UserReport>),
    /// What the account now holds of the coins that changed.
    Balances {
        /// Those coins.
        balances: Vec<Balance>,
        /// When.
        at: Timestamp,
    },
    /// A deposit, a withdrawal or a transfer changed what the account holds.
    Moved {
        /// The coin.
        asset: String,
        /// By how much; negative where it went out.
        delta: rust_decimal::Decimal,
        /// When.
        at: Timestamp,
    },
    /// What became of a call; exactly one for each. [`VenueError::Retry`] where it was never sent, and
    /// [`VenueError::Unknown`] where an order or a cancel was and no answer came.
    Answer {
        /// Which.
        id: AskId,
        /// The answer's body, or why it was not done.
        result: Result<Vec<u8>, VenueError>,
    },
    /// The venue told its time, after it had refused a subscription for ours.
    Time {
        /// What it told.
        at: Timestamp,
        /// How long it took from the question to the answer.
        took: Duration,
    },
}

/// What a connection has seen since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TradeCounters {
    /// Text frames received.
    pub frames: u64,
    /// Frames that could not be read.
    pub bad_frames: u64,
    /// Answers to nothing that was waited for (any more).
    pub stray_answers: u64,
    /// Connections made.
    pub connects: u64,
}

/// A connection to the venue's socket interface for one key.
#[derive(Debug)]
pub struct TradeStream {
    config: TradeStreamConfig,
    talk: Talk,
    socket: Option<Socket>,
    dialling: Option<Dialling>,
    account: AccountTag,
    budget: SharedBudget,
    retries: Retries,
}

impl TradeStream {
    /// A connection that opens with the first [`TradeStream::next_batch`]. `at` is the venue's time now.
    pub fn new(config: TradeStreamConfig, credential: &Credential, at: Timestamp) -> Self {
        let retries = Retries::new(config.retry_first, config.retry_most);
        let talk = Talk::new(credential, at, Instant::now(), config.answer_within);
        let (account, budget) = (credential.account(), SharedBudget::default());
        Self { config, talk, socket: None, dialling: None, account, budget, retries }
    }

    /// With the budget of its venue and egress address. Opening a socket asks it by itself, in the lane of exits; for
    /// a request the caller asks. While the venue has asked to be left alone nothing is sent.
    #[must_use]
    pub fn with_budget(mut self, budget: SharedBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Whose orders are counted.
    pub fn account_tag(&self) -> AccountTag {
        self.account
    }

    /// Tells it the venue's time now, which a subscription is stamped with. Between two it counts on by the monotonic
    /// clock; where the venue refuses a subscription for its time it asks for the time, tells it and subscribes again.
    pub fn set_time(&mut self, at: Timestamp) {
        self.talk.set_time(at, Instant::now());
    }

    /// Whether the user's own stream is subscribed to, so that requests are sent. While it is not, every request is
    /// answered with [`VenueError::Retry`].
    pub fn is_up(&self) -> bool {
        self.talk.is_up()
    }

    /// What it has seen so far.
    pub fn counters(&self) -> TradeCounters {
        self.talk.counters()
    }

    /// Makes a call. A signed one is stamped with `at`, a time of the venue's clock, however late it leaves. Its answer
    /// is a [`TradeEvent::Answer`], to be read by [`Call::read`].
    pub fn call<T>(&mut self, call: &Call<T>, at: Timestamp) -> AskId {
        self.talk.ask(Ask { request: call.request.clone(), at })
    }

    /// As [`Call::place`].
    pub fn place(&mut self, body: &str, at: Timestamp) -> AskId {
        self.call(&Call::place(body), at)
    }

    /// As [`Call::cancel`].
    pub fn cancel(&mut self, pair: &Pair, id: ClientOrderId, at: Timestamp) -> AskId {
        self.call(&Call::cancel(pair, id), at)
    }

    /// Opens the socket, where it is down, within a second of the last try instead of after the wait that earlier failures
    /// call for: an order waits, and there is no other way. What the venue's limits forbid still waits.
    pub fn dial_soon(&mut self) {
        let is_blocked = self.budget.lock().blocked_until(Instant::now()).is_some();
        if self.socket.is_none() && !is_blocked {
            self.retries.hurry();
        }
    }

    /// Waits for something to happen, then appends all that is there, up to a few hundred events. Safe to drop while
    /// it waits: no request is sent twice, and no event that was appended comes again.
    pub async fn next_batch(&mut self, events: &mut Vec<TradeEvent>) {
        let before = events.len();
        self.talk.turn_away(events);
        while events.len() == before {
            if self.socket.is_none() {
                self.connect(events).await;
            } else if let Err(down) = self.turn(events).await {
                self.disconnect(down, events);
            }
        }
    }

    /// Opens a socket once it is time, and once the budget has room for it. The dialling outlives a caller who stops
    /// waiting: one who is called away often would never be connected otherwise.
    async fn connect(&mut self, events: &mut Vec<TradeEvent>) {
        if self.dialling.is_none() {
            self.retries.due().await;
            if let Err(wait) = self.budget.ask(Cost::CONNECT, Lane::Exit) {
                return self.retries.not_before(wait.until);
            }
        }
        let (url, keep) = (&self.config.url, self.config.keep());
        let opened = self.dialling.get_or_insert_with(|| Dialling::new(url.clone(), keep)).0.as_mut().await;
        self.dialling = None;
        match opened {
            Ok(socket) => {
                self.talk.start_over();
                self.socket = Some(socket);
            }
            Err(down) => self.disconnect(down, events),
        }
    }

    /// One wait: frames, a message that is due, or a deadline.
    async fn turn(&mut self, events: &mut Vec<TradeEvent>) -> Result<(), Down> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let before = events.len();
        // Before anything is waited for: what is asked has to go out.
        while let Some((id, text)) = self.talk.next_message(Instant::now(), &self.budget, events) {
            let outcome = socket.send(Message::text(text)).await;
            // Also where it failed, for then nobody can say how much of it left. Dropped while it waits, it has not
            // begun, and the request comes again.
            self.talk.sent(id, Instant::now());
            outcome?;
        }
        if events.len() > before {
            return Ok(());
        }
        let mut wake_at = socket.wake_at(false).min(self.talk.deadline());
        if !self.talk.is_closing() {
            wake_at = wake_at.min(socket.renew_at());
        }
        let mut next = socket.next_until(wake_at).await;
        let (now, mut taken) = (Instant::now(), 0);
        while let Some(came) = next {
            if let Some(frame) = socket.text(came, now)? {
                let heard = self.talk.hear(frame.as_bytes(), now, events);
                self.talk.account_for(&self.budget, self.account, now);
                if let Err(error) = heard {
                    socket.mistrust(now, &error)?;
                }
            }
            taken += 1;
            // What is not taken stays in the socket: nothing that was read may be dropped.
            next = if taken < BATCH { socket.next_now() } else { None };
        }
        socket.check_alive(now)?;
        if now >= socket.renew_at() {
            self.talk.close("the connection is renewed before the venue ends it", now);
        }
        self.talk.check(now, events)?;
        socket.ping(now).await
    }

    /// Drops the socket, tells what became of what was asked, and sets the time of the next try.
    fn disconnect(&mut self, down: Down, events: &mut Vec<TradeEvent>) {
        let age = self.socket.take().map(|socket| socket.age());
        let mut retry_in = self.retries.after(&down, age);
        let now = Instant::now();
        let mut budget = self.budget.lock();
        if let Some((status, retry_after)) = down.refused {
            budget.refused(now, status, retry_after);
        }
        if let Some(until) = budget.blocked_until(now).filter(|until| *until - now > retry_in) {
            self.retries.not_before(until);
            retry_in = until - now;
        }
        drop(budget);
        self.talk.lose(&down.reason, events);
        events.push(TradeEvent::Down { reason: down.reason, retry_in });
    }
}
