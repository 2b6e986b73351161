//! Clocks that step: the exchange refuses what was stamped by the time of before (-1021).

use std::time::Duration;

use engine::Positions;
use venue::Config;

use crate::exits::{Stage, in_software};
use crate::rig::{BODY, trouble};
use crate::untold::resting_stop;

const WITHIN: Duration = Duration::from_secs(20);

/// How soon after a step all is sold.
const SOLD_WITHIN: Duration = Duration::from_secs(2);

/// The exchange's clock against ours, as after a step of ours by +2 s and −6 s.
const STEPS_MS: [i64; 2] = [-2_000, 6_000];

#[tokio::test]
async fn software_stops_are_sold_after_a_step() {
    for ahead_ms in STEPS_MS {
        let stage = Stage::start(Config::default()).await;
        let bots = stage.bots(&in_software(), 2).await;
        stage.rig.set_venue_clock(ahead_ms).await;
        stage.fall().await;
        stage.sold(&bots, SOLD_WITHIN).await;
        stage.stop().await;
    }
}

#[tokio::test]
async fn resting_stops_are_canceled_and_all_is_sold_after_a_step_over_either_route() {
    for ahead_ms in STEPS_MS {
        for has_rest in [true, false] {
            let stage = Stage::start(Config::default()).await;
            let bots = stage.bots(BODY, 2).await;
            stage.resting_stops(2).await;
            stage.rig.set_venue_clock(ahead_ms).await;
            if has_rest {
                stage.socket.shut();
            } else {
                stage.rest.shut();
            }
            for bot in &bots {
                stage.rig.handle.stop_bot(stage.rig.account, *bot, Positions::Close).await.unwrap();
            }
            stage.sold(&bots, SOLD_WITHIN).await;
            stage.stop().await;
        }
    }
}

/// What rests is looked up, asked for and placed again over one route after a step, and the stream subscribed to.
#[tokio::test]
async fn a_stop_that_its_owner_cancels_is_noticed_after_a_step_over_either_route() {
    for ahead_ms in STEPS_MS {
        for has_rest in [true, false] {
            let stage = Stage::start(Config::default()).await;
            stage.bots(BODY, 1).await;
            let stop = resting_stop(&stage.rig, None).await;
            stage.socket.shut();
            stage.rig.set_venue_clock(ahead_ms).await;
            stage.rig.cancel_by_hand(&stop).await;
            if !has_rest {
                stage.rest.shut();
                stage.socket.open();
            }
            stage.rig.told(WITHIN, trouble("stop_canceled")).await;
            resting_stop(&stage.rig, Some(&stop)).await;
            stage.stop().await;
        }
    }
}
