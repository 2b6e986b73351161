//! What a venue is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::{Pair, Price, Qty, Quote, Rate};
use rust_decimal::Decimal;

use crate::keys::PublicKey;

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
    /// Who may trade and signs with Ed25519; each has an account of its own as well.
    pub public_keys: Vec<PublicKey>,
    /// The grid of every pair.
    pub steps: Steps,
    /// What goes wrong.
    pub faults: Faults,
    /// How much further than usual a made-up market moves, as a factor.
    pub volatility: Decimal,
    /// What a trade's fee is paid in.
    pub fee_asset: FeeAsset,
    /// A coin that fees are paid in instead while the account has enough of it, at the venue's own last price of it.
    pub fee_coin: Option<String>,
    /// Whether every key may withdraw, which a careful client refuses.
    pub can_withdraw: bool,
    /// Whether tests may move the market and act as the owner, and read the ledger, under `/venue/`.
    pub control: bool,
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
            public_keys: Vec::new(),
            steps: Steps::default(),
            faults: Faults::default(),
            volatility: Decimal::ONE,
            fee_asset: FeeAsset::Received,
            fee_coin: None,
            can_withdraw: false,
            control: false,
        }
    }
}

/// What a trade's fee is paid in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeeAsset {
    /// What is received: base of a buy, quote of a sell.
    Received,
    /// The pair's quote, on top of what a buy costs.
    Quote,
    /// BNB at a made-up 600 quote apiece while there is enough of it, else what is received.
    Bnb,
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

/// What goes wrong, by dice that the seed loads. A rate is a share, 0 to 1.
#[derive(Clone, PartialEq, Debug)]
pub struct Faults {
    /// Sockets are dropped about this often, from half to one and a half times this.
    pub drop_connection_every: Option<Duration>,
    /// Every answer is late by this.
    pub latency: Duration,
    /// This share of orders is refused.
    pub reject_rate: f64,
    /// This share of orders is taken and never answered: the connection is closed, over a socket it may stay open
    /// and silent, over HTTP the answer may be that nobody knows (504, -1007).
    pub lose_ack_rate: f64,
    /// This share of orders is taken and answered late.
    pub late_ack_rate: f64,
    /// How late.
    pub late_ack: Duration,
    /// This share of execution reports is told again, up to three times, at once or within two seconds.
    pub duplicate_rate: f64,
    /// This share of execution reports is told after the next ones, or after 200 ms where none comes.
    pub reorder_rate: f64,
    /// This share of execution reports is never told; queries know of them.
    pub drop_report_rate: f64,
    /// Orders fill in up to so many executions; what takes walks the book, so each is a little dearer.
    pub partial_fills: u32,
    /// This share of orders that end at once (market, IOC, FOK) finds too thin a book: what is left expires, and a
    /// FOK fills nothing.
    pub thin_rate: f64,
    /// So long after it was taken no query knows of a hidden order or its fills.
    pub hide: Duration,
    /// This share of orders is hidden, where [`Faults::hide`] is not zero.
    pub hide_rate: f64,
    /// Symbols whose market streams say nothing more, their sockets staying healthy.
    pub silence: Vec<Silence>,
    /// An address is banned (418) after so many requests, and again after so many more.
    pub ban_after: Option<u64>,
    /// How long such a ban lasts, in whole seconds.
    pub ban: Duration,
    /// This share of requests, and every one of that address for the next one to three seconds, is refused (429).
    pub rate_limit_rate: f64,
}

impl Default for Faults {
    /// Nothing goes wrong.
    fn default() -> Self {
        Self {
            drop_connection_every: None,
            latency: Duration::ZERO,
            reject_rate: 0.0,
            lose_ack_rate: 0.0,
            late_ack_rate: 0.0,
            late_ack: Duration::from_secs(10),
            duplicate_rate: 0.0,
            reorder_rate: 0.0,
            drop_report_rate: 0.0,
            partial_fills: 1,
            thin_rate: 0.0,
            hide: Duration::ZERO,
            hide_rate: 1.0,
            silence: Vec::new(),
            ban_after: None,
            ban: Duration::from_mins(2),
            rate_limit_rate: 0.0,
        }
    }
}

/// A symbol that falls silent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Silence {
    /// Such as `BTCUSDT`.
    pub symbol: String,
    /// How long after the market began.
    pub after: Duration,
}
