//! What Stripe tells of subscriptions and payouts, and what that comes to here.
//!
//! Deliveries come late, twice and in any order. An event counts once by its id; of what is told of one subscription or
//! payout nothing older replaces anything newer; and an account's plan is that of the best of its customer's
//! subscriptions, so that the end of one does not hide another. Who an account is at Stripe says the operator alone:
//! nothing that a client can set, such as metadata, is read. A connected account's own subscriptions are its business
//! with its own customers: an event that names an `account` counts for payouts alone.
//!
//! Source: Stripe's API reference, "The Event object", "The Subscription object", "The Payout object", read 2026-11-24.

mod order;

use std::collections::BTreeMap;

use model::{
    AccountId, Payout, PayoutId, PayoutStatus, Period, Quote, Subscription, SubscriptionStatus, Tier,
    Timestamp,
};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use self::order::{Price, SubscriptionState, last_state};
use super::{moment, payout_change, settled, signature, subscription_change};
use crate::change::Change;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::secrets::Secret;
use crate::store::{News, Store, StoreError};

pub(crate) use self::order::Update;

/// What the operator agreed on with Stripe.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// What Stripe signs with: `whsec_…` of the endpoint.
    pub webhook_secret: Secret,
    /// The plan behind a price, by the price's id or lookup key, in lower case. Without an entry a lookup key that is, or
    /// begins with, the name of a plan (`pro`, `pro_yearly`) means that plan; a price that means none leaves an account's
    /// plan as it was.
    pub plans: BTreeMap<String, Tier>,
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It changed something.
    Applied,
    /// It was delivered before.
    Repeated,
    /// Something newer was told before it.
    Older,
    /// It is about nobody here, yet.
    Nobody,
    /// It is about nothing that matters here.
    Ignored,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Repeated => "repeated",
            Self::Older => "older",
            Self::Nobody => "nobody",
            Self::Ignored => "ignored",
        }
    }
}

/// An event that is done with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StripeEvent {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) created_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) outcome: &'static str,
}

/// What Stripe told last of a subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StripeSubscription {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) plan: Tier,
    pub(crate) status: SubscriptionStatus,
    pub(crate) period: Period,
    pub(crate) cancel_at_period_end: bool,
    /// Orders what is told of one subscription: see [`order_of`].
    pub(crate) told: i64,
    /// What was told of it with this order; empty where it was stored before this was kept.
    pub(crate) updates: Vec<Update>,
}

/// An event as Stripe sends it, as far as it is read.
#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    /// The connected account that it is about.
    account: Option<String>,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
    /// The former values of what an `updated` event changed.
    previous_attributes: Option<Value>,
}

#[derive(Deserialize)]
struct ToldSubscription {
    id: String,
    customer: Named,
}

/// An id, or the whole object with its id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Id(String),
    Object { id: String },
}

#[derive(Deserialize)]
struct ToldPayout {
    id: String,
    amount: i64,
    currency: String,
}

/// In which order events tell of one object: by their second, and within it by what can only come later. Of a
/// subscription nothing follows its end; its updates of one second are ordered by [`last_state`].
fn order_of(created: i64, kind: &str) -> i64 {
    let rank = match kind {
        "customer.subscription.created" => 0,
        "customer.subscription.deleted" | "payout.failed" => 2,
        _ => 1,
    };
    created.saturating_mul(10).saturating_add(rank)
}

/// What a state means here.
fn status_of(state: &SubscriptionState) -> SubscriptionStatus {
    match state.status.as_str() {
        "trialing" => SubscriptionStatus::Trialing,
        "active" if state.is_paused => SubscriptionStatus::Paused,
        "active" => SubscriptionStatus::Active,
        "past_due" => SubscriptionStatus::PastDue,
        "unpaid" => SubscriptionStatus::Unpaid,
        "paused" => SubscriptionStatus::Paused,
        "canceled" | "incomplete_expired" => SubscriptionStatus::Canceled,
        _ => SubscriptionStatus::Incomplete,
    }
}

/// What an event says of a subscription.
fn read_subscription(
    event: &Event,
    plans: &BTreeMap<String, Tier>,
) -> Result<(StripeSubscription, Option<Tier>), EngineError> {
    let Data { object, previous_attributes } = &event.data;
    let refused = |_| unread("data.object");
    let told: ToldSubscription = serde_json::from_value(object.clone()).map_err(refused)?;
    let mut update = Update::read(object, previous_attributes.as_ref()).map_err(refused)?;
    if event.kind == "customer.subscription.deleted" {
        "canceled".clone_into(&mut update.after.status);
    }
    let (Named::Id(customer) | Named::Object { id: customer }) = told.customer;
    let order = order_of(event.created, &event.kind);
    StripeSubscription::of(told.id, customer, order, vec![update], plans).ok_or_else(|| unread("data.object"))
}

