//! Exchange connections: what a venue has to say of a key before it is stored, and which one a live bot uses.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use actix::Actor as _;
use actix_rt::ArbiterHandle;
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{
    Credential, Restrictions, SecretError, SharedBudget, TradeRest, TradeStreamConfig,
};
use model::{AccountId, BotDefinition, Exchange, ExchangeId, Warning};
use tokio::sync::{Mutex, MutexGuard};

use crate::actors::{
    self,
    exchange::{ConnectionParts, Journal},
};
use crate::answer::KeptAnswer;
use crate::clock;
use crate::error::EngineError;
use crate::handle::{EngineHandle, Inner};
use crate::live::Gateway;
use crate::live::sent::SentLog;
use crate::markets::Markets;
use crate::meters::Meters;
use crate::portfolio::KnownBalances;
use crate::record;
use crate::secrets::{ApiCredential, SealedCredential, Vault};
use crate::store::{ExchangeConnection, KeyPermissions, Page, Store, StoredBot};

/// How long a request waits for the venue to tell what a key may do.
const VENUE: Duration = Duration::from_secs(8);

/// What a connection is made of.
#[derive(Clone, Debug)]
pub struct NewExchange {
    /// At which venue.
    pub exchange: Exchange,
    /// What its owner calls it.
    pub name: String,
    /// What the venue gave for it.
    pub credential: ApiCredential,
}

/// A stored connection with what it signs with.
#[derive(Clone, Debug)]
pub struct StoredExchange {
    /// As it is listed.
    pub connection: ExchangeConnection,
    /// What it signs with.
    pub credential: ApiCredential,
}

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
}

/// What connections need beyond the store.
pub(crate) struct Connections {
    vault: Vault,
    venue: Venue,
    locks: Vec<Mutex<()>>,
    /// Where they live: beside the bots that trade over them.
    arbiter: ArbiterHandle,
    open: Gateway,
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

    /// What secrets are sealed with.
    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Opens a connection unless it is open.
    fn open(&self, stored: &StoredExchange) -> Result<(), EngineError> {
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
            markets: self.markets.clone(),
            meters: self.meters.clone(),
            known: self.known.clone(),
            journal: self.venue.journal.clone(),
            unreconciled: self.venue.unreconciled.clone(),
        };
        let connection = actors::exchange::ExchangeConnection::start_in_arbiter(&self.arbiter, move |_| {
            actors::exchange::ExchangeConnection::new(parts)
        });
        self.open.open(id, connection);
        Ok(())
    }
}

impl EngineHandle {
    /// Stores a connection, once its venue has said that the key is good, can trade spot, and can take nothing out;
    /// with what its owner should know. A key that works from anywhere is stored with a warning.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a key that the venue does not take or that may do too much or too little,
    /// [`EngineError::VenueSilent`] where the venue does not tell, [`EngineError::Conflict`] for a key that is
    /// stored already. Then nothing is stored.
    pub async fn create_exchange(
        &self,
        account: AccountId,
        new: NewExchange,
    ) -> Result<(ExchangeConnection, Vec<Warning>), EngineError> {
        let made = |connection: &ExchangeConnection, warnings: &[Warning]| {
            Ok(((connection.clone(), warnings.to_vec()), None))
        };
        self.create_exchange_answering(account, new, made).await
    }

    /// Likewise; `answer` words what the client is told, and what of it is kept with the connection.
    ///
    /// # Errors
    /// As [`EngineHandle::create_exchange`], and what `answer` fails of.
    pub async fn create_exchange_answering<T, E: From<EngineError>>(
        &self,
        account: AccountId,
        new: NewExchange,
        answer: impl FnOnce(&ExchangeConnection, &[Warning]) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        let NewExchange { exchange, name, credential } = new;
        let told = self.ask_venue(exchange, &credential).await?;
        let warnings = judged(exchange, &told)?;
        let api_key = credential.api_key.expose();
        let connection = ExchangeConnection {
            id: ExchangeId::new(),
            account_id: account,
            exchange,
            name,
            key_hint: api_key.chars().skip(api_key.chars().count().saturating_sub(4)).collect(),
            permissions: KeyPermissions {
                read: told.key.can_read,
                spot_trading: told.key.can_trade_spot,
                withdrawals: told.key.can_withdraw,
            },
            ip_bound: told.key.is_ip_bound,
            trades_until: told.key.trades_until,
            created_at: clock::now(),
        };
        let vault = &self.inner.connections.vault;
        let sealed = vault.seal(account, connection.id, &credential);
        let fingerprint = vault.fingerprint(exchange, &credential.api_key);
        let (told, kept) = answer(&connection, &warnings)?;
        let ask = move |store: Store| async move {
            store.create_exchange(&connection, &sealed, fingerprint, kept.as_ref()).await
        };
        if !self.on_store(ask).await? {
            let message = format!(
                "this {exchange} key is stored already, and a key belongs to one account only: delete the other \
                 connection, or make a new key at the venue"
            );
            return Err(EngineError::Conflict { code: "api_key_in_use", message }.into());
        }
        Ok(told)
    }

