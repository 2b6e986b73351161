//! Executions while an account's stream was down, of orders that nobody asks for any more.

use std::time::{Duration, Instant};

use engine::{Patience, Positions, TradeFilter};
use model::{Side, TradeStatus};
use venue::{Config, Faults, Venue};

use crate::gate::Gate;
use crate::late::{booked, check_books, forgotten, only};
use crate::rig::{self, BODY, Rig, event, trouble};

/// A socket that found the gate shut a few times takes its time to try again.
const WITHIN: Duration = Duration::from_mins(1);

/// An exchange whose accounts' sockets can be cut off, and an engine on it to which an order is absent that no query has
/// known for a second.
async fn stage(faults: Faults) -> (Venue, Gate, Rig) {
    let venue = rig::venue(rig::anywhere(), Config { faults, ..Config::default() }).await;
    let gate = Gate::before(venue.address()).await;
    let ws_api_url = format!("ws://{}/ws-api/v3", gate.address());
    let rig = Rig::start_as(venue.address(), Patience::default(), |config| {
        config.ws_api_url = ws_api_url;
        config.absent_after = Duration::from_secs(1);
    });
    (venue, gate, rig.await)
}

/// Waits until the exchange has executed something that all its queries show.
async fn executed(rig: &Rig, hide: Duration) {
    let deadline = Instant::now() + WITHIN;
    while rig.books().await["fills"].as_array().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nothing was executed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(hide).await;
}

#[tokio::test]
async fn what_the_exchange_executed_of_an_order_that_counted_as_absent_is_booked_once_its_stream_is_back() {
    let hide = Duration::from_secs(5);
    let (venue, gate, rig) = stage(Faults { lose_ack_rate: 1.0, hide, ..Faults::default() }).await;
    gate.shut();
    let bot = rig.run(BODY).await;
    executed(&rig, Duration::ZERO).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Hold).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    executed(&rig, hide).await;
    let trades = || rig.handle.trades(rig.account, TradeFilter::default(), 10, None);
    assert_eq!(trades().await.unwrap().rows, [], "it counts as absent");
    gate.open();
    rig.told(WITHIN, trouble("fill_after_close")).await;
    let deadline = Instant::now() + WITHIN;
    while check_books(&rig, 0).await.is_err() {
        assert!(Instant::now() < deadline, "{:#?}", trades().await.unwrap().rows);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn what_filled_of_a_closed_trade_while_the_stream_was_down_is_booked_and_the_owners_own_is_not() {
    let (venue, gate, rig) = stage(Faults::default()).await;
    let bot = rig.run(BODY).await;
    rig.told(WITHIN, event("trade.opened")).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    let closed = only(&rig, TradeStatus::Closed).await;
    gate.shut();
    let late = forgotten(&rig, &closed, Side::Buy, "0.001").await;
    rig.sell_by_hand("0.002").await;
    gate.open();
    booked(&rig, closed.id, late, WITHIN).await;
    check_books(&rig, 1).await.unwrap();
    assert_eq!(rig.troubles("fill_after_close").await.len(), 1);
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn what_filled_before_the_engine_ended_and_was_not_told_is_the_bots_to_sell_after_the_start() {
    let (venue, gate, rig) = stage(Faults::default()).await;
    let bot = rig.run(BODY).await;
    rig.told(WITHIN, event("trade.opened")).await;
    let open = only(&rig, TradeStatus::Open).await;
    gate.shut();
    let late = forgotten(&rig, &open, Side::Buy, "0.001").await;
    let rig = rig.restart().await;
    gate.open();
    booked(&rig, open.id, late, WITHIN).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    check_books(&rig, 0).await.unwrap();
    rig.stop().await;
    venue.stop().await;
}
