//! What is not known is asked for: an order by its id, its executions, and, where the venue does not know it, whether
//! its absence is proven.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Call, Cost, ExecutionsFrom, Lane, OrderReport, OrdersFrom, PAGE};
use model::{BotId, ClientOrderId, Pair, Timestamp};
use strategies::live::{End, Report, Role};

use super::client::VenueClient;
use super::route::Route;
use super::{DOUBT_FOR, ExchangeConnection, InDoubt, deliver};
use crate::failpoint;
use crate::live;
use crate::markets::Markets;

/// The first wait before an order is asked for again; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest one while an order is in doubt.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often once it has been in doubt for long: queries that lag do so for a minute, and asking uses up what the
/// address may ask for all of its accounts.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// How long that is.
const LONG_AFTER: Duration = Duration::from_secs(10);

/// How often an order is asked for that the venue took by its own answer: only its queries do not know it yet.
const LAGGING_WAIT: Duration = Duration::from_secs(15);

/// How often while the venue does not accept the key.
const LOCKED_WAIT: Duration = Duration::from_secs(10);

/// How much earlier than an order was decided the venue may say that it came: how its clock stood to ours then is not
/// known to the second.
pub(super) const OVERLAP_NS: i64 = 10_000_000_000;

/// What the venue said of an order.
#[derive(Debug)]
pub(crate) enum Found {
    /// It knows it.
    Order { report: Report, venue_id: i64 },
    /// It does not, which proves nothing yet.
    NotYet,
    /// It does not, and never will.
    Never,
}

/// The venue is to be asked for an order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct AskFor(pub(crate) ClientOrderId);

/// An order was asked for.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Asked {
    client_id: ClientOrderId,
    at: Instant,
    result: Result<Found, VenueError>,
}

/// One question.
struct Question {
    client: VenueClient,
    /// What fees of the past are valued by.
    markets: Arc<Markets>,
    pair: Pair,
    id: ClientOrderId,
    /// When it was decided, by the venue's clock.
    since: Timestamp,
    /// Whether it is late enough for its absence to be proven.
    is_late: bool,
    /// And by the venue's clock, for an order of an earlier process.
    absent_at: Option<Timestamp>,
}

impl Question {
    async fn ask(self) -> Result<Found, VenueError> {
        let Some(order) = self.read(Call::order(&self.pair, self.id)).await? else {
            // The venue took our time with this question, so what is known of its clock is right.
            let is_void = self.absent_at.is_none_or(|at| self.client.clock().now() >= at);
            let is_proven = self.is_late && is_void && self.is_nowhere().await?;
            return Ok(if is_proven { Found::Never } else { Found::NotYet });
        };
        let venue_id = order.venue_order_id;
        let executions = if order.executed_qty.is_zero() {
            Vec::new()
        } else {
            let from = ExecutionsFrom::Order(venue_id);
            self.read(Call::executions(&self.pair, from)).await?
        };
        let mut executions: Vec<_> =
            executions.iter().map(|told| live::execution(told, &self.pair)).collect();
        live::fees::value_past(&self.markets, &self.pair, &mut executions).await;
        match live::report(&order, executions) {
            Some(report) => Ok(Found::Order { report, venue_id }),
            None => Ok(Found::NotYet),
        }
    }

    /// Whether neither the account's orders nor its executions have a trace of it.
    async fn is_nowhere(&self) -> Result<bool, VenueError> {
        let id = self.id.to_string();
        let from = Timestamp::from_nanos(self.since.nanos().saturating_sub(OVERLAP_NS));
        let mut orders = self.orders_to_the_last(from).await?;
        let mut of_others = self.executed_to_the_last(from).await?;
        loop {
            if orders.iter().any(|order| order.client_order_id == id) {
                return Ok(false);
            }
            for order in &orders {
                of_others.remove(&order.venue_order_id);
            }
            // What rested before may have filled since: which order that was is asked for by its number.
            let Some(older) = of_others.first().copied() else { return Ok(true) };
            orders = self.orders(OrdersFrom::Id(older)).await?;
            if orders.iter().all(|order| order.venue_order_id != older) {
                return Ok(false);
            }
        }
    }

    /// Every order of the pair since then, page by page.
    async fn orders_to_the_last(&self, since: Timestamp) -> Result<Vec<OrderReport>, VenueError> {
        let mut orders = self.orders(OrdersFrom::Since(since)).await?;
        let mut told = orders.len();
        while let Some(last) = orders.last().filter(|_| told >= PAGE).map(|order| order.venue_order_id) {
            let more = self.orders(OrdersFrom::Id(last + 1)).await?;
            told = more.len();
            orders.extend(more);
        }
        Ok(orders)
    }

    /// The orders that anything was executed of since then, page by page.
    async fn executed_to_the_last(&self, since: Timestamp) -> Result<BTreeSet<i64>, VenueError> {
        let mut of = BTreeSet::new();
        let mut from = ExecutionsFrom::Since(since);
        loop {
            let page = self.read(Call::executions(&self.pair, from)).await?;
            of.extend(page.iter().map(|told| told.venue_order_id));
            match page.last() {
                Some(last) if page.len() >= PAGE => from = ExecutionsFrom::Id(last.trade_id + 1),
                _ => return Ok(of),
            }
        }
    }

