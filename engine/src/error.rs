//! Why the engine did not do what it was asked.

use model::{Fault, Faults};

use crate::ledger::LedgerError;
use crate::store::StoreError;

/// Why the engine did not do what it was asked; one variant per thing a caller does differently.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is none, or it is somebody else's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// What was asked for makes no sense.
    #[error(transparent)]
    Invalid(#[from] Faults),
    /// The account is suspended: it starts and changes nothing.
    #[error("the account is suspended")]
    AccountSuspended,
    /// The account is deleted.
    #[error("the account is deleted")]
    AccountDeleted,
    /// It makes sense, but not now.
    #[error("{message}")]
    Conflict {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence with the remedy.
        message: String,
    },
    /// Too much is under way, or something that is needed does not answer; nothing was done.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A venue that has to be asked does not answer, in words for whoever asked; nothing was done.
    #[error("{0}")]
    VenueSilent(String),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        if error.may_pass() { Self::Unavailable(error.to_string()) } else { Self::Store(error) }
    }
}

impl EngineError {
    /// One bad field.
    pub(crate) fn field(param: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Invalid(Faults(vec![Fault { param: param.to_owned(), code: "parameter_invalid", message }]))
    }
}

impl From<LedgerError> for EngineError {
    fn from(error: LedgerError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<actix::MailboxError> for EngineError {
    fn from(error: actix::MailboxError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
