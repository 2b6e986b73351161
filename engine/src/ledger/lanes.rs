//! Which change is written next: what is urgent before what paper bots decided, and within each lane every account
//! in turn.
//!
//! One account's load delays another account by at most one change a turn, however much it queues. Changes of one bot
//! keep their order: an urgent change takes the bot's waiting decisions along into the urgent lane, and decisions are
//! taken only once nothing urgent waits.

use std::collections::{HashMap, VecDeque};

use model::{AccountId, BotId};

use crate::change::Change;

/// Where a change queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    /// Live intents, owners' commands, and everything else that is not a paper bot's own decision. Changes of no
    /// account share a turn.
    Urgent { account: Option<AccountId>, bot: Option<BotId> },
    /// A paper bot's own decision.
    Paper { account: AccountId, bot: BotId },
}

impl Route {
    /// The urgent lane, as the account and bot that the change is about.
    pub(super) fn urgent(change: &Change) -> Self {
        Self::Urgent { account: change.account(), bot: change.bot_id() }
    }
}

/// Everything that waits, by lane and account.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    urgent: Turns<Option<AccountId>, VecDeque<T>>,
    paper: Turns<AccountId, Decisions<T>>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { urgent: Turns::default(), paper: Turns::default() }
    }
}

impl<T> Lanes<T> {
    /// Queues a change behind those of its account and lane.
    pub(super) fn push(&mut self, route: Route, item: T) {
        match route {
            Route::Urgent { account, bot } => {
                let decisions = account.and_then(|account| self.paper.shares.get_mut(&account));
                let earlier = decisions.zip(bot).and_then(|(decisions, bot)| decisions.by_bot.remove(&bot));
                self.urgent.share(account).extend(earlier.into_iter().flatten().chain([item]));
            }
            Route::Paper { account, bot } => self.paper.share(account).push(bot, item),
        }
    }

    /// The next urgent change.
    pub(super) fn next_urgent(&mut self) -> Option<T> {
        self.urgent.next(VecDeque::pop_front)
    }

    /// The next paper bot's waiting decisions, oldest first; `None` while anything urgent waits.
    pub(super) fn next_decisions(&mut self) -> Option<Vec<T>> {
        if self.urgent.order.is_empty() { self.paper.next(Decisions::pop) } else { None }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.urgent.order.is_empty() && self.paper.shares.values().all(|share| share.by_bot.is_empty())
    }
}

/// Queues that are served in turn.
#[derive(Debug)]
struct Turns<K, Q> {
    /// Whose turn is next; each key of `shares` once.
    order: VecDeque<K>,
    shares: HashMap<K, Q>,
}

impl<K, Q> Default for Turns<K, Q> {
    fn default() -> Self {
        Self { order: VecDeque::new(), shares: HashMap::new() }
    }
}

impl<K: Copy + Eq + std::hash::Hash, Q: Default> Turns<K, Q> {
    fn share(&mut self, key: K) -> &mut Q {
        self.shares.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Q::default()
        })
    }

    /// What the next queue has; a queue that turns out to be empty loses its turn.
    fn next<T>(&mut self, pop: impl Fn(&mut Q) -> Option<T>) -> Option<T> {
        while let Some(key) = self.order.pop_front() {
            match self.shares.get_mut(&key).and_then(&pop) {
                Some(item) => {
                    self.order.push_back(key);
                    return Some(item);
                }
                None => drop(self.shares.remove(&key)),
            }
        }
        None
    }
}

/// One account's paper decisions.
#[derive(Debug)]
struct Decisions<T> {
    /// Bots in the order in which they decided. A bot whose decisions were taken along by an urgent change stays in it.
    order: VecDeque<BotId>,
    by_bot: HashMap<BotId, Vec<T>>,
}

impl<T> Default for Decisions<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), by_bot: HashMap::new() }
    }
}

