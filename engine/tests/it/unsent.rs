//! Buys that cannot be sent: when they are given up, and what comes of that.

use std::time::{Duration, Instant};

use engine::{BotStatus, Positions, TradeFilter};
use model::{BotId, OrderStatus, Side};
use serde_json::{Value, json};
use venue::{Config, Speed, Venue};

use crate::rig::{self, BODY, Rig, event};

const WITHIN: Duration = Duration::from_secs(20);

/// Long enough for what is wrong to happen.
const A_WHILE: Duration = Duration::from_secs(2);

/// Its safety order is bought at 58,858.80.
fn ladder() -> String {
    let fields = "\"stop_on_venue\":false,\"dca\":{\"price_deviation\":2},\"max_open_trades\":2";
    BODY.replace("\"max_open_trades\":1", fields)
}

/// A bot that has bought at 60,000, on an exchange whose market moves by hand only and which takes no buys just now.
async fn stage() -> (Venue, Rig, BotId) {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    let bot = rig.run(&ladder()).await;
    let deadline = Instant::now() + WITHIN;
    while buys(&rig).await < 1 {
        assert!(Instant::now() < deadline, "nothing is bought");
        rig.trade_at("60000").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.told(WITHIN, event("trade.opened")).await;
    rig.rules(&json!([{"call": "order.place", "side": "BUY", "code": -1003, "msg": "Too many requests."}]))
        .await;
    (venue, rig, bot)
}

/// How often the exchange has bought for us.
async fn buys(rig: &Rig) -> usize {
    let orders = rig.books().await["orders"].take();
    orders.as_array().unwrap().iter().filter(|order| order["side"] == "BUY").count()
}

/// Waits until the exchange was asked for a buy, and did not take it.
async fn asked(rig: &Rig) {
    let deadline = Instant::now() + WITHIN;
    while rig.hits().await == 0 {
        assert!(Instant::now() < deadline, "nobody wants to buy");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the journal has the buy's end; how long that took.
async fn until_given_up(rig: &Rig) -> Duration {
    let began = Instant::now();
    loop {
        let trades = rig.handle.trades(rig.account, TradeFilter::default(), 10, None).await.unwrap().rows;
        let is_given_up = |order: &model::Order| {
            order.side == Side::Buy
                && order.filled_qty.is_zero()
                && matches!(order.status, OrderStatus::Canceled | OrderStatus::Expired)
        };
        if trades.iter().flat_map(|trade| &trade.orders).any(is_given_up) {
            return began.elapsed();
        }
        assert!(began.elapsed() < WITHIN, "it is never given up: {trades:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_buy_whose_trigger_does_not_hold_any_more_is_not_sent_and_its_step_waits_again() {
    let (venue, rig, _) = stage().await;
    rig.trade_at("58800").await;
    asked(&rig).await;
    rig.trade_at("59900").await;
    let took = until_given_up(&rig).await;
    println!("given up {took:?} after the price left its trigger");
    assert!(took < Duration::from_millis(600), "{took:?}");
    rig.rules(&json!([])).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(buys(&rig).await, 1);
    // It waits for its trigger again, and for nothing else.
    rig.trade_at("58858").await;
    let deadline = Instant::now() + A_WHILE;
    while buys(&rig).await < 2 {
        assert!(Instant::now() < deadline, "its step is forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_buy_that_waited_for_a_second_is_decided_anew() {
    let (venue, rig, _) = stage().await;
    rig.trade_at("58800").await;
    asked(&rig).await;
    let took = until_given_up(&rig).await;
    println!("given up after {took:?}");
    assert!((Duration::from_millis(800)..Duration::from_millis(1_600)).contains(&took), "{took:?}");
    rig.rules(&json!([])).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(buys(&rig).await, 1, "nobody has traded since");
    rig.trade_at("58700").await;
    let deadline = Instant::now() + A_WHILE;
    while buys(&rig).await < 2 {
        assert!(Instant::now() < deadline, "its step is forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_buy_that_has_not_left_does_not_leave_after_its_trade_or_its_bot_ended() {
    for positions in [Positions::Close, Positions::Hold] {
        let (venue, rig, bot) = stage().await;
        rig.trade_at("58800").await;
        asked(&rig).await;
        let told = Instant::now();
        rig.handle.stop_bot(rig.account, bot, positions).await.unwrap();
        rig.rules(&json!([])).await;
        let deadline = Instant::now() + WITHIN;
        while rig.handle.bot(rig.account, bot).await.unwrap().bot.status != BotStatus::Stopped {
            assert!(Instant::now() < deadline, "it does not stop");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("{positions:?}: stopped after {:?}", told.elapsed());
        assert!(told.elapsed() < Duration::from_millis(900), "{:?}", told.elapsed());
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(buys(&rig).await, 1, "{positions:?}");
        rig.stop().await;
        venue.stop().await;
    }
}

#[tokio::test]
async fn a_buy_that_waited_when_the_engine_ended_is_not_sent_by_the_next_one() {
    let (venue, rig, _) = stage().await;
    rig.trade_at("58800").await;
    asked(&rig).await;
    let rig = rig.restart().await;
    rig.rules(&json!([])).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(buys(&rig).await, 1);
    let intents: Vec<Value> =
        rig.events().await.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect();
    assert!(!intents.iter().any(|body| body["event"] == "trade.closed"));
    rig.stop().await;
    venue.stop().await;
}
