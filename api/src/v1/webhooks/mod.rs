//! `/v1/webhooks`: where events go.

pub(crate) mod deliveries;
mod fields;

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, Secret, Webhook};
use model::{EventKind, Timestamp, WebhookId};
use serde::Serialize;

use super::auth::Caller;
use super::once::Once;
use super::show::{self, List};
use crate::ApiError;
use crate::body;
use crate::query::{self, Query};

type Engine = web::Data<EngineHandle>;

/// An endpoint as it is shown; its secret once.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Webhook)]
struct Shown<'a> {
    id: WebhookId,
    /// Where events go.
    #[schema(example = "https://example.com/hooks/botprimex")]
    url: &'a str,
    /// What its owner says of it.
    description: &'a str,
    /// Which events go there.
    events: &'a [EventKind],
    /// `enabled`, or `disabled`: nothing is sent.
    #[schema(value_type = Status)]
    status: &'static str,
    /// Why it is disabled.
    #[schema(required)]
    disabled_reason: Option<&'a str>,
    /// Since when it is disabled.
    #[schema(required)]
    disabled_at: Option<Timestamp>,
    /// Since when every delivery has failed; after five days it is disabled.
    #[schema(required)]
    failing_since: Option<Timestamp>,
    /// How many deliveries are on their way to it at once.
    concurrency: u32,
    /// The names of the headers that go with every delivery; their values are not shown.
    header_names: &'a [String],
    /// Until when deliveries are signed with secrets from before the last rotation as well.
    #[schema(required)]
    previous_secret_expires_at: Option<Timestamp>,
    created_at: Timestamp,
    /// What deliveries are signed with; shown this once.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Whether events are sent.
#[derive(utoipa::ToSchema)]
#[schema(as = WebhookStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "its schema alone is used")]
enum Status {
    Enabled,
    Disabled,
}

/// Where events are to go.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"url": "https://example.com/hooks/botprimex", "events": ["trade.opened", "trade.closed"],
    "description": "the ledger", "headers": {"X-Team": "trading"}}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct NewEndpoint {
    /// Where events go: `https`, on a public address, on port 443 or 8443 unless the operator allows others.
    #[schema(max_length = 2048, format = "uri")]
    url: String,
    /// Which events go there; by default all but `trade.updated`, which is to be named.
    #[schema(min_items = 1)]
    events: Option<Vec<EventKind>>,
    /// What you say of it.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Up to 20 headers that go with every delivery besides ours, by name. Their values are not shown again.
    headers: Option<BTreeMap<String, String>>,
    /// How many deliveries may be on their way to it at once; events of one bot always come one after the other.
    #[schema(minimum = 1, maximum = 32, default = 4)]
    concurrency: Option<u32>,
}

/// What of an endpoint is to change.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"events": ["trade.closed"], "headers": {"X-Team": null}, "status": "enabled"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct EndpointPatch {
    /// Where events go: `https`, on a public address, on port 443 or 8443 unless the operator allows others.
    #[schema(max_length = 2048, format = "uri", nullable = false)]
    url: Option<String>,
    /// Which events go there; `null` for all but `trade.updated`.
    #[schema(min_items = 1)]
    events: Option<Vec<EventKind>>,
    /// What you say of it.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Headers to add or replace, by name; `null` takes one away, and in the place of all, all.
    headers: Option<BTreeMap<String, Option<String>>>,
    /// How many deliveries may be on their way to it at once.
    #[schema(minimum = 1, maximum = 32)]
    concurrency: Option<u32>,
    /// Whether events are sent.
    status: Option<Status>,
}

impl<'a> Shown<'a> {
    fn of(webhook: &'a Webhook) -> Self {
        Self {
            id: webhook.id,
            url: &webhook.url,
            description: &webhook.description,
            events: EventKind::subscribed(&webhook.kinds),
            status: if webhook.progress.disabled.is_some() { "disabled" } else { "enabled" },
            disabled_reason: webhook.progress.disabled.as_deref(),
            disabled_at: webhook.progress.disabled_at,
            failing_since: webhook.progress.failing_since,
            concurrency: webhook.concurrency,
            header_names: &webhook.header_names,
            previous_secret_expires_at: webhook.previous_until,
            created_at: webhook.created_at,
            secret: None,
        }
    }
}

