//! What bots do while no price is heard.

use std::time::{Duration, Instant};

use engine::Patience;
use rust_decimal::Decimal;
use venue::{Config, Faults, Silence};

use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

/// A tenth of what it is.
const PATIENCE: Patience = Patience {
    stream: Duration::from_millis(1_300),
    look_every: Duration::from_millis(200),
    live: Duration::from_secs(1),
    paper: Duration::from_secs(6),
};

/// How much later than it should something may happen on a busy machine.
const LATE: Duration = Duration::from_secs(3);

/// The price times some hundredths, on the grid.
fn times(price: Decimal, hundredths: i64) -> String {
    (price * Decimal::new(hundredths, 2)).round_dp(2).to_string()
}

async fn entry_price(rig: &Rig) -> Decimal {
    rig.told(WITHIN, event("trade.opened")).await["data"]["price"].to_string().parse().unwrap()
}

#[tokio::test]
async fn a_live_bot_sells_at_its_level_although_its_stream_is_dead() {
    // From its fifth second on the market of the pair goes on, and its stream says nothing.
    let speaks = Duration::from_secs(5);
    let silence = Silence { symbol: "BTCUSDT".to_owned(), after: speaks };
    let faults = Faults { silence: vec![silence], ..Faults::default() };
    let venue = rig::venue(rig::anywhere(), Config { faults, ..Config::default() }).await;
    let began = Instant::now();
    let rig = Rig::start_with(venue.address(), PATIENCE).await;
    rig.run(BODY).await;
    let paper = rig.run(&BODY.replace("\"dry_run\":false", "\"dry_run\":true")).await;
    let price = entry_price(&rig).await;
    rig.told(WITHIN, |body| event("trade.opened")(body) && body["data"]["bot_id"] == paper.to_string()).await;
    assert!(began.elapsed() < speaks, "too slow a machine for this test");
    // The exchange falls silent by the clock, and tells nobody.
    let is_silent = tokio::time::Instant::from_std(began + speaks + Duration::from_millis(500));
    tokio::time::sleep_until(is_silent).await;
    rig.trade_at(&times(price, 125)).await;
    let jumped = Instant::now();
    let closed = rig.told(Duration::from_secs(30), event("trade.closed")).await;
    let took = jumped.elapsed();
    println!("sold {took:?} after the price had jumped past the level, the stream being dead");
    // The silence is noticed with the eighth, then prices come by another way.
    assert!(took < PATIENCE.stream * 9 / 8 + PATIENCE.look_every + LATE, "{took:?}");
    assert_eq!(closed["data"]["exit_reason"], "take_profit");
    // A fill on paper is at a trade that was heard, and none was.
    assert_ne!(closed["data"]["bot_id"], paper.to_string());
    let closed = rig.events().await.iter().filter(|told| told.body.contains("trade.closed")).count();
    assert_eq!(closed, 1);
    assert!(rig.troubles("feed_stale").await.is_empty(), "REST answered");
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn an_exchange_that_is_gone_is_told_of_once_and_its_bots_go_on() {
    let config = || Config { seed: 7, ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config()).await;
    let address = venue.address();
    let rig = Rig::start_with(address, PATIENCE).await;
    let live = rig.run(BODY).await;
    let paper = rig.run(&BODY.replace("\"dry_run\":false", "\"dry_run\":true")).await;
    entry_price(&rig).await;
    venue.stop().await;
    let gone = Instant::now();
    let told = rig.told(WITHIN, trouble("feed_stale")).await;
    println!("told {:?} after the exchange was gone", gone.elapsed());
    assert_eq!(told["data"]["bot_id"], live.to_string());
    assert!((PATIENCE.live..PATIENCE.live + LATE).contains(&gone.elapsed()), "{:?}", gone.elapsed());
    // One on paper is told later.
    rig.told(WITHIN, |body| trouble("feed_stale")(body) && body["data"]["bot_id"] == paper.to_string()).await;
    println!("a bot on paper {:?} after it", gone.elapsed());
    assert!((PATIENCE.paper..PATIENCE.paper + LATE).contains(&gone.elapsed()), "{:?}", gone.elapsed());
    assert_eq!(rig.troubles("feed_stale").await.len(), 2, "each is told once");
    let bot = rig.handle.bot(rig.account, live).await.unwrap();
    assert_eq!(bot.bot.status, engine::BotStatus::Running);
    rig.stop().await;
}
