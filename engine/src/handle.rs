//! The one way into the engine: what a user can ask of bots, trades, keys and endpoints. Commands are durable when
//! they are answered; reads come from the store and from what the feed publishes.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::Addr;
use model::{
    AccountId, BotId, EventId, KeyId, Market, Pair, Plans, Price, Quote, Rate, Tier, Trade, TradeId,
    TradeStatus, Warning,
};
use strategies::{BotDefinition, Plan, Preview};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};

use crate::actors::bot::Redefine;
use crate::actors::fleet::{Fleet, Whereabouts};
use crate::answer::KeptAnswer;
use crate::billing::StripeConfig;
use crate::bot_list::{BotSort, Rankings};
use crate::candles::CandleBook;
use crate::change::{BotStatus, Change, NewBot, Positions, Redefinition};
use crate::clock;
use crate::error::EngineError;
use crate::exchanges::Connections;
use crate::fair::FairSemaphore;
pub(crate) use crate::ledger::ANSWER;
use crate::ledger::{Ledger, LedgerError};
use crate::lives::is_under_way;
use crate::market_list::MarketList;
use crate::markets::Markets;
use crate::meters::Meters;
use crate::portfolio::{KnownBalances, PriceBook};
use crate::rates::Rates;
use crate::record::kept_rules;
use crate::reservations::{Reservation, Reservations};
use crate::signals::Carrier;
use crate::standing;
use crate::stats::BotStats;
use crate::store::{
    BotFilter, Cursor, EventFilter, KeyGrant, Page, StatsKey, Store, StoreError, StoredBot, StoredEvent,
    TradeFilter,
};
use crate::stream::Followers;
use crate::trailing::TrailingStops;
use crate::view::{BotView, mark, sale_fee};
use crate::views::{Since, Views};
use crate::webhook::Hub;

/// How long a request waits for the venue to tell what a pair is like.
const VENUE: Duration = Duration::from_secs(4);

/// How many live bots of a pair are looked at for whose stops rest at the venue: more than any venue lets rest.
const MOST_COUNTED: u32 = 100;

/// More urgent changes than this waiting for the disk, and new commands are refused.
const MOST_WAITING: usize = 50_000;

/// One command at a time for each bot: bots share this many locks.
const LOCKS: usize = 256;

/// The way into a running engine; clones share it.
#[derive(Clone)]
pub struct EngineHandle {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) io: Handle,
    pub(crate) ledger: Ledger,
    pub(crate) markets: Arc<Markets>,
    /// Where stops stand that trail.
    pub(crate) stops: TrailingStops,
    pub(crate) meters: Arc<Meters>,
    pub(crate) fleet: Addr<Fleet>,
    pub(crate) hub: Hub,
    pub(crate) followers: Followers,
    pub(crate) ready: AtomicBool,
    pub(crate) locks: Vec<Mutex<()>>,
    pub(crate) connections: Connections,
    /// How many live bots' orders of before the start are not accounted for yet.
    pub(crate) unreconciled: Arc<AtomicUsize>,
    /// What every plan allows.
    pub(crate) plans: Plans,
    /// The public addresses that this server is seen from.
    pub(crate) egress_addresses: Vec<IpAddr>,
    /// What coins are worth.
    pub(crate) prices: PriceBook,
    /// What coins are worth that open trades are in.
    pub(crate) rates: Rates,
    /// What real accounts hold.
    pub(crate) known: Arc<KnownBalances>,
    /// What was agreed on with Stripe.
    pub(crate) stripe: Option<StripeConfig>,
    /// Held by whoever takes what Stripe tells.
    pub(crate) billing: Mutex<()>,
    /// Bots that were asked for lately.
    pub(crate) views: Arc<Views>,
    /// What carries out what hooks were sent.
    pub(crate) carrier: Carrier,
    /// How accounts share what there is.
    pub(crate) turns: Turns,
    pub(crate) remembered: Remembered,
}

