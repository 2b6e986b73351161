//! `/v1/candles`: prices of the past, for charts.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{CandleQuery, CandleStep, EngineHandle, ShownCandle};
use model::{Exchange, Pair, Timestamp};
use serde::Serialize;

use crate::ApiError;
use crate::query::Query;

/// Candles, oldest first; `next_from` asks for those that follow.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Candles)]
struct Shown<'a> {
    exchange: Exchange,
    pair: &'a Pair,
    interval: CandleStep,
    data: &'a [ShownCandle],
    /// Whether there may be more from `next_from` on.
    has_more: bool,
    #[schema(required)]
    next_from: Option<Timestamp>,
}

/// Get candles
///
/// As the venue made them, oldest first. Without `from` they are the last ones (before `to`, where that is given), of which
/// the very last may still be made (`closed: false`). A pair that the venue does not list is refused by name; a venue that
/// does not answer is 503 `venue_unreachable`.
#[utoipa::path(get, path = "/v1/candles", tag = "Markets", security(("api_key" = ["bots:read"])),
    params(
        ("exchange" = Option<Exchange>, Query, description = "The venue; `binance` by default."),
        ("pair" = Pair, Query, description = "Which pair."),
        ("interval" = Option<CandleStep>, Query, description = "How long a candle is; `1h` by default."),
        ("from" = Option<Timestamp>, Query, description = "Only candles that begin at this time or later."),
        ("to" = Option<Timestamp>, Query, description = "Only candles that begin before this time."),
        ("limit" = Option<u32>, Query, description = "How many at most, 500 by default.", minimum = 1, maximum = 999),
    ),
    responses((status = 200, description = "The candles.", body = Shown)))]
pub(crate) async fn get(
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::new(request.query_string())?;
    let exchanges = Exchange::ALL.map(|exchange| (exchange.as_str(), exchange));
    let exchange = query.word("exchange", &exchanges).unwrap_or(Exchange::Binance);
    let has_pair = query.has("pair");
    let pair: Option<Pair> = query.optional("pair", "a pair such as BTC/USDT");
    let step = query.word("interval", &CandleStep::ALL).unwrap_or(CandleStep::OneHour);
    let from = query.optional("from", "a time such as 2026-04-01T12:00:00Z");
    let to = query.optional("to", "a time such as 2026-04-01T12:00:00Z");
    let limit = query.within("limit", 1, 999).unwrap_or(500);
    query.finish()?;
    let missing = || ApiError::field("pair", "parameter_missing", "is required: a pair such as BTC/USDT");
    let pair = pair.filter(|_| has_pair).ok_or_else(missing)?;
    let asked = CandleQuery { pair: pair.clone(), step, from, to, limit };
    let candles = engine.candles(exchange, asked).await?;
    let next_from = candles.rows.last().filter(|_| candles.has_more).map(|last| last.closes_at.next());
    Ok(HttpResponse::Ok().json(Shown {
        exchange,
        pair: &pair,
        interval: step,
        data: &candles.rows,
        has_more: candles.has_more,
        next_from,
    }))
}
