//! What `GET /v1/portfolio` costs an account with many bots, and `GET /v1/bots/{id}` a bot with many closed trades, asked
//! for through the engine's handle, on SQLite.
//!
//! Promise: what trades made is added up once, when they close or when it is first asked for; whoever asks again pays
//! for open trades alone.
//! Floor: the database itself reads the same rows and answers one, in the same run; where no trade is open that is one
//! question that finds nothing.
//!
//! `cargo bench -p benches --bench portfolio -- stats` measures one part alone, for a profiler: `portfolio` or `stats`.
//!
//! After a start of the engine no connection has read anything, but the machine still has the file in memory.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::time::{Duration, Instant};

use engine::{
    BotChange, BotStatus, Change, Engine, EngineConfig, EngineHandle, NewBot, Recorder, Store, probe,
};
use model::{AccountId, BotId, Market, Pair, Price, PriceMove, Quote, Timestamp};
use strategies::{BotDefinition, PaperBot, Plan};

/// How many bots accounts have, and on how many pairs.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const PAIRS: usize = 20;

/// How many trades the one bot closed, an hour after each other.
const TRADES: usize = 100_000;

/// How many bots a portfolio shows unless it is asked for more.
const PAGE: u32 = 20;

const AT_ONCE: usize = 1_000;
const STARTS: usize = 9;
const ASKED_FOR: Duration = Duration::from_secs(5);

/// What a bot buys at and then sells at, in cents.
const LOW: i64 = 10_000;
const HIGH: i64 = 10_500;

/// The open trades of an account, all that a portfolio shows of them.
const OPEN: &str =
    "SELECT SUM(LENGTH(trades.pair) + LENGTH(trades.amount) + LENGTH(trades.stake) + LENGTH(bots.capital))
    FROM trades JOIN bots ON bots.id = trades.bot_id
    WHERE trades.account_id = $1 AND trades.status = 'open' AND bots.deleted_at IS NULL";

/// The closed trades of a bot, all that statistics are of.
const CLOSED: &str = "SELECT SUM(LENGTH(profit) + LENGTH(profit_pct) + LENGTH(fees) + closed_at - opened_at)
    FROM trades WHERE bot_id = $1 AND status = 'closed'";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let rig = Rig::start().await;
    if is_wanted("portfolio") {
        for size in SIZES {
            portfolio(&rig, size).await;
        }
    }
    if is_wanted("stats") {
        stats(&rig).await;
    }
    rig.venue.stop().await;
}

