//! A record whose secrets are sealed as one: an endpoint's.

use std::fmt;

use model::AccountId;
use rand::RngCore as _;
use zeroize::Zeroizing;

use super::{KEY_VERSION, MasterKey, OpenError, bound, open, seal};

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

impl MasterKey {
    /// Seals bytes for one record of one account; every time with another data key.
    pub(crate) fn seal_record(
        &self,
        account: AccountId,
        id: impl fmt::Display,
        plain: &[u8],
    ) -> SealedRecord {
        let mut data_key = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(data_key.as_mut());
        SealedRecord {
            key_version: KEY_VERSION,
            data_key: seal(
                &self.wrapping(),
                &bound(account, &id, "data_key", KEY_VERSION),
                data_key.as_ref(),
            ),
            sealed: seal(&data_key, &bound(account, &id, FIELD, KEY_VERSION), plain),
        }
    }

    /// Opens what [`MasterKey::seal_record`] sealed for the same record of the same account.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open_record(
        &self,
        account: AccountId,
        id: impl fmt::Display,
        record: &SealedRecord,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let version = record.key_version;
        if record.data_key.is_empty() {
            return Err(OpenError::Erased);
        }
        if version != KEY_VERSION {
            return Err(OpenError::Version(version));
        }
        let data_key = open(&self.wrapping(), &bound(account, &id, "data_key", version), &record.data_key)?;
        let data_key =
            Zeroizing::new(<[u8; 32]>::try_from(data_key.as_slice()).map_err(|_| OpenError::Sealed)?);
        open(&data_key, &bound(account, &id, FIELD, version), &record.sealed)
    }
}

#[cfg(test)]
mod tests {
    use model::WebhookId;

    use super::*;

    #[test]
    fn a_record_opens_for_its_own_account_and_id_alone() {
        let start = "8f1d3c5b7a9e0246c8ea0f2d4b69871533557799bbddff1020406080a0c0e0";
        let master = |last| MasterKey::parse(&format!("{start}{last}"));
        let (master, other) = (master("01").unwrap(), master("02").unwrap());
        let (account, id) = (AccountId::from_u128(1), WebhookId::from_u128(2));
        let record = master.seal_record(account, id, b"hidden");
        assert_eq!(master.open_record(account, id, &record).unwrap().as_slice(), b"hidden");
        assert_eq!(other.open_record(account, id, &record), Err(OpenError::Sealed));
        assert_eq!(master.open_record(AccountId::from_u128(9), id, &record), Err(OpenError::Sealed));
        assert_eq!(master.open_record(account, WebhookId::from_u128(9), &record), Err(OpenError::Sealed));
        let erased = SealedRecord { data_key: Vec::new(), ..record.clone() };
        assert_eq!(master.open_record(account, id, &erased), Err(OpenError::Erased));
        assert_ne!(master.seal_record(account, id, b"hidden"), record);
    }
}
