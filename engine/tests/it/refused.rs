//! What the exchange refuses again and again: how often it is tried, and what owners are told.

use std::time::{Duration, Instant};

use engine::Positions;
use serde_json::{Value, json};
use venue::{Config, Speed, Venue};

use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

/// As many stops as the exchange takes of one pair.
const BOTS: usize = 5;

/// An exchange whose market moves by hand only, and bots that have bought on it at 60,000.
async fn stage(body: &str) -> (Venue, Rig) {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    let mut bots = Vec::new();
    for _ in 0..BOTS {
        bots.push(rig.run(body).await);
    }
    // Until every bot watches and has bought.
    let deadline = Instant::now() + WITHIN;
    while count(&rig, event("trade.opened")).await < BOTS {
        assert!(Instant::now() < deadline, "not all of them have bought");
        rig.trade_at("60000").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (venue, rig)
}

async fn count(rig: &Rig, is_wanted: impl Fn(&Value) -> bool) -> usize {
    let bodies = rig.events().await.into_iter();
    bodies.filter(|event| is_wanted(&serde_json::from_str(&event.body).unwrap())).count()
}

async fn until_closed(rig: &Rig, within: Duration) -> Duration {
    let began = Instant::now();
    while count(rig, event("trade.closed")).await < BOTS {
        assert!(began.elapsed() < within, "not all of them are sold after {within:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

/// The bot of each trouble of a code and whether it is over.
async fn troubles(rig: &Rig, code: &str) -> (usize, usize) {
    let over = |wanted: bool| move |body: &Value| trouble(code)(body) && body["data"]["resolved"] == wanted;
    (count(rig, over(false)).await, count(rig, over(true)).await)
}

#[tokio::test]
async fn a_sale_that_is_refused_is_tried_again_though_nobody_trades_and_its_owner_is_told_once() {
    let (venue, rig) =
        stage(&BODY.replace("\"stop_loss\":-30", "\"stop_on_venue\":false,\"stop_loss\":-5")).await;
    let closed = json!([{"call": "order.place", "side": "SELL", "code": -1013, "msg": "Market is closed."}]);
    rig.rules(&closed).await;
    rig.trade_at("56000").await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    // At once, after one second, two and four more.
    let tries = rig.rules(&json!([])).await[0];
    println!("{tries} sales of {BOTS} bots were refused in 8 s");
    assert!((3 * BOTS as u64..=5 * BOTS as u64).contains(&tries), "{tries}");
    assert_eq!(troubles(&rig, "exit_refused").await, (BOTS, 0));
    let took = until_closed(&rig, Duration::from_secs(8)).await;
    println!("all are sold {took:?} after the market opened");
    assert_eq!(troubles(&rig, "exit_refused").await, (BOTS, BOTS));
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_stop_that_is_refused_is_tried_ever_more_rarely_and_its_owner_is_told_once() {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    let refused = json!([{"call": "order.place", "type": "STOP_LOSS_LIMIT", "code": -2010,
        "msg": "This action is disabled on this account."}]);
    rig.rules(&refused).await;
    rig.run(BODY).await;
    rig.trade_at("60000").await;
    rig.told(WITHIN, trouble("stop_refused")).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(7) {
        // Ticks change nothing about it.
        rig.trade_at("60000").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // At once, after two seconds and four more.
    let tries = rig.hits().await;
    assert_eq!(tries, 3);
    assert_eq!(troubles(&rig, "stop_refused").await, (1, 0));
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_cancel_that_finds_nothing_of_an_order_that_rests_is_not_repeated_in_haste() {
    let (venue, rig) = stage(BODY).await;
    let deadline = Instant::now() + WITHIN;
    while resting(&rig).await < BOTS {
        assert!(Instant::now() < deadline, "not every stop rests");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.rules(&json!([{"call": "order.cancel", "code": -2011, "msg": "Unknown order sent."}])).await;
    let ids: Vec<_> =
        rig.handle.trades(rig.account, engine::TradeFilter::default(), 100, None).await.unwrap().rows;
    for trade in &ids {
        rig.handle.stop_bot(rig.account, trade.bot_id, Positions::Close).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let cancels = rig.rules(&json!([])).await[0];
    println!("{cancels} cancels of {BOTS} orders found nothing in 6 s");
    assert!(cancels >= 2 * BOTS as u64 && cancels <= 6 * BOTS as u64, "{cancels}");
    let took = until_closed(&rig, Duration::from_secs(6)).await;
    println!("all are sold {took:?} after cancels were carried out again");
    rig.stop().await;
    venue.stop().await;
}

/// How many stops rest at the exchange.
async fn resting(rig: &Rig) -> usize {
    let orders = rig.books().await["orders"].take();
    let is_resting = |order: &&Value| order["type"] == "STOP_LOSS_LIMIT" && order["status"] == "NEW";
    orders.as_array().unwrap().iter().filter(is_resting).count()
}
