//! What bots do while the account's socket stands and answers nothing.

use std::time::{Duration, Instant};

use engine::Positions;
use rust_decimal::Decimal;

use crate::rig::{BODY, event};
use crate::untold::{resting_stop, stage};

const WITHIN: Duration = Duration::from_secs(20);

/// How soon what is held is to be sold, on a busy machine.
const SOLD_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn what_its_owner_closes_is_sold_although_the_socket_answers_nothing() {
    let (venue, gate, rig, bot) = stage(BODY).await;
    resting_stop(&rig, None).await;
    gate.stick();
    let asked = Instant::now();
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.told(SOLD_WITHIN, event("trade.closed")).await;
    println!("sold {:?} after it was asked for", asked.elapsed());
    gate.open();
    rig.told(WITHIN, event("bot.stopped")).await;
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_price_that_falls_through_the_stop_is_sold_at_although_the_socket_answers_nothing() {
    let (venue, gate, rig, _) = stage(&BODY.replace("-30", "-5")).await;
    let opened = rig.told(WITHIN, event("trade.opened")).await;
    let price: Decimal = opened["data"]["price"].to_string().parse().unwrap();
    resting_stop(&rig, None).await;
    gate.stick();
    rig.trade_at(&(price * Decimal::new(90, 2)).round_dp(2).to_string()).await;
    let fell = Instant::now();
    let closed = rig.told(SOLD_WITHIN, event("trade.closed")).await;
    println!("sold {:?} after the price had fallen", fell.elapsed());
    assert_eq!(closed["data"]["exit_reason"], "stop_loss");
    rig.stop().await;
    venue.stop().await;
}
