//! What is known of each pair: its grid and its rules for orders from the venue, and its last price from the feed,
//! published for whoever reads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use connectors::binance::rest::{ListedMarket, MAX_NAMED_PAIRS, Rest, VenueError};
use connectors::binance::trade::{FilterFault, Filters, OpenOrders, OrderRequest};
use dashmap::{DashMap, Entry};
use model::{Exchange, Market, Pair, Price, Rate, Timestamp};
use tokio::runtime::Handle;

use crate::health::MarketHealth;

/// How long a grid is good before the venue is asked again.
const GOOD_FOR: Duration = Duration::from_hours(1);

/// How soon after it was asked for a pair's rules the venue is asked again, whatever it refuses.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How long a pair's average price of five minutes is good: a hundredth of that.
const AVERAGE_GOOD_FOR: Duration = Duration::from_secs(3);

/// How long a last price is good that the venue was asked for because no bot watches the pair.
const PRICE_GOOD_FOR: Duration = Duration::from_secs(1);

/// How long the venue may take to tell last prices: they are asked for again soon.
const TELLS_WITHIN: Duration = Duration::from_secs(3);

/// What the venue said when it was asked for last prices.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The venue's time just before it told them.
    pub(crate) at: Timestamp,
    /// When it was asked for that time, and when it had told it.
    pub(crate) told_within: (Instant, Instant),
    /// As they were asked for; `None` where it tells none.
    pub(crate) prices: Vec<Option<Price>>,
}

/// Every pair's grid, rules and last price.
#[derive(Debug)]
pub(crate) struct Markets {
    rest: Rest,
    /// Where the venue is asked from.
    io: Handle,
    fee: Rate,
    slippage: Rate,
    grids: DashMap<Pair, (Market, Instant)>,
    rules: DashMap<Pair, Rules>,
    prices: DashMap<Pair, Arc<LastPrice>>,
    health: MarketHealth,
    /// Last prices that the venue was asked for, and when.
    asked: DashMap<Pair, (Price, Instant)>,
    averages: DashMap<Pair, Average>,
    observer: OnceLock<GridObserver>,
}

/// What a pair's grid is told to when it has changed.
type TellGrid = dyn Fn(&Pair, Market) + Send + Sync;
struct GridObserver(Box<TellGrid>);

impl std::fmt::Debug for GridObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GridObserver")
    }
}

/// What the venue says of a pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Listing {
    /// It is traded, on this grid.
    Trading(Market),
    /// It is listed and not traded now: the venue's word for that, `BREAK` or `HALT`.
    Suspended(String),
    /// It is not listed.
    Absent,
}

/// Whether an order may leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Passes,
    /// It hangs on the venue's average price, which is being asked for.
    Hangs,
}

/// What was paid for a pair on average in the last minutes, as the venue told.
#[derive(Clone, Copy, Debug)]
struct Average {
    /// Absent until it has told.
    price: Option<Price>,
    /// When it was asked.
    asked_at: Instant,
}

/// What a pair's orders are held to.
#[derive(Debug)]
struct Rules {
    /// Absent until the venue has told.
    filters: Option<Arc<Filters>>,
    /// When it told, or was asked to again.
    asked_at: Instant,
}

/// A pair's last price, and when it was; written by its feed, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct LastPrice {
    price: AtomicI64,
    at: AtomicI64,
    /// Whether it is the market's price still, as far as anybody can know.
    is_current: AtomicBool,
}

impl LastPrice {
    /// Publishes a tick.
    pub(crate) fn set(&self, price: Price, at: Timestamp) {
        self.price.store(price.e8(), Ordering::Relaxed);
        self.at.store(at.nanos(), Ordering::Relaxed);
        self.is_current.store(true, Ordering::Relaxed);
    }

