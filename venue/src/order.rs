//! Orders and fills, and how the venue shows them.

use model::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::params::eight;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Buy,
    Sell,
}

impl Side {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        }
    }
}

/// How it is worked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Limit,
    Market,
    LimitMaker,
    StopLoss,
    StopLossLimit,
    TakeProfit,
    TakeProfitLimit,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Limit,
        Self::Market,
        Self::LimitMaker,
        Self::StopLoss,
        Self::StopLossLimit,
        Self::TakeProfit,
        Self::TakeProfitLimit,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "LIMIT",
            Self::Market => "MARKET",
            Self::LimitMaker => "LIMIT_MAKER",
            Self::StopLoss => "STOP_LOSS",
            Self::StopLossLimit => "STOP_LOSS_LIMIT",
            Self::TakeProfit => "TAKE_PROFIT",
            Self::TakeProfitLimit => "TAKE_PROFIT_LIMIT",
        }
    }

    /// Whether it waits for a trigger.
    pub(crate) const fn is_stop(self) -> bool {
        matches!(self, Self::StopLoss | Self::StopLossLimit | Self::TakeProfit | Self::TakeProfitLimit)
    }

    /// Whether it has a price of its own.
    pub(crate) const fn has_price(self) -> bool {
        matches!(self, Self::Limit | Self::LimitMaker | Self::StopLossLimit | Self::TakeProfitLimit)
    }

    /// Whether it says how long it is good.
    pub(crate) const fn has_time_in_force(self) -> bool {
        matches!(self, Self::Limit | Self::StopLossLimit | Self::TakeProfitLimit)
    }
}

/// How long it is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimeInForce {
    Gtc,
    Ioc,
    Fok,
}

impl TimeInForce {
    pub(crate) const ALL: [Self; 3] = [Self::Gtc, Self::Ioc, Self::Fok];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
        }
    }
}

/// Where it is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    New,
    PartiallyFilled,
    Filled,
    Canceled,
    Expired,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::PartiallyFilled => "PARTIALLY_FILLED",
            Self::Filled => "FILLED",
            Self::Canceled => "CANCELED",
            Self::Expired => "EXPIRED",
        }
    }

    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }
}

/// One execution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fill {
    pub(crate) trade_id: i64,
    pub(crate) order_id: i64,
    pub(crate) symbol: usize,
    pub(crate) side: Side,
    pub(crate) price: Decimal,
    pub(crate) qty: Decimal,
    pub(crate) fee: Decimal,
    pub(crate) fee_asset: String,
    pub(crate) is_maker: bool,
    pub(crate) at: Timestamp,
}

impl Fill {
    /// As `myTrades` shows it.
    pub(crate) fn json(&self, symbol: &str) -> Value {
        json!({"symbol": symbol, "id": self.trade_id, "orderId": self.order_id, "orderListId": -1,
            "price": eight(self.price), "qty": eight(self.qty), "quoteQty": eight(self.price * self.qty),
            "commission": eight(self.fee), "commissionAsset": self.fee_asset, "time": self.at.millis(),
            "isBuyer": self.side == Side::Buy, "isMaker": self.is_maker, "isBestMatch": true})
    }

    /// As the answer to an order shows it.
    pub(crate) fn short_json(&self) -> Value {
        json!({"price": eight(self.price), "qty": eight(self.qty), "commission": eight(self.fee),
            "commissionAsset": self.fee_asset, "tradeId": self.trade_id})
    }
}

