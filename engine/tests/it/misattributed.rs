//! Answers of the exchange that are about another order than the one that was asked for.

use std::time::{Duration, Instant};

use engine::{Patience, Positions, TradeFilter};
use model::{OrderStatus, TradeStatus};
use serde_json::{Value, json};
use venue::{Config, Speed};

use crate::gate::Gate;
use crate::rig::{self, BODY, Rig, event};
use crate::untold::resting_stop;

const WITHIN: Duration = Duration::from_secs(20);

/// Buys, guards and sells while every answer to `call` is about another order, over the socket or by REST.
async fn trade(call: &str, is_by_rest: bool) {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let gate = Gate::before(venue.address()).await;
    let ws_api_url = format!("ws://{}/ws-api/v3", gate.address());
    let rig =
        Rig::start_as(venue.address(), Patience::default(), |config| config.ws_api_url = ws_api_url).await;
    if is_by_rest {
        gate.shut();
    }
    rig.rules(&json!([{ "call": call }])).await;
    let bot = rig.run(BODY).await;
    let began = Instant::now();
    // Until the bot watches: a price from before that is no tick of its.
    while rig.books().await["orders"].as_array().unwrap().is_empty() {
        assert!(began.elapsed() < WITHIN, "nothing is bought");
        rig.trade_at("60000").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let bought = Instant::now();
    if call == "order.status" && is_by_rest {
        // Nothing else tells what became of the order.
        tokio::time::sleep(Duration::from_secs(1)).await;
    } else {
        rig.told(WITHIN, event("trade.opened")).await;
        println!("{call}: known to be bought after {:?}", bought.elapsed());
        // What has not left yet is taken back without asking the exchange.
        resting_stop(&rig, None).await;
        rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
        if call != "order.place" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    assert!(rig.rules(&json!([])).await[0] > 0 || call == "order.status", "no answer was wrong");
    if call == "order.status" && is_by_rest {
        rig.told(WITHIN, event("trade.opened")).await;
        rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    }
    rig.told(WITHIN, event("bot.stopped")).await;
    let trades = rig.handle.trades(rig.account, TradeFilter::default(), 10, None).await.unwrap().rows;
    let [trade] = &trades[..] else { panic!("{trades:#?}") };
    assert_eq!(trade.status, TradeStatus::Closed);
    let filled = trade.orders.iter().filter(|order| !order.fills.is_empty());
    assert!(filled.clone().all(|order| order.status == OrderStatus::Filled), "{trade:#?}");
    assert_eq!(filled.count(), 2);
    // What the exchange did, and nothing else.
    let executed = rig.books().await["fills"].as_array().unwrap().len();
    assert_eq!(trade.orders.iter().map(|order| order.fills.len()).sum::<usize>(), executed);
    let told: Vec<Value> = rig.troubles("fill_late").await;
    assert!(told.is_empty(), "{told:#?}");
    gate.open();
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn an_order_whose_answer_is_about_another_is_asked_for() {
    trade("order.place", false).await;
    trade("order.place", true).await;
}

#[tokio::test]
async fn a_cancel_whose_answer_is_about_another_order_is_asked_for() {
    trade("order.cancel", false).await;
    trade("order.cancel", true).await;
}

#[tokio::test]
async fn what_is_said_of_another_order_answers_no_question() {
    trade("order.status", true).await;
}
