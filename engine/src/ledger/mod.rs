//! The only writer: takes what waits, lane by lane and account by account, into one transaction, and acknowledges
//! nothing before it is durable.
//!
//! While one group is on its way to the disk the next one gathers and is put into words, so the cost of a commit is
//! shared by all that arrived during the last one. A failed commit ends the ledger: what it had accepted is not acknowledged, and
//! nothing more is accepted. On PostgreSQL a batch is repeated first until its outcome is known. A store that is locked by
//! somebody else, or whose disk is full, is waited for; new commands are refused meanwhile.

mod lanes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use model::{AccountId, BotId, Mark, Pair};
use tokio::sync::{Notify, oneshot};

use self::lanes::{Lanes, Route};
use crate::change::Change;
use crate::failpoint::{self, Control};
use crate::store::{Batch, News, Store, StoreError};

/// The most changes that one transaction takes. Where a thousand bots order at once, groups of 128 let the first leave
/// sooner (acknowledged after 81 ms in the median, not 124), and the last much later (232 ms, not 161): what the venue
/// answers to the first is then worked on while the rest are written.
const GROUP: usize = 1_024;

/// The most decisions of paper bots among them: an urgent change waits for at most one group that is on its way.
const PAPER_GROUP: usize = 512;

/// How often what waits is made ready while a commit is on its way.
const GATHER_EVERY: Duration = Duration::from_millis(1);

/// Why a change was not made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The store failed, now or earlier; the process must start again and recover.
    #[error("the ledger has stopped because the store failed")]
    Stopped,
    /// The store takes its time: it may become durable yet.
    #[error("the database takes nothing just now; what was asked for may be done once it does")]
    Late,
}

/// How long marks gather where nothing else has to be written: a rising market makes one with almost every tick.
const MARKS_EVERY: Duration = Duration::from_millis(50);

/// The way to the ledger; clones share it.
#[derive(Clone, Debug)]
pub struct Ledger {
    // Before the doorbell: fields drop in this order, and the last ring has to find the queue closed.
    queue: Sender<Entry>,
    doorbell: Doorbell,
    depth: Arc<Depth>,
    marks: Marks,
    observers: Observers,
    stall: Arc<Stall>,
}

/// Whether the store takes nothing at the moment.
#[derive(Debug, Default)]
struct Stall(AtomicBool);

/// How long whoever gave a command waits until what it did is durable.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// How long a commit may take until new commands are refused: somebody has the store locked, or its disk is full.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// Marks that wait for the next group: of each pair those that no later one reaches, oldest first.
type Marks = Arc<Mutex<HashMap<Pair, Vec<Mark>>>>;

/// Receives the paper bots whose decisions have become durable; returns false once it wants no more.
type Observer = Box<dyn Fn(&[BotId]) -> bool + Send>;

/// Everything that observes paper decisions.
#[derive(Clone, Default)]
struct Observers(Arc<Mutex<Vec<Observer>>>);

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observers").finish_non_exhaustive()
    }
}

impl Observers {
    fn notify(&self, durable: &[BotId]) {
        if !durable.is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|observer| observer(durable));
        }
    }
}

/// The number of changes that wait or are being written, by lane.
#[derive(Debug, Default)]
struct Depth {
    urgent: AtomicUsize,
    paper: AtomicUsize,
}

/// Wakes the writer, for the last time when it is dropped.
#[derive(Clone, Debug)]
struct Doorbell(Arc<Notify>);

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// What crosses to the writer.
enum Entry {
    Change(Route, Box<Waiting>),
    /// To be answered once nothing waits.
    Flush(oneshot::Sender<()>),
}

/// A change that waits, and what its durability is reported to.
struct Waiting {
    change: Change,
    done: Done,
}

/// What is notified once a change is durable.
enum Done {
    Nothing,
    Caller(oneshot::Sender<()>),
    PaperBot(BotId),
}

/// A change that is on its way to the disk.
#[derive(Debug)]
pub struct Durable(Option<oneshot::Receiver<()>>);

impl Durable {
    /// Nothing had to be written.
    pub const ALREADY: Self = Self(None);

