//! The trading rules from outside: worked examples to the last digit, and the laws.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod bounds;
mod by_hand;
mod examples;
mod laws;
mod live;
mod preview;
mod profit;
mod reentry;
mod rules;
mod words;

use model::{Market, Price, PriceMove, Timestamp};
use strategies::{BotDefinition, PaperBot, PaperStep};

/// A bot from the fields that differ from a plain one.
fn bot(fields: &str) -> BotDefinition {
    let mut body: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_str(
            r#"{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":3,"stop_loss":-10,"dry_run":true}"#,
        )
        .unwrap();
    let more: std::collections::BTreeMap<_, _> = serde_json::from_str(fields).unwrap();
    body.extend(more);
    BotDefinition::parse(&body).unwrap()
}

fn market(tick: &str, lot: &str, fee: &str) -> Market {
    Market {
        tick_size: tick.parse().unwrap(),
        lot_step: lot.parse().unwrap(),
        min_notional: "0".parse().unwrap(),
        fee: fee.parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    }
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

/// Feeds one price a second; what happened, one line a step.
fn run(paper: &mut PaperBot, from_s: i64, prices: &[&str]) -> Vec<String> {
    let mut steps = Vec::new();
    for (second, text) in (from_s..).zip(prices) {
        paper
            .on_move(&PriceMove::tick(price(text), Timestamp::from_millis(second * 1_000)), &mut steps)
            .unwrap();
    }
    steps.iter().map(line).collect()
}

fn line(step: &PaperStep) -> String {
    match step {
        PaperStep::Entered(entry) => format!("{} {} @ {}", entry.index, entry.qty, entry.price),
        PaperStep::StopHit { stop, .. } => format!("stop {stop}"),
        PaperStep::Exited(books) => {
            let exit = books.exit.unwrap();
            format!("{} {} @ {}", exit.reason.as_str(), exit.qty, exit.price)
        }
    }
}
