use model::{AccountId, BotFailed, BotId, DomainEvent, EventData};

use super::*;
use crate::change::Change;
use crate::secrets::SealedRecord;
use crate::store::exchanges::tests::stores;
use crate::store::{EventFilter, Webhook};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn event(account_id: AccountId, bot: Option<u128>, at: Timestamp) -> DomainEvent {
    let data = BotFailed {
        bot_id: Some(BotId::from_u128(1)),
        code: String::new(),
        message: String::new(),
        resolved: false,
    };
    let bot_id = bot.map(BotId::from_u128);
    DomainEvent { id: EventId::new(), account_id, bot_id, at, data: EventData::BotError(data) }
}

async fn happen(store: &Store, events: Vec<DomainEvent>) {
    store.commit([Change { events, ..Change::default() }]).await.unwrap();
}

async fn endpoint(store: &Store, account_id: AccountId) -> Webhook {
    let webhook = Webhook {
        id: WebhookId::new(),
        account_id,
        url: "https://example.com".to_owned(),
        description: String::new(),
        kinds: vec![EventKind::BotError],
        concurrency: 4,
        header_names: vec!["X-Team".to_owned()],
        previous_until: None,
        progress: Progress::default(),
        created_at: NOW,
    };
    let sealed = SealedRecord { key_version: 1, data_key: vec![1], sealed: vec![2] };
    store.create_webhook(&webhook, &sealed, 2, None).await.unwrap().unwrap()
}

async fn all(store: &Store, account: AccountId) -> Vec<StoredEvent> {
    let filter = EventFilter { ascending: true, ..EventFilter::default() };
    store.events(account, &filter, 100, None).await.unwrap().rows
}

