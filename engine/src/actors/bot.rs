//! A bot: a strategy machine on paper, its books, and its watch. It decides nothing itself; it feeds the machine
//! and carries out what comes back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::{Actor, ActorContext as _, Addr, Context, Handler, Message};
use model::{BotDefinition, BotId, Pair, PriceMove, Watch};
use strategies::{PaperBot, PaperStep, Plan, Trouble};

use super::deliver;
use super::feed::{Join, Joined, Leave, MarketFeed, Place, Rewatch, Woken};
use super::fleet::{Fleet, Gone};
use crate::change::{BotStatus, BotTrouble, Change, Positions};
use crate::error::EngineError;
use crate::ledger::{Durable, Ledger};
use crate::meters::Meters;
use crate::record::Recorder;

/// The owner wants it to stop. Answered once it is decided; it holds once that is durable.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct Stop(pub(crate) Positions);

/// The owner wants it to go on; nothing happens unless it was being stopped.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct Resume;

/// The owner changed its rules.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct Redefine {
    pub(crate) plan: Arc<Plan>,
    pub(crate) definition: BotDefinition,
}

/// The actor.
pub(crate) struct Bot {
    id: BotId,
    paper: PaperBot,
    recorder: Recorder,
    feed: Addr<MarketFeed>,
    place: Option<Place>,
    ledger: Ledger,
    fleet: Addr<Fleet>,
    meters: Arc<Meters>,
    /// Whether its end was told: a bot that goes without has panicked.
    ended: bool,
    /// What it waits for when it was woken before it knew its place.
    unanswered: Option<(Watch, u64)>,
    #[cfg(test)]
    panics: bool,
}

/// What a bot is made of.
pub(crate) struct Parts {
    pub(crate) id: BotId,
    pub(crate) paper: PaperBot,
    pub(crate) recorder: Recorder,
    pub(crate) pair: Pair,
}

impl Bot {
    /// Starts a bot on this arbiter.
    pub(crate) fn launch(
        parts: Parts,
        feed: &Addr<MarketFeed>,
        ledger: &Ledger,
        meters: &Arc<Meters>,
        fleet: &Addr<Fleet>,
    ) -> Addr<Self> {
        let watch = watch(&parts.paper, &parts.recorder);
        let bot = Self {
            id: parts.id,
            paper: parts.paper,
            recorder: parts.recorder,
            feed: feed.clone(),
            place: None,
            ledger: ledger.clone(),
            fleet: fleet.clone(),
            meters: meters.clone(),
            ended: false,
            unanswered: None,
            #[cfg(test)]
            panics: false,
        };
        let bot = bot.start();
        deliver(feed, Join { pair: parts.pair, bot: bot.clone(), watch });
        bot
    }

    fn status(&self) -> BotStatus {
        if self.recorder.stopping().is_some() { BotStatus::Stopping } else { BotStatus::Running }
    }

    /// Tells the machine of a move and books what it did.
    fn on_move(&mut self, moved: &PriceMove) -> Result<Watch, Trouble> {
        #[cfg(test)]
        assert!(!self.panics, "as the test wants it");
        let mut steps = Vec::new();
        let watch = match self.recorder.stopping() {
            None | Some(Positions::Drain) => self.paper.on_move(moved, &mut steps),
            Some(Positions::Close | Positions::Hold) => self.paper.close(moved.price, moved.at, &mut steps),
        };
        self.book(steps);
        self.meters.count_decision();
        watch
    }

    fn book(&mut self, steps: Vec<PaperStep>) {
        let change = self.recorder.change(&self.paper, steps, self.status());
        if self.ledger.record(change).is_err() {
            // The process is about to end: what was not written is decided again after the restart.
            tracing::error!(bot = %self.id, "a change could not be recorded");
        }
    }

    fn answer(&mut self, watch: Watch, seq: u64) {
        match self.place {
            Some(place) => deliver(&self.feed, Rewatch { place, watch, made_at: Some(seq) }),
            None => self.unanswered = Some((watch, seq)),
        }
    }

    /// Stops with `bot.stopped`.
    fn finish(&mut self, reason: &str, ctx: &mut Context<Self>) -> Result<Durable, EngineError> {
        self.recorder.set_stopping(None);
        let durable = self.turn(BotStatus::Stopped, reason)?;
        self.end(ctx);
        Ok(durable)
    }

    fn turn(&self, status: BotStatus, reason: &str) -> Result<Durable, EngineError> {
        Ok(self.ledger.enqueue(self.recorder.turned(&self.paper, status, reason, crate::clock::now()))?)
    }

