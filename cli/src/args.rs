//! The command line (contract §1).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::Cidr;
use model::{
    AccountId, KeyId, Pair, PayoutStatus, Pct, Price, Qty, Quote, SubscriptionStatus, Tier, Timestamp,
};
use rust_decimal::Decimal;

use crate::output::Format;

/// Hosts trading bots: dollar-cost-averaging bots with ladders, stops and take profits.
#[derive(Parser, Debug)]
#[command(name = "botprimex", version, propagate_version = true)]
pub(crate) struct Cli {
    /// What the log on stderr tells, e.g. `info` or `engine=debug`.
    #[arg(long, global = true, env = "BOTPRIMEX_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Shows the whole product in one process, offline: a venue, the server, a bot, a webhook listener.
    Demo(DemoArgs),
    /// Serves the API and runs the bots.
    Serve(ServeArgs),
    /// Plays an exchange that speaks Binance's spot protocol.
    Venue(Box<VenueArgs>),
    /// Makes and lists accounts, keys and bots, and rotates the master key.
    Admin(AdminArgs),
    /// Prints the OpenAPI document that `GET /v1/openapi.json` serves.
    Openapi,
    /// Prints a shell's completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Where the configuration is read.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct ConfigArgs {
    /// A TOML file; environment variables and flags win over it.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Where everything is stored: `sqlite://FILE` or `postgres://…` [default: `sqlite://botprimex.db`]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) database_url: Option<String>,
}

/// The server's flags.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The address to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