#[tokio::test]
async fn events_count_without_gaps_per_bot_and_old_ones_go() {
    for (store, _folder) in stores().await {
        let account = store.create_account("one", NOW).await.unwrap().id;
        let later = NOW.plus_seconds(60);
        happen(&store, [Some(1), None, Some(2), Some(1)].map(|bot| event(account, bot, NOW)).into()).await;
        happen(&store, vec![event(account, Some(1), later), event(account, None, later)]).await;
        let places =
            |events: &[StoredEvent]| -> Vec<i64> { events.iter().map(|event| event.sequence).collect() };
        let events = all(&store, account).await;
        assert_eq!(places(&events), [1, 1, 1, 2, 3, 2]);
        assert!(events.iter().map(|event| event.seq).is_sorted());
        assert!(events[3].body.contains(r#","sequence":2,"data":"#), "{}", events[3].body);
        assert_eq!(store.outbox_after(events[3].seq, 10).await.unwrap(), events[4..]);
        assert_eq!(store.outbox_end().await.unwrap(), events[5].seq);
        let filter = EventFilter {
            kinds: vec![EventKind::BotError, EventKind::BotStopped],
            bot_id: Some(BotId::from_u128(1)),
            from: Some(NOW),
            to: Some(later),
            ascending: false,
        };
        let page = store.events(account, &filter, 1, None).await.unwrap();
        assert_eq!((&page.rows[0], page.has_more), (&events[3], true));

        assert_eq!(store.forget_events(later, 3).await.unwrap(), 3, "in steps");
        assert_eq!(store.forget_events(later, 3).await.unwrap(), 1);
        assert_eq!(store.forget_events(later, 3).await.unwrap(), 0);
        happen(&store, vec![event(account, Some(2), later)]).await;
        assert_eq!(places(&all(&store, account).await), [3, 2, 2], "places outlive events");
    }
}

#[tokio::test]
async fn what_is_noted_of_deliveries_reads_as_it_was_written() {
    for (store, _folder) in stores().await {
        let account = store.create_account("one", NOW).await.unwrap().id;
        happen(&store, vec![event(account, Some(1), NOW)]).await;
        let webhook = endpoint(&store, account).await;
        assert_eq!(
            webhook.progress.settled,
            store.outbox_end().await.unwrap(),
            "it hears what comes after it"
        );
        happen(&store, (0..3).map(|_| event(account, Some(1), NOW)).collect()).await;
        let events = all(&store, account).await;
        let mut made: Vec<_> =
            events[1..].iter().map(|event| Delivery::of(event, webhook.id, Origin::Event, NOW)).collect();
        let attempt =
            Attempt { http_status: Some(500), duration_ms: 12, answer: Some("no".to_owned()), error: None };
        (made[0].attempts, made[0].last, made[0].next_at) = (1, Some(attempt), Some(NOW.plus_seconds(5)));
        (made[1].attempts, made[1].last, made[1].status) =
            (1, Some(Attempt::default()), DeliveryStatus::Delivered);
        let progress = Progress { failing_since: Some(NOW), ..webhook.progress.clone() };
        let notes = Notes {
            progress: vec![(webhook.id, progress.clone())],
            deliveries: made.iter().cloned().map(|delivery| (delivery, true)).collect(),
            ..Notes::default()
        };
        store.note(&notes).await.unwrap();
        let last_event = Some(events[3].seq);
        let open = async || store.open_rows().await.unwrap();
        assert_eq!(open().await, HashMap::from([(webhook.id, OpenRows { last_event, first_replay: None })]));
        let known = async |after, until| store.open_deliveries(webhook.id, after, until).await.unwrap();
        assert_eq!(known(0, i64::MAX).await, made);
        assert_eq!(known(events[1].seq, events[2].seq).await, made[1..2]);
        let stored = store.webhook(account, webhook.id).await.unwrap().unwrap();
        assert_eq!(stored.webhook, Webhook { progress, ..webhook.clone() });

        (made[0].attempts, made[0].status, made[0].next_at) = (2, DeliveryStatus::Delivered, None);
        let settled = events[2].seq;
        let notes = Notes {
            deliveries: vec![(made[0].clone(), false)],
            closed: vec![(webhook.id, settled)],
            ..Notes::default()
        };
        store.note(&notes).await.unwrap();
        assert_eq!(known(0, i64::MAX).await, made[2..], "the second is closed");
        let newest_first: Vec<_> = made.iter().rev().cloned().collect();
        let page = store.deliveries(webhook.id, &DeliveryFilter::default(), 2, None).await.unwrap();
        assert_eq!((page.rows.as_slice(), page.has_more), (&newest_first[..2], true));
        let filter =
            DeliveryFilter { status: Some(DeliveryStatus::Waiting), kinds: vec![EventKind::BotError] };
        assert_eq!(store.deliveries(webhook.id, &filter, 9, None).await.unwrap().rows, made[2..]);
        assert_eq!(store.taken_since(webhook.id, NOW).await.unwrap().len(), 3);

        let off = store.turn_webhook(webhook.id, Some("tired"), NOW).await.unwrap();
        assert_eq!((off.disabled.as_deref(), off.disabled_at), (Some("tired"), Some(NOW)));
        let late = Notes { progress: vec![(webhook.id, Progress::default())], ..Notes::default() };
        store.note(&late).await.unwrap();
        let stored = store.webhook(account, webhook.id).await.unwrap().unwrap();
        assert_eq!(stored.webhook.progress, off, "what is noted late turns nothing on again");
        assert_eq!(open().await, HashMap::new());
        let given_up = store.delivery(webhook.id, made[2].id).await.unwrap().unwrap();
        assert_eq!(given_up.status, DeliveryStatus::Failed);
        let on = store.turn_webhook(webhook.id, None, NOW).await.unwrap();
        assert_eq!((on.settled, &on.disabled), (store.outbox_end().await.unwrap(), &None));
        let (tired, again) =
            (Some("tired".to_owned()), Delivery::of(&events[3], webhook.id, Origin::Replay, NOW));
        let notes = Notes {
            progress: vec![(webhook.id, Progress { disabled: tired, disabled_at: Some(NOW), ..on })],
            ..Notes::default()
        };
        let second = Delivery::of(&events[2], webhook.id, Origin::Replay, NOW);
        let replays = [again.clone(), second.clone()].map(|replay| (replay, true)).to_vec();
        store.note(&Notes { deliveries: replays, ..Notes::default() }).await.unwrap();
        let rows = OpenRows { last_event, first_replay: Some(again.id) };
        assert_eq!(open().await, HashMap::from([(webhook.id, rows)]));
        let waiting =
            async |after, limit| store.waiting_replays(account, webhook.id, after, limit).await.unwrap();
        assert_eq!(waiting(DeliveryId::from_u128(0), 1).await, [(events[3].clone(), again.clone())]);
        assert_eq!(waiting(again.id, 9).await, [(events[2].clone(), second)]);
        store.note(&notes).await.unwrap();
        assert_eq!(open().await, HashMap::new(), "given up with its endpoint");

        assert_eq!(store.forget_deliveries(webhook.id, NOW, 1, 1).await.unwrap(), 1, "in steps");
        assert_eq!(store.forget_deliveries(webhook.id, NOW, 1, 9).await.unwrap(), 3);
        assert_eq!(store.forget_deliveries(webhook.id, NOW, 1, 9).await.unwrap(), 0, "the newest stays");
        assert_eq!(store.forget_deliveries(webhook.id, NOW.plus_seconds(1), 1, 9).await.unwrap(), 1);

        endpoint(&store, account).await;
        let sealed = SealedRecord { key_version: 1, data_key: vec![1], sealed: vec![2] };
        let third = Webhook { id: WebhookId::new(), ..webhook.clone() };
        assert!(store.create_webhook(&third, &sealed, 2, None).await.unwrap().is_none(), "two are enough");
        assert!(store.delete_webhook(account, webhook.id, NOW).await.unwrap());
        assert!(store.create_webhook(&third, &sealed, 2, None).await.unwrap().is_some());
        assert_eq!(store.webhooks(account, 1, None).await.unwrap().rows[0].id, third.id);
    }
}
