//! What coins are worth in others at this moment, kept ready for those that bots' books hang on: whoever closes a trade
//! must not wait for the venue.
//!
//! While somebody holds a [`CoinRate`] the pairs on its way are followed on the feed, and where their streams are silent
//! the venue is asked for their prices. A price that is not current is no price.

pub(crate) mod route;

use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::Addr;
use connectors::binance::FEE_COIN;
use dashmap::DashMap;
use futures_util::future::join_all;
use model::{Pair, Price, Quote};
use rust_decimal::Decimal;
use strategies::BotDefinition;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::actors::deliver;
use crate::actors::feed::{Follow, MarketFeed, Unfollow};
use crate::markets::{LastPrice, Markets};
use crate::record::DOLLARS;
use route::Leg;

/// How soon the venue is asked again for a way from a coin to another.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How long the venue may take to tell of its pairs.
const TELLS_WITHIN: Duration = Duration::from_secs(4);

/// How soon a way is searched for again where the venue has none.
const SEARCH_AGAIN: Duration = Duration::from_secs(15);

/// How often it is looked whether a rate is still needed, and still told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many looks in a row a rate may be unknown until another way is searched for: a pair may be listed no more.
const UNKNOWN_LOOKS: u32 = 12;

/// How many figures a rate has where a price had to be divided by; others are exact.
const FIGURES: u32 = 16;

/// A coin and what it is valued in; US dollars, whichever, where that is `None`.
type Key = (Box<str>, Option<Box<str>>);

/// Every rate that is needed; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Rates(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    markets: Arc<Markets>,
    feed: Addr<MarketFeed>,
    /// Where the venue is asked.
    io: Handle,
    needed: DashMap<Key, Arc<CoinRate>>,
}

/// What a coin is worth now. It is kept current for as long as somebody has it.
#[derive(Debug)]
pub(crate) struct CoinRate {
    way: watch::Sender<Way>,
}

/// By which pairs a coin is valued.
#[derive(Clone, Debug)]
enum Way {
    /// The venue has not told yet.
    Unasked,
    /// By none that it has.
    Nowhere,
    By(Vec<Step>),
}

impl Way {
    fn steps(&self) -> Option<&[Step]> {
        match self {
            Self::By(steps) => Some(steps),
            Self::Unasked | Self::Nowhere => None,
        }
    }
}

/// A pair on the way, and where its price is read.
#[derive(Clone, Debug)]
struct Step {
    leg: Leg,
    last: Arc<LastPrice>,
}

/// What one coin is worth in US dollars whenever that is asked.
#[derive(Clone, Debug)]
pub(crate) enum Worth {
    /// It is one.
    Dollar,
    /// What the venue's last prices say.
    Coin(Arc<CoinRate>),
    /// Nobody asked for it before.
    Unknown,
}

impl Worth {
    /// Of a coin whose prices nobody follows.
    pub(crate) fn unfollowed(coin: &str) -> Self {
        if DOLLARS.contains(&coin) { Self::Dollar } else { Self::Unknown }
    }

    /// US dollars for one coin; `None` where no price can be had.
    pub(crate) fn usd(&self) -> Option<Quote> {
        match self {
            Self::Dollar => Quote::new(Decimal::ONE).ok(),
            Self::Coin(rate) => rate.now(),
            Self::Unknown => None,
        }
    }
}

impl CoinRate {
    fn new() -> Self {
        Self { way: watch::Sender::new(Way::Unasked) }
    }

    /// What one coin is worth by the last prices; `None` where one of them is not current.
    pub(crate) fn now(&self) -> Option<Quote> {
        let way = self.way.borrow();
        let prices = way.steps()?.iter().map(|step| Some((step.last.current()?, step.leg.is_inverse)));
        along(prices)
    }

    /// One that does not change, for tests.
    #[cfg(test)]
    pub(crate) fn fixed(price: Price) -> Self {
        let last = Arc::new(LastPrice::default());
        last.seed(price);
        let leg = Leg { pair: "BTC/USDT".parse().unwrap(), is_inverse: false };
        Self { way: watch::Sender::new(Way::By(vec![Step { leg, last }])) }
    }
}

/// Whether the venue may take a trade's fees in its own coin and not in one of the pair's.
pub(crate) fn takes_discounted_fees(pair: &Pair) -> bool {
    pair.base() != FEE_COIN && pair.quote() != FEE_COIN
}

