//! Entries that wait to be sent and are not to leave any more. What waits has certainly not reached the venue: ending it
//! there and then is all, and no restart sends it.

use std::time::Duration;

use actix::{Context, Handler, Message};
use model::ClientOrderId;
use strategies::live::End;

use super::ExchangeConnection;
use super::tracked::Tracked;

/// How long an entry may wait to be sent: after that the price that it was decided at is gone (contract section 4).
pub(super) const SEND_WITHIN: Duration = Duration::from_secs(1);

/// An order is not to leave if it has not left yet.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Withdraw(pub(crate) ClientOrderId);

impl ExchangeConnection {
    /// Ends the entries that waited too long, and those whose trigger does not hold any more at the newest price.
    pub(super) fn withdraw_outdated(&mut self) {
        let outdated = self.unsent.iter().filter_map(|id| Some((*id, self.outdated(self.orders.get(id)?)?)));
        for (id, end) in outdated.collect::<Vec<_>>() {
            self.withdraw(id, end);
        }
    }

    /// How an entry ends now, if it is not to be bought any more.
    fn outdated(&self, order: &Tracked) -> Option<End> {
        if !order.role.is_entry() {
            return None;
        }
        if order.decided.elapsed() > SEND_WITHIN {
            return Some(End::Expired);
        }
        let newest = self.markets.last(&order.pair).get()?;
        order.trigger.is_some_and(|trigger| newest > trigger).then_some(End::Canceled)
    }

    /// Ends an order that waits to be sent.
    pub(super) fn withdraw(&mut self, id: ClientOrderId, end: End) {
        self.unsent.retain(|waiting| *waiting != id);
        self.end(id, end);
    }
}

impl Handler<Withdraw> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Withdraw(id): Withdraw, _: &mut Context<Self>) {
        if self.unsent.contains(&id) {
            self.withdraw(id, End::Canceled);
        } else if !self.orders.contains_key(&id) {
            // It is being journaled, and ends when it comes here.
            self.taken_back.insert(id, std::time::Instant::now());
        }
    }
}
