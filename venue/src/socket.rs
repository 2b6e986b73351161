//! Sockets that market streams are heard on, raw and combined.

use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::hub::{ListenerId, MOST_STREAMS, WAITING};
use crate::params::Params;
use crate::{Shared, clock};

/// How often a peer is pinged.
pub(crate) const PING: Duration = Duration::from_secs(20);

/// The largest frame that is read.
const LARGEST: usize = 64 * 1024;

/// When a connection is dropped, where that is among the faults.
pub(crate) fn end_of_life(shared: &Shared) -> Option<Instant> {
    let about = shared.config.faults.drop_connection_every?;
    Some(Instant::now() + shared.dice.life(about))
}

/// Begins a socket; large frames are refused.
pub(crate) fn open(
    request: &HttpRequest,
    body: web::Payload,
) -> Result<(HttpResponse, Session, AggregatedMessageStream), Error> {
    let (answer, session, messages) = actix_ws::handle(request, body)?;
    Ok((answer, session, messages.max_frame_size(LARGEST).aggregate_continuations()))
}

/// `/ws` and `/ws/<streams>`: bare frames.
pub(crate) async fn raw(
    shared: web::Data<Shared>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    let path = request.match_info().get("streams").unwrap_or_default();
    // Some clients number their sockets in the path: what names no stream is no stream.
    let streams = path.split('/').filter(|stream| stream.contains('@')).map(str::to_owned).collect();
    streaming(shared, &request, body, streams, false)
}

/// `/stream?streams=<a>/<b>`: frames wrapped with their stream's name.
pub(crate) async fn combined(
    shared: web::Data<Shared>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    let params = Params::from_form(request.query_string());
    let streams = params.get("streams").unwrap_or_default();
    let streams = streams.split('/').filter(|stream| !stream.is_empty()).map(str::to_owned).collect();
    streaming(shared, &request, body, streams, true)
}

fn streaming(
    shared: web::Data<Shared>,
    request: &HttpRequest,
    body: web::Payload,
    streams: Vec<String>,
    is_combined: bool,
) -> Result<HttpResponse, Error> {
    let (answer, session, messages) = open(request, body)?;
    let (frames, waiting) = mpsc::channel(WAITING);
    let id = shared.hub().open(frames, is_combined);
    actix_web::rt::spawn(async move {
        if !streams.is_empty() && shared.hub().subscribe(id, &streams) {
            shared.subscribed.notify_one();
        }
        stream(&shared, id, session, messages, waiting).await;
        shared.hub().close(id);
    });
    Ok(answer)
}

/// Serves one market connection until it ends.
async fn stream(
    shared: &Shared,
    id: ListenerId,
    mut session: Session,
    mut messages: AggregatedMessageStream,
    mut waiting: mpsc::Receiver<Bytes>,
) {
    let end = end_of_life(shared);
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    loop {
        let is_alive = tokio::select! {
            frame = waiting.recv() => match frame.map(|frame| String::from_utf8(frame.into())) {
                Some(Ok(text)) => session.text(text).await.is_ok(),
                _ => false,
            },
            message = messages.next() => match message {
                Some(Ok(AggregatedMessage::Text(text))) => {
                    tokio::time::sleep(shared.config.faults.latency).await;
                    session.text(command(shared, id, &text).to_string()).await.is_ok()
                }
                Some(Ok(AggregatedMessage::Ping(bytes))) => session.pong(&bytes).await.is_ok(),
                Some(Ok(AggregatedMessage::Pong(_) | AggregatedMessage::Binary(_))) => true,
                Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => false,
            },
            _ = ping.tick() => session.ping(b"").await.is_ok(),
            // Dropped without a word, as networks do.
            () = clock::until(end) => return,
        };
        if !is_alive {
            drop(session.close(None).await);
            return;
        }
    }
}

/// Answers a command on a market connection.
fn command(shared: &Shared, id: ListenerId, text: &str) -> Value {
    let Ok(command) = serde_json::from_str::<Value>(text) else {
        return json!({"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"});
    };
    let request_id = command.get("id").cloned().unwrap_or_default();
    let invalid = |msg: &str| json!({"code": 2, "msg": format!("Invalid request: {msg}"), "id": request_id});
    let params = command.get("params").and_then(Value::as_array);
    let names =
        || -> Option<Vec<String>> { params?.iter().map(|name| name.as_str().map(str::to_owned)).collect() };
    let result = match command.get("method").and_then(Value::as_str) {
        Some("SUBSCRIBE") => {
            let Some(names) = names() else { return invalid("params must be a list of stream names") };
            if !shared.hub().subscribe(id, &names) {
                return invalid(&format!("more than {MOST_STREAMS} streams"));
            }
            if !names.is_empty() {
                shared.subscribed.notify_one();
            }
            Value::Null
        }
        Some("UNSUBSCRIBE") => {
            let Some(names) = names() else { return invalid("params must be a list of stream names") };
            shared.hub().unsubscribe(id, &names);
            Value::Null
        }
        Some("LIST_SUBSCRIPTIONS") => json!(shared.hub().streams(id)),
        Some("SET_PROPERTY") => match params.map(Vec::as_slice) {
            Some([Value::String(name), Value::Bool(is_combined)]) if name == "combined" => {
                shared.hub().set_combined(id, *is_combined);
                Value::Null
            }
            _ => return invalid("property name must be `combined`"),
        },
        Some("GET_PROPERTY") => json!(shared.hub().is_combined(id)),
        _ => return invalid("unknown method"),
    };
    json!({"result": result, "id": request_id})
}
