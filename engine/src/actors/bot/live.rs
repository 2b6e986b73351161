//! A bot on a real account: what its machine asks for is journaled, then sent by its exchange connection; what the
//! venue reports comes back here.

use actix::{Addr, AsyncContext as _, Context, Handler, WeakAddr};
use model::{
    AccountId, BotId, ClientOrderId, ExchangeId, ExitReason, Market, OrderOrigin, Pair, Receipt, Timestamp,
    TradeId,
};
use strategies::live::{LiveBot, LiveStep, Report, Role};
use strategies::{BotDefinition, Plan, RestoreError};

use super::alarm::{Alarm, Due};
use super::{Bot, Hand};
use crate::actors::deliver;
use crate::actors::exchange::{
    AskFor, Attach, Detach, ExchangeConnection, Freed, Holds, InDoubt, Journaled, LateFill, Limited, Locked,
    Missing, Prepare, Relive, Reported, Strays, TakenUp, Unclaimed, VenueClock, Withdraw, told_restored,
};
use crate::actors::feed::{Join, Woken};
use crate::change::Positions;
use crate::clock;
use crate::error::EngineError;
use crate::failpoint::{self, Control};
use crate::live::fees::FeeRates;
use crate::live::rules;
use crate::record::LiveRun;
use crate::signals::Attached;
use crate::start::Unreconciled;

/// What carries out a live bot's decisions.
pub(crate) struct LiveHand {
    run: LiveRun,
    connection: Addr<ExchangeConnection>,
    /// What its orders are stamped by.
    clock: VenueClock,
    /// What fees in a third coin are valued by.
    fees: FeeRates,
    /// Whether the venue has told what became of its orders; before that it does nothing.
    is_taken_up: bool,
    /// Counted until then, where the process has just started.
    unreconciled: Option<Unreconciled>,
    /// What wakes it when nothing is traded, and how it reaches its bot.
    alarm: Option<Alarm>,
    me: Option<WeakAddr<Bot>>,
}

/// What made a live bot act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prompt {
    /// A tick that was heard then.
    Tick(Timestamp),
    /// The time that it waited for came.
    Time,
    /// Its owner, or the venue.
    Word,
}

impl LiveHand {
    /// For a bot that holds nothing yet, or goes on from a stored run.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(crate) fn new(
        plan: &Plan,
        definition: &BotDefinition,
        exchange_id: ExchangeId,
        (connection, clock, origin): (Addr<ExchangeConnection>, VenueClock, Option<OrderOrigin>),
        fees: FeeRates,
        stored: Option<&str>,
        unreconciled: Option<Unreconciled>,
    ) -> Result<Self, RestoreError> {
        let mut run = LiveRun::resume(plan, rules(definition, origin), exchange_id, stored)?;
        // Until it is taken up it only listens.
        run.bot.set_still(true);
        Ok(Self { run, connection, clock, fees, is_taken_up: false, unreconciled, alarm: None, me: None })
    }

    /// The bot with what it keeps.
    pub(crate) fn run(&self) -> &LiveRun {
        &self.run
    }

    /// The time by its venue's clock.
    pub(super) fn venue_time(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn bot_mut(&mut self) -> &mut LiveBot {
        &mut self.run.bot
    }

    /// Whether anything of it is held or under way.
    pub(super) fn is_engaged(&self) -> bool {
        let bot = &self.run.bot;
        bot.machine().is_holding() || bot.is_leaving() || !bot.is_quiet()
    }

    pub(super) fn attach(
        &mut self,
        id: BotId,
        pair: &Pair,
        trade: Option<(AccountId, TradeId)>,
        bot: Addr<Bot>,
    ) {
        self.me = Some(bot.downgrade());
        let receipt = |id| self.run.receipts.get(&id).copied().unwrap_or_default();
        let orders = self.run.bot.open_orders().map(|order| (order.clone(), receipt(order.client_id)));
        let attach = Attach {
            id,
            bot,
            pair: pair.clone(),
            orders: orders.collect(),
            held: self.run.bot.held(),
            trade,
        };
        deliver(&self.connection, attach);
    }

    pub(super) fn detach(&self, id: BotId) {
        deliver(&self.connection, Detach(id));
    }

    /// Sets the alarm for what the bot waits for now.
    pub(super) fn set_alarm(&mut self) {
        if let Some(me) = &self.me {
            Alarm::set(&mut self.alarm, self.run.bot.timer(), me);
        }
    }

    /// Goes on under the same rules on another grid.
    pub(super) fn regrid(&mut self, market: &Market) {
        let plan = self.run.bot.machine().plan().on_grid(market);
        self.run.bot = self.run.bot.clone().regridded(&plan);
    }

    pub(super) fn replan(&mut self, plan: &Plan, definition: &BotDefinition) {
        self.run.bot = self.replanned(plan, definition);
    }

    /// The bot as it would be under other rules.
    pub(super) fn replanned(&self, plan: &Plan, definition: &BotDefinition) -> LiveBot {
        let rules = rules(definition, self.run.bot.origin());
        self.run.bot.clone().replanned(plan, rules)
    }
}

