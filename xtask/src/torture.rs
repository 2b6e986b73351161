//! Builds what is tortured, and tortures it.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::postgres::Postgres;
use crate::{cargo, debian, target};

/// Flags that need places at which the process ends, which no build that is shipped has.
const ARMED: [&str; 3] = ["--failpoints", "--controls", "--permissive-control"];

/// What is recorded when the power is to be cut.
const WRITER: &str = "acknowledged_commits";

/// A hundred kills. That they would notice is proven by `--controls`, which takes as long again and another build. Then
/// ten while events are delivered, ten while owners act, and the short forms of what else can go wrong.
pub(crate) fn short() -> Result<()> {
    torture(&["--kills", "100"])?;
    torture(&["--webhooks", "--events", "2000", "--endpoints", "10", "--hostile", "3", "--kills", "10"])?;
    torture(&["--owners", "--kills", "10"])?;
    torture(&["--one-way", "--faults", "6", "--longest-s", "4", "--exits-within-s", "20", "--bots", "12"])?;
    torture(&["--pauses", "--times", "5", "--paused-s", "5", "--bots", "12"])?;
    torture(&["--noisy", "--noise-s", "15"])?;
    torture(&["--restores", "--copies", "4", "--lost-s", "6", "--bots", "12"])?;
    torture(&["--take-over", "--runs", "2", "--bots", "12"])
}

/// Whatever is asked.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    torture(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn torture(arguments: &[&str]) -> Result<()> {
    let has = |flags: &[&str]| {
        arguments.iter().any(|argument| flags.iter().any(|flag| argument.split('=').next() == Some(flag)))
    };
    let mut build = vec!["build", "--locked", "--quiet", "--package", "cli"];
    let is_release = has(&["--release"]);
    build.extend(is_release.then_some("--release"));
    if has(&ARMED) {
        build.extend(["--features", "failpoints"]);
    }
    let mut postgres = has(&["--postgres", "--take-over"])
        .then(Postgres::start)
        .transpose()
        .context("no Postgres to torture it on")?;
    cargo(&build, &[])?;
    let is_power_cut = has(&["--power-cut"]);
    if is_power_cut {
        cargo(&["build", "--locked", "--quiet", "--package", "engine", "--example", WRITER], &[])?;
    }
    if is_power_cut || has(&["--disk-errors"]) {
        debian::have("strace", "strace")?;
    }
    let binary = target()?.join(if is_release { "release" } else { "debug" }).join("botprimex");
    let mut own = vec!["--binary".to_owned(), text(&binary)?];
    if is_power_cut {
        own.extend(["--writer".to_owned(), text(&target()?.join("debug/examples").join(WRITER))?]);
    }
    if let Some(postgres) = &mut postgres {
        own.extend(["--postgres-url".to_owned(), postgres.url.clone()]);
        if has(&["--store-kills"]) {
            own.extend(["--postmaster".to_owned(), postgres.hand_over()]);
        }
    }
    let mut command = vec!["run", "--locked", "--quiet", "--package", "torture", "--"];
    command.extend(own.iter().map(String::as_str));
    command.extend(arguments);
    // What it says of its log would drown what is reported.
    cargo(&command, &[("BOTPRIMEX_LOG", "info")])
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("the target folder is not UTF-8")
}