/// What was read or asked for lately, and is given again for a while.
#[derive(Default)]
pub(crate) struct Remembered {
    /// Candles for charts.
    pub(crate) candles: CandleBook,
    /// What bots made, for sorting.
    pub(crate) rankings: Rankings,
    /// What the venue lists.
    pub(crate) markets: MarketList,
}

/// How accounts share what there is, and keep to their plans.
pub(crate) struct Turns {
    /// Who reads lists from the store.
    lists: FairSemaphore<AccountId>,
    /// Bots that are about to be made.
    pub(crate) new_bots: Reservations,
    /// Bots that are about to live.
    pub(crate) starts: Reservations,
}

impl Turns {
    /// With as many readers of lists as the store has room for.
    pub(crate) fn over(store: &Store) -> Self {
        let (new_bots, starts) = (Reservations::default(), Reservations::default());
        Self { lists: store.list_shares(), new_bots, starts }
    }
}

impl Inner {
    pub(crate) fn locks() -> Vec<Mutex<()>> {
        (0..LOCKS).map(|_| Mutex::new(())).collect()
    }
}

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHandle").finish_non_exhaustive()
    }
}

/// Which fields a bot may only change while it is stopped.
const FIXED_WHILE_LIVE: &str =
    "exchange, exchange_id, pair, strategy and dry_run can only be changed while the bot is stopped";