/// Whether a part is to be measured: one that is named, or all.
fn is_wanted(part: &str) -> bool {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

/// An account whose bots each closed a trade and hold nothing; then each of them holds another.
async fn portfolio(rig: &Rig, size: usize) {
    let account = rig.account().await;
    let kinds: Vec<Kind> = (0..PAIRS).map(|index| Kind::new(&pair(index))).collect();
    let mut bots: Vec<Bot> = kinds.iter().cycle().take(size).map(|kind| Bot::new(account, kind)).collect();
    rig.commit(bots.iter().map(Bot::created)).await;
    rig.commit(bots.iter_mut().map(|bot| bot.at(LOW, 1))).await;
    rig.commit(bots.iter_mut().map(|bot| bot.at(HIGH, 2))).await;
    ask_for_portfolio(rig, account, size, "hold nothing").await;
    rig.commit(bots.iter_mut().map(|bot| bot.at(LOW, 3))).await;
    ask_for_portfolio(rig, account, size, "hold another").await;
}

async fn ask_for_portfolio(rig: &Rig, account: AccountId, size: usize, how: &str) {
    println!("{size} bots that each closed a trade and {how}:");
    let ask = async |engine: &EngineHandle| {
        let began = Instant::now();
        let worth = engine.portfolio(account).await.unwrap();
        let page = engine.shares(account, PAGE, None).await.unwrap();
        let took = began.elapsed();
        let closed: i64 = worth.dry_run.currencies.iter().map(|currency| currency.trades).sum();
        assert_eq!((usize::try_from(closed).unwrap(), page.rows.len()), (size, PAGE as usize));
        assert!(worth.dry_run.figures.equity_usd > Some(Quote::ZERO), "every coin has a price");
        took
    };
    let floor = rig.floor(OPEN, account.to_string()).await;
    tell("first after a start", rig.starts("", &ask).await, floor);
    let engine = rig.engine().await;
    tell("again", asked(async || ask(&engine.handle()).await).await, floor);
    engine.stop().await;
}

/// A bot that closed many trades.
async fn stats(rig: &Rig) {
    let account = rig.account().await;
    let mut bot = Bot::new(account, &Kind::new(&pair(0)));
    rig.commit([bot.created()]).await;
    let hours = (0..TRADES).map(|number| 3_600_000 * i64::try_from(number).unwrap());
    rig.commit(hours.flat_map(|ms| [bot.at(LOW, ms), bot.at(HIGH, ms + 60_000)])).await;
    println!("a bot that closed {TRADES} trades:");
    let ask = async |engine: &EngineHandle| {
        let began = Instant::now();
        let view = engine.bot(account, bot.id).await.unwrap();
        let ratios = view.stats.ratios(view.bot.capital);
        let took = began.elapsed();
        assert_eq!((view.stats.trades, ratios.sharpe.is_ok()), (TRADES as u64, true));
        took
    };
    let floor = rig.floor(CLOSED, bot.id.to_string()).await;
    tell("once in its life", rig.starts("DELETE FROM bot_stats", &ask).await, floor);
    tell("first after a start", rig.starts("", &ask).await, floor);
    let engine = rig.engine().await;
    let ledger = probe::ledger(&engine.handle());
    let changed = async || {
        ledger.commit(bot.unmoved()).await.unwrap();
        ask(&engine.handle()).await
    };
    tell("after it changed", asked(changed).await, floor);
    tell("again", asked(async || ask(&engine.handle()).await).await, floor);
    drop(ledger);
    engine.stop().await;
}

/// Asks for a while, again as soon as it is answered.
async fn asked(ask: impl AsyncFn() -> Duration) -> Vec<Duration> {
    let end = Instant::now() + ASKED_FOR;
    let mut times = Vec::new();
    while Instant::now() < end {
        times.push(ask().await);
    }
    times
}

fn tell(what: &str, mut times: Vec<Duration>, floor: Duration) {
    let (p50, p99) = percentiles(&mut times);
    let ratio = p50.as_secs_f64() / floor.as_secs_f64();
    println!("  {what:<20} p50 {p50:?}, p99 {p99:?} of {}, {ratio:.3} times the floor", times.len());
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

/// The books on a disk, and what an engine on them is told.
struct Rig {
    config: EngineConfig,
    venue: venue::Venue,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        // In the target folder: a temporary folder may lie in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
        let market = venue::MarketSource::RandomWalk { pairs: (0..PAIRS).map(pair).collect() };
        let venue = venue::start(venue::Config { market, ..venue::Config::default() }).await.unwrap();
        let config = EngineConfig::simulated(database_url, venue.address(), market_of_bots().fee);
        Self { config, venue, _folder: folder }
    }

    async fn store(&self) -> Store {
        Store::open(&self.config.database_url).await.unwrap()
    }

    async fn engine(&self) -> Engine {
        Engine::start(self.config.clone()).await.unwrap()
    }

    async fn account(&self) -> AccountId {
        let store = self.store().await;
        let account = store.create_account("bench", Timestamp::MIN).await.unwrap();
        store.close().await;
        account.id
    }

    async fn commit(&self, changes: impl IntoIterator<Item = Change>) {
        let (store, mut changes) = (self.store().await, changes.into_iter().peekable());
        while changes.peek().is_some() {
            store.commit(changes.by_ref().take(AT_ONCE).collect::<Vec<_>>()).await.unwrap();
        }
        store.close().await;
    }

    /// How long the database takes over this question about somebody, in the median.
    async fn floor(&self, sql: &'static str, whose: String) -> Duration {
        let store = self.store().await;
        let Store::Sqlite { readers, .. } = &store else { return Duration::ZERO };
        let read = async || {
            let began = Instant::now();
            let query = sqlx::query_scalar::<_, Option<i64>>(sql).bind(&whose);
            query.fetch_one(readers).await.unwrap();
            began.elapsed()
        };
        let (p50, p99) = percentiles(&mut asked(read).await);
        println!("  {:<20} p50 {p50:?}, p99 {p99:?}", "floor");
        store.close().await;
        p50
    }

    /// How long engines take that have just started, each on books to which this was done before.
    async fn starts(&self, sql: &'static str, ask: impl AsyncFn(&EngineHandle) -> Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let books = sqlx::SqlitePool::connect(&self.config.database_url).await.unwrap();
            sqlx::query(sql).execute(&books).await.unwrap();
            books.close().await;
            let engine = self.engine().await;
            times.push(ask(&engine.handle()).await);
            engine.stop().await;
        }
        times
    }
}

fn pair(index: usize) -> Pair {
    format!("C{index}/USDT").parse().unwrap()
}

fn market_of_bots() -> Market {
    Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    }
}

/// What bots of one pair have in common.
struct Kind {
    definition: BotDefinition,
    plan: Plan,
}

impl Kind {
    fn new(pair: &Pair) -> Self {
        let body = format!(
            r#"{{"name":"bench","exchange":"binance","pair":"{pair}","strategy":"dca","stake_amount":50,
                "max_open_trades":5,"stop_loss":-10,"take_profit":1,"dry_run":true}}"#
        );
        let definition = BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap();
        let plan = Plan::new(&definition, &market_of_bots()).unwrap();
        Self { definition, plan }
    }
}

/// A bot that is moved by hand, and that no engine takes up: only what is asked for costs anything.
struct Bot {
    id: BotId,
    account_id: AccountId,
    definition: BotDefinition,
    paper: PaperBot,
    recorder: Recorder,
}

impl Bot {
    fn new(account_id: AccountId, Kind { definition, plan }: &Kind) -> Self {
        let id = BotId::new();
        let recorder = Recorder::new(account_id, id, definition);
        let paper = PaperBot::with_plan(&plan.clone());
        Self { id, account_id, definition: definition.clone(), paper, recorder }
    }

    fn created(&self) -> Change {
        let Self { id, account_id, definition, .. } = self;
        let new = NewBot {
            id: *id,
            account_id: *account_id,
            definition: definition.clone(),
            capital: model::Quote::ZERO,
            created_at: Timestamp::MIN,
        };
        Change { created: Some(Box::new(new)), ..Change::default() }
    }

    /// It hears of a price, and does what it does.
    fn at(&mut self, cents: i64, ms: i64) -> Change {
        let price = Price::from_e8(cents * 1_000_000).unwrap();
        let mut steps = Vec::new();
        self.paper.on_move(&PriceMove::tick(price, Timestamp::from_millis(ms)), &mut steps).unwrap();
        self.recorder.change(&self.paper, steps, BotStatus::Stopped)
    }

    /// Its row once more.
    fn unmoved(&self) -> Change {
        let Self { id, account_id, .. } = *self;
        let bot = BotChange { id, account_id, status: BotStatus::Stopped, trouble: None, state: None };
        Change { bot: Some(bot), ..Change::default() }
    }
}
