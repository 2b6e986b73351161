//! The stream, as one reads it who follows an account.

use std::time::{Duration, Instant};

use model::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::bots::SEED;
use crate::server::{Server, Tenant};

/// An address where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

/// A reader in the midst of a stream.
struct Reader {
    answer: reqwest::Response,
    text: String,
    /// The last id that was seen.
    last: String,
}

/// What is read: an event's name and data.
type Frame = (String, serde_json::Value);

impl Reader {
    async fn open(server: &Server, who: &Tenant, last: Option<&str>) -> Self {
        let request = reqwest::Client::new().get(format!("{}/v1/stream", server.url)).bearer_auth(&who.key);
        let request = match last {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let last = last.unwrap_or_default().to_owned();
        let mut reader = Self { answer, text: String::new(), last };
        // The place to go on from comes first.
        while reader.last.is_empty() {
            reader.more().await;
            reader.take();
        }
        reader
    }

    async fn more(&mut self) {
        let chunk = timeout(Duration::from_secs(20), self.answer.chunk()).await.unwrap().unwrap().unwrap();
        self.text.push_str(std::str::from_utf8(&chunk).unwrap());
    }

    /// A whole frame, if one is there: without data it only moves the place.
    fn take(&mut self) -> Option<Frame> {
        let (frame, rest) = self.text.split_once("\n\n")?;
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let (id, kind, data) = (field("id: "), field("event: "), field("data: "));
        self.text = rest.to_owned();
        self.last = id.unwrap_or_else(|| self.last.clone());
        Some((kind.unwrap_or_default(), serde_json::from_str(&data.unwrap_or("null".to_owned())).unwrap()))
    }

    async fn next(&mut self) -> Frame {
        loop {
            match self.take() {
                Some((kind, data)) if !data.is_null() => return (kind, data),
                Some(_) => {}
                None => self.more().await,
            }
        }
    }

    /// Reads on until the stream ends, which it does within this time.
    async fn ends(&mut self, within: Duration) {
        let ended = async { while self.answer.chunk().await.unwrap().is_some() {} };
        timeout(within, ended).await.expect("the stream goes on");
    }

    async fn messages(&mut self, count: usize) -> Vec<String> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let (kind, data) = self.next().await;
            if kind == "bot.error" {
                messages.push(data["data"]["message"].as_str().unwrap().to_owned());
            }
        }
        messages
    }
}

#[actix_web::test]
async fn a_stream_goes_on_where_it_was_cut_off_and_tells_only_its_own_account() {
    let server = Server::start(NOWHERE).await;
    let (tenant, other) = (server.tenant(&[]).await, server.tenant(&[]).await);
    let mut first = Reader::open(&server, &tenant, None).await;
    server.happen(other.account, 7, &["not yours"]).await;
    server.happen(tenant.account, 1, &["a", "b", "c"]).await;
    assert_eq!(first.messages(2).await, ["a", "b"]);
    let last = first.last.clone();
    drop(first);
    server.happen(tenant.account, 1, &["d"]).await;
    let mut second = Reader::open(&server, &tenant, Some(&last)).await;
    assert_eq!(second.messages(2).await, ["c", "d"], "nothing is lost and nothing told twice");
    server.happen(tenant.account, 2, &["e"]).await;
    assert_eq!(second.messages(1).await, ["e"]);
    let mut third = Reader::open(&server, &tenant, None).await;
    server.happen(tenant.account, 2, &["f"]).await;
    assert_eq!(third.messages(1).await, ["f"], "without an id it begins now");
    server.stop().await;
}

