//! REST metadata: what the venue lists, what time it has, and its last prices.
//!
//! Every call has a deadline (5 s to connect, 10 s in all) and a bound on the answer's size, follows no
//! redirect and is never repeated: [`VenueError`] says what its caller may do.

use std::collections::HashMap;

use model::{Pair, Price, Timestamp};
use serde::Deserialize;

use super::budget::SharedBudget;
use super::fields;
use super::subscriptions::symbol;
use super::transport::{HttpCall, Transport, unusable};

pub use super::error::{Effect, VenueError};
pub use super::listing::{ListedMarket, listed};

/// The longest answer about one symbol: 1 MiB.
pub(super) const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The longest answer about every symbol: 64 MiB, where today's is about 20.
const MAX_LISTING_BYTES: usize = 64 << 20;

/// The most pairs that are asked for by name, which keeps the address short; beyond, all are asked for.
pub const MAX_NAMED_PAIRS: usize = 100;

/// The venue's REST interface. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Rest {
    pub(super) transport: Transport,
}

impl Rest {
    /// On this base address, such as `https://api.binance.com`; plain `http` works too. The process must have
    /// installed a `rustls` crypto provider.
    ///
    /// # Errors
    /// [`VenueError::Retry`] where no client can be made, as when the system has no certificates.
    pub fn new(base: &str) -> Result<Self, VenueError> {
        Ok(Self { transport: Transport::new(base)? })
    }

    /// With the budget of its venue and egress address, which it reports to: it has one of its own otherwise. While
    /// the venue has asked to be left alone nothing is sent.
    #[must_use]
    pub fn with_budget(mut self, budget: SharedBudget) -> Self {
        self.transport.budget = budget;
        self
    }

    /// What the venue lists: these pairs, or all where none is named. A pair that is listed under another split
    /// of the same letters, and one that cannot be held exactly, is left out.
    ///
    /// # Errors
    /// [`VenueError`]; -1121 where one of the named pairs has no symbol.
    pub async fn markets(&self, pairs: &[Pair]) -> Result<Vec<ListedMarket>, VenueError> {
        let by_name = !pairs.is_empty() && pairs.len() <= MAX_NAMED_PAIRS;
        let quoted: Vec<String> = pairs.iter().map(|pair| format!("%22{}%22", symbol(pair))).collect();
        let query = if by_name { format!("?symbols=%5B{}%5D", quoted.join("%2C")) } else { String::new() };
        let body = self.get(&format!("/api/v3/exchangeInfo{query}"), MAX_LISTING_BYTES).await?;
        // Off the caller's thread: reading 20 MB takes long enough to keep others waiting.
        let reading = tokio::task::spawn_blocking(move || listed(&body));
        let read = reading.await.map_err(|error| unreadable(&error))?;
        let mut markets = read.map_err(|error| unreadable(&error))?;
        if !pairs.is_empty() {
            markets.retain(|market| pairs.contains(&market.pair));
        }
        Ok(markets)
    }

