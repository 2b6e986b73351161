//! How much may be asked of the venue, and by whom first.

use std::collections::{HashMap, VecDeque};
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

/// Of every limit one part in so many is kept for [`Lane::Exit`]: 1,200 of a minute's weight, 20 of ten seconds' orders.
/// That closes a whole account's trades at once while others trade as hard as they may, and costs the others a fifth
/// of what hardly anybody uses up.
const RESERVED_PART: u32 = 5;

/// How long to leave the venue alone after a 429 that does not say.
const PATIENCE: Duration = Duration::from_mins(1);

/// The shortest ban, for a 418 that does not say how long it is.
const SHORTEST_BAN: Duration = Duration::from_mins(2);

/// Who goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// What ends a risk: stops, exits, cancels, and queries that resolve an unknown order. It may use everything.
    Exit,
    /// The rest. It leaves a fifth of every limit alone.
    Normal,
    /// What nobody waits for. It leaves half of every limit alone.
    Spare,
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

/// The budget of one venue and egress address. Time is an argument, and is not to go back.
///
/// What is taken counts for the whole window after it and up to a sixtieth of that more, so that in no stretch of
/// time as long as the window more than the limit is taken, wherever the venue's own windows begin. Orders that
/// filled count as well, though the venue takes them off again.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    weight: Window,
    requests: Window,
    orders: HashMap<AccountTag, Orders>,
    blocked_until: Option<Instant>,
    /// How many answers were a 429, and how many a 418.
    refusals: [u64; 2],
}

/// One account's orders.
#[derive(Debug)]
struct Orders {
    short: Window,
    day: Window,
}

impl Orders {
    fn new(limits: &Limits) -> Self {
        Self {
            short: Window::new(limits.orders_10s, Duration::from_secs(10)),
            day: Window::new(limits.orders_1d, Duration::from_hours(24)),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Budget {
    /// Nothing used yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            weight: Window::new(limits.weight_1m, Duration::from_mins(1)),
            requests: Window::new(limits.requests_5m, Duration::from_mins(5)),
            orders: HashMap::new(),
            blocked_until: None,
            refusals: [0; 2],
        }
    }

    /// Takes a call's cost, if it fits; else tells when to ask again.
    ///
    /// # Errors
    /// [`Wait`] where it does not fit; nothing is taken then.
    pub fn ask(&mut self, now: Instant, cost: Cost, lane: Lane) -> Result<(), Wait> {
        if let Some(until) = self.blocked_until(now) {
            return Err(Wait { until });
        }
        let mut windows = vec![(&mut self.weight, cost.weight), (&mut self.requests, 1)];
        if let Some(account) = cost.order_of {
            let orders = orders_of(&mut self.orders, account, now, &self.limits);
            windows.extend([(&mut orders.short, 1), (&mut orders.day, 1)]);
        }
        let waits = windows.iter_mut().filter_map(|(window, amount)| window.wait(now, *amount, lane));
        if let Some(until) = waits.max() {
            return Err(Wait { until });
        }
        for (window, amount) in windows {
            window.take(now, amount);
        }
        Ok(())
    }

    /// Until when the venue has asked to be left alone, where it has.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.blocked_until.filter(|until| now < *until)
    }

    /// Learns from an answer's headers what others behind this address or account have used.
    pub fn learn(&mut self, now: Instant, account: Option<AccountTag>, usage: Usage) {
        if let Some(used) = usage.weight_1m {
            self.weight.raise(now, used);
        }
        let Some(account) = account.filter(|_| usage.orders_10s.or(usage.orders_1d).is_some()) else {
            return;
        };
        let orders = orders_of(&mut self.orders, account, now, &self.limits);
        orders.short.raise(now, usage.orders_10s.unwrap_or(0));
        orders.day.raise(now, usage.orders_1d.unwrap_or(0));
    }

    /// Learns of an answer that asks to be left alone, a status 418 or 429 and its `Retry-After`: until that is over
    /// nothing at all may be sent, or a longer ban follows. Other statuses change nothing.
    pub fn refused(&mut self, now: Instant, status: u16, retry_after: Option<Duration>) {
        let [limited, banned] = &mut self.refusals;
        let (unsaid, seen) = match status {
            418 => (SHORTEST_BAN, banned),
            429 => (PATIENCE, limited),
            _ => return,
        };
        *seen += 1;
        let until = now + retry_after.unwrap_or(unsaid).min(LONGEST_BAN);
        self.blocked_until = self.blocked_until.max(Some(until));
    }

    /// How many answers were a 429, and how many a 418.
    pub fn refusals(&self) -> [u64; 2] {
        self.refusals
    }
}

/// The longest ban that the venue has: three days.
const LONGEST_BAN: Duration = Duration::from_hours(72);