    async fn orders(&self, from: OrdersFrom) -> Result<Vec<OrderReport>, VenueError> {
        self.read(Call::orders_since(&self.pair, from)).await
    }

    async fn read<T>(&self, call: Call<T>) -> Result<T, VenueError> {
        self.client.query(&call, Route::Rest, Lane::Exit).await
    }
}

impl ExchangeConnection {
    /// Asks for every order that is due, and takes back again what is still open.
    pub(super) fn ask_due(&mut self, me: &Addr<Self>) {
        let now = Instant::now();
        let due: Vec<ClientOrderId> = self
            .orders
            .iter()
            .filter(|(id, order)| {
                !order.is_asking && order.ask_at.is_some_and(|at| at <= now) && !self.unsent.contains(id)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if self.budget().ask(Cost::ORDER, Lane::Exit).is_err() {
                break;
            }
            let Some(order) = self.orders.get_mut(&id) else { continue };
            (order.is_asking, order.ask_at) = (true, None);
            order.asks += 1;
            let question = Question {
                client: self.client.clone(),
                markets: self.markets.clone(),
                pair: order.pair.clone(),
                id,
                since: order.since,
                is_late: order.age() > self.absent_after,
                absent_at: order.absent_at,
            };
            let me = me.clone();
            actix_rt::spawn(async move {
                deliver(&me, Asked { client_id: id, at: now, result: question.ask().await });
            });
        }
    }

    /// Everything open is asked for: while the stream was down it may have told of something.
    pub(super) fn catch_up(&mut self) {
        let unsent = &self.unsent;
        for (_, order) in
            self.orders.iter_mut().filter(|(id, order)| !order.is_settled() && !unsent.contains(id))
        {
            order.ask_after(Duration::ZERO);
        }
    }

    /// Lets bots go on whose orders have all been asked for.
    pub(super) fn let_accounted_go(&mut self) {
        if self.restoring.is_some() {
            return;
        }
        let unaccounted: HashSet<_> =
            self.orders.values().filter(|order| !order.is_accounted).map(|order| order.bot).collect();
        let due: Vec<BotId> = self
            .bots
            .iter()
            .filter(|(id, attached)| {
                !attached.is_taken_up && attached.has_read_books && !unaccounted.contains(id)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            failpoint::pass("taking-up");
            self.take_up(id);
        }
    }

    fn asked(&mut self, asked: Asked) {
        let Asked { client_id: id, at, result } = asked;
        if result.is_ok() {
            self.unlock();
        }
        let Some(order) = self.orders.get_mut(&id) else { return };
        order.is_asking = false;
        let wait = (FIRST_WAIT * 2_u32.pow(order.asks.min(4))).min(LONGEST_WAIT);
        match result {
            Ok(Found::Order { report, venue_id }) => {
                failpoint::pass("found");
                (order.is_accounted, order.venue_id) = (true, Some(venue_id));
                order.found_at = Some(at);
                self.report(report);
                let Some(order) = self.orders.get_mut(&id) else { return };
                if order.is_settled() {
                    order.asks = 0;
                } else if !order.rests() {
                    order.ask_after(wait);
                }
                if order.wants_cancel && !order.end {
                    self.take_back_again(id);
                }
            }
            Ok(Found::NotYet) => {
                failpoint::pass("not-found");
                order.is_accounted = true;
                let age = order.age();
                order.ask_after(match order.receipt.acknowledged_at {
                    Some(_) => LAGGING_WAIT,
                    None if age > LONG_AFTER => LONG_WAIT,
                    None => wait,
                });
                let is_entry = matches!(order.role, Role::Entry(_));
                if !is_entry && !order.is_doubted && age > DOUBT_FOR {
                    order.is_doubted = true;
                    let (bot, doubt) = (order.bot, InDoubt { client_id: id, role: order.role });
                    if let Some(attached) = self.bots.get(&bot) {
                        deliver(&attached.bot, doubt);
                    }
                }
            }
            Ok(Found::Never) => {
                failpoint::pass("absent");
                order.is_accounted = true;
                self.end(id, End::NeverArrived);
            }
            Err(VenueError::Retry { after, .. }) => order.ask_after(after.unwrap_or(wait)),
            Err(VenueError::Auth { message, .. }) => {
                order.ask_after(LOCKED_WAIT);
                self.lock(&message);
            }
            Err(error) => {
                tracing::warn!(connection = %self.id, order = %id, %error, "an order could not be asked for");
                order.ask_after(LONGEST_WAIT);
            }
        }
        self.let_accounted_go();
    }
}

impl Handler<AskFor> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, AskFor(id): AskFor, ctx: &mut Context<Self>) {
        if let Some(order) = self.orders.get_mut(&id) {
            order.ask_after(Duration::ZERO);
        }
        self.ask_due(&ctx.address());
    }
}

