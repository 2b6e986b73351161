//! The gate: who asks, whether the key is good, and whether its plan allows one more request.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};
use dashmap::DashMap;
use engine::{EngineHandle, KeyGrant, key_hash};
use model::{AccountId, KeyId, Timestamp};

use crate::ApiError;
use crate::limit::{Limiter, Quota};

/// How long a key is taken for good without asking the store: a revoked one is refused after this.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How many keys are remembered, good and bad, before all are forgotten.
const REMEMBERED: usize = 10_000;

/// Requests a minute, per plan.
const PLANS: [(&str, u32); 3] = [("standard", 100), ("pro", 300), ("enterprise", 1_000)];

/// Who asks, and what the key may do.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose key it is.
    pub(crate) account: AccountId,
    scopes: Vec<String>,
}

impl Caller {
    /// Refuses a key that lacks a scope; one without scopes may do everything.
    pub(crate) fn needs(&self, scope: &'static str) -> Result<AccountId, ApiError> {
        if self.scopes.is_empty() || self.scopes.iter().any(|held| held == scope) {
            Ok(self.account)
        } else {
            Err(ApiError::Forbidden { scope })
        }
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
    seen: DashMap<[u8; 32], (Option<KeyGrant>, Instant)>,
    limiter: Limiter<KeyId>,
    opened: Instant,
}

impl Default for Door {
    fn default() -> Self {
        Self { seen: DashMap::new(), limiter: Limiter::default(), opened: Instant::now() }
    }
}

impl Door {
    /// What the request's key grants.
    async fn grant(&self, engine: &EngineHandle, headers: &HeaderMap) -> Result<KeyGrant, ApiError> {
        let hash = bearer(headers).and_then(key_hash).ok_or(ApiError::Unauthorised)?;
        let seen =
            self.seen.get(&hash).filter(|seen| seen.1.elapsed() < TRUSTED_FOR).map(|seen| seen.0.clone());
        let grant = match seen {
            Some(grant) => grant,
            None => {
                let grant = engine.key_by_hash(hash).await?;
                if self.seen.len() >= REMEMBERED {
                    self.seen.clear();
                }
                self.seen.insert(hash, (grant.clone(), Instant::now()));
                grant
            }
        };
        let now = now();
        let is_good = |grant: &KeyGrant| {
            grant.key.revoked_at.is_none_or(|at| now < at) && grant.key.expires_at.is_none_or(|at| now < at)
        };
        grant.filter(is_good).ok_or(ApiError::Unauthorised)
    }

    fn take(&self, grant: &KeyGrant) -> Quota {
        let limit =
            PLANS.iter().find(|(plan, _)| *plan == grant.plan).map_or(PLANS[0].1, |(_, limit)| *limit);
        let now_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.limiter.take(grant.key.id, limit, now_ms)
    }
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
    let grant = door.grant(engine, request.headers()).await?;
    let quota = door.take(&grant);
    let mut answer = if quota.allowed {
        request.extensions_mut().insert(Caller { account: grant.key.account_id, scopes: grant.key.scopes });
        next.call(request).await?.map_into_boxed_body()
    } else {
        request.error_response(ApiError::RateLimited { retry_after_s: quota.reset_s })
    };
    for (name, value) in [("ratelimit-policy", quota.policy()), ("ratelimit", quota.state())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(answer)
}
