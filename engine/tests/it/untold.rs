//! What an owner does by hand at the exchange while the account's stream is down.

use std::time::{Duration, Instant};

use engine::Patience;
use model::BotId;
use rust_decimal::{Decimal, RoundingStrategy};
use venue::{Config, Venue};

use crate::gate::Gate;
use crate::rig::{self, BODY, Rig, event, trouble};

/// How soon an owner is to know.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

const WITHIN: Duration = Duration::from_secs(20);

/// A bot that has bought at an exchange whose account's socket goes through a gate.
pub(crate) async fn stage(body: &str) -> (Venue, Gate, Rig, BotId) {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let gate = Gate::before(venue.address()).await;
    let ws_api_url = format!("ws://{}/ws-api/v3", gate.address());
    let rig =
        Rig::start_as(venue.address(), Patience::default(), |config| config.ws_api_url = ws_api_url).await;
    let bot = rig.run(body).await;
    rig.told(WITHIN, event("trade.opened")).await;
    (venue, gate, rig, bot)
}

/// Waits until the exchange has an open stop other than that one; its client id.
pub(crate) async fn resting_stop(rig: &Rig, other: Option<&str>) -> String {
    let deadline = Instant::now() + WITHIN;
    loop {
        let orders = rig.books().await["orders"].take();
        let is_it = |order: &&serde_json::Value| {
            order["type"] == "STOP_LOSS_LIMIT"
                && order["status"] == "NEW"
                && order["clientOrderId"].as_str() != other
        };
        if let Some(stop) = orders.as_array().unwrap().iter().find(is_it) {
            return stop["clientOrderId"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "no stop rests: {orders:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stop_that_its_owner_cancels_while_the_stream_is_down_is_noticed_and_placed_again() {
    let (venue, gate, rig, _) = stage(BODY).await;
    let stop = resting_stop(&rig, None).await;
    gate.shut();
    // Long enough for the engine to know.
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.cancel_by_hand(&stop).await;
    let canceled = Instant::now();
    rig.told(TOLD_WITHIN, trouble("stop_canceled")).await;
    println!("told {:?} after the stop was cancelled", canceled.elapsed());
    resting_stop(&rig, Some(&stop)).await;
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn coins_that_their_owner_sells_while_the_stream_is_down_are_missed() {
    let (venue, gate, rig, _) =
        stage(&BODY.replace("\"stop_loss\"", "\"stop_on_venue\":false,\"stop_loss\"")).await;
    // By then the account was counted after the buy, and is not again for long.
    tokio::time::sleep(Duration::from_secs(4)).await;
    gate.shut();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let there = rig.books().await["balances"]["BTC"]["free"].as_str().unwrap().to_owned();
    let lots = there.parse::<Decimal>().unwrap().round_dp_with_strategy(5, RoundingStrategy::ToZero);
    rig.sell_by_hand(&lots.to_string()).await;
    let sold = Instant::now();
    rig.told(TOLD_WITHIN, trouble("coins_missing")).await;
    println!("told {:?} after the coins were sold", sold.elapsed());
    rig.stop().await;
    venue.stop().await;
}
