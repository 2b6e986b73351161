//! What can be asked by either interface: the same answers for the same weight, by a clock that can be set.

use serde_json::{Value, json};
use venue::Config;

use crate::Socket;
use crate::client::{ask, config, control, now_ms, signed_params};

/// A method over a socket, its path, its parameters and its weight.
type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], i64);

#[tokio::test]
async fn what_is_asked_of_an_account_has_the_same_answer_and_weight_over_a_socket() {
    let venue = venue::start(config()).await.unwrap();
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";
    let (_, placed) = ask(&venue, "POST", "/api/v3/order", market).await;
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=50000";
    ask(&venue, "POST", "/api/v3/order", limit).await;
    let (order, client_id) = (placed["orderId"].to_string(), placed["clientOrderId"].as_str().unwrap());
    let mut socket = Socket::open(&venue, "/ws-api/v3").await;
    let symbol = ("symbol", "BTCUSDT");
    let by_client_id = [symbol, ("origClientOrderId", client_id)];
    let of_order = [symbol, ("orderId", &order)];
    // The venue's `rest-api.md` and `web-socket-api.md`.
    let calls: [Asked<'_>; 7] = [
        ("order.status", "/api/v3/order", &by_client_id, 4),
        ("openOrders.status", "/api/v3/openOrders", &[symbol], 6),
        ("openOrders.status", "/api/v3/openOrders", &[], 80),
        ("allOrders", "/api/v3/allOrders", &[symbol], 20),
        ("myTrades", "/api/v3/myTrades", &[symbol], 20),
        ("myTrades", "/api/v3/myTrades", &of_order, 5),
        ("account.status", "/api/v3/account", &[("omitZeroBalances", "true")], 20),
    ];
    for (method, path, params, weight) in calls {
        let over_socket = |id: u32| json!({"id": id, "method": method, "params": signed_params(params)});
        let mut answers = Vec::new();
        for id in [1, 2] {
            socket.say(over_socket(id).to_string()).await;
            answers.push(socket.hear().await.unwrap());
        }
        let used = |answer: &Value| answer["rateLimits"][0]["count"].as_i64().unwrap();
        let taken = used(&answers[1]) - used(&answers[0]);
        // A minute may begin between the two.
        assert!(taken == weight || taken < 0, "{method} {params:?} weighs {taken}");
        let query: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (status, mut body) = ask(&venue, "GET", path, &query.join("&")).await;
        let mut result = answers[1]["result"].take();
        for answer in [&mut body, &mut result] {
            answer.as_object_mut().map(|account| account.remove("updateTime"));
        }
        assert_eq!((status, &body), (200, &result), "{method}");
    }
    venue.stop().await;
}

#[tokio::test]
async fn its_clock_can_be_set_and_refuses_what_is_stamped_by_another() {
    let venue = venue::start(Config { control: true, ..config() }).await.unwrap();
    for (ahead_ms, is_refused) in [(-2_000, true), (6_000, true), (-500, false), (4_000, false), (0, false)] {
        assert_eq!(control(&venue, "clock", json!({"ahead_ms": ahead_ms})).await.0, 200);
        let (_, told) = ask(&venue, "GET", "/api/v3/time", "").await;
        let ahead = told["serverTime"].as_i64().unwrap() - i64::try_from(now_ms()).unwrap();
        assert!((ahead_ms - 900..=ahead_ms).contains(&ahead), "{ahead}");
        let (_, account) = ask(&venue, "GET", "/api/v3/account", "").await;
        assert_eq!(account["code"] == -1021, is_refused, "{ahead_ms} {account}");
    }
    assert_eq!(control(&venue, "clock", json!({})).await.0, 400);
    venue.stop().await;
}
