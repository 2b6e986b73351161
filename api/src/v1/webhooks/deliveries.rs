//! `/v1/webhooks/{id}/deliveries` and what makes more of them: tests and replays.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use engine::{Delivery, DeliveryFilter, DeliveryStatus};
use model::{DeliveryId, EventId, EventKind, Timestamp, WebhookId};
use serde::Serialize;

use super::{Engine, fields, named};
use crate::ApiError;
use crate::body;
use crate::query::{self, Query};
use crate::v1::auth::Caller;
use crate::v1::once::Once;
use crate::v1::show::{self, List};

/// A delivery as it is shown.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Delivery)]
struct Shown<'a> {
    id: DeliveryId,
    /// The event; the same in every delivery of it.
    event_id: EventId,
    /// What happened, or `webhook.test`.
    #[schema(example = "trade.closed")]
    event: &'a str,
    /// Why it is made: `event`, `replay` or `test`.
    #[schema(value_type = Origin)]
    origin: &'static str,
    /// `waiting` (for its first attempt or the next one), `delivered`, or `failed`: given up.
    #[schema(value_type = Status)]
    status: &'static str,
    /// How often it was tried.
    attempts: u32,
    /// When it is tried again.
    #[schema(required)]
    next_attempt_at: Option<Timestamp>,
    /// What the endpoint answered to the last attempt.
    #[schema(required)]
    http_status: Option<u16>,
    /// How long the last attempt took.
    #[schema(required)]
    duration_ms: Option<u32>,
    /// How the answer began: up to 1 KiB of it, what a terminal or a page could take for more than text escaped.
    #[schema(required)]
    response: Option<&'a str>,
    /// Why the last attempt did not count, where there was no answer.
    #[schema(required)]
    error: Option<&'a str>,
    created_at: Timestamp,
    /// When the last attempt ended.
    #[schema(required)]
    attempted_at: Option<Timestamp>,
}

impl<'a> Shown<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        let last = delivery.last.as_ref();
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            event: &delivery.kind,
            origin: delivery.origin.as_str(),
            status: delivery.status.as_str(),
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_at,
            http_status: last.and_then(|last| last.http_status),
            duration_ms: last.map(|last| last.duration_ms),
            response: last.and_then(|last| last.answer.as_deref()),
            error: last.and_then(|last| last.error.as_deref()),
            created_at: delivery.created_at,
            attempted_at: last.map(|_| delivery.updated_at),
        }
    }
}

/// How far a delivery got.
#[derive(utoipa::ToSchema)]
#[schema(as = DeliveryStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "its schema alone is used")]
enum Status {
    /// For its first attempt, or the next one.
    Waiting,
    Delivered,
    /// It was given up.
    Failed,
}

/// Why a delivery is made.
#[derive(utoipa::ToSchema)]
#[schema(as = DeliveryOrigin, rename_all = "snake_case")]
#[expect(dead_code, reason = "its schema alone is used")]
enum Origin {
    Event,
    Replay,
    Test,
}

/// Since when events are to be delivered once more.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"since": "2026-04-01T12:00:00Z"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct Since {
    since: Timestamp,
}

/// How many events are delivered once more.
#[derive(Serialize, utoipa::ToSchema)]
struct Replayed {
    /// How many deliveries were made up.
    replayed: usize,
    /// Whether there are more than one request makes up: ask again once these are through.
    has_more: bool,
}

/// List an endpoint's deliveries
///
/// Those of the last 30 days, newest first, each as its last attempt left it; of an endpoint with very many, the newest
/// 100,000.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "Webhooks",
    security(("api_key" = ["webhooks:read"])),
    params(
        ("id" = WebhookId, Path, description = "Which endpoint."),
        query::Page<DeliveryId>,
        ("status" = Option<Status>, Query, description = "Only deliveries that got so far."),
        ("event" = Option<EventKind>, Query, description = "Only deliveries of events of this kind."),
    ),
    responses((status = 200, description = "A page of deliveries.", body = List<Shown>)))]
