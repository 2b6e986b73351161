//! The `dca` machine: buy, average down, take profit or stop (contract §4).

use std::sync::Arc;

use model::{ExitReason, Mark, Price, PriceMove, Qty, Timestamp, Trail, Watch};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::plan::DcaPlan;
use crate::definition::StopLossBasis;
use crate::error::StrategyError;
use crate::exact::{self, Rounding};
use crate::machine::{Action, Event, Reaction};

/// The machine: a shared plan and where this bot's trade stands in it.
#[derive(Clone, Debug)]
pub struct Dca {
    plan: Arc<DcaPlan>,
    phase: Phase,
    /// Entries asked for and not yet filled; until they are, it only watches for the way out.
    awaiting: u32,
    /// It has asked for everything to be sold.
    is_leaving: bool,
}

/// Where the trade stands; what a restart needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Nothing is held. The next base order comes with the first tick at or after this time.
    Flat { not_before: Option<Timestamp> },
    /// Coins are held.
    Holding(Holding),
}

/// What is held and the levels that follow from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Holding {
    /// Steps of the ladder; what was added by hand is none.
    entries: u32,
    #[serde(with = "model::number")]
    base_notional: Decimal,
    #[serde(with = "model::number")]
    base_qty: Decimal,
    #[serde(with = "model::number")]
    notional: Decimal,
    #[serde(with = "model::number")]
    qty: Decimal,
    stop: Option<Price>,
    take_profit: Option<Price>,
    next_trigger: Option<Price>,
    /// The highest price since the last entry.
    high: Price,
    /// The highest price since the take-profit price was reached.
    armed: Option<Price>,
    /// Up to when prices are counted into the highs, where a level trails; `None` since the last entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<Timestamp>,
}

impl Dca {
    /// A machine that holds nothing yet.
    pub(crate) fn new(plan: Arc<DcaPlan>) -> Self {
        Self { plan, phase: Phase::Flat { not_before: None }, awaiting: 0, is_leaving: false }
    }

    /// What the machine does and waits for after an event.
    pub(crate) fn on(&mut self, event: &Event) -> Reaction {
        let mut reaction = Reaction::default();
        match (&mut self.phase, event) {
            (_, Event::Price(_)) if self.is_leaving => {}
            (Phase::Flat { not_before }, Event::Price(moved)) => {
                if self.awaiting == 0 && not_before.is_none_or(|due| moved.at >= due) {
                    self.plan.base_order(moved.price, &mut reaction);
                }
            }
            (Phase::Holding(holding), Event::Price(moved)) => {
                let exit = holding.exit(&self.plan, moved);
                self.is_leaving = exit.is_some();
                reaction.actions.extend(exit);
                if !self.is_leaving && self.awaiting == 0 {
                    holding.entries(&self.plan, moved.price, &mut reaction);
                }
            }
            (
                Phase::Flat { .. },
                Event::Bought { price, notional, qty } | Event::Added { price, notional, qty },
            ) => {
                self.awaiting = self.awaiting.saturating_sub(1);
                self.phase = Phase::Holding(Holding::open(&self.plan, *price, *notional, *qty));
            }
            (Phase::Holding(holding), Event::Bought { price, notional, qty }) => {
                self.awaiting = self.awaiting.saturating_sub(1);
                holding.entries += 1;
                if holding.add(&self.plan, *price, *notional, *qty).is_none() {
                    reaction.error = Some(StrategyError::OutOfRange);
                }
            }
            (Phase::Holding(holding), Event::Added { price, notional, qty }) => {
                self.awaiting = self.awaiting.saturating_sub(1);
                if holding.add(&self.plan, *price, *notional, *qty).is_none() {
                    reaction.error = Some(StrategyError::OutOfRange);
                }
            }
            (Phase::Flat { .. }, Event::Recounted { price, notional, qty }) => {
                self.phase = Phase::Holding(Holding::open(&self.plan, *price, *notional, *qty));
            }
            (Phase::Holding(holding), Event::Recounted { notional, qty, .. }) => {
                (holding.notional, holding.qty) = (*notional, qty.decimal());
                holding.reckon(&self.plan);
            }
            (_, Event::NotBought) => self.awaiting = self.awaiting.saturating_sub(1),
            (phase, Event::Sold { at }) => {
                (self.awaiting, self.is_leaving) = (0, false);
                let not_before = at.next().max(at.plus_seconds(self.plan.cooldown_s));
                *phase = Phase::Flat { not_before: Some(not_before) };
            }
        }
        self.answered(reaction)
    }

