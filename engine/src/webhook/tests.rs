//! Many endpoints over one store: what is in memory for them, and what one account's cost another's.

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use actix_rt::Arbiter;
use model::{BotFailed, BotId, DomainEvent, EventData, EventId, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::change::Change;
use crate::secrets::MasterKey;
use crate::store::{Delivery, DeliveryFilter, DeliveryStatus, Notes, Origin, Progress, stores};

/// What is delivered over a store.
struct Rig {
    store: Store,
    hub: Hub,
    in_memory: Arc<AtomicUsize>,
    most_in_memory: usize,
}

impl Rig {
    fn over(store: &Store) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let meters = Meters::default();
        let (vault, targets) = (Vault::new(MasterKey::draw(), 1), Targets::new(true, &WEBHOOK_PORTS));
        let (io, arbiter) = (Handle::current(), Arbiter::current());
        let hub = Hub::new(store.clone(), io, &arbiter, &vault, targets, &meters).unwrap();
        Self { store: store.clone(), hub, in_memory: meters.webhook_events_count(), most_in_memory: 0 }
    }

    async fn account(&self) -> AccountId {
        self.store.create_account("one", Timestamp::MIN).await.unwrap().id
    }

    async fn endpoint(&self, account: AccountId, url: &str) -> WebhookId {
        let webhook = Webhook {
            id: WebhookId::new(),
            account_id: account,
            url: url.to_owned(),
            description: String::new(),
            kinds: Vec::new(),
            concurrency: CONCURRENCY,
            header_names: Vec::new(),
            previous_until: None,
            progress: Progress::default(),
            created_at: Timestamp::MIN,
        };
        let secrets = Secrets::new(Vec::new());
        let sealed = secrets.seal(&self.hub.vault, account, webhook.id);
        let stored = self.store.create_webhook(&webhook, &sealed, 1_000, None).await.unwrap().unwrap();
        self.hub.open(stored, &secrets, OpenRows::default());
        webhook.id
    }

    /// Something happens to so many bots of an account, to each so often.
    async fn happen(&self, account: AccountId, bots: u128, times: usize) {
        let event = |bot| DomainEvent {
            id: EventId::new(),
            account_id: account,
            bot_id: Some(BotId::from_u128(account.as_u128() ^ bot)),
            at: Timestamp::MIN,
            data: EventData::BotError(BotFailed {
                bot_id: Some(BotId::from_u128(account.as_u128() ^ bot)),
                code: "test".to_owned(),
                message: "x".repeat(300),
                resolved: false,
            }),
        };
        let events = (0..times).flat_map(|_| (0..bots).map(event)).collect();
        self.store.commit([Change { events, ..Change::default() }]).await.unwrap();
        self.hub.committed(&HashSet::from([account]));
    }

    /// Waits until it is so, and keeps an eye on the memory meanwhile.
    async fn until(&mut self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !is_so().await {
            assert!(began.elapsed() < Duration::from_mins(1), "{what}");
            for _ in 0..20 {
                self.most_in_memory = self.most_in_memory.max(self.in_memory.load(Ordering::Relaxed));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// How many deliveries to an endpoint are to be made again.
async fn waiting(store: &Store, webhook: WebhookId) -> usize {
    let filter = DeliveryFilter { status: Some(DeliveryStatus::Waiting), kinds: Vec::new() };
    store.deliveries(webhook, &filter, 1_000, None).await.unwrap().rows.len()
}

/// An endpoint that takes everything, and the sequences that it was sent, in order.
async fn taker() -> (String, Arc<std::sync::Mutex<Vec<(String, u64)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let taken = Arc::<std::sync::Mutex<Vec<_>>>::default();
    let heard = taken.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(take(socket, heard.clone()));
        }
    });
    (url, taken)
}

async fn take(mut socket: TcpStream, taken: Arc<std::sync::Mutex<Vec<(String, u64)>>>) {
    let mut came = Vec::new();
    while socket.read_buf(&mut came).await.is_ok_and(|bytes| bytes > 0) {
        let text = String::from_utf8_lossy(&came).into_owned();
        let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
        let Ok(event) = serde_json::from_str::<serde_json::Value>(body) else { continue };
        let bot = event["data"]["bot_id"].as_str().unwrap().to_owned();
        taken.lock().unwrap().push((bot, event["sequence"].as_u64().unwrap()));
        came.clear();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
}

/// A port where nobody listens.
async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[actix_rt::test]
async fn dead_endpoints_of_one_account_take_little_memory_and_delay_no_other_account() {
    const DEAD: usize = 100;
    let (store, _folder) = stores().await.remove(0);
    let mut rig = Rig::over(&store);
    let (noisy, quiet) = (rig.account().await, rig.account().await);
    rig.hub.begin(&store).await.unwrap();
    let nowhere = closed_port().await;
    let mut dead = Vec::new();
    for _ in 0..DEAD {
        dead.push(rig.endpoint(noisy, &nowhere).await);
    }
    let (url, taken) = taker().await;
    rig.endpoint(quiet, &url).await;
    rig.happen(noisy, 20, 400).await;
    let began = Instant::now();
    rig.happen(quiet, 1, 50).await;
    rig.until("the other account's endpoint hears all", async || taken.lock().unwrap().len() == 50).await;
    println!("50 events reached the other account's endpoint in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let sequences: Vec<u64> = taken.lock().unwrap().iter().map(|(_, sequence)| *sequence).collect();
    assert_eq!(sequences, (1..=50).collect::<Vec<_>>());
    let (last, in_memory) = (*dead.last().unwrap(), rig.in_memory.clone());
    rig.until("each bot's first event was tried everywhere", async || waiting(&store, last).await == 20)
        .await;
    let is_calm = async || in_memory.load(Ordering::Relaxed) <= DEAD * 20;
    rig.until("what waits is what is tried again", is_calm).await;
    println!("{} events were in memory at most, for {DEAD} endpoints and 8,000 events", rig.most_in_memory);
    assert!((1..=16_384).contains(&rig.most_in_memory), "{}", rig.most_in_memory);
}

#[actix_rt::test]
async fn what_was_left_in_the_store_is_delivered_in_order_after_a_restart() {
    let (store, _folder) = stores().await.remove(0);
    let mut rig = Rig::over(&store);
    let account = rig.account().await;
    rig.hub.begin(&store).await.unwrap();
    let (url, taken) = taker().await;
    let (dead, events) = (rig.endpoint(account, &closed_port().await).await, 5 * 300);
    rig.happen(account, 5, 300).await;
    rig.until("each bot's first event was tried", async || waiting(&store, dead).await == 5).await;
    rig.hub.finish().await;
    // Its owner has replays made of what they missed as well; all of it is in the store only.
    let missed = store.events_after(account, 0, 1_000).await.unwrap();
    let replay = |event: &_| (Delivery::of(event, dead, Origin::Replay, Timestamp::MIN), true);
    let deliveries = missed.iter().map(replay).collect();
    store.note(&Notes { deliveries, ..Notes::default() }).await.unwrap();
    let stored = store.webhook(account, dead).await.unwrap().unwrap();
    let secrets = rig.hub.unsealed(&stored).unwrap();
    let moved = Webhook { url, ..stored.webhook };
    let sealed = secrets.seal(&rig.hub.vault, account, dead);
    store.change_webhook(&moved, &sealed, None).await.unwrap();

    let vault = rig.hub.vault.clone();
    let mut rig = Rig::over(&store);
    rig.hub.vault = vault;
    rig.hub.begin(&store).await.unwrap();
    let total = events + missed.len();
    rig.until("all is delivered", async || taken.lock().unwrap().len() >= total).await;
    rig.until("and noted", async || waiting(&store, dead).await == 0).await;
    assert!(rig.most_in_memory <= 512, "{}", rig.most_in_memory);
    let taken = taken.lock().unwrap().clone();
    assert_eq!(taken.len(), total);
    let mut places: std::collections::HashMap<String, Vec<u64>> = std::collections::HashMap::new();
    for (bot, place) in taken {
        places.entry(bot).or_default().push(place);
    }
    assert_eq!(places.len(), 5);
    for places in places.values() {
        // The replays are one run, and the events another, beside it.
        let (mut events, mut replays) = (0, 0);
        for place in places {
            if *place == events + 1 {
                events += 1;
            } else {
                assert_eq!(*place, replays + 1, "neither of the two goes on with {place}");
                replays += 1;
            }
        }
        assert_eq!(events.max(replays), 300, "{events} {replays}");
    }
}
