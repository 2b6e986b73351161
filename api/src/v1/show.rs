//! What is shown: bots as contract §3 has them, and lists.

use actix_web::HttpResponse;
use engine::{BotDefinition, BotStats, BotTrouble, BotView, NoRatio, Page, Ratios, StoredBot};
use model::{Pct, Quote, Standing, Timestamp, Wait, Warning};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::ApiError;

#[derive(Serialize, ToSchema)]
struct Head<'a> {
    id: model::BotId,
    status: engine::BotStatus,
    /// Why it cannot go on, when `status` is `error`.
    #[schema(required)]
    error: Option<&'a BotTrouble>,
}

/// What it does.
#[derive(Serialize)]
struct Definition<'a>(&'a BotDefinition);

impl PartialSchema for Definition<'_> {
    fn schema() -> RefOr<Schema> {
        BotDefinition::schema()
    }
}

impl ToSchema for Definition<'_> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        BotDefinition::schemas(schemas);
    }
}

#[derive(Serialize, ToSchema)]
struct Tail {
    created_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
struct Rest<'a> {
    stats: Stats,
    /// What it holds, at the last price.
    #[schema(required)]
    open_trade: Option<OpenTrade<'a>>,
    /// What it would act on next, and what keeps it from acting: empty while it is stopped.
    waiting_for: &'a [Wait],
}

/// What a bot's closed trades add up to, in its quote coin.
/// Of a bot that was turned from paper to real money, or to another quote coin, only trades of its present kind count.
#[derive(Serialize, ToSchema)]
#[schema(as = BotStats)]
struct Stats {
    /// What its whole ladder needs, from rounded quantities and with fees: the `funds_needed` of a preview at the price of
    /// the moment at which the bot was defined; while an open trade has spent more than that, what it has spent. A
    /// portfolio counts the same. Percentages of the capital are of this.
    capital: Quote,
    /// How many trades were closed.
    trades: u64,
    /// How many of them made a profit.
    wins: u64,
    /// How many percent of them did, to four decimals.
    #[schema(required)]
    win_rate: Option<Pct>,
    /// What they made together, in quote.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    profit: rust_decimal::Decimal,
    /// The same in percent of the capital, to eight decimals.
    #[schema(required)]
    profit_pct: Option<Pct>,
    /// What they paid in fees, in quote.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    fees: rust_decimal::Decimal,
    /// What trades with a profit made over what the others lost, to eight decimals; `null` while nothing was lost.
    #[schema(required)]
    profit_factor: Option<Quote>,
    /// What a trade made on average, in quote, to eight decimals.
    #[schema(required)]
    expectancy: Option<Quote>,
    /// The furthest that the sum of profits fell below its highest, from close to close, in quote.
    max_drawdown: Quote,
    /// The same in percent of what the capital had grown to at that highest, to eight decimals.
    #[schema(required)]
    max_drawdown_pct: Option<Pct>,
    /// Sharpe ratio: mean over standard deviation (of a sample) of the daily returns of the capital and what was made of
    /// it, times √365. Days are UTC, from that of the first close to that of the last; days without a close count, open
    /// trades do not. `null` where `sharpe_reason` says why.
    #[schema(required)]
    sharpe: Option<f64>,
    /// Why there is no Sharpe ratio.
    #[schema(required)]
    sharpe_reason: Option<NoRatio>,
    /// Sortino ratio: the same over the root of the mean square of the days that lost; `null` where `sortino_reason` says
    /// why.
    #[schema(required)]
    sortino: Option<f64>,
    /// Why there is no Sortino ratio.
    #[schema(required)]
    sortino_reason: Option<NoRatio>,
    /// The most that a trade made, in quote.
    #[schema(required)]
    best: Option<Quote>,
    /// The profit of the best one, in percent of what it spent.
    #[schema(required)]
    best_pct: Option<Pct>,
    /// The least that a trade made, in quote.
    #[schema(required)]
    worst: Option<Quote>,
    /// The profit of the worst one, in percent.
    #[schema(required)]
    worst_pct: Option<Pct>,
    /// How long a trade was open on average, in seconds.
    #[schema(required)]
    average_holding_s: Option<i64>,
    /// What the open trade would make if it were sold at the last price, after the fee of selling: its `profit`.
    #[schema(required)]
    unrealized_profit: Option<Quote>,
}

