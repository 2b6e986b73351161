//! Whose an order is and what it is for, as its client id tells: what a restored backup knows a lost order by.
//!
//! An id has 128 bits, the most that every venue takes: 48 of the time at which it was minted, 6 that say that it is read
//! like this (version 8 and variant 2 of a UUID), 20 that tell ids of one moment apart, 16 of the store, 28 of the bot, and
//! 10 of the purpose.

use crate::{BotId, ClientOrderId};

const VERSION: u128 = 8;
const VARIANT: u128 = 2;
const STORE_BITS: u32 = 16;
const BOT_BITS: u32 = 28;
const PURPOSE_BITS: u32 = 10;

/// The low bits of a number.
const fn low(value: u128, bits: u32) -> u128 {
    value & ((1 << bits) - 1)
}

/// A store and one of its bots, as far as an order's id names them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OrderOrigin {
    store: u16,
    bot: u32,
}

impl OrderOrigin {
    /// Of a bot in the store of that name. Stores and bots that share one are rare: one in 65,536, and in 268 million.
    pub fn new(store: &str, bot: BotId) -> Self {
        // FNV-1a, folded: it only has to differ.
        let hash = store
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let store = u16::try_from((hash >> 16) ^ (hash & 0xffff)).unwrap_or_default();
        Self { store, bot: u32::try_from(low(bot.as_u128(), BOT_BITS)).unwrap_or_default() }
    }

    /// The same store's other bot.
    #[must_use]
    pub fn of_bot(self, bot: BotId) -> Self {
        Self { bot: u32::try_from(low(bot.as_u128(), BOT_BITS)).unwrap_or_default(), ..self }
    }

    /// Whether it may be that bot's: no other of its account is likely to share it.
    pub fn names(self, bot: BotId) -> bool {
        u128::from(self.bot) == low(bot.as_u128(), BOT_BITS)
    }

    /// Whether both are of one store.
    pub const fn is_of_same_store(self, other: Self) -> bool {
        self.store == other.store
    }
}

impl ClientOrderId {
    /// The id that tells whose an order is and what for, minted when `self` was; the lowest ten bits of `purpose` count.
    /// One that tells it already stays as it is.
    #[must_use]
    pub fn telling(self, origin: OrderOrigin, purpose: u16) -> Self {
        if self.origin().is_some() {
            return self;
        }
        let bits = self.as_u128();
        // Of a version-7 id the counter, which tells ids of one millisecond apart.
        let unique = low(bits >> 32, 20);
        let minted = bits >> 80 << 80;
        let own = u128::from(origin.store) << (BOT_BITS + PURPOSE_BITS)
            | u128::from(origin.bot) << PURPOSE_BITS
            | low(purpose.into(), PURPOSE_BITS);
        Self::from_u128(
            minted | VERSION << 76 | (unique >> 8) << 64 | VARIANT << 62 | low(unique, 8) << 54 | own,
        )
    }

    /// Whose it is and what for, where it tells.
    pub fn origin(self) -> Option<(OrderOrigin, u16)> {
        let bits = self.as_u128();
        if low(bits >> 76, 4) != VERSION || low(bits >> 62, 2) != VARIANT {
            return None;
        }
        let store = u16::try_from(low(bits >> (BOT_BITS + PURPOSE_BITS), STORE_BITS)).ok()?;
        let bot = u32::try_from(low(bits >> PURPOSE_BITS, BOT_BITS)).ok()?;
        Some((OrderOrigin { store, bot }, u16::try_from(low(bits, PURPOSE_BITS)).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_id_tells_whose_it_is_and_what_for() {
        let (one, other) = (BotId::new(), BotId::new());
        let origin = OrderOrigin::new("store", one);
        for purpose in [0, 7, 1_023] {
            let minted = ClientOrderId::new();
            let id = minted.telling(origin, purpose);
            assert_eq!(id.origin(), Some((origin, purpose)));
            assert_eq!(id.as_u128() >> 80, minted.as_u128() >> 80, "it tells when it was minted");
            assert_eq!(id.telling(OrderOrigin::new("store", other), 1), id);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_ne!(OrderOrigin::new("store", other), origin);
        assert!(OrderOrigin::new("store", other).is_of_same_store(origin));
        assert!(!OrderOrigin::new("another", one).is_of_same_store(origin));
    }

    #[test]
    fn ids_of_one_bot_and_purpose_differ() {
        let origin = OrderOrigin::new("store", BotId::new());
        let ids: BTreeSet<_> = (0..10_000).map(|_| ClientOrderId::new().telling(origin, 3)).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn other_ids_tell_nothing() {
        assert_eq!(ClientOrderId::new().origin(), None);
        assert_eq!(ClientOrderId::from_u128(5).origin(), None);
    }
}
