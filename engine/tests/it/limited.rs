//! What is told of orders that wait because the exchange has asked to be left alone.

use std::time::Duration;

use rust_decimal::Decimal;
use venue::{Config, Faults};

use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

const BAN: Duration = Duration::from_secs(8);

#[tokio::test]
async fn an_owner_is_told_that_a_sale_waits_for_the_end_of_a_ban_and_it_leaves_with_another_stamp() {
    let faults = Faults { ban_after: Some(200), ban: BAN, ..Faults::default() };
    let venue = rig::venue(rig::anywhere(), Config { faults, ..Config::default() }).await;
    let rig = Rig::start(venue.address()).await;
    rig.run(&BODY.replace("\"stop_loss\":-30", "\"stop_on_venue\":false,\"stop_loss\":-5")).await;
    let opened = rig.told(WITHIN, event("trade.opened")).await;
    let price: Decimal = opened["data"]["price"].to_string().parse().unwrap();
    rig.get_banned().await;
    rig.trade_at(&(price * Decimal::new(90, 2)).round_dp(2).to_string()).await;
    let told = rig.told(BAN / 2, trouble("venue_limits")).await;
    let message = told["data"]["message"].as_str().unwrap();
    assert!(message.contains("left alone until 20"), "{message}");
    rig.told(WITHIN, event("trade.closed")).await;
    let told = rig.troubles("venue_limits").await;
    let is_over: Vec<bool> = told.iter().map(|body| body["data"]["resolved"] == true).collect();
    assert_eq!(is_over, [false, true]);
    // The venue would have refused the time that the sale was journaled with first.
    let books = sqlx::SqlitePool::connect(&rig.database_url()).await.unwrap();
    let sql = "SELECT stamped_at - decided_at FROM intents WHERE role = 'exit'";
    let waited_ns: i64 = sqlx::query_scalar(sql).fetch_one(&books).await.unwrap();
    assert!(waited_ns > 5_000_000_000, "stamped anew after {waited_ns} ns");
    rig.stop().await;
    venue.stop().await;
}
