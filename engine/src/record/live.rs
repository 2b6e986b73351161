//! What a live bot's steps come to: its trade with every order, as the venue told of them.

use std::collections::BTreeMap;

use model::{
    AccountId, BotFailed, ClientOrderId, DomainEvent, EventData, ExchangeId, Fill, FillId, Order, OrderId,
    OrderStatus, OrderType, Qty, Quote, Receipt, Side, Trade, TradeClosed, TradeId, TradeOpened, TradeStatus,
    TradeStoploss, TradeUpdate, TradeUpdated,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strategies::live::{End, Execution, LiveBot, LiveOrder, LiveRules, LiveStep, LiveTrade, Role, Terms};
use strategies::{Plan, RestoreError};

use super::Decision;
use crate::clock;

/// A live bot, the connection it trades over, and the times that its orders took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LiveRun {
    pub(crate) exchange_id: ExchangeId,
    pub(crate) bot: LiveBot,
    /// Of the orders of its trade.
    pub(crate) receipts: BTreeMap<ClientOrderId, Receipt>,
    /// When it was decided to sell all, and by which tick, until an order for that is placed: what rests at the venue
    /// is taken back first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leaving: Option<Receipt>,
}

/// A [`LiveRun`] as it is read; the machine's own text is read with its plan.
#[derive(Deserialize)]
pub(crate) struct StoredRun<'a> {
    #[serde(borrow)]
    pub(crate) bot: &'a serde_json::value::RawValue,
    receipts: BTreeMap<ClientOrderId, Receipt>,
    #[serde(default)]
    leaving: Option<Receipt>,
}

/// Coins that a closed trade has left, too few to be sold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dust {
    pub(crate) trade_id: TradeId,
    pub(crate) account_id: AccountId,
    pub(crate) exchange_id: ExchangeId,
    pub(crate) asset: String,
    pub(crate) qty: Qty,
    /// What it cost, in the trade's quote coin.
    pub(crate) cost: Quote,
}

impl LiveRun {
    /// Of a bot that holds nothing yet, or goes on from what is stored.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(crate) fn resume(
        plan: &Plan,
        rules: LiveRules,
        exchange_id: ExchangeId,
        stored: Option<&str>,
    ) -> Result<Self, RestoreError> {
        Ok(match stored {
            None => {
                let bot = LiveBot::new(plan, rules);
                Self { exchange_id, bot, receipts: BTreeMap::new(), leaving: None }
            }
            Some(text) => {
                let stored: StoredRun<'_> = serde_json::from_str(text)?;
                let bot = LiveBot::restore(plan, rules, stored.bot.get())?;
                Self { exchange_id, bot, receipts: stored.receipts, leaving: stored.leaving }
            }
        })
    }

    /// Notes what a decision comes to, whose orders were decided at `receipt`: when all began to be sold, and when each
    /// order was decided. A sale that had to wait for the stop to be taken back was decided when that was.
    pub(crate) fn note(&mut self, was_leaving: bool, receipt: Receipt, steps: &[LiveStep]) {
        if !was_leaving {
            self.leaving = Some(receipt);
        }
        for step in steps {
            if let LiveStep::Place(order) = step {
                let first = self.leaving.take_if(|_| order.role == Role::Exit);
                self.receipts.insert(order.client_id, first.unwrap_or(receipt));
            }
        }
        if !self.bot.is_leaving() {
            self.leaving = None;
        }
    }
}

/// What a stored bot has at a connection, whatever its definition says by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Engagement {
    pub(crate) exchange_id: ExchangeId,
    /// Whether it has orders there whose end is not known.
    pub(crate) is_under_way: bool,
    /// Whether it is in a trade there.
    pub(crate) is_holding: bool,
}

/// The connection that a stored bot has, or last had, orders at, and what is left of them.
pub(crate) fn engagement(state: &str) -> Option<Engagement> {
    let (exchange_id, trade) = stored_trade(state)?;
    let is_under_way = trade.open_orders().next().is_some();
    let is_holding = trade.opened_at().is_some();
    (!trade.orders.is_empty()).then_some(Engagement { exchange_id, is_under_way, is_holding })
}

/// Whether a stored bot has orders whose end is not known.
pub(crate) fn has_orders_under_way(state: &str) -> bool {
    stored_trade(state).is_some_and(|(_, trade)| trade.open_orders().next().is_some())
}

