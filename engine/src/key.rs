//! How an API key is spelled, and by what it is known.

use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};

/// What every key begins with.
const PREFIX: &str = "bpx_live_";

/// How many letters and digits are its public part, by which people tell keys apart.
const PUBLIC: usize = 10;

/// How many are its secret part: 238 bits.
const SECRET: usize = 40;

/// How many spell the checksum, which tells junk from keys without asking anybody, also to those who scan for lost keys:
/// `bpx_live_[0-9A-Za-z]{10}_[0-9A-Za-z]{46}`.
const CHECKSUM: usize = 6;

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
    let letters =
        |count| rand::rng().sample_iter(Alphanumeric).take(count).map(char::from).collect::<String>();
    let body = format!("{PREFIX}{}_{}", letters(PUBLIC), letters(SECRET));
    let checksum = checksum(&body);
    format!("{body}{checksum}")
}

/// What a key is stored as and looked up by; `None` for what cannot be a key.
pub fn key_hash(key: &str) -> Option<[u8; 32]> {
    let (public, rest) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let is_spelled =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_key = is_spelled(public, PUBLIC) && is_spelled(rest, SECRET + CHECKSUM);
    let (body, sum) = key.split_at_checked(key.len().checked_sub(CHECKSUM)?)?;
    (is_key && checksum(body) == sum).then(|| Sha256::digest(key.as_bytes()).into())
}

/// The part of a key that may be shown.
pub fn key_hint(key: &str) -> String {
    key.chars().take(PREFIX.len() + PUBLIC).collect()
}

/// The CRC-32 (IEEE 802.3) of a text in base 62.
fn checksum(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let sum = crc32fast::hash(text.as_bytes());
    let digit = |place: u32| {
        let digit = sum / 62_u32.pow(place) % 62;
        DIGITS.get(digit as usize).copied().map_or('0', char::from)
    };
    [5, 4, 3, 2, 1, 0].map(digit).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_another_and_is_known_by_its_hash() {
        let (one, two) = (new_key(), new_key());
        assert_ne!(one, two);
        assert!(key_hash(&one).is_some() && key_hash(&one) != key_hash(&two));
        assert_eq!(one.len(), 66);
        assert!(one.starts_with(&key_hint(&one)) && key_hint(&one).len() == 19);
        let swapped: String = one.chars().rev().collect();
        let misheard = one.replacen(|c: char| c == one.chars().nth(25).unwrap(), "Q", 1);
        for bad in [
            "",
            "bpx_live_",
            "bpx_live_short",
            &one.replace("live", "test"),
            &format!("{one}x"),
            &swapped,
            "é",
        ] {
            assert_eq!(key_hash(bad), None, "{bad}");
        }
        assert!(misheard == one || key_hash(&misheard).is_none());
    }

    #[test]
    fn the_checksum_is_a_crc_32_of_what_stands_before_it() {
        // The check value of CRC-32/ISO-HDLC, 0xcbf43926, in base 62.
        assert_eq!(checksum("123456789"), "3jZRME");
    }
}
