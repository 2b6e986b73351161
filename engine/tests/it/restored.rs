//! A backup that is restored under an exchange that moved on after it was taken.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use engine::{BotStatus, Positions, TradeFilter};
use model::{BotId, ExitReason, Side, Trade, TradeStatus};
use serde_json::Value;
use venue::{Config, Speed, Venue};

use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(40);

/// An exchange whose market moves by hand only.
async fn stage() -> (Venue, Rig) {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    (venue, rig)
}

/// What the exchange has open, by client id.
async fn open(rig: &Rig) -> BTreeSet<String> {
    let books = rig.books().await;
    let orders = books["orders"].as_array().unwrap().iter();
    let open = orders.filter(|order| order["status"] == "NEW");
    open.map(|order| order["clientOrderId"].as_str().unwrap().to_owned()).collect()
}

/// Every execution: of which order at the exchange.
async fn executed(rig: &Rig) -> Vec<String> {
    let books = rig.books().await;
    let orders = books["orders"].as_array().unwrap();
    let name =
        |id: &Value| orders.iter().find(|order| order["orderId"] == *id).unwrap()["clientOrderId"].clone();
    let fills = books["fills"].as_array().unwrap().iter();
    let mut of: Vec<String> = fills.map(|fill| name(&fill["orderId"]).as_str().unwrap().to_owned()).collect();
    of.sort();
    of
}

async fn trades(rig: &Rig) -> Vec<Trade> {
    rig.handle.trades(rig.account, TradeFilter::default(), 100, None).await.unwrap().rows
}

/// The same of the books.
async fn booked(rig: &Rig) -> Vec<String> {
    let trades = trades(rig).await;
    let orders = trades.iter().flat_map(|trade| &trade.orders);
    let mut of: Vec<String> =
        orders.flat_map(|order| order.fills.iter().map(|_| order.client_order_id.to_string())).collect();
    of.sort();
    of
}

/// Moves the market to a price again and again until something is so.
#[track_caller]
fn until<'r>(
    rig: &'r Rig,
    price: &'r str,
    is_so: impl AsyncFn(&Rig) -> bool + 'r,
) -> impl Future<Output = ()> + 'r {
    let at = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + WITHIN;
        while !is_so(rig).await {
            assert!(Instant::now() < deadline, "{at}: {:#?} {:#?}", trades(rig).await, rig.events().await);
            rig.trade_at(price).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn of(rig: &Rig, bot: BotId) -> Vec<Trade> {
    let mut trades: Vec<Trade> = trades(rig).await.into_iter().filter(|trade| trade.bot_id == bot).collect();
    trades.reverse();
    trades
}

fn entries(trade: &Trade) -> usize {
    trade.orders.iter().filter(|order| order.side == Side::Buy && !order.fills.is_empty()).count()
}

/// A ladder of two.
fn ladder() -> String {
    BODY.replace("\"max_open_trades\":1", "\"max_open_trades\":2,\"dca\":{\"price_deviation\":2}")
}

/// Lets bots trade, takes a copy, lets them trade on, and goes on from the copy.
async fn lose_the_past(is_told: bool) {
    let (venue, rig) = stage().await;
    let averaging = rig.run(&ladder()).await;
    let turning = rig.run(BODY).await;
    let idle = rig.create(BODY).await;
    until(&rig, "60000", async |rig| open(rig).await.len() == 2).await;
    let copy = rig.back_up("copy.db").await;

    // The copy knows nothing of what follows.
    until(&rig, "58500", async |rig| {
        of(rig, averaging).await.first().is_some_and(|trade| entries(trade) == 2)
    })
    .await;
    rig.handle.stop_bot(rig.account, turning, Positions::Close).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    rig.handle.start_bot(rig.account, turning).await.unwrap();
    rig.handle.start_bot(rig.account, idle).await.unwrap();
    let unknown = rig.run(BODY).await;
    until(&rig, "58600", async |rig| open(rig).await.len() == 4).await;
    let before = of(&rig, averaging).await.remove(0);
    let lost = of(&rig, unknown).await.remove(0);
    let theirs = executed(&rig).await;

    let rig = if is_told { rig.restart_on(&copy).await } else { rig.restart_in_place_of(&copy).await };
    let gap = rig.told(WITHIN, trouble("history_gap")).await;
    let message = gap["data"]["message"].as_str().unwrap();
    let order = lost.orders.iter().find(|order| !order.fills.is_empty()).unwrap();
    let bought = format!("bought {} BTC", order.filled_qty);
    assert!(message.contains(&bought) && message.contains(&order.client_order_id.to_string()), "{gap}");
    assert!(gap["data"]["bot_id"].is_null(), "{gap}");
    let expected: Vec<String> =
        theirs.into_iter().filter(|id| *id != order.client_order_id.to_string()).collect();
    until(&rig, "58600", async |rig| booked(rig).await == expected && open(rig).await.len() == 2).await;

    let averaged = of(&rig, averaging).await;
    assert_eq!((averaged.len(), entries(&averaged[0])), (1, 2));
    assert_eq!(
        (averaged[0].id, averaged[0].stake, averaged[0].amount),
        (before.id, before.stake, before.amount)
    );
    let turned = of(&rig, turning).await;
    let status: Vec<_> = turned.iter().map(|trade| (trade.status, trade.exit_reason)).collect();
    assert_eq!(status, [(TradeStatus::Closed, Some(ExitReason::Manual)), (TradeStatus::Open, None)]);
    let held = of(&rig, idle).await;
    assert_eq!((held.len(), held[0].status), (1, TradeStatus::Open));
    for (bot, status) in
        [(averaging, BotStatus::Running), (turning, BotStatus::Running), (idle, BotStatus::Stopped)]
    {
        assert_eq!(rig.handle.bot(rig.account, bot).await.unwrap().bot.status, status);
    }
    // What rests is theirs, and they sell what they hold.
    let known: BTreeSet<String> = trades(&rig)
        .await
        .iter()
        .flat_map(|trade| &trade.orders)
        .map(|order| order.client_order_id.to_string())
        .collect();
    assert!(open(&rig).await.is_subset(&known));
    for bot in [averaging, turning, idle] {
        rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    }
    until(&rig, "58600", async |rig| {
        trades(rig).await.iter().all(|trade| trade.status == TradeStatus::Closed)
            && open(rig).await.is_empty()
    })
    .await;

    // The next start asks for nothing of it again.
    let rig = rig.restart().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(rig.troubles("history_gap").await.len(), 1);
    assert_eq!(rig.troubles("history_restored").await.len(), 3);
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_backup_that_is_restored_learns_from_the_exchange_what_its_bots_did_since() {
    lose_the_past(true).await;
}

#[tokio::test]
async fn a_file_that_was_put_back_without_a_word_does_so_too() {
    lose_the_past(false).await;
}
