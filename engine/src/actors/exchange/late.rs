//! Executions of orders that this connection does not have: settled long ago and forgotten, or of a bot that is not
//! there. The journal says whose they are. The bot that is still in the order's trade takes them in; else they are
//! booked on the trade as it stands in the store, once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::trade::UserReport;
use model::{AccountId, BotId, ClientOrderId, ExchangeId, Market, OrderOrigin, Qty, Side, TradeId};
use strategies::Plan;
use strategies::live::{LiveStep, LostOrder, Report};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::restored::{Ours, told_restored};
use super::{ExchangeConnection, deliver};
use crate::change::Change;
use crate::clock;
use crate::ledger::Ledger;
use crate::live::{self, rules};
use crate::markets::Markets;
use crate::record::{LiveRun, Recorder, booked_execution, rebook, revalue};
use crate::store::{JournaledOrder, Store, StoreError, StoredBot};

/// How soon a store that could not be read is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long after it was opened a connection waits for bots that are still being taken up, and how often it looks.
const BOTS_COME_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many executions that were looked up are remembered.
const REMEMBERED: usize = 10_000;

/// Where an order that nobody knows is looked up, and its trade booked.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    store: Store,
    ledger: Ledger,
    io: Handle,
    /// Held from reading a trade until it is written.
    booking: Arc<Mutex<()>>,
}

/// Executions that were looked up by their order and the venue's number.
#[derive(Debug, Default)]
pub(super) struct LookedUp(HashSet<(ClientOrderId, i64)>);

impl LookedUp {
    /// Notes a report's executions; whether one of them is new.
    fn add(&mut self, report: &UserReport, id: ClientOrderId) -> bool {
        if self.0.len() > REMEMBERED {
            self.0.clear();
        }
        report.execution.as_ref().is_some_and(|execution| self.0.insert((id, execution.trade_id)))
    }
}

/// Executions of an order of this trade, for the bot that may be in it.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct LateFill {
    pub(crate) trade_id: TradeId,
    pub(crate) side: Side,
    pub(crate) qty: Qty,
    pub(crate) report: Report,
}

/// The bot is not in that trade any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Unclaimed(pub(crate) Report);

/// What the journal says of an order, and what the venue does.
#[derive(Message)]
#[rtype(result = "()")]
struct Known {
    order: Box<JournaledOrder>,
    user: Box<UserReport>,
}

/// What the books have of a bot's trade.
#[derive(Message)]
#[rtype(result = "()")]
struct Booked {
    bot: BotId,
    fills: Vec<LateFill>,
    /// Whether that is all of it, as the bot waits for it.
    is_all: bool,
}

impl Journal {
    /// Over a store, written through its ledger.
    pub(crate) fn new(store: &Store, ledger: &Ledger, io: &Handle) -> Self {
        let (store, ledger, io) = (store.clone(), ledger.clone(), io.clone());
        Self { store, ledger, io, booking: Arc::default() }
    }

    /// The journaled order of that id over that connection. A store that fails is asked until it answers.
    async fn order(&self, id: ClientOrderId) -> Option<JournaledOrder> {
        until_read(|| self.store.journaled(id)).await
    }

    /// Has a change written, which an order waits for.
    pub(super) fn record(&self, change: Change) {
        if self.ledger.record(change).is_err() {
            // The process is about to end: nothing leaves any more.
            tracing::error!("a stamp could not be recorded");
        }
    }

