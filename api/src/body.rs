//! Request bodies: a JSON object whose values stay text, so that no digit is lost before a field is read.

mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use engine::BotDefinition;
use futures_util::StreamExt;
use model::Fault;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::ApiError;

pub(crate) use reader::{Given, Reader, json, number, text, whole};

/// The largest body, in bytes.
const LARGEST: usize = 64 * 1024;

/// How deep a body may be nested; looking into it recurses, so this is what bounds the stack.
const DEEPEST: usize = 32;

/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// The fields of an object, each still JSON text.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// Reads a body that must be one JSON object.
///
/// # Errors
/// Too large, too slow, not declared as JSON, no JSON object, or a key in it twice.
pub async fn object(request: &HttpRequest, payload: web::Payload) -> Result<Fields, ApiError> {
    let text = bytes(request, payload).await?;
    if !is_json(request) {
        return Err(ApiError::NOT_JSON);
    }
    fields(&text)
}

/// Reads a body that may be missing.
///
/// # Errors
/// As [`object`], where there is one.
pub async fn optional_object(request: &HttpRequest, payload: web::Payload) -> Result<Fields, ApiError> {
    let text = bytes(request, payload).await?;
    match (text.is_empty(), is_json(request)) {
        (true, _) => Ok(Fields::new()),
        (false, true) => fields(&text),
        (false, false) => Err(ApiError::NOT_JSON),
    }
}

/// A body without fields.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({}))]
pub(crate) struct NoFields {}

/// Reads a body that may be missing and has no fields.
///
/// # Errors
/// As [`optional_object`]; and every field that it has.
pub(crate) async fn nothing(request: &HttpRequest, payload: web::Payload) -> Result<(), ApiError> {
    Reader::new(&optional_object(request, payload).await?).finish(Some(()))
}

/// The fields of a JSON text.
///
/// # Errors
/// [`ApiError::BadJson`] where it is no JSON object or names a key twice, at any depth.
pub fn fields(text: &[u8]) -> Result<Fields, ApiError> {
    let refused =
        |error: serde_json::Error| ApiError::BadJson(format!("the body is no JSON object: {error}"));
    if depth(text) > DEEPEST {
        return Err(ApiError::BadJson(format!("the body is nested deeper than {DEEPEST} levels")));
    }
    serde_json::from_slice::<Unrepeated>(text).map_err(refused)?;
    let fields: Fields = serde_json::from_slice(text).map_err(refused)?;
    let with_nul: Vec<Fault> = fields.iter().filter_map(|(name, value)| nul(name, value)).collect();
    if with_nul.is_empty() { Ok(fields) } else { Err(ApiError::Invalid(with_nul)) }
}

/// What is wrong with a field in which a text holds U+0000, at any depth: not every database stores it, and most
/// programs end a text there.
fn nul(name: &str, value: &RawValue) -> Option<Fault> {
    let has_nul = |mut text: &str| {
        while let Some((_, escaped)) = text.split_once('\\') {
            if escaped.starts_with("u0000") {
                return true;
            }
            // What is escaped is one character of ASCII, a backslash among them.
            text = escaped.get(1..).unwrap_or_default();
        }
        false
    };
    (name.contains('\0') || has_nul(value.get())).then(|| Fault {
        param: name.chars().take(60).collect(),
        code: "parameter_invalid",
        message: "holds the character U+0000: leave it out".to_owned(),
    })
}

/// A stored definition with the fields of a PATCH laid over it: `null` takes a field back to its default (`stop_loss` and
/// `take_profit`: to none), and an object is merged field by field.
///
/// # Errors
/// Every bad field of the result.
pub fn merged(stored: &BotDefinition, patch: Fields) -> Result<BotDefinition, ApiError> {
    let mut merged = fields(stored.to_json().get().as_bytes())?;
    if let Some(following) = stored.strategy.following(stored.stake_amount) {
        lay(&mut merged, fields(following.as_bytes())?)?;
    }
    lay(&mut merged, patch)?;
    Ok(BotDefinition::parse(&merged)?)
}

/// Lays fields over others, objects field by field.
fn lay(fields: &mut Fields, patch: Fields) -> Result<(), ApiError> {
    for (name, value) in patch {
        let inner = |raw: &RawValue| serde_json::from_str::<Fields>(raw.get()).ok();
        let value = match (fields.get(&name).and_then(|old| inner(old)), inner(&value)) {
            (Some(mut old), Some(new)) => {
                old.extend(new);
                serde_json::value::to_raw_value(&old).map_err(|_| ApiError::Internal)?
            }
            _ => value,
        };
        fields.insert(name, value);
    }
    Ok(())
}

/// A body as it came.
///
/// # Errors
/// Too large, too slow, or packed.
pub(crate) async fn bytes(request: &HttpRequest, mut payload: web::Payload) -> Result<Vec<u8>, ApiError> {
    let told = request.headers().get(header::CONTENT_LENGTH);
    let told = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > LARGEST) {
        return Err(ApiError::BodyTooLarge);
    }
    let whole = async {
        let mut text = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| ApiError::BadRequest)?;
            if text.len() + chunk.len() > LARGEST {
                return Err(ApiError::BodyTooLarge);
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    };
    let text = actix_web::rt::time::timeout(DEADLINE, whole).await.unwrap_or(Err(ApiError::BodyTimeout))?;
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::PACKED);
    }
    Ok(text)
}

/// Whether a body is declared as JSON, and as no other text than UTF-8.
fn is_json(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = kind.unwrap_or_default().split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map_or("utf-8", |(_, charset)| charset.trim().trim_matches('"'));
    essence.eq_ignore_ascii_case("application/json") && charset.eq_ignore_ascii_case("utf-8")
}

