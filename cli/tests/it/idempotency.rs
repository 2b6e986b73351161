//! What is sent again under its `Idempotency-Key` is done once, however often the server is killed meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{Change, Store};
use model::{BotFailed, BotId, DomainEvent, EventData, EventId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::process::{MASTER_KEY, Process, botprimex};
use crate::serve::{User, user};

const BODY: &str = r#"{"name":"once","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;

/// How many are made at once in each life of the server, and how many lives there are.
const AT_ONCE: usize = 8;
const LIVES: u64 = 24;

fn serve(database_url: &str) -> Process {
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", database_url]);
    command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
    command.env("BOTPRIMEX_API__PLAN_LIMITS__STANDARD", "100000");
    command.env("BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK", "true");
    Process::start(command)
}

/// Makes a bot under a key; its id, once the server answered.
async fn make(user: &User, url: &str, key: String) -> (String, Option<String>) {
    let asked = user.request(Method::POST, &format!("{url}/v1/bots"));
    let asked = asked.header("idempotency-key", &key).header("content-type", "application/json").body(BODY);
    let Ok(answer) = asked.send().await else { return (key, None) };
    let status = answer.status().as_u16();
    let Ok(bot) = answer.json::<Value>().await else { return (key, None) };
    assert_eq!(status, 201, "{bot}");
    (key, Some(bot["id"].as_str().unwrap().to_owned()))
}

#[tokio::test]
async fn of_each_key_there_is_one_bot_after_any_number_of_kills() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let user = user(&database_url);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut answered: BTreeMap<String, String> = BTreeMap::new();
    let mut waiting: Vec<String> = Vec::new();
    for life in 0..=LIVES {
        let server = serve(&database_url);
        let fresh = if life < LIVES { AT_ONCE } else { 0 };
        waiting.extend((0..fresh).map(|number| format!("{life}-{number}")));
        // What was answered is asked again as well.
        let again = answered.keys().rev().take(AT_ONCE).cloned().collect::<Vec<_>>();
        let asked: Vec<_> = waiting
            .drain(..)
            .chain(again)
            .map(|key| {
                let (user, url) = (user.clone(), server.url.clone());
                tokio::spawn(async move { make(&user, &url, key).await })
            })
            .collect();
        // From before the first is written to after the last.
        let pause = Duration::from_micros(seed.wrapping_mul(life * 7_919 + 13) % 40_000);
        let dies_at = Instant::now() + pause;
        let server = if life < LIVES {
            tokio::time::sleep_until(dies_at.into()).await;
            server.kill();
            None
        } else {
            Some(server)
        };
        for asked in asked {
            match asked.await.unwrap() {
                (key, Some(id)) => {
                    let before = answered.entry(key.clone()).or_insert_with(|| id.clone());
                    assert_eq!(*before, id, "{key} was answered otherwise before");
                }
                (key, None) if !answered.contains_key(&key) => waiting.push(key),
                (_, None) => {}
            }
        }
        if let Some(server) = server {
            assert!(waiting.is_empty());
            let mut made = Vec::new();
            let mut path = "/v1/bots?limit=100".to_owned();
            loop {
                let (_, page) = user.ask(&server, Method::GET, &path, None).await;
                let ids = page["data"].as_array().unwrap().iter().map(|bot| bot["id"].as_str().unwrap());
                made.extend(ids.map(str::to_owned));
                let Some(cursor) = page["next_cursor"].as_str() else { break };
                path = format!("/v1/bots?limit=100&starting_after={cursor}");
            }
            let mut told: Vec<String> = answered.values().cloned().collect();
            told.sort_unstable();
            made.sort_unstable();
            assert_eq!(made, told, "every bot was told of, and every bot that was told of is there");
            println!("{} keys, {LIVES} kills, {} bots", answered.len(), made.len());
            assert!(server.stop());
        }
    }
}

/// Makes an endpoint; its path.
async fn endpoint(user: &User, server: &Process, url: &str) -> String {
    let body = json!({"url": url}).to_string();
    let (status, made) = user.ask(server, Method::POST, "/v1/webhooks", Some(&body)).await;
    assert_eq!(status, 201, "{made}");
    format!("/v1/webhooks/{}", made["id"].as_str().unwrap())
}

