//! Which orders have begun to leave: a note made before each is sent.
//!
//! After a crash an order whose outcome is not known may never have left. Its absence at the venue can be proven only
//! after a while; that it was not sent is known at once from here. The notes are written and not synced: what kills
//! a process takes nothing back that it had written, and what stops the machine starts it with another boot id, under
//! which the notes prove nothing.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::{ClientOrderId, Timestamp};

use crate::clock;
use crate::store::PRIVATE_MODE;

/// What the kernel calls this run of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How many notes of earlier runs are kept.
const KEPT: usize = 100_000;

/// The bytes of a note: an order's id, and when it left, in ms since 1970.
const NOTE: usize = 16 + 8;

/// What a file of such notes begins with; one without is of another version, and proves nothing.
const MAGIC: &[u8] = b"sent2 ";

/// The notes of this run of the machine; see the module.
#[derive(Debug)]
pub(crate) struct SentLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Option<File>,
    /// Every order minted after this, in ms since 1970, was noted if it was sent.
    since_ms: u64,
    /// When each left.
    noted: HashMap<u128, u64>,
}

impl Inner {
    fn none() -> Self {
        Self { file: None, since_ms: u64::MAX, noted: HashMap::new() }
    }
}

/// When an order's id was minted, in ms since 1970: the first 48 bits of a version-7 UUID.
const fn minted_ms(id: u128) -> u64 {
    (id >> 80) as u64
}

impl SentLog {
    /// Reads the notes in a file and goes on with them; begins anew where they are of another run of the machine. A
    /// file that cannot be used is done without: then nothing is proven by it.
    pub(crate) fn open(path: &Path) -> Self {
        let now_ms = now_ms();
        let inner = match read_and_begin(path, Path::new(BOOT_ID), now_ms) {
            Ok(inner) => inner,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "which orders were sent is not noted: after a crash the venue is asked for longer");
                Inner::none()
            }
        };
        Self { inner: Mutex::new(inner) }
    }

    /// A log that proves nothing.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { inner: Mutex::new(Inner::none()) }
    }

    /// Notes that an order is about to leave. Where that cannot be noted, no order counts as unsent any more.
    pub(crate) fn note(&self, id: ClientOrderId) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { file, noted, .. } = &mut *inner;
        let now_ms = now_ms();
        // Sent again, it left later.
        noted.insert(id.as_u128(), now_ms);
        if let Some(open) = file
            && let Err(error) = open.write_all(&note(id.as_u128(), now_ms))
        {
            tracing::error!(%error, "that an order is sent could not be noted");
            // What stands there must not prove anything: a note is missing from it.
            let _ = open.set_len(0);
            *file = None;
        }
    }

    /// When an order left, where that is noted.
    pub(crate) fn left_at(&self, id: ClientOrderId) -> Option<Timestamp> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let left_ms = *inner.file.as_ref().and(inner.noted.get(&id.as_u128()))?;
        Some(Timestamp::from_millis(i64::try_from(left_ms).ok()?))
    }

    /// Whether it is proven that an order never left.
    pub(crate) fn is_unsent(&self, id: ClientOrderId) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let id = id.as_u128();
        inner.file.is_some() && minted_ms(id) > inner.since_ms && !inner.noted.contains_key(&id)
    }
}

/// As it stands in the file.
fn note(id: u128, left_ms: u64) -> Vec<u8> {
    [&id.to_be_bytes()[..], &left_ms.to_be_bytes()].concat()
}

fn read_note(note: &[u8]) -> Option<(u128, u64)> {
    let (id, left_ms) = note.split_first_chunk()?;
    Some((u128::from_be_bytes(*id), u64::from_be_bytes(left_ms.try_into().ok()?)))
}

fn now_ms() -> u64 {
    u64::try_from(clock::now().millis()).unwrap_or(u64::MAX)
}

/// Where the notes lie: beside the database where that is a file.
pub(crate) fn path(database: Option<PathBuf>) -> PathBuf {
    let mut path = database.unwrap_or_else(|| PathBuf::from("botprimex")).into_os_string();
    path.push(".sent");
    PathBuf::from(path)
}

