//! What an account may ask: its orders, fills and balances.

use model::Timestamp;
use serde_json::{Value, json};

use super::symbol;
use crate::account::Account;
use crate::counts;
use crate::fault::Fault;
use crate::matching::OrderRequest;
use crate::order::{Fill, Form, Kind, Order, Side, TimeInForce};
use crate::params::{Params, eight};
use crate::world::World;

/// The longest client order id.
const LONGEST_ID: usize = 36;

/// One of a few words.
fn word<T: Copy>(
    params: &Params,
    name: &str,
    words: &[T],
    spell: fn(T) -> &'static str,
) -> Result<Option<T>, Fault> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let found = words.iter().copied().find(|word| spell(*word) == text);
    let (code, message) = match name {
        "side" => (-1117, "Invalid side."),
        "type" => (-1116, "Invalid orderType."),
        "timeInForce" => (-1115, "Invalid timeInForce."),
        _ => (-1130, "Data sent for a parameter is not valid."),
    };
    found.map(Some).ok_or_else(|| Fault::new(code, message))
}

pub(super) fn request(world: &World, params: &Params) -> Result<OrderRequest, Fault> {
    let symbol = symbol(world, params)?;
    let side = word(params, "side", &[Side::Buy, Side::Sell], Side::as_str)?;
    let side = side.ok_or_else(|| Fault::mandatory("side"))?;
    let kind = word(params, "type", &Kind::ALL, Kind::as_str)?.ok_or_else(|| Fault::mandatory("type"))?;
    let time_in_force = word(params, "timeInForce", &TimeInForce::ALL, TimeInForce::as_str)?;
    let (price, quote_qty) = (params.amount("price")?, params.amount("quoteOrderQty")?);
    let surplus = |name: &str| Fault::new(-1106, format!("Parameter '{name}' sent when not required."));
    if price.is_some() && !kind.has_price() {
        return Err(surplus("price"));
    }
    if time_in_force.is_some() && !kind.has_time_in_force() {
        return Err(surplus("timeInForce"));
    }
    if params.get("stopPrice").is_some() && !kind.is_stop() {
        return Err(surplus("stopPrice"));
    }
    let qty = match quote_qty {
        Some(_) if kind != Kind::Market => return Err(surplus("quoteOrderQty")),
        Some(_) if params.get("quantity").is_some() => return Err(surplus("quantity")),
        Some(_) => None,
        None => Some(params.required_amount("quantity")?),
    };
    let price = if kind.has_price() { Some(params.required_amount("price")?) } else { None };
    let stop_price = if kind.is_stop() { Some(params.required_amount("stopPrice")?) } else { None };
    if kind.has_time_in_force() && time_in_force.is_none() {
        return Err(Fault::mandatory("timeInForce"));
    }
    let client_id = client_id(params)?.unwrap_or_else(made_up_id);
    response_form(params, kind)?;
    let time_in_force = time_in_force.unwrap_or(TimeInForce::Gtc);
    Ok(OrderRequest { symbol, side, kind, time_in_force, price, qty, quote_qty, stop_price, client_id })
}

/// The client id that an order is to have, if it says one.
pub(super) fn client_id(params: &Params) -> Result<Option<String>, Fault> {
    let Some(id) = params.get("newClientOrderId") else { return Ok(None) };
    if is_client_id(id) {
        return Ok(Some(id.to_owned()));
    }
    let range = format!("^[a-zA-Z0-9-_]{{1,{LONGEST_ID}}}$");
    let message =
        format!("Illegal characters found in parameter 'newClientOrderId'; legal range is '{range}'.");
    Err(Fault::new(-1100, message))
}

/// How much of a placed order is answered.
fn response_form(params: &Params, kind: Kind) -> Result<Form, Fault> {
    match params.get("newOrderRespType") {
        Some("ACK") => Ok(Form::Ack),
        Some("RESULT") => Ok(Form::Result),
        Some("FULL") => Ok(Form::Full),
        Some(_) => Err(Fault::new(-1136, "Invalid newOrderRespType.")),
        None if matches!(kind, Kind::Market | Kind::Limit) => Ok(Form::Full),
        None => Ok(Form::Ack),
    }
}

fn is_client_id(id: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
    id.len() <= LONGEST_ID && id.bytes().all(is_legal)
}

/// An id for an order, or a cancel, that came without one.
pub(super) fn made_up_id() -> String {
    format!("{:022x}", rand::random::<u128>() >> 40)
}

pub(super) fn of(world: &World, account: usize) -> Result<&Account, Fault> {
    world
        .accounts
        .get(account)
        .ok_or_else(|| Fault::with_status(401, -2015, "Invalid API-key, IP, or permissions for action."))
}

