//! Calls to the venue over whichever route answers, stamped with the venue's time.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Call, Lane, OrderReport, SharedBudget, TradeRest};
use model::Timestamp;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::route::{Health, PROOF_WITHIN, Route, is_answer};
use super::socket::Line;
use super::venue_clock::VenueClock;

/// How long one route has to answer until the other is tried as well.
const OTHER_ROUTE_AFTER: Duration = Duration::from_millis(500);

/// How long a route may take to answer what the other can be asked for.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// How long the venue may take to tell its time after it has refused ours.
const TIME_WITHIN: Duration = Duration::from_secs(1);

/// Both routes to the venue for one key. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct VenueClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rest: TradeRest,
    rest_health: Health,
    socket: Line,
    clock: VenueClock,
    /// Held while the venue is asked for its time because it has refused ours.
    relearning: Mutex<()>,
}

impl VenueClient {
    pub(super) fn new(rest: TradeRest, socket: Line, clock: VenueClock) -> Self {
        let (rest_health, relearning) = (Health::default(), Mutex::default());
        Self(Arc::new(Inner { rest, rest_health, socket, clock, relearning }))
    }

    pub(super) fn rest(&self) -> &TradeRest {
        &self.0.rest
    }

    pub(super) fn budget(&self) -> &SharedBudget {
        self.0.rest.budget()
    }

    pub(super) fn clock(&self) -> &VenueClock {
        &self.0.clock
    }

    pub(super) fn socket(&self) -> &Line {
        &self.0.socket
    }

    pub(super) fn health(&self, route: Route) -> &Health {
        match route {
            Route::Rest => &self.0.rest_health,
            Route::Socket => self.0.socket.health(),
        }
    }

    /// Asks something, by the preferred route unless that looks worse than the other, and by the other as well where it
    /// fails or no answer comes soon; the first answer counts. The caller has taken the call's cost from the budget.
    pub(super) async fn query<T>(
        &self,
        call: &Call<T>,
        preferred: Route,
        lane: Lane,
    ) -> Result<T, VenueError> {
        self.either(call, None, preferred, lane).await
    }

    /// Cancels an order likewise, over the socket first. Where the venue refuses its stamp the time is learned, so that
    /// it can be stamped anew.
    pub(super) async fn cancel(
        &self,
        call: &Call<OrderReport>,
        at: Timestamp,
    ) -> Result<OrderReport, VenueError> {
        self.either(call, Some(at), Route::Socket, Lane::Exit).await
    }

    /// Makes a call that may be made twice, stamped with `at` or with the time at which it leaves.
    async fn either<T>(
        &self,
        call: &Call<T>,
        at: Option<Timestamp>,
        preferred: Route,
        lane: Lane,
    ) -> Result<T, VenueError> {
        let is_worse = self.health(preferred).is_suspect() && !self.health(preferred.other()).is_suspect();
        let first = if is_worse { preferred.other() } else { preferred };
        let mut one = pin!(self.bounded(first, call, at));
        let failed = match timeout(OTHER_ROUTE_AFTER, one.as_mut()).await {
            Ok(result) if is_answer(&result) => return result,
            Ok(result) => Some(result),
            Err(_) => None,
        };
        if self.budget().ask(call.cost(), lane).is_err() {
            return match failed {
                Some(result) => result,
                None => one.await,
            };
        }
        let mut two = pin!(self.bounded(first.other(), call, at));
        match failed {
            Some(failed) => better(failed, two.await),
            None => tokio::select! {
                result = one.as_mut() => {
                    if is_answer(&result) { result } else { better(result, two.await) }
                }
                result = two.as_mut() => {
                    if is_answer(&result) { result } else { better(result, one.await) }
                }
            },
        }
    }

    /// Places an order over a route; it is on its way once this returns. Where the venue refuses its time that is
    /// learned first, so that the order can be stamped anew.
    pub(super) fn place(
        &self,
        route: Route,
        body: &str,
        at: Timestamp,
    ) -> impl Future<Output = Result<OrderReport, VenueError>> + use<> {
        let stamped_at = Instant::now();
        let (client, answer) = (self.clone(), self.once(route, Call::place(body), at));
        async move {
            let result = answer.await;
            if matches!(result, Err(VenueError::Clock { .. })) {
                client.relearn(route, stamped_at).await;
            }
            result
        }
    }

