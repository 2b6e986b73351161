//! The server: from the first key to a trade, through a crash, and what it refuses to start on.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{MASTER_KEY, Process, botprimex, run};

/// A bot that trades within seconds on the made-up market.
const BODY: &str = r#"{"name":"BTC DCA Bot","exchange":"binance","pair":"BTC/USDT","strategy":"dca",
    "stake_amount":50,"max_open_trades":5,"stop_loss":-1,"take_profit":0.05,"dry_run":true,
    "dca":{"price_deviation":0.2}}"#;

#[derive(Clone)]
pub(crate) struct User {
    http: reqwest::Client,
    key: String,
}

impl User {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        self.http.request(method, url).bearer_auth(&self.key)
    }

    pub(crate) async fn ask(
        &self,
        server: &Process,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", server.url)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// How many orders are open at a venue.
    pub(crate) async fn open_orders(&self, venue: &Process) -> usize {
        let ledger = self.http.get(format!("{}/venue/ledger", venue.url)).send().await.unwrap();
        let ledger: Value = ledger.json().await.unwrap();
        let orders = ledger["accounts"][0]["orders"].as_array().unwrap();
        orders.iter().filter(|order| order["status"] == "NEW").count()
    }

    /// Waits until a path answers what is wanted.
    pub(crate) async fn until(
        &self,
        server: &Process,
        path: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.until_status(server, path, |_, answer| is_wanted(answer)).await
    }

    /// Likewise, where its status counts too.
    pub(crate) async fn until_status(
        &self,
        server: &Process,
        path: &str,
        is_wanted: impl Fn(u16, &Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (status, answer) = self.ask(server, Method::GET, path, None).await;
            if is_wanted(status, &answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} answers {status} {answer}");
            // A second between two questions keeps well inside the plan.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
}

fn venue() -> Process {
    Process::start(botprimex(&["venue", "--listen", "127.0.0.1:0", "--random-walk", "--speed", "60"]))
}

pub(crate) fn serve(database_url: &str, venue: &str) -> Process {
    Process::start(serving(database_url, venue))
}

/// A server on a venue, before it is started.
pub(crate) fn serving(database_url: &str, venue: &str) -> std::process::Command {
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", database_url]);
    command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", venue);
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", venue.replace("http", "ws"));
    command
        .env("BOTPRIMEX_VENUES__BINANCE__WS_API_URL", format!("{}/ws-api/v3", venue.replace("http", "ws")));
    command
}

pub(crate) fn admin(database_url: &str, arguments: &[&str]) -> Value {
    make(database_url);
    let output = run(&[&["admin", "--database-url", database_url, "--format", "json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes a database as a server would, so that accounts can be made in it before one starts.
fn make(database_url: &str) {
    let database_url = database_url.to_owned();
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { engine::Store::open(&database_url).await.unwrap().close().await });
    });
    made.join().unwrap();
}

pub(crate) fn user(database_url: &str) -> User {
    let account = admin(database_url, &["account", "create", "--name", "one"]);
    let key = admin(database_url, &["key", "create", "--account", account["id"].as_str().unwrap()]);
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Sooner than the server closes a connection that nobody uses.
    let http = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(2)).build().unwrap();
    User { http, key: key["key"].as_str().unwrap().to_owned() }
}

/// A venue where a test reads the ledger, and one key that trades there.
pub(crate) fn trading_venue() -> Process {
    let mut command = botprimex(&["venue", "--listen", "127.0.0.1:0", "--random-walk", "--control"]);
    command.args(["--balance", "USDT=10000", "--credential", "key:secret"]);
    Process::start(command)
}

#[tokio::test]
async fn a_bot_that_was_cut_off_leaves_no_order_behind_when_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let (venue, user) = (trading_venue(), user(&database_url));
    let server = serve(&database_url, &venue.url);
    let connection = r#"{"exchange":"binance","name":"main","api_key":"key","api_secret":"secret"}"#;
    assert_eq!(user.ask(&server, Method::POST, "/v1/exchanges", Some(connection)).await.0, 201);
    // Nothing but a crash of the market ends its trade.
    let body = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":1,"stop_loss":-50,"take_profit":50,"dry_run":false}"#;
    let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(body)).await;
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    assert_eq!(user.ask(&server, Method::POST, &format!("{path}/start"), None).await.0, 200);
    let bot = user.until(&server, &path, |bot| bot["open_trade"]["orders"][1]["status"] == "open").await;
    server.kill();

    // As if its actor had died: nobody takes it up by itself.
    let books = engine::Store::open(&database_url).await.unwrap();
    let id: model::BotId = bot["id"].as_str().unwrap().parse().unwrap();
    let account_id = books.all_bots(None).await.unwrap()[0].account_id;
    let status = engine::BotStatus::Error;
    let row = engine::BotChange { id, account_id, status, trouble: None, state: None };
    books.commit([engine::Change { bot: Some(row), ..engine::Change::default() }]).await.unwrap();
    books.close().await;
    let server = serve(&database_url, &venue.url);
    assert_eq!(user.open_orders(&venue).await, 1, "its stop still rests");
    for (method, body) in [(Method::DELETE, None), (Method::PATCH, Some(r#"{"dry_run":true}"#))] {
        let (status, answer) = user.ask(&server, method, &path, body).await;
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("trade_open")), "{answer}");
    }
    let forced = format!("{path}?force=true");
    assert_eq!(user.ask(&server, Method::DELETE, &forced, None).await, (204, Value::Null));
    assert_eq!(user.open_orders(&venue).await, 0);
    assert_eq!(user.ask(&server, Method::GET, &path, None).await.0, 404);
    assert!(server.stop() && venue.stop());
}

