//! What coins are worth at one moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Pair, Price, Quote};
use tokio::sync::Mutex;

use crate::markets::Markets;
use crate::rates::along;
use crate::rates::route::{self, Leg};

/// How long prices are good before the venue is asked again: all of them in one request.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// How long the venue may take to tell them.
const TELLS_WITHIN: Duration = Duration::from_secs(4);

/// Last prices by the venue's symbol, shared by whoever asks within a few seconds.
type BySymbol = Arc<HashMap<String, Price>>;

/// Last prices of one moment, by symbol (`BTCUSDT`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Prices {
    /// What the feeds hear now: what bots decide by and are shown at.
    heard: HashMap<String, Price>,
    /// What the venue told of all pairs, a few seconds old at most.
    told: BySymbol,
}

impl Prices {
    /// A pair's last price.
    pub(crate) fn price(&self, pair: &Pair) -> Option<Price> {
        self.between(pair.base(), pair.quote())
    }

    fn between(&self, base: &str, quote: &str) -> Option<Price> {
        let symbol = format!("{base}{quote}");
        self.heard.get(&symbol).or_else(|| self.told.get(&symbol)).copied()
    }

    /// A coin's last price, and what it is in: a dollar where it trades for one, either way round, else bitcoin, else a
    /// dollar through a coin between. Exact, but where a price had to be divided by: then of 16 figures.
    pub(crate) fn of(&self, asset: &str) -> Option<(Quote, String)> {
        let ways = route::to_usd(asset);
        let one_step = ways.iter().filter(|way| way.len() < 2).find_map(|way| self.along(asset, way));
        let in_bitcoin = || {
            let price = self.between(asset, "BTC")?;
            Some((Quote::new(price.decimal()).ok()?, "BTC".to_owned()))
        };
        one_step.or_else(in_bitcoin).or_else(|| ways.iter().find_map(|way| self.along(asset, way)))
    }

    /// A coin's last price along a way, and what that is in.
    fn along(&self, asset: &str, way: &[Leg]) -> Option<(Quote, String)> {
        let price = along(way.iter().map(|leg| Some((self.price(&leg.pair)?, leg.is_inverse))))?;
        let currency = way.last().map_or(asset, Leg::target);
        Some((price, currency.to_owned()))
    }

    /// US dollars for one coin by the nearest pairs that tell it; `None` where none does.
    pub(crate) fn usd(&self, asset: &str) -> Option<Quote> {
        route::to_usd(asset).iter().find_map(|way| Some(self.along(asset, way)?.0))
    }
}

#[cfg(test)]
impl Prices {
    /// A feed hears this price of a symbol.
    pub(crate) fn hear(&mut self, symbol: String, price: Price) {
        self.heard.insert(symbol, price);
    }
}

#[cfg(test)]
impl From<HashMap<String, Price>> for Prices {
    fn from(told: HashMap<String, Price>) -> Self {
        Self { heard: HashMap::new(), told: Arc::new(told) }
    }
}

/// The prices that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct PriceBook(Mutex<Option<(Instant, BySymbol)>>);

impl PriceBook {
    /// The prices of this moment: the newest of the pairs that bots watch, of others a few seconds old at most; of a venue
    /// that does not tell, what the feed heard last of the pairs that bots have watched.
    pub(crate) async fn now(&self, markets: &Arc<Markets>) -> Prices {
        let told = self.told(markets).await;
        Prices { heard: markets.hears(), told }
    }

    async fn told(&self, markets: &Arc<Markets>) -> BySymbol {
        // Whoever waits here gets what the one before asked for.
        let mut known = self.0.lock().await;
        if let Some((_, prices)) = known.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR) {
            return prices.clone();
        }
        let asked = tokio::time::timeout(TELLS_WITHIN, markets.rest().all_prices()).await;
        let prices = match asked {
            Ok(Ok(all)) => all,
            failed => {
                tracing::debug!(?failed, "the venue does not tell its prices");
                markets.heard()
            }
        };
        let prices = Arc::new(prices);
        *known = Some((Instant::now(), prices.clone()));
        prices
    }
}
