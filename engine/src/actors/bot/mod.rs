//! A bot: a strategy machine with its executor and books, and its watch. It decides nothing itself; it feeds the
//! machine and carries out what comes back: on paper at once, on a real account through its exchange connection.

mod alarm;
mod by_hand;
mod hearing;
mod live;
mod rules;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::{Actor, ActorContext as _, Addr, AsyncContext as _, Context, Handler, Message};
use model::{BotId, ExitReason, Mark, Market, Pair, PriceMove, Timestamp, Trail, Watch};
use strategies::{PaperBot, StrategyError};

use super::deliver;
use super::feed::{Join, Joined, Leave, MarketFeed, Place, Rewatch, Since, Stale, Woken};
use super::fleet::{Fleet, Gone};
use crate::change::{BotStatus, BotTrouble, Change, Positions};
use crate::error::EngineError;
use crate::ledger::{Durable, Ledger};
use crate::meters::Meters;
use crate::record::{Machine, Recorder};
use crate::suspension;
use crate::trailing::TrailingStops;
use hearing::Hearing;

pub(crate) use by_hand::{AddFunds, CloseTrade};
pub(crate) use live::LiveHand;
pub(crate) use rules::{NextRules, Redefine};

/// The owner wants it to stop. Answered once it is decided; it holds once that is durable.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct Stop(pub(crate) Positions);

/// The owner wants it to go on; nothing happens unless it was being stopped.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct Resume;

/// Its account is suspended: it stops with what it holds, and a stop that rests at the venue stands. Refused while it has
/// another order under way there.
#[derive(Message)]
#[rtype(result = "Result<Durable, EngineError>")]
pub(crate) struct Suspend;

/// The venue has changed what its pair is like.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Regrid(pub(crate) Market);

/// A paper bot's last decision is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Settled;

/// A paper bot is so far behind the market that its feed keeps no more ticks for it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TooBusy {
    /// The number of ticks that it has not decided on.
    pub(crate) ticks: u64,
}

/// The actor.
pub(crate) struct Bot {
    id: BotId,
    pair: Pair,
    hand: Hand,
    recorder: Recorder,
    feed: Addr<MarketFeed>,
    place: Option<Place>,
    ledger: Ledger,
    fleet: Addr<Fleet>,
    meters: Arc<Meters>,
    /// Where its trailing stop is shown.
    stops: TrailingStops,
    hearing: Hearing,
    /// What it goes by once its open trade, which keeps other rules, has closed.
    next_rules: Option<Box<NextRules>>,
    /// Whether its watch has changed while it did not know its place yet.
    is_watch_outdated: bool,
    /// Whether its end was told: a bot that goes without has panicked.
    ended: bool,
    /// The tick that its next watch answers, kept back until it knows its place and, on paper, its last decision is
    /// durable. Meanwhile its feed keeps what it misses.
    unanswered: Option<u64>,
    /// The number of its changes on paper that are not durable yet.
    undurable: u32,
    #[cfg(test)]
    panics: bool,
}

/// What carries out what the machine decides. Live never becomes paper nor the reverse while a bot lives.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every bot is the large one, and one allocation more for each"
)]
pub(crate) enum Hand {
    Paper(PaperBot),
    Live(Box<LiveHand>),
}

impl Hand {
    fn is_holding(&self) -> bool {
        match self {
            Self::Paper(paper) => paper.machine().is_holding(),
            Self::Live(live) => live.is_engaged(),
        }
    }

    /// After a crash: a mark that it slept through counts into what trails.
    pub(crate) fn recall(&mut self, mark: &Mark) {
        match self {
            Self::Paper(paper) => paper.recall(mark),
            Self::Live(live) => live.bot_mut().recall(mark),
        }
    }

    /// After a pause: takes no price before this time for one that it slept through, and sells nothing for what was
    /// decided before.
    pub(crate) fn count_from(&mut self, at: Timestamp) {
        match self {
            Self::Paper(paper) => paper.count_from(at),
            Self::Live(live) => {
                let bot = live.bot_mut();
                bot.keep();
                bot.count_from(at);
            }
        }
    }

