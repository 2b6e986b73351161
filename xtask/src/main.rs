//! `cargo xtask test` and the other chores.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;
use clap::{Parser, Subcommand};

mod alone;
mod clients;
mod debian;
mod fuzz;
mod graph;
mod postgres;
mod server;
mod signatures;
mod torture;

use postgres::Postgres;

/// Chores of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that must hold before a change lands.
    Test {
        /// Only these steps, by name (comma separated or repeated).
        #[arg(long, value_delimiter = ',', value_name = "STEP")]
        only: Vec<String>,
    },
    /// Third-party clients drive the simulated venue.
    Clients {
        /// Only these clients, by name (comma separated or repeated).
        #[arg(long, value_delimiter = ',', value_name = "CLIENT")]
        only: Vec<String>,
    },
    /// schemathesis asks the server everything that its OpenAPI document allows, and much that it does not.
    FuzzApi(fuzz::FuzzArguments),
    /// Kills the server while it trades, and compares its books with the exchange's; `--help` tells the flags.
    #[command(disable_help_flag = true)]
    Torture {
        /// What it is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs a command beside a private Postgres whose address is in `BOTPRIMEX_TEST_POSTGRES_URL`.
    Postgres {
        /// The command, e.g. `cargo test -p engine`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// A step of `cargo xtask test`: its name and what it runs.
type Step = (&'static str, fn() -> Result<()>);

/// What fails soonest comes first.
const STEPS: [Step; 9] = [
    ("graph", graph::check),
    ("fmt", || cargo(&["fmt", "--all", "--check"], &[])),
    ("clippy", || {
        cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
    }),
    ("doc", || cargo(&["doc", "--locked", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])),
    ("test", cargo_test),
    ("clients", || clients::prove(&[])),
    ("signatures", signatures::prove),
    ("fuzz-api", fuzz::short),
    ("torture", torture::short),
];

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Test { only } => test(&only),
        Chore::Clients { only } => clients::prove(&only),
        Chore::FuzzApi(arguments) => fuzz::run(arguments),
        Chore::Torture { arguments } => torture::run(&arguments),
        Chore::Postgres { command } => beside_postgres(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test(only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        bail!("there is no step {unknown}; there are {}", STEPS.map(|(name, _)| name).join(", "));
    }
    let began = Instant::now();
    for (name, step) in STEPS {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        let start = Instant::now();
        step().with_context(|| format!("step {name} failed after {} s", start.elapsed().as_secs()))?;
        eprintln!("xtask: {name} passed in {} s", start.elapsed().as_secs());
    }
    eprintln!("xtask: all passed in {} s", began.elapsed().as_secs());
    Ok(())
}

/// Every test, those of the store on SQLite and on a Postgres that lives as long as the run.
fn cargo_test() -> Result<()> {
    debian::have("nft", "nftables")?;
    debian::have("ip", "iproute2")?;
    debian::have("curl", "curl")?;
    debian::have("jq", "jq")?;
    let arguments = ["test", "--locked", "--workspace"];
    if std::env::var_os(postgres::URL_VARIABLE).is_some() {
        return cargo(&arguments, &[]);
    }
    let start = Instant::now();
    let postgres = Postgres::start().context("no Postgres to test on")?;
    eprintln!("xtask: Postgres is up after {} s", start.elapsed().as_secs());
    cargo(&arguments, &[(postgres::URL_VARIABLE, &postgres.url)])
}

/// Runs a command while a Postgres is there for it.
fn beside_postgres(command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let postgres = Postgres::start().context("no Postgres to run it on")?;
    run(Command::new(program).args(arguments).env(postgres::URL_VARIABLE, &postgres.url))
}

/// Runs cargo at the workspace's root.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args(arguments).envs(environment.iter().copied()).current_dir(root()?))
}

/// Runs a command to its end; anything but success is an error that shows the command.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{program} does not start"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        bail!("{program} {} failed ({status})", arguments.join(" "));
    }
    Ok(())
}

/// The workspace's root: the folder above this crate.
fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).context("xtask has no parent folder")
}

/// Where cargo puts what it builds.
fn target() -> Result<PathBuf> {
    let metadata =
        MetadataCommand::new().no_deps().current_dir(root()?).exec().context("cargo metadata failed")?;
    Ok(metadata.target_directory.into_std_path_buf())
}
