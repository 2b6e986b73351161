//! Starting and stopping: the threads, what runs on each, and the one path from the store to living bots.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::Actor as _;
use actix_rt::{Arbiter, ArbiterHandle, System};
use connectors::binance::rest::Rest;
use connectors::binance::stream::StreamConfig;
use connectors::binance::trade::SharedBudget;
use futures_util::future::join_all;
use model::{Plans, Rate};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::actors::exchange::Journal;
use crate::actors::feed::MarketFeed;
use crate::actors::fleet::{Fleet, Recover, Recovered, Remember};
use crate::billing::{self, StripeConfig};
use crate::clock;
use crate::commissions;
use crate::exchanges::{Connections, Venue};
use crate::handle::{EngineHandle, Inner, Remembered, Turns};
use crate::ledger::Ledger;
use crate::live::Gateway;
use crate::live::appraisal;
use crate::live::sent::{self, SentLog, Trace};
use crate::markets::Markets;
use crate::master_key;
use crate::meters::Meters;
use crate::portfolio::{self, KnownBalances, PriceBook};
use crate::rates::{CoinRate, Rates};
use crate::secrets::{MasterKey, MasterKeyError, Vault};
use crate::signals;
use crate::silence::Patience;
use crate::store::{News, OnLoss, Store, StoreError, StoreLock};
use crate::stream::Followers;
use crate::suspension;
use crate::sweep::sweep_for_ever;
use crate::trailing::TrailingStops;
use crate::views::Views;
use crate::webhook::{Hub, Targets, WEBHOOK_PORTS};

/// Held while what became of a live bot's orders before the start is not known; all of them share a count.
#[derive(Debug)]
pub(crate) struct Unreconciled(Arc<AtomicUsize>);

impl Unreconciled {
    pub(crate) fn one_of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Unreconciled {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many bots are taken up at once after a start.
const RECOVER: u32 = 1_000;

/// What an engine is told.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where everything is stored: `sqlite://FILE` or `postgres://…`.
    pub database_url: String,
    /// What stored secrets are sealed with; without it a key file beside the database, made at the first start, or
    /// `botprimex.key` in the working directory where the database is no file.
    pub master_key: Option<MasterKey>,
    /// Binance's REST address, without path.
    pub rest_url: String,
    /// Binance's stream address, without path.
    pub stream_url: String,
    /// Binance's socket interface, the whole address.
    pub ws_api_url: String,
    /// How long after an order was decided the venue's word that it does not know it can be a proof: its queries
    /// have been seen to lag by a minute.
    pub absent_after: Duration,
    /// What a taker pays, as a fraction.
    pub taker_fee: Rate,
    /// How long an account's own fee rates are good until the venue is asked again; a day, but for tests.
    pub fee_rates_good_for: Duration,
    /// How much worse than the decided price paper orders fill, as a fraction.
    pub slippage: Rate,
    /// Whether webhooks may go to this machine: for development.
    pub allow_loopback: bool,
    /// The ports that webhooks may go to; [`crate::WEBHOOK_PORTS`] is what users expect.
    pub webhook_ports: Vec<u16>,
    /// The public addresses that this server is seen from: what exchange keys are bound to, and where no webhook goes.
    pub egress_addresses: Vec<IpAddr>,
    /// What every plan allows.
    pub plans: Plans,
    /// What was agreed on with Stripe; without it nothing is taken from there.
    pub stripe: Option<StripeConfig>,
}

impl EngineConfig {
    /// For a simulated venue, which has all its interfaces at one address (`HOST:PORT`), and webhooks on this machine;
    /// else as servers are by default.
    pub fn simulated(database_url: String, venue: impl Display, taker_fee: Rate) -> Self {
        Self {
            database_url,
            master_key: None,
            rest_url: format!("http://{venue}"),
            stream_url: format!("ws://{venue}"),
            ws_api_url: format!("ws://{venue}/ws-api/v3"),
            absent_after: Duration::from_secs(75),
            taker_fee,
            fee_rates_good_for: commissions::GOOD_FOR,
            slippage: Rate::ZERO,
            allow_loopback: true,
            webhook_ports: WEBHOOK_PORTS.to_vec(),
            egress_addresses: Vec::new(),
            plans: Plans::default(),
            stripe: None,
        }
    }
}

/// Why an engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no master key to go on with.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A thread or runtime could not be made.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
    /// The venue's address makes no sense.
    #[error("the venue cannot be used: {0}")]
    Venue(String),
    /// A thread ended before it was up.
    #[error("a thread ended before it was up")]
    Ended,
}

