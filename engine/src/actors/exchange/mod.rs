//! An exchange connection: one stored credential, its orders on their way, and what becomes of them.
//!
//! An order comes here only once it is durable. Its outcome is then known, refused or unknown. What is unknown is
//! asked for by its id until it is found, or until its absence is proven; it is never sent again.

mod asking;
mod balance;
mod late;
mod missed;
mod socket;
mod tracked;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext as _, Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{
    Cost, Credential, FilterFault, Lane, OpenOrders, OrderReport, TradeRest, TradeStreamConfig,
};
use model::{AccountId, BotId, ClientOrderId, ExchangeId, Pair, Qty, Receipt, Timestamp, TradeId};
use strategies::live::{End, LiveOrder, Report, Role};

use super::bot::Bot;
use super::deliver;
use crate::clock;
use crate::failpoint::{self, Control};
use crate::live::sent::SentLog;
use crate::live::{self, Intent};
use crate::markets::{Markets, Verdict};
use crate::meters::{Meters, Share, UnderWay};
use crate::portfolio::KnownBalances;

pub(crate) use balance::{Holds, Missing};
pub(crate) use late::{Journal, LateFill, Unclaimed};
use tracked::{Tracked, left_by};

/// How often what is due is looked for.
const TURN: Duration = Duration::from_millis(50);

/// How long an entry may wait to be sent; the price it was decided at is gone by then.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// How long an order waits at most for the venue's average price where one of its rules hangs on that.
const AVERAGE_WITHIN: Duration = Duration::from_millis(500);

/// How soon a cancel that the venue's limits did not allow is tried again: by asking for its order.
const TAKE_BACK_AGAIN: Duration = Duration::from_millis(200);

/// How long a settled order is still known, so that what is told of it again is no news.
const KNOWN_FOR: Duration = Duration::from_mins(10);

/// How long it may be unknown whether the venue has an order that sells, until its bot is told.
const DOUBT_FOR: Duration = Duration::from_secs(3);

/// How long an order that guards or sells may go without an answer until it is asked for. Queries for it are few, and
/// go by the reserved lane.
const SELLS_ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// How long a refused order waits before it is sent again where the venue does not say.
const RESEND_AFTER: Duration = Duration::from_millis(500);

/// What a connection is made of.
pub(crate) struct ConnectionParts {
    pub(crate) id: ExchangeId,
    pub(crate) rest: TradeRest,
    pub(crate) stream: TradeStreamConfig,
    pub(crate) credential: Credential,
    /// How long after an order was decided its absence at the venue can be proven.
    pub(crate) absent_after: Duration,
    pub(crate) sent: Arc<SentLog>,
    /// The rules that its orders are held to.
    pub(crate) markets: Arc<Markets>,
    pub(crate) meters: Arc<Meters>,
    /// Where what the account holds is told to whoever asks.
    pub(crate) known: Arc<KnownBalances>,
    /// Where orders are looked up that it does not have.
    pub(crate) journal: Journal,
    /// How many bots have not heard yet what became of the orders that they had before the process began.
    pub(crate) unreconciled: Arc<AtomicUsize>,
}

/// A bot that trades over this connection from now on, with its orders whose end it does not know.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Attach {
    pub(crate) id: BotId,
    pub(crate) bot: Addr<Bot>,
    pub(crate) pair: Pair,
    pub(crate) orders: Vec<(LiveOrder, Receipt)>,
    pub(crate) held: Qty,
    /// The trade that it is in, and whose.
    pub(crate) trade: Option<(AccountId, TradeId)>,
}

/// Every order of a bot has been asked for: it may go on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakenUp;

/// What the venue says of an order, and the times it took.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Reported {
    pub(crate) report: Report,
    pub(crate) receipt: Receipt,
}

/// Whether the venue has an order that sells has been unknown for a while: nothing else is sold until it is.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct InDoubt {
    pub(crate) client_id: ClientOrderId,
    pub(crate) role: Role,
}

/// The venue does not accept the key any more: nothing can be sent or asked over this connection.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Locked(pub(crate) String);

/// An order has become durable: it is sent.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Journaled(pub(crate) Box<Intent>);

/// An order is to be taken back.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakeBack(pub(crate) ClientOrderId);

