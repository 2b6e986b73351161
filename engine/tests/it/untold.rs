//! What an owner does by hand at the exchange while the account's stream is down.

use std::time::{Duration, Instant};

use engine::Patience;
use venue::{Config, Venue};

use crate::gate::Gate;
use crate::rig::{self, BODY, Rig, event, trouble};

/// How soon an owner is to know.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

const WITHIN: Duration = Duration::from_secs(20);

/// A bot whose stop rests at an exchange that the account's socket has just lost.
async fn stage(stop_on_venue: bool) -> (Venue, Rig) {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let gate = Gate::before(venue.address()).await;
    let ws_api_url = format!("ws://{}/ws-api/v3", gate.address());
    let rig =
        Rig::start_as(venue.address(), Patience::default(), |config| config.ws_api_url = ws_api_url).await;
    let body = BODY.replace("\"stop_loss\"", &format!("\"stop_on_venue\":{stop_on_venue},\"stop_loss\""));
    rig.run(&body).await;
    rig.told(WITHIN, event("trade.opened")).await;
    if stop_on_venue {
        resting_stop(&rig, None).await;
    }
    gate.shut();
    (venue, rig)
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
    let (venue, rig) = stage(true).await;
    let stop = resting_stop(&rig, None).await;
    // Long enough for the engine to know that it is down, and to have looked once.
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.cancel_by_hand(&stop).await;
    let canceled = Instant::now();
    rig.told(TOLD_WITHIN, trouble("stop_canceled")).await;
    resting_stop(&rig, Some(&stop)).await;
    assert!(canceled.elapsed() < TOLD_WITHIN, "{:?}", canceled.elapsed());
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn coins_that_their_owner_sells_while_the_stream_is_down_are_missed() {
    let (venue, rig) = stage(false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let there = rig.books().await["balances"]["BTC"]["free"].as_str().unwrap().to_owned();
    let there: rust_decimal::Decimal = there.parse().unwrap();
    rig.sell_by_hand(&there.round_dp_with_strategy(5, rust_decimal::RoundingStrategy::ToZero).to_string())
        .await;
    rig.told(TOLD_WITHIN, trouble("coins_missing")).await;
    rig.stop().await;
    venue.stop().await;
}
