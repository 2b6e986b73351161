//! The master key's file: read with care, and written so that neither a crash nor a power cut leaves half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{MasterKey, MasterKeyError};

/// A key file's longest useful content.
const LONGEST: u64 = 1_024;

impl MasterKey {
    /// The key in a file, if there is one.
    ///
    /// # Errors
    /// [`MasterKeyError`]; a file that others may read is refused.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, MasterKeyError> {
        let failed = |error| MasterKeyError::File { file: path.to_owned(), error };
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(MasterKeyError::Exposed(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::new());
        let read = file.take(LONGEST).read_to_string(&mut text);
        let no_key = || MasterKeyError::NotInFile(path.to_owned());
        match read {
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(no_key()),
            read => read.map_err(failed)?,
        };
        Self::parse(&text).map(Some).map_err(|_| no_key())
    }

    /// Draws a key and keeps it in a new file that its owner alone may read.
    ///
    /// # Errors
    /// [`MasterKeyError::File`], also where there is a file already.
    pub(crate) fn make(path: &Path) -> Result<Self, MasterKeyError> {
        let key = Self::draw();
        key.keep(path)?;
        Ok(key)
    }

    /// Writes it to a new file that its owner alone may read. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`MasterKeyError::File`], also where there is a file already.
    pub(crate) fn keep(&self, path: &Path) -> Result<(), MasterKeyError> {
        let part = with_end(path, ".part");
        let written = || {
            if fs::symlink_metadata(path).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            // Of a crash before: it was in use nowhere.
            forget(&part)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&part)?;
            writeln!(file, "{}", self.spelled().as_str())?;
            file.sync_all()?;
            fs::rename(&part, path)?;
            // The name as well: a key that a power cut takes away takes everything that is sealed with it.
            sync_folder(path)
        };
        written().map_err(|error| MasterKeyError::File { file: path.to_owned(), error })
    }
}

/// Makes sure that a file that somebody else wrote outlives a power cut.
///
/// # Errors
/// [`MasterKeyError::File`].
pub(crate) fn settle(path: &Path) -> Result<(), MasterKeyError> {
    let settled = File::open(path).and_then(|file| file.sync_all()).and_then(|()| sync_folder(path));
    settled.map_err(|error| MasterKeyError::File { file: path.to_owned(), error })
}

/// Puts the key in `next` into the place of the one in `file`, which is kept as `retired`. There is a key in `file` at
/// every moment, and it can be done again where it was cut short.
///
/// # Errors
/// [`MasterKeyError`], of which [`MasterKeyError::InTheWay`] says that `retired` is there and holds another key.
pub(crate) fn replace(next: &Path, file: &Path, retired: &Path) -> Result<(), MasterKeyError> {
    let old = MasterKey::read(file)?.ok_or_else(|| MasterKeyError::NotInFile(file.to_owned()))?;
    match MasterKey::read(retired)? {
        None => old.keep(retired)?,
        Some(kept) if kept.check_value() == old.check_value() => {}
        Some(_) => return Err(MasterKeyError::InTheWay(retired.to_owned())),
    }
    let renamed = fs::rename(next, file).and_then(|()| sync_folder(file));
    renamed.map_err(|error| MasterKeyError::File { file: file.to_owned(), error })
}

/// A path whose name ends otherwise.
pub(crate) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db.key");
        assert!(MasterKey::read(&path).unwrap().is_none());
        let made = MasterKey::make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(MasterKey::read(&path).unwrap().unwrap().check_value(), made.check_value());
        assert!(matches!(MasterKey::make(&path), Err(MasterKeyError::File { .. })), "never written over");
    }

    #[test]
    fn a_file_that_others_may_read_or_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db.key");
        MasterKey::make(&path).unwrap();
        for mode in [0o440, 0o404, 0o644, 0o420] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = MasterKey::read(&path).unwrap_err();
            assert!(matches!(error, MasterKeyError::Exposed(_)), "{mode:o} {error}");
            assert!(error.to_string().contains("chmod 400"), "{error}");
        }
        for content in ["", "0012", "ff", "\u{fffd}"] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::write(&path, content).unwrap();
            assert!(matches!(MasterKey::read(&path), Err(MasterKeyError::NotInFile(_))), "{content}");
        }
    }

    #[test]
    fn what_a_crash_left_of_a_file_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db.key");
        fs::write(with_end(&path, ".part"), "8f1d").unwrap();
        let made = MasterKey::make(&path).unwrap();
        assert_eq!(MasterKey::read(&path).unwrap().unwrap().check_value(), made.check_value());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_takes_anothers_place_however_often_that_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let [file, next, retired] = ["key", "key.new", "key.v1"].map(|name| folder.path().join(name));
        let (old, new) = (MasterKey::make(&file).unwrap(), MasterKey::make(&next).unwrap());
        let is = |path: &Path, key: &MasterKey| {
            assert_eq!(MasterKey::read(path).unwrap().unwrap().check_value(), key.check_value());
        };
        // It was cut short between its two steps.
        old.keep(&retired).unwrap();
        replace(&next, &file, &retired).unwrap();
        is(&file, &new);
        is(&retired, &old);
        assert!(!next.exists());
        // Another key that is kept there is not written over.
        MasterKey::make(&next).unwrap();
        let error = replace(&next, &file, &retired).unwrap_err().to_string();
        assert!(error.contains("key.v1"), "{error}");
        is(&file, &new);
        is(&retired, &old);
    }
}
