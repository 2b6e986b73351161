//! How an order leaves and is taken back: as far as the venue's limits allow, what ends a risk first.

use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Call, Cost, FilterFault, Lane, OpenOrders, OrderReport};
use model::{ClientOrderId, Pair, Timestamp};
use strategies::live::{End, Report, Role};

use super::route::{ANSWERED_WITHIN, Route};
use super::tracked::Tracked;
use super::{ExchangeConnection, deliver, stamping};
use crate::clock;
use crate::failpoint::{self, Control};
use crate::live::{self, Intent, OrderStamp};
use crate::markets::Verdict;

/// How long an order waits at most for the venue's average price where one of its rules hangs on that.
const AVERAGE_WITHIN: Duration = Duration::from_millis(500);

/// How soon a cancel that the venue's limits did not allow is tried again: by asking for its order.
const TAKE_BACK_AGAIN: Duration = Duration::from_millis(200);

/// How long what was refused for now waits until it is tried again, where the venue does not say and nothing else is known.
pub(super) const RESEND_AFTER: Duration = Duration::from_millis(500);

/// The venue's words for an id that one of its open orders has.
const DUPLICATE: &str = "Duplicate order";

/// Its words for an order of coins that are not there, or not free.
const INSUFFICIENT: &str = "insufficient balance";

/// The venue's code for an order that breaks one of its rules.
const FILTER_FAILURE: i64 = -1013;

/// An order has become durable: it is sent.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Journaled(pub(crate) Box<Intent>);

/// An order is to be taken back.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakeBack(pub(crate) OrderStamp);

/// What became of a request to place an order or to take one back.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Answered {
    pub(super) client_id: ClientOrderId,
    pub(super) is_cancel: bool,
    pub(super) result: Result<Box<OrderReport>, VenueError>,
}

impl ExchangeConnection {
    /// Sends what waits, as far as the venue's limits allow; exits go first.
    pub(super) fn send_waiting(&mut self, me: &Addr<Self>) {
        let now = Instant::now();
        self.withdraw_outdated();
        for lane in [Lane::Exit, Lane::Normal] {
            let ready: Vec<ClientOrderId> = self
                .unsent
                .iter()
                .filter(|id| {
                    self.orders.get(id).is_some_and(|order| {
                        live::lane(order.role) == lane
                            && !order.is_restamping
                            && order.send_at.is_none_or(|at| at <= now)
                    })
                })
                .copied()
                .collect();
            for id in ready {
                match self.check(id) {
                    Ok(Verdict::Passes) => {}
                    Ok(Verdict::Hangs) => continue,
                    Err(fault) => {
                        self.withdraw(id, End::Rejected(format!("FILTER: {fault}").into()));
                        continue;
                    }
                }
                let Some(order) = self.orders.get(&id) else { continue };
                let (role, decided) = (order.role, order.decided);
                let Some(route) = self.route_for(role, decided, me) else { break };
                if !self.admit(id, lane) {
                    break;
                }
                if let Some(at) = self.fresh_stamp(id) {
                    self.unsent.retain(|waiting| *waiting != id);
                    self.send(id, at, route, me);
                } else {
                    self.restamp(id);
                }
            }
        }
    }

    /// Whether the venue's limits have room for an order, which is taken once.
    fn admit(&mut self, id: ClientOrderId, lane: Lane) -> bool {
        let Some(order) = self.orders.get_mut(&id) else { return true };
        let cost = Cost::place(self.client.rest().account_tag());
        order.is_admitted = order.is_admitted || self.client.budget().ask(cost, lane).is_ok();
        order.is_admitted
    }

    /// Whether the venue's own rules would let an order pass.
    fn check(&self, id: ClientOrderId) -> Result<Verdict, FilterFault> {
        let Some(tracked) = self.orders.get(&id) else { return Ok(Verdict::Passes) };
        let Some((request, _)) = &tracked.order else { return Ok(Verdict::Passes) };
        // Only a stop adds to what rests; everything else is worked at once or not at all.
        let open = if request.kind.is_stop() { self.resting(&request.pair) } else { OpenOrders::default() };
        self.markets.check(request, open, tracked.decided.elapsed() > AVERAGE_WITHIN)
    }

