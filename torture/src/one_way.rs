//! One way to the exchange fails while the others work: REST, the market stream, the socket API, or the user stream within
//! it, each in every way in which a network fails. Meanwhile prices cross stops and take profits. What they fire has to
//! be sold at once by a way that works, and in the end all books agree.
//!
//! The market is moved by this drill alone, so that it knows when which price was reached.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::exchange::{Ledger, PAIRS, VenueOrder, trade_at};
use crate::kills::{Plan, Stage};
use crate::oracle::Violations;
use crate::process::pause;
use crate::proxy::{Fault, Way};
use crate::seen::{Closed, Seen, list, number};
use crate::server::Life;
use crate::user::{http, text};

/// Every kind of thing that can be wrong, besides what both oracles find.
pub(crate) const KINDS: [&str; 2] = ["exits late", "exits in doubt late"];

/// How often somebody trades at each pair.
const TICK: Duration = Duration::from_millis(100);

/// How far a dive or a surge goes, in steps of a thousandth and a half: further than the widest stop.
const STEPS: u32 = 27;

/// How long everything works before and after a fault.
const CALM: Duration = Duration::from_millis(1_500);

/// How much longer what fired may take where the market stream was down: it is connected again first.
const HEARS_AGAIN: Duration = Duration::from_secs(30);

/// What fails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Failing {
    Way(Way, Fault),
    /// The socket API answers, and tells nothing of its own accord.
    UserStream,
}

impl Failing {
    /// Everything that can fail alone.
    fn all() -> Vec<Self> {
        let ways = [Way::Rest, Way::Socket, Way::Market];
        let faults = ways.into_iter().flat_map(|way| Fault::ALL.map(|fault| Self::Way(way, fault)));
        faults.chain([Self::UserStream, Self::UserStream]).collect()
    }

    const fn is_market(self) -> bool {
        matches!(self, Self::Way(Way::Market, _))
    }
}

/// A price was reached at which a trade is to be sold.
#[derive(Clone, Debug)]
struct Fired {
    trade: String,
    bot: String,
    failing: Failing,
    /// When, and when the way worked again, in ms since 1970.
    at: i64,
    healed: i64,
}

/// How long exits took while something failed.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    /// From the price until all was sold; sorted.
    pub(crate) after: Vec<Duration>,
    /// How many an order did that rested at the exchange.
    pub(crate) at_exchange: usize,
    /// Of the others, where it was not known for a while whether the exchange had an order.
    pub(crate) in_doubt: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    pub(crate) faults: usize,
    pub(crate) longest: Duration,
    pub(crate) bound: Duration,
    pub(crate) took: Duration,
    pub(crate) exits: BTreeMap<String, Exits>,
    pub(crate) orders: usize,
    pub(crate) fills: usize,
    pub(crate) trades: usize,
    pub(crate) violations: Violations,
}

/// How often something fails, how long at most, and how soon what fires is to be sold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) count: usize,
    pub(crate) longest: Duration,
    pub(crate) bound: Duration,
}

/// Runs a plan.
pub(crate) async fn run(plan: &Plan, faults: Faults, folder: &Path) -> Result<Failed> {
    let began = Instant::now();
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let Faults { count, longest, bound } = faults;
    let mut failed = Failed { faults: count, longest, bound, ..Failed::default() };
    let (stage, life) = Stage::set(plan, folder).await?;
    let mut market = Market::of(&stage).await?;
    let mut closed = Closed::default();
    let mut fired = Vec::new();
    let mut order = Vec::new();
    market.drive(&stage, CALM * 2, &mut dice).await?;
    for number in 1..=count {
        if order.is_empty() {
            order = Failing::all();
            order.shuffle(&mut dice);
        }
        let Some(failing) = order.pop() else { bail!("nothing can fail") };
        let length = dice.random_range(Duration::from_secs(1)..=longest.max(Duration::from_secs(2)));
        eprintln!("torture: {number}: {failing:?} for {} ms", length.as_millis());
        let new = episode(&stage, &life, &mut market, failing, length, &mut dice).await?;
        fired.extend(new);
        let trades = life.user(&stage.server.http, &stage.key).get("/v1/trades?limit=100").await?;
        closed.look(list(&trades, "data"), &mut failed.violations);
    }
    let (ledger, seen) = market.wind_up(&stage, life, &mut failed.violations).await?;
    seen.ladders(&mut failed.violations);
    closed.look(&seen.trades, &mut failed.violations);
    exits(&fired, &seen, &ledger, &stage, &mut failed);
    (failed.orders, failed.fills, failed.trades) =
        (ledger.orders.len(), ledger.fills.len(), seen.trades.len());
    failed.took = began.elapsed();
    if failed.exits.values().all(|exits| exits.after.is_empty()) {
        bail!("nothing was sold while something failed, so nothing is proven: see {}", folder.display());
    }
    Ok(failed)
}

