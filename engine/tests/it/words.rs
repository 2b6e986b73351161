//! What an owner says of a running bot, and thinks better of.

use std::time::Duration;

use engine::Positions;
use model::TradeStatus;
use serde_json::Value;
use venue::{Config, Faults};

use crate::late::only;
use crate::rig::{self, BODY, Rig, event};

const WITHIN: Duration = Duration::from_secs(20);

/// The type and status of every order at the exchange, oldest first.
async fn orders(rig: &Rig) -> Vec<String> {
    let books = rig.books().await;
    let line =
        |order: &Value| format!("{} {}", order["type"].as_str().unwrap(), order["status"].as_str().unwrap());
    books["orders"].as_array().unwrap().iter().map(line).collect()
}

/// Waits until the exchange's orders are these.
#[track_caller]
fn have(rig: &Rig, wanted: &[&str]) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        let deadline = std::time::Instant::now() + WITHIN;
        loop {
            let orders = orders(rig).await;
            if orders == wanted {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{at}: {orders:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_is_to_be_closed_and_then_held_is_held() {
    let faults = Faults { latency: Duration::from_millis(400), ..Faults::default() };
    let venue = rig::venue(rig::anywhere(), Config { faults, ..Config::default() }).await;
    let rig = Rig::start(venue.address()).await;
    let bot = rig.run(BODY).await;
    have(&rig, &["MARKET FILLED", "STOP_LOSS_LIMIT NEW"]).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.handle.stop_bot(rig.account, bot, Positions::Hold).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    assert_eq!(orders(&rig).await, ["MARKET FILLED", "STOP_LOSS_LIMIT CANCELED"]);
    only(&rig, TradeStatus::Open).await;
    // What was to be sold before is not sold now that it starts.
    rig.handle.start_bot(rig.account, bot).await.unwrap();
    have(&rig, &["MARKET FILLED", "STOP_LOSS_LIMIT CANCELED", "STOP_LOSS_LIMIT NEW"]).await;
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_sale_that_cannot_reach_the_exchange_is_dropped_when_it_is_to_hold() {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let rig = Rig::start(venue.address()).await;
    let bot = rig.run(&BODY.replace("\"dry_run\"", "\"stop_on_venue\":false,\"dry_run\"")).await;
    rig.told(WITHIN, event("trade.opened")).await;
    venue.stop().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Hold).await.unwrap();
    rig.told(Duration::from_secs(5), event("bot.stopped")).await;
    only(&rig, TradeStatus::Open).await;
    rig.stop().await;
}
