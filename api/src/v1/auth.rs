//! The gate: who asks, whether the key is good, and whether its plan allows one more request.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};
use dashmap::DashMap;
use engine::{Cidr, EngineHandle, KeyGrant, key_hash};
use model::{AccountId, HookId, KeyId, Tier, Timestamp};

use crate::ApiError;
use crate::access::{self, AccessConfig};
use crate::limit::{Limiter, Quota};

/// How long a key is taken for good without asking the store, by what only reads: a revoked one is refused after this.
const TRUSTED_FOR: Duration = Duration::from_millis(500);

/// How often it is looked whether a key is still good that a stream was opened with: a revoked one's ends within a second.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(400);

/// How often it is noted that a key was used.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// How many keys are remembered, good and bad, before all are forgotten.
const REMEMBERED: usize = 10_000;

/// How often a key whose plan is used up may still stop a bot or close a trade in the same time.
const RESERVED: u32 = 10;

/// How many keys that are spelled like ours and that nobody has may come from one client in a minute.
const GUESSES: u32 = 20;

/// How much an inbound hook may be sent in a minute.
const SIGNALS: u32 = 10;

/// Who asks, and what the key may do.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose key it is.
    pub(crate) account: AccountId,
    key_hash: [u8; 32],
    grant: Arc<KeyGrant>,
    /// What the request needed.
    asked: Rc<Cell<Option<&'static str>>>,
}

impl Caller {
    /// Refuses a key that lacks a scope; one without scopes may do everything.
    pub(crate) fn needs(&self, scope: &'static str) -> Result<AccountId, ApiError> {
        self.asked.set(Some(scope));
        if self.has(scope) { Ok(self.account) } else { Err(ApiError::Forbidden { scope }) }
    }

    /// Its account's plan; where the request only reads, as of half a second ago at the latest.
    pub(crate) fn plan(&self) -> Tier {
        self.grant.plan
    }

    /// The scope that the request needed, once it was asked for.
    pub(crate) fn asked(&self) -> Option<&'static str> {
        self.asked.get()
    }

    /// Refuses a key that lacks the scope that the same request needed before.
    pub(crate) fn needs_again(&self, scope: Option<&str>) -> Result<(), ApiError> {
        let Some(scope) = scope.filter(|scope| !self.has(scope)) else { return Ok(()) };
        let known = engine::SCOPES.iter().find(|known| **known == scope);
        Err(known.map_or(ApiError::Internal, |scope| ApiError::Forbidden { scope }))
    }

    fn has(&self, scope: &str) -> bool {
        has(&self.grant, scope)
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.extensions().get::<Self>().cloned().ok_or(ApiError::Unauthorised))
    }
}

/// The keys seen lately and how much of their plan they have used; one for all of the server's threads.
#[derive(Debug)]
pub(crate) struct Door {
    seen: DashMap<[u8; 32], (Option<Arc<KeyGrant>>, Instant)>,
    /// When it was last noted that a key was used.
    used: DashMap<KeyId, Instant>,
    limiter: Limiter<KeyId>,
    reserve: Limiter<KeyId>,
    guesses: Limiter<IpAddr>,
    signals: Limiter<HookId>,
    trusted_proxy: Option<Cidr>,
    opened: Instant,
}

impl Door {
    pub(crate) fn new(access: &AccessConfig) -> Self {
        Self {
            seen: DashMap::new(),
            used: DashMap::new(),
            limiter: Limiter::new(access.limit_window),
            reserve: Limiter::new(access.limit_window),
            guesses: Limiter::new(Duration::from_mins(1)),
            signals: Limiter::new(Duration::from_mins(1)),
            trusted_proxy: access.trusted_proxy,
            opened: Instant::now(),
        }
    }

    /// What the request's key grants, and the key's hash.
    async fn grant(
        &self,
        engine: &EngineHandle,
        request: &HttpRequest,
    ) -> Result<([u8; 32], Arc<KeyGrant>), ApiError> {
        // What is misspelled is no guess: it is known without asking anybody.
        let hash = bearer(request.headers()).and_then(key_hash).ok_or(ApiError::Unauthorised)?;
        // Whoever changes something is asked for anew: what is remembered may be of before the account was deleted.
        let trusted_for = if request.method().is_safe() { TRUSTED_FOR } else { Duration::ZERO };
        let grant = self.known(engine, hash, trusted_for).await?;
        let grant = grant.ok_or_else(|| self.guessed(request, ApiError::Unauthorised))?;
        if !is_good(&grant) {
            return Err(ApiError::Unauthorised);
        }
        // What is its owner's own, it may look at and sell.
        if grant.is_suspended && !request.method().is_safe() && !ends_something(request) {
            return Err(ApiError::SUSPENDED);
        }
        let allowed = &grant.key.allow_ips;
        if !allowed.is_empty() {
            let client = self.client(request);
            if !allowed.iter().any(|network| network.contains(client)) {
                return Err(ApiError::ADDRESS);
            }
        }
        self.note_use(engine, grant.key.id);
        Ok((hash, grant))
    }

