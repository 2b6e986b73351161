//! The engine from outside, trading on a simulated exchange.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod backlog;
mod clock;
mod commission;
mod ends;
mod exits;
mod fees;
mod filters;
mod gate;
mod late;
mod limited;
mod misattributed;
mod missed;
mod missing;
mod refused;
mod relisted;
mod restored;
mod rig;
mod silence;
mod stuck;
mod unsent;
mod untold;
mod words;
