//! Several files as one history.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use model::Timestamp;

use super::History;
use super::error::ReadError;
use super::table::{CandleRows, Rows, Table, TickRows};
use crate::history::{Candles, Ticks};

/// Something worth knowing about a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note(String);

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Places of gaps that a note names.
const SHOWN_GAPS: usize = 3;

/// Puts tables together, in the order of their times.
pub(crate) fn merge(mut tables: Vec<Table>) -> Result<(History, Vec<Note>), ReadError> {
    tables.sort_by_key(|table| first(&table.rows));
    let mut notes = Vec::new();
    for table in &tables {
        if first(&table.rows).is_none() {
            return Err(ReadError::file(&table.file, "the file has no rows"));
        }
        if table.repeated > 0 {
            notes.push(Note(format!("{}: {} repeated rows", table.file.display(), table.repeated)));
        }
    }
    let mut tables = tables.into_iter();
    let Some(begin) = tables.next() else {
        return Err(ReadError::file(Path::new("--data"), "no file was given"));
    };
    match begin.rows {
        Rows::Candles(rows) => {
            let (mut all, mut step) = (rows, None);
            step_of(&begin.file, &all, &mut step)?;
            for table in tables {
                let Rows::Candles(next) = table.rows else { return Err(mixed(&table.file, &begin.file)) };
                step_of(&table.file, &next, &mut step)?;
                join_candles(&mut all, next, &table.file, &mut notes)?;
            }
            candle_gaps(&all, &mut notes);
            Ok((History::Candles(candles(all)), notes))
        }
        Rows::Ticks(rows) => {
            let mut all = rows;
            for table in tables {
                let Rows::Ticks(next) = table.rows else { return Err(mixed(&table.file, &begin.file)) };
                join_ticks(&mut all, next, &table.file, &mut notes);
            }
            id_gaps(&all, &mut notes);
            let TickRows { at, price, .. } = all;
            Ok((History::Ticks(Ticks { at, price }), notes))
        }
    }
}

fn first(rows: &Rows) -> Option<i64> {
    match rows {
        Rows::Ticks(rows) => rows.at.first().copied(),
        Rows::Candles(rows) => rows.at.first().copied(),
    }
}

fn mixed(file: &Path, other: &Path) -> ReadError {
    let reason = format!("candles and trades do not mix: {} is of the other kind", other.display());
    ReadError::file(file, reason)
}

/// The most frequent distance of two candles; the same in every file.
fn step_of(file: &Path, rows: &CandleRows, step: &mut Option<i64>) -> Result<(), ReadError> {
    let Some(own) = most_frequent(&rows.at) else { return Ok(()) };
    match step.replace(own).filter(|step| *step != own) {
        Some(other) => {
            let [own, other] = [own, other].map(|nanos| nanos / 1_000_000_000);
            let reason = format!("its candles are {own} s long, those of another file {other} s");
            Err(ReadError::file(file, reason))
        }
        None => Ok(()),
    }
}

fn most_frequent(at: &[i64]) -> Option<i64> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for pair in at.windows(2) {
        if let [before, after] = pair {
            *counts.entry(after - before).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(step, count)| (*count, std::cmp::Reverse(*step))).map(|(step, _)| step)
}

fn join_candles(
    all: &mut CandleRows,
    next: CandleRows,
    file: &Path,
    notes: &mut Vec<Note>,
) -> Result<(), ReadError> {
    let (Some(last), Some(begin)) = (all.at.last().copied(), next.at.first().copied()) else { return Ok(()) };
    if begin > last {
        all.at.extend(next.at);
        all.prices.extend(next.prices);
        return Ok(());
    }
    let from = all.at.partition_point(|at| *at < begin);
    let old = CandleRows { at: all.at.split_off(from), prices: all.prices.split_off(from) };
    let mut old = old.at.into_iter().zip(old.prices).peekable();
    let mut new = next.at.into_iter().zip(next.prices).peekable();
    let mut alike = 0_u64;
    loop {
        let row = match (old.peek(), new.peek()) {
            (Some((at, prices)), Some((new_at, new_prices))) => match at.cmp(new_at) {
                Ordering::Less => old.next(),
                Ordering::Greater => new.next(),
                Ordering::Equal if prices == new_prices => {
                    alike += 1;
                    new.next();
                    old.next()
                }
                Ordering::Equal => {
                    let at = Timestamp::from_nanos(*at);
                    let reason = format!("its candle of {at} has other values than another file's");
                    return Err(ReadError::file(file, reason));
                }
            },
            (Some(_), None) => old.next(),
            (None, _) => new.next(),
        };
        let Some((at, prices)) = row else { break };
        all.at.push(at);
        all.prices.push(prices);
    }
    overlap(notes, file, alike, begin);
    Ok(())
}