impl Bot {
    /// Tells a live machine of a move.
    pub(super) fn on_live(&mut self, woken: &Woken, ctx: &mut Context<Self>) {
        #[cfg(test)]
        assert!(!self.panics, "as the test wants it");
        let Some(moved) = self.move_to_newest(woken) else { return };
        self.live(Prompt::Tick(woken.heard_at), ctx, |bot, steps| {
            bot.on_move(&moved, &mut ClientOrderId::new, steps);
        });
    }

    /// Lets a live bot act, and carries out what it asks for.
    pub(super) fn live(
        &mut self,
        prompt: Prompt,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut LiveBot, &mut Vec<LiveStep>),
    ) {
        self.live_with(prompt, ctx, |bot, steps| {
            act(bot, steps);
            Attached::default()
        });
    }

    /// Likewise; what `act` returns is written with what it does.
    pub(super) fn live_with(
        &mut self,
        prompt: Prompt,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut LiveBot, &mut Vec<LiveStep>) -> Attached,
    ) {
        self.catch_up();
        let status = self.status();
        let Hand::Live(hand) = &mut self.hand else { return };
        let mut steps = Vec::new();
        let was_leaving = hand.run.bot.is_leaving();
        hand.run.bot.set_time(clock::steady());
        let mut attached = act(&mut hand.run.bot, &mut steps);
        if steps.is_empty() && prompt != Prompt::Word {
            return;
        }
        let ticked_at = if let Prompt::Tick(at) = prompt { Some(at) } else { None };
        let decided_at = Some(clock::now());
        hand.run.note(was_leaving, Receipt { ticked_at, decided_at, ..Receipt::default() }, &steps);
        let mut change = self.recorder.live_change(&hand.run, steps.clone(), status, hand.venue_time());
        attached.take_into(&mut change);
        let has_orders = !change.intents.is_empty();
        let has_closed = steps.iter().any(|step| matches!(step, LiveStep::Closed(_)));
        let has_replaced = steps.iter().any(
            |step| matches!(step, LiveStep::Place(order) if order.role == Role::Protection && ticked_at.is_none()),
        );
        if failpoint::control() == Some(Control::SendThenPersist) {
            for intent in &change.intents {
                deliver(&hand.connection, Journaled(Box::new(intent.clone())));
            }
        }
        let mut gave_up = None;
        for step in steps {
            match step {
                LiveStep::Ask(id) => deliver(&hand.connection, AskFor(id)),
                // What does not leave needs no record first: no restart sends it.
                LiveStep::Withdraw(id) => deliver(&hand.connection, Withdraw(id)),
                LiveStep::GaveUp { code, message } => gave_up = Some((code, message)),
                LiveStep::Told { code, message } => {
                    tracing::warn!(bot = %self.id, code, message, "a bot tells");
                }
                LiveStep::Resolved { code, message } => {
                    tracing::info!(bot = %self.id, code, message, "a bot tells that it is over");
                }
                // An order leaves, or is taken back, once the change is durable.
                LiveStep::Place(_)
                | LiveStep::Cancel(_)
                | LiveStep::Ended(_)
                | LiveStep::Opened
                | LiveStep::Filled(_)
                | LiveStep::StopHit { .. }
                | LiveStep::Closed(_) => {}
            }
        }
        let known: Vec<ClientOrderId> =
            hand.run.bot.trade().orders.iter().map(|order| order.client_id).collect();
        hand.run.receipts.retain(|id, _| known.contains(id));
        deliver(&hand.connection, Holds { id: self.id, held: hand.run.bot.held() });
        if change.intents.iter().any(|intent| !intent.role.is_entry()) {
            deliver(&hand.connection, Prepare);
        }
        if has_orders {
            failpoint::pass("decided");
        }
        if has_replaced {
            failpoint::pass("protecting");
        }
        if has_closed {
            failpoint::pass("closing");
        }
        self.record(change);
        if has_orders {
            failpoint::pass("recorded");
        }
        if has_closed {
            failpoint::pass("closed");
        }
        if let Some((code, message)) = gave_up {
            self.fail(code, message, ctx);
        }
    }

    /// After something else than a tick: watches what it waits for now, or stops if that was all.
    pub(super) fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        self.take_next_rules();
        if self.recorder.stopping().is_some()
            && self.is_taken_up()
            && !self.hand.is_holding_back(self.recorder.stopping())
        {
            self.finish_stop(ctx);
            return;
        }
        self.rewatch();
    }

    pub(super) fn is_taken_up(&self) -> bool {
        matches!(&self.hand, Hand::Live(live) if live.is_taken_up)
    }

    /// Refuses a live bot that has more at its venue than a stop that guards what it holds: nobody would look after that.
    pub(super) fn may_be_left(&self) -> Result<(), EngineError> {
        let Hand::Live(live) = &self.hand else { return Ok(()) };
        let bot = &live.run.bot;
        let is_guarded_alone = bot.open_orders().all(|order| order.role == Role::Protection);
        if live.is_taken_up && is_guarded_alone && !bot.is_leaving() {
            return Ok(());
        }
        let message = "the bot has orders under way at its venue".to_owned();
        Err(EngineError::Conflict { code: "orders_under_way", message })
    }

    /// Its owner wants it to stop; whether something keeps it from it.
    pub(super) fn stop_live(&mut self, positions: Positions, ctx: &mut Context<Self>) -> bool {
        let mut mint = ClientOrderId::new;
        match positions {
            Positions::Hold => self.live(Prompt::Word, ctx, |bot, steps| bot.release(&mut mint, steps)),
            Positions::Close => {
                self.live(Prompt::Word, ctx, |bot, steps| bot.close(ExitReason::Manual, &mut mint, steps));
            }
            Positions::Drain => self.live(Prompt::Word, ctx, |bot, steps| bot.drain(&mut mint, steps)),
        }
        !self.is_taken_up() || self.hand.is_holding_back(Some(positions))
    }

    fn keep_still(&mut self, is_still: bool) {
        if let Hand::Live(live) = &mut self.hand {
            live.bot_mut().set_still(is_still);
        }
    }

    fn tell_resolved(&mut self, code: &'static str, message: String, ctx: &mut Context<Self>) {
        self.live(Prompt::Word, ctx, |_, steps| steps.push(LiveStep::Resolved { code, message }));
    }

    /// Hands back executions of a trade that it is not in any more: they are booked on that one.
    fn disclaim(&self, report: Report) {
        if let Hand::Live(live) = &self.hand {
            deliver(&live.connection, Unclaimed(report));
        }
    }

    /// Its rules have changed: what rests at the venue follows them.
    pub(super) fn follow_live(&mut self, ctx: &mut Context<Self>) {
        if self.is_taken_up() {
            self.live(Prompt::Word, ctx, |bot, steps| bot.follow(&mut ClientOrderId::new, steps));
        }
    }

    /// Its owner wants it to go on.
    pub(super) fn resume_live(&mut self, ctx: &mut Context<Self>) {
        self.live(Prompt::Word, ctx, |bot, steps| bot.resume(&mut ClientOrderId::new, steps));
    }
}

