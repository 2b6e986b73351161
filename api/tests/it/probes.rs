//! The HTTP edge over plain sockets: what is malformed, ambiguous or too large is refused and the connection closed, so
//! that nothing that was smuggled behind it is read as a request.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::Server;

/// What is appended to each probe: a request that must not be answered where the probe was refused.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n";

/// What a probe must come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// This status, and the connection closed: what follows is not answered.
    Closed(u16),
    /// This status, and what follows answered with 200.
    Open(u16),
}
use Expected::{Closed, Open};

/// The statuses that came back, and whether the connection was closed.
fn statuses(server: &Server, request: &[u8]) -> (Vec<u16>, bool, String) {
    let mut socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    // A busy machine may take long to close; that a second answer came shows that it is open.
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // It may be closed while this is still being written.
    let _ = socket.write_all(request);
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    let is_closed = loop {
        match socket.read(&mut part) {
            Ok(0) => break true,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
        }
        if String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count() > 1 {
            // Whether there is a third.
            socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        }
    };
    let text = String::from_utf8_lossy(&answer).into_owned();
    let codes = text.match_indices("HTTP/1.1 ").map(|(at, _)| text[at + 9..at + 12].parse().unwrap());
    (codes.collect(), is_closed, text)
}

fn probes() -> Vec<(&'static str, String, Expected)> {
    let get = |line: &str, headers: &str| format!("{line}\r\nHost: a\r\n{headers}\r\n");
    let post =
        |headers: &str, body: &str| format!("POST /healthz HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
    let ask = "GET /healthz HTTP/1.1";
    vec![
        ("a plain request", get(ask, ""), Open(200)),
        (
            "both lengths",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            Closed(400),
        ),
        ("two lengths that differ", post("Content-Length: 0\r\nContent-Length: 44\r\n", ""), Closed(400)),
        ("two lengths that agree", post("Content-Length: 0\r\nContent-Length: 0\r\n", ""), Closed(400)),
        ("a signed length", post("Content-Length: +3\r\n", "abc"), Closed(400)),
        ("a length in hexadecimal", post("Content-Length: 0x3\r\n", "abc"), Closed(400)),
        ("a space before the colon", post("Content-Length : 3\r\n", "abc"), Closed(400)),
        ("chunks", post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), Closed(405)),
        ("chunks by another name", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), Closed(400)),
        ("chunks, and then not", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), Closed(400)),
        (
            "a bare line feed after the last chunk",
            post("Transfer-Encoding: chunked\r\n", "0\r\n\n"),
            Closed(405),
        ),
        (
            "a trailer with a bare line feed",
            post("Transfer-Encoding: chunked\r\n", "0\r\nX: y\n\n"),
            Closed(405),
        ),
        (
            "a quoted chunk extension",
            post("Transfer-Encoding: chunked\r\n", "3;a=\"\\\"\r\nabc\r\n0\r\n\r\n"),
            Closed(405),
        ),
        (
            "a huge chunk extension",
            post("Transfer-Encoding: chunked\r\n", &format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(65_536))),
            Closed(405),
        ),
        ("no host", format!("{ask}\r\n\r\n"), Closed(400)),
        ("two hosts", format!("{ask}\r\nHost: a\r\nHost: b\r\n\r\n"), Closed(400)),
        ("a folded header", get(ask, "X-A: 1\r\n 2\r\n"), Closed(400)),
        ("a zero byte in a header", get(ask, "X-A: a\0b\r\n"), Closed(400)),
        ("a zero byte in the path", get("GET /health\0z HTTP/1.1", ""), Closed(400)),
        ("a bare carriage return in a header", get(ask, "X-A: a\rContent-Length: 4\r\n"), Closed(400)),
        ("a header without a name", get(ask, ": a\r\n"), Closed(400)),
        ("no version", "GET /healthz\r\nHost: a\r\n\r\n".to_owned(), Closed(400)),
        ("a version of the future", get("GET /healthz HTTP/3.0", ""), Closed(400)),
        (
            "another protocol",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n".to_owned(),
            Closed(400),
        ),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Closed(400)),
        ("two hundred headers", get(ask, &"X-A: 1\r\n".repeat(200)), Closed(431)),
        ("headers of 20 KB", get(ask, &format!("X-A: {}\r\n", "a".repeat(20_000))), Closed(431)),
        ("headers of 140 KB", get(ask, &format!("X-A: {}\r\n", "a".repeat(140_000))), Closed(431)),
        ("a path of 70 KB", get(&format!("GET /{} HTTP/1.1", "a".repeat(70_000)), ""), Closed(400)),
        (
            "a body of 70 KB",
            format!(
                "POST /v1/bots HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n{}",
                "a".repeat(70_000)
            ),
            Open(401),
        ),
        (
            "an upgrade",
            get(ask, "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
            Open(200),
        ),
        ("an unknown method", get("BREW /healthz HTTP/1.1", ""), Open(405)),
        ("a trace", get("TRACE /healthz HTTP/1.1", ""), Open(405)),
        ("a tunnel", get("CONNECT a:443 HTTP/1.1", ""), Closed(404)),
        ("dots in the path", get("GET /v1/docs/../../healthz HTTP/1.1", ""), Open(401)),
        ("encoded dots in the path", get("GET /v1/docs/%2e%2e/%2e%2e/healthz HTTP/1.1", ""), Open(401)),
        ("an encoded slash in the path", get("GET /v1%2fopenapi.json HTTP/1.1", ""), Open(404)),
        ("an empty segment", get("GET //healthz HTTP/1.1", ""), Open(404)),
        ("a slash at the end", get("GET /healthz/ HTTP/1.1", ""), Open(404)),
        ("another host in the target", get("GET http://elsewhere/healthz HTTP/1.1", ""), Open(200)),
    ]
}

