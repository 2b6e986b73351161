//! Requests over HTTP: who asks, whether the signature is good, and the answer with the limits it leaves.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Timestamp;
use serde_json::Value;
use sha2::Sha256;

use crate::call::Call;
use crate::fault::{Ack, Fault};
use crate::params::Params;
use crate::{Shared, clock, control, socket};

/// The longest window that a request may be good for, in ms.
const LONGEST_WINDOW_MS: f64 = 60_000.0;

/// Binds; nothing is answered before the server is awaited.
pub(crate) fn bind(shared: &Arc<Shared>) -> std::io::Result<(Server, SocketAddr)> {
    let listen = shared.config.listen;
    let shared = web::Data::from(shared.clone());
    let (has_control, closes) = (shared.config.control, shared.config.faults.lose_ack_rate > 0.0);
    let server = HttpServer::new(move || {
        let app = App::new()
            .app_data(shared.clone())
            .route("/ws-api/v3", web::get().to(socket::api))
            .route("/ws", web::get().to(socket::raw))
            .route("/ws/{streams:.*}", web::get().to(socket::raw))
            .route("/stream", web::get().to(socket::combined));
        let app = if has_control { app.configure(control::routes) } else { app };
        app.default_service(web::to(answer))
    })
    .on_connect(move |connection, kept| {
        if closes && let Some(closer) = closer(connection) {
            kept.insert(closer);
        }
    })
    .workers(1)
    .shutdown_timeout(1)
    .disable_signals()
    .bind(listen)?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
}

/// Where a request comes from.
pub(crate) fn peer(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// A second handle of a connection, to close it without an answer.
fn closer(connection: &dyn Any) -> Option<TcpStream> {
    let stream = connection.downcast_ref::<actix_web::rt::net::TcpStream>()?;
    stream.as_fd().try_clone_to_owned().ok().map(TcpStream::from)
}

async fn answer(shared: web::Data<Shared>, request: HttpRequest, body: Bytes) -> HttpResponse {
    tokio::time::sleep(shared.config.faults.latency).await;
    let Some((call, weight)) = Call::of_path(request.method().as_str(), request.path()) else {
        let fault = Fault::with_status(404, -1000, "There is nothing at this path.");
        return told(&Err(fault), None);
    };
    let used = match shared.admit(peer(&request), weight) {
        Ok(used) => used,
        Err(fault) => return told(&Err(fault), None),
    };
    let body = String::from_utf8_lossy(&body);
    let mut params = Params::from_form(&body);
    // What stands in both counts as the query has it.
    params.0.extend(Params::from_form(request.query_string()).0);
    let result = authorise(&shared, call, &request, &body, &params)
        .and_then(|account| ask(&shared, call, account, &params));
    match acknowledged(&shared, call, &result) {
        Ack::Told => {}
        Ack::Late => tokio::time::sleep(shared.config.faults.late_ack).await,
        Ack::Lost => {
            let message = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
            return told(&Err(Fault::with_status(504, -1007, message)), Some(used));
        }
        Ack::Closed => {
            // What is returned then finds nobody.
            if let Some(connection) = request.conn_data::<TcpStream>() {
                drop(connection.shutdown(std::net::Shutdown::Both));
            }
        }
    }
    told(&result, Some(used))
}

/// How the dice let a client know of an order that was taken; of anything else always at once.
pub(crate) fn acknowledged(shared: &Shared, call: Call, result: &Result<Value, Fault>) -> Ack {
    if call.takes_order() && result.is_ok() { shared.dice.ack(&shared.config.faults) } else { Ack::Told }
}

/// Does what is asked, unless the dice refuse the order.
pub(crate) fn ask(shared: &Shared, call: Call, account: usize, params: &Params) -> Result<Value, Fault> {
    if call.takes_order() && shared.dice.happens("ordersRefused", shared.config.faults.reject_rate) {
        return Err(Fault::new(-2010, "This action is disabled on this account."));
    }
    call.answer(&mut shared.world(), account, params, clock::now())
}

pub(crate) fn told(result: &Result<Value, Fault>, used: Option<u32>) -> HttpResponse {
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body.to_string()),
        Err(fault) => {
            let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, fault.json().to_string())
        }
    };
    let mut answer = HttpResponse::build(status);
    if let Some(used) = used {
        answer.insert_header(("x-mbx-used-weight", used)).insert_header(("x-mbx-used-weight-1m", used));
        answer.insert_header(("x-mbx-order-count-10s", 0)).insert_header(("x-mbx-order-count-1d", 0));
    }
    if let Err(Fault { retry_after_s: Some(seconds), .. }) = result {
        answer.insert_header((actix_web::http::header::RETRY_AFTER, *seconds));
    }
    answer.content_type("application/json;charset=UTF-8").body(body)
}

/// Whose request it is; 0 for one that need not be signed.
fn authorise(
    shared: &Shared,
    call: Call,
    request: &HttpRequest,
    body: &str,
    params: &Params,
) -> Result<usize, Fault> {
    if !call.is_signed() {
        return Ok(0);
    }
    let key = request.headers().get("x-mbx-apikey").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let payload = format!("{}{}", unsigned(request.query_string()), unsigned(body));
    verify(shared, key, &payload, params, clock::now())
}

/// The text that was signed: without its signature.
fn unsigned(text: &str) -> String {
    let parts = text.split('&').filter(|part| !part.is_empty() && !part.starts_with("signature="));
    parts.collect::<Vec<_>>().join("&")
}

/// Whose key it is, if the payload is signed by its secret and is not too old.
pub(crate) fn verify(
    shared: &Shared,
    key: &str,
    payload: &str,
    params: &Params,
    now: Timestamp,
) -> Result<usize, Fault> {
    if key.is_empty() {
        return Err(Fault::with_status(401, -2014, "API-key format invalid."));
    }
    let credentials = &shared.config.credentials;
    let account = credentials
        .iter()
        .position(|credential| credential.key == key)
        .ok_or_else(|| Fault::with_status(401, -2015, "Invalid API-key, IP, or permissions for action."))?;
    let invalid = || Fault::new(-1022, "Signature for this request is not valid.");
    let secret = credentials.get(account).map(|credential| credential.secret.as_bytes()).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| invalid())?;
    mac.update(payload.as_bytes());
    let given = params.required("signature")?;
    let given = hex::decode(given).map_err(|_| invalid())?;
    mac.verify_slice(&given).map_err(|_| invalid())?;
    is_timely(params, now)?;
    Ok(account)
}

/// Refuses what was made too long ago, or in the future.
fn is_timely(params: &Params, now: Timestamp) -> Result<(), Fault> {
    let stamp = params.whole("timestamp")?.ok_or_else(|| Fault::mandatory("timestamp"))?;
    let window: f64 = params.get("recvWindow").map_or(Ok(5_000.0), str::parse).unwrap_or(f64::NAN);
    if window.is_nan() || !(0.0..=LONGEST_WINDOW_MS).contains(&window) {
        return Err(Fault::new(-1131, "recvWindow must be less than 60000"));
    }
    // Microseconds are known by their size.
    let stamp_ms = if stamp > 100_000_000_000_000 { stamp / 1_000 } else { stamp };
    #[expect(clippy::cast_possible_truncation, reason = "it is at most 60,000")]
    let window_ms = window as i64;
    if stamp_ms >= now.millis() + 1_000 {
        let message = "Timestamp for this request was 1000ms ahead of the server's time.";
        return Err(Fault::new(-1021, message));
    }
    if now.millis() - stamp_ms > window_ms {
        return Err(Fault::new(-1021, "Timestamp for this request is outside of the recvWindow."));
    }
    Ok(())
}
