//! `botprimex demo`: the whole product in one process, offline. What a newcomer sees is what a user would do: an
//! endpoint and a bot are made over HTTP, and every line that is printed came through the signed webhook.

mod account;
mod books;
mod client;
mod latency;
mod listener;
mod screen;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::{AccessConfig, ApiConfig, Running};
use engine::{Engine, EngineConfig, MasterKey, Store};
use model::{AccountId, BotId, EventKind, Rate, Timestamp};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use venue::{Config, Credential, MarketSource, Start, Steps, Venue};

use crate::admin;
use crate::args::DemoArgs;
use crate::exchange;
use crate::shutdown::Shutdown;
use account::SimAccount;
use books::Comparison;
use client::Client;
use listener::Listener;
use screen::{Live, Screen, Standing, Summary};

/// How long is waited for what must come: an answer, the last event.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the status line is drawn.
const DRAW: Duration = Duration::from_millis(250);

/// Runs until it is told to stop, its time is over, or its replay is.
///
/// # Errors
/// When a part cannot start, or answers what it should not.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut shutdown = Shutdown::listen()?;
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let mut demo = Demo::start(args, &folder.path().join("demo.db").display().to_string()).await?;
        let shown = demo.show(args, &mut shutdown).await;
        demo.stop().await;
        shown
    })
}

/// Everything that runs.
struct Demo {
    venue: Venue,
    engine: Engine,
    api: Running,
    listener: Listener,
    client: Client,
    account: AccountId,
    bot: BotId,
    screen: Screen,
    /// Where the bot trades with signed orders, if it does.
    sim: Option<SimAccount>,
}

impl Demo {
    async fn start(args: &DemoArgs, file: &str) -> anyhow::Result<Self> {
        let credential = args.live_sim.then(exchange::made_up);
        let venue = venue::start(venue_config(args, credential.as_ref())?).await?;
        let database_url = format!("sqlite://{file}");
        let (account, key) = make_account(&database_url).await?;
        let config = EngineConfig {
            // Its database goes with it, so a key file would be of no use.
            master_key: Some(MasterKey::draw()),
            ..EngineConfig::simulated(database_url, venue.address(), Rate::from_pct(args.fee)?)
        };
        let engine = Engine::start(config).await?;
        let served = ApiConfig {
            engine: engine.handle(),
            listen: args.listen,
            metrics: None,
            access: AccessConfig::default(),
        };
        let api = api::serve(served).with_context(|| format!("cannot listen on {}", args.listen))?;
        let url = format!("http://{}", api.address());
        let listener = Listener::start()?;
        let client = Client::new(url, key);
        let endpoint = json!({"url": listener.url(), "events": EventKind::ALL});
        let webhook = client.post("/v1/webhooks", &endpoint).await?;
        listener.trust(webhook.get("secret").and_then(Value::as_str).unwrap_or_default());

        let mut definition: Value = match &args.bot {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?
            }
            None => ladder(&first_pair(&venue).await?, !args.replay.is_empty()),
        };
        let mut sim = None;
        if let Some(credential) = credential {
            sim = Some(open_account(&venue, &client, credential, &mut definition).await?);
        }
        let made = client.post("/v1/bots", &definition).await?;
        let bot: BotId = made.get("id").and_then(Value::as_str).unwrap_or_default().parse()?;
        let screen = Screen::new(args.format, definition);
        screen.welcome(&client.url, &client.key, &bot.to_string(), sim.as_ref());
        screen.ready(&client.url);
        client.post(&format!("/v1/bots/{bot}/start"), &json!({})).await?;
        Ok(Self { venue, engine, api, listener, client, account, bot, screen, sim })
    }

    /// Prints what happens until the end, then the summary.
    async fn show(&mut self, args: &DemoArgs, shutdown: &mut Shutdown) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut draw = interval(DRAW);
        draw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut rate = TickRate::default();
        loop {
            let over = args.for_seconds.map(|seconds| began + Duration::from_secs(seconds));
            tokio::select! {
                event = self.listener.next() => {
                    let market = self.market_time();
                    self.screen.event(&event, market);
                }
                _ = draw.tick() => {
                    if self.is_played() {
                        break;
                    }
                    let standing = self.standing(&mut rate).await?;
                    self.screen.status(&standing);
                }
                () = shutdown.asked() => break,
                () = sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() => break,
                failure = self.engine.failed() => bail!("the store failed: {failure}"),
            }
        }
        self.client.post(&format!("/v1/bots/{}/stop", self.bot), &json!({"positions": "hold"})).await?;
        let until = Instant::now() + PATIENCE;
        loop {
            let Ok(event) = tokio::time::timeout_at(until, self.listener.next()).await else {
                bail!("the last webhook did not come in {} s", PATIENCE.as_secs());
            };
            let market = self.market_time();
            self.screen.event(&event, market);
            if event.get("event").and_then(Value::as_str) == Some("bot.stopped") {
                break;
            }
        }
        let trades = self.client.trades().await?;
        let mut live = None;
        if let Some(sim) = &self.sim {
            // The bot has stopped: nothing of it is under way, and no book changes any more.
            let books = Comparison::of(&trades, &sim.ledger().await?, &sim.pair, sim.deposit)?;
            live = Some(Live { books, stages: latency::stages(&trades) });
        }
        let (standing, took) = (self.standing(&mut rate).await?, began.elapsed());
        let agrees = live.as_ref().is_none_or(|live| live.books.agrees());
        self.screen.summary(&Summary { standing, trades, took, refused: self.listener.refused(), live })?;
        if !agrees {
            bail!("our books and the venue's differ");
        }
        Ok(())
    }

    /// Whether a replay is at its end and everything it caused is on disk.
    fn is_played(&self) -> bool {
        let (engine, progress) = (self.engine.handle(), self.venue.progress());
        let progress = progress.borrow();
        tracing::debug!(?progress, ticks = engine.meters().ticks(), depth = engine.ledger_depth());
        progress.finished && engine.meters().ticks() >= progress.prints && engine.ledger_depth() == 0
    }

    /// Where the market has got to: a made-up one may be ahead of the clock, a recorded one is of long ago.
    fn market_time(&self) -> Option<Timestamp> {
        self.venue.progress().borrow().last.as_ref().map(|(_, _, at)| *at)
    }

    async fn standing(&self, rate: &mut TickRate) -> anyhow::Result<Standing> {
        let engine = self.engine.handle();
        let view = engine.bot(self.account, self.bot).await?;
        let price = engine.last_price(&view.bot.definition.pair);
        let ticks = engine.meters().ticks();
        let (open_trade, stats, capital) = (view.open_trade, view.stats, view.bot.capital);
        Ok(Standing { price, open_trade, stats, ticks, ticks_per_second: rate.over(ticks), capital })
    }

    async fn stop(self) {
        self.api.stop().await;
        self.engine.stop().await;
        self.listener.stop().await;
        self.venue.stop().await;
    }
}

