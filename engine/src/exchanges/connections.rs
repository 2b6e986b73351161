//! What every connection needs beyond the store, and those that are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Actor as _;
use actix_rt::ArbiterHandle;
use connectors::binance::trade::{Credential, SharedBudget, TradeRest, TradeStreamConfig};
use model::{AccountId, BotId, ExchangeId};
use tokio::sync::Mutex;

use super::StoredExchange;
use super::key::misspelled;
use crate::actors::exchange::{ConnectionParts, ExchangeConnection, Journal, Ours};
use crate::commissions::Commissions;
use crate::error::EngineError;
use crate::handle::Inner;
use crate::live::Gateway;
use crate::live::sent::SentLog;
use crate::markets::Markets;
use crate::meters::Meters;
use crate::portfolio::KnownBalances;
use crate::secrets::{SealedCredential, Vault};
use crate::start::Unreconciled;

/// Where a venue is, and what it allows from here.
pub(crate) struct Venue {
    pub(crate) rest_url: String,
    pub(crate) ws_api_url: String,
    /// As [`crate::EngineConfig::absent_after`].
    pub(crate) absent_after: Duration,
    /// Where orders are looked up that no connection has.
    pub(crate) journal: Journal,
    /// How many bots have not heard yet what became of the orders that they had before the process began.
    pub(crate) unreconciled: Arc<AtomicUsize>,
    /// Which orders have begun to leave.
    pub(crate) sent: Arc<SentLog>,
    /// What all connections to it may ask from this address.
    pub(crate) budget: SharedBudget,
    /// Of a store that is a copy of an earlier time, how many connections do not know yet what it lacks.
    pub(crate) restoring: Option<Arc<AtomicUsize>>,
}

/// What connections need beyond the store.
pub(crate) struct Connections {
    vault: Vault,
    venue: Venue,
    pub(super) locks: Vec<Mutex<()>>,
    /// Where they live: beside the bots that trade over them.
    arbiter: ArbiterHandle,
    pub(super) open: Gateway,
    markets: Arc<Markets>,
    meters: Arc<Meters>,
    known: Arc<KnownBalances>,
}

impl Connections {
    /// Sealed with this key, at this venue, living on this arbiter, trading these markets.
    pub(crate) fn new(
        vault: Vault,
        venue: Venue,
        arbiter: ArbiterHandle,
        open: Gateway,
        markets: Arc<Markets>,
        meters: Arc<Meters>,
        known: Arc<KnownBalances>,
    ) -> Self {
        Self { vault, venue, locks: Inner::locks(), arbiter, open, markets, meters, known }
    }

    /// Where the venue is asked, and what all may ask of it.
    pub(crate) fn venue(&self) -> (String, SharedBudget) {
        (self.venue.rest_url.clone(), self.venue.budget.clone())
    }

    /// What a stored connection signs with; `None` where it does not open.
    pub(crate) fn credential(
        &self,
        account: AccountId,
        id: ExchangeId,
        sealed: &SealedCredential,
    ) -> Option<Credential> {
        let opened = self.vault.open(account, id, sealed).ok()?;
        Credential::new(opened.api_key.expose(), opened.api_secret.expose()).ok()
    }

    /// How often the venue has refused a request as one too many: with 429, and with a ban.
    pub(crate) fn refusals(&self) -> [u64; 2] {
        self.venue.budget.lock().refusals()
    }

    /// Where trades are booked that no bot is in.
    pub(crate) const fn journal(&self) -> &Journal {
        &self.venue.journal
    }

    /// The fee rates of the accounts behind connections.
    pub(crate) fn commissions(&self) -> &Commissions {
        self.open.commissions()
    }

    /// What secrets are sealed with.
    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// How many connections do not know yet what a restored store lacks.
    pub(crate) fn count_restoring(&self) -> usize {
        self.venue.restoring.as_ref().map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// Opens a connection unless it is open.
    pub(super) fn open(&self, stored: &StoredExchange) -> Result<(), EngineError> {
        self.open_with(stored, None)
    }

    /// Likewise one whose account the store, a copy of an earlier time, may lack something of.
    pub(super) fn open_restoring(&self, stored: &StoredExchange) -> Result<(), EngineError> {
        self.open_with(stored, self.venue.restoring.as_ref().map(Unreconciled::one_of))
    }

    fn open_with(&self, stored: &StoredExchange, restoring: Option<Unreconciled>) -> Result<(), EngineError> {
        let id = stored.connection.id;
        if self.open.connection(id).is_some() {
            return Ok(());
        }
        let (key, secret) = (stored.credential.api_key.expose(), stored.credential.api_secret.expose());
        let credential = Credential::new(key, secret).map_err(misspelled)?;
        let rest = TradeRest::new(&self.venue.rest_url, &credential)
            .map_err(|error| EngineError::Unavailable(error.to_string()))?
            .with_budget(self.venue.budget.clone());
        let parts = ConnectionParts {
            id,
            rest,
            stream: TradeStreamConfig::new(self.venue.ws_api_url.clone()),
            credential,
            absent_after: self.venue.absent_after,
            sent: self.venue.sent.clone(),
            clock: self.open.clock().clone(),
            markets: self.markets.clone(),
            meters: self.meters.clone(),
            known: self.known.clone(),
            journal: self.venue.journal.clone(),
            unreconciled: self.venue.unreconciled.clone(),
            ours: Ours {
                account: stored.connection.account_id,
                origin: self.open.origin(BotId::from_u128(0)),
            },
            restoring,
        };
        let connection =
            ExchangeConnection::start_in_arbiter(&self.arbiter, move |_| ExchangeConnection::new(parts));
        self.open.open(id, connection);
        Ok(())
    }
}