    /// Waits until it is durable, as long as whoever asked for it may wait.
    ///
    /// # Errors
    /// [`LedgerError::Late`] after [`ANSWER`], and as [`Durable::wait`].
    pub(crate) async fn wait_for_answer(self) -> Result<(), LedgerError> {
        tokio::time::timeout(ANSWER, self.wait()).await.unwrap_or(Err(LedgerError::Late))
    }

    /// Waits until it is durable.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`]; then it is not durable, or was not known to be.
    pub async fn wait(self) -> Result<(), LedgerError> {
        match self.0 {
            Some(durable) => durable.await.map_err(|_| LedgerError::Stopped),
            None => Ok(()),
        }
    }
}

impl Ledger {
    /// A ledger over a store, and its writer: to be awaited on a runtime of its own, it ends with the first error
    /// or, after every clone of the ledger is gone, once everything is written. `committed` hears whom a group tells
    /// of something, once it is durable.
    pub fn new(
        store: Store,
        committed: impl Fn(&News) + Send + 'static,
    ) -> (Self, impl Future<Output = Result<(), StoreError>>) {
        let (queue, entries) = crossbeam_channel::unbounded();
        let doorbell = Arc::new(Notify::new());
        let (depth, marks, observers) = (Arc::default(), Marks::default(), Observers::default());
        let stall = Arc::<Stall>::default();
        let inlet = Inlet { entries, lanes: Lanes::default(), flushes: Vec::new(), marks: marks.clone() };
        let outlet = Outlet { depth: Arc::clone(&depth), observers: observers.clone(), committed };
        let writer = write(store, inlet, doorbell.clone(), outlet, stall.clone());
        (Self { queue, doorbell: Doorbell(doorbell), depth, marks, observers, stall }, writer)
    }

    /// Hands an urgent change over without waiting. It is never dropped while the ledger lives.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`].
    pub fn record(&self, change: Change) -> Result<(), LedgerError> {
        self.push(Route::urgent(&change), change, Done::Nothing)
    }

    /// Hands over what a paper bot decided. It is written after whatever is urgent, each account in turn, and is
    /// reported to [`Ledger::observe_paper`]; until then the bot decides nothing more, which bounds the queue.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`].
    pub(crate) fn decide(&self, account: AccountId, bot: BotId, change: Change) -> Result<(), LedgerError> {
        self.push(Route::Paper { account, bot }, change, Done::PaperBot(bot))
    }

    /// Hands an urgent change over and waits until it is durable.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`]; then it is not durable, or was not known to be.
    pub async fn commit(&self, change: Change) -> Result<(), LedgerError> {
        self.enqueue(change)?.wait().await
    }

    /// Hands an urgent change over; what is returned tells when it is durable.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`].
    pub fn enqueue(&self, change: Change) -> Result<Durable, LedgerError> {
        let route = Route::urgent(&change);
        self.enqueue_on(route, change)
    }

    /// Everything that was handed over of a bot so far; what is returned tells when it is durable.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`].
    pub(crate) fn settle(&self, account: AccountId, bot: BotId) -> Result<Durable, LedgerError> {
        let route = Route::Urgent { account: Some(account), bot: Some(bot) };
        self.enqueue_on(route, Change::default())
    }

    /// Waits until nothing waits to be written: for tests and benchmarks.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`].
    pub async fn flush(&self) -> Result<(), LedgerError> {
        let (done, flushed) = oneshot::channel();
        self.queue.send(Entry::Flush(done)).map_err(|_| LedgerError::Stopped)?;
        self.doorbell.0.notify_one();
        flushed.await.map_err(|_| LedgerError::Stopped)
    }

