//! How sinks get events: from what all share of the outbox, or by pages that are read for one of them.

use std::collections::{HashMap, HashSet};

use actix::Context;
use model::{AccountId, DeliveryId, WebhookId};

use super::{Courier, Found, MOST_UNNOTED, Own, PAGE, Sink};
use crate::actors::deliver;
use crate::store::{Origin, StoreError, StoredEvent};
use crate::webhook::queue::Row;
use crate::webhook::sink::{Fetched, Heard};

/// How many events are read at once for one sink: a few more than it has room for, as it may not want all of them.
const OWN_PAGE: std::ops::RangeInclusive<usize> = 16..=256;

impl Courier {
    /// Gives a sink what it has room for, once there is something.
    pub(super) fn serve(&mut self, id: WebhookId, ctx: &Context<Self>) {
        if self.tried.len() >= MOST_UNNOTED {
            return;
        }
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        if let Some(want) = sink.want.take() {
            match self.feed.after(sink.account, want.read, want.room) {
                Some(events) if events.len() == 0 => sink.want = Some(want),
                Some(events) => {
                    deliver(&sink.address, Heard(events.cloned().map(Row::new).collect(), 0));
                }
                None => {
                    let limit = (want.room * 2).clamp(*OWN_PAGE.start(), *OWN_PAGE.end());
                    let page = self.own_events(id, want.read, limit);
                    let complete = self.read;
                    self.ask(ctx, page, move |page| Own(want, limit, complete, page));
                }
            }
        }
        self.serve_fetch(id, ctx);
    }

    /// Gives a sink what it left in the store.
    fn serve_fetch(&mut self, id: WebhookId, ctx: &Context<Self>) {
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        let Some(fetch) = sink.fetch.take() else { return };
        let account = sink.account;
        if fetch.origin == Origin::Replay {
            let (store, turn) = (self.store.clone(), self.shares.read(account));
            let replays = async move {
                let _turn = turn.await;
                let after = DeliveryId::from_u128(fetch.after);
                let found = store.waiting_replays(account, id, after, fetch.limit).await?;
                Ok(found.into_iter().map(|(event, delivery)| Row::of(event, Some(delivery))).collect())
            };
            return self.ask(ctx, replays, move |rows| Found(id, fetch, rows));
        }
        let after = i64::try_from(fetch.after).unwrap_or(i64::MAX);
        if let Some(events) = self.feed.after(account, after, fetch.limit) {
            let rows: Vec<_> = events.cloned().map(Row::new).collect();
            let has_more = rows.len() >= fetch.limit;
            return deliver(&sink.address, Fetched(fetch, rows, has_more));
        }
        let page = self.own_events(id, after, fetch.limit);
        self.ask(ctx, page, move |rows| Found(id, fetch, rows));
    }

    /// Reads the events of a sink's account after a place, with what the store knows of their deliveries to it.
    fn own_events(
        &self,
        id: WebhookId,
        after: i64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send + 'static {
        let sink = self.sinks.get(&id).map(|sink| (sink.account, sink.known_until));
        let turn = sink.map(|(account, _)| self.shares.read(account));
        let (store, limit) = (self.store.clone(), u32::try_from(limit).unwrap_or(PAGE));
        async move {
            let Some(((account, known_until), turn)) = sink.zip(turn) else { return Ok(Vec::new()) };
            let _turn = turn.await;
            let events = store.events_after(account, after, limit).await?;
            let last = events.last().map_or(after, |event| event.seq);
            let mut known = HashMap::new();
            if after < known_until {
                for delivery in store.open_deliveries(id, after, last).await? {
                    known.insert(delivery.event_seq, delivery);
                }
            }
            let row = |event: StoredEvent| {
                let delivery = known.remove(&event.seq);
                Row::of(event, delivery)
            };
            Ok(events.into_iter().map(row).collect())
        }
    }

    /// Gives all sinks of some accounts, or of all, what they wait for.
    pub(super) fn serve_all(&mut self, of: Option<&HashSet<AccountId>>, ctx: &Context<Self>) {
        let waits = |sink: &Sink| {
            (sink.want.is_some() || sink.fetch.is_some())
                && of.is_none_or(|told| told.contains(&sink.account))
        };
        let ids: Vec<_> = self.sinks.iter().filter(|(_, sink)| waits(sink)).map(|(id, _)| *id).collect();
        for id in ids {
            self.serve(id, ctx);
        }
    }
}