/// What a stored bot trades, and over which connection.
fn stored_trade(state: &str) -> Option<(ExchangeId, LiveTrade)> {
    #[derive(Deserialize)]
    struct State {
        live: Option<Run>,
    }
    #[derive(Deserialize)]
    struct Run {
        exchange_id: ExchangeId,
        bot: Bot,
    }
    #[derive(Deserialize)]
    struct Bot {
        trade: LiveTrade,
    }
    let run = serde_json::from_str::<State>(state).ok()?.live?;
    Some((run.exchange_id, run.bot.trade))
}

impl Decision {
    /// What a live bot's steps come to.
    pub(super) fn live(&self, steps: &[LiveStep], after: &LiveRun) -> (Option<Trade>, Vec<DomainEvent>) {
        let mut events = Vec::new();
        let closed = steps.iter().find_map(|step| match step {
            LiveStep::Closed(trade) => Some(&**trade),
            _ => None,
        });
        let books = closed.unwrap_or_else(|| after.bot.trade());
        let ended = steps.iter().filter_map(|step| match step {
            LiveStep::Ended(order) => Some(order),
            _ => None,
        });
        let trade = self.live_trade(books, ended, after);
        for step in steps {
            match (step, &trade) {
                (LiveStep::Opened, Some(trade)) => {
                    events.push(
                        self.bot
                            .event(trade.opened_at, EventData::TradeOpened(self.live_opened(trade, books))),
                    );
                }
                // What ends a trade is reported as that.
                (LiveStep::Filled(id), Some(trade)) if closed.is_none() => {
                    events.extend(updated(trade, books, *id).map(|updated| {
                        let at = updated.updated_at;
                        self.bot.event(at, EventData::TradeUpdated(Box::new(updated)))
                    }));
                }
                (LiveStep::StopHit { stop, price, at }, _) => {
                    let hit = TradeStoploss {
                        bot_id: self.bot.bot_id,
                        trade_id: self.trade_id,
                        pair: self.bot.pair.clone(),
                        side: Side::Sell,
                        stop_price: *stop,
                        price: *price,
                        dry_run: false,
                        message: TradeStoploss::in_words(&self.bot.pair, *stop, *price),
                    };
                    events.push(self.bot.event(*at, EventData::TradeStoploss(hit)));
                }
                (LiveStep::Closed(_), Some(trade)) => {
                    let at = trade.closed_at.unwrap_or(trade.opened_at);
                    events
                        .push(self.bot.event(at, EventData::TradeClosed(Box::new(TradeClosed::from(trade)))));
                }
                (LiveStep::Told { code, message } | LiveStep::Resolved { code, message }, _) => {
                    let told = BotFailed {
                        bot_id: Some(self.bot.bot_id),
                        code: (*code).to_owned(),
                        message: message.clone(),
                        resolved: matches!(step, LiveStep::Resolved { .. }),
                    };
                    events.push(self.bot.event(clock::now(), EventData::BotError(told)));
                }
                _ => {}
            }
        }
        (trade, events)
    }

    /// What a trade that was closed has left.
    pub(super) fn left(&self, steps: &[LiveStep], after: &LiveRun) -> Option<Dust> {
        let closed = steps.iter().find_map(|step| match step {
            LiveStep::Closed(trade) => Some(trade),
            _ => None,
        });
        let (qty, cost) = (closed?.held(&self.bot.pair), closed?.dust_cost(&self.bot.pair));
        let dust = Dust {
            trade_id: self.trade_id,
            account_id: self.bot.account_id,
            exchange_id: after.exchange_id,
            asset: self.bot.pair.base().to_owned(),
            qty,
            cost,
        };
        (!qty.is_zero()).then_some(dust)
    }

