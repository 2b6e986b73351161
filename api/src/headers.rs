//! The headers that every answer carries, and how many a request may.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The largest head of a request, in bytes, its names and values added up.
const LARGEST: usize = 16 * 1024;

/// What browsers are told: that this is data, for nobody else, not to be framed, guessed at or kept. There are no CORS
/// headers, so no page of another origin reads an answer.
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Adds what an answer does not say otherwise.
pub(crate) fn secure(headers: &mut HeaderMap) {
    for (name, value) in SECURITY {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
}

/// Headers of which a request has one at most: of two, a proxy in front may have read the other one.
const SINGLE: [&str; 5] =
    ["Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "Stripe-Signature"];

/// The first header that is given twice and may not be.
pub(crate) fn repeated(headers: &HeaderMap) -> Option<&'static str> {
    SINGLE.into_iter().find(|name| headers.get_all(*name).nth(1).is_some())
}

/// Whether a request's headers are more than anybody needs.
pub(crate) fn are_too_large(headers: &HeaderMap) -> bool {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > LARGEST
}
