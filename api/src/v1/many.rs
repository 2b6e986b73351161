//! Many bots at once: started, stopped, and all of them stopped in an emergency.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{BotFilter, BotStatus, EngineHandle, Positions, Selection, StrategyDefinition, Turn, Turned};
use model::{BotId, Exchange, Pair};
use serde::Serialize;

use super::auth::Caller;
use crate::ApiError;
use crate::body::{self, Reader, json as read};
use crate::error::OfOne;

/// Which bots: by their ids, by the filters of a list, or all of them.
#[derive(utoipa::ToSchema)]
#[schema(min_properties = 1, example = json!({"pair": "BTC/USDT", "dry_run": true}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct WhichBots {
    /// These bots; no filter stands beside it.
    #[schema(nullable = false, min_items = 1, max_items = 1000)]
    ids: Option<Vec<BotId>>,
    /// Every bot of the account; nothing else stands beside it.
    #[schema(nullable = false)]
    all: Option<bool>,
    /// Bots in this status.
    #[schema(nullable = false)]
    status: Option<BotStatus>,
    /// Bots on this venue.
    #[schema(nullable = false)]
    exchange: Option<Exchange>,
    /// Bots of this pair.
    #[schema(nullable = false)]
    pair: Option<Pair>,
    /// Bots of this strategy.
    #[schema(nullable = false)]
    strategy: Option<engine::Strategy>,
    /// Bots on paper, or live ones.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    /// Bots with this in the name, whatever the case.
    #[schema(nullable = false)]
    search: Option<String>,
}

/// Which bots are to stop, and how.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"all": true, "positions": "close"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct StopBots {
    #[schema(inline)]
    #[serde(flatten)]
    which: WhichBots,
    /// What becomes of what they hold: `hold` keeps it, `close` sells it at the market, `drain` trades it to its end.
    #[schema(default = "hold", nullable = false)]
    positions: Option<Positions>,
}

/// What becomes of what an account's bots hold.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"positions": "hold"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct Panic {
    /// `close` sells it at the market, `hold` keeps it.
    positions: Emergency,
}

/// What becomes of positions in an emergency.
#[derive(Clone, Copy, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Emergency {
    /// They are kept.
    Hold,
    /// They are sold at the market.
    Close,
}

/// What became of each bot.
#[derive(Serialize, utoipa::ToSchema)]
struct TurnedBots {
    data: Vec<TurnedBot>,
}

/// What became of one bot.
#[derive(Serialize, utoipa::ToSchema)]
struct TurnedBot {
    id: BotId,
    /// Its status afterwards; `null` where it was not done.
    #[schema(required)]
    status: Option<BotStatus>,
    /// Why it was not done.
    #[schema(required)]
    error: Option<OfOne>,
}

/// Start many bots
///
/// By `ids`, by the filters of `GET /v1/bots`, or with `{"all": true}`. Each bot is started as by itself, and has its own
/// outcome: one that cannot start keeps no other from it.
#[utoipa::path(post, path = "/v1/bots/start", tag = "Bots", security(("api_key" = ["bots:write"])),
    request_body = WhichBots,
    responses((status = 200, description = "What became of each bot.", body = TurnedBots)))]
pub(crate) async fn start(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = body::object(&request, payload).await?;
    let mut body = Reader::new(&fields);
    let which = which(&mut body);
    let which = body.finish(which)?;
    turn(&caller, &engine, which, Turn::Start).await
}

/// Stop many bots
///
/// Which ones is said as for starting them; `positions` as for stopping one.
#[utoipa::path(post, path = "/v1/bots/stop", tag = "Bots", security(("api_key" = ["bots:write"])),
    request_body = StopBots,
    responses((status = 200, description = "What became of each bot.", body = TurnedBots)))]
pub(crate) async fn stop(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = body::object(&request, payload).await?;
    let mut body = Reader::new(&fields);
    let positions = body.optional("positions", "\"hold\", \"close\" or \"drain\"", read);
    let which = which(&mut body);
    let which = body.finish(which)?;
    turn(&caller, &engine, which, Turn::Stop(positions.unwrap_or(Positions::Hold))).await
}

/// Stop everything
///
/// Stops every bot of the account that is not stopped, and says what became of each. It works above the rate limit.
#[utoipa::path(post, path = "/v1/panic", tag = "Bots", security(("api_key" = ["bots:write"])),
    request_body = Panic,
    responses((status = 200, description = "What became of each bot.", body = TurnedBots)))]
pub(crate) async fn panic(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = body::object(&request, payload).await?;
    let mut body = Reader::new(&fields);
    let positions = body.required("positions", "\"close\" or \"hold\"", read::<Emergency>);
    let positions = match body.finish(positions)? {
        Emergency::Hold => Positions::Hold,
        Emergency::Close => Positions::Close,
    };
    turn(&caller, &engine, Selection::Like(BotFilter::default()), Turn::Stop(positions)).await
}

async fn turn(
    caller: &Caller,
    engine: &EngineHandle,
    which: Selection,
    turn: Turn,
) -> Result<HttpResponse, ApiError> {
    let turned = engine.turn_bots(caller.account, which, turn).await?;
    let data = turned.into_iter().map(|Turned { id, outcome }| match outcome {
        Ok(status) => TurnedBot { id, status: Some(status), error: None },
        Err(error) => TurnedBot { id, status: None, error: Some(ApiError::from(error).into()) },
    });
    Ok(HttpResponse::Ok().json(TurnedBots { data: data.collect() }))
}

/// The most bots that may be named.
const MOST_IDS: usize = 1_000;

/// Which bots a body names; `None` once a fault was found.
fn which(body: &mut Reader<'_>) -> Option<Selection> {
    let text = |raw: &str| body::text(raw, 1, 100);
    let ids = body.optional("ids", "a list of ids of bots", read::<Vec<BotId>>);
    let all = body.optional("all", "true", |raw| read::<bool>(raw).filter(|all| *all));
    let filter = BotFilter {
        status: body.optional("status", "a status of a bot", read),
        exchange: body.optional("exchange", "an exchange that bots can trade on", read),
        pair: body.optional("pair", "a pair such as \"BTC/USDT\"", read),
        strategy: body.optional("strategy", "the name of a strategy", |raw| {
            text(raw).filter(|name| StrategyDefinition::NAMES.contains(&name.as_str()))
        }),
        dry_run: body.optional("dry_run", "true or false", read),
        search: body.optional("search", "a text of 1 to 100 characters", text),
    };
    let is_filtered = filter != BotFilter::default();
    match (ids, all) {
        (Some(ids), None) if !is_filtered => {
            if ids.is_empty() || ids.len() > MOST_IDS {
                let message = format!("names {} bots: name 1 to {MOST_IDS} at a time", ids.len());
                return body.fault("ids", "parameter_invalid", message);
            }
            Some(Selection::Ids(ids))
        }
        (None, Some(true)) if !is_filtered => Some(Selection::Like(BotFilter::default())),
        (None, None) if is_filtered => Some(Selection::Like(filter)),
        (None, None) => {
            let message = "says not which bots: send `ids`, a filter, or {\"all\": true}".to_owned();
            body.fault("all", "parameter_missing", message)
        }
        _ => {
            let message = "one of `ids`, filters and `all` is taken at a time".to_owned();
            body.fault("ids", "parameter_invalid", message)
        }
    }
}
