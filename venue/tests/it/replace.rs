//! Orders in place of others, and how many may be placed.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use venue::{Config, Venue};

use crate::client::{ask, config, hear_account, held, http, ledger, now_ms, sign, signed_params};
use crate::faults::add_up;

const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01";

async fn place(venue: &Venue, price: &str, id: &str) -> Value {
    let order = format!("{LIMIT}&price={price}&newClientOrderId={id}");
    let (status, placed) = ask(venue, "POST", "/api/v3/order", &order).await;
    assert_eq!(status, 200, "{placed}");
    placed
}

async fn replace(venue: &Venue, mode: &str, cancel: &str, order: &str) -> (u16, Value) {
    let query = format!("{order}&cancelReplaceMode={mode}&cancelOrigClientOrderId={cancel}");
    ask(venue, "POST", "/api/v3/order/cancelReplace", &query).await
}

fn outcome(answer: &Value) -> (&str, &str) {
    (answer["cancelResult"].as_str().unwrap(), answer["newOrderResult"].as_str().unwrap())
}

#[tokio::test]
async fn an_order_takes_anothers_place_or_both_modes_say_what_failed() {
    let venue = venue::start(Config { control: true, ..config() }).await.unwrap();
    let good = format!("{LIMIT}&price=51000");
    let poor = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=51000".to_owned();
    place(&venue, "50000", "first").await;
    let (status, done) = replace(&venue, "STOP_ON_FAILURE", "first", &good).await;
    assert_eq!((status, outcome(&done)), (200, ("SUCCESS", "SUCCESS")), "{done}");
    assert_eq!(done["cancelResponse"]["origClientOrderId"], "first");
    assert_eq!(done["newOrderResponse"]["price"], "51000.00000000");

    let (status, failed) = replace(&venue, "STOP_ON_FAILURE", "gone", &good).await;
    assert_eq!((status, failed["code"].as_i64()), (400, Some(-2022)));
    assert_eq!(outcome(&failed["data"]), ("FAILURE", "NOT_ATTEMPTED"));
    assert_eq!(
        (&failed["data"]["cancelResponse"]["code"], &failed["data"]["newOrderResponse"]),
        (&json!(-2011), &Value::Null)
    );
    let (status, failed) = replace(&venue, "ALLOW_FAILURE", "gone", &good).await;
    assert_eq!(
        (status, failed["code"].as_i64(), outcome(&failed["data"])),
        (409, Some(-2021), ("FAILURE", "SUCCESS"))
    );
    let (status, failed) = replace(&venue, "ALLOW_FAILURE", "gone", &poor).await;
    assert_eq!(
        (status, failed["code"].as_i64(), outcome(&failed["data"])),
        (400, Some(-2022), ("FAILURE", "FAILURE"))
    );
    assert_eq!(failed["data"]["newOrderResponse"]["code"], -2010);

    place(&venue, "50000", "second").await;
    let (status, failed) = replace(&venue, "STOP_ON_FAILURE", "second", &poor).await;
    assert_eq!(
        (status, failed["code"].as_i64(), outcome(&failed["data"])),
        (409, Some(-2021), ("SUCCESS", "FAILURE"))
    );

    place(&venue, "50000", "third").await;
    let (_, refused) = replace(&venue, "STOP_ON_FAILURE", "third", &format!("{LIMIT}&price=51000.001")).await;
    assert_eq!(refused["msg"], "Filter failure: PRICE_FILTER");
    let (_, open) = ask(&venue, "GET", "/api/v3/openOrders", "symbol=BTCUSDT").await;
    assert_eq!(open.as_array().unwrap().len(), 3, "a filter refuses before anything is cancelled");
    assert_eq!(held(&venue, "USDT").await.1, Decimal::from(510 + 510 + 500));
    add_up(&ledger(&venue).await);
    venue.stop().await;
}

