//! What the engine owns: a symbol's watches, what a bot's steps come to in the books, the ledger and its store.
//!
//! The actors that carry ticks to bots and events to webhooks stand on these.

mod change;
mod ledger;
mod record;
mod store;
mod watch_index;

pub use change::{BotChange, BotStatus, BotTrouble, Change};
pub use ledger::{Ledger, LedgerError};
pub use record::{Recorder, StateError};
pub use store::{Store, StoreError};
pub use watch_index::{Slot, Wake, WatchIndex};
