//! Accounts that an operator suspends or deletes: their bots stop, wherever the operator's command ran.
//!
//! Nothing is bought any more, and nothing is sold either: a bot keeps what it holds, and a stop that rests at the venue
//! stands and guards it. What a bot has under way at that moment, other than such a stop, it ends first.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use model::{AccountId, BotId};

use crate::actors::bot::Suspend;
use crate::actors::fleet::{Forget, Whereabouts};
use crate::change::BotStatus;
use crate::clock;
use crate::error::EngineError;
use crate::handle::{ANSWER, EngineHandle, Inner};
use crate::record::Recorder;

/// Why a bot stopped, as `bot.stopped` tells.
pub(crate) const REASON: &str = "suspended";

/// How often suspended accounts are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How soon an account is looked at again of which no bot lives.
const STILL_FOR: Duration = Duration::from_mins(1);

/// Stops the bots of suspended accounts, until the engine ends.
pub(crate) async fn watch(engine: Weak<Inner>) {
    let mut still: HashMap<AccountId, Instant> = HashMap::new();
    let mut deleted = Vec::new();
    for look in 0_u64.. {
        if look > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let Some(inner) = engine.upgrade() else { return };
        let engine = EngineHandle { inner };
        if look == 0 {
            deleted = engine.inner.store.deleted_accounts_with_bots().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "bots of deleted accounts could not be looked for");
                Vec::new()
            });
        }
        let suspended = match engine.inner.store.suspended_accounts().await {
            Ok(suspended) => [suspended, deleted.clone()].concat(),
            Err(error) => {
                tracing::warn!(%error, "suspended accounts could not be looked for");
                continue;
            }
        };
        still.retain(|account, since| suspended.contains(account) && since.elapsed() < STILL_FOR);
        for account in suspended {
            if !still.contains_key(&account) && engine.suspend(account).await {
                still.insert(account, Instant::now());
            }
        }
    }
}

impl EngineHandle {
    /// Stops what lives of an account; whether nothing did.
    async fn suspend(&self, account: AccountId) -> bool {
        let bots = match self.inner.store.living_bots_of(account).await {
            Ok(bots) => bots,
            Err(error) => {
                tracing::warn!(%account, %error, "the bots of a suspended account could not be looked for");
                return false;
            }
        };
        let is_still = bots.is_empty();
        for bot in bots {
            if let Err(error) = self.suspend_bot(account, bot).await {
                tracing::info!(%bot, %account, %error, "a bot of a suspended account is not stopped yet");
            }
        }
        is_still
    }

    /// Stops a bot with what it holds; a stop that rests at its venue stands.
    async fn suspend_bot(&self, account: AccountId, id: BotId) -> Result<(), EngineError> {
        let _alone = self.alone(id).await;
        self.suspend_alone(account, id).await
    }

    /// Likewise, by whoever has the bot alone.
    pub(crate) async fn suspend_alone(&self, account: AccountId, id: BotId) -> Result<(), EngineError> {
        if let Some(answer) = self.tell(id, || Suspend).await? {
            return Ok(answer?.wait().await?);
        }
        let bot = self.at_rest(account, id).await?;
        let was_waiting = match self.inner.fleet.send(Forget(id)).timeout(ANSWER).await? {
            // It has come to life meanwhile: the next look finds it.
            Whereabouts::Lives(_) => return Ok(()),
            Whereabouts::Waits => true,
            Whereabouts::Absent => false,
        };
        if was_waiting || bot.status != BotStatus::Stopped {
            let recorder = Recorder::new(account, id, &bot.definition);
            self.inner.ledger.commit(recorder.let_go(REASON, clock::now())).await?;
        }
        Ok(())
    }
}