/// An order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) client_id: String,
    pub(crate) symbol: usize,
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) price: Decimal,
    pub(crate) qty: Decimal,
    /// What a market order was to spend, where it said that instead of a quantity.
    pub(crate) quote_qty: Decimal,
    pub(crate) stop_price: Option<Decimal>,
    pub(crate) executed: Decimal,
    pub(crate) quote_executed: Decimal,
    /// What is still reserved for it: quote of a buy, base of a sell.
    pub(crate) reserved: Decimal,
    pub(crate) status: Status,
    /// Whether it is on the book: a stop is once it has triggered.
    pub(crate) is_working: bool,
    /// Until when no query knows of it.
    pub(crate) hidden_until: Timestamp,
    /// Which of its owner's fills are its own.
    pub(crate) fills: Vec<usize>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Order {
    /// Whether queries know of it.
    pub(crate) fn is_visible(&self, now: Timestamp) -> bool {
        self.hidden_until <= now
    }

    /// How much of it is still to be filled.
    pub(crate) fn left(&self) -> Decimal {
        self.qty - self.executed
    }

    /// As queries show it.
    pub(crate) fn json(&self, symbol: &str) -> Value {
        let mut shown = json!({"symbol": symbol, "orderId": self.id, "orderListId": -1,
            "clientOrderId": self.client_id, "price": eight(self.price), "origQty": eight(self.qty),
            "executedQty": eight(self.executed), "cummulativeQuoteQty": eight(self.quote_executed),
            "status": self.status.as_str(), "timeInForce": self.time_in_force.as_str(),
            "type": self.kind.as_str(), "side": self.side.as_str(),
            "stopPrice": eight(self.stop_price.unwrap_or_default()), "icebergQty": "0.00000000",
            "time": self.created_at.millis(), "updateTime": self.updated_at.millis(),
            "isWorking": self.is_working, "workingTime": if self.is_working { self.created_at.millis() } else { -1 },
            "origQuoteOrderQty": eight(self.quote_qty), "selfTradePreventionMode": "NONE"});
        if self.status == Status::Expired
            && let Some(object) = shown.as_object_mut()
        {
            object.insert("expiryReason".to_owned(), json!("EXECUTION_RULE"));
        }
        shown
    }

    /// As the answer to placing it shows it.
    pub(crate) fn placed_json(&self, symbol: &str, form: Form, fills: &[Fill]) -> Value {
        let ack = json!({"symbol": symbol, "orderId": self.id, "orderListId": -1,
            "clientOrderId": self.client_id, "transactTime": self.updated_at.millis()});
        if form == Form::Ack {
            return ack;
        }
        let mut shown = ack;
        if let Some(object) = shown.as_object_mut() {
            let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
            put("price", json!(eight(self.price)));
            put("origQty", json!(eight(self.qty)));
            put("executedQty", json!(eight(self.executed)));
            put("origQuoteOrderQty", json!(eight(self.quote_qty)));
            put("cummulativeQuoteQty", json!(eight(self.quote_executed)));
            put("status", json!(self.status.as_str()));
            put("timeInForce", json!(self.time_in_force.as_str()));
            put("type", json!(self.kind.as_str()));
            put("side", json!(self.side.as_str()));
            if let Some(stop) = self.stop_price {
                put("stopPrice", json!(eight(stop)));
            }
            if self.is_working {
                put("workingTime", json!(self.created_at.millis()));
            }
            put("selfTradePreventionMode", json!("NONE"));
            if form == Form::Full {
                put("fills", fills.iter().map(Fill::short_json).collect());
            }
        }
        shown
    }

    /// As the answer to making it smaller shows it, `former` being the client id that it had before.
    pub(crate) fn amended_json(&self, symbol: &str, former: &str) -> Value {
        json!({"symbol": symbol, "orderId": self.id, "orderListId": -1, "origClientOrderId": former,
            "clientOrderId": self.client_id, "price": eight(self.price), "qty": eight(self.qty),
            "executedQty": eight(self.executed), "preventedQty": "0.00000000",
            "quoteOrderQty": eight(self.quote_qty), "cumulativeQuoteQty": eight(self.quote_executed),
            "status": self.status.as_str(), "timeInForce": self.time_in_force.as_str(),
            "type": self.kind.as_str(), "side": self.side.as_str(),
            "workingTime": if self.is_working { self.created_at.millis() } else { -1 },
            "selfTradePreventionMode": "NONE"})
    }

    /// As the answer to cancelling it shows it, `client_id` being the cancel's own.
    pub(crate) fn canceled_json(&self, symbol: &str, client_id: &str) -> Value {
        json!({"symbol": symbol, "origClientOrderId": self.client_id, "orderId": self.id, "orderListId": -1,
            "clientOrderId": client_id, "transactTime": self.updated_at.millis(), "price": eight(self.price),
            "origQty": eight(self.qty), "executedQty": eight(self.executed),
            "origQuoteOrderQty": eight(self.quote_qty), "cummulativeQuoteQty": eight(self.quote_executed),
            "status": self.status.as_str(), "timeInForce": self.time_in_force.as_str(),
            "type": self.kind.as_str(), "side": self.side.as_str(), "selfTradePreventionMode": "NONE"})
    }
}

/// How much of a placed order is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Ack,
    Result,
    Full,
}
