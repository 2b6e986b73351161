//! What accounts pay for and are paid: who may have how much, and how a change of it is told.
//!
//! A plan that becomes smaller takes nothing away from what lives: bots that run go on as they are, with their stops,
//! take profits and safety orders. Beyond the plan no bot is made, and none is started that holds nothing.

mod signature;
mod stripe;

pub use signature::SignatureError;
pub use stripe::{Outcome, StripeConfig};

use std::net::IpAddr;

use model::{
    AccountId, DomainEvent, EventData, EventId, Payout, PayoutProcessed, Plans, Subscription,
    SubscriptionChanged, Tier, Timestamp,
};

use crate::change::Change;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
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
        let after = wanted(before);
        let after = Subscription { limits: plans.of(after.plan), ..after };
        let Some(change) = subscription_change(&billing, before, after) else { return Ok((after, false)) };
        let is_told = !change.events.is_empty();
        match store.commit([change]).await {
            Err(StoreError::Raced) => {}
            committed => return Ok(committed.map(|()| (after, is_told))?),
        }
    }
    Err(StoreError::Raced.into())
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

    /// Refuses one more bot where the plan is used up. Of requests that come at once a few may slip through. The store is
    /// not asked about a `plan` that holds any number; what it says counts, since the caller may know of a former one.
    pub(crate) async fn has_room_for_a_bot(&self, account: AccountId, plan: Tier) -> Result<(), EngineError> {
        let plans = self.inner.plans;
        if plans.of(plan).bots.is_none() {
            return Ok(());
        }
        let ask = move |store: Store| async move {
            let plan = store.plan(account).await?;
            match plan.and_then(|plan| plans.of(plan).bots.map(|most| (plan, most))) {
                Some((plan, most)) => Ok(Some((plan, most, store.bots_there(account).await?))),
                None => Ok(None),
            }
        };
        match self.on_store(ask).await? {
            Some((plan, most, there)) if there >= u64::from(most) => {
                Err(used_up(format!("the plan {plan} holds {most} bots: delete one, or take a larger plan")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to start one more bot where the plan has fewer than live already.
    pub(crate) async fn has_room_for_a_life(&self, account: AccountId) -> Result<(), EngineError> {
        let plans = self.inner.plans;
        let ask = move |store: Store| async move {
            let plan = store.plan(account).await?;
            match plan.and_then(|plan| plans.of(plan).bots.map(|most| (plan, most))) {
                Some((plan, most)) => Ok(Some((plan, most, store.bots_alive(account).await?))),
                None => Ok(None),
            }
        };
        match self.on_store(ask).await? {
            Some((plan, most, alive)) if alive >= u64::from(most) => Err(used_up(format!(
                "the plan {plan} holds {most} bots, and as many run: stop one, or take a larger plan"
            ))),
            _ => Ok(()),
        }
    }
}

fn used_up(message: String) -> EngineError {
    EngineError::Conflict { code: "plan_limit_reached", message }
}

/// Rings for what other processes committed, such as `admin`, until the store is closed.
pub(crate) async fn listen(store: Store, mut seen: i64, ring: impl Fn(std::collections::HashSet<AccountId>)) {
    const EVERY: std::time::Duration = std::time::Duration::from_millis(500);
    loop {
        tokio::time::sleep(EVERY).await;
        match store.billing_events_after(seen).await {
            Ok(events) => {
                if let Some((last, _)) = events.last() {
                    seen = *last;
                    ring(events.into_iter().map(|(_, account)| account).collect());
                }
            }
            Err(StoreError::Database(sqlx::Error::PoolClosed)) => return,
            Err(error) => tracing::warn!(%error, "what others committed could not be looked for"),
        }
    }
}

/// The moment of a count of seconds since 1970.
pub(crate) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1_000))
}
