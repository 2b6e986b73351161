//! What real accounts hold, as their venue tells: what live bots' connections counted, or what is asked for now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Account, Cost, Credential, Lane, TradeRest};
use dashmap::DashMap;
use futures_util::future::join_all;
use model::{AccountId, ExchangeId, Timestamp};

use super::reckon::LiveAccount;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::ExchangeConnection;

/// How long the venue may take to tell of an account.
const TELLS_WITHIN: Duration = Duration::from_secs(4);

/// What accounts were last counted to hold; connections that are used write it, whoever asks reads it.
#[derive(Debug, Default)]
pub(crate) struct KnownBalances(DashMap<ExchangeId, (Instant, Timestamp, Arc<Account>)>);

impl KnownBalances {
    /// Takes a count in.
    pub(crate) fn counted(&self, id: ExchangeId, account: Arc<Account>) {
        self.0.insert(id, (Instant::now(), clock::now(), account));
    }

    fn within(&self, id: ExchangeId, age: Duration) -> Option<(Timestamp, Arc<Account>)> {
        let known = self.0.get(&id)?;
        (known.0.elapsed() <= age).then(|| (known.1, known.2.clone()))
    }
}

impl EngineHandle {
    /// What an account's connections hold, counted no longer ago than `age`; their venue is asked where it must be.
    pub(super) async fn live_accounts(
        &self,
        account: AccountId,
        age: Duration,
    ) -> Result<Vec<LiveAccount>, EngineError> {
        let ask = move |store: crate::store::Store| async move {
            store.sealed_exchanges(account, None, None).await
        };
        let connections = self.on_store(ask).await?;
        let counted = connections.into_iter().map(|(connection, sealed)| async move {
            let id = connection.id;
            let known = match self.inner.known.within(id, age) {
                Some(known) => Some(known),
                None => match self.inner.connections.credential(account, id, &sealed) {
                    Some(credential) => self.count(id, credential).await,
                    None => None,
                },
            };
            told(connection, known)
        });
        Ok(join_all(counted).await)
    }

    /// Asks a venue what an account holds.
    async fn count(&self, id: ExchangeId, credential: Credential) -> Option<(Timestamp, Arc<Account>)> {
        let (rest_url, budget) = self.inner.connections.venue();
        let asked = self.inner.io.spawn(async move {
            let rest = TradeRest::new(&rest_url, &credential)?.with_budget(budget);
            if rest.budget().ask(Cost::ACCOUNT, Lane::Normal).is_err() {
                let message = "this server's allowance at the venue is used up for the moment".to_owned();
                return Err(VenueError::Retry { after: None, message });
            }
            let now = rest.server_time().await?;
            rest.account(now).await
        });
        let account = match tokio::time::timeout(TELLS_WITHIN, asked).await {
            Ok(Ok(Ok(account))) => Arc::new(account),
            Ok(Ok(Err(error))) => {
                tracing::info!(connection = %id, %error, "the venue does not tell of an account");
                return None;
            }
            Ok(Err(_)) | Err(_) => return None,
        };
        self.inner.known.counted(id, account.clone());
        Some((clock::now(), account))
    }
}

fn told(connection: ExchangeConnection, known: Option<(Timestamp, Arc<Account>)>) -> LiveAccount {
    let balances = known.as_ref().map(|(_, account)| {
        let each = account.balances.iter();
        each.map(|balance| (balance.asset.clone(), balance.free, balance.locked)).collect()
    });
    LiveAccount {
        exchange_id: connection.id,
        exchange: connection.exchange,
        name: connection.name,
        balances,
        counted_at: known.map(|(at, _)| at),
    }
}
