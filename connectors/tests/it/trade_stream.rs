//! The socket interface against a server that misbehaves in every way a venue does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use connectors::binance::rest::VenueError;
use connectors::binance::trade::{
    AskId, Call, Cost, Credential, ExecutionsFrom, Lane, OrderRequest, OrdersFrom, RequestKind, SharedBudget,
    TimeInForce, TradeEvent, TradeStream, TradeStreamConfig, VenueStatus,
};
use futures_util::{SinkExt as _, StreamExt as _};
use model::{ClientOrderId, Pair, Side, Timestamp};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const KEY: &str = "thekey";
const SECRET: &str = "thesecret";
const NOW: i64 = 1_700_000_000_000;

fn credential() -> Credential {
    Credential::new(KEY, SECRET).unwrap()
}

/// What orders and cancels are stamped with.
fn at() -> Timestamp {
    Timestamp::from_millis(NOW - 1_234)
}

fn pair() -> Pair {
    "BTC/USDT".parse().unwrap()
}

fn id() -> ClientOrderId {
    ClientOrderId::from_u128(0x0193_5f00_0000_7000_8000_0000_0000_00ab)
}

fn body() -> String {
    let kind = RequestKind::Limit { price: "30000".parse().unwrap(), tif: TimeInForce::Ioc };
    OrderRequest { pair: pair(), client_order_id: id(), side: Side::Buy, qty: "0.001".parse().unwrap(), kind }
        .body()
}

/// An order as the venue answers it.
fn order(status: &str) -> Value {
    json!({"symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": id().to_string(),
        "transactTime": NOW, "price": "30000.00", "origQty": "0.001", "executedQty": "0", "cummulativeQuoteQty": "0",
        "status": status, "timeInForce": "IOC", "type": "LIMIT", "side": "BUY", "fills": []})
}

struct Venue(TcpListener);

/// The venue's end of a connection.
struct Peer(WebSocketStream<TcpStream>);

impl Venue {
    async fn open() -> (Self, TradeStreamConfig) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = TradeStreamConfig::new(format!("ws://{}/ws-api/v3", listener.local_addr().unwrap()));
        config.retry_first = Duration::from_millis(5);
        (Self(listener), config)
    }

    async fn accept(&self) -> Peer {
        let (socket, _) = self.0.accept().await.unwrap();
        Peer(tokio_tungstenite::accept_async(socket).await.unwrap())
    }

    /// Accepts a connection and grants its subscription.
    async fn subscribed(&self) -> Peer {
        let mut peer = self.accept().await;
        let request = peer.request().await;
        assert_eq!(request["method"], "userDataStream.subscribe.signature");
        peer.answer(&request, &json!({"subscriptionId": 0})).await;
        peer
    }
}

impl Peer {
    async fn request(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn send(&mut self, frame: &Value) {
        self.0.send(frame.to_string().into()).await.unwrap();
    }

    async fn answer(&mut self, request: &Value, result: &Value) {
        self.send(&json!({"id": request["id"], "status": 200, "result": result})).await;
    }

    async fn refuse(&mut self, request: &Value, status: u16, error: &Value) {
        self.send(&json!({"id": request["id"], "status": status, "error": error})).await;
    }
}

/// A stream that its test drives.
struct Driven {
    stream: TradeStream,
    events: std::collections::VecDeque<TradeEvent>,
}

impl Driven {
    fn new(config: TradeStreamConfig) -> Self {
        let stream = TradeStream::new(config, &credential(), Timestamp::from_millis(NOW));
        Self { stream, events: std::collections::VecDeque::new() }
    }

    /// The next event.
    async fn next(&mut self) -> TradeEvent {
        while self.events.is_empty() {
            let mut events = Vec::new();
            let batch = self.stream.next_batch(&mut events);
            tokio::time::timeout(Duration::from_secs(20), batch).await.expect("something within 20 s");
            self.events.extend(events);
        }
        self.events.pop_front().unwrap()
    }