pub(crate) async fn list(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = named(&path)?;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<DeliveryId>();
    let filter = DeliveryFilter {
        status: query.word("status", &DeliveryStatus::ALL.map(|status| (status.as_str(), status))),
        kinds: query.word("event", &EventKind::ALL.map(|kind| (kind.as_str(), kind))).into_iter().collect(),
    };
    query.finish()?;
    let deliveries = engine.deliveries(account, id, filter, page.limit, page.starting_after).await?;
    let shown =
        |delivery: &Delivery| serde_json::to_value(Shown::of(delivery)).map_err(|_| ApiError::Internal);
    show::list(&deliveries, shown, |delivery| delivery.id.to_string())
}

/// Get a delivery
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries/{delivery_id}", tag = "Webhooks",
    security(("api_key" = ["webhooks:read"])),
    params(("id" = WebhookId, Path, description = "Which endpoint."),
        ("delivery_id" = DeliveryId, Path, description = "Which delivery.")),
    responses((status = 200, description = "The delivery.", body = Shown)))]
pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let (webhook, id) = both(&path)?;
    let delivery = engine.delivery(account, webhook, id).await?;
    Ok(HttpResponse::Ok().json(Shown::of(&delivery)))
}

/// Send a test event
///
/// One signed delivery of a `webhook.test`, without retries; the answer tells what came of it. A disabled endpoint can be
/// tested as well. Asked again under its `Idempotency-Key` after the server was killed, it is not sent again: 202, and the
/// delivery tells what is known.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "Webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = WebhookId, Path, description = "Which endpoint.")),
    request_body = Option<body::NoFields>,
    responses((status = 200, description = "What came of it.", body = Shown),
        (status = 202, description = "It was asked for before; what came of it was not known then.", body = Shown)))]
pub(crate) async fn test(
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
    let meanwhile = |delivery: &Delivery| once.meanwhile(&Shown::of(delivery));
    let delivery = engine.test_webhook(account, id, meanwhile).await?;
    Ok(HttpResponse::Ok().json(Shown::of(&delivery)))
}

/// Deliver an event once more
///
/// A new delivery, under the event's own id; it is retried like every other.
#[utoipa::path(post, path = "/v1/webhooks/{id}/deliveries/{delivery_id}/replay", tag = "Webhooks",
    security(("api_key" = ["webhooks:write"])),
    params(("id" = WebhookId, Path, description = "Which endpoint."),
        ("delivery_id" = DeliveryId, Path, description = "Which delivery.")),
    request_body = Option<body::NoFields>,
    responses((status = 202, description = "The new delivery; it is made at once.", body = Shown),
        (status = 409, description = "The endpoint is disabled, or the delivery was a test.")))]
pub(crate) async fn replay(
    caller: Caller,
    once: Once,
    engine: Engine,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let (webhook, id) = both(&path)?;
    body::nothing(&request, payload).await?;
    let answer = |delivery: &Delivery| once.answered(StatusCode::ACCEPTED, None, &Shown::of(delivery));
    engine.replay_delivery(account, webhook, id, answer).await
}

/// Deliver once more what an endpoint missed
///
/// Every event since a time that the endpoint wants and has not taken: what failed for good, and what happened while the
/// endpoint was disabled. In order, per bot; what is still being retried is left to that.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", tag = "Webhooks", security(("api_key" = ["webhooks:write"])),
    params(("id" = WebhookId, Path, description = "Which endpoint.")),
    request_body = Since,
    responses((status = 202, description = "How many; they are made one after the other.", body = Replayed),
        (status = 409, description = "The endpoint is disabled.")))]
pub(crate) async fn replay_since(
    caller: Caller,
    once: Once,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = named(&path)?;
    let since = fields::since(&body::object(&request, payload).await?)?;
    let answer =
        |replayed, has_more| once.answered(StatusCode::ACCEPTED, None, &Replayed { replayed, has_more });
    engine.replay_since(account, id, since, answer).await
}

fn both((webhook, delivery): &(String, String)) -> Result<(model::WebhookId, DeliveryId), ApiError> {
    Ok((named(webhook)?, delivery.parse().map_err(|_| ApiError::NotFound("delivery"))?))
}
