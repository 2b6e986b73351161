//! What a venue is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::{Pair, Price, Qty, Quote, Rate};
use rust_decimal::Decimal;

/// Everything a venue is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What it plays.
    pub market: MarketSource,
    /// How fast.
    pub speed: Speed,
    /// What a made-up market and the faults grow from.
    pub seed: u64,
    /// What every account begins with: asset and amount.
    pub balances: Vec<(String, Decimal)>,
    /// What a trade costs, as a fraction of what is received.
    pub fee: Rate,
    /// Who may trade; each has an account of its own.
    pub credentials: Vec<Credential>,
    /// The grid of every pair.
    pub steps: Steps,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for Config {
    /// A made-up market in its own time on a free port of this machine, where nobody may trade yet.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            market: MarketSource::RandomWalk { pairs: Vec::new() },
            speed: Speed::Times(1.0),
            seed: 1,
            balances: vec![("USDT".to_owned(), 10_000.into()), ("BTC".to_owned(), Decimal::ONE)],
            fee: "0.001".parse().expect("a constant"),
            credentials: Vec::new(),
            steps: Steps::default(),
            faults: Faults::default(),
        }
    }
}

/// What is played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MarketSource {
    /// A made-up market.
    RandomWalk {
        /// Of these pairs; none means BTC/USDT and ETH/USDT.
        pairs: Vec<Pair>,
    },
    /// Recorded files, one after the other.
    Replay {
        /// The files.
        files: Vec<PathBuf>,
        /// The pair of files that do not name theirs; else it is looked for in the file's name.
        pair: Option<Pair>,
        /// When it begins.
        start: Start,
    },
}

/// When a replay begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// With the first subscription to a stream.
    Subscribe,
    /// At once.
    Now,
}

/// How fast a market is played.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Speed {
    /// Market seconds per second.
    Times(f64),
    /// As fast as every subscriber reads; none of them misses a frame.
    Max,
}

/// A key and what signs its requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The public half.
    pub key: String,
    /// The secret half.
    pub secret: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The grid that orders must lie on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
        let invariant = "a constant";
        Self {
            tick_size: "0.01".parse().expect(invariant),
            lot_step: "0.00001".parse().expect(invariant),
            min_notional: "5".parse().expect(invariant),
        }
    }
}

/// What goes wrong, by dice that the seed loads.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Faults {
    /// Sockets are dropped about this often, from half to one and a half times this.
    pub drop_connection_every: Option<Duration>,
    /// Every answer is late by this.
    pub latency: Duration,
    /// This share of orders is refused, 0 to 1.
    pub reject_rate: f64,
    /// This share of orders is taken and never answered, 0 to 1.
    pub lose_ack_rate: f64,
}
