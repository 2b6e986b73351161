//! Requests that are refused or answered wrongly as a test asks for it, until it asks for something else.

use serde_json::{Value, json};

use crate::call::Call;
use crate::fault::Fault;
use crate::order::Side;
use crate::params::Params;

/// Which requests go wrong, and how.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    call: Call,
    /// The side of the orders that it is about; `None` for either.
    side: Option<Side>,
    /// Their type, such as `MARKET`; `None` for any.
    kind: Option<String>,
    wrong: Wrong,
    /// How many requests it was applied to.
    pub(crate) hits: u64,
}

#[derive(Clone, Debug)]
enum Wrong {
    /// The request is refused and nothing is done.
    Refused(Fault),
    /// The request is done, and the answer is that of another order.
    OfAnotherOrder,
}

impl Rule {
    /// Reads a rule: `{"call":"order.place","side":"SELL","type":"MARKET","code":-1013,"msg":"Market is closed."}`;
    /// one without `code` answers with another order.
    pub(crate) fn read(rule: &Value) -> Option<Self> {
        let text = |name| rule.get(name).and_then(Value::as_str);
        let (call, _) = Call::of_method(text("call")?, &Params::default())?;
        let side = match text("side") {
            None => None,
            Some(side) => Some([Side::Buy, Side::Sell].into_iter().find(|known| known.as_str() == side)?),
        };
        let wrong = match rule.get("code").and_then(Value::as_i64) {
            Some(code) => Wrong::Refused(Fault::new(code, text("msg").unwrap_or_default())),
            None => Wrong::OfAnotherOrder,
        };
        Some(Self { call, side, kind: text("type").map(str::to_owned), wrong, hits: 0 })
    }

    fn is_about(&self, call: Call, params: &Params) -> bool {
        let is_any =
            |wanted: Option<&str>, name| wanted.is_none_or(|wanted| params.get(name) == Some(wanted));
        self.call == call
            && is_any(self.side.map(Side::as_str), "side")
            && is_any(self.kind.as_deref(), "type")
    }
}

/// What a request is refused with; counts it.
pub(crate) fn refusal(rules: &mut [Rule], call: Call, params: &Params) -> Option<Fault> {
    rules.iter_mut().find_map(|rule| match &rule.wrong {
        Wrong::Refused(fault) if rule.is_about(call, params) => {
            rule.hits += 1;
            Some(fault.clone())
        }
        _ => None,
    })
}

/// Makes an answer that of another order, which was canceled before anything filled; counts it.
pub(crate) fn misattribute(rules: &mut [Rule], call: Call, params: &Params, answer: &mut Value) {
    let is_it = |rule: &&mut Rule| matches!(rule.wrong, Wrong::OfAnotherOrder) && rule.is_about(call, params);
    let Some(rule) = rules.iter_mut().find(is_it) else { return };
    rule.hits += 1;
    for (name, value) in [
        ("clientOrderId", json!("another-order")),
        ("origClientOrderId", json!("another-order")),
        ("orderId", json!(987_654_321)),
        ("status", json!("CANCELED")),
        ("executedQty", json!("0.00000000")),
        ("fills", json!([])),
    ] {
        if let Some(told) = answer.get_mut(name) {
            *told = value;
        }
    }
}
