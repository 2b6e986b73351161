//! What is forgotten in time, by all rooms: in small steps, so that nobody waits for the disk because of it.
//!
//! What keeps something from being done twice stays longer than it can be asked for again: a signal's id is known for a
//! day and its body for a minute, a kept answer is given for a day, and Stripe sends an event for three days by itself
//! and for thirty when it is told to.

use std::time::Duration;

use model::Timestamp;

use crate::clock;
use crate::store::{Store, StoreError};

/// How long events can be caught up on, and deliveries and signals looked at.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// How long Stripe's events are known to be done with: twice as long as Stripe has them.
const STRIPE_KEPT: Duration = Duration::from_hours(60 * 24);

/// How many deliveries of one endpoint are kept.
const MOST_DELIVERIES: u32 = 100_000;

/// How many rows go at once, how long the others have the disk for themselves after that, and how long it takes until
/// it is looked again.
const STEP: u32 = 200;
const REST: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_mins(10);

/// Forgets what is old for as long as the store is open.
pub(crate) async fn sweep_for_ever(store: Store) {
    loop {
        if let Err(error) = sweep(&store, clock::now()).await {
            tracing::warn!(%error, "what is old could not be forgotten");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Forgets what is old now.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn sweep(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let until = before(now, KEPT);
    while store.forget_events(until, STEP).await? > 0 {
        tokio::time::sleep(REST).await;
    }
    for webhook in store.all_webhooks().await? {
        let id = webhook.webhook.id;
        while store.forget_deliveries(id, until, MOST_DELIVERIES, STEP).await? > 0 {
            tokio::time::sleep(REST).await;
        }
    }
    while store.forget_signals(until, STEP).await? > 0 {
        tokio::time::sleep(REST).await;
    }
    while store.forget_stripe_events(before(now, STRIPE_KEPT), STEP).await? > 0 {
        tokio::time::sleep(REST).await;
    }
    store.forget_answers(now).await
}

fn before(now: Timestamp, kept: Duration) -> Timestamp {
    let kept = i64::try_from(kept.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(now.nanos().saturating_sub(kept))
}

#[cfg(test)]
pub(crate) mod tests {
    use model::{AccountId, BotId, HookId, SignalId};
    use strategies::BotDefinition;

    use super::*;
    use crate::billing::{BillingChange, StripeEvent};
    use crate::change::{Change, NewBot, Positions};
    use crate::secrets::SealedRecord;
    use crate::signals::{Action, Hook, Sameness, Signal, SignalStatus};
    use crate::store::stores;

    const NOW: Timestamp = Timestamp::from_millis(1_775_000_000_000);
    const DAY: i64 = 24 * 3_600;

    fn days_ago(days: i64) -> Timestamp {
        Timestamp::from_nanos(NOW.nanos() - days * DAY * 1_000_000_000)
    }

    /// A bot with a hook, and what it asks for as a secret.
    pub(crate) async fn hook(
        store: &Store,
        account_id: AccountId,
        seal: impl FnOnce(HookId) -> Option<SealedRecord>,
    ) -> Hook {
        let body = r#"{"name":"one","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;
        let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let bot_id = BotId::new();
        let bot = NewBot { id: bot_id, account_id, definition, capital: model::Quote::ZERO, created_at: NOW };
        store.commit([Change { created: Some(Box::new(bot)), ..Change::default() }]).await.unwrap();
        let id = HookId::new();
        let secret = seal(id);
        let hook = Hook {
            id,
            account_id,
            bot_id,
            actions: vec![Action::Stop],
            has_secret: secret.is_some(),
            allow_ips: Vec::new(),
            previous_until: None,
            created_at: NOW,
            rotated_at: None,
            secret,
        };
        assert!(store.create_hook(&hook, &format!("hash {id}"), None).await.unwrap());
        hook
    }

    pub(crate) fn signal(hook: &Hook, received_at: Timestamp) -> Signal {
        Signal {
            id: SignalId::new(),
            hook_id: hook.id,
            account_id: hook.account_id,
            bot_id: hook.bot_id,
            trade_id: None,
            action: Action::Stop,
            positions: Positions::Hold,
            amount: None,
            status: SignalStatus::Accepted,
            failure: None,
            received_at,
            attempts: 0,
        }
    }

    #[tokio::test]
    async fn signals_go_after_thirty_days_and_those_that_wait_do_not() {
        for (store, _folder) in stores().await {
            let account = store.create_account("one", NOW).await.unwrap().id;
            let hook = hook(&store, account, |_| None).await;
            let signals = [31, 31, 29, 0].map(|days| signal(&hook, days_ago(days)));
            for (number, signal) in signals.iter().enumerate() {
                store.add_signal(signal, &Sameness::Id(format!("id {number}"))).await.unwrap();
                if number != 1 {
                    store.note_signal(signal.id, SignalStatus::Done, None, NOW).await.unwrap();
                }
            }
            sweep(&store, NOW).await.unwrap();
            let left = store.signals(account, hook.bot_id, 10, None).await.unwrap().rows;
            let left: Vec<SignalId> = left.iter().map(|signal| signal.id).collect();
            assert_eq!(left, [signals[3].id, signals[2].id, signals[1].id]);
            // The same once more is the same signal, as long as it is looked at.
            let again = signal(&hook, NOW);
            let same = Sameness::Id("id 3".to_owned());
            let before = store.signal_before(&again, &same, days_ago(1)).await.unwrap();
            assert_eq!(before.unwrap().id, signals[3].id);
        }
    }

    #[tokio::test]
    async fn events_of_stripe_are_known_for_longer_than_they_can_come_again() {
        for (store, _folder) in stores().await {
            for (id, days) in [("evt_old", 61), ("evt_resent", 31), ("evt_new", 0)] {
                let event = StripeEvent {
                    id: id.to_owned(),
                    kind: "payout.paid".to_owned(),
                    created_at: days_ago(days),
                    received_at: days_ago(days),
                    outcome: "nobody",
                };
                let billing = BillingChange { event: Some(event), ..BillingChange::default() };
                store
                    .commit([Change { billing: Some(Box::new(billing)), ..Change::default() }])
                    .await
                    .unwrap();
            }
            sweep(&store, NOW).await.unwrap();
            for (id, is_known) in [("evt_old", false), ("evt_resent", true), ("evt_new", true)] {
                assert_eq!(store.has_stripe_event(id).await.unwrap(), is_known, "{id}");
            }
        }
    }
}
