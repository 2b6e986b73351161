//! Executions that the venue tells of when their trade's bot has gone on, or is not there: the trade's books once more,
//! from all that was bought and sold in it.

use std::collections::HashMap;

use model::{
    AccountId, BotFailed, DomainEvent, EventData, EventId, Exchange, ExchangeId, ExitReason, Fill, FillId,
    Order, OrderId, OrderStatus, Price, Qty, Quote, Side, Trade, TradeStatus,
};
use rust_decimal::Decimal;
use strategies::live::{Closing, Execution, LiveTrade, Report};

use super::live::fill;
use super::{DOLLARS, Dust, valued};
use crate::clock;
use crate::store::JournaledOrder;

/// A trade as it is after executions that came late, beside what of it was counted before.
#[derive(Clone, Debug)]
pub struct LateBooking {
    pub(crate) account_id: AccountId,
    pub(crate) trade: Trade,
    /// As it was, if it was in the books at all.
    pub(crate) before: Option<Trade>,
    pub(crate) dust: Option<Dust>,
}

/// What a report changes in the books of an order's trade, and what its owner is told of it; `None` where they have it
/// all. `dust` is what the closed trade has left so far.
pub(crate) fn rebook(
    order: &JournaledOrder,
    before: Option<Trade>,
    dust: Option<Qty>,
    report: &Report,
) -> Option<(LateBooking, DomainEvent)> {
    let mut trade = before.clone().or_else(|| begun(order, report))?;
    let missing = before.as_ref().map_or(Qty::ZERO, |trade| missing(trade, dust));
    let place = match trade.orders.iter().position(|known| known.client_order_id == order.client_id) {
        Some(place) => place,
        None => {
            trade.orders.push(listed(order, report));
            trade.orders.len() - 1
        }
    };
    let known = trade.orders.get_mut(place)?;
    let fills = report.executions.iter().map(|execution| fill(order.client_id, execution));
    let new: Vec<Fill> = fills.filter(|new| known.fills.iter().all(|fill| fill.id != new.id)).collect();
    if new.is_empty() {
        return None;
    }
    let late: Qty = new.iter().map(|fill| fill.qty).sum();
    known.fills.extend(new);
    known.filled_qty = known.fills.iter().map(|fill| fill.qty).sum();
    known.status = match known.status {
        _ if known.filled_qty >= known.qty => OrderStatus::Filled,
        // It has ended all the same.
        ended @ (OrderStatus::Canceled | OrderStatus::Expired) => ended,
        OrderStatus::Rejected => OrderStatus::Expired,
        _ => OrderStatus::PartiallyFilled,
    };
    let closing = closing(&trade);
    let books = LiveTrade::recounted(of(&trade, Side::Buy), of(&trade, Side::Sell), missing, closing);
    recount(&mut trade, &books);
    let left = closing.map(|_| (books.held(&trade.pair), books.dust_cost(&trade.pair)));
    let dust = left.filter(|(qty, _)| dust.is_some() || !qty.is_zero()).map(|(qty, cost)| Dust {
        trade_id: trade.id,
        account_id: order.account_id,
        exchange_id: order.exchange_id,
        asset: trade.pair.base().to_owned(),
        qty,
        cost,
    });
    let event = told(order, late, trade.status);
    Some((LateBooking { account_id: order.account_id, trade, before, dust }, event))
}

/// What a closed trade's books come to once fees are valued that nobody could value before: `prices` are those of its
/// fills' third coins at their times, by the fill's id. `None` where they have it all.
pub(crate) fn revalue(
    account_id: AccountId,
    before: Trade,
    dust: Option<(ExchangeId, Qty)>,
    prices: &HashMap<FillId, Quote>,
) -> Option<LateBooking> {
    let closing = closing(&before)?;
    let missing = missing(&before, dust.map(|(_, qty)| qty));
    let mut trade = before.clone();
    for fill in trade.orders.iter_mut().flat_map(|order| &mut order.fills) {
        fill.fee_price = fill.fee_price.or_else(|| prices.get(&fill.id).copied());
    }
    if trade.orders == before.orders {
        return None;
    }
    let books = LiveTrade::recounted(of(&trade, Side::Buy), of(&trade, Side::Sell), missing, Some(closing));
    recount(&mut trade, &books);
    let dust = dust.map(|(exchange_id, qty)| Dust {
        trade_id: trade.id,
        account_id,
        exchange_id,
        asset: trade.pair.base().to_owned(),
        qty,
        cost: books.dust_cost(&trade.pair),
    });
    Some(LateBooking { account_id, trade, before: Some(before), dust })
}