/// The simulated exchange's flags.
#[derive(Args, Debug)]
pub(crate) struct VenueArgs {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
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

/// The demo's flags.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The address of the API; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Recorded markets to play, one after the other; the demo ends with them.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) replay: Vec<PathBuf>,
    /// Market seconds per second, or `max`.
    #[arg(long, value_name = "N|max", default_value = "60")]
    pub(crate) speed: Speed,
    /// What the made-up market grows from.
    #[arg(long, default_value_t = 8)]
    pub(crate) seed: u64,
    /// Stop after this many seconds.
    #[arg(long = "for", value_name = "SECONDS")]
    pub(crate) for_seconds: Option<u64>,
    /// The bot to run: a file with the body of `POST /v1/bots`.
    #[arg(long, value_name = "FILE")]
    pub(crate) bot: Option<PathBuf>,
    /// The bot trades with signed orders on an account at the simulated exchange instead of on paper, and at the end
    /// our books are compared with the exchange's.
    #[arg(long)]
    pub(crate) live_sim: bool,
    /// What a trade costs, in percent.
    #[arg(long, value_name = "PCT", default_value = "0.01")]
    pub(crate) fee: Pct,
    /// Prices are multiples of this [default: 0.01]
    #[arg(long, value_name = "PRICE")]
    pub(crate) tick_size: Option<Price>,
    /// Quantities are multiples of this [default: 0.00001]
    #[arg(long, value_name = "QTY")]
    pub(crate) lot_step: Option<Qty>,
    /// How the summary is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// What `admin` is asked.
#[derive(Args, Debug)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How answers are printed.
    #[arg(long, value_enum, default_value = "table", global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) what: AdminCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminCommand {
    /// Who owns bots and keys.
    #[command(subcommand)]
    Account(AccountCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// What accounts pay for.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// What accounts are paid.
    #[command(subcommand)]
    Payout(PayoutCommand),
    /// Bots.
    #[command(subcommand)]
    Bot(BotCommand),
    /// Stored exchange connections.
    #[command(subcommand)]
    Exchange(ExchangeCommand),
    /// The key that stored secrets are sealed with.
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
}

#[derive(Subcommand, Debug)]
pub(crate) enum MasterKeyCommand {
    /// Seals everything that is stored with another key, and puts that in force. Stop the server before; run it again
    /// where it was cut short.
    Rotate {
        /// Where the new key is, or is made [default: made beside the key's own file, whose place it takes]
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
    },
    /// Opens everything that is stored, and tells whether the key that is there does: of a backup as well.
    Check,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ExchangeCommand {
    /// Erases what is sealed with a master key that is lost for good: stored connections, which their owners store anew,
    /// and the secrets of webhooks, which their owners rotate and enable.
    Forget {
        /// Everybody's, for all are sealed with one key.
        #[arg(long, required = true)]
        all: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AccountCommand {
    /// Makes an account.
    Create {
        /// What it is called.
        #[arg(long)]
        name: String,
    },
    /// Lists all accounts.
    List,
    /// Says who an account is at Stripe, whose webhooks then set its plan and tell of its payouts.
    LinkStripe(LinkArgs),
}

/// Who an account is at Stripe.
#[derive(Args, Debug)]
pub(crate) struct LinkArgs {
    /// Which account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: AccountId,
    /// The customer who pays, `cus_…`.
    #[arg(long, value_name = "CUS", required_unless_present = "connect")]
    pub(crate) customer: Option<String>,
    /// The connected account that is paid, `acct_…`.
    #[arg(long, value_name = "ACCT")]
    pub(crate) connect: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum SubscriptionCommand {
    /// Gives an account a plan. A smaller one stops nothing that runs.
    Set(SubscriptionArgs),
    /// Shows what an account may use.
    Show {
        /// Which account.
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
}

/// The plan that an account is given.
#[derive(Args, Debug)]
pub(crate) struct SubscriptionArgs {
    /// Which account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: AccountId,
    /// `standard`, `pro` or `enterprise`.
    #[arg(long)]
    pub(crate) plan: Tier,
    /// How it stands: active, `trialing`, `past_due`, `unpaid`, `paused`, `incomplete` or `canceled`.
    #[arg(long, default_value = "active")]
    pub(crate) status: SubscriptionStatus,
    /// When the period ends: a time such as 2026-05-01T00:00:00Z, or a span from now such as `30d`.
    #[arg(long, value_name = "TIME|SPAN")]
    pub(crate) period_end: Option<Until>,
    /// It ends with the period.
    #[arg(long)]
    pub(crate) cancel_at_period_end: bool,
}

/// A moment, or how far it is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// Then.
    At(Timestamp),
    /// After so long.
    In(Span),
}

impl Until {
    /// The moment, where it is `now`.
    pub(crate) const fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::In(span) => now.plus_seconds(span.seconds.unsigned_abs()),
        }
    }
}

impl FromStr for Until {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let moment = text.parse().map(Self::At);
        moment
            .or_else(|_| text.parse().map(Self::In))
            .map_err(|_| "a time such as 2026-05-01T00:00:00Z or a span such as 30d is wanted".to_owned())
    }
}

#[derive(Subcommand, Debug)]
pub(crate) enum PayoutCommand {
    /// Notes a payout that has ended, and tells its account of it.
    Create(PayoutArgs),
    /// Lists payouts.
    List {
        /// Whose [default: everybody's]
        #[arg(long, value_name = "ID")]
        account: Option<AccountId>,
    },
}

/// A payout.
#[derive(Args, Debug)]
pub(crate) struct PayoutArgs {
    /// To which account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: AccountId,
    /// How much, before fees.
    #[arg(long)]
    pub(crate) amount: Quote,
    /// In which currency or coin.
    #[arg(long)]
    pub(crate) currency: String,
    /// What it cost.
    #[arg(long, default_value = "0")]
    pub(crate) fees: Quote,
    /// For what, a word of your own.
    #[arg(long, default_value = "manual")]
    pub(crate) kind: String,
    /// How it ended: paid, failed or canceled.
    #[arg(long, default_value = "paid")]
    pub(crate) status: PayoutStatus,
    /// The beginning of the time that it is for.
    #[arg(long, value_name = "TIME")]
    pub(crate) period_start: Option<Timestamp>,
    /// The end of it.
    #[arg(long, value_name = "TIME")]
    pub(crate) period_end: Option<Timestamp>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum KeyCommand {
    /// Makes a key and prints it, this once.
    Create {
        /// Whose key.
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// What it is called.
        #[arg(long, default_value = "api key")]
        name: String,
        /// What it may do, e.g. `bots:read,trades:read` [default: everything]
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
        /// How long it is good, e.g. `90d`, `12h`.
        #[arg(long, value_name = "SPAN")]
        expires: Option<Span>,
        /// From where it may be used: an address or a network such as 203.0.113.0/24; may be given again [default:
        /// anywhere]
        #[arg(long, value_delimiter = ',', value_name = "NETWORK")]
        allow_ip: Vec<Cidr>,
    },
    /// Makes another key beside one and prints it, this once; the one before is good for a while more.
    Rotate {
        /// The key's id, `key_…`.
        id: KeyId,
        /// For how long, a week at most.
        #[arg(long, value_name = "SPAN", default_value = "24h")]
        overlap: Span,
    },
    /// Lists keys, without their secrets.
    List {
        /// Whose keys [default: everybody's]
        #[arg(long, value_name = "ID")]
        account: Option<AccountId>,
    },
    /// Makes a key useless from now on.
    Revoke {
        /// The key's id, `key_…`.
        id: KeyId,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum BotCommand {
    /// Lists bots.
    List {
        /// Whose bots [default: everybody's]
        #[arg(long, value_name = "ID")]
        account: Option<AccountId>,
    },
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

/// A symbol that falls silent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Silence {
    pub(crate) symbol: String,
    pub(crate) after_s: u64,
}

impl FromStr for Silence {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "such as BTCUSDT:60".to_owned();
        let (symbol, after_s) = text.split_once(':').ok_or_else(refused)?;
        let is_symbol = !symbol.is_empty() && symbol.bytes().all(|b| b.is_ascii_alphanumeric());
        let after_s = after_s.parse().ok().filter(|_| is_symbol).ok_or_else(refused)?;
        Ok(Self { symbol: symbol.to_owned(), after_s })
    }
}

/// How fast a market is played.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Speed {
    /// Market seconds per second.
    Times(f64),
    /// As fast as subscribers read.
    Max,
}

impl FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => text
                .parse::<f64>()
                .ok()
                .filter(|times| times.is_finite() && *times > 0.0)
                .map(Self::Times)
                .ok_or_else(|| "a number above 0, or `max`".to_owned()),
        }
    }
}

