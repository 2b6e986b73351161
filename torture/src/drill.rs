//! The stop-loss drill: while the server is dead the market falls through the stops of what its bots hold. Stops that
//! rest at the exchange have to be executed there, those that the engine watches are acted on as soon as it is back,
//! and nothing that is held goes without either for long.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;

use crate::books::{Database, OpenTrade, Sell};
use crate::exchange::{Ledger, PAIRS};
use crate::fleet;
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::process::pause;

/// How likely a pair's price falls through its stops while the server is down.
const CROSSES: f64 = 0.3;

/// How far it falls, in steps of a thousandth and a half: further than the widest stop.
const STEPS: u32 = 27;

/// How soon after it is ready the engine has to have sent what it sells.
const ACTS_WITHIN: Duration = Duration::from_secs(2);

/// How long something may be held with no stop at the exchange and no sale under way, while the server runs.
const UNGUARDED_AT_MOST: Duration = Duration::from_secs(5);

/// What its owner is told then: the exchange did not take the stop, or it is not known yet whether it did.
const REASONS: [&str; 2] = ["stop_refused", "order_unknown"];

/// How often that is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Drilled {
    pub(crate) kills: usize,
    /// How often a pair's price fell through the stops of at least one trade.
    pub(crate) falls: usize,
    /// Stops at the exchange that were fallen through.
    pub(crate) at_exchange: usize,
    /// From ready until the exchange had the order that sold, of each trade whose stop the engine watches.
    pub(crate) acted_after: Vec<Duration>,
    /// Those whose sale had to wait: it was not known whether the exchange had an order of before. All were told.
    pub(crate) in_doubt: usize,
    /// How often what is held was looked at, and the longest time without protection.
    pub(crate) samples: usize,
    pub(crate) longest_gap: Duration,
    /// Longer than allowed, but told with a reason.
    pub(crate) gaps_told: usize,
    pub(crate) violations: Violations,
}

/// A trade that was open when its server died, and the price fell through its stop.
struct Fallen {
    trade: OpenTrade,
    is_at_exchange: bool,
}

/// Runs a plan's kills.
pub(crate) async fn run(plan: &Plan, folder: &Path) -> Result<Drilled> {
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut drilled = Drilled { kills: plan.kills, ..Drilled::default() };
    let (stage, mut life) = Stage::set(plan, folder).await?;
    // Open all the time: whoever closes a file's last connection removes its log.
    let database = Database::open(&stage.server.database_url).await?;
    let stops_at_exchange: HashSet<String> = (0..)
        .zip(&stage.bots)
        .filter(|(index, _)| fleet::stops_on_venue(plan.kind, *index))
        .map(|(_, bot)| bot.clone())
        .collect();
    let mut gaps = Gaps::default();
    for kill in 1..=plan.kills {
        let lives_for = Duration::from_millis(dice.random_range(1_000..4_000));
        gaps.watch(&stage, &database, &stops_at_exchange, lives_for, &mut drilled).await?;
        life.kill()?;
        let mut trades = database.open_trades().await?;
        trades.retain(|trade| !trade.is_dust());
        let fallen = fall(&stage, trades, &stops_at_exchange, &mut dice, &mut drilled).await?;
        life = stage.server.live().await?;
        follow(&stage, &database, fallen, &mut drilled).await?;
        if kill % 10 == 0 || kill == plan.kills {
            eprintln!("torture: {kill} kills, {} falls", drilled.falls);
        }
    }
    stage.close(life, &mut drilled.violations).await?;
    database.close().await;
    drilled.violations.merge(stage.judge().await?.2);
    drilled.acted_after.sort_unstable();
    Ok(drilled)
}

/// Lets prices fall while nobody watches; whose stops they fell through.
async fn fall(
    stage: &Stage,
    trades: Vec<OpenTrade>,
    stops_at_exchange: &HashSet<String>,
    dice: &mut ChaCha8Rng,
    drilled: &mut Drilled,
) -> Result<Vec<Fallen>> {
    let (exchange, http) = (&stage.exchange, &stage.server.http);
    let before = exchange.ledger(http).await?;
    let mut fallen = Vec::new();
    for pair in PAIRS {
        if !dice.random_bool(CROSSES) {
            continue;
        }
        let mut price = exchange.price(http, pair).await?;
        for _ in 0..STEPS {
            price *= Decimal::new(9_985, 4);
            exchange.trade_at(http, pair, price).await?;
        }
        let of_pair = trades.iter().filter(|trade| trade.pair == pair && trade.stop > price);
        let under_way = |trade: &OpenTrade| trade.sells.iter().any(|sell| sell.is_market && !sell.has_ended);
        let crossed: Vec<&OpenTrade> = of_pair.filter(|trade| !under_way(trade)).collect();
        drilled.falls += usize::from(!crossed.is_empty());
        fallen.extend(crossed.into_iter().map(|trade| {
            let rests = trade.sells.iter().any(|sell| before.is_open(&sell.client_id));
            let is_at_exchange = stops_at_exchange.contains(&trade.bot) && rests;
            Fallen { trade: trade.clone(), is_at_exchange }
        }));
    }
    let after = exchange.ledger(http).await?;
    for Fallen { trade, .. } in fallen.iter().filter(|fallen| fallen.is_at_exchange) {
        drilled.at_exchange += 1;
        for Sell { client_id, .. } in trade.sells.iter().filter(|sell| after.is_open(&sell.client_id)) {
            let told = format!("{client_id} of {} at {}", trade.id, trade.stop);
            drilled.violations.note("stops not executed", told);
        }
    }
    Ok(fallen)
}