/// How many ticks came in the last second or so.
#[derive(Default)]
struct TickRate {
    seen: VecDeque<(Instant, u64)>,
}

impl TickRate {
    fn over(&mut self, ticks: u64) -> u64 {
        let now = Instant::now();
        self.seen.push_back((now, ticks));
        while self.seen.len() > 2
            && self.seen.get(1).is_some_and(|(at, _)| now - *at >= Duration::from_secs(1))
        {
            self.seen.pop_front();
        }
        let Some((at, before)) = self.seen.front() else { return 0 };
        let millis = u64::try_from((now - *at).as_millis()).unwrap_or(u64::MAX).max(1);
        (ticks - before).saturating_mul(1_000) / millis
    }
}

fn venue_config(args: &DemoArgs, credential: Option<&Credential>) -> anyhow::Result<Config> {
    let market = if args.replay.is_empty() {
        MarketSource::RandomWalk { pairs: Vec::new() }
    } else {
        MarketSource::Replay { files: args.replay.clone(), pair: None, start: Start::Subscribe }
    };
    let default = Steps::default();
    Ok(Config {
        market,
        speed: exchange::speed(args.speed),
        seed: args.seed,
        fee: Rate::from_pct(args.fee)?,
        steps: Steps {
            tick_size: args.tick_size.unwrap_or(default.tick_size),
            lot_step: args.lot_step.unwrap_or(default.lot_step),
            ..default
        },
        // What an account holds is paid in once the pair is known.
        balances: Vec::new(),
        credentials: credential.cloned().into_iter().collect(),
        control: credential.is_some(),
        ..Config::default()
    })
}

async fn make_account(database_url: &str) -> anyhow::Result<(AccountId, String)> {
    let store = Store::open(database_url).await?;
    let account = store.create_account("demo", admin::now()).await?.id;
    let (_, key) = admin::keys::create(&store, account, "demo", &[], None, &[]).await?;
    store.close().await;
    Ok((account, key))
}

/// Pays in what the bot trades with, stores the key as its owner would, and makes the bot a live one.
async fn open_account(
    venue: &Venue,
    client: &Client,
    credential: Credential,
    definition: &mut Value,
) -> anyhow::Result<SimAccount> {
    let pair = definition.get("pair").and_then(Value::as_str).unwrap_or_default();
    let pair = pair.parse().context("the bot's pair")?;
    let sim = SimAccount::fund(format!("http://{}", venue.address()), credential, pair).await?;
    let Credential { key, secret } = &sim.credential;
    let connection =
        json!({"exchange": "binance", "name": "simulated", "api_key": key, "api_secret": secret});
    client.post("/v1/exchanges", &connection).await?;
    if let Some(fields) = definition.as_object_mut() {
        fields.insert("dry_run".to_owned(), json!(false));
    }
    Ok(sim)
}

/// The first pair that the venue lists.
async fn first_pair(venue: &Venue) -> anyhow::Result<String> {
    let url = format!("http://{}/api/v3/exchangeInfo", venue.address());
    let listed: Value = reqwest::get(url).await?.json().await?;
    let coin = |key: &str| listed.pointer(&format!("/symbols/0/{key}")).and_then(Value::as_str);
    match (coin("baseAsset"), coin("quoteAsset")) {
        (Some(base), Some(quote)) => Ok(format!("{base}/{quote}")),
        _ => bail!("the venue lists no pair"),
    }
}

/// A ladder tight enough to trade while somebody watches: tighter still on a recorded market, which moves less.
fn ladder(pair: &str, is_recorded: bool) -> Value {
    if is_recorded {
        return json!({"name": "Tight ladder", "exchange": "binance", "pair": pair, "strategy": "dca",
            "stake_amount": 50, "max_open_trades": 4, "stop_loss": -0.15, "take_profit": 0.03, "dry_run": true,
            "dca": {"price_deviation": 0.03, "step_scale": 1.2, "volume_scale": 1.5}});
    }
    json!({"name": "BTC DCA Bot", "exchange": "binance", "pair": pair, "strategy": "dca", "stake_amount": 100,
        "max_open_trades": 5, "stop_loss": -2, "take_profit": 0.15, "dry_run": true,
        "dca": {"price_deviation": 0.1, "step_scale": 1.3, "volume_scale": 1.5}})
}
