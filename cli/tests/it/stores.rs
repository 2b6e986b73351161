//! What a server makes of a store that it cannot have, or cannot write to any more.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::process::{MASTER_KEY, Process, botprimex, run};
use crate::serve::{User, admin, user};

/// A server that needs no exchange.
fn serve(database_url: &str) -> Command {
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", database_url]);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
    command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY);
    command
}

/// A second server does not start beside the first, and does as soon as that was killed.
fn is_served_once(database_url: &str, held_by: &str) {
    let first = Process::start(serve(database_url));
    let second = serve(database_url).output().unwrap();
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(second.stdout.is_empty(), "it was never ready");
    for part in ["in use by another server", &format!("process {}", first.id()), held_by, "stop it first"] {
        assert!(told.contains(part), "`{part}` is missing in {told}");
    }
    // Whoever makes keys is no second server.
    admin(database_url, &["account", "create", "--name", "beside"]);
    first.kill();
    assert!(Process::start(serve(database_url)).stop());
    assert!(Process::start(serve(database_url)).stop(), "nor does one that stopped hold it");
}

#[test]
fn a_file_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    is_served_once(&format!("sqlite://{}", file.display()), &format!("holds {}.lock", file.display()));
    // By another name it is the same file.
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let first = Process::start(serve(&format!("sqlite://{}", file.display())));
    let second =
        run(&["serve", "--listen", "127.0.0.1:0", "--database-url", &format!("sqlite://{}", link.display())]);
    assert_eq!(second.status.code(), Some(1));
    assert!(first.stop());
}

/// A schema of its own on the server that `BOTPRIMEX_TEST_POSTGRES_URL` names; `None` where that is not set.
struct Schema {
    server: String,
    url: String,
}

impl Schema {
    fn new(name: &str) -> Option<Self> {
        let Ok(server) = std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") else {
            println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set");
            return None;
        };
        let name = format!("{name}_{}", std::process::id());
        let glue = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{glue}options=-c%20search_path%3D{name}");
        let schema = Self { server, url };
        schema.ask(&format!("CREATE SCHEMA {name}"));
        Some(schema)
    }

    /// What the database answers.
    fn ask(&self, sql: &str) -> String {
        let url = if self.url.is_empty() { &self.server } else { &self.url };
        let output = Command::new("psql").args([url, "-qAtc", sql]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Ends the session by which a server keeps others away.
    fn end_lock_of(&self, server: &Process) {
        self.ask(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'botprimex, process {}'",
            server.id()
        ));
    }

    /// What stands in every table that trading writes.
    fn rows(&self) -> String {
        let tables =
            ["bots", "trades", "orders", "fills", "intents", "events", "event_sequences", "realized", "dust"];
        let each = tables.map(|table| {
            format!("SELECT '{table} ' || COUNT(*) || ' ' || COALESCE(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {table} AS t")
        });
        self.ask(&each.join(" UNION ALL "))
    }
}

