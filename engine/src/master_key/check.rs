//! Whether everything that is stored opens with the master key that is there: in a backup as well.

use super::sealed::{SecretCount, reseal, walk};
use super::{Kept, KnownKeys};
use crate::secrets::MasterKey;
use crate::start::StartError;
use crate::store::Store;

/// No record is under this version.
const NO_VERSION: i64 = 0;

/// Opens everything that is stored, beside a running server or without one. Tells of which version the master key is,
/// and how much there is; nothing of it is shown.
///
/// # Errors
/// [`StartError`], where the key is not the one in force.
pub async fn check_master_key(
    store: &Store,
    database_url: &str,
    configured: Option<MasterKey>,
) -> Result<(i64, SecretCount), StartError> {
    check(store, &Kept::of(database_url, configured)).await
}

pub(super) async fn check(store: &Store, kept: &Kept) -> Result<(i64, SecretCount), StartError> {
    let keys = KnownKeys::of(store).await?;
    let (version, key) = (keys.current()?, kept.need()?);
    let vault = keys.usable(&key, kept)?;
    let mut secrets = SecretCount::default();
    walk(store, NO_VERSION, async |kind, batch| {
        // What can be sealed anew is what opens.
        let opened = batch.iter().filter(|sealed| reseal(sealed, &vault, &vault).is_some()).count();
        secrets.add(kind, opened, batch.len() - opened);
        Ok(())
    })
    .await?;
    Ok((version, secrets))
}
