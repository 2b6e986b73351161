//! What was read of bots lately: whoever asks again is answered without the store, until the writer has changed it.
//!
//! Only the process that has the store's lock writes bots and trades, and all of it through the ledger; so what the
//! ledger has not told of since is what the store holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use model::BotId;

use crate::store::{KnownStats, StatsKey};
use crate::view::BotView;

/// Of how many bots the views are kept before all are forgotten.
const KEPT: usize = 10_000;

/// Bots share this many counts of changes.
const COUNTS: usize = 1_024;

/// Views of bots as they are stored, open trades not marked yet, and what their closed trades add up to.
#[derive(Debug)]
pub(crate) struct Views {
    kept: DashMap<BotId, Arc<BotView>>,
    sums: DashMap<StatsKey, KnownStats>,
    changes: Vec<AtomicU64>,
}

/// How often bots had changed when the store was asked for one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(u64);

impl Default for Views {
    fn default() -> Self {
        Self {
            kept: DashMap::new(),
            sums: DashMap::new(),
            changes: (0..COUNTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Views {
    /// What is known of a bot.
    pub(crate) fn get(&self, id: BotId) -> Option<Arc<BotView>> {
        self.kept.get(&id).map(|kept| kept.clone())
    }

    /// To be taken before the store is asked.
    pub(crate) fn since(&self, id: BotId) -> Since {
        Since(self.changes_of(id).map_or(0, |count| count.load(Ordering::Acquire)))
    }

    /// Keeps what the store said, unless the bot has been changed meanwhile.
    pub(crate) fn keep(&self, view: &Arc<BotView>, since: Since) {
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        let id = view.bot.id;
        // The entry is held while the count is read: whoever forgets the bot counts first, and removes afterwards.
        let entry = self.kept.entry(id);
        if self.since(id).0 == since.0 {
            entry.insert(view.clone());
        }
    }

    /// What a bot's closed trades were known to add up to. More may have closed since: the sums go on from here.
    pub(crate) fn sums(&self, key: &StatsKey) -> Option<KnownStats> {
        self.sums.get(key).map(|known| known.clone())
    }

    /// Keeps sums, unless the bot has been changed meanwhile.
    pub(crate) fn keep_sums(&self, key: StatsKey, sums: KnownStats, since: Since) {
        if self.sums.len() >= KEPT {
            self.sums.clear();
        }
        let id = key.bot_id;
        let entry = self.sums.entry(key);
        if self.since(id).0 == since.0 {
            entry.insert(sums);
        }
    }

    /// Forgets bots with their sums: a closed trade of each is not what it was.
    pub(crate) fn forget_sums(&self, rebooked: &[BotId]) {
        self.forget(rebooked);
        if !rebooked.is_empty() {
            self.sums.retain(|key, _| !rebooked.contains(&key.bot_id));
        }
    }

    /// Forgets bots that were changed. Their sums stay: what they are of does not change.
    pub(crate) fn forget(&self, changed: &[BotId]) {
        for id in changed {
            if let Some(count) = self.changes_of(*id) {
                count.fetch_add(1, Ordering::AcqRel);
            }
            self.kept.remove(id);
        }
    }

    fn changes_of(&self, id: BotId) -> Option<&AtomicU64> {
        self.changes.get(usize::try_from(id.as_u128() % COUNTS as u128).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use model::{AccountId, Timestamp};
    use strategies::BotDefinition;

    use super::*;
    use crate::change::BotStatus;
    use crate::stats::BotStats;
    use crate::store::StoredBot;

    fn view(id: BotId) -> Arc<BotView> {
        let body = r#"{"name":"b","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":3,"stop_loss":-4,"dry_run":true}"#;
        let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let bot = StoredBot {
            id,
            account_id: AccountId::from_u128(1),
            definition,
            status: BotStatus::Stopped,
            trouble: None,
            state: None,
            capital: model::Quote::ZERO,
            created_at: Timestamp::MIN,
        };
        let stats = BotStats::default();
        Arc::new(BotView { bot, open_trade: None, kept_rules: None, stats, waiting_for: Vec::new() })
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let views = Views::default();
        let id = BotId::from_u128(7);
        let since = views.since(id);
        views.keep(&view(id), since);
        assert!(views.get(id).is_some());
        views.forget(&[id]);
        assert!(views.get(id).is_none());
        views.keep(&view(id), since);
        assert!(views.get(id).is_none(), "the store was asked before the change");
        views.keep(&view(id), views.since(id));
        assert!(views.get(id).is_some());
    }
}
