//! Webhooks: one sink per endpoint, and the courier that all sinks share, told by the ledger when something was committed.

mod address;
mod courier;
mod endpoint;
mod names;
mod owner;
mod post;
mod queue;
mod share;
mod sign;
mod sink;

pub(crate) use address::Targets;
pub use endpoint::{CONCURRENCY, NewWebhook, WEBHOOK_PORTS, WebhookPatch};

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor as _, Addr};
use actix_rt::ArbiterHandle;
use model::{AccountId, WebhookId};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard, oneshot};

use crate::actors::deliver;
use crate::handle::Inner;
use crate::meters::Meters;
use crate::secrets::Vault;
use crate::store::{OpenRows, SealedWebhook, Store, StoreError, Webhook};
use courier::{Begin, Close, Courier, Doorbell, Finish, Open};
use endpoint::{Endpoint, Secrets};
use post::Post;

/// How long a stop waits for deliveries on their way.
const FINISH: Duration = Duration::from_secs(3);

/// The way to the courier; clones share it.
#[derive(Clone)]
pub(crate) struct Hub {
    vault: Vault,
    targets: Targets,
    /// For single deliveries that somebody waits for.
    post: Post,
    courier: Addr<Courier>,
    bell: Arc<AtomicBool>,
    /// One change at a time of each endpoint: they share these.
    locks: Arc<Vec<Mutex<()>>>,
}

impl Hub {
    /// A courier on this arbiter, which reads the store on `io`, and counts in `meters` what waits in memory.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub(crate) fn new(
        store: Store,
        io: Handle,
        arbiter: &ArbiterHandle,
        vault: &Vault,
        targets: Targets,
        meters: &Meters,
    ) -> Result<Self, reqwest::Error> {
        let (post, courier_post) = (Post::new(&targets)?, Post::new(&targets)?);
        let bell = Arc::new(AtomicBool::new(false));
        let (rung, in_memory) = (bell.clone(), meters.webhook_events_count());
        let courier = Courier::start_in_arbiter(arbiter, move |_| {
            Courier::new(store, io, courier_post, rung, in_memory)
        });
        let locks = Arc::new(Inner::locks());
        Ok(Self { vault: vault.clone(), targets, post, courier, bell, locks })
    }

    /// Goes on with everybody's endpoints where the store says that they are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn begin(&self, store: &Store) -> Result<(), StoreError> {
        deliver(&self.courier, Begin(store.outbox_end().await?));
        store.end_tests().await?;
        let mut rows = store.open_rows().await?;
        for stored in store.all_webhooks().await? {
            let Some(secrets) = self.unsealed(&stored) else { continue };
            let SealedWebhook { webhook, secrets: kept } = stored;
            if kept.is_err() {
                let sealed = secrets.seal(&self.vault, webhook.account_id, webhook.id);
                store.change_webhook(&webhook, &sealed, None).await?;
            }
            let rows = rows.remove(&webhook.id).unwrap_or_default();
            self.open(webhook, &secrets, rows);
        }
        Ok(())
    }

    /// Begins to deliver to an endpoint, from where it is.
    fn open(&self, webhook: Webhook, secrets: &Secrets, rows: OpenRows) {
        if webhook.progress.disabled.is_some() {
            return;
        }
        match Endpoint::new(&webhook, secrets) {
            Some(endpoint) => deliver(&self.courier, Open { webhook, endpoint, rows }),
            None => tracing::error!(webhook = %webhook.id, "an endpoint's secret is none"),
        }
    }

    /// Ends what is delivered to an endpoint. After this the courier writes nothing more of how far it is.
    async fn close(&self, id: WebhookId) {
        let (done, closed) = oneshot::channel();
        deliver(&self.courier, Close(id, done));
        // A courier that is gone writes nothing either.
        let _ = closed.await;
    }

    /// Keeps an endpoint from being changed by anybody else, between reading it and writing it.
    async fn alone(&self, id: WebhookId) -> Option<MutexGuard<'_, ()>> {
        let lock = usize::try_from(id.as_u128() % self.locks.len().max(1) as u128).unwrap_or_default();
        match self.locks.get(lock) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    /// An endpoint's secrets; it is logged where they do not open.
    fn unsealed(&self, stored: &SealedWebhook) -> Option<Secrets> {
        Secrets::open(&self.vault, stored)
            .inspect_err(|why| {
                tracing::error!(webhook = %stored.webhook.id, why, "an endpoint's secrets do not open");
            })
            .ok()
    }

    /// Rings where something that was committed tells somebody of something.
    pub(crate) fn committed(&self, told: &HashSet<AccountId>) {
        if !told.is_empty() && !self.bell.swap(true, Ordering::AcqRel) {
            deliver(&self.courier, Doorbell);
        }
    }

    /// Begins nothing more, and waits a moment for what is on its way to be noted.
    pub(crate) async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        deliver(&self.courier, Finish(done));
        if tokio::time::timeout(FINISH, finished).await.is_err() {
            tracing::warn!(
                "deliveries were still on their way when the webhooks stopped: they are made again"
            );
        }
    }
}

#[cfg(test)]
mod tests;
