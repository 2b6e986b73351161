//! What goes wrong, as often and in the way that was asked.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::time::Instant;
use venue::{Config, Faults, FeeAsset, MarketSource, Silence, Speed, Venue};

use crate::Socket;
use crate::client::{
    amount, ask, config, control, hear_account, held, http, ledger, now_ms, sign, signed_params,
};

const BUY: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";

async fn start(faults: Faults) -> Venue {
    venue::start(Config { faults, control: true, ..config() }).await.unwrap()
}

/// Sends an order over HTTP; `None` where the connection is closed without an answer.
async fn place(venue: &Venue, order: &str) -> Option<(u16, Value)> {
    let payload = format!("{order}&timestamp={}", now_ms());
    let url =
        format!("http://{}/api/v3/order?{payload}&signature={}", venue.address(), sign(&payload, "secret"));
    let answer = http().post(url).header("x-mbx-apikey", "key").send().await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.unwrap()))
}

#[tokio::test]
async fn a_lost_acknowledgement_is_lost_in_two_ways_and_the_order_is_there() {
    let venue = start(Faults { lose_ack_rate: 1.0, ..Faults::default() }).await;
    let (mut closed, mut unknown) = (0, 0);
    for number in 0..20 {
        match place(&venue, &format!("{BUY}&newClientOrderId=lost_{number}")).await {
            None => closed += 1,
            Some((status, answer)) => {
                assert_eq!((status, answer["code"].as_i64()), (504, Some(-1007)), "{answer}");
                unknown += 1;
            }
        }
        let query = format!("symbol=BTCUSDT&origClientOrderId=lost_{number}");
        assert_eq!(ask(&venue, "GET", "/api/v3/order", &query).await.1["status"], "FILLED");
    }
    assert!(closed > 3 && unknown > 3, "{closed} closed, {unknown} unknown");
    let (status, refused) = place(&venue, "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=100").await.unwrap();
    assert_eq!((status, refused["code"].as_i64()), (400, Some(-2010)), "a refusal is never lost");
    let books = ledger(&venue).await;
    assert_eq!(books["orders"].as_array().unwrap().len(), 20);
    assert_eq!(books["faults"]["acksLost"], 20);
    venue.stop().await;
}

