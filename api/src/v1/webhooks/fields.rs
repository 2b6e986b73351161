//! The fields of an endpoint's bodies. What was given is never repeated for a header: its value is a secret.

use std::collections::BTreeMap;

use engine::{NewWebhook, Secret, WebhookPatch};
use model::{EventKind, Fault, Timestamp};
use serde::de::DeserializeOwned;

use crate::ApiError;
use crate::body::Fields;

const NEW: [&str; 5] = ["url", "events", "description", "headers", "concurrency"];
const PATCH: [&str; 6] = ["url", "events", "description", "headers", "concurrency", "status"];

/// A field as it was given.
enum Given<T> {
    /// Not at all.
    Missing,
    /// As `null`.
    Null,
    Value(T),
}

/// Takes fields out of a body one by one and remembers what was wrong with them.
struct Reader<'a> {
    fields: &'a Fields,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn new(fields: &'a Fields, known: &[&str]) -> Self {
        let mut reader = Self { fields, faults: Vec::new() };
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = format!("is not a field here; known are {}", known.join(", "));
            reader.fault(name, "parameter_unknown", message);
        }
        reader
    }

    fn read<T: DeserializeOwned>(&mut self, name: &str, wanted: &str) -> Given<T> {
        match self.fields.get(name).map(|raw| raw.get()) {
            None => Given::Missing,
            Some("null") => Given::Null,
            Some(text) => match serde_json::from_str(text) {
                Ok(value) => Given::Value(value),
                Err(_) => {
                    self.fault(name, "parameter_invalid", format!("must be {wanted}"));
                    Given::Missing
                }
            },
        }
    }

    fn url(&mut self) -> Given<String> {
        self.read("url", "a text such as \"https://host/path\"")
    }

    fn kinds(&mut self) -> Given<Vec<EventKind>> {
        let known = EventKind::ALL.map(EventKind::as_str).join(", ");
        let mut given = self.read::<Vec<EventKind>>("events", &format!("a list of some of {known}"));
        if let Given::Value(kinds) = &mut given {
            if kinds.is_empty() {
                let message = "is empty, so nothing would be delivered: leave it out for all events";
                self.fault("events", "parameter_invalid", message.to_owned());
            }
            kinds.sort_by_key(|kind| kind.as_str());
            kinds.dedup();
        }
        given
    }

    fn description(&mut self) -> Given<String> {
        self.read("description", "a text")
    }

    fn headers(&mut self) -> Given<Vec<(String, Option<Secret>)>> {
        let wanted = "an object of texts such as {\"X-Team\":\"trading\"}";
        match self.read::<BTreeMap<String, Option<String>>>("headers", wanted) {
            Given::Missing => Given::Missing,
            Given::Null => Given::Null,
            Given::Value(headers) => Given::Value(
                headers.into_iter().map(|(name, value)| (name, value.map(Secret::new))).collect(),
            ),
        }
    }

    fn concurrency(&mut self) -> Given<u32> {
        self.read("concurrency", "a whole number from 1 to 32")
    }

    fn fault(&mut self, name: &str, code: &'static str, message: String) {
        self.faults.push(Fault { param: name.chars().take(60).collect(), code, message });
    }

    fn finish<T>(self, value: T) -> Result<T, ApiError> {
        if self.faults.is_empty() { Ok(value) } else { Err(ApiError::Invalid(self.faults)) }
    }
}

impl<T> Given<T> {
    fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Null => None,
        }
    }

    /// What a change comes to: `null` takes a field back to this.
    fn or_default(self, default: T) -> Option<T> {
        match self {
            Self::Missing => None,
            Self::Null => Some(default),
            Self::Value(value) => Some(value),
        }
    }
}

/// An endpoint that is to be made.
pub(super) fn new(fields: &Fields) -> Result<NewWebhook, ApiError> {
    let mut body = Reader::new(fields, &NEW);
    let url = body.url();
    if matches!(url, Given::Missing | Given::Null) && !body.faults.iter().any(|fault| fault.param == "url") {
        body.fault("url", "parameter_missing", "is required: where events go".to_owned());
    }
    let headers = body.headers().value().unwrap_or_default();
    let new = NewWebhook {
        url: url.value().unwrap_or_default(),
        kinds: body.kinds().value().unwrap_or_default(),
        description: body.description().value().unwrap_or_default(),
        headers: headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        concurrency: body.concurrency().value(),
    };
    body.finish(new)
}

/// What of an endpoint is to change.
pub(super) fn patch(fields: &Fields) -> Result<WebhookPatch, ApiError> {
    let mut body = Reader::new(fields, &PATCH);
    let url = body.url();
    if matches!(url, Given::Null) {
        body.fault("url", "parameter_invalid", "cannot be left out: events have to go somewhere".to_owned());
    }
    let headers = body.headers();
    let enabled = match body.read::<String>("status", "\"enabled\" or \"disabled\"") {
        Given::Missing => None,
        Given::Null => Some(true),
        Given::Value(word) if word == "enabled" => Some(true),
        Given::Value(word) if word == "disabled" => Some(false),
        Given::Value(_) => {
            body.fault("status", "parameter_invalid", "must be \"enabled\" or \"disabled\"".to_owned());
            None
        }
    };
    let patch = WebhookPatch {
        url: url.value(),
        kinds: body.kinds().or_default(Vec::new()),
        description: body.description().or_default(String::new()),
        forget_headers: matches!(headers, Given::Null),
        headers: headers.value().unwrap_or_default(),
        concurrency: body.concurrency().or_default(engine::CONCURRENCY),
        enabled,
    };
    body.finish(patch)
}

/// Since when what failed is to be delivered once more.
pub(super) fn since(fields: &Fields) -> Result<Timestamp, ApiError> {
    let mut body = Reader::new(fields, &["since"]);
    match body.read::<Timestamp>("since", "a time such as \"2026-04-01T12:00:00Z\"") {
        Given::Value(since) => body.finish(since),
        Given::Missing | Given::Null => {
            if body.faults.is_empty() {
                let message = "is required: since when what failed is delivered once more".to_owned();
                body.fault("since", "parameter_missing", message);
            }
            Err(ApiError::Invalid(body.faults))
        }
    }
}
