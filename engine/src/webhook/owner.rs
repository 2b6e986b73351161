//! What an endpoint's owner can ask for.

use model::{AccountId, DeliveryId, EventId, EventKind, Fault, Faults, Timestamp, WebhookId};
use serde::Serialize;

use super::courier::{Change, Replay};
use super::endpoint::{
    CONCURRENCY, Endpoint, Misfit, NewWebhook, Secrets, WebhookPatch, check_concurrency, check_description,
    check_headers,
};
use super::queue::Outcome;
use crate::actors::deliver;
use crate::answer::KeptAnswer;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::secrets::Secret;
use crate::store::{
    Delivery, DeliveryFilter, DeliveryStatus, EventFilter, Notes, OpenRows, Origin, Page, Progress,
    SealedWebhook, Store, StoredEvent, Webhook,
};

/// How many deliveries are made once more at most with one request.
const MOST_REPLAYED: usize = 10_000;

/// What a test is an event of.
const TEST: &str = "webhook.test";

/// Why an owner's own switch is off.
const BY_OWNER: &str = "disabled by its owner";

impl EngineHandle {
    /// Makes an endpoint; it hears of what happens from now on. With what its deliveries are signed with.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for an address that nothing is delivered to and for headers that cannot be sent,
    /// [`EngineError::Conflict`] where the account has too many.
    pub async fn create_webhook(
        &self,
        account: AccountId,
        new: NewWebhook,
    ) -> Result<(Webhook, Secret), EngineError> {
        let made = |webhook: &Webhook, secret: &Secret| Ok(((webhook.clone(), secret.clone()), None));
        self.create_webhook_answering(account, new, made).await
    }

    /// Likewise; `answer` words what the client is told, and what of it is kept with the endpoint.
    ///
    /// # Errors
    /// As [`EngineHandle::create_webhook`], and what `answer` fails of.
    pub async fn create_webhook_answering<T, E: From<EngineError>>(
        &self,
        account: AccountId,
        new: NewWebhook,
        answer: impl FnOnce(&Webhook, &Secret) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        let concurrency = new.concurrency.unwrap_or(CONCURRENCY);
        let url = self.dialed(&new.url);
        refuse([
            url.as_ref().err().cloned(),
            check_description(&new.description),
            check_concurrency(concurrency),
            check_headers(&new.headers),
        ])?;
        let webhook = Webhook {
            id: WebhookId::new(),
            account_id: account,
            url: url.unwrap_or_default(),
            description: new.description,
            kinds: new.kinds,
            concurrency,
            header_names: new.headers.iter().map(|(name, _)| name.clone()).collect(),
            previous_until: None,
            progress: Progress::default(),
            created_at: clock::now(),
        };
        let hub = &self.inner.hub;
        let secrets = Secrets::new(new.headers);
        let sealed = secrets.seal(&hub.vault, account, webhook.id);
        let (told, kept) = answer(&webhook, &secrets.current)?;
        let plans = self.inner.plans;
        let ask = move |store: Store| async move {
            let most = plans.of(store.plan(account).await?.unwrap_or_default()).webhooks;
            let stored = store.create_webhook(&webhook, &sealed, most, kept.as_ref()).await?;
            Ok(stored.ok_or(most))
        };
        let stored = self.on_store(ask).await?.map_err(|most| {
            let message = format!("the plan holds {most} webhooks: delete one first, or take a larger plan");
            EngineError::Conflict { code: "too_many_webhooks", message }
        })?;
        hub.open(stored, &secrets, OpenRows::default());
        Ok(told)
    }

