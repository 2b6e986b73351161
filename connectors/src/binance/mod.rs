//! Binance spot: market frames, subscriptions and metadata; orders, the user's own stream and the limits.
//!
//! Sources: the venue's published `web-socket-streams.md`, `rest-api.md` and `web-socket-api.md`, read
//! 2026-07-21.

mod budget;
mod decode;
mod error;
mod fields;
mod filters;
pub mod klines;
mod listing;
pub mod rest;
pub mod sign;
mod socket;
pub mod stream;
mod subscriptions;
pub mod trade;
mod transport;

/// The coin that the venue takes fees in, at a discount, where the account says so and has enough of it (Binance, trading
/// fees, read 2026-11-25). Where it has not, a fee is taken from what the trade received.
pub const FEE_COIN: &str = "BNB";

pub use decode::{DecodeError, Decoder, Frame, MAX_FRAME_BYTES};
pub use subscriptions::{MAX_STREAMS, Subscriptions, SymbolId};