pub(super) fn name(world: &World, order: &Order) -> String {
    world.symbols.get(order.symbol).map(|symbol| symbol.name.clone()).unwrap_or_default()
}

/// The order that `orderId` or `origClientOrderId` names: of several with one client id the newest.
pub(super) fn find(world: &World, account: usize, params: &Params, absent: Fault) -> Result<usize, Fault> {
    let symbol = symbol(world, params)?;
    let id = params.whole("orderId")?;
    let client_id = params.get("origClientOrderId");
    if id.is_none() && client_id.is_none() {
        let message = "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!";
        return Err(Fault::new(-1102, message));
    }
    let owner = of(world, account)?;
    let found = match (id, client_id) {
        (None, Some(client_id)) => owner.with_client_id(symbol, client_id).next(),
        _ => id.and_then(|id| owner.with_id(id)),
    };
    let is_meant = |index: &usize| {
        let order = owner.order(*index);
        order.is_some_and(|order| {
            order.symbol == symbol && client_id.is_none_or(|client_id| order.client_id == client_id)
        })
    };
    found.filter(is_meant).ok_or(absent)
}

pub(super) fn place(
    world: &mut World,
    account: usize,
    params: &Params,
    now: Timestamp,
) -> Result<Value, Fault> {
    let request = request(world, params)?;
    let form = response_form(params, request.kind)?;
    let index = world.place(account, request, now)?;
    let owner = of(world, account)?;
    let Some(order) = owner.order(index) else { return Ok(json!({})) };
    Ok(order.placed_json(&name(world, order), form, &owner.fills_of(order)))
}

pub(super) fn test(world: &World, account: usize, params: &Params) -> Result<Value, Fault> {
    let request = request(world, params)?;
    world.check_filters(account, &request)?;
    world.check_matching(account, &request)?;
    Ok(json!({}))
}

pub(super) fn cancel(
    world: &mut World,
    account: usize,
    params: &Params,
    now: Timestamp,
) -> Result<Value, Fault> {
    let index = find(world, account, params, Fault::new(-2011, "Unknown order sent."))?;
    let cancel_id = params.get("newClientOrderId").map_or_else(made_up_id, str::to_owned);
    world.cancel(account, index, &cancel_id, now)?;
    let Some(order) = of(world, account)?.order(index) else { return Ok(json!({})) };
    Ok(order.canceled_json(&name(world, order), &cancel_id))
}

pub(super) fn cancel_open(
    world: &mut World,
    account: usize,
    params: &Params,
    now: Timestamp,
) -> Result<Value, Fault> {
    let symbol = symbol(world, params)?;
    let open = of(world, account)?.open_orders().filter(|(_, order)| order.symbol == symbol);
    let open: Vec<usize> = open.map(|(index, _)| index).collect();
    if open.is_empty() {
        return Err(Fault::new(-2011, "Unknown order sent."));
    }
    let mut answers = Vec::new();
    for index in open {
        let cancel_id = made_up_id();
        world.cancel(account, index, &cancel_id, now)?;
        if let Some(order) = of(world, account)?.order(index) {
            answers.push(order.canceled_json(&name(world, order), &cancel_id));
        }
    }
    Ok(Value::Array(answers))
}

pub(super) fn query(world: &World, account: usize, params: &Params, now: Timestamp) -> Result<Value, Fault> {
    let absent = || Fault::new(-2013, "Order does not exist.");
    let index = find(world, account, params, absent())?;
    let order = of(world, account)?.order(index).filter(|order| order.is_visible(now)).ok_or_else(absent)?;
    Ok(order.json(&name(world, order)))
}

pub(super) fn open(world: &World, account: usize, params: &Params, now: Timestamp) -> Result<Value, Fault> {
    let of_symbol = if params.get("symbol").is_some() { Some(symbol(world, params)?) } else { None };
    let open = of(world, account)?.open_orders().map(|(_, order)| order);
    let shown = open.filter(|order| of_symbol.is_none_or(|of| order.symbol == of) && order.is_visible(now));
    Ok(shown.map(|order| order.json(&name(world, order))).collect())
}