impl Hand {
    /// Whether something keeps a bot from stopping in this way.
    pub(super) fn is_holding_back(&self, positions: Option<Positions>) -> bool {
        match (self, positions) {
            // What it holds is kept; only what is under way has to end.
            (Self::Live(live), Some(Positions::Hold)) => !live.run.bot.is_quiet(),
            (hand, _) => hand.is_holding(),
        }
    }
}

impl Handler<TakenUp> for Bot {
    type Result = ();

    fn handle(&mut self, _: TakenUp, ctx: &mut Self::Context) {
        let stopping = self.recorder.stopping();
        let Hand::Live(live) = &mut self.hand else { return };
        live.is_taken_up = true;
        live.unreconciled = None;
        live.bot_mut().set_still(false);
        match stopping {
            Some(Positions::Close) => {
                self.live(Prompt::Word, ctx, |bot, steps| {
                    bot.close(ExitReason::Manual, &mut ClientOrderId::new, steps);
                });
            }
            Some(Positions::Hold) => {
                self.live(Prompt::Word, ctx, |bot, steps| bot.release(&mut ClientOrderId::new, steps));
            }
            Some(Positions::Drain) | None => {
                self.live(Prompt::Word, ctx, |bot, steps| bot.take_up(&mut ClientOrderId::new, steps));
            }
        }
        if !self.ended {
            let (pair, watch, account) = (self.pair.clone(), self.watch(), self.recorder.account_id());
            deliver(&self.feed, Join { pair, account, bot: ctx.address(), watch, is_live: true });
            self.go_on(ctx);
        }
    }
}

