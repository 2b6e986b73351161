//! From a tick to an order that is durable and handed to its exchange connection, through the real engine on a
//! simulated exchange on this machine.
//!
//! Promise: an order of a bot that acts alone is sent within two commits of its tick in the median. A thousand that act
//! on one tick share their commits, so that the last of them waits for a few and not for a thousand.
//! Floor: one change, one commit, one after the other, on the same disk in the same run.
//!
//! The times are those that each order bears (its receipt). The exchange runs in this process and takes its share of
//! the cores.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use engine::{
    ApiCredential, Change, Engine, EngineConfig, EngineHandle, NewExchange, Secret, Store, TradeFilter,
};
use model::{
    AccountId, BotId, BotTurned, DomainEvent, EventData, EventId, Exchange, Pair, Receipt, Tier, Timestamp,
    TradeStatus,
};
use rust_decimal::Decimal;
use strategies::BotDefinition;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Each with a key of its own: the exchange takes fifty orders of an account in ten seconds.
const ACCOUNTS: usize = 50;
const SINGLE: usize = 400;
const ALONE: Duration = Duration::from_secs(25);

/// Of these accounts so many bots each act at once: with what they buy again, an account has no more orders in ten
/// seconds than those that are not urgent may be.
const CROWD: (usize, usize) = (25, 40);
const BURSTS: usize = 3;

/// Between bursts: two in a minute are what an address may ask for.
const PAUSE: Duration = Duration::from_secs(40);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    // In the target folder: a temporary folder may lie in memory, where a commit costs nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let store = Store::open(&database_url).await.unwrap();
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        accounts.push(store.create_account(&format!("number {number}"), Timestamp::MIN).await.unwrap().id);
    }
    let mut commits = Vec::new();
    for account in accounts.iter().cycle().take(SINGLE) {
        let before = Instant::now();
        store.commit([change(*account)]).await.unwrap();
        commits.push(before.elapsed());
    }
    store.close().await;
    let floor = percentiles(&mut commits);
    println!("one commit:                       p50 {:?}, p99 {:?}", floor.0, floor.1);

    let crowd: Pair = "ALL/USDT".parse().unwrap();
    let mut pairs: Vec<Pair> =
        (0..ACCOUNTS).map(|number| format!("C{number}/USDT").parse().unwrap()).collect();
    pairs.push(crowd.clone());
    let keys = (0..ACCOUNTS)
        .map(|number| venue::Credential { key: format!("key-{number}"), secret: "s".to_owned() });
    let config = venue::Config {
        market: venue::MarketSource::RandomWalk { pairs: pairs.clone() },
        credentials: keys.collect(),
        control: true,
        ..venue::Config::default()
    };
    let venue = venue::start(config).await.unwrap();
    let config = EngineConfig::simulated(database_url, venue.address(), "0.001".parse().unwrap());
    let engine = Engine::start(config).await.unwrap();
    let handle = engine.handle();
    for (number, account) in accounts.iter().enumerate() {
        let credential = ApiCredential {
            api_key: Secret::new(format!("key-{number}")),
            api_secret: Secret::new("s".to_owned()),
        };
        let new = NewExchange { exchange: Exchange::Binance, name: "one".to_owned(), credential };
        handle.create_exchange(*account, new).await.unwrap();
    }
    pairs.pop();
    alone(&handle, &accounts, &pairs, venue.address(), floor.0).await;
    at_once(&handle, accounts.get(..CROWD.0).unwrap(), &crowd, venue.address(), floor.0).await;
    drop(handle);
    engine.stop().await;
    venue.stop().await;
}

