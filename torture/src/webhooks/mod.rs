//! The webhooks under torture: owners turn their bots on and off and others trade on paper, while the server is killed
//! again and again and some endpoints are hostile. In the end every endpoint that takes things has to have everything.
//!
//! All events come from what the API and the simulated market make the server do. How they are shared out: each account
//! has ten endpoints at most, and each endpoint gets all events of its account.

mod endpoints;
pub(crate) mod judge;
mod owners;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::books::Database;
use crate::exchange::{self, Exchange, PAIRS};
use crate::process::pause;
use crate::proxy::Proxy;
use crate::server::{Life, Server};
use endpoints::{Endpoints, Manner, now};
use judge::{Event, Found, Kill, events, judge};
use owners::{Owner, Place, Work};

/// How many endpoints an account has at most.
const OF_AN_ACCOUNT: usize = 10;

/// Every kind of event: each endpoint names them all, since `trade.updated` goes to none that names nothing.
const EVENTS: [&str; 9] = [
    "bot.started",
    "bot.stopped",
    "trade.opened",
    "trade.updated",
    "trade.closed",
    "trade.stoploss",
    "bot.error",
    "subscription.changed",
    "payout.processed",
];

/// How many bots of an account trade on paper, and how many its owner turns on and off.
const TRADERS: usize = 2;
const TURNED: usize = 12;

/// How often a bot is turned.
const EVERY: Duration = Duration::from_millis(10);

/// How long it may take after the last turn until every endpoint that takes things has everything: whoever refused an
/// event is asked again after five seconds, and a bot's later events wait for that.
const ALL_WITHIN: Duration = Duration::from_mins(2);

/// What a run is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    /// How often a bot is turned on or off; the trades of others come on top.
    pub(crate) events: usize,
    pub(crate) endpoints: usize,
    pub(crate) hostile: usize,
    pub(crate) kills: usize,
    pub(crate) seed: u64,
    /// A Postgres to keep the books on; else a file.
    pub(crate) postgres: Option<String>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) kills: usize,
    pub(crate) accounts: usize,
    pub(crate) took: Duration,
    /// From a start until it could be used; sorted.
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) found: Found,
}

/// Runs a plan to its end.
pub(crate) async fn run(plan: &Plan, folder: &Path) -> Result<Delivered> {
    let began = Instant::now();
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let accounts = plan.endpoints.div_ceil(OF_AN_ACCOUNT);
    let endpoints = Endpoints::start(manners(plan, accounts, &mut dice))?;
    let exchange =
        Exchange::start(&plan.binary, &folder.join("exchange.log"), plan.seed, exchange::Manner::Well)?;
    let server = serve(plan, &exchange, folder, &mut dice)?;
    let mut life = server.live().await?;
    let (ids, keys) = open_accounts(&server, accounts)?;
    let mut owners = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        owners.push(settle_in(&server, &life, &endpoints, number, key).await?);
    }
    eprintln!("torture: {} endpoints of {accounts} accounts", plan.endpoints);

    let place = Place::default();
    place.set(Some(life.url().to_owned()));
    let traders: Vec<(String, Vec<String>)> =
        owners.iter().map(|(owner, traders)| (owner.key.clone(), traders.clone())).collect();
    let owners = owners.into_iter().map(|(owner, _)| owner).collect();
    let work = Work::begin(owners, place.clone(), plan.events, EVERY);
    let mut kills = Vec::with_capacity(plan.kills);
    let mut recoveries = Vec::with_capacity(plan.kills);
    for moment in moments(plan, &mut dice) {
        while work.done() < moment && !work.is_over() {
            pause(Duration::from_millis(1));
        }
        place.set(None);
        life.kill().with_context(|| format!("before kill {}", kills.len() + 1))?;
        endpoints.wait_for_silence();
        let at = now();
        life = server.live().await.with_context(|| format!("after kill {}", kills.len() + 1))?;
        kills.push(Kill { at, ready: now() });
        recoveries.push(life.recovery);
        place.set(Some(life.url().to_owned()));
        eprintln!(
            "torture: kill {} after {moment} turns, ready in {} ms",
            kills.len(),
            life.recovery.as_millis()
        );
    }
    let turned = work.end()?;
    for (key, bots) in &traders {
        for bot in bots {
            life.post(&server.http, key, &format!("/v1/bots/{bot}/stop"), &json!({})).await?;
        }
    }
    let database = Database::open(&server.database_url).await?;
    let told = events(&database).await?;
    wait_for_all(&endpoints, &ids, &told);
    database.close().await;
    life.stop()?;
    if told.is_empty() {
        bail!("nothing was told of, so nothing is proven: see {}", server.log.display());
    }
    recoveries.sort_unstable();
    let found = judge(&endpoints, &ids, &told, &kills, &turned);
    Ok(Delivered { kills: kills.len(), accounts, took: began.elapsed(), recoveries, found })
}

