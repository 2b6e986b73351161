//! What an owner does to a bot's trade by hand: the bot goes on with what is left.

use actix::{Context, Handler, Message};
use model::{ClientOrderId, ExitReason, Price, Timestamp, TradeId};
use strategies::live::{CannotAdd, LiveBot, LiveStep, Role};
use strategies::{Funds, StrategyError};

use super::live::Prompt;
use super::{Bot, Hand};
use crate::by_hand::Then;
use crate::change::Positions;
use crate::error::EngineError;
use crate::ledger::Durable;
use crate::signals::Attached;

/// A trade is to be sold at the market; nothing happens if it is over. Answered once it is decided.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct CloseTrade {
    pub(crate) trade_id: TradeId,
    pub(crate) reason: ExitReason,
    /// The market's last price, which paper sells at.
    pub(crate) last: (Price, Timestamp),
    /// What it does afterwards, where it is not being stopped already.
    pub(crate) then: Then,
}

/// More is to be bought for a trade, at the market and beside the ladder. Answered once it is decided, with the order
/// that a live bot sends.
#[derive(Message)]
#[rtype(result = "Result<(Durable, Option<ClientOrderId>), EngineError>")]
pub(crate) struct AddFunds {
    pub(crate) trade_id: TradeId,
    pub(crate) funds: Funds,
    /// The market's last price, which paper buys at.
    pub(crate) last: (Price, Timestamp),
    /// What is written with it.
    pub(crate) attached: Attached,
}

/// How many buys by hand one trade may have: each is carried along in the bot's state.
const MOST_ADDED: usize = 100;

impl Bot {
    /// Whether this is the trade it is in.
    fn is_in(&self, trade_id: TradeId) -> bool {
        self.recorder.trade_id() == Some(trade_id) && self.hand.is_holding()
    }

    /// Everything that it has handed over so far.
    fn so_far(&self) -> Result<Durable, EngineError> {
        Ok(self.ledger.settle(self.recorder.account_id(), self.id)?)
    }

    /// Refuses a live bot whose orders of before the start are not accounted for.
    fn accounted_for(&self) -> Result<(), EngineError> {
        if matches!(self.hand, Hand::Paper(_)) || self.is_taken_up() {
            return Ok(());
        }
        let message =
            "the venue has not told yet what became of the bot's orders: try again in a moment".to_owned();
        Err(EngineError::Conflict { code: "orders_under_way", message })
    }

    /// Ends it after a number left the range that it can keep.
    fn give_up(&mut self, trouble: &StrategyError, ctx: &mut Context<Self>) -> EngineError {
        self.fail(trouble.code(), trouble.to_string(), ctx);
        EngineError::Conflict { code: trouble.code(), message: trouble.to_string() }
    }

    fn count_added(&self) -> usize {
        match &self.hand {
            Hand::Paper(paper) => paper.books().entries.iter().filter(|entry| entry.by_hand).count(),
            Hand::Live(live) => live.run().bot.count_added(),
        }
    }
}

impl Handler<CloseTrade> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, close: CloseTrade, ctx: &mut Self::Context) -> Self::Result {
        if !self.is_in(close.trade_id) {
            return self.so_far();
        }
        self.accounted_for()?;
        if close.then == Then::Stop {
            self.recorder.set_stopping(Some(Positions::Close));
        }
        let status = self.status();
        if let Hand::Paper(paper) = &mut self.hand {
            let ((price, at), mut steps) = (close.last, Vec::new());
            let closed = paper.close(close.reason, price, at, &mut steps);
            let change = self.recorder.change(paper, steps, status);
            let durable = self.ledger.enqueue(change)?;
            if let Err(trouble) = closed {
                return Err(self.give_up(&trouble, ctx));
            }
            if self.recorder.stopping().is_some() {
                self.finish_stop(ctx);
            } else {
                self.rewatch();
            }
            return Ok(durable);
        }
        if self.recorder.stopping() == Some(Positions::Hold) {
            // It is being stopped with its coins: now it sells them first.
            self.recorder.set_stopping(Some(Positions::Close));
        }
        self.live(Prompt::Word, ctx, |bot, steps| bot.close(close.reason, &mut ClientOrderId::new, steps));
        self.go_on(ctx);
        self.so_far()
    }
}

impl Handler<AddFunds> for Bot {
    type Result = Result<(Durable, Option<ClientOrderId>), EngineError>;

    fn handle(&mut self, mut add: AddFunds, ctx: &mut Self::Context) -> Self::Result {
        let refused = |code, message: String| EngineError::Conflict { code, message };
        if !self.is_in(add.trade_id) {
            return Err(refused("trade_closed", "the trade is not open any more".to_owned()));
        }
        if self.recorder.stopping().is_some() {
            return Err(refused("bot_stopping", "the bot is being stopped: nothing is added now".to_owned()));
        }
        if self.count_added() >= MOST_ADDED {
            let message = format!("a trade takes at most {MOST_ADDED} buys by hand");
            return Err(refused("too_many_added", message));
        }
        self.accounted_for()?;
        let status = self.status();
        let (price, at) = add.last;
        if let Hand::Paper(paper) = &mut self.hand {
            let (qty, mut steps) = (paper.added(add.funds, price)?, Vec::new());
            let added = paper.add(qty, price, at, &mut steps);
            let mut change = self.recorder.change(paper, steps, status);
            add.attached.take_into(&mut change);
            let durable = self.ledger.enqueue(change)?;
            if let Err(trouble) = added {
                return Err(self.give_up(&trouble, ctx));
            }
            self.rewatch_from_here();
            return Ok((durable, None));
        }
        let Hand::Live(live) = &self.hand else { return Err(EngineError::NotFound("trade")) };
        let qty = live.run().bot.added(add.funds, price)?;
        let id = live.run().bot.named(ClientOrderId::new(), Role::Added, None);
        let mut added = Ok(());
        let act = |bot: &mut LiveBot, steps: &mut Vec<LiveStep>| {
            added = bot.add(qty, price, &mut || id, steps);
            // What is refused is not done.
            if added.is_ok() { add.attached } else { Attached::default() }
        };
        self.live_with(Prompt::Word, ctx, act);
        added.map_err(|why| match why {
            CannotAdd::NotHolding => refused("trade_closing", why.to_string()),
            CannotAdd::Entering => refused("entry_under_way", why.to_string()),
        })?;
        self.go_on(ctx);
        Ok((self.so_far()?, Some(id)))
    }
}
