//! The actors, each a shell round something that can be tested without it.

mod backlog;
pub(crate) mod bot;
pub(crate) mod exchange;
pub(crate) mod feed;
pub(crate) mod fleet;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trailing_tests;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};

/// Sends what must never be dropped, whatever the mailbox holds. For messages whose number something else
/// bounds: a bot is woken once until it answers, and a fill happens once.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may pass a mailbox's bound")]
pub(crate) fn deliver<A, M>(to: &Addr<A>, message: M)
where
    M: Message + Send,
    M::Result: Send,
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
{
    to.do_send(message);
}
