//! The answer to a POST, kept under the `Idempotency-Key` that came with it, so that the POST is done once however
//! often it is sent.
//!
//! It is written in the transaction that makes what it tells of: after a crash either both are there or neither is.

use model::{AccountId, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::clock;
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::secrets::SealedAnswer;

/// How long an answer is kept.
pub(crate) const KEPT_S: i64 = 24 * 3_600;

/// Under what an answer is kept, and to what it is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Who asked.
    pub account_id: AccountId,
    /// The `Idempotency-Key`.
    pub key: String,
    /// A hash of path and body: under the same key nothing else is answered.
    pub request: String,
}

impl Asked {
    /// What was asked.
    pub fn new(account_id: AccountId, key: String, path: &str, body: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize();
        Self { account_id, key, request: hex::encode(hash) }
    }
}

/// What a client was, or is about to be, answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The scope that its key needed.
    pub scope: Option<String>,
    /// The body.
    pub body: String,
}

/// An answer as it is stored: sealed, for a secret that is shown once may stand in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptAnswer {
    pub(crate) asked: Asked,
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) sealed: SealedAnswer,
    pub(crate) at: Timestamp,
}

/// What is kept under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Nothing: it was not asked yet, or nothing was done.
    Nothing,
    /// The answer to this.
    Answer(Answer),
    /// The answer to something else.
    AnotherRequest,
    /// An answer that cannot be read any more, because the master key is another now. It was done all the same.
    Unreadable,
}

impl EngineHandle {
    /// An answer in the form in which it is kept; it is to be handed to what makes what it tells of, or else to
    /// [`EngineHandle::keep_answer`].
    pub fn sealed_answer(&self, asked: Asked, answer: Answer) -> KeptAnswer {
        let Answer { status, location, scope, body } = answer;
        let sealed = self.inner.connections.vault().seal_answer(asked.account_id, &asked.key, &body);
        KeptAnswer { asked, status, location, scope, sealed, at: clock::now() }
    }

    /// What is kept under a key of an account's.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn kept_answer(&self, asked: &Asked) -> Result<Kept, EngineError> {
        let (account, key, now) = (asked.account_id, asked.key.clone(), clock::now());
        let kept = self.on_store(move |store| async move { store.answer(account, &key, now).await }).await?;
        let Some(kept) = kept else { return Ok(Kept::Nothing) };
        if kept.asked.request != asked.request {
            return Ok(Kept::AnotherRequest);
        }
        let KeptAnswer { status, location, scope, sealed, .. } = kept;
        let opened = self.inner.connections.vault().open_answer(account, &asked.key, &sealed);
        Ok(opened.map_or(Kept::Unreadable, |body| Kept::Answer(Answer { status, location, scope, body })))
    }

    /// Keeps an answer to what may be done twice, such as a start.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn keep_answer(&self, answer: KeptAnswer) -> Result<(), EngineError> {
        self.on_store(move |store| async move { store.keep_answer(&answer).await }).await
    }
}
