//! The `botprimex` binary: reads the command line and the configuration, and composes the parts.

mod admin;
mod args;
mod config;
mod demo;
mod exchange;
mod output;
mod serve;
mod shutdown;
mod signature;

use std::io::IsTerminal as _;
use std::process::ExitCode;

#[cfg(target_os = "linux")]
use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = keep_memory_private() {
        return fail(&error);
    }
    if let Err(error) = start_log(cli.log.as_deref().unwrap_or_else(|| usual_log(&cli.command))) {
        return fail(&error);
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&anyhow::anyhow!("the TLS provider was installed twice"));
    }
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Venue(args) => exchange::run(args),
        Command::Admin(args) => admin::run(args),
        Command::Openapi => output::bytes(api::openapi_document().as_bytes()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "botprimex", &mut script);
            output::bytes(&script)
        }
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

/// Libraries that would write whole messages, keys and signatures in them, into the log. Whatever is asked for,
/// they are heard from `info` on.
const TALKATIVE: [&str; 5] = ["tungstenite", "tokio_tungstenite", "hyper", "hyper_util", "reqwest"];

/// What is told unless something else is asked for: in the demo only what went wrong, since its screen tells the rest.
const fn usual_log(command: &Command) -> &'static str {
    match command {
        Command::Demo(_) => "warn",
        _ => "info,actix_server=warn,sqlx=warn",
    }
}

/// The log goes to stderr, so that stdout carries data alone.
fn start_log(directives: &str) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(directives).map_err(|error| {
        config::UsageError::new(format!("`--log {directives}` is no log filter: {error}"))
    })?;
    for target in TALKATIVE {
        filter = filter.add_directive(format!("{target}=info").parse()?);
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::colours(std::io::stderr().is_terminal()))
        .init();
    Ok(())
}