    /// Calls `observer` from the writer with the paper bots whose decisions have become durable, group by group, until
    /// it returns false.
    pub(crate) fn observe_paper(&self, observer: impl Fn(&[BotId]) -> bool + Send + 'static) {
        self.observers.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(observer));
    }

    /// Notes that a trailing level of a pair slept through a high. It is written with the next change, or soon; a
    /// mark that a later one reaches before that is passed over.
    pub(crate) fn mark(&self, pair: &Pair, mark: Mark) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        match marks.get_mut(pair) {
            Some(waiting) => {
                while waiting.pop_if(|last| last.high <= mark.high).is_some() {}
                waiting.push(mark);
            }
            None => {
                marks.insert(pair.clone(), vec![mark]);
                self.doorbell.0.notify_one();
            }
        }
    }

    /// Whether the store has taken nothing for a while, although something waits.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stall.0.load(Ordering::Relaxed)
    }

    /// The number of changes that wait or are being written.
    pub fn depth(&self) -> usize {
        self.urgent_depth() + self.depth.paper.load(Ordering::Relaxed)
    }

    /// The number of urgent ones among them.
    pub(crate) fn urgent_depth(&self) -> usize {
        self.depth.urgent.load(Ordering::Relaxed)
    }

    fn enqueue_on(&self, route: Route, change: Change) -> Result<Durable, LedgerError> {
        let (done, durable) = oneshot::channel();
        self.push(route, change, Done::Caller(done))?;
        Ok(Durable(Some(durable)))
    }

    fn push(&self, route: Route, change: Change, done: Done) -> Result<(), LedgerError> {
        let waiting = Box::new(Waiting { change, done });
        self.depth.of(&waiting).fetch_add(1, Ordering::Relaxed);
        self.queue.send(Entry::Change(route, waiting)).map_err(|_| LedgerError::Stopped)?;
        self.doorbell.0.notify_one();
        Ok(())
    }
}

impl Depth {
    /// The lane that a change was handed over in.
    fn of(&self, waiting: &Waiting) -> &AtomicUsize {
        match waiting.done {
            Done::PaperBot(_) => &self.paper,
            Done::Nothing | Done::Caller(_) => &self.urgent,
        }
    }
}

