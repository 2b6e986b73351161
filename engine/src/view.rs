//! What is shown of bots and trades: what is stored, at the last price.

use model::{Pct, Price, Qty, Quote, Rate, Side, Trade, TradeStatus, Wait};
use rust_decimal::Decimal;
use strategies::BotDefinition;

use strategies::live::cost_of;

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
    /// The rules that it keeps, where the bot has others by now.
    pub kept_rules: Option<BotDefinition>,
    /// What its closed trades add up to; percentages are of the bot's `capital`.
    pub stats: BotStats,
    /// What it would act on next.
    pub waiting_for: Vec<Wait>,
}

/// What selling a trade costs: by its own rates, where it has some, else `configured`.
pub(crate) fn sale_fee(trade: &Trade, configured: Rate) -> Rate {
    trade.fee_rates.and_then(|rates| rates.taker_rate()).unwrap_or(configured)
}

/// An open trade's profit if all of it were sold at `price` for its own fee, or else `fee`, in US dollars at `usd_rate`; a
/// closed one stays as it is.
pub(crate) fn mark(trade: &mut Trade, price: Option<Price>, fee: Rate, usd_rate: Option<Quote>) {
    if trade.status != TradeStatus::Open {
        return;
    }
    trade.usd_rate = usd_rate;
    let Some(price) = price else { return };
    let sold = sold(trade);
    let profit = sold.profit(price, sale_fee(trade, fee));
    let share = profit.decimal().checked_div(sold.cost.decimal()).unwrap_or_default();
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
    /// What the trade's amount cost: its stake without what its owner took out, at its cost.
    pub(crate) cost: Quote,
}

impl Sold {
    /// What the trade makes if the rest of it is sold at a price: what is left of that after the fee, and what was sold
    /// before, less what all of it cost. It is what is called unrealized profit everywhere.
    pub(crate) fn profit(&self, price: Price, fee: Rate) -> Quote {
        let worth = price * self.left;
        worth - worth * fee + self.proceeds - self.cost
    }
}

/// What of a trade with its orders was sold.
pub(crate) fn sold(trade: &Trade) -> Sold {
    let (mut received, mut proceeds, mut left) = (Decimal::ZERO, Decimal::ZERO, trade.amount.decimal());
    for order in &trade.orders {
        for execution in order.fills.iter().map(booked_execution) {
            if order.side == Side::Buy {
                received += execution.received(&trade.pair);
            } else {
                proceeds += execution.proceeds(&trade.pair);
                left -= execution.gone(&trade.pair);
            }
        }
    }
    let received = Qty::new(received).unwrap_or_default();
    Sold {
        proceeds: Quote::new(proceeds).unwrap_or_default(),
        left: Qty::new(left).unwrap_or_default(),
        cost: trade.stake - taken_out(trade.amount, received, trade.stake),
    }
}

/// What of a stake was spent for what was received and is not counted as its trade's any more.
pub(crate) fn taken_out(amount: Qty, received: Qty, stake: Quote) -> Quote {
    let gone = Qty::new(received.decimal() - amount.decimal()).unwrap_or_default();
    if gone.is_zero() { Quote::ZERO } else { cost_of(gone, received, stake) }
}