impl<T> Decisions<T> {
    fn push(&mut self, bot: BotId, item: T) {
        let of_bot = self.by_bot.entry(bot).or_insert_with(|| {
            self.order.push_back(bot);
            Vec::with_capacity(1)
        });
        of_bot.push(item);
    }

    fn pop(&mut self) -> Option<Vec<T>> {
        while let Some(bot) = self.order.pop_front() {
            if let Some(items) = self.by_bot.remove(&bot) {
                return Some(items);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(number: u8) -> AccountId {
        AccountId::from_u128(number.into())
    }

    /// A bot of an account.
    fn bot(account: u8, number: u8) -> BotId {
        BotId::from_u128(u128::from(account) * 256 + u128::from(number))
    }

    fn urgent(of: u8, number: u8) -> Route {
        Route::Urgent { account: Some(account(of)), bot: Some(bot(of, number)) }
    }

    fn paper(of: u8, number: u8) -> Route {
        Route::Paper { account: account(of), bot: bot(of, number) }
    }

    fn rest<T>(lanes: &mut Lanes<T>) -> Vec<T> {
        let mut taken = Vec::new();
        loop {
            if let Some(item) = lanes.next_urgent() {
                taken.push(item);
            } else if let Some(items) = lanes.next_decisions() {
                taken.extend(items);
            } else {
                return taken;
            }
        }
    }

    #[test]
    fn urgent_changes_come_before_what_paper_bots_decided() {
        let mut lanes = Lanes::default();
        for number in 0..100 {
            lanes.push(paper(1, number), "decision");
        }
        lanes.push(urgent(2, 0), "command");
        assert_eq!(lanes.next_decisions(), None);
        assert_eq!(lanes.next_urgent(), Some("command"));
        assert_eq!(rest(&mut lanes), ["decision"; 100]);
    }

    #[test]
    fn a_busy_account_delays_another_by_one_change_a_turn() {
        for route in [paper, urgent] {
            let mut lanes = Lanes::default();
            for number in 0..100 {
                lanes.push(route(1, number), 1);
            }
            for number in 0..3 {
                lanes.push(route(2, number), 2);
            }
            assert_eq!(rest(&mut lanes)[..7], [1, 2, 1, 2, 1, 2, 1]);
        }
    }

    #[test]
    fn an_urgent_change_takes_its_bots_waiting_decisions_along() {
        let mut lanes = Lanes::default();
        lanes.push(paper(1, 1), "another bot's");
        lanes.push(paper(1, 2), "bought");
        lanes.push(paper(1, 2), "sold");
        lanes.push(urgent(1, 2), "stopped");
        lanes.push(paper(1, 2), "bought again");
        assert_eq!(rest(&mut lanes), ["bought", "sold", "stopped", "another bot's", "bought again"]);
        assert!(lanes.is_empty());
    }

    proptest! {
        #[test]
        fn each_bots_changes_keep_their_order_and_none_is_lost(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u8..3, 0_u8..4), 0..200),
        ) {
            let (mut lanes, mut pushed, mut taken) = (Lanes::default(), HashMap::<_, Vec<usize>>::new(), Vec::new());
            for (number, (is_push, is_urgent, of, which)) in steps.into_iter().enumerate() {
                if is_push {
                    let route = if is_urgent { urgent(of, which) } else { paper(of, which) };
                    lanes.push(route, (bot(of, which), number));
                    pushed.entry(bot(of, which)).or_default().push(number);
                } else if is_urgent {
                    taken.extend(lanes.next_urgent());
                } else {
                    taken.extend(lanes.next_decisions().into_iter().flatten());
                }
            }
            taken.extend(rest(&mut lanes));
            prop_assert!(lanes.is_empty());
            let mut by_bot = HashMap::<_, Vec<usize>>::new();
            for (bot, number) in taken {
                by_bot.entry(bot).or_default().push(number);
            }
            prop_assert_eq!(by_bot, pushed);
        }
    }
}
