//! What others order by a bot's hook: stored before it is answered, and carried out once, also after a crash.

mod carry;
mod hook;
mod repeat;

use std::str::FromStr;

use model::{AccountId, BotId, HookId, Quote, SignalId, Timestamp, TradeId, TradeStatus};
use serde::{Deserialize, Serialize};

use crate::change::Positions;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::{Store, TradeFilter};

pub use hook::{Hook, NewHook};

pub(crate) use carry::{Attached, Carrier, carry_out};
pub(crate) use hook::seal_secrets;
pub(crate) use repeat::Sameness;

/// What a signal orders.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The bot is started.
    Start,
    /// It is stopped.
    Stop,
    /// The trade that is open is sold at the market.
    Close,
    /// More is bought for the trade that is open.
    Add,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Self; 4] = [Self::Start, Self::Stop, Self::Close, Self::Add];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Close => "close",
            Self::Add => "add",
        }
    }
}

/// A text that is no action.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("one of start, stop, close, add is wanted")]
pub struct ActionError;

impl FromStr for Action {
    type Err = ActionError;
    fn from_str(text: &str) -> Result<Self, ActionError> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(ActionError)
    }
}

/// An order as it was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSignal {
    /// What is ordered.
    pub action: Action,
    /// What becomes of what a bot holds that is stopped.
    pub positions: Positions,
    /// How much more is bought, in quote; without it the bot's stake.
    pub amount: Option<Quote>,
    /// What its sender calls it: sent again, it is the same signal.
    pub id: Option<String>,
}

/// A signal as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signal {
    /// Its id.
    pub id: SignalId,
    /// By which hook it came.
    pub hook_id: HookId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it orders about.
    pub bot_id: BotId,
    /// The trade that was open when it came.
    pub trade_id: Option<TradeId>,
    /// What is ordered.
    pub action: Action,
    /// What becomes of what a bot holds that is stopped.
    pub positions: Positions,
    /// How much more is bought, in quote.
    pub amount: Option<Quote>,
    /// Whether it waits, is done or failed.
    pub status: SignalStatus,
    /// Why it failed: a word for programs and a sentence for people.
    pub failure: Option<(String, String)>,
    /// When it came.
    pub received_at: Timestamp,
    pub(crate) attempts: i64,
}

/// What became of a signal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignalStatus {
    /// It will be carried out.
    Accepted,
    /// It was.
    Done,
    /// It could not be.
    Failed,
}

impl SignalStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for SignalStatus {
    type Err = ActionError;
    fn from_str(text: &str) -> Result<Self, ActionError> {
        let all = [Self::Accepted, Self::Done, Self::Failed];
        all.into_iter().find(|status| status.as_str() == text).ok_or(ActionError)
    }
}

impl EngineHandle {
    /// Takes a signal in; it is durable when this returns, and carried out whatever happens then. Whether it is the one
    /// that came before is told beside it.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for what the hook, or the bot, does not allow.
    pub async fn take_signal(
        &self,
        hook: &Hook,
        new: NewSignal,
        body: &[u8],
    ) -> Result<(Signal, bool), EngineError> {
        self.take_work()?;
        let (account_id, bot_id) = (hook.account_id, hook.bot_id);
        if !hook.actions.contains(&new.action) {
            let message = format!("this hook may not order {}", new.action.as_str());
            return Err(EngineError::field("action", message));
        }
        let bot = self.stored(account_id, bot_id).await?;
        let most = bot.definition.stake_amount;
        if let Some(amount) = new.amount.filter(|amount| *amount > most) {
            let message = format!("{amount} is more than the bot's stake of {most}");
            return Err(EngineError::field("amount", message));
        }
        let filter =
            TradeFilter { bot_id: Some(bot_id), status: Some(TradeStatus::Open), ..TradeFilter::default() };
        let ask = move |store: Store| async move { store.trades(account_id, &filter, 1, None).await };
        let trade_id = self.on_store(ask).await?.rows.first().map(|trade| trade.id);
        let same = Sameness::of(new.id.as_deref(), body);
        let now = clock::now();
        let signal = Signal {
            id: SignalId::new(),
            hook_id: hook.id,
            account_id,
            bot_id,
            trade_id,
            action: new.action,
            positions: new.positions,
            amount: (new.action == Action::Add).then(|| new.amount.unwrap_or(most)),
            status: SignalStatus::Accepted,
            failure: None,
            received_at: now,
            attempts: 0,
        };
        let since = Timestamp::from_nanos(now.nanos().saturating_sub(same.seconds() * 1_000_000_000));
        // One at a time, so that of two that are the same one is the second.
        let _alone = self.inner.carrier.inlet.lock().await;
        let taken = signal.clone();
        let ask = move |store: Store| async move {
            let before = store.signal_before(&taken, &same, since).await?;
            let is_repeat = |before: &Signal| match &same {
                Sameness::Id(_) => true,
                Sameness::Body(_) => repeat::still_stands(before, bot.status, trade_id),
            };
            let before = before.filter(is_repeat);
            if before.is_none() {
                store.add_signal(&taken, &same).await?;
            }
            Ok(before)
        };
        match self.on_store(ask).await? {
            Some(before) => Ok((before, true)),
            None => {
                self.inner.carrier.bell.notify_one();
                Ok((signal, false))
            }
        }
    }

    /// What a bot's hooks were sent, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] without such a bot.
    pub async fn signals(
        &self,
        account: AccountId,
        bot: BotId,
        limit: u32,
        after: Option<SignalId>,
    ) -> Result<crate::store::Page<Signal>, EngineError> {
        self.stored(account, bot).await?;
        let ask = move |store: Store| async move { store.signals(account, bot, limit, after).await };
        self.read_list(account, ask).await
    }
}