#[tokio::test]
async fn a_lost_acknowledgement_over_a_socket_is_silence_or_a_closed_socket() {
    let venue = start(Faults { lose_ack_rate: 1.0, ..Faults::default() }).await;
    let (mut closed, mut silent) = (false, false);
    for number in 0.. {
        assert!(number < 50, "closed {closed}, silent {silent}");
        if closed && silent {
            break;
        }
        let mut socket = Socket::open(&venue, "/ws-api/v3").await;
        let params = [("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "MARKET"), ("quantity", "0.001")];
        let order = json!({"id": 1, "method": "order.place", "params": signed_params(&params)});
        socket.say(order.to_string()).await;
        // What is asked after it is answered first, if anything is.
        socket.say(json!({"id": 2, "method": "ping"}).to_string()).await;
        match socket.hear().await {
            Some(answer) => {
                assert_eq!(answer["id"], 2);
                silent = true;
            }
            None => closed = true,
        }
        assert_eq!(ledger(&venue).await["orders"].as_array().unwrap().len(), number + 1);
    }
    venue.stop().await;
}

#[tokio::test]
async fn a_late_acknowledgement_comes_after_the_stream_has_told() {
    let late_ack = Duration::from_millis(300);
    let venue = start(Faults { late_ack_rate: 1.0, late_ack, ..Faults::default() }).await;
    let mut user = hear_account(&venue).await;
    let begin = Instant::now();
    let params = [("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "MARKET"), ("quantity", "0.001")];
    user.say(json!({"id": 1, "method": "order.place", "params": signed_params(&params)}).to_string()).await;
    assert_eq!(user.hear().await.unwrap()["event"]["x"], "NEW");
    assert!(begin.elapsed() < late_ack);
    while user.hear().await.unwrap()["id"] != 1 {}
    assert!(begin.elapsed() >= late_ack);
    let begin = Instant::now();
    assert_eq!(place(&venue, BUY).await.unwrap().1["status"], "FILLED");
    assert!(begin.elapsed() >= late_ack);
    venue.stop().await;
}

#[tokio::test]
async fn reports_are_repeated_and_dropped_and_queries_know_all() {
    let venue =
        start(Faults { duplicate_rate: 0.5, drop_report_rate: 0.3, reorder_rate: 0.2, ..Faults::default() })
            .await;
    let mut user = hear_account(&venue).await;
    for _ in 0..40 {
        assert_eq!(ask(&venue, "POST", "/api/v3/order", BUY).await.0, 200);
    }
    let mut told: BTreeMap<i64, u32> = BTreeMap::new();
    while let Some(frame) = user.hear().await {
        if frame["event"]["e"] == "executionReport" {
            *told.entry(frame["event"]["I"].as_i64().unwrap()).or_default() += 1;
        }
    }
    assert!(told.len() < 70 && told.len() > 30, "{} of 80 were told", told.len());
    assert!(told.values().any(|count| *count > 1) && told.values().all(|count| *count <= 4));
    let (_, trades) = ask(&venue, "GET", "/api/v3/myTrades", "symbol=BTCUSDT").await;
    assert_eq!(trades.as_array().unwrap().len(), 40);
    let faults = ledger(&venue).await["faults"].clone();
    for fault in ["reportsDropped", "reportsRepeated", "reportsHeldBack"] {
        assert!(faults[fault].as_i64().unwrap() > 3, "{faults}");
    }
    venue.stop().await;
}

#[tokio::test]
async fn orders_fill_in_several_executions_that_get_dearer_and_add_up() {
    let venue = start(Faults { partial_fills: 5, ..Faults::default() }).await;
    let mut most = 0;
    for order in ["quantity=0.01", "quoteOrderQty=300"].repeat(8) {
        let order = format!("symbol=BTCUSDT&side=BUY&type=MARKET&{order}");
        let (status, placed) = ask(&venue, "POST", "/api/v3/order", &order).await;
        assert_eq!((status, placed["status"].as_str()), (200, Some("FILLED")), "{placed}");
        let fills = placed["fills"].as_array().unwrap();
        most = most.max(fills.len());
        let prices: Vec<Decimal> = fills.iter().map(|fill| amount(&fill["price"])).collect();
        assert!(prices.is_sorted() && fills.len() <= 5, "{placed}");
        let worth: Decimal = fills.iter().map(|fill| amount(&fill["price"]) * amount(&fill["qty"])).sum();
        assert_eq!(worth, amount(&placed["cummulativeQuoteQty"]));
        assert!(!order.contains("quoteOrderQty") || worth <= Decimal::from(300));
    }
    assert!(most > 2);
    // A limit that reaches the best price alone fills there, and the rest rests.
    let (_, book) = ask(&venue, "GET", "/api/v3/ticker/bookTicker", "symbol=BTCUSDT").await;
    let limit = format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={}",
        book["askPrice"].as_str().unwrap()
    );
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(ask(&venue, "POST", "/api/v3/order", &limit).await.1["status"].clone());
    }
    assert!(statuses.contains(&json!("PARTIALLY_FILLED")), "{statuses:?}");
    add_up(&ledger(&venue).await);
    venue.stop().await;
}

#[tokio::test]
async fn in_a_thin_book_the_rest_expires_and_a_fok_fills_nothing() {
    let venue = start(Faults { thin_rate: 1.0, ..Faults::default() }).await;
    let (_, placed) = ask(&venue, "POST", "/api/v3/order", BUY).await;
    let executed = amount(&placed["executedQty"]);
    assert_eq!(placed["status"], "EXPIRED");
    assert!(executed > Decimal::ZERO && executed < amount(&placed["origQty"]), "{placed}");
    let brief =
        |time| format!("symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce={time}&quantity=0.01&price=70000");
    let (_, ioc) = ask(&venue, "POST", "/api/v3/order", &brief("IOC")).await;
    assert_eq!(ioc["status"], "EXPIRED");
    assert!(amount(&ioc["executedQty"]) > Decimal::ZERO);
    let (_, fok) = ask(&venue, "POST", "/api/v3/order", &brief("FOK")).await;
    assert_eq!((fok["status"].as_str(), amount(&fok["executedQty"])), (Some("EXPIRED"), Decimal::ZERO));
    assert_eq!(held(&venue, "USDT").await.1, Decimal::ZERO);
    add_up(&ledger(&venue).await);
    venue.stop().await;
}

#[tokio::test]
async fn a_hidden_order_is_found_once_its_time_is_over() {
    let hide = Duration::from_secs(2);
    let venue = start(Faults { hide, ..Faults::default() }).await;
    let (_, placed) = ask(&venue, "POST", "/api/v3/order", BUY).await;
    let hidden = Instant::now();
    let query = format!("symbol=BTCUSDT&orderId={}", placed["orderId"]);
    assert_eq!(ask(&venue, "GET", "/api/v3/order", &query).await.1["code"], -2013);
    for list in ["openOrders", "allOrders", "myTrades"] {
        let (_, listed) = ask(&venue, "GET", &format!("/api/v3/{list}"), "symbol=BTCUSDT").await;
        assert_eq!(listed, json!([]), "{list}");
    }
    assert!(hidden.elapsed() < hide, "this machine is too slow for this test");
    while ask(&venue, "GET", "/api/v3/order", &query).await.0 != 200 {
        assert!(hidden.elapsed() < Duration::from_secs(5));
    }
    assert!(hidden.elapsed() + Duration::from_millis(100) >= hide);
    let (_, trades) = ask(&venue, "GET", "/api/v3/myTrades", "symbol=BTCUSDT").await;
    assert_eq!(trades.as_array().unwrap().len(), 1);
    venue.stop().await;
}

#[tokio::test]
async fn a_fee_is_paid_in_what_was_asked() {
    for (fee_asset, asset) in [(FeeAsset::Quote, "USDT"), (FeeAsset::Bnb, "BNB"), (FeeAsset::Received, "BTC")]
    {
        let balances = vec![("USDT".to_owned(), 10_000.into()), ("BNB".to_owned(), Decimal::new(15, 5))];
        let venue = venue::start(Config { fee_asset, balances, control: true, ..config() }).await.unwrap();
        let (_, placed) = ask(&venue, "POST", "/api/v3/order", BUY).await;
        assert_eq!(placed["fills"][0]["commissionAsset"], asset);
        let (_, again) = ask(&venue, "POST", "/api/v3/order", BUY).await;
        let second = if asset == "BNB" { "BTC" } else { asset };
        assert_eq!(again["fills"][0]["commissionAsset"], second, "BNB is used up");
        add_up(&ledger(&venue).await);
        venue.stop().await;
    }
}

#[tokio::test]
async fn a_silent_symbol_says_nothing_and_its_socket_and_the_others_go_on() {
    let silence = vec![Silence { symbol: "BTCUSDT".to_owned(), after: Duration::ZERO }];
    let faults = Faults { silence, ..Faults::default() };
    let venue = venue::start(Config { faults, speed: Speed::Times(20.0), ..config() }).await.unwrap();
    let mut socket = Socket::open(&venue, "/stream?streams=btcusdt@trade/ethusdt@trade").await;
    for _ in 0..50 {
        assert_eq!(socket.hear().await.unwrap()["stream"], "ethusdt@trade");
    }
    socket.say(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#.to_owned()).await;
    loop {
        let frame = socket.hear().await.unwrap();
        if frame["id"] == 1 {
            assert_eq!(frame["result"].as_array().unwrap().len(), 2);
            break;
        }
    }
    venue.stop().await;
}

#[tokio::test]
async fn a_ban_and_a_pause_say_how_long_and_keep_to_it() {
    let ban = Duration::from_secs(1);
    let venue = start(Faults { ban_after: Some(3), ban, ..Faults::default() }).await;
    let url = format!("http://{}/api/v3/ping", venue.address());
    for status in [200, 200, 200, 418, 418] {
        let answer = http().get(&url).send().await.unwrap();
        assert_eq!(answer.status(), status);
        let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        assert_eq!(wait.as_deref(), (status == 418).then_some("1"));
    }
    let banned = Instant::now();
    while http().get(&url).send().await.unwrap().status() == 418 {
        assert!(banned.elapsed() < Duration::from_secs(3));
    }
    venue.stop().await;

    let venue = start(Faults { rate_limit_rate: 1.0, ..Faults::default() }).await;
    let answer = http().get(format!("http://{}/api/v3/ping", venue.address())).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait));
    let refused = tokio_tungstenite::connect_async(format!("ws://{}/ws-api/v3", venue.address())).await;
    assert!(refused.unwrap_err().to_string().contains("429"), "nor may it connect");
    venue.stop().await;
}

#[tokio::test]
async fn a_ban_holds_over_a_socket_as_well() {
    let venue = start(Faults { ban_after: Some(2), ..Faults::default() }).await;
    let mut socket = Socket::open(&venue, "/ws-api/v3").await;
    let time = json!({"id": 1, "method": "time"}).to_string();
    socket.say(time.clone()).await;
    assert_eq!(socket.hear().await.unwrap()["status"], 200);
    for request in [time, json!({"id": 1, "method": "session.status"}).to_string()] {
        socket.say(request).await;
        let refused = socket.hear().await.unwrap();
        assert_eq!((refused["status"].as_i64(), refused["error"]["code"].as_i64()), (Some(418), Some(-1003)));
        let data = &refused["error"]["data"];
        let wait_ms = data["retryAfter"].as_i64().unwrap() - data["serverTime"].as_i64().unwrap();
        assert!((118_000..=120_000).contains(&wait_ms), "{refused}");
    }
    venue.stop().await;
}

#[tokio::test]
async fn a_key_that_may_withdraw_says_so() {
    for can_withdraw in [false, true] {
        let venue = venue::start(Config { can_withdraw, ..config() }).await.unwrap();
        let (_, restrictions) = ask(&venue, "GET", "/sapi/v1/account/apiRestrictions", "").await;
        assert_eq!(restrictions["enableWithdrawals"], can_withdraw);
        venue.stop().await;
    }
}

#[tokio::test]
async fn a_test_moves_the_market_and_the_owner_acts_by_hand() {
    let venue = start(Faults::default()).await;
    let mut stream = Socket::open(&venue, "/ws/btcusdt@trade").await;
    let mut user = hear_account(&venue).await;
    let stop = "symbol=BTCUSDT&side=SELL&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.1&price=49000&stopPrice=50000&newClientOrderId=stop";
    assert_eq!(ask(&venue, "POST", "/api/v3/order", stop).await.0, 200);
    let limit =
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=45000&newClientOrderId=dip";
    assert_eq!(ask(&venue, "POST", "/api/v3/order", limit).await.0, 200);
    let (status, _) = control(&venue, "price", json!({"symbol": "BTCUSDT", "price": "49500"})).await;
    assert_eq!(status, 200);
    while stream.hear().await.unwrap()["p"] != "49500.00000000" {}
    let query = |id| format!("symbol=BTCUSDT&origClientOrderId={id}");
    assert_eq!(ask(&venue, "GET", "/api/v3/order", &query("stop")).await.1["status"], "FILLED");
    assert_eq!(ask(&venue, "GET", "/api/v3/order", &query("dip")).await.1["status"], "NEW");
    let (_, ticker) = ask(&venue, "GET", "/api/v3/ticker/price", "symbol=BTCUSDT").await;
    assert_eq!(ticker["price"], "49500.00000000");

    let cancel = json!({"key": "key", "symbol": "BTCUSDT", "clientOrderId": "dip"});
    assert_eq!(control(&venue, "cancel", cancel.clone()).await.1["status"], "CANCELED");
    assert_eq!(control(&venue, "cancel", cancel).await.1["code"], -2011);
    let sale = json!({"key": "key", "symbol": "BTCUSDT", "quantity": "0.2"});
    assert_eq!(control(&venue, "sell", sale).await.1["status"], "FILLED");
    let move_funds = |delta: &str| json!({"key": "key", "asset": "BTC", "delta": delta});
    assert_eq!(control(&venue, "balance", move_funds("-0.7")).await.0, 200);
    assert_eq!(control(&venue, "balance", move_funds("-0.1")).await.1["code"], -2010);
    assert_eq!(held(&venue, "BTC").await, (Decimal::ZERO, Decimal::ZERO));
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "balanceUpdate") {
        told.push(user.hear().await.unwrap()["event"]["e"].as_str().unwrap().to_owned());
    }
    add_up(&ledger(&venue).await);
    for (path, body) in [
        ("price", json!({"symbol": "NOPE", "price": "1"})),
        ("price", json!({"symbol": "BTCUSDT", "price": "0"})),
        ("price", json!({"symbol": "BTCUSDT"})),
        ("balance", json!({"key": "nobody", "asset": "BTC", "delta": "1"})),
        ("sell", json!("nonsense")),
    ] {
        assert_eq!(control(&venue, path, body.clone()).await.0, 400, "{body}");
    }
    venue.stop().await;
    let venue = venue::start(config()).await.unwrap();
    assert_eq!(control(&venue, "price", json!({})).await.0, 404, "only where it was asked for");
    venue.stop().await;
}

