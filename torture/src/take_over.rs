//! A server that lost its store without noticing: it is stopped by SIGSTOP while its bots trade, the session that holds
//! its store ends, a second server takes the store over, and the first goes on by SIGCONT. From then on it may write
//! nothing and send nothing. The second is the first of the next round.
//!
//! Each server has a role of its own at the database and an address of its own at the exchange: a trigger notes which
//! role wrote which row, and the exchange which address changed an order.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::exchange::{Exchange, PAIRS};
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::process::pause;
use crate::proxy::Proxy;
use crate::seen::{Closed, Seen, list};
use crate::server::{Life, Server};
use crate::user::{User, text};

/// Every kind of thing that can be wrong, besides what both oracles find.
pub(crate) const KINDS: [&str; 5] =
    ["rows by the first", "orders by the first", "first lived on", "trades reopened", "bots stopped"];

/// How long the first may take to end once it goes on.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// How often the second is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// The trigger: which role wrote a row of which table, and of a trade whether it had been closed.
const WATCH: &[&str] = &[
    "CREATE TABLE torture_writes (n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, role TEXT NOT NULL,
         what TEXT NOT NULL)",
    "CREATE FUNCTION torture_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO torture_writes (role, what) VALUES (session_user, TG_OP || ' ' || TG_TABLE_NAME);
         RETURN NULL; END $$",
    "CREATE FUNCTION torture_reopened() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO torture_writes (role, what) VALUES (session_user, 'REOPENED ' || NEW.id);
         RETURN NULL; END $$",
    "CREATE TRIGGER torture_reopened AFTER UPDATE ON trades FOR EACH ROW
         WHEN (OLD.status = 'closed' AND NEW.status <> 'closed') EXECUTE FUNCTION torture_reopened()",
    "DO $$ DECLARE name TEXT; BEGIN
         FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema()
             AND tablename NOT LIKE 'torture%' LOOP
             EXECUTE format('CREATE TRIGGER torture_note AFTER INSERT OR UPDATE OR DELETE ON %I
                 FOR EACH ROW EXECUTE FUNCTION torture_note()', name);
         END LOOP; END $$",
];

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct TakenOver {
    pub(crate) runs: usize,
    /// From the start of the second until it was ready.
    pub(crate) ready_after: Vec<Duration>,
    /// From SIGCONT until the first had ended.
    pub(crate) ended_after: Vec<Duration>,
    /// How long the first was stopped.
    pub(crate) paused: Vec<Duration>,
    /// In how many runs the first wrote, and in how many it traded.
    pub(crate) wrote: usize,
    pub(crate) traded: usize,
    /// Orders that were committed before the pause, and accepted within their time after it.
    pub(crate) in_time: usize,
    /// Bots that were seen stopped.
    stopped: HashSet<String>,
    pub(crate) looks: usize,
    pub(crate) orders: usize,
    pub(crate) fills: usize,
    pub(crate) trades: usize,
    pub(crate) violations: Violations,
}

