//! No secret gets out: what a user planted is looked for wherever the server writes, at the most talkative log level.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{Process, botprimex, run};
use crate::serve::{User, admin, user};

/// What nothing but this test has; keys of a shape that no file holds by chance.
const KEY: &str = "cAnArYpUbLiCkEyQ7w3e9r2t5y8u1i4o6p0a9s8d7f6g5h4j3k2l1z0x9c8v7b";
const SECRET: &str = "cAnArYhIdDeNsEcReTm5n4b3v2c1x0z9l8k7j6h5g4f3d2s1a0p9o8i7u6y5t4r";

/// Every spelling that a secret could get out in.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let reversed: String = secret.chars().rev().collect();
    let mut spellings =
        vec![secret.into(), reversed.into(), hex::encode(bytes).into(), hex::encode_upper(bytes).into()];
    // Inside a longer text base64 depends on where it begins; the outermost characters depend on the neighbours.
    for skipped in 0..3 {
        let whole = &bytes[skipped..skipped + (bytes.len() - skipped) / 3 * 3];
        spellings.extend([STANDARD.encode(whole).into(), URL_SAFE.encode(whole).into()]);
    }
    spellings
}

#[track_caller]
fn check_free_of_secrets(what: &str, content: &[u8]) {
    check_free_of(&[KEY, SECRET], what, content);
}

#[track_caller]
fn check_free_of(secrets: &[&str], what: &str, content: &[u8]) {
    for secret in secrets {
        for spelling in spellings(secret) {
            let is_there = content.windows(spelling.len()).any(|window| window == spelling);
            assert!(!is_there, "{what} holds {}", String::from_utf8_lossy(&spelling));
        }
    }
}

/// A process that logs everything into a file.
fn talking(mut command: std::process::Command, log: &Path) -> Process {
    command.env("BOTPRIMEX_LOG", "trace");
    Process::start_talking_to(OpenOptions::new().create(true).append(true).open(log).unwrap(), command)
}

/// Has everything erased that the master key sealed.
fn forget(database_url: &str) -> Value {
    admin(database_url, &["exchange", "forget", "--all"])
}

#[tokio::test]
async fn a_planted_secret_is_found_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (books, log) = (folder.path().join("books.db"), folder.path().join("server.log"));
    let database_url = format!("sqlite://{}", books.display());
    let credential = format!("{KEY}:{SECRET}");
    let venue = Process::start(botprimex(&[
        "venue",
        "--listen",
        "127.0.0.1:0",
        "--random-walk",
        "--credential",
        &credential,
    ]));
    let user = user(&database_url);
    let serve = || {
        let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", &database_url]);
        command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", &venue.url);
        let sockets = venue.url.replace("http", "ws");
        command.env("BOTPRIMEX_VENUES__BINANCE__WS_API_URL", format!("{sockets}/ws-api/v3"));
        command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", sockets);
        talking(command, &log)
    };
    let server = serve();
    let mut answers = Vec::new();
    let bodies = [
        json!({"exchange": "binance", "api_key": KEY, "api_secret": SECRET}),
        json!({"exchange": "binance", "api_key": KEY, "api_secret": SECRET}),
        json!({"exchange": "binance", "api_key": KEY, "api_secret": format!("{SECRET}x")}),
        json!({"exchange": SECRET, "name": format!("{SECRET}\n"), "api_key": format!("{KEY} "), "api_secret": [SECRET]}),
        json!({"exchange": "binance", "api_key": SECRET, "api_secret": KEY}),
    ];
    let mut statuses = Vec::new();
    for body in &bodies {
        let body = body.to_string();
        let (status, answer) = user.ask(&server, Method::POST, "/v1/exchanges", Some(&body)).await;
        statuses.push(status);
        answers.push(answer);
    }
    assert_eq!(statuses, [201, 409, 400, 400, 400], "{answers:?}");
    let id = answers[0]["id"].as_str().unwrap().to_owned();
    let bot = json!({"name": "live", "exchange": "binance", "pair": "BTC/USDT", "strategy": "dca", "stake_amount": 50,
        "max_open_trades": 2, "stop_loss": -10, "dry_run": false, "exchange_id": id});
    let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(&bot.to_string())).await;
    let start = format!("/v1/bots/{}/start", bot["id"].as_str().unwrap());
    answers.push(bot);
    answers.push(user.ask(&server, Method::POST, &start, None).await.1);
    for path in ["/v1/exchanges", "/v1/events", "/v1/bots", "/metrics"] {
        answers.push(user.ask(&server, Method::GET, path, None).await.1);
    }
    // While it runs the newest rows are in the write-ahead log, and after it in the file.
    let written = || {
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let running = written();
    assert!(server.stop());

    // It opens again with the file that the first start made, and not without.
    let key_file = folder.path().join("books.db.key");
    assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o400);
    let server = serve();
    let path = format!("/v1/exchanges/{id}");
    assert_eq!(user.ask(&server, Method::GET, "/v1/exchanges", None).await.1["data"][0]["id"], json!(id));
    let trades = user.ask(&server, Method::POST, &start, None).await.1;
    assert_eq!(trades["status"], "running", "the connection opens: {trades}");
    let stop = start.replace("/start", "/stop");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // What it may have bought meanwhile is sold, so that nothing keeps the connection.
    let close = Some(r#"{"positions":"close"}"#);
    while user.ask(&server, Method::POST, &stop, close).await.1["status"] != "stopped" {
        assert!(std::time::Instant::now() < deadline, "it stops");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    answers.push(user.ask(&server, Method::GET, "/v1/trades", None).await.1);
    assert!(server.stop());
    fs::rename(&key_file, folder.path().join("kept")).unwrap();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--database-url", &database_url]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("books.db.key"), "{told}");
    fs::rename(folder.path().join("kept"), &key_file).unwrap();
    let server = serve();
    assert_eq!(user.ask(&server, Method::DELETE, &path, None).await.0, 204);
    assert_eq!(user.ask(&server, Method::POST, "/v1/exchanges", Some(&bodies[0].to_string())).await.0, 201);
    assert!(server.stop() && venue.stop());
    assert_eq!(forget(&database_url), json!({"forgotten": 1, "webhooks": 0, "hooks": 0}));

    let master = fs::read_to_string(&key_file).unwrap();
    let mut seen = Vec::new();
    for (name, content) in running.iter().chain(&written()) {
        check_free_of_secrets(name, content);
        let holds_master = content.windows(64).any(|window| window == master.trim().as_bytes());
        assert_eq!(holds_master, Path::new(name) == key_file, "{name} holds the master key");
        seen.push(name.clone());
    }
    assert!(seen.iter().any(|name| name.ends_with("books.db-wal")), "{seen:?}");
    check_free_of_secrets("an answer", Value::from(answers).to_string().as_bytes());

    // The search finds what is there, and the log was as talkative as it gets.
    let log = fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("TRACE") && log.contains("INSERT INTO exchange_connections"),
        "the log is of no use"
    );
    let planted = folder.path().join("planted");
    fs::write(&planted, STANDARD.encode(format!("..{SECRET}"))).unwrap();
    let planted = fs::read(&planted).unwrap();
    let found = spellings(SECRET).iter().any(|one| planted.windows(one.len()).any(|window| window == one));
    assert!(found);
}

