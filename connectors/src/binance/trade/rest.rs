//! Signed calls.

use std::time::Duration;

use model::{ClientOrderId, Pair, Timestamp};
use reqwest::Method;
use reqwest::header::HeaderValue;

use super::answers::read_restrictions;
use super::call::Call;
use super::report::{Account, Execution, OrderReport, Restrictions};
use crate::binance::budget::{AccountTag, SharedBudget};
use crate::binance::error::{Effect, VenueError};
use crate::binance::rest::{MAX_ANSWER_BYTES, Rest};
use crate::binance::sign::{Credential, Signer};
use crate::binance::transport::{HttpCall, unusable};

/// How long after its time a request is still good; a late one is refused with -1021 and has done nothing. So an order
/// that was not answered can no longer appear once this has passed at the venue (and its own queue is through).
pub const RECV_WINDOW: Duration = Duration::from_secs(5);

/// The most rows that one call gives; a page of fewer is the last.
pub const PAGE: usize = 1_000;

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

    /// Makes a call. A signed one is stamped with `at`.
    ///
    /// # Errors
    /// [`VenueError`], in the column of an order for what changes one.
    pub async fn call<T>(&self, call: &Call<T>, at: Timestamp) -> Result<T, VenueError> {
        let endpoint = call.request.endpoint;
        let answer = if endpoint.is_signed {
            let parameters = call.request.parameters.clone();
            self.signed(endpoint.method.clone(), endpoint.path, parameters, at, endpoint.most).await
        } else {
            self.rest.transport.call(HttpCall::get(endpoint.path, endpoint.most)).await
        };
        call.read(answer)
    }

    /// As [`Call::place`].
    ///
    /// # Errors
    /// [`VenueError`], in the column of an order.
    pub async fn place(&self, body: &str, at: Timestamp) -> Result<OrderReport, VenueError> {
        self.call(&Call::place(body), at).await
    }

    /// As [`Call::cancel`].
    ///
    /// # Errors
    /// [`VenueError`], in the column of an order; -2011 where it is not open (any more).
    pub async fn cancel(
        &self,
        pair: &Pair,
        id: ClientOrderId,
        at: Timestamp,
    ) -> Result<OrderReport, VenueError> {
        self.call(&Call::cancel(pair, id), at).await
    }

    /// As [`Call::order`].
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn order(
        &self,
        pair: &Pair,
        id: ClientOrderId,
        at: Timestamp,
    ) -> Result<Option<OrderReport>, VenueError> {
        self.call(&Call::order(pair, id), at).await
    }

    /// As [`Call::open_orders`].
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn open_orders(
        &self,
        pair: Option<&Pair>,
        at: Timestamp,
    ) -> Result<Vec<OrderReport>, VenueError> {
        self.call(&Call::open_orders(pair), at).await
    }

    /// As [`Call::orders_since`].
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn orders_since(
        &self,
        pair: &Pair,
        from: OrdersFrom,
        at: Timestamp,
    ) -> Result<Vec<OrderReport>, VenueError> {
        self.call(&Call::orders_since(pair, from), at).await
    }

    /// As [`Call::executions`].
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn executions(
        &self,
        pair: &Pair,
        from: ExecutionsFrom,
        at: Timestamp,
    ) -> Result<Vec<Execution>, VenueError> {
        self.call(&Call::executions(pair, from), at).await
    }

    /// As [`Call::account`].
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn account(&self, at: Timestamp) -> Result<Account, VenueError> {
        self.call(&Call::account(), at).await
    }

    /// What the key may do.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn restrictions(&self, at: Timestamp) -> Result<Restrictions, VenueError> {
        let path = "/sapi/v1/account/apiRestrictions";
        let answer = self.signed(Method::GET, path, String::new(), at, MAX_ANSWER_BYTES).await?;
        read_restrictions(&answer).map_err(|error| unusable(Effect::Read, &error))
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
        self.rest.transport.call(HttpCall { method, path: &path, form, key, effect, most }).await
    }
}
