//! The power is cut at points all over a recorded series of commits: what was written and not synced is gone, or half
//! of it. The store must open, be whole, and hold everything that was acknowledged by then.
//!
//! `strace` records what a small program writes that commits through the real ledger. Of every file there is what the
//! disk has for sure and what is still on its way there; a sync moves the one to the other. Modelled are lost and
//! reordered writes, not torn ones, nor what a file system does to names.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};

/// How many commits are recorded.
const COMMITS: u64 = 150;

/// Where the writer keeps the store, and where it notes what was acknowledged.
const BOOKS: &str = "books.db";
const ACKNOWLEDGED: &str = "acknowledged";

/// What happened to the files, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        len: usize,
    },
    /// What was on its way when the sync began is on the disk.
    SyncBegan {
        file: String,
        thread: String,
    },
    SyncEnded {
        thread: String,
    },
    Unlink {
        file: String,
    },
    Acknowledged(u64),
}

/// What was found at all cut points.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    /// Places in the record at which the power could have been cut.
    pub(crate) places: usize,
    /// And at which it was: spread over all of them.
    pub(crate) cuts: usize,
    /// Stores that were opened: one with nothing that was not synced, one with half of it.
    pub(crate) opened: usize,
    /// Of those, where something acknowledged was missing.
    pub(crate) lost: usize,
    /// The most commits that one of them lacked.
    pub(crate) most_lost: u64,
    /// Of those, which were not whole.
    pub(crate) broken: usize,
    /// How long all of it took, the recording among it.
    pub(crate) took: Duration,
}

/// How often progress is told.
const TELL_EVERY: usize = 250;

/// Records the writer in `folder` and cuts at so many places; `is_negligent` lets SQLite not wait for the disk.
pub(crate) async fn run(
    writer: &Path,
    seed: u64,
    cuts: usize,
    is_negligent: bool,
    folder: &Path,
) -> Result<Found> {
    let began = Instant::now();
    let recorded = folder.join("recorded");
    std::fs::create_dir(&recorded)?;
    let trace = folder.join("trace");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-y",
        "-xx",
        "-s",
        "1000000",
        "-e",
        "trace=pwrite64,write,fdatasync,fsync,ftruncate,unlink",
    ]);
    command.arg("-o").arg(&trace).arg(writer).arg(&recorded).arg(COMMITS.to_string());
    command.args(is_negligent.then_some("normal")).stdin(Stdio::null());
    let status = command.status().context("strace (Debian: strace) does not start")?;
    if !status.success() {
        bail!("the writer ended with {status}");
    }
    let text = std::fs::read_to_string(&trace)?;
    let events = events(&text, recorded.to_str().context("a folder that is not UTF-8")?)?;
    let found = cut(&events, seed, cuts, &folder.join("cut")).await?;
    Ok(Found { took: began.elapsed(), ..found })
}

async fn cut(events: &[Event], seed: u64, cuts: usize, folder: &Path) -> Result<Found> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    // Before the store is made there is nothing to lose.
    let first = events.iter().position(|event| matches!(event, Event::Acknowledged(_)));
    let first = first.context("nothing was acknowledged")?;
    let places = events.len() - first;
    let chosen = spread(places, cuts, &mut dice);
    let (mut disk, mut acknowledged, mut found) = (Disk::default(), 0, Found { places, ..Found::default() });
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Acknowledged(number) => acknowledged = *number,
            event => disk.take(event),
        }
        if place.checked_sub(first).is_none_or(|place| chosen.binary_search(&place).is_err()) {
            continue;
        }
        found.cuts += 1;
        for half in [false, true] {
            disk.lay_out(folder, |_| half && dice.random_bool(0.5))?;
            found.opened += 1;
            match stored(folder).await {
                Ok(stored) if stored >= acknowledged => {}
                Ok(stored) => {
                    found.lost += 1;
                    found.most_lost = found.most_lost.max(acknowledged - stored);
                }
                Err(_) => found.broken += 1,
            }
        }
        if found.cuts % TELL_EVERY == 0 {
            eprintln!("torture: {} of {} cuts", found.cuts, chosen.len());
        }
    }
    if acknowledged != COMMITS {
        bail!("only {acknowledged} of {COMMITS} commits are in the record");
    }
    Ok(found)
}

/// So many of `places`, or all of them, ascending: one out of each of as many stretches, wherever in it. What recurs in
/// a record is not missed by a stride of its own length.
fn spread(places: usize, count: usize, dice: &mut ChaCha8Rng) -> Vec<usize> {
    let count = count.min(places);
    let begins = |stretch: usize| stretch * places / count.max(1);
    (0..count).map(|stretch| dice.random_range(begins(stretch)..begins(stretch + 1))).collect()
}

