//! REST metadata: what the venue lists, and its last prices.

use std::time::Duration;

use model::{Pair, Price, Qty, Quote};
use serde_json::Value;

/// Why the venue did not tell.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// Try again.
    #[error("try again: {message}")]
    Retry {
        /// After this long, where the venue says so.
        after: Option<Duration>,
        /// Why.
        message: String,
    },
    /// Asked wrongly.
    #[error("refused with {code}: {message}")]
    Rejected {
        /// The venue's code.
        code: i64,
        /// The venue's words.
        message: String,
    },
}

/// A pair as the venue lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedMarket {
    /// The pair.
    pub pair: Pair,
    /// Whether it can be traded now.
    pub trading: bool,
    /// Prices are multiples of this.
    pub tick_size: Price,
    /// Quantities are multiples of this.
    pub lot_step: Qty,
    /// The smallest order, in quote.
    pub min_notional: Quote,
}

/// The venue's REST interface.
#[derive(Clone, Debug)]
pub struct Rest {
    base: String,
    client: reqwest::Client,
}

fn retry(error: impl std::fmt::Display) -> VenueError {
    VenueError::Retry { after: None, message: error.to_string() }
}

impl Rest {
    /// On this base address.
    ///
    /// # Errors
    /// Where no client can be made.
    pub fn new(base: &str) -> Result<Self, VenueError> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(retry)?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client })
    }

    async fn get(&self, path: &str) -> Result<Value, VenueError> {
        let answer = self
            .client
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .map_err(|e| retry(e.without_url()))?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(|e| retry(e.without_url()))?;
        if status.is_success() {
            return Ok(body);
        }
        let code = body.get("code").and_then(Value::as_i64).unwrap_or(0);
        Err(VenueError::Rejected { code, message: format!("{status}") })
    }

    /// A pair as the venue lists it; `None` where it does not.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn market(&self, pair: &Pair) -> Result<Option<ListedMarket>, VenueError> {
        let symbol = format!("{}{}", pair.base(), pair.quote());
        let body = match self.get(&format!("/api/v3/exchangeInfo?symbol={symbol}")).await {
            Err(VenueError::Rejected { code: -1121, .. }) => return Ok(None),
            other => other?,
        };
        let listed = body.pointer("/symbols/0").ok_or_else(|| retry("no symbol"))?;
        let filter = |kind: &str, field: &str| -> Option<String> {
            let filters = listed.get("filters")?.as_array()?;
            let found = filters.iter().find(|f| f.get("filterType").and_then(Value::as_str) == Some(kind))?;
            Some(found.get(field)?.as_str()?.to_owned())
        };
        let read = || {
            Some(ListedMarket {
                pair: pair.clone(),
                trading: listed.get("status").and_then(Value::as_str) == Some("TRADING"),
                tick_size: filter("PRICE_FILTER", "tickSize")?.parse().ok()?,
                lot_step: filter("LOT_SIZE", "stepSize")?.parse().ok()?,
                min_notional: filter("NOTIONAL", "minNotional")
                    .or_else(|| filter("MIN_NOTIONAL", "minNotional"))
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_default(),
            })
        };
        read().map(Some).ok_or_else(|| retry("a filter is missing"))
    }

    /// A pair's last price.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn price(&self, pair: &Pair) -> Result<Price, VenueError> {
        let body = self.get(&format!("/api/v3/ticker/price?symbol={}{}", pair.base(), pair.quote())).await?;
        let text = body.get("price").and_then(Value::as_str).ok_or_else(|| retry("no price"))?;
        text.parse().map_err(retry)
    }
}
