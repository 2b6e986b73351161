//! What a venue is told before it starts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::{Pair, Price, Qty, Quote, Rate};
use rand::Rng as _;
use rand::distr::Alphanumeric;
use rust_decimal::Decimal;

/// Everything that a venue is told before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Which market it plays.
    pub market: MarketSource,
    /// How fast market time goes.
    pub speed: Speed,
    /// What every made-up number follows from: the walk's prices and the faults.
    pub seed: u64,
    /// What each account owns at the start, by coin.
    pub balances: Vec<(String, Decimal)>,
    /// The fee of every fill, as a fraction of what is received (0.001 is 0.1 %).
    pub fee: Rate,
    /// The keys that may trade, each with an account of its own; where there are none, one is made up.
    pub credentials: Vec<Credential>,
    /// The grid that orders must keep to.
    pub steps: Steps,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            market: MarketSource::default(),
            speed: Speed::default(),
            seed: 1,
            balances: vec![("USDT".to_owned(), Decimal::from(10_000_u32))],
            fee: Rate::new(Decimal::new(1, 3)).unwrap_or(Rate::ZERO),
            credentials: Vec::new(),
            steps: Steps::default(),
            faults: Faults::default(),
        }
    }
}

/// Where prices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketSource {
    /// Made-up markets that move at once, with trends, calm and crashes.
    RandomWalk {
        /// The pairs; empty for BTC/USDT and ETH/USDT.
        pairs: Vec<Pair>,
    },
    /// Recorded markets.
    Replay {
        /// The files, played one after the other; the format is seen from the content, gzip included.
        files: Vec<PathBuf>,
        /// The pair of files that do not name one; without it the file's name tells, or else it is BTC/USDT.
        pair: Option<Pair>,
        /// When the replay begins.
        start: Start,
    },
}

impl Default for MarketSource {
    fn default() -> Self {
        Self::RandomWalk { pairs: Vec::new() }
    }
}

/// When a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first stream that anybody subscribes to.
    #[default]
    Subscribe,
    /// With the venue.
    Now,
}

/// How fast market time goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many market seconds per second. A subscriber that falls hopelessly behind is disconnected.
    Times(f64),
    /// As fast as the subscribers read; no frame is ever lost.
    Max,
}

impl Default for Speed {
    fn default() -> Self {
        Self::Times(1.0)
    }
}

/// An API key with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    key: String,
    secret: String,
}

impl Credential {
    /// A credential of a key and its secret.
    pub fn new(key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { key: key.into(), secret: secret.into() }
    }

    /// A credential that nobody else has: 64 random characters each, as the venue's own are.
    pub fn random() -> Self {
        let text = || rand::rng().sample_iter(Alphanumeric).take(64).map(char::from).collect::<String>();
        Self::new(text(), text())
    }

    /// The API key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The secret that requests are signed with.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The grid that orders must keep to. A replay whose prices or quantities are finer makes it finer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Prices are multiples of this.
    pub tick_size: Price,
    /// Quantities are multiples of this.
    pub lot_step: Qty,
    /// The smallest order, in quote.
    pub min_notional: Quote,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            tick_size: Price::from_e8(1_000_000).unwrap_or(Price::MIN),
            lot_step: Qty::new(Decimal::new(1, 5)).unwrap_or(Qty::ZERO),
            min_notional: Quote::new(Decimal::from(5_u32)).unwrap_or(Quote::ZERO),
        }
    }
}

/// What goes wrong on purpose; all of it follows from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Faults {
    /// Every stream connection is dropped after about this long (between half and one and a half of it).
    pub drop_connection_every: Option<Duration>,
    /// How long every answer waits.
    pub latency: Duration,
    /// The share of orders that are refused for no reason, from 0 to 1.
    pub reject_rate: f64,
    /// The share of orders that are accepted but never answered (the connection is closed), from 0 to 1.
    pub lose_ack_rate: f64,
}
