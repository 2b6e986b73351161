//! What an endpoint's owner sets, what of it is secret, and what a delivery to it is made with.

use std::sync::Arc;
use std::time::Duration;

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

/// How long a secret signs after the one that follows it (Standard Webhooks asks for some overlap).
const OVERLAP: Duration = Duration::from_hours(24);

/// How many secrets before the current one sign at most: each makes the header of every delivery longer.
const MOST_PREVIOUS: usize = 4;

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
    let is_control = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if text.chars().any(is_control) {
        return Some(("description", "holds a control character: leave it out".to_owned()));
    }
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
    /// What they were signed with before, newest first, and until when that signs as well.
    previous: Vec<(Secret, Timestamp)>,
    /// The owner's own headers.
    pub(crate) headers: Vec<(String, Secret)>,
}

/// The same as it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    secret: &'a str,
    /// The newest of those before; its end stands in the row.
    previous: Option<&'a str>,
    /// The others, with their ends in nanoseconds; records from before more than one was kept lack them.
    #[serde(borrow, default)]
    earlier: Vec<(&'a str, i64)>,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a str)>,
}

impl Secrets {
    /// A new endpoint's.
    pub(crate) fn new(headers: Vec<(String, Secret)>) -> Self {
        Self { current: new_secret(), previous: Vec::new(), headers }
    }

    /// Puts headers beside, or in the place of, those that are there; one without a value goes.
    pub(crate) fn merge(&mut self, headers: Vec<(String, Option<Secret>)>) {
        for (name, value) in headers {
            self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            self.headers.extend(value.map(|value| (name, value)));
        }
    }

    /// Another secret, and until when those before sign at the longest.
    ///
    /// # Errors
    /// When the first of those before ends, where there can be no more of them until then.
    pub(crate) fn rotated(self, now: Timestamp) -> Result<(Self, Timestamp), Timestamp> {
        let Self { current, mut previous, headers } = self;
        previous.retain(|(_, until)| now < *until);
        if let Some((_, first)) = previous.get(MOST_PREVIOUS - 1) {
            return Err(*first);
        }
        let until = now.plus_seconds(OVERLAP.as_secs());
        previous.insert(0, (current, until));
        Ok((Self { current: new_secret(), previous, headers }, until))
    }

    /// As they are stored.
    pub(crate) fn seal(&self, vault: &Vault, account: AccountId, id: WebhookId) -> SealedRecord {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        let mut previous = self.previous.iter().map(|(secret, until)| (secret.expose(), until.nanos()));
        let kept = Kept {
            secret: self.current.expose(),
            previous: previous.next().map(|(secret, _)| secret),
            earlier: previous.collect(),
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
                return Ok(Self { current, previous: Vec::new(), headers: Vec::new() });
            }
        };
        let plain =
            vault.open_record(webhook.account_id, webhook.id, record).map_err(|why| why.to_string())?;
        let kept: Kept<'_> = serde_json::from_slice(&plain).map_err(|_| "it makes no sense".to_owned())?;
        let secret = |text: &str| Secret::new(text.to_owned());
        let newest = kept.previous.map(secret).zip(webhook.previous_until);
        let earlier = kept.earlier.iter().map(|(text, until)| (secret(text), Timestamp::from_nanos(*until)));
        Ok(Self {
            current: secret(kept.secret),
            previous: newest.into_iter().chain(earlier).collect(),
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
    previous: Vec<(Signer, Timestamp)>,
}

impl Endpoint {
    /// `None` where its secret is none.
    pub(crate) fn new(webhook: &Webhook, secrets: &Secrets) -> Option<Arc<Self>> {
        let header = |(name, value): &(String, Secret)| {
            let mut value = HeaderValue::try_from(value.expose()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.as_str()).ok()?, value))
        };
        let previous = |(secret, until): &(Secret, Timestamp)| Some((Signer::new(secret)?, *until));
        Some(Arc::new(Self {
            url: webhook.url.clone(),
            headers: secrets.headers.iter().filter_map(header).collect(),
            signer: Signer::new(&secrets.current)?,
            previous: secrets.previous.iter().filter_map(previous).collect(),
        }))
    }

