//! One call over HTTP: its deadlines, its bounds, and what its headers tell of the limits.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use tokio::time::Instant;

use super::budget::{AccountTag, SharedBudget, Usage};
use super::error::{Effect, VenueError, shown};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a call may take from its start to the last byte of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The way to one venue. Clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    base: String,
    client: reqwest::Client,
    pub(super) budget: SharedBudget,
}

/// One call.
pub(super) struct HttpCall<'a> {
    pub(super) method: Method,
    /// The path and what follows a `?`.
    pub(super) path: &'a str,
    /// A form, for what has one.
    pub(super) form: Option<String>,
    /// The key that it is signed for, and whose orders its headers count.
    pub(super) key: Option<(&'a HeaderValue, AccountTag)>,
    pub(super) effect: Effect,
    /// The longest answer, in bytes.
    pub(super) most: usize,
}

impl<'a> HttpCall<'a> {
    /// A public read.
    pub(super) fn get(path: &'a str, most: usize) -> Self {
        Self { method: Method::GET, path, form: None, key: None, effect: Effect::Read, most }
    }
}

impl Transport {
    pub(super) fn new(base: &str) -> Result<Self, VenueError> {
        Self::with_deadlines(base, CONNECT_WITHIN, ANSWER_WITHIN)
    }

    pub(super) fn with_deadlines(
        base: &str,
        connect: Duration,
        answer: Duration,
    ) -> Result<Self, VenueError> {
        let client = reqwest::Client::builder()
            .connect_timeout(connect)
            .timeout(answer)
            // A redirect could carry a key to another host.
            .redirect(reqwest::redirect::Policy::none())
            // Whether something may be sent again is its caller's to say.
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| VenueError::of_transport(Effect::Read, error))?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, client, budget: SharedBudget::default() })
    }

    /// Makes a call, unless the venue has asked to be left alone; the body of an answer that is a success.
    pub(super) async fn call(&self, call: HttpCall<'_>) -> Result<Vec<u8>, VenueError> {
        let now = Instant::now();
        if let Some(until) = self.budget.lock().blocked_until(now) {
            return Err(left_alone(until - now));
        }
        let lost = |error| VenueError::of_transport(call.effect, error);
        let mut request = self.client.request(call.method, format!("{}{}", self.base, call.path));
        if let Some((key, _)) = call.key {
            request = request.header("X-MBX-APIKEY", key);
        }
        if let Some(form) = call.form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        }
        let mut answer = request.send().await.map_err(lost)?;
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        {
            let (now, account) = (Instant::now(), call.key.map(|(_, account)| account));
            let mut budget = self.budget.lock();
            budget.learn(now, account, usage(answer.headers()));
            budget.refused(now, status.as_u16(), retry_after);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > call.most {
                let most = call.most;
                return Err(unusable(call.effect, &format_args!("the answer is longer than {most} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        Err(VenueError::of_answer(call.effect, status.as_u16(), retry_after, &body))
    }
}

/// Nothing is sent while the venue wants to be left alone.
pub(super) fn left_alone(after: Duration) -> VenueError {
    let message = "not sent: the venue has asked to be left alone".to_owned();
    VenueError::Retry { after: Some(after), message }
}

/// An answer that is not what the venue documents.
pub(super) fn unusable(effect: Effect, why: &dyn std::fmt::Display) -> VenueError {
    VenueError::unanswered(effect, shown(&format!("the answer cannot be used: {why}")))
}

/// The seconds that the venue asks to be left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What the headers tell of the limits.
fn usage(headers: &HeaderMap) -> Usage {
    let count = |name| headers.get(name)?.to_str().ok()?.trim().parse().ok();
    Usage {
        weight_1m: count("x-mbx-used-weight-1m"),
        orders_10s: count("x-mbx-order-count-10s"),
        orders_1d: count("x-mbx-order-count-1d"),
    }
}