/// The venue is to be asked for an order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct AskFor(pub(crate) ClientOrderId);

/// A bot trades over this connection no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Detach(pub(crate) BotId);

/// The connection is to end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// What became of a request to place an order or to take one back.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Answered {
    client_id: ClientOrderId,
    is_cancel: bool,
    result: Result<Box<OrderReport>, VenueError>,
}

/// A bot that trades here.
struct Attached {
    bot: Addr<Bot>,
    pair: Pair,
    held: Qty,
    /// It has been told of what the books had and it had not.
    has_read_books: bool,
    is_taken_up: bool,
}

/// The venue's clock, as far from ours as it was last seen to be; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct VenueClock(Arc<AtomicI64>);

impl VenueClock {
    /// The venue's time now.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_nanos(clock::now().nanos().saturating_add(self.0.load(Ordering::Relaxed)))
    }

    /// The venue said that it is this late, somewhere between two moments of ours.
    fn learn(&self, told: Timestamp, asked_at: Timestamp, heard_at: Timestamp) {
        let between = asked_at.nanos() + heard_at.since(asked_at) / 2;
        self.0.store(told.nanos().saturating_sub(between), Ordering::Relaxed);
    }
}

/// The actor.
pub(crate) struct ExchangeConnection {
    id: ExchangeId,
    rest: TradeRest,
    stream: TradeStreamConfig,
    credential: Option<Credential>,
    absent_after: Duration,
    sent: Arc<SentLog>,
    markets: Arc<Markets>,
    clock: VenueClock,
    socket: Option<socket::Line>,
    is_up: bool,
    /// Its bots were told that the venue does not accept the key.
    is_locked: bool,
    orders: HashMap<ClientOrderId, Tracked>,
    /// Orders that wait to be sent, exits first.
    unsent: VecDeque<ClientOrderId>,
    /// Orders that were taken back before they came here, and when.
    taken_back: HashMap<ClientOrderId, Instant>,
    bots: HashMap<BotId, Attached>,
    balances: balance::Balances,
    known: Arc<KnownBalances>,
    share: Share,
    journal: Journal,
    looked_up: late::LookedUp,
    missed: missed::Missed,
    unreconciled: Arc<AtomicUsize>,
}

impl ExchangeConnection {
    /// A connection that opens its socket once it is started.
    pub(crate) fn new(parts: ConnectionParts) -> Self {
        Self {
            id: parts.id,
            rest: parts.rest,
            stream: parts.stream,
            credential: Some(parts.credential),
            absent_after: parts.absent_after,
            sent: parts.sent,
            markets: parts.markets,
            clock: VenueClock::default(),
            socket: None,
            is_up: false,
            is_locked: false,
            orders: HashMap::new(),
            unsent: VecDeque::new(),
            taken_back: HashMap::new(),
            bots: HashMap::new(),
            balances: balance::Balances::default(),
            known: parts.known,
            share: Share::of(parts.meters),
            journal: parts.journal,
            looked_up: late::LookedUp::default(),
            missed: missed::Missed::new(),
            unreconciled: parts.unreconciled,
        }
    }

    /// What watchers are told.
    fn under_way(&self) -> UnderWay {
        let is_unknown = |order: &&Tracked| {
            let Receipt { sent_at, acknowledged_at, .. } = order.receipt;
            !order.is_settled() && (!order.is_accounted || (sent_at.is_some() && acknowledged_at.is_none()))
        };
        let unknown = self.orders.values().filter(is_unknown).count();
        UnderWay { waiting: self.unsent.len(), unknown, is_up: self.is_up }
    }

    /// Tells an order's bot what the venue says of it.
    fn report(&mut self, report: Report) {
        let Some(order) = self.orders.get_mut(&report.client_id) else { return };
        let was_settled = order.is_settled();
        let is_news = order.hear(&report);
        if let (false, true, Some(end)) = (was_settled, order.is_settled(), &order.ended) {
            // What left before this process began took its time with the process's own absence in it.
            let receipt = order.order.is_some().then_some(&order.receipt);
            self.share.meters().count_order(order.role, end, receipt);
        }
        if order.end && order.lacks_executions() {
            order.ask_after(Duration::ZERO);
        } else if order.end {
            order.ask_at = None;
        }
        let (bot, receipt) = (order.bot, order.receipt);
        // The venue tells everything at least twice: in its answer and on its stream.
        if let Some(attached) = self.bots.get(&bot).filter(|_| is_news) {
            deliver(&attached.bot, Reported { report, receipt });
        }
    }

