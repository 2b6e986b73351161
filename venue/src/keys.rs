//! Who may sign, and whether a signature is good.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::Sha256;

use crate::config::Config;

/// What an Ed25519 public key begins with in DER (RFC 8410).
const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key whose requests are signed with Ed25519: the venue knows no secret of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// As requests name it.
    pub key: String,
    /// What verifies its signatures.
    pub ed25519: [u8; 32],
}

/// Why a text is no public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no Ed25519 public key in PEM")]
pub struct KeyError;

impl PublicKey {
    /// From PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(key: impl Into<String>, pem: &str) -> Result<Self, KeyError> {
        let mut lines = pem.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some("-----BEGIN PUBLIC KEY-----") {
            return Err(KeyError);
        }
        let text: String = lines.by_ref().take_while(|line| !line.starts_with("-----END")).collect();
        let der = BASE64.decode(text).map_err(|_| KeyError)?;
        let bytes = der.strip_prefix(&DER_PREFIX).ok_or(KeyError)?;
        Ok(Self { key: key.into(), ed25519: bytes.try_into().map_err(|_| KeyError)? })
    }
}

/// How an account signs.
#[derive(Clone)]
enum Signer {
    Hmac(String),
    Ed25519([u8; 32]),
}

/// One account's key.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    signer: Signer,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Key {
    /// The keys of all accounts, in their order.
    pub(crate) fn of(config: &Config) -> Vec<Self> {
        let shared = config.credentials.iter().map(|credential| Self {
            name: credential.key.clone(),
            signer: Signer::Hmac(credential.secret.clone()),
        });
        let public = config
            .public_keys
            .iter()
            .map(|known| Self { name: known.key.clone(), signer: Signer::Ed25519(known.ed25519) });
        shared.chain(public).collect()
    }

    /// Whether it may log a socket on: only those may whose secret never leaves its owner.
    pub(crate) const fn can_log_on(&self) -> bool {
        matches!(self.signer, Signer::Ed25519(_))
    }

    /// Whether a signature is this key's and of that text: hex of HMAC-SHA256, or base64 of Ed25519.
    pub(crate) fn has_signed(&self, payload: &str, signature: &str) -> bool {
        match &self.signer {
            Signer::Hmac(secret) => {
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
                mac.update(payload.as_bytes());
                hex::decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
            }
            Signer::Ed25519(public) => {
                let public = UnparsedPublicKey::new(&ED25519, public);
                let signature = BASE64.decode(signature);
                signature.is_ok_and(|signature| public.verify(payload.as_bytes(), &signature).is_ok())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hmac(secret: &str) -> Key {
        Key { name: "key".to_owned(), signer: Signer::Hmac(secret.to_owned()) }
    }

    #[test]
    fn the_published_examples_are_good() {
        let key = hmac("NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j");
        let payload = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
        let signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71";
        assert!(key.has_signed(payload, signature));
        assert!(key.has_signed(payload, &signature.to_uppercase()));
        assert!(!key.has_signed(&payload.replace("price=0.1", "price=0.2"), signature));
        assert!(!hmac("other").has_signed(payload, signature));
        for nonsense in ["", "c8db", "zz"] {
            assert!(!key.has_signed(payload, nonsense));
        }
    }

    #[test]
    fn a_public_key_is_read_or_refused() {
        // RFC 8410, section 10.1.
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let key = PublicKey::from_pem("key", pem).unwrap();
        assert_eq!(
            hex::encode(key.ed25519),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
        );
        for bad in [
            "",
            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
            &pem.replace("PUBLIC", "PRIVATE"),
            &pem.replace("MCow", "MCox"),
            &pem.replace("ZuE=", ""),
            &pem.replace('G', "!"),
        ] {
            assert_eq!(PublicKey::from_pem("key", bad), Err(KeyError), "{bad}");
        }
    }
}