/// Lets something fail for a while, with a price that crosses what is held; whose exits it fired.
async fn episode(
    stage: &Stage,
    life: &Life,
    market: &mut Market,
    failing: Failing,
    length: Duration,
    dice: &mut ChaCha8Rng,
) -> Result<Vec<Fired>> {
    let end = Instant::now() + length;
    set(stage, failing, true).await?;
    let before = length.mul_f64(dice.random_range(0.0..0.6));
    market.drive(stage, before, dice).await?;
    let falls = dice.random_bool(0.7);
    let mut fired = Vec::new();
    let moved: Vec<&str> = PAIRS.choose_multiple(dice, 2).copied().collect();
    let open = life.user(&stage.server.http, &stage.key).all("/v1/trades?status=open").await?;
    for pair in &moved {
        let of_pair = open.iter().filter(|trade| text(trade, "pair") == *pair && !is_being_sold(trade));
        let mut waiting: Vec<&Value> = of_pair.collect();
        for _ in 0..STEPS {
            // A stop at the exchange is executed within the step.
            let at = now_ms();
            let price = market
                .step(stage, pair, if falls { Decimal::new(9_985, 4) } else { Decimal::new(10_015, 4) })
                .await?;
            let (crossed, left) = waiting.into_iter().partition(|trade| {
                let level = number(trade, if falls { "stop_price" } else { "take_profit_price" });
                !level.is_zero() && if falls { price <= level } else { price >= level }
            });
            waiting = left;
            let crossed: Vec<&Value> = crossed;
            fired.extend(crossed.into_iter().map(|trade| Fired {
                trade: text(trade, "id").to_owned(),
                bot: text(trade, "bot_id").to_owned(),
                failing,
                at,
                healed: 0,
            }));
        }
    }
    eprintln!(
        "torture: {moved:?} {}: {} of {} trades are to be sold",
        if falls { "fell" } else { "rose" },
        fired.len(),
        open.len()
    );
    // Where it has come to it stays, so that what was missed still holds.
    market.held = moved.into_iter().map(str::to_owned).collect();
    market.drive(stage, end.saturating_duration_since(Instant::now()), dice).await?;
    set(stage, failing, false).await?;
    let healed = now_ms();
    market.drive(stage, CALM, dice).await?;
    if failing.is_market() {
        let deadline = Instant::now() + HEARS_AGAIN;
        let user = life.user(&stage.server.http, &stage.key);
        while Instant::now() < deadline {
            let open = user.all("/v1/trades?status=open").await?;
            if !fired.iter().any(|fired| open.iter().any(|trade| text(trade, "id") == fired.trade)) {
                break;
            }
            market.drive(stage, CALM / 2, dice).await?;
        }
    }
    market.held.clear();
    market.drive(stage, CALM, dice).await?;
    for fired in &mut fired {
        fired.healed = healed;
    }
    Ok(fired)
}

/// Lets it fail, or work again.
async fn set(stage: &Stage, failing: Failing, fails: bool) -> Result<()> {
    match failing {
        Failing::Way(way, fault) => stage.server.proxy.fail(way, fails.then_some(fault)),
        Failing::UserStream => stage.exchange.tell_reports(&stage.server.http, !fails).await?,
    }
    Ok(())
}

/// Whether it is being sold already.
fn is_being_sold(trade: &Value) -> bool {
    list(trade, "orders").iter().any(|order| {
        let has_ended = matches!(text(order, "status"), "filled" | "canceled" | "expired" | "rejected");
        text(order, "side") == "sell" && text(order, "type") == "market" && !has_ended
    })
}

/// How soon what fired was sold, by the exchange's own times.
fn exits(fired: &[Fired], seen: &Seen, ledger: &Ledger, stage: &Stage, failed: &mut Failed) {
    let orders: HashMap<i64, &VenueOrder> = ledger.orders.iter().map(|order| (order.id, order)).collect();
    // By client id: when it was last filled, and whether it rested at the exchange.
    let mut last: HashMap<&str, (i64, bool)> = HashMap::new();
    for fill in &ledger.fills {
        let Some(order) = orders.get(&fill.order_id) else { continue };
        let (sold, rested) = last.entry(&order.client_id).or_default();
        (*sold, *rested) = (fill.at.max(*sold), order.kind != "MARKET");
    }
    for fired in fired {
        let Some(trade) = seen.trade(&fired.trade) else {
            failed.violations.note("exits late", format!("{} is gone", fired.trade));
            continue;
        };
        let is_trailing = seen.bots.iter().any(|bot| {
            text(bot, "id") == fired.bot
                && text(trade, "exit_reason") == "trailing_take_profit"
                && bot.get("trailing_take_profit").is_some_and(Value::is_number)
        });
        let sells = list(trade, "orders").iter().filter(|order| text(order, "side") == "sell");
        let sold = sells.filter_map(|order| last.get(text(order, "client_order_id"))).max().copied();
        let Some((sold, rested)) = sold else {
            if text(trade, "status") == "open" {
                failed.violations.note("exits late", format!("{} was never sold", fired.trade));
            }
            // What is too little to be sold is booked as dust.
            continue;
        };
        let exits = failed.exits.entry(format!("{:?}", fired.failing)).or_default();
        if rested {
            exits.at_exchange += 1;
            continue;
        }
        // What was armed is sold on a later way down.
        if is_trailing || sold < fired.at {
            continue;
        }
        let is_before = sold <= fired.healed;
        let (since, more) = if fired.failing.is_market() && !is_before {
            (fired.healed, HEARS_AGAIN)
        } else {
            (fired.at, Duration::ZERO)
        };
        let after = Duration::from_millis(u64::try_from(sold.saturating_sub(since)).unwrap_or_default());
        let is_in_doubt = seen.was_told(&fired.bot, "order_unknown", since, sold);
        exits.after.push(after);
        exits.in_doubt += usize::from(is_in_doubt);
        let (kind, bound) = if is_in_doubt {
            ("exits in doubt late", failed.bound + stage.absent_after + more)
        } else {
            ("exits late", failed.bound + more)
        };
        if after > bound {
            let told = format!(
                "{} of {} after {after:?}, {}, fired at {} while {:?} failed, healed at {}",
                fired.trade,
                fired.bot,
                text(trade, "exit_reason"),
                fired.at,
                fired.failing,
                fired.healed
            );
            failed.violations.note(kind, told);
        }
    }
    for exits in failed.exits.values_mut() {
        exits.after.sort_unstable();
    }
}

