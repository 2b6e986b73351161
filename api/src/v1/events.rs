//! `/v1/events`: what was or will be delivered.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, EventFilter, StoredEvent};
use model::{BotId, EventId, EventKind, Timestamp};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::show::{self, List};
use crate::ApiError;
use crate::query::{Page, Query};

/// An event, as it is delivered.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"id": "evt_019d486c34557a018b7c6d5e4f302112", "event": "bot.started",
    "timestamp": "2026-04-01T12:00:00Z", "sequence": 1, "data": {"bot_id": "bot_019d486c2f4a7c3b8d5e6f708192a3b4",
    "name": "BTC DCA Bot", "reason": "user", "message": "BTC DCA Bot started"}}))]
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
    /// Its place among its bot's events, or among those of the account that are about no bot: from 1, without gaps.
    #[schema(minimum = 1)]
    sequence: i64,
    /// What the event tells: see *Webhooks*.
    #[schema(value_type = Object)]
    data: (),
}

/// Which way a list goes.
#[derive(utoipa::ToSchema)]
#[schema(as = ListOrder, rename_all = "snake_case")]
#[expect(dead_code, reason = "its schema alone is used")]
enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// List events
///
/// What was or will be delivered in the last 30 days, newest first. To catch up after an outage of yours, ask with
/// `order=asc` and, as `starting_after`, the id of the last event that you have dealt with, until `has_more` is false.
/// An event's `sequence` counts its bot's events without gaps (those about no bot: its account's), so one that is missing
/// is noticed.
#[utoipa::path(get, path = "/v1/events", tag = "Events", security(("api_key" = ["account:read"])),
    params(
        Page<EventId>,
        ("event" = Option<EventKind>, Query, description = "Only events of this kind."),
        ("bot_id" = Option<BotId>, Query, description = "Only events about this bot."),
        ("from" = Option<Timestamp>, Query, description = "Only events of this time or later."),
        ("to" = Option<Timestamp>, Query, description = "Only events of before this time."),
        ("order" = inline(Option<Order>), Query, description = "`desc`, newest first, by default."),
    ),
    responses((status = 200, description = "A page of events.", body = List<Event>)))]
pub(crate) async fn list(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<EventId>();
    let filter = EventFilter {
        kinds: query.word("event", &EventKind::ALL.map(|kind| (kind.as_str(), kind))).into_iter().collect(),
        bot_id: query.optional("bot_id", "the id of a bot"),
        from: query.optional("from", "a time such as 2026-04-01T12:00:00Z"),
        to: query.optional("to", "a time such as 2026-04-01T12:00:00Z"),
        ascending: query.word("order", &[("asc", true), ("desc", false)]).unwrap_or_default(),
    };
    query.finish()?;
    let events = engine.events(account, filter, page.limit, page.starting_after).await?;
    let shown =
        |event: &StoredEvent| RawValue::from_string(event.body.clone()).map_err(|_| ApiError::Internal);
    show::list(&events, shown, |event| event.id.to_string())
}
