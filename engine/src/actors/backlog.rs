//! How far paper bots may be behind the market: a bot decides on nothing while its last decision is not durable, and
//! its feed keeps the ticks that it misses meanwhile.
//!
//! The bots of a pair share the kept ticks, so what an account keeps is, for each of its pairs, as many ticks as the
//! bot furthest behind has missed.

use std::collections::{BTreeMap, BTreeSet};

use model::AccountId;

/// The most ticks that are kept for one account: 24 MiB.
pub(crate) const MAX_BACKLOG: u64 = 1 << 20;

/// The number of ticks between two looks at how far bots are behind; fewer than this are not counted.
pub(crate) const CHECK_EVERY: u64 = 1_024;

/// A bot that has not decided on the newest ticks of its pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Behind<T> {
    pub(crate) account: AccountId,
    pub(crate) symbol: usize,
    pub(crate) bot: T,
    /// The number of ticks that it has missed.
    pub(crate) ticks: u64,
}

/// The bots that must stop so that no account keeps more than `max` ticks: those behind by more than an equal share of
/// it for each of the account's pairs.
pub(crate) fn excess<T>(behind: Vec<Behind<T>>, max: u64) -> impl Iterator<Item = Behind<T>> {
    let mut pairs: BTreeMap<AccountId, BTreeSet<usize>> = BTreeMap::new();
    for bot in &behind {
        pairs.entry(bot.account).or_default().insert(bot.symbol);
    }
    behind.into_iter().filter(move |bot| {
        let pairs = pairs.get(&bot.account).map_or(1, BTreeSet::len) as u64;
        bot.ticks > max / pairs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(behind: &[(u128, usize, u64)], expected: &[usize]) {
        let numbered = behind.iter().enumerate().map(|(bot, (account, symbol, ticks))| Behind {
            account: AccountId::from_u128(*account),
            symbol: *symbol,
            bot,
            ticks: *ticks,
        });
        let stopped: Vec<usize> = excess(numbered.collect(), 100).map(|bot| bot.bot).collect();
        assert_eq!(stopped, expected, "{behind:?}");
    }

    #[test]
    fn bots_of_a_pair_share_its_kept_ticks() {
        check(&[(1, 0, 100), (1, 0, 99), (1, 0, 98)], &[]);
        check(&[(1, 0, 101), (1, 0, 99)], &[0]);
    }

    #[test]
    fn an_accounts_pairs_share_its_bound_and_another_account_has_its_own() {
        check(&[(1, 0, 51), (1, 1, 50), (2, 1, 100)], &[0]);
    }
}
