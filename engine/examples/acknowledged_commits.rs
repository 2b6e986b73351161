//! Commits one change after the other through the real ledger, and notes each in a second file once it is
//! acknowledged. `cargo xtask torture --power-cut` records what it writes and cuts the power at every point of it.
//!
//! `acknowledged_commits FOLDER COMMITS [normal]`; with `normal` SQLite does not wait for the disk, which loses what
//! was acknowledged.
#![allow(clippy::unwrap_used, reason = "an example that may panic")]

use std::io::Write as _;

use engine::{BotChange, BotStatus, Change, Ledger, Store};
use model::{AccountId, BotId, BotTurned, DomainEvent, EventData, EventId, Timestamp};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap();
    let commits: u128 = arguments.next().unwrap().parse().unwrap();
    let url = format!("sqlite://{folder}/books.db");
    let store = Store::open(&url).await.unwrap();
    let (account_id, bot_id) = (AccountId::from_u128(1), BotId::from_u128(1));
    let books = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO accounts (id, name, created_at) VALUES (?, 'one', 0)")
        .bind(account_id.to_string())
        .execute(&books)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
         VALUES (?, ?, 'binance', 'BTC/USDT', 'dca', TRUE, '{}', 'stopped', 0)",
    )
    .bind(bot_id.to_string())
    .bind(account_id.to_string())
    .execute(&books)
    .await
    .unwrap();
    books.close().await;
    if arguments.next().is_some() {
        store.commit_without_sync().await.unwrap();
    }
    let mut acknowledged = std::fs::File::create(format!("{folder}/acknowledged")).unwrap();
    let (ledger, writer) = Ledger::new(store.clone(), |_| {});
    let writer = tokio::spawn(writer);
    for number in 1..=commits {
        let told = BotTurned::started(bot_id, "one", "user");
        let event = DomainEvent {
            id: EventId::from_u128(number),
            account_id,
            bot_id: Some(bot_id),
            at: Timestamp::MIN,
            data: EventData::BotStarted(told),
        };
        let bot =
            BotChange { id: bot_id, account_id, status: BotStatus::Running, trouble: None, state: None };
        ledger.commit(Change { bot: Some(bot), events: vec![event], ..Change::default() }).await.unwrap();
        acknowledged.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    drop(ledger);
    writer.await.unwrap().unwrap();
    store.close().await;
}
