//! The REST facade: extract, authorise, send, answer.
//!
//! Every request passes one edge: the one error table ([`ApiError`]), request ids, bodies that keep every digit
//! ([`body`]), query strings and pages ([`query`]), rate limits ([`limit`]). What is under `/v1` asks the engine
//! through its one handle; no trading logic is here.

mod access;
pub mod body;
mod connections;
mod edge;
mod error;
mod headers;
pub mod limit;
mod metrics;
mod openapi;
mod paced;
pub mod query;
mod server;
mod v1;

pub use access::AccessConfig;
pub use error::ApiError;
pub use metrics::{HTTP_REQUEST_SECONDS, Metrics};
pub use openapi::document as openapi_document;
pub use server::{ApiConfig, Running, serve};