    /// The venue does not accept the key: its bots are told once, until it does again.
    fn lock(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_locked, true) {
            tracing::error!(connection = %self.id, why, "the venue does not accept an exchange connection's key");
            for attached in self.bots.values() {
                deliver(&attached.bot, Locked(why.to_owned()));
            }
        }
    }

    /// An order has ended without the venue.
    fn end(&mut self, client_id: ClientOrderId, end: End) {
        self.report(live::ended(client_id, end));
    }

    /// Sends what waits, as far as the venue's limits allow; exits go first.
    fn send_waiting(&mut self, me: &Addr<Self>) {
        let now = Instant::now();
        for lane in [Lane::Exit, Lane::Normal] {
            let ready: Vec<ClientOrderId> = self
                .unsent
                .iter()
                .filter(|id| {
                    self.orders.get(id).is_some_and(|order| {
                        live::lane(order.role) == lane && order.send_at.is_none_or(|at| at <= now)
                    })
                })
                .copied()
                .collect();
            for id in ready {
                match self.check(id) {
                    Ok(Verdict::Passes) => {}
                    Ok(Verdict::Hangs) => continue,
                    Err(fault) => {
                        self.unsent.retain(|waiting| *waiting != id);
                        self.end(id, End::Rejected(format!("FILTER: {fault}").into()));
                        continue;
                    }
                }
                if self.rest.budget().ask(Cost::place(self.rest.account_tag()), lane).is_err() {
                    break;
                }
                self.unsent.retain(|waiting| *waiting != id);
                self.send(id, me);
            }
        }
        self.drop_stale();
    }

    /// Whether the venue's own rules would let an order pass.
    fn check(&self, id: ClientOrderId) -> Result<Verdict, FilterFault> {
        let Some(tracked) = self.orders.get(&id) else { return Ok(Verdict::Passes) };
        let Some((request, _)) = &tracked.order else { return Ok(Verdict::Passes) };
        // Only a stop adds to what rests; everything else is worked at once or not at all.
        let open = if request.kind.is_stop() { self.resting(&request.pair) } else { OpenOrders::default() };
        let waited = clock::now().since(tracked.receipt.journaled_at.unwrap_or(Timestamp::MIN));
        let cannot_wait = u128::try_from(waited).is_ok_and(|waited| waited > AVERAGE_WITHIN.as_nanos());
        self.markets.check(request, open, cannot_wait)
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

    fn send(&mut self, id: ClientOrderId, me: &Addr<Self>) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let Some((_, body)) = order.order.clone() else { return };
        self.sent.note(id);
        failpoint::pass("noted");
        let now = clock::now();
        (order.receipt.sent_at, order.left_by) = (Some(now), now);
        // Should no answer come by whatever way, it is asked for: of what guards or sells, as soon as one is late.
        order.ask_after(if order.role.is_entry() {
            self.stream.answer_within
        } else {
            SELLS_ANSWERED_WITHIN
        });
        failpoint::pass_soon("sent");
        let shared_with = pipelined(order.role);
        if let (true, Some(socket)) = (self.is_up, &self.socket)
            && socket.unanswered() <= shared_with
            && socket.send(socket::Ask::Place { id, body: body.clone() })
        {
            return;
        }
        let (rest, at, me) = (self.rest.clone(), self.clock.now(), me.clone());
        actix_rt::spawn(async move {
            let result = rest.place(&body, at).await.map(Box::new);
            deliver(&me, Answered { client_id: id, is_cancel: false, result });
        });
    }

    /// Lets go of what nothing more is heard of.
    fn forget(&mut self) {
        self.orders.retain(|_, order| order.settled_at.is_none_or(|at| at.elapsed() < KNOWN_FOR));
        self.taken_back.retain(|_, at| at.elapsed() < KNOWN_FOR);
    }

    /// Gives up entries that waited too long: they never left.
    fn drop_stale(&mut self) {
        let now = clock::now();
        let is_stale = |order: &Tracked| {
            order.role.is_entry()
                && u128::try_from(now.since(order.since)).is_ok_and(|age| age > STALE_AFTER.as_nanos())
        };
        let stale: Vec<ClientOrderId> =
            self.unsent.iter().filter(|id| self.orders.get(id).is_some_and(is_stale)).copied().collect();
        for id in stale {
            self.unsent.retain(|waiting| *waiting != id);
            // No refusal of the venue: the next tick may be luckier.
            self.end(id, End::Expired);
        }
    }

    fn take_back(&mut self, id: ClientOrderId, me: &Addr<Self>) {
        let Some(order) = self.orders.get_mut(&id) else {
            self.taken_back.insert(id, Instant::now());
            return;
        };
        order.wants_cancel = true;
        if order.end || order.is_canceling {
            return;
        }
        if self.unsent.contains(&id) {
            self.unsent.retain(|waiting| *waiting != id);
            self.end(id, End::Canceled);
            return;
        }
        if self.rest.budget().ask(Cost::CANCEL, Lane::Exit).is_err() {
            order.ask_after(TAKE_BACK_AGAIN);
            return;
        }
        order.is_canceling = true;
        failpoint::pass_soon("canceling");
        let pair = order.pair.clone();
        if let (true, Some(socket)) = (self.is_up, &self.socket)
            && socket.send(socket::Ask::Cancel { id, pair: pair.clone() })
        {
            return;
        }
        let (rest, at, me) = (self.rest.clone(), self.clock.now(), me.clone());
        actix_rt::spawn(async move {
            let result = rest.cancel(&pair, id, at).await.map(Box::new);
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
                self.end(id, End::Rejected(message.into()));
            }
            VenueError::Auth { message, .. } => {
                self.lock(&message);
                self.end(id, End::Rejected(message.into()));
            }
            VenueError::Retry { .. } | VenueError::Clock { .. } => {
                let after = if let VenueError::Retry { after, .. } = error { after } else { None };
                order.ask_at = None;
                order.send_at = Some(Instant::now() + after.unwrap_or(RESEND_AFTER));
                if !self.unsent.contains(&id) {
                    self.unsent.push_back(id);
                }
            }
        }
    }

    fn not_canceled(&mut self, id: ClientOrderId, error: &VenueError) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let wait = match error {
            VenueError::Retry { after, .. } => after.unwrap_or(RESEND_AFTER),
            VenueError::Clock { .. } => RESEND_AFTER,
            VenueError::Rejected { .. } | VenueError::Unknown { .. } | VenueError::Auth { .. } => {
                Duration::ZERO
            }
        };
        // Whether it is still open decides whether it is taken back again.
        order.ask_after(wait);
    }
}

