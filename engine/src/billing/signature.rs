//! Whether Stripe sent it: an HMAC-SHA256 of the time and the body as they came.
//!
//! Source: Stripe's documentation, "Verify webhook signatures manually", read 2026-11-24.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secrets::Secret;

/// How far Stripe's clock and ours may be apart, in seconds; what is older could be sent by whoever overheard it.
const TOLERANCE_S: i64 = 300;

/// Why a delivery is not taken for Stripe's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no `Stripe-Signature`, or it is none.
    #[error("the Stripe-Signature header has no t= and v1=")]
    Malformed,
    /// It was signed too long ago, or in the future.
    #[error("the signature is more than {TOLERANCE_S} s old, or from the future")]
    Stale,
    /// None of its signatures is one with our secret.
    #[error("no signature matches the body and the configured secret")]
    Mismatch,
}

/// Checks the header against the body as it came; in constant time, whatever is wrong with a signature.
pub(super) fn verify(secret: &Secret, header: &str, body: &[u8], now_s: i64) -> Result<(), SignatureError> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let signed_at = parts().find(|(name, _)| *name == "t").map(|(_, time)| time);
    let time = signed_at.ok_or(SignatureError::Malformed)?;
    let signed_at_s: i64 = time.parse().map_err(|_| SignatureError::Malformed)?;
    let mut signatures = parts().filter(|(name, _)| *name == "v1").map(|(_, signature)| signature).peekable();
    signatures.peek().ok_or(SignatureError::Malformed)?;
    let mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map_err(|_| SignatureError::Mismatch)?;
    let mac = mac.chain_update(time).chain_update(".").chain_update(body);
    let is_ours = |signature: &str| {
        hex::decode(signature).is_ok_and(|signature| mac.clone().verify_slice(&signature).is_ok())
    };
    if !signatures.any(is_ours) {
        return Err(SignatureError::Mismatch);
    }
    if now_s.abs_diff(signed_at_s) > TOLERANCE_S.unsigned_abs() {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    /// Made by Stripe's own Python library 16.1.0 for `whsec_test_secret`, 1700000000 and this body.
    const SIGNATURE: &str = "248a374f50f943a28b0f6ab50faf9a7e7e29b710fa26df9fb1618b9bf8ea9c9a";

    #[track_caller]
    fn check(header: &str, body: &[u8], now_s: i64, expected: Result<(), SignatureError>) {
        let secret = Secret::new("whsec_test_secret".to_owned());
        assert_eq!(verify(&secret, header, body, now_s), expected, "{header}");
    }

    #[test]
    fn what_stripe_signed_is_taken_and_nothing_else() {
        let good = format!("t=1700000000,v1={SIGNATURE}");
        check(&good, BODY, 1_700_000_000, Ok(()));
        check(&good, BODY, 1_700_000_300, Ok(()));
        check(&good, BODY, 1_699_999_700, Ok(()));
        check(&good, BODY, 1_700_000_301, Err(SignatureError::Stale));
        check(&good, BODY, 1_699_999_699, Err(SignatureError::Stale));
        check(&good, br#"{"id":"evt_2"}"#, 1_700_000_000, Err(SignatureError::Mismatch));
        check(&good.replace("t=17", "t=18"), BODY, 1_800_000_000, Err(SignatureError::Mismatch));
        let rolled = format!("t=1700000000,v0=00,v1={},v1={SIGNATURE}", "0".repeat(64));
        check(&rolled, BODY, 1_700_000_000, Ok(()));
        check(&format!("t=1700000000,v0={SIGNATURE}"), BODY, 1_700_000_000, Err(SignatureError::Malformed));
        for bad in ["", "x", "t=,v1=00", "v1=00", "t=1700000000"] {
            check(bad, BODY, 1_700_000_000, Err(SignatureError::Malformed));
        }
        check("t=1700000000,v1=zz", BODY, 1_700_000_000, Err(SignatureError::Mismatch));
    }
}
