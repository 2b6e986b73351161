//! From a frame in memory through the real actors to what a bot decided, handed to the ledger's queue.
//!
//! Promise: at most five times the floor, and 3 µs in the median.
//! Floor: the same frame decoded, and the strategy called directly, on one thread, in the same run.
//!
//! The clock is read before a frame is decoded, and again in the first turn that whoever reads the socket gets after
//! the bot has handed its change over: like the product's reader it is a task beside the actors. A bot on paper decides
//! again once its last decision is durable, so the next frame comes only then; that time is measured apart.
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
use model::{BotId, Market, Pair, PriceMove, Tick, Timestamp};
use strategies::{BotDefinition, PaperBot};

const FRAMES: i64 = 10_000;
/// As if the market were calm: long enough for the ledger's writer to fall asleep.
const PAUSE: Duration = Duration::from_micros(100);

const BODY: &str = r#"{"name":"bench","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let definition = BotDefinition::parse(&serde_json::from_str(BODY).unwrap()).unwrap();
    let frames: Vec<Vec<u8>> = (0..2 * FRAMES).map(frame).collect();
    let floor = percentiles(&mut directly(&frames, &definition));
    println!("decoded and called directly:     p50 {:?}, p99 {:?}", floor.0, floor.1);
    let mut through = actix_rt::System::new().block_on(through_actors(&frames, &definition));
    for (how, times) in [("one after the other", &mut through.at_once), ("with pauses", &mut through.apart)] {
        let (p50, p99) = percentiles(times);
        let ratio = p50.as_secs_f64() / floor.0.as_secs_f64();
        println!("through the actors, {how:<20} p50 {p50:?}, p99 {p99:?}, {ratio:.1} x the floor");
    }
    println!("one after the other, each on disk before the next: {:?} a frame", through.on_disk);
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
        bounds: model::OrderBounds::default(),
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

/// What was measured.
struct Through {
    at_once: Vec<Duration>,
    apart: Vec<Duration>,
    on_disk: Duration,
}

async fn through_actors(frames: &[Vec<u8>], definition: &BotDefinition) -> Through {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::open(&format!("sqlite://{}", folder.path().join("books.db").display())).await.unwrap();
    let account_id = store.create_account("bench", Timestamp::MIN).await.unwrap().id;
    let (ledger, writer) = Ledger::new(store.clone(), |_| {});
    // The writer has a thread of its own, as in the server.
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(writer).unwrap();
    });
    let id = BotId::new();
    let created = NewBot {
        id,
        account_id,
        definition: definition.clone(),
        capital: model::Quote::ZERO,
        created_at: Timestamp::MIN,
    };
    ledger.commit(Change { created: Some(Box::new(created)), ..Change::default() }).await.unwrap();
    let probe = Probe::start(&[pair()], &market(), &ledger).unwrap();
    let bot = StoredBot {
        id,
        account_id,
        definition: definition.clone(),
        status: BotStatus::Stopped,
        trouble: None,
        state: None,
        capital: model::Quote::ZERO,
        created_at: Timestamp::MIN,
    };
    probe.launch(bot).await.unwrap();
    for _ in 0..8 {
        turn().await;
    }
    let (first, then) = frames.split_at(frames.len() / 2);
    let start = Instant::now();
    let one_by_one = read(probe.clone(), ledger.clone(), first.to_vec(), Duration::ZERO);
    let at_once = actix_rt::spawn(one_by_one).await.unwrap();
    let on_disk = start.elapsed() / u32::try_from(FRAMES).unwrap();
    let apart = actix_rt::spawn(read(probe, ledger, then.to_vec(), PAUSE)).await.unwrap();
    Through { at_once, apart, on_disk }
}

/// How long each frame took, with a pause after each.
async fn read(probe: Probe, ledger: Ledger, frames: Vec<Vec<u8>>, pause: Duration) -> Vec<Duration> {
    let mut reader = Reader::new();
    let mut took = Vec::with_capacity(frames.len());
    for frame in &frames {
        let decided = probe.meters().decisions();
        let before = Instant::now();
        let (symbol, tick) = reader.read(frame);
        assert!(probe.try_hear(vec![StreamEvent::Tick { symbol, tick, sent_at: tick.at }]));
        while probe.meters().decisions() == decided {
            turn().await;
        }
        took.push(before.elapsed());
        // The new watch is set before the next frame comes: the fleet, the bot and the feed have a turn each.
        ledger.flush().await.unwrap();
        for _ in 0..4 {
            turn().await;
        }
        let wait = Instant::now();
        while wait.elapsed() < pause {
            turn().await;
        }
    }
    took
}

/// Lets every task that is ready have its turn.
async fn turn() {
    let mut is_second = false;
    std::future::poll_fn(|task| {
        if std::mem::replace(&mut is_second, true) {
            return std::task::Poll::Ready(());
        }
        task.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    (at(50), at(99))
}
