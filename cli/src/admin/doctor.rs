//! `botprimex admin doctor`: what an operator checks first.

use std::fmt::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::bail;
use engine::Finding;
use serde_json::{Value, json};

use crate::args::AdminArgs;
use crate::config::Config;
use crate::output::{self, Format};
use crate::serve;

/// Less room than this on the database's disk is too little: the log alone may need it.
const LEAST_FREE: u64 = 512 * 1_024 * 1_024;

/// Looks at everything, and says what it found, a line each.
///
/// # Errors
/// Where something is wrong.
pub(super) async fn run(config: &Config, args: &AdminArgs) -> anyhow::Result<()> {
    let source = match &args.config.config {
        Some(file) => format!("{} and the environment", file.display()),
        None => "the environment; no --config file".to_owned(),
    };
    let mut findings = vec![Finding::good("configuration", format!("read from {source}"))];
    findings.extend(engine::examine(&serve::engine_config(config)?).await);
    findings.push(egress(&config.egress_addresses));
    findings.extend(disk(&config.database_url));
    let wrong = findings.iter().filter(|finding| !finding.is_ok).count();
    show(args.format, &findings)?;
    if wrong > 0 {
        bail!("{wrong} of {} checks found something wrong", findings.len());
    }
    Ok(())
}

fn show(format: Format, findings: &[Finding]) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let rows: Vec<Value> = findings
                .iter()
                .map(|finding| json!({"check": finding.check, "ok": finding.is_ok, "message": finding.message}))
                .collect();
            output::json(&rows)
        }
        Format::Table => {
            let mut lines = String::new();
            for Finding { check, is_ok, message } in findings {
                let verdict = if *is_ok { "ok   " } else { "WRONG" };
                writeln!(lines, "{verdict}  {check:<14}  {message}")?;
            }
            output::bytes(lines.as_bytes())
        }
    }
}

/// The addresses that users bind their exchange keys to.
fn egress(configured: &[IpAddr]) -> Finding {
    const CHECK: &str = "egress";
    // No packet is sent: the system only says from where one would leave.
    let local = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
        socket.connect(("203.0.113.1", 443))?;
        socket.local_addr()
    });
    let local = local.map_or_else(|_| "no known address".to_owned(), |address| address.ip().to_string());
    if configured.is_empty() {
        let message = format!(
            "egress_addresses is not set: users are not told what to bind their exchange keys to (requests leave from {local})"
        );
        return Finding::good(CHECK, message);
    }
    let told: Vec<String> = configured.iter().map(ToString::to_string).collect();
    Finding::good(CHECK, format!("users are told {}; requests leave from {local}", told.join(", ")))
}

/// The room on the disk that the database is on.
fn disk(database_url: &str) -> Option<Finding> {
    const CHECK: &str = "disk";
    let file = engine::database_file(database_url)?;
    let file = std::path::absolute(&file).unwrap_or(file);
    let folder = file
        .ancestors()
        .skip(1)
        .find(|folder| folder.is_dir())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    let free = match free(&folder) {
        Ok(free) => free,
        Err(error) => return Some(Finding::bad(CHECK, format!("{}: {error}", folder.display()))),
    };
    let shown = format!("{} MiB free in {}", free / (1_024 * 1_024), folder.display());
    let is_enough = free >= LEAST_FREE;
    Some(if is_enough {
        Finding::good(CHECK, shown)
    } else {
        Finding::bad(CHECK, format!("{shown}: make room for {} MiB at least", LEAST_FREE / (1_024 * 1_024)))
    })
}

#[cfg(target_os = "linux")]
fn free(folder: &Path) -> std::io::Result<u64> {
    let told = rustix::fs::statvfs(folder)?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(not(target_os = "linux"))]
fn free(_: &Path) -> std::io::Result<u64> {
    Ok(u64::MAX)
}
