//! The demo's user of the API: over HTTP, with a key, like anybody.

use std::time::Duration;

use anyhow::{Context as _, bail};
use model::Trade;
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;

/// A user of the API.
pub(super) struct Client {
    http: reqwest::Client,
    pub(super) url: String,
    pub(super) key: String,
}

/// A page of `GET /v1/trades`.
#[derive(Deserialize)]
struct Page {
    data: Vec<Trade>,
    next_cursor: Option<String>,
}

impl Client {
    pub(super) fn new(url: String, key: String) -> Self {
        Self { http: reqwest::Client::new(), url, key }
    }

    /// Posts a body; the answer.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        Ok(serde_json::from_slice(&self.ask(path, request).await?)?)
    }

    /// All trades, oldest first.
    pub(super) async fn trades(&self) -> anyhow::Result<Vec<Trade>> {
        let mut trades = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/trades?limit=100{after}");
            let answer = self.ask(&path, self.http.get(format!("{}{path}", self.url))).await?;
            // Read from the text: a number that went through a float would have lost digits.
            let page: Page = serde_json::from_slice(&answer).context("a list of trades cannot be read")?;
            trades.extend(page.data);
            let Some(cursor) = page.next_cursor else { break };
            after = format!("&starting_after={cursor}");
        }
        trades.reverse();
        Ok(trades)
    }

    /// Asks; where its plan is used up it waits as long as it is told, and asks again.
    async fn ask(&self, path: &str, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let request = request.bearer_auth(&self.key);
        loop {
            let answer = request.try_clone().context("a request cannot be repeated")?.send().await?;
            let status = answer.status();
            let wait =
                answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            if let (StatusCode::TOO_MANY_REQUESTS, Some(seconds)) = (status, wait) {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                continue;
            }
            let body = answer.bytes().await?;
            if !status.is_success() {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let told = body.pointer("/error/message").and_then(Value::as_str).unwrap_or("?");
                bail!("{path} was refused: {told}");
            }
            return Ok(body.into());
        }
    }
}
