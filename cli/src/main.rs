//! The `botprimex` binary: reads the command line and the configuration, and composes the parts.

mod admin;
mod args;
mod backtest;
mod config;
mod demo;
mod exchange;
mod known_keys;
mod log;
mod output;
mod serve;
mod shutdown;
mod signature;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::config::Config;
use crate::log::LogFormat;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = keep_memory_private() {
        return fail(&error);
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&anyhow::anyhow!("the TLS provider was installed twice"));
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let filter = cli.log.as_deref().filter(|filter| !filter.trim().is_empty());
    // The screen of the demo tells the rest.
    let usual = if matches!(cli.command, Command::Demo(_)) { "warn" } else { log::USUAL };
    let start_log = |format| log::start(filter.unwrap_or(usual), format);
    match &cli.command {
        Command::Serve(args) => {
            let config = Config::load(&args.config, args.listen)?;
            start_log(config.log.format)?;
            return serve::run(&config);
        }
        Command::Admin(args) => {
            let config = Config::load(&args.config, None)?;
            start_log(config.log.format)?;
            return admin::run(args, config);
        }
        _ => start_log(LogFormat::default())?,
    }
    match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Venue(args) => exchange::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::Openapi => output::bytes(api::openapi_document().as_bytes()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "botprimex", &mut script);
            output::bytes(&script)
        }
        // They have begun above, with their configuration.
        Command::Serve(_) | Command::Admin(_) => Ok(()),
    }
}

/// What is in memory gets into no core dump, and to no other process of the same user: venues' secrets are there, and the
/// master key.
#[cfg(target_os = "linux")]
fn keep_memory_private() -> anyhow::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("core dumps cannot be turned off")
}

#[cfg(not(target_os = "linux"))]
fn keep_memory_private() -> anyhow::Result<()> {
    Ok(())
}

/// Tells why on stderr; 2 when it was asked wrongly, else 1.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(if error.is::<config::UsageError>() { 2 } else { 1 })
}
