//! One bot over one history.

use model::{Faults, Market, Price, PriceMove, Timestamp, Watch};
use strategies::{Books, BotDefinition, PaperBot, PaperStep, Plan, StrategyError};

use crate::history::{Candles, Ticks};
use crate::scan::Columns;

/// What a bot did over a history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Run {
    /// The closed trades, oldest first.
    pub trades: Vec<Books>,
    /// What it still held at the end.
    pub open_trade: Option<Books>,
    /// The history's last time and price.
    pub last: Option<(Timestamp, Price)>,
    /// How many rows reached the machine.
    pub woken: usize,
}

/// Why a run could not be made or finished.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RunError {
    /// The definition does not fit the market, or a stake is below the venue's minimum.
    #[error("the bot cannot trade on this market: {0}")]
    Definition(#[from] Faults),
    /// The bot could not go on.
    #[error("the bot stopped at {at}: {trouble}")]
    Stopped {
        /// The row's time.
        at: Timestamp,
        /// Why.
        trouble: StrategyError,
    },
}

/// Runs a bot over ticks.
///
/// # Errors
/// [`RunError`].
pub fn run_ticks(bot: &BotDefinition, market: &Market, ticks: &Ticks) -> Result<Run, RunError> {
    let plan = Plan::new(bot, market)?;
    if let Some((_, price)) = ticks.get(0) {
        plan.check_minimum(price)?;
    }
    run_ticks_on(&plan, ticks)
}

/// Runs a bot over candles.
///
/// # Errors
/// [`RunError`].
pub fn run_candles(bot: &BotDefinition, market: &Market, candles: &Candles) -> Result<Run, RunError> {
    let plan = Plan::new(bot, market)?;
    if let Some(first) = candles.get(0) {
        let [open, ..] = first.prices();
        plan.check_minimum(open)?;
    }
    run_candles_on(&plan, candles)
}

/// Runs a plan over ticks, without looking at the venue's minimum first.
///
/// # Errors
/// [`RunError::Stopped`].
pub fn run_ticks_on(plan: &Plan, ticks: &Ticks) -> Result<Run, RunError> {
    let columns = Columns { at: &ticks.at, low: &ticks.price, high: &ticks.price };
    let last = ticks.len().checked_sub(1).and_then(|row| ticks.get(row));
    drive(plan, columns, last, |paper, row, passed, steps| {
        let Some((at, price)) = ticks.get(row) else { return Ok(()) };
        let high = passed.map_or(price, |passed| passed.max(price));
        let moved = PriceMove { price, at, high, low: price };
        paper.on_move(&moved, steps).map(drop).map_err(|trouble| RunError::Stopped { at, trouble })
    })
}

/// Runs a plan over candles, without looking at the venue's minimum first.
///
/// # Errors
/// [`RunError::Stopped`].
pub fn run_candles_on(plan: &Plan, candles: &Candles) -> Result<Run, RunError> {
    let columns = Columns { at: &candles.at, low: &candles.low, high: &candles.high };
    let last = candles.len().checked_sub(1).and_then(|row| candles.get(row));
    let last = last.map(|candle| {
        let [.., close] = candle.prices();
        (candle.at, close)
    });
    drive(plan, columns, last, |paper, row, passed, steps| {
        let Some(candle) = candles.get(row) else { return Ok(()) };
        if let Some(high) = passed {
            paper.passed(high);
        }
        paper.on_candle(&candle, steps).map_err(|trouble| RunError::Stopped { at: candle.at, trouble })
    })
}

/// Wakes the bot with each row that leaves its watch, until none does.
fn drive(
    plan: &Plan,
    columns: Columns<'_>,
    last: Option<(Timestamp, Price)>,
    mut wake: impl FnMut(&mut PaperBot, usize, Option<Price>, &mut Vec<PaperStep>) -> Result<(), RunError>,
) -> Result<Run, RunError> {
    let mut run = Run { last, ..Run::default() };
    let mut paper = PaperBot::with_plan(plan);
    let mut steps = Vec::new();
    let mut from = 0;
    loop {
        let watch: Watch = paper.watch();
        let found = columns.next(from, &watch);
        let Some(row) = found.row else { break };
        wake(&mut paper, row, found.passed, &mut steps)?;
        run.woken += 1;
        for step in steps.drain(..) {
            if let PaperStep::Exited(books) = step {
                run.trades.push(books);
            }
        }
        from = row + 1;
    }
    run.open_trade = paper.machine().is_holding().then(|| paper.books().clone());
    Ok(run)
}