    /// An account's endpoints, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn webhooks(
        &self,
        account: AccountId,
        limit: u32,
        after: Option<WebhookId>,
    ) -> Result<Page<Webhook>, EngineError> {
        self.on_store(move |store| async move { store.webhooks(account, limit, after).await }).await
    }

    /// An endpoint.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn webhook(&self, account: AccountId, id: WebhookId) -> Result<Webhook, EngineError> {
        Ok(self.sealed_webhook(account, id).await?.webhook)
    }

    /// Changes an endpoint. One that is enabled again hears of what happens from then on; what it missed can be
    /// delivered with [`EngineHandle::replay_since`].
    ///
    /// # Errors
    /// [`EngineError::NotFound`], and as [`EngineHandle::create_webhook`].
    pub async fn change_webhook(
        &self,
        account: AccountId,
        id: WebhookId,
        patch: WebhookPatch,
    ) -> Result<Webhook, EngineError> {
        let url = patch.url.as_deref().map(|url| self.dialed(url)).transpose();
        refuse([
            url.as_ref().err().cloned(),
            patch.description.as_deref().and_then(check_description),
            patch.concurrency.and_then(check_concurrency),
        ])?;
        let _alone = self.inner.hub.alone(id).await;
        let stored = self.sealed_webhook(account, id).await?;
        let mut secrets = self.opened(&stored)?;
        if patch.forget_headers {
            secrets.headers.clear();
        }
        secrets.merge(patch.headers);
        refuse([check_headers(&secrets.headers)])?;
        let mut webhook = stored.webhook;
        let url = url.ok().flatten();
        let hurry = url.as_ref().is_some_and(|url| *url != webhook.url);
        webhook.url = url.unwrap_or(webhook.url);
        webhook.kinds = patch.kinds.unwrap_or(webhook.kinds);
        webhook.description = patch.description.unwrap_or(webhook.description);
        webhook.concurrency = patch.concurrency.unwrap_or(webhook.concurrency);
        webhook.header_names = secrets.headers.iter().map(|(name, _)| name.clone()).collect();
        self.store_webhook(&webhook, &secrets, None).await?;
        let is_enabled = webhook.progress.disabled.is_none();
        match patch.enabled.filter(|enabled| *enabled != is_enabled) {
            Some(enabled) => self.turn_webhook(webhook, &secrets, enabled).await,
            None => {
                self.tell_courier(&webhook, &secrets, hurry);
                Ok(webhook)
            }
        }
    }

    /// Another secret: it signs from now on, and for a day the one before does as well.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], and [`EngineError::Conflict`] where it was rotated too often within a day.
    pub async fn rotate_webhook_secret(
        &self,
        account: AccountId,
        id: WebhookId,
    ) -> Result<(Webhook, Secret), EngineError> {
        let made = |webhook: &Webhook, secret: &Secret| Ok(((webhook.clone(), secret.clone()), None));
        self.rotate_webhook_secret_answering(account, id, made).await
    }

    /// Likewise; `answer` words what the client is told, and what of it is kept with the secret.
    ///
    /// # Errors
    /// As [`EngineHandle::rotate_webhook_secret`], and what `answer` fails of.
    pub async fn rotate_webhook_secret_answering<T, E: From<EngineError>>(
        &self,
        account: AccountId,
        id: WebhookId,
        answer: impl FnOnce(&Webhook, &Secret) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        let _alone = self.inner.hub.alone(id).await;
        let stored = self.sealed_webhook(account, id).await?;
        let too_many = |first: Timestamp| {
            let message =
                format!("too many secrets before this one still sign: rotate it again after {first}");
            EngineError::Conflict { code: "too_many_secrets", message }
        };
        let (secrets, until) = self.opened(&stored)?.rotated(clock::now()).map_err(too_many)?;
        let webhook = Webhook { previous_until: Some(until), ..stored.webhook };
        let (told, kept) = answer(&webhook, &secrets.current)?;
        self.store_webhook(&webhook, &secrets, kept).await?;
        self.tell_courier(&webhook, &secrets, false);
        Ok(told)
    }

    /// Deletes an endpoint; nothing more is delivered to it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn delete_webhook(&self, account: AccountId, id: WebhookId) -> Result<(), EngineError> {
        let _alone = self.inner.hub.alone(id).await;
        let now = clock::now();
        let ask = move |store: Store| async move { store.delete_webhook(account, id, now).await };
        if !self.on_store(ask).await? {
            return Err(EngineError::NotFound("webhook"));
        }
        self.inner.hub.close(id).await;
        Ok(())
    }

    /// Sends one signed test event, once, and waits for what comes of it; a disabled endpoint can be tested as well.
    /// `meanwhile` words what is kept before it is sent, for whoever asks again after the server was killed.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], and what `meanwhile` fails of.
    pub async fn test_webhook<E: From<EngineError>>(
        &self,
        account: AccountId,
        id: WebhookId,
        meanwhile: impl FnOnce(&Delivery) -> Result<Option<KeptAnswer>, E>,
    ) -> Result<Delivery, E> {
        let stored = self.sealed_webhook(account, id).await?;
        let unusable = || EngineError::Unavailable("the endpoint's secret is none".to_owned());
        let endpoint = Endpoint::new(&stored.webhook, &self.opened(&stored)?).ok_or_else(unusable)?;
        let now = clock::now();
        let event_id = EventId::new();
        let mut delivery = Delivery {
            id: DeliveryId::new(),
            webhook_id: id,
            origin: Origin::Test,
            event_seq: 0,
            event_id,
            kind: TEST.to_owned(),
            status: DeliveryStatus::Waiting,
            attempts: 0,
            next_at: None,
            last: None,
            created_at: now,
            updated_at: now,
        };
        let kept = meanwhile(&delivery)?;
        self.note(vec![(delivery.clone(), true)], kept).await?;
        let post = self.inner.hub.post.clone();
        let body = test_body(event_id, id, now).into();
        let sent = self
            .inner
            .io
            .spawn(async move { post.send(&endpoint, &event_id.to_string(), body, clock::now()).await });
        let (outcome, attempt) =
            sent.await.map_err(|_| EngineError::Unavailable("the engine stops".to_owned()))?;
        delivery.status = match outcome {
            Outcome::Taken => DeliveryStatus::Delivered,
            Outcome::Gone | Outcome::Failed(_) => DeliveryStatus::Failed,
        };
        (delivery.attempts, delivery.last, delivery.updated_at) = (1, Some(attempt), clock::now());
        self.note(vec![(delivery.clone(), false)], None).await?;
        Ok(delivery)
    }

    /// An endpoint's deliveries of the last thirty days, newest first, `after` being the last of the page before.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn deliveries(
        &self,
        account: AccountId,
        webhook: WebhookId,
        filter: DeliveryFilter,
        limit: u32,
        after: Option<DeliveryId>,
    ) -> Result<Page<Delivery>, EngineError> {
        self.sealed_webhook(account, webhook).await?;
        let ask = move |store: Store| async move { store.deliveries(webhook, &filter, limit, after).await };
        self.read_list(account, ask).await
    }

    /// One delivery of an endpoint.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn delivery(
        &self,
        account: AccountId,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Delivery, EngineError> {
        self.sealed_webhook(account, webhook).await?;
        let found = self.on_store(move |store| async move { store.delivery(webhook, id).await }).await?;
        found.ok_or(EngineError::NotFound("delivery"))
    }

    /// Delivers an event once more: a new delivery under the event's own id. `answer` words what the client is told, and
    /// what of it is kept with the delivery.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where the delivery or its event is not kept any more,
    /// [`EngineError::Conflict`] while the endpoint is disabled, and for a test; and what `answer` fails of.
    pub async fn replay_delivery<T, E: From<EngineError>>(
        &self,
        account: AccountId,
        webhook: WebhookId,
        id: DeliveryId,
        answer: impl FnOnce(&Delivery) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        let before = self.delivery(account, webhook, id).await?;
        if before.origin == Origin::Test {
            let message = "a test is not an event: send another one instead".to_owned();
            return Err(EngineError::Conflict { code: "delivery_is_a_test", message }.into());
        }
        let event_id = before.event_id;
        let event = self.on_store(move |store| async move { store.event(account, event_id).await }).await?;
        let event = event.ok_or(EngineError::NotFound("event"))?;
        let again = Delivery::of(&event, webhook, Origin::Replay, clock::now());
        let (told, kept) = answer(&again)?;
        self.replay(account, webhook, vec![again], kept).await?;
        Ok(told)
    }

    /// Delivers, in their order, all events since a time that the endpoint wants and has not taken: those that
    /// failed, and those that it missed while it was disabled. `answer` is told how many, and whether there are more;
    /// it words what the client is told, and what of it is kept with the deliveries.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Conflict`] while the endpoint is disabled, and what `answer` fails of.
    pub async fn replay_since<T, E: From<EngineError>>(
        &self,
        account: AccountId,
        webhook: WebhookId,
        since: Timestamp,
        answer: impl FnOnce(usize, bool) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        let stored = self.enabled_webhook(account, webhook).await?;
        let (kinds, settled) = (EventKind::subscribed(&stored.kinds).to_vec(), stored.progress.settled);
        let ask = move |store: Store| async move {
            let taken = store.taken_since(webhook, since).await?;
            let filter = EventFilter { kinds, from: Some(since), ascending: true, ..EventFilter::default() };
            let (mut missed, mut after) = (Vec::new(), None);
            loop {
                let page = store.events(account, &filter, 1_000, after).await?;
                after = page.rows.last().map(|event| event.id);
                // What comes after is on its way as it is.
                let missing = |event: &&StoredEvent| event.seq <= settled && !taken.contains(&event.seq);
                let replay = |event: &StoredEvent| Delivery::of(event, webhook, Origin::Replay, event.at);
                missed.extend(page.rows.iter().filter(missing).map(replay));
                if !page.has_more || missed.len() > MOST_REPLAYED {
                    return Ok(missed);
                }
            }
        };
        let mut missed = self.read_list(account, ask).await?;
        let has_more = missed.len() > MOST_REPLAYED;
        missed.truncate(MOST_REPLAYED);
        let (told, kept) = answer(missed.len(), has_more)?;
        let now = clock::now();
        let again = |mut delivery: Delivery| {
            (delivery.id, delivery.created_at, delivery.updated_at) = (DeliveryId::new(), now, now);
            delivery
        };
        let again = missed.into_iter().map(again).collect();
        self.replay(account, webhook, again, kept).await?;
        Ok(told)
    }

    async fn replay(
        &self,
        account: AccountId,
        webhook: WebhookId,
        again: Vec<Delivery>,
        answer: Option<KeptAnswer>,
    ) -> Result<(), EngineError> {
        let hub = &self.inner.hub;
        let _alone = hub.alone(webhook).await;
        self.enabled_webhook(account, webhook).await?;
        self.note(again.into_iter().map(|delivery| (delivery, true)).collect(), answer).await?;
        deliver(&hub.courier, Replay(webhook));
        Ok(())
    }

    // Inside

    /// An address as it will be dialed, which is what is stored.
    fn dialed(&self, url: &str) -> Result<String, Misfit> {
        self.inner.hub.targets.check(url).map(String::from).map_err(|why| ("url", why))
    }

    async fn sealed_webhook(&self, account: AccountId, id: WebhookId) -> Result<SealedWebhook, EngineError> {
        let found = self.on_store(move |store| async move { store.webhook(account, id).await }).await?;
        found.ok_or(EngineError::NotFound("webhook"))
    }

    async fn enabled_webhook(&self, account: AccountId, id: WebhookId) -> Result<Webhook, EngineError> {
        let webhook = self.webhook(account, id).await?;
        if webhook.progress.disabled.is_some() {
            let message =
                "the webhook is disabled: enable it first with PATCH {\"status\":\"enabled\"}".to_owned();
            return Err(EngineError::Conflict { code: "webhook_disabled", message });
        }
        Ok(webhook)
    }

    fn opened(&self, stored: &SealedWebhook) -> Result<Secrets, EngineError> {
        let sealed = || EngineError::Unavailable("the endpoint's secrets do not open".to_owned());
        self.inner.hub.unsealed(stored).ok_or_else(sealed)
    }

    async fn store_webhook(
        &self,
        webhook: &Webhook,
        secrets: &Secrets,
        answer: Option<KeptAnswer>,
    ) -> Result<(), EngineError> {
        let sealed = secrets.seal(&self.inner.hub.vault, webhook.account_id, webhook.id);
        let webhook = webhook.clone();
        let ask =
            move |store: Store| async move { store.change_webhook(&webhook, &sealed, answer.as_ref()).await };
        self.on_store(ask).await
    }

    async fn turn_webhook(
        &self,
        webhook: Webhook,
        secrets: &Secrets,
        enabled: bool,
    ) -> Result<Webhook, EngineError> {
        let hub = &self.inner.hub;
        let (id, now) = (webhook.id, clock::now());
        hub.close(id).await;
        let disabled = (!enabled).then_some(BY_OWNER);
        let progress =
            self.on_store(move |store| async move { store.turn_webhook(id, disabled, now).await }).await?;
        let webhook = Webhook { progress, ..webhook };
        hub.open(webhook.clone(), secrets, OpenRows::default());
        Ok(webhook)
    }

    fn tell_courier(&self, webhook: &Webhook, secrets: &Secrets, hurry: bool) {
        if let Some(endpoint) = Endpoint::new(webhook, secrets) {
            deliver(&self.inner.hub.courier, Change { webhook: webhook.clone(), endpoint, hurry });
        }
    }

    async fn note(
        &self,
        deliveries: Vec<(Delivery, bool)>,
        answer: Option<KeptAnswer>,
    ) -> Result<(), EngineError> {
        let notes = Notes { deliveries, answer, ..Notes::default() };
        self.on_store(move |store| async move { store.note(&notes).await }).await
    }
}

/// Refuses what has a field that will not do.
fn refuse<const N: usize>(misfits: [Option<Misfit>; N]) -> Result<(), EngineError> {
    let fault =
        |(param, message): Misfit| Fault { param: param.to_owned(), code: "parameter_invalid", message };
    let faults: Vec<Fault> = misfits.into_iter().flatten().map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(EngineError::Invalid(Faults(faults))) }
}

/// The body of a test, of the same shape as every event's.
fn test_body(id: EventId, webhook_id: WebhookId, timestamp: Timestamp) -> String {
    #[derive(Serialize)]
    struct Body {
        id: EventId,
        event: &'static str,
        timestamp: Timestamp,
        data: Data,
    }
    #[derive(Serialize)]
    struct Data {
        webhook_id: WebhookId,
        message: &'static str,
    }
    let data = Data { webhook_id, message: "this is a test: nothing happened" };
    serde_json::to_string(&Body { id, event: TEST, timestamp, data }).unwrap_or_default()
}