    /// Publishes what the venue told when it was asked, unless something newer is known.
    pub(crate) fn seed(&self, price: Price) {
        if self.current().is_none() {
            self.price.store(price.e8(), Ordering::Relaxed);
            self.is_current.store(true, Ordering::Relaxed);
        }
    }

    /// It is the last price still: the venue said so.
    pub(crate) fn confirm(&self) {
        self.is_current.store(true, Ordering::Relaxed);
    }

    /// Nobody tells any more whether it is the market's price still.
    pub(crate) fn lose(&self) {
        self.is_current.store(false, Ordering::Relaxed);
    }

    /// The price that something may be valued by; `None` where the last one known may be an old one.
    pub(crate) fn current(&self) -> Option<Price> {
        if self.is_current.load(Ordering::Relaxed) { self.get() } else { None }
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
    /// Asks this venue from there; paper fills cost `fee` and are worse by `slippage`, both fractions.
    pub(crate) fn new(rest: Rest, io: Handle, fee: Rate, slippage: Rate) -> Self {
        let (grids, rules, averages) = (DashMap::new(), DashMap::new(), DashMap::new());
        let (prices, asked) = (DashMap::new(), DashMap::new());
        let observer = OnceLock::new();
        let health = MarketHealth::of(Exchange::Binance);
        Self { rest, io, fee, slippage, grids, rules, prices, health, asked, averages, observer }
    }

    /// Whether the venue's market data come in.
    pub(crate) const fn health(&self) -> &MarketHealth {
        &self.health
    }

    /// The venue's REST interface.
    pub(crate) fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The last price of every pair that some bot has watched, by the venue's symbol.
    pub(crate) fn heard(&self) -> HashMap<String, Price> {
        self.by_symbol(LastPrice::get)
    }

    /// The price of every pair that some bot watches and whose market is heard now, by the venue's symbol.
    pub(crate) fn hears(&self) -> HashMap<String, Price> {
        self.by_symbol(LastPrice::current)
    }

    fn by_symbol(&self, price: impl Fn(&LastPrice) -> Option<Price>) -> HashMap<String, Price> {
        let known = self.prices.iter();
        known
            .filter_map(|entry| Some((entry.key().to_string().replace('/', ""), price(entry.value())?)))
            .collect()
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
        match self.listing(pair).await? {
            Listing::Trading(market) => Ok(Some(market)),
            Listing::Suspended(_) | Listing::Absent => Ok(None),
        }
    }

    /// The same with why the venue does not trade it.
    ///
    /// # Errors
    /// [`VenueError`] when the venue has to be asked and does not tell.
    pub(crate) async fn listing(&self, pair: &Pair) -> Result<Listing, VenueError> {
        if let Some(market) = self.known(pair) {
            return Ok(Listing::Trading(market));
        }
        match self.rest.market(pair).await? {
            None => Ok(Listing::Absent),
            Some(listed) if !listed.trading => Ok(Listing::Suspended(listed.status)),
            Some(listed) => Ok(Listing::Trading(self.learn_listed(listed))),
        }
    }

    /// Has `observer` told of every grid that has changed from here on; once.
    pub(crate) fn observe(&self, observer: impl Fn(&Pair, Market) + Send + Sync + 'static) {
        let _ = self.observer.set(GridObserver(Box::new(observer)));
    }

    /// Asks the venue again what these pairs are like.
    pub(crate) fn refresh(self: &Arc<Self>, pairs: Vec<Pair>) {
        let markets = self.clone();
        self.io.spawn(async move {
            for some in pairs.chunks(MAX_NAMED_PAIRS) {
                match markets.rest.markets(some).await {
                    Ok(listed) => {
                        for listed in listed {
                            markets.learn_listed(listed);
                        }
                    }
                    // One that is not listed any more keeps all others from being told.
                    Err(VenueError::Rejected { .. }) => {
                        for pair in some {
                            if let Ok(Some(listed)) = markets.rest.market(pair).await {
                                markets.learn_listed(listed);
                            }
                        }
                    }
                    Err(error) => tracing::debug!(%error, "the venue does not tell its rules"),
                }
            }
        });
    }

    /// Remembers what the venue lists; its grid. A pair that is not traded now keeps the grid that is known.
    fn learn_listed(&self, listed: ListedMarket) -> Market {
        let pair = listed.pair.clone();
        let market = Market {
            tick_size: listed.tick_size,
            lot_step: listed.common_step(),
            min_notional: listed.min_notional,
            fee: self.fee,
            slippage: self.slippage,
            bounds: listed.bounds(),
        };
        if listed.trading {
            let known = self.grids.insert(pair.clone(), (market, Instant::now()));
            if known.is_some_and(|(known, _)| known != market)
                && let Some(GridObserver(tell)) = self.observer.get()
            {
                tracing::info!(%pair, "the venue has changed what the pair is like");
                tell(&pair, market);
            }
        }
        let rules = Rules { filters: Some(Arc::new(listed.filters)), asked_at: Instant::now() };
        self.rules.insert(pair, rules);
        market
    }

    /// Whether the venue would take an order now, as far as its rules tell that it listed last; `open` is what the
    /// account has open of the pair. Where it has not told them everything passes.
    ///
    /// Some rules go by the venue's average of the last minutes. Where that decides it is asked for; an order that
    /// `cannot_wait` for the answer is measured by the last price. Between the answer and the order's arrival the
    /// average moves on: within that the venue may still refuse. Whether it trades the pair at this moment is not
    /// among the rules: that it knows best itself.
    ///
    /// # Errors
    /// [`FilterFault`].
    pub(crate) fn check(
        self: &Arc<Self>,
        order: &OrderRequest,
        open: OpenOrders,
        cannot_wait: bool,
    ) -> Result<Verdict, FilterFault> {
        let known = self.rules.get(&order.pair).and_then(|rules| {
            let is_old = rules.asked_at.elapsed() > GOOD_FOR;
            rules.filters.clone().map(|filters| (filters, is_old))
        });
        let Some((filters, is_old)) = known else { return Ok(Verdict::Passes) };
        let mut reference = self.last(&order.pair).get();
        if reference.is_some_and(|last| filters.hangs_on_average(order, last, open)) {
            match self.average(&order.pair) {
                None if !cannot_wait => return Ok(Verdict::Hangs),
                average => reference = average.or(reference),
            }
        }
        let checked = filters.check(order, reference, open);
        if is_old || checked.is_err() {
            // Rules that have changed meanwhile hold nothing back for long.
            self.refresh_rules(&order.pair);
        }
        checked.map(|()| Verdict::Passes)
    }

    /// A pair's average price, if the venue told it a moment ago; else it is asked.
    fn average(self: &Arc<Self>, pair: &Pair) -> Option<Price> {
        match self.averages.entry(pair.clone()) {
            Entry::Occupied(known) if known.get().asked_at.elapsed() < AVERAGE_GOOD_FOR => {
                return known.get().price;
            }
            Entry::Occupied(mut old) => drop(old.insert(Average { price: None, asked_at: Instant::now() })),
            Entry::Vacant(unknown) => {
                drop(unknown.insert(Average { price: None, asked_at: Instant::now() }));
            }
        }
        let (markets, pair) = (self.clone(), pair.clone());
        self.io.spawn(async move {
            let asked_at = Instant::now();
            match markets.rest.average_price(&pair).await {
                Ok(price) => drop(markets.averages.insert(pair, Average { price: Some(price), asked_at })),
                Err(error) => tracing::debug!(%pair, %error, "the venue does not tell its average price"),
            }
        });
        None
    }

    /// Asks the venue for a pair's rules again, unless it was asked a moment ago.
    pub(crate) fn refresh_rules(self: &Arc<Self>, pair: &Pair) {
        match self.rules.entry(pair.clone()) {
            Entry::Occupied(known) if known.get().asked_at.elapsed() < ASK_AGAIN => return,
            Entry::Occupied(mut known) => known.get_mut().asked_at = Instant::now(),
            Entry::Vacant(unknown) => {
                unknown.insert(Rules { filters: None, asked_at: Instant::now() });
            }
        }
        let (markets, pair) = (self.clone(), pair.clone());
        self.io.spawn(async move {
            match markets.rest.market(&pair).await {
                Ok(Some(listed)) => drop(markets.learn_listed(listed)),
                Ok(None) => tracing::warn!(%pair, "the venue does not list the pair any more"),
                Err(error) => tracing::debug!(%pair, %error, "the venue does not tell its rules"),
            }
        });
    }

    /// Remembers what a pair is like.
    pub(crate) fn learn(&self, pair: &Pair, market: Market) {
        self.grids.insert(pair.clone(), (market, Instant::now()));
    }

    /// A pair's grid if it was asked for lately.
    pub(crate) fn known(&self, pair: &Pair) -> Option<Market> {
        self.grids.get(pair).filter(|known| known.1.elapsed() < GOOD_FOR).map(|known| known.0)
    }

    /// A pair's grid as it was when it was last asked for, however long ago: good enough to show levels.
    pub(crate) fn once_known(&self, pair: &Pair) -> Option<Market> {
        self.grids.get(pair).map(|known| known.0)
    }

    /// Where a pair's last price is published.
    pub(crate) fn last(&self, pair: &Pair) -> Arc<LastPrice> {
        match self.prices.get(pair) {
            Some(last) => last.clone(),
            None => self.prices.entry(pair.clone()).or_default().clone(),
        }
    }

    /// What the venue says now of these pairs' last prices, given up after a few seconds.
    ///
    /// # Errors
    /// [`VenueError`] where it tells none at all.
    pub(crate) async fn ask_prices(&self, pairs: &[Pair]) -> Result<Asked, VenueError> {
        let asked = tokio::time::timeout(TELLS_WITHIN, self.asked_prices(pairs)).await;
        let message = || "the venue does not answer".to_owned();
        asked.unwrap_or_else(|_| Err(VenueError::Retry { after: None, message: message() }))
    }

    async fn asked_prices(&self, pairs: &[Pair]) -> Result<Asked, VenueError> {
        let time_asked_at = Instant::now();
        let at = self.rest.server_time().await?;
        let told_within = (time_asked_at, Instant::now());
        let mut prices = Vec::with_capacity(pairs.len());
        for some in pairs.chunks(MAX_NAMED_PAIRS) {
            match self.rest.prices(some).await {
                Ok(told) => {
                    let price = |pair| told.iter().find(|(of, _)| of == pair).map(|(_, price)| *price);
                    prices.extend(some.iter().map(price));
                }
                // One that is not listed any more keeps all others from being told.
                Err(VenueError::Rejected { .. }) => {
                    for pair in some {
                        prices.push(self.rest.price(pair).await.ok());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Asked { at, told_within, prices })
    }

    /// Does something where the venue is asked from.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.io.spawn(work);
    }

    /// A pair's last price, from the feed or else from the venue; `None` where neither tells.
    pub(crate) async fn price(&self, pair: &Pair) -> Option<Price> {
        if let Some(price) = self.price_known(pair) {
            return Some(price);
        }
        let asked_at = Instant::now();
        let price = self.rest.price(pair).await.ok()?;
        self.asked.insert(pair.clone(), (price, asked_at));
        Some(price)
    }

    /// A pair's last price, as far as nobody has to be asked for it.
    pub(crate) fn price_known(&self, pair: &Pair) -> Option<Price> {
        let asked =
            || self.asked.get(pair).filter(|asked| asked.1.elapsed() < PRICE_GOOD_FOR).map(|asked| asked.0);
        self.last(pair).get().or_else(asked)
    }
}
