//! What is done to many bots of an account at once: each by itself, and each with its own outcome.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use model::{AccountId, BotId};

use crate::change::{BotStatus, Positions};
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::{BotFilter, Store};
use crate::view::BotView;

/// How many bots are told at a time.
const AT_A_TIME: usize = 64;

/// Which bots of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// These.
    Ids(Vec<BotId>),
    /// All that a filter lets through.
    Like(BotFilter),
}

/// What is done to each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// As [`EngineHandle::start_bot`].
    Start,
    /// As [`EngineHandle::stop_bot`].
    Stop(Positions),
}

/// What became of one of them.
#[derive(Debug)]
pub struct Turned {
    /// Which bot.
    pub id: BotId,
    /// Its status afterwards, or why it was not done.
    pub outcome: Result<BotStatus, EngineError>,
}

impl EngineHandle {
    /// Starts or stops many bots of an account; each outcome in the order in which they were named, else oldest first.
    ///
    /// # Errors
    /// [`EngineError::Store`] where the bots cannot be read: then nothing was done.
    pub async fn turn_bots(
        &self,
        account: AccountId,
        which: Selection,
        turn: Turn,
    ) -> Result<Vec<Turned>, EngineError> {
        let ids: Vec<BotId> = match which {
            Selection::Ids(ids) => {
                let mut seen = BTreeSet::new();
                ids.into_iter().filter(|id| seen.insert(*id)).collect()
            }
            Selection::Like(filter) => {
                let ask = move |store: Store| async move { store.lean_bots(account, &filter).await };
                self.read_list(account, ask).await?.iter().map(|bot| bot.id).collect()
            }
        };
        let turned = futures_util::stream::iter(ids).map(|id| async move {
            let status = |view: BotView| view.bot.status;
            let outcome = match turn {
                Turn::Start => self.start_bot(account, id).await.map(status),
                Turn::Stop(positions) => self.stop_bot(account, id, positions).await.map(status),
            };
            Turned { id, outcome }
        });
        Ok(turned.buffered(AT_A_TIME).collect().await)
    }
}