    /// The trade, once its first order has filled.
    fn live_trade<'a>(
        &self,
        books: &'a LiveTrade,
        ended: impl Iterator<Item = &'a LiveOrder>,
        after: &LiveRun,
    ) -> Option<Trade> {
        let pair = &self.bot.pair;
        let opened_at = books.opened_at()?;
        let closing = books.closing;
        let profit = closing.map(|_| books.profit(pair));
        let machine = after.bot.machine();
        let orders =
            books.orders.iter().chain(ended).map(|order| {
                listed(order, after.receipts.get(&order.client_id).copied().unwrap_or_default())
            });
        Some(Trade {
            id: self.trade_id,
            bot_id: self.bot.bot_id,
            exchange: self.bot.exchange,
            pair: pair.clone(),
            side: Side::Buy,
            status: if closing.is_some() { TradeStatus::Closed } else { TradeStatus::Open },
            dry_run: false,
            opened_at,
            closed_at: closing.map(|closing| closing.at),
            entry_price: books.average(pair).round_dp(8).normalize(),
            exit_price: closing.and_then(|_| books.exit_price()),
            amount: books.amount(pair),
            stake: books.stake(pair),
            fees: books.fees(pair),
            unvalued_fees: u32::try_from(books.unvalued_fees(pair)).unwrap_or(u32::MAX),
            profit,
            profit_pct: profit.map(|profit| books.profit_pct(pair, profit)),
            profit_usd: self.in_usd(profit),
            usd_rate: profit.and(self.usd_rate),
            exit_reason: closing.map(|closing| closing.reason),
            stop_price: machine.stop_price(),
            take_profit_price: machine.take_profit_price(),
            fee_rates: self.bot.fees,
            orders: orders.collect(),
            standing: None,
        })
    }

    fn live_opened(&self, trade: &Trade, books: &LiveTrade) -> TradeOpened {
        let base = books.orders.iter().find(|order| !order.executions.is_empty());
        let price = base.and_then(LiveOrder::average_price).unwrap_or(model::Price::MIN);
        TradeOpened {
            bot_id: self.bot.bot_id,
            trade_id: self.trade_id,
            pair: self.bot.pair.clone(),
            side: Side::Buy,
            price,
            amount: trade.amount,
            stake: trade.stake,
            opened_at: trade.opened_at,
            dry_run: false,
            message: TradeOpened::in_words(&trade.pair, price, trade.amount, trade.stake),
        }
    }
}

/// What an order that has filled did to its trade.
fn updated(trade: &Trade, books: &LiveTrade, id: ClientOrderId) -> Option<TradeUpdated> {
    let place = books.orders.iter().position(|order| order.client_id == id)?;
    let order = books.orders.get(place)?;
    let is_alike = |other: &&LiveOrder| match order.role {
        Role::Entry(_) | Role::Added => other.role == order.role,
        Role::Exit | Role::Protection => !other.role.is_entry(),
    };
    let filled = books.orders.iter().take(place + 1).filter(|order| !order.executions.is_empty());
    let count = u32::try_from(filled.filter(is_alike).count()).unwrap_or(u32::MAX);
    let (what, index) = match order.role {
        Role::Entry(index) => (TradeUpdate::Entry, index),
        Role::Added => (TradeUpdate::FundsAdded, count),
        Role::Exit | Role::Protection => (TradeUpdate::PartialExit, count),
    };
    let amount = order.executions.iter().map(|execution| execution.qty).sum();
    let at = order.executions.iter().map(|execution| execution.at).max()?;
    Some(TradeUpdated::new(trade, what, index, order.average_price()?, amount, at))
}

/// An order as its trade lists it.
fn listed(order: &LiveOrder, receipt: Receipt) -> Order {
    let (kind, price) = match order.terms {
        Terms::Market => (OrderType::Market, order.decided),
        Terms::Limit(price) => (OrderType::Limit, price),
        Terms::StopLimit { stop, .. } => (OrderType::StopLossLimit, stop),
    };
    Order {
        id: OrderId::from_u128(order.client_id.as_u128()),
        client_order_id: order.client_id,
        side: order.role.side(),
        kind,
        status: status(order, receipt),
        price,
        qty: order.qty,
        filled_qty: order.executed,
        created_at: receipt.decided_at.unwrap_or(order.at),
        fills: order.executions.iter().map(|execution| fill(order.client_id, execution)).collect(),
        receipt: Some(receipt),
    }
}

fn status(order: &LiveOrder, receipt: Receipt) -> OrderStatus {
    match &order.end {
        Some(End::Filled) => OrderStatus::Filled,
        Some(End::Canceled) => OrderStatus::Canceled,
        Some(End::Expired) => OrderStatus::Expired,
        Some(End::Rejected(_) | End::NeverArrived) => OrderStatus::Rejected,
        None if order.executed.decimal() > Decimal::ZERO => OrderStatus::PartiallyFilled,
        None if receipt.acknowledged_at.is_some() => OrderStatus::Open,
        None if receipt.sent_at.is_some() => OrderStatus::Unknown,
        None => OrderStatus::Intent,
    }
}

/// An execution under an id that is the same whenever it is told: of its order's id and the venue's number.
pub(super) fn fill(client_id: ClientOrderId, execution: &Execution) -> Fill {
    let digest = Sha256::new()
        .chain_update(client_id.as_u128().to_be_bytes())
        .chain_update(execution.trade_id.to_be_bytes())
        .finalize();
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    Fill {
        id: FillId::from_u128(u128::from_be_bytes(id)),
        at: execution.at,
        price: execution.price,
        qty: execution.qty,
        fee: execution.fee,
        fee_asset: execution.fee_asset.to_string(),
        fee_price: execution.fee_price,
        venue_trade_id: Some(execution.trade_id),
    }
}
