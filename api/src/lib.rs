//! The REST facade: extract, authorise, send, answer.
//!
//! What stands so far is the edge that every request passes: the one error table ([`ApiError`]), request ids,
//! bodies that keep every digit ([`body`]), query strings and pages ([`query`]), rate limits ([`limit`]), and a
//! server that answers `/healthz` and `/metrics`. The paths under `/v1` are absent until the engine has its
//! handle.

pub mod body;
mod edge;
mod error;
pub mod limit;
pub mod query;
mod server;

pub use error::ApiError;
pub use server::{ApiConfig, Running, serve};
