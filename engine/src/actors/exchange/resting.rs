//! Orders that rest: whether they still do is looked up all of a pair at once, often while the account's stream does not
//! tell, and now and then while it does. What does not rest as it did is asked for by its id.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Call, Cost, Lane, OrderReport};
use model::{ClientOrderId, Pair, Qty};

use super::route::Route;
use super::{ExchangeConnection, deliver};

/// How often while the stream does not tell: its owner is to know within ten seconds who cancelled a stop by hand.
const UNTOLD_WAIT: Duration = Duration::from_secs(4);

/// How often while it does.
const TOLD_WAIT: Duration = Duration::from_mins(1);

/// From how many pairs on one question for all of them costs less than one for each.
const MANY_PAIRS: usize = (Cost::ALL_OPEN_ORDERS.weight / Cost::OPEN_ORDERS.weight + 1) as usize;

/// Orders that rested, and how much of each had executed.
type Rested = Vec<(ClientOrderId, Qty)>;

/// What the venue says is open.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Looked {
    at: Instant,
    /// What had rested by then as far as was known.
    rested: Rested,
    result: Result<Vec<OrderReport>, VenueError>,
}

impl ExchangeConnection {
    /// Looks after what rests if it is time.
    pub(super) fn look_after_resting(&mut self, me: &Addr<Self>) {
        let (wait, lane) =
            if self.is_told() { (TOLD_WAIT, Lane::Spare) } else { (UNTOLD_WAIT, Lane::Normal) };
        let at = Instant::now();
        if at < self.looked_at + wait {
            return;
        }
        self.looked_at = at;
        for (pair, rested) in self.rested() {
            let call = Call::open_orders(pair.as_ref());
            if self.budget().ask(call.cost(), lane).is_err() {
                return;
            }
            let (client, me) = (self.client.clone(), me.clone());
            actix_rt::spawn(async move {
                let result = client.query(&call, Route::Rest, lane).await;
                deliver(&me, Looked { at, rested, result });
            });
        }
    }

    /// What rests as far as is known, by what is asked for at once: a pair, or all.
    fn rested(&self) -> Vec<(Option<Pair>, Rested)> {
        let mut rested: HashMap<Pair, Rested> = HashMap::new();
        for (id, order) in self.orders.iter().filter(|(id, order)| order.rests() && !self.unsent.contains(id))
        {
            rested.entry(order.pair.clone()).or_default().push((*id, order.executed));
        }
        if rested.len() < MANY_PAIRS {
            return rested.into_iter().map(|(pair, rested)| (Some(pair), rested)).collect();
        }
        vec![(None, rested.into_values().flatten().collect())]
    }
}

impl Handler<Looked> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Looked { at, rested, result }: Looked, ctx: &mut Context<Self>) {
        let open = match result {
            Ok(open) => {
                self.unlock();
                open
            }
            Err(VenueError::Auth { message, .. }) => return self.lock(&message),
            Err(error) => {
                tracing::debug!(connection = %self.id, %error, "what rests could not be looked up");
                return;
            }
        };
        let open: HashMap<ClientOrderId, Qty> = open
            .iter()
            .filter_map(|order| Some((order.client_order_id.parse().ok()?, order.executed_qty)))
            .collect();
        for (id, executed) in rested {
            let Some(order) = self.orders.get_mut(&id).filter(|order| !order.is_settled()) else { continue };
            if open.get(&id) == Some(&executed) && !order.lacks_executions() {
                order.found_at = Some(at);
            } else {
                order.ask_after(Duration::ZERO);
            }
        }
        self.ask_due(&ctx.address());
    }
}
