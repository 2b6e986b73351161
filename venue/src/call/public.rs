//! What anybody may ask: the listing, the book, prints, candles and tickers.

use model::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::symbol;
use crate::counts;
use crate::fault::Fault;
use crate::filters;
use crate::limits;
use crate::params::{Params, eight};
use crate::world::{Symbol, World, shown_level, shown_price};

/// The pairs that `symbol` or `symbols` name; all of them without either.
fn named(world: &World, params: &Params) -> Result<Vec<usize>, Fault> {
    if params.get("symbol").is_some() {
        return Ok(vec![symbol(world, params)?]);
    }
    let Some(list) = params.get("symbols") else { return Ok((0..world.symbols.len()).collect()) };
    let illegal =
        || Fault::new(-1100, "Illegal characters found in parameter 'symbols'; legal range is '^\\[.*\\]$'.");
    let names: Vec<String> = serde_json::from_str(list).map_err(|_| illegal())?;
    let found =
        names.iter().map(|name| world.symbol(name).ok_or_else(|| Fault::new(-1121, "Invalid symbol.")));
    found.collect()
}

/// Something of one pair, or a list of it.
pub(super) fn of_symbols(world: &World, params: &Params, show: fn(&Symbol) -> Value) -> Result<Value, Fault> {
    let named = named(world, params)?;
    let shown: Vec<Value> = named.iter().filter_map(|index| world.symbols.get(*index)).map(show).collect();
    if params.get("symbol").is_some() {
        return Ok(shown.into_iter().next().unwrap_or_default());
    }
    Ok(Value::Array(shown))
}

/// The limits as they are listed.
fn rate_limits() -> Value {
    let mut limits = vec![json!({"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
        "limit": limits::WEIGHT})];
    limits.extend(counts::listed(None));
    limits.push(json!({"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5,
        "limit": 300_000}));
    Value::Array(limits)
}

pub(super) fn exchange_info(world: &World, params: &Params, now: Timestamp) -> Result<Value, Fault> {
    let named = named(world, params)?;
    let symbols: Vec<Value> = named
        .iter()
        .filter_map(|index| world.symbols.get(*index))
        .map(|symbol| listed(world, symbol))
        .collect();
    Ok(json!({"timezone": "UTC", "serverTime": now.millis(), "rateLimits": rate_limits(),
        "exchangeFilters": [], "symbols": symbols}))
}

fn listed(world: &World, symbol: &Symbol) -> Value {
    json!({"symbol": symbol.name, "status": world.rules.status, "baseAsset": symbol.pair.base(),
        "baseAssetPrecision": 8, "quoteAsset": symbol.pair.quote(), "quotePrecision": 8,
        "quoteAssetPrecision": 8, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": false, "ocoAllowed": false, "otoAllowed": false, "opoAllowed": false,
        "quoteOrderQtyMarketAllowed": true, "allowTrailingStop": false, "cancelReplaceAllowed": true,
        "amendAllowed": true, "pegInstructionsAllowed": false, "isSpotTradingAllowed": true,
        "isMarginTradingAllowed": false, "filters": filters::listed(world.steps, &world.rules), "permissions": [], "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE", "allowedSelfTradePreventionModes": ["NONE"]})
}

pub(super) fn depth(world: &World, params: &Params) -> Result<Value, Fault> {
    let symbol = symbol(world, params)?;
    let limit = params.limit(100, 5_000)?;
    let Some(symbol) = world.symbols.get(symbol) else { return Ok(json!({})) };
    let (update_id, bids, asks) = symbol.book(world.steps);
    let shown = |side: &[crate::world::Level]| side.iter().take(limit).map(shown_level).collect::<Value>();
    Ok(json!({"lastUpdateId": update_id, "bids": shown(&bids), "asks": shown(&asks)}))
}