    /// An account's connections, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn exchanges(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<ExchangeId>,
    ) -> Result<Page<ExchangeConnection>, EngineError> {
        self.on_store(move |store| async move { store.exchanges(account, limit, after).await }).await
    }

    /// Deletes a connection and erases what it signs with.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], and [`EngineError::Conflict`] while a bot trades with it.
    pub async fn delete_exchange(&self, account: AccountId, id: ExchangeId) -> Result<(), EngineError> {
        let _unused_meanwhile = self.connections_of(account).await;
        let ask = move |store: Store| async move {
            let found = store.sealed_exchanges(account, None, Some(id)).await?;
            Ok((found.into_iter().next(), store.live_bots(account).await?))
        };
        let (found, live) = self.on_store(ask).await?;
        let (connection, _) = found.ok_or(EngineError::NotFound("exchange connection"))?;
        if let Some(bot) = live.iter().find(|bot| may_use(bot, &connection)) {
            let message = format!("{} trades with this connection: stop it first", bot.id);
            return Err(EngineError::Conflict { code: "exchange_in_use", message });
        }
        let now = clock::now();
        let deleted = move |store: Store| async move { store.delete_exchange(account, id, now).await };
        if !self.on_store(deleted).await? {
            return Err(EngineError::NotFound("exchange connection"));
        }
        if let Some(connection) = self.inner.connections.open.close(id) {
            actors::deliver(&connection, actors::exchange::Close);
        }
        Ok(())
    }

    /// Opens the connection that a live bot trades over: the one that its coins and orders are at, or else the one
    /// that its definition says.
    ///
    /// # Errors
    /// As [`EngineHandle::live_connection`].
    pub(crate) async fn connect(&self, bot: &StoredBot) -> Result<ExchangeId, EngineError> {
        let engaged = bot.state.as_deref().and_then(record::engaged_with);
        let definition =
            BotDefinition { exchange_id: engaged.or(bot.definition.exchange_id), ..bot.definition.clone() };
        let stored = self.live_connection(bot.account_id, &definition).await?;
        self.inner.connections.open(&stored)?;
        Ok(stored.connection.id)
    }

    /// The connection that a live bot trades with: the one that it names, or else the only one that its owner has
    /// at its venue. Whoever starts a bot with it holds [`EngineHandle::connections_of`] until the start is durable.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] that says what is missing.
    pub(crate) async fn live_connection(
        &self,
        account: AccountId,
        definition: &BotDefinition,
    ) -> Result<StoredExchange, EngineError> {
        let (exchange, asked) = (definition.exchange, definition.exchange_id);
        let ask =
            move |store: Store| async move { store.sealed_exchanges(account, Some(exchange), asked).await };
        let mut found = self.on_store(ask).await?;
        let refused = |message: String| Err(EngineError::field("exchange_id", message));
        let (connection, sealed) = match (found.pop(), found.len(), asked) {
            (Some(only), 0, _) => only,
            (None, _, Some(id)) => {
                return refused(format!(
                    "{id} is no connection to {exchange} of this account: GET /v1/exchanges lists them"
                ));
            }
            (None, _, None) => {
                return refused(format!(
                    "a live bot needs a usable exchange connection, and there is none to {exchange}: store one with \
                     POST /v1/exchanges, or set dry_run"
                ));
            }
            (Some(_), others, _) => {
                let all = others + 1;
                return refused(format!(
                    "there are {all} connections to {exchange}: set it to the one to use"
                ));
            }
        };
        match self.inner.connections.vault.open(account, connection.id, &sealed) {
            Ok(credential) => Ok(StoredExchange { connection, credential }),
            Err(error) => {
                tracing::error!(id = %connection.id, %error, "a stored exchange connection does not open");
                refused(format!("{} does not open ({error}): delete it and store it anew", connection.id))
            }
        }
    }

    /// Keeps an account's connections from being deleted while one is taken into use.
    pub(crate) async fn connections_of(&self, account: AccountId) -> Option<MutexGuard<'_, ()>> {
        let locks = &self.inner.connections.locks;
        let lock = usize::try_from(account.as_u128() % locks.len().max(1) as u128).unwrap_or_default();
        match locks.get(lock) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    /// What a key may do, and whether its account may trade.
    async fn ask_venue(&self, exchange: Exchange, credential: &ApiCredential) -> Result<Told, EngineError> {
        let (key, secret) = (credential.api_key.expose(), credential.api_secret.expose());
        let Exchange::Binance = exchange;
        let signing = Credential::new(key, secret).map_err(misspelled)?;
        let rest_url = self.inner.connections.venue.rest_url.clone();
        let asked = self.inner.io.spawn(async move {
            let rest = TradeRest::new(&rest_url, &signing)?;
            let now = rest.server_time().await?;
            let (key, account) = tokio::join!(rest.restrictions(now), rest.account(now));
            let account_trades = account?.can_trade;
            match key {
                Err(error) if is_untold(&rest_url, &error) => {
                    let key = Restrictions { can_trade_spot: account_trades, ..UNTOLD };
                    Ok(Told { key, account_trades, in_full: false })
                }
                key => Ok(Told { key: key?, account_trades, in_full: true }),
            }
        });
        let answer = match tokio::time::timeout(VENUE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err(EngineError::Unavailable("the engine is closing".to_owned())),
            Err(_) => Err(VenueError::Retry { after: None, message: "the deadline passed".to_owned() }),
        };
        answer.map_err(|error| unasked(exchange, &error))
    }
}

