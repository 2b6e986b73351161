//! `/v1/trades` and `/v1/bots/{id}/trades`.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{AddedFunds, BotStatus, By, EngineHandle, Funds, Then, TradeFilter};
use model::{BotId, Order, OrderStatus, Pair, Qty, Quote, Side, Timestamp, TradeId, TradeStatus};
use serde::Serialize;

use super::auth::Caller;
use super::csv::{self, Exports};
use super::once::Once;
use super::show::{self, Afterwards, ClosedTrade, List, Trade};
use crate::ApiError;
use crate::body::{self, Fields, Given, Reader, json};
use crate::query::{LongPage, Query};

type Engine = web::Data<EngineHandle>;

/// List trades
///
/// Newest first, of all bots, those of deleted ones included.
#[utoipa::path(get, path = "/v1/trades", tag = "Trades", security(("api_key" = ["trades:read"])),
    params(
        LongPage<TradeId>,
        ("bot_id" = Option<BotId>, Query, description = "Only trades of this bot."),
        ("pair" = Option<Pair>, Query, description = "Only trades of this pair."),
        ("status" = Option<TradeStatus>, Query, description = "Only open trades, or only closed ones."),
        ("from" = Option<Timestamp>, Query, description = "Only trades opened at this time or later."),
        ("to" = Option<Timestamp>, Query, description = "Only trades opened before this time."),
        ("format" = inline(Option<Format>), Query, description = "`csv` gives one row a trade, of all that the filters let \
            through unless there is a `limit`. Two such exports of an account run at once, and the next ones wait for \
            up to five seconds; then they are answered with a 429. One that is not read for ten seconds is cut off."),
    ),
    responses((status = 200, description = "A page of trades; as CSV, rows under a header.",
        content((List<Trade> = "application/json"), (String = "text/csv")))))]
pub(crate) async fn list(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    page(&caller, &engine, &request, None).await
}

/// List a bot's trades
///
/// Newest first; a deleted bot's as well.
#[utoipa::path(get, path = "/v1/bots/{id}/trades", tag = "Bots", security(("api_key" = ["trades:read"])),
    params(
        ("id" = BotId, Path, description = "Which bot."),
        LongPage<TradeId>,
        ("pair" = Option<Pair>, Query, description = "Only trades of this pair."),
        ("status" = Option<TradeStatus>, Query, description = "Only open trades, or only closed ones."),
        ("from" = Option<Timestamp>, Query, description = "Only trades opened at this time or later."),
        ("to" = Option<Timestamp>, Query, description = "Only trades opened before this time."),
        ("format" = inline(Option<Format>), Query, description = "`csv` gives one row a trade, of all that the filters let \
            through unless there is a `limit`. Two such exports of an account run at once, and the next ones wait for \
            up to five seconds; then they are answered with a 429. One that is not read for ten seconds is cut off."),
    ),
    responses((status = 200, description = "A page of trades; as CSV, rows under a header.",
        content((List<Trade> = "application/json"), (String = "text/csv")))))]
pub(crate) async fn of_bot(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let bot = path.parse().map_err(|_| ApiError::NotFound("bot"))?;
    page(&caller, &engine, &request, Some(bot)).await
}

/// How a list is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TradesFormat)]
pub(crate) enum Format {
    /// A page, with every order and fill.
    Json,
    /// All that the filters let through (or `limit` of them), a row a trade, as it is read.
    Csv,
}

async fn page(
    caller: &Caller,
    engine: &Engine,
    request: &HttpRequest,
    bot: Option<BotId>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let has_limit = query.has("limit");
    let LongPage { page, counts } = query.long_page::<TradeId>();
    let format = query.word("format", &[("json", Format::Json), ("csv", Format::Csv)]);
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
    if format == Some(Format::Csv) {
        let most = has_limit.then_some(page.limit);
        let exports = request.app_data::<web::Data<Exports>>().ok_or(ApiError::Internal)?;
        return csv::trades(exports, engine.clone(), account, filter, page.starting_after, most).await;
    }
    let total = if counts { Some(engine.count_trades(account, filter.clone()).await?) } else { None };
    let trades = engine.trades(account, filter, page.limit, page.starting_after).await?;
    show::counted(&trades, total, |trade| Ok(show::trade(trade)), |trade| trade.id.to_string())
}

/// Get a trade
///
/// With every order and every fill. What is not known yet is `null`. Of an open trade the profit is unrealised, at the last
/// price, and it also has its ladder, step by step, and how far the price is from each of its levels.
#[utoipa::path(get, path = "/v1/trades/{id}", tag = "Trades", security(("api_key" = ["trades:read"])),
    params(("id" = TradeId, Path, description = "Which trade.")),
    responses((status = 200, description = "The trade.", body = Trade)))]
pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = path.parse().map_err(|_| ApiError::NotFound("trade"))?;
    Ok(HttpResponse::Ok().json(show::trade(&engine.trade(account, id).await?)))
}