/// Whose each endpoint is, and how it behaves.
fn manners(plan: &Plan, accounts: usize, dice: &mut ChaCha8Rng) -> Vec<(usize, Manner)> {
    let hostile = Manner::HOSTILE.into_iter().cycle().take(plan.hostile.min(plan.endpoints));
    let mut manners: Vec<Manner> = hostile.collect();
    manners.resize(plan.endpoints, Manner::Well);
    manners.shuffle(dice);
    manners.into_iter().enumerate().map(|(index, manner)| (index % accounts, manner)).collect()
}

/// After how many turns it is killed.
fn moments(plan: &Plan, dice: &mut ChaCha8Rng) -> Vec<usize> {
    let mut moments: Vec<usize> = (0..plan.kills).map(|_| dice.random_range(1..plan.events)).collect();
    moments.sort_unstable();
    moments
}

fn serve(plan: &Plan, exchange: &Exchange, folder: &Path, dice: &mut ChaCha8Rng) -> Result<Server> {
    let proxy = Proxy::start(exchange.url.trim_start_matches("http://").parse()?)?;
    let master = format!("{:032x}{:032x}", dice.random::<u128>(), dice.random::<u128>());
    let environment = [
        ("BOTPRIMEX_API__PLAN_LIMITS__STANDARD", "100000"),
        ("BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK", "true"),
        ("BOTPRIMEX_MASTER_KEY", &master),
    ];
    let file = || format!("sqlite://{}", folder.join("books.db").display());
    Ok(Server {
        binary: plan.binary.clone(),
        database_url: plan.postgres.clone().unwrap_or_else(file),
        folder: folder.to_owned(),
        log: folder.join("server.log"),
        proxy,
        http: reqwest::Client::new(),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    })
}

/// The accounts' ids and keys.
fn open_accounts(server: &Server, accounts: usize) -> Result<(Vec<String>, Vec<String>)> {
    let mut all = (Vec::new(), Vec::new());
    for number in 0..accounts {
        let account = text(&server.admin(&["account", "create", &format!("--name=owner {number}")])?, "id")?;
        let key = server.admin(&["key", "create", &format!("--account={account}")])?;
        all.1.push(text(&key, "key")?);
        all.0.push(account);
    }
    Ok(all)
}

/// Makes an account's endpoints, then its bots, and starts those that trade; what its owner does, and who trades.
async fn settle_in(
    server: &Server,
    life: &Life,
    endpoints: &Endpoints,
    number: usize,
    key: String,
) -> Result<(Owner, Vec<String>)> {
    for endpoint in endpoints.all.iter().filter(|endpoint| endpoint.account == number) {
        let made = life
            .post(&server.http, &key, "/v1/webhooks", &json!({"url": endpoint.url, "events": EVENTS}))
            .await?;
        // It is asked for once, before anything comes.
        let _ = endpoint.secret.set(text(&made, "secret")?);
    }
    let (mut traders, mut turned) = (Vec::new(), Vec::new());
    for index in 0..TRADERS + TURNED {
        let is_trader = index < TRADERS;
        let bot = life.post(&server.http, &key, "/v1/bots", &body(index, is_trader)).await?;
        let bot = text(&bot, "id")?;
        if is_trader {
            life.post(&server.http, &key, &format!("/v1/bots/{bot}/start"), &json!({})).await?;
            traders.push(bot);
        } else {
            turned.push(bot);
        }
    }
    Ok((Owner { key, bots: turned }, traders))
}

/// Traders' levels lie so close that the market reaches one every few seconds.
fn body(index: usize, is_trader: bool) -> Value {
    let (stop_loss, take_profit) = if is_trader { (-0.8, 0.2) } else { (-50.0, 50.0) };
    json!({
        "name": format!("bot {index}"), "exchange": "binance", "pair": PAIRS.get(index % PAIRS.len()),
        "strategy": "dca", "stake_amount": 50, "max_open_trades": 1, "stop_loss": stop_loss,
        "take_profit": take_profit, "dry_run": true,
    })
}

/// Waits until every endpoint that takes everything has it, or it takes too long.
fn wait_for_all(endpoints: &Endpoints, accounts: &[String], told: &[Event]) {
    let deadline = Instant::now() + ALL_WITHIN;
    let has_all = |endpoint: &endpoints::Endpoint| {
        let account = accounts.get(endpoint.account);
        endpoint.taken() >= told.iter().filter(|event| account == Some(&event.account)).count()
    };
    for endpoint in endpoints.all.iter().filter(|endpoint| endpoint.manner.takes_all()) {
        while !has_all(endpoint) && Instant::now() < deadline {
            pause(Duration::from_millis(50));
        }
    }
}

fn text(answer: &Value, field: &str) -> Result<String> {
    let text = answer.get(field).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {field} in an answer"))?.to_owned())
}