/// Waits until the engine has sold what no stop at the exchange did.
async fn follow(
    stage: &Stage,
    database: &Database,
    fallen: Vec<Fallen>,
    drilled: &mut Drilled,
) -> Result<()> {
    let began = Instant::now();
    let mut waiting: Vec<OpenTrade> =
        fallen.into_iter().filter(|fallen| !fallen.is_at_exchange).map(|fallen| fallen.trade).collect();
    while !waiting.is_empty() {
        pause(Duration::from_millis(20));
        let elapsed = began.elapsed();
        let open = database.open_trades().await?;
        let ledger = stage.exchange.ledger(&stage.server.http).await?;
        let mut left = Vec::new();
        for trade in waiting {
            let Some(now) = open.iter().find(|open| open.id == trade.id) else {
                drilled.acted_after.push(elapsed);
                continue;
            };
            if now.sells.iter().any(|sell| sell.is_market && ledger.knows(&sell.client_id)) {
                drilled.acted_after.push(elapsed);
                continue;
            }
            let is_in_doubt = now.sells.iter().any(|sell| !sell.has_ended && !ledger.knows(&sell.client_id));
            let allowed = if is_in_doubt { UNGUARDED_AT_MOST } else { ACTS_WITHIN };
            if is_in_doubt && database.alarms_of(&trade.bot).await?.iter().any(|code| code == "order_unknown")
            {
                drilled.in_doubt += 1;
            } else if elapsed <= allowed {
                left.push(trade);
            } else if stage.exchange.price(&stage.server.http, &trade.pair).await? < trade.stop {
                // Else the market came back above it before anybody looked.
                let told = format!("{} of {} at {}: {:?}", trade.id, trade.bot, trade.stop, now.sells);
                drilled.violations.note("stops not acted on", told);
            }
        }
        waiting = left;
    }
    Ok(())
}

/// Since when trades have been without protection, in time that the server ran.
#[derive(Default)]
struct Gaps(HashMap<String, Gap>);

struct Gap {
    bot: String,
    length: Duration,
    is_noted: bool,
}

impl Gaps {
    /// Looks at what is held for as long as the server is to live.
    async fn watch(
        &mut self,
        stage: &Stage,
        database: &Database,
        stops_at_exchange: &HashSet<String>,
        lives_for: Duration,
        drilled: &mut Drilled,
    ) -> Result<()> {
        let end = Instant::now() + lives_for;
        let mut last = Instant::now();
        while Instant::now() < end {
            pause(SAMPLE_EVERY);
            let open = database.open_trades().await?;
            let ledger = stage.exchange.ledger(&stage.server.http).await?;
            let passed = std::mem::replace(&mut last, Instant::now()).elapsed();
            let held = open.iter().filter(|trade| stops_at_exchange.contains(&trade.bot) && !trade.is_dust());
            let bare: Vec<&OpenTrade> = held.filter(|trade| !is_guarded(trade, &ledger)).collect();
            self.0.retain(|id, _| bare.iter().any(|trade| trade.id == *id));
            for trade in bare {
                let gap = self.0.entry(trade.id.clone()).or_insert_with(|| Gap {
                    bot: trade.bot.clone(),
                    length: Duration::ZERO,
                    is_noted: false,
                });
                gap.length += passed;
                drilled.longest_gap = drilled.longest_gap.max(gap.length);
                if gap.length > UNGUARDED_AT_MOST && !std::mem::replace(&mut gap.is_noted, true) {
                    let reasons = database.alarms_of(&gap.bot).await?;
                    if reasons.iter().any(|code| REASONS.contains(&code.as_str())) {
                        drilled.gaps_told += 1;
                    } else {
                        let told = format!("{} of {} for {:?}: {reasons:?}", trade.id, gap.bot, gap.length);
                        drilled.violations.note("trades without protection", told);
                    }
                }
            }
            drilled.samples += 1;
        }
        Ok(())
    }
}

/// Whether a stop rests, a sale is under way, or all is sold and only not booked yet.
fn is_guarded(trade: &OpenTrade, ledger: &Ledger) -> bool {
    trade.sells.iter().any(|sell| ledger.is_open(&sell.client_id) || ledger.is_filled(&sell.client_id))
}
