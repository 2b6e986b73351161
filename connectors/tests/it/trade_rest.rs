//! Signed calls against a server that answers badly, late or not at all.

use std::time::Duration;

use connectors::binance::rest::VenueError;
use connectors::binance::trade::{
    Cost, Credential, ExecutionsFrom, Lane, OrderRequest, OrdersFrom, RequestKind, Restrictions,
    SharedBudget, TradeRest, VenueStatus,
};
use model::{ClientOrderId, Pair, Side, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const KEY: &str = "thekeythekeythekey";
const SECRET: &str = "canarycanarycanary";
const ID: u128 = 0x0193_5f00_0000_7000_8000_0000_0000_00ab;

fn credential() -> Credential {
    Credential::new(KEY, SECRET).unwrap()
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_123)
}

fn pair() -> Pair {
    "BTC/USDT".parse().unwrap()
}

fn id() -> ClientOrderId {
    ClientOrderId::from_u128(ID)
}

fn buy() -> String {
    let qty = "0.001".parse().unwrap();
    OrderRequest { pair: pair(), client_order_id: id(), side: Side::Buy, qty, kind: RequestKind::Market }
        .body()
}

const FILLED: &str = r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"01935f000000700080000000000000ab",
    "transactTime":1700000000200,"price":"0.00000000","origQty":"0.00100000","executedQty":"0.00100000",
    "cummulativeQuoteQty":"30.00000000","status":"FILLED","timeInForce":"GTC","type":"MARKET","side":"BUY",
    "fills":[{"price":"30000.00","qty":"0.001","commission":"0.000001","commissionAsset":"BTC","tradeId":56}]}"#;

/// A request as it came: its first line, its headers and its body.
#[derive(Debug)]
struct Asked {
    line: String,
    headers: String,
    body: String,
}

/// A server that gives these answers, one per connection, and what it was asked for.
async fn serve(answers: Vec<Vec<u8>>) -> (TradeRest, JoinHandle<Vec<Asked>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rest = TradeRest::new(&format!("http://{}", listener.local_addr().unwrap()), &credential()).unwrap();
    let asked = tokio::spawn(async move {
        let mut all = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            socket.read_exact(&mut body).await.unwrap();
            let (line, headers) = head.split_once("\r\n").unwrap();
            all.push(Asked {
                line: line.to_owned(),
                headers: headers.to_owned(),
                body: String::from_utf8(body).unwrap(),
            });
            // The client may hang up before it has read all.
            let _ = socket.write_all(&answer).await;
        }
        // Whoever comes now asks for something that it was not to ask for.
        assert!(
            tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err(),
            "one request more than was answered"
        );
        all
    });
    (rest, asked)
}

/// An answer with this status line and these headers.
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}")
        .into()
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "", body)
}

