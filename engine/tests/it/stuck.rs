//! What bots do while the account's socket stands and answers nothing.

use std::time::{Duration, Instant};

use engine::{Patience, Positions};
use rust_decimal::Decimal;
use venue::{Config, Venue};

use crate::gate::Gate;
use crate::rig::{self, BODY, Rig, event};
use crate::untold::resting_stop;

const WITHIN: Duration = Duration::from_secs(20);

/// How soon what is held is to be sold, on a busy machine.
const SOLD_WITHIN: Duration = Duration::from_secs(5);

/// A bot whose stop rests at an exchange that does not answer over its socket any more; the price that it bought at.
async fn stage() -> (Venue, Gate, Rig, model::BotId, Decimal) {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let gate = Gate::before(venue.address()).await;
    let ws_api_url = format!("ws://{}/ws-api/v3", gate.address());
    let rig =
        Rig::start_as(venue.address(), Patience::default(), |config| config.ws_api_url = ws_api_url).await;
    let bot = rig.run(&BODY.replace("-30", "-5")).await;
    let opened = rig.told(WITHIN, event("trade.opened")).await;
    resting_stop(&rig, None).await;
    gate.stick();
    (venue, gate, rig, bot, opened["data"]["price"].to_string().parse().unwrap())
}

#[tokio::test]
async fn what_its_owner_closes_is_sold_although_the_socket_answers_nothing() {
    let (venue, gate, rig, bot, _) = stage().await;
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
    let (venue, _gate, rig, _, price) = stage().await;
    rig.trade_at(&(price * Decimal::new(90, 2)).round_dp(2).to_string()).await;
    let fell = Instant::now();
    let closed = rig.told(SOLD_WITHIN, event("trade.closed")).await;
    println!("sold {:?} after the price had fallen", fell.elapsed());
    assert_eq!(closed["data"]["exit_reason"], "stop_loss");
    rig.stop().await;
    venue.stop().await;
}