#[test]
fn what_is_malformed_or_ambiguous_is_refused_and_nothing_behind_it_is_read() {
    let system = actix_web::rt::System::new();
    let server = system.block_on(Server::start("127.0.0.1:1"));
    let mut wrong = Vec::new();
    for (name, request, expected) in probes() {
        let (statuses, is_closed, text) = statuses(&server, format!("{request}{SMUGGLED}").as_bytes());
        let found = match (statuses.as_slice(), is_closed) {
            ([status], true) => Some(Closed(*status)),
            ([status, 200], _) => Some(Open(*status)),
            _ => None,
        };
        if found != Some(expected) {
            let text: String = text.chars().take(200).collect();
            wrong.push(format!(
                "{name}: {expected:?} wanted, {statuses:?} (closed: {is_closed}) found: {text}"
            ));
        }
    }
    system.block_on(server.stop());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes a beginning, then a byte a second, until it is closed; after how long, and with which status.
fn dripped(server: &Server, beginning: &str) -> (Duration, Option<u16>) {
    let mut socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let began = Instant::now();
    socket.write_all(beginning.as_bytes()).unwrap();
    // A second of waiting for an answer is what paces the dripping.
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = Vec::new();
    while began.elapsed() < Duration::from_secs(20) {
        let mut part = [0; 1024];
        match socket.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if socket.write_all(b"a").is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    let status = String::from_utf8_lossy(&answer).get(9..12).and_then(|code| code.parse().ok());
    (began.elapsed(), status)
}

#[test]
fn the_slow_are_closed_within_fifteen_seconds_and_others_do_not_wait_for_them() {
    let system = actix_web::rt::System::new();
    let server = system.block_on(Server::start("127.0.0.1:1"));
    let tenant = system.block_on(server.tenant(&[]));
    let key = format!("Authorization: Bearer {}", tenant.key);
    let json = "Content-Type: application/json\r\nContent-Length: 1000";
    let slow = [
        ("a head", "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_owned(), Some(408)),
        ("nothing", String::new(), Some(408)),
        ("a body", format!("POST /v1/bots HTTP/1.1\r\nHost: a\r\n{key}\r\n{json}\r\n\r\n{{"), Some(408)),
        (
            "a body once",
            format!("POST /v1/bots HTTP/1.1\r\nHost: a\r\n{key}\r\nIdempotency-Key: k\r\n{json}\r\n\r\n{{"),
            Some(408),
        ),
        (
            "a body that nobody reads",
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{json}\r\n\r\n{{"),
            Some(200),
        ),
        ("a body without a key", format!("POST /v1/bots HTTP/1.1\r\nHost: a\r\n{json}\r\n\r\n{{"), Some(401)),
        (
            "a second head",
            "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nX: ".to_owned(),
            Some(200),
        ),
    ];
    std::thread::scope(|scope| {
        let all: Vec<_> = slow
            .iter()
            .map(|(name, beginning, status)| (name, status, scope.spawn(|| dripped(&server, beginning))))
            .collect();
        // While those drip, others are answered at once.
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            let (statuses, ..) =
                statuses(&server, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert_eq!(statuses, [200]);
            slowest = slowest.max(asked.elapsed());
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        let mut wrong = Vec::new();
        for (name, status, dripped) in all {
            let (after, found) = dripped.join().unwrap();
            if after > Duration::from_secs(15) || found != *status {
                wrong.push(format!("{name}: closed after {after:?} with {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
    system.block_on(server.stop());
}

#[test]
fn a_body_in_chunks_is_read_within_the_limit() {
    let system = actix_web::rt::System::new();
    let server = system.block_on(Server::start("127.0.0.1:1"));
    let tenant = system.block_on(server.tenant(&[]));
    let ask = |body: &str| {
        let mut chunks = String::new();
        for chunk in body.as_bytes().chunks(7_000) {
            let text = String::from_utf8_lossy(chunk);
            write!(chunks, "{:x}\r\n{text}\r\n", chunk.len()).unwrap();
        }
        let head = format!(
            "POST /v1/bots HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            tenant.key
        );
        let (statuses, is_closed, _) =
            statuses(&server, format!("{head}{chunks}0\r\n\r\n{SMUGGLED}").as_bytes());
        (statuses, is_closed)
    };
    assert_eq!(ask(crate::bots::SEED), (vec![201], true));
    assert_eq!(ask(&format!("{}{}", crate::bots::SEED, " ".repeat(60_000))), (vec![201], true));
    assert_eq!(ask(&format!("{}{}", crate::bots::SEED, " ".repeat(70_000))), (vec![413], true));
    system.block_on(server.stop());
}

#[actix_web::test]
async fn a_body_is_plain_utf_8_or_refused() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    let http = reqwest::Client::new();
    let (kind, encoding) = ("content-type", "content-encoding");
    for (headers, status, code) in [
        (vec![(kind, "application/json")], 201, None),
        (vec![(kind, "Application/JSON; Charset=\"UTF-8\""), (encoding, "identity")], 201, None),
        (vec![(kind, "application/json; charset=latin1")], 415, Some("content_type_unsupported")),
        (vec![(kind, "application/json; charset=utf-16")], 415, Some("content_type_unsupported")),
        (vec![(kind, "application/json"), (encoding, "gzip")], 415, Some("content_encoding_unsupported")),
    ] {
        let mut request = http.post(format!("{}/v1/bots", server.url)).bearer_auth(&tenant.key);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(crate::bots::SEED).send().await.unwrap();
        assert_eq!(answer.status(), status, "{headers:?}");
        let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["code"].as_str(), code, "{headers:?}");
    }
    server.stop().await;
}

#[actix_web::test]
async fn every_answer_tells_browsers_to_keep_off_and_allows_no_other_origin() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    let http = reqwest::Client::new();
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/v1/openapi.json", 200),
        ("GET", "/v1/docs", 200),
        ("GET", "/v1/bots", 200),
        ("HEAD", "/v1/bots", 200),
        ("OPTIONS", "/v1/bots", 204),
        ("GET", "/v1/bots/none", 404),
        ("GET", "/v1/none", 404),
        ("PATCH", "/v1/bots", 405),
        ("POST", "/v1/bots", 415),
        ("GET", "/none", 404),
    ] {
        let request = http.request(method.parse().unwrap(), format!("{}{path}", server.url));
        let answer = request
            .bearer_auth(&tenant.key)
            .header("origin", "https://elsewhere.example")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{method} {path}");
        assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"), "{method} {path}");
        // What is the same for everybody may be kept, and is asked for again each time.
        let kept = if matches!(path, "/v1/openapi.json" | "/v1/docs") { "no-cache" } else { "no-store" };
        assert_eq!(header("cache-control").as_deref(), Some(kept), "{method} {path}");
        let policy = header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(header("x-request-id").is_some(), "{method} {path}");
        assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
        assert_eq!(
            header("allow").is_some(),
            matches!(status, 405) || method == "OPTIONS",
            "{method} {path}"
        );
        let text = answer.text().await.unwrap();
        assert!(method != "HEAD" || text.is_empty(), "{method} {path}");
    }
    server.stop().await;
}