    /// Asks for the venue's time over one route, and learns it; whether it answered.
    pub(super) async fn probe(&self, route: Route) -> bool {
        self.learn(route, PROOF_WITHIN).await.is_ok()
    }

    /// Learns the venue's time over whichever route tells it.
    pub(super) async fn learn_time(&self) {
        let by = if self.health(Route::Rest).is_suspect() { Route::Socket } else { Route::Rest };
        self.relearn(by, Instant::now()).await;
    }

    async fn bounded<T>(&self, route: Route, call: &Call<T>, at: Option<Timestamp>) -> Result<T, VenueError> {
        let late = || Err(call.unanswered("binance did not answer in time".to_owned()));
        timeout(ANSWER_WITHIN, self.over(route, call, at)).await.unwrap_or_else(|_| late())
    }

    /// Makes a call over one route. Where the venue refuses its time that is learned; what has no stamp of its caller's
    /// is then asked once more.
    async fn over<T>(&self, route: Route, call: &Call<T>, at: Option<Timestamp>) -> Result<T, VenueError> {
        let stamped_at = Instant::now();
        let result = self.once(route, call.clone(), at.unwrap_or_else(|| self.clock().now())).await;
        if !matches!(result, Err(VenueError::Clock { .. })) {
            return result;
        }
        self.relearn(route, stamped_at).await;
        if at.is_some() {
            return result;
        }
        self.once(route, call.clone(), self.clock().now()).await
    }

    fn once<T>(
        &self,
        route: Route,
        call: Call<T>,
        at: Timestamp,
    ) -> impl Future<Output = Result<T, VenueError>> + use<T> {
        let (client, called_at) = (self.clone(), Instant::now());
        let over_socket = (route == Route::Socket).then(|| self.socket().call(call.clone(), at));
        if route == Route::Rest {
            self.health(route).call();
        }
        async move {
            match over_socket {
                Some(answer) => answer.await,
                None => {
                    let result = client.rest().call(&call, at).await;
                    client.health(route).judge(called_at, &result);
                    result
                }
            }
        }
    }

    /// Learns the venue's time after it refused what was stamped at this moment: over the route by which it said so,
    /// else over the other. Of several refused at once only the first asks.
    async fn relearn(&self, route: Route, stamped_at: Instant) {
        let _alone = self.0.relearning.lock().await;
        if self.clock().has_learned_since(stamped_at) {
            return;
        }
        for route in [route, route.other()] {
            match self.learn(route, TIME_WITHIN).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(?route, %error, "the venue does not tell its time"),
            }
        }
    }

    async fn learn(&self, route: Route, within: Duration) -> Result<(), VenueError> {
        let (call, asked_at) = (Call::time(), Instant::now());
        let late = || Err(call.unanswered("binance did not answer in time".to_owned()));
        let answer = timeout(within, self.once(route, call.clone(), Timestamp::default())).await;
        let told = answer.unwrap_or_else(|_| late())?;
        self.clock().learn(told, asked_at, Instant::now());
        Ok(())
    }
}

/// Of two failures the one that tells more: what may have been done is unknown by either route.
fn better<T>(first: Result<T, VenueError>, second: Result<T, VenueError>) -> Result<T, VenueError> {
    match (&first, &second) {
        (Err(VenueError::Unknown { .. }), Err(VenueError::Retry { .. })) => first,
        _ => second,
    }
}

#[cfg(test)]
mod tests {
    use connectors::binance::trade::{
        Credential, ExecutionsFrom, OrderRequest, OrdersFrom, RequestKind, TimeInForce,
    };
    use model::{ClientOrderId, Pair, Side};
    use serde_json::json;
    use venue::Config;

    use super::*;

