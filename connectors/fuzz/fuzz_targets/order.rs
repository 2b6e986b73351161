//! Orders and executions: no bytes panic, and every fill of an order is that order's.
#![no_main]

use connectors::binance::trade::{read_executions, read_order, read_orders};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let order = read_order(body);
    for order in order.into_iter().chain(read_orders(body).unwrap_or_default()) {
        assert!(order.fills.iter().all(|fill| fill.venue_order_id == order.venue_order_id), "{order:?}");
    }
    let _ = read_executions(body);
});
