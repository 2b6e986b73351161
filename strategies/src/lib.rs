//! The definitions of bots, the decision machines and the accounting of a trade: pure, exact, deterministic.
//!
//! A strategy is a state machine that is told what happened and answers with what to do and what it waits for
//! next. It never sees a clock, a socket, a store or a random number, so live, dry run and backtest run the
//! same code.
//!
//! ```
//! use model::{Market, PriceMove, Timestamp};
//! use strategies::{BotDefinition, PaperBot};
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
//! let mut paper = PaperBot::new(&bot, &market)?;
//! let mut steps = Vec::new();
//! let watch = paper.on_move(&PriceMove::tick("100".parse()?, Timestamp::from_millis(1)), &mut steps)?;
//! assert_eq!(steps.len(), 1, "the base order filled");
//! assert_eq!(watch.below, Some("98.09".parse()?), "the first safety order is next on the way down");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod books;
mod candle;
mod capital;
mod dca;
mod definition;
mod error;
mod exact;
mod funds;
mod ladder;
pub mod live;
mod machine;
mod market_rules;
mod paper;
mod plan;
mod preview;
mod ratios;
mod strategy;

pub use books::{Books, Entry, Exit};
pub use candle::{Candle, CandleError};
pub use capital::{ladder_funds, ladder_stake};
pub use dca::{Dca, DcaDefinition, DcaPlan};
pub use definition::{AddedFunds, BotBody, BotDefinition, BotPatch, PreviewedBot, StopLossBasis};
pub use error::{RestoreError, StrategyError};
pub use funds::Funds;
pub use machine::{Action, Event, Machine, Reaction};
pub use market_rules::MarketRules;
pub use paper::{PaperBot, PaperStep};
pub use plan::Plan;
pub use preview::{Preview, PreviewedEntry};
pub use ratios::{sharpe, sortino};
pub use strategy::{Strategy, StrategyDefinition};
