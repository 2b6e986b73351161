//! Accounts: what each holds, free and locked, its orders and fills, and who hears of them.

use std::collections::BTreeMap;

use model::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::order::{Fill, Order, Side};
use crate::params::eight;

/// What is held of an asset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Balance {
    pub(crate) free: Decimal,
    /// Reserved for open orders.
    pub(crate) locked: Decimal,
}

/// One account.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) balances: BTreeMap<String, Balance>,
    pub(crate) orders: Vec<Order>,
    pub(crate) fills: Vec<Fill>,
    listeners: Vec<UnboundedSender<Value>>,
}

/// What happened to an order, as its owner's stream tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Execution<'a> {
    New,
    Trade(&'a Fill),
    /// With the cancel's own client id.
    Canceled(&'a str),
    Expired,
}

impl Account {
    pub(crate) fn new(balances: &[(String, Decimal)]) -> Self {
        let balance = |(asset, free): &(String, Decimal)| {
            (asset.clone(), Balance { free: *free, locked: Decimal::ZERO })
        };
        Self {
            balances: balances.iter().map(balance).collect(),
            orders: Vec::new(),
            fills: Vec::new(),
            listeners: Vec::new(),
        }
    }

    /// What is held of an asset.
    pub(crate) fn balance(&mut self, asset: &str) -> &mut Balance {
        self.balances.entry(asset.to_owned()).or_default()
    }

    /// Somebody begins to hear of this account.
    pub(crate) fn listen(&mut self, listener: UnboundedSender<Value>) {
        self.listeners.push(listener);
    }

    /// Tells everybody who listens; who has gone is forgotten.
    pub(crate) fn tell(&mut self, event: &Value) {
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    /// Tells what these assets stand at.
    pub(crate) fn tell_balances(&mut self, assets: [&str; 2], at: Timestamp) {
        let changed: Vec<Value> = assets
            .iter()
            .map(|asset| {
                let balance = *self.balance(asset);
                json!({"a": asset, "f": eight(balance.free), "l": eight(balance.locked)})
            })
            .collect();
        let ms = at.millis();
        self.tell(&json!({"e": "outboundAccountPosition", "E": ms, "u": ms, "B": changed}));
    }

    /// Tells what happened to an order.
    pub(crate) fn tell_order(
        &mut self,
        order: &Order,
        symbol: &str,
        execution: Execution<'_>,
        number: i64,
        at: Timestamp,
    ) {
        let ms = at.millis();
        let zero = "0.00000000";
        let (client_id, original) = match execution {
            Execution::Canceled(cancel) => (cancel, order.client_id.as_str()),
            _ => (order.client_id.as_str(), ""),
        };
        let mut event = json!({"e": "executionReport", "E": ms, "s": symbol, "c": client_id,
            "S": order.side.as_str(), "o": order.kind.as_str(), "f": order.time_in_force.as_str(),
            "q": eight(order.qty), "p": eight(order.price), "P": eight(order.stop_price.unwrap_or_default()),
            "F": zero, "g": -1, "C": original, "x": "NEW", "X": order.status.as_str(), "r": "NONE",
            "i": order.id, "l": zero, "z": eight(order.executed), "L": zero, "n": "0", "N": null, "T": ms,
            "t": -1, "I": number, "w": order.is_working && order.status.is_open(), "m": false, "M": false,
            "O": order.created_at.millis(), "Z": eight(order.quote_executed), "Y": zero,
            "Q": eight(order.quote_qty), "V": "NONE"});
        if let Some(object) = event.as_object_mut() {
            let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
            if order.is_working {
                put("W", json!(order.created_at.millis()));
            }
            match execution {
                Execution::New => {}
                Execution::Trade(fill) => {
                    put("x", json!("TRADE"));
                    put("l", json!(eight(fill.qty)));
                    put("L", json!(eight(fill.price)));
                    put("Y", json!(eight(fill.qty * fill.price)));
                    put("n", json!(eight(fill.fee)));
                    put("N", json!(fill.fee_asset));
                    put("t", json!(fill.trade_id));
                    put("m", json!(fill.is_maker));
                }
                Execution::Canceled(_) => put("x", json!("CANCELED")),
                Execution::Expired => {
                    put("x", json!("EXPIRED"));
                    put("eR", json!("EXECUTION_RULE"));
                }
            }
        }
        self.tell(&event);
    }

    /// Reserves what an order may need; false where there is too little.
    pub(crate) fn lock(&mut self, asset: &str, amount: Decimal) -> bool {
        let balance = self.balance(asset);
        if balance.free < amount {
            return false;
        }
        balance.free -= amount;
        balance.locked += amount;
        true
    }

    /// Gives back what was reserved.
    pub(crate) fn unlock(&mut self, asset: &str, amount: Decimal) {
        let balance = self.balance(asset);
        balance.locked -= amount;
        balance.free += amount;
    }

    /// Moves what a fill moves: out of what was reserved, into what is free, the fee off what is received.
    pub(crate) fn settle(&mut self, fill: &Fill, base: &str, quote: &str, reserved: Decimal) {
        let worth = fill.price * fill.qty;
        match fill.side {
            Side::Buy => {
                self.balance(quote).locked -= reserved;
                self.balance(quote).free += reserved - worth;
                self.balance(base).free += fill.qty - fill.fee;
            }
            Side::Sell => {
                self.balance(base).locked -= reserved;
                self.balance(base).free += reserved - fill.qty;
                self.balance(quote).free += worth - fill.fee;
            }
        }
    }
}