    /// Where it is kept.
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Runs what reads much beside the actors.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.io.spawn(work);
    }

    /// Books executions on their trade, unless it has them.
    async fn book(&self, order: &JournaledOrder, mut report: Report, markets: &Markets) {
        live::fees::value_past(markets, &order.pair, &mut report.executions).await;
        let alone = self.booking.lock().await;
        // What the bot did last may still be on its way to the store: nothing that it knew is late.
        let Ok(settled) = self.ledger.settle(order.account_id, order.bot_id) else { return };
        if settled.wait().await.is_err() {
            return;
        }
        let trade = until_read(|| self.store.trade(order.account_id, order.trade_id)).await;
        let dust = until_read(|| self.store.dust_of(order.trade_id)).await;
        let Some((booking, event)) = rebook(order, trade, dust, &report) else { return };
        let (bot, id) = (order.bot_id, order.client_id);
        tracing::warn!(%bot, order = %id, trade = %booking.trade.id, "an execution came late and is booked");
        let late = Some(Box::new(booking));
        let change = Change { late, events: vec![event], ..Change::default() };
        if self.ledger.commit(change).await.is_err() {
            tracing::error!(%bot, order = %id, "a late execution could not be booked");
        }
        drop(alone);
    }

    /// Takes orders that its books lack into a bot at rest, which stays so; those that are not its own.
    pub(super) async fn relive_at_rest(
        &self,
        bot: StoredBot,
        orders: Vec<LostOrder>,
        exchange: ExchangeId,
        markets: &Markets,
        ours: Ours,
    ) -> Vec<LostOrder> {
        let alone = self.booking.lock().await;
        let market = loop {
            match markets.market(&bot.definition.pair).await {
                Ok(Some(market)) => break market,
                Ok(None) => return orders,
                Err(error) => {
                    tracing::warn!(bot = %bot.id, %error, "what a bot at rest lacks waits for the venue");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        let origin = ours.origin.map(|own| own.of_bot(bot.id));
        let Some((mut recorder, mut run)) = at_rest(&bot, &market, exchange, origin) else { return orders };
        let (mut strays, mut booked) = (Vec::new(), Vec::new());
        run.bot.set_still(true);
        for lost in orders {
            let (mut before, mut steps) = (Vec::new(), Vec::new());
            run.bot.make_way(&lost, &mut before);
            if !before.is_empty() {
                self.commit_at_rest(&mut recorder, &run, before, &bot).await;
            }
            if run.bot.relive(&lost, &mut steps) {
                booked.push(lost);
            } else {
                strays.push(lost);
            }
            self.commit_at_rest(&mut recorder, &run, steps, &bot).await;
        }
        if !booked.is_empty() {
            let message = told_restored(&booked, &bot.definition.pair);
            let told = LiveStep::Told { code: "history_restored", message };
            self.commit_at_rest(&mut recorder, &run, vec![told], &bot).await;
        }
        drop(alone);
        strays
    }

    async fn commit_at_rest(
        &self,
        recorder: &mut Recorder,
        run: &LiveRun,
        steps: Vec<LiveStep>,
        bot: &StoredBot,
    ) {
        let mut change = recorder.live_change(run, steps, bot.status, clock::now());
        if let Some(row) = &mut change.bot {
            row.trouble.clone_from(&bot.trouble);
        }
        if self.ledger.commit(change).await.is_err() {
            tracing::error!(bot = %bot.id, "what a bot at rest lacked could not be booked");
        }
    }

    /// Values what fees of a closed trade nobody could value before, by what the venue says that their coin was worth
    /// then; whether the trade has it all now.
    pub(crate) async fn value_fees(&self, account: AccountId, id: TradeId, markets: &Markets) -> bool {
        let Some(trade) = until_read(|| self.store.trade(account, id)).await else { return true };
        let mut prices = HashMap::new();
        for fill in trade.orders.iter().flat_map(|order| &order.fills) {
            if booked_execution(fill).lacks_fee_price(&trade.pair) {
                let price = live::fees::price_at(markets, &fill.fee_asset, trade.pair.quote(), fill.at).await;
                prices.extend(price.map(|price| (fill.id, price)));
            }
        }
        let alone = self.booking.lock().await;
        // As it is by now: something may have come late meanwhile.
        let Some(trade) = until_read(|| self.store.trade(account, id)).await else { return true };
        let dust = until_read(|| self.store.dust_at(id)).await;
        let Some(booking) = revalue(account, trade, dust, &prices) else { return false };
        let is_whole = booking.trade.unvalued_fees == 0;
        tracing::info!(trade = %id, "fees that had no price are valued");
        let change = Change { late: Some(Box::new(booking)), ..Change::default() };
        if self.ledger.commit(change).await.is_err() {
            return false;
        }
        drop(alone);
        is_whole
    }

    /// What the books have of a trade.
    async fn fills(&self, account: AccountId, trade: TradeId) -> Vec<LateFill> {
        let Some(trade) = until_read(|| self.store.trade(account, trade)).await else { return Vec::new() };
        let filled = trade.orders.into_iter().filter(|order| !order.fills.is_empty());
        let told = filled.map(|order| LateFill {
            trade_id: trade.id,
            side: order.side,
            qty: order.qty,
            report: Report {
                client_id: order.client_order_id,
                end: None,
                executed: order.filled_qty,
                executions: order.fills.iter().map(booked_execution).collect(),
            },
        });
        told.collect()
    }
}

/// What a bot at rest would go on from.
fn at_rest(
    bot: &StoredBot,
    market: &Market,
    exchange: ExchangeId,
    origin: Option<OrderOrigin>,
) -> Option<(Recorder, LiveRun)> {
    let plan = Plan::new(&bot.definition, market).ok()?;
    let mut recorder = Recorder::new(bot.account_id, bot.id, &bot.definition);
    let stored = match &bot.state {
        Some(state) => recorder.resume(state).ok()?,
        None => None,
    };
    let run = LiveRun::resume(&plan, rules(&bot.definition, origin), exchange, stored).ok()?;
    Some((recorder, run))
}

pub(super) async fn until_read<T, R: Future<Output = Result<T, StoreError>>>(
    mut read: impl FnMut() -> R,
) -> T {
    loop {
        match read().await {
            Ok(found) => return found,
            Err(error) => {
                tracing::error!(%error, "the journal could not be read for orders that nobody knows");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

impl ExchangeConnection {
    /// The venue tells of an order that is not on the list: of executions somebody has to know.
    pub(super) fn look_up(&mut self, id: ClientOrderId, user: Box<UserReport>, me: &Addr<Self>) {
        if !self.looked_up.add(&user, id) {
            return;
        }
        let (journal, me) = (self.journal.clone(), me.clone());
        self.journal.io.spawn(async move {
            // One that was never journaled is the owner's own.
            if let Some(order) = journal.order(id).await {
                deliver(&me, Known { order: Box::new(order), user });
            }
        });
    }

    /// Whether bots that lived before may still come: what is heard of one sooner is not late.
    fn is_awaiting_bots(&self) -> bool {
        self.opened.elapsed() < BOTS_COME_WITHIN && self.unreconciled.load(Ordering::Acquire) > 0
    }

    /// Reads what the books have of a bot's trade: more than the bot knows where something came late while it was
    /// not there.
    pub(super) fn read_books(&self, account: AccountId, bot: BotId, trade: TradeId, me: &Addr<Self>) {
        let (journal, me) = (self.journal.clone(), me.clone());
        self.journal.io.spawn(async move {
            let fills = journal.fills(account, trade).await;
            deliver(&me, Booked { bot, fills, is_all: true });
        });
    }
}

impl Handler<Known> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Known { order, user }: Known, ctx: &mut Context<Self>) {
        // Its bot may trade over this one by now, because the other is gone.
        let is_attached = self.bots.contains_key(&order.bot_id);
        if !is_attached && order.exchange_id != self.id {
            return;
        }
        if !is_attached && self.is_awaiting_bots() {
            ctx.notify_later(Known { order, user }, LOOK_EVERY);
            return;
        }
        if !user.order.is_of(&order.pair, order.side) {
            tracing::error!(connection = %self.id, order = %order.client_id, "a report contradicts its order");
            return;
        }
        let Some(report) = live::told(&user, &order.pair) else { return };
        let (trade_id, side, qty) = (order.trade_id, order.side, order.qty);
        let late = LateFill { trade_id, side, qty, report };
        if let Some(attached) = self.bots.get(&order.bot_id) {
            return deliver(&attached.bot, late);
        }
        let (journal, markets, me) = (self.journal.clone(), self.markets.clone(), ctx.address());
        self.journal.io.spawn(async move {
            journal.book(&order, late.report.clone(), &markets).await;
            // It may have come meanwhile, and read the books too early.
            deliver(&me, Booked { bot: order.bot_id, fills: vec![late], is_all: false });
        });
    }
}

impl Handler<Unclaimed> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Unclaimed(report): Unclaimed, _: &mut Context<Self>) {
        let (journal, markets) = (self.journal.clone(), self.markets.clone());
        self.journal.io.spawn(async move {
            match journal.order(report.client_id).await {
                Some(order) => journal.book(&order, report, &markets).await,
                None => tracing::error!(order = %report.client_id, "an order was never journaled"),
            }
        });
    }
}

impl Handler<Booked> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Booked { bot, fills, is_all }: Booked, _: &mut Context<Self>) {
        let Some(attached) = self.bots.get_mut(&bot) else { return };
        attached.has_read_books |= is_all;
        for fill in fills {
            deliver(&attached.bot, fill);
        }
        self.let_accounted_go();
    }
}
