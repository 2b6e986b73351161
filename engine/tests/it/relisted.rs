//! A venue that changes a pair's rules, or does not trade it for a while, under running bots.

use std::time::{Duration, Instant};

use engine::BotStatus;
use serde_json::json;
use venue::{Config, Speed, Venue};

use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(30);

/// An exchange whose market moves by hand only.
async fn stage() -> (Venue, Rig) {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    (venue, rig)
}

#[tokio::test]
async fn a_position_whose_lot_became_coarser_is_sold_but_for_its_dust() {
    let (venue, rig) = stage().await;
    rig.run(&BODY.replace("\"stake_amount\":50", "\"stake_amount\":140").replace("-30", "-5")).await;
    while rig.books().await["orders"].as_array().unwrap().len() < 2 {
        rig.trade_at("60000").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // 0.00234 less the fee is held; the stop of all of it is refused from here on, and so is its sale.
    rig.market(&json!({"lot_step": "0.001"})).await;
    rig.cancel_stop().await;
    let deadline = Instant::now() + WITHIN;
    loop {
        rig.trade_at("56000").await;
        if rig.events().await.iter().any(|told| told.body.contains("trade.closed")) {
            break;
        }
        assert!(Instant::now() < deadline, "{:#?}", rig.events().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let sold = rig.books().await["fills"].as_array().unwrap().last().unwrap()["qty"].clone();
    assert_eq!(sold.as_str().unwrap().trim_end_matches('0'), "0.002");
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_bot_whose_pair_is_not_traded_at_a_start_waits_is_told_of_once_and_goes_on() {
    let (venue, rig) = stage().await;
    let bot = rig.run(BODY).await;
    rig.told(WITHIN, event("bot.started")).await;
    rig.market(&json!({"status": "BREAK"})).await;
    let rig = rig.restart().await;
    let told = rig.told(WITHIN, trouble("pair_suspended")).await;
    assert!(told["data"]["message"].as_str().unwrap().contains("BREAK"), "{told}");
    let rig = rig.restart().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.troubles("pair_suspended").await.len(), 1);
    rig.market(&json!({"status": "TRADING"})).await;
    let deadline = Instant::now() + WITHIN;
    while rig.handle.bot(rig.account, bot).await.unwrap().bot.status != BotStatus::Running {
        assert!(Instant::now() < deadline, "{:#?}", rig.events().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn the_bot_whose_stop_finds_no_room_at_the_exchange_is_warned_of() {
    let (venue, rig) = stage().await;
    let create = async |body: &str| {
        let definition = strategies::BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let made = rig.handle.create_bot(rig.account, model::Tier::Enterprise, definition).await.unwrap();
        made.1.iter().map(|warning| warning.code).collect::<Vec<_>>()
    };
    for _ in 0..5 {
        assert_eq!(create(BODY).await, Vec::<&str>::new());
    }
    assert_eq!(create(BODY).await, ["stop_not_resting"]);
    let unguarded = BODY.replace("\"dry_run\":false", "\"dry_run\":false,\"stop_on_venue\":false");
    assert_eq!(create(&unguarded).await, Vec::<&str>::new());
    rig.stop().await;
    venue.stop().await;
}
