//! What an inbound hook was answered to have taken happens once, however often the server is killed meanwhile.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::process::{MASTER_KEY, Process, botprimex};
use crate::serve::{User, user};

const BODY: &str = r#"{"name":"signalled","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":1,"stop_loss":-50,"take_profit":50,"dry_run":true}"#;

/// How many lives the server has, and what it is sent in each.
const LIVES: u64 = 10;
const EACH: u64 = 4;

fn serve(database_url: &str, venue: &str) -> Process {
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", database_url]);
    command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", venue);
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", venue.replace("http", "ws"));
    command.env("BOTPRIMEX_API__PLAN_LIMITS__STANDARD", "100000");
    Process::start(command)
}

async fn until(user: &User, server: &Process, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, answer) = user.ask(server, Method::GET, path, None).await;
        if is_wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path} answers {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn every_signal_that_was_taken_buys_once_after_any_number_of_kills() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let venue = Process::start(botprimex(&["venue", "--listen", "127.0.0.1:0", "--random-walk"]));
    let user = user(&database_url);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut server = serve(&database_url, &venue.url);
    let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(BODY)).await;
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    let (status, hook) = user.ask(&server, Method::POST, &format!("{path}/hook"), None).await;
    assert_eq!(status, 201, "{hook}");
    let address = hook["path"].as_str().unwrap();
    user.ask(&server, Method::POST, &format!("{path}/start"), None).await;
    let bot = until(&user, &server, &path, |bot| bot["open_trade"].is_object()).await;
    let trade = format!("/v1/trades/{}", bot["open_trade"]["id"].as_str().unwrap());
    let (mut taken, mut unanswered) = (0, 0);
    for life in 0..LIVES {
        let asked: Vec<_> = (0..EACH)
            .map(|number| {
                let (user, url) = (user.clone(), format!("{}{address}", server.url));
                tokio::spawn(async move {
                    let body = format!(r#"{{"action":"add","amount":10,"id":"{life}-{number}"}}"#);
                    let answer = user.request(Method::POST, &url).body(body).send().await;
                    answer.is_ok_and(|answer| answer.status() == 202)
                })
            })
            .collect();
        let pause = Duration::from_micros(seed.wrapping_mul(life * 7_919 + 13) % 60_000);
        tokio::time::sleep(pause).await;
        server.kill();
        for asked in asked {
            if asked.await.unwrap() {
                taken += 1;
            } else {
                unanswered += 1;
            }
        }
        server = serve(&database_url, &venue.url);
    }
    let signals = format!("{path}/signals?limit=100");
    let is_over =
        |page: &Value| page["data"].as_array().unwrap().iter().all(|signal| signal["status"] != "accepted");
    let page = until(&user, &server, &signals, is_over).await;
    let stored = page["data"].as_array().unwrap();
    assert!(stored.iter().all(|signal| signal["status"] == "done"), "{page}");
    let (_, trade) = user.ask(&server, Method::GET, &trade, None).await;
    let buys = trade["orders"].as_array().unwrap().iter().filter(|order| order["side"] == "buy").count();
    println!(
        "{taken} taken, {unanswered} unanswered, {} stored, {} bought, {LIVES} kills",
        stored.len(),
        buys - 1
    );
    assert!((taken..=taken + unanswered).contains(&stored.len()));
    assert_eq!(buys - 1, stored.len(), "{trade}");
    assert!(server.stop() && venue.stop());
}
