//! The venue's own rows, and what they say.

use model::{Price, Qty, Quote, Side, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, de};

use super::report::{Account, Balance, Execution, OrderReport, Restrictions, UserReport, VenueStatus};
use crate::binance::fields;

/// An order, as REST and the answers over the socket tell it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderRow {
    symbol: String,
    order_id: i64,
    client_order_id: String,
    /// In the answer to a cancel the order's id, where `clientOrderId` is the cancel's own.
    orig_client_order_id: Option<String>,
    #[serde(deserialize_with = "side")]
    side: Side,
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(deserialize_with = "maybe_price")]
    price: Option<Price>,
    #[serde(default, deserialize_with = "maybe_price")]
    stop_price: Option<Price>,
    #[serde(deserialize_with = "qty")]
    orig_qty: Qty,
    #[serde(deserialize_with = "qty")]
    executed_qty: Qty,
    // The venue's spelling.
    #[serde(rename = "cummulativeQuoteQty", deserialize_with = "maybe_quote")]
    executed_quote: Option<Quote>,
    time: Option<i64>,
    update_time: Option<i64>,
    transact_time: Option<i64>,
    working_time: Option<i64>,
    #[serde(default)]
    fills: Vec<FillRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FillRow {
    trade_id: i64,
    #[serde(deserialize_with = "price")]
    price: Price,
    #[serde(deserialize_with = "qty")]
    qty: Qty,
    #[serde(deserialize_with = "signed")]
    commission: Decimal,
    commission_asset: Option<String>,
}

impl OrderRow {
    pub(super) fn report(self) -> OrderReport {
        let updated_at = self.update_time.or(self.transact_time).or(self.time).map(fields::time);
        let created_at = self.time.or(self.working_time).or(self.transact_time).map(fields::time);
        let client_order_id =
            self.orig_client_order_id.filter(|id| !id.is_empty()).unwrap_or(self.client_order_id);
        let at = updated_at.unwrap_or_default();
        let (order_id, symbol, side) = (self.order_id, &self.symbol, self.side);
        let fills = self.fills.into_iter().map(|fill| Execution {
            trade_id: fill.trade_id,
            venue_order_id: order_id,
            client_order_id: Some(client_order_id.clone()),
            symbol: symbol.clone(),
            side,
            price: fill.price,
            qty: fill.qty,
            fee: fill.commission,
            fee_asset: fill.commission_asset,
            at,
            // What fills while it is placed took what rested.
            is_maker: false,
        });
        OrderReport {
            fills: fills.collect(),
            venue_order_id: self.order_id,
            client_order_id,
            side: self.side,
            kind: self.kind,
            status: status(self.status),
            price: self.price,
            stop_price: self.stop_price,
            qty: self.orig_qty,
            executed_qty: self.executed_qty,
            executed_quote: self.executed_quote,
            created_at,
            updated_at,
            symbol: self.symbol,
        }
    }
}

/// The venue's word for where an order stands.
fn status(word: String) -> VenueStatus {
    match word.as_str() {
        "NEW" => VenueStatus::New,
        "PENDING_NEW" => VenueStatus::PendingNew,
        "PARTIALLY_FILLED" => VenueStatus::PartiallyFilled,
        "FILLED" => VenueStatus::Filled,
        "CANCELED" => VenueStatus::Canceled,
        "PENDING_CANCEL" => VenueStatus::PendingCancel,
        "REJECTED" => VenueStatus::Rejected,
        "EXPIRED" | "EXPIRED_IN_MATCH" => VenueStatus::Expired,
        _ => VenueStatus::Other(word),
    }
}

/// One row of `myTrades`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TradeRow {
    symbol: String,
    id: i64,
    order_id: i64,
    #[serde(deserialize_with = "price")]
    price: Price,
    #[serde(deserialize_with = "qty")]
    qty: Qty,
    #[serde(deserialize_with = "signed")]
    commission: Decimal,
    commission_asset: Option<String>,
    time: i64,
    is_buyer: bool,
    is_maker: bool,
}