/// One account's orders; accounts that have been quiet for a day are forgotten when another comes.
fn orders_of<'a>(
    orders: &'a mut HashMap<AccountTag, Orders>,
    account: AccountTag,
    now: Instant,
    limits: &Limits,
) -> &'a mut Orders {
    if !orders.contains_key(&account) {
        orders.retain(|_, orders| {
            orders.day.forget(now);
            orders.day.total > 0
        });
    }
    orders.entry(account).or_insert_with(|| Orders::new(limits))
}

/// What was taken in the last stretch of time, summed up in grains.
#[derive(Debug)]
struct Window {
    limit: u32,
    span: Duration,
    grain: Duration,
    /// When each grain ends, and what was taken in it; oldest first.
    grains: VecDeque<(Instant, u32)>,
    total: u32,
}

impl Window {
    fn new(limit: u32, span: Duration) -> Self {
        Self { limit, span, grain: span / 60, grains: VecDeque::new(), total: 0 }
    }

    /// Lets go of what no longer counts.
    fn forget(&mut self, now: Instant) {
        while let Some((_, amount)) = self.grains.pop_front_if(|(end, _)| *end + self.span <= now) {
            self.total -= amount;
        }
    }

    /// When so much will fit; `None` where it fits now.
    fn wait(&mut self, now: Instant, amount: u32, lane: Lane) -> Option<Instant> {
        self.forget(now);
        let limit = match lane {
            Lane::Exit => self.limit,
            Lane::Normal => self.limit - self.limit / RESERVED_PART,
            Lane::Spare => self.limit / 2,
        };
        let mut over = self.total.saturating_add(amount).saturating_sub(limit);
        for (end, taken) in &self.grains {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(*taken);
            if over == 0 {
                return Some(*end + self.span);
            }
        }
        // More than the limit itself never fits.
        (over > 0).then(|| now + self.span)
    }

    fn take(&mut self, now: Instant, amount: u32) {
        let amount = amount.min(u32::MAX - self.total);
        self.total += amount;
        match self.grains.back_mut() {
            Some((end, taken)) if now < *end => *taken += amount,
            _ => self.grains.push_back((now + self.grain, amount)),
        }
    }

    /// Takes what others must have taken, where the venue has counted more.
    fn raise(&mut self, now: Instant, used: u32) {
        self.forget(now);
        if used > self.total {
            self.take(now, used - self.total);
        }
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
    /// What the account pays for trades of a pair.
    pub const COMMISSION: Self = Self::of(20);
    /// What a key may do, and the venue's time.
    pub const SMALL: Self = Self::of(1);
    /// A socket, opened and subscribed.
    pub const CONNECT: Self = Self::of(4);

    /// A call of this weight.
    pub const fn of(weight: u32) -> Self {
        Self { weight, order_of: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNT: AccountTag = AccountTag(1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Asks until it has to wait; how often it need not.
    fn drain(budget: &mut Budget, now: Instant, cost: Cost, lane: Lane) -> u32 {
        (0..10_000).find(|_| budget.ask(now, cost, lane).is_err()).unwrap()
    }

    #[test]
    fn what_is_left_by_the_others_is_there_for_an_exit() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        assert_eq!(drain(&mut budget, now, Cost::ORDERS, Lane::Normal), 4_800 / 20);
        assert_eq!(drain(&mut budget, now, Cost::CANCEL, Lane::Exit), 1_200);
        let mut budget = Budget::default();
        assert_eq!(drain(&mut budget, now, Cost::EXECUTIONS, Lane::Spare), 3_000 / 20);
        assert_eq!(drain(&mut budget, now, Cost::ORDERS, Lane::Normal), 1_800 / 20);
        let (mut budget, place) = (Budget::default(), Cost::place(ACCOUNT));
        assert_eq!(drain(&mut budget, now, place, Lane::Normal), 80);
        assert_eq!(
            drain(&mut budget, now, Cost::place(AccountTag(2)), Lane::Normal),
            80,
            "orders are per account"
        );
        assert_eq!(drain(&mut budget, now, place, Lane::Exit), 20);
    }

    #[test]
    fn waiting_as_long_as_told_works() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        drain(&mut budget, start, Cost::of(100), Lane::Exit);
        let Wait { until } = budget.ask(start + seconds(1), Cost::ORDERS, Lane::Exit).unwrap_err();
        assert!(until >= start + seconds(60) && until <= start + seconds(61), "{:?}", until - start);
        assert_eq!(budget.ask(until, Cost::ORDERS, Lane::Exit), Ok(()));
        assert!(budget.ask(start, Cost::of(7_000), Lane::Exit).is_err(), "it never fits");
    }

    #[test]
    fn the_venues_patience_holds_for_everybody_and_to_the_second() {
        for (status, after, expected) in [
            (429, Some(seconds(17)), 17),
            (418, Some(seconds(120)), 120),
            (429, None, 60),
            (418, None, 120),
            (418, Some(Duration::MAX), 72 * 3_600),
        ] {
            let (mut budget, now) = (Budget::default(), Instant::now());
            budget.refused(now, status, after);
            // A later and shorter one takes nothing off.
            budget.refused(now, 429, Some(seconds(1)));
            let counted = if status == 429 { [2, 0] } else { [1, 1] };
            assert_eq!(budget.refusals(), counted);
            let until = now + seconds(expected);
            for lane in [Lane::Normal, Lane::Exit] {
                assert_eq!(
                    budget.ask(until - Duration::from_millis(1), Cost::SMALL, lane),
                    Err(Wait { until })
                );
                assert_eq!(budget.ask(until, Cost::SMALL, lane), Ok(()));
            }
        }
        let (mut budget, now) = (Budget::default(), Instant::now());
        budget.refused(now, 400, Some(seconds(17)));
        assert_eq!(budget.ask(now, Cost::SMALL, Lane::Normal), Ok(()));
    }

    #[test]
    fn what_others_used_is_learned_from_the_headers() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        budget.ask(now, Cost::ACCOUNT, Lane::Normal).unwrap();
        let usage = Usage { weight_1m: Some(5_900), orders_10s: Some(99), orders_1d: Some(10) };
        budget.learn(now, Some(ACCOUNT), usage);
        assert_eq!(drain(&mut budget, now, Cost::place(ACCOUNT), Lane::Exit), 1);
        assert_eq!(drain(&mut budget, now, Cost::CANCEL, Lane::Exit), 99);
        budget.learn(now, None, Usage { weight_1m: Some(u32::MAX), ..Usage::default() });
        budget.learn(now, None, Usage { weight_1m: Some(1), ..Usage::default() });
        assert!(budget.ask(now + seconds(59), Cost::CANCEL, Lane::Exit).is_err());
        assert_eq!(budget.ask(now + seconds(61), Cost::CANCEL, Lane::Exit), Ok(()));
    }

    #[test]
    fn an_account_that_was_quiet_for_a_day_is_forgotten() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        for account in 0..50 {
            budget.ask(now, Cost::place(AccountTag(account)), Lane::Normal).unwrap();
        }
        budget.ask(now + Duration::from_hours(25), Cost::place(AccountTag(99)), Lane::Normal).unwrap();
        assert_eq!(budget.orders.len(), 1);
    }