fn refused(code: i64, words: &str) -> Vec<u8> {
    answer("400 Bad Request", "", &format!(r#"{{"code":{code},"msg":"{words}"}}"#))
}

#[tokio::test]
async fn an_order_is_sent_as_it_was_journaled_and_its_answer_read() {
    let (rest, asked) = serve(vec![ok(FILLED)]).await;
    let report = rest.place(&buy(), at()).await.unwrap();
    assert_eq!((report.venue_order_id, report.status), (28, VenueStatus::Filled));
    assert_eq!((report.fills[0].trade_id, report.fills[0].fee.to_string().as_str()), (56, "0.000001"));
    let asked = asked.await.unwrap().remove(0);
    assert_eq!(asked.line, "post /api/v3/order http/1.1");
    assert!(asked.headers.contains(&format!("x-mbx-apikey: {KEY}")), "{asked:?}");
    assert!(asked.headers.contains("content-type: application/x-www-form-urlencoded"), "{asked:?}");
    let payload = format!("{}&recvWindow=5000&timestamp=1700000000123", buy());
    assert_eq!(asked.body, credential().signer().signed(&payload));
}

#[tokio::test]
async fn every_call_asks_for_what_it_says() {
    let order = FILLED.replace("FILLED", "CANCELED");
    let answers = [
        order.as_str(),
        FILLED,
        "[]",
        "[]",
        "[]",
        "[]",
        "[]",
        "[]",
        "[]",
        r#"{"canTrade":true,"balances":[]}"#,
    ];
    let (rest, asked) = serve(answers.map(ok).to_vec()).await;
    rest.cancel(&pair(), id(), at()).await.unwrap();
    assert!(rest.order(&pair(), id(), at()).await.unwrap().is_some());
    rest.open_orders(Some(&pair()), at()).await.unwrap();
    rest.open_orders(None, at()).await.unwrap();
    rest.orders_since(&pair(), OrdersFrom::Id(7), at()).await.unwrap();
    rest.orders_since(&pair(), OrdersFrom::Since(at()), at()).await.unwrap();
    rest.executions(&pair(), ExecutionsFrom::Id(9), at()).await.unwrap();
    rest.executions(&pair(), ExecutionsFrom::Since(at()), at()).await.unwrap();
    rest.executions(&pair(), ExecutionsFrom::OrderId { order: 7, id: 9 }, at()).await.unwrap();
    assert!(rest.account(at()).await.unwrap().can_trade);
    let by_id = format!("symbol=BTCUSDT&origClientOrderId={}", id());
    let expected = [
        format!("DELETE /api/v3/order?{by_id}"),
        format!("GET /api/v3/order?{by_id}"),
        "GET /api/v3/openOrders?symbol=BTCUSDT".to_owned(),
        "GET /api/v3/openOrders?".to_owned(),
        "GET /api/v3/allOrders?symbol=BTCUSDT&orderId=7&limit=1000".to_owned(),
        "GET /api/v3/allOrders?symbol=BTCUSDT&startTime=1700000000123&limit=1000".to_owned(),
        "GET /api/v3/myTrades?symbol=BTCUSDT&fromId=9&limit=1000".to_owned(),
        "GET /api/v3/myTrades?symbol=BTCUSDT&startTime=1700000000123&limit=1000".to_owned(),
        "GET /api/v3/myTrades?symbol=BTCUSDT&orderId=7&fromId=9&limit=1000".to_owned(),
        "GET /api/v3/account?omitZeroBalances=true".to_owned(),
    ];
    for (asked, expected) in asked.await.unwrap().iter().zip(expected) {
        let (path, parameters) = expected.split_once('?').unwrap();
        let separator = if parameters.is_empty() { "" } else { "&" };
        let payload = format!("{parameters}{separator}recvWindow=5000&timestamp=1700000000123");
        let line = format!("{path}?{} HTTP/1.1", credential().signer().signed(&payload));
        assert_eq!(asked.line, line.to_lowercase());
        assert!(asked.headers.contains("x-mbx-apikey"), "{asked:?}");
    }
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_or_broken_is_unknown_and_never_sent_again() {
    let half = {
        let mut whole = ok(FILLED);
        whole.truncate(whole.len() - 40);
        whole
    };
    let unread = [
        Vec::new(),
        half,
        b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(),
        ok("<html>maintenance</html>"),
        ok(r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"a","transactTime":1}"#),
        ok(&FILLED.replace("\"0.00100000\"", "\"-1\"")),
        answer("503 Service Unavailable", "", "<html></html>"),
        answer("504 Gateway Timeout", "", ""),
        refused(-1007, "Timeout waiting for response from backend server."),
        refused(-1006, "An unexpected response was received from the message bus."),
        ok(&" ".repeat((1 << 20) + 1)),
    ];
    for answer in unread {
        let (rest, asked) = serve(vec![answer.clone()]).await;
        let error = rest.place(&buy(), at()).await.unwrap_err();
        let VenueError::Unknown { message } = &error else { panic!("{error}") };
        assert_silent(message);
        let (again, asked_again) = serve(vec![answer]).await;
        let error = again.cancel(&pair(), id(), at()).await.unwrap_err();
        assert!(matches!(error, VenueError::Unknown { .. }), "{error}");
        // The server fails where there is a second request.
        assert_eq!((asked.await.unwrap().len(), asked_again.await.unwrap().len()), (1, 1));
    }
}

#[tokio::test]
async fn an_answer_about_something_else_is_not_taken_for_the_one_that_was_asked_for() {
    let foreign = [
        FILLED.replace("00ab", "00ac"),
        FILLED.replace("BTCUSDT", "ETHUSDT"),
        FILLED.replace("\"BUY\"", "\"SELL\""),
    ];
    for (place, order) in foreign.iter().enumerate() {
        let (rest, _) = serve(vec![ok(order)]).await;
        let error = rest.place(&buy(), at()).await.unwrap_err();
        let VenueError::Unknown { message } = &error else { panic!("{error}") };
        assert_silent(message);
        if place == 2 {
            continue;
        }
        let (rest, _) = serve(vec![ok(order), ok(order)]).await;
        let error = rest.cancel(&pair(), id(), at()).await.unwrap_err();
        assert!(matches!(error, VenueError::Unknown { .. }), "{error}");
        let error = rest.order(&pair(), id(), at()).await.unwrap_err();
        assert!(matches!(error, VenueError::Retry { .. }), "{error}");
    }
    let of_other_pair = format!("[{}]", foreign[1]);
    let execution = |symbol: &str, order: i64| {
        format!(
            r#"[{{"symbol":"{symbol}","id":56,"orderId":{order},"price":"30000","qty":"0.001","commission":"0",
            "commissionAsset":"BTC","time":1700000000200,"isBuyer":true,"isMaker":false}}]"#
        )
    };
    let (rest, _) = serve(vec![
        ok(&of_other_pair),
        ok(&of_other_pair),
        ok(&of_other_pair),
        ok(&execution("BTCUSDT", 29)),
        ok(&execution("ETHUSDT", 28)),
        ok(&execution("BTCUSDT", 28)),
    ])
    .await;
    let is_retry = |error: VenueError| matches!(error, VenueError::Retry { .. });
    assert!(is_retry(rest.open_orders(Some(&pair()), at()).await.unwrap_err()));
    assert_eq!(rest.open_orders(None, at()).await.unwrap().len(), 1);
    assert!(is_retry(rest.orders_since(&pair(), OrdersFrom::Id(7), at()).await.unwrap_err()));
    let of_order = ExecutionsFrom::Order(28);
    assert!(is_retry(rest.executions(&pair(), of_order, at()).await.unwrap_err()));
    assert!(is_retry(rest.executions(&pair(), of_order, at()).await.unwrap_err()));
    assert_eq!(rest.executions(&pair(), of_order, at()).await.unwrap().len(), 1);
}