/// Create a webhook endpoint
///
/// Its secret is in this answer, and in no other.
#[utoipa::path(post, path = "/v1/webhooks", tag = "Webhooks", security(("api_key" = ["webhooks:write"])),
    request_body = NewEndpoint,
    responses((status = 201, description = "The endpoint, with its secret.", body = Shown),
        (status = 409, description = "The account has as many as it may.")))]
pub(crate) async fn create(
    caller: Caller,
    once: Once,
    engine: Engine,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let new = fields::new(&body::object(&request, payload).await?)?;
    let answer = |webhook: &Webhook, secret: &Secret| {
        let shown = Shown { secret: Some(secret.expose()), ..Shown::of(webhook) };
        once.created(format!("/v1/webhooks/{}", webhook.id), &shown)
    };
    engine.create_webhook_answering(account, new, answer).await
}

/// List webhook endpoints
///
/// Newest first, without their secrets.
#[utoipa::path(get, path = "/v1/webhooks", tag = "Webhooks", security(("api_key" = ["webhooks:read"])),
    params(query::Page<WebhookId>),
    responses((status = 200, description = "A page of endpoints.", body = List<Shown>)))]
pub(crate) async fn list(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<WebhookId>();
    query.finish()?;
    let webhooks = engine.webhooks(account, page.limit, page.starting_after).await?;
    let shown = |webhook: &Webhook| serde_json::to_value(Shown::of(webhook)).map_err(|_| ApiError::Internal);
    show::list(&webhooks, shown, |webhook| webhook.id.to_string())
}

/// Get a webhook endpoint
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "Webhooks", security(("api_key" = ["webhooks:read"])),
    params(("id" = WebhookId, Path, description = "Which endpoint.")),
    responses((status = 200, description = "The endpoint, without its secret.", body = Shown)))]
pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let webhook = engine.webhook(account, named(&path)?).await?;
    Ok(HttpResponse::Ok().json(Shown::of(&webhook)))
}

/// Change a webhook endpoint
///
/// What is not named stays as it is, and `null` takes a field back to its default. A new address is tried at once with
/// what had failed at the old one. With `"status":"enabled"` a disabled endpoint hears of what happens from then on;
/// what it missed is delivered by `POST /v1/webhooks/{id}/replay`.
#[utoipa::path(patch, path = "/v1/webhooks/{id}", tag = "Webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = WebhookId, Path, description = "Which endpoint.")),
    request_body = EndpointPatch,
    responses((status = 200, description = "The endpoint as it is now.", body = Shown)))]
pub(crate) async fn patch(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = named(&path)?;
    let change = fields::patch(&body::object(&request, payload).await?)?;
    let webhook = engine.change_webhook(account, id, change).await?;
    Ok(HttpResponse::Ok().json(Shown::of(&webhook)))
}

/// Delete a webhook endpoint
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "Webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = WebhookId, Path, description = "Which endpoint.")),
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    engine.delete_webhook(account, named(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Rotate a webhook endpoint's secret
///
/// The new secret is in this answer, and in no other. For 24 hours deliveries are signed with the one before as well:
/// `webhook-signature` then holds a signature of each, and a receiver that knows either secret accepts it. Up to four
/// earlier secrets sign beside the current one, each for its 24 hours.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate-secret", tag = "Webhooks",
    security(("api_key" = ["webhooks:write"])),
    params(("id" = WebhookId, Path, description = "Which endpoint.")),
    request_body = Option<body::NoFields>,
    responses((status = 200, description = "The endpoint, with its new secret.", body = Shown),
        (status = 409, description = "As many earlier secrets still sign as may.")))]
pub(crate) async fn rotate(
    caller: Caller,
    once: Once,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = named(&path)?;
    body::nothing(&request, payload).await?;
    let answer = |webhook: &Webhook, secret: &Secret| {
        let shown = Shown { secret: Some(secret.expose()), ..Shown::of(webhook) };
        once.answered(StatusCode::OK, None, &shown)
    };
    engine.rotate_webhook_secret_answering(account, id, answer).await
}

/// The endpoint that a path names.
fn named(id: &str) -> Result<WebhookId, ApiError> {
    id.parse().map_err(|_| ApiError::NotFound("webhook"))
}
