//! `/v1/webhooks`: where events go.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, NewWebhook, Page, Webhook};
use model::{EventKind, Fault, Timestamp, WebhookId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::auth::Caller;
use super::show::{self, List};
use crate::ApiError;
use crate::body::{self, Fields};
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
    /// Which events go there.
    events: &'a [EventKind],
    /// `enabled`, or `disabled`: nothing is sent.
    #[schema(value_type = Status)]
    status: &'static str,
    /// Why it is disabled.
    #[schema(required)]
    disabled_reason: Option<&'a str>,
    created_at: Timestamp,
    /// What deliveries are signed with; shown this once.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
#[schema(example = json!({"url": "https://example.com/hooks/botprimex", "events": ["trade.opened", "trade.closed"]}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct NewEndpoint {
    /// Where events go: `https`, on a public address.
    #[schema(max_length = 2048, format = "uri")]
    url: String,
    /// Which events go there; all by default.
    #[schema(min_items = 1)]
    events: Option<Vec<EventKind>>,
}

impl<'a> Shown<'a> {
    fn of(webhook: &'a Webhook) -> Self {
        let all = &EventKind::ALL;
        Self {
            id: webhook.id,
            url: &webhook.url,
            events: if webhook.kinds.is_empty() { all } else { &webhook.kinds },
            status: if webhook.disabled.is_some() { "disabled" } else { "enabled" },
            disabled_reason: webhook.disabled.as_deref(),
            created_at: webhook.created_at,
            secret: None,
        }
    }
}

/// Reads a body: `url`, and `events` where not all are wanted.
fn parse(fields: &Fields) -> Result<NewWebhook, ApiError> {
    let mut faults = Vec::new();
    let mut fault = |param: &str, code, message: String| {
        faults.push(Fault { param: param.chars().take(60).collect(), code, message });
    };
    let url = fields.get("url").map(|raw| serde_json::from_str::<String>(raw.get()));
    match &url {
        None => fault("url", "parameter_missing", "is required: where events go".to_owned()),
        Some(Err(_)) => {
            fault("url", "parameter_invalid", "must be a text such as \"https://host/path\"".to_owned());
        }
        Some(Ok(_)) => {}
    }
    let kinds = fields.get("events").filter(|raw| raw.get() != "null").map(|raw| kinds(raw));
    if let Some(Err(message)) = &kinds {
        fault("events", "parameter_invalid", message.clone());
    }
    for name in fields.keys().filter(|name| !["url", "events"].contains(&name.as_str())) {
        fault(name, "parameter_unknown", "is not a field here: leave it out".to_owned());
    }
    match (url, kinds.transpose()) {
        (Some(Ok(url)), Ok(kinds)) if faults.is_empty() => {
            Ok(NewWebhook { url, kinds: kinds.unwrap_or_default() })
        }
        _ => Err(ApiError::Invalid(faults)),
    }
}

fn kinds(raw: &RawValue) -> Result<Vec<EventKind>, String> {
    let known = EventKind::ALL.map(EventKind::as_str).join(", ");
    let mut kinds = serde_json::from_str::<Vec<EventKind>>(raw.get())
        .map_err(|_| format!("must be a list of some of {known}"))?;
    if kinds.is_empty() {
        return Err("is empty, so nothing would be delivered: leave it out for all events".to_owned());
    }
    kinds.sort_by_key(|kind| kind.as_str());
    kinds.dedup();
    Ok(kinds)
}

/// Create a webhook endpoint
///
/// Its secret is in this answer, and in no other.
#[utoipa::path(post, path = "/v1/webhooks", tag = "Webhooks", security(("api_key" = ["webhooks:write"])),
    request_body = NewEndpoint,
    responses((status = 201, description = "The endpoint, with its secret.", body = Shown)))]
pub(crate) async fn create(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let new = parse(&body::object(&request, payload).await?)?;
    let webhook = engine.create_webhook(account, new).await?;
    let location = format!("/v1/webhooks/{}", webhook.id);
    let shown = Shown { secret: Some(&webhook.secret), ..Shown::of(&webhook) };
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(shown))
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
    let asked = query.page::<WebhookId>();
    query.finish()?;
    let mut rows = engine.webhooks(account).await?;
    rows.retain(|webhook| asked.starting_after.is_none_or(|after| webhook.id < after));
    let has_more = rows.len() > asked.limit as usize;
    rows.truncate(asked.limit as usize);
    let shown = |webhook: &Webhook| serde_json::to_value(Shown::of(webhook)).map_err(|_| ApiError::Internal);
    show::list(&Page { rows, has_more }, shown, |webhook| webhook.id.to_string())
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
    let found = engine.webhooks(account).await?.into_iter().find(|webhook| webhook.id.to_string() == *path);
    let webhook = found.ok_or(ApiError::NotFound("webhook"))?;
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
    let id = path.parse().map_err(|_| ApiError::NotFound("webhook"))?;
    engine.delete_webhook(account, id).await?;
    Ok(HttpResponse::NoContent().finish())
}
