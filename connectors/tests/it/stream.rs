//! A connection against a server that misbehaves in every way a venue does.

use std::time::Duration;

use connectors::binance::MAX_STREAMS;
use connectors::binance::stream::{MarketStream, StreamConfig, StreamEvent, TOO_MANY_STREAMS};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

fn pair(text: &str) -> model::Pair {
    text.parse().unwrap()
}

fn btc(config: StreamConfig) -> MarketStream {
    let mut stream = MarketStream::new(config);
    stream.subscribe(&pair("BTC/USDT"));
    stream
}

/// Accepts a stream's connection.
async fn accepted(venue: &Venue, stream: &mut MarketStream) -> WebSocketStream<TcpStream> {
    let mut events = Vec::new();
    let (socket, _) = tokio::join!(venue.accept(), stream.next_batch(&mut events));
    assert_eq!(events, [StreamEvent::Connected]);
    socket
}

/// Drives a stream until it is down for this reason; whether that happens within 20 s.
async fn ends_with(stream: &mut MarketStream, reason: &str) -> bool {
    let search = async {
        let mut events = Vec::new();
        while !events.iter().any(disconnected(reason)) {
            events.clear();
            stream.next_batch(&mut events).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.is_ok()
}

/// Drives a stream until it has asked this often, each time at least the pause after the last message.
async fn asked(
    stream: &mut MarketStream,
    socket: &mut WebSocketStream<TcpStream>,
    times: usize,
) -> Vec<String> {
    let listen = async {
        let (mut asked, mut last) = (Vec::new(), None);
        while asked.len() < times {
            let message = socket.next().await.unwrap().unwrap();
            let gap = last.replace(std::time::Instant::now()).map_or(Duration::MAX, |last| last.elapsed());
            assert!(gap > Duration::from_millis(50), "{gap:?} before {message:?}");
            asked.extend(message.is_text().then(|| message.into_text().unwrap().to_string()));
        }
        asked
    };
    let drive = async {
        loop {
            stream.next_batch(&mut Vec::new()).await;
        }
    };
    tokio::select! { asked = listen => asked, () = drive => unreachable!() }
}

#[tokio::test]
async fn a_dropped_connection_comes_back_and_subscribes_again() {
    let (venue, config) = Venue::open().await;
    let mut events = drive(btc(config));
    for _ in 0..3 {
        let (mut socket, request) = venue.subscribed().await;
        assert!(request.contains(r#""params":["btcusdt@trade"]"#), "{request}");
        socket.send(TRADE.into()).await.unwrap();
        let tick = until(&mut events, |event| matches!(event, StreamEvent::Tick { .. })).await;
        let StreamEvent::Tick { tick, .. } = tick else { panic!() };
        assert_eq!(tick.price.to_string(), "100.5");
        drop(socket);
        until(&mut events, disconnected("")).await;
    }
}

#[tokio::test]
async fn an_announced_shutdown_is_answered_at_once_and_a_second_one_with_patience() {
    let (venue, config) = Venue::open().await;
    let mut events = drive(btc(config));
    let shutdown = r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#;
    for is_at_once in [true, false] {
        let (mut socket, _) = venue.subscribed().await;
        socket.send(shutdown.into()).await.unwrap();
        let event = until(&mut events, disconnected("announced a shutdown")).await;
        let StreamEvent::Disconnected { retry_in, .. } = event else { panic!() };
        assert_eq!(retry_in.is_zero(), is_at_once, "{retry_in:?}");
    }
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
    until(&mut events, |event| matches!(event, StreamEvent::Tick { .. })).await;
    for impossible in ["NaN", "0", "-1", "1e30"].iter().cycle().take(40) {
        socket.send(TRADE.replace("100.5", impossible).into()).await.unwrap();
    }
    socket.send(TRADE.into()).await.unwrap();
    until(&mut events, |event| matches!(event, StreamEvent::Tick { .. })).await;
    socket.send("garbage".into()).await.unwrap();
    until(&mut events, disconnected("10 bad frames")).await;
}

#[tokio::test]
async fn cut_off_frames_are_counted_and_end_a_connection() {
    let (venue, config) = Venue::open().await;
    let mut stream = btc(config);
    let venue = tokio::spawn(async move {
        let (mut socket, _) = venue.subscribed().await;
        for length in (1..TRADE.len()).step_by(11).take(10) {
            socket.send(TRADE[..length].into()).await.unwrap();
        }
        // A frame of 100 bytes of which 4 come.
        let (mut socket, _) = venue.subscribed().await;
        socket.get_mut().write_all(b"\x81\x64half").await.unwrap();
        drop(socket);
        venue.subscribed().await;
    });
    assert!(ends_with(&mut stream, "10 bad frames").await);
    assert!(ends_with(&mut stream, "").await);
    assert_eq!(stream.counters().bad_frames, 10);
    tokio::select! { ended = venue => ended.unwrap(), _ = ends_with(&mut stream, "never") => panic!() }
}

#[tokio::test]
async fn an_oversized_message_is_counted_and_ends_the_connection() {
    let (venue, config) = Venue::open().await;
    let mut stream = btc(config);
    tokio::spawn(async move {
        let (mut socket, _) = venue.subscribed().await;
        let _ = socket.send(Message::Text("x".repeat(2 << 20).into())).await;
    });
    assert!(ends_with(&mut stream, "too long").await);
    assert_eq!(stream.counters().oversized_frames, 1);
}

#[tokio::test]
async fn pings_are_answered_and_their_answers_keep_a_silent_venue_alive() {
    let (venue, mut config) = Venue::open().await;
    config.ping_every = Duration::from_millis(40);
    config.dead_after = Duration::from_millis(300);
    let mut events = drive(btc(config));
    let (mut socket, _) = venue.subscribed().await;
    socket.send(Message::Ping("are you there?".into())).await.unwrap();
    let (mut asked, mut answered) = (0, 0);
    while asked < 15 {
        match socket.next().await.unwrap().unwrap() {
            Message::Ping(_) => asked += 1,
            Message::Pong(payload) if payload == "are you there?" => answered += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, 1);
    socket.send(TRADE.into()).await.unwrap();
    until(&mut events, |event| {
        assert!(!matches!(event, StreamEvent::Disconnected { .. }), "{event:?}");
        matches!(event, StreamEvent::Tick { .. })
    })
    .await;
}

#[tokio::test]
async fn silence_is_told_once_of_each_symbol_until_it_is_heard_again() {
    let (venue, mut config) = Venue::open().await;
    config.stale_after = Duration::from_millis(80);
    let mut stream = btc(config);
    let (btc, eth) = (stream.subscribe(&pair("BTC/USDT")), stream.subscribe(&pair("ETH/USDT")));
    let mut events = drive(stream);
    let (mut socket, _) = venue.subscribed().await;
    for told in [vec![btc, eth], vec![btc]] {
        for id in told {
            assert_eq!(
                until(&mut events, |e| matches!(e, StreamEvent::Stale(_))).await,
                StreamEvent::Stale(id)
            );
        }
        socket.send(TRADE.into()).await.unwrap();
    }
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
    config.rotate_after = Duration::from_millis(700);
    config.ping_every = Duration::from_millis(50);
    let mut events = drive(btc(config));
    let (_socket, _) = venue.subscribed().await;
    until(&mut events, disconnected("renewed")).await;
    venue.subscribed().await;
}

#[tokio::test]
async fn pairs_come_and_go_while_connected_in_few_and_spaced_requests() {
    let (venue, mut config) = Venue::open().await;
    config.request_pause = Duration::from_millis(100);
    config.ping_every = Duration::from_millis(20);
    let mut stream = btc(config);
    let mut socket = accepted(&venue, &mut stream).await;
    let ids: Vec<_> = (0..450).map(|number| stream.subscribe(&pair(&format!("C{number}/USDT")))).collect();
    let fleeting = stream.subscribe(&pair("ETH/USDT"));
    stream.unsubscribe(fleeting);
    let asked = asked(&mut stream, &mut socket, 3).await;
    assert!(asked.iter().all(|request| request.contains(r#""SUBSCRIBE""#)), "{asked:?}");
    assert_eq!(
        asked.iter().map(|request| request.matches("@trade").count()).collect::<Vec<_>>(),
        [200, 200, 51]
    );
    assert!(!asked.concat().contains("ethusdt"), "a pair dropped at once is not asked for");

    for id in ids {
        stream.unsubscribe(id);
    }
    let asked = self::asked(&mut stream, &mut socket, 3).await;
    assert!(asked.iter().all(|request| request.contains(r#""UNSUBSCRIBE""#)), "{asked:?}");
}

#[tokio::test]
async fn a_stream_beyond_the_venues_limit_is_refused_and_may_come_later() {
    let (_venue, config) = Venue::open().await;
    let mut stream = MarketStream::new(config);
    let first = stream.subscribe(&pair("BTC/USDT"));
    for number in 1..MAX_STREAMS {
        stream.subscribe(&pair(&format!("C{number}/USDT")));
    }
    assert_eq!(stream.room(), 0);
    let beyond = stream.subscribe(&pair("ETH/USDT"));
    assert_eq!(stream.pair(beyond), Some(&pair("ETH/USDT")));
    let mut events = Vec::new();
    stream.next_batch(&mut events).await;
    assert_eq!(events, [StreamEvent::Refused(TOO_MANY_STREAMS)]);
    stream.unsubscribe(first);
    assert_eq!((stream.room(), stream.subscribe(&pair("ETH/USDT")), stream.room()), (1, beyond, 0));
}

#[tokio::test]
async fn a_ticks_trade_id_is_known() {
    let (venue, config) = Venue::open().await;
    let mut stream = btc(config);
    let id = stream.subscribe(&pair("BTC/USDT"));
    assert_eq!(stream.last_trade_id(id), None);
    let mut socket = accepted(&venue, &mut stream).await;
    socket.send(TRADE.replace(r#""t":1"#, r#""t":3735683259"#).into()).await.unwrap();
    stream.next_batch(&mut Vec::new()).await;
    assert_eq!(stream.last_trade_id(id), Some(3_735_683_259));
}

#[tokio::test]
async fn a_secure_address_is_spoken_to_in_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (venue, config) = Venue::open().await;
    let secure = StreamConfig { url: config.url.replace("ws://", "wss://"), ..config };
    let mut events = drive(btc(secure));
    let (mut socket, _) = venue.0.accept().await.unwrap();
    let mut hello = [0; 2];
    socket.read_exact(&mut hello).await.unwrap();
    assert_eq!(hello, [0x16, 3], "the head of a TLS handshake");
    drop(socket);
    until(&mut events, disconnected("cannot connect")).await;
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

#[tokio::test]
async fn no_trade_of_a_burst_is_lost() {
    let (venue, config) = Venue::open().await;
    let mut stream = MarketStream::new(config);
    stream.subscribe(&"BTC/USDT".parse().unwrap());
    let mut events = drive(stream);
    let (mut socket, _) = venue.subscribed().await;
    // Several batches arrive before the owner has a turn.
    for _ in 0..2_000 {
        socket.feed(Message::Text(TRADE.into())).await.unwrap();
    }
    socket.flush().await.unwrap();
    let mut ticks = 0;
    while ticks < 2_000 {
        let event = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("only {ticks} were heard")).unwrap();
        ticks += u32::from(matches!(event, StreamEvent::Tick { .. }));
    }
}