#[actix_web::test]
async fn a_reader_from_before_anything_happened_misses_nothing() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let last = Reader::open(&server, &tenant, None).await.last;
    server.happen(tenant.account, 1, &["a"]).await;
    assert_eq!(Reader::open(&server, &tenant, Some(&last)).await.messages(1).await, ["a"]);
    let unknown = model::EventId::new().to_string();
    for bad in ["x", unknown.as_str()] {
        let request =
            reqwest::Client::new().get(format!("{}/v1/stream", server.url)).bearer_auth(&tenant.key);
        assert_eq!(request.header("last-event-id", bad).send().await.unwrap().status(), 400, "{bad}");
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_stream_tells_where_every_bot_is_and_ends_with_the_server() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let bot = server.post(&tenant, "/v1/bots", SEED).await.body["id"].clone();
    let mut reader = Reader::open(&server, &tenant, None).await;
    let (kind, data) = reader.next().await;
    assert_eq!(
        (kind.as_str(), &data["bot_id"], &data["status"]),
        ("bot.status", &bot, &serde_json::json!("stopped"))
    );
    let another = server.post(&tenant, "/v1/bots", SEED).await.body["id"].clone();
    assert_eq!(reader.next().await.1["bot_id"], another, "it hears of one that is made");
    let path = format!("/v1/bots/{}", another.as_str().unwrap());
    assert_eq!(server.ask(&tenant, reqwest::Method::DELETE, &path, None).await.status, 204);
    let (kind, data) = reader.next().await;
    let gone = serde_json::json!({"bot_id": another, "status": "deleted", "error": null});
    assert_eq!((kind.as_str(), data), ("bot.status", gone), "and of one that is deleted");
    let path = format!("/v1/bots/{}/start", bot.as_str().unwrap());
    server.post(&tenant, &path, "").await;
    let (kind, data) = reader.next().await;
    assert_eq!((kind.as_str(), &data["bot_id"]), ("bot.status", &bot), "{data}");
    assert_ne!(data["status"], "stopped");
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[actix_web::test]
async fn a_stream_ends_with_its_key() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let mut good = Reader::open(&server, &tenant, None).await;
    let now = || i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let soon = Timestamp::from_millis(now() + 2_000);
    let key = server.key_until(tenant.account, &["bots:read"], Some(soon)).await;
    let mut expiring = Reader::open(&server, &Tenant { key, ..tenant.clone() }, None).await;
    let revoked = Tenant { key: server.key(tenant.account, &["bots:read"]).await, ..tenant.clone() };
    let mut revoked_reader = Reader::open(&server, &revoked, None).await;

    let store = engine::Store::open(&server.database_url).await.unwrap();
    let keys = store.keys(Some(tenant.account)).await.unwrap();
    let id = keys.iter().find(|it| it.hint == engine::key_hint(&revoked.key)).unwrap().id;
    assert!(store.revoke_key(id, Timestamp::from_millis(now())).await.unwrap());
    store.close().await;
    revoked_reader.ends(Duration::from_millis(1_200)).await;
    expiring.ends(Duration::from_secs(4)).await;
    assert!(now() >= soon.millis(), "not before its key does");
    server.happen(tenant.account, 1, &["a"]).await;
    assert_eq!(good.messages(1).await, ["a"], "another key's goes on");
    server.stop().await;
}

/// The size of an event, and how many of them are more than all sockets on the way can hold.
const LARGE: usize = 16_384;
const MANY: usize = 1_500;

#[actix_web::test]
async fn a_reader_that_does_not_read_is_cut_off_delays_nobody_and_can_go_on() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let mut quick = Reader::open(&server, &tenant, None).await;
    let first = quick.last.clone();
    let mut slow = stuck(&server, &tenant).await;

    let large = "x".repeat(LARGE);
    let messages: Vec<String> = (0..MANY).map(|number| format!("{number} {large}")).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let began = Instant::now();
    for some in messages.chunks(100) {
        server.happen(tenant.account, 1, some).await;
        assert_eq!(quick.messages(some.len()).await, some, "who reads hears of it at once");
    }
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());

    // What it finds when it reads again is what the sockets held, and then an end.
    tokio::time::sleep_until((began + Duration::from_secs(12)).into()).await;
    let mut text = Vec::new();
    let ended = timeout(Duration::from_secs(30), slow.read_to_end(&mut text)).await;
    assert!(ended.is_ok(), "it is cut off");
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.len() < MANY * LARGE / 2, "{} bytes were kept for it", text.len());
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let last = whole.rsplit_once("id: ").and_then(|(_, last)| last.split('\n').next());
    let last = last.unwrap_or(&first).to_owned();
    let told = whole.matches("event: bot.error").count();
    let mut again = Reader::open(&server, &tenant, Some(&last)).await;
    assert_eq!(again.messages(1).await, [messages[told]], "it goes on where it was");
    server.stop().await;
}

/// A stream of which nothing is read.
async fn stuck(server: &Server, who: &Tenant) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request =
        format!("GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n", who.key);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

#[actix_web::test]
async fn an_account_is_followed_so_many_times_and_no_more() {
    let server = Server::start(NOWHERE).await;
    let tenant = server.tenant(&[]).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(Reader::open(&server, &tenant, None).await);
    }
    let refused = server.get(&tenant, "/v1/stream").await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (409, &serde_json::json!("too_many_streams"))
    );
    server.stop().await;
}