impl StripeSubscription {
    /// A subscription as these updates of one second leave it, and its plan where a price of it is known; `None` without
    /// an update.
    fn of(
        id: String,
        customer: String,
        told: i64,
        updates: Vec<Update>,
        plans: &BTreeMap<String, Tier>,
    ) -> Option<(Self, Option<Tier>)> {
        let state = last_state(&updates)?;
        let plan = state.prices.iter().filter_map(|price| plan(plans, price)).max();
        let period = Period { start: state.period_start.map(moment), end: state.period_end.map(moment) };
        let (status, cancel_at_period_end) = (status_of(state), state.cancel_at_period_end);
        let plan_or_lowest = plan.unwrap_or_default();
        let subscription =
            Self { id, customer, plan: plan_or_lowest, status, period, cancel_at_period_end, told, updates };
        Some((subscription, plan))
    }

    /// The updates that decide what stands once both `known` and this were told; `None` where `known` stays as it is.
    fn updates_after(&self, known: &Self) -> Option<Vec<Update>> {
        let is_incomplete = last_state(&self.updates).is_some_and(SubscriptionState::is_incomplete);
        let falls_back = is_incomplete && known.status != SubscriptionStatus::Incomplete;
        let is_over = known.status == SubscriptionStatus::Canceled;
        let is_older = if known.updates.is_empty() {
            (self.told, self.period.end) < (known.told, known.period.end)
        } else {
            self.told < known.told
        };
        if is_over || falls_back || is_older {
            return None;
        }
        let of_this_second = if self.told == known.told { known.updates.as_slice() } else { &[] };
        Some([of_this_second, &self.updates].concat())
    }

    /// What is known of a subscription once this was told as well, its plan where a price is known, and whether this is
    /// what stands; `None` where nothing changes.
    fn after(&self, known: &Self, plans: &BTreeMap<String, Tier>) -> Option<(Self, Option<Tier>, bool)> {
        let updates = self.updates_after(known)?;
        let (id, customer) = (self.id.clone(), self.customer.clone());
        let (now, plan) = Self::of(id, customer, self.told, updates, plans)?;
        let stands = last_state(&now.updates) == last_state(&self.updates);
        Some((now, plan, stands))
    }
}

/// The plan that a price buys.
fn plan(plans: &BTreeMap<String, Tier>, price: &Price) -> Option<Tier> {
    let key = price.lookup_key.as_deref().unwrap_or_default().to_lowercase();
    let named = || {
        let is_of = |tier: &Tier| {
            key.strip_prefix(tier.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-']))
        };
        Tier::ALL.into_iter().find(is_of)
    };
    let known = plans.get(&price.id.to_lowercase()).or_else(|| plans.get(&key));
    known.copied().or_else(named)
}

/// What a customer has, by all that is told of it: the best subscription in force, or else how the last one stands on
/// the lowest plan. Nothing where there is none.
pub(crate) fn in_force(subscriptions: &[StripeSubscription], before: Subscription) -> Subscription {
    let best =
        subscriptions.iter().max_by_key(|it| (it.status.is_in_force(), it.status.plan(it.plan), it.told));
    best.map_or(before, |best| Subscription {
        plan: best.status.plan(best.plan),
        status: best.status,
        limits: before.limits,
        period: best.period,
        cancel_at_period_end: best.cancel_at_period_end,
    })
}

/// An amount in a currency's smallest unit as an amount of it.
///
/// Source: Stripe's documentation, "Supported currencies", read 2026-11-24.
fn amount(minor: i64, currency: &str) -> Result<Quote, EngineError> {
    const NONE: [&str; 16] = [
        "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf",
        "xof", "xpf",
    ];
    const THREE: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];
    let scale = if NONE.contains(&currency) {
        0
    } else if THREE.contains(&currency) {
        3
    } else {
        2
    };
    Quote::new(Decimal::new(minor, scale)).map_err(|_| unread("data.object.amount"))
}

fn unread(param: &str) -> EngineError {
    EngineError::field(param, "is not what Stripe sends")
}

