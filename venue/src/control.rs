//! What no real exchange has: a test's hand on the market, on the owner's account, and on the ledger.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Query, ServiceConfig};
use model::{Price, Qty};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::accepted::Accepted;
use crate::account::Account;
use crate::call::Call;
use crate::fault::Fault;
use crate::limits::Used;
use crate::params::Params;
use crate::player::Move;
use crate::rules::Rule;
use crate::world::World;
use crate::{Shared, http};

/// Everything under `/venue/`.
pub(crate) fn routes(service: &mut ServiceConfig) {
    service
        .route("/venue/price", web::post().to(price))
        .route("/venue/balance", web::post().to(balance))
        .route("/venue/cancel", web::post().to(cancel))
        .route("/venue/sell", web::post().to(sell))
        .route("/venue/rules", web::post().to(rules))
        .route("/venue/market", web::post().to(market))
        .route("/venue/reports", web::post().to(reports))
        .route("/venue/accepted", web::get().to(accepted))
        .route("/venue/clock", web::post().to(set_clock))
        .route("/venue/ledger", web::get().to(ledger));
}

fn params(body: &Bytes) -> Params {
    Params::from_json(serde_json::from_slice::<Value>(body).ok().as_ref())
}

/// The account of a key.
fn account(shared: &Shared, params: &Params) -> Result<usize, Fault> {
    let key = params.required("key")?;
    let found = shared.keys.iter().position(|known| known.name == key);
    found.ok_or_else(|| Fault::new(-2015, "No account has this key."))
}

/// A number that must be there.
fn number(params: &Params, name: &str) -> Result<Decimal, Fault> {
    model::number::parse(params.required(name)?).map_err(|_| Fault::mandatory(name))
}

async fn price(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    let (done, made) = oneshot::channel();
    let asked = asked_move(&shared, &params(&body), done);
    let moved = asked.and_then(|by_hand| {
        shared.moves.send(by_hand).map_err(|_| Fault::with_status(503, -1000, "The market has ended."))
    });
    if let Err(fault) = moved {
        return http::told(&Err(fault), Used::default());
    }
    drop(made.await);
    http::told(&Ok(json!({})), Used::default())
}

fn asked_move(shared: &Shared, params: &Params, done: oneshot::Sender<()>) -> Result<Move, Fault> {
    let symbol = params.required("symbol")?;
    let pair = shared.world().symbol(symbol).ok_or_else(|| Fault::new(-1121, "Invalid symbol."))?;
    let price = Price::new(number(params, "price")?).map_err(|_| Fault::mandatory("price"))?;
    if price.e8() == 0 || !price.is_on_tick(shared.config.steps.tick_size) {
        return Err(Fault::filter("PRICE_FILTER"));
    }
    let qty = if params.get("qty").is_some() { number(params, "qty")? } else { Decimal::ONE };
    let qty = Qty::new(qty).map_err(|_| Fault::mandatory("qty"))?;
    Ok(Move { pair, price, qty, done })
}

async fn balance(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    let params = params(&body);
    let moved = account(&shared, &params).and_then(|account| {
        let (asset, delta) = (params.required("asset")?, number(&params, "delta")?);
        let mut world = shared.world();
        let owner = world.accounts.get_mut(account);
        if owner.is_some_and(|owner| owner.transfer(asset, delta, shared.clock.now())) {
            return Ok(json!({}));
        }
        Err(Fault::new(-2010, "Account has insufficient balance for requested action."))
    });
    http::told(&moved, Used::default())
}

async fn cancel(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    let mut params = params(&body);
    if let Some(id) = params.0.remove("clientOrderId") {
        params.0.insert("origClientOrderId".to_owned(), id);
    }
    http::told(&by_hand(&shared, Call::CancelOrder, params), Used::default())
}

async fn sell(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    let mut params = params(&body);
    params.0.insert("type".to_owned(), "MARKET".to_owned());
    params.0.entry("side".to_owned()).or_insert_with(|| "SELL".to_owned());
    http::told(&by_hand(&shared, Call::PlaceOrder, params), Used::default())
}

async fn set_clock(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    let ahead_ms =
        params(&body).whole("ahead_ms").and_then(|ms| ms.ok_or_else(|| Fault::mandatory("ahead_ms")));
    let set = ahead_ms.map(|ms| {
        shared.clock.set_ahead(ms);
        json!({})
    });
    http::told(&set, Used::default())
}

/// Does what the owner does on the web site.
fn by_hand(shared: &Shared, call: Call, mut params: Params) -> Result<Value, Fault> {
    let account = account(shared, &params)?;
    let id = format!("web_{:016x}", rand::random::<u64>());
    params.0.insert("newClientOrderId".to_owned(), id);
    call.answer(&mut shared.world(), account, &params, shared.clock.now())
}

