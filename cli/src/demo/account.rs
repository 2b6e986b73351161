//! The demo's account at the simulated venue: funds to begin with, and the venue's own books of it.

use anyhow::{Context as _, bail};
use model::Pair;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use venue::Credential;

/// How much of the quote coin is paid in.
const DEPOSIT: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);

/// An account that a bot trades on with signed orders.
pub(super) struct SimAccount {
    http: reqwest::Client,
    /// Where the venue is.
    url: String,
    pub(super) credential: Credential,
    pub(super) pair: Pair,
    pub(super) deposit: Decimal,
}

impl SimAccount {
    /// Pays in what a bot on this pair trades with.
    pub(super) async fn fund(url: String, credential: Credential, pair: Pair) -> anyhow::Result<Self> {
        let account = Self { http: reqwest::Client::new(), url, credential, pair, deposit: DEPOSIT };
        let body = json!({"key": account.credential.key, "asset": account.pair.quote(),
            "delta": DEPOSIT.to_string()});
        let asked = account.http.post(format!("{}/venue/balance", account.url)).body(body.to_string());
        if !asked.send().await?.status().is_success() {
            bail!("nothing can be paid in at the venue");
        }
        Ok(account)
    }

    /// Everything that the venue has written down of this account.
    pub(super) async fn ledger(&self) -> anyhow::Result<Value> {
        let url = format!("{}/venue/ledger?key={}", self.url, self.credential.key);
        let mut ledger: Value = self.http.get(url).send().await?.json().await?;
        ledger.pointer_mut("/accounts/0").map(Value::take).context("the venue has no such account")
    }
}
