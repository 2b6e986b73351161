//! What time it is at the venue.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use connectors::binance::trade::TradeRest;
use model::Timestamp;

use crate::clock;

/// The venue's clock, as far from ours as it was last seen to be; clones share it, and so do all connections to the
/// venue: what one learns from a refusal helps the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct VenueClock(Arc<AtomicI64>);

impl VenueClock {
    /// The venue's time now.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_nanos(clock::now().nanos().saturating_add(self.0.load(Ordering::Relaxed)))
    }

    /// The venue said that it is this late, somewhere between two moments of ours.
    fn learn(&self, told: Timestamp, asked_at: Timestamp, heard_at: Timestamp) {
        let between = asked_at.nanos() + heard_at.since(asked_at) / 2;
        self.0.store(told.nanos().saturating_sub(between), Ordering::Relaxed);
    }
}

/// Learns how far the venue's clock is from ours.
pub(super) fn learn_time(rest: &TradeRest, clock: &VenueClock) {
    let (rest, clock) = (rest.clone(), clock.clone());
    actix_rt::spawn(async move {
        let asked_at = clock::now();
        match rest.server_time().await {
            Ok(told) => clock.learn(told, asked_at, clock::now()),
            Err(error) => tracing::debug!(%error, "the venue does not tell its time"),
        }
    });
}
