//! A client that signs.

use hmac::{Hmac, KeyInit as _, Mac as _};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};
use venue::{Config, Credential, Speed, Venue};

use crate::Socket;

pub(crate) fn config() -> Config {
    let credentials = vec![Credential { key: "key".to_owned(), secret: "secret".to_owned() }];
    Config { credentials, speed: Speed::Times(0.001), ..Config::default() }
}

/// A client of its own, with no connection open yet.
pub(crate) fn http() -> reqwest::Client {
    // It is built for TLS, whatever it is used for.
    let _already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub(crate) fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

pub(crate) fn sign(payload: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

pub(crate) async fn signed(
    venue: &Venue,
    method: &str,
    path: &str,
    query: &str,
    secret: &str,
) -> (u16, Value) {
    let payload = format!("{query}&timestamp={}", now_ms());
    let payload = payload.trim_start_matches('&');
    let url = format!("http://{}{path}?{payload}&signature={}", venue.address(), sign(payload, secret));
    let request = http().request(method.parse().unwrap(), url).header("x-mbx-apikey", "key");
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub(crate) async fn ask(venue: &Venue, method: &str, path: &str, query: &str) -> (u16, Value) {
    signed(venue, method, path, query, "secret").await
}

/// Free and locked of an asset.
pub(crate) async fn held(venue: &Venue, asset: &str) -> (Decimal, Decimal) {
    let (_, account) = ask(venue, "GET", "/api/v3/account", "").await;
    let balances = account["balances"].as_array().unwrap();
    let held = balances.iter().find(|balance| balance["asset"] == asset).unwrap();
    let amount = |key: &str| held[key].as_str().unwrap().parse().unwrap();
    (amount("free"), amount("locked"))
}

pub(crate) fn amount(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

/// A socket request's parameters with key and signature.
pub(crate) fn signed_params(params: &[(&str, &str)]) -> Value {
    let at = now_ms().to_string();
    let mut sorted = params.to_vec();
    sorted.extend([("apiKey", "key"), ("timestamp", at.as_str())]);
    sorted.sort_unstable();
    let payload: Vec<String> = sorted.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let signature = sign(&payload.join("&"), "secret");
    sorted.push(("signature", &signature));
    sorted.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// A socket that hears of the account.
pub(crate) async fn hear_account(venue: &Venue) -> Socket {
    let mut user = Socket::open(venue, "/ws-api/v3").await;
    let subscribe =
        json!({"id": 7, "method": "userDataStream.subscribe.signature", "params": signed_params(&[])});
    user.say(subscribe.to_string()).await;
    assert_eq!(user.hear().await.unwrap()["result"]["subscriptionId"], 0);
    user
}

/// Acts out of band.
pub(crate) async fn control(venue: &Venue, path: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}/venue/{path}", venue.address());
    let request = http().post(url).body(body.to_string());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The venue's own books of the only account.
pub(crate) async fn ledger(venue: &Venue) -> Value {
    let answer = http().get(format!("http://{}/venue/ledger", venue.address())).send().await.unwrap();
    let mut books: Value = answer.json().await.unwrap();
    let mut account = books["accounts"][0].take();
    account["faults"] = books["faults"].take();
    account
}