/// The market goes on as long as this is there.
pub(crate) struct Ticker(#[expect(dead_code, reason = "its end is what is heard")] Sender<()>);

/// The market, which a drill moves.
pub(crate) struct Market {
    /// Each pair's price, and where it began.
    prices: BTreeMap<&'static str, (Decimal, Decimal)>,
    /// Pairs that stay where they are.
    held: Vec<String>,
}

impl Market {
    pub(crate) async fn of(stage: &Stage) -> Result<Self> {
        let mut prices = BTreeMap::new();
        for pair in PAIRS {
            let price = stage.exchange.price(&stage.server.http, pair).await?;
            prices.insert(pair, (price, price));
        }
        Ok(Self { prices, held: Vec::new() })
    }

    /// Lets the bots come to rest under a market that goes on, stops the server, and judges what it did by the venue's ledger.
    pub(crate) async fn wind_up(
        &self,
        stage: &Stage,
        life: Life,
        violations: &mut Violations,
    ) -> Result<(Ledger, Seen)> {
        let ticker = self.go_on(stage);
        let stuck = stage.settle(&life, violations).await?;
        drop(ticker);
        for trouble in stuck {
            eprintln!("torture: in error {trouble}");
        }
        let seen = Seen::read(&life.user(&stage.server.http, &stage.key)).await?;
        life.stop()?;
        let (ledger, _, judged) = stage.judge().await?;
        violations.merge(judged);
        violations.merge(seen.judge(&ledger));
        Ok((ledger, seen))
    }

    /// Somebody trades at the prices of now until what is returned is dropped.
    pub(crate) fn go_on(&self, stage: &Stage) -> Ticker {
        let (until, is_over) = channel();
        let exchange = stage.exchange.url.clone();
        let prices: Vec<_> = self.prices.iter().map(|(pair, (price, _))| (*pair, *price)).collect();
        std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // A connection lives on the runtime that opened it.
            let http = http()?;
            while let Err(RecvTimeoutError::Timeout) = is_over.recv_timeout(TICK) {
                for (pair, price) in &prices {
                    runtime.block_on(trade_at(&exchange, &http, pair, *price))?;
                }
            }
            Ok(())
        });
        Ticker(until)
    }

    /// Somebody trades at each pair again and again for a while.
    pub(crate) async fn drive(
        &mut self,
        stage: &Stage,
        length: Duration,
        dice: &mut ChaCha8Rng,
    ) -> Result<()> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            for pair in PAIRS {
                let (price, anchor) = self.prices.get(pair).copied().unwrap_or_default();
                let home = if price < anchor { 6 } else { -6 };
                let by = if self.held.iter().any(|held| held == pair) {
                    0
                } else {
                    dice.random_range(-25..=25) + home
                };
                self.step(stage, pair, Decimal::new(10_000 + by, 4)).await?;
            }
            pause(TICK.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Moves a pair by a factor; its price then.
    pub(crate) async fn step(&mut self, stage: &Stage, pair: &str, factor: Decimal) -> Result<Decimal> {
        let price = (self.price(pair) * factor).round_dp(2);
        self.put(stage, pair, price).await?;
        Ok(price)
    }

    /// Moves a pair to a price.
    pub(crate) async fn put(&mut self, stage: &Stage, pair: &str, to: Decimal) -> Result<()> {
        let Some((price, _)) = self.prices.get_mut(pair) else { bail!("{pair} is not traded") };
        *price = to;
        stage.exchange.trade_at(&stage.server.http, pair, to).await
    }

    /// A pair's price.
    pub(crate) fn price(&self, pair: &str) -> Decimal {
        self.prices.get(pair).map(|(price, _)| *price).unwrap_or_default()
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
