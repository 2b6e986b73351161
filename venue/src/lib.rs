//! A simulated exchange that speaks Binance's spot protocol, with its own ledger.
//!
//! It plays a market, made up or recorded, to whoever subscribes, and matches signed orders against it. Real
//! third-party clients drive it unchanged. It shares no code with what it is there to prove.
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

mod account;
mod call;
mod candles;
mod clock;
mod config;
mod fault;
mod http;
mod hub;
mod limits;
mod market;
mod matching;
mod order;
mod params;
mod player;
mod socket;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use actix_web::dev::{Server, ServerHandle};
use tokio::sync::{Notify, oneshot, watch};

pub use config::{Config, Credential, Faults, MarketSource, Speed, Start, Steps};
pub use market::MarketError;
pub use player::Progress;

use hub::Hub;
use limits::Limits;
use market::Market;
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
    world: Mutex<World>,
    hub: Mutex<Hub>,
    limits: Mutex<Limits>,
    faults: fault::Dice,
    /// Somebody has subscribed to a stream.
    pub(crate) subscribed: Notify,
}

impl Shared {
    fn new(config: Config, market: &Market) -> Self {
        Self {
            world: Mutex::new(World::new(&config, market)),
            hub: Mutex::default(),
            limits: Mutex::default(),
            faults: fault::Dice::new(config.seed),
            subscribed: Notify::new(),
            config,
        }
    }

    /// The market, the accounts and their orders. What a panicking request left behind is still consistent enough
    /// to read.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who listens to what. Taken after the world where both are.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every address has used of its limits.
    pub(crate) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
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
    let (shared, market, server, address) = match open(config) {
        Ok(opened) => opened,
        Err(error) => return drop(told.send(Err(error))),
    };
    let (progress, seen) = watch::channel(Progress::default());
    if told.send(Ok((address, server.handle(), seen))).is_err() {
        return;
    }
    let player = actix_web::rt::spawn(player::play(shared, market, progress));
    if let Err(error) = server.await {
        tracing::error!(%error, "the venue's server ended");
    }
    player.abort();
}

fn open(config: Config) -> Result<(Arc<Shared>, Market, Server, SocketAddr), VenueError> {
    let market = market::open(&config)?;
    let shared = Arc::new(Shared::new(config, &market));
    let (server, address) = http::bind(&shared)?;
    Ok((shared, market, server, address))
}

impl Venue {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who may trade.
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
