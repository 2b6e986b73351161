//! What becomes of what a process writes whose store another one took, on both databases.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::{
    BotTurned, DomainEvent, EventData, EventId, Order, OrderStatus, Qty, Quote, Timestamp, Trade, TradeStatus,
};
use rust_decimal::Decimal;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::write::write_counted;
use super::*;
use crate::change::Change;
use crate::record::LateBooking;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A store that this process took, and why it was lost.
struct Taken {
    store: Store,
    lock: StoreLock,
    url: String,
    told: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Taken {
    async fn at(url: String, folder: tempfile::TempDir) -> Self {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let on_loss = {
            let told = told.clone();
            OnLoss::new(move |why| told.lock().unwrap().push(why))
        };
        let (lock, store) = Store::take(&url, on_loss).await.unwrap();
        Self { store, lock, url, told, folder }
    }

    async fn on_postgres() -> Option<Self> {
        let Ok(server) = std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") else {
            println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set");
            return None;
        };
        let name = format!("test_{}", EventId::new());
        let mut owner = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).execute(&mut owner).await.unwrap();
        let glue = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{glue}options=-c%20search_path%3D{name}");
        Some(Self::at(url, tempfile::tempdir().unwrap()).await)
    }

    async fn all() -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("books.db").display());
        let mut all = vec![Self::at(url, folder).await];
        all.extend(Self::on_postgres().await);
        all
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    async fn told_soon(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(why) = self.told().first() {
                return why.clone();
            }
            assert!(Instant::now() < deadline, "nothing is told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        match &self.store {
            Store::Sqlite { readers, .. } => sqlx::query_scalar(sql).fetch_one(readers).await.unwrap(),
            Store::Postgres { readers, .. } => sqlx::query_scalar(sql).fetch_one(readers).await.unwrap(),
        }
    }

    async fn events(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM events").await
    }

    async fn close(self) {
        self.store.close().await;
        self.lock.release().await;
    }
}

/// A batch with one event.
fn batch(account: model::AccountId) -> Batch {
    let told = BotTurned::started(model::BotId::new(), "one", "user");
    let event = DomainEvent {
        id: EventId::new(),
        account_id: account,
        bot_id: None,
        at: NOW,
        data: EventData::BotStarted(told),
    };
    let mut batch = Batch::default();
    batch.add(Change { events: vec![event], ..Change::default() });
    batch
}

#[tokio::test]
async fn a_process_whose_store_was_taken_writes_nothing_more_and_a_command_does() {
    for taken in Taken::all().await {
        let account = taken.store.create_account("one", NOW).await.unwrap().id;
        taken.store.write(batch(account)).await.unwrap();
        taken.store.write(batch(account)).await.unwrap();
        // As another process does that takes it.
        taken.store.run("UPDATE fences SET epoch = epoch + 1, commits = 0").await;
        let is_fenced = |written: Result<(), StoreError>, what: &str| {
            let error = written.unwrap_err();
            assert!(matches!(error, StoreError::Fenced { epoch: 1, now: 2 }), "{what}: {error}");
        };
        let store = &taken.store;
        is_fenced(store.write(batch(account)).await, "the ledger");
        is_fenced(store.commit([Change::default()]).await, "another batch");
        is_fenced(store.create_account("two", NOW).await.map(drop), "a single statement");
        is_fenced(store.note(&Notes::default()).await, "deliveries");
        is_fenced(store.forget_answers(NOW).await, "a sweep");
        is_fenced(store.begin_rotation(2, [0; 32], NOW).await, "the master key");
        assert_eq!((taken.events().await, store.accounts().await.unwrap().len()), (2, 1));
        assert!(taken.told_soon().await.contains("another server has taken the store: its epoch is 2"));
        let command = Store::open(&taken.url).await.unwrap();
        command.create_account("beside", NOW).await.unwrap();
        command.commit([Change::default()]).await.unwrap();
        command.close().await;
        taken.close().await;
    }
}

#[tokio::test]
async fn each_taking_raises_the_epoch_and_counts_anew() {
    for mut taken in Taken::all().await {
        let account = taken.store.create_account("one", NOW).await.unwrap().id;
        for epoch in 1..4 {
            assert_eq!(taken.store.tenure().unwrap().epoch, epoch);
            taken.store.write(batch(account)).await.unwrap();
            assert_eq!(taken.count("SELECT commits FROM fences").await, 1);
            let (url, folder) =
                (taken.url.clone(), std::mem::replace(&mut taken.folder, tempfile::tempdir().unwrap()));
            taken.close().await;
            taken = Taken::at(url, folder).await;
        }
        assert!(taken.told().is_empty());
        taken.close().await;
    }
}