    /// What was granted: when, how much, to whom.
    #[derive(Clone, Copy, Debug)]
    struct Granted {
        at: Instant,
        weight: u32,
        orders: u32,
        lane: Lane,
    }

    /// What was granted in the stretch that ends now.
    fn sum(granted: &[Granted], now: Instant, span: Duration, of: impl Fn(&Granted) -> u32) -> u32 {
        granted.iter().rev().take_while(|one| now - one.at < span).map(of).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn no_stretch_of_time_exceeds_a_limit_and_no_exit_is_starved(
            steps in proptest::collection::vec((0..3_u8, 0..1_500_u64, 1..40_u32, any::<bool>(), any::<bool>()), 1..600)
        ) {
            let limits = Limits { weight_1m: 600, requests_5m: 400, orders_10s: 20, orders_1d: 300 };
            let (mut budget, mut now) = (Budget::new(limits), Instant::now());
            let mut granted: Vec<Granted> = Vec::new();
            for (pace, millis, weight, is_order, is_exit) in steps {
                // Bursts, a steady pace, and pauses.
                now += Duration::from_millis(millis * [0, 1, 20][usize::from(pace)]);
                let cost = Cost { weight, order_of: is_order.then_some(ACCOUNT) };
                let lane = if is_exit { Lane::Exit } else { Lane::Normal };
                let one = Granted { at: now, weight, orders: u32::from(is_order), lane };
                let exits = |span: u64, of: fn(&Granted) -> u32| {
                    let longest = seconds(span) + seconds(span) / 60;
                    of(&one) + sum(&granted, now, longest, |one| if one.lane == Lane::Exit { of(one) } else { 0 })
                };
                let is_due = is_exit
                    && exits(60, |one| one.weight) <= 120
                    && exits(300, |_| 1) <= 80
                    && exits(10, |one| one.orders) <= 4
                    && exits(86_400, |one| one.orders) <= 60;
                match budget.ask(now, cost, lane) {
                    Ok(()) => granted.push(one),
                    Err(wait) => {
                        prop_assert!(!is_due, "an exit within its reserve had to wait");
                        prop_assert!(wait.until > now);
                    }
                }
                prop_assert!(sum(&granted, now, seconds(60), |one| one.weight) <= 600);
                prop_assert!(sum(&granted, now, seconds(300), |_| 1) <= 400);
                prop_assert!(sum(&granted, now, seconds(10), |one| one.orders) <= 20);
                prop_assert!(sum(&granted, now, seconds(86_400), |one| one.orders) <= 300);
            }
        }
    }
}
