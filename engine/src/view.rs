//! What is shown of bots and trades: what is stored, at the last price.

use model::{Pct, Price, Quote, Rate, Trade, TradeStatus};
use rust_decimal::Decimal;

use crate::rates::valued;
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
    let worth = price * trade.amount;
    let profit = worth - worth * fee - trade.stake;
    let share = profit.decimal().checked_div(trade.stake.decimal()).unwrap_or_default();
    trade.profit = Some(profit);
    trade.profit_pct = Pct::new((share * Decimal::ONE_HUNDRED).round_dp(8).normalize()).ok();
    trade.profit_usd = usd_rate.and_then(|rate| valued(profit, rate));
}