/// An asset and how much of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Balance {
    pub(crate) asset: String,
    pub(crate) amount: Decimal,
}

impl FromStr for Balance {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "such as USDT=10000".to_owned();
        let (asset, amount) = text.split_once('=').ok_or_else(refused)?;
        let amount = model::number::parse(amount).map_err(|error| error.to_string())?;
        let is_asset = (1..=20).contains(&asset.len())
            && asset.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_asset || amount.is_sign_negative() {
            return Err(refused());
        }
        Ok(Self { asset: asset.to_owned(), amount })
    }
}

/// A key and what signs its requests.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) key: String,
    pub(crate) secret: Secret,
}

/// What signs a key's requests.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The venue knows it as well.
    Shared(String),
    /// Where the public half of it lies.
    Ed25519(PathBuf),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}:…)", self.key)
    }
}

impl FromStr for Credential {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((key, secret)) if !key.is_empty() && !secret.is_empty() => {
                let secret = match secret.strip_prefix("ed25519:") {
                    Some(file) => Secret::Ed25519(file.into()),
                    None => Secret::Shared(secret.to_owned()),
                };
                Ok(Self { key: key.to_owned(), secret })
            }
            _ => Err("such as KEY:SECRET or KEY:ed25519:PUBLIC_PEM_FILE".to_owned()),
        }
    }
}

