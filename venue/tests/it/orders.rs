//! Signed orders, and the books that they move.

use std::collections::BTreeSet;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::time::Instant;
use venue::{Config, Faults, Speed, Venue};

use crate::Socket;
use crate::client::{amount, ask, config, control, hear_account, held, signed};

#[tokio::test]
async fn a_market_order_fills_and_the_books_add_up() {
    let venue = venue::start(config()).await.unwrap();
    let mut user = hear_account(&venue).await;
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";
    let (status, placed) = ask(&venue, "POST", "/api/v3/order", order).await;
    assert_eq!((status, placed["status"].as_str()), (200, Some("FILLED")), "{placed}");
    let fill = &placed["fills"][0];
    assert_eq!(amount(&fill["commission"]), "0.00001".parse().unwrap(), "0.1 % of what was received");
    let spent = amount(&placed["cummulativeQuoteQty"]);
    assert_eq!(held(&venue, "USDT").await, (Decimal::from(10_000) - spent, Decimal::ZERO));
    assert_eq!(held(&venue, "BTC").await, ("1.00999".parse().unwrap(), Decimal::ZERO));

    let told: Vec<Value> = [user.hear().await.unwrap(), user.hear().await.unwrap()].into();
    let told = told.iter().map(|frame| &frame["event"]["x"]).collect::<Vec<_>>();
    assert_eq!(told, ["NEW", "TRADE"]);
    let (_, trades) = ask(&venue, "GET", "/api/v3/myTrades", "symbol=BTCUSDT").await;
    assert_eq!(trades[0]["id"], fill["tradeId"]);
    venue.stop().await;
}

#[tokio::test]
async fn what_an_order_reserves_comes_back_whole() {
    let venue = venue::start(config()).await.unwrap();
    for order in [
        "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=50000",
        "side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.01&price=70000",
        "side=SELL&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.01&price=49000&stopPrice=50000",
        "side=BUY&type=STOP_LOSS&quantity=0.01&stopPrice=70000",
        "side=BUY&type=LIMIT_MAKER&quantity=0.01&price=50000",
    ] {
        let (status, placed) = ask(&venue, "POST", "/api/v3/order", &format!("symbol=BTCUSDT&{order}")).await;
        assert_eq!(status, 200, "{placed}");
        let asset = if order.contains("BUY") { "USDT" } else { "BTC" };
        assert!(held(&venue, asset).await.1 > Decimal::ZERO);
        let query = format!("symbol=BTCUSDT&orderId={}", placed["orderId"]);
        assert_eq!(ask(&venue, "GET", "/api/v3/order", &query).await.1["status"], "NEW");
        assert_eq!(ask(&venue, "DELETE", "/api/v3/order", &query).await.1["status"], "CANCELED");
        assert_eq!(ask(&venue, "DELETE", "/api/v3/order", &query).await.1["code"], -2011);
        let given = if asset == "USDT" { Decimal::from(10_000) } else { Decimal::ONE };
        assert_eq!(held(&venue, asset).await, (given, Decimal::ZERO), "{order}");
    }
    let ioc = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.01&price=50000";
    assert_eq!(ask(&venue, "POST", "/api/v3/order", ioc).await.1["status"], "EXPIRED");
    assert_eq!(held(&venue, "USDT").await.0, Decimal::from(10_000));
    venue.stop().await;
}

