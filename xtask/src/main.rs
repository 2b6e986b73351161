//! `cargo xtask test` and the other chores.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

mod graph;

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
        /// Only these steps, by name.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
}

/// A step of `cargo xtask test`: its name and what it runs.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 5] = [
    ("graph", graph::check),
    ("fmt", || cargo(&["fmt", "--all", "--check"], &[])),
    ("clippy", || {
        cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
    }),
    ("doc", || cargo(&["doc", "--locked", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])),
    ("test", || cargo(&["test", "--locked", "--workspace"], &[])),
];

fn main() -> ExitCode {
    let Chore::Test { only } = Arguments::parse().chore;
    match test(&only) {
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
    for (name, run) in STEPS {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        let start = Instant::now();
        run().with_context(|| format!("step {name}"))?;
        eprintln!("xtask: {name} passed in {} s", start.elapsed().as_secs());
    }
    Ok(())
}

/// Runs cargo at the workspace's root.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root()?)
        .status()
        .context("cargo does not start")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

/// The workspace's root: the folder above this crate.
fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).context("xtask has no parent folder")
}
