//! How a request is signed: HMAC-SHA256 in lower-case hex over the parameters as they are sent.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A keyed signer. The key cannot be read back or printed.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    /// A signer for an API secret.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length.
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length"))
    }

    /// Signs a REST request: its query text followed by its body text, as sent.
    pub fn rest(&self, payload: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(payload.as_bytes());
        hex::encode(mac.finalize().into_bytes())
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

    #[test]
    fn a_signer_never_shows_its_key() {
        assert_eq!(format!("{:?}", Signer::new(SECRET)), "Signer(…)");
    }
}
