//! The one table from what went wrong to what a client is told: the only place with status codes.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use engine::EngineError;
use model::{Fault, Faults, RequestId};
use serde::Serialize;

use crate::headers;

/// After how many seconds a request is to be sent again that could not be taken.
const BUSY_S: u64 = 5;

/// Everything a request can fail of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApiError {
    /// Bad fields or query parameters, all of them; never empty.
    Invalid(Vec<Fault>),
    /// The body is no JSON object; the sentence says where it breaks.
    BadJson(String),
    /// The request could not be read as HTTP asks for.
    BadRequest,
    /// No key was given, or none that is known, in force and well formed.
    Unauthorised,
    /// The key is good but lacks this scope.
    Forbidden {
        /// The scope that the request needs.
        scope: &'static str,
    },
    /// It may not be used so.
    NotAllowed {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence for people.
        message: &'static str,
    },
    /// There is no such thing for this account.
    NotFound(&'static str),
    /// There is nothing at this path.
    NoRoute,
    /// The path exists, but not with this method.
    MethodNotAllowed {
        /// The methods that it knows, as the header `Allow` names them.
        allow: String,
    },
    /// The body did not come in time.
    BodyTimeout,
    /// It clashes with the state of what it is about.
    Conflict {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// The `Idempotency-Key` came with another request before.
    IdempotencyKeyReused,
    /// The headers are larger than anybody needs.
    HeadTooLarge,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body is in a form that is not read here.
    Unsupported {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence for people.
        message: &'static str,
    },
    /// As much as may be was asked for already, for now.
    RateLimited {
        /// What there was too much of.
        of: &'static str,
        /// Whole seconds after which a request works again.
        retry_after_s: u64,
    },
    /// A venue that has to be asked does not answer.
    VenueSilent(String),
    /// What would answer is full or not there yet.
    Unavailable,
    /// Our fault; the cause is in the log under the request id.
    Internal,
}

/// One row of the table.
struct Row {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    param: Option<String>,
}

impl ApiError {
    /// The key, or the hook, may not be used from where the request comes from.
    pub const ADDRESS: Self = Self::NotAllowed {
        code: "address_not_allowed",
        message: "this may not be used from your address: see its list of allowed addresses",
    };

    /// The account is suspended: its keys may read, stop bots and close trades.
    pub const SUSPENDED: Self = Self::NotAllowed {
        code: "account_suspended",
        message: "the account is suspended: it may read, stop bots and close trades, and nothing else; ask the operator of \
            this server",
    };

    /// The secret that has to stand in a signal's body is not this.
    pub const SECRET: Self = Self::NotAllowed {
        code: "secret_wrong",
        message: "the body has to hold the hook's secret as `secret`",
    };

    /// The body is not declared as JSON in UTF-8.
    pub const NOT_JSON: Self = Self::Unsupported {
        code: "content_type_unsupported",
        message: "send the body as Content-Type: application/json, in UTF-8",
    };

    /// The body is packed.
    pub const PACKED: Self = Self::Unsupported {
        code: "content_encoding_unsupported",
        message: "send the body as it is, without a Content-Encoding",
    };

    /// One bad field or query parameter.
    pub fn field(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault { param: param.into(), code, message: message.into() }])
    }

    /// What an answer made by the framework itself means; `None` where it is no error.
    pub fn of_framework(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::NOT_FOUND => Some(Self::NoRoute),
            StatusCode::METHOD_NOT_ALLOWED => Some(Self::MethodNotAllowed { allow: "GET, HEAD".to_owned() }),
            StatusCode::PAYLOAD_TOO_LARGE => Some(Self::BodyTooLarge),
            StatusCode::SERVICE_UNAVAILABLE => Some(Self::Unavailable),
            status if status.is_client_error() => Some(Self::BadRequest),
            status if status.is_server_error() => Some(Self::Internal),
            _ => None,
        }
    }

    fn row(&self) -> Row {
        const REQUEST: &str = "invalid_request_error";
        const LOGIN: &str = "authentication_error";
        let row = |status, kind, code, message: &str| Row {
            status,
            kind,
            code,
            message: message.to_owned(),
            param: None,
        };
        match self {
            Self::Invalid(faults) => invalid(faults),
            Self::BadJson(why) => row(StatusCode::BAD_REQUEST, REQUEST, "json_invalid", why),
            Self::BadRequest => {
                row(StatusCode::BAD_REQUEST, REQUEST, "request_invalid", "the request could not be read")
            }
            Self::Unauthorised => row(
                StatusCode::UNAUTHORIZED,
                LOGIN,
                "api_key_invalid",
                "send a valid API key as `Authorization: Bearer bpx_…`",
            ),
            Self::Forbidden { scope } => row(
                StatusCode::FORBIDDEN,
                "permission_error",
                "scope_missing",
                &format!("this API key lacks the scope {scope}"),
            ),
            Self::NotAllowed { code, message } => {
                row(StatusCode::FORBIDDEN, "permission_error", code, message)
            }
            Self::NotFound(what) => {
                row(StatusCode::NOT_FOUND, REQUEST, "resource_missing", &format!("there is no such {what}"))
            }
            Self::NoRoute => {
                row(StatusCode::NOT_FOUND, REQUEST, "route_unknown", "there is nothing at this path")
            }
            Self::MethodNotAllowed { .. } => row(
                StatusCode::METHOD_NOT_ALLOWED,
                REQUEST,
                "method_not_allowed",
                "this path does not know this method",
            ),
            Self::BodyTimeout => {
                row(StatusCode::REQUEST_TIMEOUT, REQUEST, "body_timeout", "the body did not come in time")
            }
            Self::Conflict { code, message } => row(StatusCode::CONFLICT, REQUEST, code, message),
            Self::IdempotencyKeyReused => row(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_error",
                "idempotency_key_reused",
                "this Idempotency-Key came with another path or body before: use a new one for a new request",
            ),
            Self::HeadTooLarge => row(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                REQUEST,
                "headers_too_large",
                "the headers hold at most 16384 bytes",
            ),
            Self::BodyTooLarge => row(
                StatusCode::PAYLOAD_TOO_LARGE,
                REQUEST,
                "body_too_large",
                "a body holds at most 65536 bytes, a signal's 8192",
            ),
            Self::Unsupported { code, message } => {
                row(StatusCode::UNSUPPORTED_MEDIA_TYPE, REQUEST, code, message)
            }
            Self::RateLimited { of, retry_after_s } => row(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "rate_limited",
                &format!("too many {of}; try again in {retry_after_s} s"),
            ),
            Self::VenueSilent(why) => {
                row(StatusCode::SERVICE_UNAVAILABLE, "api_error", "venue_unreachable", why)
            }
            Self::Unavailable => row(
                StatusCode::SERVICE_UNAVAILABLE,
                "api_error",
                "unavailable",
                "the server cannot take this just now; try again",
            ),
            Self::Internal => row(
                StatusCode::INTERNAL_SERVER_ERROR,
                "api_error",
                "internal_error",
                "something went wrong on our side; tell us the request id",
            ),
        }
    }

    fn shown(&self, row: Row, request_id: RequestId) -> Body<'_> {
        let details = match self {
            Self::Invalid(faults) => faults.as_slice(),
            _ => &[],
        };
        let Row { kind, code, message, param, .. } = row;
        Body { error: Shown { kind, code, message, param, request_id, details } }
    }

    /// The answer's body.
    pub(crate) fn body(&self, request_id: RequestId) -> serde_json::Value {
        serde_json::to_value(self.shown(self.row(), request_id)).unwrap_or_default()
    }

    /// The answer, with the request's id in body and header.
    pub fn answer(&self, request_id: RequestId) -> HttpResponse {
        let row = self.row();
        let status = row.status;
        let body = self.shown(row, request_id);
        let mut answer = HttpResponse::build(status);
        answer.insert_header(("X-Request-Id", request_id.to_string()));
        if closes(status) {
            answer.force_close();
        }
        match self {
            Self::Unauthorised => {
                answer.insert_header((
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"botprimex\""),
                ));
            }
            Self::MethodNotAllowed { allow } => {
                answer.insert_header((header::ALLOW, allow.as_str()));
            }
            Self::RateLimited { retry_after_s, .. } => {
                answer.insert_header((header::RETRY_AFTER, *retry_after_s));
            }
            Self::Unavailable | Self::VenueSilent(_) => {
                answer.insert_header((header::RETRY_AFTER, BUSY_S));
            }
            _ => {}
        }
        let mut answer = answer.json(body);
        headers::secure(answer.headers_mut());
        answer
    }
}

