//! Words that reach a bot just as it comes to its end by itself.

use std::time::{Duration, Instant};

use engine::{BotStatus, Positions, TradeFilter};
use model::{BotId, Side, Trade};
use venue::{Config, Speed, Venue};

use crate::rig::{self, BODY, Rig, event};

/// How long a tick may take to do what a bot waits for.
const WITHIN: Duration = Duration::from_secs(30);

/// How often a word is tried to come at that moment: nearly every one of them does.
const ROUNDS: usize = 30;

/// An exchange where somebody trades all the time.
async fn quick_venue() -> Venue {
    rig::venue(rig::anywhere(), Config { speed: Speed::Times(20.0), ..Config::default() }).await
}

/// What a bot holds, once it does.
async fn held(rig: &Rig, bot: BotId) -> Trade {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(trade) = rig.handle.bot(rig.account, bot).await.unwrap().open_trade {
            return trade;
        }
        assert!(Instant::now() < deadline, "nothing was bought");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_stopped(rig: &Rig, bot: BotId) {
    let deadline = Instant::now() + WITHIN;
    while rig.handle.bot(rig.account, bot).await.unwrap().bot.status != BotStatus::Stopped {
        assert!(Instant::now() < deadline, "it does not stop");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_bot_that_is_told_to_close_again_and_again_sells_once() {
    let venue = quick_venue().await;
    let rig = Rig::start(venue.address()).await;
    let bot = rig.create(&BODY.replace(r#""dry_run":false"#, r#""dry_run":true"#)).await;
    for _ in 0..ROUNDS {
        rig.handle.start_bot(rig.account, bot).await.unwrap();
        held(&rig, bot).await;
        let deadline = Instant::now() + WITHIN;
        let again = || rig.handle.stop_bot(rig.account, bot, Positions::Close);
        while again().await.unwrap().bot.status != BotStatus::Stopped {
            assert!(Instant::now() < deadline, "it does not stop");
        }
    }
    let trades = rig.handle.trades(rig.account, TradeFilter::default(), 100, None).await.unwrap().rows;
    assert_eq!(trades.len(), ROUNDS);
    for trade in trades {
        let sells = trade.orders.iter().filter(|order| order.side == Side::Sell).count();
        assert_eq!(sells, 1, "{trade:#?}");
    }
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_bot_that_is_started_as_it_comes_to_its_end_runs() {
    let venue = quick_venue().await;
    let rig = Rig::start(venue.address()).await;
    let bot = rig.create(&BODY.replace(r#""dry_run":false"#, r#""dry_run":true"#)).await;
    for _ in 0..ROUNDS {
        rig.handle.start_bot(rig.account, bot).await.unwrap();
        held(&rig, bot).await;
        rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
        let started = rig.handle.start_bot(rig.account, bot).await.unwrap();
        assert_eq!(started.bot.status, BotStatus::Running);
    }
    let last = held(&rig, bot).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    until_stopped(&rig, bot).await;
    let closed = rig.events().await;
    let closed = closed.iter().map(|event| serde_json::from_str::<serde_json::Value>(&event.body).unwrap());
    let of_last =
        closed.filter(event("trade.closed")).filter(|body| body["data"]["trade_id"] == last.id.to_string());
    assert_eq!(of_last.count(), 1);
    rig.stop().await;
    venue.stop().await;
}
