//! What every request passes: an id, a look at its head, errors in one shape, panics caught.
//!
//! A body may come in chunks (`Transfer-Encoding: chunked`), and its connection is closed after the answer: proxies and
//! servers differ in how they read malformed chunks, so what follows them is not read as a request.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use futures_util::FutureExt;
use model::RequestId;
use tracing::Instrument as _;

use crate::connections::Connection;
use crate::paced::{HeadBody, PacedBody};
use crate::{ApiError, error, headers, metrics};

/// Wraps everything the server answers, and tells the connection's watch that it is at work.
///
/// # Errors
/// As [`answered`].
pub(crate) async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(connection) = request.conn_data::<Connection>().cloned() else {
        return answered(request, next).await;
    };
    connection.begin().await;
    let is_head = request.method() == Method::HEAD;
    let is_chunked = is_chunked(&request);
    let answer = match answered(request, next).await {
        Ok(answer) => answer,
        Err(error) => {
            connection.end(is_chunked || error::closes(error.as_response_error().status_code()));
            return Err(error);
        }
    };
    let is_last = is_chunked || error::closes(answer.status());
    Ok(answer.map_body(|_, body| {
        let size = body.size();
        if is_head || matches!(size, BodySize::None | BodySize::Sized(0)) {
            connection.end(is_last);
            return HeadBody(size).boxed();
        }
        PacedBody::new(body, connection, is_last).boxed()
    }))
}

/// Answers a request.
///
/// # Errors
/// An answer that is complete, where there is no request left to hang it on.
async fn answered(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId::new();
    request.extensions_mut().insert(id);
    let is_last = is_chunked(&request);
    let refused = if headers::are_too_large(request.headers()) {
        Some(ApiError::HeadTooLarge)
    } else {
        headers::repeated(request.headers()).map(|name| {
            ApiError::field(name, "parameter_invalid", "is given more than once: send one such header")
        })
    };
    if let Some(refused) = refused {
        return Ok(closing(request.into_response(refused.answer(id)), is_last));
    }
    // What is logged meanwhile bears the request's id.
    let span = tracing::info_span!("request", id = %id);
    let (began, method) = (Instant::now(), request.method().clone());
    match AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span.clone()).await {
        Ok(Ok(response)) => {
            let response = closing(finish(response.map_into_boxed_body(), id), is_last);
            let route = response.request().match_pattern();
            span.in_scope(|| metrics::note(&method, route, response.status(), began.elapsed()));
            Ok(response)
        }
        Ok(Err(error)) => {
            let error = known(&error);
            span.in_scope(|| metrics::note(&method, None, error.status_code(), began.elapsed()));
            Err(Failed { error, id, is_last }.into())
        }
        Err(_) => {
            tracing::error!(request_id = %id, "a handler panicked");
            metrics::note(&method, None, StatusCode::INTERNAL_SERVER_ERROR, began.elapsed());
            Err(Failed { error: ApiError::Internal, id, is_last }.into())
        }
    }
}

/// Whether a request's body comes in chunks. The framework refuses every other transfer encoding, and one beside a
/// length.
fn is_chunked(request: &ServiceRequest) -> bool {
    request.headers().contains_key(header::TRANSFER_ENCODING)
}

/// Has the connection closed after an answer that is the last one.
fn closing(mut answer: ServiceResponse<BoxBody>, is_last: bool) -> ServiceResponse<BoxBody> {
    if is_last {
        answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    answer
}

/// The answer with its request id; an error, ours or the framework's, takes the one shape.
fn finish(mut response: ServiceResponse<BoxBody>, id: RequestId) -> ServiceResponse<BoxBody> {
    let error = response.response().error().map(known);
    let error = error.or_else(|| ApiError::of_framework(response.status()));
    if let Some(error) = error {
        let mut answer = error.answer(id);
        // What is left of the plan is told with errors as well.
        for name in ["ratelimit-policy", "ratelimit"] {
            if let Some(value) = response.headers().get(name) {
                answer.headers_mut().insert(HeaderName::from_static(name), value.clone());
            }
        }
        return response.into_response(answer);
    }
    headers::secure(response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}

/// Our own error inside the framework's, or the nearest to what the framework means.
fn known(error: &Error) -> ApiError {
    error.as_error::<ApiError>().cloned().unwrap_or_else(|| {
        let status = error.as_response_error().status_code();
        ApiError::of_framework(status).unwrap_or(ApiError::Internal)
    })
}

/// An error that knows its request.
#[derive(Debug)]
struct Failed {
    error: ApiError,
    id: RequestId,
    /// Whether the connection is closed after its answer.
    is_last: bool,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl ResponseError for Failed {
    fn status_code(&self) -> StatusCode {
        self.error.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = self.error.answer(self.id);
        if self.is_last {
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::{App, HttpRequest, rt, test, web};

    use super::*;

    async fn echo(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, ApiError> {
        let fields = crate::body::object(&request, payload).await?;
        assert!(!fields.contains_key("panic"), "asked for, with a secret");
        Ok(HttpResponse::Ok().json(fields))
    }

    #[track_caller]
    fn check(body: &str, content_type: &str, status: u16, code: &str) {
        let request = test::TestRequest::post().uri("/").set_payload(body.to_owned());
        let request = request.insert_header((header::CONTENT_TYPE, content_type.to_owned()));
        let (answered, text) = rt::System::new().block_on(async {
            let app = App::new().wrap(from_fn(edge)).route("/", web::post().to(echo));
            let app = test::init_service(app).await;
            let answer = match test::try_call_service(&app, request.to_request()).await {
                Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
                Err(error) => error.error_response(),
            };
            let status = answer.status().as_u16();
            (status, actix_web::body::to_bytes(answer.into_body()).await.unwrap())
        });
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert_eq!(answered, status, "{text}");
        assert!(text.contains(code) && !text.contains("secret"), "{text}");
    }

    #[::core::prelude::v1::test]
    fn a_body_keeps_its_digits_or_is_refused_in_the_one_shape() {
        let json = "application/json; charset=utf-8";
        check(r#"{"a":12.50}"#, json, 200, r#"{"a":12.50}"#);
        check(r#"{"a":1}"#, "text/plain", 415, "content_type_unsupported");
        check(r#"{"a":1,"a":1}"#, json, 400, "json_invalid");
        check(&"x".repeat(1 << 20), json, 413, "body_too_large");
        check(&"[".repeat(30_000), json, 400, "json_invalid");
    }

    #[::core::prelude::v1::test]
    fn a_panic_is_an_opaque_fault_under_the_request_id() {
        check(r#"{"panic":1}"#, "application/json", 500, "internal_error");
    }
}
