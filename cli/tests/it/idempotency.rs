//! What is sent again under its `Idempotency-Key` is done once, however often the server is killed meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

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
