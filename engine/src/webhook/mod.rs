//! Webhooks: one sink per endpoint, told by the ledger when something was committed for it.

mod address;
mod queue;
mod sign;
mod sink;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor as _, Addr};
use actix_rt::ArbiterHandle;
use dashmap::DashMap;
use model::{AccountId, EventKind, WebhookId};
use tokio::runtime::Handle;

use crate::actors::deliver;
use crate::clock;
use crate::store::{Store, Webhook};
use address::Targets;
use sink::{Close, Doorbell, WebhookSink};

/// An endpoint as its owner wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewWebhook {
    /// Where events go: https on port 443 or 8443.
    pub url: String,
    /// Which events; empty means all.
    pub kinds: Vec<EventKind>,
}

/// All sinks; clones share them.
#[derive(Clone)]
pub(crate) struct Hub {
    store: Store,
    io: Handle,
    arbiter: ArbiterHandle,
    client: reqwest::Client,
    targets: Targets,
    sinks: Arc<DashMap<AccountId, Vec<Open>>>,
}

/// A sink that listens.
struct Open {
    id: WebhookId,
    sink: Addr<WebhookSink>,
    bell: Arc<AtomicBool>,
}

impl Hub {
    /// Sinks on this arbiter, which read the store on `io`.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub(crate) fn new(
        store: Store,
        io: Handle,
        arbiter: ArbiterHandle,
        allow_loopback: bool,
    ) -> Result<Self, reqwest::Error> {
        let targets = Targets { allow_loopback };
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(targets))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .user_agent(concat!("BotPrimeX/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { store, io, arbiter, client, targets, sinks: Arc::default() })
    }

    /// A new endpoint with its secret.
    ///
    /// # Errors
    /// Why nothing is delivered to this address.
    pub(crate) fn checked(&self, account_id: AccountId, new: NewWebhook) -> Result<Webhook, String> {
        self.targets.check(&new.url)?;
        Ok(Webhook {
            id: WebhookId::new(),
            account_id,
            url: new.url,
            kinds: new.kinds,
            secret: sign::new_secret(),
            settled: 0,
            failing_since: None,
            disabled: None,
            created_at: clock::now(),
        })
    }

    /// Begins to deliver to an endpoint, from where the store says it is.
    pub(crate) fn open(&self, webhook: Webhook) {
        if webhook.disabled.is_some() {
            return;
        }
        let (id, account) = (webhook.id, webhook.account_id);
        let bell = Arc::new(AtomicBool::new(false));
        let (store, io, client) = (self.store.clone(), self.io.clone(), self.client.clone());
        let (targets, rung) = (self.targets, bell.clone());
        let sink = WebhookSink::start_in_arbiter(&self.arbiter, move |_| {
            WebhookSink::new(webhook, store, io, client, targets, rung)
        });
        self.sinks.entry(account).or_default().push(Open { id, sink, bell });
    }

    /// Stops delivering to an endpoint.
    pub(crate) fn close(&self, account: AccountId, id: WebhookId) {
        if let Some(mut sinks) = self.sinks.get_mut(&account) {
            sinks.retain(|open| {
                if open.id == id {
                    deliver(&open.sink, Close);
                }
                open.id != id
            });
        }
    }

    /// Rings at the endpoints of those whom something that was committed tells of something.
    pub(crate) fn committed(&self, told: &HashSet<AccountId>) {
        for account in told {
            for open in self.sinks.get(account).iter().flat_map(|sinks| sinks.iter()) {
                if !open.bell.swap(true, Ordering::AcqRel) {
                    deliver(&open.sink, Doorbell);
                }
            }
        }
    }
}