    /// What trails of what it holds, and the trailing stop among that.
    fn trails(&self) -> (Option<Trail>, Option<Trail>) {
        let machine = match self {
            Self::Paper(paper) => paper.machine(),
            Self::Live(live) => live.run().bot.machine(),
        };
        (machine.watch().trail, machine.trailing_stop())
    }

    /// What it is kept by.
    pub(crate) fn machine(&self) -> Machine {
        match self {
            Self::Paper(paper) => paper.into(),
            Self::Live(live) => live.run().into(),
        }
    }
}

/// What a bot is made of.
pub(crate) struct Parts {
    pub(crate) id: BotId,
    pub(crate) hand: Hand,
    pub(crate) recorder: Recorder,
    pub(crate) pair: Pair,
    pub(crate) next_rules: Option<NextRules>,
}

impl Bot {
    /// Starts a bot on this arbiter.
    pub(crate) fn launch(
        parts: Parts,
        feed: &Addr<MarketFeed>,
        ledger: &Ledger,
        meters: &Arc<Meters>,
        stops: &TrailingStops,
        fleet: &Addr<Fleet>,
    ) -> Addr<Self> {
        let mut bot = Self {
            id: parts.id,
            pair: parts.pair,
            hand: parts.hand,
            recorder: parts.recorder,
            feed: feed.clone(),
            place: None,
            ledger: ledger.clone(),
            fleet: fleet.clone(),
            meters: meters.clone(),
            stops: stops.clone(),
            hearing: Hearing::default(),
            next_rules: parts.next_rules.map(Box::new),
            is_watch_outdated: false,
            ended: false,
            unanswered: None,
            undurable: 0,
            #[cfg(test)]
            panics: false,
        };
        bot.take_next_rules();
        // On paper it watches from here on. A live bot does once the venue has told what became of its orders.
        let watch = matches!(bot.hand, Hand::Paper(_)).then(|| bot.watch());
        let (pair, account) = (bot.pair.clone(), bot.recorder.account_id());
        let bot = bot.start();
        if let Some(watch) = watch {
            deliver(feed, Join { pair, account, bot: bot.clone(), watch, is_live: false });
        }
        bot
    }

    /// What it waits for: a price to sell at when it is told to close on paper, else what its machine does.
    fn watch(&self) -> Watch {
        match (&self.hand, self.recorder.stopping()) {
            (Hand::Paper(_), Some(Positions::Close)) => Watch::ANY,
            (Hand::Paper(paper), _) => paper.watch(),
            (Hand::Live(live), _) => live.run().bot.watch(),
        }
    }

    fn status(&self) -> BotStatus {
        if self.recorder.stopping().is_some() { BotStatus::Stopping } else { BotStatus::Running }
    }

    /// Tells a paper machine of a move and books what it did.
    fn on_paper(&mut self, moved: &PriceMove) -> Result<(), StrategyError> {
        #[cfg(test)]
        assert!(!self.panics, "as the test wants it");
        let (stopping, status) = (self.recorder.stopping(), self.status());
        let Hand::Paper(paper) = &mut self.hand else { return Ok(()) };
        let mut steps = Vec::new();
        let decided = match stopping {
            None | Some(Positions::Drain) => paper.on_move(moved, &mut steps),
            Some(Positions::Close | Positions::Hold) => {
                paper.close(ExitReason::Manual, moved.price, moved.at, &mut steps)
            }
        };
        let change = self.recorder.change(paper, steps, status);
        self.record(change);
        decided.map(drop)
    }

    fn record(&mut self, change: Change) {
        let recorded = match self.hand {
            Hand::Paper(_) => {
                self.undurable += 1;
                self.ledger.decide(self.recorder.account_id(), self.id, change)
            }
            Hand::Live(_) => self.ledger.record(change),
        };
        if recorded.is_err() {
            // The process is about to end: what was not written is decided again after the restart.
            tracing::error!(bot = %self.id, "a change could not be recorded");
        }
    }

