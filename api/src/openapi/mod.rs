//! The OpenAPI 3.1 document, and the routes: both are made from the same list of operations.
//!
//! # How to add an operation
//!
//! 1. Annotate the handler with `#[utoipa::path(…)]`: method, whole path, tag (one of [`TAGS`]), security, parameters,
//!    body, and the answers that are its own. The first line of its doc comment is the summary, the rest the description.
//!
//!    ```text
//!    /// Start a bot
//!    ///
//!    /// Idempotent: a running bot is answered as it is.
//!    #[utoipa::path(post, path = "/v1/bots/{id}/start", tag = "Bots", security(("api_key" = ["bots:write"])),
//!        params(("id" = BotId, Path, description = "Which bot.")),
//!        responses((status = 200, description = "The bot.", body = BotDetail)))]
//!    pub(crate) async fn start(caller: Caller, …) -> Result<HttpResponse, ApiError> { … }
//!    ```
//! 2. Name it once in the list `operations()` in `api/src/v1/mod.rs`. That makes its route, checks its scope before the
//!    handler runs, and puts it into the document; without the annotation it does not compile.
//!
//! What is the same everywhere is added by rule ([`common`]) and not written down per handler: the errors 400, 401, 403,
//! 404 (of a path with an id), 408, 413, 415 (of a body), 429, 500 and 503 in the one shape; the headers; the
//! parameter `Idempotency-Key` of a POST; that a body's unknown fields are refused; 405 and `Allow`; HEAD beside GET.
//! `security(())` is an operation without a key.
//!
//! Schemas are derived (`utoipa::ToSchema`) from the types that are serialised. A field that is always there but may be
//! `null` takes `#[schema(required)]`; a decimal that is no newtype `#[schema(value_type = model::Number)]`. A list is
//! `body = List<Row>`, its parameters `Page<RowId>`. An example of a body stands in the annotation
//! (`example = json!(…)`) or on the type (`#[schema(example = json!(…))]`). The example of an answer stands in
//! `examples.json` under its schema's name, that of an error in [`examples`]; a test asks for both.

mod asset;
mod common;
mod events;
mod examples;
mod operation;
pub(crate) mod page;

use std::sync::LazyLock;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::server::{Server, ServerBuilder};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};

use asset::Asset;
pub(crate) use operation::{Operation, keyed, operations, unkeyed};

/// The groups of operations, in the order in which they are shown.
pub(crate) const TAGS: [(&str, &str); 10] = [
    ("Bots", "Define bots, start and stop them, and see what they hold and have made."),
    ("Trades", "What bots have bought and sold: every order, every fill, every fee."),
    ("Portfolio", "Balances, exposure, equity and profit, now and over time."),
    ("Markets", "Prices of the past, for charts."),
    ("Account", "Your plan, its limits and its state."),
    ("Exchanges", "Stored connections to venues. Secrets go in and never come out."),
    ("Webhooks", "Where events are delivered, what became of each delivery, and how to repeat it."),
    ("Events", "What was or will be delivered: to catch up from, and as a stream."),
    ("Signals", "What others send in: alerts that start, stop or close a bot, and billing."),
    ("Service", "The server itself: its health, this document, and the page that shows it."),
];

/// The document's text: what `GET /v1/openapi.json` and `botprimex openapi` give.
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = build().to_pretty_json().expect("every part of the document is JSON");
        text.push('\n');
        text
    });
    &TEXT
}

fn build() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut schemas = events::schemas();
    // Only parameters name it, and theirs are not collected.
    schemas.push((engine::Apply::name().into_owned(), engine::Apply::schema()));
    for operation in operation::all() {
        let item = PathItem::from_http_methods([operation.method.clone()], common::completed(operation));
        paths = paths.path(&operation.path, item);
        schemas.extend((operation.schemas)());
    }
    let components = ComponentsBuilder::new().schemas_from_iter(schemas).security_scheme(
        operation::SCHEME,
        SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("bpx_…").description(Some(
            "A key from the dashboard, or from `botprimex admin key create`. It carries scopes; each operation names the \
             one that it needs (the key must hold it, or be a key without scopes, which may do everything).",
        )).build()),
    );
    let used = |tag: &str| operation::all().iter().any(|operation| operation.has_tag(tag));
    let tags = TAGS.into_iter().filter(|(tag, _)| used(tag)).map(|(name, description)| {
        utoipa::openapi::tag::TagBuilder::new().name(name).description(Some(description)).build()
    });
    let mut document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("BotPrimeX API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(include_str!("introduction.md")))
                .build(),
        )
        .servers(Some(servers()))
        .paths(paths)
        .webhooks(Some(events::webhooks()))
        .components(Some(common::components(components.build())))
        .tags(Some(tags))
        .build();
    common::close_bodies(&mut document);
    common::name_rows(&mut document);
    document
}

/// Where the API is: beside the document, for what reads it from a server, and where a server listens that was told
/// nothing else, for what reads it from a file.
fn servers() -> [Server; 2] {
    let server =
        |url: &str, description: &str| ServerBuilder::new().url(url).description(Some(description)).build();
    [
        server("/", "The server that this document was read from."),
        server(
            "http://127.0.0.1:8080",
            "A server on this machine, as `botprimex serve` starts it by default.",
        ),
    ]
}

/// Get this document
///
/// The OpenAPI 3.1 description of this API; `botprimex openapi` prints the same bytes.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "Service", security(()),
    responses((status = 200, description = "The document.", body = serde_json::Value)))]
pub(crate) async fn json(request: HttpRequest) -> HttpResponse {
    static DOCUMENT: LazyLock<Asset> =
        LazyLock::new(|| Asset::new("application/json", Bytes::from_static(document().as_bytes())));
    DOCUMENT.answer(&request)
}

/// The document, the page that shows it, and what that page loads.
pub(crate) fn assets(app: &mut web::ServiceConfig) {
    app.service(web::resource("/v1/docs/{file}").route(web::get().to(page::asset)));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_schemas_name_means_one_thing() {
        let mut known = BTreeMap::new();
        let all = operation::all().iter().flat_map(|operation| (operation.schemas)());
        for (name, schema) in all.chain(events::schemas()) {
            let schema = serde_json::to_string(&schema).unwrap();
            let before = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*before, schema, "two schemas are called {name}: give one another name with `as`");
        }
    }
}
