//! One realistic example for every answer: what an operation gives, in `examples.json` by schema, and its errors as the
//! server words them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use model::{Fault, RequestId};
use serde_json::{Value, json};

use crate::ApiError;

/// What the schema of a list of such rows is called.
pub(super) const LIST: &str = "List_";

/// Examples by the name of their schema.
static EXAMPLES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("examples.json")).expect("a file of this program, read by every test")
});

/// The example of an answer with this schema; of a list, its first page with one row.
pub(super) fn of_schema(name: &str) -> Option<Value> {
    let Some(row) = name.strip_prefix(LIST) else { return EXAMPLES.get(name).cloned() };
    let row = EXAMPLES.get(row)?;
    let cursor = row.get("id").or(row.get("pair"));
    Some(json!({"data": [row], "has_more": true, "next_cursor": cursor}))
}

/// The example of an error, as the server answers it.
pub(super) fn of_error(error: &ApiError) -> Value {
    error.body(RequestId::from_u128(0x019d_486c_2f4a_7c3b_8d5e_6f70_8192_a3b4))
}

/// The error that every operation may answer with this status.
pub(super) fn common_error(status: &str) -> Option<ApiError> {
    let fault = |param: &str, message: &str| Fault {
        param: param.to_owned(),
        code: "parameter_invalid",
        message: message.to_owned(),
    };
    Some(match status {
        "400" => ApiError::Invalid(vec![
            fault(
                "stop_loss",
                "10 is not a percent below 0 and above -100, such as -10 for ten percent down",
            ),
            fault("limit", "`1000` is not a whole number from 1 to 100"),
        ]),
        "401" => ApiError::Unauthorised,
        "403" => ApiError::Forbidden { scope: "bots:write" },
        "404" => ApiError::NotFound("bot"),
        "408" => ApiError::BodyTimeout,
        "409" => conflict(
            "idempotency_key_in_use",
            "a request with this Idempotency-Key is still running: wait for its end",
        ),
        "413" => ApiError::BodyTooLarge,
        "415" => ApiError::NOT_JSON,
        "422" => ApiError::IdempotencyKeyReused,
        "429" => ApiError::RateLimited { of: "requests for this plan", retry_after_s: 23 },
        "500" => ApiError::Internal,
        "503" => ApiError::Unavailable,
        _ => return None,
    })
}

/// The error that an operation has of its own with this status.
pub(super) fn own_error(operation: &str, status: &str) -> Option<ApiError> {
    Some(match (operation, status) {
        ("bots_put" | "bots_patch", "409") => conflict(
            "bot_running",
            "exchange, exchange_id, pair, strategy and dry_run can only be changed while the bot is stopped",
        ),
        ("bots_delete", "409") => {
            conflict("bot_running", "the bot is running: stop it first, or delete it with ?force=true")
        }
        ("trades_close", "409") => {
            conflict("bot_not_running", "the trade's bot does not run: start it first")
        }
        ("trades_add_funds", "409") => {
            conflict("trade_closed", "the trade is closed: nothing can be added to it")
        }
        ("exchanges_delete", "409") => conflict(
            "exchange_in_use",
            "bot_019d486c2f4a7c3b8d5e6f708192a3b4 trades with this connection: stop it first",
        ),
        ("webhooks_create", "409") => conflict(
            "too_many_webhooks",
            "the plan holds 5 webhooks: delete one first, or take a larger plan",
        ),
        ("webhooks_rotate", "409") => conflict(
            "too_many_secrets",
            "too many secrets before this one still sign: rotate it again after 2026-04-02T14:30:00Z",
        ),
        ("deliveries_replay" | "deliveries_replay_since", "409") => conflict(
            "webhook_disabled",
            "the webhook is disabled: enable it first with PATCH {\"status\":\"enabled\"}",
        ),
        ("hooks_create", "409") => {
            conflict("hook_exists", "the bot has a hook: rotate its token, or delete it first")
        }
        ("hooks_receive", "403") => ApiError::SECRET,
        ("hooks_receive", "404") => ApiError::NotFound("hook"),
        ("hooks_receive", "429") => ApiError::RateLimited { of: "signals for this hook", retry_after_s: 41 },
        ("stripe_receive", "404") => ApiError::NotFound("integration: Stripe is not configured"),
        ("stream_follow", "409") => {
            conflict("too_many_streams", "this account is followed 10 times already: end another stream")
        }
        _ => return None,
    })
}

fn conflict(code: &'static str, message: &str) -> ApiError {
    ApiError::Conflict { code, message: message.to_owned() }
}
