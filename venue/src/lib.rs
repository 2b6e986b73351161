//! A simulated exchange that speaks Binance's spot protocol and keeps books of its own.
//!
//! It serves REST, market streams and the WebSocket API from threads of its own, so it can live in a test beside
//! what it tests. It plays a made-up market or a recorded one, and matches orders against what it plays.
//!
//! ```no_run
//! # async fn example() -> Result<(), venue::VenueError> {
//! let venue = venue::start(venue::Config::default()).await?;
//! let url = format!("http://{}", venue.addr());
//! let key = venue.credentials()[0].key();
//! # let _ = (url, key);
//! venue.stop().await;
//! # Ok(())
//! # }
//! ```

mod clock;
mod config;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;

use model::{Pair, Price, Timestamp};
use tokio::sync::{oneshot, watch};

pub use config::{Config, Credential, Faults, MarketSource, Speed, Start, Steps};

/// Starts a venue and waits until it can be used.
///
/// # Errors
/// [`VenueError`] where the address cannot be bound, a file cannot be read, or a setting makes no sense.
pub async fn start(config: Config) -> Result<Venue, VenueError> {
    server::start(config).await
}

/// A running venue. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Venue {
    addr: SocketAddr,
    credentials: Vec<Credential>,
    progress: watch::Receiver<Progress>,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Venue {
    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The keys that may trade, made up or not.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// How far the market has been played.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Stops serving, closes every connection and waits for the end.
    pub async fn stop(self) {
        let Self { stop, stopped, .. } = self;
        let _ = stop.send(());
        let _ = stopped.await;
    }
}

/// How far the market has been played.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Public trades played.
    pub prints: u64,
    /// The last one.
    pub last: Option<(Pair, Price, Timestamp)>,
    /// The replay is at its end, and every subscriber has been handed every frame.
    pub finished: bool,
}

/// Why a venue does not start.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be opened or read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file's row is not of any known format, or breaks the one that it began with.
    #[error("{}, line {line}: {reason}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting that makes no sense.
    #[error("{0}")]
    Setting(String),
    /// The system refuses a thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}
