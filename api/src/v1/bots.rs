//! `/v1/bots`.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{BotFilter, BotStatus, BotView, EngineHandle, Positions};
use model::{BotDefinition, BotId, Exchange, Warning};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::once::Once;
use super::show;
use crate::ApiError;
use crate::body::{self, Fields};
use crate::query::Query;

type Engine = web::Data<EngineHandle>;

/// The id in a path; what is no id names nothing.
fn id(path: &web::Path<String>) -> Result<BotId, ApiError> {
    path.parse().map_err(|_| ApiError::NotFound("bot"))
}

pub(crate) async fn list(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:read")?;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<BotId>();
    let filter = BotFilter {
        status: query.word("status", &BotStatus::ALL.map(|status| (status.as_str(), status))),
        exchange: query.word("exchange", &Exchange::ALL.map(|exchange| (exchange.as_str(), exchange))),
        pair: query.optional("pair", "a pair such as BTC/USDT"),
        strategy: query.word("strategy", &[("dca", "dca")]).map(str::to_owned),
        dry_run: query.word("dry_run", &[("true", true), ("false", false)]),
    };
    query.finish()?;
    let bots = engine.bots(account, filter, page.limit, page.starting_after).await?;
    show::list(&bots, show::bot, |bot| bot.id.to_string())
}

pub(crate) async fn create(
    caller: Caller,
    once: Once,
    engine: Engine,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:write")?;
    Query::new(request.query_string())?.finish()?;
    let definition = BotDefinition::parse(&body::object(&request, payload).await?)?;
    let answer = |view: &BotView, warnings: &[Warning]| {
        once.created(format!("/v1/bots/{}", view.bot.id), &show::bot_view(view, Some(warnings))?)
    };
    engine.create_bot_answering(account, definition, answer).await
}

pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:read")?;
    let view = engine.bot(account, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, None)?))
}

pub(crate) async fn patch(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:write")?;
    let fields = body::object(&request, payload).await?;
    let redefine = |stored: &BotDefinition| body::merged(stored, fields);
    let (view, warnings) = engine.redefine_bot(account, id(&path)?, redefine).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, Some(&warnings))?))
}

pub(crate) async fn put(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:write")?;
    let definition = BotDefinition::parse(&body::object(&request, payload).await?)?;
    let replace = |_: &BotDefinition| Ok::<_, ApiError>(definition);
    let (view, warnings) = engine.redefine_bot(account, id(&path)?, replace).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, Some(&warnings))?))
}

pub(crate) async fn delete(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:write")?;
    let mut query = Query::new(request.query_string())?;
    let force = query.word("force", &[("true", true), ("false", false)]).unwrap_or(false);
    query.finish()?;
    engine.delete_bot(account, id(&path)?, force).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(crate) async fn start(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:write")?;
    let fields = body::optional_object(&request, payload).await?;
    refuse_others(&fields, &[])?;
    let view = engine.start_bot(account, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, None)?))
}

pub(crate) async fn stop(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("bots:write")?;
    let fields = body::optional_object(&request, payload).await?;
    refuse_others(&fields, &["positions"])?;
    let positions = fields.get("positions").map_or(Ok(Positions::Hold), |raw| positions(raw))?;
    let view = engine.stop_bot(account, id(&path)?, positions).await?;
    Ok(HttpResponse::Ok().json(show::bot_view(&view, None)?))
}

fn positions(raw: &RawValue) -> Result<Positions, ApiError> {
    serde_json::from_str(raw.get()).map_err(|_| {
        let given: String = raw.get().chars().take(60).collect();
        let message = format!("{given} is not one of \"hold\", \"close\", \"drain\"");
        ApiError::field("positions", "parameter_invalid", message)
    })
}

/// Names every field that has no meaning here.
pub(super) fn refuse_others(fields: &Fields, known: &[&str]) -> Result<(), ApiError> {
    let others = fields.keys().filter(|name| !known.contains(&name.as_str()));
    let faults: Vec<model::Fault> = others
        .map(|name| model::Fault {
            param: name.chars().take(60).collect(),
            code: "parameter_unknown",
            message: "is not a field here: leave it out".to_owned(),
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(ApiError::Invalid(faults)) }
}