/// Runs a plan so many times.
pub(crate) async fn run(plan: &Plan, runs: usize, papers: usize, folder: &Path) -> Result<TakenOver> {
    let url = plan.postgres.as_deref().context("run it by cargo xtask torture: it needs a Postgres")?;
    let owner = PgPool::connect(url).await?;
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut taken = TakenOver { runs, ..TakenOver::default() };
    let first_url = role_url(&owner, url, 0).await?;
    let (mut stage, mut first) =
        Stage::set(&Plan { postgres: Some(first_url), ..plan.clone() }, folder).await?;
    for statement in WATCH.iter().copied() {
        sqlx::query(statement).execute(&owner).await.context(statement)?;
    }
    for index in 0..papers {
        let user = first.user(&stage.server.http, &stage.key);
        let bot = user.post("/v1/bots", &paper(index)).await?;
        let id = text(&bot, "id").to_owned();
        user.post(&format!("/v1/bots/{id}/start"), &json!({})).await?;
        stage.bots.push(id);
    }
    let mut closed = Closed::default();
    for round in 1..=runs {
        let user = first.user(&stage.server.http, &stage.key);
        watch(&user, &mut closed, Duration::from_millis(dice.random_range(1_000..3_000)), &mut taken).await?;
        let second_url = role_url(&owner, url, round).await?;
        let second = successor(&stage, second_url, folder, round, &mut dice)?;
        let round = Round { owner: &owner, role: role(round - 1), source: stage.server.proxy.source() };
        let (second, life) =
            round.carry_out(second, first, &stage, &mut closed, &mut dice, &mut taken).await?;
        // The proxy of the first ends with it.
        stage.server = second;
        first = life;
    }
    let reopened =
        sqlx::query_scalar("SELECT role || ': ' || what FROM torture_writes WHERE what LIKE 'REOPENED%'");
    for what in reopened.fetch_all(&owner).await? {
        let what: String = what;
        taken.violations.note("trades reopened", what);
    }
    let stuck = stage.settle(&first, &mut taken.violations).await?;
    for trouble in stuck {
        eprintln!("torture: in error {trouble}");
    }
    let seen = Seen::read(&first.user(&stage.server.http, &stage.key)).await?;
    first.stop()?;
    let (ledger, _, judged) = stage.judge().await?;
    taken.violations.merge(judged);
    taken.violations.merge(seen.judge(&ledger));
    seen.ladders(&mut taken.violations);
    closed.look(&seen.trades, &mut taken.violations);
    (taken.looks, taken.orders, taken.fills) = (closed.looks, ledger.orders.len(), ledger.fills.len());
    taken.trades = seen.trades.len();
    for figures in [&mut taken.ready_after, &mut taken.ended_after, &mut taken.paused] {
        figures.sort_unstable();
    }
    if taken.fills == 0 {
        bail!("nothing was traded, so nothing is proven: see {}", folder.display());
    }
    Ok(taken)
}

/// One round: who is stopped, as the database and the exchange know it.
struct Round<'a> {
    owner: &'a PgPool,
    role: String,
    source: Ipv4Addr,
}

impl Round<'_> {
    /// Stops the first, has the second take over, and lets the first go on.
    async fn carry_out(
        &self,
        second: Server,
        mut first: Life,
        stage: &Stage,
        closed: &mut Closed,
        dice: &mut ChaCha8Rng,
        taken: &mut TakenOver,
    ) -> Result<(Server, Life)> {
        first.signal("STOP")?;
        let stopped = Instant::now();
        pause(Duration::from_millis(dice.random_range(0..300)));
        self.end_lock_session().await?;
        let life = second.live().await.context("the second server")?;
        taken.ready_after.push(life.recovery);
        let rows = self.rows().await?;
        let sent = stage.exchange.accepted(&second.http, self.source).await?.len();
        let user = life.user(&second.http, &stage.key);
        watch(&user, closed, Duration::from_millis(dice.random_range(300..2_500)), taken).await?;

        first.signal("CONT")?;
        taken.paused.push(stopped.elapsed());
        let went_on = Instant::now();
        while !first.has_ended()? {
            if went_on.elapsed() > ENDS_WITHIN {
                taken.violations.note("first lived on", format!("{} s after SIGCONT", ENDS_WITHIN.as_secs()));
                first.kill()?;
                break;
            }
            watch(&user, closed, LOOK, taken).await?;
        }
        taken.ended_after.push(went_on.elapsed());
        self.count(rows, sent, &stage.exchange, &second, taken).await?;
        Ok((second, life))
    }

    /// Notes what the first wrote and sent since.
    async fn count(
        &self,
        rows: i64,
        sent: usize,
        exchange: &Exchange,
        server: &Server,
        taken: &mut TakenOver,
    ) -> Result<()> {
        let sql = "SELECT what || ' ' || count(*) FROM (SELECT what FROM torture_writes WHERE role = $1
             ORDER BY n OFFSET $2) AS late GROUP BY what";
        let late: Vec<String> =
            sqlx::query_scalar(sql).bind(&self.role).bind(rows).fetch_all(self.owner).await?;
        let accepted = exchange.accepted(&server.http, self.source).await?;
        let late_orders = accepted.get(sent..).unwrap_or_default();
        taken.wrote += usize::from(!late.is_empty());
        let writes_intents = late.iter().any(|what| what.contains("intents"));
        let mut traded = false;
        for order in late_orders {
            // One that was committed before may come until its time is over: the second waits for that before it takes it
            // for absent, and finds it as any other.
            let sql = "SELECT count(*) FROM intents WHERE client_order_id = $1";
            let id = text(order, "clientOrderId");
            let known: i64 = sqlx::query_scalar(sql).bind(id).fetch_one(self.owner).await?;
            if text(order, "method") == "order.place" && known == 1 && !writes_intents {
                taken.in_time += 1;
            } else {
                traded = true;
                taken.violations.note("orders by the first", format!("{}: {order}", self.role));
            }
        }
        taken.traded += usize::from(traded);
        for what in late {
            taken.violations.note("rows by the first", format!("{}: {what}", self.role));
        }
        Ok(())
    }

    /// How many rows it has written.
    async fn rows(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM torture_writes WHERE role = $1";
        Ok(sqlx::query_scalar(sql).bind(&self.role).fetch_one(self.owner).await?)
    }

    /// Ends the session that keeps others from the store, as a network that was cut for long does.
    async fn end_lock_session(&self) -> Result<()> {
        let sql =
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND a.usename = $1";
        sqlx::query(sql).bind(&self.role).fetch_all(self.owner).await?;
        Ok(())
    }
}

