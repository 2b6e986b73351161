//! What is played: prints and books of every pair in the order of their times.

mod formats;
mod replay;
mod walk;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Pair, Price, Qty, Timestamp};

use crate::config::{Config, MarketSource, Start};
use crate::world::Level;

/// One public trade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Print {
    /// The venue's trade id; 0 where the recording has none.
    pub(crate) id: i64,
    pub(crate) price: Price,
    pub(crate) qty: Qty,
    /// Whether the buyer was the maker.
    pub(crate) is_buyer_maker: bool,
}

/// The best bid and ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Top {
    pub(crate) bid: Price,
    pub(crate) bid_qty: Qty,
    pub(crate) ask: Price,
    pub(crate) ask_qty: Qty,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Happening {
    /// Somebody traded.
    Print(Print),
    /// The best bid or ask moved.
    Top(Top),
    /// Something that only subscribers care for.
    Other,
}

/// A book as it was recorded, or what changed in one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BookChange {
    /// The first update that it holds; `None` for a whole book.
    pub(crate) first: Option<i64>,
    pub(crate) last: i64,
    /// Levels as they are now; one without quantity is gone.
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
}

/// One event of the market.
#[derive(Clone, Debug)]
pub(crate) struct MarketEvent {
    pub(crate) at: Timestamp,
    /// Which of the market's pairs.
    pub(crate) pair: usize,
    pub(crate) happening: Happening,
    pub(crate) book: Option<Arc<BookChange>>,
    /// As it was recorded: the stream's name and its data, played unchanged but for the time that it is sent at.
    pub(crate) recorded: Option<(String, String)>,
}

/// Why a market cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A row makes no sense.
    #[error("{file}, line {line}: {reason}")]
    Row {
        /// Which file.
        file: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Two markets would have one symbol.
    #[error("the pair {0} is given twice, or has the symbol of another one")]
    Twice(Pair),
    /// There is nothing to play.
    #[error("{0} holds nothing that can be played")]
    Empty(PathBuf),
}

/// A market and what is known of it before it begins.
pub(crate) struct Market {
    pub(crate) pairs: Vec<Pair>,
    /// Each pair's first price, where it is known.
    pub(crate) first: Vec<Option<Price>>,
    /// Kinds of streams that the recording brings itself: `trade`, `bookTicker` …
    pub(crate) recorded: Vec<String>,
    /// Whether it waits for a subscriber.
    pub(crate) waits: bool,
    pub(crate) script: Box<dyn Script>,
}

/// What happens, event by event.
pub(crate) trait Script {
    /// The next event; `None` at the end.
    fn next_event(&mut self) -> Option<Result<MarketEvent, MarketError>>;

    /// Somebody moved a pair by hand. Whether the script goes on from there, an event that it told before being
    /// void; a recording does not.
    fn go_on_from(&mut self, pair: usize, price: Price) -> bool;
}

/// Opens what the configuration names.
pub(crate) fn open(config: &Config) -> Result<Market, MarketError> {
    match &config.market {
        MarketSource::RandomWalk { pairs } => {
            let default = || ["BTC/USDT", "ETH/USDT"].iter().filter_map(|pair| pair.parse().ok()).collect();
            let pairs: Vec<Pair> = if pairs.is_empty() { default() } else { pairs.clone() };
            let mut symbols = HashSet::new();
            let is_known = |pair: &&Pair| !symbols.insert(format!("{}{}", pair.base(), pair.quote()));
            if let Some(twice) = pairs.iter().find(is_known) {
                return Err(MarketError::Twice(twice.clone()));
            }
            let walk =
                walk::Walk::new(&pairs, config.seed, config.steps, crate::clock::Clock::default().now())
                    .with_volatility(config.volatility);
            Ok(Market {
                first: walk.prices().into_iter().map(Some).collect(),
                pairs,
                recorded: Vec::new(),
                waits: false,
                script: Box::new(walk),
            })
        }
        MarketSource::Replay { files, pair, start } => {
            let market = replay::open(files, pair.as_ref())?;
            Ok(Market { waits: *start == Start::Subscribe, ..market })
        }
    }
}