#[tokio::test]
async fn a_moved_market_goes_on_from_there() {
    let market = MarketSource::RandomWalk { pairs: vec!["BTC/USDT".parse().unwrap()] };
    let config = Config { market, control: true, speed: Speed::Times(200.0), ..config() };
    let venue = venue::start(config).await.unwrap();
    let mut stream = Socket::open(&venue, "/ws/btcusdt@trade").await;
    assert!(amount(&stream.hear().await.unwrap()["p"]) > 50_000.into());
    assert_eq!(control(&venue, "price", json!({"symbol": "BTCUSDT", "price": "1000"})).await.0, 200);
    let mut id = 0;
    let mut below = 0;
    while below < 200 {
        let print = stream.hear().await.unwrap();
        assert!(print["t"].as_i64().unwrap() > id, "ids rise");
        id = print["t"].as_i64().unwrap();
        let is_below = amount(&print["p"]) < 1_100.into();
        assert!(is_below || below == 0, "it does not go back: {print}");
        below += u32::from(is_below);
    }
    venue.stop().await;
}

#[tokio::test]
async fn whatever_goes_wrong_at_once_the_ledger_adds_up_and_knows_every_order() {
    let faults = Faults {
        lose_ack_rate: 0.2,
        late_ack_rate: 0.2,
        late_ack: Duration::from_millis(5),
        duplicate_rate: 0.3,
        reorder_rate: 0.3,
        drop_report_rate: 0.2,
        partial_fills: 6,
        thin_rate: 0.3,
        hide: Duration::from_mins(1),
        hide_rate: 0.3,
        ..Faults::default()
    };
    let market = MarketSource::RandomWalk { pairs: vec!["BTC/USDT".parse().unwrap()] };
    let config = Config {
        faults,
        market,
        control: true,
        volatility: 5.into(),
        speed: Speed::Times(500.0),
        fee_asset: FeeAsset::Bnb,
        balances: vec![("USDT".to_owned(), 100_000.into()), ("BNB".to_owned(), Decimal::new(1, 2))],
        ..config()
    };
    let venue = venue::start(config).await.unwrap();
    let mut user = hear_account(&venue).await;
    let (mut acknowledged, mut unknown) = (0, 0);
    for number in 0..120 {
        let side = if number % 3 == 2 { "SELL" } else { "BUY" };
        let order = format!(
            "symbol=BTCUSDT&side={side}&type=MARKET&quantity=0.00{}&newClientOrderId=n{number}",
            1 + number % 9
        );
        match place(&venue, &order).await {
            Some((200, _)) => acknowledged += 1,
            None | Some((504, _)) => unknown += 1,
            Some((status, refused)) => {
                assert_eq!((status, &refused["code"]), (400, &json!(-2010)), "{refused}");
            }
        }
    }
    let books = ledger(&venue).await;
    add_up(&books);
    let orders = books["orders"].as_array().unwrap();
    assert_eq!(orders.len(), acknowledged + unknown, "refusals leave none, whatever is lost leaves one");
    assert!(acknowledged > 40 && unknown > 5);
    let known: Vec<&Value> = books["fills"].as_array().unwrap().iter().map(|fill| &fill["id"]).collect();
    while let Some(frame) = user.hear().await {
        if frame["event"]["x"] == "TRADE" {
            assert!(known.contains(&&frame["event"]["t"]), "the stream tells of no other fill: {frame}");
        }
    }
    venue.stop().await;
}

