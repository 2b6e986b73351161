//! The API from outside: a real server on a free port.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod account;
mod bots;
mod by_hand;
mod candles;
mod document;
mod dollars;
mod edge;
mod exchanges;
mod hooks;
mod idempotency;
mod keys;
mod limits;
mod live;
mod many;
mod portfolio;
mod preview;
mod probes;
mod receiver;
mod rules;
mod server;
mod standing;
mod stream;
mod stripe;
mod tenants;
mod trades;
mod unread;
mod webhooks;
