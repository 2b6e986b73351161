//! What must never be seen: held in memory under a type that shows nothing and is wiped, and sealed before it is
//! stored.
//!
//! An envelope: each record has a random data key of its own, which seals the record's fields and is itself sealed
//! with the [`MasterKey`]. What is sealed is bound to its account, its record, its field and the master key's
//! version, so that a row copied to another account, or a field to another column, does not open.

mod answer;
mod master;
mod record;

pub use master::{MasterKey, MasterKeyError};

pub(crate) use record::SealedRecord;

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use model::{AccountId, ExchangeId};
use rand::RngCore as _;
use zeroize::Zeroizing;

/// The master key's version that new records are sealed under.
pub(crate) const KEY_VERSION: i64 = 1;

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
    #[error("it was sealed under master key version {0}, and this program has version {KEY_VERSION}")]
    Version(i64),
    /// It was erased when its connection was deleted.
    #[error("it was erased")]
    Erased,
    /// The key or what it is bound to differs.
    #[error("the master key is another than it was sealed with, or its row was changed")]
    Sealed,
}

impl MasterKey {
    /// Seals a credential for one record of one account.
    pub(crate) fn seal(
        &self,
        account: AccountId,
        id: ExchangeId,
        credential: &ApiCredential,
    ) -> SealedCredential {
        let bound = |field| bound(account, id, field, KEY_VERSION);
        let mut data_key = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(data_key.as_mut());
        let sealed = |field, text: &Secret| seal(&data_key, &bound(field), text.expose().as_bytes());
        SealedCredential {
            key_version: KEY_VERSION,
            data_key: seal(&self.wrapping(), &bound("data_key"), data_key.as_ref()),
            api_key: sealed("api_key", &credential.api_key),
            api_secret: sealed("api_secret", &credential.api_secret),
        }
    }

    /// Opens what [`MasterKey::seal`] sealed for the same record of the same account.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open(
        &self,
        account: AccountId,
        id: ExchangeId,
        sealed: &SealedCredential,
    ) -> Result<ApiCredential, OpenError> {
        if sealed.data_key.is_empty() {
            return Err(OpenError::Erased);
        }
        if sealed.key_version != KEY_VERSION {
            return Err(OpenError::Version(sealed.key_version));
        }
        let bound = |field| bound(account, id, field, sealed.key_version);
        let data_key = open(&self.wrapping(), &bound("data_key"), &sealed.data_key)?;
        let data_key =
            Zeroizing::new(<[u8; 32]>::try_from(data_key.as_slice()).map_err(|_| OpenError::Sealed)?);
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

    fn master(last: &str) -> MasterKey {
        MasterKey::parse(&format!("8f1d3c5b7a9e0246c8ea0f2d4b69871533557799bbddff1020406080a0c0e0{last}"))
            .unwrap()
    }

    fn credential() -> ApiCredential {
        ApiCredential {
            api_key: Secret::new("public".to_owned()),
            api_secret: Secret::new("hidden".to_owned()),
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_own_record_alone() {
        let master = master("01");
        let sealed = master.seal(ACCOUNT, ID, &credential());
        let opened = master.open(ACCOUNT, ID, &sealed).unwrap();
        assert_eq!((opened.api_key.expose(), opened.api_secret.expose()), ("public", "hidden"));

        let refused = |key: &MasterKey, account, id, sealed: &SealedCredential| {
            key.open(account, id, sealed).expect_err("it must not open")
        };
        assert_eq!(refused(&self::master("02"), ACCOUNT, ID, &sealed), OpenError::Sealed);
        assert_eq!(refused(&master, AccountId::from_u128(9), ID, &sealed), OpenError::Sealed);
        assert_eq!(refused(&master, ACCOUNT, ExchangeId::from_u128(9), &sealed), OpenError::Sealed);
        let swapped = SealedCredential {
            api_key: sealed.api_secret.clone(),
            api_secret: sealed.api_key.clone(),
            ..sealed.clone()
        };
        assert_eq!(refused(&master, ACCOUNT, ID, &swapped), OpenError::Sealed);
        let newer = SealedCredential { key_version: 2, ..sealed.clone() };
        assert_eq!(refused(&master, ACCOUNT, ID, &newer), OpenError::Version(2));
        let erased = SealedCredential { data_key: Vec::new(), api_key: Vec::new(), ..sealed.clone() };
        assert_eq!(refused(&master, ACCOUNT, ID, &erased), OpenError::Erased);
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let master = master("01");
        let sealed = master.seal(ACCOUNT, ID, &credential());
        for part in 0..3 {
            let length = [&sealed.data_key, &sealed.api_key, &sealed.api_secret][part].len();
            for byte in 0..length {
                let mut changed = sealed.clone();
                [&mut changed.data_key, &mut changed.api_key, &mut changed.api_secret][part][byte] ^= 1;
                assert_eq!(
                    master.open(ACCOUNT, ID, &changed).err(),
                    Some(OpenError::Sealed),
                    "{part} {byte}"
                );
            }
        }
    }

    #[test]
    fn the_same_credential_is_sealed_differently_each_time() {
        let master = master("01");
        let (one, two) = (master.seal(ACCOUNT, ID, &credential()), master.seal(ACCOUNT, ID, &credential()));
        assert!(one.data_key != two.data_key && one.api_secret != two.api_secret);
    }

    #[test]
    fn what_is_held_shows_nothing() {
        let shown = format!("{:?} {:?}", credential(), master("01"));
        assert!(!shown.contains("public") && !shown.contains("hidden") && !shown.contains("8f1d"), "{shown}");
    }
}
