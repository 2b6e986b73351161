//! Requests over HTTP: who asks, whether the signature is good, and the answer with the limits it leaves.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use model::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::Value;

use crate::accepted::Accepted;
use crate::call::Call;
use crate::fault::{Ack, Fault};
use crate::limits::Used;
use crate::params::Params;
use crate::{Shared, control, rules, socket, talk};

/// For how long a request is good that does not say it, and the longest that one may say, in µs.
const WINDOW_US: i64 = 5_000_000;
const LONGEST_WINDOW_US: i64 = 60_000_000;

/// How far ahead of the venue's clock a request may be stamped, in µs.
const AHEAD_US: i64 = 1_000_000;

/// How long a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(75);

/// Binds; nothing is answered before the server is awaited.
pub(crate) fn bind(shared: &Arc<Shared>) -> std::io::Result<(Server, SocketAddr)> {
    let listen = shared.config.listen;
    let shared = web::Data::from(shared.clone());
    let (has_control, closes) = (shared.config.control, shared.config.faults.lose_ack_rate > 0.0);
    let server = HttpServer::new(move || {
        let app = App::new()
            .app_data(shared.clone())
            .route("/ws-api/v3", web::get().to(talk::api))
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
    // As patient as the real one: a client that is slow to begin, or comes back to a connection that it kept, must not
    // find it closed just then.
    .keep_alive(PATIENCE)
    .client_request_timeout(PATIENCE)
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
    let body = String::from_utf8_lossy(&body);
    let mut params = Params::from_form(&body);
    // What stands in both counts as the query has it.
    params.0.extend(Params::from_form(request.query_string()).0);
    let Some((call, weight)) = Call::of_path(request.method().as_str(), request.path(), &params) else {
        let fault = Fault::with_status(404, -1000, "There is nothing at this path.");
        return told(&Err(fault), Used::default());
    };
    let weight = match shared.admit(peer(&request), weight) {
        Ok(weight) => weight,
        Err(fault) => return told(&Err(fault), Used::default()),
    };
    let account = authorise(&shared, call, &request, &body, &params);
    let result = account.clone().and_then(|account| ask(&shared, call, account, &params, peer(&request)));
    let used = Used { weight: Some(weight), orders: shared.orders_used(call, account.ok()) };
    match acknowledged(&shared, call, &result) {
        Ack::Told => {}
        Ack::Late => tokio::time::sleep(shared.config.faults.late_ack).await,
        Ack::Lost => {
            let message = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
            return told(&Err(Fault::with_status(504, -1007, message)), used);
        }
        Ack::Closed => {
            // What is returned then finds nobody.
            if let Some(connection) = request.conn_data::<TcpStream>() {
                drop(connection.shutdown(std::net::Shutdown::Both));
            }
        }
    }
    told(&result, used)
}

/// How the dice let a client know of an order that was taken; of anything else always at once.
pub(crate) fn acknowledged(shared: &Shared, call: Call, result: &Result<Value, Fault>) -> Ack {
    if call.takes_order() && result.is_ok() { shared.dice.ack(&shared.config.faults) } else { Ack::Told }
}

/// Does what is asked, unless the dice refuse the order.
pub(crate) fn ask(
    shared: &Shared,
    call: Call,
    account: usize,
    params: &Params,
    from: IpAddr,
) -> Result<Value, Fault> {
    if call == Call::PlaceOrder && shared.dice.happens("ordersRefused", shared.config.faults.reject_rate) {
        return Err(Fault::new(-2010, "This action is disabled on this account."));
    }
    if let Some(fault) = rules::refusal(&mut shared.rules(), call, params) {
        return Err(fault);
    }
    let now = shared.clock.now();
    let mut answer = call.answer(&mut shared.world(), account, params, now)?;
    if shared.config.control {
        shared.accepted().extend(Accepted::of(call, account, params, from, now));
    }
    rules::misattribute(&mut shared.rules(), call, params, &mut answer);
    Ok(answer)
}

pub(crate) fn told(result: &Result<Value, Fault>, used: Used) -> HttpResponse {
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body.to_string()),
        Err(fault) => {
            let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, fault.json().to_string())
        }
    };
    let mut answer = HttpResponse::build(status);
    if let Some(weight) = used.weight {
        answer.insert_header(("x-mbx-used-weight", weight)).insert_header(("x-mbx-used-weight-1m", weight));
    }
    if let Some([in_ten_seconds, in_a_day]) = used.orders {
        answer.insert_header(("x-mbx-order-count-10s", in_ten_seconds));
        answer.insert_header(("x-mbx-order-count-1d", in_a_day));
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
    verify(shared, key, &payload, params, shared.clock.now())
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
    let unknown = || Fault::with_status(401, -2015, "Invalid API-key, IP, or permissions for action.");
    let account = shared.keys.iter().position(|known| known.name == key).ok_or_else(unknown)?;
    let signature = params.required("signature")?;
    if !shared.keys.get(account).is_some_and(|key| key.has_signed(payload, signature)) {
        return Err(Fault::new(-1022, "Signature for this request is not valid."));
    }
    is_timely(params, now)?;
    Ok(account)
}

/// Refuses what was made too long ago, or in the future; to the microsecond, as both may say them.
pub(crate) fn is_timely(params: &Params, now: Timestamp) -> Result<(), Fault> {
    let stamp = params.whole("timestamp")?.ok_or_else(|| Fault::mandatory("timestamp"))?;
    let window_us = params.get("recvWindow").map_or(Ok(WINDOW_US), window_us)?;
    // Microseconds are known by their size.
    let stamp_us = if stamp > 100_000_000_000_000 { stamp } else { stamp.saturating_mul(1_000) };
    let late_us = now.nanos() / 1_000 - stamp_us;
    if late_us <= -AHEAD_US {
        let message = "Timestamp for this request was 1000ms ahead of the server's time.";
        return Err(Fault::new(-1021, message));
    }
    if late_us > window_us {
        return Err(Fault::new(-1021, "Timestamp for this request is outside of the recvWindow."));
    }
    Ok(())
}

/// How long a request is good for: up to a minute, in ms with up to three decimals.
fn window_us(text: &str) -> Result<i64, Fault> {
    let window = model::number::parse(text).ok().filter(|window| window.scale() <= 3);
    let us = window.and_then(|window| (window * Decimal::ONE_THOUSAND).to_i64());
    us.filter(|us| (0..=LONGEST_WINDOW_US).contains(us))
        .ok_or_else(|| Fault::new(-1131, "recvWindow must be less than 60000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_good_for_its_window_and_not_before_its_time() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let check = |stamp: &str, window: &str, code: Option<i64>| {
            let params = [("timestamp", stamp), ("recvWindow", window)];
            let params = Params(params.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
            assert_eq!(is_timely(&params, now).err().map(|fault| fault.code), code, "{stamp} {window}");
        };
        check("1700000000000", "", None);
        check("1699999995000", "", None);
        check("1699999994999", "", Some(-1021));
        check("1700000000999", "", None);
        check("1700000001000", "", Some(-1021));
        check("1699999999000", "1000", None);
        check("1699999998999500", "1000.5", None);
        check("1699999998999499", "1000.5", Some(-1021));
        check("1699999940000", "60000", None);
        for window in ["60000.001", "60001", "-1", "1.0005", "long"] {
            check("1700000000000", window, Some(-1131));
        }
        check("", "", Some(-1102));
        check("soon", "", Some(-1100));
    }
}