impl Handler<Due> for Bot {
    type Result = ();

    fn handle(&mut self, _: Due, ctx: &mut Self::Context) {
        let Hand::Live(live) = &mut self.hand else { return };
        live.alarm = None;
        if self.ended || !live.is_taken_up {
            return;
        }
        self.live(Prompt::Time, ctx, |bot, steps| bot.on_time(&mut ClientOrderId::new, steps));
        self.go_on(ctx);
    }
}

impl Handler<Locked> for Bot {
    type Result = ();

    fn handle(&mut self, Locked(why): Locked, ctx: &mut Self::Context) {
        let Some(why) = why else {
            let message = "the venue accepts the key again".to_owned();
            return self.tell_resolved("exchange_auth", message, ctx);
        };
        if let Hand::Live(live) = &mut self.hand {
            // There is nothing to wait for: the owner has to act.
            live.unreconciled = None;
        }
        self.live(Prompt::Word, ctx, |bot, steps| {
            let standing = if bot.machine().is_holding() {
                "a stop that rests at the venue stands, the engine's own cannot act"
            } else {
                "nothing is held"
            };
            let message = format!("the venue does not accept the key ({why}); {standing}: renew the key");
            steps.push(LiveStep::Told { code: "exchange_auth", message });
        });
    }
}

impl Handler<Limited> for Bot {
    type Result = ();

    fn handle(&mut self, Limited { until }: Limited, ctx: &mut Self::Context) {
        let Some(until) = until else {
            let message = "the exchange may be asked again: what waited goes on".to_owned();
            return self.tell_resolved("venue_limits", message, ctx);
        };
        let message = format!(
            "the exchange has asked to be left alone until {until}: what is to be bought, sold or taken back waits; what \
             rests at the venue stands"
        );
        self.live(Prompt::Word, ctx, |_, steps| steps.push(LiveStep::Told { code: "venue_limits", message }));
    }
}

impl Handler<Reported> for Bot {
    type Result = ();

