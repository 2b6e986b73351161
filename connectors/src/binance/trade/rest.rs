//! Signed calls.

use std::time::Duration;

use model::{ClientOrderId, Pair, Timestamp};
use reqwest::Method;
use reqwest::header::HeaderValue;

use super::answers::{read_account, read_executions, read_order, read_orders, read_restrictions};
use super::report::{Account, Execution, OrderReport, Restrictions};
use crate::binance::budget::{AccountTag, SharedBudget};
use crate::binance::error::{Effect, VenueError};
use crate::binance::rest::{MAX_ANSWER_BYTES, Rest};
use crate::binance::sign::{Credential, Signer};
use crate::binance::subscriptions::symbol;
use crate::binance::transport::{Call, unusable};

/// How long after its time a request is still good; a late one is refused with -1021 and has done nothing. So an order
/// that was not answered can no longer appear once this has passed at the venue (and its own queue is through).
pub const RECV_WINDOW: Duration = Duration::from_secs(5);

/// The most rows that one call gives; a page of fewer is the last.
pub const PAGE: usize = 1_000;

/// The longest answer with many rows: 8 MiB, where 1,000 orders are about half of one.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Where a page of executions begins: the combinations that the venue takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecutionsFrom {
    /// With this trade id, oldest first.
    Id(i64),
    /// At this time, and at most 24 h on.
    Since(Timestamp),
    /// With an order's first.
    Order(i64),
    /// With this trade id among an order's.
    OrderId {
        /// The order's id at the venue.
        order: i64,
        /// The first trade id.
        id: i64,
    },
}

/// Where a page of orders begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrdersFrom {
    /// With this order id, oldest first.
    Id(i64),
    /// At this time, and at most 24 h on.
    Since(Timestamp),
}

/// The signed part of the venue's REST interface, for one key. Clones share their connections.
///
/// Every call has the deadlines and bounds of [`Rest`](crate::binance::rest::Rest), and is never repeated. `at` is
/// the venue's time now: its caller keeps the offset to its own monotonic clock. What the answers tell of the limits
/// goes to the [`SharedBudget`]; asking it first is the caller's, who alone knows the lane. While the venue has asked
/// to be left alone nothing is sent: the answer is [`VenueError::Retry`] at once.
#[derive(Clone, Debug)]
pub struct TradeRest {
    rest: Rest,
    signer: Signer,
    key: HeaderValue,
    account: AccountTag,
}

impl TradeRest {
    /// On this base address, such as `https://api.binance.com`, with a budget of its own.
    ///
    /// # Errors
    /// [`VenueError::Retry`] where no client can be made.
    pub fn new(base: &str, credential: &Credential) -> Result<Self, VenueError> {
        let mut key = HeaderValue::from_str(credential.key()).map_err(|_| VenueError::Auth {
            code: 0,
            message: "the key holds characters that cannot be sent".to_owned(),
        })?;
        key.set_sensitive(true);
        let (signer, account) = (credential.signer(), credential.account());
        Ok(Self { rest: Rest::new(base)?, signer, key, account })
    }

    /// With the budget of its venue and egress address.
    #[must_use]
    pub fn with_budget(mut self, budget: SharedBudget) -> Self {
        self.rest.transport.budget = budget;
        self
    }

    /// The budget that it reports to.
    pub fn budget(&self) -> &SharedBudget {
        &self.rest.transport.budget
    }

    /// Whose orders are counted.
    pub fn account_tag(&self) -> AccountTag {
        self.account
    }

    /// Places an order: an [`OrderRequest::body`](super::OrderRequest::body), as it stands.
    ///
    /// # Errors
    /// [`VenueError`], in the column of an order.
    pub async fn place(&self, body: &str, at: Timestamp) -> Result<OrderReport, VenueError> {
        let answer =
            self.signed(Method::POST, "/api/v3/order", body.to_owned(), at, MAX_ANSWER_BYTES).await?;
        order_of(&answer, body, Effect::Order)
    }

    /// Takes an order back; how it stood then.
    ///
    /// # Errors
    /// [`VenueError`], in the column of an order; -2011 where it is not open (any more).
    pub async fn cancel(
        &self,
        pair: &Pair,
        id: ClientOrderId,
        at: Timestamp,
    ) -> Result<OrderReport, VenueError> {
        let query = format!("symbol={}&origClientOrderId={id}", symbol(pair));
        let answer =
            self.signed(Method::DELETE, "/api/v3/order", query.clone(), at, MAX_ANSWER_BYTES).await?;
        order_of(&answer, &query, Effect::Order)
    }

