//! A bot's inbound hook, and `/v1/hooks/{token}`: alerts of others, such as those of charts, that order about a bot.

use std::str::FromStr as _;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use engine::{Action, Cidr, EngineHandle, Hook, NewHook, NewSignal, Positions, Secret, Signal, SignalStatus};
use model::{BotId, HookId, Quote, SignalId, Timestamp};
use serde::Serialize;
use serde_json::value::to_raw_value;

use super::auth::{Caller, Door};
use super::once::Once;
use super::show::{self, List};
use crate::ApiError;
use crate::body::{self, Fields, Reader, json, text, whole};
use crate::query::{Page, Query};

type Engine = web::Data<EngineHandle>;

/// The largest body of a signal, in bytes.
const LARGEST: usize = 8 * 1024;

/// A signal that was made longer ago than this is not carried out, in seconds; nor one that much in the future.
const STALE_S: u64 = 120;

/// How long a token may be good beside the next one, in seconds: a week.
const LONGEST_OVERLAP_S: u64 = 7 * 86_400;

/// How long it is where nothing is said.
const OVERLAP_S: u64 = 86_400;

/// A bot's hook.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Hook)]
struct Shown {
    id: HookId,
    bot_id: BotId,
    /// What it may order.
    actions: Vec<Action>,
    /// Whether `secret` has to stand in every body.
    has_secret: bool,
    /// From where it may be sent; empty means from anywhere.
    #[schema(example = json!(["52.89.214.238/32"]))]
    allow_ips: Vec<String>,
    created_at: Timestamp,
    /// When it got its present token, if that is not its first.
    #[schema(required)]
    rotated_at: Option<Timestamp>,
    /// Until when the token before is good as well.
    #[schema(required)]
    previous_until: Option<Timestamp>,
    /// The token, when it is made and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The path to post to, with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl Shown {
    fn of(hook: &Hook, token: Option<&Secret>) -> Self {
        Self {
            id: hook.id,
            bot_id: hook.bot_id,
            actions: hook.actions.clone(),
            has_secret: hook.has_secret,
            allow_ips: hook.allow_ips.iter().map(ToString::to_string).collect(),
            created_at: hook.created_at,
            rotated_at: hook.rotated_at,
            previous_until: hook.previous_until,
            token: token.map(|token| token.expose().to_owned()),
            path: token.map(|token| format!("/v1/hooks/{}", token.expose())),
        }
    }
}

/// What a hook is made with.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"actions": ["close", "stop"], "secret": "a secret of yours", "allow_ips": ["52.89.214.238"]}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct NewBotHook {
    /// What it may order: everything, where it is left out.
    actions: Option<Vec<Action>>,
    /// A text of 8 to 200 characters that has to stand in every body as `secret`.
    #[schema(min_length = 8, max_length = 200)]
    secret: Option<String>,
    /// Addresses or networks that it may be sent from.
    allow_ips: Option<Vec<String>>,
}

/// How a hook's token is replaced.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct RotateHook {
    /// For how many seconds the token before is good as well: a day, where it is left out, and a week at most.
    #[schema(minimum = 0, maximum = 604_800)]
    overlap_s: Option<u64>,
}

/// What a signal orders.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"action": "close", "timenow": "2026-04-01T14:30:00Z"}))]
#[expect(dead_code, reason = "a body is read field by field; this is its schema")]
struct SignalBody {
    action: Action,
    /// Of `stop`: what becomes of what the bot holds; `hold` where it is left out.
    positions: Option<Positions>,
    /// Of `add`: how much quote to spend, the bot's stake at most and where it is left out.
    amount: Option<Quote>,
    /// What its sender calls it: the same id within a day is the same signal. Without one, the same body within a minute
    /// is, unless something was carried out in between.
    #[schema(min_length = 1, max_length = 100)]
    id: Option<String>,
    /// The hook's secret, where it has one.
    secret: Option<String>,
    /// When it was made: what is older than two minutes is refused.
    timenow: Option<Timestamp>,
}