/// With how many unanswered requests an order may share the socket; else it leaves by REST, over a connection of its
/// own. Should the socket break, all that shares it is in doubt at once, and what the venue had not read yet stays so
/// until its absence is proven. What guards or sells shares it with nothing.
const fn pipelined(role: Role) -> usize {
    if role.is_entry() { 4 } else { 0 }
}

/// The venue's words for an id that one of its open orders has.
const DUPLICATE: &str = "Duplicate order";

/// The venue's code for an order that breaks one of its rules.
const FILTER_FAILURE: i64 = -1013;

impl Actor for ExchangeConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1_024);
        if let Some(credential) = self.credential.take() {
            let me = ctx.address();
            self.socket =
                Some(socket::open(self.stream.clone(), &credential, self.rest.budget(), &self.clock, me));
        }
        asking::learn_time(&self.rest, &self.clock);
        ctx.run_interval(TURN, |connection, ctx| {
            let me = ctx.address();
            connection.send_waiting(&me);
            connection.forget();
            connection.ask_due(&me);
            connection.check_balances(&me);
            connection.search_missed(&me);
            connection.share.tell(connection.under_way());
        });
    }
}

impl Handler<Attach> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        let mut unsent = Vec::new();
        for (order, receipt) in attach.orders {
            if self.sent.is_unsent(order.client_id) {
                unsent.push(order.client_id);
            }
            let since = receipt.decided_at.unwrap_or_else(clock::now);
            let mut tracked = Tracked::new(attach.id, attach.pair.clone(), order.role, since, receipt);
            tracked.left_by = left_by(
                order.role,
                since,
                receipt.sent_at.or(self.sent.left_at(order.client_id)),
                clock::now(),
            );
            if failpoint::control() == Some(Control::BlindResend) {
                let request = live::request(&attach.pair, &order);
                let body = request.body();
                tracked.order = Some((request, body));
                self.unsent.push_back(order.client_id);
            }
            tracked.is_accounted = failpoint::control() == Some(Control::BlindResend);
            tracked.ask_after(Duration::ZERO);
            self.orders.insert(order.client_id, tracked);
        }
        let attached = Attached {
            bot: attach.bot,
            pair: attach.pair,
            held: attach.held,
            has_read_books: attach.trade.is_none(),
            is_taken_up: false,
        };
        if let Some((account, trade)) = attach.trade {
            self.read_books(account, attach.id, trade, &ctx.address());
        }
        self.bots.insert(attach.id, attached);
        for id in unsent {
            if let Some(order) = self.orders.get_mut(&id) {
                order.is_accounted = true;
            }
            // Should it be on its way here, it stays.
            self.taken_back.insert(id, Instant::now());
            self.end(id, End::NeverArrived);
        }
        self.ask_due(&ctx.address());
        self.let_accounted_go();
    }
}

