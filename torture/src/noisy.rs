//! A noisy tenant: one account whose paper bots trade on nearly every tick, beside another whose owner commands and closes
//! live trades. The other one must not notice.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::exchange::{Ledger, PAIRS};
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::seen::list;
use crate::server::Life;
use crate::user::{self, Answer, User, text};

/// Every kind of thing that can be wrong, besides what the oracle finds.
pub(crate) const KINDS: [&str; 7] = [
    "commands late",
    "commands refused",
    "closes late",
    "memory grown",
    "queue too long",
    "stopped late",
    "paper bots gone",
];

/// How many paper bots the other account has, which its owner commands.
const COMMANDED: usize = 6;

/// How long the owner pauses between two commands, and between two closes.
const BETWEEN: Duration = Duration::from_millis(25);
const BETWEEN_CLOSES: Duration = Duration::from_millis(700);

/// How often memory and the queue are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What a command counts that got no answer, and a close whose order never came.
const PATIENCE: Duration = user::PATIENCE;

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of commands, at the 99th percentile.
    pub(crate) commands: Duration,
    /// From a close until the exchange has its order, at the longest.
    pub(crate) close: Duration,
    /// From SIGTERM to the end.
    pub(crate) stop: Duration,
}

/// How much memory may grow by, and how many changes may wait for the disk.
const GROWS_BY_MB: u64 = 200;
const QUEUE: u64 = 20_000;

/// A release build, alone on its machine.
pub(crate) const STRICT: Bounds = Bounds {
    commands: Duration::from_millis(250),
    close: Duration::from_secs(1),
    stop: Duration::from_secs(10),
};

/// A debug build beside others.
pub(crate) const LENIENT: Bounds = Bounds {
    commands: Duration::from_millis(2_500),
    close: Duration::from_secs(5),
    stop: Duration::from_secs(14),
};

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) noise: usize,
    pub(crate) length: Duration,
    /// How long commands and closes took; sorted.
    pub(crate) commands: Vec<Duration>,
    pub(crate) closes: Vec<Duration>,
    /// How many answers were a 503.
    pub(crate) refused: usize,
    /// In MB, at the beginning and at most.
    pub(crate) memory: (u64, u64),
    pub(crate) queue: u64,
    pub(crate) stopped_after: Duration,
    /// How many trades the noisy account closed, and how many of its bots were too busy in the end.
    pub(crate) trades: usize,
    pub(crate) too_busy: usize,
    pub(crate) violations: Violations,
}

/// Runs a plan whose bots are the other account's live ones.
pub(crate) async fn run(
    plan: &Plan,
    noise: usize,
    length: Duration,
    bounds: Bounds,
    folder: &Path,
) -> Result<Heard> {
    let (stage, life) = Stage::set(plan, folder).await?;
    let http = user::http()?;
    let quiet = life.user(&http, &stage.key);
    let mut commanded = Vec::new();
    for index in 0..COMMANDED {
        let bot = quiet.post("/v1/bots", &calm(index)).await?;
        commanded.push(text(&bot, "id").to_owned());
    }
    let account = stage.server.admin(&["account", "create", "--name=noisy"])?;
    let key = stage.server.admin(&["key", "create", &format!("--account={}", text(&account, "id"))])?;
    let tenant = life.user(&http, text(&key, "key"));
    let mut bots = Vec::new();
    for index in 0..noise {
        bots.push(text(&tenant.post("/v1/bots", &loud(index)).await?, "id").to_owned());
    }
    let mut heard = Heard { noise, length, ..Heard::default() };
    heard.memory.0 = resident_mb(&life)?;
    for bot in &bots {
        // A server that is too busy to start more is busy enough.
        if tenant.ask(Method::POST, &format!("/v1/bots/{bot}/start"), Some(&json!({}))).await.is_err() {
            break;
        }
    }
    eprintln!("torture: {noise} bots are noisy");
    let end = Instant::now() + length;
    let (commands, closes, looked) = tokio::join!(
        command(&quiet, &commanded, end),
        close(&quiet, &stage.bots, end),
        look(&life, &http, end),
    );
    let (commands, refused) = commands?;
    (heard.commands, heard.refused) = (commands, refused);
    (heard.memory.1, heard.queue) = looked?;
    for bot in &bots {
        let shown = tenant.get(&format!("/v1/bots/{bot}")).await?;
        heard.trades += shown
            .pointer("/stats/trades")
            .and_then(Value::as_u64)
            .and_then(|trades| usize::try_from(trades).ok())
            .unwrap_or_default();
        let is_too_busy = shown.pointer("/error/code").and_then(Value::as_str) == Some("too_busy");
        heard.too_busy += usize::from(is_too_busy);
        if !is_too_busy && text(&shown, "status") != "running" {
            let told = format!("{bot} is {}: {:?}", text(&shown, "status"), shown.get("error"));
            heard.violations.note("paper bots gone", told);
        }
    }
    let began = Instant::now();
    if let Err(error) = life.stop() {
        heard.violations.note("stopped late", error.to_string());
    }
    heard.stopped_after = began.elapsed();
    let ledger = stage.exchange.ledger(&stage.server.http).await?;
    heard.closes = closes_of(&closes?, &ledger);
    heard.commands.sort_unstable();
    heard.closes.sort_unstable();
    judge(&mut heard, bounds);
    Ok(heard)
}

