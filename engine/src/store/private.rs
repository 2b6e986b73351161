//! The files of a store, which nobody but their owner is to read: keys are sealed in them, trades and balances are not.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of a file that its owner alone may use.
pub(crate) const MODE: u32 = 0o600;

/// What lies beside a database: its log and the log's index, which SQLite makes with the rights of the database, whoever
/// serves it, and what left for a venue.
const BESIDE: [&str; 5] = ["", "-wal", "-shm", ".lock", ".sent"];

/// Makes a database's file if there is none, and takes from others the right to use what is there. That it could be read
/// is said and no reason to stay away: bots with open trades wait behind it.
///
/// A file that is there is never opened: SQLite's locks on it end as soon as its process closes it anywhere.
pub(super) fn keep_private(database: &Path) {
    // Where that does not work, opening the database says it better.
    let _ = OpenOptions::new().write(true).create_new(true).mode(MODE).open(database);
    for end in BESIDE {
        let mut path = database.as_os_str().to_owned();
        path.push(end);
        take_away(&PathBuf::from(path));
    }
}

fn take_away(path: &Path) {
    let Ok(found) = fs::metadata(path) else { return };
    let (file, mode) = (path.display(), found.permissions().mode());
    let is_exposed = found.is_file() && mode & 0o077 != 0;
    if !is_exposed {
        return;
    }
    match fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
        Ok(()) => tracing::warn!(%file, "others could read or write this file: they cannot any more"),
        Err(error) => {
            tracing::warn!(%file, %error, "others can read or write this file: take that right away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{OnLoss, Store};
    use super::*;

    fn modes(folder: &Path) -> Vec<(String, u32)> {
        let files = fs::read_dir(folder).unwrap().map(|file| {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            (file.file_name().into_string().unwrap(), mode)
        });
        files.collect()
    }

    #[tokio::test]
    async fn a_stores_files_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("books.db").display());
        for _ in 0..2 {
            let (lock, store) = Store::take(&url, OnLoss::new(|_| {})).await.unwrap();
            let modes = modes(folder.path());
            assert!(modes.len() >= 4, "{modes:?}");
            assert!(modes.iter().all(|(_, mode)| *mode == MODE), "{modes:?}");
            // As an earlier version, or a copy, left them.
            for (name, _) in &modes {
                fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o644)).unwrap();
            }
            store.close().await;
            lock.release().await;
        }
    }
}
