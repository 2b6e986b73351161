//! Lists of an account's bots: searched, sorted and counted.
//!
//! What a bot made changes with every trade, and what an open trade would make with every price. A list that is sorted by
//! that reads values that are kept for a few seconds, so that pages which follow one another fit together.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use model::{AccountId, BotId, Trade, TradeStatus};
use rust_decimal::Decimal;

use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::{BotFilter, Cursor, Lean, Page, Store, StoredBot, StoredOrder, TradeFilter};

/// How long what bots made is kept for sorting.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// Of how many accounts it is kept before all is forgotten.
const KEPT: usize = 1_000;

/// What bots are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BotSort {
    /// When they were made.
    #[default]
    CreatedAt,
    /// Their names, whatever the case.
    Name,
    /// What their closed trades made, in quote.
    Profit,
    /// The same in percent of what their ladders need.
    ProfitPct,
    /// What their open trades would make at the last price, after the fee of selling, in quote.
    OpenProfit,
}

impl BotSort {
    /// Every order there is, with its name on the wire.
    pub const ALL: [(&'static str, Self); 5] = [
        ("created_at", Self::CreatedAt),
        ("name", Self::Name),
        ("profit", Self::Profit),
        ("profit_pct", Self::ProfitPct),
        ("open_profit", Self::OpenProfit),
    ];
}

/// A page of bots, each with what it is sorted by.
pub type SortedBots = Page<(StoredBot, String)>;

/// What bots made, as of a moment.
#[derive(Debug, Default)]
struct Made {
    closed: HashMap<BotId, Decimal>,
    open: HashMap<BotId, Decimal>,
}

/// What the bots of accounts made that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Rankings(DashMap<AccountId, (Instant, Arc<Made>)>);

impl EngineHandle {
    /// An account's bots in an order.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn sorted_bots(
        &self,
        account: AccountId,
        filter: BotFilter,
        (sort, is_descending): (BotSort, bool),
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<SortedBots, EngineError> {
        let order = match sort {
            BotSort::CreatedAt => StoredOrder::Created,
            BotSort::Name => StoredOrder::Name,
            BotSort::Profit | BotSort::ProfitPct | BotSort::OpenProfit => {
                return self.ranked_bots(account, filter, (sort, is_descending), limit, after).await;
            }
        };
        let ask = move |store: Store| async move {
            store.bots_in_order(account, &filter, (order, is_descending), limit, after.as_ref()).await
        };
        self.read_list(account, ask).await
    }

    /// How many bots of an account a filter lets through.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn count_bots(&self, account: AccountId, filter: BotFilter) -> Result<u64, EngineError> {
        self.read_list(account, move |store| async move { store.count_bots_like(account, &filter).await })
            .await
    }

    /// How many trades of an account a filter lets through.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn count_trades(&self, account: AccountId, filter: TradeFilter) -> Result<u64, EngineError> {
        self.read_list(account, move |store| async move { store.count_trades(account, &filter).await }).await
    }

    async fn ranked_bots(
        &self,
        account: AccountId,
        filter: BotFilter,
        (sort, is_descending): (BotSort, bool),
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<SortedBots, EngineError> {
        let made = self.made(account).await?;
        let bots = self
            .read_list(account, move |store| async move { store.lean_bots(account, &filter).await })
            .await?;
        let mut ranked: Vec<(Decimal, BotId)> =
            bots.iter().map(|bot| (made.value(sort, bot), bot.id)).collect();
        // A bot that is named without what it was sorted by, or in another order, stands where it stands now.
        let now = |id: BotId| ranked.iter().find(|row| row.1 == id).map_or(Decimal::ZERO, |row| row.0);
        let after = after.map(|after| (after.value.parse().unwrap_or_else(|_| now(after.id)), after.id));
        let compare = |one: &(Decimal, BotId), other: &(Decimal, BotId)| {
            if is_descending { other.cmp(one) } else { one.cmp(other) }
        };
        if let Some(after) = after {
            ranked.retain(|row| compare(row, &after) == Ordering::Greater);
        }
        let wanted = limit as usize + 1;
        if ranked.len() > wanted {
            ranked.select_nth_unstable_by(wanted, compare);
            ranked.truncate(wanted);
        }
        ranked.sort_unstable_by(compare);
        let page = Page::of(ranked, limit);
        let ids: BTreeSet<BotId> = page.rows.iter().map(|(_, id)| *id).collect();
        let ask = move |store: Store| async move { store.bots_named(account, &ids).await };
        let bots = self.read_list(account, ask).await?;
        let mut bots: HashMap<BotId, StoredBot> = bots.into_iter().map(|bot| (bot.id, bot)).collect();
        let rows = page.rows.iter().filter_map(|(value, id)| Some((bots.remove(id)?, value.to_string())));
        Ok(Page { rows: rows.collect(), has_more: page.has_more })
    }

    /// What an account's bots made, as of a few seconds ago at most.
    async fn made(&self, account: AccountId) -> Result<Arc<Made>, EngineError> {
        let rankings = &self.inner.remembered.rankings.0;
        if let Some(known) = rankings.get(&account).filter(|known| known.0.elapsed() < GOOD_FOR) {
            return Ok(known.1.clone());
        }
        let began = Instant::now();
        let closed =
            self.read_list(account, move |store| async move { store.profits_by_bot(account).await }).await?;
        let mut open: HashMap<BotId, Decimal> = HashMap::new();
        let mut after = None;
        loop {
            let filter = TradeFilter { status: Some(TradeStatus::Open), ..TradeFilter::default() };
            let page = self.trade_rows(account, filter, PAGE, after).await?;
            for Trade { bot_id, profit, .. } in &page.rows {
                *open.entry(*bot_id).or_default() += profit.map_or(Decimal::ZERO, model::Quote::decimal);
            }
            after = page.rows.last().map(|trade| trade.id).filter(|_| page.has_more);
            if after.is_none() {
                break;
            }
        }
        let made = Arc::new(Made { closed, open });
        if rankings.len() >= KEPT {
            rankings.clear();
        }
        rankings.insert(account, (began, made.clone()));
        Ok(made)
    }
}

/// How many open trades are read at a time.
const PAGE: u32 = 1_000;

impl Made {
    fn value(&self, sort: BotSort, bot: &Lean) -> Decimal {
        let of = |made: &HashMap<BotId, Decimal>| made.get(&bot.id).copied().unwrap_or_default();
        match sort {
            BotSort::Profit => of(&self.closed).normalize(),
            BotSort::ProfitPct => {
                let share = of(&self.closed).checked_div(bot.capital.decimal()).unwrap_or_default();
                (share * Decimal::ONE_HUNDRED).round_dp(8).normalize()
            }
            BotSort::OpenProfit => of(&self.open).normalize(),
            BotSort::CreatedAt | BotSort::Name => Decimal::ZERO,
        }
    }
}