#[tokio::test]
async fn every_refusal_has_the_venues_own_words() {
    let venue = venue::start(config()).await.unwrap();
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC";
    for (order, code, text) in [
        ("symbol=NOPE&side=BUY&type=MARKET&quantity=1".to_owned(), -1121, "Invalid symbol."),
        (format!("{limit}&quantity=0.01&price=50000.001"), -1013, "PRICE_FILTER"),
        (format!("{limit}&quantity=0.01&price=11999"), -1013, "PERCENT_PRICE_BY_SIDE"),
        (format!("{limit}&quantity=0.01&price=300001"), -1013, "PERCENT_PRICE_BY_SIDE"),
        (format!("{limit}&quantity=0.01&price=1000001"), -1013, "PRICE_FILTER"),
        (format!("{limit}&quantity=0.000001&price=50000"), -1013, "LOT_SIZE"),
        (format!("{limit}&quantity=9000001&price=50000"), -1013, "LOT_SIZE"),
        (format!("{limit}&quantity=200&price=50000"), -1013, "NOTIONAL"),
        (format!("{limit}&quantity=0.01&price=50000&newOrderRespType=MOST"), -1136, "newOrderRespType"),
        ("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=100001".to_owned(), -1013, "MARKET_LOT_SIZE"),
        ("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.00001".to_owned(), -1013, "NOTIONAL"),
        ("symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=4".to_owned(), -1013, "NOTIONAL"),
        (format!("{limit}&quantity=0.00001&price=50000"), -1013, "NOTIONAL"),
        (format!("{limit}&quantity=1e-2&price=50000"), -1100, "Illegal characters"),
        (format!("{limit}&quantity=0.0100000001&price=50000"), -1111, "precision"),
        (format!("{limit}&quantity=100&price=50000"), -2010, "insufficient balance"),
        (format!("{limit}&price=50000"), -1102, "'quantity'"),
        (
            "symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&quantity=0.01&price=70000".to_owned(),
            -2010,
            "match and take",
        ),
        ("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&price=1".to_owned(), -1106, "'price'"),
    ] {
        let (status, refused) = ask(&venue, "POST", "/api/v3/order", &order).await;
        assert_eq!((status, refused["code"].as_i64()), (400, Some(code)), "{order}: {refused}");
        assert!(refused["msg"].as_str().unwrap().contains(text), "{refused}");
    }
    assert_eq!(signed(&venue, "GET", "/api/v3/account", "", "other").await.1["code"], -1022);
    assert_eq!(ask(&venue, "GET", "/api/v3/order", "symbol=BTCUSDT&orderId=99").await.1["code"], -2013);
    assert_eq!(held(&venue, "USDT").await, (Decimal::from(10_000), Decimal::ZERO));
    venue.stop().await;
}

#[tokio::test]
async fn faults_are_as_often_as_asked() {
    let faults = Faults { reject_rate: 1.0, ..Faults::default() };
    let venue = venue::start(Config { faults, ..config() }).await.unwrap();
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";
    assert_eq!(ask(&venue, "POST", "/api/v3/order", order).await.1["code"], -2010);
    assert_eq!(held(&venue, "USDT").await.0, Decimal::from(10_000));
    venue.stop().await;
}

async fn status(venue: &Venue, id: &str) -> Value {
    let query = format!("symbol=BTCUSDT&origClientOrderId={id}");
    ask(venue, "GET", "/api/v3/order", &query).await.1["status"].clone()
}

async fn move_to(venue: &Venue, price: &str) {
    assert_eq!(control(venue, "price", json!({"symbol": "BTCUSDT", "price": price})).await.0, 200);
}

#[tokio::test]
async fn a_stop_limit_waits_for_its_trigger_and_then_for_its_price() {
    let venue = venue::start(Config { control: true, ..config() }).await.unwrap();
    let stop = |stop: &str, price: &str, id: &str| {
        format!(
            "symbol=BTCUSDT&side=SELL&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.1&price={price}&stopPrice={stop}&newClientOrderId={id}"
        )
    };
    let (code, refused) = ask(&venue, "POST", "/api/v3/order", &stop("61000", "60900", "above")).await;
    assert_eq!((code, refused["code"].as_i64()), (400, Some(-2010)));
    assert_eq!(refused["msg"], "Stop price would trigger immediately.");
    let mut user = hear_account(&venue).await;
    assert_eq!(ask(&venue, "POST", "/api/v3/order", &stop("55000", "54900", "stop")).await.0, 200);
    let told = user.hear().await.unwrap()["event"].clone();
    assert_eq!((told["x"].as_str(), told["w"].as_bool()), (Some("NEW"), Some(false)));
    move_to(&venue, "55000.01").await;
    let query = "symbol=BTCUSDT&origClientOrderId=stop";
    assert_eq!(ask(&venue, "GET", "/api/v3/order", query).await.1["isWorking"], false);
    // The price falls through both: the trigger is pulled, and nobody pays the limit.
    move_to(&venue, "54000").await;
    let (_, waiting) = ask(&venue, "GET", "/api/v3/order", query).await;
    assert_eq!((waiting["status"].as_str(), waiting["isWorking"].as_bool()), (Some("NEW"), Some(true)));
    move_to(&venue, "54900.01").await;
    let (_, filled) = ask(&venue, "GET", "/api/v3/order", query).await;
    assert_eq!(
        (filled["status"].as_str(), amount(&filled["cummulativeQuoteQty"])),
        (Some("FILLED"), 5_490.into())
    );
    venue.stop().await;
}

