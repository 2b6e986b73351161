//! What is shown: bots as contract §3 has them, and lists.

use actix_web::HttpResponse;
use engine::{BotStats, BotTrouble, BotView, Page, StoredBot};
use model::{Pct, Quote, Timestamp, Trade, Warning};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

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

#[derive(Serialize)]
struct Head<'a> {
    id: model::BotId,
    status: engine::BotStatus,
    error: Option<&'a BotTrouble>,
}

#[derive(Serialize)]
struct Tail {
    created_at: Timestamp,
}

#[derive(Serialize)]
struct Rest<'a> {
    stats: Stats,
    open_trade: Option<&'a Trade>,
}

#[derive(Serialize)]
struct Stats {
    trades: u64,
    wins: u64,
    win_rate: Option<Pct>,
    #[serde(with = "model::number")]
    profit: rust_decimal::Decimal,
    #[serde(with = "model::number")]
    fees: rust_decimal::Decimal,
    best_pct: Option<Pct>,
    worst_pct: Option<Pct>,
    unrealized_profit: Option<Quote>,
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
    #[derive(Serialize)]
    struct Warned<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        warnings: Option<&'a [Warning]>,
    }
    let open_trade = view.open_trade.as_ref();
    let rest = raw(&Rest { stats: Stats::of(&view.stats, open_trade), open_trade })?;
    spliced(&[&bot(&view.bot)?, &rest, &raw(&Warned { warnings })?])
}

/// A page of a list; `cursor` names a row.
pub(crate) fn list<T, S: Serialize>(
    page: &Page<T>,
    show: impl Fn(&T) -> Result<S, ApiError>,
    cursor: impl Fn(&T) -> String,
) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct List<S> {
        data: Vec<S>,
        has_more: bool,
        next_cursor: Option<String>,
    }
    let next_cursor = page.rows.last().filter(|_| page.has_more).map(cursor);
    let data = page.rows.iter().map(show).collect::<Result<Vec<S>, ApiError>>()?;
    Ok(HttpResponse::Ok().json(List { data, has_more: page.has_more, next_cursor }))
}
