//! The orders of a connection. What is looked through every turn is those that something may still happen to; settled ones,
//! which are known for ten minutes more in case they are told of again, lie apart and cost nothing meanwhile.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use model::ClientOrderId;

use super::tracked::Tracked;

/// The orders of a connection.
#[derive(Debug, Default)]
pub(super) struct Orders {
    open: HashMap<ClientOrderId, Tracked>,
    settled: HashMap<ClientOrderId, Tracked>,
    /// Settled orders in the order in which they were laid aside. One may be there twice, or be open again.
    aside: VecDeque<(Instant, ClientOrderId)>,
}

impl Orders {
    /// An order that is known.
    pub(super) fn get(&self, id: &ClientOrderId) -> Option<&Tracked> {
        self.open.get(id).or_else(|| self.settled.get(id))
    }

    /// An order that is known, to be changed: it is looked through again, until it is laid aside anew.
    pub(super) fn get_mut(&mut self, id: &ClientOrderId) -> Option<&mut Tracked> {
        if let Some(order) = self.settled.remove(id) {
            self.open.insert(*id, order);
        }
        self.open.get_mut(id)
    }

    pub(super) fn contains_key(&self, id: &ClientOrderId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn insert(&mut self, id: ClientOrderId, order: Tracked) {
        self.settled.remove(&id);
        self.open.insert(id, order);
    }

    /// Orders that something may still happen to; few that are settled are among them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ClientOrderId, &Tracked)> {
        self.open.iter()
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&ClientOrderId, &mut Tracked)> {
        self.open.iter_mut()
    }

    /// The same without their ids.
    pub(super) fn values(&self) -> impl Iterator<Item = &Tracked> {
        self.open.values()
    }

    /// The same, to be changed.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.open.values_mut()
    }

    /// Lets go of some, settled ones as well.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Tracked) -> bool) {
        self.open.retain(|_, order| is_kept(order));
        self.settled.retain(|_, order| is_kept(order));
    }

    /// Lays aside what is settled, and lets go of what has been for so long.
    pub(super) fn forget(&mut self, now: Instant, known_for: Duration) {
        let is_over = |_: &ClientOrderId, order: &mut Tracked| {
            order.settled_at.is_some() && order.is_accounted && !order.is_asking && order.ask_at.is_none()
        };
        for (id, order) in self.open.extract_if(is_over) {
            self.settled.insert(id, order);
            self.aside.push_back((now, id));
        }
        while let Some((_, id)) =
            self.aside.pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= known_for)
        {
            // One that was laid aside again later has its turn then.
            let is_old = |order: &Tracked| {
                order.settled_at.is_none_or(|at| now.saturating_duration_since(at) >= known_for)
            };
            if self.settled.get(&id).is_some_and(is_old) {
                self.settled.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{BotId, Qty, Receipt, Timestamp};
    use strategies::live::{End, Report, Role};

    use super::*;

    const KNOWN_FOR: Duration = Duration::from_mins(10);

    fn order() -> Tracked {
        let pair = "BTC/USDT".parse().unwrap();
        Tracked::new(BotId::from_u128(1), pair, Role::Exit, Timestamp::MIN, Receipt::default())
    }

    fn settle(orders: &mut Orders, id: ClientOrderId) {
        let report =
            Report { client_id: id, end: Some(End::Canceled), executed: Qty::ZERO, executions: Vec::new() };
        orders.get_mut(&id).unwrap().hear(&report);
    }

    #[test]
    fn what_is_settled_is_known_and_not_looked_through_and_forgotten_in_time() {
        let (mut orders, start) = (Orders::default(), Instant::now());
        let ids: Vec<_> = (0..10_000).map(ClientOrderId::from_u128).collect();
        for id in &ids {
            orders.insert(*id, order());
            settle(&mut orders, *id);
        }
        let last = ClientOrderId::from_u128(20_000);
        orders.insert(last, order());
        orders.forget(start, KNOWN_FOR);
        assert_eq!(orders.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [last], "one is looked through");
        assert!(ids.iter().all(|id| orders.contains_key(id)));

        // Told of once more, it is looked through until it is laid aside again.
        settle(&mut orders, ids[0]);
        assert_eq!(orders.values().count(), 2);
        orders.forget(start + Duration::from_secs(1), KNOWN_FOR);
        assert_eq!(orders.values().count(), 1);
        orders.forget(start + KNOWN_FOR + Duration::from_secs(30), KNOWN_FOR);
        assert!(ids.iter().all(|id| !orders.contains_key(id)));
        assert!(orders.contains_key(&last), "nothing has become of it");
    }

    #[test]
    fn what_is_still_to_be_asked_for_is_not_laid_aside() {
        let (mut orders, id) = (Orders::default(), ClientOrderId::from_u128(1));
        orders.insert(id, order());
        settle(&mut orders, id);
        orders.get_mut(&id).unwrap().is_accounted = false;
        orders.forget(Instant::now(), KNOWN_FOR);
        assert_eq!(orders.values().count(), 1, "its bot waits for it");
        let order = orders.get_mut(&id).unwrap();
        order.is_accounted = true;
        order.ask_after(Duration::ZERO);
        orders.forget(Instant::now(), KNOWN_FOR);
        assert_eq!(orders.values().count(), 1, "its executions are asked for");
    }
}
