//! The README's section "Five minutes", run as it stands: its commands are taken from the page, and only the ports are
//! others.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The commands of the section: what is indented below its steps.
fn commands() -> String {
    let readme = include_str!("../../../README.md");
    let section =
        readme.split("## Five minutes\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("       "));
    // The binary under test is built already.
    lines.filter(|line| !line.starts_with("cargo build")).fold(String::new(), |text, line| text + line + "\n")
}

/// Ports that nobody has, held until the last was found.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|at| held[at].local_addr().unwrap().port())
}

#[test]
fn the_commands_of_the_five_minutes_end_with_a_profit_that_was_told_of() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_botprimex"));
    let folder = tempfile::tempdir().unwrap();
    let mut script = commands();
    assert!(script.contains("botprimex serve") && script.contains("/stop"), "{script}");
    let ports = free_ports::<3>();
    for (documented, free) in ["8080", "8081", "8082"].iter().zip(ports) {
        script = script.replace(documented, &free.to_string());
    }
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash")
        .args(["-euo", "pipefail"])
        .current_dir(&folder)
        .env("PATH", path)
        .env("BOTPRIMEX_LOG", "warn")
        .env_remove("DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A listener that goes on by itself is ended with the page; `tail` is ended by what it writes to.
    let script = format!("trap 'kill $(jobs -p)' EXIT\nset +o pipefail\n{script}");
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let ran = bash.wait_with_output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{complained}");
    let told = std::fs::read_to_string(folder.path().join("webhooks.log")).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["bot.started", "trade.opened", "trade.closed"], "{said}");
    assert!(
        said.contains("\"exit_reason\": \"take_profit\"") && said.contains("\"stopped\""),
        "{said}\n{complained}"
    );
}
