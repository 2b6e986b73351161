//! Carrying signals out: for each bot in the order in which they came, and again after a crash those that were not.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::{BotId, SignalId, Timestamp};
use strategies::Funds;
use tokio::sync::Notify;

use super::{Action, Signal, SignalStatus};
use crate::by_hand::{By, Then};
use crate::clock;
use crate::error::EngineError;
use crate::handle::{EngineHandle, Inner};

/// How many signals are taken up at once.
const AT_ONCE: u32 = 256;

/// How long something that does not answer is asked again, in nanoseconds.
const TRIED_FOR: i64 = 10 * 60 * 1_000_000_000;

/// How often those that have to be tried again are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What carries signals out, and who is at it.
#[derive(Debug, Default)]
pub(crate) struct Carrier {
    /// Rung when a signal came, and when one is done.
    pub(crate) bell: Arc<Notify>,
    /// Held by whoever takes a signal in.
    pub(crate) inlet: tokio::sync::Mutex<()>,
    busy: Mutex<HashSet<BotId>>,
}

impl Carrier {
    fn begin(&self, bot: BotId) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(bot)
    }

    fn end(&self, bot: BotId) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&bot);
        self.bell.notify_one();
    }
}

/// Carries out what waits, until the engine is gone.
pub(crate) async fn carry_out(engine: Weak<Inner>, bell: Arc<Notify>) {
    loop {
        {
            let Some(inner) = engine.upgrade() else { return };
            let waiting = inner.store.waiting_signals(AT_ONCE).await;
            let waiting = waiting.unwrap_or_else(|error| {
                tracing::warn!(%error, "signals could not be looked for");
                Vec::new()
            });
            // Of each bot the oldest, and none before that is done with.
            let mut seen = HashSet::new();
            for (signal, next_at) in waiting {
                let is_oldest = seen.insert(signal.bot_id);
                if is_oldest && next_at <= clock::now() && inner.carrier.begin(signal.bot_id) {
                    let handle = EngineHandle { inner: inner.clone() };
                    inner.io.spawn(async move {
                        handle.carry(&signal).await;
                        handle.inner.carrier.end(signal.bot_id);
                    });
                }
            }
        }
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What is to be noted of a signal after it was tried.
enum Tried {
    Done,
    Failed(String, String),
    Again(Timestamp),
}

impl EngineHandle {
    async fn carry(&self, signal: &Signal) {
        let (id, now) = (signal.id, clock::now());
        let tried = match self.order(signal).await {
            Ok(()) => Tried::Done,
            Err(error) => tried(signal, &error, now),
        };
        if let Tried::Failed(code, message) = &tried {
            tracing::info!(signal = %id, bot = %signal.bot_id, code, message, "a signal was not carried out");
        }
        let (status, failure, next_at) = match tried {
            Tried::Done => (SignalStatus::Done, None, now),
            Tried::Failed(code, message) => (SignalStatus::Failed, Some((code, message)), now),
            Tried::Again(next_at) => (SignalStatus::Accepted, None, next_at),
        };
        let noted = self.inner.store.note_signal(id, status, failure, next_at).await;
        if let Err(error) = noted {
            tracing::warn!(%error, signal = %id, "what became of a signal could not be noted: it is tried again");
        }
    }

    /// Does what a signal orders; all of it but buying comes to the same when it is done twice.
    async fn order(&self, signal: &Signal) -> Result<(), EngineError> {
        let Signal { account_id, bot_id, .. } = *signal;
        match (signal.action, signal.trade_id) {
            (Action::Start, _) => self.start_bot(account_id, bot_id).await.map(drop),
            (Action::Stop, _) => self.stop_bot(account_id, bot_id, signal.positions).await.map(drop),
            (Action::Close, Some(trade)) => {
                self.close_trade(account_id, trade, By::Signal, Then::Continue).await.map(drop)
            }
            (Action::Close, None) => Ok(()),
            (Action::Add, Some(trade)) => {
                let funds = Funds::Amount(signal.amount.unwrap_or_default());
                // That it is done is written with what it buys: after a crash either both are there or neither is.
                let attached = Attached { signal: Some(signal.id), answer: None };
                self.add_funds_with(account_id, trade, funds, By::Signal, attached).await.map(drop)
            }
            (Action::Add, None) => {
                let message = "no trade was open that anything could be added to".to_owned();
                Err(EngineError::Conflict { code: "no_trade_open", message })
            }
        }
    }
}

/// What is written with what an order does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attached {
    /// A signal that is done by it.
    pub(crate) signal: Option<SignalId>,
    /// What its client is answered when it asks again.
    pub(crate) answer: Option<crate::answer::KeptAnswer>,
}

impl Attached {
    /// Puts it into the change that the order comes to.
    pub(crate) fn take_into(&mut self, change: &mut crate::change::Change) {
        let Self { signal, answer } = std::mem::take(self);
        change.signal = change.signal.or(signal);
        change.answer = change.answer.take().or(answer);
    }
}

/// Whether what went wrong may pass, and else how it is told.
fn tried(signal: &Signal, error: &EngineError, now: Timestamp) -> Tried {
    let (code, may_pass) = match error {
        EngineError::Unavailable(_) | EngineError::Store(_) => ("unavailable", true),
        EngineError::VenueSilent(_) => ("venue_unreachable", true),
        EngineError::Conflict { code, .. } => {
            (*code, matches!(*code, "orders_under_way" | "entry_under_way"))
        }
        EngineError::NotFound(_) => ("resource_missing", false),
        EngineError::Invalid(_) => ("parameter_invalid", false),
        EngineError::AccountSuspended | EngineError::AccountDeleted => ("account_suspended", false),
    };
    if may_pass && now.since(signal.received_at) < TRIED_FOR {
        let seconds = 1_u64 << signal.attempts.clamp(0, 5).unsigned_abs();
        return Tried::Again(now.plus_seconds(seconds));
    }
    let message = match error {
        EngineError::Store(_) | EngineError::Unavailable(_) => {
            "the server could not take it for ten minutes".to_owned()
        }
        error => error.to_string(),
    };
    Tried::Failed(code.to_owned(), message)
}
