//! Third-party Binance clients, unpatched, drive the simulated venue.
//!
//! A client is two files in `venue/tests/clients`: `NAME_proof.py` and `NAME_requirements.txt`, every version
//! pinned. Each gets a virtual environment of its own and a
//! fresh venue. A proof that exits with 0 has seen everything that it checks.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::server::{Server, Talks};
use crate::{cargo, debian, root, run, target};

const CLIENTS: [&str; 3] = ["ccxt", "python_binance", "binance_sdk"];
const KEY: &str = "botprimex-client-proof-key-botprimex-client-proof-key-0123456789";
const SECRET: &str = "botprimex-client-proof-secret-botprimex-client-proof-secret-0123";
/// Longer than a proof takes by far; what hangs is ended.
const PROOF_SECONDS: &str = "120";

/// Runs every client's proof, or only the named ones.
pub(crate) fn prove(only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !CLIENTS.contains(&name.as_str())) {
        bail!("there is no client {unknown}; there are {}", CLIENTS.join(", "));
    }
    // What the tests build, the binary among it: built alone its crates would have other features, and be built anew.
    cargo(&["test", "--locked", "--workspace", "--no-run"], &[])?;
    let binary = target()?.join("debug/botprimex");
    let mut failed = Vec::new();
    for client in CLIENTS {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == client) {
            continue;
        }
        let start = Instant::now();
        match prove_one(client, &binary) {
            Ok(()) => eprintln!("xtask: client {client} passed in {} s", start.elapsed().as_secs()),
            Err(error) => {
                eprintln!("xtask: client {client} failed: {error:#}");
                failed.push(client);
            }
        }
    }
    if !failed.is_empty() {
        bail!("these clients do not agree with the venue: {}", failed.join(", "));
    }
    Ok(())
}

fn prove_one(client: &str, binary: &Path) -> Result<()> {
    let scripts = root()?.join("venue/tests/clients");
    let python = environment(client, &scripts.join(format!("{client}_requirements.txt")))?;
    let binary = binary.to_str().context("the target folder is not UTF-8")?;
    let credential = format!("{KEY}:{SECRET}");
    let program = [
        binary,
        "venue",
        "--random-walk",
        "--seed",
        "7",
        "--listen",
        "127.0.0.1:0",
        "--pairs",
        "BTC/USDT",
        "--balance",
        "USDT=100000",
        "--credential",
        &credential,
    ];
    let (_venue, ready) = Server::start(&program, None, "TERM", Talks::Stdout, "READY http://")?;
    let url = ready.strip_prefix("READY ").context("the venue's READY line does not begin with READY")?;
    run(Command::new("timeout")
        .args(["--kill-after=5", PROOF_SECONDS])
        .arg(python)
        .arg(scripts.join(format!("{client}_proof.py")))
        .envs([
            ("BOTPRIMEX_VENUE_URL", url),
            ("BOTPRIMEX_VENUE_KEY", KEY),
            ("BOTPRIMEX_VENUE_SECRET", SECRET),
        ])
        .env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// The Python of a virtual environment that has `requirements`, made once per content of that file.
pub(crate) fn environment(client: &str, requirements: &Path) -> Result<PathBuf> {
    let wanted = fs::read(requirements).with_context(|| format!("{} is missing", requirements.display()))?;
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    let folder = target()?.join("clients").join(format!("{client}-{:016x}", hasher.finish()));
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if complete.is_file() {
        return Ok(python);
    }
    // What a run that was cut off left here would be half an environment.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    create(&folder)?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(requirements))?;
    fs::write(complete, "")?;
    Ok(python)
}

fn create(folder: &Path) -> Result<()> {
    let can = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        debian::install("python3-venv")?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))
}
