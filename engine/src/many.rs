//! What is done to many bots of an account at once: each by itself, and each with its own outcome.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use model::{AccountId, BotId};

use crate::bot_list::BotSort;
use crate::change::{BotStatus, Positions};
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::{BotFilter, Cursor};
use crate::view::BotView;

/// How many bots are told at a time.
const AT_A_TIME: usize = 64;

/// How many bots are read at a time.
const PAGE: u32 = 1_000;

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
        let ids = match which {
            Selection::Ids(ids) => {
                let mut seen = BTreeSet::new();
                ids.into_iter().filter(|id| seen.insert(*id)).collect()
            }
            Selection::Like(filter) => self.ids_like(account, filter).await?,
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

    async fn ids_like(&self, account: AccountId, filter: BotFilter) -> Result<Vec<BotId>, EngineError> {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let order = (BotSort::CreatedAt, false);
            let page = self.sorted_bots(account, filter.clone(), order, PAGE, after).await?;
            ids.extend(page.rows.iter().map(|(bot, _)| bot.id));
            let last = ids.last().filter(|_| page.has_more);
            let Some(id) = last else { return Ok(ids) };
            after = Some(Cursor { id: *id, value: String::new() });
        }
    }
}