    /// An order by its client id; `None` where the venue does not know it, which shortly after its placing proves
    /// nothing.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn order(
        &self,
        pair: &Pair,
        id: ClientOrderId,
        at: Timestamp,
    ) -> Result<Option<OrderReport>, VenueError> {
        let query = format!("symbol={}&origClientOrderId={id}", symbol(pair));
        match self.signed(Method::GET, "/api/v3/order", query.clone(), at, MAX_ANSWER_BYTES).await {
            Err(VenueError::Rejected { code: -2013, .. }) => Ok(None),
            answer => order_of(&answer?, &query, Effect::Read).map(Some),
        }
    }

    /// The open orders of a pair, or of all (which costs 80 instead of 6).
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn open_orders(
        &self,
        pair: Option<&Pair>,
        at: Timestamp,
    ) -> Result<Vec<OrderReport>, VenueError> {
        let query = pair.map_or_else(String::new, |pair| format!("symbol={}", symbol(pair)));
        let answer = self.signed(Method::GET, "/api/v3/openOrders", query, at, MAX_PAGE_BYTES).await?;
        let orders = read_orders(&answer).map_err(|error| unreadable(&error))?;
        all_match(orders, |order| pair.is_none_or(|pair| order.symbol == symbol(pair)))
    }

    /// A pair's orders of every status, oldest first, at most [`PAGE`].
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn orders_since(
        &self,
        pair: &Pair,
        from: OrdersFrom,
        at: Timestamp,
    ) -> Result<Vec<OrderReport>, VenueError> {
        let from = match from {
            OrdersFrom::Id(id) => format!("orderId={id}"),
            OrdersFrom::Since(since) => format!("startTime={}", since.millis()),
        };
        let query = format!("symbol={}&{from}&limit={PAGE}", symbol(pair));
        let answer = self.signed(Method::GET, "/api/v3/allOrders", query, at, MAX_PAGE_BYTES).await?;
        let orders = read_orders(&answer).map_err(|error| unreadable(&error))?;
        all_match(orders, |order| order.symbol == symbol(pair))
    }

    /// A pair's executions, oldest first, at most [`PAGE`].
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn executions(
        &self,
        pair: &Pair,
        from: ExecutionsFrom,
        at: Timestamp,
    ) -> Result<Vec<Execution>, VenueError> {
        let of = match from {
            ExecutionsFrom::Order(order) | ExecutionsFrom::OrderId { order, .. } => Some(order),
            ExecutionsFrom::Id(_) | ExecutionsFrom::Since(_) => None,
        };
        let from = match from {
            ExecutionsFrom::Id(id) => format!("fromId={id}"),
            ExecutionsFrom::Since(since) => format!("startTime={}", since.millis()),
            ExecutionsFrom::Order(order) => format!("orderId={order}"),
            ExecutionsFrom::OrderId { order, id } => format!("orderId={order}&fromId={id}"),
        };
        let query = format!("symbol={}&{from}&limit={PAGE}", symbol(pair));
        let answer = self.signed(Method::GET, "/api/v3/myTrades", query, at, MAX_PAGE_BYTES).await?;
        let executions = read_executions(&answer).map_err(|error| unreadable(&error))?;
        all_match(executions, |execution| {
            execution.symbol == symbol(pair) && of.is_none_or(|order| execution.venue_order_id == order)
        })
    }

    /// The account and what it holds.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn account(&self, at: Timestamp) -> Result<Account, VenueError> {
        let query = "omitZeroBalances=true".to_owned();
        let answer = self.signed(Method::GET, "/api/v3/account", query, at, MAX_PAGE_BYTES).await?;
        read_account(&answer).map_err(|error| unreadable(&error))
    }

    /// What the key may do.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn restrictions(&self, at: Timestamp) -> Result<Restrictions, VenueError> {
        let path = "/sapi/v1/account/apiRestrictions";
        let answer = self.signed(Method::GET, path, String::new(), at, MAX_ANSWER_BYTES).await?;
        read_restrictions(&answer).map_err(|error| unreadable(&error))
    }

    /// The venue's clock, somewhere between the request and the answer.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn server_time(&self) -> Result<Timestamp, VenueError> {
        self.rest.server_time().await
    }

    /// Makes a signed call; what is posted goes as a form, the rest as a query.
    async fn signed(
        &self,
        method: Method,
        path: &str,
        parameters: String,
        at: Timestamp,
        most: usize,
    ) -> Result<Vec<u8>, VenueError> {
        let separator = if parameters.is_empty() { "" } else { "&" };
        let signed = self.signer.signed(&format!(
            "{parameters}{separator}recvWindow={}&timestamp={}",
            RECV_WINDOW.as_millis(),
            at.millis(),
        ));
        let effect = if method == Method::GET { Effect::Read } else { Effect::Order };
        let (path, form) = if method == Method::POST {
            (path.to_owned(), Some(signed))
        } else {
            (format!("{path}?{signed}"), None)
        };
        let key = Some((&self.key, self.account));
        self.rest.transport.call(Call { method, path: &path, form, key, effect, most }).await
    }
}

/// The order in an answer, where it is the one that the request's parameters name.
fn order_of(answer: &[u8], parameters: &str, effect: Effect) -> Result<OrderReport, VenueError> {
    read_order(answer).map_err(|error| unusable(effect, &error))?.matching(parameters, effect)
}

/// The rows of an answer, where all of them are about what was asked for.
fn all_match<T>(rows: Vec<T>, matches: impl Fn(&T) -> bool) -> Result<Vec<T>, VenueError> {
    if rows.iter().all(matches) { Ok(rows) } else { Err(unreadable(&"it is about another pair or order")) }
}

/// An answer to a read that is not what the venue documents: nothing happened, and the next may be better.
fn unreadable(why: &dyn std::fmt::Display) -> VenueError {
    unusable(Effect::Read, why)
}
