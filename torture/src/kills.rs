//! The kill loop: the server lives for a moment, is killed, and starts again, while its bots trade at an exchange
//! where much goes wrong. At the end every bot is closed, and the oracle compares.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::books::{Books, BotRow, Database};
use crate::exchange::{Exchange, KEY, Ledger, Manner, SECRET};
use crate::fleet::{self, Kind};
use crate::oracle::{self, Violations};
use crate::postmaster::Postmaster;
use crate::process::pause;
use crate::proxy::Proxy;
use crate::server::{Life, Server};
use crate::user;

/// How long it may take until every bot is flat and stopped at the end, beyond the wait for absent orders.
const CLOSES_WITHIN: Duration = Duration::from_secs(90);

/// After how long an order's absence counts as proven in runs whose exchange hides none.
const ABSENT_AFTER: Duration = Duration::from_secs(8);

/// And where it does: the server's own default.
const ABSENT_AFTER_HIDDEN: Duration = Duration::from_secs(75);

/// How long a server is watched whose store was killed under it. It outlives that where the store is back in time; where it
/// ends, it is started again.
const DECIDES_WITHIN: Duration = Duration::from_secs(8);

/// What a run is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) kills: usize,
    /// How often its store is killed besides.
    pub(crate) store_kills: usize,
    pub(crate) bots: usize,
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    /// What the exchange is like.
    pub(crate) manner: Manner,
    /// How long each life of the server is; else most end within a moment.
    pub(crate) life: Option<Duration>,
    /// A Postgres to keep the books on; else a file.
    pub(crate) postgres: Option<String>,
    /// How that is started, where it is killed as well.
    pub(crate) postmaster: Option<String>,
    /// What else is set in the server's environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kills: usize,
    pub(crate) recoveries: Vec<Duration>,
    /// How often the store was killed, and how often the server ended for it.
    pub(crate) store_kills: (usize, usize),
    pub(crate) took: Duration,
    pub(crate) absent_after: Duration,
    pub(crate) ledger: Ledger,
    pub(crate) books: Books,
    pub(crate) troubles: Vec<String>,
    pub(crate) violations: Violations,
}

/// A server with its bots at an exchange.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) exchange: Exchange,
    pub(crate) key: String,
    pub(crate) bots: Vec<String>,
    pub(crate) absent_after: Duration,
}

impl Stage {
    /// Starts the exchange, then the server on an empty store; makes an account and its bots and starts them.
    pub(crate) async fn set(plan: &Plan, folder: &Path) -> Result<(Self, Life)> {
        let log = |name: &str| folder.join(name);
        let exchange = Exchange::start(&plan.binary, &log("exchange.log"), plan.seed, plan.manner)?;
        let proxy = Proxy::start(exchange.url.trim_start_matches("http://").parse()?)?;
        let database_url = match &plan.postgres {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", folder.join("books.db").display()),
        };
        let absent_after = if plan.manner == Manner::Hiding { ABSENT_AFTER_HIDDEN } else { ABSENT_AFTER };
        let mut environment = plan.environment.clone();
        let seconds = absent_after.as_secs().to_string();
        environment.push(("BOTPRIMEX_VENUES__BINANCE__ABSENT_AFTER_S".to_owned(), seconds));
        // The owner of many bots, in a hurry.
        environment.push(("BOTPRIMEX_API__PLAN_LIMITS__STANDARD".to_owned(), "100000".to_owned()));
        let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
        let master = format!("{:032x}{:032x}", dice.random::<u128>(), dice.random::<u128>());
        environment.push(("BOTPRIMEX_MASTER_KEY".to_owned(), master));
        let server = Server {
            binary: plan.binary.clone(),
            database_url,
            folder: folder.to_owned(),
            log: log("server.log"),
            proxy,
            http: user::http()?,
            environment,
        };
        let life = server.live().await?;
        let account = server.admin(&["account", "create", "--name=torture"])?;
        let account =
            account.get("id").and_then(|id| id.as_str()).context("an account without id")?.to_owned();
        let key = server.admin(&["key", "create", &format!("--account={account}")])?;
        let key = key.get("key").and_then(|key| key.as_str()).context("a key that is not shown")?.to_owned();
        let credential = json!({"exchange": "binance", "api_key": KEY, "api_secret": SECRET});
        let stored = life.post(&server.http, &key, "/v1/exchanges", &credential).await?;
        let exchange_id = stored.get("id").and_then(|id| id.as_str()).context("a connection without id")?;
        let mut bots = Vec::new();
        for index in 0..plan.bots {
            let bot = life
                .post(&server.http, &key, "/v1/bots", &fleet::body(plan.kind, index, exchange_id))
                .await?;
            bots.push(bot.get("id").and_then(|id| id.as_str()).context("a bot without id")?.to_owned());
        }
        for bot in &bots {
            life.post(&server.http, &key, &format!("/v1/bots/{bot}/start"), &json!({})).await?;
        }
        Ok((Self { server, exchange, key, bots, absent_after }, life))
    }

