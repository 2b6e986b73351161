//! The command line (contract §1).

mod admin;
mod backtest;
mod values;
mod venue;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use model::{Pct, Price, Qty};

use crate::output::Format;

pub(crate) use admin::{
    AccountCommand, AdminArgs, AdminCommand, BotCommand, ExchangeCommand, KeyCommand, LinkArgs,
    MasterKeyCommand, PayoutArgs, PayoutCommand, SubscriptionArgs, SubscriptionCommand,
};
pub(crate) use backtest::{BacktestArgs, Benchmark, MarketArgs};
pub(crate) use values::{Credential, Secret, Silence, Span, Speed, listen};
pub(crate) use venue::{FeeAsset, ReplayStart, VenueArgs};

/// Hosts trading bots: dollar-cost-averaging bots with ladders, stops and take profits.
#[derive(Parser, Debug)]
#[command(name = "botprimex", version, propagate_version = true)]
pub(crate) struct Cli {
    /// What the log on stderr tells: off, error, warn, info or debug, and TARGET=LEVEL, separated by commas, e.g.
    /// `info,engine=debug` [default: `info`, in the demo `warn`]
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
    /// Runs a bot over a history and reports what it would have made.
    Backtest(Box<BacktestArgs>),
    /// Operates accounts, keys, plans and bots, checks what a server needs, and rotates the master key.
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
    #[arg(long, value_name = "ADDRESS", value_parser = listen)]
    pub(crate) listen: Option<SocketAddr>,
}
/// The demo's flags.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The address of the API; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// Recorded markets to play, one after the other; the demo ends with them.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) replay: Vec<PathBuf>,
    /// Market seconds per second, or `max`.
    #[arg(long, value_name = "N|max", default_value = "60")]
    pub(crate) speed: Speed,
    /// What the made-up market grows from; the default has calm, dips and recoveries within the first minute.
    #[arg(long, default_value_t = 2187)]
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use model::AccountId;
    use rust_decimal::Decimal;

    use super::values::Balance;
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
        refuse::<ServeArgs>("serve --listen localhost:http");
        refuse::<ServeArgs>("serve --listen nowhere.invalid:8080");
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
    fn an_address_to_listen_on_may_be_a_name() {
        let loopback: std::net::SocketAddr = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(parse::<ServeArgs>("serve --listen localhost:8080").unwrap().listen, Some(loopback));
        assert_eq!(parse::<DemoArgs>("demo --listen localhost:8080").unwrap().listen, loopback);
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
