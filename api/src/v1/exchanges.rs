//! `/v1/exchanges`: stored connections to venues. What they sign with goes in and never comes out.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{ApiCredential, EngineHandle, ExchangeConnection, KeyPermissions, NewExchange, Secret};
use model::{Exchange, ExchangeId, Timestamp, Warning};
use serde::Serialize;
use serde_json::value::to_raw_value;

use super::auth::Caller;
use super::once::Once;
use super::show::{self, List};
use crate::ApiError;
use crate::body::{self, Fields, Reader, json};
use crate::query::{Page, Query};

type Engine = web::Data<EngineHandle>;

/// The longest API key that is taken; venues' have 64 characters.
const LONGEST_KEY: usize = 512;

/// The longest API secret that is taken: private keys as PEM fit.
const LONGEST_SECRET: usize = 4_096;

/// A connection as it is shown.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ExchangeConnection)]
struct Shown<'a> {
    id: ExchangeId,
    /// At which venue.
    exchange: Exchange,
    /// What you call it.
    name: &'a str,
    /// The last four characters of the public key.
    #[schema(example = "…a1b2")]
    key_hint: String,
    /// What the venue lets the key do.
    permissions: KeyPermissions,
    /// Whether the venue takes the key only from addresses that you listed there.
    ip_bound: bool,
    /// Until when the venue lets the key trade, where it said so when the key was stored.
    #[schema(required)]
    trades_until: Option<Timestamp>,
    created_at: Timestamp,
    /// What is allowed but worth a thought; told once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warnings: Option<&'a [Warning]>,
}

impl<'a> Shown<'a> {
    fn of(connection: &'a ExchangeConnection, warnings: Option<&'a [Warning]>) -> Self {
        Self {
            id: connection.id,
            exchange: connection.exchange,
            name: &connection.name,
            key_hint: format!("…{}", connection.key_hint),
            permissions: connection.permissions,
            ip_bound: connection.ip_bound,
            trades_until: connection.trades_until,
            created_at: connection.created_at,
            warnings,
        }
    }
}

fn parse(fields: &Fields) -> Result<NewExchange, ApiError> {
    let mut body = Reader::new(fields);
    let known = Exchange::ALL.map(Exchange::as_str).join(" or ");
    let exchange = body.required("exchange", &format!("an exchange that bots can trade on: {known}"), json);
    let wanted = "a text of 1 to 100 characters without control characters";
    let name = body.optional("name", wanted, |raw| json(raw).filter(|text: &String| is_name(text)));
    let wanted =
        format!("the public half of the key, as the venue shows it, of at most {LONGEST_KEY} characters");
    let api_key = body.required("api_key", &wanted, |raw| {
        let text: String = json(raw)?;
        let fits =
            (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Secret::new(text))
    });
    let wanted = format!(
        "the key's secret, or its Ed25519 private key as PEM, of at most {LONGEST_SECRET} characters"
    );
    let api_secret = body.required("api_secret", &wanted, |raw| {
        let text: String = json(raw)?;
        (1..=LONGEST_SECRET).contains(&text.len()).then(|| Secret::new(text))
    });
    let complete = (|| {
        let (exchange, credential): (Exchange, _) =
            (exchange?, ApiCredential { api_key: api_key?, api_secret: api_secret? });
        let name = name.unwrap_or_else(|| exchange.as_str().to_owned());
        Some(NewExchange { exchange, name, credential })
    })();
    body.finish(complete)
}

fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && !text.trim().is_empty()
}

/// A venue's API key, to be stored sealed.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"exchange": "binance", "name": "main", "api_key": "SIMKEY", "api_secret": "SIMSECRET"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct NewExchangeConnection {
    /// At which venue.
    exchange: Exchange,
    /// What you call it; the venue's name by default.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// The public half of the key, as the venue shows it.
    #[schema(min_length = 1, max_length = 512, pattern = "^[!-~]+$")]
    api_key: String,
    /// The key's secret, or its Ed25519 private key as PEM. It never comes out again.
    #[schema(min_length = 1, max_length = 4096, write_only)]
    api_secret: String,
}

/// Store a connection
///
/// The key is checked with the venue at once; one that can withdraw is refused. Its secret is stored sealed.
#[utoipa::path(post, path = "/v1/exchanges", tag = "Exchanges", security(("api_key" = ["exchanges:write"])),
    request_body = NewExchangeConnection,
    responses((status = 201, description = "The connection, without its secret.", body = Shown)))]
pub(crate) async fn create(
    caller: Caller,
    once: Once,
    engine: Engine,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let new = parse(&body::object(&request, payload).await?)?;
    let answer = |connection: &ExchangeConnection, warnings: &[Warning]| {
        once.created(format!("/v1/exchanges/{}", connection.id), &Shown::of(connection, Some(warnings)))
    };
    engine.create_exchange_answering(account, new, answer).await
}

/// List connections
///
/// Newest first, without their secrets.
#[utoipa::path(get, path = "/v1/exchanges", tag = "Exchanges", security(("api_key" = ["exchanges:read"])),
    params(Page<ExchangeId>),
    responses((status = 200, description = "A page of connections.", body = List<Shown>)))]
pub(crate) async fn list(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<ExchangeId>();
    query.finish()?;
    let connections = engine.exchanges(account, page.limit, page.starting_after).await?;
    let shown = |connection: &ExchangeConnection| {
        to_raw_value(&Shown::of(connection, None)).map_err(|_| ApiError::Internal)
    };
    show::list(&connections, shown, |connection| connection.id.to_string())
}

/// Delete a connection
///
/// What it signs with is erased.
#[utoipa::path(delete, path = "/v1/exchanges/{id}", tag = "Exchanges", security(("api_key" = ["exchanges:write"])),
    params(("id" = ExchangeId, Path, description = "Which connection.")),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 409, description = "A bot trades with it, or is stopped and holds a trade that no other connection reaches."),
    ))]
pub(crate) async fn delete(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = path.parse().map_err(|_| ApiError::NotFound("exchange connection"))?;
    engine.delete_exchange(account, id).await?;
    Ok(HttpResponse::NoContent().finish())
}
