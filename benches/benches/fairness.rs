//! What one account's load costs another: commands and a live close of one account, alone and beside 400 paper bots of
//! another that trade on nearly every tick of 60 a second on each of their pairs, through the real engine.
//!
//! Promise: beside them the other account's commands take 250 ms at the most in 99 of 100, its live close is sent within
//! a second, none is refused, at most 20,000 changes wait, and the engine stops within 10 s.
//! Floor: the same commands and closes in the same run before the busy bots are started.
//!
//! The exchange runs in this process and takes its share of the cores. `BUSY_S` (60 by default) is how long the busy
//! bots trade, in seconds.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::time::{Duration, Instant};

use engine::{
    ApiCredential, By, Engine, EngineConfig, EngineError, EngineHandle, NewExchange, Positions, Secret,
    Store, Then, TradeFilter,
};
use model::{AccountId, BotId, Exchange, Pair, Side, Tier, Timestamp, Trade, TradeStatus};
use strategies::BotDefinition;

const BUSY_BOTS: usize = 400;
const BUSY_PAIRS: usize = 8;
/// The made-up market prints two trades a second on each pair.
const TICKS_A_SECOND: f64 = 60.0;
const ALONE: Duration = Duration::from_secs(15);
const COMMAND_EVERY: Duration = Duration::from_millis(50);
const CLOSE_EVERY: Duration = Duration::from_secs(3);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let busy_s = std::env::var("BUSY_S").map_or(60, |seconds| seconds.parse().unwrap());
    // In the target folder: a temporary folder may lie in memory, where a commit costs nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let store = Store::open(&database_url).await.unwrap();
    let busy = store.create_account("busy", Timestamp::MIN).await.unwrap().id;
    let quiet = store.create_account("quiet", Timestamp::MIN).await.unwrap().id;
    store.close().await;

    let quiet_pair: Pair = "BTC/USDT".parse().unwrap();
    let busy_pairs: Vec<Pair> =
        (0..BUSY_PAIRS).map(|number| format!("C{number}/USDT").parse().unwrap()).collect();
    let pairs = busy_pairs.iter().cloned().chain([quiet_pair.clone()]).collect();
    let venue = venue::start(venue::Config {
        market: venue::MarketSource::RandomWalk { pairs },
        speed: venue::Speed::Times(TICKS_A_SECOND / 2.0),
        credentials: vec![venue::Credential { key: "key".to_owned(), secret: "s".to_owned() }],
        ..venue::Config::default()
    })
    .await
    .unwrap();
    let config = EngineConfig::simulated(database_url, venue.address(), "0.001".parse().unwrap());
    let engine = Engine::start(config).await.unwrap();
    let handle = engine.handle();
    let credential =
        ApiCredential { api_key: Secret::new("key".to_owned()), api_secret: Secret::new("s".to_owned()) };
    let new = NewExchange { exchange: Exchange::Binance, name: "one".to_owned(), credential };
    handle.create_exchange(quiet, new).await.unwrap();
    let account = Quiet {
        account: quiet,
        commanded: launch(&handle, quiet, &quiet_pair, PATIENT_ON_PAPER).await,
        live: launch(&handle, quiet, &quiet_pair, PATIENT_LIVE).await,
    };

    account.measure(&handle, ALONE).await.print("alone");
    for pair in busy_pairs.iter().cycle().take(BUSY_BOTS) {
        launch(&handle, busy, pair, BUSY).await;
    }
    let (resident_before, decided) = (resident(), handle.meters().decisions());
    let measured = account.measure(&handle, Duration::from_secs(busy_s)).await;
    measured.print("beside busy bots");
    println!(
        "{:.0} decisions a second; {} changes waited at the most; {:.0} MB more memory",
        (handle.meters().decisions() - decided) as f64 / busy_s as f64,
        measured.deepest,
        (resident() as f64 - resident_before as f64) / 1e6,
    );
    drop(handle);
    let stopping = Instant::now();
    engine.stop().await;
    println!("stopped in {:?}", stopping.elapsed());
    venue.stop().await;
}

