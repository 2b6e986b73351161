//! Orders in place of others: cancel and replace, and an order made smaller where it stands.

use model::Timestamp;
use serde_json::{Value, json};

use super::orders::{self, made_up_id};
use crate::fault::Fault;
use crate::params::Params;
use crate::world::World;

/// Cancels an order and places another. What is wrong with the new order by itself, a filter's refusal among it, is
/// known before anything is cancelled.
pub(super) fn cancel_replace(
    world: &mut World,
    account: usize,
    params: &Params,
    now: Timestamp,
) -> Result<Value, Fault> {
    let stops = match params.required("cancelReplaceMode")? {
        "STOP_ON_FAILURE" => true,
        "ALLOW_FAILURE" => false,
        _ => return Err(Fault::new(-1130, "Data sent for parameter 'cancelReplaceMode' is not valid.")),
    };
    let request = orders::request(world, params)?;
    world.check_filters(account, &request)?;
    world.check_count(account, now)?;
    let mut cancel = Params::default();
    for (as_sent, name) in [
        ("symbol", "symbol"),
        ("cancelOrderId", "orderId"),
        ("cancelOrigClientOrderId", "origClientOrderId"),
        ("cancelNewClientOrderId", "newClientOrderId"),
    ] {
        if let Some(value) = params.get(as_sent) {
            cancel.0.insert(name.to_owned(), value.to_owned());
        }
    }
    let canceled = orders::cancel(world, account, &cancel, now);
    if let (true, Err(fault)) = (stops, &canceled) {
        // It counts as if it had been placed.
        world.count_order(account, now);
        return Err(failed(json!({"cancelResult": "FAILURE", "newOrderResult": "NOT_ATTEMPTED",
            "cancelResponse": fault.json(), "newOrderResponse": null})));
    }
    let placed = orders::place(world, account, params, now);
    let outcome = json!({"cancelResult": word(&canceled), "newOrderResult": word(&placed),
        "cancelResponse": shown(&canceled), "newOrderResponse": shown(&placed)});
    match (canceled, placed) {
        (Ok(_), Ok(_)) => Ok(outcome),
        (Err(_), Err(_)) => Err(failed(outcome)),
        _ => {
            let message = "Order cancel-replace partially failed.";
            Err(Fault::with_status(409, -2021, message).with_data(outcome))
        }
    }
}

fn failed(outcome: Value) -> Fault {
    Fault::new(-2022, "Order cancel-replace failed.").with_data(outcome)
}

const fn word(result: &Result<Value, Fault>) -> &'static str {
    if result.is_ok() { "SUCCESS" } else { "FAILURE" }
}

fn shown(result: &Result<Value, Fault>) -> Value {
    match result {
        Ok(answer) => answer.clone(),
        Err(fault) => fault.json(),
    }
}

/// Makes an order smaller; it keeps its place.
pub(super) fn amend(
    world: &mut World,
    account: usize,
    params: &Params,
    now: Timestamp,
) -> Result<Value, Fault> {
    let index = orders::find(world, account, params, Fault::new(-2038, "Unknown order sent."))?;
    let qty = params.required_amount("newQty")?;
    let client_id = orders::client_id(params)?.unwrap_or_else(made_up_id);
    let former = orders::of(world, account)?.order(index).map(|order| order.client_id.clone());
    let number = world.amend(account, index, qty, &client_id, now)?;
    let Some(order) = orders::of(world, account)?.order(index) else { return Ok(json!({})) };
    let shown = order.amended_json(&orders::name(world, order), &former.unwrap_or_default());
    Ok(json!({"transactTime": now.millis(), "executionId": number, "amendedOrder": shown}))
}