/// Why an engine cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The store could not be written: nothing more will be durable.
    #[error("{0}")]
    Failed(String),
    /// The store is not this process's any more: another one may be trading, so the process has to end at once.
    #[error("{0}")]
    Lost(String),
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    io: Runtime,
    threads: Vec<Thread>,
    ended: watch::Receiver<Option<Result<(), Failure>>>,
    lock: StoreLock,
}

/// What a start makes.
struct Started {
    handle: EngineHandle,
    threads: Vec<Thread>,
    ended: watch::Receiver<Option<Result<(), Failure>>>,
    lock: StoreLock,
}

/// An arbiter's thread.
#[derive(Debug)]
struct Thread {
    system: System,
    joined: JoinHandle<()>,
    arbiter: ArbiterHandle,
}

impl Thread {
    /// Starts a thread whose arbiter actors can be started on.
    fn start(name: &str) -> Result<Self, StartError> {
        let (up, is_up) = mpsc::channel();
        let joined = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let system = System::new();
            // Nobody listens once the start was given up.
            let _ = up.send((System::current(), Arbiter::current()));
            if let Err(error) = system.run() {
                tracing::error!(%error, "an arbiter ended with an error");
            }
        })?;
        let (system, arbiter) = is_up.recv().map_err(|_| StartError::Ended)?;
        Ok(Self { system, joined, arbiter })
    }
}

/// Where webhooks may go.
fn targets(config: &EngineConfig) -> Targets {
    Targets::new(config.allow_loopback, &config.webhook_ports).except(&config.egress_addresses)
}