/// What `/metrics` says of one series; 0 before it is there.
async fn metric(user: &User, server: &Process, series: &str) -> f64 {
    let text = user.http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn metrics_tell_how_long_live_orders_take() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let mut command = botprimex(&["venue", "--listen", "127.0.0.1:0", "--random-walk", "--speed", "60"]);
    command.args(["--balance", "USDT=10000", "--credential", "key:secret"]);
    let (venue, user) = (Process::start(command), user(&database_url));
    let server = serve(&database_url, &venue.url);
    let connection = r#"{"exchange":"binance","name":"main","api_key":"key","api_secret":"secret"}"#;
    let (status, stored) = user.ask(&server, Method::POST, "/v1/exchanges", Some(connection)).await;
    assert_eq!(status, 201, "{stored}");
    let body = BODY.replace("\"dry_run\":true", "\"dry_run\":false");
    let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(&body)).await;
    let start = format!("/v1/bots/{}/start", bot["id"].as_str().unwrap());
    assert_eq!(user.ask(&server, Method::POST, &start, None).await.0, 200);
    user.until(&server, "/v1/trades?status=closed", |answer| !ids(answer).is_empty()).await;

    for stage in ["decided", "journaled", "sent", "acknowledged", "filled"] {
        let series =
            |what: &str| format!("botprimex_order_stage_seconds_{what}{{stage=\"{stage}\",role=\"entry\"");
        let count = metric(&user, &server, &format!("{}}}", series("count"))).await;
        let within = metric(&user, &server, &format!("{},le=\"10\"}}", series("bucket"))).await;
        assert!(count >= 1.0 && within >= count, "{stage}: {count}, {within} within 10 s");
        assert!(metric(&user, &server, &format!("{}}}", series("sum"))).await < 10.0);
    }
    for (series, least) in [
        ("botprimex_orders_total{role=\"entry\",end=\"filled\"}", 1.0),
        ("botprimex_orders_total{role=\"exit\",end=\"filled\"}", 1.0),
        ("botprimex_orders_total{role=\"protection\",end=\"canceled\"}", 1.0),
        ("botprimex_exchange_connections{state=\"up\"}", 1.0),
        ("botprimex_ticks_total", 10.0),
        ("botprimex_decisions_total", 2.0),
    ] {
        assert!(metric(&user, &server, series).await >= least, "{series}");
    }
    assert!(metric(&user, &server, "botprimex_exchange_connections{state=\"down\"}").await < 1.0);
    assert!(server.stop() && venue.stop());
}