/// Free and locked of every asset are what the account began with, what was moved by hand, and its fills.
#[track_caller]
pub(crate) fn add_up(books: &Value) {
    let mut held: BTreeMap<String, Decimal> = BTreeMap::new();
    let mut add = |asset: &Value, delta: Decimal| {
        *held.entry(asset.as_str().unwrap().to_owned()).or_default() += delta;
    };
    for (asset, start) in books["start"].as_object().unwrap() {
        add(&json!(asset), amount(start));
    }
    for moved in books["transfers"].as_array().unwrap() {
        add(&moved["asset"], amount(&moved["delta"]));
    }
    for fill in books["fills"].as_array().unwrap() {
        let (base, quote) = (&json!("BTC"), &json!("USDT"));
        let (qty, worth) = (amount(&fill["qty"]), amount(&fill["qty"]) * amount(&fill["price"]));
        let sign = if fill["isBuyer"].as_bool().unwrap() { Decimal::ONE } else { -Decimal::ONE };
        add(base, sign * qty);
        add(quote, -sign * worth);
        add(&fill["commissionAsset"], -amount(&fill["commission"]));
    }
    for (asset, balance) in books["balances"].as_object().unwrap() {
        let (free, locked) = (amount(&balance["free"]), amount(&balance["locked"]));
        assert!(free >= Decimal::ZERO && locked >= Decimal::ZERO, "{asset}: {balance}");
        assert_eq!(free + locked, held.remove(asset).unwrap_or_default(), "{asset}");
    }
    assert!(held.values().all(Decimal::is_zero), "{held:?}");
    for order in books["orders"].as_array().unwrap() {
        let fills = books["fills"].as_array().unwrap().iter();
        let filled: Decimal =
            fills.filter(|fill| fill["orderId"] == order["orderId"]).map(|fill| amount(&fill["qty"])).sum();
        assert_eq!(filled, amount(&order["executedQty"]), "{order}");
    }
}

