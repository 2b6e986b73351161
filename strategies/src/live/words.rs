//! What a live bot is about, and what its owner's words make of that.

use model::{ExitReason, Price, Qty};
use serde::{Deserialize, Serialize};

use super::order::{Role, Terms};
use super::pause::Pause;
use super::{LiveBot, LiveStep, Mint};

/// What it is about, and what its owner's word makes of that:
///
/// | it is to | `close` | `release` | `resume` | `drain` |
/// | --- | --- | --- | --- | --- |
/// | trade | leave | release | trade | trade |
/// | release | leave | release | trade | trade |
/// | leave by its owner's word or a signal | leave | release | trade | trade |
/// | leave by its rules | leave, for their reason | release | trade | leave |
///
/// A sale that is under way when it is to leave no more is asked to be taken back: that ends one that had not left. One
/// that had is booked for what it sold. The rules sell again with the next price if that is still beyond their level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    /// It trades.
    #[default]
    Trade,
    /// It sells what it holds.
    Leave(ExitReason),
    /// It takes its orders back and keeps what it holds.
    Release,
}

/// Why nothing can be added to a trade just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CannotAdd {
    /// There is no trade, or it is on its way out.
    #[error("the trade is not open, or it is being closed")]
    NotHolding,
    /// One entry at a time.
    #[error("another buy of the trade is under way: try again once it has filled")]
    Entering,
}

impl LiveBot {
    /// Its owner wants everything sold, or a signal came.
    pub fn close(&mut self, reason: ExitReason, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if !self.is_leaving() {
            self.turn_to(Goal::Leave(reason));
        }
        self.drive(mint, steps);
    }

    /// Its owner wants that much more bought at the market, beside the ladder.
    ///
    /// # Errors
    /// [`CannotAdd`]; then nothing is ordered.
    pub fn add(
        &mut self,
        qty: Qty,
        price: Price,
        mint: &mut impl Mint,
        steps: &mut Vec<LiveStep>,
    ) -> Result<(), CannotAdd> {
        let is_free = self.is_trading() && !self.is_exiting();
        if !self.machine.is_holding() || !is_free {
            return Err(CannotAdd::NotHolding);
        }
        if self.is_entering() {
            return Err(CannotAdd::Entering);
        }
        self.last = Some(price);
        self.machine.await_entry();
        self.place(Role::Added, Terms::Market, qty, None, mint, steps);
        Ok(())
    }

    /// Its owner wants it to take its orders back and keep what it holds: done once [`LiveBot::is_quiet`].
    pub fn release(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.turn_to(Goal::Release);
        self.drive(mint, steps);
    }

    /// Its owner wants it to go on.
    pub fn resume(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        self.keep();
        self.take_up(mint, steps);
    }

    /// Its owner wants it to trade to the end of what it holds; what its rules are selling they sell.
    pub fn drain(&mut self, mint: &mut impl Mint, steps: &mut Vec<LiveStep>) {
        if matches!(self.goal, Goal::Leave(ExitReason::Manual | ExitReason::Signal)) {
            self.keep();
        }
        self.take_up(mint, steps);
    }

    /// What it was about to sell it keeps, unless its rules say so again.
    pub fn keep(&mut self) {
        if self.is_leaving() {
            self.turn_to(Goal::Trade);
        }
    }

    /// Turns to another goal: while all is to be sold its machine asks for nothing.
    pub(super) fn turn_to(&mut self, goal: Goal) {
        if !self.is_leaving() {
            self.leaving = Pause::NONE;
        }
        if !matches!(goal, Goal::Leave(_)) {
            self.troubles.end("exit_refused");
        }
        self.reached = None;
        self.goal = goal;
        self.machine.set_leaving(self.is_leaving());
    }
}
