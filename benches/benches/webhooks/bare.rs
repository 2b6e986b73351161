//! The floor: signed POSTs in a loop, with the client library, the body and the receiver that the product has, on one
//! thread, and as many of them at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::cpu::Spent;

/// Posts so many times to all of them in turn; how long it took, and what it spent.
pub(crate) fn post(urls: &[String], at_once: usize, body: &str, times: usize) -> (Duration, Duration) {
    let (urls, body) = (urls.to_vec(), body.to_owned());
    let thread = std::thread::Builder::new().name("bare".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (before, began) = (Spent::now(), Instant::now());
        runtime.block_on(all(&urls, at_once, &body, times));
        let took = began.elapsed();
        (took, Spent::now().of_server_since(&before).remove("bare").unwrap())
    });
    thread.unwrap().join().unwrap()
}

async fn all(urls: &[String], at_once: usize, body: &str, times: usize) {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .user_agent("BotPrimeX/bench")
        .build()
        .unwrap();
    let key = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    let left = Arc::new(AtomicUsize::new(times));
    let mut loops = Vec::new();
    for url in urls {
        for _ in 0..at_once {
            let (client, key, left) = (client.clone(), key.clone(), left.clone());
            let (url, body) = (url.clone(), body.to_owned());
            loops.push(tokio::spawn(async move {
                let one_less = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                    once(&client, &key, &url, &body).await;
                }
            }));
        }
    }
    for one in loops {
        one.await.unwrap();
    }
}

async fn once(client: &reqwest::Client, key: &Hmac<Sha256>, url: &str, body: &str) {
    let (id, seconds) = ("evt_01hzzzzzzzzzzzzzzzzzzzzzzz", "1700000000");
    let mut mac = key.clone();
    for part in [id, ".", seconds, ".", body] {
        mac.update(part.as_bytes());
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature)
        .body(body.to_owned());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
}
