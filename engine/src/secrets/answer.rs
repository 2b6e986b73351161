//! Answers that are kept to be given again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::AccountId;

use super::{OpenError, Vault, open, seal};

/// An answer as it is stored. It has no data key of its own: it is kept for a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SealedAnswer {
    /// Under which version of the master key.
    pub(crate) key_version: i64,
    /// Base64.
    pub(crate) body: String,
}

impl Vault {
    /// Seals an answer for the account and the idempotency key that it is kept under.
    pub(crate) fn seal_answer(&self, account: AccountId, key: &str, body: &str) -> SealedAnswer {
        let sealed = seal(&self.master.answers(), &self.bound(account, key), body.as_bytes());
        SealedAnswer { key_version: self.version, body: STANDARD.encode(sealed) }
    }

    /// Opens what [`Vault::seal_answer`] sealed for the same account and key.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open_answer(
        &self,
        account: AccountId,
        key: &str,
        sealed: &SealedAnswer,
    ) -> Result<String, OpenError> {
        self.check_version(sealed.key_version)?;
        let sealed = STANDARD.decode(&sealed.body).map_err(|_| OpenError::Sealed)?;
        let body = open(&self.master.answers(), &self.bound(account, key), &sealed)?;
        String::from_utf8(body.to_vec()).map_err(|_| OpenError::Sealed)
    }

    fn bound(&self, account: AccountId, key: &str) -> Vec<u8> {
        format!("{account}\0{key}\0answer\0{}", self.version).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::MasterKey;
    use super::*;

    #[test]
    fn an_answer_opens_under_its_own_key_alone() {
        let (vault, account) = (Vault::new(MasterKey::draw(), 1), AccountId::from_u128(1));
        let sealed = vault.seal_answer(account, "one", "{\"secret\":\"x\"}");
        assert!(!sealed.body.contains("secret"));
        assert_eq!(vault.open_answer(account, "one", &sealed).unwrap(), "{\"secret\":\"x\"}");
        assert!(vault.open_answer(account, "two", &sealed).is_err());
        assert!(vault.open_answer(AccountId::from_u128(2), "one", &sealed).is_err());
        assert!(Vault::new(MasterKey::draw(), 1).open_answer(account, "one", &sealed).is_err());
        let newer = SealedAnswer { key_version: 2, ..sealed };
        let refused = vault.open_answer(account, "one", &newer);
        assert_eq!(refused, Err(OpenError::Version { sealed: 2, current: 1 }));
    }
}
