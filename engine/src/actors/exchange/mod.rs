//! An exchange connection: one stored credential, its orders on their way, and what becomes of them.
//!
//! An order comes here only once it is durable. Its outcome is then known, refused or unknown. What is unknown is
//! asked for by its id until it is found, or until its absence is proven; it is never sent again.

mod asking;
mod balance;
mod client;
mod late;
mod limited;
mod missed;
mod orders;
mod probing;
mod resting;
mod restored;
mod retry;
mod route;
mod sending;
mod socket;
mod stamping;
mod tracked;
mod venue_clock;
mod withdrawing;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext as _, Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::trade::{Credential, SharedBudget, TradeRest, TradeStreamConfig};
use model::{AccountId, BotId, ClientOrderId, ExchangeId, Pair, Qty, Receipt, TradeId};
use strategies::live::{End, LiveOrder, LostOrder, Report, Role};

use super::bot::Bot;
use super::deliver;
use crate::clock;
use crate::failpoint::{self, Control};
use crate::live;
use crate::live::sent::SentLog;
use crate::markets::Markets;
use crate::meters::{Meters, Share, UnderWay};
use crate::portfolio::KnownBalances;
use crate::start::Unreconciled;

pub(crate) use asking::AskFor;
pub(crate) use balance::{Freed, Holds, Missing};
pub(crate) use late::{Journal, LateFill, Unclaimed};
pub(crate) use limited::Limited;
use orders::Orders;
pub(crate) use probing::Prepare;
pub(crate) use restored::{Ours, Relive, Strays, told_restored};
pub(crate) use sending::{Journaled, TakeBack};
pub(crate) use stamping::Restamped;
use tracked::{Tracked, left_by};
pub(crate) use venue_clock::VenueClock;
pub(crate) use withdrawing::Withdraw;

/// How often what is due is looked for.
const TURN: Duration = Duration::from_millis(50);

/// How long a settled order is still known, so that what is told of it again is no news.
const KNOWN_FOR: Duration = Duration::from_mins(10);

/// How long it may be unknown whether the venue has an order that sells, until its bot is told.
const DOUBT_FOR: Duration = Duration::from_secs(3);

/// What a connection is made of.
pub(crate) struct ConnectionParts {
    pub(crate) id: ExchangeId,
    pub(crate) rest: TradeRest,
    pub(crate) stream: TradeStreamConfig,
    pub(crate) credential: Credential,
    /// How long after an order was decided its absence at the venue can be proven.
    pub(crate) absent_after: Duration,
    pub(crate) sent: Arc<SentLog>,
    pub(crate) clock: VenueClock,
    /// The rules that its orders are held to.
    pub(crate) markets: Arc<Markets>,
    pub(crate) meters: Arc<Meters>,
    /// Where what the account holds is told to whoever asks.
    pub(crate) known: Arc<KnownBalances>,
    /// Where orders are looked up that it does not have.
    pub(crate) journal: Journal,
    /// How many bots have not heard yet what became of the orders that they had before the process began.
    pub(crate) unreconciled: Arc<AtomicUsize>,
    /// Which orders are this store's own.
    pub(crate) ours: Ours,
    /// Held until it is known what the store, a copy of an earlier time, lacks; `None` where it is none.
    pub(crate) restoring: Option<Unreconciled>,
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

/// The venue does not accept the key any more, and why: nothing can be sent or asked over this connection. `None` once it
/// does again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Locked(pub(crate) Option<String>);

/// A bot trades over this connection no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Detach(pub(crate) BotId);

/// The connection is to end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// A bot that trades here.
struct Attached {
    bot: Addr<Bot>,
    pair: Pair,
    held: Qty,
    /// It has been told of what the books had and it had not.
    has_read_books: bool,
    is_taken_up: bool,
}

/// The actor.
pub(crate) struct ExchangeConnection {
    id: ExchangeId,
    client: client::VenueClient,
    stream: TradeStreamConfig,
    /// What the socket is opened with, once.
    unopened: Option<(Credential, socket::Asked)>,
    absent_after: Duration,
    sent: Arc<SentLog>,
    markets: Arc<Markets>,
    steps: venue_clock::StepDetector,
    probes: probing::Probes,
    is_up: bool,
    /// The bots that were told that the venue does not accept the key.
    locked: HashSet<BotId>,
    orders: Orders,
    /// Orders that wait to be sent, exits first.
    unsent: VecDeque<ClientOrderId>,
    /// Orders that were taken back before they came here, and when.
    taken_back: HashMap<ClientOrderId, Instant>,
    bots: HashMap<BotId, Attached>,
    /// Bots that were told that the venue has asked to be left alone.
    limited: HashSet<BotId>,
    balances: balance::Balances,
    known: Arc<KnownBalances>,
    share: Share,
    journal: Journal,
    looked_up: late::LookedUp,
    missed: missed::Missed,
    ours: Ours,
    /// Until then no bot is taken up: the store is a copy of an earlier time, and what it lacks is being looked for.
    restoring: Option<Unreconciled>,
    /// Orders that the books of bots lack which have not been taken up yet.
    lost: HashMap<BotId, Vec<LostOrder>>,
    /// Those that were handed to their bots in this process.
    handed_over: HashSet<ClientOrderId>,
    /// When what rests was looked after last.
    looked_at: Instant,
    unreconciled: Arc<AtomicUsize>,
    opened: Instant,
}

impl ExchangeConnection {
    /// A connection that opens its socket once it is started.
    pub(crate) fn new(parts: ConnectionParts) -> Self {
        let (line, asked) = socket::Line::new();
        Self {
            id: parts.id,
            client: client::VenueClient::new(parts.rest, line, parts.clock),
            stream: parts.stream,
            unopened: Some((parts.credential, asked)),
            absent_after: parts.absent_after,
            sent: parts.sent,
            markets: parts.markets,
            steps: venue_clock::StepDetector::default(),
            probes: probing::Probes::default(),
            is_up: false,
            locked: HashSet::new(),
            orders: Orders::default(),
            unsent: VecDeque::new(),
            taken_back: HashMap::new(),
            bots: HashMap::new(),
            limited: HashSet::new(),
            balances: balance::Balances::default(),
            known: parts.known,
            share: Share::of(parts.meters),
            journal: parts.journal,
            looked_up: late::LookedUp::default(),
            missed: missed::Missed::new(parts.restoring.is_some()),
            ours: parts.ours,
            restoring: parts.restoring,
            lost: HashMap::new(),
            handed_over: HashSet::new(),
            looked_at: Instant::now(),
            unreconciled: parts.unreconciled,
            opened: Instant::now(),
        }
    }

