//! Binance spot: market frames, subscriptions, metadata, and how a request is signed.
//!
//! Sources: the venue's published `web-socket-streams.md`, `rest-api.md` and `web-socket-api.md`, read
//! 2026-07-21.

mod decode;
mod error;
mod fields;
mod listing;
pub mod rest;
pub mod sign;
pub mod stream;
mod subscriptions;

pub use decode::{DecodeError, Decoder, Frame, MAX_FRAME_BYTES};
pub use subscriptions::{MAX_STREAMS, Subscriptions, SymbolId};