    /// The next safety order alone, where a price that it was told of before had reached its trigger as well.
    pub(crate) fn next_entry(&mut self, reached: Price) -> Reaction {
        let mut reaction = Reaction::default();
        if let Phase::Holding(holding) = &self.phase
            && !self.is_leaving
            && self.awaiting == 0
            && holding.next_trigger.is_some_and(|trigger| reached <= trigger)
        {
            self.plan.buy(holding.entries, reached, &mut reaction);
        }
        self.answered(reaction)
    }

    /// From now on it waits for what it asks for.
    fn answered(&mut self, mut reaction: Reaction) -> Reaction {
        let buys = reaction.actions.iter().filter(|action| matches!(action, Action::Buy { .. })).count();
        self.awaiting += u32::try_from(buys).unwrap_or(u32::MAX);
        reaction.watch = self.watch();
        reaction
    }

    /// What it sleeps on now.
    pub(crate) fn watch(&self) -> Watch {
        match &self.phase {
            _ if self.is_leaving => Watch::NEVER,
            Phase::Flat { .. } if self.awaiting > 0 => Watch::NEVER,
            Phase::Flat { not_before } => {
                Watch { at: Some(not_before.unwrap_or(Timestamp::MIN)), ..Watch::NEVER }
            }
            Phase::Holding(holding) if self.awaiting > 0 => holding.way_out(&self.plan),
            Phase::Holding(holding) => {
                let out = holding.way_out(&self.plan);
                Watch { below: out.below.max(holding.next_trigger), ..out }
            }
        }
    }

    /// What it would sleep on if it could not buy: its stop, its take-profit price and what trails.
    pub(crate) fn way_out(&self) -> Watch {
        match &self.phase {
            Phase::Holding(holding) if !self.is_leaving => holding.way_out(&self.plan),
            Phase::Holding(_) | Phase::Flat { .. } => Watch::NEVER,
        }
    }

    /// The next level it would act at on the way up.
    pub(crate) fn next_above(&self) -> Option<Price> {
        match &self.phase {
            Phase::Holding(holding) if holding.armed.is_none() => holding.take_profit,
            Phase::Holding(_) | Phase::Flat { .. } => None,
        }
    }

    /// The next level it would act at on the way down.
    pub(crate) fn next_below(&self) -> Option<Price> {
        match &self.phase {
            Phase::Holding(holding) => {
                let armed = holding.armed_level(&self.plan);
                holding.stop_level(&self.plan).max(armed).max(holding.next_trigger)
            }
            Phase::Flat { .. } => None,
        }
    }

    /// Counts a price that was passed into the highs, without deciding anything.
    pub(crate) fn observe(&mut self, price: Price) {
        if let Phase::Holding(holding) = &mut self.phase {
            holding.raise(price);
        }
    }

    /// Counts a price into the highs that it slept through before a restart; `entered` is when it last bought.
    pub(crate) fn recall(&mut self, mark: &Mark, entered: Timestamp) {
        if let Phase::Holding(holding) = &mut self.phase
            && mark.at > holding.counted.unwrap_or(entered)
        {
            holding.raise(mark.high);
        }
    }

    /// Takes no price before this time for one that it slept through.
    pub(crate) fn count_from(&mut self, at: Timestamp) {
        if let Phase::Holding(holding) = &mut self.phase {
            holding.counted = holding.counted.max(Some(at)).filter(|_| self.plan.trails());
        }
    }

    /// The stop as it stands, a trailing one included.
    pub(crate) fn stop_price(&self) -> Option<Price> {
        match &self.phase {
            Phase::Holding(holding) => holding.stop_level(&self.plan),
            Phase::Flat { .. } => None,
        }
    }

    /// What the trailing stop follows from, of a trade that has one.
    pub(crate) fn trailing_stop(&self) -> Option<Trail> {
        match &self.phase {
            Phase::Holding(holding) => holding.trailing_stop(&self.plan),
            Phase::Flat { .. } => None,
        }
    }