/// Every bot has a pair to itself, and one after the other is made to sell; it buys again by itself.
async fn alone(
    handle: &EngineHandle,
    accounts: &[AccountId],
    pairs: &[Pair],
    at: SocketAddr,
    floor: Duration,
) {
    let mut bots = Vec::new();
    for (account, pair) in accounts.iter().zip(pairs) {
        bots.push((*account, start(handle, *account, pair).await));
    }
    let end = Instant::now() + ALONE;
    while Instant::now() < end {
        for pair in pairs {
            if let Some(last) = handle.last_price(pair) {
                trade_at(at, pair, last.decimal() * Decimal::new(125, 2)).await;
            }
            // A move by hand voids what the made-up market would have done next: it has to get on in between.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
    let mut receipts = Vec::new();
    for (account, bot) in bots {
        receipts.extend(receipts_of(handle, account, bot).await);
    }
    println!("{} orders of bots that acted alone:", receipts.len());
    print(&receipts, floor);
}

/// A thousand bots of one pair are made to sell by one tick; they buy again by themselves.
async fn at_once(
    handle: &EngineHandle,
    accounts: &[AccountId],
    pair: &Pair,
    at: SocketAddr,
    floor: Duration,
) {
    for account in accounts {
        for _ in 0..CROWD.1 {
            start(handle, *account, pair).await;
        }
        // As many requests as one address may make.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let bots = CROWD.0 * CROWD.1;
    let mut receipts = Vec::new();
    for _ in 0..BURSTS {
        let end = Instant::now() + PAUSE;
        while count(handle, accounts, pair, TradeStatus::Open).await < bots && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
        let holding = count(handle, accounts, pair, TradeStatus::Open).await;
        let closed = count(handle, accounts, pair, TradeStatus::Closed).await;
        let last = handle.last_price(pair).unwrap();
        let fired = Timestamp::from_millis(now_ms());
        trade_at(at, pair, last.decimal() * Decimal::new(125, 2)).await;
        // Asking meanwhile would be measured as well.
        tokio::time::sleep(PAUSE / 8).await;
        let end = Instant::now() + PAUSE / 2;
        while count(handle, accounts, pair, TradeStatus::Closed).await < closed + holding
            && Instant::now() < end
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for trade in trades(handle, accounts, pair, TradeStatus::Closed).await {
            let exits = trade.orders.iter().filter(|order| order.side == model::Side::Sell);
            let burst = exits.filter_map(|order| order.receipt);
            receipts.extend(burst.filter(|receipt| receipt.ticked_at.is_some_and(|at| at >= fired)));
        }
    }
    println!("{} orders of {bots} bots that acted at once, in {BURSTS} bursts:", receipts.len());
    print(&receipts, floor);
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

async fn trades(
    handle: &EngineHandle,
    accounts: &[AccountId],
    pair: &Pair,
    status: TradeStatus,
) -> Vec<model::Trade> {
    let mut all = Vec::new();
    for account in accounts {
        let mut after = None;
        loop {
            let filter = TradeFilter { status: Some(status), ..TradeFilter::default() };
            let page = handle.trades(*account, filter, 100, after).await.unwrap();
            after = page.rows.last().map(|trade| trade.id);
            all.extend(page.rows.into_iter().filter(|trade| trade.pair == *pair));
            if !page.has_more {
                break;
            }
        }
    }
    all
}

async fn count(handle: &EngineHandle, accounts: &[AccountId], pair: &Pair, status: TradeStatus) -> usize {
    trades(handle, accounts, pair, status).await.len()
}

/// How long it took from the tick until each stage.
fn print(receipts: &[Receipt], floor: Duration) {
    for (what, until) in [
        ("until decided", (|receipt: &Receipt| receipt.decided_at) as fn(&Receipt) -> Option<Timestamp>),
        ("until durable", |receipt| receipt.journaled_at),
        ("until sent", |receipt| receipt.sent_at),
        ("until acknowledged", |receipt| receipt.acknowledged_at),
    ] {
        let mut times: Vec<Duration> =
            receipts.iter().filter_map(|receipt| since_tick(receipt, until)).collect();
        let (p50, p99) = percentiles(&mut times);
        let ratio = p50.as_secs_f64() / floor.as_secs_f64();
        println!("  from the tick {what:<19} p50 {p50:?}, p99 {p99:?}, {ratio:.2} commits");
    }
}

async fn start(handle: &EngineHandle, account: AccountId, pair: &Pair) -> BotId {
    let body = format!(
        r#"{{"name":"bench","exchange":"binance","pair":"{pair}","strategy":"dca","stake_amount":20,"max_open_trades":1,
        "stop_loss":-50,"take_profit":20,"stop_on_venue":false,"dry_run":false}}"#
    );
    let definition = BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap();
    let id = handle.create_bot(account, Tier::Enterprise, definition).await.unwrap().0.bot.id;
    handle.start_bot(account, id).await.unwrap();
    id
}

async fn receipts_of(handle: &EngineHandle, account: AccountId, bot: BotId) -> Vec<Receipt> {
    let closed =
        TradeFilter { bot_id: Some(bot), status: Some(TradeStatus::Closed), ..TradeFilter::default() };
    let trades = handle.trades(account, closed, 100, None).await.unwrap().rows;
    let orders = trades.into_iter().flat_map(|trade| trade.orders);
    orders.filter_map(|order| order.receipt).filter(|receipt| receipt.ticked_at.is_some()).collect()
}

fn since_tick(receipt: &Receipt, until: fn(&Receipt) -> Option<Timestamp>) -> Option<Duration> {
    let took = until(receipt)?.since(receipt.ticked_at?);
    Some(Duration::from_nanos(u64::try_from(took).unwrap_or(0)))
}

/// Somebody trades at about that price.
async fn trade_at(venue: SocketAddr, pair: &Pair, price: Decimal) {
    let symbol = [pair.base(), pair.quote()].concat();
    let body = format!(r#"{{"symbol":"{symbol}","price":"{}"}}"#, price.round_dp(2));
    let request = format!(
        "POST /venue/price HTTP/1.1\r\nHost: {venue}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = tokio::net::TcpStream::connect(venue).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// An event, and nothing else.
fn change(account_id: AccountId) -> Change {
    let told = BotTurned::started(BotId::from_u128(1), "bench", "user");
    let event = DomainEvent {
        id: EventId::new(),
        account_id,
        bot_id: None,
        at: Timestamp::MIN,
        data: EventData::BotStarted(told),
    };
    Change { events: vec![event], ..Change::default() }
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (at(50), at(99))
}
