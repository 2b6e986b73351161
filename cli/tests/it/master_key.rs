//! Another master key in the place of the one in force, however often the one who puts it there is killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::{MASTER_KEY, Process, botprimex};
use crate::serve::{User, admin, user};

/// Webhooks, and as many kept answers.
const WEBHOOKS: usize = 1_000;
const CONNECTIONS: usize = 5;

/// A store, and the folder in which the master key's file lies.
struct Books {
    database_url: String,
    folder: tempfile::TempDir,
    key_file: PathBuf,
    venue: Process,
}

impl Books {
    /// In a file, or in a schema of its own on a PostgreSQL server.
    fn new(postgres: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database_url, name) = match postgres {
            None => (format!("sqlite://{}", folder.path().join("books.db").display()), "books.db.key"),
            Some(server) => {
                let sql = "DROP SCHEMA IF EXISTS rotation CASCADE; CREATE SCHEMA rotation";
                let made = Command::new("psql").args([server, "-qAtc", sql]).output().unwrap();
                assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
                let glue = if server.contains('?') { '&' } else { '?' };
                (format!("{server}{glue}options=-c%20search_path%3Drotation"), "botprimex.key")
            }
        };
        let mut venue = botprimex(&["venue", "--listen", "127.0.0.1:0", "--random-walk"]);
        for n in 0..CONNECTIONS {
            venue.args(["--credential", &format!("key{n}:secret{n}")]);
        }
        let key_file = folder.path().join(name);
        Self { database_url, key_file, folder, venue: Process::start(venue) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = botprimex(arguments);
        command.args(["--database-url", &self.database_url]).current_dir(self.folder.path());
        command
    }

    fn serve(&self) -> Command {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let sockets = self.venue.url.replace("http", "ws");
        command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", &self.venue.url);
        command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", &sockets);
        command.env("BOTPRIMEX_VENUES__BINANCE__WS_API_URL", format!("{sockets}/ws-api/v3"));
        command.env("BOTPRIMEX_API__PLAN_LIMITS__ENTERPRISE", "1000000");
        command
    }

    fn rotate(&self) -> Command {
        self.command(&["admin", "master-key", "rotate", "--format", "json"])
    }

    fn check(&self) -> Command {
        self.command(&["admin", "master-key", "check", "--format", "json"])
    }

    /// Begins a rotation and kills it as soon as it has told of so many batches.
    fn kill_after(&self, batches: usize) {
        let mut command = self.rotate();
        command.env("BOTPRIMEX_LOG", "info").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = told.map_while(Result::ok).filter(|line| line.contains("are sealed with")).take(batches);
        assert_eq!(told.count(), batches, "it is over already");
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}

#[track_caller]
fn refused(mut command: Command, code: i32, told: &str) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(told), "{stderr}");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
}

#[track_caller]
fn printed(mut command: Command) -> Value {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn key_in(file: &Path) -> String {
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o400);
    fs::read_to_string(file).unwrap().trim().to_owned()
}

/// Makes a webhook under an idempotency key, or is told again of the one that was made.
async fn webhook(user: &User, server: &str, n: usize) -> Value {
    let asked = user.request(Method::POST, &format!("{server}/v1/webhooks"));
    let asked = asked.header("idempotency-key", format!("webhook {n}"));
    let answer = asked.json(&json!({"url": "https://example.com/"})).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    answer.json().await.unwrap()
}

/// Stores some thousand secrets; the webhooks as they were answered.
async fn fill(books: &Books, user: &User) -> Vec<Value> {
    let accounts = admin(&books.database_url, &["account", "list"]);
    let account = accounts[0]["id"].as_str().unwrap();
    admin(&books.database_url, &["subscription", "set", "--account", account, "--plan", "enterprise"]);
    let server = Process::start(books.serve());
    for n in 0..CONNECTIONS {
        let (status, answer) = connect(user, &server, n).await;
        assert_eq!(status, 201, "{answer}");
    }
    let mut webhooks = Vec::new();
    for some in (0..WEBHOOKS).collect::<Vec<_>>().chunks(20) {
        let asked = some.iter().map(|n| {
            let (user, url, n) = (user.clone(), server.url.clone(), *n);
            tokio::spawn(async move { webhook(&user, &url, n).await })
        });
        for asked in asked.collect::<Vec<_>>() {
            webhooks.push(asked.await.unwrap());
        }
    }
    assert!(server.stop());
    webhooks
}

async fn connect(user: &User, server: &Process, n: usize) -> (u16, Value) {
    let body = json!({"exchange": "binance", "name": format!("main {n}"), "api_key": format!("key{n}"),
        "api_secret": format!("secret{n}")});
    user.ask(server, Method::POST, "/v1/exchanges", Some(&body.to_string())).await
}

