//! How an API key is spelled, and by what it is known.

use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};

/// What every key begins with.
const PREFIX: &str = "bpx_live_";

/// How many letters and digits follow: 238 bits.
const LETTERS: usize = 40;

/// What a key can be allowed to do; one that names none may do everything.
pub const SCOPES: [&str; 10] = [
    "bots:read",
    "bots:write",
    "trades:read",
    "portfolio:read",
    "account:read",
    "exchanges:read",
    "exchanges:write",
    "webhooks:read",
    "webhooks:write",
    "signals:write",
];

/// A new key. It is shown once and stored as its hash.
pub fn new_key() -> String {
    let letters: String = rand::rng().sample_iter(Alphanumeric).take(LETTERS).map(char::from).collect();
    format!("{PREFIX}{letters}")
}

/// What a key is stored as and looked up by; `None` for what cannot be a key.
pub fn key_hash(key: &str) -> Option<[u8; 32]> {
    let letters = key.strip_prefix(PREFIX)?;
    let is_key = letters.len() == LETTERS && letters.bytes().all(|b| b.is_ascii_alphanumeric());
    is_key.then(|| Sha256::digest(key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_another_and_is_known_by_its_hash() {
        let (one, two) = (new_key(), new_key());
        assert_ne!(one, two);
        assert!(key_hash(&one).is_some() && key_hash(&one) != key_hash(&two));
        for bad in ["", "bpx_live_", "bpx_live_short", &one.replace("live", "test"), &format!("{one}x")] {
            assert_eq!(key_hash(bad), None, "{bad}");
        }
    }
}
