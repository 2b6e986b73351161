//! The actors and what they own: market feeds, bots, webhook sinks, the ledger and its store, recovery at start.
//!
//! The outside reaches all of it through one [`EngineHandle`]; no actor address leaves this crate.

mod bot;
mod change;
mod feed;
mod fleet;
mod handle;
mod ledger;
mod store;
mod views;
mod watch_index;
mod webhook;

pub use change::{BotChange, BotStatus, BotTrouble, Change};
pub use ledger::{Ledger, LedgerError};
pub use store::{Store, StoreError};
pub use watch_index::{Slot, Wake, WatchIndex};