    /// What the account has open of a pair, as far as its bots placed it.
    fn resting(&self, pair: &Pair) -> OpenOrders {
        let is_resting = |(id, order): &(&ClientOrderId, &Tracked)| {
            order.role == Role::Protection
                && !order.end
                && order.pair == *pair
                && (order.receipt.sent_at.is_some() || order.order.is_none())
                && !self.unsent.contains(id)
        };
        let count = self.orders.iter().filter(is_resting).count();
        let stops = u32::try_from(count).unwrap_or(u32::MAX);
        OpenOrders { orders: stops, algo_orders: stops }
    }

    fn send(&mut self, id: ClientOrderId, at: Timestamp, route: Route, me: &Addr<Self>) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let Some((_, body)) = order.order.clone() else { return };
        order.is_admitted = false;
        self.sent.note(id);
        failpoint::pass("noted");
        let now = clock::now();
        order.receipt.sent_at = Some(now);
        order.left(Duration::ZERO);
        // Should no answer come by whatever way, it is asked for: of what guards or sells, as soon as one is late.
        order.ask_after(if order.role.is_entry() { self.stream.answer_within } else { ANSWERED_WITHIN });
        failpoint::pass_soon("sent");
        let (answer, me) = (self.client.place(route, &body, at), me.clone());
        actix_rt::spawn(async move {
            let result = answer.await.map(Box::new);
            deliver(&me, Answered { client_id: id, is_cancel: false, result });
        });
    }

    pub(super) fn take_back(&mut self, OrderStamp { client_id: id, at, .. }: OrderStamp, me: &Addr<Self>) {
        let Some(order) = self.orders.get_mut(&id) else {
            self.taken_back.insert(id, Instant::now());
            return;
        };
        order.wants_cancel = true;
        if order.end || order.is_canceling() {
            return;
        }
        if self.unsent.contains(&id) {
            return self.withdraw(id, End::Canceled);
        }
        if let Some(wait) = order.cancels.wait() {
            return order.ask_after(wait);
        }
        if self.client.budget().ask(Cost::CANCEL, Lane::Exit).is_err() {
            order.ask_after(TAKE_BACK_AGAIN);
            return;
        }
        if !stamping::is_fresh(at, self.client.clock().now()) {
            return self.take_back_again(id);
        }
        // Taken back twice is taken back once: should no answer come and it is still open, it is done again.
        order.canceled_at = Some(Instant::now());
        order.cancels.begin();
        order.ask_after(ANSWERED_WITHIN);
        failpoint::pass_soon("canceling");
        let pair = order.pair.clone();
        let (client, me) = (self.client.clone(), me.clone());
        actix_rt::spawn(async move {
            let call = Call::cancel(&pair, id);
            let result = client.cancel(&call, at).await.map(Box::new);
            deliver(&me, Answered { client_id: id, is_cancel: true, result });
        });
    }

    /// An order was not placed, or nobody knows.
    fn not_placed(&mut self, id: ClientOrderId, error: VenueError) {
        tracing::debug!(connection = %self.id, order = %id, %error, "an order was not acknowledged");
        let Some(order) = self.orders.get_mut(&id) else { return };
        match error {
            VenueError::Unknown { .. } if failpoint::control() == Some(Control::BlindResend) => {
                self.unsent.push_back(id);
            }
            VenueError::Unknown { .. } => {
                failpoint::pass("unknown");
                order.ask_after(Duration::ZERO);
            }
            // An open order of that id is ours: it did arrive.
            VenueError::Rejected { message, .. } if message.contains(DUPLICATE) => {
                order.ask_after(Duration::ZERO);
            }
            VenueError::Rejected { code, message } => {
                if code == FILTER_FAILURE {
                    self.markets.refresh_rules(&order.pair);
                }
                if message.contains(INSUFFICIENT) {
                    self.count_now();
                }
                self.end(id, End::Rejected(message.into()));
            }
            VenueError::Auth { message, .. } => {
                self.lock(&message);
                self.end(id, End::Rejected(message.into()));
            }
            // It was taken back while it was on its way, and did not arrive.
            VenueError::Retry { .. } | VenueError::Clock { .. } if order.wants_cancel => {
                self.end(id, End::Canceled);
            }
            VenueError::Retry { .. } | VenueError::Clock { .. } => {
                let after = if let VenueError::Retry { after, .. } = error {
                    order.sends.begin();
                    after.or(order.sends.wait()).unwrap_or_default()
                } else {
                    order.stamped_at = None;
                    order.wait_after_clock_refusal()
                };
                order.ask_at = None;
                order.send_at = Some(Instant::now() + after);
                if !self.unsent.contains(&id) {
                    self.unsent.push_back(id);
                }
            }
        }
    }

    fn not_canceled(&mut self, id: ClientOrderId, error: &VenueError) {
        let Some(order) = self.orders.get_mut(&id).filter(|order| !order.is_settled()) else { return };
        let wait = match error {
            VenueError::Retry { after, .. } => after.unwrap_or(RESEND_AFTER),
            VenueError::Clock { .. } => {
                let wait = order.wait_after_clock_refusal();
                if wait.is_zero() {
                    order.cancels.discount();
                    return self.take_back_again(id);
                }
                wait
            }
            VenueError::Rejected { .. } | VenueError::Unknown { .. } | VenueError::Auth { .. } => {
                Duration::ZERO
            }
        };
        // Whether it is still open decides whether it is taken back again.
        order.ask_after(wait);
    }
}

