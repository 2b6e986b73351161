//! What every request passes, over plain sockets so that nothing is tidied up on the way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::server::Server;

/// A server, and its answer to one request as it stands: head and body.
#[track_caller]
fn ask(request: &str) -> (String, String) {
    let system = actix_web::rt::System::new();
    let server = system.block_on(Server::start("127.0.0.1:1"));
    let mut socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    system.block_on(server.stop());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[track_caller]
fn check_error(request: &str, status: &str, code: &str) {
    let (head, body) = ask(request);
    assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let error = &body["error"];
    assert_eq!(error["code"], code, "{body}");
    assert_eq!(error["type"], "invalid_request_error");
    assert!(error["message"].is_string() && error["details"].is_array());
    let id = error["request_id"].as_str().unwrap();
    assert!(id.starts_with("req_") && head.contains(&format!("x-request-id: {id}")), "{head}");
}

#[test]
fn a_living_process_says_so_under_a_request_id() {
    let (head, body) = ask("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("http/1.1 200") && head.contains("x-request-id: req_"), "{head}");
    assert_eq!(body, r#"{"status":"ok"}"#);
}

#[test]
fn an_unknown_path_is_told_in_the_one_shape() {
    check_error("GET /v2/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404", "route_unknown");
}

#[test]
fn a_method_that_a_path_lacks_is_told_in_the_one_shape() {
    let request = "DELETE /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    check_error(request, "405", "method_not_allowed");
}

#[test]
fn after_a_body_in_chunks_the_connection_is_closed() {
    let request = "POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check_error(request, "405", "method_not_allowed");
}

#[test]
fn two_keys_in_one_request_are_refused() {
    let keys = "Authorization: Bearer bpx_a\r\nAuthorization: Bearer bpx_b\r\n";
    let request = format!("GET /v1/bots HTTP/1.1\r\nHost: a\r\n{keys}Connection: close\r\n\r\n");
    check_error(&request, "400", "parameter_invalid");
}