const BUSY: &str =
    r#""dry_run":true,"max_open_trades":1,"take_profit":0.01,"stop_loss":-0.15,"trailing_stop":0.001"#;
const PATIENT_ON_PAPER: &str = r#""dry_run":true,"max_open_trades":1,"take_profit":500,"stop_loss":-90"#;
const PATIENT_LIVE: &str =
    r#""dry_run":false,"max_open_trades":1,"take_profit":500,"stop_loss":-90,"stop_on_venue":false"#;

async fn launch(handle: &EngineHandle, account: AccountId, pair: &Pair, rules: &str) -> BotId {
    let body = format!(
        r#"{{"name":"bench","exchange":"binance","pair":"{pair}","strategy":"dca","stake_amount":20,{rules}}}"#
    );
    let definition = BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap();
    let id = handle.create_bot(account, Tier::Enterprise, definition).await.unwrap().0.bot.id;
    handle.start_bot(account, id).await.unwrap();
    id
}

/// What the process holds in memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// The account that is measured: a paper bot that is commanded, and a live one whose trades are closed.
struct Quiet {
    account: AccountId,
    commanded: BotId,
    live: BotId,
}

/// What was measured.
#[derive(Default)]
struct Measured {
    commands: Vec<Duration>,
    closes: Vec<Duration>,
    refused: usize,
    deepest: usize,
}

impl Quiet {
    async fn measure(&self, handle: &EngineHandle, during: Duration) -> Measured {
        let (mut measured, end) = (Measured::default(), Instant::now() + during);
        let (mut is_stopped, mut next_close) = (false, Instant::now() + CLOSE_EVERY);
        while Instant::now() < end {
            let began = Instant::now();
            let answer = if is_stopped {
                handle.start_bot(self.account, self.commanded).await
            } else {
                handle.stop_bot(self.account, self.commanded, Positions::Hold).await
            };
            match answer {
                Ok(_) => is_stopped = !is_stopped,
                Err(EngineError::Unavailable(_)) => measured.refused += 1,
                Err(error) => panic!("{error}"),
            }
            measured.commands.push(began.elapsed());
            if Instant::now() >= next_close {
                next_close += CLOSE_EVERY;
                measured.closes.extend(self.close(handle).await);
            }
            measured.deepest = measured.deepest.max(handle.ledger_depth());
            tokio::time::sleep(COMMAND_EVERY).await;
        }
        measured
    }

    /// Closes the live trade; how long it took until its sale was sent. `None` while nothing is held.
    async fn close(&self, handle: &EngineHandle) -> Option<Duration> {
        let trade = self.trades(handle, TradeStatus::Open).await.pop()?;
        let began = now();
        handle.close_trade(self.account, trade.id, By::Hand, Then::Continue).await.unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            let orders = handle.trade(self.account, trade.id).await.unwrap().orders;
            let sale = orders.into_iter().find(|order| order.side == Side::Sell);
            if let Some(sent_at) = sale.and_then(|order| order.receipt?.sent_at) {
                return Some(Duration::from_nanos(u64::try_from(sent_at.since(began)).unwrap_or(0)));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the sale was not sent within 30 s")
    }

    async fn trades(&self, handle: &EngineHandle, status: TradeStatus) -> Vec<Trade> {
        let filter = TradeFilter { bot_id: Some(self.live), status: Some(status), ..TradeFilter::default() };
        handle.trades(self.account, filter, 10, None).await.unwrap().rows
    }
}

impl Measured {
    fn print(&self, how: &str) {
        for (what, times) in [("commands", &self.commands), ("live closes until sent", &self.closes)] {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
            let max = times.last().copied().unwrap_or_default();
            println!("{how}: {} {what}: p50 {:?}, p99 {:?}, max {max:?}", times.len(), at(50), at(99));
        }
        println!("{how}: {} commands refused", self.refused);
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap())
}
