//! Refusals: no bytes panic, and what is said of them is one bounded line.
#![no_main]

use connectors::binance::rest::{Effect, VenueError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: (u16, bool, &[u8])| {
    let (status, is_order, body) = answer;
    let effect = if is_order { Effect::Order } else { Effect::Read };
    let told = VenueError::of_answer(effect, status, None, body).to_string();
    assert!(told.chars().count() < 300 && !told.contains('\n'), "{told}");
});