/// Notes what went beyond its bound.
fn judge(heard: &mut Heard, bounds: Bounds) {
    let place = (heard.commands.len() * 99).div_ceil(100).saturating_sub(1);
    let p99 = heard.commands.get(place).copied().unwrap_or(PATIENCE);
    let slowest = heard.closes.last().copied().unwrap_or(PATIENCE);
    let grown = heard.memory.1.saturating_sub(heard.memory.0);
    let all = [
        (p99 > bounds.commands, "commands late", format!("p99 {p99:?}")),
        (heard.refused > 0, "commands refused", format!("{} answered with 503", heard.refused)),
        (slowest > bounds.close, "closes late", format!("{slowest:?}")),
        (grown > GROWS_BY_MB, "memory grown", format!("by {grown} MB")),
        (heard.queue > QUEUE, "queue too long", format!("{} changes", heard.queue)),
        (heard.stopped_after > bounds.stop, "stopped late", format!("{:?}", heard.stopped_after)),
    ];
    for (is_wrong, kind, told) in all {
        if is_wrong {
            heard.violations.note(kind, told);
        }
    }
}

/// The owner commands; how long each took, and how many were refused with a 503.
async fn command(user: &User, bots: &[String], end: Instant) -> Result<(Vec<Duration>, usize)> {
    let (mut took, mut refused) = (Vec::new(), 0);
    let mut turn = 0_usize;
    while Instant::now() < end {
        let Some(bot) = bots.get(turn % bots.len()) else { bail!("nothing to command") };
        let path = format!("/v1/bots/{bot}");
        let take_profit = 20 + turn % 30;
        let (method, path, body) = match (turn / bots.len()) % 5 {
            0 => (Method::POST, format!("{path}/start"), json!({})),
            1 => (Method::PATCH, path, json!({"take_profit": take_profit})),
            2 => (Method::POST, "/v1/bots".to_owned(), calm(turn)),
            3 => (Method::POST, format!("{path}/stop"), json!({"positions": "close"})),
            _ => (Method::POST, format!("{path}/stop"), json!({})),
        };
        turn += 1;
        match user.ask(method, &path, Some(&body)).await {
            Ok(Answer { status, took: time, .. }) => {
                took.push(time);
                refused += usize::from(status == 503);
            }
            // No answer in a minute counts as one that took so long.
            Err(_) => took.push(PATIENCE),
        }
        sleep(BETWEEN).await;
    }
    Ok((took, refused))
}

/// The owner closes live trades by hand; which, and when, in ms since 1970.
async fn close(user: &User, bots: &[String], end: Instant) -> Result<Vec<(i64, Value)>> {
    let mut closed = Vec::new();
    for bot in bots.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        sleep(BETWEEN_CLOSES).await;
        let open = user.get(&format!("/v1/bots/{bot}/trades?status=open")).await?;
        let Some(trade) = list(&open, "data").first().map(|trade| text(trade, "id").to_owned()) else {
            continue;
        };
        let at = crate::one_way::now_ms();
        let answer = user.ask(Method::POST, &format!("/v1/trades/{trade}/close"), Some(&json!({}))).await;
        let is_done = answer.as_ref().is_ok_and(Answer::is_success);
        let trade = user.get(&format!("/v1/trades/{trade}")).await?;
        if !is_done && text(&trade, "status") == "open" {
            eprintln!("torture: a close was answered with {answer:?}");
        }
        closed.push((at, trade));
    }
    Ok(closed)
}

/// How long each close took until the exchange had its order.
fn closes_of(closed: &[(i64, Value)], ledger: &Ledger) -> Vec<Duration> {
    let mut took = Vec::new();
    for (at, trade) in closed {
        let ids: Vec<&str> =
            list(trade, "orders").iter().map(|order| text(order, "client_order_id")).collect();
        let sells = ledger.orders.iter().filter(|order| order.side == "SELL" && order.kind == "MARKET");
        let sold = sells.filter(|order| ids.contains(&order.client_id.as_str())).map(|order| order.at).max();
        took.push(
            sold.map_or(PATIENCE, |sold| Duration::from_millis(u64::try_from(sold - at).unwrap_or_default())),
        );
    }
    took
}

/// Looks at the server from outside; its most memory in MB, and the longest queue.
async fn look(life: &Life, http: &reqwest::Client, end: Instant) -> Result<(u64, u64)> {
    let (mut memory, mut queue) = (0, 0);
    while Instant::now() < end {
        sleep(LOOK).await;
        memory = resident_mb(life)?.max(memory);
        let Ok(answer) = http.get(format!("{}/metrics", life.url())).send().await else { continue };
        let metrics = answer.text().await?;
        let depth = metrics.lines().find_map(|line| line.strip_prefix("botprimex_ledger_depth "));
        queue = depth.and_then(|depth| depth.trim().parse().ok()).unwrap_or(0).max(queue);
    }
    Ok((memory, queue))
}

/// How much memory its process holds, in MB.
fn resident_mb(life: &Life) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", life.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kb: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1_024)
}

/// A bot that trades on nearly every tick.
fn loud(index: usize) -> Value {
    json!({
        "name": format!("loud {index}"), "exchange": "binance", "pair": PAIRS.get(index % PAIRS.len()),
        "strategy": "dca", "stake_amount": 20, "max_open_trades": 1, "take_profit": 0.01, "stop_loss": -0.15,
        "trailing_stop": 0.001, "dry_run": true,
    })
}

/// A bot that holds what it bought.
fn calm(index: usize) -> Value {
    json!({
        "name": format!("calm {index}"), "exchange": "binance", "pair": PAIRS.get(index % PAIRS.len()),
        "strategy": "dca", "stake_amount": 20, "max_open_trades": 1, "take_profit": 50, "stop_loss": -50,
        "dry_run": true,
    })
}
