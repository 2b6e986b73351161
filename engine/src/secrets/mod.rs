//! What must never be seen: held in memory under a type that shows nothing and is wiped, and sealed before it is
//! stored.
//!
//! An envelope: each record has a random data key of its own, which seals the record's fields and is itself sealed
//! with the [`MasterKey`]. What is sealed is bound to its account, its record, its field and the master key's
//! version, so that a row copied to another account, or a field to another column, does not open.

mod answer;
mod file;
mod master;
mod record;

pub use master::{MasterKey, MasterKeyError};

pub(crate) use answer::SealedAnswer;
pub(crate) use file::{replace, settle, with_end};
pub(crate) use record::SealedRecord;

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use model::{AccountId, Exchange, ExchangeId};
use rand::RngCore as _;
use zeroize::Zeroizing;

/// Bytes of a nonce, which stands before what it sealed; random ones do not repeat at this length.
const NONCE: usize = 24;

/// A text that must not be seen: it shows nothing, cannot be serialised, and is wiped when it is let go.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for whoever signs with it or hands it to a venue.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a venue gave an account to sign its requests with.
#[derive(Clone, Debug)]
pub struct ApiCredential {
    /// The half that travels with every request.
    pub api_key: Secret,
    /// The half that signs: an HMAC secret, or an Ed25519 private key as PEM.
    pub api_secret: Secret,
}

/// A credential as it is stored; without the master key it is noise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SealedCredential {
    /// Under which version of the master key.
    pub key_version: i64,
    /// The record's data key, sealed with the master key.
    pub data_key: Vec<u8>,
    /// Sealed with the data key.
    pub api_key: Vec<u8>,
    /// Sealed with the data key.
    pub api_secret: Vec<u8>,
}

/// Why what is stored does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// It is from another generation of the master key.
    #[error("it was sealed under master key version {sealed}, and version {current} is in force")]
    Version {
        /// Under which it was sealed.
        sealed: i64,
        /// Which would open it.
        current: i64,
    },
    /// It was erased when its connection was deleted.
    #[error("it was erased")]
    Erased,
    /// The key or what it is bound to differs.
    #[error("the master key is another than it was sealed with, or its row was changed")]
    Sealed,
}

/// Seals what is stored, and opens it again, with one version of the master key.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    master: MasterKey,
    version: i64,
}

impl Vault {
    /// With this key, which is of this version.
    pub(crate) const fn new(master: MasterKey, version: i64) -> Self {
        Self { master, version }
    }

    /// By what an API key is recognised when somebody stores it again, without telling what it is.
    pub(crate) fn fingerprint(&self, exchange: Exchange, api_key: &Secret) -> [u8; 32] {
        self.master.fingerprint(exchange, api_key)
    }

    /// Seals a credential for one record of one account.
    pub(crate) fn seal(
        &self,
        account: AccountId,
        id: ExchangeId,
        credential: &ApiCredential,
    ) -> SealedCredential {
        let bound = |field| bound(account, id, field, self.version);
        let data_key = new_data_key();
        let sealed = |field, text: &Secret| seal(&data_key, &bound(field), text.expose().as_bytes());
        SealedCredential {
            key_version: self.version,
            data_key: seal(&self.master.wrapping(), &bound("data_key"), data_key.as_ref()),
            api_key: sealed("api_key", &credential.api_key),
            api_secret: sealed("api_secret", &credential.api_secret),
        }
    }

    /// Opens what [`Vault::seal`] sealed for the same record of the same account.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open(
        &self,
        account: AccountId,
        id: ExchangeId,
        sealed: &SealedCredential,
    ) -> Result<ApiCredential, OpenError> {
        let bound = |field| bound(account, id, field, self.version);
        let data_key = self.open_data_key(sealed.key_version, &bound("data_key"), &sealed.data_key)?;
        let text = |field, sealed: &[u8]| {
            let text = open(&data_key, &bound(field), sealed)?;
            let text = std::str::from_utf8(&text).map_err(|_| OpenError::Sealed)?;
            Ok(Secret::new(text.to_owned()))
        };
        Ok(ApiCredential {
            api_key: text("api_key", &sealed.api_key)?,
            api_secret: text("api_secret", &sealed.api_secret)?,
        })
    }

    fn open_data_key(
        &self,
        version: i64,
        bound: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, OpenError> {
        if sealed.is_empty() {
            return Err(OpenError::Erased);
        }
        self.check_version(version)?;
        let data_key = open(&self.master.wrapping(), bound, sealed)?;
        <[u8; 32]>::try_from(data_key.as_slice()).map(Zeroizing::new).map_err(|_| OpenError::Sealed)
    }

    fn check_version(&self, sealed: i64) -> Result<(), OpenError> {
        let current = self.version;
        if sealed == current { Ok(()) } else { Err(OpenError::Version { sealed, current }) }
    }
}

