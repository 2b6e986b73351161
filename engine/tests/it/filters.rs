//! Orders that the exchange would refuse do not leave.

use std::time::Duration;

use venue::{Config, Steps};

use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stop_too_far_away_for_the_exchange_is_refused_before_it_is_asked() {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let rig = Rig::start(venue.address()).await;
    // The exchange takes no price below a fifth of the average.
    rig.run(&BODY.replace("-30", "-85")).await;
    let told = rig.told(WITHIN, trouble("stop_refused")).await;
    let message = told["data"]["message"].as_str().unwrap();
    assert!(message.contains("FILTER: PERCENT_PRICE_BY_SIDE: price"), "{message}");
    let books = rig.books().await;
    let kinds: Vec<&str> =
        books["orders"].as_array().unwrap().iter().map(|order| order["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["MARKET"]);
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn rules_that_have_changed_are_learnt_from_the_first_refusal() {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let address = venue.address();
    let rig = Rig::start(address).await;
    let id = rig.create(BODY).await;
    venue.stop().await;
    // Twice what the bot spends is the least now, and the grid is known from before.
    let steps = Steps { min_notional: "100".parse().unwrap(), ..Steps::default() };
    let venue = rig::venue(address, Config { steps, ..Config::default() }).await;
    rig.handle.start_bot(rig.account, id).await.unwrap();
    let refused = |words: &'static str| {
        move |body: &serde_json::Value| {
            trouble("entry_refused")(body) && body["data"]["message"].as_str().unwrap().contains(words)
        }
    };
    rig.told(WITHIN, refused("Filter failure: NOTIONAL")).await;
    // The bot decides by the new rules from then on.
    rig.told(Duration::from_mins(1), trouble("stake_below_minimum")).await;
    assert!(!rig.events().await.iter().any(|told| event("trade.opened")(&body(told))));
    rig.stop().await;
    venue.stop().await;
}

fn body(event: &engine::StoredEvent) -> serde_json::Value {
    serde_json::from_str(&event.body).unwrap()
}
