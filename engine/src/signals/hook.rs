//! A bot's inbound hook: an address that others send alerts to, and what they may order.

use std::net::IpAddr;

use model::{AccountId, BotId, HookId, Timestamp};
use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};

use crate::answer::KeptAnswer;
use crate::cidr::Cidr;
use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::secrets::{SealedRecord, Secret, Vault};
use crate::store::{Store, StoreError};

use super::Action;

/// What every token begins with.
const PREFIX: &str = "bpxhook_";

/// How many letters and digits follow: 238 bits.
const LETTERS: usize = 40;

/// A hook as its owner wants it.
#[derive(Clone, Debug)]
pub struct NewHook {
    /// What it may order.
    pub actions: Vec<Action>,
    /// What has to stand in every body, where something has to.
    pub secret: Option<Secret>,
    /// From where it may be sent; empty means from anywhere.
    pub allow_ips: Vec<Cidr>,
}

/// A hook as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Its id.
    pub id: HookId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it orders about.
    pub bot_id: BotId,
    /// What it may order.
    pub actions: Vec<Action>,
    /// Whether a secret has to stand in every body.
    pub has_secret: bool,
    /// From where it may be sent; empty means from anywhere.
    pub allow_ips: Vec<Cidr>,
    /// Until when the token before is good as well.
    pub previous_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it got another token.
    pub rotated_at: Option<Timestamp>,
    /// The hash of that secret, sealed: a hash alone would tell a short secret to who reads the database.
    pub(crate) secret: Option<SealedRecord>,
}

impl Hook {
    /// Whether it may be sent from there.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.allow_ips.is_empty() || self.allow_ips.iter().any(|network| network.contains(address))
    }
}

/// Seals the secrets of hooks that a version before stored as nothing but a hash.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn seal_secrets(store: &Store, vault: &Vault) -> Result<(), StoreError> {
    for (account, id, hash) in store.unsealed_hooks().await? {
        store.seal_hook(id, &vault.seal_record(account, id, hash.as_bytes())).await?;
    }
    Ok(())
}

/// A new token. It is shown once and stored as its hash.
fn new_token() -> Secret {
    let letters: String = rand::rng().sample_iter(Alphanumeric).take(LETTERS).map(char::from).collect();
    Secret::new(format!("{PREFIX}{letters}"))
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

impl EngineHandle {
    /// Makes a bot's hook, with its token; `answer` words what the client is told, and what of it is kept with the hook.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] without such a bot, [`EngineError::Conflict`] where it has one, and what `answer` fails
    /// of.
    pub async fn create_hook<T, E: From<EngineError>>(
        &self,
        account: AccountId,
        bot: BotId,
        new: NewHook,
        answer: impl FnOnce(&Hook, &Secret) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        self.stored(account, bot).await?;
        let (token, id) = (new_token(), HookId::new());
        let seal = |secret: Secret| {
            self.inner.connections.vault().seal_record(account, id, hash(secret.expose()).as_bytes())
        };
        let hook = Hook {
            id,
            account_id: account,
            bot_id: bot,
            actions: new.actions,
            has_secret: new.secret.is_some(),
            allow_ips: new.allow_ips,
            previous_until: None,
            created_at: clock::now(),
            rotated_at: None,
            secret: new.secret.map(seal),
        };
        let (told, kept) = answer(&hook, &token)?;
        let token = hash(token.expose());
        let ask = move |store: Store| async move { store.create_hook(&hook, &token, kept.as_ref()).await };
        if !self.on_store(ask).await? {
            let message = "the bot has a hook: rotate its token, or delete it first".to_owned();
            return Err(EngineError::Conflict { code: "hook_exists", message }.into());
        }
        Ok(told)
    }

    /// Whether this is the secret that has to be given; in constant time.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] where the hook's own secret does not open.
    pub fn knows_secret(&self, hook: &Hook, given: Option<&str>) -> Result<bool, EngineError> {
        let Some(sealed) = &hook.secret else { return Ok(true) };
        let opened = self.inner.connections.vault().open_record(hook.account_id, hook.id, sealed);
        let wanted = opened.map_err(|error| {
            EngineError::Unavailable(format!("the secret of hook {} does not open: {error}", hook.id))
        })?;
        let given = hash(given.unwrap_or_default());
        let differ = wanted.iter().zip(given.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
        Ok(wanted.len() == given.len() && differ == 0)
    }

    /// A bot's hook, without its token.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn hook(&self, account: AccountId, bot: BotId) -> Result<Hook, EngineError> {
        let found = self.on_store(move |store| async move { store.hook(account, bot).await }).await?;
        found.ok_or(EngineError::NotFound("hook"))
    }

    /// Gives a bot's hook another token; the one before is good for `overlap_s` more.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], and what `answer` fails of.
    pub async fn rotate_hook<T, E: From<EngineError>>(
        &self,
        account: AccountId,
        bot: BotId,
        overlap_s: u64,
        answer: impl FnOnce(&Hook, &Secret) -> Result<(T, Option<KeptAnswer>), E>,
    ) -> Result<T, E> {
        let (token, now) = (new_token(), clock::now());
        let previous_until = Some(now.plus_seconds(overlap_s));
        let hook = Hook { previous_until, rotated_at: Some(now), ..self.hook(account, bot).await? };
        let (told, kept) = answer(&hook, &token)?;
        let token = hash(token.expose());
        self.on_store(move |store| async move { store.rotate_hook(&hook, &token, kept.as_ref()).await })
            .await?;
        Ok(told)
    }

    /// Deletes a bot's hook; nothing sent to it does anything from then on.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn delete_hook(&self, account: AccountId, bot: BotId) -> Result<(), EngineError> {
        let now = clock::now();
        if !self.on_store(move |store| async move { store.delete_hook(account, bot, now).await }).await? {
            return Err(EngineError::NotFound("hook"));
        }
        Ok(())
    }

    /// The hook that a token opens, the present one or the one before while it is good.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn hook_by_token(&self, token: &str) -> Result<Hook, EngineError> {
        let letters = token.strip_prefix(PREFIX).unwrap_or_default();
        if letters.len() != LETTERS || !letters.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(EngineError::NotFound("hook"));
        }
        let (token, now) = (hash(token), clock::now());
        let found = self.on_store(move |store| async move { store.hook_by_token(&token, now).await }).await?;
        found.ok_or(EngineError::NotFound("hook"))
    }
}
