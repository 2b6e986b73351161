//! Market frames: no bytes panic, and what came before never shows.
#![no_main]

use std::cell::RefCell;

use connectors::binance::{Decoder, Subscriptions};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static USED: RefCell<(Decoder, Subscriptions)> = RefCell::new((Decoder::new(), symbols()));
}

fn symbols() -> Subscriptions {
    let mut symbols = Subscriptions::new();
    for pair in ["BTC/USDT", "NKN/USDT", "BLZ/ETH", "LRC/BTC", "RUNE/EUR", "BNB/BTC"] {
        symbols.add(&pair.parse().expect("a pair"));
    }
    symbols
}

fuzz_target!(|frame: &[u8]| {
    USED.with_borrow_mut(|(used, symbols)| {
        assert_eq!(used.decode(frame, symbols), Decoder::new().decode(frame, symbols));
    });
});