#[tokio::test]
async fn metrics_at_an_address_of_their_own_are_there_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let user = user(&database_url);
    // Whoever was given it a moment ago has let it go.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", &database_url]);
    command.env("BOTPRIMEX_METRICS__LISTEN", format!("127.0.0.1:{port}"));
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
    let server = Process::start(command);
    let elsewhere = format!("http://127.0.0.1:{port}");
    let status = async |url: String| user.http.get(url).send().await.unwrap().status().as_u16();
    let metrics = user.http.get(format!("{elsewhere}/metrics")).send().await.unwrap();
    let head = user.http.head(format!("{elsewhere}/metrics")).send().await.unwrap();
    let length = head.headers()["content-length"].to_str().unwrap().parse::<u64>().unwrap();
    assert!(head.status() == metrics.status() && length > 1_000, "{head:?}");
    assert_eq!(metrics.status(), 200);
    let text = metrics.text().await.unwrap();
    assert!(text.contains("botprimex_ticks_total"), "{text}");
    assert_eq!(status(format!("{}/metrics", server.url)).await, 404, "not beside the API");
    assert_eq!(user.ask(&server, Method::GET, "/v1/bots", None).await.0, 200);
    for path in ["/v1/bots", "/v1/openapi.json", "/"] {
        assert_eq!(status(format!("{elsewhere}{path}")).await, 404, "{path} is not beside the metrics");
    }
    assert!(server.stop());
    assert!(user.http.get(format!("{elsewhere}/metrics")).send().await.is_err(), "it stops with the server");
}

fn ids(answer: &Value) -> Vec<String> {
    let rows = answer["data"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_running_bot_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    goes_on_after_a_kill(&format!("sqlite://{}", folder.path().join("books.db").display())).await;
}

#[tokio::test]
async fn a_running_bot_goes_on_after_a_kill_on_a_server_of_databases() {
    match std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") {
        // Everybody else has a schema of their own; this one takes the first.
        Ok(url) => goes_on_after_a_kill(&url).await,
        Err(_) => println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set"),
    }
}

async fn goes_on_after_a_kill(database_url: &str) {
    let (venue, user) = (venue(), user(database_url));
    let server = serve(database_url, &venue.url);
    let (status, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(BODY)).await;
    assert_eq!(status, 201, "{bot}");
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    let (status, bot) = user.ask(&server, Method::POST, &format!("{path}/start"), None).await;
    assert_eq!((status, &bot["status"]), (200, &json!("running")));
    user.until(&server, "/v1/trades?status=closed", |answer| !ids(answer).is_empty()).await;
    let (_, before) = user.ask(&server, Method::GET, "/v1/events?limit=100", None).await;
    server.kill();

    let server = serve(database_url, &venue.url);
    let (status, _) = user.ask(&server, Method::GET, "/readyz", None).await;
    assert_eq!(status, 200);
    assert_eq!(user.ask(&server, Method::GET, &path, None).await.1["status"], "running");
    let more = ids(&before).len() + 2;
    let after = user.until(&server, "/v1/events?limit=100", |answer| ids(answer).len() >= more).await;
    // Every list reads on this database as well.
    for list in
        ["/v1/bots?status=running&exchange=binance&pair=BTC/USDT&strategy=dca&dry_run=true", "/v1/trades"]
    {
        let (status, answer) = user.ask(&server, Method::GET, list, None).await;
        assert!(status == 200 && !ids(&answer).is_empty(), "{list}: {answer}");
    }
    let hook = r#"{"url":"https://example.com/hook"}"#;
    assert_eq!(user.ask(&server, Method::POST, "/v1/webhooks", Some(hook)).await.0, 201);
    assert_eq!(ids(&user.ask(&server, Method::GET, "/v1/webhooks", None).await.1).len(), 1);
    let (before, after) = (ids(&before), ids(&after));
    assert!(after.ends_with(&before), "no event is lost or has another id");
    let told: std::collections::HashSet<&String> = after.iter().collect();
    assert_eq!(told.len(), after.len());
    let (_, events) = user.ask(&server, Method::GET, "/v1/events?limit=100", None).await;
    let started = events["data"].as_array().unwrap().iter().filter(|event| event["event"] == "bot.started");
    assert_eq!(started.count(), 1, "it goes on, it does not begin again");
    assert!(server.stop());
    assert!(venue.stop());
}