/// No address, parameter, key, secret or signature.
#[track_caller]
fn assert_silent(message: &str) {
    for told in ["127.0.0.1", "BTCUSDT", KEY, SECRET, "signature=", "01935f"] {
        assert!(!message.contains(told), "{message}");
    }
    assert!(message.len() < 260, "{message}");
}

#[tokio::test]
async fn an_order_that_was_never_sent_may_be_tried_again() {
    let rest = TradeRest::new("http://127.0.0.1:1", &credential()).unwrap();
    let error = rest.place(&buy(), at()).await.unwrap_err();
    let VenueError::Retry { after: None, message } = &error else { panic!("{error}") };
    assert_silent(message);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (rest, _) =
        serve(vec![refused(-1021, "Timestamp for this request is outside of the recvWindow.")]).await;
    let error = rest.place(&buy(), at()).await.unwrap_err();
    assert!(matches!(error, VenueError::Clock { .. }), "{error}");
    let (rest, _) = serve(vec![refused(-2013, "Order does not exist.")]).await;
    assert_eq!(rest.order(&pair(), id(), at()).await, Ok(None));
    let (rest, _) = serve(vec![refused(-2011, "Unknown order sent.")]).await;
    let error = rest.cancel(&pair(), id(), at()).await.unwrap_err();
    assert!(matches!(error, VenueError::Rejected { code: -2011, .. }), "{error}");
    let (rest, _) = serve(vec![refused(-2010, "Duplicate order sent.")]).await;
    assert!(rest.place(&buy(), at()).await.unwrap_err().is_duplicate_order());
    let (rest, _) = serve(vec![refused(-2015, "Invalid API-key, IP, or permissions for action.")]).await;
    let error = rest.account(at()).await.unwrap_err();
    assert!(matches!(error, VenueError::Auth { code: -2015, .. }), "{error}");
    let (rest, asked) = serve(vec![answer("302 Found", "Location: http://127.0.0.1:1/\r\n", "")]).await;
    let error = rest.place(&buy(), at()).await.unwrap_err();
    assert!(matches!(error, VenueError::Rejected { code: 0, .. }), "{error}");
    asked.await.unwrap();
}