/// Takes deliveries, and keeps what came: heads and bodies.
fn receiver() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, received) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let kept = received.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut came = [0; 16_384];
            let read = socket.read(&mut came).unwrap();
            kept.lock().unwrap().extend_from_slice(&came[..read]);
            // What came may be echoed by whoever it came to: that is not ours to tell on.
            let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    (port, received)
}

#[tokio::test]
async fn what_is_shown_once_and_what_signs_is_found_nowhere_else() {
    const HEADER: &str = "cAnArYhEaDeRq1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6";
    const BODY_SECRET: &str = "cAnArYsIgNaLz9y8x7w6v5u4t3s2r1q0p9o8n7m6";
    const STRIPE: &str = "whsec_Y0FuQXJ5U3RyaXBlU2VjcmV0T2ZUaGlzVGVzdEFsb25l";
    let folder = tempfile::tempdir().unwrap();
    let (books, log) = (folder.path().join("books.db"), folder.path().join("server.log"));
    let database_url = format!("sqlite://{}", books.display());
    let user = user(&database_url);
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", &database_url]);
    command.env("BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK", "true").env("BOTPRIMEX_STRIPE__WEBHOOK_SECRET", STRIPE);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
    let server = talking(command, &log);
    let (port, received) = receiver();

    let endpoint =
        json!({"url": format!("http://127.0.0.1:{port}/"), "headers": {"X-Canary": HEADER}}).to_string();
    let (status, made) = user.ask(&server, Method::POST, "/v1/webhooks", Some(&endpoint)).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let (status, rotated) = user.ask(&server, Method::POST, &format!("{path}/rotate-secret"), None).await;
    assert_eq!(status, 200, "{rotated}");
    let secrets = [&made, &rotated].map(|answer| answer["secret"].as_str().unwrap().to_owned());
    assert_ne!(secrets[0], secrets[1]);
    let mut answers = vec![user.ask(&server, Method::POST, &format!("{path}/test"), None).await.1];
    let tokens = signal(&user, &server, BODY_SECRET, &mut answers).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let deliveries = user.ask(&server, Method::GET, &format!("{path}/deliveries"), None).await.1;
        let is_delivered = deliveries["data"][0]["status"] == "delivered";
        answers.push(deliveries);
        if is_delivered {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{answers:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // Refused requests are logged, and answered, without what they came with.
    let forged = json!({"id": "evt_1", "type": "payout.paid"}).to_string();
    let request = user.request(Method::POST, &format!("{}/v1/integrations/stripe", server.url));
    let forged = request.header("stripe-signature", "t=1,v1=00").body(forged).send().await.unwrap();
    assert_eq!(forged.status(), 400);
    let refused = json!({"url": 1, "headers": {"X-Canary": [HEADER]}, "concurrency": HEADER}).to_string();
    answers.push(user.ask(&server, Method::PATCH, &path, Some(&refused)).await.1);
    for path in ["/v1/webhooks", &path, "/v1/events", "/v1/account", "/v1/account/subscription", "/v1/none"] {
        answers.push(user.ask(&server, Method::GET, path, None).await.1);
    }
    let metrics = user.request(Method::GET, &format!("{}/metrics", server.url)).send().await.unwrap();
    answers.push(metrics.text().await.unwrap().into());
    let files =
        || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut written: Vec<_> =
        files().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(server.stop());
    written.extend(files().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())));

    let raw: Vec<&str> = secrets.iter().map(|secret| secret.strip_prefix("whsec_").unwrap()).collect();
    let planted = [user.key(), HEADER, STRIPE, BODY_SECRET, raw[0], raw[1], &tokens[0], &tokens[1]];
    for (path, content) in &written {
        check_free_of(&planted, &path.display().to_string(), content);
    }
    check_free_of(&planted, "an answer", Value::from(answers).to_string().as_bytes());
    // The header goes where it was meant to go, and nothing else does.
    let received = received.lock().unwrap().clone();
    assert!(String::from_utf8_lossy(&received).contains(HEADER));
    let elsewhere = [user.key(), STRIPE, BODY_SECRET, raw[0], raw[1], &tokens[0], &tokens[1]];
    check_free_of(&elsewhere, "a delivery", &received);
    assert!(fs::read_to_string(&log).unwrap().contains("TRACE"));
}