/// What a venue told of a key that works.
struct Told {
    key: Restrictions,
    account_trades: bool,
    /// Whether it told what the key may do, as every venue does where there is something to lose.
    in_full: bool,
}

/// A key of which is known only that it reads the account.
const UNTOLD: Restrictions = Restrictions {
    can_read: true,
    can_trade_spot: false,
    can_withdraw: false,
    can_transfer: false,
    is_ip_bound: false,
    trades_until: None,
};

/// Whether the answer means that the venue has no such question. Binance's test network has none, and nothing that
/// could be withdrawn; from the exchange itself it would be a fault, and no key is stored on it.
///
/// Source: the test network's F.A.Q., "Can I use the /sapi endpoints on the Spot Test Network?", read 2026-11-24.
fn is_untold(rest_url: &str, error: &VenueError) -> bool {
    let host = rest_url.split("://").last().unwrap_or_default().split([':', '/']).next().unwrap_or_default();
    let is_the_exchange = host.starts_with("api") && host.ends_with("binance.com");
    matches!(error, VenueError::Rejected { code: 0, message } if message.starts_with("status 404"))
        && !is_the_exchange
}

/// What is wrong with a credential before anybody is asked.
fn misspelled(error: SecretError) -> EngineError {
    let param = match error {
        SecretError::Empty | SecretError::Key => "api_key",
        SecretError::Pem => "api_secret",
    };
    EngineError::field(param, error.to_string())
}

/// Why a venue did not tell what a key may do. Its words go to the log alone: they are text from outside.
fn unasked(exchange: Exchange, error: &VenueError) -> EngineError {
    tracing::info!(%exchange, %error, "an exchange key could not be checked");
    match error {
        VenueError::Auth { code, .. } => EngineError::field(
            "api_key",
            format!(
                "{exchange} does not accept this key, or not with this secret (code {code}): check both, and that \
                 the key's list of addresses names this server"
            ),
        ),
        VenueError::Rejected { code, .. } => EngineError::field(
            "api_key",
            format!("{exchange} does not tell what this key may do (code {code}), so it is not stored"),
        ),
        VenueError::Retry { .. } | VenueError::Clock { .. } | VenueError::Unknown { .. } => {
            EngineError::VenueSilent(format!(
                "{exchange} does not answer as it should just now, so the key could not be checked and is not stored: \
             try again"
            ))
        }
    }
}