#[tokio::test]
async fn what_makes_no_sense_on_the_venue_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let (venue, user) = (venue(), user(&database_url));
    let server = serve(&database_url, &venue.url);
    for (change, param) in [
        (("BTC/USDT", "DOGE/USDT"), "pair"),
        (("\"stake_amount\":50", "\"stake_amount\":4"), "stake_amount"),
        (("\"price_deviation\":0.2", "\"price_deviation\":30"), "dca.price_deviation"),
        (("\"price_deviation\":0.2", "\"price_deviation\":0.05"), "dca.price_deviation"),
        (("\"stop_loss\":-1", "\"stop_loss\":-0.05"), "stop_loss"),
    ] {
        let body = BODY.replace(change.0, change.1);
        let (status, answer) = user.ask(&server, Method::POST, "/v1/bots", Some(&body)).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{answer}");
    }
    let live = BODY.replace("\"dry_run\":true", "\"dry_run\":false");
    let (status, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(&live)).await;
    assert_eq!(status, 201, "{bot}");
    let start = format!("/v1/bots/{}/start", bot["id"].as_str().unwrap());
    let (status, answer) = user.ask(&server, Method::POST, &start, None).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("exchange_id")));
    assert!(server.stop());
}

#[tokio::test]
async fn a_venue_that_is_not_there_is_told_of_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let user = user(&database_url);
    let server = serve(&database_url, "http://127.0.0.1:1");
    let (status, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(BODY)).await;
    assert_eq!(status, 201, "{bot}");
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    let (status, bot) = user.ask(&server, Method::POST, &format!("{path}/start"), None).await;
    assert_eq!((status, &bot["status"]), (200, &json!("starting")));
    let bot = user.until(&server, &path, |bot| bot["status"] == "error").await;
    assert_eq!(bot["error"]["code"], "venue_unreachable");
    let (status, bot) = user.ask(&server, Method::POST, &format!("{path}/stop"), None).await;
    assert_eq!((status, &bot["status"]), (200, &json!("stopped")));
    assert!(server.stop());
}

#[test]
fn a_store_that_cannot_be_used_is_said_and_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    std::fs::write(
        &file,
        "this is no database, and it is longer than a header of one hundred bytes, which is how it is known",
    )
    .unwrap();
    for (url, why) in [
        (format!("sqlite://{}", file.display()), "not a database"),
        ("mysql://user:hidden@host/db".to_owned(), "mysql:"),
        (
            format!("sqlite://{}/nowhere/books.db", folder.path().display()),
            &format!("{}/nowhere/books.db cannot be opened", folder.path().display()),
        ),
    ] {
        let output = run(&["serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(why) && !told.contains("hidden") && output.stdout.is_empty(), "{told}");
    }
}

#[test]
fn a_command_in_another_folder_makes_no_database_and_names_the_one_it_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    for command in
        [&["account", "list"][..], &["bot", "list"], &["master-key", "check"], &["master-key", "rotate"]]
    {
        let mut command = botprimex(&[&["admin"], command].concat());
        let output = command.current_dir(folder.path()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let path = folder.path().canonicalize().unwrap().join("botprimex.db");
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("there is no database {}", path.display())), "{told}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{told}");
    }
}

#[tokio::test]
async fn a_backup_is_made_beside_a_running_server_and_served_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let (venue, user) = (venue(), user(&url("books.db")));
    let server = serve(&url("books.db"), &venue.url);
    let body = r#"{"name":"b","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":2,"stop_loss":-10,"dry_run":true}"#;
    let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(body)).await;
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    assert_eq!(user.ask(&server, Method::POST, &format!("{path}/start"), None).await.0, 200);
    let copy = folder.path().join("copy.db");
    let made = admin(&url("books.db"), &["backup", "--to", copy.to_str().unwrap()]);
    assert_eq!(made["file"].as_str().unwrap(), copy.to_str().unwrap());
    assert_eq!(made["bytes"], std::fs::metadata(&copy).unwrap().len());
    assert!(made["key"].as_str().unwrap().ends_with("books.db.key"), "{made}");
    let again = run(&["admin", "--database-url", &url("books.db"), "backup", "--to", copy.to_str().unwrap()]);
    let told = String::from_utf8(again.stderr).unwrap();
    assert!(again.status.code() == Some(1) && told.contains("there is a file already"), "{told}");
    assert!(server.stop());
    let server = serve(&url("copy.db"), &venue.url);
    user.until(&server, &path, |bot| bot["status"] == "running").await;
    assert!(server.stop() && venue.stop());
}
