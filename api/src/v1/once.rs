//! `Idempotency-Key`: a POST that is sent again under the same key is done once, and answered as the first time, for a
//! day, across restarts and crashes.
//!
//! Only what was done is kept. An error means that nothing was, so the same key may try again.
//!
//! # What a handler does for it
//! One that only moves what is there, such as a start, does nothing: its answer is kept after it. One that *makes*
//! something takes [`Once`] and lets the engine's method write the answer in the transaction that makes it:
//!
//! ```text
//! pub(crate) async fn create(caller: Caller, once: Once, engine: Engine, …) -> Result<HttpResponse, ApiError> {
//!     let answer = |thing: &Thing| once.created(format!("/v1/things/{}", thing.id), &Shown::of(thing));
//!     engine.create_thing_answering(account, new, answer).await
//! }
//! ```
//!
//! There `create_thing_answering` calls `answer` with what it is about to store, gets `(HttpResponse,
//! Option<KeptAnswer>)`, puts the second into its `Change` (field `answer`) or, in a transaction of the store's own,
//! executes `keep!(answer)`, and returns the first once that is durable.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, rt, web};
use engine::{Answer, Asked, EngineHandle, Kept, KeptAnswer};
use model::AccountId;
use serde::Serialize;
use tracing::Instrument as _;

use super::auth::Caller;
use crate::ApiError;
use crate::body;

/// The header's name.
const HEADER: &str = "Idempotency-Key";

/// The longest key.
const LONGEST: usize = 255;

/// What a handler that makes something words its answer with, so that it is kept where the client asked for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Once(Option<Rc<Keeping>>);

#[derive(Debug)]
struct Keeping {
    engine: EngineHandle,
    asked: Asked,
    caller: Caller,
    is_kept: Cell<bool>,
}

impl Once {
    /// The answer to something that comes into being at `location`, and what of it is kept with that.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for what is no JSON.
    pub(crate) fn created(
        &self,
        location: String,
        shown: &impl Serialize,
    ) -> Result<(HttpResponse, Option<KeptAnswer>), ApiError> {
        self.answered(StatusCode::CREATED, Some(location), shown)
    }

    /// What is kept with something whose end is not known yet: 202 with what is there before it. The answer that the
    /// client gets in the end takes its place.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for what is no JSON.
    pub(crate) fn meanwhile(&self, shown: &impl Serialize) -> Result<Option<KeptAnswer>, ApiError> {
        let body = serde_json::to_string(shown).map_err(|_| ApiError::Internal)?;
        let answer = Answer { status: StatusCode::ACCEPTED.as_u16(), location: None, scope: None, body };
        Ok(self.0.as_deref().map(|keeping| keeping.sealed(answer)))
    }

    /// Likewise with another status.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for what is no JSON.
    pub(crate) fn answered(
        &self,
        status: StatusCode,
        location: Option<String>,
        shown: &impl Serialize,
    ) -> Result<(HttpResponse, Option<KeptAnswer>), ApiError> {
        let body = serde_json::to_string(shown).map_err(|_| ApiError::Internal)?;
        let answer = Answer { status: status.as_u16(), location, scope: None, body };
        let response = response(&answer);
        let kept = self.0.as_deref().map(|keeping| {
            keeping.is_kept.set(true);
            keeping.sealed(answer)
        });
        Ok((response, kept))
    }
}

impl Keeping {
    /// As it is kept.
    fn sealed(&self, answer: Answer) -> KeptAnswer {
        let scope = self.caller.asked().map(str::to_owned);
        self.engine.sealed_answer(self.asked.clone(), Answer { scope, ..answer })
    }
}

impl FromRequest for Once {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}

/// The keys whose requests are under way; one for all of the server's threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<Mutex<HashSet<(AccountId, String)>>>);

impl UnderWay {
    fn begin(&self, asked: &Asked) -> Option<Begun> {
        let name = (asked.account_id, asked.key.clone());
        let is_first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        is_first.then(|| Begun { all: self.clone(), name })
    }
}

