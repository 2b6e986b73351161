//! `/v1/events`: what was or will be delivered.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, StoredEvent};
use model::{EventId, EventKind, Timestamp};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::show::{self, List};
use crate::ApiError;
use crate::query::{Page, Query};

/// An event, as it is delivered.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"id": "evt_019d486c34557a018b7c6d5e4f302112", "event": "bot.started",
    "timestamp": "2026-04-01T12:00:00Z", "data": {"bot_id": "bot_019d486c2f4a7c3b8d5e6f708192a3b4",
    "name": "BTC DCA Bot", "reason": "user"}}))]
#[expect(
    dead_code,
    clippy::struct_field_names,
    reason = "an event is stored as it is sent; this is its schema"
)]
struct Event {
    id: EventId,
    /// What happened.
    event: EventKind,
    /// When.
    timestamp: Timestamp,
    /// What the event tells: see *Webhooks*.
    #[schema(value_type = Object)]
    data: (),
}

/// List events
///
/// What was or will be delivered, newest first: to catch up from after an outage of yours.
#[utoipa::path(get, path = "/v1/events", tag = "Events", security(("api_key" = ["account:read"])),
    params(Page<EventId>),
    responses((status = 200, description = "A page of events.", body = List<Event>)))]
pub(crate) async fn list(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<EventId>();
    query.finish()?;
    let events = engine.events(account, page.limit, page.starting_after).await?;
    let shown =
        |event: &StoredEvent| RawValue::from_string(event.body.clone()).map_err(|_| ApiError::Internal);
    show::list(&events, shown, |event| event.id.to_string())
}
