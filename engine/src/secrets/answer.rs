//! Answers that are kept to be given again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::AccountId;

use super::{KEY_VERSION, MasterKey, OpenError, open, seal};

impl MasterKey {
    /// Seals an answer for the account and the idempotency key that it is kept under, as base64.
    pub(crate) fn seal_answer(&self, account: AccountId, key: &str, body: &str) -> String {
        STANDARD.encode(seal(&self.answers(), &bound(account, key), body.as_bytes()))
    }

    /// Opens what [`MasterKey::seal_answer`] sealed for the same account and key.
    ///
    /// # Errors
    /// [`OpenError::Sealed`].
    pub(crate) fn open_answer(
        &self,
        account: AccountId,
        key: &str,
        sealed: &str,
    ) -> Result<String, OpenError> {
        let sealed = STANDARD.decode(sealed).map_err(|_| OpenError::Sealed)?;
        let body = open(&self.answers(), &bound(account, key), &sealed)?;
        String::from_utf8(body.to_vec()).map_err(|_| OpenError::Sealed)
    }
}

fn bound(account: AccountId, key: &str) -> Vec<u8> {
    format!("{account}\0{key}\0answer\0{KEY_VERSION}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_opens_under_its_own_key_alone() {
        let (master, account) = (MasterKey::draw(), AccountId::from_u128(1));
        let sealed = master.seal_answer(account, "one", "{\"secret\":\"x\"}");
        assert!(!sealed.contains("secret"));
        assert_eq!(master.open_answer(account, "one", &sealed).unwrap(), "{\"secret\":\"x\"}");
        assert!(master.open_answer(account, "two", &sealed).is_err());
        assert!(master.open_answer(AccountId::from_u128(2), "one", &sealed).is_err());
        assert!(MasterKey::draw().open_answer(account, "one", &sealed).is_err());
    }
}
