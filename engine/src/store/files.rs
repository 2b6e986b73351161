//! Whether the files of a SQLite store are still those that this process has open.
//!
//! A file that is deleted or replaced under a running server goes on to be written, and nobody will ever read it.
//! SQLite does not notice. So what lies at its paths is compared with what is open, after every commit and by a clock.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqlitePool;

use super::StoreError;
use super::fence::Fence;

/// How often they are looked at while nothing is committed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What lies beside the database and is lost with it: its log, the log's index, and what keeps other servers away.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", ".lock"];

/// The files of an open database: where each is, and which.
#[derive(Debug)]
pub(super) struct Files(Vec<(PathBuf, Identity)>);

/// What a file is told from others by: its device and its number there.
type Identity = (u64, u64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

impl Files {
    /// Those that lie beside a database by now. It has been written since it was opened, so all that it needs are there.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where the lock is not what this process opened.
    pub(super) fn of(named: &Path, lock: &File) -> Result<Self, StoreError> {
        let database = fs::canonicalize(named).map_err(|_| StoreError::Gone(named.to_owned()))?;
        let mut files = Vec::new();
        if let Ok(found) = fs::metadata(named) {
            // Its name may be a link, which may come to name another file.
            files.push((named.to_owned(), identity(&found)));
        }
        for end in BESIDE {
            let mut path = database.as_os_str().to_owned();
            path.push(end);
            let path = PathBuf::from(path);
            if let Ok(found) = fs::metadata(&path) {
                files.push((path, identity(&found)));
            }
        }
        let is_there = |lock: fs::Metadata| files.iter().any(|(_, found)| *found == identity(&lock));
        if lock.metadata().is_ok_and(is_there) { Ok(Self(files)) } else { Err(StoreError::Gone(database)) }
    }

    /// Checks that they all still lie where they did.
    ///
    /// # Errors
    /// [`StoreError::Gone`]; what was committed last may be in a file that nobody will read.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (path, expected) in &self.0 {
            let is_there = fs::metadata(path).is_ok_and(|found| identity(&found) == *expected);
            if !is_there {
                return Err(StoreError::Gone(path.clone()));
            }
        }
        Ok(())
    }
}

/// Looks at the files until the store is closed, or until one is gone.
pub(super) async fn watch(files: Arc<Files>, fence: Arc<Fence>, readers: SqlitePool) {
    loop {
        tokio::select! {
            () = readers.close_event() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Err(error) = files.check() {
            // The last connection takes the log away with it.
            if !readers.is_closed() {
                fence.lose(error);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_deleted_replaced_or_hidden_by_a_link_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for changes in ["nothing", "delete", "replace", "delete the log", "delete the lock", "turn the link"]
        {
            for name in ["books.db", "books.db-wal", "books.db-shm", "books.db.lock", "other.db"] {
                fs::write(path(name), name).unwrap();
            }
            let _ = fs::remove_file(path("link.db"));
            std::os::unix::fs::symlink(path("books.db"), path("link.db")).unwrap();
            let lock = File::open(path("books.db.lock")).unwrap();
            let files = Files::of(&path("link.db"), &lock).unwrap();
            files.check().unwrap();
            match changes {
                "delete" => fs::remove_file(path("books.db")).unwrap(),
                "replace" => fs::rename(path("other.db"), path("books.db")).unwrap(),
                "delete the log" => fs::remove_file(path("books.db-wal")).unwrap(),
                "delete the lock" => fs::remove_file(path("books.db.lock")).unwrap(),
                "turn the link" => {
                    fs::remove_file(path("link.db")).unwrap();
                    std::os::unix::fs::symlink(path("other.db"), path("link.db")).unwrap();
                }
                _ => {}
            }
            assert_eq!(files.check().is_ok(), changes == "nothing", "{changes}");
        }
    }
}