/// What was stored is of use: a connection trades, what was answered is answered again, and a key is known again.
async fn is_of_use(server: &Process, user: &User, webhooks: &[Value]) {
    for n in [0, WEBHOOKS / 2, WEBHOOKS - 1] {
        assert_eq!(webhook(user, &server.url, n).await, webhooks[n], "with its secret");
        let path = format!("/v1/webhooks/{}/rotate-secret", webhooks[n]["id"].as_str().unwrap());
        assert_eq!(user.ask(server, Method::POST, &path, None).await.0, 200, "its secret opens");
    }
    let connection = user.ask(server, Method::GET, "/v1/exchanges?limit=1", None).await.1["data"][0].take();
    let bot = json!({"name": "live", "exchange": "binance", "pair": "BTC/USDT", "strategy": "dca", "stake_amount": 50,
        "max_open_trades": 1, "stop_loss": -10, "dry_run": false, "exchange_id": connection["id"]});
    let (status, bot) = user.ask(server, Method::POST, "/v1/bots", Some(&bot.to_string())).await;
    assert_eq!(status, 201, "{bot}");
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    let (status, bot) = user.ask(server, Method::POST, &format!("{path}/start"), None).await;
    assert_eq!(status, 200, "{bot}");
    let (status, answer) = connect(user, server, 1).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("api_key_in_use")), "{answer}");
}

async fn survives_kills(books: &Books) {
    let user = user(&books.database_url);
    let webhooks = fill(books, &user).await;
    let stored = WEBHOOKS * 2 + CONNECTIONS;
    let counted = |shown: &Value| {
        let count = |name: &str| usize::try_from(shown[name].as_u64().unwrap()).unwrap();
        assert_eq!((count("unreadable"), count("unreadable_answers")), (0, 0), "{shown}");
        count("exchanges") + count("webhooks") + count("answers")
    };
    let checked = printed(books.check());
    assert_eq!((counted(&checked), &checked["version"]), (stored, &json!(1)));
    let old = key_in(&books.key_file);

    // Wherever it is just then.
    for pause_ms in [3, 10, 20, 30] {
        let mut child = books.rotate().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for _ in 0..2 {
        books.kill_after(2);
        assert_eq!(key_in(&books.key_file), old, "it is needed still");
        refused(books.serve(), 1, "run `botprimex admin master-key rotate` again");
        refused(books.check(), 1, "run `botprimex admin master-key rotate` again");
    }
    let rotated = printed(books.rotate());
    assert_eq!((&rotated["version"], &rotated["replaces"]), (&json!(2), &json!(1)), "{rotated}");
    let rest = counted(&rotated);
    assert!((1..=stored - 300).contains(&rest), "the rest of {stored}: {rotated}");
    println!("of {stored} secrets {rest} were left to the last run");

    let new = key_in(&books.key_file);
    assert_ne!(new, old);
    let kept = PathBuf::from(format!("{}.v1", books.key_file.display()));
    assert_eq!(key_in(&kept), old, "for backups from before");
    assert_eq!(fs::read_dir(books.folder.path()).unwrap().filter(is_a_key).count(), 2);
    let checked = printed(books.check());
    assert_eq!((counted(&checked), &checked["version"]), (stored, &json!(2)));
    for mut command in [books.serve(), books.check()] {
        command.env("BOTPRIMEX_MASTER_KEY", &old);
        refused(command, 1, "was replaced: give the one that took its place, version 2");
    }
    let server = Process::start(books.serve());
    is_of_use(&server, &user, &webhooks).await;
    refused(books.rotate(), 1, "so stop that one first");
    assert!(server.stop());
}

fn is_a_key(entry: &Result<fs::DirEntry, std::io::Error>) -> bool {
    entry.as_ref().unwrap().file_name().to_str().unwrap().contains(".key")
}

#[tokio::test]
async fn a_rotation_that_is_killed_loses_nothing() {
    survives_kills(&Books::new(None)).await;
}

#[tokio::test]
async fn a_rotation_that_is_killed_loses_nothing_on_postgres() {
    let Ok(server) = std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") else {
        println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set");
        return;
    };
    survives_kills(&Books::new(Some(&server))).await;
}

#[tokio::test]
async fn a_key_that_is_configured_is_replaced_there() {
    let books = Books::new(None);
    let user = user(&books.database_url);
    let with = |mut command: Command, key: &str| {
        command.env("BOTPRIMEX_MASTER_KEY", key);
        command
    };
    refused(books.check(), 1, "there is no master key yet");
    refused(books.rotate(), 1, "there is no master key yet");
    let server = Process::start(with(books.serve(), MASTER_KEY));
    assert_eq!(connect(&user, &server, 0).await.0, 201);
    assert!(server.stop());

    refused(with(books.rotate(), MASTER_KEY), 2, "--new-key-file");
    let file = books.folder.path().join("next");
    let mut rotate = with(books.rotate(), MASTER_KEY);
    rotate.args(["--new-key-file", file.to_str().unwrap()]);
    let rotated = printed(rotate);
    assert_eq!((&rotated["exchanges"], &rotated["key_file"]), (&json!(1), &json!(file)), "{rotated}");
    let new = key_in(&file);
    refused(with(books.serve(), MASTER_KEY), 1, "was replaced: give the one that took its place, version 2");
    refused(books.serve(), 1, "is missing");
    assert_eq!(printed(with(books.check(), &new))["exchanges"], 1);
    assert!(Process::start(with(books.serve(), &new)).stop());
    assert!(!books.key_file.exists());
}