#[tokio::test]
async fn a_store_that_lost_what_was_acknowledged_is_written_no_more() {
    for taken in Taken::all().await {
        let account = taken.store.create_account("one", NOW).await.unwrap().id;
        taken.store.write(batch(account)).await.unwrap();
        taken.store.run("UPDATE fences SET commits = 0").await;
        let error = taken.store.write(batch(account)).await.unwrap_err();
        assert!(matches!(error, StoreError::LostTail { acknowledged: 1, found: 0 }), "{error}");
        assert!(taken.told_soon().await.contains("0 of 1 are there"));
        taken.close().await;
    }
}

#[tokio::test]
async fn nothing_is_written_but_by_a_checked_transaction() {
    for taken in Taken::all().await {
        let sql = "UPDATE fences SET store = 'mine'";
        let error = match &taken.store {
            Store::Sqlite { readers, .. } => sqlx::query(sql).execute(readers).await.unwrap_err(),
            Store::Postgres { readers, .. } => sqlx::query(sql).execute(readers).await.unwrap_err(),
        };
        let told = error.to_string();
        assert!(told.contains("readonly") || told.contains("read-only"), "{told}");
        taken.close().await;
    }
}

#[tokio::test]
async fn a_batch_whose_commit_was_not_heard_of_is_written_once() {
    let Some(taken) = Taken::on_postgres().await else { return };
    let account = taken.store.create_account("one", NOW).await.unwrap().id;
    let Store::Postgres { writer, .. } = &taken.store else { panic!() };
    let first = batch(account);
    write_counted(writer, first.clone(), false).await.unwrap();
    // Its answer is lost: the same again.
    write_counted(writer, first, true).await.unwrap();
    assert_eq!((taken.events().await, taken.count("SELECT commits FROM fences").await), (1, 1));
    assert!(taken.told().is_empty());
    taken.close().await;
}

#[tokio::test]
async fn a_batch_whose_session_is_ended_under_way_is_written_again_once() {
    let Some(taken) = Taken::on_postgres().await else { return };
    let account = taken.store.create_account("one", NOW).await.unwrap().id;
    let mut other = PgConnection::connect(&taken.url).await.unwrap();
    for round in 1..4 {
        sqlx::raw_sql("BEGIN; LOCK TABLE events").execute(&mut other).await.unwrap();
        let writing = tokio::spawn({
            let (store, batch) = (taken.store.clone(), batch(account));
            async move { store.write(batch).await }
        });
        // It waits for the table, counted already.
        let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted
            AND relation = 'events'::regclass";
        while sqlx::query_scalar::<_, i64>(end).fetch_one(&mut other).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!((taken.events().await, taken.count("SELECT commits FROM fences").await), (round, round));
    }
    assert!(taken.told().is_empty());
    taken.close().await;
}

#[tokio::test]
async fn a_process_that_is_paused_in_a_transaction_blocks_no_other_for_long() {
    let Some(taken) = Taken::on_postgres().await else { return };
    let Store::Postgres { writer, .. } = &taken.store else { panic!() };
    let mut paused = writer.begin_batch(false, false).await.unwrap().unwrap();
    let began = Instant::now();
    let mut other = PgConnection::connect(&taken.url).await.unwrap();
    // As a taker does, which has to wait for the row.
    sqlx::query("UPDATE fences SET epoch = epoch + 1, commits = 0").execute(&mut other).await.unwrap();
    let waited = began.elapsed();
    println!("a taker waited {waited:?} for a paused transaction");
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    assert!(sqlx::query("SELECT 1").execute(&mut *paused).await.is_err(), "its session is over");
    drop(paused);
    let settings = "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' '
        || current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('tcp_user_timeout')";
    let Store::Postgres { readers, .. } = &taken.store else { panic!() };
    let settings: String = sqlx::query_scalar(settings).fetch_one(readers).await.unwrap();
    assert_eq!(settings, "1min 5s 2s 5000");
    taken.close().await;
}