impl Engine {
    /// Opens the store, starts all actors, and takes up every bot that lived before. Returns once they are handed
    /// to their feed; a venue that does not answer holds nothing up.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: EngineConfig) -> Result<Self, StartError> {
        Self::start_with(config, Patience::default()).await
    }

    /// The same with another patience: for tests, which have none.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(config: EngineConfig, patience: Patience) -> Result<Self, StartError> {
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("io")
            .enable_all()
            .build()?;
        match Self::start_on(&io, config, patience).await {
            Ok(Started { handle, threads, ended, lock }) => Ok(Self { handle, io, threads, ended, lock }),
            Err(error) => {
                // A runtime may not be dropped where async code runs.
                io.shutdown_background();
                Err(error)
            }
        }
    }

    async fn start_on(io: &Runtime, config: EngineConfig, patience: Patience) -> Result<Started, StartError> {
        let (end, ended) = watch::channel(None);
        let (gateway, fee_rates_good_for) = (Gateway::default(), config.fee_rates_good_for);
        let lost = shut_when_lost(end.clone(), gateway.clone());
        let opened =
            io.spawn(open(config.database_url.clone(), config.master_key.clone(), config.taker_fee, lost));
        let (lock, store, vault) = opened.await.map_err(|_| StartError::Ended)??;
        // One for everything that leaves from here for the venue.
        let budget = SharedBudget::default();
        let rest = Rest::new(&config.rest_url).map_err(|error| StartError::Venue(error.to_string()))?;
        let rest = rest.with_budget(budget.clone());
        let markets = Arc::new(Markets::new(rest, io.handle().clone(), config.taker_fee, config.slippage));

        let (meters, stops) = (Arc::new(Meters::default()), TrailingStops::default());

        let (trading, webhooks) = (Thread::start("trading")?, Thread::start("webhooks")?);
        let targets = targets(&config);
        let hub = Hub::new(store.clone(), io.handle().clone(), &webhooks.arbiter, &vault, targets, &meters)
            .map_err(|error| StartError::Client(error.to_string()))?;
        let (followers, views) = (Followers::default(), Arc::new(Views::default()));
        let (rung, sends, followed, seen) = (hub.clone(), gateway.clone(), followers.clone(), views.clone());
        let (ledger, writer) = Ledger::new(store.clone(), move |news| {
            seen.forget(&news.changed);
            seen.forget_sums(&news.rebooked);
            sends.committed(news);
            rung.committed(&news.told);
            followed.committed(news);
        });
        io.spawn(async move {
            let result = writer.await.map_err(|error| Failure::Failed(error.to_string()));
            // What failed first is what is told.
            end.send_if_modified(|end| {
                let is_first = end.is_none();
                end.get_or_insert(result);
                is_first
            });
        });

        let feed = MarketFeed::start_in_arbiter(&trading.arbiter, {
            let (config, markets) = (StreamConfig::new(config.stream_url), markets.clone());
            let (ledger, meters, clock) = (ledger.clone(), meters.clone(), gateway.clock().clone());
            move |_| MarketFeed::new(config, markets, ledger, meters, clock, patience)
        });
        let rates = Rates::new(markets.clone(), feed.clone(), io.handle().clone());
        let fleet = Fleet::start_in_arbiter(&trading.arbiter, {
            let (ledger, markets, rates) = (ledger.clone(), markets.clone(), rates.clone());
            let (meters, gateway, stops) = (meters.clone(), gateway.clone(), stops.clone());
            move |_| Fleet::new(feed, ledger, markets, meters, rates, gateway, stops)
        });
        let (sent, restoring) = read_notes(io, &store, &config.database_url, &gateway).await?;
        let (known, unreconciled) = (Arc::new(KnownBalances::default()), Arc::<AtomicUsize>::default());
        let journal = Journal::new(&store, &ledger, io.handle());
        let inner = Inner {
            store: store.clone(),
            io: io.handle().clone(),
            ledger,
            markets: markets.clone(),
            stops,
            fleet: fleet.clone(),
            hub: hub.clone(),
            followers,
            ready: AtomicBool::new(false),
            locks: Inner::locks(),
            connections: Connections::new(
                vault,
                Venue {
                    rest_url: config.rest_url,
                    ws_api_url: config.ws_api_url,
                    absent_after: config.absent_after,
                    journal,
                    unreconciled: unreconciled.clone(),
                    sent,
                    budget,
                    restoring: restoring.clone(),
                },
                trading.arbiter.clone(),
                gateway,
                markets,
                meters.clone(),
                known.clone(),
            ),
            meters,
            unreconciled,
            plans: config.plans,
            egress_addresses: config.egress_addresses,
            prices: PriceBook::default(),
            rates,
            known,
            stripe: config.stripe,
            billing: tokio::sync::Mutex::default(),
            views,
            carrier: signals::Carrier::default(),
            turns: Turns::over(&store),
            remembered: Remembered::default(),
        };
        let handle = EngineHandle { inner: Arc::new(inner) };
        if let Some(count) = restoring {
            restore(io, &handle, count).await;
        }
        let recovered = io.spawn(recover(handle.clone()));
        let last_event = recovered.await.map_err(|_| StartError::Ended)??;
        handle.inner.ready.store(true, Ordering::Release);
        keep_going(&handle.inner, last_event, fee_rates_good_for);
        Ok(Started { handle, threads: vec![trading, webhooks], ended, lock })
    }

    /// The way in.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Resolves when the ledger could not go on, or when it is not sure any more that no other server has the store:
    /// nothing more will be durable or sent, and the process must start again.
    pub async fn failed(&self) -> Failure {
        let mut ended = self.ended.clone();
        let is_failure = |end: &Option<Result<(), Failure>>| matches!(end, Some(Err(_)));
        match ended.wait_for(is_failure).await.as_deref() {
            Ok(Some(Err(error))) => error.clone(),
            _ => std::future::pending().await,
        }
    }

    /// Stops all actors, writes what waits, and closes the store. Bots stay as they are: the next start takes
    /// them up.
    pub async fn stop(self) {
        let Self { handle, io, threads, mut ended, lock } = self;
        let store = handle.inner.store.clone();
        handle.inner.ready.store(false, Ordering::Release);
        handle.inner.hub.finish().await;
        for thread in threads {
            thread.system.stop();
            if thread.joined.join().is_err() {
                tracing::error!("an arbiter's thread had panicked");
            }
        }
        drop(handle);
        // The last ledger is gone with the actors and the handles; a handle that somebody keeps delays no more
        // than this.
        let written = ended.wait_for(Option::is_some);
        if tokio::time::timeout(Duration::from_secs(5), written).await.is_err() {
            tracing::warn!("the ledger was still in use when the engine stopped");
        }
        store.close().await;
        lock.release().await;
        io.shutdown_background();
    }
}