/// Something that an endpoint is told of.
async fn happen(user: &User, server: &Process, database_url: &str) {
    let (_, account) = user.ask(server, Method::GET, "/v1/account", None).await;
    let bot_id = BotId::from_u128(1);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let failed =
        BotFailed { bot_id: Some(bot_id), code: "test".to_owned(), message: String::new(), resolved: false };
    let event = DomainEvent {
        id: EventId::new(),
        account_id: account["id"].as_str().unwrap().parse().unwrap(),
        bot_id: Some(bot_id),
        at: Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap()),
        data: EventData::BotError(failed),
    };
    let store = Store::open(database_url).await.unwrap();
    store.commit([Change { events: vec![event], ..Change::default() }]).await.unwrap();
    store.close().await;
}

/// All deliveries of an endpoint.
async fn deliveries(user: &User, server: &Process, endpoint: &str) -> Vec<Value> {
    let (mut all, mut path) = (Vec::new(), format!("{endpoint}/deliveries?limit=100"));
    loop {
        let (_, page) = user.ask(server, Method::GET, &path, None).await;
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return all };
        path = format!("{endpoint}/deliveries?limit=100&starting_after={cursor}");
    }
}

/// Posts nothing under a key; what it was answered, if it was.
async fn post(user: &User, url: String, key: &str) -> Option<(u16, Value)> {
    let answer = user.request(Method::POST, &url).header("idempotency-key", key).send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}

#[tokio::test]
async fn of_each_key_there_is_one_replay_after_any_number_of_kills() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let user = user(&database_url);
    let mut server = serve(&database_url);
    // Nobody listens there.
    let endpoint = endpoint(&user, &server, "http://127.0.0.1:9/").await;
    happen(&user, &server, &database_url).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let first = loop {
        if let Some(first) = deliveries(&user, &server, &endpoint).await.pop() {
            break first;
        }
        assert!(Instant::now() < deadline, "nothing is delivered");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let path = format!("{endpoint}/deliveries/{}/replay", first["id"].as_str().unwrap());
    let mut told: Vec<String> = Vec::new();
    for life in 0..LIVES / 2 {
        let asked: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let (user, url) = (user.clone(), format!("{}{path}", server.url));
                let key = format!("{life}-{number}");
                tokio::spawn(async move { (post(&user, url, &key).await, key) })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(life * 7_919 % 40_000)).await;
        server.kill();
        server = serve(&database_url);
        for asked in asked {
            let (before, key) = asked.await.unwrap();
            let (status, again) = post(&user, format!("{}{path}", server.url), &key).await.unwrap();
            assert_eq!(status, 202, "{again}");
            if let Some((_, before)) = before {
                assert_eq!(again, before, "{key} is answered as before");
            }
            told.push(again["id"].as_str().unwrap().to_owned());
        }
    }
    let all = deliveries(&user, &server, &endpoint).await;
    let replays = all.iter().filter(|delivery| delivery["origin"] == "replay");
    let mut made: Vec<_> = replays.map(|delivery| delivery["id"].as_str().unwrap().to_owned()).collect();
    told.sort_unstable();
    made.sort_unstable();
    assert_eq!(made, told, "every replay was told of, and every one that was told of is there");
}

#[tokio::test]
async fn a_test_is_not_sent_again_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let user = user(&database_url);
    let server = serve(&database_url);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(&user, &server, &format!("http://{}/", silent.local_addr().unwrap())).await;
    let path = format!("{endpoint}/test");
    let (asking, url) = (user.clone(), format!("{}{path}", server.url));
    let asked = tokio::spawn(async move { post(&asking, url, "once").await });
    let _sent = silent.accept().await.unwrap();
    server.kill();
    assert!(asked.await.unwrap().is_none());
    let server = serve(&database_url);
    let (status, again) = post(&user, format!("{}{path}", server.url), "once").await.unwrap();
    assert_eq!((status, &again["status"]), (202, &json!("waiting")), "{again}");
    let all = deliveries(&user, &server, &endpoint).await;
    assert_eq!((all.len(), &all[0]["id"]), (1, &again["id"]), "{all:?}");
    assert_eq!((&all[0]["status"], &all[0]["attempts"]), (&json!("failed"), &json!(1)), "{all:?}");
}
