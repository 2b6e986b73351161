//! Which master key is in force: read at start, replaced by an operator, checked against what is stored.

mod check;
mod rotate;
mod sealed;

pub use check::check_master_key;
pub use rotate::{RotateError, Rotation, rotate_master_key};
pub use sealed::SecretCount;

use std::path::PathBuf;

use crate::clock;
use crate::secrets::{MasterKey, MasterKeyError, Vault, with_end};
use crate::start::StartError;
use crate::store::{KeyState, KnownKey, Store, StoreError};

/// What the configuration calls it.
const CONFIGURED: &str = "master_key (BOTPRIMEX_MASTER_KEY)";

/// The version of a store's first master key.
const FIRST: i64 = 1;

/// Where a store's master key is kept.
#[derive(Clone, Debug)]
enum Kept {
    /// In the configuration.
    Configured(MasterKey),
    /// In a file beside the database.
    File(PathBuf),
}

impl Kept {
    fn of(database_url: &str, configured: Option<MasterKey>) -> Self {
        configured.map_or_else(|| Self::File(key_file(database_url)), Self::Configured)
    }

    fn read(&self) -> Result<Option<MasterKey>, MasterKeyError> {
        match self {
            Self::Configured(key) => Ok(Some(key.clone())),
            Self::File(file) => MasterKey::read(file),
        }
    }

    /// The key that has to be there.
    fn need(&self) -> Result<MasterKey, MasterKeyError> {
        match self {
            Self::Configured(key) => Ok(key.clone()),
            Self::File(file) => MasterKey::read(file)?.ok_or_else(|| MasterKeyError::Missing(file.clone())),
        }
    }

    /// What an operator knows it as.
    fn name(&self) -> String {
        match self {
            Self::Configured(_) => CONFIGURED.to_owned(),
            Self::File(file) => file.display().to_string(),
        }
    }

    /// Where the next key waits until it takes this one's place.
    fn next_file(&self) -> Option<PathBuf> {
        match self {
            Self::Configured(_) => None,
            Self::File(file) => Some(with_end(file, ".new")),
        }
    }
}

/// Where the master key is kept when none is configured: beside the database where that is a file.
fn key_file(database_url: &str) -> PathBuf {
    with_end(&Store::file(database_url).unwrap_or_else(|| PathBuf::from("botprimex")), ".key")
}

/// What an operator knows a store's master key as: a setting, or the path of its file.
pub fn master_key_name(database_url: &str, is_configured: bool) -> String {
    if is_configured { CONFIGURED.to_owned() } else { key_file(database_url).display().to_string() }
}

/// The master keys that the store has seen.
struct KnownKeys(Vec<KnownKey>);

impl KnownKeys {
    async fn of(store: &Store) -> Result<Self, StoreError> {
        store.master_keys().await.map(Self)
    }

    fn in_state(&self, state: KeyState) -> Option<&KnownKey> {
        self.0.iter().find(|known| known.state == state)
    }

    fn find(&self, key: &MasterKey) -> Option<&KnownKey> {
        self.0.iter().find(|known| known.check_value == key.check_value())
    }

    /// Which version is in force.
    ///
    /// # Errors
    /// Before the first start.
    fn current(&self) -> Result<i64, MasterKeyError> {
        self.in_state(KeyState::Current).map(|known| known.version).ok_or(MasterKeyError::NoneYet)
    }

    fn latest(&self) -> i64 {
        self.0.iter().map(|known| known.version).max().unwrap_or_default()
    }

    fn is(&self, key: &MasterKey, state: KeyState) -> bool {
        self.find(key).is_some_and(|known| known.state == state)
    }

    /// What this key seals with, if it is the one in force.
    fn vault(&self, key: &MasterKey) -> Option<Vault> {
        let known = self.find(key).filter(|known| known.state == KeyState::Current)?;
        Some(Vault::new(key.clone(), known.version))
    }

    /// What opens everything that is stored.
    ///
    /// # Errors
    /// Where this key does not.
    fn usable(&self, key: &MasterKey, kept: &Kept) -> Result<Vault, MasterKeyError> {
        match self.vault(key) {
            Some(vault) if self.in_state(KeyState::Next).is_none() => Ok(vault),
            _ => Err(self.refused(key, kept)?),
        }
    }

    /// Why this key is none to go on with.
    fn refused(&self, key: &MasterKey, kept: &Kept) -> Result<MasterKeyError, MasterKeyError> {
        let next = kept.next_file().map(|file| MasterKey::read(&file)).transpose()?.flatten();
        let is_waiting = next.is_some_and(|next| self.is(&next, KeyState::Current));
        let current = self.current()?;
        Ok(match self.find(key) {
            _ if self.in_state(KeyState::Next).is_some() => MasterKeyError::Unfinished,
            Some(_) if is_waiting => MasterKeyError::Unfinished,
            Some(_) => MasterKeyError::Retired(kept.name(), current),
            None => MasterKeyError::Another(kept.name()),
        })
    }
}