#[tokio::test]
async fn a_ban_holds_everything_back_until_it_is_over() {
    for status in ["418 I'm a teapot", "429 Too Many Requests"] {
        let body = r#"{"code":-1003,"msg":"Way too much request weight used; IP banned."}"#;
        let (rest, asked) = serve(vec![answer(status, "Retry-After: 120\r\n", body)]).await;
        let error = rest.place(&buy(), at()).await.unwrap_err();
        let VenueError::Retry { after, .. } = &error else { panic!("{error}") };
        assert_eq!(*after, Some(Duration::from_mins(2)));
        // Nothing of this reaches the server, which fails otherwise.
        for error in [
            rest.place(&buy(), at()).await.unwrap_err(),
            rest.cancel(&pair(), id(), at()).await.unwrap_err(),
            rest.server_time().await.unwrap_err(),
        ] {
            let VenueError::Retry { after: Some(after), .. } = error else { panic!("{error}") };
            assert!(after > Duration::from_secs(110) && after <= Duration::from_mins(2), "{after:?}");
        }
        assert!(rest.budget().ask(Cost::CANCEL, Lane::Exit).is_err());
        assert_eq!(asked.await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_the_headers_tell_reaches_the_shared_budget() {
    let headers = "X-MBX-USED-WEIGHT-1M: 5999\r\nX-MBX-ORDER-COUNT-10S: 99\r\nx-mbx-order-count-1d: 4000\r\n";
    let (rest, _) = serve(vec![answer("200 OK", headers, FILLED)]).await;
    let budget = SharedBudget::default();
    let rest = rest.with_budget(budget.clone());
    rest.place(&buy(), at()).await.unwrap();
    assert!(budget.ask(Cost::of(2), Lane::Exit).is_err());
    assert_eq!(budget.ask(Cost::place(rest.account_tag()), Lane::Exit), Ok(()));
    assert!(budget.ask(Cost { weight: 0, ..Cost::place(rest.account_tag()) }, Lane::Exit).is_err());
}

#[tokio::test]
async fn what_a_key_may_do_is_told_or_it_is_not_known() {
    let told = r#"{"ipRestrict":true,"createTime":1698645219000,"enableReading":true,"enableWithdrawals":false,
        "enableInternalTransfer":false,"enableMargin":false,"enableFutures":false,"permitsUniversalTransfer":true,
        "enableVanillaOptions":false,"enableFixApiTrade":false,"enableSpotAndMarginTrading":true}"#;
    let (rest, asked) = serve(vec![ok(told), ok(&told.replace("enableWithdrawals", "enableOther"))]).await;
    let expected = Restrictions {
        can_read: true,
        can_trade_spot: true,
        can_withdraw: false,
        can_transfer: true,
        is_ip_bound: true,
        trades_until: None,
    };
    assert_eq!(rest.restrictions(at()).await, Ok(expected));
    let error = rest.restrictions(at()).await.unwrap_err();
    assert!(matches!(error, VenueError::Retry { .. }), "{error}");
    let line = &asked.await.unwrap()[0].line;
    assert!(line.starts_with("get /sapi/v1/account/apirestrictions?recvwindow=5000&timestamp="), "{line}");
}

#[test]
fn nothing_secret_is_ever_shown() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rest = TradeRest::new("http://127.0.0.1:1", &credential()).unwrap();
    for shown in [format!("{:?}", credential()), format!("{rest:?}"), format!("{:?}", credential().signer())]
    {
        assert!(!shown.contains(KEY) && !shown.contains("canary"), "{shown}");
    }
}
