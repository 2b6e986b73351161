//! Whether a delivery was signed with the endpoint's secret, as a receiver checks it (Standard Webhooks 1.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How old or new a delivery's time may be, in seconds.
const TOLERANCE_S: i64 = 300;

/// What a delivery says of itself, from its three headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// `webhook-id`: the same in every attempt.
    pub(crate) id: &'a str,
    /// `webhook-timestamp`: Unix seconds of this attempt.
    pub(crate) timestamp: &'a str,
    /// `webhook-signature`: one or more `v1,BASE64`, parted by spaces.
    pub(crate) signature: &'a str,
}

/// Why a delivery is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The endpoint's secret is no `whsec_` and base64.
    Secret,
    /// The timestamp is no number, or too far from now.
    Timestamp,
    /// No signature fits.
    Signature,
}

/// Believes or refuses a delivery that arrived at `now` (Unix seconds).
///
/// # Errors
/// [`Refusal`], when it must not be believed.
pub(crate) fn verify(secret: &str, claim: Claim<'_>, body: &[u8], now: i64) -> Result<(), Refusal> {
    let key =
        secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok()).ok_or(Refusal::Secret)?;
    let sent: i64 = claim.timestamp.parse().map_err(|_| Refusal::Timestamp)?;
    if sent.abs_diff(now) > TOLERANCE_S.unsigned_abs() {
        return Err(Refusal::Timestamp);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Refusal::Secret)?;
    for part in [claim.id.as_bytes(), b".", claim.timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let fits = claim
        .signature
        .split(' ')
        .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
        .any(|given| mac.clone().verify_slice(&given).is_ok());
    if fits { Ok(()) } else { Err(Refusal::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The specification's published example.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const NOW: i64 = 1_614_265_330;
    const CLAIM: Claim<'_> = Claim {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: "1614265330",
        signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };

    #[test]
    fn the_published_example_is_believed() {
        assert_eq!(verify(SECRET, CLAIM, BODY, NOW), Ok(()));
        let rotated = format!("v1,AAAA {}", CLAIM.signature);
        assert_eq!(verify(SECRET, Claim { signature: &rotated, ..CLAIM }, BODY, NOW), Ok(()));
    }

    #[test]
    fn what_was_changed_or_is_old_is_refused() {
        assert_eq!(verify(SECRET, CLAIM, b"{}", NOW), Err(Refusal::Signature));
        assert_eq!(verify(SECRET, Claim { id: "msg_2", ..CLAIM }, BODY, NOW), Err(Refusal::Signature));
        assert_eq!(verify(SECRET, Claim { signature: "v1,", ..CLAIM }, BODY, NOW), Err(Refusal::Signature));
        assert_eq!(verify(SECRET, Claim { signature: "", ..CLAIM }, BODY, NOW), Err(Refusal::Signature));
        assert_eq!(verify(SECRET, CLAIM, BODY, NOW + 301), Err(Refusal::Timestamp));
        assert_eq!(verify(SECRET, Claim { timestamp: "soon", ..CLAIM }, BODY, NOW), Err(Refusal::Timestamp));
        assert_eq!(verify("secret", CLAIM, BODY, NOW), Err(Refusal::Secret));
    }
}
