//! CSV: by the names in its header, or one of Binance's dumps.

use std::borrow::Cow;
use std::io::BufRead;
use std::path::Path;

use super::columns::{Columns, RowColumns};
use super::error::ReadError;
use super::table::{CandleRows, Rows, Table, TickRows, key};
use super::{number, time};

/// Longer lines are of no such file.
const MAX_LINE: usize = 1 << 16;

/// Reads CSV text, line by line.
pub(crate) fn read(file: &Path, mut input: impl BufRead) -> Result<Table, ReadError> {
    let (mut line, mut number) = (Vec::new(), 0_u64);
    let mut reading: Option<Reading> = None;
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let failed = |error: std::io::Error| ReadError::line(file, number + 1, error.to_string());
        if read.map_err(failed)? == 0 {
            break;
        }
        number += 1;
        let refused = |reason: String| ReadError::line(file, number, reason);
        if line.len() > MAX_LINE {
            return Err(refused("the line is longer than 64 KiB".to_owned()));
        }
        let text = std::str::from_utf8(&line).map_err(|_| refused("the line is not UTF-8".to_owned()))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            continue;
        }
        match &mut reading {
            None => reading = Some(Reading::begin(text).map_err(refused)?),
            Some(reading) => reading.row(text).map_err(refused)?,
        }
    }
    let reading = reading.ok_or_else(|| ReadError::file(file, "the file has no rows"))?;
    Ok(Table { file: file.to_owned(), rows: reading.rows, repeated: reading.repeated })
}

/// What has been read.
struct Reading {
    columns: Columns,
    /// How many cells a row has.
    width: usize,
    rows: Rows,
    repeated: u64,
}

impl Reading {
    /// Begins with the first line: a header, or a row of a dump.
    fn begin(text: &str) -> Result<Self, String> {
        let mut cells = Vec::new();
        split(text, &mut |cell| cells.push(cell.into_owned()))?;
        if cells.len() == 1 {
            let separator = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
            if let Some((_, name)) = separator.iter().find(|(byte, _)| text.contains(*byte)) {
                return Err(format!("the cells are separated by {name}; commas are read"));
            }
        }
        let is_header = cells.iter().any(|cell| {
            let cell = cell.trim();
            cell.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_word_of_data(cell)
        });
        if cells.last().is_some_and(|cell| cell.trim().is_empty()) {
            cells.pop();
        }
        let names: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
        let columns =
            if is_header { Columns::by_name(names.clone())? } else { Columns::of_binance_dump(&names)? };
        let rows = match columns.row {
            RowColumns::Tick { .. } => Rows::Ticks(TickRows { has_ids: true, ..TickRows::default() }),
            RowColumns::Candle(_) => Rows::Candles(CandleRows::default()),
        };
        let mut reading = Self { columns, width: names.len(), rows, repeated: 0 };
        if !is_header {
            reading.row(text)?;
        }
        Ok(reading)
    }

    fn row(&mut self, text: &str) -> Result<(), String> {
        match (&mut self.rows, self.columns.row) {
            (Rows::Candles(rows), RowColumns::Candle([open, high, low, close])) => {
                let wanted = [self.columns.time, open, high, low, close];
                let [at, open, high, low, close] = pick(text, self.width, wanted)?;
                let at = time::nanos(at.trim())?;
                let mut prices = [0; 4];
                let names = ["open", "high", "low", "close"];
                for ((price, cell), name) in prices.iter_mut().zip([open, high, low, close]).zip(names) {
                    *price = number::price(cell.trim()).map_err(|reason| format!("{name}: {reason}"))?;
                }
                self.repeated += u64::from(!rows.push(at, prices)?);
            }
            (Rows::Ticks(rows), RowColumns::Tick { price, qty, id }) => {
                let wanted = [self.columns.time, price, qty.unwrap_or(price), id.unwrap_or(price)];
                let [at, price, size, number] = pick(text, self.width, wanted)?;
                let (key, is_id) = key(id.map(|_| number.trim()), qty.map(|_| size.trim()));
                rows.has_ids &= is_id;
                rows.push(time::nanos(at.trim())?, number::price(price.trim())?, key)?;
            }
            // The rows were made for the columns.
            _ => {}
        }
        Ok(())
    }
}

/// Words that rows hold, so that a row of a dump is no header.
fn is_word_of_data(cell: &str) -> bool {
    let word = cell.to_ascii_lowercase();
    matches!(word.as_str(), "true" | "false" | "buy" | "sell" | "nan" | "inf" | "null" | "none")
}

/// The wanted cells of a row of `width` cells; a last empty one more is allowed.
fn pick<const N: usize>(text: &str, width: usize, wanted: [usize; N]) -> Result<[Cow<'_, str>; N], String> {
    let mut picked = [const { Cow::Borrowed("") }; N];
    let (mut count, mut is_last_empty) = (0, false);
    split(text, &mut |cell| {
        is_last_empty = cell.trim().is_empty();
        for (picked, _) in picked.iter_mut().zip(wanted).filter(|(_, index)| *index == count) {
            picked.clone_from(&cell);
        }
        count += 1;
    })?;
    if count == width || (count == width + 1 && is_last_empty) {
        Ok(picked)
    } else {
        Err(format!("expected {width} cells, got {count}"))
    }
}

/// Tells the cells of a line, without quotes.
fn split<'a>(text: &'a str, each: &mut dyn FnMut(Cow<'a, str>)) -> Result<(), String> {
    if !text.contains('"') {
        text.split(',').for_each(|cell| each(Cow::Borrowed(cell)));
        return Ok(());
    }
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let Some(mut quoted) = trimmed.strip_prefix('"') else {
            let Some((cell, after)) = rest.split_once(',') else {
                each(Cow::Borrowed(rest));
                return Ok(());
            };
            each(Cow::Borrowed(cell));
            rest = after;
            continue;
        };
        let mut cell = String::new();
        loop {
            let (part, after) = quoted.split_once('"').ok_or("a quote is not closed")?;
            cell.push_str(part);
            quoted = after;
            match after.strip_prefix('"') {
                Some(after) => {
                    cell.push('"');
                    quoted = after;
                }
                None => break,
            }
        }
        each(Cow::Owned(cell));
        let after = quoted.trim_start();
        if after.is_empty() {
            return Ok(());
        }
        rest = after.strip_prefix(',').ok_or("a comma is missing after a closing quote")?;
    }
}
