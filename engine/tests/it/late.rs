//! Executions of orders that their connection does not know any more.

use std::time::Duration;

use connectors::binance::trade::{Credential, OrderRequest, RequestKind, TradeRest};
use engine::{Patience, Positions};
use model::{ClientOrderId, Qty, Side, Timestamp, Trade, TradeId, TradeStatus};
use rust_decimal::Decimal;
use sqlx::{Connection as _, SqliteConnection};
use venue::{Config, Faults};

use crate::gate::Gate;
use crate::rig::{self, BODY, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

/// An exchange that tells everything twice, and an engine on it.
async fn stage() -> (venue::Venue, Rig) {
    let faults = Faults { duplicate_rate: 1.0, ..Faults::default() };
    let venue = rig::venue(rig::anywhere(), Config { faults, seed: 3, ..Config::default() }).await;
    let rig = Rig::start(venue.address()).await;
    (venue, rig)
}

/// A market order of a trade that stands in the journal, and in nobody's list: as one that was forgotten does.
pub(crate) async fn forgotten(rig: &Rig, trade: &Trade, side: Side, qty: &str) -> ClientOrderId {
    let client_order_id = ClientOrderId::new();
    let qty: Qty = qty.parse().unwrap();
    let order =
        OrderRequest { pair: trade.pair.clone(), client_order_id, side, qty, kind: RequestKind::Market };
    let mut books = SqliteConnection::connect(&rig.database_url()).await.unwrap();
    let insert = sqlx::query(
        "INSERT INTO intents (client_order_id, account_id, exchange_id, bot_id, trade_id, role, pair, body, decided_at)
         SELECT ?, account_id, exchange_id, bot_id, trade_id, 'entry', pair, ?, decided_at FROM intents
         WHERE trade_id = ? LIMIT 1",
    );
    let insert = insert.bind(client_order_id.to_string()).bind(order.body()).bind(trade.id.to_string());
    assert_eq!(insert.execute(&mut books).await.unwrap().rows_affected(), 1);
    books.close().await.unwrap();
    let credential = Credential::new("the-key", "the-secret").unwrap();
    let rest = TradeRest::new(&format!("http://{}", rig.venue()), &credential).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    rest.place(&order.body(), Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap())).await.unwrap();
    client_order_id
}

async fn trade(rig: &Rig, id: TradeId) -> Trade {
    rig.handle.trade(rig.account, id).await.unwrap()
}

/// The only trade of that status.
pub(crate) async fn only(rig: &Rig, status: TradeStatus) -> Trade {
    let filter = engine::TradeFilter { status: Some(status), ..engine::TradeFilter::default() };
    let mut trades = rig.handle.trades(rig.account, filter, 10, None).await.unwrap().rows;
    assert_eq!(trades.len(), 1);
    trades.remove(0)
}

