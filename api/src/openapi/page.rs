//! `/v1/docs`: the document as a page, from files that are part of the binary; nothing is loaded from elsewhere.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};

use super::asset::Asset;
use crate::ApiError;

/// What the page may load and do: its own files, styles that its script sets, and requests to this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);

/// Read the documentation
///
/// This document as a page: every operation with its fields, examples and errors, to be tried with your own key.
#[utoipa::path(get, path = "/v1/docs", tag = "Service", security(()),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub(crate) async fn page(request: HttpRequest) -> HttpResponse {
    static PAGE: LazyLock<Asset> =
        LazyLock::new(|| file("text/html; charset=utf-8", include_str!("page/index.html")));
    let mut answer = PAGE.answer(&request);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    answer
}

/// A file that the page loads.
pub(crate) async fn asset(name: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    FILES.get(name.as_str()).map(|file| file.answer(&request)).ok_or(ApiError::NoRoute)
}

/// The files that the page loads, by name.
static FILES: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let mut files = HashMap::from([
        ("page.css", file("text/css; charset=utf-8", include_str!("page/page.css"))),
        ("page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js"))),
    ]);
    for name in ["swagger-ui.css", "swagger-ui-bundle.js"] {
        let found = utoipa_swagger_ui::serve(name, Arc::new(utoipa_swagger_ui::Config::default()));
        let Ok(Some(found)) = found else { continue };
        let bytes = match found.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        files.insert(name, Asset::new(found.content_type, bytes));
    }
    files
});

fn file(content_type: &'static str, text: &'static str) -> Asset {
    Asset::new(content_type, Bytes::from_static(text.as_bytes()))
}
