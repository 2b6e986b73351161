//! What accounts pay for and are paid: who may have how much, and how a change of it is told.
//!
//! A plan that becomes smaller takes nothing away from what lives: bots that run go on as they are, with their stops,
//! take profits and safety orders. Beyond the plan no bot is made, and none is started that holds nothing.

mod signature;
mod stripe;

pub use signature::SignatureError;
pub use stripe::{Outcome, StripeConfig};

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use model::{
    AccountId, DomainEvent, EventData, EventId, Payout, PayoutProcessed, Plans, Subscription,
    SubscriptionChanged, SubscriptionStatus, Tier, Timestamp,
};

use crate::change::Change;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::reservations::Reservation;
use crate::store::{Account, Billing, Store, StoreError};

pub(crate) use stripe::{StripeEvent, StripeSubscription};

/// Rows about money that go with a change.
#[derive(Clone, Debug, Default)]
pub struct BillingChange {
    /// What an account may use from now on, and the revision that this was decided at.
    pub(crate) subscription: Option<(AccountId, Subscription, i64)>,
    /// A payout as it ended; with Stripe's name of it and the order of what Stripe tells.
    pub(crate) payout: Option<(Payout, Option<(String, i64)>)>,
    /// What Stripe told of a subscription.
    pub(crate) told: Option<StripeSubscription>,
    /// An event of Stripe's that is done with.
    pub(crate) event: Option<StripeEvent>,
}

/// An account as its owner sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountView {
    /// Itself.
    pub account: Account,
    /// What it may use.
    pub subscription: Subscription,
    /// How many bots it has.
    pub bots: u64,
    /// How many webhook endpoints.
    pub webhooks: u64,
}

/// How often two who change the same account at once try again.
const TRIES: u32 = 5;

/// Gives an account what `wanted` makes of its subscription, and tells of it where its owner wants to know; what is in
/// force then, and whether that was told.
///
/// # Errors
/// [`EngineError::NotFound`] without such an account.
pub async fn change_subscription(
    store: &Store,
    plans: &Plans,
    account: AccountId,
    wanted: impl Fn(Subscription) -> Subscription,
) -> Result<(Subscription, bool), EngineError> {
    for _ in 0..TRIES {
        let billing = store.billing(account).await?.ok_or(EngineError::NotFound("account"))?;
        let before = billing.subscription(plans);
        let after = settled(wanted(before), plans);
        let Some(change) = subscription_change(&billing, before, after) else { return Ok((after, false)) };
        let is_told = !change.events.is_empty();
        match store.commit([change]).await {
            Err(StoreError::Raced) => {}
            committed => return Ok(committed.map(|()| (after, is_told))?),
        }
    }
    Err(StoreError::Raced.into())
}

/// A subscription with the plan that is in force by its status, and what that allows.
fn settled(wanted: Subscription, plans: &Plans) -> Subscription {
    let plan = wanted.status.plan(wanted.plan);
    Subscription { plan, limits: plans.of(plan), ..wanted }
}

/// What has to be written so that an account has `after`; nothing where it has it.
fn subscription_change(billing: &Billing, before: Subscription, after: Subscription) -> Option<Change> {
    if before == after {
        return None;
    }
    let account_id = billing.account.id;
    let told = EventData::SubscriptionChanged(SubscriptionChanged::new(before, after));
    let events = if before.differs(&after) { vec![event(account_id, told)] } else { Vec::new() };
    let subscription = Some((account_id, after, billing.revision));
    let billing = Some(Box::new(BillingChange { subscription, ..BillingChange::default() }));
    Some(Change { events, billing, ..Change::default() })
}

/// Says who an account is at Stripe, and gives it what Stripe has told of that customer already; what is in force then,
/// and whether that was told.
///
/// # Errors
/// [`EngineError::NotFound`] without such an account, [`EngineError::Conflict`] where another one is that already.
pub async fn link_stripe(
    store: &Store,
    plans: &Plans,
    account: AccountId,
    customer: Option<&str>,
    connected: Option<&str>,
) -> Result<(Subscription, bool), EngineError> {
    match store.link_stripe(account, customer, connected).await {
        Ok(true) => {}
        Ok(false) => return Err(EngineError::NotFound("account")),
        Err(StoreError::Raced) => {
            let message = "another account is linked with this id of Stripe's".to_owned();
            return Err(EngineError::Conflict { code: "stripe_id_in_use", message });
        }
        Err(error) => return Err(error.into()),
    }
    let told = match customer {
        Some(customer) => store.stripe_subscriptions(customer).await?,
        None => Vec::new(),
    };
    change_subscription(store, plans, account, |before| stripe::in_force(&told, before)).await
}

/// Notes a payout that has ended, and tells of it.
///
/// # Errors
/// [`EngineError::NotFound`] without such an account.
pub async fn note_payout(store: &Store, payout: Payout) -> Result<(), EngineError> {
    store.billing(payout.account_id).await?.ok_or(EngineError::NotFound("account"))?;
    Ok(store.commit([payout_change(payout, None)]).await?)
}

