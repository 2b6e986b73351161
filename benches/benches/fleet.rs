//! A hundred thousand running bots in one process: what they weigh, how long they take to start, what they cost
//! while the market is calm, and a crash that wakes them all.
//!
//! Promise: 2 KiB each beyond the strategy's own state, started from the store in 10 s, 5 % of a core beside 2,000 ticks a second on 20 symbols,
//! and when all of them trade at once nothing is lost and all of it is on disk within 4 s.
//! Floor: one change, one commit, one after the other, on the same disk in the same run.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::time::{Duration, Instant};

use connectors::binance::SymbolId;
use connectors::binance::stream::StreamEvent;
use engine::probe::Probe;
use engine::{BotChange, BotStatus, Change, Ledger, NewBot, Store};
use model::{
    AccountId, BotId, BotTurned, DomainEvent, EventData, EventId, Market, Pair, Price, Tick, Timestamp,
};
use strategies::{BotDefinition, Entry, PaperBot};

const BOTS: usize = 100_000;
const SYMBOLS: usize = 20;
const SINGLE: usize = 200;
const CALM: Duration = Duration::from_secs(5);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    actix_rt::System::new().block_on(measure());
}

fn pair(index: usize) -> Pair {
    format!("C{index}/USDT").parse().unwrap()
}

fn definition(pair: &Pair) -> BotDefinition {
    let body = format!(
        r#"{{"name":"bench","exchange":"binance","pair":"{pair}","strategy":"dca","stake_amount":50,
            "max_open_trades":5,"stop_loss":-10,"dry_run":true}}"#
    );
    BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap()
}

fn market() -> Market {
    Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    }
}

/// What the process holds in memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// What a machine and its books weigh, in bytes; the plan is shared. A first entry makes room for four.
fn own_state(entries: usize) -> usize {
    size_of::<PaperBot>() + entries * size_of::<Entry>()
}

fn weigh(how: &str, all: usize, own: usize) {
    let all = all / BOTS;
    println!("{how}: {all} bytes each, {own} of them the strategy's own state, {} beyond it", all - own);
}

/// What the process has computed so far, on all of its threads.
fn computed() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).unwrap().parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn tick(symbol: usize, cents: i64, at_ms: i64) -> StreamEvent {
    let tick = Tick {
        price: Price::from_e8(cents * 1_000_000).unwrap(),
        qty: "1".parse().unwrap(),
        at: Timestamp::from_millis(at_ms),
    };
    StreamEvent::Tick { symbol: SymbolId(u32::try_from(symbol).unwrap()), tick, sent_at: tick.at }
}

async fn until_decided(probe: &Probe, decisions: u64) {
    while probe.meters().decisions() < decisions {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::open(&format!("sqlite://{}", folder.path().join("books.db").display())).await.unwrap();
    let account = store.create_account("bench", Timestamp::MIN).await.unwrap().id;
    let one = one_commit(&store, account).await;
    println!("one change, one commit: p50 {one:?}");
    let (ledger, writer) = Ledger::new(store.clone(), |_| {});
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(writer).unwrap();
    });
    fill(&ledger, account).await;

    let pairs: Vec<Pair> = (0..SYMBOLS).map(pair).collect();
    let probe = Probe::start(&pairs, &market(), &ledger).unwrap();
    let (before, start) = (resident(), Instant::now());
    let mut after = None;
    loop {
        let page = store.living_bots(1_000, after).await.unwrap();
        after = page.rows.last().map(|bot| bot.id);
        probe.recover(page.rows).await.unwrap();
        if !page.has_more {
            break;
        }
    }
    println!("started from the store in {:?}", start.elapsed());
    weigh("asleep", resident() - before, own_state(0));

    // Every bot buys, and sleeps between its levels from then on.
    let start = Instant::now();
    probe.hear((0..SYMBOLS).map(|symbol| tick(symbol, 10_000, 1)).collect()).await.unwrap();
    until_decided(&probe, BOTS as u64).await;
    ledger.flush().await.unwrap();
    println!("all bought, on disk after {:?}", start.elapsed());
    weigh("holding", resident() - before, own_state(4));

    let (busy, start) = (computed(), Instant::now());
    let mut told = 0;
    while start.elapsed() < CALM {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let events = (0..SYMBOLS).map(|symbol| tick(symbol, 10_000 + told % 3, 2 + told)).collect();
        told += 1;
        probe.hear(events).await.unwrap();
    }
    let share = computed().saturating_sub(busy).as_secs_f64() / start.elapsed().as_secs_f64();
    let rate = told as f64 * SYMBOLS as f64 / start.elapsed().as_secs_f64();
    println!("calm: {:.1} % of a core at {rate:.0} ticks/s", share * 100.0);

    // Every price falls through the first two safety orders at once.
    let decided = probe.meters().decisions();
    let start = Instant::now();
    probe.hear((0..SYMBOLS).map(|symbol| tick(symbol, 9_500, 1_000_000)).collect()).await.unwrap();
    until_decided(&probe, decided + BOTS as u64).await;
    let all_decided = start.elapsed();
    // A neighbour that wakes nobody waits for its turn behind them.
    let neighbour = Instant::now();
    probe.hear(vec![tick(0, 9_501, 1_000_001)]).await.unwrap();
    let felt = neighbour.elapsed();
    ledger.flush().await.unwrap();
    let on_disk = start.elapsed();
    println!(
        "crash: all decided after {all_decided:?}, on disk after {on_disk:?}; a tick beside it {felt:?}"
    );
    let rate = BOTS as f64 / on_disk.as_secs_f64();
    println!("crash: {rate:.0} bots a second on disk, {:.1} x the floor", rate * one.as_secs_f64());
    let Store::Sqlite { readers, .. } = &store else { return };
    let orders: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(readers).await.unwrap();
    println!("{orders} orders on disk, {} were to be", BOTS * 3);
}

/// How long a change takes that is written alone, in the median.
async fn one_commit(store: &Store, account_id: AccountId) -> Duration {
    let mut took = Vec::new();
    for _ in 0..SINGLE {
        let told = BotTurned::started(BotId::from_u128(1), "bench", "user");
        let data = EventData::BotStarted(told);
        let event = DomainEvent { id: EventId::new(), account_id, bot_id: None, at: Timestamp::MIN, data };
        let before = Instant::now();
        store.commit([Change { events: vec![event], ..Change::default() }]).await.unwrap();
        took.push(before.elapsed());
    }
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap()
}

/// As many running bots as there are to be, on disk.
async fn fill(ledger: &Ledger, account_id: AccountId) {
    let definitions: Vec<BotDefinition> = (0..SYMBOLS).map(|index| definition(&pair(index))).collect();
    for definition in definitions.iter().cycle().take(BOTS) {
        let id = BotId::new();
        let created = NewBot {
            id,
            account_id,
            definition: definition.clone(),
            capital: model::Quote::ZERO,
            created_at: Timestamp::MIN,
        };
        let bot = BotChange { id, account_id, status: BotStatus::Running, trouble: None, state: None };
        let change = Change { created: Some(Box::new(created)), bot: Some(bot), ..Change::default() };
        ledger.record(change).unwrap();
    }
    ledger.flush().await.unwrap();
}