/// How many commits a store has; an error where it does not open or is not whole.
async fn stored(folder: &Path) -> Result<u64> {
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", folder.join(BOOKS).display()))?;
    // What is looked at is thrown away: closing it need not wait for the disk.
    let options = options.synchronous(SqliteSynchronous::Off);
    let mut books = SqliteConnection::connect_with(&options).await?;
    let state: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut books).await?;
    if state != "ok" {
        bail!("integrity_check: {state}");
    }
    let stored: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM events").fetch_one(&mut books).await?;
    books.close().await?;
    Ok(u64::try_from(stored)?)
}

/// What the disk has for sure, and what is on its way to it.
#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<String, File>,
    /// How much of which file a thread's sync covers.
    syncing: HashMap<String, (String, usize)>,
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                to.resize(to.len().max(at + bytes.len()), 0);
                to.splice(*at..at + bytes.len(), bytes.iter().copied());
            }
            Self::Truncate(len) => to.resize(*len, 0),
        }
    }
}

impl Disk {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Write { file, at, bytes } => {
                let change = Change::Write { at: *at, bytes: bytes.clone() };
                self.files.entry(file.clone()).or_default().pending.push(change);
            }
            Event::Truncate { file, len } => {
                self.files.entry(file.clone()).or_default().pending.push(Change::Truncate(*len));
            }
            Event::SyncBegan { file, thread } => {
                let pending = self.files.get(file).map_or(0, |file| file.pending.len());
                self.syncing.insert(thread.clone(), (file.clone(), pending));
            }
            Event::SyncEnded { thread } => {
                let Some((name, count)) = self.syncing.remove(thread) else { return };
                let Some(file) = self.files.get_mut(&name) else { return };
                let count = count.min(file.pending.len());
                for change in file.pending.drain(..count) {
                    change.apply(&mut file.durable);
                }
                // Another thread's sync of the same file covers so much less now.
                for (_, left) in self.syncing.values_mut().filter(|(other, _)| *other == name) {
                    *left = left.saturating_sub(count);
                }
            }
            Event::Unlink { file } => drop(self.files.remove(file)),
            Event::Acknowledged(_) => {}
        }
    }

    /// Writes the files as the disk may have them: what is durable, and of the rest what `keeps` says.
    fn lay_out(&self, folder: &Path, mut keeps: impl FnMut(&Change) -> bool) -> Result<()> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir(folder)?;
        for (name, file) in &self.files {
            let mut content = file.durable.clone();
            for change in file.pending.iter().filter(|change| keeps(change)) {
                change.apply(&mut content);
            }
            // The log is made as long as it gets before it is used: the zeros at its end are a hole.
            let written = std::fs::File::create(folder.join(name))?;
            (&written).write_all(without_zeros(&content))?;
            written.set_len(u64::try_from(content.len())?)?;
        }
        Ok(())
    }
}

/// Without the pages of zeros at its end.
fn without_zeros(content: &[u8]) -> &[u8] {
    const PAGE: usize = 4_096;
    let zeros = [0; PAGE];
    let last = content.chunks(PAGE).rposition(|page| !zeros.starts_with(page));
    let len = last.map_or(0, |last| content.len().min((last + 1) * PAGE));
    content.get(..len).unwrap_or(content)
}

/// What a record says of the files under `folder`.
fn events(text: &str, folder: &str) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut begun: HashMap<&str, &str> = HashMap::new();
    for line in text.lines() {
        let (thread, call) = line.split_once(' ').context("a line without a thread")?;
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, start);
            if let Some(Call { name: "fsync" | "fdatasync", file: Some(file), .. }) =
                Call::read(start, folder)
            {
                events.push(Event::SyncBegan { file, thread: thread.to_owned() });
            }
            continue;
        }
        let is_resumed = call.starts_with("<... ");
        let whole = if is_resumed { begun.remove(thread).unwrap_or_default() } else { call };
        let Some(Call { name, file: Some(file), rest }) = Call::read(whole, folder) else { continue };
        let thread = thread.to_owned();
        match name {
            "fsync" | "fdatasync" => {
                if !is_resumed {
                    events.push(Event::SyncBegan { file, thread: thread.clone() });
                }
                events.push(Event::SyncEnded { thread });
            }
            "pwrite64" => {
                let (bytes, numbers) = quoted(rest)?;
                let at = numbers.rsplit(',').next().context("no offset")?;
                let at = at.split(')').next().unwrap_or_default().trim().parse()?;
                events.push(Event::Write { file, at, bytes });
            }
            "write" if file == ACKNOWLEDGED => {
                let number = String::from_utf8(quoted(rest)?.0)?;
                events.push(Event::Acknowledged(number.trim().parse()?));
            }
            "ftruncate" => {
                let len =
                    rest.trim_start_matches([',', ' ']).split(')').next().unwrap_or_default().parse()?;
                events.push(Event::Truncate { file, len });
            }
            "unlink" => events.push(Event::Unlink { file }),
            _ => {}
        }
    }
    events.retain(|event| match event {
        Event::Write { file, .. } | Event::Truncate { file, .. } | Event::Unlink { file } => {
            file.starts_with(BOOKS) && !file.ends_with("-shm")
        }
        _ => true,
    });
    Ok(events)
}

