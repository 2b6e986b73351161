//! A simulated exchange that speaks Binance's spot protocol, with its own ledger.
//!
//! It plays a market, made up or recorded, to whoever subscribes, and matches signed orders against it. Real
//! third-party clients drive it unchanged. It shares no code with what it is there to prove.
//!
//! With [`Config::control`] it also answers under `/venue/`, which no real exchange has: a test moves the market there,
//! acts as the owner of an account would on the web site, and reads the ledger that everything is compared with.
//! Nothing there is signed, limited or subject to [`Faults`].
//!
//! | request | body | what it does |
//! |---|---|---|
//! | `POST /venue/price` | `symbol`, `price`, `qty` (1) | somebody trades at that price: it fills and triggers; a made-up market goes on from there |
//! | `POST /venue/balance` | `key`, `asset`, `delta` | moves funds in, or out where negative and free |
//! | `POST /venue/cancel` | `key`, `symbol`, `orderId` or `clientOrderId` | cancels an order |
//! | `POST /venue/sell` | `key`, `symbol`, `quantity`, `side` (`SELL`) | a market order, its client id beginning `web_` |
//! | `POST /venue/rules` | a list of `call` (as `order.place`), `side`, `type`, `code`, `msg` | refuses such requests, or answers with another order where there is no `code`, until the next list; answers how often each of the former was applied |
//! | `POST /venue/reports` | `told` | user streams fall silent while it is `false`, their sockets staying healthy |
//! | `POST /venue/clock` | `ahead_ms` | sets the venue's clock so far ahead of the machine's; behind, where negative |
//! | `GET /venue/ledger` | query `key` | every account with all its orders, fills and balances, and how often each fault happened |
//! | `GET /venue/accepted` | query `key` | every request that changed an order of that account, and which address it came from |
//!
//! ```no_run
//! # async fn example() -> Result<(), venue::VenueError> {
//! let venue = venue::start(venue::Config::default()).await?;
//! let url = format!("http://{}", venue.address());
//! # let _ = url;
//! venue.stop().await;
//! # Ok(())
//! # }
//! ```

mod accepted;
mod account;
mod book;
mod call;
mod candles;
mod clock;
mod config;
mod control;
mod counts;
mod depth;
mod execution;
mod fault;
mod filters;
mod http;
mod hub;
mod keys;
#[cfg(test)]
mod laws;
mod limits;
mod market;
mod matching;
mod order;
mod params;
mod player;
#[cfg(test)]
mod refusals;
mod reports;
mod rules;
mod socket;
mod talk;
mod world;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use actix_web::dev::{Server, ServerHandle};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

pub use config::{Config, Credential, Faults, FeeAsset, MarketSource, Silence, Speed, Start, Steps};
pub use keys::{KeyError, PublicKey};
pub use market::MarketError;
pub use player::Progress;

use accepted::Accepted;
use call::Call;
use clock::Clock;
use fault::{Dice, Fault};
use hub::Hub;
use keys::Key;
use limits::Limits;
use market::Market;
use player::Move;
use rules::Rule;
use world::World;

/// Why a venue could not start.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// What it should play cannot be read.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The address cannot be bound, or no thread can be made.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

/// What all connections of a venue share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Who may sign, account by account.
    pub(crate) keys: Vec<Key>,
    /// What time it is here.
    pub(crate) clock: Clock,
    world: Mutex<World>,
    hub: Mutex<Hub>,
    limits: Mutex<Limits>,
    pub(crate) dice: Arc<Dice>,
    rules: Mutex<Vec<Rule>>,
    /// Moves of the market by hand, for the player to make.
    pub(crate) moves: mpsc::UnboundedSender<Move>,
    /// When the market began, by this machine's clock.
    pub(crate) began: OnceLock<Instant>,
    /// Somebody has subscribed to a stream.
    pub(crate) subscribed: Notify,
    /// User streams say nothing for now.
    hides_reports: AtomicBool,
    /// What changed orders; kept where a test may read the ledger.
    accepted: Mutex<Vec<Accepted>>,
}

impl Shared {
    fn new(config: Config, market: &Market, moves: mpsc::UnboundedSender<Move>) -> Self {
        let dice = Arc::new(Dice::new(config.seed));
        let world = World::new(&config, market, dice.clone());
        Self {
            keys: Key::of(&config),
            clock: world.clock.clone(),
            world: Mutex::new(world),
            hub: Mutex::default(),
            limits: Mutex::new(Limits::new(config.faults.ban_after, config.faults.ban)),
            dice,
            rules: Mutex::default(),
            moves,
            began: OnceLock::new(),
            subscribed: Notify::new(),
            hides_reports: AtomicBool::new(false),
            accepted: Mutex::default(),
            config,
        }
    }