#[tokio::test]
async fn a_brief_order_fills_at_once_or_not_at_all() {
    let venue = venue::start(config()).await.unwrap();
    for (time, price, status, executed) in [
        ("IOC", "70000", "FILLED", "0.01"),
        ("IOC", "50000", "EXPIRED", "0"),
        ("FOK", "70000", "FILLED", "0.01"),
        ("FOK", "50000", "EXPIRED", "0"),
    ] {
        let order =
            format!("symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce={time}&quantity=0.01&price={price}");
        let (_, placed) = ask(&venue, "POST", "/api/v3/order", &order).await;
        assert_eq!(placed["status"], status, "{order}");
        assert_eq!(amount(&placed["executedQty"]), executed.parse().unwrap(), "{order}");
    }
    assert_eq!(held(&venue, "USDT").await.1, Decimal::ZERO);
    venue.stop().await;
}

#[tokio::test]
async fn a_client_id_is_taken_while_its_order_is_open_and_free_again_after() {
    let venue = venue::start(Config { control: true, ..config() }).await.unwrap();
    let limit =
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=50000&newClientOrderId=mine";
    let (_, first) = ask(&venue, "POST", "/api/v3/order", limit).await;
    let (code, refused) = ask(&venue, "POST", "/api/v3/order", limit).await;
    assert_eq!((code, refused["code"].as_i64()), (400, Some(-2010)));
    assert_eq!(refused["msg"], "Duplicate order sent.");
    move_to(&venue, "49999").await;
    assert_eq!(status(&venue, "mine").await, "FILLED");
    move_to(&venue, "60000").await;
    let (code, second) = ask(&venue, "POST", "/api/v3/order", limit).await;
    assert_eq!(code, 200, "a filled order's id makes a second order: {second}");
    assert_ne!(first["orderId"], second["orderId"]);
    assert_eq!(status(&venue, "mine").await, "NEW", "the newest is found");
    venue.stop().await;
}

#[tokio::test]
async fn answers_are_as_late_as_asked() {
    let latency = Duration::from_millis(120);
    let faults = Faults { latency, ..Faults::default() };
    let venue = venue::start(Config { faults, ..config() }).await.unwrap();
    let begin = Instant::now();
    let (status, _) = ask(&venue, "GET", "/api/v3/account", "").await;
    assert!(status == 200 && begin.elapsed() >= latency);
    let mut socket = Socket::open(&venue, "/ws-api/v3").await;
    let begin = Instant::now();
    socket.say(json!({"id": 1, "method": "ping"}).to_string()).await;
    assert_eq!(socket.hear().await.unwrap()["status"], 200);
    assert!(begin.elapsed() >= latency);
    venue.stop().await;
}