impl Handler<Journaled> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Journaled(intent): Journaled, ctx: &mut Context<Self>) {
        failpoint::pass("journaled");
        let Intent { bot_id, request, role, body, mut receipt, stamped_at, decided, trigger, .. } = *intent;
        let (client_id, pair) = (request.client_order_id, request.pair.clone());
        if !self.bots.contains_key(&bot_id) {
            // Its bot has gone meanwhile. When it comes again it hears that this order was never sent.
            tracing::warn!(connection = %self.id, order = %client_id, "an order is not sent: its bot is gone");
            return;
        }
        let journaled_at = *receipt.journaled_at.get_or_insert_with(clock::now);
        self.missed.trade(&pair);
        let since = self.client.clock().at_venue(receipt.decided_at.unwrap_or(journaled_at));
        let mut order = Tracked::new(bot_id, pair, role, since, receipt);
        order.order = Some((request, body));
        order.stamped_at = Some(stamped_at);
        (order.decided, order.trigger) = (decided, trigger);
        self.orders.insert(client_id, order);
        if self.taken_back.remove(&client_id).is_some() {
            self.end(client_id, End::Canceled);
            return;
        }
        self.unsent.push_back(client_id);
        self.send_waiting(&ctx.address());
    }
}

impl Handler<TakeBack> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, TakeBack(cancel): TakeBack, ctx: &mut Context<Self>) {
        self.take_back(cancel, &ctx.address());
    }
}

impl Handler<Answered> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, answered: Answered, ctx: &mut Context<Self>) {
        let Answered { client_id: id, is_cancel, result } = answered;
        if let Some(order) = self.orders.get_mut(&id)
            && is_cancel
        {
            order.canceled_at = None;
        }
        match result {
            Ok(told) => {
                failpoint::pass(if is_cancel { "canceled" } else { "answered" });
                self.unlock();
                let Some(order) = self.orders.get_mut(&id) else { return };
                order.venue_id = Some(told.venue_order_id);
                // Only the answer to a cancel says what became of it.
                if is_cancel || !order.wants_cancel {
                    order.ask_at = None;
                }
                let executions = told.fills.iter().map(|fill| live::execution(fill, &order.pair)).collect();
                // The answer to a cancel names the cancel; whose it is was known before.
                if let Some(report) = live::report(&told, executions) {
                    self.report(Report { client_id: id, ..report });
                }
            }
            Err(error) if is_cancel => self.not_canceled(id, &error),
            Err(error) => self.not_placed(id, error),
        }
        // The route is free again, or the order is to leave at once with another time.
        self.send_waiting(&ctx.address());
        self.ask_due(&ctx.address());
    }
}
