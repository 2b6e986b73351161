//! Real orders between a bot and its exchange connection: the intent that is journaled before it leaves, what the
//! venue says of it in the words of the strategies, and the times it took.

pub(crate) mod appraisal;
pub(crate) mod fees;
pub(crate) mod sent;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actix::Addr;
use connectors::binance::trade::{
    Execution as VenueExecution, Lane, OrderReport, OrderRequest, RequestKind, TimeInForce, UserReport,
    VenueStatus,
};
use dashmap::DashMap;
use model::{
    BotId, ClientOrderId, ExchangeId, OrderOrigin, Pair, Price, Qty, Quote, Receipt, Timestamp, TradeId,
};
use strategies::BotDefinition;
use strategies::live::{End, Execution, LiveOrder, LiveRules, Report, Role, Terms};

use crate::actors::deliver;
use crate::actors::exchange::{Close, ExchangeConnection, Journaled, Restamped, TakeBack, VenueClock};
use crate::clock;
use crate::commissions::Commissions;
use crate::failpoint::{self, Control};
use crate::store::News;

/// The rules of a definition that a live bot goes by beside its plan, whose orders tell `origin` of whose they are.
pub(crate) fn rules(definition: &BotDefinition, origin: Option<OrderOrigin>) -> LiveRules {
    LiveRules {
        pair: definition.pair.clone(),
        stop_on_venue: definition.stop_on_venue,
        entries: definition.strategy.entries(),
        origin,
    }
}

/// An order that may leave once it is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// Over which connection.
    pub exchange_id: ExchangeId,
    /// Whose.
    pub bot_id: BotId,
    /// For which trade, which begins once its first order fills.
    pub trade_id: TradeId,
    /// What is asked of the venue.
    pub request: OrderRequest,
    /// What it is for.
    pub role: Role,
    /// What is sent, exactly: the request in the venue's words.
    pub body: String,
    /// The times it took so far.
    pub receipt: Receipt,
    /// What its request is stamped with, by the venue's clock.
    pub stamped_at: Timestamp,
    /// When it was decided, by the clock that an order's age is reckoned by.
    pub decided: Instant,
    /// The price at or below which it is still to be bought; `None` of what hangs on no price.
    pub trigger: Option<Price>,
}

/// The time by the venue's clock that a request about a journaled order is stamped with. It is taken before the commit
/// that lets the request leave, so a process that is paused after that commit sends what the venue refuses as too old.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderStamp {
    /// Over which connection it goes.
    pub exchange_id: ExchangeId,
    /// The order.
    pub client_id: ClientOrderId,
    /// The time.
    pub at: Timestamp,
}

impl Intent {
    /// An order of a bot, as it is sent, stamped with the venue's time now.
    pub(crate) fn new(
        exchange_id: ExchangeId,
        bot_id: BotId,
        trade_id: TradeId,
        pair: &Pair,
        order: &LiveOrder,
        receipt: Receipt,
        stamped_at: Timestamp,
    ) -> Self {
        let request = request(pair, order);
        let body = request.body();
        Self {
            exchange_id,
            bot_id,
            trade_id,
            request,
            role: order.role,
            body,
            receipt,
            stamped_at,
            decided: Instant::now(),
            trigger: order.trigger,
        }
    }
}

/// An order in the venue's terms.
pub(crate) fn request(pair: &Pair, order: &LiveOrder) -> OrderRequest {
    let kind = match order.terms {
        Terms::Market => RequestKind::Market,
        Terms::Limit(price) => RequestKind::Limit { price, tif: TimeInForce::Gtc },
        Terms::StopLimit { stop, limit } => RequestKind::StopLossLimit { stop, price: limit },
    };
    OrderRequest {
        pair: pair.clone(),
        client_order_id: order.client_id,
        side: order.role.side(),
        qty: order.qty,
        kind,
    }
}

/// Who goes first where the venue's limits are short.
pub(crate) const fn lane(role: Role) -> Lane {
    match role {
        Role::Entry(_) | Role::Added => Lane::Normal,
        Role::Exit | Role::Protection => Lane::Exit,
    }
}

/// Every open exchange connection; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gateway(Arc<Open>);

#[derive(Debug, Default)]
struct Open {
    connections: DashMap<ExchangeId, Addr<ExchangeConnection>>,
    clock: VenueClock,
    commissions: Commissions,
    is_shut: AtomicBool,
    /// What the store is called, by which orders tell that they are its bots'.
    store: OnceLock<Box<str>>,
}

