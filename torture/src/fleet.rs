//! The bots that trade meanwhile: market and limit entries, ladders of all heights, trailing and not, with a stop
//! that rests at the exchange and without.

use serde_json::{Value, json};

use crate::exchange::PAIRS;

/// What the bots of a run are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Every one different.
    Mixed,
    /// One entry at the market, the stop watched by the engine alone.
    Market,
    /// The same with a limit.
    Limit,
    /// One entry, and a stop that rests at the exchange and trails.
    Stop,
    /// A ladder of four with a stop at the exchange, which every entry replaces.
    Ladder,
    /// One entry, and a stop that rests at the exchange for every other bot, where the engine watches those between.
    Drill,
}

impl Kind {
    /// Those of which all bots are alike.
    pub(crate) const PURE: [Self; 4] = [Self::Market, Self::Limit, Self::Stop, Self::Ladder];

    /// A word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Market => "market",
            Self::Limit => "limit",
            Self::Stop => "stop",
            Self::Ladder => "ladder",
            Self::Drill => "drill",
        }
    }
}

/// What sets one bot apart from another.
struct Terms {
    entries: usize,
    order_type: &'static str,
    stop_on_venue: bool,
    trailing_stop: Option<f64>,
    trailing_take_profit: Option<f64>,
}

impl Terms {
    const PLAIN: Self = Self {
        entries: 1,
        order_type: "market",
        stop_on_venue: false,
        trailing_stop: None,
        trailing_take_profit: None,
    };

    fn of(kind: Kind, index: usize) -> Self {
        match kind {
            Kind::Market => Self::PLAIN,
            Kind::Limit => Self { order_type: "limit", ..Self::PLAIN },
            Kind::Stop => Self { stop_on_venue: true, trailing_stop: Some(0.6), ..Self::PLAIN },
            Kind::Ladder => Self { entries: 4, stop_on_venue: true, ..Self::PLAIN },
            Kind::Drill => Self { stop_on_venue: index.is_multiple_of(2), ..Self::PLAIN },
            Kind::Mixed => Self {
                entries: 1 + index % 4,
                order_type: if index % 3 == 2 { "limit" } else { "market" },
                stop_on_venue: index % 5 != 3,
                trailing_stop: (index % 5 == 1).then_some(0.6),
                trailing_take_profit: (index % 5 == 2).then_some(0.15),
            },
        }
    }
}

/// Whether the stop of the `index`th bot rests at the exchange.
pub(crate) fn stops_on_venue(kind: Kind, index: usize) -> bool {
    Terms::of(kind, index).stop_on_venue
}

/// The body of the `index`th bot; its levels lie so close that the market reaches one every second or so.
pub(crate) fn body(kind: Kind, index: usize, exchange_id: &str) -> Value {
    let (stop_loss, take_profit) = match index % 3 {
        0 => (-0.8, 0.2),
        1 => (-1.5, 0.5),
        _ => (-3.0, 0.3),
    };
    let terms = Terms::of(kind, index);
    json!({
        "name": format!("torture {index}"),
        "exchange": "binance",
        "exchange_id": exchange_id,
        "pair": PAIRS.get(index % PAIRS.len()),
        "strategy": "dca",
        "stake_amount": 20 + index,
        "max_open_trades": terms.entries,
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "trailing_stop": terms.trailing_stop,
        "trailing_take_profit": terms.trailing_take_profit,
        "stop_on_venue": terms.stop_on_venue,
        "dry_run": false,
        "dca": {
            "safety_stake": 25,
            "price_deviation": if index.is_multiple_of(2) { 0.25 } else { 0.4 },
            "volume_scale": 1.5,
            "order_type": terms.order_type,
        },
    })
}
