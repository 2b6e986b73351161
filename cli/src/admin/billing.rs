//! What accounts pay for and are paid, by the operator's word.

use anyhow::bail;
use engine::{EngineError, Store};
use model::{AccountId, Payout, PayoutId, PayoutStatus, Period, Plans, Quote, Subscription, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::now;
use crate::args::{LinkArgs, PayoutArgs, SubscriptionArgs};
use crate::config::UsageError;

/// Gives an account a plan; what is in force then.
///
/// # Errors
/// Without such an account, and for a period that ends before it begins.
pub(super) async fn subscribe(
    store: &Store,
    plans: &Plans,
    wanted: &SubscriptionArgs,
) -> anyhow::Result<Value> {
    let now = now();
    let end = wanted.period_end.as_ref().map(|end| end.after(now));
    if let Some(end) = end.filter(|end| *end <= now) {
        let message =
            format!("`--period-end` must be later than the period's start, which is now: {end} is over");
        return Err(UsageError::new(message).into());
    }
    let make = |before: Subscription| Subscription {
        plan: wanted.plan,
        status: wanted.status,
        period: Period {
            // A period begins where the plan or the end of it is another.
            start: if wanted.plan == before.plan && end.is_none() { before.period.start } else { Some(now) },
            end: end.or(before.period.end.filter(|end| wanted.plan == before.plan && now < *end)),
        },
        cancel_at_period_end: wanted.cancel_at_period_end,
        ..before
    };
    let changed = engine::change_subscription(store, plans, wanted.account, make).await;
    let (subscription, is_told) = changed.map_err(|error| unknown(error, wanted.account))?;
    Ok(shown(wanted.account, &subscription, Some(is_told)))
}

/// What an account may use.
///
/// # Errors
/// Without such an account.
pub(super) async fn show(store: &Store, plans: &Plans, account: AccountId) -> anyhow::Result<Value> {
    match store.billing(account).await? {
        Some(billing) => Ok(shown(account, &billing.subscription(plans), None)),
        None => Err(unknown(EngineError::NotFound("account"), account)),
    }
}

fn shown(account: AccountId, subscription: &Subscription, is_told: Option<bool>) -> Value {
    let mut shown = json!({"id": account, "plan": subscription.plan, "status": subscription.status,
        "requests_per_minute": subscription.limits.requests_per_minute, "limits": subscription.limits,
        "period": subscription.period, "period_end": subscription.period.end,
        "cancel_at_period_end": subscription.cancel_at_period_end});
    if let (Some(object), Some(is_told)) = (shown.as_object_mut(), is_told) {
        object.insert("changed".to_owned(), json!(is_told));
    }
    shown
}

/// Notes a payout, and tells of it.
///
/// # Errors
/// Without such an account, and for amounts that make no sense.
pub(super) async fn pay(store: &Store, wanted: &PayoutArgs) -> anyhow::Result<ShownPayout> {
    if wanted.amount.decimal().is_sign_negative() || wanted.amount.decimal().is_zero() {
        return Err(UsageError::new("`--amount` must be above 0").into());
    }
    if wanted.fees.decimal().is_sign_negative() || wanted.fees > wanted.amount {
        return Err(UsageError::new("`--fees` must be from 0 to the amount").into());
    }
    if let (Some(start), Some(end)) = (wanted.period_start, wanted.period_end)
        && end < start
    {
        return Err(UsageError::new("`--period-end` must not be before `--period-start`").into());
    }
    let is_word = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !is_word(&wanted.kind, 40) || !is_word(&wanted.currency, 10) {
        let message = "`--kind` and `--currency` are words such as affiliate and USD";
        return Err(UsageError::new(message).into());
    }
    let payout = Payout {
        id: PayoutId::new(),
        account_id: wanted.account,
        kind: wanted.kind.clone(),
        status: wanted.status,
        gross: wanted.amount,
        fees: wanted.fees,
        currency: wanted.currency.to_uppercase(),
        period: Period { start: wanted.period_start, end: wanted.period_end },
        processed_at: now(),
    };
    let shown = ShownPayout::from(&payout);
    engine::note_payout(store, payout).await.map_err(|error| unknown(error, wanted.account))?;
    Ok(shown)
}

/// A payout as it is shown; amounts keep their digits.
#[derive(Serialize)]
pub(super) struct ShownPayout {
    id: PayoutId,
    account_id: AccountId,
    kind: String,
    status: PayoutStatus,
    gross: Quote,
    fees: Quote,
    net: Quote,
    currency: String,
    period: Period,
    processed_at: Timestamp,
}

impl From<&Payout> for ShownPayout {
    fn from(payout: &Payout) -> Self {
        Self {
            id: payout.id,
            account_id: payout.account_id,
            kind: payout.kind.clone(),
            status: payout.status,
            gross: payout.gross,
            fees: payout.fees,
            net: payout.gross - payout.fees,
            currency: payout.currency.clone(),
            period: payout.period,
            processed_at: payout.processed_at,
        }
    }
}

impl ShownPayout {
    /// For a table, where a number that goes through JSON's own type would lose digits.
    pub(super) fn row(&self) -> Value {
        json!({"id": self.id, "account_id": self.account_id, "kind": self.kind, "status": self.status,
            "gross": self.gross.to_string(), "fees": self.fees.to_string(), "net": self.net.to_string(),
            "currency": self.currency, "processed_at": self.processed_at})
    }
}

/// Says who an account is at Stripe; what is in force then.
///
/// # Errors
/// Without such an account, and where another one is that already.
pub(super) async fn link(store: &Store, plans: &Plans, wanted: &LinkArgs) -> anyhow::Result<Value> {
    let is_id = |prefix: &str, id: &Option<String>| {
        id.as_ref().is_none_or(|id| id.len() > prefix.len() && id.starts_with(prefix))
    };
    if !is_id("cus_", &wanted.customer) || !is_id("acct_", &wanted.connect) {
        let message = "`--customer` is an id of Stripe's such as cus_…, `--connect` one such as acct_…";
        return Err(UsageError::new(message).into());
    }
    let (customer, connect) = (wanted.customer.as_deref(), wanted.connect.as_deref());
    match engine::link_stripe(store, plans, wanted.account, customer, connect).await {
        Ok((subscription, is_told)) => {
            let mut shown = shown(wanted.account, &subscription, Some(is_told));
            if let Some(object) = shown.as_object_mut() {
                object.insert("stripe_customer".to_owned(), json!(customer));
                object.insert("stripe_account".to_owned(), json!(connect));
            }
            Ok(shown)
        }
        Err(EngineError::Conflict { message, .. }) => bail!(message),
        Err(error) => Err(unknown(error, wanted.account)),
    }
}

fn unknown(error: EngineError, account: AccountId) -> anyhow::Error {
    match error {
        EngineError::NotFound(_) => {
            anyhow::anyhow!("there is no account {account}: make one with `botprimex admin account create`")
        }
        error => error.into(),
    }
}
