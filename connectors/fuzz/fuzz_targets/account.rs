//! Accounts and what a key may do: no bytes panic, and no coin is told of which there is none.
#![no_main]

use connectors::binance::trade::{read_account, read_restrictions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(account) = read_account(body) {
        assert!(
            account.balances.iter().all(|one| !(one.free.is_zero() && one.locked.is_zero())),
            "{account:?}"
        );
    }
    let _ = read_restrictions(body);
});
