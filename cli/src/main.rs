//! The `botprimex` binary: reads the command line and the configuration, and composes the parts.

mod admin;
mod args;
mod config;
mod demo;
mod output;
mod serve;
mod shutdown;
mod simulate;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = start_log(&cli) {
        eprintln!("error: {error:#}");
        return ExitCode::from(2);
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: the TLS provider was installed twice");
        return ExitCode::FAILURE;
    }
    match actix_rt::System::new().block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<config::UsageError>() { 2 } else { 1 })
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args).await,
        Command::Venue(args) => simulate::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Admin(args) => admin::run(args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "botprimex", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// The log goes to stderr, so that stdout carries data alone. The demo keeps the log quiet: it talks itself.
fn start_log(cli: &Cli) -> anyhow::Result<()> {
    let directives = match (&cli.log, &cli.command) {
        (Some(directives), _) => directives.as_str(),
        (None, Command::Demo(_) | Command::Admin(_)) => "warn",
        (None, _) => "info",
    };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| anyhow::anyhow!("`--log {directives}` is no log filter: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::colours(std::io::stderr().is_terminal()))
        .init();
    Ok(())
}