async fn write(
    store: Store,
    mut inlet: Inlet,
    doorbell: Arc<Notify>,
    outlet: Outlet<impl Fn(&News) + Send + 'static>,
    stall: Arc<Stall>,
) -> Result<(), StoreError> {
    let mut next = Group::default();
    let mut marks_are_due = false;
    loop {
        next.gather(&mut inlet);
        if next.batch.is_empty() && !next.is_last && !marks_are_due {
            let rung = doorbell.notified();
            if inlet.marks().is_empty() {
                inlet.flushed();
                rung.await;
            } else if !inlet.flushes.is_empty() {
                marks_are_due = true;
            } else {
                marks_are_due = tokio::time::timeout(MARKS_EVERY, rung).await.is_err();
            }
            continue;
        }
        next.batch.mark(std::mem::take(&mut *inlet.marks()));
        marks_are_due = false;
        if next.batch.is_empty() && next.is_last {
            return Ok(());
        }
        let following = next.following();
        let mut group = std::mem::replace(&mut next, following);
        let news = group.batch.take_news();
        if !news.intents.is_empty() {
            if failpoint::control() == Some(Control::SendThenPersist) {
                // As long as an order takes to its venue and back.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            failpoint::pass("committing");
        }
        // In a box: it is large, and every caller that awaits this would hold it.
        let mut written = Box::pin(store.write(std::mem::take(&mut group.batch)));
        let began = Instant::now();
        loop {
            tokio::select! {
                biased;
                written = &mut written => break written?,
                // By the clock: a writer that listened to the doorbell would have to be woken by every bot.
                () = tokio::time::sleep(GATHER_EVERY) => {
                    stall.0.store(began.elapsed() > STALLED_AFTER, Ordering::Relaxed);
                    next.gather(&mut inlet);
                }
            }
        }
        stall.0.store(false, Ordering::Relaxed);
        if !news.intents.is_empty() {
            failpoint::pass("committed");
        }
        outlet.committed(&news, group);
    }
}

/// Where the writer finds what waits.
struct Inlet {
    entries: Receiver<Entry>,
    lanes: Lanes<Box<Waiting>>,
    flushes: Vec<oneshot::Sender<()>>,
    marks: Marks,
}

impl Inlet {
    fn marks(&self) -> MutexGuard<'_, HashMap<Pair, Vec<Mark>>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sorts what has come in into its lanes; whether more can come.
    fn sort(&mut self) -> bool {
        loop {
            match self.entries.try_recv() {
                Ok(Entry::Change(route, waiting)) => self.lanes.push(route, waiting),
                Ok(Entry::Flush(done)) => self.flushes.push(done),
                Err(error) => return !error.is_disconnected(),
            }
        }
    }

    /// Nothing waits.
    fn flushed(&mut self) {
        for done in self.flushes.drain(..) {
            let _ = done.send(());
        }
    }
}

/// What hears of a durable group.
struct Outlet<F> {
    depth: Arc<Depth>,
    observers: Observers,
    committed: F,
}

impl<F: Fn(&News)> Outlet<F> {
    fn committed(&self, news: &News, group: Group) {
        self.depth.urgent.fetch_sub(group.urgent, Ordering::Relaxed);
        self.depth.paper.fetch_sub(group.decided.len(), Ordering::Relaxed);
        news.log();
        (self.committed)(news);
        self.observers.notify(&group.decided);
        for done in group.done {
            // The caller may have gone; the change is durable all the same.
            let _ = done.send(());
        }
    }
}

/// What is written with one commit.
#[derive(Default)]
struct Group {
    batch: Batch,
    /// The number of changes that came as urgent.
    urgent: usize,
    /// The bot of each paper decision.
    decided: Vec<BotId>,
    done: Vec<oneshot::Sender<()>>,
    /// Nothing will come after it.
    is_last: bool,
}

impl Group {
    /// An empty one for what comes after it.
    fn following(&self) -> Self {
        Self { batch: self.batch.next(), ..Self::default() }
    }

    /// Takes what waits, as far as there is room.
    fn gather(&mut self, inlet: &mut Inlet) {
        let is_open = inlet.sort();
        while self.batch.len() < GROUP {
            let Some(next) = inlet.lanes.next_urgent() else { break };
            self.add(*next);
        }
        while self.decided.len() < PAPER_GROUP && self.batch.len() < GROUP {
            let Some(decisions) = inlet.lanes.next_decisions() else { break };
            for decision in decisions {
                self.add(*decision);
            }
        }
        self.is_last = !is_open && inlet.lanes.is_empty();
    }

    fn add(&mut self, next: Waiting) {
        self.batch.add(next.change);
        match next.done {
            Done::PaperBot(bot) => self.decided.push(bot),
            Done::Nothing => self.urgent += 1,
            Done::Caller(done) => {
                self.urgent += 1;
                self.done.push(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use connectors::binance::trade::{OrderRequest, RequestKind};
    use model::{
        AccountId, BotId, BotTurned, ClientOrderId, DomainEvent, EventData, EventId, ExchangeId, Receipt,
        Side, Timestamp, TradeId,
    };
    use sqlx::AssertSqlSafe;
    use strategies::PaperBot;
    use strategies::live::Role;

    use super::*;
    use crate::change::{BotChange, BotStatus};
    use crate::live::Intent;
    use crate::record::Recorder;

    /// A store with nothing in it: a file, or a schema of its own on the server that
    /// `BOTPRIMEX_TEST_POSTGRES_URL` names.
    struct Books {
        store: Store,
        url: String,
        _folder: tempfile::TempDir,
    }

    impl Books {
        async fn all() -> Vec<Self> {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("books.db").display());
            let mut all = vec![Self { store: Store::open(&url).await.unwrap(), url, _folder: folder }];
            match std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") {
                Ok(server) => all.push(Self::on_server(&server).await),
                Err(_) => println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set"),
            }
            all
        }

        async fn on_server(server: &str) -> Self {
            let name = format!("test_{}", EventId::new()).to_lowercase();
            let pool = sqlx::PgPool::connect(server).await.unwrap();
            sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).execute(&pool).await.unwrap();
            let glue = if server.contains('?') { '&' } else { '?' };
            let url = format!("{server}{glue}options=-c%20search_path%3D{name}");
            Self { store: Store::open(&url).await.unwrap(), url, _folder: tempfile::tempdir().unwrap() }
        }

        async fn run(&self, sql: &'static str) {
            self.store.run(sql).await;
        }

        async fn texts(&self, sql: &'static str) -> Vec<String> {
            match Store::open(&self.url).await.unwrap() {
                Store::Sqlite { readers, .. } => sqlx::query_scalar(sql).fetch_all(&readers).await.unwrap(),
                Store::Postgres { readers, .. } => sqlx::query_scalar(sql).fetch_all(&readers).await.unwrap(),
            }
        }

        /// An account and a bot that changes can be about: both of number one.
        async fn with_a_bot(self) -> Self {
            self.run(
                "INSERT INTO accounts (id, name, created_at) VALUES ('acc_00000000000000000000000000000001', 'one', 0)",
            )
            .await;
            self.run(
                "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
                 VALUES ('bot_00000000000000000000000000000001', 'acc_00000000000000000000000000000001', 'binance',
                     'BTC/USDT', 'dca', TRUE, '{}', 'stopped', 0)",
            )
            .await;
            self
        }
    }

    fn recorder() -> (Recorder, PaperBot) {
        let body = r#"{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":2,"stop_loss":-10,"dry_run":true}"#;
        let definition = strategies::BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let market = model::Market {
            tick_size: "0.01".parse().unwrap(),
            lot_step: "0.001".parse().unwrap(),
            min_notional: "5".parse().unwrap(),
            fee: "0.001".parse().unwrap(),
            slippage: "0".parse().unwrap(),
            bounds: model::OrderBounds::default(),
        };
        let recorder = Recorder::new(AccountId::from_u128(1), BotId::from_u128(1), &definition);
        (recorder, PaperBot::new(&definition, &market).unwrap())
    }

    /// A change with one event, and a state or none.
    fn change(number: u128, status: BotStatus, with_state: bool) -> Change {
        let account_id = AccountId::from_u128(1);
        let bot_id = BotId::from_u128(1);
        let told = BotTurned::started(bot_id, "test", "user");
        let event = DomainEvent {
            id: EventId::from_u128(number),
            account_id,
            bot_id: Some(bot_id),
            at: Timestamp::MIN,
            data: EventData::BotStarted(told),
        };
        let bot = if with_state {
            let (mut recorder, paper) = recorder();
            recorder.change(&paper, Vec::new(), status).bot
        } else {
            Some(BotChange { id: bot_id, account_id, status, trouble: None, state: None })
        };
        Change { bot, events: vec![event], ..Change::default() }
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_on_disk_in_order() {
        for books in Books::all().await {
            let books = books.with_a_bot().await;
            let (ledger, writer) = Ledger::new(books.store.clone(), |_| {});
            let writer = tokio::spawn(writer);
            for number in 0..2_500 {
                ledger.record(change(number, BotStatus::Starting, true)).unwrap();
            }
            ledger.commit(change(2_500, BotStatus::Running, false)).await.unwrap();
            let ids = books.texts("SELECT id FROM events ORDER BY seq").await;
            let expected: Vec<String> = (0..=2_500).map(|n| EventId::from_u128(n).to_string()).collect();
            assert_eq!(ids, expected);
            assert_eq!(books.texts("SELECT status FROM bots").await, ["running"]);
            assert_eq!(
                books.texts("SELECT state FROM bots").await,
                [
                    r#"{"trade_id":null,"paper":{"phase":{"Flat":{"not_before":null}},"books":{"entries":[],"exit":null}}}"#
                ],
                "a change without state keeps it"
            );
            drop(ledger);
            writer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn events_ids_sort_as_they_are_told() {
        for books in Books::all().await {
            let books = books.with_a_bot().await;
            let (ledger, writer) = Ledger::new(books.store.clone(), |_| {});
            let (mut recorder, mut paper) = recorder();
            let mut changes = Vec::new();
            for (price, second) in [("100", 1), ("110", 2)] {
                let mut steps = Vec::new();
                let at = Timestamp::from_millis(second * 1_000);
                paper.on_move(&model::PriceMove::tick(price.parse().unwrap(), at), &mut steps).unwrap();
                changes.push(recorder.change(&paper, steps, BotStatus::Stopping));
            }
            // It is noted before the writer puts the trade's end into words.
            changes.push(recorder.turned(&paper, BotStatus::Stopped, "user", Timestamp::from_millis(3_000)));
            for change in changes {
                ledger.record(change).unwrap();
            }
            drop(ledger);
            writer.await.unwrap();
            let told = books.texts("SELECT kind FROM events ORDER BY seq").await;
            assert_eq!(told, ["trade.opened", "trade.closed", "bot.stopped"]);
            assert_eq!(books.texts("SELECT kind FROM events ORDER BY id").await, told);
            let bodies = books.texts("SELECT body FROM events ORDER BY id").await;
            let ids = books.texts("SELECT id FROM events ORDER BY id").await;
            assert!(bodies.iter().zip(&ids).all(|(body, id)| body.contains(id.as_str())), "{bodies:?}");
        }
    }

    /// A change of a bot that orders.
    fn ordering(number: u128) -> Change {
        let request = OrderRequest {
            pair: "BTC/USDT".parse().unwrap(),
            client_order_id: ClientOrderId::from_u128(number),
            side: Side::Sell,
            qty: "0.01".parse().unwrap(),
            kind: RequestKind::Market,
        };
        let intent = Intent {
            exchange_id: ExchangeId::from_u128(1),
            bot_id: BotId::from_u128(1),
            trade_id: TradeId::from_u128(1),
            body: request.body(),
            request,
            role: Role::Exit,
            receipt: Receipt::default(),
            stamped_at: Timestamp::MIN,
            decided: std::time::Instant::now(),
            trigger: None,
        };
        Change { intents: vec![intent], ..change(number, BotStatus::Running, false) }
    }

    #[tokio::test]
    async fn orders_that_come_at_once_leave_in_order_and_once() {
        for books in Books::all().await {
            let books = books.with_a_bot().await;
            let connect = match &books.store {
                Store::Sqlite { .. } => {
                    "INSERT INTO exchange_connections (id, account_id, exchange, name, key_version, data_key, api_key,
                         api_secret, key_hint, key_hash, permissions, ip_bound, created_at)
                     VALUES ('exc_00000000000000000000000000000001', 'acc_00000000000000000000000000000001', 'binance', 'one',
                         1, x'', x'', x'', '', x'', '{}', 0, 0)"
                }
                Store::Postgres { .. } => {
                    "INSERT INTO exchange_connections (id, account_id, exchange, name, key_version, data_key, api_key,
                         api_secret, key_hint, key_hash, permissions, ip_bound, created_at)
                     VALUES ('exc_00000000000000000000000000000001', 'acc_00000000000000000000000000000001', 'binance', 'one',
                         1, '', '', '', '', '', '{}', FALSE, 0)"
                }
            };
            books.run(connect).await;
            let left = Arc::new(Mutex::new(Vec::new()));
            let heard = left.clone();
            let (ledger, writer) = Ledger::new(books.store.clone(), move |news: &News| {
                let ids = news.intents.iter().map(|intent| intent.request.client_order_id.as_u128());
                heard.lock().unwrap().push(ids.collect::<Vec<_>>());
            });
            for number in 0..1_000 {
                ledger.record(ordering(number)).unwrap();
            }
            drop(ledger);
            writer.await.unwrap();
            let left = std::mem::take(&mut *left.lock().unwrap());
            assert_eq!(left.concat(), (0..1_000).collect::<Vec<u128>>());
            assert_eq!(books.texts("SELECT client_order_id FROM intents").await.len(), 1_000);
        }
    }

    #[tokio::test]
    async fn a_ledger_that_is_let_go_writes_what_waits() {
        for books in Books::all().await {
            let books = books.with_a_bot().await;
            let (ledger, writer) = Ledger::new(books.store.clone(), |_| {});
            for number in 0..100 {
                ledger.record(change(number, BotStatus::Running, false)).unwrap();
            }
            assert_eq!(ledger.depth(), 100);
            drop(ledger);
            writer.await.unwrap();
            assert_eq!(books.texts("SELECT id FROM events").await.len(), 100);
        }
    }

    #[tokio::test]
    async fn a_failed_commit_acknowledges_nothing_and_ends_the_ledger() {
        for books in Books::all().await {
            // There is no account and no bot: the event's reference is refused.
            let (ledger, writer) = Ledger::new(books.store.clone(), |_| {});
            let writer = tokio::spawn(writer);
            assert_eq!(ledger.commit(change(1, BotStatus::Running, false)).await, Err(LedgerError::Stopped));
            assert!(writer.await.unwrap().is_err());
            assert_eq!(ledger.record(change(2, BotStatus::Running, false)), Err(LedgerError::Stopped));
            assert!(books.texts("SELECT id FROM events").await.is_empty());
        }
    }

    #[tokio::test]
    async fn a_trade_its_orders_fills_and_events_are_written_together() {
        for books in Books::all().await {
            let books = books.with_a_bot().await;
            let (ledger, writer) = Ledger::new(books.store.clone(), |_| {});
            let writer = tokio::spawn(writer);
            let (mut recorder, mut paper) = recorder();
            for (second, price) in [(1, "100"), (2, "98.09"), (3, "110")] {
                let mut steps = Vec::new();
                let moved =
                    model::PriceMove::tick(price.parse().unwrap(), Timestamp::from_millis(second * 1_000));
                paper.on_move(&moved, &mut steps).unwrap();
                ledger.commit(recorder.change(&paper, steps, BotStatus::Running)).await.unwrap();
            }
            let profit = "SELECT status || ' ' || exit_reason || ' ' || amount || ' ' || profit FROM trades";
            assert_eq!(books.texts(profit).await, ["closed take_profit 1.010 10.86297410"]);
            assert_eq!(books.texts("SELECT side FROM orders ORDER BY id").await, ["buy", "buy", "sell"]);
            assert_eq!(books.texts("SELECT price FROM fills ORDER BY id").await, ["100", "98.09", "110"]);
            let kinds = books.texts("SELECT kind FROM events ORDER BY seq").await;
            assert_eq!(kinds, ["trade.opened", "trade.updated", "trade.closed"]);
            drop(ledger);
            writer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn of_the_marks_those_remain_that_an_open_trade_may_need() {
        let mark = |second: i64, high: &str| Mark {
            at: Timestamp::from_millis(second * 1_000),
            high: high.parse().unwrap(),
        };
        let (pair, other): (Pair, Pair) = ("BTC/USDT".parse().unwrap(), "ETH/USDT".parse().unwrap());
        for books in Books::all().await {
            let books = books.with_a_bot().await;
            let (ledger, writer) = Ledger::new(books.store.clone(), |_| {});
            let writer = tokio::spawn(writer);
            let (mut recorder, mut paper) = recorder();
            let mut steps = Vec::new();
            let moved = model::PriceMove::tick("100".parse().unwrap(), Timestamp::from_millis(2_000));
            paper.on_move(&moved, &mut steps).unwrap();
            ledger.record(recorder.change(&paper, steps, BotStatus::Running)).unwrap();
            ledger.mark(&other, mark(9, "100"));
            // The first is from before the trade; in one group, and group after group.
            for (second, high) in [(1, "300"), (3, "104"), (4, "103"), (5, "104"), (6, "101"), (7, "102")] {
                ledger.mark(&pair, mark(second, high));
                if second > 4 {
                    ledger.commit(Change::default()).await.unwrap();
                }
            }
            let marks = books.store.marks().await.unwrap();
            assert_eq!(marks, HashMap::from([(pair.clone(), vec![mark(5, "104"), mark(7, "102")])]));
            // With nothing else to write it is written soon.
            ledger.mark(&pair, mark(8, "105"));
            let expected = HashMap::from([(pair.clone(), vec![mark(8, "105")])]);
            let written = async {
                while books.store.marks().await.unwrap() != expected {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();
            drop(ledger);
            writer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_writer_on_another_thread_ends_whenever_its_ledger_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open(&format!("sqlite://{}", folder.path().join("books.db").display())).await.unwrap();
        for round in 0..2_000 {
            let (ledger, writer) = Ledger::new(store.clone(), |_| {});
            let (ended, end) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                ended.send(runtime.block_on(writer).is_ok())
            });
            drop(ledger);
            assert_eq!(end.recv_timeout(std::time::Duration::from_secs(10)), Ok(true), "round {round}");
        }
    }
}
