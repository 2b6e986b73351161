//! The venue's time on requests about orders. It is taken before the commit that lets a request leave and belongs to
//! what is committed: a process that was paused in between, and whose store another one has taken over, can only send
//! what the venue refuses as too old. A stamp that is too old to be sent is replaced by another commit alone.

use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::trade::RECV_WINDOW;
use model::{ClientOrderId, Timestamp};
use strategies::live::End;

use super::late::until_read;
use super::{ExchangeConnection, deliver};
use crate::change::Change;
use crate::live::OrderStamp;
use crate::store::JournaledStamp;

/// How old a stamp may be when its request leaves. What remains of the venue's window is for the way there.
const FRESH_FOR: Duration = Duration::from_secs(2);
const _: () = assert!(FRESH_FOR.as_millis() * 2 <= RECV_WINDOW.as_millis());

/// How far ahead of the venue's clock, as it is known by now, a stamp may be: the venue takes a second.
const FRESH_AHEAD: Duration = Duration::from_millis(500);

/// An order's other stamp has become durable.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Restamped(pub(crate) OrderStamp);

/// What the journal has of orders that a bot came with; nothing of those that are not durable yet.
#[derive(Message)]
#[rtype(result = "()")]
struct Stamps(Vec<(ClientOrderId, Option<JournaledStamp>)>);

/// Whether a request with this stamp may leave now, by the venue's clock.
pub(super) fn is_fresh(stamped_at: Timestamp, now: Timestamp) -> bool {
    let age = now.since(stamped_at);
    let limit = |limit: Duration| i128::try_from(limit.as_nanos()).unwrap_or(i128::MAX);
    (-limit(FRESH_AHEAD)..=limit(FRESH_FOR)).contains(&i128::from(age))
}

impl ExchangeConnection {
    /// An order's stamp, while its request may leave with it.
    pub(super) fn fresh_stamp(&self, id: ClientOrderId) -> Option<Timestamp> {
        let stamped_at = self.orders.get(&id)?.stamped_at?;
        is_fresh(stamped_at, self.client.clock().now()).then_some(stamped_at)
    }

    /// Journals another stamp of an order that waits to be sent; it leaves once that is durable.
    pub(super) fn restamp(&mut self, id: ClientOrderId) {
        let stamp = self.stamp(id);
        if let Some(order) = self.orders.get_mut(&id) {
            order.is_restamping = true;
            self.journal.record(Change { restamped: vec![stamp], ..Change::default() });
        }
    }

    /// Takes an order back with a stamp of now, once that is journaled; where it was taken back a moment ago, later.
    pub(super) fn take_back_again(&mut self, id: ClientOrderId) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        if let Some(wait) = order.cancels.wait() {
            return order.ask_after(wait);
        }
        if !order.end && !order.is_canceling() {
            self.journal.record(Change { cancels: vec![self.stamp(id)], ..Change::default() });
        }
    }

    /// Reads when and in which epoch orders were stamped that a bot comes with: whether they can have left, and until
    /// when the venue can have taken them.
    pub(super) fn read_stamps(&self, ids: Vec<ClientOrderId>, me: &Addr<Self>) {
        if ids.is_empty() {
            return;
        }
        let (journal, me) = (self.journal.clone(), me.clone());
        self.journal.spawn(async move {
            let mut stamps = Vec::with_capacity(ids.len());
            for id in ids {
                stamps.push((id, until_read(|| journal.store().journaled_stamp(id)).await));
            }
            deliver(&me, Stamps(stamps));
        });
    }

    fn stamp(&self, client_id: ClientOrderId) -> OrderStamp {
        OrderStamp { exchange_id: self.id, client_id, at: self.client.clock().now() }
    }
}

impl Handler<Restamped> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Restamped(stamp): Restamped, ctx: &mut Context<Self>) {
        if let Some(order) = self.orders.get_mut(&stamp.client_id) {
            order.stamped_at = Some(stamp.at);
            order.is_restamping = false;
        }
        self.send_waiting(&ctx.address());
    }
}

impl Handler<Stamps> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Stamps(stamps): Stamps, _: &mut Context<Self>) {
        for (id, journaled) in stamps {
            // One that came here meanwhile, to be sent, is this process's own.
            let Some(order) = self.orders.get_mut(&id).filter(|order| order.order.is_none()) else {
                continue;
            };
            // What is not durable yet can only be this process's.
            let epoch = journaled.map_or(Some(self.sent.epoch()), |journaled| journaled.epoch);
            if epoch.is_some_and(|epoch| self.sent.is_unsent(id, epoch)) {
                order.is_accounted = true;
                // Should it be on its way here, it stays.
                self.taken_back.insert(id, Instant::now());
                self.end(id, End::NeverArrived);
            } else if let Some(at) = journaled.and_then(|journaled| journaled.stamped_at) {
                let ago = self.client.clock().now().since(at);
                order.left(Duration::from_nanos(u64::try_from(ago).unwrap_or(0)));
                let wait_ns = i64::try_from((RECV_WINDOW + self.absent_after).as_nanos()).unwrap_or(i64::MAX);
                order.absent_at = Some(Timestamp::from_nanos(at.nanos().saturating_add(wait_ns)));
            }
        }
        self.let_accounted_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_good_for_two_seconds_and_not_from_the_future() {
        let now = Timestamp::from_millis(100_000);
        let check = |ms: i64, expected: bool| {
            assert_eq!(is_fresh(Timestamp::from_millis(100_000 + ms), now), expected, "{ms} ms");
        };
        check(0, true);
        check(-2_000, true);
        check(-2_001, false);
        check(500, true);
        check(501, false);
    }
}
