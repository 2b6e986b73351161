//! Coins of a trade that are not on the account any more.

use std::time::Duration;

use engine::Positions;
use venue::Config;

use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

/// How soon an owner is to know.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn coins_sold_while_their_bot_was_stopped_are_missed_once_it_starts_though_others_kept_the_account() {
    let config = Config { balances: vec![("USDT".to_owned(), 10_000.into())], ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    rig.run(&BODY.replace("BTC/USDT", "ETH/USDT")).await;
    rig.told(WITHIN, event("trade.opened")).await;
    let bot = rig.run(BODY).await;
    rig.told(WITHIN, |body| event("trade.opened")(body) && body["data"]["bot_id"] == bot.to_string()).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Hold).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    rig.sell_by_hand("0.0004").await;
    // The account is counted for the other bot's sake because it moved, and then not for long.
    tokio::time::sleep(Duration::from_secs(4)).await;
    rig.handle.start_bot(rig.account, bot).await.unwrap();
    rig.told(TOLD_WITHIN, trouble("coins_missing")).await;
    rig.stop().await;
    venue.stop().await;
}
