//! The built binary, started as a user starts it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod accounts;
mod backtest;
mod canary;
mod demo;
mod fees;
mod five_minutes;
mod half_open;
mod idempotency;
mod master_key;
mod openapi;
mod operators;
mod process;
mod serve;
mod signals;
mod stores;