    /// Closes every bot and waits until all are stopped and nothing is open at the exchange; which bots were in
    /// error, and why. The server is stopped then.
    pub(crate) async fn close(&self, life: Life, violations: &mut Violations) -> Result<Vec<String>> {
        let stuck = self.settle(&life, violations).await?;
        life.stop()?;
        Ok(stuck)
    }

    /// Likewise, without stopping the server.
    pub(crate) async fn settle(&self, life: &Life, violations: &mut Violations) -> Result<Vec<String>> {
        let database = Database::open(&self.server.database_url).await?;
        let in_error = |bot: BotRow| Some(format!("{} {}", bot.id, bot.trouble?));
        let stuck = database.bots().await?.into_iter().filter_map(in_error).collect();
        for bot in &self.bots {
            let path = format!("/v1/bots/{bot}/stop");
            life.post(&self.server.http, &self.key, &path, &json!({"positions": "close"})).await?;
        }
        let deadline = Instant::now() + self.absent_after + CLOSES_WITHIN;
        loop {
            let bots = database.bots().await?;
            let left: Vec<_> = bots.iter().filter(|bot| bot.status != "stopped").collect();
            let open = self.exchange.ledger(&self.server.http).await?;
            let open: Vec<_> = open.orders.iter().filter(|order| order.is_open()).collect();
            if left.is_empty() && open.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                for bot in left {
                    violations
                        .note("bots not stopped", format!("{} {}: {:?}", bot.id, bot.status, bot.trouble));
                }
                break;
            }
            pause(Duration::from_millis(500));
        }
        database.close().await;
        Ok(stuck)
    }

    /// Reads both sides and compares.
    pub(crate) async fn judge(&self) -> Result<(Ledger, Books, Violations)> {
        let database = Database::open(&self.server.database_url).await?;
        let books = database.read().await?;
        database.close().await;
        let ledger = self.exchange.ledger(&self.server.http).await?;
        let violations = oracle::judge(&ledger, &books);
        Ok((ledger, books, violations))
    }
}

/// Runs a plan to its end.
pub(crate) async fn run(plan: &Plan, folder: &Path) -> Result<Outcome> {
    let began = Instant::now();
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut postmaster = plan.postmaster.as_deref().map(Postmaster::start).transpose()?;
    let (stage, mut life) = Stage::set(plan, folder).await?;
    eprintln!("torture: {} bots trade at {}", stage.bots.len(), stage.exchange.url);
    pause(Duration::from_secs(2));
    let mut recoveries = Vec::with_capacity(plan.kills);
    let mut has_ended_with_store = 0;
    let mut victims = vec![Victim::Server; plan.kills];
    victims.extend(vec![Victim::Store; plan.store_kills]);
    victims.shuffle(&mut dice);
    for (kill, victim) in (1..).zip(&victims) {
        pause(plan.life.unwrap_or_else(|| next_life(&mut dice)));
        match (victim, &mut postmaster) {
            (Victim::Store, Some(postmaster)) => {
                let down = Duration::from_millis(dice.random_range(0..3_000));
                let ended = kill_store(postmaster, down, &mut life)
                    .with_context(|| format!("at kill {kill}, of the store"))?;
                if !ended {
                    continue;
                }
                has_ended_with_store += 1;
            }
            (Victim::Store, None) => {
                bail!("no store can be killed: run it by cargo xtask torture --postgres")
            }
            (Victim::Server, _) => life.kill().with_context(|| format!("before kill {kill}"))?,
        }
        life = stage.server.live().await.with_context(|| format!("after kill {kill}"))?;
        recoveries.push(life.recovery);
        if kill % 10 == 0 || kill == victims.len() {
            eprintln!("torture: {kill} kills, last recovery {} ms", life.recovery.as_millis());
        }
    }
    let mut violations = Violations::default();
    let troubles = stage.close(life, &mut violations).await?;
    let (ledger, books, judged) = stage.judge().await?;
    violations.merge(judged);
    if ledger.fills.is_empty() {
        bail!("nothing was traded, so nothing is proven: see {}", stage.server.log.display());
    }
    recoveries.sort_unstable();
    Ok(Outcome {
        kills: plan.kills,
        recoveries,
        store_kills: (plan.store_kills, has_ended_with_store),
        took: began.elapsed(),
        absent_after: stage.absent_after,
        ledger,
        books,
        troubles,
        violations,
    })
}

/// Which process is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Server,
    Store,
}

/// Kills the store and starts it again after a while; whether the server ended for that. If it lives on, it is as
/// ready as before.
fn kill_store(postmaster: &mut Postmaster, down: Duration, life: &mut Life) -> Result<bool> {
    postmaster.kill()?;
    pause(down);
    postmaster.start_again()?;
    let deadline = Instant::now() + DECIDES_WITHIN;
    while !life.has_ended()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        pause(Duration::from_millis(20));
    }
    Ok(true)
}

/// Most lives end within a moment of their start; some are long enough for trades to get on.
fn next_life(dice: &mut ChaCha8Rng) -> Duration {
    let is_long = dice.random_bool(0.15);
    Duration::from_millis(if is_long { dice.random_range(500..2_000) } else { dice.random_range(20..120) })
}
