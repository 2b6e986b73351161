//! Exchange connections: what a venue has to say of a key before it is stored, and which one a live bot uses.

mod connections;
mod heir;
mod key;

use model::{AccountId, Exchange, ExchangeId, Warning};
use strategies::BotDefinition;
use tokio::sync::MutexGuard;

use crate::actors::deliver;
use crate::actors::exchange::Close;
use crate::answer::KeptAnswer;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::record;
use crate::secrets::ApiCredential;
use crate::store::{ExchangeConnection, KeyPermissions, Page, Store, StoredBot};

pub(crate) use connections::{Connections, Venue};
use key::judged;

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
        let warnings = judged(exchange, &told, &self.inner.egress_addresses)?;
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
            venue_account: told.uid,
            created_at: clock::now(),
        };
        let vault = self.inner.connections.vault();
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

    /// Deletes a connection and erases what it signs with. What stopped bots hold at its account goes on over another
    /// connection of that account, where there is one.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], and [`EngineError::Conflict`] while a bot trades with it or has left something that
    /// only this connection reaches.
    pub async fn delete_exchange(&self, account: AccountId, id: ExchangeId) -> Result<(), EngineError> {
        let _unused_meanwhile = self.connections_of(account).await;
        let ask = move |store: Store| async move {
            let all = store.sealed_exchanges(account, None, None).await?;
            Ok((all, store.bots_at_venues(account).await?))
        };
        let (all, bots) = self.on_store(ask).await?;
        let all: Vec<_> = all.into_iter().map(|(connection, _)| connection).collect();
        let connection = all.iter().find(|connection| connection.id == id);
        let connection = connection.ok_or(EngineError::NotFound("exchange connection"))?;
        if let Some(message) = bots.iter().find_map(|bot| needed_by(bot, connection, &all)) {
            return Err(EngineError::Conflict { code: "exchange_in_use", message });
        }
        let now = clock::now();
        let deleted = move |store: Store| async move { store.delete_exchange(account, id, now).await };
        if !self.on_store(deleted).await? {
            return Err(EngineError::NotFound("exchange connection"));
        }
        if let Some(connection) = self.inner.connections.open.close(id) {
            deliver(&connection, Close);
        }
        self.inner.connections.commissions().forget(id);
        Ok(())
    }

    /// Opens the connection that a live bot trades over: the one that its coins and orders are at, its heir where that
    /// is gone, or else the one that its definition says.
    ///
    /// # Errors
    /// As [`EngineHandle::live_connection`].
    pub(crate) async fn connect(&self, bot: &StoredBot) -> Result<ExchangeId, EngineError> {
        let exchange_id = match bot.state.as_deref().and_then(record::engagement) {
            Some(engagement) => self.goes_on_over(bot, engagement).await?,
            None => bot.definition.exchange_id,
        };
        let definition = BotDefinition { exchange_id, ..bot.definition.clone() };
        let stored = self.live_connection(bot.account_id, &definition).await?;
        self.inner.connections.open(&stored)?;
        self.begin_to_pay(bot, &stored).await;
        Ok(stored.connection.id)
    }

    /// Opens every stored connection: the store is a copy of an earlier time, and what it lacks may be at any of them.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub(crate) async fn connect_all(&self) -> Result<(), EngineError> {
        let accounts = self.on_store(|store| async move { store.accounts().await }).await?;
        for account in accounts {
            let id = account.id;
            let ask = move |store: Store| async move { store.sealed_exchanges(id, None, None).await };
            for (connection, sealed) in self.on_store(ask).await? {
                match self.inner.connections.vault().open(id, connection.id, &sealed) {
                    Ok(credential) => {
                        self.inner.connections.open_restoring(&StoredExchange { connection, credential })?;
                    }
                    Err(error) => {
                        tracing::error!(id = %connection.id, %error, "a stored exchange connection does not open");
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses a definition that names a connection which its account does not have; one that names none costs nothing.
    ///
    /// # Errors
    /// [`EngineError::Invalid`], with the same words whether it is a stranger's or nobody's.
    pub(crate) async fn owns_named(
        &self,
        account: AccountId,
        definition: &BotDefinition,
    ) -> Result<(), EngineError> {
        let Some(id) = definition.exchange_id else { return Ok(()) };
        let exchange = definition.exchange;
        let ask = move |store: Store| async move {
            store.sealed_exchanges(account, Some(exchange), Some(id)).await
        };
        if self.on_store(ask).await?.is_empty() {
            return Err(not_of_account(id, exchange));
        }
        Ok(())
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
            (None, _, Some(id)) => return Err(not_of_account(id, exchange)),
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
        match self.inner.connections.vault().open(account, connection.id, &sealed) {
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
}

fn not_of_account(id: ExchangeId, exchange: Exchange) -> EngineError {
    let message =
        format!("{id} is no connection to {exchange} of this account: GET /v1/exchanges lists them");
    EngineError::field("exchange_id", message)
}

/// Why a connection cannot be deleted, if this bot needs it.
fn needed_by(bot: &StoredBot, connection: &ExchangeConnection, all: &[ExchangeConnection]) -> Option<String> {
    let id = bot.id;
    let left = bot.state.as_deref().and_then(record::engagement);
    let left = left.filter(|left| left.exchange_id == connection.id);
    if bot.is_living() && (left.is_some() || may_use(bot, connection)) {
        return Some(format!("{id} trades with this connection: stop it first"));
    }
    let is_left_here = left.is_some_and(|left| left.is_holding || left.is_under_way);
    let has_heir = all.iter().any(|other| other.id != connection.id && heir::is_same(connection, other));
    (is_left_here && !has_heir).then(|| {
        format!(
            "{id} is stopped, but what it has open was made over this connection, and no other is known to be of the \
             same account at {}: close its trade (stop with positions `close`), delete it with ?force=true and keep \
             the coins, or store another key of the account first",
            connection.exchange
        )
    })
}

/// Whether a live bot trades with a connection, or may: one that names none took the only one that there was.
fn may_use(bot: &StoredBot, connection: &ExchangeConnection) -> bool {
    let definition = &bot.definition;
    definition.exchange == connection.exchange && definition.exchange_id.is_none_or(|id| id == connection.id)
}

#[cfg(test)]
mod tests {
    use model::{BotId, Price, Qty, Quote, Timestamp};
    use strategies::live::{Execution, LiveTrade};

    use super::heir::tests::stored;
    use super::*;
    use crate::change::BotStatus;

    /// A live bot that names the second connection and has an order at the first, filled or come to nothing.
    fn bot(status: BotStatus, is_filled: bool) -> StoredBot {
        let body = format!(
            r#"{{"name":"b","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
                "max_open_trades":2,"stop_loss":-10,"dry_run":false,"exchange_id":"{}"}}"#,
            ExchangeId::from_u128(2)
        );
        let bought = is_filled.then(|| Execution {
            trade_id: 1,
            at: Timestamp::MIN,
            price: Price::MIN,
            qty: "0.5".parse().unwrap(),
            fee: Quote::ZERO,
            fee_asset: "USDT".into(),
            fee_price: None,
        });
        let trade = LiveTrade::recounted(Vec::from_iter(bought), Vec::new(), Qty::ZERO, None);
        let run = serde_json::json!({"exchange_id": ExchangeId::from_u128(1), "bot": {"trade": trade}});
        StoredBot {
            id: BotId::from_u128(1),
            account_id: AccountId::from_u128(1),
            definition: BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap(),
            status,
            trouble: None,
            state: Some(serde_json::json!({"trade_id": null, "live": run}).to_string()),
            capital: model::Quote::ZERO,
            created_at: Timestamp::MIN,
        }
    }

    #[track_caller]
    fn check(bot: &StoredBot, number: usize, accounts: [Option<i64>; 2], told: Option<&str>) {
        let all = [stored(1, accounts[0]), stored(2, accounts[1])];
        let needed = needed_by(bot, &all[number - 1], &all);
        assert_eq!(needed.is_some(), told.is_some(), "{needed:?}");
        assert!(needed.unwrap_or_default().contains(told.unwrap_or_default()));
    }

    #[test]
    fn a_connection_stays_while_a_bot_trades_over_it_or_has_left_what_no_other_reaches() {
        let (same, others, untold) = ([Some(70), Some(70)], [Some(70), Some(80)], [None, None]);
        let (holding, done) = (bot(BotStatus::Stopped, true), bot(BotStatus::Stopped, false));
        check(&holding, 1, others, Some("?force=true"));
        check(&holding, 1, untold, Some("?force=true"));
        check(&holding, 1, same, None);
        check(&holding, 2, others, None);
        check(&done, 1, others, None);
        // It goes on where its coins are, whatever it names by now.
        let living = bot(BotStatus::Running, true);
        check(&living, 1, same, Some("stop it first"));
        check(&living, 2, same, Some("stop it first"));
    }
}
