//! Torture: the built binary is killed again and again while its bots trade at a simulated exchange where orders are
//! lost, late, doubled and cut up; in the end an oracle that shares no code with the engine compares the exchange's
//! ledger with our books. `cargo xtask torture` builds what it needs and runs it.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use tempfile::TempDir;

mod arguments;
mod books;
mod disk_error;
mod drill;
mod exchange;
mod failpoints;
mod fleet;
mod kills;
mod noisy;
mod one_way;
mod oracle;
mod owners;
mod pauses;
mod postmaster;
mod power_cut;
mod process;
mod proxy;
mod report;
mod restores;
mod seen;
mod server;
mod take_over;
mod user;
mod webhooks;

use arguments::{Arguments, Control, replay};
use exchange::Manner;
use failpoints::{PLACES, Reached};
use fleet::Kind;
use kills::{Outcome, Plan};
use oracle::Violations;

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
    } else if arguments.take_over {
        take_over(&arguments).await
    } else if arguments.one_way {
        one_way(&arguments).await
    } else if arguments.noisy {
        noisy(&arguments).await
    } else if arguments.restores {
        restore(&arguments).await
    } else if arguments.pauses {
        paused(&arguments).await
    } else if arguments.owners {
        owners(&arguments).await
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
        manner: if arguments.hide { Manner::Hiding } else { Manner::Faulty },
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

/// Has servers taken over from; whether the first did nothing more.
async fn take_over(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = plan(arguments, Kind::Mixed, None, folder.path())?;
    let taken = take_over::run(&plan, arguments.runs, arguments.papers, folder.path()).await?;
    report::print_take_over(&taken, &replay(arguments));
    let is_well = taken.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Lets one way fail at a time; whether what fired was sold, and all books agree.
async fn one_way(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = Plan { manner: Manner::Still, ..plan(arguments, Kind::Mixed, None, folder.path())? };
    let faults = one_way::Faults {
        count: arguments.faults,
        longest: Duration::from_secs(arguments.longest_s),
        bound: Duration::from_secs(arguments.exits_within_s),
    };
    let failed = one_way::run(&plan, faults, folder.path()).await?;
    report::print_one_way(&failed, &replay(arguments));
    let is_well = failed.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Lets one account be noisy; whether another did not notice.
async fn noisy(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = Plan { manner: Manner::Busy, ..plan(arguments, Kind::Market, None, folder.path())? };
    let bounds = if arguments.release { noisy::STRICT } else { noisy::LENIENT };
    let length = Duration::from_secs(arguments.noise_s);
    let heard = noisy::run(&plan, arguments.noise, length, bounds, folder.path()).await?;
    report::print_noisy(&heard, &replay(arguments));
    let is_well = heard.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Kills it while owners act; whether everything that was acknowledged held.
async fn owners(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = plan(arguments, Kind::Mixed, None, folder.path())?;
    let acted = owners::run(&plan, folder.path()).await?;
    report::print_owners(&acted, &replay(arguments));
    let is_well = acted.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Restores copies under an exchange that moved on; whether the books became the exchange's.
async fn restore(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = Plan { manner: Manner::Busy, ..plan(arguments, Kind::Mixed, None, folder.path())? };
    let longest = Duration::from_secs(arguments.lost_s);
    let losses = restores::Losses { count: arguments.copies, longest };
    let restored = restores::run(&plan, losses, folder.path()).await?;
    report::print_restores(&restored, &replay(arguments));
    let is_well = restored.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// Pauses it across levels that the market touches and leaves; whether nothing was done about them.
async fn paused(arguments: &Arguments) -> Result<bool> {
    let mut folder = folder()?;
    let plan = Plan { manner: Manner::Still, ..plan(arguments, Kind::Mixed, None, folder.path())? };
    let longest = Duration::from_secs(arguments.paused_s);
    let pauses = pauses::Pauses { count: arguments.times, longest };
    let outcome = pauses::run(&plan, pauses, folder.path()).await?;
    report::print_pauses(&outcome, &replay(arguments));
    let is_well = outcome.violations.is_empty();
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