impl EngineHandle {
    /// Whether all bots that lived before have been taken up again, live ones with every order accounted for.
    pub fn is_ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire) && self.inner.unreconciled.load(Ordering::Acquire) == 0
    }

    /// Why the server, though it is ready, cannot do all of its work just now; empty where it can.
    pub fn degraded(&self) -> Vec<String> {
        self.inner.markets.health().reasons()
    }

    /// Runs something on the runtime that the store's connections live on.
    pub(crate) async fn on_store<T, F>(&self, ask: impl FnOnce(Store) -> F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let asked = self.inner.io.spawn(ask(self.inner.store.clone()));
        let answer = asked.await.map_err(|_| EngineError::Unavailable("the store is closing".to_owned()))?;
        Ok(answer?)
    }

    /// Reads a list from the store when it is its account's turn: a few such reads are made at once, so that one
    /// account's long lists delay neither another's nor what is looked up by its id.
    pub(crate) async fn read_list<T, F>(
        &self,
        account: AccountId,
        ask: impl FnOnce(Store) -> F,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let turn = self.inner.turns.lists.acquire(account).await;
        self.on_store(move |store| {
            let asked = ask(store);
            async move {
                let _turn = turn;
                asked.await
            }
        })
        .await
    }

    // Bots

    /// Makes a bot, stopped, where the account's plan has room for it; with what its owner should know.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a pair that the venue lacks, a ladder that makes no sense there, a stake below the
    /// venue's minimum, or a connection that the account does not have.
    pub async fn create_bot(
        &self,
        account_id: AccountId,
        plan: Tier,
        definition: BotDefinition,
    ) -> Result<(BotView, Vec<Warning>), EngineError> {
        let made = |view: &BotView, warnings: &[Warning]| Ok(((view.clone(), warnings.to_vec()), None));
        self.create_bot_answering(account_id, plan, definition, made).await
    }

    /// Likewise; `answer` words what the client is told, and what of it is kept with the bot.
    ///
    /// # Errors
    /// As [`EngineHandle::create_bot`], and what `answer` fails of.
    pub async fn create_bot_answering<T, E: From<EngineError>>(
        &self,
        account_id: AccountId,
        plan: Tier,
        definition: BotDefinition,
        answer: impl FnOnce(&BotView, &[Warning]) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        self.take_work()?;
        self.may_act(account_id).await?;
        self.owns_named(account_id, &definition).await?;
        let mut warnings = self.check(account_id, &definition).await?;
        warnings.extend(self.no_stop_can_rest(account_id, &definition).await?);
        let room = self.room_for_a_bot(account_id, plan).await?;
        let capital = self.capital(account_id, &definition).await;
        let bot = NewBot { id: BotId::new(), account_id, definition, capital, created_at: clock::now() };
        let stored = StoredBot {
            id: bot.id,
            account_id,
            definition: bot.definition.clone(),
            status: BotStatus::Stopped,
            trouble: None,
            state: None,
            capital,
            created_at: bot.created_at,
        };
        let (stats, waiting_for) = (BotStats::default(), Vec::new());
        let (id, name, pair) = (bot.id, bot.definition.name.clone(), bot.definition.pair.to_string());
        let view = BotView { bot: stored, open_trade: None, kept_rules: None, stats, waiting_for };
        let (told, answer) = answer(&view, &warnings)?;
        let change = Change { created: Some(Box::new(bot)), answer, ..Change::default() };
        self.commit_within(room, change).await?;
        if matches!(self.may_act(account_id).await, Err(EngineError::AccountDeleted)) {
            // It was deleted meanwhile by another process: its bot is not made, or not kept.
            let deleted = Change { deleted: Some((account_id, id, clock::now())), ..Change::default() };
            self.inner.ledger.commit(deleted).await.map_err(EngineError::from)?;
            return Err(EngineError::AccountDeleted.into());
        }
        tracing::info!(bot = %id, account = %account_id, name, pair, "a bot was created");
        Ok(told)
    }

    /// Commits what a place was reserved for. The place is held until that is durable, even where nobody waits for it
    /// any more.
    async fn commit_within(&self, room: Option<Reservation>, change: Change) -> Result<(), EngineError> {
        let durable = self.inner.ledger.enqueue(change)?;
        let committed = self.inner.io.spawn(async move {
            let committed = durable.wait().await;
            drop(room);
            committed
        });
        let committed = tokio::time::timeout(ANSWER, committed).await.map_err(|_| LedgerError::Late)?;
        Ok(committed.map_err(|_| LedgerError::Stopped)??)
    }

    /// A bot with what it holds and has made.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn bot(&self, account: AccountId, id: BotId) -> Result<BotView, EngineError> {
        let view = match self.inner.views.get(id) {
            Some(view) => view,
            None => {
                let since = self.inner.views.since(id);
                let bot = self.stored(account, id).await?;
                let view = Arc::new(self.stored_view(bot, since).await?);
                self.inner.views.keep(&view, since);
                view
            }
        };
        if view.bot.account_id != account {
            return Err(EngineError::NotFound("bot"));
        }
        Ok(self.view_now(&view).await)
    }

    /// A stored bot with what it holds, at the last price, and has made.
    pub(crate) async fn bot_view(&self, bot: StoredBot) -> Result<BotView, EngineError> {
        let since = self.inner.views.since(bot.id);
        let view = self.stored_view(bot, since).await?;
        Ok(self.view_now(&view).await)
    }

    /// The view with what the bot holds at the last price.
    async fn view_now(&self, view: &BotView) -> BotView {
        let bot = &view.bot;
        let lives = bot.is_living() || view.open_trade.is_some();
        let market = if lives { self.grid_of(&bot.definition.pair).await } else { None };
        let market = market.map(|market| match &view.open_trade {
            Some(trade) => Market { fee: sale_fee(trade, market.fee), ..market },
            None => market,
        });
        let shape = market.and_then(|market| standing::shape(bot, &market, self.inner.stops.high(bot.id)));
        let mut open = self.marked(Vec::from_iter(view.open_trade.clone())).await.pop();
        if let Some(trade) = &mut open {
            standing::stand(trade, Some(bot), shape.as_ref(), self.last_price(&trade.pair));
        }
        let waiting_for = standing::waits(bot, shape, self.inner.markets.health().hindrance());
        BotView { open_trade: open, waiting_for, ..view.clone() }
    }

    /// A stored bot with what it holds and has made, as that is stored.
    async fn stored_view(&self, bot: StoredBot, since: Since) -> Result<BotView, EngineError> {
        let (account, id) = (bot.account_id, bot.id);
        let key = StatsKey {
            bot_id: id,
            dry_run: bot.definition.dry_run,
            quote: bot.definition.pair.quote().to_owned(),
        };
        let known = self.inner.views.sums(&key);
        let ask = move |store: Store| async move {
            let (open, now) = store.standing(account, &key, known).await?;
            Ok((open, now, key))
        };
        let (open, now, key) = self.on_store(ask).await?;
        let stats = now.stats.clone();
        if stats.trades > 0 {
            self.inner.views.keep_sums(key, now, since);
        }
        let open_trade = open.into_iter().next_back();
        let kept_rules = bot.state.as_deref().and_then(kept_rules);
        Ok(BotView { bot, open_trade, kept_rules, stats, waiting_for: Vec::new() })
    }

    /// What a bot's whole ladder needs, fees included: as a preview shows it, or by its stakes alone where the venue tells
    /// neither the pair's steps nor its price.
    async fn capital(&self, account: AccountId, definition: &BotDefinition) -> Quote {
        let market = self.market(&definition.pair).await.flatten();
        let price = self.price_now(&definition.pair).await;
        let known = match market.zip(price) {
            Some((market, price)) => Some((self.priced(account, definition, market).await.0, price)),
            None => None,
        };
        let funds = known.and_then(|(market, price)| strategies::ladder_funds(definition, &market, price));
        funds.unwrap_or_else(|| strategies::ladder_stake(definition, self.inner.markets.fee()))
    }

    /// An account's bots, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn bots(
        &self,
        account: AccountId,
        filter: BotFilter,
        limit: u32,
        after: Option<BotId>,
    ) -> Result<Page<StoredBot>, EngineError> {
        let after = after.map(|id| Cursor { id, value: String::new() });
        let page = self.sorted_bots(account, filter, (BotSort::CreatedAt, true), limit, after).await?;
        Ok(Page { rows: page.rows.into_iter().map(|(bot, _)| bot).collect(), has_more: page.has_more })
    }

    /// Gives a bot the definition that `redefine` makes of its present one. A running bot goes on under it at once, or
    /// from its next trade on.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] when it lives and its pair or the like would change, and, unless that is confirmed, when
    /// the new rules would trade at the next tick; what `redefine` refuses; and as [`EngineHandle::create_bot`].
    pub async fn redefine_bot<E: From<EngineError>>(
        &self,
        account: AccountId,
        id: BotId,
        how: Redefinition,
        redefine: impl FnOnce(&BotDefinition) -> Result<BotDefinition, E>,
    ) -> Result<(BotView, Vec<Warning>), E> {
        let _alone = self.alone(id).await;
        self.take_work()?;
        self.may_act(account).await?;
        let bot = self.stored(account, id).await?;
        let new = redefine(&bot.definition)?;
        let old = &bot.definition;
        let is_moved = (new.exchange, &new.pair, new.strategy.as_str(), new.dry_run)
            != (old.exchange, &old.pair, old.strategy.as_str(), old.dry_run);
        if is_moved || new.exchange_id != old.exchange_id {
            self.may_move(account, id, is_moved).await?;
        }
        // One that is gone meanwhile may stay named: `start` tells.
        if new.exchange_id != old.exchange_id {
            self.owns_named(account, &new).await?;
        }
        let warnings = self.check(account, &new).await?;
        // What a ladder needs depends on the price: it is computed anew only where the ladder is another.
        let capital = if new.needs_as(old) { bot.capital } else { self.capital(account, &new).await };
        let last = self.price_now(&new.pair).await;
        loop {
            if let Some(market) = self.inner.markets.known(&new.pair) {
                let (market, fees) = self.priced_for(id, &new, market);
                let plan = Plan::new(&new, &market).map_err(EngineError::from)?;
                let word = || Redefine {
                    plan: plan.clone(),
                    definition: new.clone(),
                    former: old.clone(),
                    capital,
                    fees,
                    how,
                    last,
                };
                if let Some(answer) = self.tell(id, word).await? {
                    answer?.wait_for_answer().await.map_err(EngineError::from)?;
                    break;
                }
            }
            if self.amend(account, id, &new, capital, how.apply).await? {
                break;
            }
        }
        tracing::info!(bot = %id, %account, "a bot's definition was changed");
        Ok((self.bot(account, id).await?, warnings))
    }

    /// Refuses another connection for a bot that lives or will; and another pair or the like (`is_moved`) also for one
    /// that has something open.
    async fn may_move(&self, account: AccountId, id: BotId, is_moved: bool) -> Result<(), EngineError> {
        if !matches!(self.find(id).await?, Whereabouts::Absent) {
            let message = FIXED_WHILE_LIVE.to_owned();
            return Err(EngineError::Conflict { code: "bot_running", message });
        }
        let bot = self.at_rest(account, id).await?;
        if is_moved && (is_under_way(&bot) || self.holds(account, id).await?) {
            let message =
                "the bot has an open trade: close it first (stop with positions `close`)".to_owned();
            return Err(EngineError::Conflict { code: "trade_open", message });
        }
        Ok(())
    }

    /// Deletes a bot; its trades stay readable. What a live bot has under way is taken back first, and what it holds
    /// stays on its account. What is held on paper is closed at the last price; where none can be had, `force` deletes
    /// the bot all the same, and its trade stays as it is.
    ///
    /// # Errors
    /// [`EngineError::VenueSilent`] without `force` where what is held on paper cannot be closed;
    /// [`EngineError::Conflict`] while it lives or has a live trade, unless `force` stops it first; and while something
    /// of it is still under way after ten seconds.
    pub async fn delete_bot(&self, account: AccountId, id: BotId, force: bool) -> Result<(), EngineError> {
        let _alone = self.alone(id).await;
        self.take_work()?;
        let bot = self.stored(account, id).await?;
        let is_live = !matches!(bot.status, BotStatus::Stopped | BotStatus::Error);
        if is_live && !force {
            let message = "the bot is running: stop it first, or delete it with ?force=true".to_owned();
            return Err(EngineError::Conflict { code: "bot_running", message });
        }
        let is_real = !bot.definition.dry_run;
        if is_real && !force && (is_under_way(&bot) || self.holds(account, id).await?) {
            let message =
                "the bot has an open trade on a real account: close it first (stop with positions `close`), \
                           or delete the bot with ?force=true and keep the coins"
                    .to_owned();
            return Err(EngineError::Conflict { code: "trade_open", message });
        }
        self.halt(account, id, Positions::Hold).await?;
        if is_real {
            self.wait_until_stopped(account, id).await?;
        } else {
            match self.close_paper(account, id, is_live).await {
                // Where nobody tells a price, as of a pair that is traded no more, nothing can be booked.
                Err(EngineError::VenueSilent(_)) if force => {}
                closed => closed?,
            }
        }
        let deleted = Some((account, id, clock::now()));
        self.inner.ledger.commit(Change { deleted, ..Change::default() }).await?;
        tracing::info!(bot = %id, %account, "a bot was deleted");
        Ok(())
    }

    // Trades and events

    /// An account's trades, newest first, open ones at the last price.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn trades(
        &self,
        account: AccountId,
        filter: TradeFilter,
        limit: u32,
        after: Option<TradeId>,
    ) -> Result<Page<Trade>, EngineError> {
        let ask = move |store: Store| async move { store.trades(account, &filter, limit, after).await };
        let page = self.read_list(account, ask).await?;
        let rows = self.standing(account, self.marked(page.rows).await).await?;
        Ok(Page { rows, has_more: page.has_more })
    }

    /// The same without the orders of those that are closed, for whoever wants many.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn trade_rows(
        &self,
        account: AccountId,
        filter: TradeFilter,
        limit: u32,
        after: Option<TradeId>,
    ) -> Result<Page<Trade>, EngineError> {
        let ask = move |store: Store| async move { store.trade_rows(account, &filter, limit, after).await };
        let page = self.read_list(account, ask).await?;
        Ok(Page { rows: self.marked(page.rows).await, has_more: page.has_more })
    }

    /// A trade, at the last price while it is open.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn trade(&self, account: AccountId, id: TradeId) -> Result<Trade, EngineError> {
        let trade = self.on_store(move |store| async move { store.trade(account, id).await }).await?;
        let trade = self.marked(Vec::from_iter(trade)).await;
        self.standing(account, trade).await?.pop().ok_or(EngineError::NotFound("trade"))
    }

    /// An account's events of the last thirty days, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] where `after` is not among them.
    pub async fn events(
        &self,
        account: AccountId,
        filter: EventFilter,
        limit: u32,
        after: Option<EventId>,
    ) -> Result<Page<StoredEvent>, EngineError> {
        if let Some(id) = after {
            let known = self.on_store(move |store| async move { store.event(account, id).await }).await?;
            if known.is_none() {
                let why = "names no event of the last 30 days: begin with `from` instead";
                return Err(EngineError::field("starting_after", why));
            }
        }
        let ask = move |store: Store| async move { store.events(account, &filter, limit, after).await };
        self.read_list(account, ask).await
    }

    /// Whether the account has, or once had, such a bot: its trades stay readable.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn has_had_bot(&self, account: AccountId, id: BotId) -> Result<bool, EngineError> {
        self.on_store(move |store| async move { store.has_had_bot(account, id).await }).await
    }

    /// The last price of a pair that some bot watches.
    pub fn last_price(&self, pair: &Pair) -> Option<Price> {
        self.inner.markets.last(pair).get()
    }

    /// What the actors have counted.
    pub fn meters(&self) -> &Meters {
        &self.inner.meters
    }

    /// Brings what is published of the engine up to date; whoever renders it asks for this first.
    pub async fn publish_metrics(&self) {
        let Inner { meters, connections, markets, .. } = &*self.inner;
        meters.publish(self.ledger_depth(), connections.refusals(), markets.health());
        if let Some(turn) = meters.overview_is_due() {
            let began = Instant::now();
            match self.on_store(|store| async move { store.overview().await }).await {
                Ok(overview) => meters.publish_overview(turn, &overview, began.elapsed(), clock::now()),
                Err(error) => tracing::warn!(%error, "bots and undelivered events could not be counted"),
            }
        }
    }

    /// How many changes wait for the disk.
    pub fn ledger_depth(&self) -> usize {
        self.inner.ledger.depth()
    }

    // Keys

    /// What the key with this hash grants, revoked and expired ones included.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn key_by_hash(&self, sha256: [u8; 32]) -> Result<Option<KeyGrant>, EngineError> {
        self.on_store(move |store| async move { store.key_by_hash(sha256).await }).await
    }

    /// Notes that a key was used, soon.
    pub fn note_key_used(&self, id: KeyId) {
        let (store, now) = (self.inner.store.clone(), clock::now());
        self.inner.io.spawn(async move {
            if let Err(error) = store.key_used(id, now).await {
                tracing::warn!(%error, key = %id, "it could not be noted that a key was used");
            }
        });
    }

    // Inside

    /// Refuses work while the disk cannot keep up.
    pub(crate) fn take_work(&self) -> Result<(), EngineError> {
        if self.inner.ledger.urgent_depth() > MOST_WAITING {
            return Err(EngineError::Unavailable("too many changes wait for the disk".to_owned()));
        }
        if self.inner.ledger.is_stalled() {
            return Err(EngineError::Unavailable("the database takes nothing just now".to_owned()));
        }
        Ok(())
    }

    /// Refuses an account that is suspended or deleted by now, as the store has it: what a key grants is remembered for a
    /// while, and an operator's command runs in a process of its own.
    ///
    /// # Errors
    /// [`EngineError::AccountSuspended`], [`EngineError::AccountDeleted`].
    pub(crate) async fn may_act(&self, account: AccountId) -> Result<(), EngineError> {
        let ask = move |store: Store| async move { store.is_account_active(account).await };
        match self.on_store(ask).await? {
            Some(true) => Ok(()),
            Some(false) => Err(EngineError::AccountSuspended),
            None => Err(EngineError::AccountDeleted),
        }
    }

    pub(crate) async fn alone(&self, id: BotId) -> Option<MutexGuard<'_, ()>> {
        let lock = usize::try_from(id.as_u128() % LOCKS as u128).unwrap_or_default();
        match self.inner.locks.get(lock) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    pub(crate) async fn stored(&self, account: AccountId, id: BotId) -> Result<StoredBot, EngineError> {
        let bot = self.on_store(move |store| async move { store.bot(account, id).await }).await?;
        bot.ok_or(EngineError::NotFound("bot"))
    }

    pub(crate) async fn holds(&self, account: AccountId, id: BotId) -> Result<bool, EngineError> {
        let ask = move |store: Store| async move { store.open_trades(account, id).await };
        Ok(!self.on_store(ask).await?.is_empty())
    }

    async fn marked(&self, mut trades: Vec<Trade>) -> Vec<Trade> {
        // Many trades are in few currencies.
        let mut rates: HashMap<String, Option<Quote>> = HashMap::new();
        for trade in trades.iter_mut().filter(|trade| trade.status == TradeStatus::Open) {
            let currency = trade.pair.quote();
            let usd_rate = match rates.get(currency) {
                Some(rate) => *rate,
                None => *rates.entry(currency.to_owned()).or_insert(self.usd_rate(currency).await),
            };
            trade.stop_price = trade.stop_price.max(self.inner.stops.level(trade.bot_id));
            mark(trade, self.inner.markets.last(&trade.pair).get(), self.inner.markets.fee(), usd_rate);
        }
        trades
    }

    /// Trades with how the open ones stand.
    async fn standing(&self, account: AccountId, mut trades: Vec<Trade>) -> Result<Vec<Trade>, EngineError> {
        let open = trades.iter().filter(|trade| trade.status == TradeStatus::Open);
        // Their levels are computed with their own rates.
        let configured = self.inner.markets.fee();
        let fees: HashMap<BotId, Rate> =
            open.map(|trade| (trade.bot_id, sale_fee(trade, configured))).collect();
        if fees.is_empty() {
            return Ok(trades);
        }
        let (markets, stops) = (self.inner.markets.clone(), self.inner.stops.clone());
        // Where the store is read: an account's long list keeps no request of another waiting.
        let ask = move |store: Store| async move {
            let ids: BTreeSet<BotId> = fees.keys().copied().collect();
            let bots = store.bots_named(account, &ids).await?;
            let bots = bots.into_iter().map(|bot| {
                let fee = fees.get(&bot.id).copied().unwrap_or(configured);
                let market = markets.once_known(&bot.definition.pair);
                let high = stops.high(bot.id);
                let shape = market.and_then(|market| standing::shape(&bot, &Market { fee, ..market }, high));
                (bot.id, (bot, shape))
            });
            Ok(bots.collect::<HashMap<_, _>>())
        };
        let bots = self.on_store(ask).await?;
        for trade in &mut trades {
            let last = self.last_price(&trade.pair);
            let (bot, shape) = bots.get(&trade.bot_id).map(|(bot, shape)| (bot, shape.as_ref())).unzip();
            standing::stand(trade, bot, shape.flatten(), last);
        }
        Ok(trades)
    }

    /// A pair's grid to show levels on; the venue is asked where it has never been.
    async fn grid_of(&self, pair: &Pair) -> Option<Market> {
        match self.inner.markets.once_known(pair) {
            Some(market) => Some(market),
            // A venue that is known to be down is not waited for.
            None if !self.degraded().is_empty() => None,
            None => self.market(pair).await.flatten(),
        }
    }

    /// What the venue says of a pair: `None` when it does not answer in time, `Some(None)` when it lacks it.
    pub(crate) async fn market(&self, pair: &Pair) -> Option<Option<Market>> {
        if let Some(market) = self.inner.markets.known(pair) {
            return Some(Some(market));
        }
        let (markets, pair) = (self.inner.markets.clone(), pair.clone());
        let asked = self.inner.io.spawn(async move { markets.market(&pair).await });
        tokio::time::timeout(VENUE, asked).await.ok()?.ok()?.ok()
    }

    /// Whether a definition makes sense on its market, as far as that is known now; `start` checks again.
    async fn check(
        &self,
        account: AccountId,
        definition: &BotDefinition,
    ) -> Result<Vec<Warning>, EngineError> {
        let market = match self.market(&definition.pair).await {
            None => return Ok(definition.no_stop().into_iter().collect()),
            Some(None) => return Err(unknown_pair(definition)),
            Some(Some(market)) => market,
        };
        let (market, _) = self.priced(account, definition, market).await;
        let plan = Plan::new(definition, &market)?;
        let mut warnings = plan.warnings().to_vec();
        if let Some(price) = self.price_now(&definition.pair).await {
            plan.check_minimum(price)?;
            let preview = Preview::new(definition, &market, price).ok();
            if let Some(preview) = preview {
                warnings.extend(preview.at_stop(definition, plan.market_rules()));
                warnings.extend(preview.in_parts(plan.market_rules()));
            }
        }
        Ok(warnings)
    }

    /// Warns where an account's bots of a pair have as many stops at the venue as it takes: this one's would not rest.
    pub(crate) async fn no_stop_can_rest(
        &self,
        account: AccountId,
        definition: &BotDefinition,
    ) -> Result<Option<Warning>, EngineError> {
        let most = self.inner.markets.known(&definition.pair).and_then(|market| market.bounds.max_stops);
        let Some(most) =
            most.filter(|_| !definition.dry_run && definition.stop_on_venue && definition.has_stop())
        else {
            return Ok(None);
        };
        let filter = BotFilter {
            exchange: Some(definition.exchange),
            pair: Some(definition.pair.clone()),
            dry_run: Some(false),
            ..BotFilter::default()
        };
        let bots = self.bots(account, filter, MOST_COUNTED, None).await?;
        let others = bots.rows.iter().filter(|other| {
            let other = &other.definition;
            other.stop_on_venue && other.has_stop() && other.exchange_id == definition.exchange_id
        });
        let message = || {
            format!(
                "the venue lets an account have {most} stops of {} at a time, and as many other bots have theirs there: \
                 whichever comes late has none at the venue, and the engine watches its stop while the server runs",
                definition.pair
            )
        };
        let (param, code) = ("stop_on_venue".to_owned(), "stop_not_resting");
        Ok((others.count() >= most as usize).then(|| Warning { param, code, message: message() }))
    }

    /// A pair's last price, from the feed or else from the venue; `None` where neither tells in time.
    pub(crate) async fn price_now(&self, pair: &Pair) -> Option<Price> {
        if let Some(price) = self.inner.markets.price_known(pair) {
            return Some(price);
        }
        let (markets, pair) = (self.inner.markets.clone(), pair.clone());
        let asked = self.inner.io.spawn(async move { markets.price(&pair).await });
        tokio::time::timeout(VENUE, asked).await.ok()?.ok()?
    }
}

pub(crate) fn unknown_pair(definition: &BotDefinition) -> EngineError {
    let BotDefinition { pair, exchange, .. } = definition;
    EngineError::field("pair", format!("{exchange} does not trade {pair}: choose a pair that it lists"))
}
