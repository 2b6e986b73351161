//! The calls that a key can make, independent of the route: REST and the WebSocket API take the same parameters, count
//! the same weight and give the same bodies.

use model::{ClientOrderId, Pair, Timestamp};
use reqwest::Method;

use super::answers::{read_account, read_executions, read_order, read_orders};
use super::commission::{Commission, read_commission};
use super::report::{Account, Execution, OrderReport};
use super::rest::{ExecutionsFrom, OrdersFrom, PAGE};
use crate::binance::budget::Cost;
use crate::binance::error::{Effect, VenueError};
use crate::binance::rest::{MAX_ANSWER_BYTES, read_time};
use crate::binance::subscriptions::symbol;
use crate::binance::transport::unusable;

/// The longest answer with many rows: 8 MiB, where 1,000 orders are about half of one.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// A call whose answer is a `T`. [`TradeRest::call`](super::TradeRest::call) and
/// [`TradeStream::call`](super::TradeStream::call) make it.
#[derive(Debug)]
pub struct Call<T> {
    pub(super) request: Request,
    read: Read<T>,
}

/// How an answer is read, given the parameters that were sent. An answer about another order or pair says nothing about
/// the one that was asked for.
type Read<T> = fn(&str, Result<Vec<u8>, VenueError>) -> Result<T, VenueError>;

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        Self { request: self.request.clone(), read: self.read }
    }
}

/// What is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) endpoint: &'static Endpoint,
    /// Without time and signature.
    pub(super) parameters: String,
    pub(super) cost: Cost,
}

/// Where a call goes, by either route.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// The method's name at the WebSocket API.
    pub(super) socket_method: &'static str,
    pub(super) effect: Effect,
    pub(super) is_signed: bool,
    /// The longest answer, in bytes.
    pub(super) most: usize,
}

impl Endpoint {
    const fn get(path: &'static str, socket_method: &'static str, most: usize) -> Self {
        Self { method: Method::GET, path, socket_method, effect: Effect::Read, is_signed: true, most }
    }

    const fn order(method: Method, socket_method: &'static str) -> Self {
        let (path, effect, most) = ("/api/v3/order", Effect::Order, MAX_ANSWER_BYTES);
        Self { method, path, socket_method, effect, is_signed: true, most }
    }
}

static PLACE: Endpoint = Endpoint::order(Method::POST, "order.place");
static CANCEL: Endpoint = Endpoint::order(Method::DELETE, "order.cancel");
static ORDER: Endpoint = Endpoint::get("/api/v3/order", "order.status", MAX_ANSWER_BYTES);
static OPEN_ORDERS: Endpoint = Endpoint::get("/api/v3/openOrders", "openOrders.status", MAX_PAGE_BYTES);
static ORDERS: Endpoint = Endpoint::get("/api/v3/allOrders", "allOrders", MAX_PAGE_BYTES);
static EXECUTIONS: Endpoint = Endpoint::get("/api/v3/myTrades", "myTrades", MAX_PAGE_BYTES);
static ACCOUNT: Endpoint = Endpoint::get("/api/v3/account", "account.status", MAX_PAGE_BYTES);
static COMMISSION: Endpoint =
    Endpoint::get("/api/v3/account/commission", "account.commission", MAX_ANSWER_BYTES);
static TIME: Endpoint = Endpoint {
    method: Method::GET,
    path: "/api/v3/time",
    socket_method: "time",
    effect: Effect::Read,
    is_signed: false,
    most: MAX_ANSWER_BYTES,
};

impl<T> Call<T> {
    fn new(endpoint: &'static Endpoint, parameters: String, cost: Cost, read: Read<T>) -> Self {
        Self { request: Request { endpoint, parameters, cost }, read }
    }

    /// What it takes from the budget. Placing an order also counts for its account: [`Cost::place`].
    pub fn cost(&self) -> Cost {
        self.request.cost
    }

    /// The same call, whose answer is its body as it came.
    pub fn raw(&self) -> Call<Vec<u8>> {
        Call { request: self.request.clone(), read: |_, answer| answer }
    }

    /// Whether it places or cancels an order.
    pub fn changes_orders(&self) -> bool {
        self.request.endpoint.effect == Effect::Order
    }

    /// What it comes to where no answer comes.
    pub fn unanswered(&self, message: String) -> VenueError {
        VenueError::unanswered(self.request.endpoint.effect, message)
    }

    /// Reads what came of it: the body of an answer, or why there is none.
    ///
    /// # Errors
    /// [`VenueError`], where there is no answer or none that can be read.
    pub fn read(&self, answer: Result<Vec<u8>, VenueError>) -> Result<T, VenueError> {
        (self.read)(&self.request.parameters, answer)
    }
}

impl Call<OrderReport> {
    /// Places an order: an [`OrderRequest::body`](super::OrderRequest::body), as it stands.
    pub fn place(body: &str) -> Self {
        Self::new(&PLACE, body.to_owned(), Cost::of(1), one_order)
    }

    /// Cancels an order; the answer says how it stood then. Refused with -2011 where it is not open (any more).
    pub fn cancel(pair: &Pair, id: ClientOrderId) -> Self {
        Self::new(&CANCEL, by_client_id(pair, id), Cost::CANCEL, one_order)
    }
}