impl TradeRow {
    pub(super) fn execution(self) -> Execution {
        Execution {
            trade_id: self.id,
            venue_order_id: self.order_id,
            client_order_id: None,
            symbol: self.symbol,
            side: if self.is_buyer { Side::Buy } else { Side::Sell },
            price: self.price,
            qty: self.qty,
            fee: self.commission,
            fee_asset: self.commission_asset,
            at: fields::time(self.time),
            is_maker: self.is_maker,
        }
    }
}

/// `GET /api/v3/account`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountRow {
    can_trade: bool,
    balances: Vec<BalanceRow>,
    uid: Option<i64>,
}

#[derive(Deserialize)]
struct BalanceRow {
    asset: String,
    #[serde(deserialize_with = "signed")]
    free: Decimal,
    #[serde(deserialize_with = "signed")]
    locked: Decimal,
}

impl AccountRow {
    pub(super) fn account(self) -> Account {
        let balances = self.balances.into_iter();
        let balances = balances
            .filter(|row| !(row.free.is_zero() && row.locked.is_zero()))
            .map(|row| Balance { asset: row.asset, free: row.free, locked: row.locked });
        Account { can_trade: self.can_trade, balances: balances.collect(), uid: self.uid }
    }
}

/// `GET /sapi/v1/account/apiRestrictions`. What a key may take out must be told, or the answer is none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the venue's own row")]
pub(super) struct RestrictionsRow {
    ip_restrict: bool,
    enable_reading: bool,
    enable_withdrawals: bool,
    enable_internal_transfer: bool,
    permits_universal_transfer: bool,
    enable_spot_and_margin_trading: bool,
    trading_authority_expiration_time: Option<i64>,
}

impl RestrictionsRow {
    pub(super) fn restrictions(&self) -> Restrictions {
        Restrictions {
            can_read: self.enable_reading,
            can_trade_spot: self.enable_spot_and_margin_trading,
            can_withdraw: self.enable_withdrawals,
            can_transfer: self.enable_internal_transfer || self.permits_universal_transfer,
            is_ip_bound: self.ip_restrict,
            trades_until: self.trading_authority_expiration_time.map(fields::time),
        }
    }
}

/// `executionReport`. Upper and lower case are different fields.
#[derive(Deserialize)]
pub(super) struct ReportRow {
    s: String,
    c: String,
    /// Where an order is taken back the order's id, and `c` the cancel's own.
    #[serde(rename = "C")]
    original_id: Option<String>,
    #[serde(rename = "S", deserialize_with = "side")]
    side: Side,
    #[serde(rename = "o")]
    kind: String,
    #[serde(rename = "x")]
    what: String,
    #[serde(rename = "X")]
    status: String,
    #[serde(rename = "r")]
    reject_reason: Option<String>,
    #[serde(rename = "eR")]
    expiry_reason: Option<String>,
    #[serde(rename = "i")]
    order_id: i64,
    #[serde(rename = "q", deserialize_with = "qty")]
    orig_qty: Qty,
    #[serde(rename = "p", deserialize_with = "maybe_price")]
    price: Option<Price>,
    #[serde(default, rename = "P", deserialize_with = "maybe_price")]
    stop_price: Option<Price>,
    #[serde(rename = "l", deserialize_with = "qty")]
    last_qty: Qty,
    #[serde(rename = "L", deserialize_with = "maybe_price")]
    last_price: Option<Price>,
    #[serde(rename = "z", deserialize_with = "qty")]
    executed_qty: Qty,
    #[serde(rename = "Z", deserialize_with = "maybe_quote")]
    executed_quote: Option<Quote>,
    #[serde(rename = "n", deserialize_with = "signed")]
    fee: Decimal,
    #[serde(rename = "N")]
    fee_asset: Option<String>,
    #[serde(rename = "t")]
    trade_id: i64,
    #[serde(rename = "T")]
    at: i64,
    #[serde(rename = "O")]
    created_at: Option<i64>,
    #[serde(rename = "m")]
    is_maker: bool,
}