impl Handler<Asked> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, asked: Asked, _: &mut Context<Self>) {
        self.asked(asked);
    }
}

#[cfg(test)]
mod tests {
    use connectors::binance::trade::{Credential, OrderRequest, RequestKind, TradeRest};
    use model::Side;
    use serde_json::json;
    use venue::{Config, Speed};

    use super::super::socket::Line;
    use super::super::venue_clock::VenueClock;
    use super::*;
    use crate::clock;

    fn markets(url: &str) -> Arc<Markets> {
        let rest = connectors::binance::rest::Rest::new(url).unwrap();
        let (io, nothing) = (tokio::runtime::Handle::current(), model::Rate::ZERO);
        Arc::new(Markets::new(rest, io, nothing, nothing))
    }

    /// More than a page of them after it.
    #[actix_rt::test]
    async fn an_order_is_not_taken_for_absent_because_many_came_after_it_or_before() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (key, secret) = ("public-key".to_owned(), "hidden".to_owned());
        let credentials = vec![venue::Credential { key: key.clone(), secret: secret.clone() }];
        let speed = Speed::Times(0.000_001);
        let venue = venue::start(Config { credentials, speed, ..Config::default() }).await.unwrap();
        let url = format!("http://{}", venue.address());
        let rest = TradeRest::new(&url, &Credential::new(key, secret).unwrap()).unwrap();
        let pair: Pair = "BTC/USDT".parse().unwrap();
        let since = clock::now();
        let place = async |side| {
            let client_order_id = ClientOrderId::new();
            let qty = "0.001".parse().unwrap();
            let kind = RequestKind::Market;
            let order = OrderRequest { pair: pair.clone(), client_order_id, side, qty, kind };
            rest.place(&order.body(), clock::now()).await.unwrap();
            client_order_id
        };
        let mut last = place(Side::Buy).await;
        for number in 0..PAGE + 5 {
            // What was bought is sold: there are coins for a few only.
            last = place(if number % 2 == 0 { Side::Sell } else { Side::Buy }).await;
        }
        let question = Question {
            client: VenueClient::new(rest.clone(), Line::new().0, VenueClock::default()),
            markets: markets(&url),
            pair,
            id: last,
            since,
            is_late: true,
            absent_at: None,
        };
        assert_eq!(question.orders_to_the_last(since).await.unwrap().len(), PAGE + 6);
        assert!(!question.is_nowhere().await.unwrap(), "the last of them came");
        let never = Question { id: ClientOrderId::new(), ..question };
        assert!(never.is_nowhere().await.unwrap());
        venue.stop().await;
    }

    /// What rested before an order was decided and filled after it.
    #[actix_rt::test]
    async fn an_older_order_that_fills_later_does_not_hide_that_one_never_arrived() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (key, secret) = ("public-key".to_owned(), "hidden".to_owned());
        let credentials = vec![venue::Credential { key: key.clone(), secret: secret.clone() }];
        // The market moves by hand only.
        let speed = Speed::Times(0.000_001);
        let venue =
            venue::start(Config { credentials, control: true, speed, ..Config::default() }).await.unwrap();
        let url = format!("http://{}", venue.address());
        let rest = TradeRest::new(&url, &Credential::new(key, secret).unwrap()).unwrap();
        let pair: Pair = "BTC/USDT".parse().unwrap();
        let price = async |price: &str| {
            let moved = json!({"symbol": "BTCUSDT", "price": price}).to_string();
            let answer = reqwest::Client::new().post(format!("{url}/venue/price")).body(moved).send().await;
            assert!(answer.unwrap().status().is_success());
        };
        price("60000").await;
        let kind =
            RequestKind::StopLossLimit { stop: "59000".parse().unwrap(), price: "58000".parse().unwrap() };
        let rests = OrderRequest {
            pair: pair.clone(),
            client_order_id: ClientOrderId::new(),
            side: Side::Sell,
            qty: "0.01".parse().unwrap(),
            kind,
        };
        let placed = rest.place(&rests.body(), clock::now()).await.unwrap();
        // Far enough from it that the search for the other begins after it.
        let since = clock::now().plus_seconds(OVERLAP_NS.unsigned_abs() / 1_000_000_000 + 1);
        let question = |id| Question {
            client: VenueClient::new(rest.clone(), Line::new().0, VenueClock::default()),
            markets: markets(&url),
            pair: pair.clone(),
            id,
            since,
            is_late: true,
            absent_at: None,
        };
        let ask = async |id| question(id).ask().await.unwrap();
        while clock::now().millis() <= since.nanos().saturating_sub(OVERLAP_NS) / 1_000_000 {
            actix_rt::task::yield_now().await;
        }
        price("58900").await;
        let order = rest.order(&pair, rests.client_order_id, clock::now()).await.unwrap().unwrap();
        assert!(order.executed_qty > model::Qty::ZERO, "{placed:?} {order:?}");
        assert!(matches!(ask(ClientOrderId::new()).await, Found::Never));
        assert!(matches!(ask(rests.client_order_id).await, Found::Order { .. }));
        venue.stop().await;
    }
}
