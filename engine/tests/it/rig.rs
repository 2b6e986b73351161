//! An engine with a store of its own, on an exchange of its own that a test has its hands on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::{
    ApiCredential, Engine, EngineConfig, EngineHandle, EventFilter, NewExchange, Patience, Secret, Store,
    StoredEvent,
};
use model::{AccountId, BotId, Exchange, Tier, Timestamp};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use strategies::BotDefinition;
use venue::{Config, Credential, Venue};

/// A live bot that buys with the first tick.
pub(crate) const BODY: &str = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca",
    "stake_amount":50,"max_open_trades":1,"stop_loss":-30,"take_profit":20,"dry_run":false}"#;

/// An exchange at this address whose market can be moved.
pub(crate) async fn venue(listen: SocketAddr, config: Config) -> Venue {
    let credentials = vec![Credential { key: "the-key".to_owned(), secret: "the-secret".to_owned() }];
    venue::start(Config { listen, credentials, control: true, ..config }).await.unwrap()
}

/// Any free address.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A running engine and its only account.
pub(crate) struct Rig {
    engine: Engine,
    pub(crate) handle: EngineHandle,
    pub(crate) account: AccountId,
    venue: SocketAddr,
    config: EngineConfig,
    patience: Patience,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Rig {
    /// On an exchange, with its key stored.
    pub(crate) async fn start(venue: SocketAddr) -> Self {
        Self::start_with(venue, Patience::default()).await
    }

    /// The same, with a patience of its own.
    pub(crate) async fn start_with(venue: SocketAddr, patience: Patience) -> Self {
        Self::start_as(venue, patience, |_| {}).await
    }

    /// The same, told something else as well.
    pub(crate) async fn start_as(
        venue: SocketAddr,
        patience: Patience,
        tell: impl FnOnce(&mut EngineConfig),
    ) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
        let store = Store::open(&database_url).await.unwrap();
        let account = store.create_account("one", Timestamp::MIN).await.unwrap().id;
        store.close().await;
        let fee = "0.001".parse().unwrap();
        let mut config = EngineConfig::simulated(database_url, venue, fee);
        tell(&mut config);
        let engine = Engine::start_with(config.clone(), patience).await.unwrap();
        let handle = engine.handle();
        let new = NewExchange {
            exchange: Exchange::Binance,
            name: "the exchange".to_owned(),
            credential: ApiCredential {
                api_key: Secret::new("the-key".to_owned()),
                api_secret: Secret::new("the-secret".to_owned()),
            },
        };
        handle.create_exchange(account, new).await.unwrap();
        let http = reqwest::Client::new();
        Self { engine, handle, account, venue, config, patience, http, folder }
    }

    /// Another engine takes over.
    pub(crate) async fn restart(self) -> Self {
        drop(self.handle);
        self.engine.stop().await;
        let engine = Engine::start_with(self.config.clone(), self.patience).await.unwrap();
        Self { handle: engine.handle(), engine, ..self }
    }

    /// Copies the books as they are; where the copy is.
    pub(crate) async fn back_up(&self, name: &str) -> PathBuf {
        let store = Store::open(&self.config.database_url).await.unwrap();
        let made = store.back_up(&self.folder.path().join(name), Timestamp::MIN).await.unwrap();
        store.close().await;
        made.file
    }

    /// Another engine goes on from a copy.
    pub(crate) async fn restart_on(self, copy: &Path) -> Self {
        drop(self.handle);
        self.engine.stop().await;
        // Neither is of use without the other.
        let key = |database: &Path| format!("{}.key", database.display());
        std::fs::copy(key(&self.folder.path().join("books.db")), key(copy)).unwrap();
        let database_url = format!("sqlite://{}", copy.display());
        let config = EngineConfig { database_url, ..self.config };
        let engine = Engine::start_with(config.clone(), self.patience).await.unwrap();
        Self { handle: engine.handle(), engine, config, ..self }
    }

    /// Another engine goes on from a copy that lies where the books were and does not say that it is one.
    pub(crate) async fn restart_in_place_of(self, copy: &Path) -> Self {
        drop(self.handle);
        self.engine.stop().await;
        let mut books = SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await.unwrap();
        sqlx::query("DELETE FROM restored").execute(&mut books).await.unwrap();
        books.close().await.unwrap();
        for end in ["-wal", "-shm"] {
            // The last connection may have taken it away.
            let _ = std::fs::remove_file(self.folder.path().join(format!("books.db{end}")));
        }
        std::fs::copy(copy, self.folder.path().join("books.db")).unwrap();
        let engine = Engine::start_with(self.config.clone(), self.patience).await.unwrap();
        Self { handle: engine.handle(), engine, ..self }
    }

    pub(crate) async fn create(&self, body: &str) -> BotId {
        let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        self.handle.create_bot(self.account, Tier::Enterprise, definition).await.unwrap().0.bot.id
    }

    pub(crate) async fn run(&self, body: &str) -> BotId {
        let id = self.create(body).await;
        self.handle.start_bot(self.account, id).await.unwrap();
        id
    }

