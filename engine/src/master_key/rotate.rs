//! Another master key in the place of the one in force.
//!
//! At every moment both keys are durable while anything needs them, so that it can be cut short anywhere and run again:
//!
//! 1. The next key is written to its file.
//! 2. The store notes what it is recognised by; from now on no server starts.
//! 3. What is stored is sealed anew, each batch in a transaction; of what was sealed before nothing is left.
//! 4. One transaction puts the next key in force and retires the one before, once nothing needs that any more.
//! 5. Where the key is kept in a file, the next one takes its place, and the one before is kept under another name for
//!    backups from before.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::sealed::{SecretCount, reseal, walk};
use super::{Kept, KnownKeys};
use crate::clock;
use crate::secrets::{MasterKey, MasterKeyError, Vault, replace, settle, with_end};
use crate::store::{KeyState, OnLoss, Store, StoreError};

/// What came of a rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// The version of the key before.
    pub from: i64,
    /// The version of the key that is in force now.
    pub version: i64,
    /// What was sealed anew; after a rotation that was cut short only the rest.
    pub resealed: SecretCount,
    /// Where the key in force is.
    pub key_file: PathBuf,
    /// Where the key before is kept, where it was in a file.
    pub old_key_file: Option<PathBuf>,
}

/// Why a master key was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key cannot be read or written, or is not the one that is needed.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A server has the store.
    #[error(
        "{store} is in use ({holder}): the master key is replaced while no server runs, so stop that one first"
    )]
    InUse {
        /// Which.
        store: String,
        /// Who has it, and by what.
        holder: String,
    },
    /// A server may have it by now.
    #[error("{0}: run the same again, and it goes on where it stopped")]
    Lost(String),
    /// The key is configured, so that nobody but the operator can replace it there.
    #[error(
        "the master key is set by the configuration: say with --new-key-file where the next one is, or is to be written to"
    )]
    NoFile,
    /// What is offered as the next key is, or was, in force.
    #[error("{} holds a master key that was used before, version {version}: give another one", file.display())]
    UsedBefore {
        /// Where it is.
        file: PathBuf,
        /// Which it was.
        version: i64,
    },
    /// Two files say what the next key is.
    #[error("{} and {} hold different keys: remove the one that is not to be the next", .0.display(), .1.display())]
    Two(PathBuf, PathBuf),
    /// A rotation was begun with another key.
    #[error(
        "a rotation was begun, and {} does not hold the key that it was begun with: restore that file, for part of what is stored opens with it alone",
        .0.display()
    )]
    NotTheNext(PathBuf),
    /// A rotation was begun, and the key before is needed to its end.
    #[error("{0} has to be the master key before, until its replacement is finished")]
    NotTheOld(String),
    /// Something else was sealed meanwhile.
    #[error("the store was changed meanwhile: run the same again")]
    Raced,
}

/// Puts another master key in force: the one in `new_key_file`, which is made where there is none. Without that file it
/// is drawn. No server may run; where it is cut short, it goes on when it is run again.
///
/// # Errors
/// [`RotateError`]; nothing is lost.
pub async fn rotate_master_key(
    database_url: &str,
    configured: Option<MasterKey>,
    new_key_file: Option<PathBuf>,
) -> Result<Rotation, RotateError> {
    Store::open_existing(database_url).await?.close().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let taken = Store::take(database_url, OnLoss::new(move |why| drop(tell.send(why)))).await;
    let (lock, store) = taken.map_err(|error| match error {
        StoreError::InUse { store, holder } => RotateError::InUse { store, holder },
        other => other.into(),
    })?;
    let lost = async {
        match told.recv().await {
            Some(why) => why,
            // It is a lock that cannot be lost.
            None => std::future::pending().await,
        }
    };
    let kept = Kept::of(database_url, configured);
    let done = tokio::select! {
        done = rotate(&store, &kept, new_key_file) => done,
        why = lost => Err(RotateError::Lost(why)),
    };
    store.close().await;
    lock.release().await;
    done
}

