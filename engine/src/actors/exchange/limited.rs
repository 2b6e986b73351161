//! Orders that wait because the venue has asked to be left alone: whose they are is told once, and when it is over.

use std::collections::HashSet;
use std::time::Duration;

use actix::Message;
use model::{BotId, Timestamp};
use tokio::time::Instant;

use super::{ExchangeConnection, deliver};
use crate::clock;

/// How long a wait has to be for anybody to be told.
const WORTH_TELLING: Duration = Duration::from_secs(3);

/// Orders of a bot wait until then; `None` once they do not any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Limited {
    pub(crate) until: Option<Timestamp>,
}

impl ExchangeConnection {
    /// Tells the bots whose orders have to wait for long.
    pub(super) fn tell_limited(&mut self) {
        let now = Instant::now();
        let Some(until) = self.budget().lock().blocked_until(now) else {
            for id in std::mem::take(&mut self.limited) {
                if let Some(attached) = self.bots.get(&id) {
                    deliver(&attached.bot, Limited { until: None });
                }
            }
            return;
        };
        if until - now < WORTH_TELLING {
            return;
        }
        let wait = i64::try_from((until - now).as_nanos()).unwrap_or(i64::MAX);
        let until = Timestamp::from_nanos(clock::now().nanos().saturating_add(wait));
        for id in self.waiting_bots() {
            if let Some(attached) = self.bots.get(&id)
                && self.limited.insert(id)
            {
                deliver(&attached.bot, Limited { until: Some(until) });
            }
        }
    }

    /// The bots that have something to send or to take back.
    fn waiting_bots(&self) -> HashSet<BotId> {
        let unsent = self.unsent.iter().filter_map(|id| self.orders.get(id));
        let open = self.orders.values().filter(|order| order.wants_cancel && !order.end);
        unsent.chain(open).map(|order| order.bot).collect()
    }
}
