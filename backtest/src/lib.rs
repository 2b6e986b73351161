//! History in, report out: the same machines over candles and ticks in memory.
//!
//! History is held as columns of integers. Between two decisions a bot sleeps on its watch, so a plain scan of
//! the columns finds the row that leaves it, and only that row reaches the machine.
//!
//! ```
//! use backtest::Ticks;
//! use model::Market;
//! use strategies::{BotDefinition};
//!
//! let body = r#"{"name":"demo","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
//!     "max_open_trades":3,"stop_loss":-10,"dry_run":true}"#;
//! let bot = BotDefinition::parse(&serde_json::from_str(body)?)?;
//! let market = Market {
//!     tick_size: "0.01".parse()?,
//!     lot_step: "0.001".parse()?,
//!     min_notional: "5".parse()?,
//!     fee: "0.001".parse()?,
//!     slippage: "0".parse()?,
//!     bounds: model::OrderBounds::default(),
//! };
//! let mut ticks = Ticks::default();
//! for (second, price) in ["100", "99", "98", "101", "103"].into_iter().enumerate() {
//!     ticks.push("2026-04-01T12:00:00Z".parse::<model::Timestamp>()?.plus_seconds(second as u64), price.parse()?)?;
//! }
//! let run = backtest::run_ticks(&bot, &market, &ticks)?;
//! assert_eq!(run.trades.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod history;
mod read;
mod report;
mod run;
mod scan;

pub use history::{Candles, HistoryError, Ticks};
pub use read::{History, Note, ReadError, read};
pub use report::{Data, Exit, Fill, Month, Report, Stats, Trade};
pub use run::{Run, RunError, run_candles, run_candles_on, run_ticks, run_ticks_on};