/// A length of time in whole seconds, written `90d`, `12h`, `30m` or `45s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) seconds: i64,
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "a whole number and a unit: 90d, 12h, 30m or 45s".to_owned();
        let unit = match text.chars().last() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(refused()),
        };
        let count: i64 = text.get(..text.len() - 1).and_then(|n| n.parse().ok()).ok_or_else(refused)?;
        let seconds =
            count.checked_mul(unit).filter(|s| (1..=3_155_760_000).contains(s)).ok_or_else(refused)?;
        Ok(Self { seconds })
    }
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(Parser, Debug)]
    struct Line<A: Args> {
        #[command(flatten)]
        args: A,
    }

    fn parse<A: Args>(line: &str) -> Result<A, clap::Error> {
        Line::<A>::try_parse_from(line.split_whitespace()).map(|line| line.args)
    }

    #[track_caller]
    fn refuse<A: Args + std::fmt::Debug>(line: &str) {
        assert_eq!(parse::<A>(line).unwrap_err().exit_code(), 2, "{line}");
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        Line::<ServeArgs>::command().debug_assert();
        Line::<VenueArgs>::command().debug_assert();
        Line::<DemoArgs>::command().debug_assert();
        Line::<AdminArgs>::command().debug_assert();
    }

    #[test]
    fn a_venue_takes_what_the_contract_lists() {
        let args: VenueArgs = parse(
            "venue --listen 127.0.0.1:0 --replay a.gz b.gz --replay c.gz --speed max --seed 3 --balance USDT=10000 \
             --balance BTC=0.5 --fee 0.1 --start now --credential k:s --drop-connection-every 30 --latency-ms 5 \
             --reject-rate 0.1 --lose-ack-rate 0.05",
        )
        .unwrap();
        assert_eq!(args.replay.len(), 3);
        assert_eq!(args.speed, Speed::Max);
        assert_eq!(args.balance[1], Balance { asset: "BTC".to_owned(), amount: Decimal::new(5, 1) });
        assert_eq!(args.start, ReplayStart::Now);
    }

    #[test]
    fn a_venue_goes_wrong_in_every_way() {
        let args: VenueArgs = parse(
            "venue --late-ack-rate 0.05 --late-ack-ms 2000 --duplicate-rate 0.1 --reorder-rate 0.1 --drop-report-rate 0.02 \
             --partial-fills 5 --thin-rate 0.1 --hide-ms 3000 --hide-rate 0.2 --fee-asset BNB --allow-withdrawals \
             --silence ETHUSDT:30 --silence BTCUSDT:0 --ban-after 500 --ban-s 10 --rate-limit-rate 0.01 --control \
             --volatility 2.5",
        )
        .unwrap();
        assert_eq!((args.partial_fills, args.hide_ms, args.ban_after), (5, 3_000, Some(500)));
        assert_eq!(args.silence[0], Silence { symbol: "ETHUSDT".to_owned(), after_s: 30 });
        assert_eq!((args.fee_asset, args.volatility), (FeeAsset::Bnb, Decimal::new(25, 1)));
        for line in
            ["--silence BTCUSDT", "--silence :3", "--volatility -1", "--partial-fills 0", "--thin-rate 1.1"]
        {
            refuse::<VenueArgs>(&format!("venue {line}"));
        }
    }

    #[test]
    fn a_demo_plays_several_files_at_any_speed() {
        let args: DemoArgs =
            parse("demo --replay a.gz --replay b.gz --speed max --fee 0.01 --for 5").unwrap();
        assert_eq!((args.replay.len(), args.speed, args.for_seconds), (2, Speed::Max, Some(5)));
        assert_eq!(parse::<DemoArgs>("demo").unwrap().speed, Speed::Times(60.0));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in ["--speed 0", "--speed -1", "--reject-rate 2", "--balance USDT", "--credential k"] {
            refuse::<VenueArgs>(&format!("venue {line}"));
        }
        refuse::<VenueArgs>("venue --replay a.gz --random-walk");
        refuse::<ServeArgs>("serve --listen nowhere");
        refuse::<DemoArgs>("demo --for soon");
        refuse::<AdminArgs>("admin key create");
        refuse::<AdminArgs>("admin key create --account bot_1");
        refuse::<AdminArgs>("admin key revoke");
        refuse::<AdminArgs>("admin key rotate");
        refuse::<AdminArgs>(&format!(
            "admin key create --account {} --allow-ip 1.2.3",
            AccountId::from_u128(1)
        ));
        refuse::<AdminArgs>("admin exchange forget");
        let account = AccountId::from_u128(1);
        refuse::<AdminArgs>(&format!("admin subscription set --account {account} --plan gold"));
        refuse::<AdminArgs>(&format!(
            "admin subscription set --account {account} --plan pro --period-end soon"
        ));
        refuse::<AdminArgs>(&format!("admin payout create --account {account} --amount much --currency USD"));
        refuse::<AdminArgs>(&format!("admin account link-stripe --account {account}"));
        assert_eq!(Cli::try_parse_from(["botprimex"]).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["botprimex", "nonsense"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn where_everything_is_stored_may_be_said_anywhere_behind_admin() {
        for line in [
            "admin --database-url sqlite://a.db --config a.toml account create --name me",
            "admin account --database-url sqlite://a.db create --config a.toml --name me",
            "admin account create --name me --config a.toml --database-url sqlite://a.db",
        ] {
            let args: AdminArgs = parse(line).unwrap();
            assert_eq!(args.config.database_url.as_deref(), Some("sqlite://a.db"), "{line}");
            assert_eq!(args.config.config, Some("a.toml".into()), "{line}");
        }
    }

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        assert_eq!("90d".parse(), Ok(Span { seconds: 7_776_000 }));
        for bad in ["", "d", "90", "0d", "-1d", "9999999999d", "1.5h", "1w"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let credential: Credential = "key:hidden".parse().unwrap();
        assert!(!format!("{credential:?}").contains("hidden"));
        let credential: Credential = "key:ed25519:/tmp/key.pem".parse().unwrap();
        assert!(credential.secret == Secret::Ed25519("/tmp/key.pem".into()));
    }
}