impl EngineHandle {
    /// Takes a delivery of Stripe's; it is durable when this returns. `None` where no secret is configured.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for what Stripe did not sign, or that is no event.
    pub async fn stripe_event(&self, header: &str, body: &[u8]) -> Result<Option<Outcome>, EngineError> {
        let Some(config) = &self.inner.stripe else { return Ok(None) };
        let now = clock::now();
        signature::verify(&config.webhook_secret, header, body, now.millis().div_euclid(1_000))
            .map_err(|error| EngineError::field("Stripe-Signature", error.to_string()))?;
        let event: Event = serde_json::from_slice(body).map_err(|_| unread("body"))?;
        // One after the other: what one of them reads no other changes.
        let _alone = self.inner.billing.lock().await;
        for _ in 0..super::TRIES {
            match self.apply(config, &event, now).await {
                Err(EngineError::Store(StoreError::Raced)) => {}
                applied => return applied.map(Some),
            }
        }
        Err(StoreError::Raced.into())
    }

    async fn apply(
        &self,
        config: &StripeConfig,
        event: &Event,
        now: Timestamp,
    ) -> Result<Outcome, EngineError> {
        let id = event.id.clone();
        if self.on_store(move |store| async move { store.has_stripe_event(&id).await }).await? {
            return Ok(Outcome::Repeated);
        }
        let (outcome, mut change) = match event.kind.as_str() {
            kind if kind.starts_with("customer.subscription.") && event.account.is_none() => {
                self.subscription_told(event, &config.plans).await?
            }
            "payout.paid" | "payout.failed" | "payout.canceled" => {
                let object = event.data.object.clone();
                let told = serde_json::from_value(object).map_err(|_| unread("data.object"))?;
                self.payout_told(told, event).await?
            }
            _ => (Outcome::Ignored, Change::default()),
        };
        change.billing.get_or_insert_default().event = Some(StripeEvent {
            id: event.id.clone(),
            kind: event.kind.clone(),
            created_at: moment(event.created),
            received_at: now,
            outcome: outcome.as_str(),
        });
        let told = change.events.iter().map(|event| event.account_id).collect();
        self.on_store(move |store| async move { store.commit([change]).await }).await?;
        self.inner.hub.committed(&told);
        self.inner.followers.committed(&News { told, ..News::default() });
        Ok(outcome)
    }

    /// What a subscription that Stripe tells of comes to. Where nobody said which `plan` its prices mean, whoever pays keeps
    /// the one that they had: it is the operator's mistake, who finds it in the log.
    async fn subscription_told(
        &self,
        event: &Event,
        plans: &BTreeMap<String, Tier>,
    ) -> Result<(Outcome, Change), EngineError> {
        let (told, plan) = read_subscription(event, plans)?;
        let customer = told.customer.clone();
        let ask = move |store: Store| async move {
            Ok((store.stripe_subscriptions(&customer).await?, store.billing_of_customer(&customer).await?))
        };
        let (mut known, billing) = self.on_store(ask).await?;
        let place = known.iter().position(|known| known.id == told.id);
        let before = place.map(|place| known.swap_remove(place));
        let (mut told, plan, stands) = match &before {
            None => (told, plan, true),
            Some(before) => match told.after(before, plans) {
                Some(after) => after,
                None => return Ok((Outcome::Older, Change::default())),
            },
        };
        if plan.is_none() {
            let in_force = billing.as_ref().map(|billing| billing.account.plan);
            told.plan = before.map(|before| before.plan).or(in_force).unwrap_or_default();
            tracing::error!(
                subscription = told.id,
                customer = told.customer,
                kept = %told.plan,
                "no price of a subscription is known, so its plan stays: add the price to stripe.plans"
            );
        }
        known.push(told.clone());
        let (outcome, mut change) = match billing {
            // It is kept for when somebody is linked with this customer.
            None => (Outcome::Nobody, Change::default()),
            Some(billing) => {
                let before = billing.subscription(self.plans());
                let after = settled(in_force(&known, before), self.plans());
                let outcome = if stands { Outcome::Applied } else { Outcome::Older };
                (outcome, subscription_change(&billing, before, after).unwrap_or_default())
            }
        };
        change.billing.get_or_insert_default().told = Some(told);
        Ok((outcome, change))
    }