/// Waits until an order of a trade is booked with a fill; the trade then.
pub(crate) async fn booked(rig: &Rig, id: TradeId, order: ClientOrderId, within: Duration) -> Trade {
    let deadline = std::time::Instant::now() + within;
    loop {
        let trade = trade(rig, id).await;
        let is_it = |known: &&model::Order| known.client_order_id == order && !known.fills.is_empty();
        if trade.orders.iter().find(is_it).is_some() {
            return trade;
        }
        assert!(std::time::Instant::now() < deadline, "not booked: {trade:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether all that the exchange executed is in the books, once, but for so many executions of the owner's own.
pub(crate) async fn check_books(rig: &Rig, owners: usize) -> Result<(), String> {
    let at_venue = rig.books().await["fills"].as_array().unwrap().len() - owners;
    let trades = rig.handle.trades(rig.account, engine::TradeFilter::default(), 10, None).await.unwrap().rows;
    let booked: usize = trades.iter().flat_map(|trade| &trade.orders).map(|order| order.fills.len()).sum();
    if booked == at_venue { Ok(()) } else { Err(format!("{booked} booked of {at_venue}")) }
}

/// What closed trades left.
async fn dust(rig: &Rig) -> Decimal {
    let mut books = SqliteConnection::connect(&rig.database_url()).await.unwrap();
    let dust: Option<String> =
        sqlx::query_scalar("SELECT qty FROM dust").fetch_optional(&mut books).await.unwrap();
    books.close().await.unwrap();
    dust.map_or(Decimal::ZERO, |qty| qty.parse().unwrap())
}

/// Down to the lot.
#[track_caller]
fn assert_sold(trade: &Trade) {
    let sells = trade.orders.iter().filter(|order| order.side == Side::Sell);
    let sold: Qty = sells.map(|order| order.filled_qty).sum();
    let left = trade.amount.decimal() - sold.decimal();
    assert!(left < Decimal::new(1, 5) && !left.is_sign_negative(), "{left} is left of {trade:#?}");
}

#[tokio::test]
async fn what_fills_after_its_trade_was_closed_is_booked_on_that_trade_once() {
    let (venue, rig) = stage().await;
    let bot = rig.run(BODY).await;
    rig.told(WITHIN, event("trade.opened")).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    let closed = only(&rig, TradeStatus::Closed).await;
    let left = dust(&rig).await;
    let late = forgotten(&rig, &closed, Side::Buy, "0.001").await;
    let after = booked(&rig, closed.id, late, WITHIN).await;
    assert_eq!(after.orders.len(), closed.orders.len() + 1);
    let order = after.orders.iter().find(|order| order.client_order_id == late).unwrap();
    assert_eq!((order.filled_qty, order.fills.len()), ("0.001".parse().unwrap(), 1));
    assert_eq!(
        (after.status, after.closed_at, after.exit_reason),
        (closed.status, closed.closed_at, closed.exit_reason)
    );
    // What was bought late is left on the account.
    let fill = &order.fills[0];
    assert_eq!(fill.fee_asset, "BTC");
    let got = fill.qty.decimal() - fill.fee.decimal();
    assert_eq!(after.stake.decimal(), closed.stake.decimal() + (fill.price * fill.qty).decimal());
    assert_eq!(after.amount.decimal(), closed.amount.decimal() + got);
    assert_eq!(dust(&rig).await, left + got);
    let mut books = SqliteConnection::connect(&rig.database_url()).await.unwrap();
    let summed: String =
        sqlx::query_scalar("SELECT profit FROM realized").fetch_one(&mut books).await.unwrap();
    assert_eq!(summed.parse::<Decimal>().unwrap(), after.profit.unwrap().decimal());
    books.close().await.unwrap();
    check_books(&rig, 0).await.unwrap();
    assert_eq!(
        rig.troubles("fill_after_close").await.len(),
        1,
        "told once, though the exchange told it twice"
    );
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn what_fills_late_while_its_trade_is_open_is_the_bots_to_sell() {
    let (venue, rig) = stage().await;
    let bot = rig.run(BODY).await;
    rig.told(WITHIN, event("trade.opened")).await;
    let open = only(&rig, TradeStatus::Open).await;
    let late = forgotten(&rig, &open, Side::Buy, "0.001").await;
    let after = booked(&rig, open.id, late, WITHIN).await;
    assert_eq!(after.status, TradeStatus::Open);
    rig.told(WITHIN, trouble("fill_late")).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    let closed = trade(&rig, open.id).await;
    assert_eq!(closed.status, TradeStatus::Closed);
    assert_sold(&closed);
    check_books(&rig, 0).await.unwrap();
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn what_fills_late_while_its_bot_is_stopped_is_known_to_it_once_it_starts() {
    let (venue, rig) = stage().await;
    let bot = rig.run(BODY).await;
    rig.told(WITHIN, event("trade.opened")).await;
    rig.handle.stop_bot(rig.account, bot, Positions::Hold).await.unwrap();
    rig.told(WITHIN, event("bot.stopped")).await;
    let open = only(&rig, TradeStatus::Open).await;
    let late = forgotten(&rig, &open, Side::Buy, "0.001").await;
    booked(&rig, open.id, late, WITHIN).await;
    rig.handle.start_bot(rig.account, bot).await.unwrap();
    rig.handle.stop_bot(rig.account, bot, Positions::Close).await.unwrap();
    rig.told(WITHIN, event("trade.closed")).await;
    let closed = trade(&rig, open.id).await;
    assert_sold(&closed);
    check_books(&rig, 0).await.unwrap();
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test]
async fn what_is_heard_before_its_bot_is_taken_up_again_is_not_late() {
    let venue = rig::venue(rig::anywhere(), Config::default()).await;
    let gate = Gate::before(venue.address()).await;
    let rest_url = format!("http://{}", gate.address());
    let rig = Rig::start_as(venue.address(), Patience::default(), |config| config.rest_url = rest_url).await;
    rig.run(BODY).await;
    rig.told(WITHIN, event("trade.opened")).await;
    let open = only(&rig, TradeStatus::Open).await;
    // The account's stream comes up again, and the bot does not, for want of its pair's rules.
    gate.shut();
    let rig = rig.restart().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let heard = forgotten(&rig, &open, Side::Buy, "0.001").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open();
    booked(&rig, open.id, heard, WITHIN).await;
    // The bot, whose run lacks that order, tells of it; nobody tells that the bot was not there.
    let told = rig.troubles("fill_late").await;
    let messages: Vec<&str> = told.iter().filter_map(|body| body["data"]["message"].as_str()).collect();
    assert!(matches!(&messages[..], [only] if only.contains("than the venue had told")), "{messages:?}");
    check_books(&rig, 0).await.unwrap();
    rig.stop().await;
    venue.stop().await;
}
