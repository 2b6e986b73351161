//! What becomes of a bot whose owner changes its rules: at once, unless that would trade at the next tick and the owner
//! has not agreed to it, or from its next trade on.

use actix::{Handler, Message};
use model::{ExitReason, FeeRates, Price, PriceMove, Quote, Timestamp};
use strategies::{Action, BotDefinition, Machine, Plan};

use super::{Bot, Hand};
use crate::change::{Apply, Change, Positions, Redefined, Redefinition};
use crate::error::EngineError;
use crate::ledger::Durable;

/// The owner changed its rules.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct Redefine {
    pub(crate) plan: Plan,
    pub(crate) definition: BotDefinition,
    /// What it did so far.
    pub(crate) former: BotDefinition,
    /// What its whole ladder needs from now on, fees included, in quote.
    pub(crate) capital: Quote,
    /// What its levels are computed with from now on.
    pub(crate) fees: FeeRates,
    pub(crate) how: Redefinition,
    /// The market's last price, where one is known.
    pub(crate) last: Option<Price>,
}

/// Rules that wait for the open trade, which keeps its own, to close.
pub(crate) struct NextRules {
    pub(crate) plan: Plan,
    pub(crate) definition: BotDefinition,
    pub(crate) fees: FeeRates,
}

impl Hand {
    /// Whether it is in a trade, or about to be.
    fn is_in_trade(&self) -> bool {
        self.is_holding()
    }

    fn replan(&mut self, plan: &Plan, definition: &BotDefinition) {
        match self {
            Self::Paper(paper) => *paper = paper.replanned(plan),
            Self::Live(live) => live.replan(plan, definition),
        }
    }

    /// Its machine as it is, and as it would be under other rules; `None` where no price moves it.
    fn machines(&self, new: &Redefine) -> Option<(Machine, Machine)> {
        match self {
            Self::Paper(paper) => {
                Some((paper.machine().clone(), paper.replanned(&new.plan).machine().clone()))
            }
            Self::Live(live) => {
                let bot = &live.run().bot;
                let replanned = || live.replanned(&new.plan, &new.definition).machine().clone();
                bot.is_trading().then(|| (bot.machine().clone(), replanned()))
            }
        }
    }
}

impl Bot {
    /// Goes by its own rules once the trade is over that kept others.
    pub(super) fn take_next_rules(&mut self) {
        if self.next_rules.is_none() || self.hand.is_in_trade() {
            return;
        }
        if let Some(next) = self.next_rules.take() {
            self.recorder.keep(None);
            self.recorder.redefine(&next.definition);
            self.recorder.pay(next.fees);
            self.hand.replan(&next.plan, &next.definition);
        }
    }

    /// Refuses rules that would trade at the next tick where the present ones would not.
    fn would_trade(&self, new: &Redefine) -> Result<(), EngineError> {
        let is_closing = matches!(self.recorder.stopping(), Some(Positions::Close | Positions::Hold));
        let Some((before, after)) = self.hand.machines(new).filter(|(before, _)| before.is_holding()) else {
            return Ok(());
        };
        let Some(price) = self.newest_price().or(new.last).filter(|_| !is_closing) else { return Ok(()) };
        let high = self.high_since_told().map_or(price, |high| high.max(price));
        let moved = PriceMove { price, at: Timestamp::MIN, high, low: price };
        let actions = after.foretell(&moved);
        if actions.is_empty() || actions == before.foretell(&moved) {
            return Ok(());
        }
        let message = format!(
            "at the last price of {price} {}: send it with ?confirm=true if that is meant, or with ?apply=next_trade to leave \
             the open trade under the rules that it began with",
            foretold(&actions, &after)
        );
        Err(EngineError::Conflict { code: "would_trade_now", message })
    }
}

/// What actions would do, in words.
fn foretold(actions: &[Action], machine: &Machine) -> String {
    let at = |level: Option<Price>| level.map_or_else(String::new, |level| format!(" of {level}"));
    let mut entries = Vec::new();
    for action in actions {
        match action {
            Action::Sell { reason: ExitReason::TakeProfit | ExitReason::TrailingTakeProfit, .. } => {
                return format!(
                    "the trade would be sold at once, at its take profit{}",
                    at(machine.take_profit_price())
                );
            }
            Action::Sell { stop, .. } => {
                return format!("the trade would be sold at once, at its stop{}", at(*stop));
            }
            Action::Buy { index, .. } => entries.push(index.to_string()),
        }
    }
    let (noun, trigger) =
        (if entries.len() == 1 { "safety order" } else { "safety orders" }, at(machine.next_trigger()));
    format!("{noun} {} would be bought at once, the next trigger{trigger} being passed", entries.join(", "))
}

impl Handler<Redefine> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, new: Redefine, ctx: &mut Self::Context) -> Self::Result {
        self.catch_up();
        let keeps_rules = new.how.apply == Apply::NextTrade && self.hand.is_in_trade();
        if !keeps_rules && !new.how.is_confirmed {
            self.would_trade(&new)?;
        }
        let Redefine { plan, definition, former, capital, fees, .. } = new;
        if keeps_rules {
            self.recorder.rename(&definition.name);
            if self.recorder.kept().is_none() {
                self.recorder.keep(Some(former));
            }
            self.next_rules = Some(Box::new(NextRules { plan, definition: definition.clone(), fees }));
        } else {
            self.recorder.keep(None);
            self.recorder.redefine(&definition);
            self.recorder.pay(fees);
            self.next_rules = None;
            self.hand.replan(&plan, &definition);
        }
        let status = self.status();
        let change = match &self.hand {
            Hand::Paper(paper) => self.recorder.change(paper, Vec::new(), status),
            Hand::Live(live) => self.recorder.live_change(live.run(), Vec::new(), status, live.venue_time()),
        };
        let account_id = self.recorder.account_id();
        let redefined = Redefined { id: self.id, account_id, definition, capital, state: None };
        let durable = self.ledger.enqueue(Change { redefined: Some(Box::new(redefined)), ..change })?;
        self.follow_live(ctx);
        self.go_on(ctx);
        Ok(durable)
    }
}