/// Joins trades: of those of one time, price and key each file's count is taken once, the larger one.
fn join_ticks(all: &mut TickRows, next: TickRows, file: &Path, notes: &mut Vec<Note>) {
    all.has_ids &= next.has_ids;
    let (Some(last), Some(begin)) = (all.at.last().copied(), next.at.first().copied()) else { return };
    if begin > last {
        all.at.extend(next.at);
        all.price.extend(next.price);
        all.key.extend(next.key);
        return;
    }
    let from = all.at.partition_point(|at| *at < begin);
    let old = TickRows {
        at: all.at.split_off(from),
        price: all.price.split_off(from),
        key: all.key.split_off(from),
        has_ids: all.has_ids,
    };
    let (mut left, mut right, mut alike) = (0, 0, 0_u64);
    while left < old.at.len() || right < next.at.len() {
        let time = [old.at.get(left), next.at.get(right)].into_iter().flatten().min().copied();
        let Some(time) = time else { break };
        let mut seen: BTreeMap<(i64, u64), u32> = BTreeMap::new();
        while let Some((at, price, key)) = old.row(left).filter(|(at, ..)| *at == time) {
            *seen.entry((price, key)).or_default() += 1;
            push(all, at, price, key);
            left += 1;
        }
        while let Some((at, price, key)) = next.row(right).filter(|(at, ..)| *at == time) {
            right += 1;
            match seen.get_mut(&(price, key)).filter(|count| **count > 0) {
                Some(count) => {
                    *count -= 1;
                    alike += 1;
                }
                None => push(all, at, price, key),
            }
        }
    }
    overlap(notes, file, alike, begin);
}

fn push(all: &mut TickRows, at: i64, price: i64, key: u64) {
    all.at.push(at);
    all.price.push(price);
    all.key.push(key);
}

fn overlap(notes: &mut Vec<Note>, file: &Path, alike: u64, begin: i64) {
    let from = Timestamp::from_nanos(begin);
    let file = file.display();
    notes.push(Note(format!("{file}: overlaps another file from {from} on; {alike} rows are in both")));
}

fn candle_gaps(all: &CandleRows, notes: &mut Vec<Note>) {
    let Some(step) = most_frequent(&all.at) else { return };
    let gaps = all.at.windows(2).filter_map(|pair| match pair {
        [before, after] if after - before > step => Some((before + step, (after - before) / step - 1)),
        _ => None,
    });
    gap_note(gaps, "candles", notes);
}

fn id_gaps(all: &TickRows, notes: &mut Vec<Note>) {
    if !all.has_ids {
        return;
    }
    let gaps = all.key.windows(2).zip(&all.at).filter_map(|(pair, at)| match pair {
        [before, after] if *after > before.saturating_add(1) => {
            Some((*at, i64::try_from(after - before - 1).unwrap_or(i64::MAX)))
        }
        _ => None,
    });
    gap_note(gaps, "trades", notes);
}

fn gap_note(gaps: impl Iterator<Item = (i64, i64)>, rows: &str, notes: &mut Vec<Note>) {
    let (mut count, mut missing, mut places) = (0_u64, 0_i64, Vec::new());
    for (at, lacking) in gaps {
        count += 1;
        missing = missing.saturating_add(lacking);
        if places.len() < SHOWN_GAPS {
            places.push(format!("{lacking} from {}", Timestamp::from_nanos(at)));
        }
    }
    if count > 0 {
        let more = if count > SHOWN_GAPS as u64 { ", …" } else { "" };
        notes.push(Note(format!("{count} gaps, {missing} {rows} missing: {}{more}", places.join(", "))));
    }
}

fn candles(rows: CandleRows) -> Candles {
    let column = |index: usize| rows.prices.iter().filter_map(|prices| prices.get(index).copied()).collect();
    let (open, high, low, close) = (column(0), column(1), column(2), column(3));
    Candles { at: rows.at, open, high, low, close }
}
