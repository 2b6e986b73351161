//! Listings: no bytes panic, and every market that is read has a grid.
#![no_main]

use connectors::binance::rest::listed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for market in listed(body).unwrap_or_default() {
        assert!(!market.lot_step.is_zero() && market.tick_size.e8() > 0, "{market:?}");
    }
});
