//! What a run is asked for, and the command that asks for it again.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Parser;

/// What is asked.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask torture")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Arguments {
    /// The `botprimex` to torture.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) binary: PathBuf,
    /// What commits through the ledger and notes what was acknowledged.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) writer: Option<PathBuf>,
    /// How often it is killed.
    #[arg(long, default_value_t = 100, default_value_ifs([("hide", "true", "1"), ("stops", "true", "40"), ("webhooks", "true", "20"), ("owners", "true", "40")]))]
    pub(crate) kills: usize,
    /// How many bots trade.
    #[arg(long, default_value_t = 20, default_value_ifs([("long", "true", "160"), ("hide", "true", "60"), ("noisy", "true", "10"), ("owners", "true", "12")]))]
    pub(crate) bots: usize,
    /// What the market, the faults and the kills grow from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The exchange hides every order from queries for a minute, and absence is proven after the server's own 75 s
    /// instead of 8. One long life, so that hundreds of orders are hidden, and one kill that leaves all of them in
    /// doubt.
    #[arg(long)]
    pub(crate) hide: bool,
    /// So many bots and so long a life that more than a thousand orders are hidden.
    #[arg(long, requires = "hide")]
    pub(crate) long: bool,
    /// How long each life is, in seconds; without it most end within a moment.
    #[arg(long, value_name = "SECONDS", default_value_ifs([("long", "true", "200"), ("hide", "true", "150")]))]
    pub(crate) life_s: Option<u64>,
    /// Keep the books on a Postgres of its own.
    #[arg(long)]
    pub(crate) postgres: bool,
    /// Where that is.
    #[arg(long, value_name = "URL", hide = true)]
    pub(crate) postgres_url: Option<String>,
    /// Besides, kill that Postgres's postmaster this often while the bots trade, and start it again.
    #[arg(long, default_value_t = 0, requires = "postgres")]
    pub(crate) store_kills: usize,
    /// How it is started, an argument a line.
    #[arg(long, value_name = "COMMAND", hide = true)]
    pub(crate) postmaster: Option<String>,
    /// Torture a release build.
    #[arg(long)]
    pub(crate) release: bool,
    /// Instead: end the server at every named step of an order's way, with every kind of bot.
    #[arg(long, group = "instead", conflicts_with_all = ["permissive_control"])]
    pub(crate) failpoints: bool,
    /// Instead: trade in two ways that are known to be broken, and fail unless both are found to be.
    #[arg(long, group = "instead", conflicts_with_all = ["permissive_control"])]
    pub(crate) controls: bool,
    /// Instead: cut the power at points all over 150 commits, and again where SQLite does not wait for the disk, which
    /// must be found out.
    #[arg(long, group = "instead", conflicts_with_all = ["permissive_control"])]
    pub(crate) power_cut: bool,
    /// At how many points; a third as often where SQLite does not wait.
    #[arg(long, default_value_t = 1_000, requires = "power_cut")]
    pub(crate) cuts: usize,
    /// Instead: answer what the server writes and syncs with an input/output error.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "postgres"])]
    pub(crate) disk_errors: bool,
    /// Instead: let prices fall through stops while the server is down.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills"])]
    pub(crate) stops: bool,
    /// Instead: deliver events to endpoints, some of them hostile, while the server is killed.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills"])]
    pub(crate) webhooks: bool,
    /// So many events besides those of bots that trade.
    #[arg(long, default_value_t = 20_000, requires = "webhooks")]
    pub(crate) events: usize,
    /// To so many endpoints.
    #[arg(long, default_value_t = 200, requires = "webhooks")]
    pub(crate) endpoints: usize,
    /// Of which so many are hostile.
    #[arg(long, default_value_t = 20, requires = "webhooks")]
    pub(crate) hostile: usize,
    /// Instead: on a Postgres of its own, stop the server by SIGSTOP, let a second one take its store over, and let the
    /// first go on: it may write and send nothing.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills", "permissive_control"])]
    pub(crate) take_over: bool,
    /// So often.
    #[arg(long, default_value_t = 50, requires = "take_over")]
    pub(crate) runs: usize,
    /// While so many paper bots trade besides.
    #[arg(long, default_value_t = 10, requires = "take_over")]
    pub(crate) papers: usize,
    /// Instead: let one way to the exchange fail while the others work: REST, the market stream, the socket API, or the
    /// user stream within it; each reset, refused, mute, half open or stalled.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills", "permissive_control"])]
    pub(crate) one_way: bool,
    /// So often.
    #[arg(long, default_value_t = 40, requires = "one_way")]
    pub(crate) faults: usize,
    /// For so long at most, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "one_way")]
    pub(crate) longest_s: u64,
    /// How soon what a price fires meanwhile has to be sold, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "one_way")]
    pub(crate) exits_within_s: u64,
    /// Instead: let the paper bots of one account trade on nearly every tick, beside another account's owner who commands
    /// bots and closes live trades. A release build is held to stricter bounds.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills", "permissive_control"])]
    pub(crate) noisy: bool,
    /// So many of them.
    #[arg(long, default_value_t = 400, requires = "noisy")]
    pub(crate) noise: usize,
    /// For so long, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "noisy")]
    pub(crate) noise_s: u64,
    /// Instead: let owners create, change, start, stop and delete bots, close trades and add to them while the server is
    /// killed: what was acknowledged holds.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills", "permissive_control"])]
    pub(crate) owners: bool,
    /// Instead: take copies of the database while bots trade, and go on from each a while later, under an exchange that
    /// moved on.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills", "postgres", "permissive_control"])]
    pub(crate) restores: bool,
    /// So many.
    #[arg(long, default_value_t = 20, requires = "restores")]
    pub(crate) copies: usize,
    /// A copy lacks the last so many seconds at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 25, requires = "restores")]
    pub(crate) lost_s: u64,
    /// Instead: stop the server by SIGSTOP while the market reaches levels of what its bots hold and comes back, and let it
    /// go on: it may not act on prices that are gone.
    #[arg(long, group = "instead", conflicts_with_all = ["hide", "store_kills", "permissive_control"])]
    pub(crate) pauses: bool,
    /// So often.
    #[arg(long, default_value_t = 40, requires = "pauses")]
    pub(crate) times: usize,
    /// For so long at most, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "pauses")]
    pub(crate) paused_s: u64,
    /// Trade in a way that is known to be broken.
    #[arg(long, value_enum, value_name = "WAY")]
    pub(crate) permissive_control: Option<Control>,
    /// Keep the folder with the books and logs; it is always kept where something is broken.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A way of trading that is known to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Control {
    /// An order leaves before it is journaled.
    SendThenPersist,
    /// An order whose outcome is not known is sent again.
    BlindResend,
}