    fn budget(&self) -> &SharedBudget {
        self.client.budget()
    }

    fn learn_time(&self) {
        let client = self.client.clone();
        actix_rt::spawn(async move { client.learn_time().await });
    }

    /// Learns the venue's time anew where a clock of this machine has stepped.
    fn check_clocks(&mut self) {
        if let Some(step_ns) = self.steps.look(Instant::now(), clock::now()) {
            tracing::warn!(connection = %self.id, step_ms = step_ns / 1_000_000, "the clock of this machine has stepped");
            self.learn_time();
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
        if self.locked.is_empty() {
            tracing::error!(connection = %self.id, why, "the venue does not accept an exchange connection's key");
        }
        for (id, attached) in &self.bots {
            if self.locked.insert(*id) {
                deliver(&attached.bot, Locked(Some(why.to_owned())));
            }
        }
    }

    /// The venue accepts the key: whoever was told otherwise is told.
    fn unlock(&mut self) {
        for id in std::mem::take(&mut self.locked) {
            if let Some(attached) = self.bots.get(&id) {
                deliver(&attached.bot, Locked(None));
            }
        }
    }

    /// An order has ended without the venue.
    fn end(&mut self, client_id: ClientOrderId, end: End) {
        self.report(live::ended(client_id, end));
    }

    /// Lets go of what nothing more is heard of.
    fn forget(&mut self) {
        self.orders.forget(Instant::now(), KNOWN_FOR);
        self.taken_back.retain(|_, at| at.elapsed() < KNOWN_FOR);
    }
}

impl Actor for ExchangeConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1_024);
        if let Some((credential, asked)) = self.unopened.take() {
            socket::open(self.stream.clone(), &credential, &self.client, asked, ctx.address());
        }
        self.learn_time();
        ctx.run_interval(TURN, |connection, ctx| {
            let me = ctx.address();
            connection.check_clocks();
            connection.send_waiting(&me);
            connection.tell_limited();
            connection.forget();
            connection.look_after_resting(&me);
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
        let ids: Vec<ClientOrderId> = attach.orders.iter().map(|(order, _)| order.client_id).collect();
        for (order, receipt) in attach.orders {
            let since = receipt.decided_at.unwrap_or_else(clock::now);
            let since_at_venue = self.client.clock().at_venue(since);
            let mut tracked =
                Tracked::new(attach.id, attach.pair.clone(), order.role, since_at_venue, receipt);
            let now = clock::now();
            let ago = now.since(left_by(order.role, since, receipt.sent_at, now));
            tracked.left(Duration::from_nanos(u64::try_from(ago).unwrap_or(0)));
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
        if !attached.held.is_zero() {
            // Nobody has seen to it that it is still there.
            self.count_now();
        }
        self.bots.insert(attach.id, attached);
        self.read_stamps(ids, &ctx.address());
        self.ask_due(&ctx.address());
        self.let_accounted_go();
    }
}

impl Handler<Detach> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Detach(id): Detach, _: &mut Self::Context) {
        self.bots.remove(&id);
        self.orders.retain(|order| order.bot != id);
        self.unsent.retain(|order| self.orders.contains_key(order));
    }
}

impl Handler<Close> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
