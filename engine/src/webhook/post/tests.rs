use std::io::{Read as _, Write as _};
use std::net::TcpListener as BlockingListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::store::{Progress, Webhook};
use crate::webhook::WEBHOOK_PORTS;
use crate::webhook::endpoint::Secrets;

const BODY: &str = r#"{"id":"evt_1","event":"bot.error"}"#;

#[test]
fn what_an_endpoint_answers_is_made_harmless() {
    assert_eq!(escaped(b"ok\n"), "ok\n");
    assert_eq!(escaped(b"\x00\x1b[31m<b>\xff"), "\\u{0}\\u{1b}[31m\\u{3c}b\\u{3e}\u{fffd}");
}

#[test]
fn an_endpoint_says_in_seconds_or_by_a_date_when_it_wants_to_be_tried_again() {
    let now = Timestamp::from_millis(784_111_777_000 - 1_500);
    assert_eq!(pause("120", now), Some(120));
    assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(2), "rounded up");
    assert_eq!(pause("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(0), "it is over");
    assert_eq!(pause("soon", now), None);
}

/// Sends to an endpoint on this machine; what came of it, and how long it took.
async fn send(url: &str) -> (Outcome, Attempt, Duration) {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let webhook = Webhook {
        id: model::WebhookId::from_u128(1),
        account_id: model::AccountId::from_u128(1),
        url: url.to_owned(),
        description: String::new(),
        kinds: Vec::new(),
        concurrency: 4,
        header_names: Vec::new(),
        previous_until: None,
        progress: Progress::default(),
        created_at: Timestamp::MIN,
    };
    let endpoint = Endpoint::new(&webhook, &Secrets::new(Vec::new())).unwrap();
    let (post, began) = (Post::new(&Targets::new(true, &WEBHOOK_PORTS)).unwrap(), Instant::now());
    let (outcome, attempt) = post.send(&endpoint, "evt_1", BODY.into(), crate::clock::now()).await;
    (outcome, attempt, began.elapsed())
}

/// An endpoint that does as it is told with the first request that comes, once it has it.
async fn endpoint<F: Future<Output = ()> + Send>(
    acts: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut came = Vec::new();
        while !came.ends_with(BODY.as_bytes()) {
            assert!(socket.read_buf(&mut came).await.unwrap() > 0);
        }
        acts(socket).await;
    });
    url
}

#[tokio::test]
async fn of_a_body_without_end_little_is_read_and_less_is_kept() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let url = endpoint(move |mut socket| async move {
        socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        // A little at a time, so that what waits in the sockets is little as well.
        let mut beat = tokio::time::interval(Duration::from_millis(2));
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
        while socket.write_all(chunk.as_bytes()).await.is_ok() {
            counted.fetch_add(1_024, Ordering::Relaxed);
            beat.tick().await;
        }
        counted.fetch_add(usize::MAX / 2, Ordering::Relaxed);
    })
    .await;
    let (outcome, attempt, took) = send(&url).await;
    assert_eq!((outcome, attempt.http_status), (Outcome::Taken, Some(200)));
    assert_eq!(attempt.answer.unwrap(), "x".repeat(KEPT));
    assert!(took < REST + CONNECT, "{took:?}");
    // It is cut off soon after.
    let deadline = Instant::now() + Duration::from_secs(5);
    while written.load(Ordering::Relaxed) < usize::MAX / 2 {
        assert!(Instant::now() < deadline, "{written:?} and no end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let written = written.load(Ordering::Relaxed) - usize::MAX / 2;
    assert!((READ..40 * READ).contains(&written), "{written} bytes were taken");
}

#[tokio::test]
async fn a_body_that_drips_is_let_go() {
    let url = endpoint(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        while socket.write_all(b"x").await.is_ok() {
            beat.tick().await;
        }
    })
    .await;
    let (outcome, attempt, took) = send(&url).await;
    assert_eq!(outcome, Outcome::Taken, "its status came");
    assert!(attempt.answer.unwrap().len() < 100 && took < REST * 5, "{took:?}");
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = trap.local_addr().unwrap();
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let url = endpoint(move |mut socket| async move {
            let head =
                format!("HTTP/1.1 {status}\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let (outcome, attempt, _) = send(&url).await;
        assert_eq!(outcome, Outcome::Failed(None), "{status}");
        assert_eq!(attempt.http_status.map(|code| code.to_string()).as_deref(), status.split(' ').next());
        assert_eq!(attempt.error.unwrap(), "redirects are not followed");
    }
    // Whoever had come would wait there.
    let came = tokio::time::timeout(Duration::from_millis(50), trap.accept()).await;
    assert!(came.is_err(), "somebody came");
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_failure_and_says_so() {
    let reset = endpoint(|socket| async move { socket.set_zero_linger().unwrap() }).await;
    let closed = endpoint(|socket| async move { drop(socket) }).await;
    let halfway = endpoint(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap();
    })
    .await;
    let nonsense = endpoint(|mut socket| async move {
        socket.write_all(b"\x00\x01\x02 this is no HTTP\r\n\r\n").await.unwrap();
    })
    .await;
    for url in [reset, closed, halfway, nonsense] {
        let (outcome, attempt, _) = send(&url).await;
        assert_eq!((outcome, attempt.http_status), (Outcome::Failed(None), None), "{attempt:?}");
        assert_eq!(attempt.error.unwrap(), "the connection broke before an answer came");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_ten_seconds_is_none() {
    let silent = endpoint(|socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let slow = endpoint(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        let mut beat = tokio::time::interval(Duration::from_millis(200));
        while socket.write_all(b"x-more: 1\r\n").await.is_ok() {
            beat.tick().await;
        }
    })
    .await;
    let (silent, slow) = tokio::join!(send(&silent), send(&slow));
    for (outcome, attempt, took) in [silent, slow] {
        assert_eq!((outcome, attempt.http_status), (Outcome::Failed(None), None));
        assert_eq!(attempt.error.unwrap(), "no answer came within 10 seconds");
        assert!(took >= ANSWER && took < ANSWER * 2, "{took:?}");
    }
}

/// An endpoint that speaks TLS under a certificate that nobody vouches for; what it read of what it was told.
fn self_signed() -> (String, std::thread::JoinHandle<usize>) {
    const PEM: &[u8] = include_bytes!("self_signed.pem");
    let certificate = CertificateDer::from_pem_slice(PEM).unwrap();
    let key = PrivateKeyDer::from_pem_slice(PEM).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let told = std::thread::spawn(move || {
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, listener.accept().unwrap().0);
        let mut text = Vec::new();
        // It ends with an error: whoever came does not go on.
        let _ = stream.read_to_end(&mut text);
        text.len()
    });
    (url, told)
}

#[tokio::test]
async fn a_wrong_certificate_is_never_ignored() {
    let (url, told) = self_signed();
    let (outcome, attempt, _) = send(&url).await;
    assert_eq!((outcome, attempt.http_status), (Outcome::Failed(None), None));
    assert_eq!(attempt.error.unwrap(), "the endpoint's TLS certificate is not valid");
    assert_eq!(told.join().unwrap(), 0, "it was told nothing");

    let listener = BlockingListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let told = std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        let mut hello = [0; 4_096];
        let read = socket.read(&mut hello).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        hello.get(..read).unwrap().windows(5).any(|part| part == b"evt_1")
    });
    let (outcome, attempt, _) = send(&url).await;
    assert_eq!((outcome, attempt.http_status), (Outcome::Failed(None), None), "it speaks no TLS");
    assert!(!told.join().unwrap(), "nothing is sent in the clear");
}