/// What an inbound hook was sent, and what became of it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Signal)]
struct ShownSignal {
    id: SignalId,
    bot_id: BotId,
    action: Action,
    #[schema(required)]
    amount: Option<Quote>,
    status: SignalStatus,
    /// Why it failed.
    #[schema(required)]
    error: Option<Failure>,
    received_at: Timestamp,
    /// Whether it is the same as one before, which alone counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

/// Why a signal failed.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SignalFailure)]
struct Failure {
    code: String,
    message: String,
}

impl ShownSignal {
    fn of(signal: &Signal, duplicate: Option<bool>) -> Self {
        let failure =
            |(code, message): &(String, String)| Failure { code: code.clone(), message: message.clone() };
        Self {
            id: signal.id,
            bot_id: signal.bot_id,
            action: signal.action,
            amount: signal.amount,
            status: signal.status,
            error: signal.failure.as_ref().map(failure),
            received_at: signal.received_at,
            duplicate,
        }
    }
}

fn bot(path: &web::Path<String>) -> Result<BotId, ApiError> {
    path.parse().map_err(|_| ApiError::NotFound("bot"))
}

/// Make a bot's inbound hook
///
/// Whoever knows its address can order about the bot: start, stop, close, add. The token is in this answer, and in no
/// other. A bot has one hook.
#[utoipa::path(post, path = "/v1/bots/{id}/hook", tag = "Signals", security(("api_key" = ["signals:write"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    request_body = Option<NewBotHook>,
    responses((status = 201, description = "The hook, with its token.", body = Shown),
        (status = 409, description = "The bot has a hook.")))]
pub(crate) async fn create(
    caller: Caller,
    once: Once,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let bot = bot(&path)?;
    let new = new_hook(&body::optional_object(&request, payload).await?)?;
    let location = format!("/v1/bots/{bot}/hook");
    let answer = |hook: &Hook, token: &Secret| once.created(location, &Shown::of(hook, Some(token)));
    engine.create_hook(caller.account, bot, new, answer).await
}

/// Get a bot's inbound hook
///
/// Without its token.
#[utoipa::path(get, path = "/v1/bots/{id}/hook", tag = "Signals", security(("api_key" = ["bots:read"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    responses((status = 200, description = "The hook.", body = Shown)))]
pub(crate) async fn get(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let hook = engine.hook(caller.account, bot(&path)?).await?;
    Ok(HttpResponse::Ok().json(Shown::of(&hook, None)))
}

/// Rotate the token of a bot's inbound hook
///
/// The token before is good as well for `overlap_s` more, so that senders can be changed one by one.
#[utoipa::path(post, path = "/v1/bots/{id}/hook/rotate", tag = "Signals", security(("api_key" = ["signals:write"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    request_body = Option<RotateHook>,
    responses((status = 200, description = "The hook, with its new token.", body = Shown)))]
pub(crate) async fn rotate(
    caller: Caller,
    once: Once,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let bot = bot(&path)?;
    let fields = body::optional_object(&request, payload).await?;
    let mut body = Reader::new(&fields);
    let wanted = format!("a whole number of seconds from 0 to {LONGEST_OVERLAP_S}");
    let overlap_s = body.optional("overlap_s", &wanted, |raw| {
        whole(raw).filter(|seconds: &u64| *seconds <= LONGEST_OVERLAP_S)
    });
    let overlap_s = body.finish(Some(overlap_s.unwrap_or(OVERLAP_S)))?;
    let answer =
        |hook: &Hook, token: &Secret| once.answered(StatusCode::OK, None, &Shown::of(hook, Some(token)));
    engine.rotate_hook(caller.account, bot, overlap_s, answer).await
}

/// Delete a bot's inbound hook
///
/// What is sent to it from then on does nothing.
#[utoipa::path(delete, path = "/v1/bots/{id}/hook", tag = "Signals", security(("api_key" = ["signals:write"])),
    params(("id" = BotId, Path, description = "Which bot.")),
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    engine.delete_hook(caller.account, bot(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// List what a bot's hook was sent
///
/// Newest first, with what became of it.
#[utoipa::path(get, path = "/v1/bots/{id}/signals", tag = "Signals", security(("api_key" = ["bots:read"])),
    params(("id" = BotId, Path, description = "Which bot."), Page<SignalId>),
    responses((status = 200, description = "A page of signals.", body = List<ShownSignal>)))]
pub(crate) async fn list(
    caller: Caller,
    engine: Engine,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let bot = bot(&path)?;
    let mut query = Query::new(request.query_string())?;
    let page = query.page::<SignalId>();
    query.finish()?;
    let signals = engine.signals(caller.account, bot, page.limit, page.starting_after).await?;
    let shown =
        |signal: &Signal| to_raw_value(&ShownSignal::of(signal, None)).map_err(|_| ApiError::Internal);
    show::list(&signals, shown, |signal| signal.id.to_string())
}