/// A request under way; over when this is dropped.
struct Begun {
    all: UnderWay,
    name: (AccountId, String),
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Answers a POST whose key is known as it was answered, and sees to it that one whose key is new is answered once.
pub(crate) async fn gate(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(key) = key(&request)? else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let (Some(engine), Some(under_way)) =
        (request.app_data::<web::Data<EngineHandle>>(), request.app_data::<web::Data<UnderWay>>())
    else {
        return Err(ApiError::Internal.into());
    };
    let (engine, under_way) = (engine.get_ref().clone(), under_way.get_ref().clone());
    let caller = request.extensions().get::<Caller>().cloned().ok_or(ApiError::Internal)?;
    let payload = request.extract::<web::Payload>().await?;
    let body = body::bytes(request.request(), payload).await?;
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let asked = Asked::new(caller.account, key, path, &body);
    let begun = under_way.begin(&asked).ok_or_else(running)?;
    match engine.kept_answer(&asked).await.map_err(ApiError::from)? {
        Kept::Nothing => {}
        Kept::Answer(answer) => {
            caller.needs_again(answer.scope.as_deref())?;
            let mut response = response(&answer);
            let replayed = HeaderName::from_static("idempotent-replayed");
            response.headers_mut().insert(replayed, HeaderValue::from_static("true"));
            return Ok(request.into_response(response));
        }
        Kept::AnotherRequest => return Err(ApiError::IdempotencyKeyReused.into()),
        Kept::Unreadable => {
            let message =
                "this was done, but its answer cannot be given again: ask for what it made".to_owned();
            return Err(ApiError::Conflict { code: "idempotent_answer_lost", message }.into());
        }
    }
    request.set_payload(body.into());
    let keeping = Rc::new(Keeping { engine, asked, caller, is_kept: Cell::new(false) });
    request.extensions_mut().insert(Once(Some(keeping.clone())));
    // To its end, whether or not the client waits for it: until then the key is under way.
    let done = rt::spawn(
        async move {
            let _begun = begun;
            keep(&keeping, next.call(request).await?.map_into_boxed_body()).await
        }
        .in_current_span(),
    );
    done.await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(ApiError::Unavailable.into()),
    })
}

/// Keeps the answer to what was done, where it was not kept with it.
async fn keep(keeping: &Keeping, response: ServiceResponse) -> Result<ServiceResponse, Error> {
    if keeping.is_kept.get() || !response.status().is_success() {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let (status, location) = (response.status().as_u16(), location.map(str::to_owned));
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body).await.map_err(|_| ApiError::Internal)?;
    let body = String::from_utf8(bytes.to_vec()).map_err(|_| ApiError::Internal)?;
    let answer = keeping.sealed(Answer { status, location, scope: None, body });
    keeping.engine.keep_answer(answer).await.map_err(ApiError::from)?;
    Ok(ServiceResponse::new(request, head.set_body(bytes).map_into_boxed_body()))
}

fn response(answer: &Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    if let Some(location) = &answer.location {
        response.insert_header((header::LOCATION, location.as_str()));
    }
    if answer.body.is_empty() {
        return response.finish();
    }
    response.content_type("application/json").body(answer.body.clone())
}

/// The key that a request came with; only a POST's means anything.
fn key(request: &ServiceRequest) -> Result<Option<String>, ApiError> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    let mut given = request.headers().get_all(HeaderName::from_static("idempotency-key"));
    let Some(key) = given.next() else { return Ok(None) };
    let is_key = |key: &&str| {
        (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    match (key.to_str().ok().filter(is_key), given.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => {
            let message = format!("must be given once and have 1 to {LONGEST} printable ASCII characters");
            Err(ApiError::field(HEADER, "parameter_invalid", message))
        }
    }
}

fn running() -> ApiError {
    let message = "a request with this Idempotency-Key is still running: wait for its end".to_owned();
    ApiError::Conflict { code: "idempotency_key_in_use", message }
}