    fn handle(&mut self, reported: Reported, ctx: &mut Self::Context) {
        let Reported { mut report, receipt } = reported;
        failpoint::pass("heard");
        if let Hand::Live(live) = &mut self.hand {
            live.fees.value(&mut report.executions);
            let known = live.run.receipts.entry(report.client_id).or_insert(receipt);
            *known = receipt;
        }
        let is_taken_up = self.is_taken_up();
        let mut is_ours = true;
        self.live(Prompt::Word, ctx, |bot, steps| {
            is_ours = bot.on_report(&report, &mut ClientOrderId::new, steps);
        });
        if !is_ours && !report.executions.is_empty() {
            self.disclaim(report);
        }
        if is_taken_up {
            self.go_on(ctx);
        }
    }
}

impl Handler<LateFill> for Bot {
    type Result = ();

    fn handle(&mut self, late: LateFill, ctx: &mut Self::Context) {
        let LateFill { trade_id, side, qty, mut report } = late;
        if self.recorder.trade_id() != Some(trade_id) {
            return self.disclaim(report);
        }
        let Hand::Live(live) = &mut self.hand else { return };
        live.fees.value(&mut report.executions);
        if !live.run.bot.lacks(&report) {
            return;
        }
        let is_taken_up = self.is_taken_up();
        self.live(Prompt::Word, ctx, |bot, steps| {
            if !bot.knows(report.client_id) {
                bot.adopt(report.client_id, side, qty);
            }
            bot.on_report(&report, &mut ClientOrderId::new, steps);
        });
        if is_taken_up {
            self.go_on(ctx);
        }
    }
}

impl Handler<Relive> for Bot {
    type Result = ();

    fn handle(&mut self, Relive(orders): Relive, ctx: &mut Self::Context) {
        if self.ended {
            return;
        }
        let is_taken_up = self.is_taken_up();
        let mut strays = Vec::new();
        self.keep_still(true);
        for lost in &orders {
            self.live(Prompt::Time, ctx, |bot, steps| bot.make_way(lost, steps));
            let mut is_ours = true;
            self.live(Prompt::Word, ctx, |bot, steps| is_ours = bot.relive(lost, steps));
            if !is_ours {
                strays.push(lost.clone());
            }
        }
        let message = told_restored(&orders, &self.pair);
        let told = LiveStep::Told { code: "history_restored", message };
        self.live(Prompt::Word, ctx, |_, steps| steps.push(told));
        if let Hand::Live(live) = &self.hand
            && !strays.is_empty()
        {
            deliver(&live.connection, Strays { bot: self.id, orders: strays });
        }
        if is_taken_up {
            self.keep_still(false);
            self.follow_live(ctx);
            self.go_on(ctx);
        }
    }
}

impl Handler<InDoubt> for Bot {
    type Result = ();

    fn handle(&mut self, InDoubt { client_id, role }: InDoubt, ctx: &mut Self::Context) {
        let what = if role == Role::Protection { "the stop" } else { "the sale" };
        let message = format!(
            "whether {what} {client_id} reached the exchange is not known yet; nothing else is sold until it is, or \
             until it is certain that it did not"
        );
        self.live(Prompt::Word, ctx, |bot, steps| {
            bot.report_trouble("order_unknown", &client_id.to_string(), || message, steps);
        });
    }
}

impl Handler<Missing> for Bot {
    type Result = ();

    fn handle(&mut self, Missing(gone): Missing, ctx: &mut Self::Context) {
        self.live(Prompt::Word, ctx, |bot, steps| bot.on_missing(gone, &mut ClientOrderId::new, steps));
        self.go_on(ctx);
    }
}

impl Handler<Freed> for Bot {
    type Result = ();

    fn handle(&mut self, Freed(free): Freed, ctx: &mut Self::Context) {
        let Hand::Live(live) = &self.hand else { return };
        if live.is_taken_up && live.run.bot.could_sell_from(free) {
            self.live(Prompt::Word, ctx, |bot, steps| bot.on_freed(&mut ClientOrderId::new, steps));
            self.go_on(ctx);
        }
    }
}
