//! What is shown: bots as contract §3 has them, and lists.

use actix_web::HttpResponse;
use engine::{BotStats, BotTrouble, BotView, Page, StoredBot};
use model::{BotDefinition, Pct, Quote, Timestamp, Trade, Warning};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::ApiError;

/// Several JSON objects as one: their fields one after the other.
fn spliced(objects: &[&RawValue]) -> Result<Box<RawValue>, ApiError> {
    let inner = objects.iter().filter_map(|object| object.get().strip_prefix('{')?.strip_suffix('}'));
    let fields: Vec<&str> = inner.filter(|fields| !fields.is_empty()).collect();
    RawValue::from_string(format!("{{{}}}", fields.join(","))).map_err(|_| ApiError::Internal)
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(value).map_err(|_| ApiError::Internal)
}

#[derive(Serialize, ToSchema)]
struct Head<'a> {
    id: model::BotId,
    status: engine::BotStatus,
    /// Why it cannot go on, when `status` is `error`.
    #[schema(required)]
    error: Option<&'a BotTrouble>,
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
    open_trade: Option<&'a Trade>,
}

/// What a bot's closed trades add up to.
#[derive(Serialize, ToSchema)]
#[schema(as = BotStats)]
struct Stats {
    /// How many trades were closed.
    trades: u64,
    /// How many of them made a profit.
    wins: u64,
    /// How many percent of them did.
    #[schema(required)]
    win_rate: Option<Pct>,
    /// What they made together, in quote.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    profit: rust_decimal::Decimal,
    /// What they paid in fees, in quote.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    fees: rust_decimal::Decimal,
    /// The profit of the best one, in percent of what it spent.
    #[schema(required)]
    best_pct: Option<Pct>,
    /// That of the worst one.
    #[schema(required)]
    worst_pct: Option<Pct>,
    /// What the open trade would make if it were sold at the last price.
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

/// The schema of one flat object that has the fields of several, as [`spliced`] writes it.
macro_rules! spliced_schema {
    ($(#[$doc:meta])* $name:ident: $description:literal, $($part:ty),+) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let mut whole = utoipa::openapi::schema::Object::default();
                whole.description = Some($description.to_owned());
                for part in [$(<$part>::schema()),+] {
                    if let RefOr::T(Schema::Object(part)) = part {
                        whole.properties.extend(part.properties);
                        whole.required.extend(part.required);
                    }
                }
                RefOr::T(Schema::Object(whole))
            }
        }

        impl ToSchema for $name {
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(<$part as ToSchema>::schemas(schemas);)+
            }
        }
    };
}

spliced_schema! {
    /// A bot as a list shows it: see [`bot`].
    Bot: "A bot.", Head, BotDefinition, Tail
}

spliced_schema! {
    /// A bot as it is shown alone: see [`bot_view`].
    BotDetail: "A bot with what it holds and what it has made.", Head, BotDefinition, Tail, Rest, Warned
}

/// How a bot decides.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "its schema alone is used")]
pub(crate) enum Strategy {
    /// Buy, average down, take profit or stop.
    Dca,
}

impl Stats {
    fn of(stats: &BotStats, open_trade: Option<&Trade>) -> Self {
        let share = rust_decimal::Decimal::from(stats.wins * 100)
            .checked_div(rust_decimal::Decimal::from(stats.trades))
            .and_then(|share| Pct::new(share.round_dp(4).normalize()).ok());
        Self {
            trades: stats.trades,
            wins: stats.wins,
            win_rate: share,
            profit: stats.profit,
            fees: stats.fees,
            best_pct: stats.best_pct,
            worst_pct: stats.worst_pct,
            unrealized_profit: open_trade.and_then(|trade| trade.profit),
        }
    }
}

/// A bot as a list shows it.
pub(crate) fn bot(bot: &StoredBot) -> Result<Box<RawValue>, ApiError> {
    let head = raw(&Head { id: bot.id, status: bot.status, error: bot.trouble.as_ref() })?;
    let tail = raw(&Tail { created_at: bot.created_at })?;
    spliced(&[&head, &bot.definition.to_json(), &tail])
}

/// A bot with what it holds and has made, and what its owner should know.
pub(crate) fn bot_view(view: &BotView, warnings: Option<&[Warning]>) -> Result<Box<RawValue>, ApiError> {
    let open_trade = view.open_trade.as_ref();
    let rest = raw(&Rest { stats: Stats::of(&view.stats, open_trade), open_trade })?;
    spliced(&[&bot(&view.bot)?, &rest, &raw(&Warned { warnings })?])
}

/// A page of a list, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<S> {
    data: Vec<S>,
    /// Whether there are older rows.
    has_more: bool,
    /// The `starting_after` of the next page; `null` on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A page of a list; `cursor` names a row.
pub(crate) fn list<T, S: Serialize>(
    page: &Page<T>,
    show: impl Fn(&T) -> Result<S, ApiError>,
    cursor: impl Fn(&T) -> String,
) -> Result<HttpResponse, ApiError> {
    let next_cursor = page.rows.last().filter(|_| page.has_more).map(cursor);
    let data = page.rows.iter().map(show).collect::<Result<Vec<S>, ApiError>>()?;
    Ok(HttpResponse::Ok().json(List { data, has_more: page.has_more, next_cursor }))
}