impl Handler<Detach> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Detach(id): Detach, _: &mut Self::Context) {
        self.bots.remove(&id);
        self.orders.retain(|_, order| order.bot != id);
        self.unsent.retain(|order| self.orders.contains_key(order));
    }
}

impl Handler<Close> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        self.socket = None;
        ctx.stop();
    }
}

impl Handler<Journaled> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Journaled(intent): Journaled, ctx: &mut Self::Context) {
        failpoint::pass("journaled");
        let Intent { bot_id, request, role, body, mut receipt, .. } = *intent;
        let (client_id, pair) = (request.client_order_id, request.pair.clone());
        if !self.bots.contains_key(&bot_id) {
            // Its bot has gone meanwhile. When it comes again it hears that this order was never sent.
            tracing::warn!(connection = %self.id, order = %client_id, "an order is not sent: its bot is gone");
            return;
        }
        let now = clock::now();
        receipt.journaled_at = Some(now);
        self.missed.trade(&pair);
        let since = receipt.decided_at.unwrap_or(now);
        let mut order = Tracked::new(bot_id, pair, role, since, receipt);
        order.order = Some((request, body));
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

    fn handle(&mut self, TakeBack(id): TakeBack, ctx: &mut Self::Context) {
        self.take_back(id, &ctx.address());
    }
}

impl Handler<AskFor> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, AskFor(id): AskFor, ctx: &mut Self::Context) {
        if let Some(order) = self.orders.get_mut(&id) {
            order.ask_after(Duration::ZERO);
        }
        self.ask_due(&ctx.address());
    }
}

impl Handler<Answered> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, answered: Answered, ctx: &mut Self::Context) {
        let Answered { client_id: id, is_cancel, result } = answered;
        if let Some(order) = self.orders.get_mut(&id)
            && is_cancel
        {
            order.is_canceling = false;
        }
        match result {
            Ok(told) => {
                failpoint::pass(if is_cancel { "canceled" } else { "answered" });
                self.is_locked = false;
                let Some(order) = self.orders.get_mut(&id) else { return };
                order.venue_id = Some(told.venue_order_id);
                order.ask_at = None;
                let executions = told.fills.iter().map(|fill| live::execution(fill, &order.pair)).collect();
                // The answer to a cancel names the cancel; whose it is was known before.
                if let Some(report) = live::report(&told, executions) {
                    self.report(Report { client_id: id, ..report });
                }
            }
            Err(error) if is_cancel => self.not_canceled(id, &error),
            Err(error) => {
                if matches!(error, VenueError::Clock { .. }) {
                    asking::learn_time(&self.rest, &self.clock);
                }
                self.not_placed(id, error);
            }
        }
        self.ask_due(&ctx.address());
    }
}
