//! Copies of a store: made while it is served, and known as copies when they are served.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::opening::absolute;
use super::private::MODE;
use super::{Store, StoreError, reading, writing};

/// A copy that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backup {
    /// Where it is.
    pub file: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// Up to when it has everything.
    pub taken_at: Timestamp,
}

impl Store {
    /// Copies a file as it is at one moment, beside whichever server writes it; nothing is at `to` unless all of it is.
    /// The copy says of itself that it is one.
    ///
    /// # Errors
    /// [`StoreError::Backup`], as where something is there already, and of a database that is no file.
    pub async fn back_up(&self, to: &Path, now: Timestamp) -> Result<Backup, StoreError> {
        let file = absolute(to);
        let refused = |why: String| StoreError::Backup { file: file.clone(), why };
        let Self::Sqlite { writer, .. } = self else {
            let why =
                "a PostgreSQL database is copied with pg_dump, which is consistent while the server runs";
            return Err(refused(why.to_owned()));
        };
        if file.exists() {
            return Err(refused("there is a file already".to_owned()));
        }
        let mut part = file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        // Nobody else is to read it, from the first byte on.
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&part);
        made.map_err(|error| refused(error.to_string()))?;
        let copied = async {
            writer.copy_into(&part).await?;
            mark(&part, now).await
        };
        if let Err(error) = copied.await {
            let _ = std::fs::remove_file(&part);
            return Err(refused(error.to_string()));
        }
        let bytes = publish(&part, &file).map_err(|error| refused(error.to_string()))?;
        Ok(Backup { file, bytes, taken_at: now })
    }

    /// Whether the store is known to be a copy of an earlier time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn is_restored(&self) -> Result<bool, StoreError> {
        reading!(self, pool => {
            Ok(sqlx::query("SELECT 1 FROM restored LIMIT 1").fetch_optional(pool).await?.is_some())
        })
    }

    /// Notes that it is one, or that all that it lacked is known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn set_restored(&self, at: Option<Timestamp>) -> Result<(), StoreError> {
        writing!(self, transaction => {
            match at {
                Some(at) => {
                    let insert = sqlx::query("INSERT INTO restored (taken_at) VALUES ($1)").bind(at.nanos());
                    insert.execute(&mut *transaction).await?;
                }
                None => {
                    sqlx::query("DELETE FROM restored").execute(&mut *transaction).await?;
                }
            }
        });
        Ok(())
    }
}

/// Writes into a copy that it is one.
async fn mark(copy: &Path, now: Timestamp) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(copy).journal_mode(SqliteJournalMode::Delete);
    let mut connection = options.connect().await?;
    sqlx::query("DELETE FROM restored").execute(&mut connection).await?;
    let insert = sqlx::query("INSERT INTO restored (taken_at) VALUES ($1)").bind(now.nanos());
    insert.execute(&mut connection).await?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    connection.close().await?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt { column: "a page", value: found }) }
}

/// Gives a durable copy its name; its length.
fn publish(part: &Path, file: &Path) -> std::io::Result<u64> {
    let copy = File::open(part)?;
    copy.sync_all()?;
    std::fs::rename(part, file)?;
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(copy.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_copy_has_what_was_committed_is_its_owners_alone_and_says_that_it_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let url = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
        let store = Store::open(&url("books.db")).await.unwrap();
        store.create_account("one", Timestamp::MIN).await.unwrap();
        let to = folder.path().join("copy.db");
        let made = store.back_up(&to, Timestamp::from_millis(7)).await.unwrap();
        assert_eq!((&made.file, made.taken_at), (&to, Timestamp::from_millis(7)));
        let metadata = std::fs::metadata(&to).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (made.bytes, MODE));
        let error = store.back_up(&to, Timestamp::MIN).await.unwrap_err().to_string();
        assert!(error.contains("copy.db") && error.contains("already"), "{error}");
        store.create_account("two", Timestamp::MIN).await.unwrap();

        let copy = Store::open(&url("copy.db")).await.unwrap();
        assert_eq!(copy.accounts().await.unwrap().len(), 1);
        assert!(copy.is_restored().await.unwrap() && !store.is_restored().await.unwrap());
        copy.set_restored(None).await.unwrap();
        assert!(!copy.is_restored().await.unwrap());
        copy.close().await;
        store.close().await;
        let left = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".part")));
    }
}