#[derive(Serialize, ToSchema)]
struct Warned<'a> {
    /// What is allowed but worth a thought, such as a safety order below its stop; told when the definition changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warnings: Option<&'a [Warning]>,
}

/// One flat object that has the fields of several, and its schema.
macro_rules! flat {
    ($(#[doc = $description:literal])+ $name:ident { $($field:ident: $part:ty),+ $(,)? }) => {
        $(#[doc = $description])+
        #[derive(Serialize)]
        pub(crate) struct $name<'a> {
            $(#[serde(flatten)] $field: $part),+
        }

        impl<'a> PartialSchema for $name<'a> {
            fn schema() -> RefOr<Schema> {
                let mut whole = utoipa::openapi::schema::Object::default();
                whole.description = Some([$($description.trim()),+].join(" "));
                for part in [$(<$part>::schema()),+] {
                    if let RefOr::T(Schema::Object(part)) = part {
                        whole.properties.extend(part.properties);
                        whole.required.extend(part.required);
                    }
                }
                RefOr::T(Schema::Object(whole))
            }
        }

        impl<'a> ToSchema for $name<'a> {
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(<$part as ToSchema>::schemas(schemas);)+
            }
        }
    };
}

flat! {
    /// A bot.
    Bot { head: Head<'a>, definition: Definition<'a>, tail: Tail }
}

flat! {
    /// A bot with what it holds and what it has made.
    BotDetail { bot: Bot<'a>, rest: Rest<'a>, warned: Warned<'a> }
}

flat! {
    /// A trade; what is not known yet is `null`. An open one also has the fields from `last_price` on: how it stands against
    /// the market.
    Trade { trade: TradeFields<'a>, standing: OpenFields<'a> }
}

/// What every trade has.
#[derive(Serialize)]
struct TradeFields<'a>(&'a model::Trade);

impl PartialSchema for TradeFields<'_> {
    fn schema() -> RefOr<Schema> {
        model::Trade::schema()
    }
}

impl ToSchema for TradeFields<'_> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        model::Trade::schemas(schemas);
    }
}

/// What an open trade has beside that.
#[derive(Serialize)]
struct OpenFields<'a>(Option<&'a Standing>);

impl PartialSchema for OpenFields<'_> {
    fn schema() -> RefOr<Schema> {
        let mut schema = Standing::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.clear();
        }
        schema
    }
}

impl ToSchema for OpenFields<'_> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Standing::schemas(schemas);
    }
}

/// A trade as it is shown.
pub(crate) fn trade(trade: &model::Trade) -> Trade<'_> {
    Trade { trade: TradeFields(trade), standing: OpenFields(trade.standing.as_deref()) }
}

/// What became of a trade that was to be closed, and of its bot.
#[derive(Serialize, ToSchema)]
pub(crate) struct Afterwards {
    /// What was asked for: what a running bot does once the trade is closed. One that does not run stays as it is.
    pub(crate) then: engine::Then,
    /// What its bot does now, in words.
    pub(crate) message: &'static str,
}

flat! {
    /// A trade that is closed, or is being sold, and what its bot does afterwards.
    ClosedTrade { trade: Trade<'a>, afterwards: Afterwards }
}

/// A trade that was to be closed.
pub(crate) fn closed(closed: &model::Trade, afterwards: Afterwards) -> ClosedTrade<'_> {
    ClosedTrade { trade: trade(closed), afterwards }
}