/// How deep objects and arrays open inside each other, brackets inside strings not counted.
fn depth(text: &[u8]) -> usize {
    let (mut open, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => open += 1,
            b'}' | b']' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// An object of which only the keys are looked at, each once.
struct Unrepeated;

impl<'de> Deserialize<'de> for Unrepeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Unrepeated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unrepeated, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if seen.contains(&key) {
                let key: String = key.chars().take(60).collect();
                return Err(A::Error::custom(format!("the key `{key}` is there twice")));
            }
            seen.insert(key);
            unrepeated(entries.next_value::<&RawValue>()?).map_err(A::Error::custom)?;
        }
        Ok(Unrepeated)
    }
}

/// Looks into objects and arrays; a number stays text, for the parser would refuse one beyond a float's range.
fn unrepeated(value: &RawValue) -> Result<(), serde_json::Error> {
    match value.get().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Unrepeated>(value.get()).map(drop),
        Some(b'[') => {
            serde_json::from_str::<Vec<&RawValue>>(value.get())?.into_iter().try_for_each(unrepeated)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use engine::StrategyDefinition;

    use super::*;

    const SEED: &str = r#"{"name":"BTC DCA Bot","exchange":"binance","pair":"BTC/USDT","strategy":"dca",
        "stake_amount":12.50,"max_open_trades":5,"stop_loss":-10,"dry_run":true,"dca":{"step_scale":1.5}}"#;

    #[test]
    fn a_number_keeps_its_digits() {
        let fields = fields(SEED.as_bytes()).unwrap();
        assert_eq!(fields["stake_amount"].get(), "12.50");
    }

    #[test]
    fn a_key_given_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"b":1}]}"#] {
            let Err(ApiError::BadJson(why)) = fields(text.as_bytes()) else { panic!("{text}") };
            assert!(why.contains("twice"), "{why}");
        }
        for text in ["", "[]", "7", "{", "{}{}", "{\"a\":NaN}", "null"] {
            assert!(matches!(fields(text.as_bytes()), Err(ApiError::BadJson(_))), "{text}");
        }
    }

    #[test]
    fn a_number_beyond_any_float_is_left_to_its_field() {
        let fields = fields(br#"{"stake_amount":1e309,"dca":{"step_scale":[1e999]}}"#).unwrap();
        assert_eq!(fields["stake_amount"].get(), "1e309");
    }

    #[test]
    fn a_body_nested_too_deep_is_refused_before_it_is_looked_into() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(fields(deep(31).as_bytes()).is_ok());
        for levels in [32, 30_000] {
            assert!(matches!(fields(deep(levels).as_bytes()), Err(ApiError::BadJson(_))));
        }
        let text = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100));
        assert!(fields(text.as_bytes()).is_ok(), "{text}");
    }

    #[test]
    fn a_text_with_a_zero_character_is_refused_wherever_it_stands() {
        let refused = |text: &str| match fields(text.as_bytes()) {
            Err(ApiError::Invalid(faults)) => faults.into_iter().map(|fault| fault.param).collect(),
            other => vec![format!("{other:?}")],
        };
        assert_eq!(refused(r#"{"a":"x\u0000","b":{"c":["\\\u0000"]},"d":1}"#), ["a", "b"]);
        assert_eq!(refused(r#"{"a\u0000":1}"#), ["a\0"]);
        assert!(fields(br#"{"a":"\\u0000","b":"\u0001"}"#).is_ok());
    }

    #[test]
    fn a_patch_lies_over_what_is_stored_and_null_is_the_default_or_none() {
        let stored = BotDefinition::parse(&fields(SEED.as_bytes()).unwrap()).unwrap();
        let patch = br#"{"stop_loss":-12.5,"take_profit":null,"dca":{"cooldown_s":60,"step_scale":null}}"#;
        let bot = merged(&stored, fields(patch).unwrap()).unwrap();
        let json = bot.to_json();
        for part in ["\"stop_loss\":-12.5", "\"take_profit\":null", "\"step_scale\":1,", "\"cooldown_s\":60"]
        {
            assert!(json.get().contains(part), "{part} in {json}");
        }
        assert!(merged(&stored, fields(br#"{"name":null,"colour":1}"#).unwrap()).is_err());
    }

    #[track_caller]
    fn check_safety_stake(patches: &[&str], expected: &str) {
        let mut bot = BotDefinition::parse(&fields(SEED.as_bytes()).unwrap()).unwrap();
        for patch in patches {
            bot = merged(&bot, fields(patch.as_bytes()).unwrap()).unwrap();
        }
        let StrategyDefinition::Dca(dca) = &bot.strategy;
        assert_eq!(dca.safety_stake.to_string(), expected, "{patches:?}");
    }

    #[test]
    fn a_safety_stake_follows_the_stake_until_it_is_another() {
        check_safety_stake(&[r#"{"stake_amount":100}"#], "100");
        check_safety_stake(&[r#"{"stake_amount":100,"dca":{"step_scale":2}}"#], "100");
        check_safety_stake(&[r#"{"stake_amount":100,"dca":{"safety_stake":12.5}}"#], "12.5");
        let given = r#"{"dca":{"safety_stake":20}}"#;
        check_safety_stake(&[given, r#"{"stake_amount":100}"#], "20");
        check_safety_stake(&[given, r#"{"dca":{"safety_stake":null}}"#, r#"{"stake_amount":100}"#], "100");
        check_safety_stake(&[given, r#"{"stake_amount":100,"dca":{"safety_stake":null}}"#], "100");
        check_safety_stake(&[given, r#"{"stake_amount":100,"dca":null}"#], "100");
    }
}
