//! `/v1/bots`.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{Apply, BotBody, BotDefinition, BotPatch, BotView, EngineHandle, Positions, Redefinition};
use model::{BotId, Warning};

use super::auth::Caller;
use super::once::Once;
use super::show::{self, BotDetail};
use super::unsettable;
use crate::ApiError;
use crate::body::{self, Fields, Reader, json};
use crate::query::Query;

type Engine = web::Data<EngineHandle>;

/// How a bot is to stop.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"positions": "hold"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct StopBot {
    /// What becomes of what it holds: `hold` keeps it, `close` sells it at the market, `drain` trades it to its end.
    #[schema(default = "hold")]
    positions: Option<Positions>,
}

/// The id in a path; what is no id names nothing.
fn id(path: &web::Path<String>) -> Result<BotId, ApiError> {
    path.parse().map_err(|_| ApiError::NotFound("bot"))
}

/// How new rules take effect, as the query says.
fn redefinition(request: &HttpRequest) -> Result<Redefinition, ApiError> {
    let mut query = Query::new(request.query_string())?;
    let apply = query.word("apply", &[("now", Apply::Now), ("next_trade", Apply::NextTrade)]);
    let is_confirmed = query.flag("confirm");
    query.finish()?;
    Ok(Redefinition { apply: apply.unwrap_or_default(), is_confirmed })
}

/// Create a bot
///
/// It is made `stopped`: start it when you are ready. What is allowed but worth a thought is told in `warnings`.
#[utoipa::path(post, path = "/v1/bots", tag = "Bots", security(("api_key" = ["bots:write"])),
    request_body = BotBody,
    responses((status = 201, description = "The bot.", body = BotDetail)))]
pub(crate) async fn create(
    caller: Caller,
    once: Once,
    engine: Engine,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let definition = BotDefinition::parse(&body::object(&request, payload).await?)?;
    make(&caller, &once, &engine, definition).await
}

/// Makes a bot of a definition, and answers with it.
async fn make(
    caller: &Caller,
    once: &Once,
    engine: &Engine,
    definition: BotDefinition,
) -> Result<HttpResponse, ApiError> {
    let answer = |view: &BotView, warnings: &[Warning]| {
        once.created(format!("/v1/bots/{}", view.bot.id), &show::bot_view(view, Some(warnings)))
    };
    engine.create_bot_answering(caller.account, caller.plan(), definition, answer).await
}

/// Clone a bot
///
/// Another bot with the same definition, stopped; fields of the body replace those of the first one, as in a PATCH.
#[utoipa::path(post, path = "/v1/bots/{id}/clone", tag = "Bots", security(("api_key" = ["bots:write"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    request_body = Option<BotPatch>,
    responses((status = 201, description = "The new bot.", body = BotDetail)))]
pub(crate) async fn clone(
    caller: Caller,
    once: Once,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = body::optional_object(&request, payload).await?;
    let model = engine.bot(caller.account, id(&path)?).await?;
    let merge = |fields| body::merged(&model.bot.definition, fields);
    let definition = merge(unsettable::left_out(fields, &model, merge)?)?;
    make(&caller, &once, &engine, definition).await
}

/// Get a bot
///
/// With what it holds (`open_trade`, at the last price, with its ladder), what it waits for (`waiting_for`), and what its
/// closed trades add up to (`stats`).
#[utoipa::path(get, path = "/v1/bots/{id}", tag = "Bots", security(("api_key" = ["bots:read"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    responses((status = 200, description = "The bot.", body = BotDetail)))]
pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let view = engine.bot(account, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, None)))
}

/// Change a bot
///
/// Fields of the answer that cannot be set (`id`, `created_at`, `stats`, …) are ignored where they are as they stand.
/// `exchange`, `exchange_id`, `pair`, `strategy` and `dry_run` change only while it is stopped. Rules under which a running
/// bot would trade at the next tick are refused with `would_trade_now` unless they are confirmed.
#[utoipa::path(patch, path = "/v1/bots/{id}", tag = "Bots", security(("api_key" = ["bots:write"])),
    params(
        ("id" = BotId, Path, description = "Which bot."),
        ("confirm" = Option<bool>, Query, description = "Also where the new rules would trade at the next tick."),
        ("apply" = Option<Apply>, Query, description = "`now` changes the open trade as well; `next_trade` leaves it under \
            the rules that it began with, which `open_trade.rules` shows."),
    ),
    request_body = BotPatch,
    responses(
        (status = 200, description = "The bot.", body = BotDetail),
        (status = 409, description = "A changed field is fixed while the bot runs or has an open trade, or the new rules \
            would trade at the next tick (`would_trade_now`)."),
    ))]
