//! Keys whose secret the venue does not know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use venue::{Config, PublicKey, Venue};

use crate::Socket;
use crate::client::{ask, config, http, now_ms};

struct Owner(Ed25519KeyPair);

impl Owner {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    fn public_key(&self) -> PublicKey {
        let mut der = hex::decode("302a300506032b6570032100").unwrap();
        der.extend(self.0.public_key().as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der));
        PublicKey::from_pem("mine", &pem).unwrap()
    }

    fn sign(&self, payload: &str) -> String {
        BASE64.encode(self.0.sign(payload.as_bytes()))
    }

    async fn ask(&self, venue: &Venue, signed: &str, sent: &str) -> (u16, Value) {
        let at = now_ms();
        let payload = |text: &str| format!("{text}timestamp={at}");
        let signature =
            self.sign(&payload(signed)).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let url =
            format!("http://{}/api/v3/account?{}&signature={signature}", venue.address(), payload(sent));
        let answer = http().get(url).header("x-mbx-apikey", "mine").send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn an_ed25519_key_signs_requests_and_logs_a_socket_on() {
    let owner = Owner::new();
    let venue = venue::start(Config { public_keys: vec![owner.public_key()], ..config() }).await.unwrap();
    let (_, theirs) = ask(&venue, "GET", "/api/v3/account", "").await;
    let good = owner.ask(&venue, "", "").await;
    assert_eq!(good.0, 200, "{}", good.1);
    assert_ne!(good.1["uid"], theirs["uid"], "it has an account of its own");
    assert_eq!(owner.ask(&venue, "", "recvWindow=1&").await.1["code"], -1022);
    assert_eq!(Owner::new().ask(&venue, "", "").await.1["code"], -1022);

    let mut socket = Socket::open(&venue, "/ws-api/v3").await;
    let (mut id, at) = (0, now_ms());
    let mut talk = async |method: &str, params: Value| {
        id += 1;
        socket.say(json!({"id": id, "method": method, "params": params}).to_string()).await;
        loop {
            let frame = socket.hear().await.unwrap();
            if frame["id"] == id {
                return frame;
            }
        }
    };
    assert_eq!(talk("userDataStream.subscribe", json!({})).await["error"]["code"], -2015);
    let signature = owner.sign(&format!("apiKey=mine&timestamp={at}"));
    let logon = json!({"apiKey": "mine", "timestamp": at, "signature": signature});
    assert_eq!(talk("session.logon", logon).await["result"]["apiKey"], "mine");
    assert_eq!(talk("userDataStream.subscribe", json!({})).await["result"]["subscriptionId"], 0);
    let order = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001",
        "timestamp": now_ms()});
    assert_eq!(talk("order.place", order.clone()).await["result"]["status"], "FILLED");
    assert_eq!(talk("order.place", json!({"timestamp": 1})).await["error"]["code"], -1021);
    assert_eq!(talk("session.logout", json!({})).await["result"]["apiKey"], Value::Null);
    assert_eq!(talk("order.place", order).await["error"]["code"], -2014);
    let shared = crate::client::signed_params(&[]);
    assert_eq!(talk("session.logon", shared).await["error"]["code"], -4056);
    venue.stop().await;
}