/// Whether the store is a copy of an earlier time, so that venues know of orders that it lacks: it says so itself, or what
/// left for venues was noted and is in no journal. The count is that of connections which do not know yet what they lack.
async fn restoring(store: Store, trace: Trace) -> Result<Option<Arc<AtomicUsize>>, StartError> {
    let mut why = store.is_restored().await?.then_some("it was restored from a backup");
    let (is_marked, is_file) = (why.is_some(), matches!(store, Store::Sqlite { .. }));
    if !is_marked && store.has_journaled().await? {
        match trace {
            // Of a database server's, every process notes on a machine of its own.
            Trace::Nothing => {
                why = is_file.then_some("nothing beside it says which orders left last");
            }
            Trace::Earlier => why = Some("it has come back to an earlier time"),
            Trace::Left(orders) => {
                for id in orders {
                    if !store.is_known(id).await? {
                        why = Some("an order left that it does not know");
                        break;
                    }
                }
            }
        }
    }
    let Some(why) = why else { return Ok(None) };
    tracing::warn!(
        why,
        "the store may lack orders that it made: the exchanges are asked before any bot acts"
    );
    if !is_marked {
        store.set_restored(Some(clock::now())).await?;
    }
    Ok(Some(Arc::default()))
}

/// Which orders left for venues, as far as it is noted, and what [`restoring`] makes of that.
async fn read_notes(
    io: &Runtime,
    store: &Store,
    database_url: &str,
    gateway: &Gateway,
) -> Result<(Arc<SentLog>, Option<Arc<AtomicUsize>>), StartError> {
    let tenure = store.tenure().cloned().unwrap_or_default();
    gateway.name_store(&tenure.store);
    let sent = Arc::new(SentLog::open(&sent::path(Store::file(database_url)), &tenure));
    let asked = io.spawn(restoring(store.clone(), sent.trace().clone()));
    let restoring = asked.await.map_err(|_| StartError::Ended)??;
    Ok((sent, restoring))
}

/// Asks the venue of every stored connection what a restored store lacks, until the last one knows.
async fn restore(io: &Runtime, handle: &EngineHandle, count: Arc<AtomicUsize>) {
    let all = handle.clone();
    let connected = io.spawn(async move { all.connect_all().await });
    if let Ok(Err(error)) = connected.await {
        tracing::error!(%error, "not every exchange connection could be opened");
    }
    io.spawn(finish_restoring(handle.inner.store.clone(), count));
}

/// Notes that a restored store lacks nothing any more, once that is so.
async fn finish_restoring(store: Store, count: Arc<AtomicUsize>) {
    while count.load(Ordering::Acquire) > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    match store.set_restored(None).await {
        Ok(()) => tracing::info!("the restored store lacks nothing any more"),
        Err(error) => tracing::warn!(%error, "the next start asks the exchanges again"),
    }
}

/// Lets nothing more leave once the store is lost: another server may have taken it over.
fn shut_when_lost(end: watch::Sender<Option<Result<(), Failure>>>, gateway: Gateway) -> OnLoss {
    OnLoss::new(move |why| {
        gateway.shut();
        end.send_if_modified(|end| {
            let is_first = !matches!(end, Some(Err(Failure::Lost(_))));
            if is_first {
                *end = Some(Err(Failure::Lost(why)));
            }
            is_first
        });
    })
}

