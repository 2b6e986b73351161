//! Torture: the built binary is killed again and again while its bots trade at a simulated exchange where orders are
//! lost, late, doubled and cut up; in the end an oracle that shares no code with the engine compares the exchange's
//! ledger with our books. `cargo xtask torture` builds what it needs and runs it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use tempfile::TempDir;

mod books;
mod disk_error;
mod drill;
mod exchange;
mod failpoints;
mod fleet;
mod kills;
mod oracle;
mod postmaster;
mod power_cut;
mod process;
mod proxy;
mod report;
mod server;
mod webhooks;

use failpoints::{PLACES, Reached};
use fleet::Kind;
use kills::{Outcome, Plan};
use oracle::Violations;

/// What is asked.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask torture")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Arguments {
    /// The `botprimex` to torture.
    #[arg(long, value_name = "FILE", hide = true)]
    binary: PathBuf,
    /// What commits through the ledger and notes what was acknowledged.
    #[arg(long, value_name = "FILE", hide = true)]
    writer: Option<PathBuf>,
    /// How often it is killed.
    #[arg(long, default_value_t = 100, default_value_ifs([("hide", "true", "1"), ("stops", "true", "40"), ("webhooks", "true", "20")]))]
    kills: usize,
    /// How many bots trade.
    #[arg(long, default_value_t = 20, default_value_ifs([("long", "true", "160"), ("hide", "true", "60")]))]
    bots: usize,
    /// What the market, the faults and the kills grow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The exchange hides every order from queries for a minute, and absence is proven after the server's own 75 s
    /// instead of 8. One long life, so that hundreds of orders are hidden, and one kill that leaves all of them in
    /// doubt.
    #[arg(long)]
    hide: bool,
    /// So many bots and so long a life that more than a thousand orders are hidden.
    #[arg(long, requires = "hide")]
    long: bool,
    /// How long each life is, in seconds; without it most end within a moment.
    #[arg(long, value_name = "SECONDS", default_value_ifs([("long", "true", "200"), ("hide", "true", "150")]))]
    life_s: Option<u64>,
    /// Keep the books on a Postgres of its own.
    #[arg(long)]
    postgres: bool,
    /// Where that is.
    #[arg(long, value_name = "URL", hide = true)]
    postgres_url: Option<String>,
    /// Besides, kill that Postgres's postmaster this often while the bots trade, and start it again.
    #[arg(long, default_value_t = 0, requires = "postgres")]
    store_kills: usize,
    /// How it is started, an argument a line.
    #[arg(long, value_name = "COMMAND", hide = true)]
    postmaster: Option<String>,
    /// Torture a release build.
    #[arg(long)]
    release: bool,
    /// Instead: end the server at every named step of an order's way, with every kind of bot.
    #[arg(long, conflicts_with_all = ["controls", "permissive_control"])]
    failpoints: bool,
    /// Instead: trade in two ways that are known to be broken, and fail unless both are found to be.
    #[arg(long, conflicts_with = "permissive_control")]
    controls: bool,
    /// Instead: cut the power at points all over 150 commits, and again where SQLite does not wait for the disk, which
    /// must be found out.
    #[arg(long, conflicts_with_all = ["failpoints", "controls", "permissive_control"])]
    power_cut: bool,
    /// At how many points; a third as often where SQLite does not wait.
    #[arg(long, default_value_t = 1_000, requires = "power_cut")]
    cuts: usize,
    /// Instead: answer what the server writes and syncs with an input/output error.
    #[arg(long, conflicts_with_all = ["failpoints", "controls", "power_cut", "hide", "postgres", "stops"])]
    disk_errors: bool,
    /// Instead: let prices fall through stops while the server is down.
    #[arg(long, conflicts_with_all = ["failpoints", "controls", "power_cut", "hide", "store_kills"])]
    stops: bool,
    /// Instead: deliver events to endpoints, some of them hostile, while the server is killed.
    #[arg(long, conflicts_with_all = ["failpoints", "controls", "power_cut", "hide", "store_kills", "stops", "disk_errors"])]
    webhooks: bool,
    /// So many events besides those of bots that trade.
    #[arg(long, default_value_t = 20_000, requires = "webhooks")]
    events: usize,
    /// To so many endpoints.
    #[arg(long, default_value_t = 200, requires = "webhooks")]
    endpoints: usize,
    /// Of which so many are hostile.
    #[arg(long, default_value_t = 20, requires = "webhooks")]
    hostile: usize,
    /// Trade in a way that is known to be broken.
    #[arg(long, value_enum, value_name = "WAY")]
    permissive_control: Option<Control>,
    /// Keep the folder with the books and logs; it is always kept where something is broken.
    #[arg(long)]
    keep: bool,
}

/// A way of trading that is known to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Control {
    /// An order leaves before it is journaled.
    SendThenPersist,
    /// An order whose outcome is not known is sent again.
    BlindResend,
}

