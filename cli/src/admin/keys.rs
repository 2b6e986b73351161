//! API keys: made, rotated and shown.

use anyhow::bail;
use engine::{ApiKey, Cidr, SCOPES, Store, key_hash, key_hint, new_key};
use model::{AccountId, KeyId};
use serde_json::{Value, json};

use super::now;
use crate::args::Span;
use crate::config::UsageError;

/// How long a key may be good beside the next one, in seconds: a week.
const LONGEST_OVERLAP_S: i64 = 7 * 86_400;

/// A key, and what it is spelled like: known only when it is made.
pub(crate) type Made = (ApiKey, String);

/// Makes a key.
///
/// # Errors
/// For an unknown scope or account.
pub(crate) async fn create(
    store: &Store,
    account_id: AccountId,
    name: &str,
    scopes: &[String],
    expires: Option<Span>,
    allow_ips: &[Cidr],
) -> anyhow::Result<Made> {
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        let known = SCOPES.join(", ");
        return Err(UsageError::new(format!("`{unknown}` is no scope: choose from {known}")).into());
    }
    let (created_at, spelled) = (now(), new_key());
    let key = ApiKey {
        id: KeyId::new(),
        account_id,
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        created_at,
        expires_at: expires.map(|span| created_at.plus_seconds(span.seconds.unsigned_abs())),
        revoked_at: None,
        allow_ips: allow_ips.to_vec(),
        hint: key_hint(&spelled),
        last_used_at: None,
    };
    let hash = key_hash(&spelled).unwrap_or_default();
    if !store.create_key(&key, hash).await? {
        bail!("there is no account {account_id}: make one with `botprimex admin account create`");
    }
    Ok((key, spelled))
}

/// Puts another key beside one: the same in all but its spelling.
///
/// # Errors
/// Without such a key, or where it is good no more.
pub(super) async fn rotate(store: &Store, id: KeyId, overlap: Span) -> anyhow::Result<Value> {
    if overlap.seconds > LONGEST_OVERLAP_S {
        return Err(UsageError::new("`--overlap` is 7d at most").into());
    }
    let Some(old) = store.keys(None).await?.into_iter().find(|key| key.id == id) else {
        bail!("there is no key {id}");
    };
    let (created_at, spelled) = (now(), new_key());
    let until = created_at.plus_seconds(overlap.seconds.unsigned_abs());
    let key = ApiKey { id: KeyId::new(), created_at, hint: key_hint(&spelled), last_used_at: None, ..old };
    if !store.rotate_key(id, &key, key_hash(&spelled).unwrap_or_default(), until).await? {
        bail!("the key {id} is good no more: make another one with `botprimex admin key create`");
    }
    let mut shown = shown_once(&(key, spelled));
    if let Some(object) = shown.as_object_mut() {
        object.insert("replaces".to_owned(), json!(id));
        object.insert("replaced_expires_at".to_owned(), json!(until));
    }
    Ok(shown)
}

/// A new key with its spelling.
pub(super) fn shown_once((key, spelled): &Made) -> Value {
    let mut shown = shown(key);
    if let Some(object) = shown.as_object_mut() {
        object.insert("key".to_owned(), json!(spelled));
    }
    shown
}

/// A key without its spelling.
pub(super) fn shown(key: &ApiKey) -> Value {
    let scopes = if key.scopes.is_empty() { json!(["*"]) } else { json!(key.scopes) };
    let allow_ips: Vec<String> = key.allow_ips.iter().map(ToString::to_string).collect();
    json!({"id": key.id, "account_id": key.account_id, "name": key.name, "hint": key.hint, "scopes": scopes,
        "allow_ips": allow_ips, "created_at": key.created_at, "expires_at": key.expires_at,
        "revoked_at": key.revoked_at, "last_used_at": key.last_used_at})
}
