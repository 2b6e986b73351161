//! `botprimex backtest` as a quant runs it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const BOT: &str = r#"{"name":"BTC DCA Bot","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;

const HISTORY: &str = "timestamp,price\n1775044800,100\n1775044860,98\n1775044920,95\n1775131380,101\n";

fn run(folder: &Path, more: &[&str]) -> Output {
    std::fs::write(folder.join("bot.json"), BOT).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_botprimex"));
    command.current_dir(folder).args(["backtest", "--bot", "bot.json"]).args(more).output().unwrap()
}

#[test]
fn a_history_becomes_a_report_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("history.csv"), HISTORY).unwrap();
    let flags = ["--data", "history.csv", "--lot-step", "0.001", "--tick-size", "0.01"];
    let done = run(folder.path(), &[&flags[..], &["--format", "json"]].concat());
    assert!(done.status.success(), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["stats"]["trades"], &report["data"]["ticks"]), (&1.into(), &4.into()));
    // 0.500 @ 100, 0.511 @ 98, 0.527 @ 95, sold @ 101.
    assert_eq!(report["stats"]["profit"].to_string(), "4.889519");
    let again = run(folder.path(), &[&flags[..], &["--format", "json"]].concat());
    assert_eq!(done.stdout, again.stdout, "byte for byte");
    let shown = run(folder.path(), &[&flags[..], &["--benchmark", "hold"]].concat());
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in ["Trades                   1 closed, 0 open", "Buy and hold             1 %"] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
}

#[track_caller]
fn check(done: &Output, code: i32, words: &[&str]) {
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(code), "{told}");
    assert!(done.stdout.is_empty() && words.iter().all(|word| told.contains(word)), "{told}");
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.csv"), "timestamp,price\n1775044800,100\n1775044860,NaN\n")
        .unwrap();
    std::fs::write(folder.path().join("good.csv"), HISTORY).unwrap();
    std::fs::write(folder.path().join("empty.csv"), "").unwrap();
    check(&run(folder.path(), &["--data", "bad.csv"]), 1, &["bad.csv", "3"]);
    check(&run(folder.path(), &["--data", "empty.csv"]), 1, &["empty.csv"]);
    check(&run(folder.path(), &["--data", "absent.csv"]), 1, &["absent.csv"]);
    check(&run(folder.path(), &["--data", "good.csv", "--from", "2030-01-01"]), 1, &["--from"]);
    check(&run(folder.path(), &["--data", "good.csv", "--from", "soon"]), 2, &["soon"]);
    check(&run(folder.path(), &["--data", "good.csv", "--fee", "120"]), 2, &["--fee", "120"]);
    check(&run(folder.path(), &["--data", "good.csv", "--min-notional", "60"]), 1, &["stake_amount"]);
    check(&run(folder.path(), &[]), 2, &["--data"]);
}