#[tokio::test]
async fn over_a_socket_an_order_is_replaced_as_well_and_limits_are_counted() {
    let venue = venue::start(config()).await.unwrap();
    let mut user = hear_account(&venue).await;
    place(&venue, "50000", "first").await;
    let (mut told, mut answer) = (Vec::new(), Value::Null);
    let params = [
        ("symbol", "BTCUSDT"),
        ("side", "BUY"),
        ("type", "LIMIT"),
        ("timeInForce", "GTC"),
        ("quantity", "0.01"),
        ("price", "51000"),
        ("cancelReplaceMode", "STOP_ON_FAILURE"),
        ("cancelOrigClientOrderId", "first"),
    ];
    let request = json!({"id": 1, "method": "order.cancelReplace", "params": signed_params(&params)});
    user.say(request.to_string()).await;
    while answer.is_null() || told.len() < 3 {
        let frame = user.hear().await.unwrap();
        if frame["id"] == 1 {
            answer = frame;
        } else if let Some(execution) = frame["event"]["x"].as_str() {
            told.push(execution.to_owned());
        }
    }
    assert_eq!((answer["status"].as_i64(), outcome(&answer["result"])), (Some(200), ("SUCCESS", "SUCCESS")));
    assert_eq!(told, ["NEW", "CANCELED", "NEW"]);
    let counts: Vec<_> =
        answer["rateLimits"].as_array().unwrap().iter().map(|limit| &limit["count"]).collect();
    assert_eq!(counts[..2], [2, 2], "two orders that have not filled");
    venue.stop().await;
}

#[tokio::test]
async fn an_order_becomes_smaller_where_it_stands() {
    let venue = venue::start(Config { control: true, ..config() }).await.unwrap();
    let mut user = hear_account(&venue).await;
    let placed = place(&venue, "50000", "mine").await;
    let amend =
        |qty: &str, id: &str| format!("symbol=BTCUSDT&orderId={}&newQty={qty}{id}", placed["orderId"]);
    let path = "/api/v3/order/amend/keepPriority";
    for (qty, code) in
        [("0.01", -2038), ("0.02", -2038), ("0.00001", -1013), ("0.000001", -1013), ("0", -1013)]
    {
        assert_eq!(ask(&venue, "PUT", path, &amend(qty, "")).await.1["code"], code, "{qty}");
    }
    let (status, amended) = ask(&venue, "PUT", path, &amend("0.004", "&newClientOrderId=smaller")).await;
    assert_eq!(status, 200, "{amended}");
    let order = &amended["amendedOrder"];
    assert_eq!((&order["origClientOrderId"], &order["clientOrderId"]), (&json!("mine"), &json!("smaller")));
    assert_eq!((&order["orderId"], &order["qty"]), (&placed["orderId"], &json!("0.00400000")));
    assert_eq!(held(&venue, "USDT").await.1, Decimal::from(200));
    loop {
        let event = user.hear().await.unwrap()["event"].clone();
        if event["x"] == "REPLACED" {
            assert_eq!(
                (&event["c"], &event["C"], &event["q"]),
                (&json!("smaller"), &json!("mine"), &json!("0.00400000"))
            );
            break;
        }
    }
    let query = |id: &str| format!("symbol=BTCUSDT&origClientOrderId={id}");
    assert_eq!(ask(&venue, "GET", "/api/v3/order", &query("mine")).await.1["code"], -2013);
    assert_eq!(ask(&venue, "DELETE", "/api/v3/order", &query("smaller")).await.1["status"], "CANCELED");
    assert_eq!(ask(&venue, "PUT", path, &amend("0.001", "")).await.1["code"], -2038);
    assert_eq!(held(&venue, "USDT").await, (10_000.into(), Decimal::ZERO));
    venue.stop().await;
}

#[tokio::test]
async fn a_hundred_unfilled_orders_in_ten_seconds_are_enough() {
    let venue = venue::start(config()).await.unwrap();
    let client = http();
    let send = async |order: String| {
        let payload = format!("{order}&timestamp={}", now_ms());
        let signature = sign(&payload, "secret");
        let url = format!("http://{}/api/v3/order?{payload}&signature={signature}", venue.address());
        client.post(url).header("x-mbx-apikey", "key").send().await.unwrap()
    };
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.0001";
    let ioc = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.0002&price=50000";
    let filled = send(market.to_owned()).await;
    assert_eq!(filled.headers()["x-mbx-order-count-10s"], "0", "what fills does not count");
    // The window may end while they are sent; it does not end twice.
    let mut refused = None;
    for _ in 0..201 {
        let answer = send(ioc.to_owned()).await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_ne!(answer.headers()["x-mbx-order-count-10s"], "0");
    }
    let refused = refused.expect("more than 200 orders were taken");
    let wait: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], -1015);
    let (_, limits) = ask(&venue, "GET", "/api/v3/rateLimit/order", "").await;
    assert_eq!((&limits[0]["interval"], &limits[0]["limit"]), (&json!("SECOND"), &json!(100)));
    assert!(limits[1]["count"].as_u64().unwrap() >= 100, "{limits}");
    venue.stop().await;
}
