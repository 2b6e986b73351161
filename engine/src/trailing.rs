//! Where stops stand that trail: a bot sleeps while its high rises, so that what it wrote last is out of date.

use std::sync::Arc;

use dashmap::DashMap;
use model::{BotId, Price, Trail};

use crate::watch_index::RecentPrices;

/// The trailing stops of all bots that watch; their bots write, anybody reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrailingStops(Arc<DashMap<BotId, TrailingStop>>);

/// One bot's: from the highest price that it knows of, and the ticks since. What trails behind a take-profit price that was
/// reached goes by the same high.
#[derive(Debug)]
pub(crate) struct TrailingStop {
    /// Where it has a stop that trails.
    stop: Option<Trail>,
    high: Price,
    recent: Arc<RecentPrices>,
    known: u64,
}

impl TrailingStop {
    /// Of a bot that has heard of all ticks up to `known`.
    pub(crate) fn new(stop: Option<Trail>, high: Price, recent: Arc<RecentPrices>, known: u64) -> Self {
        Self { stop, high, recent, known }
    }

    fn high(&self) -> Price {
        self.recent.high_since(self.known).map_or(self.high, |high| high.max(self.high))
    }

    fn level(&self) -> Option<Price> {
        self.stop?.level(self.high())
    }
}

impl TrailingStops {
    /// Notes a bot's trailing stop, or that it has none any more.
    pub(crate) fn set(&self, bot: BotId, stop: Option<TrailingStop>) {
        match stop {
            Some(stop) => drop(self.0.insert(bot, stop)),
            None => drop(self.0.remove(&bot)),
        }
    }

    /// The highest price that what trails of a bot goes by now.
    pub(crate) fn high(&self, bot: BotId) -> Option<Price> {
        Some(self.0.get(&bot)?.high())
    }

    /// Where a bot's trailing stop stands now.
    pub(crate) fn level(&self, bot: BotId) -> Option<Price> {
        self.0.get(&bot)?.level()
    }
}
