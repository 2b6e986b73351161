//! Which orders have begun to leave: a note made before each is sent.
//!
//! After a crash an order whose outcome is not known may never have left. Its absence at the venue can be proven only
//! after a while; that it was not sent is known at once from here, of orders that were journaled in an epoch whose
//! process noted here and is over. That it is over is certain because the notes are locked as long as it is there. The
//! notes are written and not synced: what kills a process takes nothing back that it had written, and what stops the
//! machine starts it with another boot id, under which the notes prove nothing.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::ClientOrderId;

use crate::store::{PRIVATE_MODE, Tenure};

/// What the kernel calls this run of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How many notes of earlier runs are kept.
const KEPT: usize = 100_000;

/// The bytes of a note: an order's id.
const NOTE: usize = 16;

/// What a file of such notes begins with; one without is of another version, and proves nothing.
const MAGIC: &[u8] = b"sent3 ";

/// The notes of this run of the machine; see the module.
#[derive(Debug)]
pub(crate) struct SentLog {
    epoch: i64,
    inner: Mutex<Inner>,
    trace: Trace,
}

/// What the notes of before say of the store that they lie beside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trace {
    /// Nothing: there are none, or they are of another store, or of a process before its last one.
    Nothing,
    /// The store has come back to an earlier time: they are of a process that it has not had yet.
    Earlier,
    /// The orders that left last, as far as they are noted: a store that goes on has all of them in its journal.
    Left(Vec<ClientOrderId>),
}

/// How many of the orders that left last are looked for in the journal.
const LOOKED_FOR: usize = 500;

#[derive(Debug)]
struct Inner {
    /// Where notes go; locked as long as it is open.
    file: Option<File>,
    /// From this epoch on every process of the store noted here.
    since_epoch: i64,
    /// Notes of orders that were minted until then, in ms since 1970, may have been dropped.
    dropped_ms: u64,
    noted: HashSet<u128>,
}

impl Inner {
    fn none() -> Self {
        Self { file: None, since_epoch: i64::MAX, dropped_ms: u64::MAX, noted: HashSet::new() }
    }
}

/// When an order's id was minted, in ms since 1970: the first 48 bits of a version-7 UUID.
const fn minted_ms(id: u128) -> u64 {
    (id >> 80) as u64
}

impl SentLog {
    /// Reads the notes of the epochs before and goes on with them; begins anew where they are of another run of the
    /// machine or another store, or where an epoch between noted elsewhere. A file that cannot be used, or that another
    /// process has, is done without: then nothing is proven by it.
    pub(crate) fn open(path: &Path, tenure: &Tenure) -> Self {
        let trace = trace(path, tenure);
        let inner = match read_and_begin(path, Path::new(BOOT_ID), tenure) {
            Ok(inner) => inner,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "which orders were sent is not noted: after a crash the venue is asked for longer");
                Inner::none()
            }
        };
        Self { epoch: tenure.epoch, inner: Mutex::new(inner), trace }
    }

    /// What the notes of before said.
    pub(crate) const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Of which epoch this process is.
    pub(crate) const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Notes that an order is about to leave. Where that cannot be noted, no order counts as unsent any more.
    pub(crate) fn note(&self, id: ClientOrderId) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { file, noted, .. } = &mut *inner;
        if !noted.insert(id.as_u128()) {
            return;
        }
        if let Some(open) = file
            && let Err(error) = open.write_all(&id.as_u128().to_be_bytes())
        {
            tracing::error!(%error, "that an order is sent could not be noted");
            // What stands there must not prove anything: a note is missing from it.
            let _ = open.set_len(0);
            *file = None;
        }
    }

    /// Whether it is proven that an order which was journaled in this epoch never left.
    pub(crate) fn is_unsent(&self, id: ClientOrderId, epoch: i64) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let id = id.as_u128();
        inner.file.is_some()
            && (inner.since_epoch..=self.epoch).contains(&epoch)
            && minted_ms(id) > inner.dropped_ms
            && !inner.noted.contains(&id)
    }
}

/// Where the notes lie: beside the database where that is a file.
pub(crate) fn path(database: Option<PathBuf>) -> PathBuf {
    let mut path = database.unwrap_or_else(|| PathBuf::from("botprimex")).into_os_string();
    path.push(".sent");
    PathBuf::from(path)
}