/// Whether a key may be stored, and what its owner should know of it.
fn judged(exchange: Exchange, told: &Told) -> Result<Vec<Warning>, EngineError> {
    let Told { key, account_trades, in_full } = told;
    let refused = |message: &str| Err(EngineError::field("api_key", message));
    if key.can_withdraw || key.can_transfer {
        return refused(
            "this key can take money out of the account: make one without withdrawals and transfers, for reading and \
             spot trading alone",
        );
    }
    if !key.can_read {
        return refused("this key cannot read the account: allow reading at the venue");
    }
    if *in_full && !key.can_trade_spot {
        return refused("this key cannot trade: allow spot trading at the venue");
    }
    if !*account_trades {
        return refused("the account behind this key may not trade: ask the venue why");
    }
    let mut warnings = Vec::new();
    let mut warn = |message| warnings.push(Warning { param: "api_key".to_owned(), message });
    if !*in_full {
        warn(format!("{exchange}'s test network does not tell what a key may do: it was only seen to work"));
    } else if !key.is_ip_bound {
        warn(format!(
            "the key works from any address, so whoever gets hold of it can trade with it: bind it to this server's \
             addresses at {exchange}"
        ));
    }
    if let Some(until) = key.trades_until {
        warn(format!("the key can trade until {until} only: renew it at {exchange} before"));
    }
    Ok(warnings)
}

/// Whether a live bot trades with a connection, or may: one that names none took the only one that there was.
fn may_use(bot: &StoredBot, connection: &ExchangeConnection) -> bool {
    let definition = &bot.definition;
    definition.exchange == connection.exchange && definition.exchange_id.is_none_or(|id| id == connection.id)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    const GOOD: Restrictions = Restrictions {
        can_read: true,
        can_trade_spot: true,
        can_withdraw: false,
        can_transfer: false,
        is_ip_bound: true,
        trades_until: None,
    };

    fn judge(key: Restrictions, account_trades: bool) -> Result<usize, String> {
        let judged = judged(Exchange::Binance, &Told { key, account_trades, in_full: true });
        judged.map(|warnings| warnings.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_that_may_do_too_much_or_too_little_is_refused_with_the_remedy() {
        assert_eq!(judge(GOOD, true), Ok(0));
        for (key, account_trades, told) in [
            (Restrictions { can_withdraw: true, ..GOOD }, true, "without withdrawals"),
            (Restrictions { can_transfer: true, ..GOOD }, true, "without withdrawals and transfers"),
            (Restrictions { can_read: false, ..GOOD }, true, "allow reading"),
            (Restrictions { can_trade_spot: false, ..GOOD }, true, "allow spot trading"),
            (GOOD, false, "may not trade"),
        ] {
            let error = judge(key, account_trades).unwrap_err();
            assert!(error.starts_with("api_key: ") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_key_that_works_from_anywhere_or_ends_is_stored_with_a_warning() {
        assert_eq!(judge(Restrictions { is_ip_bound: false, ..GOOD }, true), Ok(1));
        let until = Some(Timestamp::from_millis(1_800_000_000_000));
        assert_eq!(judge(Restrictions { trades_until: until, ..GOOD }, true), Ok(1));
    }

    #[test]
    fn only_a_test_network_may_leave_untold_what_a_key_may_do() {
        let refused = |code, message: &str| VenueError::Rejected { code, message: message.to_owned() };
        for (url, error, expected) in [
            ("https://testnet.binance.vision", refused(0, "status 404"), true),
            ("http://127.0.0.1:9000", refused(0, "status 404: Not Found"), true),
            ("https://api.binance.com", refused(0, "status 404"), false),
            ("https://api1.binance.com:443/", refused(0, "status 404"), false),
            ("https://testnet.binance.vision", refused(-1100, "status 404"), false),
            ("https://testnet.binance.vision", refused(0, "status 400"), false),
            (
                "https://testnet.binance.vision",
                VenueError::Retry { after: None, message: "status 404".to_owned() },
                false,
            ),
        ] {
            assert_eq!(is_untold(url, &error), expected, "{url} {error}");
        }
    }
}
