//! What is known of each pair: its grid from the venue, and its last price from the feed, published for whoever
//! reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use connectors::binance::rest::{Rest, VenueError};
use dashmap::DashMap;
use model::{Market, Pair, Price, Rate, Timestamp};

/// How long a grid is good before the venue is asked again.
const GOOD_FOR: Duration = Duration::from_hours(1);

/// Every pair's grid and last price.
#[derive(Debug)]
pub(crate) struct Markets {
    rest: Rest,
    fee: Rate,
    slippage: Rate,
    grids: DashMap<Pair, (Market, Instant)>,
    prices: DashMap<Pair, Arc<LastPrice>>,
}

/// A pair's last price, and when it was; written by its feed, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct LastPrice {
    price: AtomicI64,
    at: AtomicI64,
}

impl LastPrice {
    /// Publishes a tick.
    pub(crate) fn set(&self, price: Price, at: Timestamp) {
        self.price.store(price.e8(), Ordering::Relaxed);
        self.at.store(at.nanos(), Ordering::Relaxed);
    }

    /// The last tick's time, by the venue's clock; 1970 before the first.
    pub(crate) fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.at.load(Ordering::Relaxed))
    }

    /// The last tick's price; `None` before the first.
    pub(crate) fn get(&self) -> Option<Price> {
        Price::from_e8(self.price.load(Ordering::Relaxed)).filter(|price| price.e8() > 0)
    }
}

impl Markets {
    /// Asks this venue; paper fills cost `fee` and are worse by `slippage`, both fractions.
    pub(crate) fn new(rest: Rest, fee: Rate, slippage: Rate) -> Self {
        Self { rest, fee, slippage, grids: DashMap::new(), prices: DashMap::new() }
    }

    /// What a taker pays, as a fraction.
    pub(crate) fn fee(&self) -> Rate {
        self.fee
    }

    /// A pair's grid and costs; `None` where the venue does not trade it.
    ///
    /// # Errors
    /// [`VenueError`] when the venue has to be asked and does not tell.
    pub(crate) async fn market(&self, pair: &Pair) -> Result<Option<Market>, VenueError> {
        if let Some(market) = self.known(pair) {
            return Ok(Some(market));
        }
        let Some(listed) = self.rest.market(pair).await?.filter(|listed| listed.trading) else {
            return Ok(None);
        };
        let market = Market {
            tick_size: listed.tick_size,
            lot_step: listed.lot_step,
            min_notional: listed.min_notional,
            fee: self.fee,
            slippage: self.slippage,
        };
        self.learn(pair, market);
        Ok(Some(market))
    }

    /// Remembers what a pair is like.
    pub(crate) fn learn(&self, pair: &Pair, market: Market) {
        self.grids.insert(pair.clone(), (market, Instant::now()));
    }

    /// A pair's grid if it was asked for lately.
    pub(crate) fn known(&self, pair: &Pair) -> Option<Market> {
        self.grids.get(pair).filter(|known| known.1.elapsed() < GOOD_FOR).map(|known| known.0)
    }

    /// Where a pair's last price is published.
    pub(crate) fn last(&self, pair: &Pair) -> Arc<LastPrice> {
        match self.prices.get(pair) {
            Some(last) => last.clone(),
            None => self.prices.entry(pair.clone()).or_default().clone(),
        }
    }

    /// A pair's last price, from the feed or else from the venue; `None` where neither tells.
    pub(crate) async fn price(&self, pair: &Pair) -> Option<Price> {
        match self.last(pair).get() {
            Some(price) => Some(price),
            None => self.rest.price(pair).await.ok(),
        }
    }
}