#[tokio::test]
async fn whoever_listens_through_a_drop_learns_the_rest_by_asking() {
    let faults = Faults { drop_connection_every: Some(Duration::from_millis(200)), ..Faults::default() };
    let venue = venue::start(Config { faults, speed: Speed::Times(50.0), ..config() }).await.unwrap();
    let mut stream = Socket::open(&venue, "/ws/btcusdt@trade").await;
    while stream.next().await.is_some() {}
    let mut fills = BTreeSet::new();
    let mut drops = 0;
    let mut placed = 0;
    while drops < 3 {
        let mut user = hear_account(&venue).await;
        loop {
            let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.0002";
            assert_eq!(ask(&venue, "POST", "/api/v3/order", order).await.0, 200, "HTTP goes on");
            placed += 1;
            // NEW, TRADE and the balances.
            let mut frames = 0;
            while frames < 3
                && let Some(frame) = user.next().await
            {
                frames += 1;
                if frame["event"]["x"] == "TRADE" {
                    fills.insert(frame["event"]["t"].as_i64().unwrap());
                }
            }
            if frames < 3 {
                break;
            }
        }
        drops += 1;
    }
    let (_, trades) = ask(&venue, "GET", "/api/v3/myTrades", "symbol=BTCUSDT").await;
    let known: BTreeSet<i64> =
        trades.as_array().unwrap().iter().map(|fill| fill["id"].as_i64().unwrap()).collect();
    assert_eq!(known.len(), placed);
    assert!(fills.is_subset(&known) && fills.len() < placed, "{} heard of {placed}", fills.len());
    venue.stop().await;
}

#[tokio::test]
async fn five_orders_of_a_pair_may_wait_for_a_trigger() {
    let venue = venue::start(config()).await.unwrap();
    let stop = "symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=0.01&stopPrice=50000";
    for _ in 0..5 {
        assert_eq!(ask(&venue, "POST", "/api/v3/order", stop).await.0, 200);
    }
    let (_, refused) = ask(&venue, "POST", "/api/v3/order", stop).await;
    assert_eq!(refused["msg"], "Filter failure: MAX_NUM_ALGO_ORDERS");
    let limit = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.01&price=70000";
    assert_eq!(ask(&venue, "POST", "/api/v3/order", limit).await.0, 200);
    venue.stop().await;
}

#[tokio::test]
async fn stops_without_a_price_fill_at_the_market_they_trigger_in() {
    let venue = venue::start(Config { control: true, ..config() }).await.unwrap();
    let stop = |kind: &str, side: &str, stop: &str, id: &str| {
        format!("symbol=BTCUSDT&side={side}&type={kind}&quantity=0.01&stopPrice={stop}&newClientOrderId={id}")
    };
    for (kind, side, price, id) in [
        ("STOP_LOSS", "SELL", "55000", "loss"),
        ("TAKE_PROFIT", "SELL", "65000", "profit"),
        ("STOP_LOSS", "BUY", "66000", "chase"),
        ("TAKE_PROFIT", "BUY", "54000", "dip"),
    ] {
        let (status, placed) = ask(&venue, "POST", "/api/v3/order", &stop(kind, side, price, id)).await;
        assert_eq!(status, 200, "{placed}");
        assert_eq!(placed.get("status"), None, "a stop is only acknowledged");
    }
    move_to(&venue, "53000").await;
    let worth = |order: &Value| amount(&order["cummulativeQuoteQty"]);
    for (id, filled, paid) in
        [("loss", true, "530"), ("dip", true, "530.0001"), ("profit", false, "0"), ("chase", false, "0")]
    {
        let query = format!("symbol=BTCUSDT&origClientOrderId={id}");
        let (_, order) = ask(&venue, "GET", "/api/v3/order", &query).await;
        assert_eq!(order["status"] == "FILLED", filled, "{order}");
        assert_eq!(worth(&order), paid.parse().unwrap(), "{id}");
    }
    move_to(&venue, "67000").await;
    assert_eq!(status(&venue, "profit").await, "FILLED");
    assert_eq!(status(&venue, "chase").await, "FILLED");
    venue.stop().await;
}

#[tokio::test]
async fn an_answer_has_the_form_that_was_asked() {
    let venue = venue::start(config()).await.unwrap();
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";
    for (form, has_status, has_fills) in
        [("", true, true), ("&newOrderRespType=ACK", false, false), ("&newOrderRespType=RESULT", true, false)]
    {
        let (_, placed) = ask(&venue, "POST", "/api/v3/order", &format!("{market}{form}")).await;
        assert_eq!((placed.get("status").is_some(), placed.get("fills").is_some()), (has_status, has_fills));
    }
    venue.stop().await;
}
