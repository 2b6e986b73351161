//! `/v1/docs`: the document as a page, from files that are part of the binary; nothing is loaded from elsewhere.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::ApiError;

/// What the page may load and do: its own files, styles that its script sets, and requests to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Read the documentation
///
/// This document as a page: every operation with its fields, examples and errors, to be tried with your own key.
#[utoipa::path(get, path = "/v1/docs", tag = "Service", security(()),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub(crate) async fn page() -> HttpResponse {
    file("text/html; charset=utf-8", include_str!("page/index.html"))
}

/// A file that the page loads.
pub(crate) async fn asset(name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    match name.as_str() {
        "page.css" => Ok(file("text/css; charset=utf-8", include_str!("page/page.css"))),
        "page.js" => Ok(file("text/javascript; charset=utf-8", include_str!("page/page.js"))),
        "swagger-ui.css" | "swagger-ui-bundle.js" => {
            let found = utoipa_swagger_ui::serve(&name, Arc::new(utoipa_swagger_ui::Config::default()));
            let found = found.ok().flatten().ok_or(ApiError::NoRoute)?;
            let mut answer = HttpResponse::Ok();
            answer.insert_header((header::CONTENT_TYPE, found.content_type));
            answer.insert_header((header::CACHE_CONTROL, "public, max-age=86400"));
            Ok(answer.body(found.bytes.into_owned()))
        }
        _ => Err(ApiError::NoRoute),
    }
}

fn file(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(text)
}
