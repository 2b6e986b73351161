//! The API over a socket: the same calls as over HTTP, sessions, and the user's own stream.

use actix_web::web;
use actix_web::{Error, HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use futures_util::StreamExt as _;
use model::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::call::Call;
use crate::counts;
use crate::fault::{Ack, Fault};
use crate::keys::Key;
use crate::limits::{self, Used};
use crate::params::Params;
use crate::reports::Courier;
use crate::socket::{PING, end_of_life, open};
use crate::{Shared, clock, http};

/// The weight of connecting, and of what is asked of the connection itself.
const WEIGHT: u32 = 2;

/// `/ws-api/v3`: requests and the user's own stream over one socket.
pub(crate) async fn api(
    shared: web::Data<Shared>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    let peer = http::peer(&request);
    if let Err(fault) = shared.admit(peer, WEIGHT) {
        return Ok(http::told(&Err(fault), Used::default()));
    }
    let (answer, session, messages) = open(&request, body)?;
    actix_web::rt::spawn(async move { converse(&shared, peer, session, messages).await });
    Ok(answer)
}

/// One API connection: who has logged on, and its subscriptions to user streams.
struct Talk {
    connected_at: Timestamp,
    /// Whose account it is and since when, by the venue's clock.
    logged_on: Option<(usize, Timestamp)>,
    events: mpsc::UnboundedSender<(u64, Value)>,
    /// A forwarder for each that is open.
    open: Vec<(u64, actix_web::rt::task::JoinHandle<()>)>,
    next: u64,
}

impl Talk {
    /// Begins to forward an account's events under a new number.
    fn add(&mut self, shared: &Shared, account: usize) -> u64 {
        let (listener, heard) = mpsc::unbounded_channel();
        if let Some(account) = shared.world().accounts.get_mut(account) {
            account.listen(listener);
        }
        let (number, events) = (self.next, self.events.clone());
        self.next += 1;
        let courier = Courier::new(shared.dice.clone(), shared.config.faults.clone());
        let forwarder =
            actix_web::rt::spawn(courier.carry(heard, move |event| events.send((number, event)).is_ok()));
        self.open.push((number, forwarder));
        number
    }

    /// Ends one, or all without a number.
    fn remove(&mut self, number: Option<u64>) {
        for (open, forwarder) in &self.open {
            if number.is_none_or(|number| number == *open) {
                forwarder.abort();
            }
        }
        self.open.retain(|(open, _)| number.is_some_and(|number| number != *open));
    }
}

async fn converse(
    shared: &Shared,
    peer: std::net::IpAddr,
    mut session: Session,
    mut messages: AggregatedMessageStream,
) {
    let (events, mut told) = mpsc::unbounded_channel();
    let mut talk =
        Talk { connected_at: shared.clock.now(), logged_on: None, events, open: Vec::new(), next: 0 };
    let end = end_of_life(shared);
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    loop {
        let is_alive = tokio::select! {
            // An answer comes before the events that the request caused.
            biased;
            message = messages.next() => match message {
                Some(Ok(AggregatedMessage::Text(text))) => {
                    tokio::time::sleep(shared.config.faults.latency).await;
                    let (ack, answer) = respond(shared, peer, &text, &mut talk);
                    match ack {
                        Ack::Told => session.text(answer.to_string()).await.is_ok(),
                        Ack::Late => {
                            let (mut session, late) = (session.clone(), shared.config.faults.late_ack);
                            actix_web::rt::spawn(async move {
                                tokio::time::sleep(late).await;
                                drop(session.text(answer.to_string()).await);
                            });
                            true
                        }
                        Ack::Lost => true,
                        Ack::Closed => break,
                    }
                }
                Some(Ok(AggregatedMessage::Ping(bytes))) => session.pong(&bytes).await.is_ok(),
                Some(Ok(AggregatedMessage::Pong(_) | AggregatedMessage::Binary(_))) => true,
                Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => false,
            },
            event = told.recv() => match event {
                Some((number, event)) if shared.tells_reports() => {
                    let event = json!({"subscriptionId": number, "event": event});
                    session.text(event.to_string()).await.is_ok()
                }
                Some(_) | None => true,
            },
            _ = ping.tick() => session.ping(b"").await.is_ok(),
            () = clock::until(end) => break,
        };
        if !is_alive {
            drop(session.close(None).await);
            break;
        }
    }
    talk.remove(None);
}

/// Answers a request, and how the answer is told.
fn respond(shared: &Shared, peer: std::net::IpAddr, text: &str, talk: &mut Talk) -> (Ack, Value) {
    let request: Value = serde_json::from_str(text).unwrap_or_default();
    let id = request.get("id").cloned().unwrap_or_default();
    let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
    let params = Params::from_json(request.get("params"));
    let call = Call::of_method(method, &params);
    let (mut ack, mut used) = (Ack::Told, Used::default());
    let admitted = shared.admit(peer, call.map_or(WEIGHT, |(_, weight)| weight));
    let result = admitted.and_then(|weight| {
        used.weight = Some(weight);
        let Some((call, _)) = call else { return attend(shared, method, &params, talk) };
        let account = asking(shared, call, &params, talk)?;
        let result = http::ask(shared, call, account, &params, peer);
        ack = http::acknowledged(shared, call, &result);
        used.orders = shared.orders_used(call, Some(account));
        result
    });
    let answer = match result {
        Ok(result) => json!({"id": id, "status": 200, "result": result, "rateLimits": limits_left(used)}),
        Err(fault) => json!({"id": id, "status": fault.status, "error": refusal(&fault, shared.clock.now()),
            "rateLimits": limits_left(used)}),
    };
    (ack, answer)
}

/// Does what is asked of the connection itself.
fn attend(shared: &Shared, method: &str, params: &Params, talk: &mut Talk) -> Result<Value, Fault> {
    match method {
        "userDataStream.subscribe.signature" => {
            authorise(shared, params).map(|account| json!({"subscriptionId": talk.add(shared, account)}))
        }
        "userDataStream.subscribe" => match talk.logged_on {
            Some((account, _)) => Ok(json!({"subscriptionId": talk.add(shared, account)})),
            None => Err(Fault::with_status(401, -2015, "Invalid API-key, IP, or permissions for action.")),
        },
        "userDataStream.unsubscribe" => {
            let number = params.whole("subscriptionId")?.and_then(|number| u64::try_from(number).ok());
            talk.remove(number);
            Ok(json!({}))
        }
        "session.subscriptions" => {
            Ok(talk.open.iter().map(|(number, _)| json!({"subscriptionId": number})).collect())
        }
        "session.logon" => {
            talk.logged_on = Some((log_on(shared, params)?, shared.clock.now()));
            Ok(session(shared, talk))
        }
        "session.status" => Ok(session(shared, talk)),
        "session.logout" => {
            talk.logged_on = None;
            Ok(session(shared, talk))
        }
        _ => Err(Fault::new(-1099, format!("Not found, authenticated, or authorized: {method}"))),
    }
}

/// A refusal as sockets word it: with the time at which it may be tried again.
fn refusal(fault: &Fault, now: Timestamp) -> Value {
    let mut shown = fault.json();
    if let (Some(seconds), Some(object)) = (fault.retry_after_s, shown.as_object_mut()) {
        let data = json!({"serverTime": now.millis(), "retryAfter": now.millis() + seconds * 1_000});
        object.insert("data".to_owned(), data);
    }
    shown
}

/// Whose account a call is about: whoever signed it, or logged the connection on; 0 where it need not be signed.
fn asking(shared: &Shared, call: Call, params: &Params, talk: &Talk) -> Result<usize, Fault> {
    match talk.logged_on {
        _ if !call.is_signed() => Ok(0),
        Some((account, _)) if params.get("signature").is_none() => {
            http::is_timely(params, shared.clock.now()).map(|()| account)
        }
        _ => authorise(shared, params),
    }
}

/// Who logs a socket on.
fn log_on(shared: &Shared, params: &Params) -> Result<usize, Fault> {
    let account = authorise(shared, params)?;
    if !shared.keys.get(account).is_some_and(Key::can_log_on) {
        return Err(Fault::new(-4056, "HMAC_SHA256 API key is not supported."));
    }
    Ok(account)
}

/// Whose session it is.
fn session(shared: &Shared, talk: &Talk) -> Value {
    let key = talk.logged_on.and_then(|(account, _)| shared.keys.get(account)).map(|key| &key.name);
    let since = talk.logged_on.map(|(_, since)| since.millis());
    json!({"apiKey": key, "authorizedSince": since, "connectedSince": talk.connected_at.millis(),
        "returnRateLimits": true, "serverTime": shared.clock.now().millis(),
        "userDataStream": !talk.open.is_empty()})
}

/// Whose request it is: over a socket all parameters but the signature are signed, sorted by name.
fn authorise(shared: &Shared, params: &Params) -> Result<usize, Fault> {
    let signed = params.0.iter().filter(|(name, _)| *name != "signature");
    let payload = signed.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    http::verify(shared, params.get("apiKey").unwrap_or_default(), &payload, params, shared.clock.now())
}

/// The limits with what of them is used, as answers over a socket carry them.
fn limits_left(used: Used) -> Vec<Value> {
    let mut shown = used.orders.map(|orders| counts::listed(Some(orders))).unwrap_or_default();
    if let Some(weight) = used.weight {
        shown.push(json!({"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
            "limit": limits::WEIGHT, "count": weight}));
    }
    shown
}
