//! What an endpoint's owner sets, what of it is secret, and what a delivery to it is made with.

use std::sync::Arc;

use model::{AccountId, EventKind, Timestamp, WebhookId};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sign::{Signer, new_secret};
use crate::secrets::{SealedRecord, Secret, Vault};
use crate::store::{SealedWebhook, Webhook};

/// How many deliveries are on their way to an endpoint at once, unless its owner wants fewer or more.
pub const CONCURRENCY: u32 = 4;

/// The ports that deliveries may go to where the operator says nothing else.
pub const WEBHOOK_PORTS: [u16; 2] = [443, 8_443];

/// The most that may be wanted.
pub(super) const MOST_AT_ONCE: u32 = 32;

/// The most headers of an owner's own, and the longest name and value of one, in bytes.
const MOST_HEADERS: usize = 20;
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 1_024;

/// The longest description, in characters.
const LONGEST_DESCRIPTION: usize = 500;

/// Headers that are ours, or that would change how a request is read.
const OURS: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// An endpoint as its owner wants it.
#[derive(Clone, Debug, Default)]
pub struct NewWebhook {
    /// Where events go: https on a port that the operator allows, [`WEBHOOK_PORTS`] unless configured.
    pub url: String,
    /// Which events; empty means all.
    pub kinds: Vec<EventKind>,
    /// What its owner says of it.
    pub description: String,
    /// Headers that go with every delivery, by name; their values are secret.
    pub headers: Vec<(String, Secret)>,
    /// How many deliveries may be on their way at once; `None` means [`CONCURRENCY`].
    pub concurrency: Option<u32>,
}

/// What of an endpoint is to change; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct WebhookPatch {
    /// Where events go.
    pub url: Option<String>,
    /// Which events; empty means all.
    pub kinds: Option<Vec<EventKind>>,
    /// What its owner says of it.
    pub description: Option<String>,
    /// Whether the headers that go with every delivery so far are left out.
    pub forget_headers: bool,
    /// Headers that go with every delivery besides those, by name; `None` leaves one out.
    pub headers: Vec<(String, Option<Secret>)>,
    /// How many deliveries may be on their way at once.
    pub concurrency: Option<u32>,
    /// Whether anything is delivered.
    pub enabled: Option<bool>,
}

/// A field that will not do, and why.
pub(crate) type Misfit = (&'static str, String);

/// Whether a description will do.
pub(crate) fn check_description(text: &str) -> Option<Misfit> {
    let is_long = text.chars().count() > LONGEST_DESCRIPTION;
    is_long.then(|| ("description", format!("is longer than {LONGEST_DESCRIPTION} characters")))
}

/// Whether so many at once will do.
pub(crate) fn check_concurrency(at_once: u32) -> Option<Misfit> {
    let fits = (1..=MOST_AT_ONCE).contains(&at_once);
    (!fits).then(|| ("concurrency", format!("must be a whole number from 1 to {MOST_AT_ONCE}")))
}

/// Whether an owner's headers will do.
pub(crate) fn check_headers(headers: &[(String, Secret)]) -> Option<Misfit> {
    if headers.len() > MOST_HEADERS {
        return Some(("headers", format!("has more than {MOST_HEADERS} headers")));
    }
    for (place, (name, value)) in headers.iter().enumerate() {
        let shown: String = name.chars().take(LONGEST_NAME).collect();
        let lower = name.to_ascii_lowercase();
        if name.len() > LONGEST_NAME || HeaderName::try_from(name.as_str()).is_err() {
            return Some(("headers", format!("`{shown}` is no name of a header")));
        }
        let is_ours = OURS.contains(&lower.as_str())
            || ["webhook-", "proxy-", "sec-"].iter().any(|start| lower.starts_with(start));
        if is_ours {
            return Some(("headers", format!("`{shown}` cannot be set: the delivery itself does")));
        }
        if headers.iter().take(place).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Some(("headers", format!("`{shown}` is there twice")));
        }
        let text = value.expose();
        if text.len() > LONGEST_VALUE || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let rule = format!("must be at most {LONGEST_VALUE} visible ASCII characters");
            return Some(("headers", format!("the value of `{shown}` {rule}")));
        }
    }
    None
}

/// What is secret of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    /// What deliveries are signed with.
    pub(crate) current: Secret,
    /// What they were signed with before the last rotation.
    pub(crate) previous: Option<Secret>,
    /// The owner's own headers.
    pub(crate) headers: Vec<(String, Secret)>,
}