#[tokio::test]
async fn a_silent_user_stream_answers_and_tells_what_happens_later() {
    let venue = start(Faults::default()).await;
    let mut user = hear_account(&venue).await;
    assert_eq!(control(&venue, "reports", json!({"told": false})).await.0, 200);
    let params = [("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "MARKET"), ("quantity", "0.001")];
    user.say(json!({"id": 1, "method": "order.place", "params": signed_params(&params)}).to_string()).await;
    assert_eq!(user.hear().await.unwrap()["id"], 1);
    user.say(json!({"id": 2, "method": "ping"}).to_string()).await;
    assert_eq!(user.hear().await.unwrap()["id"], 2, "nothing was told between");
    control(&venue, "reports", json!({"told": true})).await;
    assert_eq!(ask(&venue, "POST", "/api/v3/order", BUY).await.0, 200);
    assert_eq!(user.hear().await.unwrap()["event"]["x"], "NEW");
    venue.stop().await;
}

#[tokio::test]
async fn who_changed_an_order_is_known_by_address() {
    let venue = start(Faults::default()).await;
    assert_eq!(ask(&venue, "POST", "/api/v3/order", &format!("{BUY}&newClientOrderId=mine")).await.0, 200);
    assert_eq!(ask(&venue, "GET", "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=mine").await.0, 200);
    let url = format!("http://{}/venue/accepted?key=key", venue.address());
    let accepted: Value = http().get(url).send().await.unwrap().json().await.unwrap();
    let [only] = accepted.as_array().unwrap().as_slice() else { panic!("{accepted}") };
    let told = ["method", "clientOrderId", "from"].map(|name| only[name].as_str().unwrap());
    assert_eq!(told, ["order.place", "mine", "127.0.0.1"]);
    venue.stop().await;
}
