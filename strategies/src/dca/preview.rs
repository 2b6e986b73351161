//! A ladder before it is traded: what each entry would buy and where its levels would lie, reckoned by the very machine
//! and books that trade it.

use std::sync::Arc;

use crate::BotDefinition;
use model::{ExitReason, Fault, Faults, Market, Price, Qty, Quote, Timestamp, Warning};
use rust_decimal::Decimal;

use super::plan::Plan;
use crate::books::{Books, Entry};
use crate::error::StrategyError;
use crate::exact;
use crate::machine::Action;
use crate::paper::{PaperBot, PaperStep};

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
    /// Where it would stop, a trailing stop included as it lies right after the fill; `None` where it rounds to 0.
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
        let plan = Arc::new(Plan::new(&BotDefinition { dry_run: true, ..bot.clone() }, market)?);
        let mut paper = PaperBot::with_plan(plan.clone());
        let (mut entries, mut warnings) = (Vec::new(), Vec::new());
        let mut trigger = Some(price);
        let mut is_reached = true;
        for (index, rung) in (0_u32..).zip(&plan.rungs) {
            let Some(decided) = trigger else { break };
            let stop = paper.machine().stop_price().filter(|stop| decided <= *stop && is_reached);
            if let Some(stop) = stop {
                is_reached = false;
                warnings.push(unreached(&paper, index, plan.entries(), stop));
            }
            let qty =
                exact::quantity(&rung.stake, decided, market.lot_step).ok_or_else(|| too_much(index))?;
            warnings.extend(plan.entry(index, &rung.stake, decided).err().map(|why| refused(index, &why)));
            if index == 0 && !bot.dry_run {
                warnings.extend(plan.unsellable(qty, decided).map(|why| unsold(index, &why)));
            }
            let action = Action::Buy { index, qty, price: decided };
            let mut steps = Vec::new();
            paper.fill(action, Timestamp::MIN, &mut steps).map_err(|_| too_much(index))?;
            let Some(PaperStep::Entered(entry)) = steps.pop() else { return Err(too_much(index)) };
            entries.push(PreviewedEntry::of(entry, is_reached, &paper, market));
            trigger = paper.machine().next_trigger();
        }
        let never = plan.entries() - entries.len();
        if never > 0 {
            let message = format!("the triggers of {never} safety orders round to 0: they never fire");
            warnings.push(Warning {
                param: "dca.price_deviation".to_owned(),
                code: "trigger_below_tick",
                message,
            });
        }
        warnings.dedup_by(|a, b| a.param == b.param);
        let mut preview = Self { entries, warnings };
        preview.warnings.extend(preview.at_stop(&plan));
        preview.warnings.extend(preview.in_parts(&plan));
        Ok(preview)
    }

    /// What the whole ladder spends, in quote, fees included: entries under the stop as well, for a stop may be moved.
    pub fn funds_needed(&self) -> Quote {
        self.entries.last().map_or(Quote::ZERO, |last| last.stake)
    }

    /// Warns where what has been bought down to the stop, the fee taken out of it, is worth less there than the venue
    /// takes, and where the stop lies below the lowest price that there is.
    pub fn at_stop(&self, plan: &Plan) -> Option<Warning> {
        let last = self.entries.iter().rfind(|entry| entry.is_reached)?;
        if last.stop.is_none() {
            let (tick, price) = (plan.market.tick_size, last.entry.decided);
            let message = format!(
                "after a buy at {price} the stop rounds down to 0, below the pair's tick of {tick}: it never acts"
            );
            return Some(Warning { param: "stop_loss".to_owned(), code: "stop_below_tick", message });
        }
        let (stop, minimum) = (last.stop?, plan.market.min_notional);
        let worth = stop * plan.received(last.amount)?;
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
    pub fn in_parts(&self, plan: &Plan) -> Option<Warning> {
        let all = self.entries.last()?.amount;
        let (orders, most) = (plan.parts(all), plan.market.bounds.max_market_qty?);
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
    fn of(entry: Entry, is_reached: bool, paper: &PaperBot, market: &Market) -> Self {
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

/// Safety order `index` and all below it lie at or under the stop of the entries before.
fn unreached(paper: &PaperBot, index: u32, entries: usize, stop: Price) -> Warning {
    let is_stop = paper.machine().stop_reason(stop) == ExitReason::StopLoss;
    let (param, word) = if is_stop { ("stop_loss", "stop") } else { ("trailing_stop", "trailing stop") };
    let never = entries.saturating_sub(index as usize);
    let message = format!(
        "{never} of {} safety orders lie at or below the {word} ({stop} before entry {}) and will not fill",
        entries.saturating_sub(1),
        index + 1
    );
    Warning { param: param.to_owned(), code: "safety_orders_below_stop", message }
}

/// An entry that the venue would not take.
fn refused(index: u32, why: &StrategyError) -> Warning {
    let message = format!("such a bot is refused: {why}");
    Warning { param: stake_of(index).to_owned(), code: why.code(), message }
}

/// An entry that could not be sold again.
fn unsold(index: u32, why: &str) -> Warning {
    let message = format!("entry {} {why}: such a bot is refused", index + 1);
    Warning { param: stake_of(index).to_owned(), code: "stake_below_minimum", message }
}

fn too_much(index: u32) -> Faults {
    let message = format!("entry {} is more than can be kept exactly at this price", index + 1);
    Faults(vec![Fault { param: stake_of(index).to_owned(), code: "parameter_invalid", message }])
}

const fn stake_of(index: u32) -> &'static str {
    if index == 0 { "stake_amount" } else { "dca.safety_stake" }
}
