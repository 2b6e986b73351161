//! A connection against a server that misbehaves in every way a venue does.

use std::time::Duration;

use connectors::binance::stream::{MarketStream, StreamConfig, StreamEvent};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"100.5","q":"1","T":1,"m":true,"M":true}}"#;

struct Venue(TcpListener);

impl Venue {
    async fn open() -> (Self, StreamConfig) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = StreamConfig::new(format!("ws://{}", listener.local_addr().unwrap()));
        config.retry_first = Duration::from_millis(5);
        config.request_pause = Duration::from_millis(5);
        (Self(listener), config)
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (socket, _) = self.0.accept().await.unwrap();
        tokio_tungstenite::accept_async(socket).await.unwrap()
    }

    /// Accepts a connection and reads what it asks for.
    async fn subscribed(&self) -> (WebSocketStream<TcpStream>, String) {
        let mut socket = self.accept().await;
        let request = text(&mut socket).await;
        (socket, request)
    }
}

async fn text(socket: &mut WebSocketStream<TcpStream>) -> String {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return text.to_string();
        }
    }
}

/// Drives a stream for ever and passes on what it says.
fn drive(mut stream: MarketStream) -> tokio::sync::mpsc::UnboundedReceiver<StreamEvent> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut events = Vec::new();
            stream.next_batch(&mut events).await;
            for event in events {
                if sender.send(event).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

async fn until(
    events: &mut tokio::sync::mpsc::UnboundedReceiver<StreamEvent>,
    wanted: impl Fn(&StreamEvent) -> bool,
) -> StreamEvent {
    let search = async {
        loop {
            let event = events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.expect("it happens within 20 s")
}

fn disconnected(reason: &str) -> impl Fn(&StreamEvent) -> bool {
    move |event| matches!(event, StreamEvent::Disconnected { reason: given, .. } if given.contains(reason))
}

fn btc(config: StreamConfig) -> MarketStream {
    let mut stream = MarketStream::new(config);
    stream.subscribe(&"BTC/USDT".parse().unwrap());
    stream
}

#[tokio::test]
async fn a_dropped_connection_comes_back_and_subscribes_again() {
    let (venue, config) = Venue::open().await;
    let mut events = drive(btc(config));
    for _ in 0..3 {
        let (mut socket, request) = venue.subscribed().await;
        assert!(request.contains(r#""params":["btcusdt@trade"]"#), "{request}");
        socket.send(TRADE.into()).await.unwrap();
        let tick = until(&mut events, |event| matches!(event, StreamEvent::Tick(..))).await;
        let StreamEvent::Tick(_, tick) = tick else { panic!() };
        assert_eq!(tick.price.to_string(), "100.5");
        drop(socket);
        until(&mut events, disconnected("")).await;
    }
}

#[tokio::test]
async fn an_announced_shutdown_is_answered_by_a_new_connection() {
    let (venue, config) = Venue::open().await;
    let mut events = drive(btc(config));
    let (mut socket, _) = venue.subscribed().await;
    socket.send(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#.into()).await.unwrap();
    until(&mut events, disconnected("announced a shutdown")).await;
    venue.subscribed().await;
}

#[tokio::test]
async fn ten_bad_frames_end_a_connection_and_impossible_prices_are_survived() {
    let (venue, config) = Venue::open().await;
    let mut events = drive(btc(config));
    let (mut socket, _) = venue.subscribed().await;
    for _ in 0..9 {
        socket.send("garbage".into()).await.unwrap();
    }
    socket.send(TRADE.into()).await.unwrap();
    until(&mut events, |event| matches!(event, StreamEvent::Tick(..))).await;
    for impossible in ["NaN", "0", "-1", "1e30"].iter().cycle().take(40) {
        socket.send(TRADE.replace("100.5", impossible).into()).await.unwrap();
    }
    socket.send(TRADE.into()).await.unwrap();
    until(&mut events, |event| matches!(event, StreamEvent::Tick(..))).await;
    socket.send("garbage".into()).await.unwrap();
    until(&mut events, disconnected("10 bad frames")).await;
}

#[tokio::test]
async fn an_oversized_message_ends_the_connection() {
    let (venue, config) = Venue::open().await;
    let mut events = drive(btc(config));
    let (mut socket, _) = venue.subscribed().await;
    let _ = socket.send(Message::Text("x".repeat(2 << 20).into())).await;
    until(&mut events, disconnected("too long")).await;
}

#[tokio::test]
async fn a_dead_peer_is_noticed_and_a_silent_symbol_told() {
    let (venue, mut config) = Venue::open().await;
    config.stale_after = Duration::from_millis(50);
    config.ping_every = Duration::from_millis(100);
    config.dead_after = Duration::from_millis(400);
    let mut events = drive(btc(config));
    let (_socket, _) = venue.subscribed().await;
    until(&mut events, |event| matches!(event, StreamEvent::Stale(_))).await;
    // The socket is open and nobody reads or answers.
    until(&mut events, disconnected("nothing was heard")).await;
}

#[tokio::test]
async fn a_connection_is_renewed_before_its_time_is_up() {
    let (venue, mut config) = Venue::open().await;
    config.rotate_after = Duration::from_millis(200);
    config.ping_every = Duration::from_millis(50);
    let mut events = drive(btc(config));
    let (_socket, _) = venue.subscribed().await;
    until(&mut events, disconnected("renewed")).await;
    venue.subscribed().await;
}

#[tokio::test]
async fn pairs_come_and_go_while_connected() {
    let (venue, config) = Venue::open().await;
    let mut stream = btc(config);
    let mut events = Vec::new();
    let (accepted, ()) = tokio::join!(venue.accept(), stream.next_batch(&mut events));
    let mut socket = accepted;
    assert_eq!(events, [StreamEvent::Connected]);
    let eth = stream.subscribe(&"ETH/USDT".parse().unwrap());
    stream.unsubscribe(eth);
    let drive = async {
        loop {
            stream.next_batch(&mut Vec::new()).await;
        }
    };
    let asked = async { [text(&mut socket).await, text(&mut socket).await, text(&mut socket).await] };
    let asked = tokio::select! { asked = asked => asked, () = drive => unreachable!() };
    assert!(asked[0].contains("SUBSCRIBE") && asked[0].contains("btcusdt@trade"), "{asked:?}");
    assert!(asked[1].contains(r#""SUBSCRIBE""#) && asked[1].contains("ethusdt@trade"), "{asked:?}");
    assert!(asked[2].contains("UNSUBSCRIBE") && asked[2].contains("ethusdt@trade"), "{asked:?}");
}

#[tokio::test]
async fn a_venue_that_is_not_there_is_tried_again() {
    let (venue, config) = Venue::open().await;
    let address = venue.0.local_addr().unwrap();
    drop(venue);
    let mut events = drive(btc(config));
    until(&mut events, disconnected("cannot connect")).await;
    let venue = Venue(TcpListener::bind(address).await.unwrap());
    venue.subscribed().await;
}
