//! What an account holds and has made, on paper and for real, now and over time.

mod balances;
mod history;
#[cfg(test)]
mod live_tests;
mod prices;
mod reckon;
#[cfg(test)]
mod tests;

use std::time::Duration;

use model::{AccountId, BotId, Exchange, Pair, Quote};

pub(crate) use balances::KnownBalances;
pub(crate) use history::start as keep_history;
pub use history::{HistoryPoint, Interval};
pub(crate) use prices::{PriceBook, Prices};
pub use reckon::{Balance, Connection, Currency, Figures, Portfolio, Side, UsdRate};

use crate::change::BotStatus;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::{BotFilter, Page, Store};
use crate::view::{sale_fee, sold};

/// How old a count of a real account may be that is shown.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

/// A bot's part of its account, in its quote coin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BotShare {
    /// Which bot.
    pub bot_id: BotId,
    /// What its owner calls it.
    pub name: String,
    /// Where it trades.
    pub exchange: Exchange,
    /// What it trades.
    pub pair: Pair,
    /// Whether on paper.
    pub dry_run: bool,
    /// Its status.
    pub status: BotStatus,
    /// How many trades it closed.
    pub trades: u64,
    /// What its closed trades made.
    pub realized_profit: Quote,
    /// What its open trade would make at the last price, after the fee of selling; 0 without one, `None` where the price
    /// is not known.
    pub unrealized_profit: Option<Quote>,
    /// What it holds, at the last price.
    pub exposure: Option<Quote>,
    /// What its open trade spent.
    pub stake: Quote,
}

impl EngineHandle {
    /// What an account is worth now.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn portfolio(&self, account: AccountId) -> Result<Portfolio, EngineError> {
        self.worth(account, COUNTED_WITHIN).await
    }

    pub(crate) async fn worth(&self, account: AccountId, age: Duration) -> Result<Portfolio, EngineError> {
        let accounts = self.live_accounts(account, age).await?;
        let prices = self.prices().await?;
        let as_of = clock::now();
        let ask = move |store: Store| async move { store.holdings(account).await };
        let holdings = self.read_list(account, ask).await?;
        Ok(reckon::reckon(&holdings, &accounts, &prices, self.inner.markets.fee(), as_of))
    }

    /// The prices of this moment.
    pub(crate) async fn prices(&self) -> Result<Prices, EngineError> {
        let handle = self.clone();
        let asked = self.inner.io.spawn(async move { handle.inner.prices.now(&handle.inner.markets).await });
        asked.await.map_err(|_| EngineError::Unavailable("the engine is closing".to_owned()))
    }

    /// US dollars for one coin: by the prices that are followed for the bots that trade for it, else by those that the
    /// venue tells now; `None` where neither does.
    pub(crate) async fn usd_rate(&self, coin: &str) -> Option<Quote> {
        match self.inner.rates.known(coin).usd() {
            Some(rate) => Some(rate),
            None => self.prices().await.ok()?.usd(coin),
        }
    }

    /// An account's bots with their part of it, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn shares(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<BotId>,
    ) -> Result<Page<BotShare>, EngineError> {
        let prices = self.prices().await?;
        let page = self.bots(account, BotFilter::default(), limit, after).await?;
        let fee = self.inner.markets.fee();
        let mut rows = Vec::with_capacity(page.rows.len());
        for bot in page.rows {
            let view = self.bot_view(bot).await?;
            let (bot, definition) = (&view.bot, &view.bot.definition);
            let open = view.open_trade.as_ref();
            let price = prices.price(&definition.pair);
            let sold = open.map(sold);
            let exposure = match &sold {
                None => Some(Quote::ZERO),
                Some(sold) => price.map(|price| price * sold.left),
            };
            let unrealized_profit = match &sold {
                None => Some(Quote::ZERO),
                Some(sold) => {
                    price.map(|price| sold.profit(price, open.map_or(fee, |open| sale_fee(open, fee))))
                }
            };
            let stake = open.map_or(Quote::ZERO, |trade| trade.stake);
            rows.push(BotShare {
                bot_id: bot.id,
                name: definition.name.clone(),
                exchange: definition.exchange,
                pair: definition.pair.clone(),
                dry_run: definition.dry_run,
                status: bot.status,
                trades: view.stats.trades,
                realized_profit: Quote::new(view.stats.profit).unwrap_or_default(),
                unrealized_profit,
                exposure,
                stake,
            });
        }
        Ok(Page { rows, has_more: page.has_more })
    }
}
