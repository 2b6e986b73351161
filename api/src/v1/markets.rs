//! `/v1/markets`: what venues list.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{EngineHandle, ShownMarket};
use model::{Exchange, Pair};

use super::auth::Caller;
use super::show::{self, List};
use crate::ApiError;
use crate::query::{LongPage, Query};

/// List markets
///
/// The pairs that a venue lists, in the order of their names. What is listed is at most ten minutes old, prices at most five
/// seconds.
#[utoipa::path(get, path = "/v1/markets", tag = "Markets", security(("api_key" = ["bots:read"])),
    params(
        LongPage<Pair>,
        ("exchange" = Option<Exchange>, Query, description = "Only pairs of this venue."),
        ("search" = Option<String>, Query, description = "Only pairs with this in the name, whatever the case; `BTCUSDT` and \
            `btc/usdt` are one."),
    ),
    responses((status = 200, description = "A page of markets.", body = List<ShownMarket>)))]
pub(crate) async fn list(
    _: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::new(request.query_string())?;
    let LongPage { page, counts } = query.long_page::<Pair>();
    // There is one venue: whichever is asked for is it.
    let _ = query.word("exchange", &Exchange::ALL.map(|exchange| (exchange.as_str(), exchange)));
    let search: Option<String> = query.optional("search", "a text");
    query.finish()?;
    let (markets, total) =
        engine.listed_markets(search.as_deref(), page.limit, page.starting_after.as_ref()).await?;
    show::counted(&markets, counts.then_some(total), Ok, |market| market.pair.to_string())
}