/// Close a trade
///
/// It is sold at the market. Answered with 202 while the venue has not sold all of it. A running bot then goes on: it buys
/// again on the first trade of its pair once its cooldown is over. With `{"then":"stop"}` it stops instead; a bot that does not
/// run stays as it is.
#[utoipa::path(post, path = "/v1/trades/{id}/close", tag = "Trades", security(("api_key" = ["bots:write"])),
    params(("id" = TradeId, Path, description = "Which trade.")),
    request_body = Option<CloseTrade>,
    responses(
        (status = 200, description = "The trade, closed.", body = ClosedTrade),
        (status = 202, description = "The trade, which is being sold.", body = ClosedTrade),
        (status = 409, description = "The trade is closed, or its bot cannot sell it just now."),
    ))]
pub(crate) async fn close(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = path.parse().map_err(|_| ApiError::NotFound("trade"))?;
    let fields = body::optional_object(&request, payload).await?;
    let mut body = Reader::new(&fields);
    let then = body.optional("then", "\"continue\" or \"stop\"", json);
    let then = body.finish(Some(then.unwrap_or(Then::Continue)))?;
    let trade = engine.close_trade(account, id, By::Hand, then).await?;
    let bot = engine.bot(account, trade.bot_id).await.ok();
    let lives = bot.is_some_and(|view| matches!(view.bot.status, BotStatus::Running | BotStatus::Starting));
    let message = if lives { BUYS_AGAIN } else { STOPS };
    let afterwards = Afterwards { then, message };
    let is_under_way = trade.status == TradeStatus::Open;
    Ok(answered(is_under_way, &show::closed(&trade, afterwards)))
}

/// What a client is told of a bot that goes on after its trade was closed.
const BUYS_AGAIN: &str = "the bot runs on and buys again on the first trade of its pair once its cooldown is over; close with \
    {\"then\":\"stop\"}, or stop the bot, if it is not to";

/// What a client is told of one that does not.
const STOPS: &str = "the bot does not buy again until it is started";

/// How a trade is to be closed.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"then": "stop"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct CloseTrade {
    /// What a running bot does afterwards: `continue` lets it buy again, `stop` stops it.
    #[schema(default = "continue")]
    then: Option<Then>,
}

/// Add funds to a trade
///
/// Buys more for an open trade, at the market and beside its ladder: either for an `amount` of quote or a `qty` of base.
/// Answered with 202 while the venue has not bought all of it.
#[utoipa::path(post, path = "/v1/trades/{id}/add-funds", tag = "Trades", security(("api_key" = ["bots:write"])),
    params(("id" = TradeId, Path, description = "Which trade.")),
    request_body = AddedFunds,
    responses(
        (status = 200, description = "The trade, with what was bought.", body = Trade),
        (status = 202, description = "The trade, for which more is being bought.", body = Trade),
        (status = 409, description = "The trade is closed, or its bot cannot buy just now."),
    ))]
pub(crate) async fn add_funds(
    caller: Caller,
    once: Once,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let id = path.parse().map_err(|_| ApiError::NotFound("trade"))?;
    let funds = funds(&body::object(&request, payload).await?)?;
    // What is answered again should the server end before it knows more: what was done stands in the trade.
    let before = once.meanwhile(&show::trade(&engine.trade(account, id).await?))?;
    let trade = engine.add_funds_answering(account, id, funds, before).await?;
    let is_open = |order: &Order| {
        order.side == Side::Buy
            && matches!(
                order.status,
                OrderStatus::Intent | OrderStatus::Unknown | OrderStatus::Open | OrderStatus::PartiallyFilled
            )
    };
    Ok(answered(trade.orders.iter().any(is_open), &show::trade(&trade)))
}

/// A trade; 202 while the venue has not done yet all that was asked for.
fn answered(is_under_way: bool, trade: &impl Serialize) -> HttpResponse {
    if is_under_way { HttpResponse::Accepted().json(trade) } else { HttpResponse::Ok().json(trade) }
}

/// How much is to be added: `amount` in quote or `qty` in base, one of them.
fn funds(fields: &Fields) -> Result<Funds, ApiError> {
    let mut body = Reader::new(fields);
    let amount = body.number("amount", "an amount of quote above 0", |amount: &Quote| *amount > Quote::ZERO);
    let qty = body.number("qty", "a quantity of base above 0", |qty: &Qty| !qty.is_zero());
    let funds = match (amount.map(Funds::Amount), qty.map(Funds::Qty)) {
        (Given::Missing | Given::Null, Given::Missing | Given::Null) => {
            let message = "give how much to spend as `amount` (quote), or how much to buy as `qty` (base)";
            body.fault("amount", "parameter_missing", message)
        }
        (amount, Given::Missing | Given::Null) => amount.value(),
        (Given::Missing | Given::Null, qty) => qty.value(),
        _ => body.fault("qty", "parameter_invalid", "give either `amount` or `qty`, not both"),
    };
    body.finish(funds)
}
