//! How bots begin and end to live at somebody's word.
//!
//! A bot may come to its end by itself at any moment: flat after a stop, drained, in error. So what the store says of
//! one is believed only once the fleet has said that it does not live, and all that it did is durable
//! ([`EngineHandle::at_rest`]): what is older than that would be lived through twice.

use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Handler, MailboxError, Message};
use model::{AccountId, BotId, Quote};
use strategies::BotDefinition;
use tokio::time::Instant;

use crate::actors::bot::{Bot, Resume, Stop};
use crate::actors::fleet::{Amend, Find, Forget, Launch, Whereabouts};
use crate::change::{Apply, BotStatus, Change, Positions, Redefined};
use crate::clock;
use crate::error::EngineError;
use crate::handle::{ANSWER, EngineHandle, unknown_pair};
use crate::ledger::Durable;
use crate::record::{self, Recorder};
use crate::reservations::Reservation;
use crate::store::StoredBot;
use crate::view::BotView;

/// How long a bot that is deleted may take until nothing of it is under way at its venue, and how often it is looked
/// after.
const LET_GO: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

impl EngineHandle {
    /// Starts a bot, or lets one that is being stopped go on; a running one is left alone.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a live bot without a usable connection.
    pub async fn start_bot(&self, account: AccountId, id: BotId) -> Result<BotView, EngineError> {
        let _alone = self.alone(id).await;
        self.take_work()?;
        self.may_act(account).await?;
        let is_live = !self.stored(account, id).await?.definition.dry_run;
        if is_live && self.inner.connections.count_restoring() > 0 {
            let message =
                "a backup was restored, and what it lacks is being read from the exchange: try again soon";
            return Err(EngineError::VenueSilent(message.to_owned()));
        }
        let _kept = if is_live { self.connections_of(account).await } else { None };
        let durable = loop {
            if let Some(answer) = self.tell(id, || Resume).await? {
                break answer?;
            }
            let bot = self.at_rest(account, id).await?;
            let exchange_id = if is_live { Some(self.connect(&bot).await?) } else { None };
            if self.market(&bot.definition.pair).await == Some(None) {
                return Err(unknown_pair(&bot.definition));
            }
            let room =
                if self.holds(account, id).await? { None } else { self.room_for_a_life(account).await? };
            if self.launch_within(room, Launch { bot, stopping: None, exchange_id }).await? {
                break Durable::ALREADY;
            }
        };
        durable.wait_for_answer().await?;
        if let Err(refused) = self.may_act(account).await {
            // It was suspended while the bot was being started.
            self.suspend_alone(account, id).await?;
            return Err(refused);
        }
        self.bot(account, id).await
    }