/// A call about a file of the folder.
struct Call<'a> {
    name: &'a str,
    /// Its name in the folder; `None` for any other.
    file: Option<String>,
    /// What follows it.
    rest: &'a str,
}

impl<'a> Call<'a> {
    fn read(text: &'a str, folder: &str) -> Option<Self> {
        let (name, arguments) = text.split_once('(')?;
        let (path, rest) = if name == "unlink" {
            let (path, rest) = arguments.strip_prefix('"')?.split_once('"')?;
            (path, rest)
        } else {
            arguments.split_once('<')?.1.split_once('>')?
        };
        let path = String::from_utf8(unescaped(path)?).ok()?;
        let file =
            Path::new(&path).strip_prefix(folder).ok().and_then(|file| Some(file.to_str()?.to_owned()));
        Some(Self { name, file, rest })
    }
}

/// The bytes of the first string, and what follows it.
fn quoted(text: &str) -> Result<(Vec<u8>, &str)> {
    let (_, text) = text.split_once('"').context("a write without content")?;
    let (bytes, rest) = text.split_once('"').context("a content without end")?;
    Ok((unescaped(bytes).context("a content that is not in hex")?, rest))
}

/// `\x2f\x74` as bytes.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_and_only_what_was_synced_is_durable() {
        let hex = |text: &str| -> String {
            let digits = text
                .bytes()
                .flat_map(|byte| [byte >> 4, byte & 15].map(|half| b"0123456789abcdef"[usize::from(half)]));
            String::from_utf8(
                digits.collect::<Vec<u8>>().chunks(2).flat_map(|two| [b"\\x", two].concat()).collect(),
            )
            .unwrap()
        };
        let (books, noted) = (hex("/r/books.db"), hex("/r/acknowledged"));
        let text = format!(
            "1  pwrite64(3<{books}>, \"{}\", 2, 0) = 2\n1  fsync(3<{books}> <unfinished ...>\n\
             2  pwrite64(3<{books}>, \"{}\", 2, 2) = 2\n1  <... fsync resumed>) = 0\n\
             2  write(4<{noted}>, \"{}\", 2) = 2\n2  write(5<{}>, \"{}\", 1) = 1\n",
            hex("ab"),
            hex("cd"),
            hex("7\n"),
            hex("anon_inode:[eventfd]"),
            hex("x"),
        );
        let events = events(&text, "/r").unwrap();
        assert_eq!(events.len(), 5, "{events:?}");
        assert_eq!(events[4], Event::Acknowledged(7));
        let mut disk = Disk::default();
        for event in &events {
            disk.take(event);
        }
        let file = &disk.files["books.db"];
        assert_eq!(
            (file.durable.as_slice(), file.pending.len()),
            (&b"ab"[..], 1),
            "what came during it is not"
        );
    }

    #[test]
    fn only_zeros_are_left_out() {
        let page = |byte: u8| vec![byte; 4_096];
        assert_eq!(without_zeros(&[page(0), page(0)].concat()).len(), 0);
        assert_eq!(without_zeros(&[page(1), page(0), page(0), vec![0; 7]].concat()), page(1));
        let odd = [page(0), vec![0, 3, 0]].concat();
        assert_eq!(without_zeros(&odd), odd);
    }

    #[test]
    fn cuts_are_spread_over_all_places() {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let chosen = spread(1_000, 300, &mut dice);
        assert_eq!(chosen.len(), 300);
        assert!(chosen.is_sorted_by(|one, next| one < next && next - one <= 7), "{chosen:?}");
        assert!(chosen.first() < Some(&4) && chosen.last() > Some(&995));
        assert_eq!(spread(5, 300, &mut dice), [0, 1, 2, 3, 4]);
        assert!(spread(0, 300, &mut dice).is_empty());
    }

    #[test]
    fn the_sync_of_one_file_takes_nothing_from_that_of_another() {
        let mut disk = Disk::default();
        let write = |file: &str| Event::Write { file: file.to_owned(), at: 0, bytes: vec![1] };
        let began =
            |file: &str, thread: &str| Event::SyncBegan { file: file.to_owned(), thread: thread.to_owned() };
        let ended = |thread: &str| Event::SyncEnded { thread: thread.to_owned() };
        let (log, books) = ("books.db-wal", "books.db");
        for event in [write(log), write(books), began(log, "1"), began(books, "2"), ended("2"), ended("1")] {
            disk.take(&event);
        }
        assert!(disk.files.values().all(|file| file.pending.is_empty() && file.durable == [1]), "{disk:?}");
    }
}
