//! `schemathesis`, from `PyPI` as `xtask/fuzz/requirements.txt` names it, asks the built server, which trades on the simulated
//! exchange, everything that its document allows and much that it does not, and checks each answer against it: no 5xx, no
//! other status, shape or header.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::alone::Alone;
use crate::server::{Server, Talks};
use crate::{cargo, clients, root, target};

/// How much is asked.
#[derive(Args, Clone, Copy)]
pub(crate) struct FuzzArguments {
    /// At least so many requests in all.
    #[arg(long, default_value_t = 10_000)]
    requests: u32,
    /// From so many seeds.
    #[arg(long, default_value_t = 3)]
    seeds: u32,
    /// The first seed, the others follow it; a new one without this.
    #[arg(long)]
    seed: Option<u32>,
}

/// The seed of [`short`].
const SAME_SEED: u32 = 2_026;

/// 2,000 requests, the step of `cargo xtask test`: always from the same seed, so that a change fails of nothing but what
/// it changed. New ones are asked for by `cargo xtask fuzz-api`.
pub(crate) fn short() -> Result<()> {
    run(FuzzArguments { requests: 2_000, seeds: 1, seed: Some(SAME_SEED) })
}

/// Runs it, seed after seed, against a new server each.
pub(crate) fn run(arguments: FuzzArguments) -> Result<()> {
    cargo(&["test", "--locked", "--workspace", "--no-run"], &[])?;
    let folder = root()?.join("xtask/fuzz");
    let python = clients::environment("schemathesis", &folder.join("requirements.txt"))?;
    let tool = python.with_file_name("schemathesis");
    let alone = Alone::new()?;
    if alone.is_none() {
        eprintln!("xtask: no network of its own can be made: test events go where made-up addresses lead");
    }
    let prefix: Vec<&str> = alone.iter().flat_map(Alone::prefix).collect();
    let first = arguments
        .seed
        .unwrap_or_else(|| u32::try_from(RandomState::new().hash_one(0) % 1_000_000).unwrap_or(1));
    let each = arguments.requests.div_ceil(arguments.seeds.max(1));
    let mut asked = 0;
    for seed in first..first + arguments.seeds {
        let mut of_seed = 0;
        // How many it makes of a schema is its own affair: what is missing is asked from a seed further on.
        let mut round = 0;
        while of_seed < each {
            of_seed += ask(&tool, &folder, &prefix, seed + round * 1_000_000)?;
            round += 1;
        }
        asked += of_seed;
    }
    eprintln!("xtask: {asked} requests, no answer against the document");
    Ok(())
}

/// One seed; how many requests were made. `prefix` stands before every command that talks to another.
fn ask(tool: &Path, folder: &Path, prefix: &[&str], seed: u32) -> Result<u32> {
    let scratch = target()?.join(format!("fuzz-api-{seed}"));
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    let botprimex = target()?.join("debug/botprimex");
    let botprimex = botprimex.to_str().context("the target folder is not UTF-8")?;
    let database = format!("DATABASE_URL=sqlite://{}", scratch.join("books.db").display());
    let market = ["--random-walk", "--seed", "7", "--speed", "60", "--listen", "127.0.0.1:0"];
    let account = ["--pairs", "BTC/USDT,ETH/USDT", "--credential", "SIMKEY:SIMSECRET"];
    let program = [prefix, &[botprimex, "venue"], &market, &account].concat();
    let (_venue, ready) = Server::start(&program, None, "TERM", Talks::Stdout, "READY http://")?;
    let venue =
        ready.strip_prefix("READY http://").context("the venue's READY line does not tell where it is")?;
    let settings = [
        database.clone(),
        "BOTPRIMEX_LOG=warn".to_owned(),
        format!("BOTPRIMEX_VENUES__BINANCE__REST_URL=http://{venue}"),
        format!("BOTPRIMEX_VENUES__BINANCE__STREAM_URL=ws://{venue}"),
        format!("BOTPRIMEX_VENUES__BINANCE__WS_API_URL=ws://{venue}/ws-api/v3"),
        // The plan's limit is not what is asked for here.
        "BOTPRIMEX_API__PLAN_LIMITS__STANDARD=1000000".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let program = [prefix, &["env"], &settings, &[botprimex, "serve", "--listen", "127.0.0.1:0"]].concat();
    let (_server, ready) = Server::start(&program, None, "TERM", Talks::Stdout, "READY http://")?;
    let url = ready.strip_prefix("READY ").context("the server's READY line does not begin with READY")?;
    let admin = |arguments: &[&str], field: &str| {
        let (name, value) = database.split_once('=').unwrap_or_default();
        let told = Command::new(botprimex)
            .args(["admin", "--format", "json"])
            .args(arguments)
            .env(name, value)
            .output()?;
        let told = String::from_utf8(told.stdout)?;
        let told = told.split(&format!("\"{field}\":")).nth(1).and_then(|rest| rest.split('"').nth(1));
        told.map(str::to_owned).with_context(|| format!("admin {arguments:?} does not tell its {field}"))
    };
    let account = admin(&["account", "create", "--name", "fuzz"], "id")?;
    let key = admin(&["key", "create", "--account", &account], "key")?;
    let output = Command::new("env")
        .args(prefix)
        .arg(tool)
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &format!("{url}/v1/openapi.json"), "--url", url, "--continue-on-failure"])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "30"])
        .args([
            "--seed",
            &seed.to_string(),
            "--no-color",
            "--header",
            &format!("Authorization: Bearer {key}"),
        ])
        .current_dir(&scratch)
        .output()
        .context("schemathesis does not start")?;
    let report = String::from_utf8_lossy(&output.stdout);
    fs::write(scratch.join("report.txt"), report.as_bytes())?;
    if !output.status.success() {
        eprintln!("{report}{}", String::from_utf8_lossy(&output.stderr));
        bail!("seed {seed}: an answer is against the document: cargo xtask fuzz-api --seed {seed} --seeds 1");
    }
    let made = report.lines().find_map(|line| line.trim().split_once(" generated,")?.0.parse().ok());
    let made =
        made.with_context(|| format!("seed {seed}: the report does not tell how many requests were made"))?;
    eprintln!("xtask: seed {seed}: {made} requests");
    Ok(made)
}
