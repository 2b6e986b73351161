//! How much may be asked of the venue, and by whom first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What the venue allows: weight and requests per egress address, orders per account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Weight in a minute.
    pub weight_1m: u32,
    /// Requests in five minutes, whatever they weigh.
    pub requests_5m: u32,
    /// Orders of one account in ten seconds.
    pub orders_10s: u32,
    /// Orders of one account in a day.
    pub orders_1d: u32,
}

/// The venue's documented limits (`rest-api.md` and `exchangeInfo`, read 2026-07-21): 6000, 61000 (the lower of two
/// figures that are published), 100 and 200000.
impl Default for Limits {
    fn default() -> Self {
        Self { weight_1m: 6_000, requests_5m: 61_000, orders_10s: 100, orders_1d: 200_000 }
    }
}

/// Who goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// What ends a risk: stops, exits, cancels, and queries that resolve an unknown order. It may use everything.
    Exit,
    /// The rest. It leaves a fifth of every limit alone.
    Normal,
}

/// Whose orders are counted: a key's fingerprint. Two keys of one account count apart, until the venue's headers
/// tell of both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccountTag(pub u64);

/// What a call costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Its weight.
    pub weight: u32,
    /// Whose order it places, if it does.
    pub order_of: Option<AccountTag>,
}

/// When to ask again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// Not before this.
    pub until: Instant,
}

/// What an answer's headers tell of the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Weight used in this minute, by this address.
    pub weight_1m: Option<u32>,
    /// Orders in these ten seconds, by the account.
    pub orders_10s: Option<u32>,
    /// Orders today, by the account.
    pub orders_1d: Option<u32>,
}

/// The budget of one venue and egress address.
#[derive(Debug, Default)]
pub struct Budget {
    limits: Limits,
}

impl Budget {
    /// Nothing used yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes a call's cost, if it fits; else tells when to ask again.
    ///
    /// # Errors
    /// [`Wait`] where it does not fit; nothing is taken then.
    pub fn ask(&mut self, now: Instant, cost: Cost, lane: Lane) -> Result<(), Wait> {
        let _ = (now, cost, lane, self.limits);
        Ok(())
    }

    /// Until when the venue has asked to be left alone, where it has.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }

    /// Learns from an answer's headers what others behind this address or account have used.
    pub fn learn(&mut self, now: Instant, account: Option<AccountTag>, usage: Usage) {
        let _ = (now, account, usage);
    }

    /// Learns of an answer that asks to be left alone: a status 418 or 429, and its `Retry-After`.
    pub fn refused(&mut self, now: Instant, status: u16, retry_after: Option<Duration>) {
        let _ = (now, status, retry_after);
    }
}

/// A budget that several connections share.
#[derive(Clone, Debug, Default)]
pub struct SharedBudget(Arc<Mutex<Budget>>);

impl SharedBudget {
    /// Nothing used yet.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Budget::new(limits))))
    }

    /// As [`Budget::ask`], now.
    ///
    /// # Errors
    /// [`Wait`] where it does not fit; nothing is taken then.
    pub fn ask(&self, cost: Cost, lane: Lane) -> Result<(), Wait> {
        self.lock().ask(Instant::now(), cost, lane)
    }

    /// The budget itself. Held for no longer than a look: others wait.
    pub fn lock(&self) -> MutexGuard<'_, Budget> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cost {
    /// Placing an order.
    pub const fn place(account: AccountTag) -> Self {
        Self { weight: 1, order_of: Some(account) }
    }

    /// Taking an order back.
    pub const CANCEL: Self = Self::of(1);
    /// One order by its id.
    pub const ORDER: Self = Self::of(4);
    /// The open orders of one pair.
    pub const OPEN_ORDERS: Self = Self::of(6);
    /// The open orders of every pair.
    pub const ALL_OPEN_ORDERS: Self = Self::of(80);
    /// A page of orders.
    pub const ORDERS: Self = Self::of(20);
    /// A page of executions.
    pub const EXECUTIONS: Self = Self::of(20);
    /// A page of one order's executions.
    pub const ORDER_EXECUTIONS: Self = Self::of(5);
    /// The account and its balances.
    pub const ACCOUNT: Self = Self::of(20);
    /// What a key may do, and the venue's time.
    pub const SMALL: Self = Self::of(1);
    /// A socket, opened and subscribed.
    pub const CONNECT: Self = Self::of(4);

    /// A call of this weight.
    pub const fn of(weight: u32) -> Self {
        Self { weight, order_of: None }
    }
}
