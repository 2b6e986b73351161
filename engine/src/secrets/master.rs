//! The master key: how it is spelled, and what is derived from it.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Exchange;
use rand::RngCore as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Secret;

/// What all stored secrets are sealed with: 256 random bits that show nothing and are wiped when let go.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Why there is no master key to go on with.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// It is too short, too long, or spelled otherwise.
    #[error("a master key is 64 hex digits, or 32 bytes as base64: make one with `openssl rand -hex 32`")]
    Malformed,
    /// It is long enough, but nobody drew it at random.
    #[error("this master key can be guessed: make one with `openssl rand -hex 32`")]
    Guessable,
    /// Others than its owner may read its file.
    #[error("{} can be read by others than its owner: `chmod 400` it, and replace the key if others are on this machine", .0.display())]
    Exposed(PathBuf),
    /// Its file holds something else.
    #[error("{} holds no master key: restore the file from your backup", .0.display())]
    NotInFile(PathBuf),
    /// Its file cannot be read or made.
    #[error("the master key's file {}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A key that is replaced would be kept there, and another one is.
    #[error("{} holds another key: move it away, and run the same again", .0.display())]
    InTheWay(PathBuf),
    /// No server has run on this store.
    #[error("there is no master key yet: the first start of a server makes one, or takes the configured one")]
    NoneYet,
    /// Something is stored, and its key is not there.
    #[error(
        "secrets are stored, but their master key is missing: restore {}, or set master_key (BOTPRIMEX_MASTER_KEY); \
         if it is lost for good, `botprimex admin exchange forget --all` erases what it sealed",
        .0.display()
    )]
    Missing(PathBuf),
    /// Something is stored, and this is not its key.
    #[error(
        "secrets are stored, but {0} is not the master key that they were sealed with: restore that key; if it is lost \
         for good, `botprimex admin exchange forget --all` erases what it sealed"
    )]
    Another(String),
    /// It was in force once, and another took its place.
    #[error("{0} is a master key that was replaced: give the one that took its place, version {1}")]
    Retired(String, i64),
    /// Part of what is stored is sealed with the next key.
    #[error(
        "the master key is being replaced, and that is not finished: run `botprimex admin master-key rotate` again as it \
         was run before, and it goes on where it stopped"
    )]
    Unfinished,
}

impl MasterKey {
    /// Reads 64 hex digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`], and [`MasterKeyError::Guessable`] for a passphrase or an example.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let bytes = Zeroizing::new(match text.len() {
            64 => hex::decode(text).map_err(|_| MasterKeyError::Malformed)?,
            _ => STANDARD.decode(text).map_err(|_| MasterKeyError::Malformed)?,
        });
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| MasterKeyError::Malformed)?;
        let key = Self(Zeroizing::new(key));
        if key.is_guessable() { Err(MasterKeyError::Guessable) } else { Ok(key) }
    }

    /// A key that nobody has.
    pub fn draw() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(key.as_mut());
        Self(key)
    }

    /// As it stands in a file.
    pub(super) fn spelled(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_ref()))
    }

    /// By what a key is recognised later without telling what it is.
    pub(crate) fn check_value(&self) -> [u8; 32] {
        *self.derived("check")
    }

    /// By what an API key is recognised when somebody stores it again, without telling what it is.
    pub(super) fn fingerprint(&self, exchange: Exchange, api_key: &Secret) -> [u8; 32] {
        let named = [exchange.as_str().as_bytes(), b"\0", api_key.expose().as_bytes()];
        keyed(&self.derived("fingerprint"), &named)
    }

    /// What kept answers are sealed with.
    pub(super) fn answers(&self) -> Zeroizing<[u8; 32]> {
        self.derived("answers")
    }

    /// What data keys are sealed with.
    pub(super) fn wrapping(&self) -> Zeroizing<[u8; 32]> {
        self.derived("wrap")
    }

    /// A key of its own for each use, so that no two uses can be played against each other.
    fn derived(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(keyed(&self.0, &[b"botprimex ", purpose.as_bytes()]))
    }

    /// Whether it looks like a passphrase, a sequence or a pattern; one in 10^14 random keys does.
    fn is_guessable(&self) -> bool {
        let bytes = self.0.as_ref();
        let distinct = bytes.iter().collect::<std::collections::BTreeSet<_>>().len();
        let mut steps = bytes.iter().zip(bytes.iter().skip(1)).map(|(one, next)| next.wrapping_sub(*one));
        let first = steps.next();
        let is_sequence = steps.all(|step| Some(step) == first);
        distinct < 12 || is_sequence || bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    }
}

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "8f1d3c5b7a9e0246c8ea0f2d4b69871533557799bbddff1020406080a0c0e001";

    #[test]
    fn a_key_reads_as_hex_or_base64() {
        let base64 = STANDARD.encode(hex::decode(HEX).unwrap());
        let (one, two) = (MasterKey::parse(HEX).unwrap(), MasterKey::parse(&format!(" {base64}\n")).unwrap());
        assert_eq!(one.check_value(), two.check_value());
        assert_eq!(one.check_value(), MasterKey::parse(&HEX.to_uppercase()).unwrap().check_value());
    }

    #[test]
    fn a_short_or_guessable_key_is_refused_with_the_remedy() {
        let base64 = |text: &[u8]| STANDARD.encode(text);
        for (text, is_malformed) in [
            (String::new(), true),
            ("0012".to_owned(), true),
            ("secret".to_owned(), true),
            (HEX[..62].to_owned(), true),
            (HEX.replace('8', "g"), true),
            (base64(&[7; 31]), true),
            ("0".repeat(64), false),
            ("deadbeef".repeat(8), false),
            ("0123456789abcdef".repeat(4), false),
            (hex::encode(std::array::from_fn::<u8, 32, _>(|n| u8::try_from(n).unwrap())), false),
            (base64(b"correct horse battery staple 123"), false),
        ] {
            let error = MasterKey::parse(&text).expect_err(&text);
            assert_eq!(matches!(error, MasterKeyError::Malformed), is_malformed, "{text}: {error}");
            assert!(error.to_string().contains("openssl rand -hex 32"), "{error}");
            assert!(text.is_empty() || !error.to_string().contains(&text), "{error}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_keys_own_and_the_masters() {
        let (one, two) =
            (MasterKey::parse(HEX).unwrap(), MasterKey::parse(&HEX.replace("01", "02")).unwrap());
        let [a, b] = ["a", "b"].map(|text| Secret::new(text.to_owned()));
        assert_eq!(one.fingerprint(Exchange::Binance, &a), one.fingerprint(Exchange::Binance, &a));
        assert_ne!(one.fingerprint(Exchange::Binance, &a), one.fingerprint(Exchange::Binance, &b));
        assert_ne!(one.fingerprint(Exchange::Binance, &a), two.fingerprint(Exchange::Binance, &a));
    }
}
