//! Signed calls.

use std::time::Duration;

use model::{ClientOrderId, Pair, Timestamp};

use super::report::{Account, Execution, OrderReport, Restrictions};
use crate::binance::budget::{AccountTag, SharedBudget};
use crate::binance::error::VenueError;
use crate::binance::sign::Credential;

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
    budget: SharedBudget,
    account: AccountTag,
}

#[expect(clippy::unused_async, reason = "the calls come next")]
impl TradeRest {
    /// On this base address, such as `https://api.binance.com`, with a budget of its own.
    ///
    /// # Errors
    /// [`VenueError::Retry`] where no client can be made.
    pub fn new(base: &str, credential: &Credential) -> Result<Self, VenueError> {
        let _ = base;
        Ok(Self { budget: SharedBudget::default(), account: credential.account() })
    }

    /// With the budget of its venue and egress address.
    #[must_use]
    pub fn with_budget(mut self, budget: SharedBudget) -> Self {
        self.budget = budget;
        self
    }

    /// The budget that it reports to.
    pub fn budget(&self) -> &SharedBudget {
        &self.budget
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
        let _ = (body, at);
        Err(unbuilt())
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
        let _ = (pair, id, at);
        Err(unbuilt())
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
        let _ = (pair, id, at);
        Err(unbuilt())
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
        let _ = (pair, at);
        Err(unbuilt())
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
        let _ = (pair, from, at);
        Err(unbuilt())
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
        let _ = (pair, from, at);
        Err(unbuilt())
    }

    /// The account and what it holds.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn account(&self, at: Timestamp) -> Result<Account, VenueError> {
        let _ = at;
        Err(unbuilt())
    }

    /// What the key may do.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn restrictions(&self, at: Timestamp) -> Result<Restrictions, VenueError> {
        let _ = at;
        Err(unbuilt())
    }

    /// The venue's clock, somewhere between the request and the answer.
    ///
    /// # Errors
    /// [`VenueError`].
    pub async fn server_time(&self) -> Result<Timestamp, VenueError> {
        Err(unbuilt())
    }
}

fn unbuilt() -> VenueError {
    VenueError::Retry { after: None, message: "not built yet".to_owned() }
}
