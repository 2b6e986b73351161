//! The flags of `botprimex backtest`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use model::{Pct, Price, Qty, Quote, Timestamp};

use super::values::moment;
use crate::output::Format;

/// A backtest's flags.
#[derive(Args, Debug)]
pub(crate) struct BacktestArgs {
    /// The bot: a file with the body of `POST /v1/bots`, or `-` for stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) bot: PathBuf,
    /// The history, in one file or several: Binance's dumps (klines, trades, aggTrades; CSV or zip), freqtrade's JSON and
    /// feather, CSV with a header, Parquet; gzip as well.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) data: Vec<PathBuf>,
    /// Only rows at this time or later: a date or an RFC 3339 time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) from: Option<Timestamp>,
    /// Only rows before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) to: Option<Timestamp>,
    /// What it begins with, in quote [default: what the whole ladder needs at the first price]
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) capital: Option<Quote>,
    #[command(flatten)]
    pub(crate) market: MarketArgs,
    /// What stands beside the bot's figures.
    #[arg(long, value_enum)]
    pub(crate) benchmark: Option<Benchmark>,
    /// How the report is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// What a market is like.
#[derive(Args, Debug)]
pub(crate) struct MarketArgs {
    /// Prices are multiples of this.
    #[arg(long, value_name = "PRICE", default_value = "0.00000001")]
    pub(crate) tick_size: Price,
    /// Quantities are multiples of this.
    #[arg(long, value_name = "QTY", default_value = "0.00000001")]
    pub(crate) lot_step: Qty,
    /// The smallest order, in quote: a bot with a smaller stake is refused.
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub(crate) min_notional: Quote,
    /// What a market order costs, in percent.
    #[arg(long, value_name = "PCT", default_value = "0.1")]
    pub(crate) fee: Pct,
    /// What an order that rested costs, in percent [default: as `--fee`]
    #[arg(long, value_name = "PCT")]
    pub(crate) maker_fee: Option<Pct>,
    /// By how much a market order is worse than the price decided at, in percent.
    #[arg(long, value_name = "PCT", default_value = "0")]
    pub(crate) slippage: Pct,
}

/// What a bot is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Benchmark {
    /// Buying at the first price and holding to the last.
    Hold,
}