    /// What a key grants, as of so long ago at the latest; `None` where nobody had it [`TRUSTED_FOR`] ago.
    async fn known(
        &self,
        engine: &EngineHandle,
        hash: [u8; 32],
        trusted_for: Duration,
    ) -> Result<Option<Arc<KeyGrant>>, ApiError> {
        let is_fresh = |(grant, at): &(Option<Arc<KeyGrant>>, Instant)| {
            at.elapsed() < if grant.is_some() { trusted_for } else { TRUSTED_FOR }
        };
        let seen = self.seen.get(&hash).filter(|seen| is_fresh(seen)).map(|seen| seen.0.clone());
        if let Some(grant) = seen {
            return Ok(grant);
        }
        let grant = engine.key_by_hash(hash).await?.map(Arc::new);
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(hash, (grant.clone(), Instant::now()));
        Ok(grant)
    }

    /// Waits until a caller's key is good no more, or has lost the scope that its request needed.
    pub(crate) async fn lost(&self, engine: &EngineHandle, caller: &Caller) {
        loop {
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            // Where nobody can say now, it is asked again.
            let Ok(grant) = self.known(engine, caller.key_hash, TRUSTED_FOR).await else { continue };
            let holds = |grant: &KeyGrant| caller.asked().is_none_or(|scope| has(grant, scope));
            if !grant.is_some_and(|grant| is_good(&grant) && holds(&grant)) {
                return;
            }
        }
    }

    /// Has it noted that a key was used, once a minute.
    fn note_use(&self, engine: &EngineHandle, key: KeyId) {
        let now = Instant::now();
        let is_noted = |at: &Instant| now.duration_since(*at) < NOTED_EVERY;
        if self.used.get(&key).is_some_and(|at| is_noted(&at)) {
            return;
        }
        if self.used.len() >= REMEMBERED {
            self.used.clear();
        }
        self.used.insert(key, now);
        engine.note_key_used(key);
    }

    /// Counts a key or a token that nobody has, or a hook's secret that is wrong; what its client is told. A good key is never refused for the guesses
    /// of others behind its address.
    pub(crate) fn guessed(&self, request: &HttpRequest, refusal: ApiError) -> ApiError {
        let quota = self.guesses.take(access::neighbourhood(self.client(request)), GUESSES, self.now_ns());
        quota.admit("keys and secrets that are wrong").err().unwrap_or(refusal)
    }

    /// Where a request comes from.
    pub(crate) fn client(&self, request: &HttpRequest) -> IpAddr {
        access::client(request, self.trusted_proxy.as_ref())
    }

    /// Counts what an inbound hook is sent.
    pub(crate) fn signalled(&self, hook: HookId) -> Result<(), ApiError> {
        self.signals.take(hook, SIGNALS, self.now_ns()).admit("signals for this hook")
    }

    /// Counts a request, and lets it in where the plan allows it, or where a bot is to be stopped.
    fn take(&self, grant: &KeyGrant, limit: u32, request: &HttpRequest) -> Quota {
        let now_ns = self.now_ns();
        let mut quota = self.limiter.take(grant.key.id, limit, now_ns);
        if !quota.allowed && ends_something(request) {
            quota.allowed = self.reserve.take(grant.key.id, RESERVED, now_ns).allowed;
        }
        quota
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Whether a key is neither revoked nor over.
fn is_good(grant: &KeyGrant) -> bool {
    let now = now();
    grant.key.revoked_at.is_none_or(|at| now < at) && grant.key.expires_at.is_none_or(|at| now < at)
}

/// Whether a key has a scope; one without scopes has all.
fn has(grant: &KeyGrant, scope: &str) -> bool {
    let scopes = &grant.key.scopes;
    scopes.is_empty() || scopes.iter().any(|held| held == scope)
}

/// Whether a request stops a bot or closes a trade: what must be possible however busy its owner's programs are.
fn ends_something(request: &HttpRequest) -> bool {
    let path = request.path();
    let stops = path.starts_with("/v1/bots/") && path.ends_with("/stop");
    let closes = path.starts_with("/v1/trades/") && path.ends_with("/close");
    request.method() == Method::POST && (stops || closes || path == "/v1/panic")
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Lets a request in, and tells with every answer what is left of the plan.
pub(crate) async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (Some(door), Some(engine)) =
        (request.app_data::<web::Data<Door>>(), request.app_data::<web::Data<EngineHandle>>())
    else {
        return Err(ApiError::Internal.into());
    };
    let (key_hash, grant) = door.grant(engine, request.request()).await?;
    let quota = door.take(&grant, engine.plans().of(grant.plan).requests_per_minute, request.request());
    let mut answer = match quota.admit("requests for this plan") {
        Ok(()) => {
            request.extensions_mut().insert(Caller {
                account: grant.key.account_id,
                key_hash,
                grant,
                asked: Rc::default(),
            });
            next.call(request).await?.map_into_boxed_body()
        }
        Err(refused) => request.error_response(refused),
    };
    for (name, value) in [("ratelimit-policy", quota.policy()), ("ratelimit", quota.state())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(answer)
}