#[tokio::test]
async fn a_database_of_a_server_has_one_which_outlives_the_loss_of_its_session() {
    let Some(schema) = Schema::new("served_once") else { return };
    is_served_once(&schema.url, "from 127.0.0.1 holds its advisory lock");
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let first = Process::start_talking_to(talk(&said), serve(&schema.url));
    schema.end_lock_of(&first);
    let sessions = format!(
        "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND application_name = 'botprimex, process {}'",
        first.id()
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while schema.ask(&sessions) != "1" {
        assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(&said).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = serve(&schema.url).output().unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another server"));
    // As a server does that takes it all the same.
    schema.ask("UPDATE fences SET epoch = epoch + 1");
    let ended = first.ended(Duration::from_secs(10)).await;
    let told = std::fs::read_to_string(&said).unwrap();
    assert_eq!(ended.code(), Some(1), "{told}");
    assert!(told.contains("error: the store is lost") && told.contains("another server has taken"), "{told}");
}

#[tokio::test]
async fn a_server_that_was_paused_while_another_took_its_database_writes_nothing_more() {
    let Some(schema) = Schema::new("paused") else { return };
    let (exchange, user) = (Exchange::start().await, user(&schema.url));
    exchange.trade_at(60_000).await;
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let first = Process::start_talking_to(talk(&said), trading(&exchange, &schema.url));
    let key = r#"{"exchange":"binance","name":"one","api_key":"the-key","api_secret":"the-secret"}"#;
    assert_eq!(user.ask(&first, Method::POST, "/v1/exchanges", Some(key)).await.0, 201);
    let paper = LIVE.replace("\"dry_run\":false", "\"dry_run\":true");
    for body in [LIVE, &paper, &paper, &paper] {
        let (status, bot) = user.ask(&first, Method::POST, "/v1/bots", Some(body)).await;
        assert_eq!(status, 201, "{bot}");
        let start = format!("/v1/bots/{}/start", bot["id"].as_str().unwrap());
        assert_eq!(user.ask(&first, Method::POST, &start, None).await.0, 200);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while schema.ask("SELECT COUNT(*) FROM trades") != "4" {
        assert!(Instant::now() < deadline, "nobody buys");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    first.pause();
    schema.end_lock_of(&first);
    // It hears of no market, so that nothing of it is written for a while.
    let second = Process::start(serve(&schema.url));
    let before = schema.rows();
    let (orders, _) = exchange.books().await;
    // A rise that every bot sells at.
    exchange.trade_at(70_000).await;
    first.resume();
    let ended = first.ended(Duration::from_secs(20)).await;
    let told = std::fs::read_to_string(&said).unwrap();
    assert_eq!(ended.code(), Some(1), "{told}");
    assert!(told.contains("another server has taken the store"), "{told}");
    assert_eq!(schema.rows(), before, "rows of the first\n{told}");
    assert_eq!(exchange.books().await.0, orders, "orders of the first\n{told}");
    println!("{} rows of tables stand as they were", before.lines().count());
    drop(second);
    exchange.venue.stop().await;
}

/// What happens to a store's files under a running server.
fn is_gone(what: &str, file: &Path) {
    let with = |end: &str| PathBuf::from(format!("{}{end}", file.display()));
    match what {
        "deleted" => std::fs::remove_file(file).unwrap(),
        "deleted with all that lies beside it" => {
            for end in ["", "-wal", "-shm", ".lock"] {
                std::fs::remove_file(with(end)).unwrap();
            }
        }
        "replaced by a copy" => {
            std::fs::copy(file, with(".copy")).unwrap();
            std::fs::rename(with(".copy"), file).unwrap();
        }
        "moved away" => std::fs::rename(file, with(".away")).unwrap(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_file_that_is_gone_ends_its_server_at_once_and_nothing_is_created_in_it() {
    for what in ["deleted", "deleted with all that lies beside it", "replaced by a copy", "moved away"] {
        for is_asked in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let (file, said) = (folder.path().join("books.db"), folder.path().join("said"));
            let database_url = format!("sqlite://{}", file.display());
            let user = user(&database_url);
            let server = Process::start_talking_to(talk(&said), serve(&database_url));
            let paper = LIVE.replace("\"dry_run\":false", "\"dry_run\":true");
            assert_eq!(user.ask(&server, Method::POST, "/v1/bots", Some(&paper)).await.0, 201);
            is_gone(what, &file);
            let began = Instant::now();
            if is_asked {
                let ask = user.request(Method::POST, &format!("{}/v1/bots", server.url));
                let answer = ask.header("content-type", "application/json").body(paper).send().await;
                let status = answer.map(|answer| answer.status().as_u16());
                assert!(!matches!(status, Ok(200..300)), "{what}: {status:?}");
            }
            let ended = server.ended(Duration::from_secs(5)).await;
            let (took, told) = (began.elapsed(), std::fs::read_to_string(&said).unwrap());
            println!("{what}, {}: ended after {took:?}", if is_asked { "asked" } else { "idle" });
            assert_eq!(ended.code(), Some(1), "{what}: {told}");
            assert!(told.contains("was deleted or replaced while the server ran"), "{what}: {told}");
            assert!(took < Duration::from_secs(2), "{what}: {took:?}");
        }
    }
}

/// A file system of its own that can be filled; unmounted when this is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this process may not mount one.
    fn mount(megabytes: u32) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.0.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(disk),
            other => {
                println!("skipped: no file system can be mounted here: {other:?}");
                None
            }
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.file("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.file("filler")).unwrap();
    }

    /// Whether what lies here holds a text.
    fn holds(&self, names: &[&str], text: &str) -> bool {
        names.iter().any(|name| {
            let bytes = std::fs::read(self.file(name)).unwrap_or_default();
            bytes.windows(text.len()).any(|part| part == text.as_bytes())
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever still uses it: it goes once nobody does.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// An exchange of this process, and the hands of a test on it.
struct Exchange {
    venue: venue::Venue,
    http: reqwest::Client,
}

impl Exchange {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials =
            vec![venue::Credential { key: "the-key".to_owned(), secret: "the-secret".to_owned() }];
        let config = venue::Config { credentials, control: true, ..venue::Config::default() };
        Self { venue: venue::start(config).await.unwrap(), http: reqwest::Client::new() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.venue.address())
    }

    async fn trade_at(&self, price: u32) {
        let body = json!({"symbol": "BTCUSDT", "price": price}).to_string();
        let moved = self.http.post(self.url("/venue/price")).body(body).send().await.unwrap();
        assert!(moved.status().is_success());
    }

    /// The orders that it has, and its fills: of which order, at which price, how much.
    async fn books(&self) -> (Vec<String>, BTreeSet<Fill>) {
        let text = self.http.get(self.url("/venue/ledger")).send().await.unwrap().text().await.unwrap();
        let books = serde_json::from_str::<Value>(&text).unwrap()["accounts"][0].take();
        let orders = books["orders"].as_array().unwrap();
        let name = |id: &Value| {
            let order = orders.iter().find(|order| order["orderId"] == *id).unwrap();
            order["clientOrderId"].as_str().unwrap().to_owned()
        };
        let fills = books["fills"].as_array().unwrap().iter();
        let fills =
            fills.map(|fill| (name(&fill["orderId"]), plain(&fill["price"]), plain(&fill["qty"]))).collect();
        (orders.iter().map(|order| name(&order["orderId"])).collect(), fills)
    }
}

type Fill = (String, String, String);

/// An amount without its zeros, text or number.
fn plain(amount: &Value) -> String {
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The same of our books.
async fn our_fills(user: &User, server: &Process) -> BTreeSet<Fill> {
    let (status, trades) = user.ask(server, Method::GET, "/v1/trades?limit=100", None).await;
    assert_eq!((status, &trades["has_more"]), (200, &json!(false)), "{trades}");
    let orders =
        trades["data"].as_array().unwrap().iter().flat_map(|trade| trade["orders"].as_array().unwrap());
    let fills =
        orders.flat_map(|order| order["fills"].as_array().unwrap().iter().map(move |fill| (order, fill)));
    fills
        .map(|(order, fill)| {
            let id = order["client_order_id"].as_str().unwrap().to_owned();
            (id, plain(&fill["price"]), plain(&fill["qty"]))
        })
        .collect()
}

fn trading(exchange: &Exchange, database_url: &str) -> Command {
    let mut command = serve(database_url);
    let at = exchange.venue.address();
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", format!("http://{at}"));
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", format!("ws://{at}"));
    command.env("BOTPRIMEX_VENUES__BINANCE__WS_API_URL", format!("ws://{at}/ws-api/v3"));
    command
}

fn talk(file: &Path) -> std::fs::File {
    std::fs::File::create(file).unwrap()
}

/// A live bot that sells with every rise of a hundredth and buys again.
const LIVE: &str = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":1,"stop_loss":-50,"take_profit":0.5,"dry_run":false}"#;

/// Lives that trade at an exchange, and an owner who may make bots.
async fn traders(exchange: &Exchange, user: &User, server: &Process) {
    let key = r#"{"exchange":"binance","name":"one","api_key":"the-key","api_secret":"the-secret"}"#;
    let (status, answer) = user.ask(server, Method::POST, "/v1/exchanges", Some(key)).await;
    assert_eq!(status, 201, "{answer}");
    for _ in 0..3 {
        let (status, bot) = user.ask(server, Method::POST, "/v1/bots", Some(LIVE)).await;
        assert_eq!(status, 201, "{bot}");
        let start = format!("/v1/bots/{}/start", bot["id"].as_str().unwrap());
        assert_eq!(user.ask(server, Method::POST, &start, None).await.0, 200);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while exchange.books().await.1.len() < 3 {
        assert!(Instant::now() < deadline, "nobody buys");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks for a bot, the market moving on meanwhile, until the answer has this status.
async fn until_a_bot_is(status: u16, exchange: &Exchange, user: &User, server: &Process) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    for turn in 0.. {
        exchange.trade_at(60_000 + turn % 20 * 600).await;
        let asked = Instant::now();
        let (told, answer) = user.ask(server, Method::POST, "/v1/bots", Some(LIVE)).await;
        assert!(asked.elapsed() < Duration::from_secs(8), "the answer took {:?}", asked.elapsed());
        if told == status {
            return answer;
        }
        assert!([201, 503].contains(&told), "{told} {answer}");
        assert!(Instant::now() < deadline, "no answer was {status}, the last {told} {answer}");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    unreachable!("it is asked for ever")
}

/// Waits until our books are the exchange's, and more was executed than that.
async fn until_it_trades_on(than: usize, exchange: &Exchange, user: &User, server: &Process) {
    let deadline = Instant::now() + Duration::from_mins(1);
    for turn in 0.. {
        let ours = our_fills(user, server).await;
        let (_, theirs) = exchange.books().await;
        if ours == theirs && theirs.len() > than {
            println!("{} fills in both books", theirs.len());
            return;
        }
        assert!(Instant::now() < deadline, "{ours:#?}\n{theirs:#?}");
        if turn % 4 == 0 {
            exchange.trade_at(60_000 + turn / 4 % 2 * 15_000).await;
        }
        // A second between two questions keeps inside the plan.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

#[tokio::test]
async fn a_full_disk_lets_no_order_leave_unwritten_and_the_server_goes_on_once_there_is_room() {
    let Some(disk) = Disk::mount(24) else { return };
    let database_url = format!("sqlite://{}", disk.file("books.db").display());
    let (exchange, user) = (Exchange::start().await, user(&database_url));
    let words = tempfile::tempdir().unwrap();
    let said = words.path().join("said");
    exchange.trade_at(60_000).await;
    let server = Process::start_talking_to(talk(&said), trading(&exchange, &database_url));
    traders(&exchange, &user, &server).await;

    disk.fill();
    let refused = until_a_bot_is(503, &exchange, &user, &server).await;
    assert_eq!(refused["error"]["code"], "unavailable");
    assert_eq!(user.ask(&server, Method::GET, "/v1/bots", None).await.0, 200, "reads go on");
    let (orders, fills) = exchange.books().await;
    for order in &orders {
        assert!(disk.holds(&["books.db", "books.db-wal"], order), "{order} left and was not written");
    }
    println!("{} orders and {} fills at the exchange while the disk was full", orders.len(), fills.len());
    let told = std::fs::read_to_string(&said).unwrap();
    assert!(told.contains("the disk of the database is full"), "{told}");

    disk.free();
    until_a_bot_is(201, &exchange, &user, &server).await;
    until_it_trades_on(fills.len(), &exchange, &user, &server).await;
    assert!(server.stop(), "{}", std::fs::read_to_string(&said).unwrap());
    exchange.venue.stop().await;
}

/// Something that keeps a database locked until it is let go.
trait Holder {
    fn let_go(self);
}

/// Commands that nobody can carry out while this has the database, and are refused in time; then all goes on.
async fn is_survived<H: Holder>(database_url: &str, hold: impl FnOnce() -> H) {
    let (exchange, user) = (Exchange::start().await, user(database_url));
    let words = tempfile::tempdir().unwrap();
    let said = words.path().join("said");
    exchange.trade_at(60_000).await;
    let server = Process::start_talking_to(talk(&said), trading(&exchange, database_url));
    traders(&exchange, &user, &server).await;
    let holder = hold();
    let began = Instant::now();
    until_a_bot_is(503, &exchange, &user, &server).await;
    while began.elapsed() < Duration::from_secs(25) {
        exchange.trade_at(60_000).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    holder.let_go();
    let fills = exchange.books().await.1.len();
    until_a_bot_is(201, &exchange, &user, &server).await;
    until_it_trades_on(fills, &exchange, &user, &server).await;
    assert!(server.stop(), "{}", std::fs::read_to_string(&said).unwrap());
    exchange.venue.stop().await;
}

/// Another process's transaction.
struct Transaction {
    runtime: tokio::runtime::Runtime,
    connection: sqlx::SqliteConnection,
}

impl Holder for Transaction {
    fn let_go(mut self) {
        std::thread::spawn(move || {
            let end = sqlx::query("ROLLBACK").execute(&mut self.connection);
            self.runtime.block_on(end).unwrap();
        })
        .join()
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_has_locked_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let hold = || {
        let database_url = database_url.clone();
        let begun = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let connection = runtime.block_on(async {
                let mut connection = sqlx::SqliteConnection::connect(&database_url).await.unwrap();
                sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
                connection
            });
            Transaction { runtime, connection }
        });
        begun.join().unwrap()
    };
    is_survived(&database_url, hold).await;
}

/// A session of `psql` that locks a table.
struct Psql<'s>(std::process::Child, &'s Schema);

impl Holder for Psql<'_> {
    fn let_go(mut self) {
        // A session that sleeps does not notice that nobody listens any more.
        self.1.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()",
        );
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_table_that_another_session_has_locked_is_waited_for() {
    let Some(schema) = Schema::new("locked") else { return };
    let lock = "BEGIN; LOCK TABLE bots IN ACCESS EXCLUSIVE MODE; SELECT 'locked'; SELECT pg_sleep(600)";
    let hold = || {
        let mut psql = Command::new("psql");
        psql.args([&schema.url, "-qAtc", lock]).stdout(std::process::Stdio::null());
        psql.stderr(std::process::Stdio::null());
        Psql(psql.spawn().unwrap(), &schema)
    };
    is_survived(&schema.url, hold).await;
}
