//! Venue protocols: bytes to model and back, a folder per venue.
//!
//! Protocol knowledge and nothing else: no bots, no actors, no store.

pub mod binance;