/// The same as it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    secret: &'a str,
    previous: Option<&'a str>,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a str)>,
}

impl Secrets {
    /// A new endpoint's.
    pub(crate) fn new(headers: Vec<(String, Secret)>) -> Self {
        Self { current: new_secret(), previous: None, headers }
    }

    /// Puts headers beside, or in the place of, those that are there; one without a value goes.
    pub(crate) fn merge(&mut self, headers: Vec<(String, Option<Secret>)>) {
        for (name, value) in headers {
            self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            self.headers.extend(value.map(|value| (name, value)));
        }
    }

    /// Another secret; the one before is kept.
    pub(crate) fn rotated(self) -> Self {
        Self { current: new_secret(), previous: Some(self.current), headers: self.headers }
    }

    /// As they are stored.
    pub(crate) fn seal(&self, vault: &Vault, account: AccountId, id: WebhookId) -> SealedRecord {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        let kept = Kept {
            secret: self.current.expose(),
            previous: self.previous.as_ref().map(Secret::expose),
            headers,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&kept).expect("texts are JSON"));
        vault.seal_record(account, id, &plain)
    }

    /// As they were stored.
    ///
    /// # Errors
    /// Why they do not open, without them.
    pub(crate) fn open(vault: &Vault, stored: &SealedWebhook) -> Result<Self, String> {
        let SealedWebhook { webhook, secrets } = stored;
        let record = match secrets {
            Ok(record) => record,
            // Forgotten, for its master key is lost: nobody knows the next one until it is rotated.
            Err(plain) if plain.is_empty() => return Ok(Self::new(Vec::new())),
            // From before secrets were sealed.
            Err(plain) => {
                let current = Secret::new(plain.clone());
                return Ok(Self { current, previous: None, headers: Vec::new() });
            }
        };
        let plain =
            vault.open_record(webhook.account_id, webhook.id, record).map_err(|why| why.to_string())?;
        let kept: Kept<'_> = serde_json::from_slice(&plain).map_err(|_| "it makes no sense".to_owned())?;
        let secret = |text: &str| Secret::new(text.to_owned());
        Ok(Self {
            current: secret(kept.secret),
            previous: kept.previous.map(secret),
            headers: kept.headers.iter().map(|(name, value)| ((*name).to_owned(), secret(value))).collect(),
        })
    }
}

/// What a delivery is made with.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    signer: Signer,
    previous: Option<(Signer, Timestamp)>,
}

impl Endpoint {
    /// `None` where its secret is none.
    pub(crate) fn new(webhook: &Webhook, secrets: &Secrets) -> Option<Arc<Self>> {
        let header = |(name, value): &(String, Secret)| {
            let mut value = HeaderValue::try_from(value.expose()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.as_str()).ok()?, value))
        };
        Some(Arc::new(Self {
            url: webhook.url.clone(),
            headers: secrets.headers.iter().filter_map(header).collect(),
            signer: Signer::new(&secrets.current)?,
            previous: secrets.previous.as_ref().and_then(Signer::new).zip(webhook.previous_until),
        }))
    }

    /// The value of `webhook-signature`; after a rotation both secrets sign for a while.
    pub(crate) fn signature(&self, id: &str, timestamp_s: &str, body: &str, now: Timestamp) -> String {
        let signature = self.signer.sign(id, timestamp_s, body);
        match &self.previous {
            Some((signer, until)) if now < *until => {
                format!("{signature} {}", signer.sign(id, timestamp_s, body))
            }
            _ => signature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Secret)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned()))).collect()
    }

    #[test]
    fn an_owners_headers_may_not_replace_ours_nor_break_the_request() {
        assert_eq!(check_headers(&headers(&[("Authorization", "Bearer x"), ("X-Team", "a b")])), None);
        for bad in [
            ("Host", "x"),
            ("webhook-signature", "v1,x"),
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Proxy-Authorization", "x"),
            ("X Team", "x"),
            ("", "x"),
            ("X-Team", "a\r\nb: c"),
            ("X-Team", "ü"),
        ] {
            assert!(check_headers(&headers(&[bad])).is_some(), "{bad:?}");
        }
        assert!(check_headers(&headers(&[("X-A", "1"), ("x-a", "2")])).is_some());
        let told = check_headers(&headers(&[("X-Team", "hidden\n")])).unwrap().1;
        assert!(!told.contains("hidden"), "{told}");
    }
}
