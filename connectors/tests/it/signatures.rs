//! What real clients signed is signed the same here.

use connectors::binance::trade::{Credential, Signer};
use serde_json::Value;

use super::recorded;

/// The venue's published example secret.
const PUBLISHED: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

/// What a record was signed with: the recordings name two key pairs.
fn signer(key: &str) -> Signer {
    let secret = if key.starts_with("vmPUZE6m") { PUBLISHED.to_owned() } else { "s".repeat(64) };
    Credential::new(key, secret).unwrap().signer()
}

#[test]
fn the_signatures_of_real_clients_are_reproduced() {
    let Some(root) = recorded("exchanges/client_wire") else { return };
    let (mut rest, mut sockets) = (0, 0);
    for file in std::fs::read_dir(root).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let Some(payload) = record["signed_payload"].as_str() else { continue };
            if record["kind"] == "ws_text" {
                check_socket(&record, payload);
                sockets += 1;
            } else {
                check_rest(&record, payload);
                rest += 1;
            }
        }
    }
    assert_eq!((rest, sockets), (33, 4));
}

fn check_rest(record: &Value, payload: &str) {
    let headers = record["headers"].as_object().unwrap();
    let key = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-mbx-apikey")).unwrap().1;
    let sent = [record["query"].as_str().unwrap(), record["body"].as_str().unwrap()].concat();
    assert_eq!(signer(key.as_str().unwrap()).signed(payload), sent);
}

fn check_socket(record: &Value, payload: &str) {
    let frame: Value = serde_json::from_str(record["text"].as_str().unwrap()).unwrap();
    let params = frame["params"].as_object().unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let texts: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    // As far from the order that is signed as can be.
    let mut pairs: Vec<_> = texts.iter().rev().map(|(name, value)| (*name, value.as_str())).collect();
    pairs.retain(|(name, _)| *name != "signature");
    let signer = signer(params["apiKey"].as_str().unwrap());
    assert_eq!(signer.websocket(&mut pairs), params["signature"]);
    assert_eq!(signer.rest(payload), params["signature"]);
}