/// The notes of this run of the machine, in a file that holds them and nothing else.
fn read_and_begin(path: &Path, boot_id: &Path, now_ms: u64) -> std::io::Result<Inner> {
    let boot = std::fs::read_to_string(boot_id)?;
    let boot = boot.trim().as_bytes();
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut old) => drop(old.read_to_end(&mut bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let boot = [MAGIC, boot].concat();
    let stored = bytes.strip_prefix(boot.as_slice()).and_then(|rest| rest.split_first_chunk());
    let (mut since_ms, notes) =
        stored.map_or((now_ms, &[][..]), |(since, notes)| (u64::from_be_bytes(*since), notes));
    let whole: Vec<(u128, u64)> = notes.chunks_exact(NOTE).filter_map(read_note).collect();
    let (dropped, kept) = whole.split_at(whole.len().saturating_sub(KEPT));
    since_ms = dropped.iter().map(|(id, _)| minted_ms(*id)).max().map_or(since_ms, |last| last.max(since_ms));
    let mut begun = [boot.as_slice(), &since_ms.to_be_bytes()].concat();
    begun.extend(kept.iter().flat_map(|(id, left_ms)| note(*id, *left_ms)));
    // Written beside and moved, so that a crash leaves the old notes or the new ones.
    let beside = path.with_extension("sent.new");
    let mut new =
        OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_MODE).open(&beside)?;
    new.write_all(&begun)?;
    std::fs::rename(&beside, path)?;
    let file = OpenOptions::new().append(true).open(path)?;
    Ok(Inner { file: Some(file), since_ms, noted: kept.iter().copied().collect() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// An order that was minted at this moment.
    fn id(ms: u128, number: u128) -> ClientOrderId {
        ClientOrderId::from_u128(ms << 80 | number)
    }

    fn open(folder: &tempfile::TempDir, boot: &str, now_ms: u64) -> SentLog {
        let (path, file) = (folder.path().join("b.db.sent"), folder.path().join("boot_id"));
        std::fs::write(&file, format!("{boot}\n")).unwrap();
        SentLog { inner: Mutex::new(read_and_begin(&path, &file, now_ms).unwrap()) }
    }

    #[test]
    fn what_was_noted_is_known_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(&folder, "one", 1_000);
        let notes = std::fs::metadata(folder.path().join("b.db.sent")).unwrap();
        assert_eq!(notes.permissions().mode() & 0o777, PRIVATE_MODE);
        log.note(id(1_001, 1));
        log.note(id(1_002, 2));
        assert!(!log.is_unsent(id(1_001, 1)) && log.is_unsent(id(1_003, 3)));
        drop(log);
        let log = open(&folder, "one", 2_000);
        assert!(!log.is_unsent(id(1_001, 1)) && !log.is_unsent(id(1_002, 2)) && log.is_unsent(id(1_003, 3)));
        let age_ns = clock::now().since(log.left_at(id(1_001, 1)).unwrap());
        assert!((0..60_000_000_000).contains(&age_ns), "{age_ns}");
        assert_eq!(log.left_at(id(1_003, 3)), None);
    }

    #[test]
    fn nothing_is_proven_of_what_was_minted_before_the_notes_begin() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(&folder, "one", 1_000);
        assert!(!log.is_unsent(id(999, 1)) && !log.is_unsent(id(1_000, 1)) && log.is_unsent(id(1_001, 1)));
        drop(log);
        // Another run of the machine: the notes may have been lost with it.
        let log = open(&folder, "two", 5_000);
        assert!(!log.is_unsent(id(1_001, 1)) && log.is_unsent(id(5_001, 1)));
    }

    #[test]
    fn half_a_note_is_none() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder, "one", 1_000).note(id(1_001, 1));
        let path = folder.path().join("b.db.sent");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([0; 7]);
        std::fs::write(&path, bytes).unwrap();
        let log = open(&folder, "one", 2_000);
        assert!(!log.is_unsent(id(1_001, 1)) && log.is_unsent(id(1_002, 2)));
    }

    #[test]
    fn a_log_that_cannot_be_kept_proves_nothing() {
        assert!(!SentLog::none().is_unsent(id(1, 1)));
    }
}