impl Call<Option<OrderReport>> {
    /// An order by its client id; `None` where the venue does not know it, which shortly after its placing proves
    /// nothing.
    pub fn order(pair: &Pair, id: ClientOrderId) -> Self {
        Self::new(&ORDER, by_client_id(pair, id), Cost::ORDER, |parameters, answer| match answer {
            Err(VenueError::Rejected { code: -2013, .. }) => Ok(None),
            answer => order_of(&answer?, parameters, Effect::Read).map(Some),
        })
    }
}

impl Call<Vec<OrderReport>> {
    /// The open orders of a pair, or of all.
    pub fn open_orders(pair: Option<&Pair>) -> Self {
        let (query, cost) = match pair {
            Some(pair) => (format!("symbol={}", symbol(pair)), Cost::OPEN_ORDERS),
            None => (String::new(), Cost::ALL_OPEN_ORDERS),
        };
        Self::new(&OPEN_ORDERS, query, cost, many_orders)
    }

    /// A pair's orders of every status, oldest first, at most [`PAGE`].
    pub fn orders_since(pair: &Pair, from: OrdersFrom) -> Self {
        let from = match from {
            OrdersFrom::Id(id) => format!("orderId={id}"),
            OrdersFrom::Since(since) => format!("startTime={}", since.millis()),
        };
        let query = format!("symbol={}&{from}&limit={PAGE}", symbol(pair));
        Self::new(&ORDERS, query, Cost::ORDERS, many_orders)
    }
}

impl Call<Vec<Execution>> {
    /// A pair's executions, oldest first, at most [`PAGE`].
    pub fn executions(pair: &Pair, from: ExecutionsFrom) -> Self {
        let (from, cost) = match from {
            ExecutionsFrom::Id(id) => (format!("fromId={id}"), Cost::EXECUTIONS),
            ExecutionsFrom::Since(since) => (format!("startTime={}", since.millis()), Cost::EXECUTIONS),
            ExecutionsFrom::Order(order) => (format!("orderId={order}"), Cost::ORDER_EXECUTIONS),
            ExecutionsFrom::OrderId { order, id } => {
                (format!("orderId={order}&fromId={id}"), Cost::ORDER_EXECUTIONS)
            }
        };
        let query = format!("symbol={}&{from}&limit={PAGE}", symbol(pair));
        Self::new(&EXECUTIONS, query, cost, |parameters, answer| {
            let executions = read_executions(&answer?).map_err(|error| unreadable(&error))?;
            let order = named(parameters, "orderId").and_then(|order| order.parse().ok());
            all_match(executions, |execution| {
                named(parameters, "symbol").is_none_or(|symbol| execution.symbol == symbol)
                    && order.is_none_or(|order: i64| execution.venue_order_id == order)
            })
        })
    }
}

impl Call<Account> {
    /// The account and what it holds.
    pub fn account() -> Self {
        Self::new(&ACCOUNT, "omitZeroBalances=true".to_owned(), Cost::ACCOUNT, |_, answer| {
            read_account(&answer?).map_err(|error| unreadable(&error))
        })
    }
}

impl Call<Commission> {
    /// What the account pays for trades of a pair.
    pub fn commission(pair: &Pair) -> Self {
        let query = format!("symbol={}", symbol(pair));
        Self::new(&COMMISSION, query, Cost::COMMISSION, |parameters, answer| {
            let symbol = named(parameters, "symbol").unwrap_or_default();
            read_commission(&answer?, symbol).map_err(|error| unreadable(&error))
        })
    }
}

impl Call<Timestamp> {
    /// The venue's clock, somewhere between the request and the answer.
    pub fn time() -> Self {
        Self::new(&TIME, String::new(), Cost::SMALL, |_, answer| read_time(&answer?))
    }
}

fn by_client_id(pair: &Pair, id: ClientOrderId) -> String {
    format!("symbol={}&origClientOrderId={id}", symbol(pair))
}

fn one_order(parameters: &str, answer: Result<Vec<u8>, VenueError>) -> Result<OrderReport, VenueError> {
    order_of(&answer?, parameters, Effect::Order)
}

fn many_orders(
    parameters: &str,
    answer: Result<Vec<u8>, VenueError>,
) -> Result<Vec<OrderReport>, VenueError> {
    let orders = read_orders(&answer?).map_err(|error| unreadable(&error))?;
    all_match(orders, |order| named(parameters, "symbol").is_none_or(|symbol| order.symbol == symbol))
}

/// The order in an answer, where it is the one that the request's parameters name.
fn order_of(answer: &[u8], parameters: &str, effect: Effect) -> Result<OrderReport, VenueError> {
    read_order(answer).map_err(|error| unusable(effect, &error))?.matching(parameters, effect)
}

/// The rows of an answer, where all of them are about what was asked for.
fn all_match<T>(rows: Vec<T>, matches: impl Fn(&T) -> bool) -> Result<Vec<T>, VenueError> {
    if rows.iter().all(matches) { Ok(rows) } else { Err(unreadable(&"it is about another pair or order")) }
}

/// A parameter's value.
fn named<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// An answer to a read that is not what the venue documents: nothing happened, and the next may be better.
fn unreadable(why: &dyn std::fmt::Display) -> VenueError {
    unusable(Effect::Read, why)
}