impl Control {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SendThenPersist => "send-then-persist",
            Self::BlindResend => "blind-resend",
        }
    }

    /// What the oracle must find of it.
    const fn symptom(self) -> &'static str {
        match self {
            Self::SendThenPersist => "fills missing",
            Self::BlindResend => "orders doubled",
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // A second one would be refused, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    let done = if arguments.failpoints {
        every_step(&arguments)
    } else if arguments.power_cut {
        power_cut(&arguments).await
    } else if arguments.disk_errors {
        disk_errors(&arguments).await
    } else if arguments.stops {
        stop_drill(&arguments).await
    } else if arguments.webhooks {
        deliver(&arguments).await
    } else if arguments.controls {
        controls(&arguments).await
    } else {
        kill_run(&arguments).await
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A folder for one run; it stays until somebody says that it may go.
fn folder() -> Result<TempDir> {
    let mut folder = tempfile::Builder::new().prefix("botprimex-torture-").tempdir()?;
    folder.disable_cleanup(true);
    Ok(folder)
}

/// What a run is, with a copy of the binary in its folder: the original may be built anew meanwhile.
fn plan(arguments: &Arguments, kind: Kind, control: Option<Control>, folder: &Path) -> Result<Plan> {
    let binary = folder.join("botprimex");
    std::fs::copy(&arguments.binary, &binary).context("there is no such binary")?;
    let control = control.map(|way| ("TORTURE_CONTROL".to_owned(), way.as_str().to_owned()));
    eprintln!("torture: seed {}, books and logs in {}", arguments.seed, folder.display());
    Ok(Plan {
        binary,
        kills: arguments.kills,
        store_kills: arguments.store_kills,
        bots: arguments.bots,
        kind,
        seed: arguments.seed,
        hides: arguments.hide,
        life: arguments.life_s.map(Duration::from_secs),
        postgres: arguments.postgres_url.clone(),
        postmaster: arguments.postmaster.clone(),
        environment: control.into_iter().collect(),
    })
}

/// Kills it again and again; whether all is well.
async fn kill_run(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = plan(arguments, Kind::Mixed, arguments.permissive_control, folder.path())?;
    let outcome = kills::run(&plan, folder.path()).await?;
    report::print(&outcome, &replay(arguments));
    let is_well = outcome.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Lets the disk fail; whether no order left unjournaled, and every start went on.
async fn disk_errors(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = plan(arguments, Kind::Mixed, None, folder.path())?;
    let (all, violations) = disk_error::run(&plan, folder.path()).await?;
    report::print_disk_errors(&all, &violations, &replay(arguments));
    folder.disable_cleanup(arguments.keep || !violations.is_empty());
    Ok(violations.is_empty())
}

/// Lets prices fall while it is down; whether every stop held.
async fn stop_drill(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = plan(arguments, Kind::Drill, None, folder.path())?;
    let drilled = drill::run(&plan, folder.path()).await?;
    report::print_drill(&drilled, &replay(arguments));
    let is_well = drilled.violations.is_empty() && !drilled.acted_after.is_empty() && drilled.at_exchange > 0;
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Kills it while it delivers; whether everybody who takes events got all of them as promised.
async fn deliver(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let Plan { binary, kills, seed, postgres, .. } = plan(arguments, Kind::Mixed, None, folder.path())?;
    let Arguments { events, endpoints, hostile, .. } = *arguments;
    let plan = webhooks::Plan { binary, events, endpoints, hostile, kills, seed, postgres };
    let delivered = webhooks::run(&plan, folder.path()).await?;
    report::print_webhooks(&delivered, &replay(arguments));
    let is_well = delivered.found.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Trades in both broken ways; whether both were found out.
async fn controls(arguments: &Arguments) -> Result<bool> {
    let mut are_found = true;
    for way in [Control::SendThenPersist, Control::BlindResend] {
        let mut folder = folder()?;
        let plan = plan(arguments, Kind::Mixed, Some(way), folder.path())?;
        let Outcome { violations, .. } = kills::run(&plan, folder.path()).await?;
        report::print_control(way.as_str(), way.symptom(), &violations);
        are_found &= violations.count(way.symptom()) > 0;
        folder.disable_cleanup(arguments.keep);
    }
    Ok(are_found)
}

/// Cuts the power; whether nothing acknowledged was lost, and would have been without waiting for the disk.
async fn power_cut(arguments: &Arguments) -> Result<bool> {
    let writer = arguments.writer.as_deref().context("--writer is missing: run it by cargo xtask torture")?;
    let mut both = Vec::new();
    for is_negligent in [false, true] {
        let mut folder = folder()?;
        eprintln!("torture: seed {}, 150 commits are recorded", arguments.seed);
        let cuts = if is_negligent { arguments.cuts / 3 } else { arguments.cuts };
        both.push(power_cut::run(writer, arguments.seed, cuts, is_negligent, folder.path()).await?);
        folder.disable_cleanup(arguments.keep);
    }
    let [careful, negligent] = both.as_slice() else { return Ok(false) };
    report::print_cuts("synchronous FULL", careful);
    report::print_cuts("synchronous NORMAL, the control", negligent);
    Ok(careful.cuts >= 500 && (careful.lost, careful.broken) == (0, 0) && negligent.lost > 0)
}

/// Ends it at every step, the kinds beside each other: a server that ends is waited for most of the time. Whether all is
/// well and every step was come by with every kind.
fn every_step(arguments: &Arguments) -> Result<bool> {
    let began = Instant::now();
    let mut running = Vec::new();
    for kind in Kind::PURE {
        let mut folder = folder()?;
        let plan = plan(arguments, kind, None, folder.path())?;
        let keep = arguments.keep;
        running.push(std::thread::spawn(move || -> Result<_> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (reached, found) = runtime.block_on(failpoints::run(&plan, kind, folder.path()))?;
            folder.disable_cleanup(keep || !found.is_empty());
            Ok((reached, found))
        }));
    }
    let (mut reached, mut violations) = (Reached::default(), Violations::default());
    for thread in running {
        let joined = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        let (of_kind, found) = joined?;
        reached.merge(of_kind);
        violations.merge(found);
    }
    report::print_steps(&reached, &violations, began.elapsed(), &replay(arguments));
    Ok(violations.is_empty() && PLACES.iter().all(|place| reached.is_complete(place)))
}

/// The one command that does the same again.
fn replay(arguments: &Arguments) -> String {
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
