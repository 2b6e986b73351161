//! The published webhook libraries of two makers, in two languages, verify what the built server signs.
//!
//! `engine/tests/receivers` has a proof in each language, with every version pinned. A proof that exits with 0 has seen
//! everything that it checks.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::clients::environment;
use crate::server::{Server, Talks};
use crate::{cargo, root, run, target};

/// Longer than a proof takes by far; what hangs is ended.
const PROOF_SECONDS: &str = "120";

/// Runs both proofs against one server.
pub(crate) fn prove() -> Result<()> {
    // What the tests build, the binary among it: built alone its crates would have other features, and be built anew.
    cargo(&["test", "--locked", "--workspace", "--no-run"], &[])?;
    let receivers = root()?.join("engine/tests/receivers");
    let python = environment("receivers", &receivers.join("requirements.txt"))?;
    let modules = modules(&receivers)?;
    let folder = env::temp_dir().join(format!("botprimex-signatures-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let proven = serve_and_prove(&folder, &receivers, &python, &modules);
    fs::remove_dir_all(&folder)?;
    proven
}

fn serve_and_prove(folder: &Path, receivers: &Path, python: &Path, modules: &Path) -> Result<()> {
    let binary = target()?.join("debug/botprimex");
    let binary = binary.to_str().context("the target folder is not UTF-8")?;
    let database = format!("sqlite://{}", folder.join("books.db").display());
    let allow = "BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK=true";
    let program = ["env", allow, binary, "serve", "--listen", "127.0.0.1:0", "--database-url", &database];
    let (_server, ready) = Server::start(&program, None, "TERM", Talks::Stdout, "READY http://")?;
    let url = ready.strip_prefix("READY ").context("the server's READY line does not begin with READY")?;
    let account = admin(binary, &database, &["account", "create", "--name", "receiver"], "id")?;
    let key = admin(binary, &database, &["key", "create", "--account", &account], "key")?;
    for (program, proof) in [(python, "proof.py"), (Path::new("node"), "proof.mjs")] {
        run(Command::new("timeout")
            .args(["--kill-after=5", PROOF_SECONDS])
            .arg(program)
            .arg(receivers.join(proof))
            .envs([("BOTPRIMEX_URL", url), ("BOTPRIMEX_KEY", &key)])
            .env("BOTPRIMEX_MODULES", modules)
            .env("PYTHONDONTWRITEBYTECODE", "1"))?;
    }
    Ok(())
}

/// A field of what `botprimex admin` answers.
fn admin(binary: &str, database: &str, arguments: &[&str], field: &str) -> Result<String> {
    let output = Command::new(binary)
        .args(["admin", "--format=json"])
        .args(arguments)
        .env("DATABASE_URL", database)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("botprimex admin {} failed", arguments.join(" "));
    }
    let text = String::from_utf8(output.stdout)?;
    let (_, rest) = text.split_once(&format!("\"{field}\"")).context("the answer lacks the field")?;
    Ok(rest.split('"').nth(1).context("the field is no text")?.to_owned())
}

/// A folder that has the modules of the lock file, made once per content of that file.
fn modules(receivers: &Path) -> Result<PathBuf> {
    let folder = target()?.join("clients/receivers-modules");
    let lock = fs::read(receivers.join("package-lock.json")).context("package-lock.json is missing")?;
    let complete = folder.join("complete");
    if fs::read(&complete).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(receivers.join(name), folder.join(name))?;
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder))?;
    fs::write(complete, lock)?;
    Ok(folder)
}
