//! From a frame in memory through the real actors to what a bot decided, booked and handed to the ledger.
//!
//! Promise: at most five times the floor, and 3 µs in the median.
//! Floor: the same frame decoded, and the strategy called directly, on one thread, in the same run.
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

use connectors::binance::stream::StreamEvent;
use connectors::binance::{Decoder, Frame, Subscriptions, SymbolId};
use engine::probe::Probe;
use engine::{BotStatus, Change, Ledger, NewBot, Store, StoredBot};
use model::{BotDefinition, BotId, Market, Pair, PriceMove, Tick, Timestamp};
use strategies::PaperBot;

const FRAMES: i64 = 40_000;

const BODY: &str = r#"{"name":"bench","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let definition = BotDefinition::parse(&serde_json::from_str(BODY).unwrap()).unwrap();
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(frame).collect();
    let mut floor = directly(&frames, &definition);
    let mut through = actix_rt::System::new().block_on(through_actors(&frames, definition));
    let (floor, through) = (percentiles(&mut floor), percentiles(&mut through));
    println!("decode and call directly:   p50 {:?}, p99 {:?}", floor.0, floor.1);
    println!(
        "through feed and bot:       p50 {:?}, p99 {:?}, booked and handed to the ledger",
        through.0, through.1
    );
    println!("ratio of the medians {:.1}", through.0.as_secs_f64() / floor.0.as_secs_f64());
}

/// Every frame makes the bot act: it buys at 60,000 and takes its profit at 70,000.
fn frame(number: i64) -> Vec<u8> {
    let (price, at) = (60_000 + number % 2 * 10_000, 1_700_000_000_000 + number);
    format!(
        r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{at},"s":"BTCUSDT","t":{number},"p":"{price}.00000000","q":"0.02000000","T":{at},"m":true,"M":true}}}}"#
    )
    .into_bytes()
}

fn market() -> Market {
    Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
    }
}

fn pair() -> Pair {
    "BTC/USDT".parse().unwrap()
}

/// Decodes as the connection does.
struct Reader {
    decoder: Decoder,
    subscriptions: Subscriptions,
}

impl Reader {
    fn new() -> Self {
        let mut subscriptions = Subscriptions::new();
        subscriptions.add(&pair());
        Self { decoder: Decoder::new(), subscriptions }
    }

    fn read(&mut self, frame: &[u8]) -> (SymbolId, Tick) {
        let Ok(Frame::Trade { symbol, tick, .. }) = self.decoder.decode(frame, &self.subscriptions) else {
            panic!("a trade")
        };
        (symbol, tick)
    }
}

fn directly(frames: &[Vec<u8>], definition: &BotDefinition) -> Vec<Duration> {
    let mut reader = Reader::new();
    let mut bot = PaperBot::new(definition, &market()).unwrap();
    let mut steps = Vec::new();
    frames
        .iter()
        .map(|frame| {
            let before = Instant::now();
            let (_, tick) = reader.read(frame);
            bot.on_move(&PriceMove::tick(tick.price, tick.at), &mut steps).unwrap();
            let took = before.elapsed();
            assert!(!steps.is_empty(), "every frame makes it act");
            steps.clear();
            took
        })
        .collect()
}

async fn through_actors(frames: &[Vec<u8>], definition: BotDefinition) -> Vec<Duration> {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::open(&format!("sqlite://{}", folder.path().join("books.db").display())).await.unwrap();
    let account_id = store.create_account("bench", Timestamp::MIN).await.unwrap().id;
    // The writer has a thread of its own, as in the server.
    let (ledger, writer) = Ledger::new(store.clone(), |_| {});
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(writer).unwrap();
    });
    let id = BotId::new();
    let created = NewBot { id, account_id, definition: definition.clone(), created_at: Timestamp::MIN };
    ledger.commit(Change { created: Some(Box::new(created)), ..Change::default() }).await.unwrap();
    let probe = Probe::start(&[pair()], &market(), &ledger).unwrap();
    let bot = StoredBot {
        id,
        account_id,
        definition,
        status: BotStatus::Stopped,
        trouble: None,
        state: None,
        created_at: Timestamp::MIN,
    };
    probe.launch(bot).await.unwrap();
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    let mut reader = Reader::new();
    let mut took = Vec::with_capacity(frames.len());
    for (number, frame) in (1..).zip(frames) {
        let before = Instant::now();
        let (symbol, tick) = reader.read(frame);
        assert!(probe.try_hear(vec![StreamEvent::Tick(symbol, tick)]));
        while probe.meters().decisions() < number {
            tokio::task::yield_now().await;
        }
        took.push(before.elapsed());
        // The new watch is set before the next frame comes.
        tokio::task::yield_now().await;
    }
    drop(probe);
    took
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (at(50), at(99))
}
