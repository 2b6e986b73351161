//! `/v1/portfolio`: what an account holds and has made, now and over time.

use actix_web::{HttpRequest, HttpResponse, web};
use engine::{BotShare, BotStatus, EngineHandle, HistoryPoint, Interval, Side, UsdRate};
use model::{BotId, Exchange, Pair, Quote, Timestamp};
use serde::Serialize;

use super::auth::Caller;
use crate::ApiError;
use crate::query::{Page, Query};

type Engine = web::Data<EngineHandle>;

/// What an account is worth, with a page of its bots, newest first.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Portfolio)]
struct Shown {
    as_of: Timestamp,
    live: Side,
    dry_run: Side,
    rates: Vec<UsdRate>,
    bots: Bots,
}

/// Some of the bots.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PortfolioBots)]
struct Bots {
    data: Vec<Share>,
    has_more: bool,
    #[schema(required)]
    next_cursor: Option<BotId>,
}

/// A bot's part of it, in its quote coin.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PortfolioBot)]
struct Share {
    bot_id: BotId,
    name: String,
    exchange: Exchange,
    pair: Pair,
    currency: String,
    dry_run: bool,
    status: BotStatus,
    trades: u64,
    realized_profit: Quote,
    #[schema(required)]
    unrealized_profit: Option<Quote>,
    #[schema(required)]
    exposure: Option<Quote>,
    stake: Quote,
}

impl From<BotShare> for Share {
    fn from(share: BotShare) -> Self {
        Self {
            bot_id: share.bot_id,
            name: share.name,
            exchange: share.exchange,
            currency: share.pair.quote().to_owned(),
            pair: share.pair,
            dry_run: share.dry_run,
            status: share.status,
            trades: share.trades,
            realized_profit: share.realized_profit,
            unrealized_profit: share.unrealized_profit,
            exposure: share.exposure,
            stake: share.stake,
        }
    }
}

/// Some points, oldest first; `next_from` asks for those that follow.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PortfolioHistory)]
struct History {
    interval: Interval,
    data: Vec<HistoryPoint>,
    has_more: bool,
    #[schema(required)]
    next_from: Option<Timestamp>,
}

/// Get the portfolio
///
/// Real money (`live`) and paper money (`dry_run`) stand apart and are never added up.
///
/// Real money is what the venue says is on your accounts, whoever bought it, at its last prices. The paper account is given
/// what the whole ladder of each of your dry-run bots needs (its `stats.capital`), and has besides what they made: in each
/// currency `equity = cash + exposure = capital + realized_profit + unrealized_profit + closing_fees`, to the last digit.
/// Every balance's `value` is `total · price`, and `equity_usd` is the sum of `value_usd`.
///
/// Figures in US dollars are rounded to eight decimals where the currency is no dollar; `rates` lists what was used, at the
/// last prices. `realized_profit_usd` alone goes by no present price: it is the sum of what closed trades were worth when
/// they closed, without those that had no rate then (`unvalued_trades`). What has no known price is `null`, and a coin of yours without one is named in `unpriced` and counts for nothing.
/// `unrealized_profit` is after the fee of selling, and the sum of the open trades' `profit`.
///
/// `limit` and `starting_after` page through `bots`.
#[utoipa::path(get, path = "/v1/portfolio", tag = "Portfolio", security(("api_key" = ["portfolio:read"])),
    params(Page<BotId>),
    responses((status = 200, description = "What the account is worth.", body = Shown)))]
pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<BotId>();
    query.finish()?;
    let portfolio = engine.portfolio(account).await?;
    let shares = engine.shares(account, page.limit, page.starting_after).await?;
    let next_cursor = shares.rows.last().filter(|_| shares.has_more).map(|share| share.bot_id);
    let data = shares.rows.into_iter().map(Share::from).collect();
    Ok(HttpResponse::Ok().json(Shown {
        as_of: portfolio.as_of,
        live: portfolio.live,
        dry_run: portfolio.dry_run,
        rates: portfolio.rates,
        bots: Bots { data, has_more: shares.has_more, next_cursor },
    }))
}

/// The most points of one answer.
const MOST_POINTS: u32 = 1_000;

/// Get the portfolio's history
///
/// What the account was worth at the end of each minute (kept for a week), hour (two years) or day (for ever), oldest
/// first; `at` is the beginning of the step. Points are taken while you have bots. Where there is none the server was not
/// there to take it, and nothing is made up.
#[utoipa::path(get, path = "/v1/portfolio/history", tag = "Portfolio", security(("api_key" = ["portfolio:read"])),
    params(
        ("interval" = Option<Interval>, Query, description = "How far apart points are; `1h` by default."),
        ("from" = Option<Timestamp>, Query, description = "Only steps that begin at this time or later."),
        ("to" = Option<Timestamp>, Query, description = "Only steps that begin before this time."),
        ("limit" = Option<u32>, Query, description = "How many points, 500 by default.", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "The points.", body = History)))]
pub(crate) async fn history(
    caller: Caller,
    engine: Engine,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let interval = query.word("interval", &Interval::ALL.map(|interval| (interval.as_str(), interval)));
    let interval = interval.unwrap_or(Interval::Hour);
    let from = query.optional("from", "a time such as 2026-04-01T12:00:00Z");
    let to = query.optional("to", "a time such as 2026-04-01T12:00:00Z");
    let limit = query.within("limit", 1, MOST_POINTS).unwrap_or(500);
    query.finish()?;
    let (from, to) = (from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX));
    let page = engine.portfolio_history(account, interval, from, to, limit).await?;
    let next_from = page.rows.last().filter(|_| page.has_more).map(|point| point.at.next());
    Ok(HttpResponse::Ok().json(History { interval, data: page.rows, has_more: page.has_more, next_from }))
}
