//! `/v1/profits`: what closed trades made.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, ProfitFilter, Profits, ProfitsBy};
use model::{BotId, Pair, Timestamp};
use serde::Serialize;

use super::auth::Caller;
use crate::ApiError;
use crate::query::Query;

/// What closed trades made, a row a group and currency.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Profits)]
struct Shown {
    /// What they are added up by.
    by: ProfitsBy,
    /// The time zone in which days begin.
    tz: String,
    data: Vec<Profits>,
    /// Whether more rows follow than `limit`: ask for an earlier `to`.
    has_more: bool,
}

/// List profits
///
/// What closed trades made, by day, week or month of their closing in a time zone, newest first, or by bot or pair. Paper and
/// real money, and different currencies, have rows of their own.
#[utoipa::path(get, path = "/v1/profits", tag = "Portfolio", security(("api_key" = ["portfolio:read"])),
    params(
        ("by" = Option<ProfitsBy>, Query, description = "What trades are added up by; `day` by default."),
        ("tz" = Option<String>, Query, description = "In which time zone days begin, such as `Europe/Berlin`; `UTC` by default."),
        ("from" = Option<Timestamp>, Query, description = "Only trades that were closed at this time or later."),
        ("to" = Option<Timestamp>, Query, description = "Only trades that were closed before this time."),
        ("bot_id" = Option<BotId>, Query, description = "Only trades of this bot."),
        ("pair" = Option<Pair>, Query, description = "Only trades of this pair."),
        ("dry_run" = Option<bool>, Query, description = "Only trades on paper, or only real ones."),
        ("limit" = Option<u32>, Query, description = "How many rows, 100 by default.", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "The rows.", body = Shown)))]
pub(crate) async fn list(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::new(request.query_string())?;
    let by = query.word("by", &ProfitsBy::ALL).unwrap_or_default();
    let tz: String = query.optional("tz", "a time zone").unwrap_or_else(|| "UTC".to_owned());
    let filter = ProfitFilter {
        from: query.optional("from", "a time such as 2026-04-01T12:00:00Z"),
        to: query.optional("to", "a time such as 2026-04-01T12:00:00Z"),
        bot_id: query.optional("bot_id", "the id of a bot"),
        pair: query.optional("pair", "a pair such as BTC/USDT"),
        dry_run: query.yes_or_no("dry_run"),
    };
    let limit = query.within("limit", 1, 1_000).unwrap_or(100) as usize;
    query.finish()?;
    let mut data = engine.profits(caller.account, by, &tz, filter).await?;
    let has_more = data.len() > limit;
    data.truncate(limit);
    Ok(HttpResponse::Ok().json(Shown { by, tz, data, has_more }))
}