    async fn stage() -> (venue::Venue, VenueClient) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (key, secret) = ("public-key".to_owned(), "hidden".to_owned());
        let credentials = vec![venue::Credential { key: key.clone(), secret: secret.clone() }];
        let venue = venue::start(Config { credentials, control: true, ..Config::default() }).await.unwrap();
        let url = format!("http://{}", venue.address());
        let rest = TradeRest::new(&url, &Credential::new(key, secret).unwrap()).unwrap();
        (venue, VenueClient::new(rest, Line::new().0, VenueClock::default()))
    }

    async fn set_ahead(venue: &venue::Venue, ms: i64) {
        let url = format!("http://{}/venue/clock", venue.address());
        let body = json!({"ahead_ms": ms}).to_string();
        assert!(reqwest::Client::new().post(url).body(body).send().await.unwrap().status().is_success());
    }

    #[actix_rt::test]
    async fn every_call_that_is_refused_for_its_time_is_made_again_with_the_venues() {
        let (venue, client) = stage().await;
        let pair: Pair = "BTC/USDT".parse().unwrap();
        let (client_order_id, since) = (ClientOrderId::new(), client.clock().now());
        let kind = RequestKind::Limit { price: "50000".parse().unwrap(), tif: TimeInForce::Gtc };
        let qty = "0.001".parse().unwrap();
        let order = OrderRequest { pair: pair.clone(), client_order_id, side: Side::Buy, qty, kind };
        // An order is not repeated here; its time is learned, and who stamps it stamps it again.
        set_ahead(&venue, 10_000).await;
        let refused = client.place(Route::Rest, &order.body(), client.clock().now()).await;
        assert!(matches!(refused, Err(VenueError::Clock { .. })), "{refused:?}");
        client.place(Route::Rest, &order.body(), client.clock().now()).await.unwrap();

        let mut ahead_ms = 10_000;
        let mut step = async || {
            ahead_ms = -ahead_ms;
            set_ahead(&venue, ahead_ms).await;
        };
        let rest = Route::Rest;
        step().await;
        assert!(
            client.query(&Call::order(&pair, client_order_id), rest, Lane::Exit).await.unwrap().is_some()
        );
        step().await;
        assert_eq!(client.query(&Call::open_orders(Some(&pair)), rest, Lane::Exit).await.unwrap().len(), 1);
        step().await;
        let orders = Call::orders_since(&pair, OrdersFrom::Id(1));
        assert_eq!(client.query(&orders, rest, Lane::Exit).await.unwrap().len(), 1);
        step().await;
        let executions = Call::executions(&pair, ExecutionsFrom::Since(since));
        assert_eq!(client.query(&executions, rest, Lane::Exit).await.unwrap(), []);
        step().await;
        assert!(client.query(&Call::account(), rest, Lane::Exit).await.unwrap().can_trade);
        step().await;
        let cancel = Call::cancel(&pair, client_order_id);
        let refused = client.cancel(&cancel, client.clock().now()).await;
        assert!(matches!(refused, Err(VenueError::Clock { .. })), "{refused:?}");
        client.cancel(&cancel, client.clock().now()).await.unwrap();
        venue.stop().await;
    }

    #[actix_rt::test]
    async fn what_is_refused_at_once_asks_for_the_time_once() {
        let (venue, client) = stage().await;
        set_ahead(&venue, 10_000).await;
        let (pair, stamped_at): (Pair, _) = ("BTC/USDT".parse().unwrap(), Instant::now());
        let call = Call::open_orders(Some(&pair));
        let both = tokio::join!(client.over(Route::Rest, &call, None), client.over(Route::Rest, &call, None));
        assert_eq!((both.0.unwrap().len(), both.1.unwrap().len()), (0, 0));
        let learned = client.clock().now();
        // The venue's clock goes on by itself: what was stamped before that was learned is refused no more.
        client.relearn(Route::Rest, stamped_at).await;
        let ahead_ns = client.clock().now().since(learned);
        assert!((0..1_000_000_000).contains(&ahead_ns), "{ahead_ns}");
        venue.stop().await;
    }
}