impl ReportRow {
    /// `None` where it claims an execution at no price.
    pub(super) fn report(self) -> Option<UserReport> {
        let client_order_id = self.original_id.filter(|id| !id.is_empty()).unwrap_or(self.c);
        // Some reports call themselves a trade of nothing: a status that changed, seen on the wire.
        let is_execution = self.what == "TRADE" && self.trade_id >= 0 && !self.last_qty.is_zero();
        let execution = if is_execution {
            Some(Execution {
                trade_id: self.trade_id,
                venue_order_id: self.order_id,
                client_order_id: Some(client_order_id.clone()),
                symbol: self.s.clone(),
                side: self.side,
                price: self.last_price?,
                qty: self.last_qty,
                fee: self.fee,
                fee_asset: self.fee_asset,
                at: fields::time(self.at),
                is_maker: self.is_maker,
            })
        } else {
            None
        };
        let reject_reason = self.reject_reason.filter(|reason| reason != "NONE");
        Some(UserReport {
            order: OrderReport {
                symbol: self.s,
                venue_order_id: self.order_id,
                client_order_id,
                side: self.side,
                kind: self.kind,
                status: status(self.status),
                price: self.price,
                stop_price: self.stop_price,
                qty: self.orig_qty,
                executed_qty: self.executed_qty,
                executed_quote: self.executed_quote,
                created_at: self.created_at.map(fields::time),
                updated_at: Some(fields::time(self.at)),
                fills: Vec::new(),
            },
            execution,
            what: self.what,
            reason: reject_reason.or(self.expiry_reason),
        })
    }
}

/// `outboundAccountPosition`.
#[derive(Deserialize)]
pub(super) struct PositionRow {
    #[serde(rename = "E")]
    at: i64,
    #[serde(rename = "B")]
    balances: Vec<PositionBalance>,
}

#[derive(Deserialize)]
struct PositionBalance {
    a: String,
    #[serde(deserialize_with = "signed")]
    f: Decimal,
    #[serde(deserialize_with = "signed")]
    l: Decimal,
}

impl PositionRow {
    pub(super) fn balances(self) -> (Vec<Balance>, Timestamp) {
        let balances = self.balances.into_iter();
        let balances = balances.map(|row| Balance { asset: row.a, free: row.f, locked: row.l });
        (balances.collect(), fields::time(self.at))
    }
}

/// `balanceUpdate`.
#[derive(Deserialize)]
pub(super) struct MoveRow {
    #[serde(rename = "a")]
    pub(super) asset: String,
    #[serde(rename = "d", deserialize_with = "signed")]
    pub(super) delta: Decimal,
    #[serde(rename = "T", deserialize_with = "time")]
    pub(super) at: Timestamp,
}

fn side<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Side, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "BUY" => Ok(Side::Buy),
        "SELL" => Ok(Side::Sell),
        _ => Err(de::Error::custom("no side")),
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    i64::deserialize(deserializer).map(fields::time)
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Price, D::Error> {
    fields::price(&String::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("no possible price"))
}

/// A price, where 0 says that there is none.
fn maybe_price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Price>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_none = fields::decimal(&text).is_some_and(|value| value.is_zero());
    match fields::price(&text) {
        None if !is_none => Err(de::Error::custom("no possible price")),
        price => Ok(price),
    }
}

fn qty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Qty, D::Error> {
    fields::qty(&String::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("no possible quantity"))
}

/// An amount of quote, where a negative one says that it is not known any more.
fn maybe_quote<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Quote>, D::Error> {
    let value = signed(deserializer)?;
    if value.is_sign_negative() && !value.is_zero() {
        return Ok(None);
    }
    Quote::new(value).map(Some).map_err(de::Error::custom)
}

/// A plain decimal that may be negative.
fn signed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    let text = String::deserialize(deserializer)?;
    let (digits, is_negative) = text.strip_prefix('-').map_or((text.as_str(), false), |rest| (rest, true));
    let value = fields::decimal(digits).ok_or_else(|| de::Error::custom("no possible amount"))?;
    Ok(if is_negative { -value } else { value })
}