    /// Drives while the venue does its part.
    async fn with<T>(&mut self, part: impl Future<Output = T>) -> T {
        tokio::pin!(part);
        loop {
            let mut events = Vec::new();
            let done = tokio::select! {
                biased;
                done = &mut part => Some(done),
                () = self.stream.next_batch(&mut events) => None,
                () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the venue's part takes too long"),
            };
            self.events.extend(events);
            if let Some(done) = done {
                return done;
            }
        }
    }

    /// Connected and subscribed.
    async fn up(venue: &Venue, config: TradeStreamConfig) -> (Self, Peer) {
        let mut driven = Self::new(config);
        let peer = driven.with(venue.subscribed()).await;
        assert_eq!(driven.next().await, TradeEvent::Up);
        (driven, peer)
    }

    /// The answer to this request, which is the next event.
    async fn answer(&mut self, id: AskId) -> Result<VenueStatus, VenueError> {
        match self.next().await {
            TradeEvent::Answer { id: answered, result } if answered == id => {
                Call::place("").read(result).map(|order| order.status)
            }
            other => panic!("{other:?} instead of the answer to {id:?}"),
        }
    }

    /// That the connection is down, which is the next event; why, and when it is tried again.
    async fn down(&mut self) -> (String, Duration) {
        match self.next().await {
            TradeEvent::Down { reason, retry_in } => (reason, retry_in),
            other => panic!("{other:?} instead of down"),
        }
    }
}

fn is_retry(result: &Result<VenueStatus, VenueError>) -> bool {
    matches!(result, Err(VenueError::Retry { .. }))
}

fn is_unknown(result: &Result<VenueStatus, VenueError>) -> bool {
    matches!(result, Err(VenueError::Unknown { .. }))
}

#[tokio::test]
async fn it_is_up_only_once_the_subscription_is_acknowledged() {
    let (venue, config) = Venue::open().await;
    let mut driven = Driven::new(config);
    let (mut peer, request) = driven
        .with(async {
            let mut peer = venue.accept().await;
            let request = peer.request().await;
            (peer, request)
        })
        .await;
    assert!(!driven.stream.is_up());
    let early = driven.stream.place(&body(), at());
    let result = driven.answer(early).await;
    assert!(is_retry(&result), "{result:?}");
    assert!(driven.events.is_empty());
    peer.answer(&request, &json!({"subscriptionId": 0})).await;
    assert_eq!(driven.next().await, TradeEvent::Up);
    assert!(driven.stream.is_up());
    let params = &request["params"];
    assert_eq!(params["apiKey"], KEY);
    let at = params["timestamp"].as_i64().unwrap();
    assert!((NOW..NOW + 20_000).contains(&at), "{at}");
    let payload = format!("apiKey={KEY}&recvWindow=5000&timestamp={at}");
    assert_eq!(params["signature"], credential().signer().rest(&payload));
}

#[tokio::test]
async fn an_order_is_sent_as_it_was_journaled_and_its_answer_read() {
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let asked = driven.stream.place(&body(), at());
    let request = driven.with(peer.request()).await;
    assert_eq!(request["method"], "order.place");
    let mut params = request["params"].as_object().unwrap().clone();
    let signature = params.remove("signature").unwrap();
    let sorted: BTreeMap<_, _> = params
        .iter()
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let joined: Vec<_> = sorted.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(signature, credential().signer().rest(&joined.join("&")));
    assert_eq!(params["timestamp"], at().millis(), "it was stamped before it was journaled");
    for name in ["apiKey", "recvWindow", "timestamp"] {
        assert!(params.remove(name).is_some(), "{name}");
    }
    let journaled: BTreeMap<_, _> = body()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    assert_eq!(params.into_iter().collect::<BTreeMap<_, _>>(), journaled);
    peer.answer(&request, &order("EXPIRED")).await;
    assert_eq!(driven.answer(asked).await, Ok(VenueStatus::Expired));

    let asked = driven.stream.cancel(&pair(), id(), at());
    let request = driven.with(peer.request()).await;
    assert_eq!(
        (&request["method"], &request["params"]["origClientOrderId"]),
        (&json!("order.cancel"), &json!(id()))
    );
    assert_eq!(request["params"]["timestamp"], at().millis());
    peer.refuse(&request, 400, &json!({"code": -2011, "msg": "Unknown order sent."})).await;
    let result = driven.answer(asked).await;
    assert!(matches!(result, Err(VenueError::Rejected { code: -2011, .. })), "{result:?}");

    let asked = driven.stream.call(&Call::order(&pair(), id()), at());
    let request = driven.with(peer.request()).await;
    assert_eq!(
        (&request["method"], &request["params"]["symbol"]),
        (&json!("order.status"), &json!("BTCUSDT"))
    );
    peer.answer(&request, &order("NEW")).await;
    assert_eq!(driven.answer(asked).await, Ok(VenueStatus::New));
}

#[tokio::test]
async fn an_order_whose_socket_closes_before_the_answer_is_unknown_exactly_once() {
    for breaks in ["closed", "half an answer", "reset"] {
        let (venue, config) = Venue::open().await;
        let (mut driven, mut peer) = Driven::up(&venue, config).await;
        let (placed, cancelled, queried) = (
            driven.stream.place(&body(), at()),
            driven.stream.cancel(&pair(), id(), at()),
            driven.stream.call(&Call::order(&pair(), id()), at()),
        );
        let requests =
            driven.with(async { [peer.request().await, peer.request().await, peer.request().await] }).await;
        match breaks {
            "closed" => peer.0.close(None).await.unwrap(),
            // A frame of 100 bytes of which 4 come.
            "half an answer" => peer.0.get_mut().write_all(b"\x81\x64half").await.unwrap(),
            _ => {}
        }
        drop(peer);
        for (id, is_order) in [(placed, true), (cancelled, true), (queried, false)] {
            let result = driven.answer(id).await;
            assert!(if is_order { is_unknown(&result) } else { is_retry(&result) }, "{breaks}: {result:?}");
        }
        assert!(matches!(driven.next().await, TradeEvent::Down { .. }));

        // Late answers on the next connection are heard of no more.
        let mut peer = driven.with(venue.subscribed()).await;
        assert_eq!(driven.next().await, TradeEvent::Up);
        for request in &requests {
            peer.answer(request, &order("FILLED")).await;
        }
        let asked = driven.stream.place(&body(), at());
        let request = driven.with(peer.request()).await;
        assert!(requests.iter().all(|earlier| earlier["id"] != request["id"]), "{request}");
        peer.answer(&request, &order("NEW")).await;
        assert_eq!(driven.answer(asked).await, Ok(VenueStatus::New));
        assert_eq!(driven.stream.counters().stray_answers, 3);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_the_order_unknown_and_the_connection_up() {
    let (venue, mut config) = Venue::open().await;
    config.answer_within = Duration::from_millis(80);
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let lost = driven.stream.place(&body(), at());
    let request = driven.with(peer.request()).await;
    let result = driven.answer(lost).await;
    assert!(is_unknown(&result), "{result:?}");
    // It comes after all, and is told by the user's own stream alone.
    peer.answer(&request, &order("FILLED")).await;
    let asked = driven.stream.call(&Call::order(&pair(), id()), at());
    let request = driven.with(peer.request()).await;
    peer.answer(&request, &order("FILLED")).await;
    assert_eq!(driven.answer(asked).await, Ok(VenueStatus::Filled));
    assert_eq!((driven.stream.counters().stray_answers, driven.stream.counters().connects), (1, 1));
}

#[tokio::test]
async fn an_answer_about_another_order_leaves_the_order_unknown() {
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    for (field, other) in [("clientOrderId", "another"), ("symbol", "ETHUSDT"), ("side", "SELL")] {
        let mut foreign = order("FILLED");
        foreign[field] = json!(other);
        let (place, cancel) = (Call::place(&body()), Call::cancel(&pair(), id()));
        let query = Call::order(&pair(), id());
        let asked = [
            driven.stream.call(&place, at()),
            driven.stream.call(&cancel, at()),
            driven.stream.call(&query, at()),
        ];
        let mut answers = Vec::new();
        for asked in asked {
            let request = driven.with(peer.request()).await;
            peer.answer(&request, &foreign).await;
            let TradeEvent::Answer { id, result } = driven.next().await else { panic!() };
            assert_eq!(id, asked);
            answers.push(result);
        }
        let [placed, canceled, found] = answers.try_into().unwrap();
        let placed = place.read(placed).map(|order| order.status);
        assert!(is_unknown(&placed), "{field}: {placed:?}");
        let (canceled, found) = (cancel.read(canceled), query.read(found));
        if field == "side" {
            // What is canceled or asked for is named by its id and pair alone.
            assert!(canceled.is_ok() && found.is_ok(), "{canceled:?} {found:?}");
        } else {
            assert!(matches!(canceled, Err(VenueError::Unknown { .. })), "{field}: {canceled:?}");
            assert!(matches!(found, Err(VenueError::Retry { .. })), "{field}: {found:?}");
        }
    }
    let asked = driven.stream.place(&body(), at());
    let request = driven.with(peer.request()).await;
    peer.answer(&request, &order("NEW")).await;
    assert_eq!(driven.answer(asked).await, Ok(VenueStatus::New));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_leaves_the_order_unknown() {
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let mut acknowledged = order("NEW");
    acknowledged.as_object_mut().unwrap().remove("status");
    let mut impossible = order("NEW");
    impossible["executedQty"] = json!("-1");
    for result in [acknowledged, impossible, Value::Null] {
        let asked = driven.stream.place(&body(), at());
        let request = driven.with(peer.request()).await;
        peer.answer(&request, &result).await;
        let result = driven.answer(asked).await;
        assert!(is_unknown(&result), "{result:?}");
    }
    for (status, code, is_expected) in [
        (400, -1007, is_unknown as fn(&_) -> bool),
        (503, -1008, is_unknown),
        (400, -1015, is_retry),
        (400, -2010, |result| matches!(result, Err(VenueError::Rejected { code: -2010, .. }))),
        (401, -2015, |result| matches!(result, Err(VenueError::Auth { code: -2015, .. }))),
    ] {
        let asked = driven.stream.place(&body(), at());
        let request = driven.with(peer.request()).await;
        peer.refuse(&request, status, &json!({"code": code, "msg": "words"})).await;
        let result = driven.answer(asked).await;
        assert!(is_expected(&result), "{status} {code}: {result:?}");
    }
}

#[tokio::test]
async fn the_venues_time_is_asked_for_where_ours_is_refused() {
    let clock = json!({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."});
    let (venue, config) = Venue::open().await;
    let mut driven = Driven::new(config);
    let later = NOW + 3_600_000;
    let mut peer = driven
        .with(async {
            let mut peer = venue.accept().await;
            let request = peer.request().await;
            peer.refuse(&request, 400, &clock).await;
            let request = peer.request().await;
            assert_eq!(request["method"], "time");
            peer.answer(&request, &json!({"serverTime": later})).await;
            let request = peer.request().await;
            assert!(request["params"]["timestamp"].as_i64().unwrap() >= later, "{request}");
            peer.answer(&request, &json!({"subscriptionId": 0})).await;
            peer
        })
        .await;
    let TradeEvent::Time { at: told, .. } = driven.next().await else { panic!() };
    assert_eq!(told.millis(), later);
    assert_eq!(driven.next().await, TradeEvent::Up);

    // For a call the owner is told, who stamped it.
    let asked = driven.stream.place(&body(), at());
    let request = driven.with(peer.request()).await;
    peer.refuse(&request, 400, &clock).await;
    let result = driven.answer(asked).await;
    assert!(matches!(result, Err(VenueError::Clock { .. })), "{result:?}");
    let time = driven.stream.call(&Call::time(), at());
    let request = driven.with(peer.request()).await;
    assert_eq!((&request["method"], &request["params"]), (&json!("time"), &Value::Null));
    peer.answer(&request, &json!({"serverTime": 2 * later})).await;
    let TradeEvent::Answer { id, result } = driven.next().await else { panic!() };
    assert_eq!((id, Call::time().read(result)), (time, Ok(Timestamp::from_millis(2 * later))));
}

#[tokio::test]
async fn every_question_can_be_asked_over_the_socket() {
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let since = Timestamp::from_millis(NOW);
    let calls = [
        (driven.stream.call(&Call::open_orders(Some(&pair())), at()), "openOrders.status", "symbol=BTCUSDT"),
        (
            driven.stream.call(&Call::orders_since(&pair(), OrdersFrom::Since(since)), at()),
            "allOrders",
            "limit=1000&startTime=1700000000000&symbol=BTCUSDT",
        ),
        (
            driven.stream.call(&Call::executions(&pair(), ExecutionsFrom::Order(28)), at()),
            "myTrades",
            "limit=1000&orderId=28&symbol=BTCUSDT",
        ),
        (driven.stream.call(&Call::account(), at()), "account.status", "omitZeroBalances=true"),
    ];
    for (id, method, parameters) in calls {
        let request = driven.with(peer.request()).await;
        let mut params = request["params"].as_object().unwrap().clone();
        for name in ["apiKey", "recvWindow", "timestamp", "signature"] {
            assert!(params.remove(name).is_some(), "{method} {name}");
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let sent: Vec<String> =
            params.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        assert_eq!((&request["method"], sent.join("&").as_str()), (&json!(method), parameters));
        peer.answer(&request, &json!([])).await;
        let TradeEvent::Answer { id: answered, result } = driven.next().await else { panic!() };
        assert_eq!((answered, result), (id, Ok(b"[]".to_vec())));
    }
}

#[tokio::test]
async fn a_ban_holds_requests_and_reconnects_back() {
    let (venue, config) = Venue::open().await;
    let budget = SharedBudget::default();
    let (driven, mut peer) = Driven::up(&venue, config).await;
    let mut driven = Driven { stream: driven.stream.with_budget(budget.clone()), events: driven.events };
    let asked = driven.stream.place(&body(), at());
    let request = driven.with(peer.request()).await;
    let data = json!({"serverTime": NOW, "retryAfter": NOW + 120_000});
    let error = json!({"code": -1003, "msg": "Way too much request weight used; IP banned.", "data": data});
    peer.refuse(&request, 418, &error).await;
    let result = driven.answer(asked).await;
    let Err(VenueError::Retry { after, .. }) = result else { panic!("{result:?}") };
    assert_eq!(after, Some(Duration::from_mins(2)));
    assert!(budget.ask(Cost::CANCEL, Lane::Exit).is_err());
    let held_back = driven.stream.cancel(&pair(), id(), at());
    let result = driven.answer(held_back).await;
    let Err(VenueError::Retry { after: Some(after), .. }) = result else { panic!("{result:?}") };
    assert!(after > Duration::from_secs(110), "{after:?}");
    // And the next connection waits as long.
    peer.0.close(None).await.unwrap();
    let (_, retry_in) = driven.down().await;
    assert!(retry_in > Duration::from_secs(110), "{retry_in:?}");
}

#[tokio::test]
async fn a_refused_handshake_is_learned_from() {
    let (venue, config) = Venue::open().await;
    let mut driven = Driven::new(config);
    let refuse = async {
        let (mut socket, _) = venue.0.accept().await.unwrap();
        let answer = "HTTP/1.1 418 I'm a teapot\r\nRetry-After: 77\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket
    };
    let _socket = driven.with(refuse).await;
    let (reason, retry_in) = driven.down().await;
    assert!(reason.contains("418"), "{reason}");
    assert!(retry_in > Duration::from_secs(70) && retry_in <= Duration::from_secs(77), "{retry_in:?}");
}

#[tokio::test]
async fn a_key_that_is_refused_is_told_of() {
    let (venue, config) = Venue::open().await;
    let mut driven = Driven::new(config);
    let _peer = driven
        .with(async {
            let mut peer = venue.accept().await;
            let request = peer.request().await;
            let error = json!({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."});
            peer.refuse(&request, 401, &error).await;
            peer
        })
        .await;
    let TradeEvent::Refused(error) = driven.next().await else { panic!() };
    assert!(matches!(error, VenueError::Auth { code: -2015, .. }), "{error}");
    let (reason, _) = driven.down().await;
    assert!(reason.contains("refused") && !reason.contains(KEY), "{reason}");
    assert!(!format!("{:?}", driven.stream).contains(KEY));
}

#[tokio::test]
async fn the_users_own_stream_is_told() {
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let event = |event: Value| json!({"subscriptionId": 0, "event": event});
    peer.send(&event(json!({"e": "executionReport", "E": NOW, "s": "BTCUSDT", "c": "cancel", "S": "SELL", "o": "LIMIT",
        "f": "GTC", "q": "1.0", "p": "2500.00", "P": "0", "C": id(), "x": "TRADE", "X": "PARTIALLY_FILLED", "r": "NONE",
        "i": 12, "l": "0.4", "z": "0.4", "L": "2500.00", "n": "0.001", "N": "BNB", "T": NOW, "t": 98, "I": 5, "w": true,
        "m": true, "M": false, "O": NOW, "Z": "1000.00", "Y": "1000.00", "Q": "0"})))
        .await;
    let balances = json!([{"a": "BTC", "f": "1.5", "l": "0.5"}]);
    peer.send(&event(json!({"e": "outboundAccountPosition", "E": NOW, "u": NOW, "B": balances}))).await;
    peer.send(&event(json!({"e": "balanceUpdate", "E": NOW, "a": "BTC", "d": "-0.1", "T": NOW}))).await;
    peer.send(&event(json!({"e": "somethingNew", "E": NOW}))).await;
    peer.send(&event(json!({"e": "eventStreamTerminated", "E": NOW}))).await;
    let TradeEvent::Report(report) = driven.next().await else { panic!() };
    assert_eq!(
        (report.order.client_order_id.as_str(), report.order.status),
        (&*id().to_string(), VenueStatus::PartiallyFilled)
    );
    let execution = report.execution.unwrap();
    assert_eq!(
        (execution.trade_id, execution.qty.decimal().normalize().to_string().as_str(), execution.is_maker),
        (98, "0.4", true)
    );
    let TradeEvent::Balances { balances, .. } = driven.next().await else { panic!() };
    assert_eq!(
        (balances[0].free.to_string(), balances[0].locked.to_string()),
        ("1.5".to_owned(), "0.5".to_owned())
    );
    let TradeEvent::Moved { asset, delta, .. } = driven.next().await else { panic!() };
    assert_eq!((asset.as_str(), delta.to_string().as_str()), ("BTC", "-0.1"));
    assert!(driven.down().await.0.contains("ended the user's stream"));
    driven.with(venue.subscribed()).await;
    assert_eq!(driven.next().await, TradeEvent::Up);
}

#[tokio::test]
async fn an_announced_end_waits_for_the_answers_and_reconnects_at_once() {
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let asked = driven.stream.place(&body(), at());
    let request = driven.with(peer.request()).await;
    peer.send(&json!({"event": {"e": "serverShutdown", "E": NOW}})).await;
    peer.answer(&request, &order("NEW")).await;
    assert_eq!(driven.answer(asked).await, Ok(VenueStatus::New));
    let (reason, retry_in) = driven.down().await;
    assert!(reason.contains("shutdown") && retry_in.is_zero(), "{reason} {retry_in:?}");
    driven.with(venue.subscribed()).await;
}

#[tokio::test]
async fn a_connection_is_renewed_before_its_time_is_up() {
    let (venue, mut config) = Venue::open().await;
    config.rotate_after = Duration::from_millis(200);
    let (mut driven, _peer) = Driven::up(&venue, config).await;
    let (reason, retry_in) = driven.down().await;
    assert!(reason.contains("renewed") && retry_in.is_zero(), "{reason} {retry_in:?}");
}

#[tokio::test]
async fn a_dead_peer_is_noticed_and_what_was_asked_of_it_is_unknown() {
    let (venue, mut config) = Venue::open().await;
    config.ping_every = Duration::from_millis(50);
    config.dead_after = Duration::from_millis(300);
    let (mut driven, _peer) = Driven::up(&venue, config).await;
    let asked = driven.stream.place(&body(), at());
    // The socket is open and nobody reads or answers.
    let result = driven.answer(asked).await;
    assert!(is_unknown(&result), "{result:?}");
    assert!(driven.down().await.0.contains("nothing was heard"));
}

#[tokio::test]
async fn a_socket_that_an_order_waits_for_is_opened_within_a_second_of_the_last_try() {
    let (venue, mut config) = Venue::open().await;
    config.retry_first = Duration::from_mins(1);
    let (mut driven, peer) = Driven::up(&venue, config).await;
    drop(peer);
    driven.down().await;
    driven.stream.dial_soon();
    let dialed = driven.with(tokio::time::timeout(Duration::from_secs(10), venue.subscribed())).await;
    assert!(dialed.is_ok(), "the next try waits for half a minute at least");
}

#[tokio::test]
async fn pings_keep_a_silent_venue_alive() {
    let (venue, mut config) = Venue::open().await;
    config.ping_every = Duration::from_millis(30);
    config.dead_after = Duration::from_millis(300);
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let listen = async {
        for _ in 0..15 {
            while !matches!(peer.0.next().await.unwrap().unwrap(), Message::Ping(_)) {}
        }
    };
    driven.with(listen).await;
    assert!(driven.events.is_empty(), "{:?}", driven.events);
}

#[tokio::test]
async fn ten_bad_frames_end_a_connection() {
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    for frame in ["garbage", "[]", r#"{"event":{"e":"executionReport"}}"#, r#"{"id":1,"status":200"#]
        .iter()
        .cycle()
        .take(10)
    {
        peer.0.send((*frame).into()).await.unwrap();
    }
    assert!(driven.down().await.0.contains("10 bad frames"));
    assert_eq!(driven.stream.counters().bad_frames, 10);
}

#[tokio::test]
async fn what_the_venue_is_slow_to_take_in_goes_out_whole() {
    let (venue, mut config) = Venue::open().await;
    // Nothing else is to push it out.
    for wait in [&mut config.ping_every, &mut config.dead_after, &mut config.answer_within] {
        *wait = Duration::from_mins(2);
    }
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    // More than any socket holds, so that most of it is still here when it counts as sent.
    driven.stream.place(&format!("{}&note={}", body(), "x".repeat(12 << 20)), at());
    let request = driven.with(peer.request()).await;
    assert_eq!(request["params"]["note"].as_str().unwrap().len(), 12 << 20);
    assert!(driven.events.is_empty(), "{:?}", driven.events);
}

#[tokio::test]
async fn no_request_is_sent_twice_or_lost_however_often_its_owner_stops_waiting() {
    const ORDERS: usize = 300;
    let (venue, config) = Venue::open().await;
    let (mut driven, mut peer) = Driven::up(&venue, config).await;
    let mut answered = BTreeSet::new();
    let venue = tokio::spawn(async move {
        let mut ids = Vec::new();
        for _ in 0..ORDERS {
            let request = peer.request().await;
            ids.push(request["id"].as_u64().unwrap());
            peer.answer(&request, &order("NEW")).await;
        }
        // Nothing more: a second copy of anything would be here before the answer to this is asked for.
        let last = peer.request().await;
        assert_eq!(last["method"], "order.status");
        ids
    });
    let mut asked = Vec::new();
    let mut is_ended = false;
    while !venue.is_finished() {
        if asked.len() < ORDERS {
            asked.push(driven.stream.place(&body(), at()));
        } else if answered.len() == ORDERS && !is_ended {
            is_ended = true;
            driven.stream.call(&Call::order(&pair(), id()), at());
        }
        let mut events = Vec::new();
        // It gets one look, and is dropped in the middle of whatever it was about to do.
        tokio::select! {
            biased;
            () = driven.stream.next_batch(&mut events) => {}
            () = tokio::task::yield_now() => {}
        }
        // The last one's answer never comes.
        for event in events.into_iter().filter(|_| !is_ended) {
            let TradeEvent::Answer { id, result } = event else { panic!("{event:?}") };
            assert!(result.is_ok(), "{result:?}");
            assert!(answered.insert(id), "{id:?} was answered twice");
        }
    }
    let sent = venue.await.unwrap();
    assert_eq!(sent, asked.iter().map(|id| id.0).collect::<Vec<_>>());
}