/// A trade that never began as far as the books know: what was bought in it lies on the account, and no bot holds it.
fn begun(order: &JournaledOrder, report: &Report) -> Option<Trade> {
    let at = report.executions.iter().map(|execution| execution.at).min()?;
    Some(Trade {
        id: order.trade_id,
        bot_id: order.bot_id,
        exchange: Exchange::Binance,
        pair: order.pair.clone(),
        side: Side::Buy,
        status: TradeStatus::Closed,
        dry_run: false,
        opened_at: at,
        closed_at: Some(at),
        entry_price: Decimal::ZERO,
        exit_price: None,
        amount: Qty::ZERO,
        stake: Quote::ZERO,
        fees: Quote::ZERO,
        unvalued_fees: 0,
        profit: None,
        profit_pct: None,
        profit_usd: None,
        usd_rate: Quote::new(Decimal::ONE).ok().filter(|_| DOLLARS.contains(&order.pair.quote())),
        exit_reason: Some(ExitReason::Manual),
        stop_price: None,
        take_profit_price: None,
        fee_rates: None,
        orders: Vec::new(),
        standing: None,
    })
}

/// An order that came to nothing as far as the books know.
fn listed(order: &JournaledOrder, report: &Report) -> Order {
    let price = order.price.or_else(|| Some(report.executions.first()?.price));
    Order {
        id: OrderId::from_u128(order.client_id.as_u128()),
        client_order_id: order.client_id,
        side: order.side,
        kind: order.kind,
        status: OrderStatus::Open,
        price: price.unwrap_or(Price::MIN),
        qty: order.qty,
        filled_qty: Qty::ZERO,
        created_at: order.decided_at,
        fills: Vec::new(),
        receipt: None,
    }
}

/// How it ended, where it has.
fn closing(trade: &Trade) -> Option<Closing> {
    let (Some(reason), Some(at)) = (trade.exit_reason, trade.closed_at) else { return None };
    (trade.status == TradeStatus::Closed).then_some(Closing { reason, at })
}

/// How much of a trade was gone by its owner's own hand: of a closed one what was neither sold nor left, of an open one
/// what it does not count as its own.
fn missing(trade: &Trade, dust: Option<Qty>) -> Qty {
    let books = LiveTrade::recounted(of(trade, Side::Buy), of(trade, Side::Sell), Qty::ZERO, None);
    let gone = match trade.status {
        TradeStatus::Closed => books.held(&trade.pair).decimal() - dust.unwrap_or(Qty::ZERO).decimal(),
        TradeStatus::Open => books.received(&trade.pair).decimal() - trade.amount.decimal(),
    };
    Qty::new(gone).unwrap_or_default()
}

/// What was executed on one side.
fn of(trade: &Trade, side: Side) -> Vec<Execution> {
    let fills = trade.orders.iter().filter(|order| order.side == side).flat_map(|order| &order.fills);
    fills.map(booked_execution).collect()
}

/// An execution as it stands in the books.
pub(crate) fn booked_execution(fill: &Fill) -> Execution {
    Execution {
        trade_id: fill.venue_trade_id.unwrap_or_default(),
        at: fill.at,
        price: fill.price,
        qty: fill.qty,
        fee: fill.fee,
        fee_asset: fill.fee_asset.as_str().into(),
        fee_price: fill.fee_price,
    }
}

fn recount(trade: &mut Trade, books: &LiveTrade) {
    let pair = trade.pair.clone();
    trade.entry_price = books.average(&pair).round_dp(8).normalize();
    (trade.amount, trade.stake, trade.fees) = (books.amount(&pair), books.stake(&pair), books.fees(&pair));
    trade.unvalued_fees = u32::try_from(books.unvalued_fees(&pair)).unwrap_or(u32::MAX);
    if books.closing.is_some() {
        let profit = books.profit(&pair);
        trade.exit_price = books.exit_price();
        trade.profit = Some(profit);
        trade.profit_pct = Some(books.profit_pct(&pair, profit));
        trade.profit_usd = trade.usd_rate.and_then(|rate| valued(profit, rate));
    }
}

fn told(order: &JournaledOrder, late: Qty, status: TradeStatus) -> DomainEvent {
    let (base, id) = (order.pair.base(), order.client_id);
    let (code, what) = match status {
        TradeStatus::Closed => ("fill_after_close", "its trade had ended: look at the account"),
        TradeStatus::Open => ("fill_late", "its bot was not there; it goes on from it"),
    };
    let verb = if order.side == Side::Buy { "bought" } else { "sold" };
    let message = format!("order {id} {verb} {late} {base} late, when {what}");
    let data = EventData::BotError(BotFailed {
        bot_id: Some(order.bot_id),
        code: code.to_owned(),
        message,
        resolved: false,
    });
    DomainEvent {
        id: EventId::new(),
        account_id: order.account_id,
        bot_id: Some(order.bot_id),
        at: clock::now(),
        data,
    }
}