    /// What a payout that Stripe tells of comes to.
    async fn payout_told(&self, told: ToldPayout, event: &Event) -> Result<(Outcome, Change), EngineError> {
        let Some(connected) = event.account.clone() else { return Ok((Outcome::Ignored, Change::default())) };
        let name = told.id.clone();
        let ask = move |store: Store| async move {
            Ok((store.account_of_connected(&connected).await?, store.payout_by_stripe(&name).await?))
        };
        let (account, known): (Option<AccountId>, Option<(PayoutId, i64)>) = self.on_store(ask).await?;
        let Some(account_id) = account else { return Ok((Outcome::Nobody, Change::default())) };
        let order = order_of(event.created, &event.kind);
        if known.is_some_and(|(_, known)| order <= known) {
            return Ok((Outcome::Older, Change::default()));
        }
        let status = match event.kind.as_str() {
            "payout.paid" => PayoutStatus::Paid,
            "payout.failed" => PayoutStatus::Failed,
            _ => PayoutStatus::Canceled,
        };
        let payout = Payout {
            id: known.map_or_else(PayoutId::new, |(id, _)| id),
            account_id,
            kind: "connect".to_owned(),
            status,
            gross: amount(told.amount, &told.currency)?,
            fees: Quote::default(),
            currency: told.currency.to_uppercase(),
            period: Period::default(),
            processed_at: moment(event.created),
        };
        Ok((Outcome::Applied, payout_change(payout, Some((told.id, order)))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(kind: &str, created: i64, status: &str, key: &str) -> StripeSubscription {
        let object = json!({"id": "sub_1", "customer": "cus_1", "status": status,
            "items": {"data": [{"price": {"id": "price_1", "lookup_key": key}, "current_period_end": created}]}});
        let event = Event {
            id: String::new(),
            kind: kind.to_owned(),
            created,
            account: None,
            data: Data { object, previous_attributes: None },
        };
        read_subscription(&event, &BTreeMap::new()).unwrap().0
    }

    #[test]
    fn a_price_means_a_plan_by_configuration_or_by_its_lookup_key() {
        let plans =
            BTreeMap::from([("price_a".to_owned(), Tier::Pro), ("gold".to_owned(), Tier::Enterprise)]);
        let of = |id: &str, key: Option<&str>| {
            plan(&plans, &Price { id: id.to_owned(), lookup_key: key.map(str::to_owned) })
        };
        assert_eq!(of("price_A", None), Some(Tier::Pro));
        assert_eq!(of("price_b", Some("Gold")), Some(Tier::Enterprise));
        assert_eq!(of("price_b", Some("pro_yearly")), Some(Tier::Pro));
        assert_eq!(of("price_b", Some("enterprise")), Some(Tier::Enterprise));
        assert_eq!(of("price_b", Some("professional")), None);
        assert_eq!(of("price_b", None), None);
    }

    #[test]
    fn an_amount_is_in_the_currencys_own_units() {
        let shown = |minor, currency| amount(minor, currency).unwrap().to_string();
        assert_eq!(shown(12_345, "usd"), "123.45");
        assert_eq!(shown(12_345, "jpy"), "12345");
        assert_eq!(shown(12_345, "kwd"), "12.345");
    }

    #[test]
    fn one_that_ends_does_not_hide_another() {
        let free = Subscription {
            plan: Tier::Standard,
            status: SubscriptionStatus::Active,
            limits: model::Plans::default().standard,
            period: Period::default(),
            cancel_at_period_end: false,
        };
        let ended = told("customer.subscription.deleted", 9, "canceled", "enterprise");
        let other = StripeSubscription {
            id: "sub_2".to_owned(),
            ..told("customer.subscription.created", 5, "active", "pro")
        };
        let now = in_force(&[ended.clone(), other], free);
        assert_eq!((now.plan, now.status), (Tier::Pro, SubscriptionStatus::Active));
        let now = in_force(&[ended], free);
        assert_eq!((now.plan, now.status), (Tier::Standard, SubscriptionStatus::Canceled));
        assert_eq!(in_force(&[], free), free);
    }

    proptest! {
        #[test]
        fn whatever_comes_late_or_twice_the_newest_stands(
            mut steps in Just((0..6_i64).collect::<Vec<_>>()).prop_shuffle(),
            again in prop::collection::vec(0..6_i64, 0..6),
        ) {
            let statuses = ["incomplete", "active", "past_due", "active", "unpaid", "canceled"];
            let kind = |step| match step {
                0 => "customer.subscription.created",
                5 => "customer.subscription.deleted",
                _ => "customer.subscription.updated",
            };
            // Several of them in one second, told apart by what can only come later.
            let second = |step: i64| [0, 0, 1, 2, 3, 3][usize::try_from(step).unwrap()];
            let told = |step: i64| told(kind(step), second(step), statuses[usize::try_from(step).unwrap()], "pro");
            steps.extend(again);
            let mut known: Option<StripeSubscription> = None;
            for step in &steps {
                let told = told(*step);
                known = Some(match known {
                    None => told,
                    Some(known) => told.after(&known, &BTreeMap::new()).map_or(known, |(after, ..)| after),
                });
            }
            prop_assert_eq!(known, Some(told(5)));
        }
    }
}