    /// Stops with `bot.error`.
    fn fail(&mut self, code: &str, message: String, ctx: &mut Context<Self>) {
        tracing::warn!(bot = %self.id, code, message, "a bot cannot go on");
        let trouble = BotTrouble { code: code.to_owned(), message };
        if self.ledger.record(self.recorder.failed(trouble, crate::clock::now())).is_err() {
            tracing::error!(bot = %self.id, "its error could not be recorded");
        }
        self.end(ctx);
    }

    /// Watches what its rules say from now on.
    fn rewatch(&self) {
        if let Some(place) = self.place {
            let watch = watch(&self.paper, &self.recorder);
            deliver(&self.feed, Rewatch { place, watch, made_at: None });
        }
    }

    /// Leaves the feed and the fleet.
    fn end(&mut self, ctx: &mut Context<Self>) {
        self.ended = true;
        if let Some(place) = self.place {
            deliver(&self.feed, Leave(place));
        }
        deliver(&self.fleet, Gone { id: self.id, crashed: None });
        ctx.stop();
    }
}

/// What a bot waits for: a price to sell at when it is told to close, else what its machine does.
fn watch(paper: &PaperBot, recorder: &Recorder) -> Watch {
    match recorder.stopping() {
        Some(Positions::Close) => Watch::ANY,
        _ => paper.watch(),
    }
}

impl Actor for Bot {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        if !self.ended {
            if let Some(place) = self.place {
                deliver(&self.feed, Leave(place));
            }
            let crashed = Some(self.recorder.clone());
            deliver(&self.fleet, Gone { id: self.id, crashed });
        }
    }
}

impl Handler<Joined> for Bot {
    type Result = ();

    fn handle(&mut self, Joined(place): Joined, _: &mut Self::Context) {
        self.place = Some(place);
        if let Some((watch, seq)) = self.unanswered.take() {
            self.answer(watch, seq);
        }
    }
}

impl Handler<Woken> for Bot {
    type Result = ();

    fn handle(&mut self, woken: Woken, ctx: &mut Self::Context) {
        let told = catch_unwind(AssertUnwindSafe(|| self.on_move(&woken.moved)));
        match told {
            Ok(Ok(_)) if self.recorder.stopping().is_some() && !self.paper.machine().is_holding() => {
                let is_drained = self.recorder.stopping() == Some(Positions::Drain);
                if let Err(error) = self.finish(if is_drained { "drained" } else { "closed" }, ctx) {
                    self.fail("internal", error.to_string(), ctx);
                }
            }
            Ok(Ok(watch)) => self.answer(watch, woken.seq),
            Ok(Err(trouble)) => {
                let code = match trouble {
                    Trouble::BelowMinimum { .. } => "stake_below_minimum",
                    Trouble::OutOfRange => "amount_out_of_range",
                };
                self.fail(code, trouble.to_string(), ctx);
            }
            Err(_) => {
                let message = "the strategy failed on a price; the trade is kept as it was".to_owned();
                self.fail("internal", message, ctx);
            }
        }
    }
}

impl Handler<Stop> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, Stop(positions): Stop, ctx: &mut Self::Context) -> Self::Result {
        if positions == Positions::Hold || !self.paper.machine().is_holding() {
            return self.finish("user", ctx);
        }
        // Closing sells with the next tick: its price is one that somebody really paid.
        self.recorder.set_stopping(Some(positions));
        self.rewatch();
        self.turn(BotStatus::Stopping, "user")
    }
}

impl Handler<Resume> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, _: Resume, _: &mut Self::Context) -> Self::Result {
        if self.recorder.stopping().is_none() {
            return Ok(Durable::ALREADY);
        }
        self.recorder.set_stopping(None);
        self.rewatch();
        self.turn(BotStatus::Running, "user")
    }
}

impl Handler<Redefine> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, new: Redefine, _: &mut Self::Context) -> Self::Result {
        self.paper = self.paper.replanned(new.plan);
        self.recorder.rename(&new.definition.name);
        self.rewatch();
        let change = self.recorder.change(&self.paper, Vec::new(), self.status());
        Ok(self.ledger.enqueue(Change { redefined: Some(Box::new((self.id, new.definition))), ..change })?)
    }
}

/// Makes the next decision panic.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Panic;

#[cfg(test)]
impl Handler<Panic> for Bot {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        self.panics = true;
    }
}