/// Whether an answer ends its connection: what follows on it is the rest of what was refused.
pub(crate) fn closes(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    )
}

fn invalid(faults: &[Fault]) -> Row {
    let first = faults.first();
    let message = first.map_or_else(String::new, ToString::to_string);
    let others = faults.len().saturating_sub(1);
    Row {
        status: StatusCode::BAD_REQUEST,
        kind: "invalid_request_error",
        code: first.map_or("parameter_invalid", |fault| fault.code),
        message: if others == 0 { message } else { format!("{message} (and {others} more)") },
        param: first.map(|fault| fault.param.clone()),
    }
}

/// What every answer that is not 2xx holds.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ErrorBody)]
pub(crate) struct Body<'a> {
    error: Shown<'a>,
}

/// What went wrong.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Error)]
struct Shown<'a> {
    /// Whose matter it is: `invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error`,
    /// `api_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// A stable word for programs.
    code: &'static str,
    /// A sentence for people.
    message: String,
    /// The first bad field or parameter.
    #[schema(required)]
    param: Option<String>,
    request_id: RequestId,
    /// Every bad field and parameter.
    details: &'a [Fault],
}

/// Why one of many was not done: the same as what an answer of its own would hold.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ErrorOfOne)]
pub(crate) struct OfOne {
    /// Whose matter it is, as `error.type` of an answer.
    #[serde(rename = "type")]
    kind: &'static str,
    /// A stable word for programs.
    code: &'static str,
    /// A sentence for people.
    message: String,
    /// The bad field.
    #[schema(required)]
    param: Option<String>,
}

impl From<ApiError> for OfOne {
    fn from(error: ApiError) -> Self {
        let Row { kind, code, message, param, .. } = error.row();
        Self { kind, code, message, param }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(what) => Self::NotFound(what),
            EngineError::Invalid(faults) => faults.into(),
            EngineError::Conflict { code, message } => Self::Conflict { code, message },
            EngineError::AccountSuspended => Self::SUSPENDED,
            EngineError::AccountDeleted => Self::Unauthorised,
            EngineError::VenueSilent(why) => Self::VenueSilent(why),
            EngineError::Unavailable(why) => {
                tracing::warn!(why, "the engine could not take a request");
                Self::Unavailable
            }
            EngineError::Store(error) => {
                tracing::error!(%error, "the store failed a request");
                Self::Internal
            }
        }
    }
}

impl From<Faults> for ApiError {
    fn from(faults: Faults) -> Self {
        Self::Invalid(faults.0)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.row().message)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.row().status
    }

    /// The edge replaces this answer by one with the request's own id.
    fn error_response(&self) -> HttpResponse {
        self.answer(RequestId::new())
    }
}