    /// The market, the accounts and their orders. What a panicking request left behind is still consistent enough
    /// to read.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong because a test asked for it.
    pub(crate) fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who listens to what. Taken after the world where both are.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether user streams say what happens.
    pub(crate) fn tells_reports(&self) -> bool {
        !self.hides_reports.load(Ordering::Relaxed)
    }

    /// Lets user streams fall silent, or say what happens from now on.
    pub(crate) fn tell_reports(&self, told: bool) {
        self.hides_reports.store(!told, Ordering::Relaxed);
    }

    /// What changed orders so far.
    pub(crate) fn accepted(&self) -> MutexGuard<'_, Vec<Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request of an address; the weight it has used in this minute.
    pub(crate) fn admit(&self, address: IpAddr, weight: u32) -> Result<u32, Fault> {
        let is_refused = self.dice.happens("pauses", self.config.faults.rate_limit_rate);
        let pause_s = is_refused.then(|| self.dice.between(1, 3).cast_signed());
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.take(address, weight, pause_s, self.clock.now())
    }

    /// What an account has used of the limits of orders, where a call's answer says it.
    pub(crate) fn orders_used(&self, call: Call, account: Option<usize>) -> Option<[u32; 2]> {
        let account = account.filter(|_| call.takes_order())?;
        self.world().accounts.get(account).map(|owner| owner.counts.used(self.clock.now()))
    }

    /// Whether a stream's symbol has fallen silent.
    pub(crate) fn is_silent(&self, stream: &str) -> bool {
        let symbol = stream.split('@').next().unwrap_or_default();
        let is_over = |after| self.began.get().is_some_and(|began| began.elapsed() >= after);
        let silence = &self.config.faults.silence;
        silence.iter().any(|silence| silence.symbol.eq_ignore_ascii_case(symbol) && is_over(silence.after))
    }
}

/// A venue that answers until it is stopped.
#[derive(Debug)]
pub struct Venue {
    address: SocketAddr,
    credentials: Vec<Credential>,
    progress: watch::Receiver<Progress>,
    server: ServerHandle,
    thread: JoinHandle<()>,
}

/// Binds, and serves from a thread of its own.
///
/// # Errors
/// [`VenueError`].
pub async fn start(config: Config) -> Result<Venue, VenueError> {
    let credentials = config.credentials.clone();
    let (told, up) = oneshot::channel();
    let thread = std::thread::Builder::new().name("venue".to_owned()).spawn(move || {
        actix_web::rt::System::new().block_on(serve(config, told));
    })?;
    let ended = || std::io::Error::other("the venue's thread ended before it was up");
    let (address, server, progress) = up.await.map_err(|_| ended())??;
    Ok(Venue { address, credentials, progress, server, thread })
}

/// What is known once it is up.
type Up = (SocketAddr, ServerHandle, watch::Receiver<Progress>);

async fn serve(config: Config, told: oneshot::Sender<Result<Up, VenueError>>) {
    let (moves, asked) = mpsc::unbounded_channel();
    let (shared, market, server, address) = match open(config, moves) {
        Ok(opened) => opened,
        Err(error) => return drop(told.send(Err(error))),
    };
    let (progress, seen) = watch::channel(Progress::default());
    if told.send(Ok((address, server.handle(), seen))).is_err() {
        return;
    }
    let player = actix_web::rt::spawn(player::play(shared, market, progress, asked));
    if let Err(error) = server.await {
        tracing::error!(%error, "the venue's server ended");
    }
    player.abort();
}

fn open(
    config: Config,
    moves: mpsc::UnboundedSender<Move>,
) -> Result<(Arc<Shared>, Market, Server, SocketAddr), VenueError> {
    let market = market::open(&config)?;
    let shared = Arc::new(Shared::new(config, &market, moves));
    let (server, address) = http::bind(&shared)?;
    Ok((shared, market, server, address))
}

impl Venue {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who may trade with a secret that the venue knows.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// How far its market has been played.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Closes every connection and ends its thread.
    pub async fn stop(self) {
        self.server.stop(false).await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join().is_ok()).await;
        if !joined.unwrap_or(false) {
            tracing::error!("the venue's thread had panicked");
        }
    }
}
