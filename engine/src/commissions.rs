//! The fee rates that accounts pay at their venue, by pair: what the levels of live bots are computed with.
//!
//! The venue is asked when a bot begins to trade a pair over a connection, and daily from then on; a bot whose account's
//! rates have changed goes on with the new ones. Where the venue does not tell, the configured rates count until it does.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Call, Commission, Credential, Lane, TradeRest};
use dashmap::DashMap;
use model::{AccountId, BotId, ExchangeId, FeeRates, FeeSource, Market, Pair, Rate};
use strategies::{BotDefinition, Plan};

use crate::actors::bot::Redefine;
use crate::change::{Apply, Redefinition};
use crate::error::EngineError;
use crate::exchanges::StoredExchange;
use crate::handle::{EngineHandle, Inner};
use crate::record::kept_rules;
use crate::store::{Store, StoredBot};

/// How long an account's fee rates are good until the venue is asked again, as users expect.
pub const GOOD_FOR: Duration = Duration::from_hours(24);

/// How soon the venue is asked again where it did not tell.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// How long nobody waits for the venue after it did not answer: a thousand bots that start then would wait for each other.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// How often it is looked whether rates are to be asked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long the venue may take to tell.
const TELLS_WITHIN: Duration = Duration::from_secs(3);

/// A pair as it is traded over a connection.
type Key = (ExchangeId, Pair);

/// What venues told of their accounts' rates, and which bots pay them.
#[derive(Debug, Default)]
pub(crate) struct Commissions {
    told: DashMap<Key, Told>,
    payers: DashMap<BotId, (AccountId, Key)>,
    /// When a venue did not answer last.
    silent_at: Mutex<Option<Instant>>,
}

/// What a venue told of one account and pair.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// As it told last; `None` before it did.
    rates: Option<Commission>,
    /// When it was asked last, and whether it told then.
    asked_at: Instant,
    is_answered: bool,
}

impl Told {
    fn is_due(&self, good_for: Duration) -> bool {
        self.asked_at.elapsed() >= if self.is_answered { good_for } else { ASK_AGAIN.min(good_for) }
    }
}

impl Commissions {
    /// A market at the rates of a connection's account, where the venue told them, and which rates those are.
    pub(crate) fn apply(&self, id: Option<ExchangeId>, pair: &Pair, market: Market) -> (Market, FeeRates) {
        let rates = id.and_then(|id| self.told.get(&(id, pair.clone()))?.rates);
        match rates {
            Some(Commission { maker, taker }) => {
                (Market { fee: taker, ..market }, FeeRates::new(maker, taker, FeeSource::Account))
            }
            None => (market, configured(market.fee)),
        }
    }

    /// The connection that a live bot trades over, as far as it began to in this process.
    pub(crate) fn connection_of(&self, bot: BotId) -> Option<ExchangeId> {
        self.payers.get(&bot).map(|payer| payer.1.0)
    }

    /// Lets go of a connection that was deleted.
    pub(crate) fn forget(&self, id: ExchangeId) {
        self.told.retain(|(of, _), _| *of != id);
        self.payers.retain(|_, (_, (of, _))| *of != id);
    }

    /// Notes what a venue told, or that it did not; whether those are others than the rates before.
    fn note(&self, key: Key, rates: Option<Commission>) -> bool {
        let before = self.told.get(&key).and_then(|told| told.rates);
        let told = Told { rates: rates.or(before), asked_at: Instant::now(), is_answered: rates.is_some() };
        self.told.insert(key, told);
        told.rates != before
    }

    /// Whether a venue did not answer a moment ago: nobody waits for it again so soon.
    fn is_silent(&self) -> bool {
        let silent_at = *self.silent_at.lock().unwrap_or_else(PoisonError::into_inner);
        silent_at.is_some_and(|at| at.elapsed() < SILENT_FOR)
    }