pub(super) fn trades(world: &World, params: &Params) -> Result<Value, Fault> {
    let index = symbol(world, params)?;
    let limit = params.limit(500, 1_000)?;
    let from = params.whole("fromId")?;
    let Some(symbol) = world.symbols.get(index) else { return Ok(json!([])) };
    let wanted: Vec<_> =
        symbol.prints.iter().filter(|(print, _)| from.is_none_or(|from| print.id >= from)).collect();
    let skip = if from.is_some() { 0 } else { wanted.len().saturating_sub(limit) };
    let shown = wanted.into_iter().skip(skip).take(limit).map(|(print, at)| {
        json!({"id": print.id, "price": eight(print.price.decimal()), "qty": eight(print.qty.decimal()),
            "quoteQty": eight(print.price.decimal() * print.qty.decimal()), "time": at.millis(),
            "isBuyerMaker": print.is_buyer_maker, "isBestMatch": true})
    });
    Ok(shown.collect())
}

pub(super) fn agg_trades(world: &World, params: &Params) -> Result<Value, Fault> {
    let index = symbol(world, params)?;
    let limit = params.limit(500, 1_000)?;
    let Some(symbol) = world.symbols.get(index) else { return Ok(json!([])) };
    let skip = symbol.prints.len().saturating_sub(limit);
    let shown = symbol.prints.iter().skip(skip).map(|(print, at)| {
        json!({"a": print.id, "p": eight(print.price.decimal()), "q": eight(print.qty.decimal()), "f": print.id,
            "l": print.id, "T": at.millis(), "m": print.is_buyer_maker, "M": true})
    });
    Ok(shown.collect())
}

pub(super) fn klines(world: &World, params: &Params) -> Result<Value, Fault> {
    let index = symbol(world, params)?;
    let (from, to) = (params.whole("startTime")?, params.whole("endTime")?);
    let (step, limit) = (params.required("interval")?, params.limit(500, 1_000)?);
    let symbol = world.symbols.get(index);
    let rows = symbol.and_then(|symbol| symbol.candles.rows(step, from, to, limit));
    rows.ok_or_else(|| Fault::new(-1120, "Invalid interval."))
}

pub(super) fn average_price(world: &World, params: &Params) -> Result<Value, Fault> {
    let index = symbol(world, params)?;
    let symbol = world.symbols.get(index);
    let average = symbol.and_then(Symbol::average_price).unwrap_or_default();
    let close = symbol.map_or(0, |symbol| symbol.day.closed_at.millis());
    Ok(json!({"mins": filters::AVERAGE_MINUTES, "price": eight(average), "closeTime": close}))
}

pub(super) fn ticker_price(symbol: &Symbol) -> Value {
    json!({"symbol": symbol.name, "price": shown_price(symbol.last)})
}

pub(super) fn ticker_book(symbol: &Symbol) -> Value {
    let top = symbol.top;
    let qty = |qty: Option<model::Qty>| eight(qty.map(model::Qty::decimal).unwrap_or_default());
    json!({"symbol": symbol.name, "bidPrice": shown_price(top.map(|top| top.bid)),
        "bidQty": qty(top.map(|top| top.bid_qty)), "askPrice": shown_price(top.map(|top| top.ask)),
        "askQty": qty(top.map(|top| top.ask_qty))})
}

pub(super) fn ticker_24h(symbol: &Symbol) -> Value {
    let day = &symbol.day;
    let (change, percent, average) = day.change(symbol.last);
    let top = symbol.top;
    let amount = |amount: Option<Decimal>| eight(amount.unwrap_or_default());
    json!({"symbol": symbol.name, "priceChange": eight(change), "priceChangePercent": format!("{percent:.3}"),
        "weightedAvgPrice": eight(average), "prevClosePrice": shown_price(day.open),
        "lastPrice": shown_price(symbol.last),
        "lastQty": amount(symbol.prints.back().map(|(print, _)| print.qty.decimal())),
        "bidPrice": shown_price(top.map(|top| top.bid)), "bidQty": amount(top.map(|top| top.bid_qty.decimal())),
        "askPrice": shown_price(top.map(|top| top.ask)), "askQty": amount(top.map(|top| top.ask_qty.decimal())),
        "openPrice": shown_price(day.open), "highPrice": shown_price(day.high),
        "lowPrice": shown_price(day.low), "volume": eight(day.volume), "quoteVolume": eight(day.quote),
        "openTime": day.opened_at.millis(), "closeTime": day.closed_at.millis(), "firstId": day.first_id,
        "lastId": day.last_id, "count": day.count})
}
