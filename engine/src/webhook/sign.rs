//! How a delivery is signed (Standard Webhooks 1.0): HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngCore as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secrets::Secret;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// A new endpoint's secret: `whsec_` and 32 random bytes.
pub(crate) fn new_secret() -> Secret {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(bytes.as_mut());
    Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes.as_ref())))
}

/// A secret that signs: its key is set up once.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    /// `None` for a secret that is none.
    pub(crate) fn new(secret: &Secret) -> Option<Self> {
        let key = Zeroizing::new(STANDARD.decode(secret.expose().strip_prefix(PREFIX)?).ok()?);
        Hmac::new_from_slice(&key).ok().map(Self)
    }

    /// One value of `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, timestamp_s: &str, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        for part in [id, ".", timestamp_s, "."] {
            mac.update(part.as_bytes());
        }
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_library_verifies_what_is_signed() {
        let secret = new_secret();
        let library = standardwebhooks::Webhook::new(secret.expose()).unwrap();
        let now = crate::clock::now().nanos() / 1_000_000_000;
        let body = r#"{"id":"evt_1","event":"trade.closed","data":{"profit_pct":2.40}}"#;
        let headers = |signature: String, at: i64| {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("webhook-id", "evt_1".parse().unwrap());
            headers.insert("webhook-timestamp", at.to_string().parse().unwrap());
            headers.insert("webhook-signature", signature.parse().unwrap());
            headers
        };
        let endpoint = Signer::new(&secret).unwrap();
        let signed = endpoint.sign("evt_1", &now.to_string(), body.as_bytes());
        library.verify(body.as_bytes(), &headers(signed.clone(), now)).unwrap();
        assert!(library.verify(b"{}", &headers(signed.clone(), now)).is_err());
        assert!(library.verify(body.as_bytes(), &headers(signed, now + 1)).is_err());
        assert!(!format!("{endpoint:?} {secret:?}").contains(&secret.expose()[6..]));
    }
}