    /// Where the exchange is.
    pub(crate) fn venue(&self) -> SocketAddr {
        self.venue
    }

    /// Where the books are.
    pub(crate) fn database_url(&self) -> String {
        self.config.database_url.clone()
    }

    /// Somebody trades at that price.
    pub(crate) async fn trade_at(&self, price: &str) {
        self.trade_of("BTCUSDT", price).await;
    }

    /// Likewise, of any symbol.
    pub(crate) async fn trade_of(&self, symbol: &str, price: &str) {
        let url = format!("http://{}/venue/price", self.venue);
        let body = json!({"symbol": symbol, "price": price}).to_string();
        let answer = self.http.post(url).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Asks the exchange for nothing until it bans whoever asks from here, the engine among them.
    pub(crate) async fn get_banned(&self) {
        let url = format!("http://{}/api/v3/ping", self.venue);
        while self.http.get(&url).send().await.unwrap().status().is_success() {}
    }

    /// Sets the exchange's clock so far ahead of this machine's; behind, where negative.
    pub(crate) async fn set_venue_clock(&self, ahead_ms: i64) {
        self.by_hand("clock", &json!({"ahead_ms": ahead_ms})).await;
    }

    /// The owner sells coins that are his own.
    pub(crate) async fn sell_by_hand(&self, qty: &str) {
        self.by_hand("sell", &json!({"key": "the-key", "symbol": "BTCUSDT", "quantity": qty})).await;
    }

    /// The owner cancels an order of that client id.
    pub(crate) async fn cancel_by_hand(&self, id: &str) {
        self.by_hand("cancel", &json!({"key": "the-key", "symbol": "BTCUSDT", "clientOrderId": id})).await;
    }

    /// Changes what every pair of the exchange is like.
    pub(crate) async fn market(&self, change: &Value) {
        self.by_hand("market", change).await;
    }

    /// The owner cancels the stop that rests.
    pub(crate) async fn cancel_stop(&self) {
        let books = self.books().await;
        let orders = books["orders"].as_array().unwrap();
        let stop = orders.iter().find(|order| order["status"] == "NEW").unwrap();
        self.cancel_by_hand(stop["clientOrderId"].as_str().unwrap()).await;
    }

    /// The owner does something at the exchange.
    async fn by_hand(&self, what: &str, order: &Value) {
        let url = format!("http://{}/venue/{what}", self.venue);
        let answer = self.http.post(url).body(order.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Lets requests to the exchange go wrong by these rules from now on, none where all is to be well; how many requests
    /// each of the former rules was applied to.
    pub(crate) async fn rules(&self, rules: &Value) -> Vec<u64> {
        let url = format!("http://{}/venue/rules", self.venue);
        let answer = self.http.post(url).body(rules.to_string()).send().await.unwrap();
        let told: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        serde_json::from_value(told["hits"].clone()).unwrap_or_else(|_| panic!("{told}"))
    }

    /// How many requests the first rule was applied to so far.
    pub(crate) async fn hits(&self) -> u64 {
        let url = format!("http://{}/venue/ledger", self.venue);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["hits"][0].as_u64().unwrap()
    }

    /// The exchange's own books of our account.
    pub(crate) async fn books(&self) -> Value {
        let url = format!("http://{}/venue/ledger", self.venue);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["accounts"][0].take()
    }

    /// Everything that was told, oldest first.
    pub(crate) async fn events(&self) -> Vec<StoredEvent> {
        let mut events =
            self.handle.events(self.account, EventFilter::default(), 100, None).await.unwrap().rows;
        events.reverse();
        events
    }

    /// The bodies of what was told with this code of `bot.error`.
    pub(crate) async fn troubles(&self, code: &str) -> Vec<Value> {
        let bodies = self.events().await.into_iter();
        let bodies = bodies.map(|event| serde_json::from_str::<Value>(&event.body).unwrap());
        bodies.filter(|body| body["data"]["code"] == code).collect()
    }

    /// Waits until something is told that is wanted; its body.
    #[track_caller]
    pub(crate) fn told(
        &self,
        within: Duration,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        let at = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + within;
            loop {
                let events = self.events().await;
                let mut bodies =
                    events.iter().map(|event| serde_json::from_str::<Value>(&event.body).unwrap());
                if let Some(found) = bodies.find(|body| is_wanted(body)) {
                    return found;
                }
                let all: Vec<&str> = events.iter().map(|event| event.body.as_str()).collect();
                assert!(Instant::now() < deadline, "{at}: not told within {within:?}: {all:#?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(crate) async fn stop(self) {
        drop(self.handle);
        self.engine.stop().await;
    }
}

/// What `bot.error` with a code looks like.
pub(crate) fn trouble(code: &str) -> impl Fn(&Value) -> bool {
    move |body| body["data"]["code"] == code
}

/// What an event of a kind looks like.
pub(crate) fn event(kind: &str) -> impl Fn(&Value) -> bool {
    move |body| body["event"] == kind
}