/// Receive a signal
///
/// For senders that can set no header: the token in the address is the key. The body is a JSON object, whatever its
/// `Content-Type`, or just the word `start`, `stop`, `close` or `add`. It is durable when it is answered, and carried out
/// once, in the order of its bot's signals, even if the server is ended meanwhile; `GET /v1/bots/{id}/signals` tells what
/// became of it. Ten a minute.
#[utoipa::path(post, path = "/v1/hooks/{token}", tag = "Signals", security(()),
    params(("token" = String, Path, description = "The hook's token.")),
    request_body = SignalBody,
    responses(
        (status = 202, description = "It is stored, and will be carried out.", body = ShownSignal),
        (status = 403, description = "It may not be sent from this address, or its secret is wrong."),
        (status = 404, description = "No hook has this token."),
        (status = 429, description = "The hook was sent more than ten in a minute."),
    ))]
pub(crate) async fn receive(
    engine: Engine,
    door: web::Data<Door>,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let hook = match engine.hook_by_token(&path).await {
        Ok(hook) => hook,
        Err(engine::EngineError::NotFound(what)) => {
            return Err(door.guessed(&request, ApiError::NotFound(what)));
        }
        Err(error) => return Err(error.into()),
    };
    if !hook.admits(door.client(&request)) {
        return Err(ApiError::ADDRESS);
    }
    let told = request.headers().get("content-length");
    if told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok()).is_some_and(|told| told > LARGEST) {
        return Err(ApiError::BodyTooLarge);
    }
    let sent = body::bytes(&request, payload).await?;
    if sent.len() > LARGEST {
        return Err(ApiError::BodyTooLarge);
    }
    let (signal, secret) = signal(&sent)?;
    if !engine.knows_secret(&hook, secret.as_deref())? {
        return Err(door.guessed(&request, ApiError::SECRET));
    }
    door.signalled(hook.id)?;
    let (taken, is_repeated) = engine.take_signal(&hook, signal, &sent).await?;
    Ok(HttpResponse::Accepted().json(ShownSignal::of(&taken, Some(is_repeated))))
}

fn new_hook(fields: &Fields) -> Result<NewHook, ApiError> {
    let mut body = Reader::new(fields);
    let actions = body.optional("actions", "a list of some of start, stop, close, add", |raw| {
        let actions: Vec<Action> = json(raw)?;
        (!actions.is_empty()).then(|| Action::ALL.into_iter().filter(|it| actions.contains(it)).collect())
    });
    let secret = body.optional("secret", "a text of 8 to 200 characters without control characters", |raw| {
        text(raw, 8, 200)
    });
    let wanted = "a list of up to 50 addresses or networks such as 203.0.113.0/24";
    let allow_ips = body.optional("allow_ips", wanted, |raw| {
        let given: Vec<String> = json(raw).filter(|given: &Vec<String>| given.len() <= 50)?;
        given.iter().map(|text| Cidr::from_str(text).ok()).collect::<Option<Vec<Cidr>>>()
    });
    body.finish(Some(NewHook {
        actions: actions.unwrap_or_else(|| Action::ALL.to_vec()),
        secret: secret.map(Secret::new),
        allow_ips: allow_ips.unwrap_or_default(),
    }))
}

/// What a body orders, and the secret that stands in it.
fn signal(body: &[u8]) -> Result<(NewSignal, Option<String>), ApiError> {
    let word = std::str::from_utf8(body).ok().and_then(|text| text.trim().parse().ok());
    if let Some(action) = word {
        let signal = NewSignal { action, positions: Positions::Hold, amount: None, id: None };
        return Ok((signal, None));
    }
    let fields = body::fields(body)?;
    let mut body = Reader::new(&fields);
    let action: Option<Action> = body.required("action", "start, stop, close or add", json);
    let positions = body.optional("positions", "hold, close or drain, of a stop", |raw| {
        json::<Positions>(raw).filter(|_| action.is_none_or(|it| it == Action::Stop))
    });
    let amount = body.optional("amount", "an amount of quote above 0, of an add", |raw| {
        let amount = json(raw).filter(|amount: &Quote| *amount > Quote::ZERO);
        amount.filter(|_| action.is_none_or(|it| it == Action::Add))
    });
    let id = body
        .optional("id", "a text of 1 to 100 characters without control characters", |raw| text(raw, 1, 100));
    let secret = body.optional("secret", "a text", |raw| text(raw, 1, 200));
    let wanted = format!("a time such as 2026-04-01T12:00:00Z, at most {STALE_S} s from now");
    body.optional("timenow", &wanted, |raw| {
        let made: Timestamp = json(raw)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let away_ms = i64::try_from(since).unwrap_or(i64::MAX).abs_diff(made.millis());
        (away_ms <= STALE_S * 1_000).then_some(())
    });
    let action = body.finish(action)?;
    Ok((NewSignal { action, positions: positions.unwrap_or_default(), amount, id }, secret))
}
