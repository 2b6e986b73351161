//! How long live orders took, from the receipts that their trades list.

use std::time::Duration;

use model::{Order, OrderType, Receipt, Timestamp, Trade};
use serde::{Serialize, Serializer};

/// How long one stage took.
#[derive(Serialize, Clone, Copy, Debug)]
pub(super) struct Stage {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) orders: usize,
    #[serde(rename = "p50_us", serialize_with = "micros")]
    pub(super) p50: Duration,
    #[serde(rename = "p99_us", serialize_with = "micros")]
    pub(super) p99: Duration,
}

fn micros<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// A moment of a receipt.
type At = fn(&Receipt) -> Option<Timestamp>;

/// The moments in their order.
const MOMENTS: [(&str, At); 6] = [
    ("tick", |receipt| receipt.ticked_at),
    ("decided", |receipt| receipt.decided_at),
    ("journaled", |receipt| receipt.journaled_at),
    ("sent", |receipt| receipt.sent_at),
    ("acknowledged", |receipt| receipt.acknowledged_at),
    ("filled", |receipt| receipt.filled_at),
];

/// Each stage, and all of them from the tick to the fill; a stage that no order came through is left out. A resting
/// stop waits for the market and not for us: its fill is not counted.
pub(super) fn stages(trades: &[Trade]) -> Vec<Stage> {
    let orders: Vec<&Order> = trades.iter().flat_map(|trade| &trade.orders).collect();
    let [first, .., last] = MOMENTS;
    let steps = MOMENTS.iter().zip(MOMENTS.iter().skip(1)).map(|(from, to)| (*from, *to));
    steps.chain([(first, last)]).filter_map(|(from, to)| stage(&orders, from, to)).collect()
}

fn stage(
    orders: &[&Order],
    (from, began): (&'static str, At),
    (to, ended): (&'static str, At),
) -> Option<Stage> {
    let span = |order: &&Order| {
        let receipt =
            order.receipt.as_ref().filter(|_| to != "filled" || order.kind != OrderType::StopLossLimit)?;
        // The clock may have been set back meanwhile.
        Some(Duration::from_nanos(u64::try_from(ended(receipt)?.since(began(receipt)?)).unwrap_or(0)))
    };
    let mut spans: Vec<Duration> = orders.iter().filter_map(span).collect();
    spans.sort_unstable();
    let at = |pct: usize| spans.get((spans.len() * pct).div_ceil(100).saturating_sub(1)).copied();
    Some(Stage { from, to, orders: spans.len(), p50: at(50)?, p99: at(99)? })
}
