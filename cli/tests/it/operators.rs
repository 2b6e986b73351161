//! What an operator sees: the log, the metrics, the doctor, and accounts that are suspended and deleted.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{MASTER_KEY, Process, botprimex, run};
use crate::serve::{admin, serve, serving, trading_venue, user};

#[test]
fn a_log_filter_that_makes_no_sense_is_refused_without_colors() {
    for (filter, named) in [("loud", "`loud`"), ("engine=loud", "`loud`"), ("info,=debug", "`=debug`")] {
        let mut command = botprimex(&["openapi"]);
        let output = command.env("BOTPRIMEX_LOG", filter).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{filter}: {told}");
        assert!(told.contains(named) && told.contains("BOTPRIMEX_LOG") && !told.contains('\u{1b}'), "{told}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_servers_log_begins_with_what_runs_and_tells_where_bots_are() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let user = user(&database_url);
    for is_json in [false, true] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", &database_url]);
        command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY).env("BOTPRIMEX_LOG", "info,connectors=debug");
        command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
        command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
        if is_json {
            command.env("BOTPRIMEX_LOG__FORMAT", "json");
        }
        let server = Process::start_talking_to(Stdio::from(file.reopen().unwrap()), command);
        let body = r#"{"name":"quiet","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":1,"stop_loss":-10,"dry_run":true}"#;
        let (status, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(body)).await;
        assert_eq!(status, 201, "{bot}");
        let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
        assert_eq!(user.ask(&server, Method::POST, &format!("{path}/start"), None).await.0, 200);
        assert_eq!(user.ask(&server, Method::POST, &format!("{path}/stop"), None).await.0, 200);
        let ready = user.request(Method::GET, &format!("{}/readyz", server.url)).send().await.unwrap();
        assert_eq!(ready.status(), 200);
        assert!(server.stop());
        let log = std::fs::read_to_string(file.path()).unwrap();
        assert!(!log.contains('\u{1b}'), "{log}");
        for part in [
            "botprimex serves",
            "books.db",
            "master_key",
            "http://127.0.0.1:1",
            "a bot was created",
            "a bot has stopped",
            "botprimex stops",
            "DEBUG",
        ] {
            assert!(log.contains(part), "`{part}` is missing in {log}");
        }
        assert!(!log.contains(MASTER_KEY));
        let warned = log.lines().filter(|line| line.contains("WARN") && line.contains("what a pair is like"));
        assert_eq!(warned.count(), 1, "once while it lasts: {log}");
        if is_json {
            for line in log.lines() {
                let line: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn metrics_are_described_and_not_for_what_a_proxy_forwards() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let (venue, user) = (trading_venue(), user(&database_url));
    let mut command = serving(&database_url, &venue.url);
    command.env("BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK", "true");
    let server = Process::start(command);
    let body = r#"{"name":"paper","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":1,"stop_loss":-50,"take_profit":50,"dry_run":true}"#;
    let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(body)).await;
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    // Nobody listens there: its events wait.
    let hook = r#"{"url":"http://127.0.0.1:1/hook"}"#;
    assert_eq!(user.ask(&server, Method::POST, "/v1/webhooks", Some(hook)).await.0, 201);
    assert_eq!(user.ask(&server, Method::POST, &format!("{path}/start"), None).await.0, 200);
    user.until(&server, &path, |bot| bot["open_trade"].is_object()).await;
    assert_eq!(user.ask(&server, Method::GET, "/v1/nothing", None).await.0, 404);
    // The age of the last trade is noted every two seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let url = format!("{}/metrics", server.url);
    let read = async || user.request(Method::GET, &url).send().await.unwrap().text().await.unwrap();
    let text = read().await;
    let value = |series: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{series} is missing in {text}")).parse::<f64>().unwrap()
    };
    for (series, least, most) in [
        ("botprimex_bots{status=\"running\"}", 1.0, 1.0),
        ("botprimex_bots{status=\"error\"}", 0.0, 0.0),
        ("botprimex_market_data_up{exchange=\"binance\"}", 1.0, 1.0),
        ("botprimex_market_data_last_tick_age_seconds{exchange=\"binance\"}", 0.0, 30.0),
        ("botprimex_webhook_events_undelivered", 1.0, 2.0),
        ("botprimex_webhook_oldest_undelivered_seconds", 1.0, 60.0),
        ("botprimex_webhook_attempts_total{result=\"delivered\"}", 0.0, 0.0),
        ("botprimex_webhook_attempts_total{result=\"failed\"}", 1.0, 10.0),
        ("process_resident_memory_bytes", 1e6, 1e10),
        ("process_open_fds", 5.0, 10_000.0),
        ("process_cpu_seconds_total", 0.01, 1e4),
        (concat!("botprimex_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0, 1.0),
        (
            "botprimex_http_request_seconds_count{method=\"GET\",route=\"/v1/bots/{id}\",status=\"200\"}",
            1.0,
            100.0,
        ),
        ("botprimex_http_request_seconds_count{method=\"POST\",route=\"/v1/bots\",status=\"201\"}", 1.0, 1.0),
    ] {
        let value = value(series);
        assert!((least..=most).contains(&value), "{series} {value}");
    }
    // Every series is described.
    let named = |prefix: &str| {
        let lines = text.lines().filter_map(move |line| line.strip_prefix(prefix)?.split(' ').next());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let described = named("# HELP ");
    for name in named("# TYPE ") {
        assert!(described.contains(&name), "{name} has no HELP");
    }
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    for header in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
        assert_eq!(
            status(user.request(Method::GET, &url).header(header, "203.0.113.7")).await,
            404,
            "{header}"
        );
    }
    assert_eq!(status(user.request(Method::HEAD, &url)).await, 200);
    assert!(server.stop() && venue.stop());
    // On other addresses than loopback it is not beside the rest.
    let mut command = botprimex(&["serve", "--listen", "0.0.0.0:0", "--database-url", &database_url]);
    command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
    let open = Process::start(command);
    let port = open.url.rsplit_once(':').unwrap().1;
    let answer =
        async |path: &str| status(user.request(Method::GET, &format!("http://127.0.0.1:{port}{path}"))).await;
    assert_eq!((answer("/metrics").await, answer("/readyz").await), (404, 200));
    assert!(open.stop());
}

/// What the doctor finds, and whether it is content.
fn doctor(database_url: &str, venue: &str) -> (Vec<Value>, Option<i32>) {
    let mut command = botprimex(&["admin", "--database-url", database_url, "--format", "json", "doctor"]);
    command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY).env("BOTPRIMEX_VENUES__BINANCE__REST_URL", venue);
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", venue.replace("http", "ws"));
    command
        .env("BOTPRIMEX_VENUES__BINANCE__WS_API_URL", format!("{}/ws-api/v3", venue.replace("http", "ws")));
    let output = command.stdin(Stdio::null()).output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

#[tokio::test]
async fn the_doctor_looks_at_everything_and_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    let database_url = format!("sqlite://{}", file.display());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let venue = trading_venue();
    let wrong = |found: &[Value]| {
        let wrong = found.iter().filter(|finding| finding["ok"] == false);
        wrong.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (found, code) = doctor(&database_url, &venue.url);
    assert_eq!((wrong(&found), code), (vec!["database".to_owned()], Some(1)));
    assert!(found[1]["message"].as_str().unwrap().contains(&*file.display().to_string()), "{found:?}");
    assert!(!file.exists(), "it makes nothing");

    assert!(serve(&database_url, &venue.url).stop());
    let (found, code) = doctor(&database_url, &venue.url);
    assert_eq!((wrong(&found), code), (Vec::new(), Some(0)), "{found:?}");
    let checks: Vec<_> = found.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    let expected = [
        "configuration",
        "database",
        "master key",
        "binance rest",
        "clock",
        "binance stream",
        "binance orders",
        "egress",
        "disk",
    ];
    assert_eq!(checks, expected);

    // A minute ahead: what is stamped by this machine's clock would be refused.
    let set = json!({"ahead_ms": 60_000}).to_string();
    let asked = format!("{}/venue/clock", venue.url);
    let answer = reqwest::Client::new().post(&asked).body(set).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(wrong(&doctor(&database_url, &venue.url).0), ["clock"]);
    assert!(venue.stop());
    let (found, code) = doctor(&database_url, "http://127.0.0.1:1");
    assert_eq!(wrong(&found), ["binance rest", "clock", "binance stream", "binance orders"]);
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn a_suspended_accounts_bots_stop_and_its_stop_at_the_venue_stands() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let (venue, user) = (trading_venue(), user(&database_url));
    let server = serve(&database_url, &venue.url);
    let connection = r#"{"exchange":"binance","name":"main","api_key":"key","api_secret":"secret"}"#;
    assert_eq!(user.ask(&server, Method::POST, "/v1/exchanges", Some(connection)).await.0, 201);
    let mut bots = Vec::new();
    for is_paper in [true, false] {
        let body = json!({"name": "b", "exchange": "binance", "pair": "BTC/USDT", "strategy": "dca", "stake_amount": 50,
            "max_open_trades": 1, "stop_loss": -50, "take_profit": 50, "dry_run": is_paper});
        let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(&body.to_string())).await;
        let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
        assert_eq!(user.ask(&server, Method::POST, &format!("{path}/start"), None).await.0, 200);
        bots.push(path);
    }
    user.until(&server, &bots[1], |bot| bot["open_trade"]["orders"][1]["status"] == "open").await;
    user.until(&server, &bots[0], |bot| bot["open_trade"].is_object()).await;
    assert_eq!(user.open_orders(&venue).await, 1);

    let account = admin(&database_url, &["account", "list"])[0]["id"].as_str().unwrap().to_owned();
    let suspended = admin(&database_url, &["account", "suspend", "--account", &account]);
    assert_eq!((&suspended["id"], &suspended["status"]), (&json!(account), &json!("suspended")));
    assert_eq!(admin(&database_url, &["account", "list"])[0]["status"], "suspended");
    for path in &bots {
        user.until_status(&server, path, |status, bot| status == 200 && bot["status"] == "stopped").await;
    }
    let start = format!("{}/start", bots[1]);
    let refused = async |server: &Process| {
        let (status, answer) = user.ask(server, Method::POST, &start, None).await;
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("account_suspended")), "{answer}");
    };
    refused(&server).await;
    // What is its own, its owner may sell.
    let (_, paper) = user.ask(&server, Method::GET, &bots[0], None).await;
    let close = format!("/v1/trades/{}/close", paper["open_trade"]["id"].as_str().unwrap());
    let (status, closed) = user.ask(&server, Method::POST, &close, None).await;
    assert_eq!((status, &closed["status"]), (200, &json!("closed")), "{closed}");
    assert_eq!(user.open_orders(&venue).await, 1, "the stop stands");
    // A restart takes nothing up again.
    assert!(server.stop());
    let server = serve(&database_url, &venue.url);
    refused(&server).await;
    assert_eq!(user.open_orders(&venue).await, 1, "the stop stands");

    admin(&database_url, &["account", "resume", "--account", &account]);
    let (_, told) = user.ask(&server, Method::GET, "/v1/events?event=bot.stopped&limit=5", None).await;
    let reasons = told["data"].as_array().unwrap().iter().map(|event| &event["data"]["reason"]);
    assert_eq!(reasons.filter(|reason| **reason == "suspended").count(), 2, "{told}");
    // What a key may do is known for half a second.
    let deadline = Instant::now() + Duration::from_secs(20);
    while user.ask(&server, Method::POST, &start, None).await.0 != 200 {
        assert!(Instant::now() < deadline, "it is suspended still");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    user.until(&server, &bots[1], |bot| bot["status"] == "running").await;
    let (_, bot) = user.ask(&server, Method::GET, &bots[1], None).await;
    assert_eq!(
        bot["open_trade"]["orders"].as_array().unwrap().len(),
        2,
        "it takes its own stop up again: {bot}"
    );

    let delete = ["admin", "--database-url", &database_url, "account", "delete", "--account", &account];
    let refused = run(&[&delete[..], &["--yes"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("2 bots"), "{refused:?}");
    for path in &bots {
        let forced = format!("{path}?force=true");
        assert_eq!(user.ask(&server, Method::DELETE, &forced, None).await.0, 204);
    }
    let asked = |answer: &str| {
        let mut child = botprimex(&delete)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(asked("no\n").status.code(), Some(1));
    assert_eq!(asked("").status.code(), Some(1));
    assert_eq!(user.ask(&server, Method::GET, "/v1/bots", None).await.0, 200, "it is still there");
    assert_eq!(asked("yes\n").status.code(), Some(0));
    user.until_status(&server, "/v1/bots", |status, _| status == 401).await;
    assert_eq!(admin(&database_url, &["account", "list"]), json!([]));
    assert!(server.stop() && venue.stop());
}
