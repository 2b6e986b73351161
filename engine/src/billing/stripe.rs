//! What Stripe tells of subscriptions and payouts, and what that comes to here.
//!
//! Deliveries come late, twice and in any order. An event counts once by its id; of what is told of one subscription or
//! payout nothing older replaces anything newer; and an account's plan is that of the best of its customer's
//! subscriptions, so that the end of one does not hide another. Who an account is at Stripe says the operator alone:
//! nothing that a client can set, such as metadata, is read.
//!
//! Source: Stripe's API reference, "The Event object", "The Subscription object", "The Payout object", read 2026-11-24.

use std::collections::BTreeMap;

use model::{
    AccountId, Payout, PayoutId, PayoutStatus, Period, Quote, Subscription, SubscriptionStatus, Tier,
    Timestamp,
};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::{moment, payout_change, settled, signature, subscription_change};
use crate::change::Change;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::secrets::Secret;
use crate::store::{News, Store, StoreError};

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
    /// Orders what is told of one subscription: see [`order`].
    pub(crate) told: i64,
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
}

#[derive(Deserialize)]
struct ToldSubscription {
    id: String,
    customer: Named,
    status: String,
    #[serde(default)]
    cancel_at_period_end: bool,
    pause_collection: Option<Value>,
    // Where it stands depends on the version of the API: on the subscription, or on each item since 2025-03-31.
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
    items: Items,
}

/// An id, or the whole object with its id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Id(String),
    Object { id: String },
}

#[derive(Deserialize)]
struct Items {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    price: Price,
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
}

#[derive(Deserialize)]
struct Price {
    id: String,
    lookup_key: Option<String>,
}

#[derive(Deserialize)]
struct ToldPayout {
    id: String,
    amount: i64,
    currency: String,
}

/// In which order events tell of one object: by their second, and within it by what can only come later. Of a
/// subscription nothing follows its end.
fn order(created: i64, kind: &str) -> i64 {
    let rank = match kind {
        "customer.subscription.created" => 0,
        "customer.subscription.deleted" | "payout.failed" => 2,
        _ => 1,
    };
    created.saturating_mul(10).saturating_add(rank)
}

impl ToldSubscription {
    /// What it says; `None` beside it where no price of it is known.
    fn read(self, plans: &BTreeMap<String, Tier>, event: &Event) -> (StripeSubscription, Option<Tier>) {
        let plan = self.items.data.iter().filter_map(|item| plan(plans, &item.price)).max();
        let status = match self.status.as_str() {
            _ if event.kind == "customer.subscription.deleted" => SubscriptionStatus::Canceled,
            "trialing" => SubscriptionStatus::Trialing,
            "active" if self.pause_collection.is_some() => SubscriptionStatus::Paused,
            "active" => SubscriptionStatus::Active,
            "past_due" => SubscriptionStatus::PastDue,
            "unpaid" => SubscriptionStatus::Unpaid,
            "paused" => SubscriptionStatus::Paused,
            "canceled" | "incomplete_expired" => SubscriptionStatus::Canceled,
            _ => SubscriptionStatus::Incomplete,
        };
        let of_items = |end: fn(&Item) -> Option<i64>| self.items.data.iter().filter_map(end).max();
        let start = self.current_period_start.or_else(|| of_items(|item| item.current_period_start));
        let end = self.current_period_end.or_else(|| of_items(|item| item.current_period_end));
        let told = StripeSubscription {
            customer: match self.customer {
                Named::Id(id) | Named::Object { id } => id,
            },
            id: self.id,
            plan: plan.unwrap_or_default(),
            status,
            period: Period { start: start.map(moment), end: end.map(moment) },
            cancel_at_period_end: self.cancel_at_period_end,
            told: order(event.created, &event.kind),
        };
        (told, plan)
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

impl StripeSubscription {
    /// Whether this is what is to be known after `known`.
    fn is_news_after(&self, known: &Self) -> bool {
        let is_over = known.status == SubscriptionStatus::Canceled;
        let told = |it: &Self| (it.told, it.period.end);
        !is_over && told(self) >= told(known)
    }
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
        let object = || event.data.object.clone();
        let (outcome, mut change) = match event.kind.as_str() {
            kind if kind.starts_with("customer.subscription.") => {
                let told: ToldSubscription =
                    serde_json::from_value(object()).map_err(|_| unread("data.object"))?;
                let (told, plan) = told.read(&config.plans, event);
                self.subscription_told(told, plan).await?
            }
            "payout.paid" | "payout.failed" | "payout.canceled" => {
                let told = serde_json::from_value(object()).map_err(|_| unread("data.object"))?;
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
        mut told: StripeSubscription,
        plan: Option<Tier>,
    ) -> Result<(Outcome, Change), EngineError> {
        let customer = told.customer.clone();
        let ask = move |store: Store| async move {
            Ok((store.stripe_subscriptions(&customer).await?, store.billing_of_customer(&customer).await?))
        };
        let (mut known, billing) = self.on_store(ask).await?;
        if plan.is_none() {
            let before = known.iter().find(|known| known.id == told.id).map(|known| known.plan);
            let in_force = billing.as_ref().map(|billing| billing.account.plan);
            told.plan = before.or(in_force).unwrap_or_default();
            tracing::error!(
                subscription = told.id,
                customer = told.customer,
                kept = %told.plan,
                "no price of a subscription is known, so its plan stays: add the price to stripe.plans"
            );
        }
        match known.iter_mut().find(|known| known.id == told.id) {
            Some(known) if !told.is_news_after(known) => return Ok((Outcome::Older, Change::default())),
            Some(known) => *known = told.clone(),
            None => known.push(told.clone()),
        }
        let (outcome, mut change) = match billing {
            // It is kept for when somebody is linked with this customer.
            None => (Outcome::Nobody, Change::default()),
            Some(billing) => {
                let before = billing.subscription(self.plans());
                let after = settled(in_force(&known, before), self.plans());
                (Outcome::Applied, subscription_change(&billing, before, after).unwrap_or_default())
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
        let order = order(event.created, &event.kind);
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
        let event = Event {
            id: String::new(),
            kind: kind.to_owned(),
            created,
            account: None,
            data: Data { object: Value::Null },
        };
        let object = json!({"id": "sub_1", "customer": "cus_1", "status": status,
            "items": {"data": [{"price": {"id": "price_1", "lookup_key": key}, "current_period_end": created}]}});
        serde_json::from_value::<ToldSubscription>(object).unwrap().read(&BTreeMap::new(), &event).0
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
                if known.as_ref().is_none_or(|known| told.is_news_after(known)) {
                    known = Some(told);
                }
            }
            prop_assert_eq!(known, Some(told(5)));
        }
    }
}