async fn reports(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    let params = params(&body);
    let told = match params.required("told") {
        Ok("true") => true,
        Ok("false") => false,
        Ok(_) => return http::told(&Err(Fault::mandatory("told")), Used::default()),
        Err(fault) => return http::told(&Err(fault), Used::default()),
    };
    shared.tell_reports(told);
    http::told(&Ok(json!({})), Used::default())
}

async fn accepted(shared: web::Data<Shared>, query: Query<BTreeMap<String, String>>) -> HttpResponse {
    let requests = account(&shared, &Params(query.into_inner())).map(|account| {
        let of_account = |request: &&Accepted| request.is_of(account);
        Value::Array(shared.accepted().iter().filter(of_account).map(Accepted::json).collect())
    });
    http::told(&requests, Used::default())
}

/// Replaces the rules by which requests go wrong: a list, empty where all is to be well. Answers how many requests each
/// of the former rules was applied to.
async fn rules(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    let list = serde_json::from_slice::<Vec<Value>>(&body).ok();
    let list = list.and_then(|list| list.iter().map(Rule::read).collect::<Option<Vec<Rule>>>());
    let replaced = list.map(|list| std::mem::replace(&mut *shared.rules(), list));
    let hits = replaced.map(|former| former.iter().map(|rule| rule.hits).collect::<Vec<_>>());
    http::told(
        &hits.map(|hits| json!({ "hits": hits })).ok_or_else(|| Fault::mandatory("rules")),
        Used::default(),
    )
}

/// Changes what every pair is like from now on, by any of `status`, `lot_step`, `min_qty`, `max_qty`, `max_market_qty`, and
/// what is paid (`fee`, as a fraction).
async fn market(shared: web::Data<Shared>, body: Bytes) -> HttpResponse {
    http::told(&change_market(&shared, &params(&body)), Used::default())
}

fn change_market(shared: &Shared, params: &Params) -> Result<Value, Fault> {
    let given = |name| params.get(name).map(|_| number(params, name)).transpose();
    let (lot_step, min_qty) = (given("lot_step")?, given("min_qty")?);
    let (max_qty, max_market_qty) = (given("max_qty")?, given("max_market_qty")?);
    let lot_step = lot_step.map(Qty::new).transpose().map_err(|_| Fault::mandatory("lot_step"))?;
    let fee = given("fee")?;
    let mut world = shared.world();
    world.fee = fee.unwrap_or(world.fee);
    world.steps.lot_step = lot_step.unwrap_or(world.steps.lot_step);
    let rules = &mut world.rules;
    rules.status = params.get("status").map_or_else(|| rules.status.clone(), str::to_owned);
    rules.min_qty = min_qty.unwrap_or(rules.min_qty);
    rules.max_qty = max_qty.unwrap_or(rules.max_qty);
    rules.max_market_qty = max_market_qty.unwrap_or(rules.max_market_qty);
    Ok(json!({}))
}

async fn ledger(shared: web::Data<Shared>, query: Query<BTreeMap<String, String>>) -> HttpResponse {
    let wanted = query.get("key");
    let world = shared.world();
    let keys = shared.keys.iter().map(|key| &key.name);
    let accounts = keys.zip(&world.accounts).filter(|(key, _)| wanted.is_none_or(|wanted| wanted == *key));
    let accounts: Vec<Value> = accounts.map(|(key, account)| books(&world, key, account)).collect();
    let hits: Vec<u64> = shared.rules().iter().map(|rule| rule.hits).collect();
    let books = json!({"time": shared.clock.now().millis(), "faults": shared.dice.happened(), "hits": hits,
        "accounts": accounts});
    http::told(&Ok(books), Used::default())
}

/// Everything of an account, amounts exact.
fn books(world: &World, key: &str, account: &Account) -> Value {
    let name =
        |symbol: usize| world.symbols.get(symbol).map(|symbol| symbol.name.as_str()).unwrap_or_default();
    let exact = |amount: Decimal| amount.normalize().to_string();
    let start: BTreeMap<&str, String> =
        account.start.iter().map(|(asset, amount)| (asset.as_str(), exact(*amount))).collect();
    let balances: BTreeMap<&str, Value> = account
        .balances
        .iter()
        .map(|(asset, held)| {
            (asset.as_str(), json!({"free": exact(held.free), "locked": exact(held.locked)}))
        })
        .collect();
    let transfers: Vec<Value> = account
        .transfers
        .iter()
        .map(|moved| json!({"asset": moved.asset, "delta": exact(moved.delta), "time": moved.at.millis()}))
        .collect();
    let orders: Vec<Value> = account.orders().iter().map(|order| order.json(name(order.symbol))).collect();
    let fills: Vec<Value> = account.fills.iter().map(|fill| fill.json(name(fill.symbol))).collect();
    json!({"key": key, "start": start, "transfers": transfers, "balances": balances, "orders": orders,
        "fills": fills})
}
