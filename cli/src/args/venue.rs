//! The simulated exchange's flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use model::{Pair, Pct, Price, Qty, Quote};
use rust_decimal::Decimal;

use super::values::{Balance, Credential, Silence, Speed, listen};

/// The simulated exchange's flags.
#[derive(Args, Debug)]
pub(crate) struct VenueArgs {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// Recorded markets to play, one after the other.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "random_walk")]
    pub(crate) replay: Vec<PathBuf>,
    /// A made-up market (what is played without `--replay`).
    #[arg(long)]
    pub(crate) random_walk: bool,
    /// Market seconds per second, or `max`: as fast as it is read.
    #[arg(long, value_name = "N|max", default_value = "1")]
    pub(crate) speed: Speed,
    /// What the made-up market and the faults grow from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The pairs of the made-up market, e.g. `BTC/USDT,ETH/USDT`.
    #[arg(long, value_delimiter = ',', value_name = "PAIR")]
    pub(crate) pairs: Vec<Pair>,
    /// What each account begins with, e.g. `USDT=10000`; may be given again.
    #[arg(long, value_name = "ASSET=AMOUNT")]
    pub(crate) balance: Vec<Balance>,
    /// What a trade costs, in percent.
    #[arg(long, value_name = "PCT", default_value = "0.1")]
    pub(crate) fee: Pct,
    /// When a replay begins.
    #[arg(long, value_enum, default_value = "subscribe")]
    pub(crate) start: ReplayStart,
    /// A key and its secret, or `KEY:ed25519:FILE` with its Ed25519 public key in PEM; may be given again. One is made
    /// up and printed without it.
    #[arg(long, value_name = "KEY:SECRET")]
    pub(crate) credential: Vec<Credential>,
    /// Prices are multiples of this [default: 0.01]
    #[arg(long, value_name = "PRICE")]
    pub(crate) tick_size: Option<Price>,
    /// Quantities are multiples of this [default: 0.00001]
    #[arg(long, value_name = "QTY")]
    pub(crate) lot_step: Option<Qty>,
    /// The smallest order, in quote [default: 5]
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) min_notional: Option<Quote>,
    /// Fault: connections are dropped about this often, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) drop_connection_every: Option<u64>,
    /// Fault: every answer is late by this.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) latency_ms: u64,
    /// Fault: this share of orders is refused, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) reject_rate: f64,
    /// Fault: this share of orders is accepted and never answered, 0 to 1: the connection is closed, or the answer is
    /// that nobody knows (504, -1007); over a socket it is closed or stays silent.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) lose_ack_rate: f64,
    /// Fault: this share of orders is accepted and answered late, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) late_ack_rate: f64,
    /// How late.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(crate) late_ack_ms: u64,
    /// Fault: this share of execution reports is told again, up to three times within two seconds, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) duplicate_rate: f64,
    /// Fault: this share of execution reports is told after the next ones, 200 ms late at most, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) reorder_rate: f64,
    /// Fault: this share of execution reports is never told on the stream, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) drop_report_rate: f64,
    /// Fault: orders fill in up to so many executions, those of takers each a little dearer.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) partial_fills: u32,
    /// Fault: for this share of market, IOC and FOK orders the book is too thin, so that the rest expires, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) thin_rate: f64,
    /// Fault: so long after it was accepted no query knows of an order or its fills.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) hide_ms: u64,
    /// For this share of orders, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share, requires = "hide_ms")]
    pub(crate) hide_rate: f64,
    /// Fault: a symbol's market streams fall silent so many seconds after the market began; may be given again.
    #[arg(long, value_name = "SYMBOL:AFTER_S")]
    pub(crate) silence: Vec<Silence>,
    /// Fault: an address is banned after so many requests, and again after so many more.
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) ban_after: Option<u64>,
    /// For so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) ban_s: u64,
    /// Fault: this share of requests begins one to three seconds in which the address is refused (429), 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) rate_limit_rate: f64,
    /// How much further than usual the made-up market moves, as a factor.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    pub(crate) volatility: Decimal,
    /// What fees are paid in.
    #[arg(long, value_enum, default_value = "received")]
    pub(crate) fee_asset: FeeAsset,
    /// A coin that fees are taken in while the account has enough of it, at the venue's own last price of COIN in the
    /// pair's quote, which has to be among --pairs (such as BNB with BNB/USDT); else as --fee-asset has it.
    #[arg(long, value_name = "COIN")]
    pub(crate) fee_coin: Option<String>,
    /// Every key may withdraw, which a careful client refuses.
    #[arg(long)]
    pub(crate) allow_withdrawals: bool,
    /// Answers `/venue/...` as well, where tests move the market and read the ledger. No real exchange has this.
    #[arg(long)]
    pub(crate) control: bool,
}

/// When a replay begins.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplayStart {
    /// When the first stream of the pair is subscribed to.
    Subscribe,
    /// At once.
    Now,
}

/// What fees are paid in.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FeeAsset {
    /// The pair's quote, on top of what a buy costs.
    Quote,
    /// What is received: base of a buy, quote of a sell.
    Received,
    /// BNB at a made-up price while there is enough of it, else what is received.
    #[value(name = "BNB", alias = "bnb")]
    Bnb,
}

fn factor(text: &str) -> Result<Decimal, String> {
    let factor = model::number::parse(text).map_err(|error| error.to_string())?;
    if factor.is_sign_negative() || factor > Decimal::ONE_THOUSAND {
        return Err("a number from 0 to 1000".to_owned());
    }
    Ok(factor)
}

fn share(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a number from 0 to 1".to_owned())
}