    /// Why a trade would close at this stop: the stop itself, or what trails above it.
    pub(crate) fn stop_reason(&self, level: Price) -> ExitReason {
        match &self.phase {
            Phase::Holding(holding)
                if self.plan.trailing_stop.is_some() && holding.stop.is_none_or(|stop| level > stop) =>
            {
                ExitReason::TrailingStop
            }
            Phase::Holding(_) | Phase::Flat { .. } => ExitReason::StopLoss,
        }
    }

    /// Waits for an entry that its owner asked for; until it has filled it only watches for the way out.
    pub(crate) fn await_entry(&mut self) {
        self.awaiting += 1;
    }

    /// How many steps of the ladder have been bought.
    pub(crate) fn steps_bought(&self) -> u32 {
        match &self.phase {
            Phase::Holding(holding) => holding.entries,
            Phase::Flat { .. } => 0,
        }
    }

    /// Whether all is to be sold: until then it asks for nothing more.
    pub(crate) fn set_leaving(&mut self, is_leaving: bool) {
        self.is_leaving = is_leaving;
    }

    /// The take-profit price.
    pub(crate) fn take_profit_price(&self) -> Option<Price> {
        match &self.phase {
            Phase::Holding(holding) => holding.take_profit,
            Phase::Flat { .. } => None,
        }
    }

    /// Where the next safety order would be bought.
    pub(crate) fn next_trigger(&self) -> Option<Price> {
        match &self.phase {
            Phase::Holding(holding) => holding.next_trigger,
            Phase::Flat { .. } => None,
        }
    }

    /// Whether coins are held.
    pub(crate) fn is_holding(&self) -> bool {
        matches!(self.phase, Phase::Holding(_))
    }

    /// What it decides by.
    pub(crate) fn plan(&self) -> &Arc<DcaPlan> {
        &self.plan
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Goes on from a phase; its levels are what the plan says, which may be another than the one it began on.
    pub(crate) fn restore(plan: Arc<DcaPlan>, mut phase: Phase) -> Self {
        if let Phase::Holding(holding) = &mut phase {
            holding.reckon(&plan);
            holding.armed = holding.armed.filter(|_| plan.trailing_take_profit.is_some());
        }
        Self { plan, phase, awaiting: 0, is_leaving: false }
    }

    /// The same machine under another plan.
    pub(crate) fn replanned(&self, plan: Arc<DcaPlan>) -> Self {
        Self::restore(plan, self.phase.clone())
    }

    /// Goes on with entries under way, or on its way out.
    pub(crate) fn go_on(&mut self, awaiting: u32, is_leaving: bool) {
        (self.awaiting, self.is_leaving) = (awaiting, is_leaving);
    }
}

impl DcaPlan {
    fn trails(&self) -> bool {
        self.trailing_stop.is_some() || self.trailing_take_profit.is_some()
    }

    fn base_order(&self, price: Price, reaction: &mut Reaction) {
        self.buy(0, price, reaction);
    }

    /// Asks for entry `index` at `price`, or says why that cannot be.
    fn buy(&self, index: u32, price: Price, reaction: &mut Reaction) {
        let Some(rung) = self.rungs.get(index as usize) else { return };
        match self.rules.entry(index, &rung.stake, price) {
            Ok(qty) => reaction.actions.push(Action::Buy { index, qty, price }),
            Err(error) => reaction.error = Some(error),
        }
    }
}

impl Holding {
    fn open(plan: &DcaPlan, price: Price, notional: Decimal, qty: Qty) -> Self {
        let mut holding = Self {
            entries: 1,
            base_notional: notional,
            base_qty: qty.decimal(),
            notional,
            qty: qty.decimal(),
            stop: None,
            take_profit: None,
            next_trigger: None,
            high: price,
            armed: None,
            counted: None,
        };
        holding.reckon(plan);
        holding
    }

    fn add(&mut self, plan: &DcaPlan, price: Price, notional: Decimal, qty: Qty) -> Option<()> {
        self.notional = self.notional.checked_add(notional)?;
        self.qty = self.qty.checked_add(qty.decimal())?;
        self.high = price;
        self.armed = None;
        self.counted = None;
        self.reckon(plan);
        Some(())
    }

