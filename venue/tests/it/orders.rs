//! Signed orders, and the books that they move.

use rust_decimal::Decimal;
use serde_json::Value;
use venue::{Config, Faults};

use crate::client::{amount, ask, config, hear_account, held, signed};

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
        (format!("{limit}&quantity=0.000001&price=50000"), -1013, "LOT_SIZE"),
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
