//! What can be asked, over HTTP or over a socket: one table, one function for each.

mod orders;
mod public;
mod replace;

use model::Timestamp;
use serde_json::Value;

use crate::fault::Fault;
use crate::params::Params;
use crate::world::World;

/// Everything that can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Ping,
    Time,
    ExchangeInfo,
    Depth,
    Trades,
    AggTrades,
    Klines,
    AvgPrice,
    TickerPrice,
    TickerBook,
    Ticker24h,
    PlaceOrder,
    TestOrder,
    CancelOrder,
    CancelReplace,
    AmendOrder,
    QueryOrder,
    OpenOrders,
    CancelOpenOrders,
    AllOrders,
    MyTrades,
    Account,
    Commission,
    ApiRestrictions,
    RateLimitOrder,
}

/// Every call: its method and path, its name over a socket, and its weight; see [`Call::weight`] for those where the
/// parameters decide it.
const CALLS: [(Call, &str, &str, &str, u32); 27] = [
    (Call::Ping, "GET", "/api/v3/ping", "ping", 1),
    (Call::Time, "GET", "/api/v3/time", "time", 1),
    (Call::ExchangeInfo, "GET", "/api/v3/exchangeInfo", "exchangeInfo", 20),
    (Call::Depth, "GET", "/api/v3/depth", "depth", 5),
    (Call::Trades, "GET", "/api/v3/trades", "trades.recent", 25),
    (Call::Trades, "GET", "/api/v3/historicalTrades", "trades.historical", 25),
    (Call::AggTrades, "GET", "/api/v3/aggTrades", "trades.aggregate", 4),
    (Call::Klines, "GET", "/api/v3/klines", "klines", 2),
    (Call::Klines, "GET", "/api/v3/uiKlines", "uiKlines", 2),
    (Call::AvgPrice, "GET", "/api/v3/avgPrice", "avgPrice", 2),
    (Call::TickerPrice, "GET", "/api/v3/ticker/price", "ticker.price", 2),
    (Call::TickerBook, "GET", "/api/v3/ticker/bookTicker", "ticker.book", 2),
    (Call::Ticker24h, "GET", "/api/v3/ticker/24hr", "ticker.24hr", 2),
    (Call::PlaceOrder, "POST", "/api/v3/order", "order.place", 1),
    (Call::TestOrder, "POST", "/api/v3/order/test", "order.test", 1),
    (Call::CancelOrder, "DELETE", "/api/v3/order", "order.cancel", 1),
    (Call::CancelReplace, "POST", "/api/v3/order/cancelReplace", "order.cancelReplace", 1),
    (Call::AmendOrder, "PUT", "/api/v3/order/amend/keepPriority", "order.amend.keepPriority", 4),
    (Call::QueryOrder, "GET", "/api/v3/order", "order.status", 4),
    (Call::OpenOrders, "GET", "/api/v3/openOrders", "openOrders.status", 6),
    (Call::CancelOpenOrders, "DELETE", "/api/v3/openOrders", "openOrders.cancelAll", 1),
    (Call::AllOrders, "GET", "/api/v3/allOrders", "allOrders", 20),
    (Call::MyTrades, "GET", "/api/v3/myTrades", "myTrades", 20),
    (Call::Account, "GET", "/api/v3/account", "account.status", 20),
    (Call::Commission, "GET", "/api/v3/account/commission", "account.commission", 20),
    (Call::ApiRestrictions, "GET", "/sapi/v1/account/apiRestrictions", "", 1),
    (Call::RateLimitOrder, "GET", "/api/v3/rateLimit/order", "account.rateLimits.orders", 40),
];

impl Call {
    /// What a request's method and path ask, and its weight.
    pub(crate) fn of_path(method: &str, path: &str, params: &Params) -> Option<(Self, u32)> {
        let found = CALLS.iter().find(|(_, of, at, ..)| *of == method && *at == path);
        found.map(|(call, .., weight)| (*call, call.weight(*weight, params)))
    }

    /// What a socket's method asks, and its weight.
    pub(crate) fn of_method(name: &str, params: &Params) -> Option<(Self, u32)> {
        let found = CALLS.iter().find(|(.., of, _)| !of.is_empty() && *of == name);
        found.map(|(call, .., weight)| (*call, call.weight(*weight, params)))
    }

    /// The weight of a call with these parameters, where `usual` is the one in the table (the venue's `rest-api.md` and
    /// `web-socket-api.md`, which agree).
    fn weight(self, usual: u32, params: &Params) -> u32 {
        match self {
            Self::OpenOrders if params.get("symbol").is_none() => 80,
            Self::MyTrades if params.get("orderId").is_some() => 5,
            _ => usual,
        }
    }

    /// Whether an order comes of it.
    pub(crate) const fn takes_order(self) -> bool {
        matches!(self, Self::PlaceOrder | Self::CancelReplace)
    }

    /// Whether it must be signed.
    pub(crate) const fn is_signed(self) -> bool {
        matches!(
            self,
            Self::PlaceOrder
                | Self::TestOrder
                | Self::CancelOrder
                | Self::CancelReplace
                | Self::AmendOrder
                | Self::QueryOrder
                | Self::OpenOrders
                | Self::CancelOpenOrders
                | Self::AllOrders
                | Self::MyTrades
                | Self::Account
                | Self::Commission
                | Self::ApiRestrictions
                | Self::RateLimitOrder
        )
    }

    /// Does it; `account` is whose signature was good.
    pub(crate) fn answer(
        self,
        world: &mut World,
        account: usize,
        params: &Params,
        now: Timestamp,
    ) -> Result<Value, Fault> {
        match self {
            Self::Ping => Ok(serde_json::json!({})),
            Self::Time => Ok(serde_json::json!({"serverTime": now.millis()})),
            Self::ExchangeInfo => public::exchange_info(world, params, now),
            Self::Depth => public::depth(world, params),
            Self::Trades => public::trades(world, params),
            Self::AggTrades => public::agg_trades(world, params),
            Self::Klines => public::klines(world, params),
            Self::AvgPrice => public::average_price(world, params),
            Self::TickerPrice => public::of_symbols(world, params, public::ticker_price),
            Self::TickerBook => public::of_symbols(world, params, public::ticker_book),
            Self::Ticker24h => public::of_symbols(world, params, public::ticker_24h),
            Self::PlaceOrder => orders::place(world, account, params, now),
            Self::TestOrder => orders::test(world, account, params),
            Self::CancelOrder => orders::cancel(world, account, params, now),
            Self::CancelReplace => replace::cancel_replace(world, account, params, now),
            Self::AmendOrder => replace::amend(world, account, params, now),
            Self::QueryOrder => orders::query(world, account, params, now),
            Self::OpenOrders => orders::open(world, account, params, now),
            Self::CancelOpenOrders => orders::cancel_open(world, account, params, now),
            Self::AllOrders => orders::all(world, account, params, now),
            Self::MyTrades => orders::fills(world, account, params, now),
            Self::Account => orders::account(world, account, params, now),
            Self::Commission => orders::commission(world, params),
            Self::ApiRestrictions => Ok(orders::api_restrictions(world, now)),
            Self::RateLimitOrder => orders::order_limits(world, account, now),
        }
    }
}

/// The pair that `symbol` names.
fn symbol(world: &World, params: &Params) -> Result<usize, Fault> {
    let name = params.required("symbol")?;
    world.symbol(name).ok_or_else(|| Fault::new(-1121, "Invalid symbol."))
}