    /// The levels after an entry.
    fn reckon(&mut self, plan: &DcaPlan) {
        let tick = plan.rules.market.tick_size;
        let (notional, qty) = match plan.stop_basis {
            StopLossBasis::Average => (self.notional, self.qty),
            StopLossBasis::BaseOrder => (self.base_notional, self.base_qty),
        };
        let stop = plan.stop.as_ref();
        self.stop = stop.and_then(|stop| exact::level(notional, qty, stop, tick, Rounding::Down));
        let take_profit = plan.take_profit.as_ref();
        self.take_profit =
            take_profit.and_then(|level| exact::level(self.notional, self.qty, level, tick, Rounding::Up));
        self.next_trigger = self.trigger(plan, self.entries);
    }

    /// Where entry `index` would be made.
    pub(crate) fn trigger(&self, plan: &DcaPlan, index: u32) -> Option<Price> {
        let rung = plan.rungs.get(index as usize)?;
        exact::level(
            self.base_notional,
            self.base_qty,
            &rung.trigger,
            plan.rules.market.tick_size,
            Rounding::Down,
        )
    }

    /// The way out that a price opens: the stop, then the take profit.
    fn exit(&mut self, plan: &DcaPlan, moved: &PriceMove) -> Option<Action> {
        let price = moved.price;
        self.raise(moved.high);
        self.counted = Some(moved.at).filter(|_| plan.trails());
        if let Some(level) = self.stop_level(plan).filter(|level| price <= *level) {
            let is_trailing = self.stop.is_none_or(|stop| level > stop);
            let reason = if is_trailing { ExitReason::TrailingStop } else { ExitReason::StopLoss };
            return Some(Action::Sell { reason, price, stop: Some(level) });
        }
        if self.armed.is_none() && self.take_profit.is_some_and(|level| price >= level) {
            if plan.trailing_take_profit.is_none() {
                return Some(Action::Sell { reason: ExitReason::TakeProfit, price, stop: None });
            }
            self.armed = Some(price);
        }
        let is_back = self.armed_level(plan).is_some_and(|level| price <= level);
        is_back.then_some(Action::Sell { reason: ExitReason::TrailingTakeProfit, price, stop: None })
    }

    /// Every safety order whose trigger a price has reached.
    fn entries(&self, plan: &DcaPlan, price: Price, reaction: &mut Reaction) {
        let mut index = self.entries;
        let mut trigger = self.next_trigger;
        while trigger.is_some_and(|level| price <= level) && reaction.error.is_none() {
            plan.buy(index, price, reaction);
            index += 1;
            trigger = self.trigger(plan, index);
        }
    }

    fn raise(&mut self, price: Price) {
        self.high = self.high.max(price);
        self.armed = self.armed.map(|high| high.max(price));
    }

    /// The stop, or the trailing stop where that is higher.
    fn stop_level(&self, plan: &DcaPlan) -> Option<Price> {
        self.stop.max(self.trailing_stop(plan).and_then(|trail| trail.level(self.high)))
    }

    fn trailing_stop(&self, plan: &DcaPlan) -> Option<Trail> {
        let distance = plan.trailing_stop?;
        Some(Trail { high: self.high, distance, tick_size: plan.rules.market.tick_size })
    }

    /// Where an armed trade closes.
    pub(crate) fn armed_level(&self, plan: &DcaPlan) -> Option<Price> {
        let (high, distance) = (self.armed?, plan.trailing_take_profit?);
        Trail { high, distance, tick_size: plan.rules.market.tick_size }.level(high)
    }

    /// Where it would sell.
    fn way_out(&self, plan: &DcaPlan) -> Watch {
        let armed = self.armed.and(plan.trailing_take_profit);
        // Both trails in one, drawn as tightly as the tighter: it may wake for nothing, never too late.
        let distance = match (plan.trailing_stop, armed) {
            (Some(stop), Some(armed)) => Some(stop.min(armed)),
            (stop, armed) => stop.or(armed),
        };
        Watch {
            below: self.stop,
            above: self.take_profit.filter(|_| self.armed.is_none()),
            trail: distance.map(|distance| Trail {
                high: self.high,
                distance,
                tick_size: plan.rules.market.tick_size,
            }),
            at: None,
        }
    }
}