    /// Stops a bot; one that is stopped is left alone, but what it kept may still be closed. What is held on paper is sold at
    /// the last price, or where nobody tells one with the next trade of the pair.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn stop_bot(
        &self,
        account: AccountId,
        id: BotId,
        positions: Positions,
    ) -> Result<BotView, EngineError> {
        let _alone = self.alone(id).await;
        // Nobody stops a stranger's.
        let bot = self.stored(account, id).await?;
        if positions == Positions::Close && bot.definition.dry_run {
            let is_heard = bot.status == BotStatus::Running;
            match self.close_paper(account, id, is_heard).await {
                Err(EngineError::VenueSilent(_)) => {}
                closed => closed?,
            }
        }
        self.halt(account, id, positions).await?;
        self.bot(account, id).await
    }

    /// Stops an account's own bot, by whoever has it alone.
    pub(crate) async fn halt(
        &self,
        account: AccountId,
        id: BotId,
        positions: Positions,
    ) -> Result<(), EngineError> {
        loop {
            if let Some(answer) = self.tell(id, || Stop(positions)).await? {
                return Ok(answer?.wait_for_answer().await?);
            }
            let bot = self.at_rest(account, id).await?;
            let holds = positions != Positions::Hold && self.holds(account, id).await?;
            // One that was cut off may have left orders behind.
            let has_to_live = holds || is_under_way(&bot);
            if has_to_live && self.market(&bot.definition.pair).await.flatten().is_none() {
                let exchange = bot.definition.exchange;
                let message =
                    format!("{exchange} does not answer, so nothing can be sold or taken back: try again");
                return Err(EngineError::VenueSilent(message));
            }
            let was_waiting = match self.inner.fleet.send(Forget(id)).timeout(ANSWER).await? {
                Whereabouts::Lives(_) => continue,
                Whereabouts::Waits => true,
                Whereabouts::Absent => false,
            };
            if has_to_live {
                // It lives once more, only until it is flat or all its orders are accounted for.
                let exchange_id = if bot.definition.dry_run { None } else { Some(self.connect(&bot).await?) };
                match self.launch(Launch { bot, stopping: Some(positions), exchange_id }).await? {
                    Some(durable) => return Ok(durable.wait_for_answer().await?),
                    None => continue,
                }
            }
            if was_waiting || bot.status != BotStatus::Stopped {
                let recorder = Recorder::new(account, id, &bot.definition);
                self.inner.ledger.commit(recorder.let_go("user", clock::now())).await?;
            }
            return Ok(());
        }
    }

    /// Brings a bot to life that was at rest; `None` where it lives by now.
    async fn launch(&self, launch: Launch) -> Result<Option<Durable>, EngineError> {
        let _followed = self.inner.rates.ready(&launch.bot.definition).await;
        self.inner.fleet.send(launch).timeout(ANSWER).await?
    }

    /// Brings a bot to life for which a place was reserved, and waits until that is durable; false where it lives by now.
    /// The place is held until then, even where nobody waits any more.
    async fn launch_within(&self, room: Option<Reservation>, launch: Launch) -> Result<bool, EngineError> {
        let engine = self.clone();
        let launched = self.inner.io.spawn(async move {
            let durable = engine.launch(launch).await?;
            let is_new = durable.is_some();
            if let Some(durable) = durable {
                durable.wait_for_answer().await?;
            }
            drop(room);
            Ok(is_new)
        });
        launched.await.map_err(|_| EngineError::Unavailable("the engine stops".to_owned()))?
    }

    /// Gives a bot that does not live these rules; false where it lives by now, and has to be told.
    pub(crate) async fn amend(
        &self,
        account_id: AccountId,
        id: BotId,
        definition: &BotDefinition,
        capital: Quote,
        apply: Apply,
    ) -> Result<bool, EngineError> {
        let bot = self.at_rest(account_id, id).await?;
        let state = self.kept_or_freed(&bot, apply).await?;
        let redefined =
            Box::new(Redefined { id, account_id, definition: definition.clone(), capital, state });
        let change = Change { redefined: Some(redefined.clone()), ..Change::default() };
        self.inner.ledger.commit(change).await?;
        let amend = Amend(redefined);
        let found = self.inner.fleet.send(amend).timeout(ANSWER).await?;
        Ok(!matches!(found, Whereabouts::Lives(_)))
    }

    /// What a bot that does not live goes on from, where its open trade begins or ceases to keep the rules that it has.
    async fn kept_or_freed(&self, bot: &StoredBot, apply: Apply) -> Result<Option<String>, EngineError> {
        let Some(state) = &bot.state else { return Ok(None) };
        let is_keeping = record::kept_rules(state).is_some();
        let rules = match apply {
            Apply::NextTrade if !is_keeping && self.holds(bot.account_id, bot.id).await? => {
                Some(&bot.definition)
            }
            Apply::Now if is_keeping => None,
            Apply::Now | Apply::NextTrade => return Ok(None),
        };
        let corrupt = |error: record::StateError| EngineError::Conflict {
            code: "state_invalid",
            message: error.to_string(),
        };
        record::keeping(state, rules).map(Some).map_err(corrupt)
    }

    /// What a bot says to that, if it lives; one that has just come to its end does not.
    pub(crate) async fn tell<M>(
        &self,
        id: BotId,
        word: impl Fn() -> M,
    ) -> Result<Option<M::Result>, EngineError>
    where
        M: Message<Result: Send> + Send + 'static,
        Bot: Handler<M>,
        <Bot as actix::Actor>::Context: ToEnvelope<Bot, M>,
    {
        let deadline = Instant::now() + ANSWER;
        while let Whereabouts::Lives(live) = self.find(id).await? {
            match live.send(word()).timeout(ANSWER).await {
                // It is gone; that is on its way to the fleet.
                Err(MailboxError::Closed) if Instant::now() < deadline => tokio::task::yield_now().await,
                answered => return Ok(Some(answered?)),
            }
        }
        Ok(None)
    }

    /// Where a bot is.
    pub(crate) async fn find(&self, id: BotId) -> Result<Whereabouts, EngineError> {
        Ok(self.inner.fleet.send(Find(id)).timeout(ANSWER).await?)
    }

    /// A bot that was found not to live, with all that it did.
    pub(crate) async fn at_rest(&self, account: AccountId, id: BotId) -> Result<StoredBot, EngineError> {
        self.inner.ledger.settle(account, id)?.wait_for_answer().await?;
        self.stored(account, id).await
    }

    /// Waits until nothing keeps a bot from being stopped.
    pub(crate) async fn wait_until_stopped(&self, account: AccountId, id: BotId) -> Result<(), EngineError> {
        let deadline = Instant::now() + LET_GO;
        while self.stored(account, id).await?.status != BotStatus::Stopped {
            if Instant::now() >= deadline {
                let message =
                    "not all orders of the bot are accounted for yet: it is being stopped, delete it again \
                               once it is"
                        .to_owned();
                return Err(EngineError::Conflict { code: "orders_under_way", message });
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Whether a bot has orders at its venue whose end is not known.
pub(crate) fn is_under_way(bot: &StoredBot) -> bool {
    !bot.definition.dry_run && bot.state.as_deref().is_some_and(record::has_orders_under_way)
}