impl Gateway {
    /// The connection of a stored credential, if it is open.
    pub(crate) fn connection(&self, id: ExchangeId) -> Option<Addr<ExchangeConnection>> {
        self.0.connections.get(&id).map(|connection| connection.clone())
    }

    /// The venue's clock, which all connections share.
    pub(crate) fn clock(&self) -> &VenueClock {
        &self.0.clock
    }

    /// The fee rates of the accounts behind them.
    pub(crate) fn commissions(&self) -> &Commissions {
        &self.0.commissions
    }

    /// Orders tell from now on that they were made by bots of this store.
    pub(crate) fn name_store(&self, store: &str) {
        let _ = self.0.store.set(store.into());
    }

    /// What the ids of a bot's orders tell.
    pub(crate) fn origin(&self, bot: BotId) -> Option<OrderOrigin> {
        self.0.store.get().map(|store| OrderOrigin::new(store, bot))
    }

    /// A connection is open from now on.
    pub(crate) fn open(&self, id: ExchangeId, connection: Addr<ExchangeConnection>) {
        self.0.connections.insert(id, connection);
        if self.0.is_shut.load(Ordering::Acquire) {
            self.shut();
        }
    }

    /// It is not any more.
    pub(crate) fn close(&self, id: ExchangeId) -> Option<Addr<ExchangeConnection>> {
        self.0.connections.remove(&id).map(|(_, connection)| connection)
    }

    /// Ends every connection, now and for good: nothing leaves any more.
    pub(crate) fn shut(&self) {
        self.0.is_shut.store(true, Ordering::Release);
        self.0.connections.retain(|_, connection| {
            deliver(connection, Close);
            false
        });
    }

    /// Carries out what has become durable by now: the only way by which an order leaves or is taken back.
    pub(crate) fn committed(&self, news: &News) {
        let journaled_at = Some(clock::now());
        for cancel in &news.cancels {
            if let Some(connection) = self.0.connections.get(&cancel.exchange_id) {
                deliver(connection.value(), TakeBack(*cancel));
            }
        }
        for order in &news.restamped {
            if let Some(connection) = self.0.connections.get(&order.exchange_id) {
                deliver(connection.value(), Restamped(*order));
            }
        }
        if failpoint::control() == Some(Control::SendThenPersist) {
            return;
        }
        for intent in &news.intents {
            match self.0.connections.get(&intent.exchange_id) {
                Some(connection) => {
                    let mut intent = Box::new(intent.clone());
                    intent.receipt.journaled_at = journaled_at;
                    deliver(connection.value(), Journaled(intent));
                }
                None => {
                    let order = intent.request.client_order_id;
                    tracing::error!(%order, "its exchange connection is not open");
                }
            }
        }
    }
}

/// What an answer or a query says of an order. `None` where it is none of ours.
pub(crate) fn report(order: &OrderReport, executions: Vec<Execution>) -> Option<Report> {
    let client_id: ClientOrderId = order.client_order_id.parse().ok()?;
    let end = match &order.status {
        VenueStatus::Filled => Some(End::Filled),
        VenueStatus::Canceled => Some(End::Canceled),
        VenueStatus::Expired => Some(End::Expired),
        VenueStatus::Rejected => Some(End::Rejected("rejected".into())),
        VenueStatus::New
        | VenueStatus::PendingNew
        | VenueStatus::PartiallyFilled
        | VenueStatus::PendingCancel
        | VenueStatus::Other(_) => None,
    };
    Some(Report { client_id, end, executed: order.executed_qty, executions })
}

/// What the user's stream says of an order.
pub(crate) fn told(user: &UserReport, pair: &Pair) -> Option<Report> {
    let executions = user.execution.iter().map(|told| execution(told, pair)).collect();
    let mut report = report(&user.order, executions)?;
    if let (Some(End::Rejected(words)), Some(reason)) = (&mut report.end, &user.reason) {
        *words = reason.as_str().into();
    }
    Some(report)
}

/// An execution in the strategies' words.
pub(crate) fn execution(told: &VenueExecution, pair: &Pair) -> Execution {
    Execution {
        trade_id: told.trade_id,
        at: told.at,
        price: told.price,
        qty: told.qty,
        fee: Quote::new(told.fee).unwrap_or_default(),
        fee_asset: told.fee_asset.as_deref().unwrap_or_else(|| pair.quote()).into(),
        fee_price: None,
    }
}

/// An order that has ended without the venue, and why.
pub(crate) fn ended(client_id: ClientOrderId, end: End) -> Report {
    Report { client_id, end: Some(end), executed: Qty::ZERO, executions: Vec::new() }
}