    /// A pair as the venue lists it; `None` where it does not.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn market(&self, pair: &Pair) -> Result<Option<ListedMarket>, VenueError> {
        let path = format!("/api/v3/exchangeInfo?symbol={}", symbol(pair));
        let body = match self.get(&path, MAX_ANSWER_BYTES).await {
            Err(VenueError::Rejected { code: -1121, .. }) => return Ok(None),
            answer => answer?,
        };
        let markets = listed(&body).map_err(|error| unreadable(&error))?;
        Ok(markets.into_iter().find(|market| market.pair == *pair))
    }

    /// The venue's clock, somewhere between the request and the answer.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn server_time(&self) -> Result<Timestamp, VenueError> {
        read_time(&self.get("/api/v3/time", MAX_ANSWER_BYTES).await?)
    }

    /// A pair's last price.
    ///
    /// # Errors
    /// [`VenueError`]; -1121 where the venue does not list the pair.
    pub async fn price(&self, pair: &Pair) -> Result<Price, VenueError> {
        #[derive(Deserialize)]
        struct Ticker {
            price: String,
        }
        let path = format!("/api/v3/ticker/price?symbol={}", symbol(pair));
        let ticker: Ticker = read(&self.get(&path, MAX_ANSWER_BYTES).await?)?;
        fields::price(&ticker.price).ok_or_else(|| unreadable(&"the price is no possible amount"))
    }

    /// What was paid for a pair on average in the last minutes, weighted by quantity: what some of its filters go by.
    ///
    /// # Errors
    /// [`VenueError`]; -1121 where the venue does not list the pair.
    pub async fn average_price(&self, pair: &Pair) -> Result<Price, VenueError> {
        #[derive(Deserialize)]
        struct Average {
            price: String,
        }
        let path = format!("/api/v3/avgPrice?symbol={}", symbol(pair));
        let average: Average = read(&self.get(&path, MAX_ANSWER_BYTES).await?)?;
        fields::price(&average.price).ok_or_else(|| unreadable(&"the price is no possible amount"))
    }

    /// The last prices of these pairs, at most [`MAX_NAMED_PAIRS`] of them, in one request; one that never traded, or
    /// whose price cannot be held exactly, is left out. None of them is told where the venue does not list one.
    ///
    /// # Errors
    /// [`VenueError`]; -1121 where one of the pairs has no symbol.
    pub async fn prices(&self, pairs: &[Pair]) -> Result<Vec<(Pair, Price)>, VenueError> {
        #[derive(Deserialize)]
        struct Ticker {
            symbol: String,
            price: String,
        }
        let quoted: Vec<String> = pairs.iter().map(|pair| format!("%22{}%22", symbol(pair))).collect();
        let path = format!("/api/v3/ticker/price?symbols=%5B{}%5D", quoted.join("%2C"));
        let tickers: Vec<Ticker> = read(&self.get(&path, MAX_ANSWER_BYTES).await?)?;
        let mut prices = Vec::with_capacity(pairs.len());
        for ticker in tickers {
            // One pair's price is no reason to know no other's.
            let Some(price) = fields::price(&ticker.price) else { continue };
            let pair = pairs.iter().find(|pair| symbol(pair) == ticker.symbol);
            prices.extend(pair.map(|pair| (pair.clone(), price)));
        }
        Ok(prices)
    }

    /// The last price of every symbol that the venue lists, by symbol (`BTCUSDT`), in one request; one that cannot be
    /// held exactly is left out.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn all_prices(&self) -> Result<HashMap<String, Price>, VenueError> {
        #[derive(Deserialize)]
        struct Ticker<'a> {
            symbol: &'a str,
            price: &'a str,
        }
        let body = self.get("/api/v3/ticker/price", MAX_LISTING_BYTES).await?;
        let tickers: Vec<Ticker<'_>> = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        let known = tickers.into_iter();
        Ok(known.filter_map(|t| Some((t.symbol.to_owned(), fields::price(t.price)?))).collect())
    }

    /// The body of a read that succeeded, at most this long.
    async fn get(&self, path: &str, most: usize) -> Result<Vec<u8>, VenueError> {
        self.transport.call(HttpCall::get(path, most)).await
    }
}

/// The answer to `time`, over REST and over the WebSocket API.
pub(super) fn read_time(body: &[u8]) -> Result<Timestamp, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Clock {
        server_time: i64,
    }
    Ok(fields::time(read::<Clock>(body)?.server_time))
}

pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, VenueError> {
    serde_json::from_slice(body).map_err(|error| unreadable(&error))
}

/// An answer to a read that is not what the venue documents: nothing happened, and the next may be better.
pub(super) fn unreadable(why: &dyn std::fmt::Display) -> VenueError {
    unusable(Effect::Read, why)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_venue_that_never_answers_is_given_up() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", silent.local_addr().unwrap());
        let within = Duration::from_millis(100);
        let rest = Rest { transport: Transport::with_deadlines(&base, within, within).unwrap() };
        let error = rest.price(&"BTC/USDT".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.to_string(), "try again: binance did not answer in time");
    }

    #[tokio::test]
    async fn a_venue_that_is_not_there_is_told_of_in_plain_words() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let rest = Rest::new(&format!("http://{gone}")).unwrap();
        let error = rest.price(&"BTC/USDT".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.to_string(), "try again: binance cannot be reached");
    }
}