/// What one coin comes to along a way of prices: exact, but where one had to be divided by.
pub(crate) fn along(prices: impl Iterator<Item = Option<(Price, bool)>>) -> Option<Quote> {
    let mut rate = Decimal::ONE;
    for price in prices {
        let (price, is_inverse) = price?;
        rate = if is_inverse {
            rate.checked_div(price.decimal())?.round_sf(FIGURES)?
        } else {
            rate.checked_mul(price.decimal())?
        };
    }
    Quote::new(rate.normalize()).ok()
}

/// An amount at a rate, to eight decimals; the same where the rate is one.
pub(crate) fn valued(amount: Quote, rate: Quote) -> Option<Quote> {
    if rate.decimal() == Decimal::ONE {
        return Some(amount);
    }
    let exact = amount.decimal().checked_mul(rate.decimal())?;
    Quote::new(exact.round_dp(8).normalize()).ok()
}

impl Rates {
    /// Of a venue whose prices this feed hears.
    pub(crate) fn new(markets: Arc<Markets>, feed: Addr<MarketFeed>, io: Handle) -> Self {
        Self(Arc::new(Shared { markets, feed, io, needed: DashMap::new() }))
    }

    /// The venue whose prices they are.
    pub(crate) fn markets(&self) -> &Markets {
        &self.0.markets
    }

    /// What a coin is worth in US dollars, from now on until it is dropped.
    pub(crate) fn worth(&self, coin: &str) -> Worth {
        if DOLLARS.contains(&coin) { Worth::Dollar } else { Worth::Coin(self.needed(coin, None)) }
    }

    /// The same if somebody follows it already.
    pub(crate) fn known(&self, coin: &str) -> Worth {
        match self.0.needed.get(&(coin.into(), None)) {
            Some(rate) => Worth::Coin(rate.clone()),
            None => Worth::unfollowed(coin),
        }
    }

    /// What a coin that fees are taken in is worth in the quote coin of a trade, from now on until it is dropped.
    pub(crate) fn priced_in(&self, coin: &str, quote: &str) -> Arc<CoinRate> {
        self.needed(coin, Some(quote))
    }

    /// Waits until what a bot's books need to be valued by is at hand, or the venue has had its time to tell; it is
    /// followed for as long as the answer is kept.
    pub(crate) async fn ready(&self, bot: &BotDefinition) -> Vec<Arc<CoinRate>> {
        let pair = &bot.pair;
        let mut needed = Vec::new();
        if let Worth::Coin(rate) = self.worth(pair.quote()) {
            needed.push(rate);
        }
        if !bot.dry_run && takes_discounted_fees(pair) {
            needed.push(self.priced_in(FEE_COIN, pair.quote()));
        }
        let told = needed.iter().map(|rate| async {
            let mut way = rate.way.subscribe();
            let _ = way.wait_for(|way| !matches!(way, Way::Unasked)).await;
        });
        // Known or not: whoever asked goes on.
        let _ = tokio::time::timeout(TELLS_WITHIN, join_all(told)).await;
        needed
    }

    fn needed(&self, coin: &str, priced_in: Option<&str>) -> Arc<CoinRate> {
        let key: Key = (coin.into(), priced_in.map(Into::into));
        let entry = self.0.needed.entry(key.clone());
        let is_new = matches!(entry, dashmap::Entry::Vacant(_));
        let rate = entry.or_insert_with(|| Arc::new(CoinRate::new())).clone();
        if is_new {
            self.0.io.spawn(keep(Arc::downgrade(&self.0), key, Arc::downgrade(&rate)));
        }
        rate
    }
}

/// Finds a rate's way, has its pairs followed, and lets go of both once nobody needs it.
async fn keep(shared: Weak<Shared>, key: Key, rate: Weak<CoinRate>) {
    let (mut wait, mut unknown) = (Duration::ZERO, 0);
    loop {
        tokio::time::sleep(wait).await;
        let Some((shared, rate)) = shared.upgrade().zip(rate.upgrade()) else { return };
        // One here, one in the map.
        let is_unneeded = |_: &Key, kept: &Arc<CoinRate>| Arc::strong_count(kept) <= 2;
        if shared.needed.remove_if(&key, is_unneeded).is_some() {
            return shared.leave(&rate);
        }
        let is_found = rate.way.borrow().steps().is_some();
        unknown = if is_found && rate.now().is_none() { unknown + 1 } else { 0 };
        if !is_found || unknown >= UNKNOWN_LOOKS {
            if is_found {
                shared.leave(&rate);
            }
            rate.way.send_replace(shared.find(&key).await);
            unknown = 0;
        }
        wait = match &*rate.way.borrow() {
            Way::Unasked => ASK_AGAIN,
            Way::Nowhere => SEARCH_AGAIN,
            Way::By(_) => LOOK_EVERY,
        };
    }
}

