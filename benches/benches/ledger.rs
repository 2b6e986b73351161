//! How many changes a second become durable when many bots change at once.
//!
//! Promise: group commit makes at least fifty times as many changes durable as one commit for each, on the same
//! disk, and the 99th percentile from handing over to durable is at most ten such commits.
//! Floor: one change, one commit, one after the other, measured in the same run.
//!
//! The first half is measured with bots that hand over their next change as soon as the last is durable. A thousand
//! of them always wait, so at fifty times the floor each waits twenty commits, whatever the ledger does. The second
//! half is therefore measured with changes that arrive at a given rate, like a market's.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::time::{Duration, Instant};

use std::sync::LazyLock;

use engine::{BotChange, BotState, BotStatus, Change, Ledger, Recorder, Store};
use model::{AccountId, BotId, BotTurned, DomainEvent, EventData, EventId, Market, PriceMove, Timestamp};
use strategies::{BotDefinition, PaperBot};

const WRITERS: u128 = 1_000;
const ROUNDS: usize = 100;
const PACED: Duration = Duration::from_secs(6);
const SINGLE: usize = 400;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    // In the target folder: a temporary folder may lie in memory, where a commit costs nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("sqlite://{}", folder.path().join("books.db").display());
    let store = Store::open(&url).await.unwrap();
    fill(&url).await;

    let mut single: Vec<Duration> = Vec::new();
    let start = Instant::now();
    for _ in 0..SINGLE {
        let before = Instant::now();
        store.commit([change(0)]).await.unwrap();
        single.push(before.elapsed());
    }
    let single_rate = SINGLE as f64 / start.elapsed().as_secs_f64();

    let (ledger, writer) = Ledger::new(store, |_| {});
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(writer).unwrap();
    });
    let start = Instant::now();
    let bots: Vec<_> = (0..WRITERS).map(|bot| tokio::spawn(in_a_row(ledger.clone(), bot))).collect();
    let mut grouped = gathered(bots).await;
    let grouped_rate = grouped.len() as f64 / start.elapsed().as_secs_f64();

    let one = percentiles(&mut single);
    let many = percentiles(&mut grouped);
    println!("one commit a change:        {single_rate:>9.0} changes/s, p50 {:?}, p99 {:?}", one.0, one.1);
    println!(
        "{WRITERS} bots, one after the other: {grouped_rate:>9.0} changes/s, p50 {:?}, p99 {:?}",
        many.0, many.1
    );
    println!("ratio of the rates {:.1}", grouped_rate / single_rate);
    for times in [10.0, 25.0, 40.0] {
        let rate = times * single_rate;
        let every = Duration::from_secs_f64(WRITERS as f64 / rate);
        let bots = (0..WRITERS).map(|bot| tokio::spawn(paced(ledger.clone(), bot, every))).collect();
        let paced = percentiles(&mut gathered(bots).await);
        println!(
            "{WRITERS} bots, {rate:>7.0} changes/s ({times} x the floor): p50 {:?}, p99 {:?}, which is {:.1} commits",
            paced.0,
            paced.1,
            paced.1.as_secs_f64() / one.0.as_secs_f64()
        );
    }
}

/// A bot that changes again as soon as its last change is durable.
async fn in_a_row(ledger: Ledger, bot: u128) -> Vec<Duration> {
    let mut durable = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let before = Instant::now();
        ledger.commit(change(bot)).await.unwrap();
        durable.push(before.elapsed());
    }
    durable
}

/// A bot that changes at its own times.
async fn paced(ledger: Ledger, bot: u128, every: Duration) -> Vec<Duration> {
    let first = tokio::time::Instant::now() + every.mul_f64(bot as f64 / WRITERS as f64);
    let mut due = tokio::time::interval_at(first, every);
    let mut durable = Vec::new();
    let end = Instant::now() + PACED;
    while Instant::now() < end {
        due.tick().await;
        let before = Instant::now();
        ledger.commit(change(bot)).await.unwrap();
        durable.push(before.elapsed());
    }
    durable
}

async fn gathered(bots: Vec<tokio::task::JoinHandle<Vec<Duration>>>) -> Vec<Duration> {
    let mut all = Vec::new();
    for bot in bots {
        all.extend(bot.await.unwrap());
    }
    all
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

/// A bot's new row, state included, and an event that tells of it.
fn change(bot: u128) -> Change {
    let (id, account_id) = (BotId::from_u128(bot), AccountId::from_u128(1));
    let told = BotTurned::started(id, "bench", "user");
    let event = DomainEvent {
        id: EventId::new(),
        account_id,
        bot_id: Some(id),
        at: Timestamp::MIN,
        data: EventData::BotStarted(told),
    };
    let state = Some(STATE.clone());
    let bot = BotChange { id, account_id, status: BotStatus::Running, trouble: None, state };
    Change { bot: Some(bot), events: vec![event], ..Change::default() }
}

/// The state of a bot that holds one entry.
static STATE: LazyLock<Box<BotState>> = LazyLock::new(|| {
    let body = r#"{"name":"bench","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;
    let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
    let market = Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    };
    let mut paper = PaperBot::new(&definition, &market).unwrap();
    let mut steps = Vec::new();
    paper.on_move(&PriceMove::tick("60000".parse().unwrap(), Timestamp::from_millis(1)), &mut steps).unwrap();
    let mut recorder = Recorder::new(AccountId::from_u128(1), BotId::from_u128(1), &definition);
    recorder.change(&paper, steps, BotStatus::Running).bot.unwrap().state.unwrap()
});

async fn fill(url: &str) {
    let books = sqlx::SqlitePool::connect(url).await.unwrap();
    let account = AccountId::from_u128(1).to_string();
    sqlx::query("INSERT INTO accounts (id, name, created_at) VALUES (?, 'bench', 0)")
        .bind(&account)
        .execute(&books)
        .await
        .unwrap();
    for bot in 0..WRITERS {
        sqlx::query(
            "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
             VALUES (?, ?, 'binance', 'BTC/USDT', 'dca', TRUE, '{}', 'stopped', 0)",
        )
        .bind(BotId::from_u128(bot).to_string())
        .bind(&account)
        .execute(&books)
        .await
        .unwrap();
    }
}