/// What a server seals and opens with: the key that is configured, or else the one in the file beside the database; a
/// first one is drawn.
///
/// # Errors
/// [`StartError`], also when it does not open what is stored.
pub(crate) async fn vault(
    store: &Store,
    configured: Option<MasterKey>,
    database_url: &str,
) -> Result<Vault, StartError> {
    in_force(store, &Kept::of(database_url, configured)).await
}

async fn in_force(store: &Store, kept: &Kept) -> Result<Vault, StartError> {
    let keys = KnownKeys::of(store).await?;
    if keys.in_state(KeyState::Next).is_some() {
        return Err(MasterKeyError::Unfinished.into());
    }
    let is_needed = store.has_sealed().await?;
    let key = match (kept.read()?, kept) {
        (Some(key), _) => key,
        (None, Kept::File(file)) if !is_needed => {
            let key = MasterKey::make(file)?;
            tracing::info!(
                file = %file.display(),
                "a master key was made: back it up, without it stored secrets do not open"
            );
            key
        }
        (None, _) => kept.need()?,
    };
    if let Some(vault) = keys.vault(&key) {
        return Ok(vault);
    }
    // One that was replaced is not taken again, whatever is stored.
    if is_needed || keys.find(&key).is_some() {
        return Err(keys.refused(&key, kept)?.into());
    }
    let version = keys.current().unwrap_or(FIRST);
    store.remember_master_key(version, key.check_value(), clock::now()).await?;
    Ok(Vault::new(key, version))
}

#[cfg(test)]
mod tests {
    use model::Exchange;

    use super::*;
    use crate::secrets::{ApiCredential, Secret};
    use crate::store::connection;

    /// A store in a file that holds one connection, and its key file.
    async fn in_use(folder: &tempfile::TempDir) -> (String, PathBuf) {
        let url = format!("sqlite://{}", folder.path().join("books.db").display());
        let store = Store::open(&url).await.unwrap();
        let master = vault(&store, None, &url).await.unwrap();
        let account = store.create_account("one", clock::now()).await.unwrap().id;
        let connection = connection(account);
        let text = |text: &str| Secret::new(text.to_owned());
        let credential = ApiCredential { api_key: text("public"), api_secret: text("hidden") };
        let sealed = master.seal(account, connection.id, &credential);
        assert!(store.create_exchange(&connection, &sealed, [1; 32], None).await.unwrap());
        store.close().await;
        (url, folder.path().join("books.db.key"))
    }

    async fn start(url: &str, configured: Option<&str>) -> Result<Vault, String> {
        let store = Store::open(url).await.unwrap();
        let configured = configured.map(|text| MasterKey::parse(text).unwrap());
        let master = vault(&store, configured, url).await;
        store.close().await;
        master.map_err(|error| error.to_string())
    }

    /// What a key is recognised by.
    fn mark(vault: &Vault) -> [u8; 32] {
        vault.fingerprint(Exchange::Binance, &Secret::new("any".to_owned()))
    }

    const ANOTHER: &str = "8f1d3c5b7a9e0246c8ea0f2d4b69871533557799bbddff1020406080a0c0e001";

    #[tokio::test]
    async fn a_lost_or_changed_master_key_is_told_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let (url, file) = in_use(&folder).await;
        let key = start(&url, None).await.unwrap();

        let error = start(&url, Some(ANOTHER)).await.unwrap_err();
        assert!(error.contains("master_key (BOTPRIMEX_MASTER_KEY) is not the master key"), "{error}");
        let kept = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let error = start(&url, None).await.unwrap_err();
        assert!(error.contains("is missing: restore") && error.contains("books.db.key"), "{error}");
        assert!(!file.exists(), "no new key in the place of a lost one");
        MasterKey::make(&file).unwrap();
        let error = start(&url, None).await.unwrap_err();
        assert!(error.contains("books.db.key is not the master key"), "{error}");

        std::fs::remove_file(&file).unwrap();
        let restored = start(&url, Some(&kept)).await.unwrap();
        assert_eq!(mark(&restored), mark(&key));
    }

    #[tokio::test]
    async fn while_nothing_is_stored_the_master_key_may_change() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("books.db").display());
        let made = start(&url, None).await.unwrap();
        let given = start(&url, Some(ANOTHER)).await.unwrap();
        assert_ne!(mark(&made), mark(&given));
        assert_eq!(mark(&start(&url, Some(ANOTHER)).await.unwrap()), mark(&given));
    }

    #[test]
    fn the_key_file_lies_beside_the_database() {
        for (url, file) in [
            ("sqlite://books.db", "books.db.key"),
            ("sqlite:///var/lib/books.db?mode=rwc", "/var/lib/books.db.key"),
            ("postgres://user:password@host/books", "botprimex.key"),
        ] {
            assert_eq!(key_file(url), PathBuf::from(file));
        }
    }
}