    /// The value of `webhook-signature`; after a rotation the secret before signs as well for a while.
    pub(crate) fn signature(&self, id: &str, timestamp_s: &str, body: &[u8], now: Timestamp) -> String {
        let valid = self.previous.iter().filter(|(_, until)| now < *until).map(|(signer, _)| signer);
        let signed = std::iter::once(&self.signer).chain(valid);
        signed.map(|signer| signer.sign(id, timestamp_s, body)).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MasterKey;
    use crate::store::Progress;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn webhook(previous_until: Option<Timestamp>) -> Webhook {
        Webhook {
            id: WebhookId::from_u128(1),
            account_id: AccountId::from_u128(2),
            url: "https://example.com".to_owned(),
            description: String::new(),
            kinds: Vec::new(),
            concurrency: CONCURRENCY,
            header_names: Vec::new(),
            previous_until,
            progress: Progress::default(),
            created_at: NOW,
        }
    }

    /// Which of some secrets sign at a time.
    fn signing(webhook: &Webhook, secrets: &Secrets, of: &[Secret], now: Timestamp) -> Vec<bool> {
        let signature = Endpoint::new(webhook, secrets).unwrap().signature("evt_1", "1", b"{}", now);
        let signs = |secret: &Secret| {
            let alone = Signer::new(secret).unwrap().sign("evt_1", "1", b"{}");
            signature.split(' ').any(|one| one == alone)
        };
        of.iter().map(signs).collect()
    }

    #[test]
    fn every_secret_signs_until_the_end_that_was_told_of_it() {
        let vault = Vault::new(MasterKey::draw(), 1);
        let (day, hour) = (OVERLAP.as_secs(), 3_600);
        let (mut row, mut secrets) = (webhook(None), Secrets::new(headers(&[("X-Team", "a")])));
        let mut told = vec![secrets.current.clone()];
        for rotation in 0..4 {
            let (rotated, until) = secrets.rotated(NOW.plus_seconds(rotation * hour)).unwrap();
            assert_eq!(until, NOW.plus_seconds(rotation * hour + day));
            told.push(rotated.current.clone());
            row.previous_until = Some(until);
            let stored = SealedWebhook {
                webhook: row.clone(),
                secrets: Ok(rotated.seal(&vault, row.account_id, row.id)),
            };
            secrets = Secrets::open(&vault, &stored).unwrap();
        }
        let signing = |after_s| signing(&row, &secrets, &told, NOW.plus_seconds(after_s));
        assert_eq!(signing(4 * hour), [true; 5]);
        assert_eq!(signing(day - 1), [true; 5]);
        assert_eq!(signing(day), [false, true, true, true, true]);
        assert_eq!(signing(day + 2 * hour), [false, false, false, true, true]);
        assert_eq!(signing(day + 3 * hour), [false, false, false, false, true]);
        assert_eq!(
            secrets.clone().rotated(NOW.plus_seconds(day - 1)).unwrap_err(),
            NOW.plus_seconds(day),
            "until then there are as many as there may be"
        );
        let (rotated, _) = secrets.rotated(NOW.plus_seconds(day)).unwrap();
        assert_eq!(rotated.previous.len(), 4, "the one that ended is forgotten");
    }

    #[test]
    fn what_was_sealed_when_one_secret_was_kept_opens_and_signs() {
        let vault = Vault::new(MasterKey::draw(), 1);
        let (old, new) = (new_secret(), new_secret());
        let plain = format!(
            r#"{{"secret":"{}","previous":"{}","headers":[["X-Team","a"]]}}"#,
            new.expose(),
            old.expose()
        );
        let row = webhook(Some(NOW));
        let sealed = vault.seal_record(row.account_id, row.id, plain.as_bytes());
        let secrets =
            Secrets::open(&vault, &SealedWebhook { webhook: row.clone(), secrets: Ok(sealed) }).unwrap();
        assert_eq!(secrets.headers.len(), 1);
        let of = [old, new];
        assert_eq!(signing(&row, &secrets, &of, NOW.plus_seconds(1)), [false, true]);
        assert_eq!(signing(&row, &secrets, &of, Timestamp::from_nanos(NOW.nanos() - 1)), [true, true]);
    }

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
