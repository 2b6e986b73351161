//! A record whose secrets are sealed as one: an endpoint's.

use std::fmt;

use model::AccountId;
use zeroize::Zeroizing;

use super::{OpenError, Vault, bound, new_data_key, open, seal};

/// The field that everything secret of a record is sealed as.
const FIELD: &str = "secrets";

/// What is secret of a record as it is stored; without the master key it is noise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SealedRecord {
    /// Under which version of the master key.
    pub(crate) key_version: i64,
    /// The record's data key, sealed with the master key.
    pub(crate) data_key: Vec<u8>,
    /// Sealed with the data key.
    pub(crate) sealed: Vec<u8>,
}

impl Vault {
    /// Seals bytes for one record of one account; every time with another data key.
    pub(crate) fn seal_record(
        &self,
        account: AccountId,
        id: impl fmt::Display,
        plain: &[u8],
    ) -> SealedRecord {
        let bound = |field| bound(account, &id, field, self.version);
        let data_key = new_data_key();
        SealedRecord {
            key_version: self.version,
            data_key: seal(&self.master.wrapping(), &bound("data_key"), data_key.as_ref()),
            sealed: seal(&data_key, &bound(FIELD), plain),
        }
    }

    /// Opens what [`Vault::seal_record`] sealed for the same record of the same account.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open_record(
        &self,
        account: AccountId,
        id: impl fmt::Display,
        record: &SealedRecord,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let bound = |field| bound(account, &id, field, self.version);
        let data_key = self.open_data_key(record.key_version, &bound("data_key"), &record.data_key)?;
        open(&data_key, &bound(FIELD), &record.sealed)
    }
}

#[cfg(test)]
mod tests {
    use model::WebhookId;

    use super::super::MasterKey;
    use super::*;

    #[test]
    fn a_record_opens_for_its_own_account_and_id_alone() {
        let start = "8f1d3c5b7a9e0246c8ea0f2d4b69871533557799bbddff1020406080a0c0e0";
        let vault = |last| Vault::new(MasterKey::parse(&format!("{start}{last}")).unwrap(), 1);
        let (vault, other) = (vault("01"), vault("02"));
        let (account, id) = (AccountId::from_u128(1), WebhookId::from_u128(2));
        let record = vault.seal_record(account, id, b"hidden");
        assert_eq!(vault.open_record(account, id, &record).unwrap().as_slice(), b"hidden");
        assert_eq!(other.open_record(account, id, &record), Err(OpenError::Sealed));
        assert_eq!(vault.open_record(AccountId::from_u128(9), id, &record), Err(OpenError::Sealed));
        assert_eq!(vault.open_record(account, WebhookId::from_u128(9), &record), Err(OpenError::Sealed));
        let erased = SealedRecord { data_key: Vec::new(), ..record.clone() };
        assert_eq!(vault.open_record(account, id, &erased), Err(OpenError::Erased));
        assert_ne!(vault.seal_record(account, id, b"hidden"), record);
    }
}