fn payout_change(payout: Payout, stripe: Option<(String, i64)>) -> Change {
    let told = EventData::PayoutProcessed(PayoutProcessed::from(&payout));
    let events = vec![event(payout.account_id, told)];
    let billing = BillingChange { payout: Some((payout, stripe)), ..BillingChange::default() };
    Change { events, billing: Some(Box::new(billing)), ..Change::default() }
}

fn event(account_id: AccountId, data: EventData) -> DomainEvent {
    DomainEvent { id: EventId::new(), account_id, bot_id: None, at: clock::now(), data }
}

impl EngineHandle {
    /// What every plan allows.
    pub fn plans(&self) -> &Plans {
        &self.inner.plans
    }

    /// The public addresses that orders leave from, as the operator tells them: what an exchange key is to be bound to.
    pub fn egress_addresses(&self) -> &[IpAddr] {
        &self.inner.egress_addresses
    }

    /// An account with what it may use and uses.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn account(&self, account: AccountId) -> Result<AccountView, EngineError> {
        let ask = move |store: Store| async move {
            let billing = store.billing(account).await?;
            Ok((billing, store.bots_there(account).await?, store.webhooks_there(account).await?))
        };
        let (billing, bots, webhooks) = self.on_store(ask).await?;
        let billing = billing.ok_or(EngineError::NotFound("account"))?;
        let subscription = billing.subscription(self.plans());
        Ok(AccountView { account: billing.account, subscription, bots, webhooks })
    }

    /// Reserves room for one more bot, to be held until it is stored; refuses it where the plan is used up. The store is
    /// not asked about a `plan` that holds any number; what it says counts, since the caller may know of a former one.
    pub(crate) async fn room_for_a_bot(
        &self,
        account: AccountId,
        plan: Tier,
    ) -> Result<Option<Reservation>, EngineError> {
        if self.inner.plans.of(plan).bots.is_none() {
            return Ok(None);
        }
        let Some((plan, most)) = self.bots_allowed(account).await? else { return Ok(None) };
        let count = || self.on_store(move |store| async move { store.bots_there(account).await });
        let room = self.inner.turns.new_bots.reserve(account, u64::from(most), count).await?;
        let refused = || format!("the plan {plan} holds {most} bots: delete one, or take a larger plan");
        Ok(Some(room.ok_or_else(|| used_up(refused()))?))
    }

    /// Reserves room for one more bot that lives, to be held until its start is stored; refuses it where as many live
    /// as the plan holds.
    pub(crate) async fn room_for_a_life(
        &self,
        account: AccountId,
    ) -> Result<Option<Reservation>, EngineError> {
        let Some((plan, most)) = self.bots_allowed(account).await? else { return Ok(None) };
        let count = || self.on_store(move |store| async move { store.bots_alive(account).await });
        let room = self.inner.turns.starts.reserve(account, u64::from(most), count).await?;
        let refused =
            || format!("the plan {plan} holds {most} bots, and as many run: stop one, or take a larger plan");
        Ok(Some(room.ok_or_else(|| used_up(refused()))?))
    }

    /// An account's plan and how many bots it holds; `None` where that is any number.
    async fn bots_allowed(&self, account: AccountId) -> Result<Option<(Tier, u32)>, EngineError> {
        let plan = self.on_store(move |store| async move { store.plan(account).await }).await?;
        Ok(plan.and_then(|plan| Some((plan, self.inner.plans.of(plan).bots?))))
    }
}

fn used_up(message: String) -> EngineError {
    EngineError::Conflict { code: "plan_limit_reached", message }
}

/// How often what other processes committed is looked for.
const EVERY: Duration = Duration::from_millis(500);

