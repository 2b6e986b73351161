//! What happened to one bot, committed whole or not at all.

use std::str::FromStr;

use model::{AccountId, BotId, DomainEvent, Quote, SignalId, Timestamp};
use serde::{Deserialize, Serialize};
use strategies::BotDefinition;

use crate::answer::KeptAnswer;
use crate::billing::BillingChange;
use crate::live::{Intent, OrderStamp};
use crate::record::{BotState, Decision, LateBooking};

/// One bot's change: its row, its trade with the orders and fills, and the events that tell of it, in one
/// database transaction.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// A bot that comes into being, stopped.
    pub created: Option<Box<NewBot>>,
    /// A bot's new definition.
    pub redefined: Option<Box<Redefined>>,
    /// The bot's new row, where it changed.
    pub bot: Option<BotChange>,
    /// A bot that is no longer shown, whose it was, and since when; its trades stay.
    pub deleted: Option<(AccountId, BotId, Timestamp)>,
    /// What its machine did to its trade; the orders, fills and events that this comes to are written with it.
    pub decision: Option<Decision>,
    /// Orders that leave once this is durable.
    pub intents: Vec<Intent>,
    /// Orders that are taken back once this is durable: after a crash it is known that it was us.
    pub cancels: Vec<OrderStamp>,
    /// Journaled orders that leave with another stamp once this is durable, because theirs became too old.
    pub restamped: Vec<OrderStamp>,
    /// Other events to put into the outbox, in order.
    pub events: Vec<DomainEvent>,
    /// What whoever asked for it is answered when it asks again.
    pub answer: Option<KeptAnswer>,
    /// Rows about what the account pays for and is paid.
    pub billing: Option<Box<BillingChange>>,
    /// A signal that is done by this.
    pub signal: Option<SignalId>,
    /// Executions that came when their trade's bot had gone on: its books once more.
    pub late: Option<Box<LateBooking>>,
}

impl Change {
    /// The account that it belongs to; `None` where it names none.
    pub(crate) fn account(&self) -> Option<AccountId> {
        let of_bot = self.bot.as_ref().map(|bot| bot.account_id);
        of_bot
            .or_else(|| self.created.as_ref().map(|bot| bot.account_id))
            .or_else(|| self.redefined.as_ref().map(|new| new.account_id))
            .or_else(|| self.deleted.map(|(account, ..)| account))
            .or_else(|| self.late.as_ref().map(|late| late.account_id))
            .or_else(|| self.events.first().map(|event| event.account_id))
    }

    /// The bot that it is about; `None` where it is about none.
    pub(crate) fn bot_id(&self) -> Option<BotId> {
        let row = self.bot.as_ref().map(|bot| bot.id);
        row.or_else(|| self.redefined.as_ref().map(|new| new.id))
            .or_else(|| self.deleted.map(|(_, bot, _)| bot))
            .or_else(|| self.late.as_ref().map(|late| late.trade.bot_id))
            .or_else(|| self.events.first().and_then(|event| event.bot_id))
    }
}

/// A bot's new definition.
#[derive(Clone, Debug)]
pub struct Redefined {
    /// Its id.
    pub id: BotId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// What it does from now on.
    pub definition: BotDefinition,
    /// What its whole ladder needs now, fees included, in quote.
    pub capital: Quote,
    /// What it goes on from, of a bot that does not live and whose open trade begins or ceases to keep its rules; `None`
    /// leaves it as it was.
    pub state: Option<String>,
}

/// How an owner's new rules take effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Redefinition {
    /// From when on.
    pub apply: Apply,
    /// Whether the owner has agreed to what they would trade at the next tick.
    pub is_confirmed: bool,
}

/// From when on new rules hold (contract §2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// At once, for the open trade as well.
    #[default]
    Now,
    /// From the next trade on: the open one keeps the rules that it began with.
    NextTrade,
}

/// A bot as its owner just defined it.
#[derive(Clone, Debug)]
pub struct NewBot {
    /// Its id.
    pub id: BotId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it does.
    pub definition: BotDefinition,
    /// What its whole ladder needs, fees included, in quote.
    pub capital: Quote,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What of a bot's row changes while it lives.
#[derive(Clone, Debug)]
pub struct BotChange {
    /// Which bot.
    pub id: BotId,
    /// Whose it is.
    pub account_id: AccountId,
    /// Its status from now on.
    pub status: BotStatus,
    /// Why it cannot go on, when `status` is [`BotStatus::Error`].
    pub trouble: Option<BotTrouble>,
    /// What it goes on from after a crash; `None` leaves it as it was.
    pub state: Option<Box<BotState>>,
}

/// Where a bot is in its life (contract §3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BotStatus {
    /// Not running; may keep an open trade.
    Stopped,
    /// Asked to run, not yet watching.
    Starting,
    /// Watching.
    Running,
    /// Asked to stop, not yet done.
    Stopping,
    /// Cannot go on by itself.
    Error,
}

impl BotStatus {
    /// Every status there is.
    pub const ALL: [Self; 5] = [Self::Stopped, Self::Starting, Self::Running, Self::Stopping, Self::Error];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Error => "error",
        }
    }
}

/// A text that is no status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("one of stopped, starting, running, stopping, error is wanted")]
pub struct StatusError;

impl FromStr for BotStatus {
    type Err = StatusError;
    fn from_str(text: &str) -> Result<Self, StatusError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(StatusError)
    }
}

/// Why a bot is in [`BotStatus::Error`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotTrouble {
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people, without secrets.
    pub message: String,
}

/// What becomes of what a stopping bot holds (contract §2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// It is kept; `start` takes it up again.
    #[default]
    Hold,
    /// It is sold at the market.
    Close,
    /// It is traded to its end, and no other is begun.
    Drain,
}
