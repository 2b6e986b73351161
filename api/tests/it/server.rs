//! A server on a real engine with a store of its own, and a client that talks to it.

use engine::{ApiKey, Engine, EngineConfig, Store, key_hash, new_key};
use model::{AccountId, KeyId, Timestamp};
use reqwest::Method;
use serde_json::Value;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A running server.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) database_url: String,
    api: api::Running,
    engine: Engine,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// An account with a key.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) account: AccountId,
    pub(crate) key: String,
}

/// An answer: its status, headers and body (`Null` where there is none).
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The names of the fields that were refused.
    #[track_caller]
    pub(crate) fn refused(&self) -> Vec<&str> {
        assert_eq!(self.status, 400, "{self:?}");
        let details = self.body["error"]["details"].as_array().unwrap();
        details.iter().map(|fault| fault["param"].as_str().unwrap()).collect()
    }
}

impl Server {
    /// On a venue at this address.
    pub(crate) async fn start(venue: &str) -> Self {
        Self::start_with(venue, model::Plans::default(), api::AccessConfig::default()).await
    }

    /// Likewise, where Stripe is known.
    pub(crate) async fn start_with_stripe(stripe: engine::StripeConfig) -> Self {
        let config = |mut config: EngineConfig| {
            config.stripe = Some(stripe);
            config
        };
        let (plans, access) = (model::Plans::default(), api::AccessConfig::default());
        Self::configured("127.0.0.1:1", plans, access, config).await
    }

    /// Likewise, with plans of its own.
    pub(crate) async fn start_with(venue: &str, plans: model::Plans, access: api::AccessConfig) -> Self {
        Self::configured(venue, plans, access, |config| config).await
    }

    async fn configured(
        venue: &str,
        plans: model::Plans,
        access: api::AccessConfig,
        configure: impl FnOnce(EngineConfig) -> EngineConfig,
    ) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
        let config = EngineConfig::simulated(database_url.clone(), venue, "0.001".parse().unwrap());
        let engine = Engine::start(configure(EngineConfig { plans, ..config })).await.unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let api =
            api::serve(api::ApiConfig { engine: engine.handle(), listen, metrics: None, access }).unwrap();
        let url = format!("http://{}", api.address());
        // The server closes what is silent for five seconds: what might be closed in this very moment is not used again.
        let http =
            reqwest::Client::builder().pool_idle_timeout(std::time::Duration::from_secs(2)).build().unwrap();
        Self { url, database_url, api, engine, http, _folder: folder }
    }

    /// Ends it; the store goes with it.
    pub(crate) async fn stop(self) {
        self.api.stop().await;
        self.engine.stop().await;
    }

    /// Another account, with a key of these scopes.
    pub(crate) async fn tenant(&self, scopes: &[&str]) -> Tenant {
        let store = Store::open(&self.database_url).await.unwrap();
        let account = store.create_account("tenant", NOW).await.unwrap().id;
        store.close().await;
        Tenant { account, key: self.key(account, scopes).await }
    }

    /// A key of these scopes.
    pub(crate) async fn key(&self, account: AccountId, scopes: &[&str]) -> String {
        self.key_until(account, scopes, None).await
    }

    /// Likewise, good until then.
    pub(crate) async fn key_until(
        &self,
        account: AccountId,
        scopes: &[&str],
        expires_at: Option<Timestamp>,
    ) -> String {
        self.key_from(account, scopes, expires_at, &[]).await
    }

    /// Likewise, from there.
    pub(crate) async fn key_from(
        &self,
        account: AccountId,
        scopes: &[&str],
        expires_at: Option<Timestamp>,
        allow_ips: &[&str],
    ) -> String {
        let store = Store::open(&self.database_url).await.unwrap();
        let key = new_key();
        let stored = ApiKey {
            id: KeyId::new(),
            account_id: account,
            name: "test".to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            created_at: NOW,
            expires_at,
            revoked_at: None,
            allow_ips: allow_ips.iter().map(|network| network.parse().unwrap()).collect(),
            hint: engine::key_hint(&key),
            last_used_at: None,
        };
        assert!(store.create_key(&stored, key_hash(&key).unwrap()).await.unwrap());
        store.close().await;
        key
    }

    /// Asks with a body of JSON text, or without.
    pub(crate) async fn ask(&self, who: &Tenant, method: Method, path: &str, body: Option<&str>) -> Answer {
        self.ask_with(who, method, path, body, &[]).await
    }

    /// Likewise, with more headers.
    pub(crate) async fn ask_with(
        &self,
        who: &Tenant,
        method: Method,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&who.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        // A stream has no end to wait for.
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let text = if is_stream { String::new() } else { answer.text().await.unwrap() };
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    pub(crate) async fn get(&self, who: &Tenant, path: &str) -> Answer {
        self.ask(who, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, who: &Tenant, path: &str, body: &str) -> Answer {
        self.ask(who, Method::POST, path, Some(body).filter(|body| !body.is_empty())).await
    }
}