    fn note_silence(&self) {
        *self.silent_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// What the venue is to be asked for, of those that some bot pays.
    fn due(&self, good_for: Duration) -> Vec<(AccountId, Key)> {
        let mut seen = HashSet::new();
        let payers = self.payers.iter().map(|payer| payer.value().clone());
        payers
            .filter(|(_, key)| self.told.get(key).is_none_or(|told| told.is_due(good_for)))
            .filter(|(_, key)| seen.insert(key.clone()))
            .collect()
    }

    fn payers_of(&self, key: &Key) -> Vec<(AccountId, BotId)> {
        let payers = self.payers.iter().filter(|payer| payer.1 == *key);
        payers.map(|payer| (payer.value().0, *payer.key())).collect()
    }
}

/// The rates that paper bots pay, and live ones whose venue does not tell.
pub(crate) fn configured(fee: Rate) -> FeeRates {
    FeeRates::new(fee, fee, FeeSource::Configured)
}

impl EngineHandle {
    /// A market at the rates that a bot of this definition would pay, and which rates those are. Of a live one whose
    /// connection can be told they are asked for unless they are known.
    pub(crate) async fn priced(
        &self,
        account: AccountId,
        definition: &BotDefinition,
        market: Market,
    ) -> (Market, FeeRates) {
        let mut id = None;
        if !definition.dry_run
            && let Ok(stored) = self.live_connection(account, definition).await
        {
            self.learn_commission(&stored, &definition.pair).await;
            id = Some(stored.connection.id);
        }
        self.inner.connections.commissions().apply(id, &definition.pair, market)
    }

    /// A market at the rates that a bot pays which lives, as far as they are known, and which rates those are.
    pub(crate) fn priced_for(
        &self,
        bot: BotId,
        definition: &BotDefinition,
        market: Market,
    ) -> (Market, FeeRates) {
        let commissions = self.inner.connections.commissions();
        let id = commissions.connection_of(bot).filter(|_| !definition.dry_run);
        commissions.apply(id, &definition.pair, market)
    }

    /// Notes over which connection a live bot trades from now on, and asks for its account's rates unless they are known.
    pub(crate) async fn begin_to_pay(&self, bot: &StoredBot, stored: &StoredExchange) {
        let key = (stored.connection.id, bot.definition.pair.clone());
        self.inner.connections.commissions().payers.insert(bot.id, (bot.account_id, key));
        self.learn_commission(stored, &bot.definition.pair).await;
    }

    async fn learn_commission(&self, stored: &StoredExchange, pair: &Pair) {
        let key = (stored.connection.id, pair.clone());
        // What is only old is asked for meanwhile.
        let is_missing = |told: &Told| told.rates.is_none() && told.is_due(GOOD_FOR);
        let commissions = self.inner.connections.commissions();
        if commissions.is_silent() || !commissions.told.get(&key).is_none_or(|told| is_missing(&told)) {
            return;
        }
        let (api_key, secret) = (&stored.credential.api_key, &stored.credential.api_secret);
        if let Ok(credential) = Credential::new(api_key.expose(), secret.expose()) {
            self.ask_commission(key, &credential).await;
        }
    }

    /// Asks a venue for an account's rates; whether they are others than before.
    async fn ask_commission(&self, key: Key, credential: &Credential) -> bool {
        let connections = &self.inner.connections;
        let (rest_url, budget) = connections.venue();
        let (credential, pair) = (credential.clone(), key.1.clone());
        let asked = self.inner.io.spawn(async move {
            let rest = TradeRest::new(&rest_url, &credential)?.with_budget(budget);
            let call = Call::commission(&pair);
            if rest.budget().ask(call.cost(), Lane::Normal).is_err() {
                let message = "this server's allowance at the venue is used up for the moment".to_owned();
                return Err(VenueError::Retry { after: None, message });
            }
            let now = rest.server_time().await?;
            rest.call(&call, now).await
        });
        let told = match tokio::time::timeout(TELLS_WITHIN, asked).await {
            Ok(Ok(Ok(rates))) => Some(rates),
            failed => {
                let why = match failed {
                    Ok(Ok(Err(error @ (VenueError::Rejected { .. } | VenueError::Auth { .. })))) => {
                        error.to_string()
                    }
                    Ok(Ok(Err(error))) => {
                        connections.commissions().note_silence();
                        error.to_string()
                    }
                    _ => {
                        connections.commissions().note_silence();
                        "it does not answer".to_owned()
                    }
                };
                tracing::warn!(connection = %key.0, pair = %key.1, why, "the venue does not tell an account's fee rates; the rates known before count, or the configured ones");
                None
            }
        };
        connections.commissions().note(key, told)
    }

