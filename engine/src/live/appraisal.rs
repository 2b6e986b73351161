//! Fees of closed trades that had no price when the trade closed are valued later, once: as soon as the venue tells what
//! their coin was worth at their time. Nothing waits for that, and the trade says until then that they are not in it.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use model::TradeId;
use tokio::time::Instant;

use crate::handle::Inner;

/// How often it is looked whether any are left.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many trades are looked at in one go.
const AT_ONCE: u32 = 50;

/// How long a trade waits after the venue told nothing; it doubles, up to an hour and a bit.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const MOST_DOUBLINGS: u32 = 7;

/// How often a trade was tried, and when it is again.
type Tried = HashMap<TradeId, (u32, Instant)>;

/// Values what can be, until the engine is gone.
pub(crate) async fn value_later(engine: Weak<Inner>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tried = Tried::new();
    loop {
        every.tick().await;
        let Some(inner) = engine.upgrade() else { return };
        let trades = match inner.store.unvalued_trades(AT_ONCE).await {
            Ok(trades) => trades,
            Err(error) => {
                tracing::warn!(%error, "fees without a price could not be looked for");
                continue;
            }
        };
        tried.retain(|id, _| trades.iter().any(|(_, left)| left == id));
        for (account, id) in trades {
            let (times, not_before) = tried.get(&id).copied().unwrap_or((0, Instant::now()));
            if not_before > Instant::now() {
                continue;
            }
            if !inner.connections.journal().value_fees(account, id, &inner.markets).await {
                let wait = FIRST_WAIT * 2_u32.pow(times.min(MOST_DOUBLINGS));
                tried.insert(id, (times + 1, Instant::now() + wait));
            }
        }
    }
}