/// Sends signals by a bot's hook: right, wrong, with the token before and with one that is cut short; the tokens.
async fn signal(user: &User, server: &Process, secret: &str, answers: &mut Vec<Value>) -> [String; 2] {
    let bot = json!({"name": "hooked", "exchange": "binance", "pair": "BTC/USDT", "strategy": "dca",
        "stake_amount": 50, "max_open_trades": 1, "stop_loss": -10, "dry_run": true});
    let (status, bot) = user.ask(server, Method::POST, "/v1/bots", Some(&bot.to_string())).await;
    assert_eq!(status, 201, "{bot}");
    let bot = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    let body = json!({"secret": secret}).to_string();
    let (status, made) = user.ask(server, Method::POST, &format!("{bot}/hook"), Some(&body)).await;
    assert_eq!(status, 201, "{made}");
    let (status, rotated) = user.ask(server, Method::POST, &format!("{bot}/hook/rotate"), Some("{}")).await;
    assert_eq!(status, 200, "{rotated}");
    let tokens = [&made, &rotated].map(|answer| answer["token"].as_str().unwrap().to_owned());
    let right = json!({"action": "stop", "secret": secret}).to_string();
    let wrong = json!({"action": "stop", "secret": format!("{secret}x")}).to_string();
    let odd =
        json!({"action": secret, "secret": [secret], "timenow": secret, "token": tokens[0]}).to_string();
    let cut = &tokens[1][..tokens[1].len() - 1];
    let mut statuses = Vec::new();
    for (token, body) in [
        (tokens[0].as_str(), &right),
        (&tokens[1], &right),
        (&tokens[1], &wrong),
        (&tokens[1], &odd),
        (cut, &right),
        (&format!("{}/more", tokens[1]), &right),
    ] {
        let url = format!("{}/v1/hooks/{token}", server.url);
        // As charts send it: a text, with no key.
        let asked = reqwest::Client::new().post(url).body(body.clone()).header("content-type", "text/plain");
        let answer = asked.send().await.unwrap();
        statuses.push(answer.status().as_u16());
        answers.push(answer.text().await.unwrap().into());
    }
    assert_eq!(statuses[..2], [202, 202], "{answers:?}");
    assert!(statuses[2..].iter().all(|status| *status >= 400), "{statuses:?}");
    for path in [format!("{bot}/hook"), format!("{bot}/signals"), bot] {
        answers.push(user.ask(server, Method::GET, &path, None).await.1);
    }
    tokens
}

#[test]
fn what_is_in_memory_gets_into_no_core_dump() {
    let folder = tempfile::tempdir().unwrap();
    let shell = |then: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -c unlimited && {then}")]).current_dir(folder.path());
        command
    };
    let is_possible = shell("kill -ABRT $$").status().unwrap().core_dumped();
    if !is_possible {
        println!("skipped: no process dumps its core here");
        return;
    }
    let venue = format!("exec {} venue --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_botprimex"));
    let venue = Process::start(shell(&venue));
    let ended = venue.abort();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
}