/// Rings for what other processes committed, such as `admin`, and ends subscriptions with their periods, until the store is
/// closed.
pub(crate) async fn listen(store: Store, plans: Plans, mut seen: i64, ring: impl Fn(HashSet<AccountId>)) {
    loop {
        let looked = async {
            let pause = end_with_periods(&store, &plans, clock::now()).await?;
            Ok((pause, store.billing_events_after(seen).await?))
        };
        let pause = match looked.await {
            Ok((pause, events)) => {
                if let Some((last, _)) = events.last() {
                    seen = *last;
                    ring(events.into_iter().map(|(_, account)| account).collect());
                }
                pause
            }
            Err(StoreError::Database(sqlx::Error::PoolClosed)) => return,
            Err(error) => {
                tracing::warn!(%error, "what others committed could not be looked for");
                EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Ends the subscriptions that were to end with a period which is over, and tells their owners. One that Stripe keeps is
/// left to Stripe, which tells of its end itself. What is returned is how long to wait: until the next one ends, where
/// that is sooner than the next look.
async fn end_with_periods(store: &Store, plans: &Plans, now: Timestamp) -> Result<Duration, StoreError> {
    for (account, end) in store.ending(now.plus_seconds(1)).await? {
        if end > now {
            return Ok(EVERY.min(Duration::from_nanos(end.since(now).unsigned_abs())));
        }
        // Looked at again with what is written: the operator may have changed their mind.
        let ended = |it: Subscription| match it.period.end {
            Some(end) if it.cancel_at_period_end && end <= now => {
                Subscription { status: SubscriptionStatus::Canceled, ..it }
            }
            _ => it,
        };
        if let Err(error) = change_subscription(store, plans, account, ended).await {
            tracing::error!(%account, %error, "a subscription could not be ended with its period");
        }
    }
    Ok(EVERY)
}

/// The moment of a count of seconds since 1970.
pub(crate) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use model::Period;

    use super::*;
    use crate::store::stores;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    async fn subscribed(store: &Store, ends: i64, cancel_at_period_end: bool) -> AccountId {
        let account = store.create_account("one", NOW).await.unwrap().id;
        let period = Period { start: Some(NOW), end: Some(Timestamp::from_millis(NOW.millis() + ends)) };
        let wanted = |before| Subscription { plan: Tier::Pro, period, cancel_at_period_end, ..before };
        change_subscription(store, &Plans::default(), account, wanted).await.unwrap();
        account
    }

    #[tokio::test]
    async fn a_plan_is_in_force_while_its_subscription_is() {
        for (store, _folder) in stores().await {
            let account = subscribed(&store, 1_000, false).await;
            for status in SubscriptionStatus::ALL {
                let wanted = |before| Subscription { plan: Tier::Pro, status, ..before };
                let (now, _) = change_subscription(&store, &Plans::default(), account, wanted).await.unwrap();
                let plan = if status.is_in_force() { Tier::Pro } else { Tier::Standard };
                assert_eq!((now.plan, now.limits), (plan, Plans::default().of(plan)), "{status:?}");
                assert_eq!(store.plan(account).await.unwrap(), Some(plan));
            }
        }
    }

    #[tokio::test]
    async fn a_subscription_ends_with_its_period_once() {
        let plans = Plans::default();
        for (store, _folder) in stores().await {
            let over = subscribed(&store, 4_000, true).await;
            let soon = subscribed(&store, 4_100, true).await;
            let going_on = subscribed(&store, 4_000, false).await;
            let seen = store.last_event().await.unwrap();
            let at = |ms: i64| Timestamp::from_millis(NOW.millis() + ms);
            assert_eq!(end_with_periods(&store, &plans, at(3_000)).await.unwrap(), EVERY);
            assert_eq!(end_with_periods(&store, &plans, at(3_990)).await.unwrap(), Duration::from_millis(10));
            assert_eq!(store.last_event().await.unwrap(), seen, "before the end nothing is told");
            for _ in 0..2 {
                let pause = end_with_periods(&store, &plans, at(4_000)).await.unwrap();
                assert_eq!(pause, Duration::from_millis(100), "the next one ends then");
                let told = store.billing_events_after(seen).await.unwrap();
                assert_eq!(told.iter().map(|(_, account)| *account).collect::<Vec<_>>(), [over]);
            }
            let standing = async |account| {
                let now = store.billing(account).await.unwrap().unwrap().subscription(&plans);
                (now.plan, now.status, now.limits)
            };
            let ended = (Tier::Standard, SubscriptionStatus::Canceled, plans.standard);
            let in_force = (Tier::Pro, SubscriptionStatus::Active, plans.pro);
            assert_eq!(standing(over).await, ended);
            assert_eq!(standing(soon).await, in_force);
            assert_eq!(standing(going_on).await, in_force);
        }
    }

    #[tokio::test]
    async fn a_subscription_that_stripe_keeps_is_left_to_it() {
        for (store, _folder) in stores().await {
            let account = subscribed(&store, 1_000, true).await;
            store.link_stripe(account, Some("cus_1"), None).await.unwrap();
            let told = |status| StripeSubscription {
                id: "sub_1".to_owned(),
                customer: "cus_1".to_owned(),
                plan: Tier::Pro,
                status,
                period: Period::default(),
                cancel_at_period_end: true,
                told: 0,
                updates: Vec::new(),
            };
            let later = Timestamp::from_millis(NOW.millis() + 2_000);
            for (status, is_left) in
                [(SubscriptionStatus::Active, true), (SubscriptionStatus::Canceled, false)]
            {
                let billing = BillingChange { told: Some(told(status)), ..BillingChange::default() };
                let change = Change { billing: Some(Box::new(billing)), ..Change::default() };
                store.commit([change]).await.unwrap();
                end_with_periods(&store, &Plans::default(), later).await.unwrap();
                let plan = store.plan(account).await.unwrap();
                assert_eq!(plan == Some(Tier::Pro), is_left, "{status:?}");
            }
        }
    }
}