flat! {
    /// The trade that a bot is in.
    OpenTrade { trade: Trade<'a>, kept: Kept<'a> }
}

/// The rules that an open trade goes by.
#[derive(Serialize, ToSchema)]
struct Kept<'a> {
    /// The rules that it began with and keeps, its bot having others by now (`apply=next_trade`); `null` where it follows
    /// its bot's.
    #[schema(required)]
    rules: Option<Definition<'a>>,
}

impl Stats {
    fn of(stats: &BotStats, capital: Quote, open_trade: Option<&model::Trade>) -> Self {
        let Ratios { sharpe, sortino } = stats.ratios(capital);
        Self {
            capital,
            trades: stats.trades,
            wins: stats.wins,
            win_rate: stats.win_rate(),
            profit: stats.profit,
            profit_pct: stats.profit_pct(capital),
            fees: stats.fees,
            profit_factor: stats.profit_factor(),
            expectancy: stats.expectancy(),
            max_drawdown: stats.max_drawdown(),
            max_drawdown_pct: stats.max_drawdown_pct(capital),
            sharpe: sharpe.ok(),
            sharpe_reason: sharpe.err(),
            sortino: sortino.ok(),
            sortino_reason: sortino.err(),
            best: stats.best,
            best_pct: stats.best_pct,
            worst: stats.worst,
            worst_pct: stats.worst_pct,
            average_holding_s: stats.average_held_s(),
            unrealized_profit: open_trade.and_then(|trade| trade.profit),
        }
    }
}

/// A bot as a list shows it.
pub(crate) fn bot(bot: &StoredBot) -> Bot<'_> {
    let head = Head { id: bot.id, status: bot.status, error: bot.trouble.as_ref() };
    Bot { head, definition: Definition(&bot.definition), tail: Tail { created_at: bot.created_at } }
}

/// A bot with what it holds and has made, and what its owner should know.
pub(crate) fn bot_view<'a>(view: &'a BotView, warnings: Option<&'a [Warning]>) -> BotDetail<'a> {
    let open_trade = view.open_trade.as_ref();
    let capital = view.bot.capital.max(open_trade.map_or(Quote::ZERO, |trade| trade.stake));
    let stats = Stats::of(&view.stats, capital, open_trade);
    let kept = || Kept { rules: view.kept_rules.as_ref().map(Definition) };
    let open_trade = open_trade.map(|open| OpenTrade { trade: trade(open), kept: kept() });
    let rest = Rest { stats, open_trade, waiting_for: &view.waiting_for };
    BotDetail { bot: bot(&view.bot), rest, warned: Warned { warnings } }
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<S> {
    data: Vec<S>,
    /// Whether more rows follow.
    has_more: bool,
    /// The `starting_after` of the next page; `null` on the last.
    #[schema(required)]
    next_cursor: Option<String>,
    /// How many rows all pages have, where `count` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total: Option<u64>,
}

/// A page of a list; `cursor` names a row.
pub(crate) fn list<'a, T, S: Serialize>(
    page: &'a Page<T>,
    show: impl Fn(&'a T) -> Result<S, ApiError>,
    cursor: impl Fn(&T) -> String,
) -> Result<HttpResponse, ApiError> {
    counted(page, None, show, cursor)
}

/// A page of a list, and how many rows all of its pages have.
pub(crate) fn counted<'a, T, S: Serialize>(
    page: &'a Page<T>,
    total: Option<u64>,
    show: impl Fn(&'a T) -> Result<S, ApiError>,
    cursor: impl Fn(&T) -> String,
) -> Result<HttpResponse, ApiError> {
    let next_cursor = page.rows.last().filter(|_| page.has_more).map(cursor);
    let data = page.rows.iter().map(show).collect::<Result<Vec<S>, ApiError>>()?;
    Ok(HttpResponse::Ok().json(List { data, has_more: page.has_more, next_cursor, total }))
}
