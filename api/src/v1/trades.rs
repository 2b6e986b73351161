//! `/v1/trades` and `/v1/bots/{id}/trades`.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, TradeFilter};
use model::{BotId, TradeId, TradeStatus};

use super::auth::Caller;
use super::show;
use crate::ApiError;
use crate::query::Query;

type Engine = web::Data<EngineHandle>;

pub(crate) async fn list(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    page(&caller, &engine, &request, None).await
}

pub(crate) async fn of_bot(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let bot = path.parse().map_err(|_| ApiError::NotFound("bot"))?;
    page(&caller, &engine, &request, Some(bot)).await
}

async fn page(
    caller: &Caller,
    engine: &Engine,
    request: &HttpRequest,
    bot: Option<BotId>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("trades:read")?;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<TradeId>();
    let filter = TradeFilter {
        bot_id: if bot.is_none() { query.optional("bot_id", "the id of a bot") } else { bot },
        pair: query.optional("pair", "a pair such as BTC/USDT"),
        status: query.word("status", &[("open", TradeStatus::Open), ("closed", TradeStatus::Closed)]),
        from: query.optional("from", "a time such as 2026-04-01T12:00:00Z"),
        to: query.optional("to", "a time such as 2026-04-01T12:00:00Z"),
    };
    query.finish()?;
    if let Some(bot) = bot
        && !engine.has_had_bot(account, bot).await?
    {
        return Err(ApiError::NotFound("bot"));
    }
    let trades = engine.trades(account, filter, page.limit, page.starting_after).await?;
    show::list(&trades, |trade| Ok(trade.clone()), |trade| trade.id.to_string())
}

pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.needs("trades:read")?;
    let id = path.parse().map_err(|_| ApiError::NotFound("trade"))?;
    Ok(HttpResponse::Ok().json(engine.trade(account, id).await?))
}
