//! What is shown of bots and trades: what is stored, at the last price.

use model::{Pct, Price, Qty, Quote, Rate, Side, Trade, TradeStatus};
use rust_decimal::Decimal;

use crate::rates::valued;
use crate::record::booked_execution;
use crate::stats::BotStats;
use crate::store::StoredBot;

/// A bot with what it holds and what it has made.
#[derive(Clone, Debug)]
pub struct BotView {
    /// The bot.
    pub bot: StoredBot,
    /// What it holds, at the last price.
    pub open_trade: Option<Trade>,
    /// What its closed trades add up to.
    pub stats: BotStats,
    /// What its whole ladder needs, fees included, in quote: what percentages of its statistics are of.
    pub capital: Quote,
}

/// An open trade's profit if all of it were sold at `price` for `fee`, in US dollars at `usd_rate`; a closed one stays as
/// it is.
pub(crate) fn mark(trade: &mut Trade, price: Option<Price>, fee: Rate, usd_rate: Option<Quote>) {
    if trade.status != TradeStatus::Open {
        return;
    }
    trade.usd_rate = usd_rate;
    let Some(price) = price else { return };
    let sold = sold(trade);
    let worth = price * sold.left;
    let profit = worth - worth * fee + sold.proceeds - trade.stake;
    let share = profit.decimal().checked_div(trade.stake.decimal()).unwrap_or_default();
    trade.profit = Some(profit);
    trade.profit_pct = Pct::new((share * Decimal::ONE_HUNDRED).round_dp(8).normalize()).ok();
    trade.profit_usd = usd_rate.and_then(|rate| valued(profit, rate));
}

/// What of an open trade was sold already: an exit fills in parts.
pub(crate) struct Sold {
    /// What it brought, in quote, fees off it.
    pub(crate) proceeds: Quote,
    /// What of the trade's amount is left.
    pub(crate) left: Qty,
}

/// What of a trade with its orders was sold.
pub(crate) fn sold(trade: &Trade) -> Sold {
    let sells = trade.orders.iter().filter(|order| order.side == Side::Sell).flat_map(|order| &order.fills);
    let (mut proceeds, mut left) = (Decimal::ZERO, trade.amount.decimal());
    for execution in sells.map(booked_execution) {
        proceeds += execution.proceeds(&trade.pair);
        left -= execution.gone(&trade.pair);
    }
    Sold { proceeds: Quote::new(proceeds).unwrap_or_default(), left: Qty::new(left).unwrap_or_default() }
}
