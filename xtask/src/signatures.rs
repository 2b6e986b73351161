//! The published webhook libraries of two makers, in two languages, verify what the built server signs, and what
//! Stripe's library signs is verified by the server.
//!
//! `engine/tests/receivers` has a proof in each language and `api/tests/senders` one of Stripe, with every version
//! pinned. A proof that exits with 0 has seen everything that it checks.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::clients::environment;
use crate::server::{Server, Talks};
use crate::{cargo, root, run, target};

/// Longer than a proof takes by far; what hangs is ended.
const PROOF_SECONDS: &str = "120";

/// What the server and Stripe are said to have agreed on.
const STRIPE_SECRET: &str = "whsec_of_the_signatures_proof";

/// Runs all proofs against one server.
pub(crate) fn prove() -> Result<()> {
    // What the tests build, the binary among it: built alone its crates would have other features, and be built anew.
    cargo(&["test", "--locked", "--workspace", "--no-run"], &[])?;
    let receivers = root()?.join("engine/tests/receivers");
    let python = environment("receivers", &receivers.join("requirements.txt"))?;
    let modules = modules(&receivers)?;
    let senders = root()?.join("api/tests/senders");
    let stripe = environment("senders", &senders.join("requirements.txt"))?;
    let node = Path::new("node");
    let proofs = [
        (python.as_path(), receivers.join("proof.py")),
        (node, receivers.join("proof.mjs")),
        (stripe.as_path(), senders.join("stripe_proof.py")),
    ];
    let folder = env::temp_dir().join(format!("botprimex-signatures-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let proven = serve_and_prove(&folder, &proofs, &modules);
    fs::remove_dir_all(&folder)?;
    proven
}

fn serve_and_prove(folder: &Path, proofs: &[(&Path, PathBuf)], modules: &Path) -> Result<()> {
    let binary = target()?.join("debug/botprimex");
    let binary = binary.to_str().context("the target folder is not UTF-8")?;
    let database = format!("sqlite://{}", folder.join("books.db").display());
    let allow = "BOTPRIMEX_WEBHOOKS__ALLOW_LOOPBACK=true";
    let stripe = format!("BOTPRIMEX_STRIPE__WEBHOOK_SECRET={STRIPE_SECRET}");
    let program =
        ["env", allow, &stripe, binary, "serve", "--listen", "127.0.0.1:0", "--database-url", &database];
    let (_server, ready) = Server::start(&program, None, "TERM", Talks::Stdout, "READY http://")?;
    let url = ready.strip_prefix("READY ").context("the server's READY line does not begin with READY")?;
    let account = admin(binary, &database, &["account", "create", "--name", "receiver"], "id")?;
    let key = admin(binary, &database, &["key", "create", "--account", &account], "key")?;
    let link = ["--account", &account, "--customer", "cus_proof", "--connect", "acct_proof"];
    admin(binary, &database, &[&["account", "link-stripe"], link.as_slice()].concat(), "id")?;
    for (program, proof) in proofs {
        run(Command::new("timeout")
            .args(["--kill-after=5", PROOF_SECONDS])
            .arg(program)
            .arg(proof)
            .envs([("BOTPRIMEX_URL", url), ("BOTPRIMEX_KEY", &key), ("STRIPE_SECRET", STRIPE_SECRET)])
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
