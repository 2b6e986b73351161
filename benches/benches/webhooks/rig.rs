//! The engine on a disk, an account of it, its endpoints, and events as its bots commit them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{Change, Engine, EngineConfig, EngineHandle, Ledger, NewWebhook, Store, probe};
use model::{
    AccountId, BotId, DomainEvent, EventData, EventId, PlanLimits, Plans, Side, Timestamp, TradeId,
    TradeOpened, WebhookId,
};
use sqlx::SqlitePool;
use tempfile::TempDir;

use super::receiver::Receiver;

/// Whose events they are.
const BOTS: u128 = 100;

/// How many deliveries may be under way, so that it goes on as long as the slowest part of it does.
const AHEAD: usize = 4_000;

/// How long the last may take.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Rig {
    pub(crate) receiver: Receiver,
    pub(crate) account: AccountId,
    engine: Engine,
    venue: venue::Venue,
    handle: EngineHandle,
    ledger: Ledger,
    books: SqlitePool,
    _folder: TempDir,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        // In the target folder: a temporary folder may lie in memory, where a commit costs nothing.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("books.db");
        let database_url = format!("sqlite://{}", file.display());
        let store = Store::open(&database_url).await.unwrap();
        let account = store.create_account("bench", Timestamp::MIN).await.unwrap().id;
        store.close().await;
        let venue = venue::start(venue::Config::default()).await.unwrap();
        let unbounded = PlanLimits { requests_per_minute: 10_000_000, bots: None, webhooks: 1_000 };
        let fee = "0.001".parse().unwrap();
        let config = EngineConfig {
            plans: Plans { standard: unbounded, pro: unbounded, enterprise: unbounded },
            ..EngineConfig::simulated(database_url.clone(), venue.address(), fee)
        };
        let engine = Engine::start(config).await.unwrap();
        let handle = engine.handle();
        let ledger = probe::ledger(&handle);
        let books = SqlitePool::connect(&database_url).await.unwrap();
        let receiver = Receiver::start();
        Self { receiver, account, engine, venue, handle, ledger, books, _folder: folder }
    }

    pub(crate) async fn stop(self) {
        let Self { engine, venue, handle, ledger, books, .. } = self;
        books.close().await;
        drop((handle, ledger));
        engine.stop().await;
        venue.stop().await;
    }

    /// Endpoints that hear of what happens from now on.
    pub(crate) async fn open(&self, urls: &[String]) -> Vec<WebhookId> {
        let mut hooks = Vec::new();
        for url in urls {
            let new = NewWebhook { url: url.clone(), ..NewWebhook::default() };
            hooks.push(self.handle.create_webhook(self.account, new).await.unwrap().0.id);
        }
        hooks
    }

    pub(crate) async fn close(&self, hooks: Vec<WebhookId>) {
        for hook in hooks {
            self.handle.delete_webhook(self.account, hook).await.unwrap();
        }
    }

    /// Commits events as fast as they are delivered, until what came of the last is written.
    pub(crate) async fn deliver(&self, events: usize, endpoints: usize) {
        let taken = || self.receiver.taken.count.load(Ordering::Relaxed) as usize;
        let (before, end) = (taken(), Instant::now() + PATIENCE);
        for number in 0..events {
            while number * endpoints > taken() - before + AHEAD {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.ledger.record(change(number, self.account)).unwrap();
        }
        while taken() - before < events * endpoints || !self.is_written().await {
            assert!(Instant::now() < end, "{} of {}", taken() - before, events * endpoints);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether every endpoint is past the last event, by the books.
    async fn is_written(&self) -> bool {
        let behind = "SELECT COUNT(*) FROM webhooks WHERE deleted_at IS NULL AND settled < (SELECT MAX(seq) FROM events)";
        sqlx::query_scalar::<_, i64>(behind).fetch_one(&self.books).await.unwrap() == 0
    }

    /// How many deliveries to these endpoints the books have as made, each at the first attempt.
    pub(crate) async fn delivered(&self, hooks: &[WebhookId]) -> usize {
        let mut count = 0_i64;
        for hook in hooks {
            let sql = "SELECT COUNT(*) FROM deliveries WHERE webhook_id = $1 AND status = 'delivered' AND attempts = 1";
            let query = sqlx::query_scalar::<_, i64>(sql).bind(hook.to_string());
            count += query.fetch_one(&self.books).await.unwrap();
        }
        usize::try_from(count).unwrap()
    }

    /// Commits events one by one at a pace; how long it took each from committed to received by each of these.
    pub(crate) async fn pace(&self, every: Duration, length: Duration, of: Range<usize>) -> Vec<Duration> {
        let taken = &self.receiver.taken;
        taken.times.lock().unwrap().clear();
        taken.is_timing.store(true, Ordering::Relaxed);
        let committed = Arc::new(Mutex::new(HashMap::<String, Instant>::new()));
        let mut due = tokio::time::interval(every);
        let end = Instant::now() + length;
        let mut number = 0;
        while Instant::now() < end {
            due.tick().await;
            let change = change(number, self.account);
            let id = change.events.first().unwrap().id.to_string();
            let durable = self.ledger.enqueue(change).unwrap();
            let committed = committed.clone();
            tokio::spawn(async move {
                durable.wait().await.unwrap();
                committed.lock().unwrap().insert(id, Instant::now());
            });
            number += 1;
        }
        let end = Instant::now() + PATIENCE;
        let is_there = |times: &Vec<(usize, Instant)>| {
            times.iter().filter(|(index, _)| of.contains(index)).count() >= of.len()
        };
        while taken.times.lock().unwrap().values().filter(|times| is_there(times)).count() < number {
            assert!(Instant::now() < end, "those that are well have all");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        taken.is_timing.store(false, Ordering::Relaxed);
        let (times, committed) =
            (std::mem::take(&mut *taken.times.lock().unwrap()), committed.lock().unwrap());
        let latencies = times.iter().flat_map(|(id, times)| {
            let committed = committed.get(id).copied().unwrap();
            let of_these = times.iter().filter(|(index, _)| of.contains(index));
            of_these.map(move |(_, at)| at.saturating_duration_since(committed))
        });
        latencies.collect()
    }
}

fn change(number: usize, account: AccountId) -> Change {
    Change { events: vec![event(number, account)], ..Change::default() }
}

/// A bot's trade was opened.
pub(crate) fn event(number: usize, account_id: AccountId) -> DomainEvent {
    let bot_id = BotId::from_u128(1 + number as u128 % BOTS);
    let at = Timestamp::from_millis(1_775_044_800_000 + i64::try_from(number).unwrap());
    let told = TradeOpened {
        bot_id,
        trade_id: TradeId::new(),
        pair: "BTC/USDT".parse().unwrap(),
        side: Side::Buy,
        price: "60123.45".parse().unwrap(),
        amount: "0.00084".parse().unwrap(),
        stake: "50.55420177".parse().unwrap(),
        opened_at: at,
        dry_run: true,
        message: "Bought 0.00084 BTC at 60123.45 USDT, for 50.55420177 USDT with the fee".to_owned(),
    };
    DomainEvent {
        id: EventId::new(),
        account_id,
        bot_id: Some(bot_id),
        at,
        data: EventData::TradeOpened(told),
    }
}
