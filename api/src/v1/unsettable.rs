//! Fields of a bot's answer that a body cannot set: ignored where they are as they stand, else refused by name (contract §2).

use engine::{BotDefinition, BotView};
use model::Fault;
use serde_json::Value;

use super::show;
use crate::ApiError;
use crate::body::{self, Fields};

/// What of an open trade does not follow the market, and so is looked at.
const FIXED_OF_TRADE: [&str; 5] = ["id", "bot_id", "opened_at", "dry_run", "entries"];

/// What of the statistics follows the market.
const MOVING_STATS: [&str; 1] = ["unrealized_profit"];

/// A body without the fields that cannot be set.
///
/// What follows the market (an open trade's figures, what the bot waits for) may be of an earlier moment.
///
/// # Errors
/// Such fields that are not as they stand, together with what `parse` says of the others.
pub(crate) fn left_out(
    mut body: Fields,
    view: &BotView,
    parse: impl FnOnce(Fields) -> Result<BotDefinition, ApiError>,
) -> Result<Fields, ApiError> {
    let shown = serde_json::to_vec(&show::bot_view(view, Some(&[]))).map_err(|_| ApiError::Internal)?;
    let mut shown = body::fields(&shown)?;
    let settable = body::fields(view.bot.definition.to_json().get().as_bytes())?;
    shown.retain(|name, _| !settable.contains_key(name));
    let mut faults = Vec::new();
    for (name, stands) in shown {
        let Some(given) = body.remove(&name) else { continue };
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        let is_as_it_stands = value(given.get())
            .zip(value(stands.get()))
            .is_some_and(|(given, stands)| is_same_field(&name, &given, &stands));
        if !is_as_it_stands {
            let given: String = given.get().chars().take(60).collect();
            let message = format!("{given} is not what it is now, and it cannot be set: leave it out");
            faults.push(Fault { param: name, code: "parameter_invalid", message });
        }
    }
    if faults.is_empty() {
        return Ok(body);
    }
    if let Err(ApiError::Invalid(others)) = parse(body) {
        faults.extend(others);
    }
    Err(ApiError::Invalid(faults))
}

/// Whether a field is as it stands, but for what the market changes by itself.
fn is_same_field(name: &str, given: &Value, stands: &Value) -> bool {
    match (name, given, stands) {
        ("waiting_for" | "warnings", Value::Array(items), _) => items.iter().all(Value::is_object),
        ("stats", Value::Object(given), Value::Object(stands)) => {
            given.iter().all(|(key, value)| match stands.get(key) {
                Some(stands) => MOVING_STATS.contains(&key.as_str()) || is_same(value, stands),
                None => false,
            })
        }
        ("open_trade", Value::Object(given), Value::Object(stands)) => {
            FIXED_OF_TRADE.iter().all(|key| match (given.get(*key), stands.get(*key)) {
                (Some(given), Some(stands)) => is_same(given, stands),
                (Some(_), None) => false,
                (None, _) => true,
            }) && given.keys().all(|key| stands.contains_key(key))
        }
        _ => is_same(given, stands),
    }
}

/// Whether two values are the same, numbers as far as a client's floats tell them apart.
fn is_same(given: &Value, stands: &Value) -> bool {
    match (given, stands) {
        (Value::Number(given), Value::Number(stands)) => {
            given == stands
                || given.as_f64().zip(stands.as_f64()).is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
        }
        (Value::Object(given), Value::Object(stands)) => {
            given.len() == stands.len()
                && given.iter().all(|(key, value)| stands.get(key).is_some_and(|it| is_same(value, it)))
        }
        (Value::Array(given), Value::Array(stands)) => {
            given.len() == stands.len() && given.iter().zip(stands).all(|(a, b)| is_same(a, b))
        }
        _ => given == stands,
    }
}
