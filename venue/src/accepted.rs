//! What was accepted from whom: which client changed orders, and when, for tests in which several share an account.

use std::net::IpAddr;

use model::Timestamp;
use serde_json::{Value, json};

use crate::call::Call;
use crate::params::Params;

/// A request that changed an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Accepted {
    account: usize,
    method: &'static str,
    /// The order that it names.
    client_id: Option<String>,
    from: IpAddr,
    at: Timestamp,
}

impl Accepted {
    /// What a request of an account did; nothing where it only asked.
    pub(crate) fn of(
        call: Call,
        account: usize,
        params: &Params,
        from: IpAddr,
        at: Timestamp,
    ) -> Option<Self> {
        let method = match call {
            Call::PlaceOrder => "order.place",
            Call::CancelOrder => "order.cancel",
            Call::CancelReplace => "order.cancelReplace",
            Call::AmendOrder => "order.amend.keepPriority",
            Call::CancelOpenOrders => "openOrders.cancelAll",
            _ => return None,
        };
        let named = if call == Call::PlaceOrder { "newClientOrderId" } else { "origClientOrderId" };
        Some(Self { account, method, client_id: params.get(named).map(str::to_owned), from, at })
    }

    /// Whether it changed that account's orders.
    pub(crate) const fn is_of(&self, account: usize) -> bool {
        self.account == account
    }

    /// As the ledger shows it.
    pub(crate) fn json(&self) -> Value {
        json!({"method": self.method, "clientOrderId": self.client_id, "from": self.from.to_string(),
            "time": self.at.millis()})
    }
}