/// What stands at the head of the notes.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    since_epoch: i64,
    /// The last epoch whose process noted here.
    epoch: i64,
    dropped_ms: u64,
}

impl Head {
    fn bytes(&self) -> Vec<u8> {
        [self.since_epoch.to_be_bytes(), self.epoch.to_be_bytes(), self.dropped_ms.to_be_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (since_epoch, rest) = bytes.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (dropped_ms, notes) = rest.split_first_chunk()?;
        let head = Self {
            since_epoch: i64::from_be_bytes(*since_epoch),
            epoch: i64::from_be_bytes(*epoch),
            dropped_ms: u64::from_be_bytes(*dropped_ms),
        };
        Some((head, notes))
    }
}

/// What the notes say of their store before this process goes on with them, whichever run of the machine they are of.
fn trace(path: &Path, tenure: &Tenure) -> Trace {
    let Ok(bytes) = std::fs::read(path) else { return Trace::Nothing };
    let named = [b" ".as_slice(), tenure.store.as_bytes(), b" "].concat();
    let after_boot = bytes.strip_prefix(MAGIC).and_then(|rest| {
        let space = rest.iter().position(|byte| *byte == b' ')?;
        rest.get(space..)?.strip_prefix(named.as_slice())
    });
    let Some((head, notes)) = after_boot.and_then(Head::read) else { return Trace::Nothing };
    match (head.epoch + 1).cmp(&tenure.epoch) {
        Ordering::Less => return Trace::Nothing,
        Ordering::Greater => return Trace::Earlier,
        Ordering::Equal => {}
    }
    let (notes, _half) = notes.as_chunks::<NOTE>();
    let last = notes.iter().rev().take(LOOKED_FOR);
    Trace::Left(last.map(|note| ClientOrderId::from_u128(u128::from_be_bytes(*note))).collect())
}

/// The notes of this run of the machine, in a file that holds them and nothing else, and that no other process has.
fn read_and_begin(path: &Path, boot_id: &Path, tenure: &Tenure) -> std::io::Result<Inner> {
    let mut bytes = Vec::new();
    let _old = match File::open(path) {
        Ok(mut old) => {
            lock(&old, path)?;
            old.read_to_end(&mut bytes)?;
            Some(old)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let boot = std::fs::read_to_string(boot_id)?;
    let of = [MAGIC, boot.trim().as_bytes(), b" ", tenure.store.as_bytes(), b" "].concat();
    let stored = bytes.strip_prefix(of.as_slice()).and_then(Head::read);
    let (mut head, notes) = stored
        .filter(|(head, _)| head.epoch + 1 == tenure.epoch)
        .unwrap_or((Head { since_epoch: tenure.epoch, epoch: tenure.epoch, dropped_ms: 0 }, &[]));
    head.epoch = tenure.epoch;
    let (notes, _half) = notes.as_chunks::<NOTE>();
    let (dropped, kept) = notes.split_at(notes.len().saturating_sub(KEPT));
    let dropped = dropped.iter().map(|note| minted_ms(u128::from_be_bytes(*note)));
    head.dropped_ms = dropped.max().map_or(head.dropped_ms, |last| last.max(head.dropped_ms));
    // Written beside and moved, so that a crash leaves the old notes or the new ones.
    let beside = path.with_extension("sent.new");
    let mut options = OpenOptions::new();
    let mut new = options.write(true).create(true).truncate(false).mode(PRIVATE_MODE).open(&beside)?;
    lock(&new, &beside)?;
    new.set_len(0)?;
    new.write_all(&[of, head.bytes(), kept.concat()].concat())?;
    std::fs::rename(&beside, path)?;
    Ok(Inner {
        file: Some(new),
        since_epoch: head.since_epoch,
        dropped_ms: head.dropped_ms,
        noted: kept.iter().map(|note| u128::from_be_bytes(*note)).collect(),
    })
}

/// Locks a file that lies at this path.
fn lock(file: &File, path: &Path) -> std::io::Result<()> {
    file.try_lock()?;
    // Who had it may have put another in its place meanwhile.
    let is_there = std::fs::metadata(path)?.ino() == file.metadata()?.ino();
    if is_there { Ok(()) } else { Err(std::io::Error::other("another process has just replaced it")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// An order.
    fn id(number: u128) -> ClientOrderId {
        ClientOrderId::from_u128(1_000 << 80 | number)
    }

    fn open(folder: &tempfile::TempDir, boot: &str, store: &str, epoch: i64) -> SentLog {
        let (path, file) = (folder.path().join("b.db.sent"), folder.path().join("boot_id"));
        std::fs::write(&file, format!("{boot}\n")).unwrap();
        let tenure = Tenure { store: store.to_owned(), epoch };
        let inner = read_and_begin(&path, &file, &tenure).unwrap_or_else(|_| Inner::none());
        SentLog { epoch, inner: Mutex::new(inner), trace: Trace::Nothing }
    }

    #[test]
    fn what_was_noted_is_known_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(&folder, "one", "store", 1);
        let notes = std::fs::metadata(folder.path().join("b.db.sent")).unwrap();
        assert_eq!(notes.permissions().mode() & 0o777, PRIVATE_MODE);
        log.note(id(1));
        log.note(id(2));
        assert!(!log.is_unsent(id(1), 1) && log.is_unsent(id(3), 1));
        drop(log);
        let log = open(&folder, "one", "store", 2);
        assert!(!log.is_unsent(id(1), 1) && !log.is_unsent(id(2), 1));
        assert!(log.is_unsent(id(3), 1) && log.is_unsent(id(3), 2));
    }

    #[test]
    fn nothing_is_proven_of_epochs_that_noted_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder, "one", "store", 4));
        for (boot, store, epoch) in [
            ("one", "store", 6),
            ("two", "store", 7),
            ("two", "other", 8),
            ("two", "other", 8),
            ("two", "other", 3),
        ] {
            let log = open(&folder, boot, store, epoch);
            assert!(
                !log.is_unsent(id(1), epoch - 1),
                "{boot} {store} {epoch}: another process may have sent it"
            );
            assert!(!log.is_unsent(id(1), epoch + 1), "{boot} {store} {epoch}: a later one may have");
            assert!(log.is_unsent(id(1), epoch), "{boot} {store} {epoch}: this one did not");
        }
    }

    #[test]
    fn notes_that_a_process_still_writes_prove_nothing_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let paused = open(&folder, "one", "store", 1);
        let second = open(&folder, "one", "store", 2);
        assert!(!second.is_unsent(id(1), 1), "the first may still send it");
        paused.note(id(1));
        drop(second);
        drop(paused);
        let third = open(&folder, "one", "store", 3);
        assert!(!third.is_unsent(id(2), 2), "the second noted nowhere");
        assert!(third.is_unsent(id(2), 3));
    }

