//! The connectors against what venues really sent.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod captures;
mod filters;
mod garbage;
mod mutations;
mod rest;
mod signatures;
mod stream;
mod trade_captures;
mod trade_rest;
mod trade_stream;

use std::path::PathBuf;

/// Recorded market data, where it is present: `BOTPRIMEX_SHARED`, or `shared` beside the workspace.
fn recorded(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BOTPRIMEX_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: the recorded data {path} is not here");
    None
}
