//! What an operator does with accounts beside a running server.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::process::{MASTER_KEY, Process, botprimex, run};
use crate::serve::{admin, user};

fn serve(database_url: &str) -> Process {
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", database_url]);
    command.env("BOTPRIMEX_MASTER_KEY", MASTER_KEY);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
    Process::start(command)
}

#[tokio::test]
async fn plans_payouts_and_keys_are_set_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let user = user(&database_url);
    let server = serve(&database_url);
    let account = admin(&database_url, &["account", "list"])[0]["id"].as_str().unwrap().to_owned();
    let set = |more: &[&str]| {
        admin(&database_url, &[&["subscription", "set", "--account", &account], more].concat())
    };
    let given = set(&["--plan", "pro", "--period-end", "30d"]);
    assert_eq!(
        (&given["plan"], &given["changed"], &given["id"]),
        (&json!("pro"), &json!(true), &json!(account))
    );
    assert_eq!(set(&["--plan", "pro"])["changed"], false);
    assert_eq!(set(&["--plan", "pro", "--cancel-at-period-end"])["changed"], true);
    let (_, shown) = user.ask(&server, Method::GET, "/v1/account/subscription", None).await;
    assert_eq!((&shown["plan"], &shown["cancel_at_period_end"]), (&json!("pro"), &json!(true)));
    assert!(shown["period"]["end"].is_string(), "{shown}");

    let start = ["admin", "--database-url", &database_url, "subscription", "set", "--account", &account];
    let past = run(&[&start[..], &["--plan", "pro", "--period-end", "2020-01-01T00:00:00Z"]].concat());
    assert_eq!(past.status.code(), Some(2));
    assert!(String::from_utf8(past.stderr).unwrap().contains("--period-end"));

    let pay = ["payout", "create", "--account", &account, "--amount", "12.50", "--currency", "usd"];
    let arguments = [&["admin", "--database-url", &database_url, "--format", "json"], &pay[..]].concat();
    let paid = String::from_utf8(run(&arguments).stdout).unwrap();
    for part in ["\"gross\": 12.50", "\"net\": 12.50", "\"currency\": \"USD\"", "\"id\": \"po_"] {
        assert!(paid.contains(part), "`{part}` is missing in {paid}");
    }
    let url = format!("{}/v1/events", server.url);
    let events = user.request(Method::GET, &url).send().await.unwrap().text().await.unwrap();
    assert!(events.contains(r#""amount":12.50,"gross":12.50"#), "{events}");
    assert_eq!(events.matches("subscription.changed").count(), 2, "{events}");

    let bad = run(&[
        "admin",
        "--database-url",
        &database_url,
        "key",
        "create",
        "--account",
        &account,
        "--scopes",
        "bots:all",
    ]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("`bots:all` is no scope"));
    let made = admin(
        &database_url,
        &["key", "create", "--account", &account, "--scopes", "account:read", "--allow-ip", "127.0.0.1"],
    );
    let get = async |key: &str| {
        let asked = reqwest::Client::new().get(format!("{}/v1/account", server.url)).bearer_auth(key);
        asked.send().await.unwrap().status().as_u16()
    };
    let (id, first) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(get(first).await, 200);
    let rotated = admin(&database_url, &["key", "rotate", id, "--overlap", "1h"]);
    let second = rotated["key"].as_str().unwrap();
    assert_eq!(
        (&rotated["scopes"], &rotated["allow_ips"]),
        (&json!(["account:read"]), &json!(["127.0.0.1/32"]))
    );
    assert_eq!((get(first).await, get(second).await), (200, 200), "both are good for a while");
    admin(&database_url, &["key", "revoke", id]);
    let revoked = Instant::now();
    while get(first).await != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(second).await, 200);
    assert_eq!(run(&["admin", "--database-url", &database_url, "key", "rotate", id]).status.code(), Some(1));
    assert!(server.stop());
}