async fn rotate(store: &Store, kept: &Kept, new_key_file: Option<PathBuf>) -> Result<Rotation, RotateError> {
    let next_file = NextFile::of(kept, new_key_file).ok_or(RotateError::NoFile)?;
    let keys = KnownKeys::of(store).await?;
    let (current, old) = (keys.current()?, kept.need()?);
    let is_begun = keys.in_state(KeyState::Next).is_some();
    let Some(old_vault) = keys.vault(&old) else {
        if is_begun {
            return Err(RotateError::NotTheOld(kept.name()));
        }
        return match (keys.find(&old), MasterKey::read(&next_file.path)?) {
            // All that is left to do.
            (Some(before), Some(next)) if keys.is(&next, KeyState::Current) => {
                next_file.take_place(kept, before.version, current, SecretCount::default())
            }
            _ => Err(keys.refused(&old, kept)?.into()),
        };
    };
    let next = next_file.key(is_begun)?;
    let version = match keys.find(&next) {
        Some(known) if known.state == KeyState::Next => known.version,
        _ if is_begun => return Err(RotateError::NotTheNext(next_file.path)),
        Some(known) => return Err(RotateError::UsedBefore { file: next_file.path, version: known.version }),
        None => {
            let version = keys.latest() + 1;
            store.begin_rotation(version, next.check_value(), clock::now()).await?;
            version
        }
    };
    let resealed = reseal_all(store, &old_vault, &Vault::new(next, version), version).await?;
    let left = resealed.unreadable + resealed.unreadable_answers;
    if !store.end_rotation(version, left).await? {
        return Err(RotateError::Raced);
    }
    next_file.take_place(kept, current, version, resealed)
}

/// Seals with the new key whatever is not sealed with it yet, and leaves nothing of it under the old one.
async fn reseal_all(
    store: &Store,
    old: &Vault,
    new: &Vault,
    version: i64,
) -> Result<SecretCount, StoreError> {
    let mut resealed = SecretCount::default();
    walk(store, version, async |kind, batch| {
        let anew: Vec<_> = batch.iter().filter_map(|sealed| reseal(sealed, old, new)).collect();
        store.reseal(&anew).await?;
        resealed.add(kind, anew.len(), batch.len() - anew.len());
        tracing::info!("{} secrets are sealed with master key version {}", resealed.opened(), version);
        Ok(())
    })
    .await?;
    if let Err(error) = store.drop_replaced().await {
        tracing::warn!(%error, "what the master key before opens is still in parts of the database that are not in use: VACUUM it");
    }
    Ok(resealed)
}

/// Where the next key is until it is in force.
struct NextFile {
    path: PathBuf,
    /// Where an operator wants it to be read from, or written to, besides.
    given: Option<PathBuf>,
}

impl NextFile {
    /// `None` where an operator has to say it and does not.
    fn of(kept: &Kept, given: Option<PathBuf>) -> Option<Self> {
        match kept.next_file() {
            Some(path) => Some(Self { given: given.filter(|given| *given != path), path }),
            None => Some(Self { path: given?, given: None }),
        }
    }

    /// The next key, durable; drawn where there is none, unless one is in use already.
    fn key(&self, is_begun: bool) -> Result<MasterKey, RotateError> {
        let given = self.given.as_deref().map(MasterKey::read).transpose()?.flatten();
        match (MasterKey::read(&self.path)?, given, &self.given) {
            (Some(key), Some(given), Some(file)) if key.check_value() != given.check_value() => {
                Err(RotateError::Two(self.path.clone(), file.clone()))
            }
            (Some(key), ..) => {
                settle(&self.path)?;
                Ok(key)
            }
            (None, Some(given), _) => {
                given.keep(&self.path)?;
                Ok(given)
            }
            (None, None, _) if is_begun => Err(RotateError::NotTheNext(self.path.clone())),
            (None, None, given) => {
                let key = MasterKey::draw();
                for file in given.iter().chain([&self.path]) {
                    key.keep(file)?;
                }
                Ok(key)
            }
        }
    }

    /// Ends a rotation whose key is in force.
    fn take_place(
        self,
        kept: &Kept,
        from: i64,
        version: i64,
        resealed: SecretCount,
    ) -> Result<Rotation, RotateError> {
        let (key_file, old_key_file) = match kept {
            Kept::Configured(_) => (self.path, None),
            Kept::File(file) => {
                let retired = with_end(file, &format!(".v{from}"));
                replace(&self.path, file, &retired)?;
                (file.clone(), Some(retired))
            }
        };
        Ok(Rotation { from, version, resealed, key_file, old_key_file })
    }
}

#[cfg(test)]
mod tests;
