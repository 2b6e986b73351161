//! The binary from outside: what it prints where, and the code it ends with.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::process::{Command, Output};

fn botprimex(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_botprimex"))
        .args(line.split_whitespace())
        .env_remove("BOTPRIMEX_LOG")
        .output()
        .unwrap()
}

#[test]
fn wrong_use_ends_with_two_and_talks_on_stderr() {
    for line in ["", "nonsense", "completions", "completions nonsense", "--log =,= completions bash"] {
        let output = botprimex(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        assert!(!output.stderr.is_empty(), "{line}");
    }
}

#[test]
fn help_and_version_are_data() {
    for line in ["--help", "--version", "completions --help"] {
        let output = botprimex(line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert!(!output.stdout.is_empty(), "{line}");
        assert!(output.stderr.is_empty(), "{line}");
    }
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = botprimex(&format!("completions {shell}"));
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("botprimex"), "{shell}");
    }
}
