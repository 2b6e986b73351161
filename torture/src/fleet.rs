//! The bots that trade meanwhile: market and limit entries, ladders of all heights, trailing and not, with a stop
//! that rests at the exchange and without.

use serde_json::{Value, json};

use crate::exchange::PAIRS;

/// The body of the `index`th bot; its levels lie so close that the market reaches one every second or so.
pub(crate) fn body(index: usize, exchange_id: &str) -> Value {
    let pick = |choices: &[&str]| choices.get(index % choices.len()).map(|word| (*word).to_owned());
    let (stop_loss, take_profit) = match index % 3 {
        0 => (-0.8, 0.2),
        1 => (-1.5, 0.5),
        _ => (-3.0, 0.3),
    };
    let mut body = json!({
        "name": format!("torture {index}"),
        "exchange": "binance",
        "exchange_id": exchange_id,
        "pair": pick(&PAIRS),
        "strategy": "dca",
        "stake_amount": 20 + index,
        "max_open_trades": 1 + index % 4,
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "stop_on_venue": index % 5 != 3,
        "dry_run": false,
        "dca": {
            "safety_stake": 25,
            "price_deviation": if index % 2 == 0 { 0.25 } else { 0.4 },
            "volume_scale": 1.5,
            "order_type": pick(&["market", "market", "limit"]),
        },
    });
    if let Some(body) = body.as_object_mut() {
        match index % 5 {
            1 => drop(body.insert("trailing_stop".to_owned(), json!(0.6))),
            2 => drop(body.insert("trailing_take_profit".to_owned(), json!(0.15))),
            _ => {}
        }
    }
    body
}
