//! How a delivery is signed (Standard Webhooks 1.0): HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngCore as _;
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// A new endpoint's secret: `whsec_` and 32 random bytes.
pub(crate) fn new_secret() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("{PREFIX}{}", STANDARD.encode(bytes))
}

/// The value of `webhook-signature`; `None` for a secret that is none.
pub(crate) fn signature(secret: &str, id: &str, timestamp_s: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_library_verifies_what_is_signed() {
        let secret = new_secret();
        let library = standardwebhooks::Webhook::new(&secret).unwrap();
        let now = crate::clock::now().nanos() / 1_000_000_000;
        let body = r#"{"id":"evt_1","event":"trade.closed","data":{"profit_pct":2.40}}"#;
        let headers = |signature: String, at: i64| {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("webhook-id", "evt_1".parse().unwrap());
            headers.insert("webhook-timestamp", at.to_string().parse().unwrap());
            headers.insert("webhook-signature", signature.parse().unwrap());
            headers
        };
        let signed = signature(&secret, "evt_1", now, body).unwrap();
        library.verify(body.as_bytes(), &headers(signed.clone(), now)).unwrap();
        assert!(library.verify(b"{}", &headers(signed.clone(), now)).is_err());
        assert!(library.verify(body.as_bytes(), &headers(signed, now + 1)).is_err());
    }
}
