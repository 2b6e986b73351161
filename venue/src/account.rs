//! Accounts: what each holds, free and locked, its orders and fills, and who hears of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::counts::OrderCounts;
use crate::order::{Fill, Order, Side};
use crate::params::eight;

/// What is held of an asset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Balance {
    pub(crate) free: Decimal,
    /// Reserved for open orders.
    pub(crate) locked: Decimal,
}

/// Funds that the owner moved by hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transfer {
    pub(crate) asset: String,
    /// Into the account where positive.
    pub(crate) delta: Decimal,
    pub(crate) at: Timestamp,
}

/// One account.
#[derive(Debug)]
pub(crate) struct Account {
    /// What it began with.
    pub(crate) start: Vec<(String, Decimal)>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) balances: BTreeMap<String, Balance>,
    pub(crate) fills: Vec<Fill>,
    /// Orders that have not filled, for the limits.
    pub(crate) counts: OrderCounts,
    /// Every order ever taken, by rising id.
    orders: Vec<Order>,
    /// Which of them are open: prints look at no others.
    open: BTreeSet<usize>,
    /// Which of them bear a client id; it may be used again once the order before is closed.
    named: HashMap<String, Vec<usize>>,
    listeners: Vec<UnboundedSender<Value>>,
}

/// What happened to an order, as its owner's stream tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Execution<'a> {
    New,
    Trade(&'a Fill),
    /// With the cancel's own client id.
    Canceled(&'a str),
    /// With the client id that it had before.
    Replaced(&'a str),
    Expired,
}

impl Account {
    pub(crate) fn new(balances: &[(String, Decimal)]) -> Self {
        let balance = |(asset, free): &(String, Decimal)| {
            (asset.clone(), Balance { free: *free, locked: Decimal::ZERO })
        };
        Self {
            start: balances.to_vec(),
            transfers: Vec::new(),
            balances: balances.iter().map(balance).collect(),
            fills: Vec::new(),
            counts: OrderCounts::default(),
            orders: Vec::new(),
            open: BTreeSet::new(),
            named: HashMap::new(),
            listeners: Vec::new(),
        }
    }

    /// Every order, by rising id.
    pub(crate) fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// The open ones with their indexes.
    pub(crate) fn open_orders(&self) -> impl Iterator<Item = (usize, &Order)> {
        self.open.iter().filter_map(|index| Some((*index, self.orders.get(*index)?)))
    }

    /// Takes an open order in; its index.
    pub(crate) fn add(&mut self, order: Order) -> usize {
        let index = self.orders.len();
        self.open.insert(index);
        self.named.entry(order.client_id.clone()).or_default().push(index);
        self.orders.push(order);
        index
    }

    pub(crate) fn order(&self, index: usize) -> Option<&Order> {
        self.orders.get(index)
    }

    /// An order to be changed; [`Account::close`] must follow where it is open no more.
    pub(crate) fn order_mut(&mut self, index: usize) -> Option<&mut Order> {
        self.orders.get_mut(index)
    }

    /// An order is open no more.
    pub(crate) fn close(&mut self, index: usize) {
        self.open.remove(&index);
    }

    /// Gives an order another client id.
    pub(crate) fn rename(&mut self, index: usize, client_id: &str) {
        let Some(order) = self.orders.get_mut(index).filter(|order| order.client_id != client_id) else {
            return;
        };
        client_id.clone_into(&mut order.client_id);
        self.named.entry(client_id.to_owned()).or_default().push(index);
    }

    /// The order with an id.
    pub(crate) fn with_id(&self, id: i64) -> Option<usize> {
        self.orders.binary_search_by_key(&id, |order| order.id).ok()
    }

    /// The orders of a pair with a client id, the newest first.
    pub(crate) fn with_client_id(&self, symbol: usize, client_id: &str) -> impl Iterator<Item = usize> {
        let named = self.named.get(client_id).into_iter().flatten().rev();
        let is_meant = move |order: &Order| order.symbol == symbol && order.client_id == client_id;
        named.copied().filter(move |index| self.orders.get(*index).is_some_and(is_meant))
    }

    /// The fills of an order.
    pub(crate) fn fills_of(&self, order: &Order) -> Vec<Fill> {
        order.fills.iter().filter_map(|index| self.fills.get(*index).cloned()).collect()
    }

    /// Moves funds in or out by hand; false, and nothing moves, where there is too little that is free.
    pub(crate) fn transfer(&mut self, asset: &str, delta: Decimal, at: Timestamp) -> bool {
        let balance = self.balance(asset);
        if balance.free + delta < Decimal::ZERO {
            return false;
        }
        balance.free += delta;
        self.transfers.push(Transfer { asset: asset.to_owned(), delta, at });
        let ms = at.millis();
        self.tell(&json!({"e": "balanceUpdate", "E": ms, "a": asset, "d": eight(delta), "T": ms}));
        self.tell_balances(&[asset], at);
        true
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
    pub(crate) fn tell_balances(&mut self, assets: &[&str], at: Timestamp) {
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
            Execution::Replaced(former) => (order.client_id.as_str(), former),
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
                Execution::Replaced(_) => put("x", json!("REPLACED")),
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

    /// Moves what a fill moves: out of what was reserved for it, into what is free, and off goes the fee.
    pub(crate) fn settle(&mut self, fill: &Fill, base: &str, quote: &str, reserved: Decimal) {
        let worth = fill.price * fill.qty;
        let (spent, paid, received, gained) = match fill.side {
            Side::Buy => (quote, worth, base, fill.qty),
            Side::Sell => (base, fill.qty, quote, worth),
        };
        self.balance(spent).locked -= reserved;
        self.balance(spent).free += reserved - paid;
        self.balance(received).free += gained;
        self.balance(&fill.fee_asset).free -= fill.fee;
    }
}