pub(crate) async fn patch(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let how = redefinition(&request)?;
    let fields = body::object(&request, payload).await?;
    let id = id(&path)?;
    let view = engine.bot(account, id).await?;
    let merge = |fields| body::merged(&view.bot.definition, fields);
    let fields = unsettable::left_out(fields, &view, merge)?;
    let redefine = |stored: &BotDefinition| body::merged(stored, fields);
    let (view, warnings) = engine.redefine_bot(account, id, how, redefine).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, Some(&warnings))))
}

/// Replace a bot's definition
///
/// Resets omitted fields to their defaults. Fields of the answer that cannot be set (`id`, `created_at`, `stats`, …) are
/// ignored where they are as they stand, so a bot that was read may be changed and put back; others are a 400. Rules that `PATCH` refuses are refused as well.
#[utoipa::path(put, path = "/v1/bots/{id}", tag = "Bots", security(("api_key" = ["bots:write"])),
    params(
        ("id" = BotId, Path, description = "Which bot."),
        ("confirm" = Option<bool>, Query, description = "Also where the new rules would trade at the next tick."),
        ("apply" = Option<Apply>, Query, description = "`now` changes the open trade as well; `next_trade` leaves it under \
            the rules that it began with, which `open_trade.rules` shows."),
    ),
    request_body = BotBody,
    responses(
        (status = 200, description = "The bot.", body = BotDetail),
        (status = 409, description = "A changed field is fixed while the bot runs or has an open trade, or the new rules \
            would trade at the next tick (`would_trade_now`)."),
    ))]
pub(crate) async fn put(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let how = redefinition(&request)?;
    let fields = body::object(&request, payload).await?;
    let id = id(&path)?;
    let view = engine.bot(account, id).await?;
    let parse = |fields: Fields| Ok(BotDefinition::parse(&fields)?);
    let definition = parse(unsettable::left_out(fields, &view, parse)?)?;
    let replace = |_: &BotDefinition| Ok::<_, ApiError>(definition);
    let (view, warnings) = engine.redefine_bot(account, id, how, replace).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, Some(&warnings))))
}

/// Delete a bot
///
/// Its trades stay readable. A trade on paper that is open is closed at the last price, as by hand; where the venue tells
/// none (503), `force` deletes the bot all the same and leaves the trade as it is.
#[utoipa::path(delete, path = "/v1/bots/{id}", tag = "Bots", security(("api_key" = ["bots:write"])),
    params(
        ("id" = BotId, Path, description = "Which bot."),
        ("force" = Option<bool>, Query, description = "Also while it runs or holds an open live trade."),
    ),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 409, description = "It runs, or holds an open live trade."),
    ))]
pub(crate) async fn delete(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let force = query.flag("force");
    query.finish()?;
    engine.delete_bot(account, id(&path)?, force).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Start a bot
///
/// Idempotent. A trade that `stop` with `hold` left open is taken up again. A live bot needs a usable exchange connection.
#[utoipa::path(post, path = "/v1/bots/{id}/start", tag = "Bots", security(("api_key" = ["bots:write"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    request_body = Option<body::NoFields>,
    responses((status = 200, description = "The bot.", body = BotDetail)))]
pub(crate) async fn start(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    body::nothing(&request, payload).await?;
    let view = engine.start_bot(account, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, None)))
}

/// Stop a bot
///
/// Idempotent. Open orders are canceled; what becomes of the coins is yours to say.
#[utoipa::path(post, path = "/v1/bots/{id}/stop", tag = "Bots", security(("api_key" = ["bots:write"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    request_body = Option<StopBot>,
    responses((status = 200, description = "The bot.", body = BotDetail)))]
pub(crate) async fn stop(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let fields = body::optional_object(&request, payload).await?;
    let mut body = Reader::new(&fields);
    let positions = body.optional("positions", "\"hold\", \"close\" or \"drain\"", json);
    let positions = body.finish(Some(positions.unwrap_or(Positions::Hold)))?;
    let view = engine.stop_bot(account, id(&path)?, positions).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, None)))
}
