//! How a request is signed: HMAC-SHA256 in lower-case hex, or Ed25519 in base64, over the parameters as they are sent.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::Ed25519KeyPair;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::budget::AccountTag;

/// An API key and the secret that belongs to it. The secret is wiped from memory when it is dropped, and neither can
/// be printed.
#[derive(Clone)]
pub struct Credential {
    key: String,
    secret: Zeroizing<String>,
}

/// A secret that is of no form that the venue has. It says nothing of the secret itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// No text at all.
    #[error("the key or its secret is empty")]
    Empty,
    /// A key of bytes that no header can carry.
    #[error("the key holds characters that cannot be sent")]
    Key,
    /// A PEM that is no Ed25519 private key in PKCS8.
    #[error("the secret is no Ed25519 private key (PKCS8 PEM)")]
    Pem,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Credential {
    /// A key and its secret: the text of an HMAC secret, or an Ed25519 private key as PKCS8 PEM.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn new(key: impl Into<String>, secret: impl Into<String>) -> Result<Self, SecretError> {
        let (key, secret) = (key.into(), Zeroizing::new(secret.into()));
        if key.is_empty() || secret.is_empty() {
            return Err(SecretError::Empty);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::Key);
        }
        let credential = Self { key, secret };
        credential.try_signer()?;
        Ok(credential)
    }

    /// The key, which is sent with every signed request.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whose orders are counted: the key's fingerprint.
    pub fn account(&self) -> AccountTag {
        let digest = Sha256::digest(self.key.as_bytes());
        AccountTag(digest.iter().take(8).fold(0, |tag, byte| tag << 8 | u64::from(*byte)))
    }

    /// What signs for it.
    ///
    /// # Panics
    /// Never: the secret was read when the credential was made.
    pub fn signer(&self) -> Signer {
        self.try_signer().expect("the secret was read before")
    }

    fn try_signer(&self) -> Result<Signer, SecretError> {
        if !self.secret.contains(PEM_BEGIN) {
            return Ok(Signer::new(&self.secret));
        }
        let pem = self.secret.trim().strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix(PEM_END));
        let pem = pem.ok_or(SecretError::Pem)?;
        // Of its full size from the start: what grows leaves copies behind.
        let mut base64 = Zeroizing::new(String::with_capacity(pem.len()));
        pem.split_whitespace().for_each(|line| base64.push_str(line));
        let der = Zeroizing::new(STANDARD.decode(base64.as_bytes()).map_err(|_| SecretError::Pem)?);
        // What openssl writes has no public key in it, so there is none to compare with.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| SecretError::Pem)?;
        Ok(Signer(Kind::Ed25519(Arc::new(pair))))
    }
}

/// How a PKCS8 PEM begins.
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";

/// How a PKCS8 PEM ends.
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// A keyed signer. The key cannot be read back or printed.
#[derive(Clone)]
pub struct Signer(Kind);

#[derive(Clone)]
enum Kind {
    Hmac(Hmac<Sha256>),
    Ed25519(Arc<Ed25519KeyPair>),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    /// A signer for an HMAC secret.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length.
    pub fn new(secret: &str) -> Self {
        Self(Kind::Hmac(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length")))
    }

    /// Signs a REST request: its query text followed by its body text, as sent. An Ed25519 signature is base64, so it
    /// has to be percent-encoded where it is appended: [`Signer::signed`].
    pub fn rest(&self, payload: &str) -> String {
        match &self.0 {
            Kind::Hmac(mac) => {
                let mut mac = mac.clone();
                mac.update(payload.as_bytes());
                hex::encode(mac.finalize().into_bytes())
            }
            Kind::Ed25519(pair) => STANDARD.encode(pair.sign(payload.as_bytes())),
        }
    }

    /// A REST request's parameters with their signature at the end.
    pub fn signed(&self, payload: &str) -> String {
        // Of what base64 and hex write only these need it.
        let signature = self.rest(payload).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        format!("{payload}&signature={signature}")
    }

    /// Signs a WebSocket API request: its parameters but the signature, sorted by name.
    pub fn websocket(&self, parameters: &mut [(&str, &str)]) -> String {
        parameters.sort_unstable();
        let joined: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.rest(&joined.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example secret.
    const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

    #[test]
    fn the_published_rest_examples_are_reproduced() {
        let rest = "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
        let signer = Signer::new(SECRET);
        assert_eq!(
            signer.rest(&format!("symbol=LTCBTC&{rest}")),
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
        );
        let wide = "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96";
        assert_eq!(
            signer.rest(&format!("symbol={wide}&{rest}")),
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"
        );
    }

    #[test]
    fn the_published_websocket_example_is_reproduced() {
        let mut parameters = [
            ("symbol", "BTCUSDT"),
            ("side", "SELL"),
            ("type", "LIMIT"),
            ("timeInForce", "GTC"),
            ("quantity", "0.01000000"),
            ("price", "52000.00"),
            ("recvWindow", "100"),
            ("timestamp", "1645423376532"),
            ("apiKey", "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"),
        ];
        assert_eq!(
            Signer::new(SECRET).websocket(&mut parameters),
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
        );
    }

    /// Test 2 of RFC 8032, section 7.1: its private key as openssl writes it, its message and its signature.
    const RFC_8032: (&str, &str, &str) = (
        "-----BEGIN PRIVATE KEY-----\n\
         MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7\n\
         -----END PRIVATE KEY-----\n",
        "r",
        "kqAJqfDUyrhyDoILX2QlQKKye1QWUD+Ps3YiI+vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA==",
    );

    #[test]
    fn an_ed25519_key_signs_as_its_standard_says_and_is_escaped_where_it_is_sent() {
        let (pem, message, expected) = RFC_8032;
        let signer = Credential::new("key", pem).unwrap().signer();
        assert_eq!(signer.rest(message), expected);
        let escaped = expected.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        assert_eq!(signer.signed(message), format!("r&signature={escaped}"));
        let windows = pem.replace('\n', "\r\n");
        assert_eq!(Credential::new("key", windows).unwrap().signer().rest(message), expected);
    }

    #[test]
    fn what_is_no_credential_is_refused_without_a_word_of_it() {
        let (pem, ..) = RFC_8032;
        let refused = |key: &str, secret: &str| Credential::new(key, secret).unwrap_err();
        assert_eq!(refused("", "secret"), SecretError::Empty);
        assert_eq!(refused("key", ""), SecretError::Empty);
        assert_eq!(refused("a key\r\nX-Other: 1", "secret"), SecretError::Key);
        for bad in [
            &pem[..60],
            &pem.replace("MC4C", "MC4D"),
            &pem.replace("uKb7", "!!!!"),
            "-----BEGIN PRIVATE KEY-----",
        ] {
            let error = refused("key", bad);
            assert_eq!(error, SecretError::Pem, "{bad}");
            assert!(!error.to_string().contains("NqM9"), "{error}");
        }
    }

    #[test]
    fn a_key_has_a_fingerprint_of_its_own() {
        let tag = |key: &str| Credential::new(key, "secret").unwrap().account();
        assert_eq!(tag("one"), tag("one"));
        assert_ne!(tag("one"), tag("two"));
    }

    #[test]
    fn a_credential_never_shows_anything() {
        let credential = Credential::new("thekey", "thesecret").unwrap();
        assert_eq!(format!("{credential:?} {:?}", credential.signer()), "Credential(…) Signer(…)");
    }

    #[test]
    fn a_signer_never_shows_its_key() {
        assert_eq!(format!("{:?}", Signer::new(SECRET)), "Signer(…)");
    }
}
