//! Pauses across a touched level: the server is stopped by SIGSTOP, the market reaches stops, take profits and safety orders
//! of what its bots hold and comes back, and the server goes on. At the price of then no level holds, so the engine has
//! nothing to do: what it does about a price that is gone is a sale or a buy at a price that nobody asked for.
//!
//! Judged over the API. A stop that rests at the exchange is executed there and is well; so is what was on its way before.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::exchange::PAIRS;
use crate::kills::{Plan, Stage};
use crate::one_way::{Market, now_ms};
use crate::oracle::Violations;
use crate::process::pause;
use crate::seen::{list, millis, number};
use crate::server::Life;
use crate::user::text;

/// Every kind of thing that can be wrong, besides what both oracles find.
pub(crate) const KINDS: [&str; 1] = ["acted on a level left"];

/// How long the market stands still before a pause, so that what a price asks for is done.
const CALM: Duration = Duration::from_millis(1_500);

/// How long it stands still after one, so that what would be done is.
const SHOWS_WITHIN: Duration = Duration::from_secs(4);

/// How far a dip or a surge goes at most, in steps of a thousandth and a half: further than the widest stop.
const STEPS: u32 = 24;

/// How often it is paused, and for how long at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    pub(crate) count: usize,
    pub(crate) longest: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Paused {
    pub(crate) pauses: usize,
    pub(crate) longest: Duration,
    pub(crate) took: Duration,
    /// How often a level of each kind was touched, of trades that were looked at.
    pub(crate) touched: BTreeMap<&'static str, usize>,
    pub(crate) orders: usize,
    pub(crate) fills: usize,
    pub(crate) trades: usize,
    pub(crate) violations: Violations,
}

/// A trade that the market touched and left.
struct Touched {
    trade: String,
    levels: Vec<&'static str>,
}

/// Runs a plan.
pub(crate) async fn run(plan: &Plan, pauses: Pauses, folder: &Path) -> Result<Paused> {
    let began = Instant::now();
    let mut dice = ChaCha8Rng::seed_from_u64(plan.seed);
    let Pauses { count, longest } = pauses;
    let mut outcome = Paused { pauses: count, longest, ..Paused::default() };
    let (stage, life) = Stage::set(plan, folder).await?;
    let mut market = Market::of(&stage).await?;
    market.drive(&stage, CALM * 2, &mut dice).await?;
    for number in 1..=count {
        market.drive(&stage, CALM, &mut dice).await?;
        let length = dice.random_range(Duration::from_millis(2_500)..=longest.max(Duration::from_secs(3)));
        eprintln!("torture: {number}: paused for {} ms", length.as_millis());
        episode(&stage, &life, &mut market, length, &mut dice, &mut outcome).await?;
    }
    let (ledger, seen) = market.wind_up(&stage, life, &mut outcome.violations).await?;
    (outcome.orders, outcome.fills, outcome.trades) =
        (ledger.orders.len(), ledger.fills.len(), seen.trades.len());
    outcome.took = began.elapsed();
    if outcome.touched.is_empty() {
        bail!("no level was touched, so nothing is proven: see {}", folder.display());
    }
    Ok(outcome)
}