impl Shared {
    /// The best way that the venue has; its pairs are followed from here on.
    async fn find(&self, (coin, priced_in): &Key) -> Way {
        let told = tokio::time::timeout(TELLS_WITHIN, self.markets.rest().all_prices()).await;
        let prices = match told {
            Ok(Ok(prices)) => prices,
            failed => {
                tracing::debug!(coin, ?failed, "the venue does not tell what a coin is worth");
                return Way::Unasked;
            }
        };
        let ways = match priced_in {
            Some(other) => route::between(coin, other),
            None => route::to_usd(coin),
        };
        let price_of = |leg: &Leg| prices.get(&format!("{}{}", leg.pair.base(), leg.pair.quote())).copied();
        for way in ways {
            let Some(told) = way.iter().map(price_of).collect::<Option<Vec<Price>>>() else { continue };
            // What is listed no more still has a last price.
            if !self.trades(&way).await {
                continue;
            }
            let followed = way.into_iter().zip(told).map(|(leg, price)| {
                let last = self.markets.last(&leg.pair);
                last.seed(price);
                deliver(&self.feed, Follow(leg.pair.clone()));
                Step { leg, last }
            });
            return Way::By(followed.collect());
        }
        tracing::info!(coin, priced_in, "the venue has no price for a coin: what is made in it has no value");
        Way::Nowhere
    }

    /// Whether the venue trades all pairs of a way.
    async fn trades(&self, way: &[Leg]) -> bool {
        for leg in way {
            let asked = tokio::time::timeout(TELLS_WITHIN, self.markets.market(&leg.pair)).await;
            if !matches!(asked, Ok(Ok(Some(_)))) {
                return false;
            }
        }
        true
    }

    fn leave(&self, rate: &CoinRate) {
        let way = rate.way.send_replace(Way::Nowhere);
        for step in way.steps().unwrap_or_default() {
            deliver(&self.feed, Unfollow(step.leg.pair.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> (Price, bool) {
        (text.parse().unwrap(), false)
    }

    fn shown(rate: Option<Quote>) -> Option<String> {
        rate.map(|rate| rate.to_string())
    }

    #[test]
    fn a_rate_is_the_product_of_the_prices_on_its_way() {
        assert_eq!(shown(along([].into_iter())).as_deref(), Some("1"));
        assert_eq!(shown(along([Some(price("61837.63"))].into_iter())).as_deref(), Some("61837.63"));
        let through = [price("0.05012345"), price("61837.63")].map(Some);
        assert_eq!(shown(along(through.into_iter())).as_deref(), Some("3099.5153554235"));
        let inverse = [Some(("34.13".parse().unwrap(), true))];
        assert_eq!(shown(along(inverse.into_iter())).as_deref(), Some("0.02929973630237328"));
        assert_eq!(along([Some(price("0.05")), None].into_iter()), None, "nothing is guessed");
    }

    #[test]
    fn a_price_that_is_not_current_is_no_price() {
        let last = Arc::new(LastPrice::default());
        let leg = Leg { pair: "BTC/USDT".parse().unwrap(), is_inverse: false };
        let rate = CoinRate { way: watch::Sender::new(Way::By(vec![Step { leg, last: last.clone() }])) };
        assert_eq!(rate.now(), None);
        last.set("60000".parse().unwrap(), model::Timestamp::from_millis(1));
        assert_eq!(shown(rate.now()).as_deref(), Some("60000"));
        last.lose();
        assert_eq!(rate.now(), None);
        assert!(last.get().is_some(), "it is still the last one");
        last.seed("60001".parse().unwrap());
        assert_eq!(shown(rate.now()).as_deref(), Some("60001"));
        last.seed("1".parse().unwrap());
        assert_eq!(shown(rate.now()).as_deref(), Some("60001"), "what the feed tells is newer");
    }

    #[test]
    fn an_amount_is_rounded_once_to_eight_decimals_unless_the_coin_is_a_dollar() {
        let value = |amount: &str, rate: &str| {
            valued(amount.parse().unwrap(), rate.parse().unwrap()).map(|value| value.to_string())
        };
        assert_eq!(value("0.0000123456789", "61837.63").as_deref(), Some("0.76342752"));
        assert_eq!(value("1.123456789012", "1").as_deref(), Some("1.123456789012"));
    }
}
