//! `/v1/stream`: what happens in the account, as server-sent events.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse, rt};
use engine::{BotStatus, BotTrouble, EngineHandle, EventStream, Told};
use futures_util::stream;
use model::{BotId, EventId};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::auth::{Caller, Door};
use crate::ApiError;

/// After how long a silence a comment is sent, so that nobody on the way takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a reader may take to take more; then it is cut off, and may come back to where it was.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a stream lasts, so that none is held open for ever.
const LIFETIME: Duration = Duration::from_mins(15);

/// How many pieces wait for a reader beside the one on its way: a piece is a hundred events at most, and no more is
/// read for one that does not read.
const WAITING: usize = 1;

/// Whether the server closes; streams end then.
#[derive(Clone, Debug)]
pub(crate) struct Closing(pub(crate) watch::Receiver<bool>);

/// The data of a `bot.status`.
#[derive(Serialize)]
struct Turned<'a> {
    bot_id: BotId,
    status: &'static str,
    error: Option<&'a BotTrouble>,
}

/// Follow what happens
///
/// Server-sent events: the same events as webhooks get, each with `id:`, `event:` (its kind) and `data:` (its body), and
/// `bot.status` with `{"bot_id", "status", "error"}` whenever a bot is elsewhere in its life, `status` being `deleted` for
/// the last time. After a break, send the last
/// id as `Last-Event-ID` (an `EventSource` does so by itself): no event is lost or told twice. A `bot.status` has no id,
/// for it is a state: where every bot is, is told at the beginning of each stream. Without `Last-Event-ID` a stream begins
/// now. A comment is sent every 15 seconds; a stream ends after 15 minutes, when its reader stops reading, and when the
/// server does: connect again. It ends within a second when its key is revoked or expires.
#[utoipa::path(get, path = "/v1/stream", tag = "Events", security(("api_key" = ["bots:read"])),
    params(("Last-Event-ID" = Option<EventId>, Header, description = "The last event that you have heard of.")),
    responses((status = 200, description = "The stream.", body = String, content_type = "text/event-stream",
            example = "id: evt_019d486c34557a018b7c6d5e4f302112\nevent: bot.started\ndata: {…}\n\n"),
        (status = 409, description = "The account is followed too many times already.")))]
pub(crate) async fn follow(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    closing: web::Data<Closing>,
    door: web::Data<Door>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let after = request.headers().get("last-event-id").filter(|value| !value.is_empty());
    let wanted = || ApiError::field("Last-Event-ID", "parameter_invalid", "is not the id of an event");
    let after = after
        .map(|value| value.to_str().ok().and_then(|text| text.parse::<EventId>().ok()).ok_or_else(wanted))
        .transpose()?;
    let (events, first) = engine.follow(caller.account, after).await?;
    let (pieces, taken) = mpsc::channel(WAITING);
    let telling = tell(events, first, pieces, closing.0.clone());
    rt::spawn(async move {
        tokio::select! {
            () = telling => {}
            () = door.lost(&engine, &caller) => {}
        }
    });
    let body = stream::unfold(taken, |mut taken| async move {
        taken.recv().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), taken))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(body))
}

/// Tells a reader what happens, until it is gone, too slow, or has been here long enough.
async fn tell(
    mut events: EventStream,
    first: Vec<Told>,
    pieces: mpsc::Sender<Bytes>,
    mut closing: watch::Receiver<bool>,
) {
    let ends = Instant::now() + LIFETIME;
    let mut told = first;
    let mut begin = "retry: 1000\n".to_owned();
    loop {
        let mut text = std::mem::take(&mut begin);
        for told in &told {
            text.push_str(&frame(told));
        }
        if text.is_empty() {
            ":\n\n".clone_into(&mut text);
        }
        if !matches!(timeout(PATIENCE, pieces.send(text.into())).await, Ok(Ok(()))) {
            return;
        }
        if Instant::now() >= ends {
            return;
        }
        told = tokio::select! {
            next = events.next(ends.min(Instant::now() + HEARTBEAT)) => match next {
                Ok(next) => next,
                Err(error) => return tracing::warn!(%error, "a stream was ended"),
            },
            _ = closing.wait_for(|is_closing| *is_closing) => return,
            () = pieces.closed() => return,
        };
    }
}

fn frame(told: &Told) -> String {
    match told {
        // Alone it moves the reader's place, and tells it nothing.
        Told::From(id) => format!("id: {id}\n\n"),
        Told::Event(event) => {
            let (id, kind, body) = (event.id, event.kind.as_str(), &event.body);
            format!("id: {id}\nevent: {kind}\ndata: {body}\n\n")
        }
        Told::Bot(turn) => {
            let status = turn.status.map_or("deleted", BotStatus::as_str);
            let turned = Turned { bot_id: turn.bot_id, status, error: turn.trouble.as_ref() };
            let data = serde_json::to_string(&turned).unwrap_or_default();
            format!("event: bot.status\ndata: {data}\n\n")
        }
    }
}
