//! A trade before it is made: what each entry would buy and where its levels would lie, reckoned by the very machine and
//! books that trade it.

use model::{Faults, Market, Price, Qty, Quote, Warning};
use rust_decimal::Decimal;

use crate::books::{Books, Entry};
use crate::dca;
use crate::definition::BotDefinition;
use crate::market_rules::MarketRules;
use crate::paper::PaperBot;
use crate::plan::Plan;

/// A whole ladder, if the base order were decided at one price and the market then fell from trigger to trigger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preview {
    /// The entries, the base order first. Safety orders whose trigger rounds to 0 never fire and are not among them.
    pub entries: Vec<PreviewedEntry>,
    /// What its owner should know.
    pub warnings: Vec<Warning>,
}

/// One entry, and the trade as it would stand after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreviewedEntry {
    /// The buy: decided at its trigger, filled with slippage, its fee in quote.
    pub entry: Entry,
    /// Whether the market can reach it: the stop of the entries before it lies below. The figures of one that it
    /// cannot reach are those that it would have without the stop.
    pub is_reached: bool,
    /// Everything bought so far, in base.
    pub amount: Qty,
    /// Everything spent so far, in quote, fees included.
    pub stake: Quote,
    /// The average cost price A, fee included.
    pub average: Decimal,
    /// Where it would take its profit.
    pub take_profit: Option<Price>,
    /// Where it would stop, a trailing stop included as it lies right after the fill; `None` where it has none or
    /// it rounds to 0.
    pub stop: Option<Price>,
    /// What selling all at the take-profit price would leave, in quote.
    pub profit_at_take_profit: Option<Quote>,
    /// What selling all at the stop would lose, in quote; everything where there is no stop.
    pub loss_at_stop: Quote,
}

impl Preview {
    /// Works a definition out as on paper, a live one as well: its fees are then taken to be those of the market, in quote.
    ///
    /// # Errors
    /// What [`Plan::new`] refuses, and amounts that cannot be kept exactly.
    pub fn new(bot: &BotDefinition, market: &Market, price: Price) -> Result<Self, Faults> {
        let plan = Plan::new(&BotDefinition { dry_run: true, ..bot.clone() }, market)?;
        let mut preview = match &plan {
            Plan::Dca(ladder) => dca::preview(ladder, price, bot.dry_run)?,
        };
        let rules = plan.market_rules();
        preview.warnings.extend(bot.no_stop());
        preview.warnings.extend(preview.at_stop(bot, rules));
        preview.warnings.extend(preview.in_parts(rules));
        Ok(preview)
    }

    /// What the whole ladder spends, in quote, fees included: entries under the stop as well, for a stop may be moved.
    pub fn funds_needed(&self) -> Quote {
        self.entries.last().map_or(Quote::ZERO, |last| last.stake)
    }

    /// Warns where what has been bought down to the stop, the fee taken out of it, is worth less there than the venue
    /// takes, and where the stop lies below the lowest price that there is.
    pub fn at_stop(&self, bot: &BotDefinition, rules: &MarketRules) -> Option<Warning> {
        let last = self.entries.iter().rfind(|entry| entry.is_reached)?;
        if last.stop.is_none() && bot.has_stop() {
            let (tick, price) = (rules.market.tick_size, last.entry.decided);
            let message = format!(
                "after a buy at {price} the stop rounds down to 0, below the pair's tick of {tick}: it never acts"
            );
            return Some(Warning { param: "stop_loss".to_owned(), code: "stop_below_tick", message });
        }
        let (stop, minimum) = (last.stop?, rules.market.min_notional);
        let worth = stop * rules.received(last.amount)?;
        let message = || {
            format!(
                "at its stop of {stop} a trade would be worth {worth}, the venue's minimum is {minimum}: it could not be \
                 sold there, and its coins would stay on the account as dust"
            )
        };
        let code = "below_minimum_at_stop";
        (worth < minimum).then(|| Warning { param: "stop_loss".to_owned(), code, message: message() })
    }

    /// Warns where all that is bought is more than the venue sells in one order.
    pub fn in_parts(&self, rules: &MarketRules) -> Option<Warning> {
        let all = self.entries.last()?.amount;
        let (orders, most) = (rules.parts(all), rules.market.bounds.max_market_qty?);
        let message = || {
            format!(
                "the whole ladder buys {all}, and the venue sells at most {most} in one order: it would be sold in {orders} \
                 orders, one after the other"
            )
        };
        let (param, code) = ("max_open_trades".to_owned(), "sold_in_parts");
        (orders > Decimal::ONE).then(|| Warning { param, code, message: message() })
    }

    /// The most that a stop would lose, in quote, if it sold at its own price: a market that jumps over it loses more.
    pub fn worst_loss(&self) -> Quote {
        let losses = self.entries.iter().filter(|entry| entry.is_reached).map(|entry| entry.loss_at_stop);
        losses.max().unwrap_or(Quote::ZERO)
    }
}

impl PreviewedEntry {
    pub(crate) fn of(entry: Entry, is_reached: bool, paper: &PaperBot, market: &Market) -> Self {
        let (books, machine) = (paper.books(), paper.machine());
        let profit_at = |level: Price| paper.sold_at(level).map(|price| books.profit(price, market.fee));
        let (stop, take_profit) = (machine.stop_price(), machine.take_profit_price());
        let left = stop.and_then(profit_at).unwrap_or(Quote::ZERO - books.stake());
        Self {
            entry,
            is_reached,
            amount: books.amount(),
            stake: books.stake(),
            average: Books::average(books),
            take_profit,
            stop,
            profit_at_take_profit: take_profit.and_then(profit_at),
            loss_at_stop: Quote::ZERO - left,
        }
    }
}