/// The store, which is this process's alone until `on_loss` is told why it is not any more, and what its secrets are
/// sealed with.
async fn open(
    url: String,
    configured: Option<MasterKey>,
    taker_fee: Rate,
    on_loss: OnLoss,
) -> Result<(StoreLock, Store, Vault), StartError> {
    let (lock, store) = Store::take(&url, on_loss).await?;
    store.fill_in_sums(taker_fee).await?;
    let vault = master_key::vault(&store, configured, &url).await?;
    signals::seal_secrets(&store, &vault).await?;
    Ok((lock, store, vault))
}

/// Begins what goes on beside the bots until the store is closed; events after `last_event` are not told of yet where
/// another process wrote them.
fn keep_going(inner: &Arc<Inner>, last_event: i64, fee_rates_good_for: Duration) {
    let Inner { store, io, hub, followers, carrier, plans, .. } = &**inner;
    io.spawn(signals::carry_out(Arc::downgrade(inner), carrier.bell.clone()));
    io.spawn(sweep_for_ever(store.clone()));
    let (hub, followers) = (hub.clone(), followers.clone());
    let ring = move |told| {
        hub.committed(&told);
        followers.committed(&News { told, ..News::default() });
    };
    io.spawn(billing::listen(store.clone(), *plans, last_event, ring));
    io.spawn(appraisal::value_later(Arc::downgrade(inner)));
    io.spawn(commissions::keep(Arc::downgrade(inner), fee_rates_good_for));
    io.spawn(suspension::watch(Arc::downgrade(inner)));
    portfolio::keep_history(inner);
}

/// Has what these bots' books are valued by at hand before the first of them can close a trade; where the venue does not
/// tell, they are not kept waiting.
async fn follow(handle: &EngineHandle, bots: &[Recovered]) -> Vec<Vec<Arc<CoinRate>>> {
    let definitions = bots.iter().map(|recovered| &recovered.bot.definition);
    // Of those that need the same, one waits for all.
    let each: BTreeMap<_, _> = definitions.map(|bot| ((bot.pair.quote(), bot.dry_run), bot)).collect();
    join_all(each.into_values().map(|bot| handle.inner.rates.ready(bot))).await
}

/// Hands every bot that lived to the fleet, and every endpoint to the hub; where the outbox was before that.
async fn recover(handle: EngineHandle) -> Result<i64, StartError> {
    let Inner { store, fleet, hub, markets, unreconciled, .. } = &*handle.inner;
    let last_event = store.last_event().await?;
    hub.begin(store).await?;
    fleet.send(Remember(store.marks().await?)).await.map_err(|_| StartError::Ended)?;
    // Until the last has been handed over.
    let _more_to_come = Unreconciled::one_of(unreconciled);
    let mut after = None;
    loop {
        let page = store.living_bots(RECOVER, after).await?;
        after = page.rows.last().map(|bot| bot.id);
        // Asked for once, so that a thousand bots of a pair do not wait for it each.
        if let Some(first) = page.rows.first() {
            let pair = first.definition.pair.clone();
            let asked = tokio::time::timeout(Duration::from_secs(2), markets.market(&pair)).await;
            if !matches!(asked, Ok(Ok(_))) {
                tracing::debug!(%pair, "the venue does not tell what the pair is like: its bots wait");
            }
        }
        let mut bots = Vec::with_capacity(page.rows.len());
        for bot in page.rows {
            let is_live = !bot.definition.dry_run;
            let unreconciled = is_live.then(|| Unreconciled::one_of(unreconciled));
            let exchange_id = if is_live { handle.connect(&bot).await.ok() } else { None };
            bots.push(Recovered { bot, exchange_id, unreconciled });
        }
        let _followed = follow(&handle, &bots).await;
        fleet.send(Recover(bots)).await.map_err(|_| StartError::Ended)?;
        if !page.has_more {
            return Ok(last_event);
        }
    }
}
