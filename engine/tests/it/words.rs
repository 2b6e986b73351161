//! What an owner says of a running bot, and thinks better of.

use std::time::Duration;

use connectors::binance::trade::{Credential, OrderRequest, RequestKind, TradeRest};
use engine::{EngineError, Positions, Redefinition};
use model::{BotId, ClientOrderId, ExitReason, Qty, Side, Timestamp, TradeStatus};
use serde_json::Value;
use strategies::BotDefinition;
use venue::{Config, Faults};

use crate::late::only;
use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

/// The type and status of every order at the exchange, oldest first.
async fn orders(rig: &Rig) -> Vec<String> {
    let books = rig.books().await;
    let line =
        |order: &Value| format!("{} {}", order["type"].as_str().unwrap(), order["status"].as_str().unwrap());
    books["orders"].as_array().unwrap().iter().map(line).collect()
}

/// The owner changes a bot's rules to these.
async fn redefine(rig: &Rig, bot: BotId, body: &str) {
    let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
    let changed = rig
        .handle
        .redefine_bot::<EngineError>(rig.account, bot, Redefinition::default(), |_| Ok(definition))
        .await;
    changed.unwrap();
}

/// Waits until the exchange's orders are these.
#[track_caller]
fn have(rig: &Rig, wanted: &[&str]) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        let deadline = std::time::Instant::now() + WITHIN;
        loop {
            let orders = orders(rig).await;
            if orders == wanted {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{at}: {orders:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_is_to_be_closed_and_then_held_is_held() {
    let faults = Faults { latency: Duration::from_millis(400), ..Faults::default() };
    let venue = rig::venue(rig::anywhere(), Config { faults, ..Config::default() }).await;
    let rig = Rig::start(venue.address()).await;
    let bot = rig.run(BODY).await;
    have(&rig, &["MARKET FILLED", "STOP_LOSS_LIMIT NEW"]).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.handle.stop_bot(rig.account, bot, Positions::Hold).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    assert_eq!(orders(&rig).await, ["MARKET FILLED", "STOP_LOSS_LIMIT CANCELED"]);
    only(&rig, TradeStatus::Open).await;
    // What was to be sold before is not sold now that it starts.
    rig.handle.start_bot(rig.account, bot).await.unwrap();
    have(&rig, &["MARKET FILLED", "STOP_LOSS_LIMIT CANCELED", "STOP_LOSS_LIMIT NEW"]).await;
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_sale_that_cannot_reach_the_exchange_is_dropped_when_it_is_to_hold() {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let rig = Rig::start(venue.address()).await;
    let bot = rig.run(&BODY.replace("\"dry_run\"", "\"stop_on_venue\":false,\"dry_run\"")).await;
    rig.told(WITHIN, event("trade.opened")).await;
    venue.stop().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Hold).await.unwrap();
    rig.told(Duration::from_secs(5), event("bot.stopped")).await;
    only(&rig, TradeStatus::Open).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_stop_at_the_exchange_follows_the_rules_of_a_running_bot() {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    let bot = rig.run(&BODY.replace("-30", "-5")).await;
    let (bought, rests, taken) = ("MARKET FILLED", "STOP_LOSS_LIMIT NEW", "STOP_LOSS_LIMIT CANCELED");
    have(&rig, &[bought, rests]).await;
    redefine(&rig, bot, &BODY.replace("-30", "-20")).await;
    have(&rig, &[bought, taken, rests]).await;
    redefine(&rig, bot, &BODY.replace("-30", "-4")).await;
    have(&rig, &[bought, taken, taken, rests]).await;
    let unguarded = BODY.replace("\"dry_run\"", "\"stop_on_venue\":false,\"dry_run\"");
    redefine(&rig, bot, &unguarded).await;
    have(&rig, &[bought, taken, taken, taken]).await;
    redefine(&rig, bot, &BODY.replace("-30", "-20")).await;
    have(&rig, &[bought, taken, taken, taken, rests]).await;
    // Where the first two stood the price may go now; where the last one does it ends.
    rig.trade_at("57000").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    only(&rig, TradeStatus::Open).await;
    rig.trade_at("47900").await;
    rig.told(WITHIN, event("trade.stoploss")).await;
    rig.told(WITHIN, event("trade.closed")).await;
    assert_eq!(only(&rig, TradeStatus::Closed).await.exit_reason, Some(ExitReason::StopLoss));
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn a_sale_that_waits_for_its_stop_to_be_taken_back_tells_of_the_tick_that_decided_it() {
    let latency = Duration::from_millis(200);
    let faults = Faults { latency, ..Faults::default() };
    let venue = rig::venue(rig::anywhere(), Config { faults, ..Config::default() }).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    rig.run(&BODY.replace(r#""take_profit":20"#, r#""take_profit":2"#)).await;
    have(&rig, &["MARKET FILLED", "STOP_LOSS_LIMIT NEW"]).await;
    rig.trade_at("62000").await;
    rig.told(WITHIN, event("trade.closed")).await;
    let closed = only(&rig, TradeStatus::Closed).await;
    let receipt = closed.orders.last().unwrap().receipt.unwrap();
    let (ticked_at, decided_at) = (receipt.ticked_at.unwrap(), receipt.decided_at.unwrap());
    assert!(ticked_at <= decided_at, "{receipt:?}");
    let waited = u128::try_from(receipt.sent_at.unwrap().since(decided_at)).unwrap();
    assert!(
        waited >= latency.as_nanos(),
        "the cancel took as long as the exchange took to answer: {receipt:?}"
    );
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn coins_that_their_owner_had_locked_are_sold_as_soon_as_they_are_free() {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    rig.run(&BODY.replace("\"dry_run\"", "\"stop_on_venue\":false,\"dry_run\"")).await;
    rig.told(WITHIN, event("trade.opened")).await;
    // All that is free is the bot's.
    let credential = Credential::new("the-key", "the-secret").unwrap();
    let rest = TradeRest::new(&format!("http://{}", venue.address()), &credential).unwrap();
    let account = rest.account(now()).await.unwrap();
    let free = account.balances.iter().find(|balance| balance.asset == "BTC").unwrap().free;
    let pair: model::Pair = "BTC/USDT".parse().unwrap();
    let (stop, price) = ("30000".parse().unwrap(), "29000".parse().unwrap());
    let own = OrderRequest {
        pair: pair.clone(),
        client_order_id: ClientOrderId::new(),
        side: Side::Sell,
        qty: Qty::new(free.trunc_with_scale(5)).unwrap(),
        kind: RequestKind::StopLossLimit { stop, price },
    };
    rest.place(&own.body(), now()).await.unwrap();
    rig.trade_at("41000").await;
    rig.told(WITHIN, trouble("exit_refused")).await;
    // Refused after one and two seconds more, it waits for four.
    tokio::time::sleep(Duration::from_millis(3_800)).await;
    rest.cancel(&pair, own.client_order_id, now()).await.unwrap();
    rig.told(Duration::from_millis(1_500), event("trade.closed")).await;
    let told = rig.troubles("exit_refused").await;
    let is_over: Vec<bool> = told.iter().map(|body| body["data"]["resolved"] == true).collect();
    assert_eq!(is_over, [false, true]);
    rig.stop().await;
    venue.stop().await;
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap())
}