/// A server beside the one on the stage, with a way to the exchange of its own; every other one lies in a folder of its
/// own, so that it has no notes of what the first sent.
fn successor(
    stage: &Stage,
    database_url: String,
    folder: &Path,
    round: usize,
    dice: &mut ChaCha8Rng,
) -> Result<Server> {
    let Server { binary, log, http, environment, .. } = &stage.server;
    let own = folder.join(format!("server-{round}"));
    let folder = if dice.random_bool(0.5) { own } else { stage.server.folder.clone() };
    std::fs::create_dir_all(&folder)?;
    Ok(Server {
        binary: binary.clone(),
        database_url,
        folder,
        log: log.clone(),
        proxy: Proxy::start(stage.exchange.url.trim_start_matches("http://").parse()?)?,
        http: http.clone(),
        environment: environment.clone(),
    })
}

/// Looks at the server for a while as its owner does: closed trades stay closed, and bots run.
async fn watch(user: &User, closed: &mut Closed, length: Duration, taken: &mut TakenOver) -> Result<()> {
    let end = Instant::now() + length;
    loop {
        let trades = user.get("/v1/trades?limit=100").await?;
        closed.look(list(&trades, "data"), &mut taken.violations);
        let bots = user.get("/v1/bots?limit=100&status=stopped").await?;
        for bot in list(&bots, "data") {
            if taken.stopped.insert(text(bot, "id").to_owned()) {
                taken.violations.note("bots stopped", format!("{}, which nobody stopped", text(bot, "id")));
            }
        }
        if Instant::now() >= end {
            return Ok(());
        }
        pause(LOOK.min(end.saturating_duration_since(Instant::now())));
    }
}

fn role(round: usize) -> String {
    format!("torture_{round}")
}

/// The database's address for a role of its own, which is made.
async fn role_url(owner: &PgPool, url: &str, round: usize) -> Result<String> {
    let role = role(round);
    // A superuser, so that whoever made the tables does not matter.
    let sql = format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'torture'");
    sqlx::query(AssertSqlSafe(sql)).execute(owner).await?;
    let options: PgConnectOptions = url.parse()?;
    Ok(options.username(&role).password("torture").to_url_lossy().to_string())
}

/// A paper bot whose levels the market reaches every second or so.
fn paper(index: usize) -> Value {
    json!({
        "name": format!("paper {index}"), "exchange": "binance",
        "pair": PAIRS.get(index % PAIRS.len()), "strategy": "dca",
        "stake_amount": 50, "max_open_trades": 1 + index % 3, "stop_loss": -1, "take_profit": 0.2, "dry_run": true,
        "dca": {"price_deviation": 0.25, "safety_stake": 25},
    })
}
