//! One attempt: a signed POST to wherever its endpoint may be, and what its answer comes to.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};

use super::address::Targets;
use super::endpoint::{Endpoint, MOST_AT_ONCE};
use super::queue::Outcome;
use crate::store::Attempt;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long success may take (contract §5).
const ANSWER: Duration = Duration::from_secs(10);

/// How long the rest of an answer is listened to once its status is known.
const REST: Duration = Duration::from_secs(1);

/// How much of an answer is read, so that its connection can be used again, and how much of it is kept; in bytes.
const READ: usize = 16 * 1_024;
const KEPT: usize = 1_024;

/// How long an idle connection is kept, and how many to one host: as many as one endpoint may use at once, or it would
/// open new ones all the time.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS: usize = MOST_AT_ONCE as usize;

/// What sends; clones share its connections, which live on the runtime that it first sends from.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    client: Client,
    targets: Targets,
}

impl Post {
    /// Follows no redirect, uses no proxy, decompresses nothing, and dials only addresses that are allowed.
    ///
    /// # Errors
    /// Where the client cannot be made.
    pub(crate) fn new(targets: &Targets) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .dns_resolver(Arc::new(targets.clone()))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .user_agent(concat!("BotPrimeX/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, targets: targets.clone() })
    }

    /// Sends once.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: Bytes,
        now: Timestamp,
    ) -> (Outcome, Attempt) {
        let began = Instant::now();
        let mut attempt = Attempt::default();
        let outcome = match tokio::time::timeout(ANSWER, self.ask(endpoint, id, body, now)).await {
            Ok(Ok(answer)) => {
                let outcome = judged(&answer, now);
                attempt.http_status = Some(answer.status().as_u16());
                attempt.duration_ms = millis(began);
                attempt.answer = beginning(answer).await;
                if answer_is_redirect(attempt.http_status) {
                    attempt.error = Some("redirects are not followed".to_owned());
                }
                return (outcome, attempt);
            }
            Ok(Err(why)) => {
                attempt.error = Some(why.to_owned());
                Outcome::Failed(None)
            }
            Err(_) => {
                attempt.error = Some("no answer came within 10 seconds".to_owned());
                Outcome::Failed(None)
            }
        };
        attempt.duration_ms = millis(began);
        (outcome, attempt)
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Response, &'static str> {
        // What was allowed when it was stored need not be now; a name is asked for again whenever it is dialled.
        let url = self.targets.check(&endpoint.url).map_err(|_| UNREACHABLE)?;
        let seconds = (now.millis() / 1_000).to_string();
        let signature = endpoint.signature(id, &seconds, &body, now);
        let request = self.client.post(url).headers(endpoint.headers.clone());
        let request = request
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature);
        request.body(body).send().await.map_err(|error| told(&error))
    }
}

/// One text for whatever could not be reached, refused addresses among it, so that nothing is learnt from it.
const UNREACHABLE: &str = "no connection could be made to a public address of the endpoint";

fn told(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.to_string().contains("certificate") {
            return "the endpoint's TLS certificate is not valid";
        }
        cause = inner.source();
    }
    if error.is_connect() || error.is_timeout() {
        UNREACHABLE
    } else {
        "the connection broke before an answer came"
    }
}

fn judged(answer: &Response, now: Timestamp) -> Outcome {
    match answer.status().as_u16() {
        200..=299 => Outcome::Taken,
        410 => Outcome::Gone,
        _ => {
            let value = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Outcome::Failed(value.and_then(|value| pause(value.trim(), now)))
        }
    }
}

/// The pause that `Retry-After` asks for: whole seconds, or a date.
fn pause(value: &str, now: Timestamp) -> Option<u64> {
    let until = || {
        let left_ns = Timestamp::from_http_date(value)?.since(now);
        u64::try_from(left_ns.max(0)).ok().map(|left| left.div_ceil(1_000_000_000))
    };
    value.parse().ok().or_else(until)
}

fn answer_is_redirect(status: Option<u16>) -> bool {
    status.is_some_and(|status| (300..=399).contains(&status))
}

/// How an answer begins; a little more is read of it, and what is too long or too slow is let go.
async fn beginning(mut answer: Response) -> Option<String> {
    if answer.content_length() == Some(0) {
        return None;
    }
    let (mut kept, mut read) = (Vec::new(), 0);
    let rest = async {
        while let Ok(Some(chunk)) = answer.chunk().await {
            read += chunk.len();
            kept.extend(chunk.iter().take(KEPT - kept.len()));
            if read > READ {
                break;
            }
        }
    };
    // Whether it ends or the time does, what came is what is kept.
    let _ = tokio::time::timeout(REST, rest).await;
    (!kept.is_empty()).then(|| escaped(&kept))
}

/// A text that can be shown anywhere.
fn escaped(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            '<' | '>' | '&' => shown.extend(character.escape_unicode()),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

fn millis(began: Instant) -> u32 {
    u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
