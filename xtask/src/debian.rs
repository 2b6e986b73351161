//! What a chore asks of the machine: a package, an owner of a file.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Whether this process may install packages and change owners.
pub(crate) fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("id does not start")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// Installs a Debian package.
pub(crate) fn install(package: &str) -> Result<()> {
    if !is_root()? {
        bail!("the package {package} is missing; install it, or run this as root");
    }
    eprintln!("xtask: installing {package}");
    run(Command::new("apt-get").args(["-q", "update"]).stdout(Stdio::null()))?;
    run(Command::new("apt-get")
        .args(["-q", "install", "-y", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null()))
}

/// Installs a package for a program that is missing, where this process may; tests that need it say that they are
/// skipped where it may not.
pub(crate) fn have(program: &str, package: &str) -> Result<()> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let is_there = folders.iter().any(|folder| Path::new(folder).join(program).exists());
    if is_there || !is_root()? { Ok(()) } else { install(package) }
}

/// Makes `owner`, if there is one, the owner of a file.
pub(crate) fn give(path: &Path, owner: Option<&str>) -> Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    run(Command::new("chown").arg(owner).arg(path))
}