    /// Asks for rates that are old or missing, and has the bots that pay them go on with what is told.
    async fn refresh_commissions(&self, good_for: Duration) {
        for (account, key) in self.inner.connections.commissions().due(good_for) {
            if self.inner.connections.commissions().is_silent() {
                return;
            }
            let id = key.0;
            let ask =
                move |store: Store| async move { store.sealed_exchanges(account, None, Some(id)).await };
            let Ok(mut found) = self.on_store(ask).await else { continue };
            let Some((_, sealed)) = found.pop() else {
                self.inner.connections.commissions().forget(id);
                continue;
            };
            let Some(credential) = self.inner.connections.credential(account, id, &sealed) else { continue };
            if self.ask_commission(key.clone(), &credential).await {
                for (account, bot) in self.inner.connections.commissions().payers_of(&key) {
                    if let Err(error) = self.reprice(account, bot).await {
                        tracing::warn!(%bot, %error, "a bot goes on with the fee rates from before");
                    }
                }
            }
        }
    }

    /// Has a bot go on at its account's present rates.
    async fn reprice(&self, account: AccountId, id: BotId) -> Result<(), EngineError> {
        let _alone = self.alone(id).await;
        let bot = match self.stored(account, id).await {
            Ok(bot) if bot.is_living() && !bot.definition.dry_run => bot,
            _ => {
                self.inner.connections.commissions().payers.remove(&id);
                return Ok(());
            }
        };
        let Some(market) = self.inner.markets.known(&bot.definition.pair) else { return Ok(()) };
        let (market, fees) = self.priced_for(id, &bot.definition, market);
        let plan = Plan::new(&bot.definition, &market)?;
        // What its owner decided stands: a trade that keeps its rules keeps them.
        let is_keeping = bot.state.as_deref().and_then(kept_rules).is_some();
        let apply = if is_keeping { Apply::NextTrade } else { Apply::Now };
        let word = || Redefine {
            plan: plan.clone(),
            definition: bot.definition.clone(),
            former: bot.definition.clone(),
            capital: bot.capital,
            fees,
            how: Redefinition { apply, is_confirmed: true },
            last: None,
        };
        if let Some(answer) = self.tell(id, word).await? {
            answer?.wait().await?;
        }
        Ok(())
    }
}

/// Keeps rates up to date until the engine is gone.
pub(crate) async fn keep(engine: Weak<Inner>, good_for: Duration) {
    loop {
        tokio::time::sleep(LOOK_EVERY.min(good_for)).await;
        let Some(inner) = engine.upgrade() else { return };
        EngineHandle { inner }.refresh_commissions(good_for).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn market() -> Market {
        Market {
            tick_size: "0.01".parse().unwrap(),
            lot_step: "0.001".parse().unwrap(),
            min_notional: "5".parse().unwrap(),
            fee: "0.001".parse().unwrap(),
            slippage: Rate::ZERO,
            bounds: model::OrderBounds::default(),
        }
    }

    #[test]
    fn what_the_venue_told_counts_for_its_account_and_pair_until_it_tells_otherwise() {
        let (commissions, id) = (Commissions::default(), ExchangeId::from_u128(1));
        let pair: Pair = "BTC/USDT".parse().unwrap();
        let fee = |id, pair: &Pair| {
            let (market, fees) = commissions.apply(id, pair, market());
            (market.fee.to_string(), fees.source)
        };
        let configured = ("0.001".to_owned(), FeeSource::Configured);
        assert_eq!(fee(Some(id), &pair), configured);
        let told = Commission { maker: "0.004".parse().unwrap(), taker: "0.005".parse().unwrap() };
        commissions.note((id, pair.clone()), Some(told));
        commissions.note((id, pair.clone()), None);
        assert_eq!(fee(Some(id), &pair), ("0.005".to_owned(), FeeSource::Account), "silence changes nothing");
        assert_eq!(fee(None, &pair), configured);
        assert_eq!(fee(Some(ExchangeId::from_u128(2)), &pair), configured);
        assert_eq!(fee(Some(id), &"ETH/USDT".parse().unwrap()), configured);
        commissions.forget(id);
        assert_eq!(fee(Some(id), &pair), configured);
    }
}