impl Control {
    /// What the server is told.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SendThenPersist => "send-then-persist",
            Self::BlindResend => "blind-resend",
        }
    }

    /// What the oracle must find of it.
    pub(crate) const fn symptom(self) -> &'static str {
        match self {
            Self::SendThenPersist => "fills missing",
            Self::BlindResend => "orders doubled",
        }
    }
}

/// The one command that does the same again.
pub(crate) fn replay(arguments: &Arguments) -> String {
    let Arguments { kills, store_kills, bots, seed, .. } = arguments;
    let mut command = format!("cargo xtask torture --seed {seed}");
    if arguments.webhooks {
        let Arguments { events, endpoints, hostile, .. } = arguments;
        // Writing to a String cannot fail.
        let _ = write!(command, " --webhooks --events {events} --endpoints {endpoints} --hostile {hostile}");
    } else {
        let _ = write!(command, " --bots {bots}");
    }
    if arguments.failpoints {
        command.push_str(" --failpoints");
    } else if arguments.one_way {
        let Arguments { faults, longest_s, exits_within_s, .. } = arguments;
        // Writing to a String cannot fail.
        let _ = write!(
            command,
            " --one-way --faults {faults} --longest-s {longest_s} --exits-within-s {exits_within_s}"
        );
    } else if arguments.noisy {
        let Arguments { noise, noise_s, .. } = arguments;
        // Writing to a String cannot fail.
        let _ = write!(command, " --noisy --noise {noise} --noise-s {noise_s}");
    } else if arguments.restores {
        let Arguments { copies, lost_s, .. } = arguments;
        // Writing to a String cannot fail.
        let _ = write!(command, " --restores --copies {copies} --lost-s {lost_s}");
    } else if arguments.pauses {
        let Arguments { times, paused_s, .. } = arguments;
        // Writing to a String cannot fail.
        let _ = write!(command, " --pauses --times {times} --paused-s {paused_s}");
    } else if arguments.take_over {
        let Arguments { runs, papers, .. } = arguments;
        // Writing to a String cannot fail.
        let _ = write!(command, " --take-over --runs {runs} --papers {papers}");
    } else {
        // Writing to a String cannot fail.
        let _ = write!(command, " --kills {kills}");
    }
    if *store_kills > 0 {
        let _ = write!(command, " --store-kills {store_kills}");
    }
    for (is_set, flag) in [
        (arguments.hide, " --hide"),
        (arguments.stops, " --stops"),
        (arguments.owners, " --owners"),
        (arguments.disk_errors, " --disk-errors"),
        (arguments.postgres, " --postgres"),
        (arguments.release, " --release"),
    ] {
        command.push_str(if is_set { flag } else { "" });
    }
    if let Some(seconds) = arguments.life_s {
        let _ = write!(command, " --life-s {seconds}");
    }
    if let Some(way) = arguments.permissive_control {
        let _ = write!(command, " --permissive-control {}", way.as_str());
    }
    command
}
