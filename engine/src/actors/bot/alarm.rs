//! Time for live bots: what waits is told when its time has come, whether or not anything is traded.

use actix::{Message, WeakAddr};
use actix_rt::task::JoinHandle;
use model::Timestamp;
use tokio::time::sleep_until;

use super::Bot;
use crate::actors::deliver;
use crate::clock;

/// The time that a live bot waited for has come.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Due;

/// A task that tells its bot once that a time has come. It comes by the mailbox, like a tick: nothing that is busy keeps
/// it back for longer than that.
#[derive(Debug)]
pub(super) struct Alarm {
    /// When, by [`clock::steady`].
    due: Timestamp,
    task: JoinHandle<()>,
}

impl Alarm {
    /// Sets an alarm, or leaves one that is set for the same time.
    pub(super) fn set(alarm: &mut Option<Self>, due: Option<Timestamp>, bot: &WeakAddr<Bot>) {
        if alarm.as_ref().map(|set| set.due) == due {
            return;
        }
        *alarm = due.map(|due| {
            let bot = bot.clone();
            let task = actix_rt::spawn(async move {
                sleep_until(clock::instant_of(due)).await;
                if let Some(bot) = bot.upgrade() {
                    deliver(&bot, Due);
                }
            });
            Self { due, task }
        });
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.task.abort();
    }
}
