//! The order of a subscription's updates within one second.
//!
//! Stripe stamps events with whole seconds and delivers them in any order. An `updated` event also holds the former values
//! of what it changed (`data.previous_attributes`), so the updates of one second form a chain of states, and the state at
//! its end is the one that stands.
//!
//! Source: Stripe's API reference, "The Event object", `data.previous_attributes`, read 2026-11-30.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A subscription's state, as far as it decides what an account may use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SubscriptionState {
    /// Stripe's own word.
    pub(super) status: String,
    pub(super) cancel_at_period_end: bool,
    /// Whether the collection of payments is paused.
    pub(super) is_paused: bool,
    /// Seconds since 1970.
    pub(super) period_start: Option<i64>,
    pub(super) period_end: Option<i64>,
    pub(super) prices: Vec<Price>,
}

/// A price that a subscription bills.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Price {
    pub(super) id: String,
    pub(super) lookup_key: Option<String>,
}

/// What one event says of a subscription.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Update {
    /// The state that the event changed; `None` where it does not say.
    pub(super) before: Option<SubscriptionState>,
    /// The state that it reports.
    pub(super) after: SubscriptionState,
}

/// The subscription object as Stripe sends it, as far as it is read.
#[derive(Deserialize)]
struct Sent {
    status: String,
    #[serde(default)]
    cancel_at_period_end: bool,
    pause_collection: Option<Value>,
    // Where it stands depends on the version of the API: on the subscription, or on each item since 2025-03-31.
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
    items: Items,
}

#[derive(Deserialize)]
struct Items {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    price: Price,
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
}

impl SubscriptionState {
    /// Whether the first payment is still to be made. A subscription that left this state never returns to it.
    pub(super) fn is_incomplete(&self) -> bool {
        self.status == "incomplete"
    }

    fn read(object: Value) -> Result<Self, serde_json::Error> {
        let sent: Sent = serde_json::from_value(object)?;
        let of_items = |end: fn(&Item) -> Option<i64>| sent.items.data.iter().filter_map(end).max();
        let start = sent.current_period_start.or_else(|| of_items(|item| item.current_period_start));
        let end = sent.current_period_end.or_else(|| of_items(|item| item.current_period_end));
        Ok(Self {
            status: sent.status,
            cancel_at_period_end: sent.cancel_at_period_end,
            is_paused: sent.pause_collection.is_some(),
            period_start: start,
            period_end: end,
            prices: sent.items.data.into_iter().map(|item| item.price).collect(),
        })
    }
}

impl Update {
    /// Reads the subscription that an event holds, and the former values beside it.
    ///
    /// # Errors
    /// Where the object is no subscription.
    pub(super) fn read(object: &Value, previous: Option<&Value>) -> Result<Self, serde_json::Error> {
        let before = previous.and_then(|previous| {
            let mut former = object.clone();
            lay_over(&mut former, previous);
            SubscriptionState::read(former).ok()
        });
        Ok(Self { before, after: SubscriptionState::read(object.clone())? })
    }
}

/// Replaces values by former ones. Of an object only the changed fields are there, of an array all of it.
fn lay_over(object: &mut Value, former: &Value) {
    match (object, former) {
        (Value::Object(fields), Value::Object(former)) => {
            for (name, value) in former {
                lay_over(fields.entry(name.as_str()).or_insert(Value::Null), value);
            }
        }
        (object, former) => *object = former.clone(),
    }
}

/// The state that stands after all these updates of one second: the end of their chain, which more of them lead to than
/// leave. Where the chain does not tell (an update of it is still missing, say), the later period wins, then the update
/// received last; a state whose first payment is made always wins over one before that.
pub(super) fn last_state(updates: &[Update]) -> Option<&SubscriptionState> {
    let leads_to = |state: &SubscriptionState| updates.iter().filter(|it| it.after == *state).count();
    let leaves =
        |state: &SubscriptionState| updates.iter().filter(|it| it.before.as_ref() == Some(state)).count();
    let rank = |(place, update): &(usize, &Update)| {
        let state = &update.after;
        let surplus = leads_to(state).cast_signed() - leaves(state).cast_signed();
        (!state.is_incomplete(), surplus, state.period_end, *place)
    };
    updates.iter().enumerate().max_by_key(rank).map(|(_, update)| &update.after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(status: &str, price: &str, cancels: bool) -> Value {
        json!({"id": "sub_1", "status": status, "cancel_at_period_end": cancels, "pause_collection": null,
            "items": {"object": "list", "data": [{"price": {"id": price}, "current_period_end": 9}]}})
    }

    #[test]
    fn the_state_before_is_the_object_with_its_former_values() {
        let previous = json!({"status": "incomplete", "pause_collection": {"behavior": "void"}, "latest_invoice": "in_1",
            "items": {"data": [{"price": {"id": "price_a"}, "current_period_end": 5}]}});
        let update = Update::read(&object("active", "price_b", true), Some(&previous)).unwrap();
        let before = update.before.unwrap();
        assert_eq!(
            (before.status.as_str(), before.is_paused, before.period_end),
            ("incomplete", true, Some(5))
        );
        assert_eq!((before.prices[0].id.as_str(), before.cancel_at_period_end), ("price_a", true));
        assert_eq!((update.after.is_paused, update.after.period_end), (false, Some(9)));
    }

    /// Updates in the order in which they happened; some change the same field twice, one returns to a former state.
    fn chain() -> Vec<Update> {
        let steps = [
            (object("active", "price_a", false), json!({"status": "incomplete"})),
            (object("active", "price_b", false), json!({"items": object("", "price_a", false)["items"]})),
            (object("active", "price_b", true), json!({"cancel_at_period_end": false})),
            (object("active", "price_b", false), json!({"cancel_at_period_end": true})),
            (object("active", "price_c", false), json!({"items": object("", "price_b", false)["items"]})),
        ];
        steps.iter().map(|(object, previous)| Update::read(object, Some(previous)).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn the_last_state_is_found_whatever_order_the_updates_arrive_in(
            updates in Just(chain()).prop_shuffle(),
            until in 1..=5_usize,
        ) {
            let happened = &chain()[..until];
            let arrived: Vec<Update> = updates.into_iter().filter(|it| happened.contains(it)).collect();
            prop_assert_eq!(last_state(&arrived), happened.last().map(|last| &last.after));
        }
    }

    #[test]
    fn a_paid_subscription_wins_over_one_whose_first_payment_is_open() {
        let read = |status, previous: Option<&Value>| {
            Update::read(&object(status, "price_a", false), previous).unwrap()
        };
        let (paid, open) = (read("active", None), read("incomplete", Some(&json!({"status": "trialing"}))));
        for updates in [[paid.clone(), open.clone()], [open, paid.clone()]] {
            assert_eq!(last_state(&updates), Some(&paid.after));
        }
    }
}
