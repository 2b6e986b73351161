//! The walk inside a candle: open, low, high, close or open, high, low, close (contract §4).
//!
//! Within a candle the price moves continuously, so the walk touches the machine's own levels one by one, and
//! the machine decides at each as it would on a tick.

use model::{Price, PriceMove, Timestamp};

use crate::error::StrategyError;
use crate::paper::{PaperBot, PaperStep};

/// One candle: open, high, low and close over a step that began at `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candle {
    /// Its opening time.
    pub at: Timestamp,
    open: Price,
    high: Price,
    low: Price,
    close: Price,
}

/// Prices that are no candle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("open {open} and close {close} do not lie between low {low} and high {high}")]
pub struct CandleError {
    open: Price,
    high: Price,
    low: Price,
    close: Price,
}

impl Candle {
    /// A candle.
    ///
    /// # Errors
    /// [`CandleError`] unless open and close lie between low and high.
    pub fn new(
        at: Timestamp,
        open: Price,
        high: Price,
        low: Price,
        close: Price,
    ) -> Result<Self, CandleError> {
        let inside = |price: Price| low <= price && price <= high;
        if inside(open) && inside(close) {
            Ok(Self { at, open, high, low, close })
        } else {
            Err(CandleError { open, high, low, close })
        }
    }

    /// Open, high, low and close.
    pub const fn prices(&self) -> [Price; 4] {
        [self.open, self.high, self.low, self.close]
    }
}

impl PaperBot {
    /// Walks the bot through a candle; what happened is appended to `steps`, all at the opening time.
    ///
    /// # Errors
    /// [`StrategyError`] where it cannot go on.
    pub fn on_candle(&mut self, candle: &Candle, steps: &mut Vec<PaperStep>) -> Result<(), StrategyError> {
        self.on_move(&PriceMove::tick(candle.open, candle.at), steps)?;
        let (first, second) =
            if candle.close >= candle.open { (candle.low, candle.high) } else { (candle.high, candle.low) };
        let mut from = candle.open;
        for to in [first, second, candle.close] {
            self.walk(from, to, candle.at, steps)?;
            from = to;
        }
        Ok(())
    }

    /// Tells the bot of prices that went by without leaving its watch; only the highest counts, for what trails.
    pub fn passed(&mut self, high: Price) {
        self.machine_mut().observe(high);
    }

    /// Moves the price continuously from one price to another.
    fn walk(
        &mut self,
        from: Price,
        to: Price,
        at: Timestamp,
        steps: &mut Vec<PaperStep>,
    ) -> Result<(), StrategyError> {
        let mut reached = from;
        loop {
            // A level that an entry's slippage put on the far side of the price is met where the price stands.
            let below = self.machine().next_below().map(|level| level.min(reached));
            let level = if to >= from {
                let met = below.filter(|level| *level == reached);
                met.or(self.machine().next_above().filter(|level| (reached..=to).contains(level)))
            } else {
                below.filter(|level| *level >= to)
            };
            let Some(level) = level else { break };
            self.on_move(&PriceMove::tick(level, at), steps)?;
            reached = level;
        }
        self.machine_mut().observe(to);
        Ok(())
    }
}