    /// Watches on from the tick that woke it, as soon as it may.
    fn answer(&mut self) {
        if self.undurable > 0 {
            return;
        }
        if let Some((place, seq)) = self.place.zip(self.unanswered) {
            self.unanswered = None;
            deliver(&self.feed, Rewatch { place, watch: self.watch(), since: Since::Tick(seq) });
            self.show_stop();
        }
        self.set_alarm();
    }

    /// Stops with `bot.stopped`.
    fn finish(&mut self, reason: &str, ctx: &mut Context<Self>) -> Result<Durable, EngineError> {
        self.recorder.set_stopping(None);
        self.catch_up();
        self.hear_out();
        let durable = self.turn(BotStatus::Stopped, reason)?;
        self.end(ctx);
        Ok(durable)
    }

    /// Stops as its owner asked, now that nothing keeps it.
    fn finish_stop(&mut self, ctx: &mut Context<Self>) {
        let reason = match self.recorder.stopping() {
            Some(Positions::Drain) => "drained",
            Some(Positions::Close) => "closed",
            Some(Positions::Hold) | None => "user",
        };
        if let Err(error) = self.finish(reason, ctx) {
            self.fail("internal", error.to_string(), ctx);
        }
    }

    fn turn(&mut self, status: BotStatus, reason: &str) -> Result<Durable, EngineError> {
        let turned = self.recorder.turned(self.hand.machine(), status, reason, crate::clock::now());
        let decision = match &self.hand {
            // What it keeps is shown as its rules have it now.
            hand if status != BotStatus::Stopped || !hand.is_holding() => None,
            Hand::Paper(paper) => self.recorder.change(paper, Vec::new(), status).decision,
            Hand::Live(live) => {
                self.recorder.live_change(live.run(), Vec::new(), status, live.venue_time()).decision
            }
        };
        Ok(self.ledger.enqueue(Change { decision, ..turned })?)
    }

    /// Stops with `bot.error`.
    fn fail(&mut self, code: &str, message: String, ctx: &mut Context<Self>) {
        tracing::warn!(bot = %self.id, code, message, "a bot cannot go on");
        let trouble = BotTrouble { code: code.to_owned(), message };
        self.record(self.recorder.failed(trouble, crate::clock::now()));
        self.end(ctx);
    }

    fn set_alarm(&mut self) {
        if let Hand::Live(live) = &mut self.hand {
            live.set_alarm();
        }
    }

    /// Leaves the feed, the connection and the fleet.
    fn end(&mut self, ctx: &mut Context<Self>) {
        self.ended = true;
        self.hide_stop();
        self.leave();
        deliver(&self.fleet, Gone { id: self.id, crashed: None });
        ctx.stop();
    }

    fn leave(&self) {
        if let Some(place) = self.place {
            deliver(&self.feed, Leave(place));
        }
        if let Hand::Live(live) = &self.hand {
            live.detach(self.id);
        }
    }
}

impl Actor for Bot {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Hand::Live(live) = &mut self.hand {
            let trade = self.recorder.trade_id().map(|trade| (self.recorder.account_id(), trade));
            live.attach(self.id, &self.pair, trade, ctx.address());
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if !self.ended {
            self.hide_stop();
            self.leave();
            let crashed = Some(self.recorder.clone());
            deliver(&self.fleet, Gone { id: self.id, crashed });
        }
    }
}

impl Handler<Joined> for Bot {
    type Result = ();

    fn handle(&mut self, Joined { place, recent, seq }: Joined, _: &mut Self::Context) {
        self.place = Some(place);
        self.hearing.begin(recent, seq);
        if std::mem::take(&mut self.is_watch_outdated) {
            self.rewatch();
        }
        self.show_stop();
        self.answer();
    }
}

impl Handler<Settled> for Bot {
    type Result = ();

    fn handle(&mut self, _: Settled, _: &mut Self::Context) {
        self.undurable = self.undurable.saturating_sub(1);
        if !self.ended {
            self.answer();
        }
    }
}

impl Handler<TooBusy> for Bot {
    type Result = ();

