//! What is forgotten in time: events and deliveries of more than thirty days ago, and the oldest of too many
//! deliveries. In small steps, so that nobody waits for the disk because of it.

use std::time::Duration;

use model::Timestamp;

use crate::clock;
use crate::store::{Store, StoreError};

/// How long events can be caught up on, and deliveries looked at.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// How many deliveries of one endpoint are kept.
const MOST_DELIVERIES: u32 = 100_000;

/// How many rows go at once, how long the others have the disk for themselves after that, and how long it takes until
/// it is looked again.
const STEP: u32 = 200;
const REST: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_mins(10);

/// Forgets what is old for as long as the store is open.
pub(crate) async fn sweep_for_ever(store: Store) {
    loop {
        if let Err(error) = sweep(&store, clock::now()).await {
            tracing::warn!(%error, "old events and deliveries could not be forgotten");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Forgets what is old now.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn sweep(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let kept = i64::try_from(KEPT.as_nanos()).unwrap_or(i64::MAX);
    let until = Timestamp::from_nanos(now.nanos().saturating_sub(kept));
    while store.forget_events(until, STEP).await? > 0 {
        tokio::time::sleep(REST).await;
    }
    for webhook in store.all_webhooks().await? {
        let id = webhook.webhook.id;
        while store.forget_deliveries(id, until, MOST_DELIVERIES, STEP).await? > 0 {
            tokio::time::sleep(REST).await;
        }
    }
    Ok(())
}
