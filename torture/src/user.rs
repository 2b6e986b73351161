//! What an owner sees and does over the API, with a key and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::Value;

/// How long an answer may take at most.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How long a connection is kept that nothing is asked on: less than the five seconds that the server keeps it, so that
/// nothing is asked on one that is being closed.
const KEPT: Duration = Duration::from_secs(2);

/// How many rows a page has.
const PAGE: usize = 100;

/// An owner, and where the server is.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) key: String,
}

/// What the server answered, and how soon.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

impl Answer {
    /// Whether the server did it.
    pub(crate) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

impl User {
    /// Asks for something; an error where no answer comes.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.ask_once(method, path, body, None).await
    }

    /// Asks under an idempotency key.
    pub(crate) async fn ask_once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        once: Option<&str>,
    ) -> Result<Answer> {
        let began = Instant::now();
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(once) = once {
            request = request.header("idempotency-key", once);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        Ok(Answer { status, body, took: began.elapsed() })
    }

    /// Posts a body; the answer to a success.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let Answer { status, body, .. } = self.ask(Method::POST, path, Some(body)).await?;
        if !(200..300).contains(&status) {
            bail!("POST {path}: {status} {body}");
        }
        Ok(body)
    }

    /// Gets something that is there.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let Answer { status, body, .. } = self.ask(Method::GET, path, None).await?;
        if status != 200 {
            bail!("GET {path}: {status} {body}");
        }
        Ok(body)
    }

    /// Every row of a list, newest first, page by page.
    pub(crate) async fn all(&self, path: &str) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let glue = if path.contains('?') { '&' } else { '?' };
        let mut from = String::new();
        loop {
            let page = self.get(&format!("{path}{glue}limit={PAGE}{from}")).await?;
            let data = page.get("data").and_then(Value::as_array).context("a list without data")?;
            rows.extend(data.iter().cloned());
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(cursor) => from = format!("&starting_after={cursor}"),
                None => return Ok(rows),
            }
        }
    }
}

/// What asks.
pub(crate) fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(PATIENCE).pool_idle_timeout(KEPT).build()?)
}

/// A text of an answer; empty where there is none.
pub(crate) fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}