    fn handle(&mut self, TooBusy { ticks }: TooBusy, ctx: &mut Self::Context) {
        if !self.ended {
            let message = format!(
                "the account's paper bots trade faster than their trades can be stored, and this one is {ticks} ticks \
                 behind; start it again to go on from the current price"
            );
            self.fail("too_busy", message, ctx);
        }
    }
}

impl Handler<Woken> for Bot {
    type Result = ();

    fn handle(&mut self, woken: Woken, ctx: &mut Self::Context) {
        let stopping = self.recorder.stopping();
        let told = catch_unwind(AssertUnwindSafe(|| match self.hand {
            Hand::Paper(_) => {
                let moved = self.hearing.on_paper(&woken);
                self.on_paper(&moved)
            }
            Hand::Live(_) => {
                self.on_live(&woken, ctx);
                Ok(())
            }
        }));
        self.meters.count_decision();
        self.take_next_rules();
        match told {
            Ok(Ok(())) if self.ended => {}
            Ok(Ok(())) if stopping.is_some() && !self.hand.is_holding_back(stopping) => {
                self.finish_stop(ctx);
            }
            Ok(Ok(())) => {
                self.unanswered = Some(match self.hand {
                    Hand::Paper(_) => woken.seq,
                    Hand::Live(_) => self.hearing.known(),
                });
                self.answer();
            }
            Ok(Err(trouble)) => self.fail(trouble.code(), trouble.to_string(), ctx),
            Err(_) => {
                let message = "the strategy failed on a price; the trade is kept as it was".to_owned();
                self.fail("internal", message, ctx);
            }
        }
    }
}

impl Handler<Stale> for Bot {
    type Result = ();

    fn handle(&mut self, Stale { message, is_over }: Stale, _: &mut Self::Context) {
        if self.ended {
            return;
        }
        tracing::warn!(bot = %self.id, %message, is_over, "a bot hears no price");
        let trouble = BotTrouble { code: Stale::CODE.to_owned(), message: message.as_ref().to_owned() };
        self.record(self.recorder.told(trouble, is_over, crate::clock::now()));
    }
}

impl Handler<Stop> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, Stop(positions): Stop, ctx: &mut Self::Context) -> Self::Result {
        self.recorder.set_stopping(Some(positions));
        let is_kept = match &self.hand {
            // Sold by its owner's word that follows, or where no price is known with the next tick.
            Hand::Paper(paper) => positions != Positions::Hold && paper.machine().is_holding(),
            Hand::Live(_) => self.stop_live(positions, ctx),
        };
        if !is_kept {
            return self.finish("user", ctx);
        }
        match (&self.hand, positions, self.place) {
            // What it has not decided on yet is older than its owner's command.
            (Hand::Paper(_), Positions::Close, Some(_)) => {
                self.unanswered = None;
                self.rewatch_since(Since::Now);
            }
            _ => self.rewatch(),
        }
        self.turn(BotStatus::Stopping, "user")
    }
}

impl Handler<Suspend> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, _: Suspend, ctx: &mut Self::Context) -> Self::Result {
        self.may_be_left()?;
        self.finish(suspension::REASON, ctx)
    }
}

impl Handler<Resume> for Bot {
    type Result = Result<Durable, EngineError>;

    fn handle(&mut self, _: Resume, ctx: &mut Self::Context) -> Self::Result {
        if self.recorder.stopping().is_none() {
            return Ok(Durable::ALREADY);
        }
        self.recorder.set_stopping(None);
        self.recorder.set_reawakened(false);
        self.resume_live(ctx);
        self.rewatch();
        self.turn(BotStatus::Running, "user")
    }
}

impl Handler<Regrid> for Bot {
    type Result = ();

    fn handle(&mut self, Regrid(market): Regrid, ctx: &mut Self::Context) {
        if self.ended {
            return;
        }
        self.catch_up();
        match &mut self.hand {
            Hand::Paper(paper) => {
                let plan = paper.machine().plan().on_grid(&market);
                *paper = paper.replanned(&plan);
            }
            Hand::Live(live) => live.regrid(&market),
        }
        if let Some(next) = &mut self.next_rules {
            next.plan = next.plan.on_grid(&market);
        }
        self.follow_live(ctx);
        self.go_on(ctx);
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
