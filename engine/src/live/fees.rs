//! What fees that the venue took in a third coin are worth in a trade's quote coin: at the price of the moment at which
//! they were taken, read once. What was valued stays with its execution.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connectors::binance::FEE_COIN;
use model::{Pair, Price, Quote, Timestamp};
use strategies::live::Execution;

use crate::markets::{LastPrice, Markets};
use crate::rates::route::{self, Leg};
use crate::rates::{CoinRate, Rates, along, takes_discounted_fees};

/// How much older than its pair's last price an execution may be, by the venue's clock, that counts as just told.
const JUST_NS: i128 = 10_000_000_000;

/// How long the venue may take to tell prices of the past; what it does not tell by then is valued later.
const TELLS_WITHIN: Duration = Duration::from_secs(2);

/// The candles that a price of the past is read from, the finest first.
const STEPS: [&str; 2] = ["1s", "1m"];

/// What one bot's fees are valued by; what it has is kept current.
#[derive(Debug)]
pub(crate) struct FeeRates {
    rates: Rates,
    pair: Pair,
    last: Arc<LastPrice>,
    followed: HashMap<Box<str>, Arc<CoinRate>>,
}

impl FeeRates {
    /// For a bot that trades a pair: the coin that the venue may take fees in is followed from the start.
    pub(crate) fn new(rates: &Rates, pair: &Pair) -> Self {
        let mut fees = Self {
            rates: rates.clone(),
            pair: pair.clone(),
            last: rates.markets().last(pair),
            followed: HashMap::new(),
        };
        if takes_discounted_fees(pair) {
            fees.follow(FEE_COIN);
        }
        fees
    }

    fn follow(&mut self, coin: &str) -> &CoinRate {
        let (rates, quote) = (&self.rates, self.pair.quote());
        self.followed.entry(coin.into()).or_insert_with(|| rates.priced_in(coin, quote))
    }

    /// Values what has just been executed by the prices of this moment. What was executed earlier, and what has no price,
    /// stays as it is.
    pub(crate) fn value(&mut self, executions: &mut [Execution]) {
        let heard_at = self.last.at();
        for execution in executions {
            if execution.lacks_fee_price(&self.pair) {
                let coin = execution.fee_asset.clone();
                let price = self.follow(&coin).now();
                execution.fee_price = price.filter(|_| is_just_told(execution.at, heard_at));
            }
        }
    }
}

/// Whether the prices of this moment are those of an execution's; before any price of its pair was heard nobody knows.
fn is_just_told(at: Timestamp, heard_at: Timestamp) -> bool {
    heard_at > Timestamp::from_nanos(0) && i128::from(heard_at.nanos()) - i128::from(at.nanos()) <= JUST_NS
}

/// Values what was executed a while ago by what the venue says that the prices were then, as far as it tells soon: what
/// was executed is waited for.
pub(crate) async fn value_past(markets: &Markets, pair: &Pair, executions: &mut [Execution]) {
    let heard_at = markets.last(pair).at();
    let mut told: HashMap<(Box<str>, i64), Option<Quote>> = HashMap::new();
    let late = tokio::time::Instant::now() + TELLS_WITHIN;
    for execution in executions.iter_mut().filter(|e| e.lacks_fee_price(pair)) {
        if is_just_told(execution.at, heard_at) || tokio::time::Instant::now() >= late {
            continue;
        }
        let key = (execution.fee_asset.clone(), execution.at.millis() / 1_000);
        let price = match told.get(&key) {
            Some(price) => *price,
            None => price_at(markets, &execution.fee_asset, pair.quote(), execution.at).await,
        };
        told.insert(key, price);
        execution.fee_price = price;
    }
}

/// What a coin was worth in another at a time; `None` where the venue does not tell in time.
pub(crate) async fn price_at(markets: &Markets, coin: &str, quote: &str, at: Timestamp) -> Option<Quote> {
    let asked = async {
        for way in route::between(coin, quote) {
            let mut prices = Vec::with_capacity(way.len());
            for leg in &way {
                let price = leg_at(markets, leg, at).await;
                prices.push(price);
                if price.is_none() {
                    break;
                }
            }
            if let Some(price) = along(prices.into_iter()) {
                return Some(price);
            }
        }
        None
    };
    tokio::time::timeout(TELLS_WITHIN, asked).await.ok().flatten()
}

/// The last price of the candle that a time lies in, or of the last one before it.
async fn leg_at(markets: &Markets, leg: &Leg, at: Timestamp) -> Option<(Price, bool)> {
    for step in STEPS {
        match markets.rest().klines(&leg.pair, step, None, Some(at), 1).await {
            Ok(candles) => {
                if let Some(candle) = candles.last() {
                    return Some((candle.close, leg.is_inverse));
                }
            }
            Err(error) => {
                tracing::debug!(pair = %leg.pair, %error, "the venue does not tell a price of the past");
                return None;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_executed_long_before_the_last_price_is_not_valued_by_it() {
        let second = |second: i64| Timestamp::from_millis(second * 1_000);
        assert!(is_just_told(second(1_000), second(1_000)));
        assert!(is_just_told(second(1_002), second(1_000)), "it may be newer than what was heard");
        assert!(is_just_told(second(990), second(1_000)));
        assert!(!is_just_told(second(989), second(1_000)));
        assert!(!is_just_told(second(1_000), LastPrice::default().at()), "nothing was heard yet");
    }
}