#[tokio::test]
async fn a_lost_lock_session_is_replaced_as_long_as_the_epoch_stands() {
    let Some(taken) = Taken::on_postgres().await else { return };
    let mut other = PgConnection::connect(&taken.url).await.unwrap();
    let holders = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
        AND objid::bigint = hashtext(current_schema())::bigint & 4294967295";
    let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND objsubid = 2 AND objid::bigint = hashtext(current_schema())::bigint & 4294967295";
    assert_eq!(sqlx::query_scalar::<_, i64>(end).fetch_one(&mut other).await.unwrap(), 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut was_free = false;
    loop {
        let held: i64 = sqlx::query_scalar(holders).fetch_one(&mut other).await.unwrap();
        was_free |= held == 0;
        if was_free && held == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "the lock is not taken again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(taken.told().is_empty());
    // And another epoch ends it although nothing is written.
    taken.store.run("UPDATE fences SET epoch = epoch + 1").await;
    assert!(taken.told_soon().await.contains("its epoch is 2"));
    taken.close().await;
}

#[tokio::test]
async fn files_that_are_gone_take_nothing_and_are_told_of() {
    for name in ["books.db", "books.db-wal", "books.db.lock"] {
        let taken = Taken::all().await.swap_remove(0);
        let account = taken.store.create_account("one", NOW).await.unwrap().id;
        std::fs::remove_file(taken.folder.path().join(name)).unwrap();
        let error = taken.store.write(batch(account)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Gone(path) if path.ends_with(name)), "{name}: {error}");
        assert!(taken.store.create_account("two", NOW).await.is_err(), "{name}");
        taken.close().await;
        // And without anything being written.
        let taken = Taken::all().await.swap_remove(0);
        std::fs::remove_file(taken.folder.path().join(name)).unwrap();
        let began = Instant::now();
        let why = taken.told_soon().await;
        assert!(why.contains("was deleted or replaced"), "{why}");
        println!("{name}: told after {:?}", began.elapsed());
        taken.close().await;
    }
}

/// A trade with one order, as it is at some point.
fn trade(bot: model::BotId, status: TradeStatus, order: OrderStatus) -> Trade {
    let closed_at = (status == TradeStatus::Closed).then_some(NOW);
    let (qty, quote) = (Qty::new(Decimal::ONE).unwrap(), Quote::new(Decimal::ONE).unwrap());
    let order = Order {
        id: model::OrderId::from_u128(7),
        client_order_id: model::ClientOrderId::from_u128(7),
        side: model::Side::Sell,
        kind: model::OrderType::Market,
        status: order,
        price: "1".parse().unwrap(),
        qty,
        filled_qty: qty,
        created_at: NOW,
        fills: Vec::new(),
        receipt: None,
    };
    Trade {
        id: model::TradeId::from_u128(7),
        bot_id: bot,
        exchange: model::Exchange::Binance,
        pair: "BTC/USDT".parse().unwrap(),
        side: model::Side::Buy,
        status,
        dry_run: false,
        opened_at: NOW,
        closed_at,
        entry_price: Decimal::ONE,
        exit_price: None,
        amount: qty,
        stake: quote,
        fees: quote,
        unvalued_fees: 0,
        profit: closed_at.map(|_| quote),
        profit_pct: None,
        profit_usd: None,
        usd_rate: None,
        exit_reason: None,
        stop_price: None,
        take_profit_price: None,
        fee_rates: None,
        orders: vec![order],
        standing: None,
    }
}

#[tokio::test]
async fn what_has_ended_is_not_opened_again_by_a_late_row() {
    for taken in Taken::all().await {
        let account = taken.store.create_account("one", NOW).await.unwrap().id;
        let bot = model::BotId::from_u128(1);
        taken
            .store
            .run(format!(
                "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
                 VALUES ('{bot}', '{account}', 'binance', 'BTC/USDT', 'dca', FALSE, '{{}}', 'stopped', 0)"
            ))
            .await;
        let book = async |status, order| {
            let late = LateBooking {
                account_id: account,
                trade: trade(bot, status, order),
                before: None,
                dust: None,
            };
            let mut batch = Batch::default();
            batch.add(Change { late: Some(Box::new(late)), ..Change::default() });
            taken.store.write(batch).await.unwrap();
            let found = taken.store.trade(account, model::TradeId::from_u128(7)).await.unwrap().unwrap();
            (found.status, found.closed_at, found.orders[0].status)
        };
        let open = (TradeStatus::Open, None, OrderStatus::Open);
        assert_eq!(book(TradeStatus::Open, OrderStatus::Open).await, open);
        let ended = (TradeStatus::Closed, Some(NOW), OrderStatus::Canceled);
        assert_eq!(book(TradeStatus::Closed, OrderStatus::Canceled).await, ended);
        assert_eq!(book(TradeStatus::Open, OrderStatus::PartiallyFilled).await, ended);
        // What is booked late is.
        let filled = (TradeStatus::Closed, Some(NOW), OrderStatus::Filled);
        assert_eq!(book(TradeStatus::Closed, OrderStatus::Filled).await, filled);
        taken.close().await;
    }
}
