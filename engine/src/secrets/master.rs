//! The master key: how it is spelled, where it is kept, and what is derived from it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Exchange;
use rand::RngCore as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Secret;

/// A key file's longest useful content.
const LONGEST: u64 = 1_024;

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
    /// Something is stored, and its key is not there.
    #[error(
        "exchange connections are stored, but their master key is missing: restore {}, or set master_key (BOTPRIMEX_MASTER_KEY); if it is lost for good, \
         `botprimex admin exchange forget --all` erases them",
        .0.display()
    )]
    Missing(PathBuf),
    /// Something is stored, and this is not its key.
    #[error(
        "exchange connections are stored, but {0} is not the master key that they were sealed with: \
         restore that key; if it is lost for good, `botprimex admin exchange forget --all` erases them"
    )]
    Another(String),
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

    /// The key in a file, if there is one.
    ///
    /// # Errors
    /// [`MasterKeyError`]; a file that others may read is refused.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, MasterKeyError> {
        let failed = |error| MasterKeyError::File { file: path.to_owned(), error };
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(MasterKeyError::Exposed(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::new());
        let read = file.take(LONGEST).read_to_string(&mut text);
        let no_key = || MasterKeyError::NotInFile(path.to_owned());
        match read {
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(no_key()),
            read => read.map_err(failed)?,
        };
        Self::parse(&text).map(Some).map_err(|_| no_key())
    }

    /// A key that nobody has.
    pub fn draw() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(key.as_mut());
        Self(key)
    }

    /// Draws a key and writes it to a new file that its owner alone may read.
    ///
    /// # Errors
    /// [`MasterKeyError::File`], also where there is a file already.
    pub(crate) fn make(path: &Path) -> Result<Self, MasterKeyError> {
        let key = Self::draw();
        let text = Zeroizing::new(hex::encode(key.0.as_ref()));
        let written = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
            writeln!(file, "{}", text.as_str())?;
            file.sync_all()?;
            // The name as well: a key that a power cut takes away takes every stored connection with it.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        written().map_err(|error| MasterKeyError::File { file: path.to_owned(), error })?;
        Ok(key)
    }

    /// By what a key is recognised later without telling what it is.
    pub(crate) fn check_value(&self) -> [u8; 32] {
        *self.derived("check")
    }

    /// By what an API key is recognised when somebody stores it again, without telling what it is.
    pub(crate) fn fingerprint(&self, exchange: Exchange, api_key: &Secret) -> [u8; 32] {
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
    fn a_file_is_made_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db.key");
        assert!(MasterKey::read(&path).unwrap().is_none());
        let made = MasterKey::make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(MasterKey::read(&path).unwrap().unwrap().check_value(), made.check_value());
        assert!(matches!(MasterKey::make(&path), Err(MasterKeyError::File { .. })), "never written over");
    }

    #[test]
    fn a_file_that_others_may_read_or_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db.key");
        MasterKey::make(&path).unwrap();
        for mode in [0o440, 0o404, 0o644, 0o420] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = MasterKey::read(&path).unwrap_err();
            assert!(matches!(error, MasterKeyError::Exposed(_)), "{mode:o} {error}");
            assert!(error.to_string().contains("chmod 400"), "{error}");
        }
        for content in ["", "0012", "ff", "\u{fffd}"] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::write(&path, content).unwrap();
            assert!(matches!(MasterKey::read(&path), Err(MasterKeyError::NotInFile(_))), "{content}");
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
