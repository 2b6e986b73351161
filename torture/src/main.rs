//! Torture: the built binary is killed again and again while its bots trade at a simulated exchange where orders are
//! lost, late, doubled and cut up; in the end an oracle that shares no code with the engine compares the exchange's
//! ledger with our books. `cargo xtask torture` builds what it needs and runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

mod books;
mod exchange;
mod fleet;
mod kills;
mod oracle;
mod process;
mod proxy;
mod report;
mod server;

use kills::Plan;

/// What is asked.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask torture")]
struct Arguments {
    /// The `botprimex` to torture.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// How often it is killed.
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// How many bots trade.
    #[arg(long, default_value_t = 20)]
    bots: usize,
    /// What the market, the faults and the kills grow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The exchange hides a tenth of the orders from queries for a minute.
    #[arg(long)]
    hide: bool,
    /// Keep the folder with the books and logs.
    #[arg(long)]
    keep: bool,
    /// A Postgres to keep the books on.
    #[arg(long, value_name = "URL")]
    postgres_url: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match torture(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
async fn torture(arguments: &Arguments) -> Result<bool> {
    // A second one would be refused, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut folder = tempfile::Builder::new().prefix("botprimex-torture-").tempdir()?;
    folder.disable_cleanup(true);
    // The binary may be built anew meanwhile.
    let binary = folder.path().join("botprimex");
    std::fs::copy(&arguments.binary, &binary).context("there is no such binary")?;
    let plan = Plan {
        binary,
        kills: arguments.kills,
        bots: arguments.bots,
        seed: arguments.seed,
        hides: arguments.hide,
        postgres: arguments.postgres_url.clone(),
        environment: Vec::new(),
    };
    eprintln!("torture: seed {}, books and logs in {}", plan.seed, folder.path().display());
    let outcome = kills::run(&plan, folder.path()).await?;
    report::print(&outcome, &replay(arguments));
    let is_well = outcome.violations.is_empty();
    folder.disable_cleanup(arguments.keep || !is_well);
    Ok(is_well)
}

/// The one command that does the same again.
fn replay(arguments: &Arguments) -> String {
    let Arguments { kills, bots, seed, .. } = arguments;
    let hide = if arguments.hide { " --hide" } else { "" };
    let postgres = if arguments.postgres_url.is_some() { " --postgres" } else { "" };
    format!("cargo xtask torture --kills {kills} --bots {bots} --seed {seed}{hide}{postgres}")
}