/// One pause, with a market that goes to levels and comes back.
async fn episode(
    stage: &Stage,
    life: &Life,
    market: &mut Market,
    length: Duration,
    dice: &mut ChaCha8Rng,
    paused: &mut Paused,
) -> Result<()> {
    let user = life.user(&stage.server.http, &stage.key);
    // Whatever is to be done at these prices is done first.
    let ticker = market.go_on(stage);
    pause(CALM);
    drop(ticker);
    let trailing: HashSet<String> = user
        .all("/v1/bots")
        .await?
        .iter()
        .filter(|bot| trails(bot))
        .map(|bot| text(bot, "id").to_owned())
        .collect();
    let open = user.all("/v1/trades?status=open").await?;
    let resume_at = Instant::now() + length;
    life.signal("STOP")?;
    let from = now_ms();
    let mut touched = Vec::new();
    for pair in PAIRS.choose_multiple(dice, 3) {
        let start = market.price(pair);
        let falls = dice.random_bool(0.6);
        let factor = Decimal::new(if falls { 9_985 } else { 10_015 }, 4);
        let mut extreme = start;
        for _ in 0..dice.random_range(2..=STEPS) {
            extreme = market.step(stage, pair, factor).await?;
        }
        market.put(stage, pair, start).await?;
        let of_pair = open
            .iter()
            .filter(|trade| text(trade, "pair") == *pair && !trailing.contains(text(trade, "bot_id")));
        touched.extend(of_pair.filter_map(|trade| touch(trade, falls, extreme)));
    }
    pause(resume_at.saturating_duration_since(Instant::now()));
    let ticker = market.go_on(stage);
    life.signal("CONT")?;
    pause(SHOWS_WITHIN);
    drop(ticker);
    for Touched { trade, levels } in touched {
        let trade = user.get(&format!("/v1/trades/{trade}")).await?;
        if went_on_at_exchange(&trade, from) {
            continue;
        }
        for level in levels {
            *paused.touched.entry(level).or_default() += 1;
        }
        for order in list(&trade, "orders").iter().filter(|order| decided_at(order) >= from) {
            let is_resting = text(order, "type") == "stop_loss_limit";
            if !is_resting && !number(order, "filled_qty").is_zero() {
                let told = format!(
                    "{} of {}: {} {} for {}, decided {} ms after the pause began",
                    text(&trade, "id"),
                    text(&trade, "bot_id"),
                    text(order, "side"),
                    number(order, "filled_qty"),
                    text(&trade, "exit_reason"),
                    decided_at(order) - from
                );
                paused.violations.note("acted on a level left", told);
            }
        }
    }
    Ok(())
}

/// Whether a bot's levels follow the highest price, which a pause does not make undone.
fn trails(bot: &Value) -> bool {
    ["trailing_stop", "trailing_take_profit"]
        .iter()
        .any(|field| bot.get(*field).is_some_and(|distance| !distance.is_null()))
}

/// Which levels of a trade a market touched that fell, or rose, so far.
fn touch(trade: &Value, falls: bool, extreme: Decimal) -> Option<Touched> {
    let level = |field: &str| Some(number(trade, field)).filter(|price| !price.is_zero());
    let levels = if falls {
        [("stop", "stop_price"), ("safety order", "next_entry_price")]
            .into_iter()
            .filter(|(_, field)| level(field).is_some_and(|price| extreme <= price))
            .map(|(kind, _)| kind)
            .collect()
    } else {
        let is_reached = level("take_profit_price").is_some_and(|price| extreme >= price);
        Vec::from_iter(is_reached.then_some("take profit"))
    };
    (!levels.is_empty()).then(|| Touched { trade: text(trade, "id").to_owned(), levels })
}

/// Whether an order that was at the exchange before was executed since: then the trade's levels are others.
fn went_on_at_exchange(trade: &Value, from: i64) -> bool {
    list(trade, "orders").iter().filter(|order| decided_at(order) < from).any(|order| {
        list(order, "fills").iter().any(|fill| millis(text(fill, "at")).is_some_and(|at| at >= from))
    })
}

fn decided_at(order: &Value) -> i64 {
    millis(text(order, "created_at")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_level_is_touched_by_the_market_that_goes_its_way() {
        let trade =
            json!({"id": "trade_1", "stop_price": 90, "next_entry_price": 98, "take_profit_price": 102});
        let levels = |falls, extreme: i64| {
            touch(&trade, falls, Decimal::from(extreme)).map(|touched| touched.levels).unwrap_or_default()
        };
        assert_eq!(levels(true, 97), ["safety order"]);
        assert_eq!(levels(true, 90), ["stop", "safety order"]);
        assert_eq!(levels(false, 102), ["take profit"]);
        assert!(levels(false, 101).is_empty() && levels(true, 99).is_empty());
        let bare =
            json!({"id": "trade_1", "stop_price": null, "next_entry_price": null, "take_profit_price": null});
        assert!(touch(&bare, true, Decimal::ONE).is_none());
    }

    #[test]
    fn what_an_order_of_before_did_is_no_decision_of_after() {
        let order = |created: &str, filled: &str| json!({"orders": [{"created_at": created, "fills": [{"at": filled}]}]});
        let from = millis("2026-01-01T00:00:10Z").unwrap();
        assert!(went_on_at_exchange(&order("2026-01-01T00:00:09Z", "2026-01-01T00:00:11Z"), from));
        assert!(!went_on_at_exchange(&order("2026-01-01T00:00:09Z", "2026-01-01T00:00:09Z"), from));
        assert!(!went_on_at_exchange(&order("2026-01-01T00:00:11Z", "2026-01-01T00:00:11Z"), from));
    }
}
