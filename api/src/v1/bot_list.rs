//! `GET /v1/bots`: filtered, searched, sorted, counted, page by page.

use std::str::FromStr;

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::{BotFilter, BotSort, BotStatus, Cursor, EngineHandle, StrategyDefinition};
use model::{BotId, Exchange, Pair};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::auth::Caller;
use super::show::{self, Bot, List};
use crate::ApiError;
use crate::query::{LongPage, Query};

/// Where a page of bots begins: a bot, and in other orders than that of their making what it was sorted by then. Rows whose
/// value changes meanwhile may move; all others stay where they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BotCursor(Cursor);

impl FromStr for BotCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, value) = text.split_once('~').unwrap_or((text, ""));
        // What is no value of ours is left out: then the page begins where the bot stands now.
        let value = URL_SAFE_NO_PAD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let value = value.filter(|value| !value.contains('\0')).unwrap_or_default();
        Ok(Self(Cursor { id: id.parse().map_err(|_| ())?, value }))
    }
}

fn shown(id: BotId, value: &str, sort: BotSort) -> String {
    match sort {
        BotSort::CreatedAt => id.to_string(),
        _ => format!("{id}~{}", URL_SAFE_NO_PAD.encode(value)),
    }
}

impl PartialSchema for BotCursor {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^bot_[0-9a-f]{32}(~[A-Za-z0-9_-]*)?$"))
            .into()
    }
}

/// What a list of bots may be sorted by.
pub(crate) struct SortSchema;

impl PartialSchema for SortSchema {
    fn schema() -> RefOr<Schema> {
        let names = BotSort::ALL.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]);
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(names.collect::<Vec<_>>()))
            .default(Some("-created_at".into()))
            .into()
    }
}

impl ToSchema for SortSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "BotSort".into()
    }
}

/// The filters of a list of bots.
fn filter(query: &mut Query) -> BotFilter {
    BotFilter {
        status: query.word("status", &BotStatus::ALL.map(|status| (status.as_str(), status))),
        exchange: query.word("exchange", &Exchange::ALL.map(|exchange| (exchange.as_str(), exchange))),
        pair: query.optional("pair", "a pair such as BTC/USDT"),
        strategy: query
            .word("strategy", &StrategyDefinition::NAMES.map(|name| (name, name)))
            .map(str::to_owned),
        dry_run: query.yes_or_no("dry_run"),
        search: query.optional("search", "a text"),
    }
}

fn sort(query: &mut Query) -> (BotSort, bool) {
    let words = BotSort::ALL
        .map(|(name, sort)| [(name.to_owned(), (sort, false)), (format!("-{name}"), (sort, true))]);
    let words: Vec<(&str, (BotSort, bool))> =
        words.iter().flatten().map(|(name, order)| (name.as_str(), *order)).collect();
    query.word("sort", &words).unwrap_or((BotSort::CreatedAt, true))
}

/// List bots
///
/// Newest first, or in the order of `sort`. Filters that are left out let every bot through. What bots made is at most five
/// seconds old for sorting: only rows whose value changes move meanwhile. A listed bot has its definition and status; what it
/// holds (`open_trade`), has made (`stats`) and waits for (`waiting_for`) comes with the bot alone, by its id.
#[utoipa::path(get, path = "/v1/bots", tag = "Bots", security(("api_key" = ["bots:read"])),
    params(
        LongPage<BotCursor>,
        ("status" = Option<BotStatus>, Query, description = "Only bots in this status."),
        ("exchange" = Option<Exchange>, Query, description = "Only bots on this venue."),
        ("pair" = Option<Pair>, Query, description = "Only bots of this pair."),
        ("strategy" = Option<engine::Strategy>, Query, description = "Only bots of this strategy."),
        ("dry_run" = Option<bool>, Query, description = "Only bots on paper, or only live ones."),
        ("search" = Option<String>, Query, description = "Only bots with this in the name, whatever the case."),
        ("sort" = inline(Option<SortSchema>), Query, description = "What the list is sorted by; with `-` before it from the \
            largest on. Profits are of closed trades, in quote or in percent of the capital; `open_profit` is what the open \
            trade would make at the last price."),
    ),
    responses((status = 200, description = "A page of bots.", body = List<Bot>)))]
pub(crate) async fn list(
    caller: Caller,
    engine: web::Data<EngineHandle>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let account = caller.account;
    let mut query = Query::new(request.query_string())?;
    let LongPage { page, counts } = query.long_page::<BotCursor>();
    let (filter, order) = (filter(&mut query), sort(&mut query));
    query.finish()?;
    let total = if counts { Some(engine.count_bots(account, filter.clone()).await?) } else { None };
    let after = page.starting_after.map(|cursor| cursor.0);
    let bots = engine.sorted_bots(account, filter, order, page.limit, after).await?;
    show::counted(&bots, total, |(bot, _)| Ok(show::bot(bot)), |(bot, value)| shown(bot.id, value, order.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_what_is_not_ours_is_left_out() {
        let id = BotId::from_u128(7);
        let cursor = shown(id, "Größe 10%", BotSort::Name);
        assert_eq!(cursor.parse(), Ok(BotCursor(Cursor { id, value: "Größe 10%".to_owned() })));
        assert_eq!(shown(id, "", BotSort::CreatedAt), id.to_string());
        for foreign in [format!("{id}~1g8f"), format!("{id}~AA"), format!("{id}~~")] {
            assert_eq!(foreign.parse(), Ok(BotCursor(Cursor { id, value: String::new() })), "{foreign}");
        }
        assert!("trade_00000000000000000000000000000007".parse::<BotCursor>().is_err());
    }
}