fn new_data_key() -> Zeroizing<[u8; 32]> {
    let mut data_key = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(data_key.as_mut());
    data_key
}

/// What a sealed field is bound to. No part holds a zero byte, so no two of these are alike.
fn bound(account: AccountId, id: impl fmt::Display, field: &str, version: i64) -> Vec<u8> {
    format!("{account}\0{id}\0{field}\0{version}").into_bytes()
}

/// The nonce, and after it what it sealed.
fn seal(key: &[u8; 32], bound: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    rand::rng().fill_bytes(&mut nonce);
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound });
    [&nonce[..], &sealed.expect("a text in memory is shorter than the cipher's limit of 256 GiB")].concat()
}

fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(OpenError::Sealed)?;
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    let plain = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: bound });
    plain.map(Zeroizing::new).map_err(|_| OpenError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId::from_u128(1);
    const ID: ExchangeId = ExchangeId::from_u128(2);

    fn vault(last: &str, version: i64) -> Vault {
        let text = format!("8f1d3c5b7a9e0246c8ea0f2d4b69871533557799bbddff1020406080a0c0e0{last}");
        Vault::new(MasterKey::parse(&text).unwrap(), version)
    }

    fn credential() -> ApiCredential {
        ApiCredential {
            api_key: Secret::new("public".to_owned()),
            api_secret: Secret::new("hidden".to_owned()),
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_own_record_alone() {
        let vault = vault("01", 1);
        let sealed = vault.seal(ACCOUNT, ID, &credential());
        let opened = vault.open(ACCOUNT, ID, &sealed).unwrap();
        assert_eq!((opened.api_key.expose(), opened.api_secret.expose()), ("public", "hidden"));

        let refused = |vault: &Vault, account, id, sealed: &SealedCredential| {
            vault.open(account, id, sealed).expect_err("it must not open")
        };
        assert_eq!(refused(&self::vault("02", 1), ACCOUNT, ID, &sealed), OpenError::Sealed);
        assert_eq!(refused(&vault, AccountId::from_u128(9), ID, &sealed), OpenError::Sealed);
        assert_eq!(refused(&vault, ACCOUNT, ExchangeId::from_u128(9), &sealed), OpenError::Sealed);
        let swapped = SealedCredential {
            api_key: sealed.api_secret.clone(),
            api_secret: sealed.api_key.clone(),
            ..sealed.clone()
        };
        assert_eq!(refused(&vault, ACCOUNT, ID, &swapped), OpenError::Sealed);
        let newer = SealedCredential { key_version: 2, ..sealed.clone() };
        let version = OpenError::Version { sealed: 2, current: 1 };
        assert_eq!(refused(&vault, ACCOUNT, ID, &newer), version);
        // A version that is only claimed does not open either.
        assert_eq!(refused(&self::vault("01", 2), ACCOUNT, ID, &newer), OpenError::Sealed);
        let erased = SealedCredential { data_key: Vec::new(), api_key: Vec::new(), ..sealed.clone() };
        assert_eq!(refused(&vault, ACCOUNT, ID, &erased), OpenError::Erased);
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let vault = vault("01", 1);
        let sealed = vault.seal(ACCOUNT, ID, &credential());
        for part in 0..3 {
            let length = [&sealed.data_key, &sealed.api_key, &sealed.api_secret][part].len();
            for byte in 0..length {
                let mut changed = sealed.clone();
                [&mut changed.data_key, &mut changed.api_key, &mut changed.api_secret][part][byte] ^= 1;
                assert_eq!(vault.open(ACCOUNT, ID, &changed).err(), Some(OpenError::Sealed), "{part} {byte}");
            }
        }
    }

    #[test]
    fn the_same_credential_is_sealed_differently_each_time() {
        let vault = vault("01", 1);
        let (one, two) = (vault.seal(ACCOUNT, ID, &credential()), vault.seal(ACCOUNT, ID, &credential()));
        assert!(one.data_key != two.data_key && one.api_secret != two.api_secret);
    }

    #[test]
    fn what_is_held_shows_nothing() {
        let shown = format!("{:?} {:?}", credential(), vault("01", 1));
        assert!(!shown.contains("public") && !shown.contains("hidden") && !shown.contains("8f1d"), "{shown}");
    }
}
