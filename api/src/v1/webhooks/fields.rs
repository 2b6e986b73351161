//! The fields of an endpoint's bodies. A header's value is a secret.

use std::collections::BTreeMap;

use engine::{NewWebhook, Secret, WebhookPatch};
use model::{EventKind, Timestamp};

use crate::ApiError;
use crate::body::{Fields, Given, Reader, json, whole};

/// What an address has to be.
const URL: &str = "the address that events go to, a text such as \"https://host/path\"";

fn kinds(body: &mut Reader<'_>) -> Given<Vec<EventKind>> {
    let known = EventKind::ALL.map(EventKind::as_str).join(", ");
    let mut given = body.given("events", &format!("a list of some of {known}"), json::<Vec<EventKind>>);
    if let Given::Value(kinds) = &mut given {
        if kinds.is_empty() {
            let message = "is empty, so nothing would be delivered: leave it out for all events";
            body.fault::<()>("events", "parameter_invalid", message);
        }
        kinds.sort_by_key(|kind| kind.as_str());
        kinds.dedup();
    }
    given
}

fn description(body: &mut Reader<'_>) -> Given<String> {
    body.given("description", "a text", json)
}

fn headers(body: &mut Reader<'_>) -> Given<Vec<(String, Option<Secret>)>> {
    body.given("headers", "an object of texts such as {\"X-Team\":\"trading\"}", |raw| {
        let headers: BTreeMap<String, Option<String>> = json(raw)?;
        Some(headers.into_iter().map(|(name, value)| (name, value.map(Secret::new))).collect())
    })
}

fn concurrency(body: &mut Reader<'_>) -> Given<u32> {
    body.given("concurrency", "a whole number from 1 to 32", whole)
}

/// An endpoint that is to be made.
pub(super) fn new(fields: &Fields) -> Result<NewWebhook, ApiError> {
    let mut body = Reader::new(fields);
    let url = body.required("url", URL, json);
    let kinds = kinds(&mut body).value().unwrap_or_default();
    let description = description(&mut body).value().unwrap_or_default();
    let headers = headers(&mut body).value().unwrap_or_default();
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let concurrency = concurrency(&mut body).value();
    body.finish(url.map(|url| NewWebhook { url, kinds, description, headers, concurrency }))
}

/// What of an endpoint is to change.
pub(super) fn patch(fields: &Fields) -> Result<WebhookPatch, ApiError> {
    let mut body = Reader::new(fields);
    let url = body.given("url", URL, json);
    if matches!(url, Given::Null) {
        body.fault::<()>("url", "parameter_invalid", "cannot be left out: events have to go somewhere");
    }
    let kinds = kinds(&mut body).or_default(Vec::new());
    let description = description(&mut body).or_default(String::new());
    let headers = headers(&mut body);
    let concurrency = concurrency(&mut body).or_default(engine::CONCURRENCY);
    let enabled =
        body.given("status", "\"enabled\" or \"disabled\"", |raw| match json::<String>(raw)?.as_str() {
            "enabled" => Some(true),
            "disabled" => Some(false),
            _ => None,
        });
    body.finish(Some(WebhookPatch {
        url: url.value(),
        kinds,
        description,
        forget_headers: matches!(headers, Given::Null),
        headers: headers.value().unwrap_or_default(),
        concurrency,
        enabled: enabled.or_default(true),
    }))
}

/// Since when what failed is to be delivered once more.
pub(super) fn since(fields: &Fields) -> Result<Timestamp, ApiError> {
    let mut body = Reader::new(fields);
    let wanted = "the time since when what failed is delivered once more, such as \"2026-04-01T12:00:00Z\"";
    let since = body.required("since", wanted, json);
    body.finish(since)
}