    #[test]
    fn half_a_note_is_none() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder, "one", "store", 1).note(id(1));
        let path = folder.path().join("b.db.sent");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([0; 7]);
        std::fs::write(&path, bytes).unwrap();
        let log = open(&folder, "one", "store", 2);
        assert!(!log.is_unsent(id(1), 1) && log.is_unsent(id(2), 1));
    }

    #[test]
    fn a_log_that_cannot_be_kept_proves_nothing() {
        let log = SentLog { epoch: 1, inner: Mutex::new(Inner::none()), trace: Trace::Nothing };
        assert!(!log.is_unsent(id(1), 1));
    }

    #[test]
    fn notes_tell_whether_their_store_has_come_back_to_an_earlier_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db.sent");
        let tenure = |store: &str, epoch| Tenure { store: store.to_owned(), epoch };
        assert_eq!(trace(&path, &tenure("one", 1)), Trace::Nothing);
        let log = SentLog::open(&path, &tenure("one", 4));
        log.note(id(7));
        log.note(id(8));
        drop(log);
        assert_eq!(trace(&path, &tenure("one", 5)), Trace::Left(vec![id(8), id(7)]));
        assert_eq!(trace(&path, &tenure("one", 4)), Trace::Earlier);
        assert_eq!(trace(&path, &tenure("one", 3)), Trace::Earlier);
        assert_eq!(trace(&path, &tenure("one", 6)), Trace::Nothing);
        assert_eq!(trace(&path, &tenure("other", 5)), Trace::Nothing);
    }
}