pub(super) fn all(world: &World, account: usize, params: &Params, now: Timestamp) -> Result<Value, Fault> {
    let symbol = symbol(world, params)?;
    let (limit, from_id) = (params.limit(500, 1_000)?, params.whole("orderId")?);
    let (from, to) = (params.whole("startTime")?, params.whole("endTime")?);
    let is_wanted = |order: &&Order| {
        let ms = order.created_at.millis();
        order.symbol == symbol
            && from_id.is_none_or(|id| order.id >= id)
            && from.is_none_or(|from| ms >= from)
            && to.is_none_or(|to| ms <= to)
            && order.is_visible(now)
    };
    let found: Vec<&Order> = of(world, account)?.orders().iter().filter(is_wanted).collect();
    let skip = if from_id.is_some() || from.is_some() { 0 } else { found.len().saturating_sub(limit) };
    Ok(found.into_iter().skip(skip).take(limit).map(|order| order.json(&name(world, order))).collect())
}

pub(super) fn fills(world: &World, account: usize, params: &Params, now: Timestamp) -> Result<Value, Fault> {
    let owner = of(world, account)?;
    let is_visible = |fill: &Fill| {
        let order = owner.with_id(fill.order_id).and_then(|index| owner.order(index));
        order.is_none_or(|order| order.is_visible(now))
    };
    let index = symbol(world, params)?;
    let (limit, from_id) = (params.limit(500, 1_000)?, params.whole("fromId")?);
    let (order_id, from, to) =
        (params.whole("orderId")?, params.whole("startTime")?, params.whole("endTime")?);
    let is_wanted = |fill: &&Fill| {
        let ms = fill.at.millis();
        fill.symbol == index
            && from_id.is_none_or(|id| fill.trade_id >= id)
            && order_id.is_none_or(|id| fill.order_id == id)
            && from.is_none_or(|from| ms >= from)
            && to.is_none_or(|to| ms <= to)
            && is_visible(fill)
    };
    let symbol = world.symbols.get(index).map(|symbol| symbol.name.clone()).unwrap_or_default();
    let found: Vec<&Fill> = owner.fills.iter().filter(is_wanted).collect();
    let skip = if from_id.is_some() || from.is_some() { 0 } else { found.len().saturating_sub(limit) };
    Ok(found.into_iter().skip(skip).take(limit).map(|fill| fill.json(&symbol)).collect())
}

pub(super) fn account(
    world: &World,
    account: usize,
    params: &Params,
    now: Timestamp,
) -> Result<Value, Fault> {
    let omits_zero = params.get("omitZeroBalances") == Some("true");
    let balances = of(world, account)?.balances.iter();
    let held = balances.filter(|(_, held)| !(omits_zero && held.free.is_zero() && held.locked.is_zero()));
    let shown = held
        .map(|(asset, held)| json!({"asset": asset, "free": eight(held.free), "locked": eight(held.locked)}));
    let balances: Vec<Value> = shown.collect();
    let fee = eight(world.fee);
    // Fees as whole ten-thousandths, as the old fields have them.
    let old_fee = (world.fee * rust_decimal::Decimal::from(10_000)).round().mantissa();
    let old_fee = i64::try_from(old_fee).unwrap_or_default();
    Ok(
        json!({"makerCommission": old_fee, "takerCommission": old_fee, "buyerCommission": 0, "sellerCommission": 0,
        "commissionRates": {"maker": fee, "taker": fee, "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": true, "canWithdraw": world.can_withdraw, "canDeposit": true, "brokered": false,
        "requireSelfTradePrevention": false, "preventSor": false, "updateTime": now.millis(),
        "accountType": "SPOT", "balances": balances, "permissions": ["SPOT"], "uid": 354_937_868 + account}),
    )
}

pub(super) fn commission(world: &World, params: &Params) -> Result<Value, Fault> {
    symbol(world, params)?;
    let (fee, zero) = (eight(world.fee), "0.00000000");
    let none = json!({"maker": zero, "taker": zero, "buyer": zero, "seller": zero});
    Ok(json!({"symbol": params.get("symbol"), "taxCommission": none, "specialCommission": none,
        "standardCommission": {"maker": fee, "taker": fee, "buyer": zero, "seller": zero},
        "discount": {"enabledForAccount": false, "enabledForSymbol": false, "discountAsset": "BNB",
            "discount": zero}}))
}

pub(super) fn api_restrictions(world: &World, now: Timestamp) -> Value {
    json!({"ipRestrict": false, "createTime": now.millis(), "enableReading": true,
        "enableWithdrawals": world.can_withdraw,
        "enableInternalTransfer": false, "enableMargin": false, "enableFutures": false,
        "permitsUniversalTransfer": false, "enableVanillaOptions": false, "enableFixApiTrade": false,
        "enableFixReadOnly": false, "enableSpotAndMarginTrading": true, "enablePortfolioMarginTrading": false})
}

pub(super) fn order_limits(world: &World, account: usize, now: Timestamp) -> Result<Value, Fault> {
    Ok(Value::Array(counts::listed(Some(of(world, account)?.counts.used(now)))))
}
