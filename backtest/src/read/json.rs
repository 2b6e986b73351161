//! freqtrade's JSON: an array of rows, each an array (candles, trades) or an object.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;
use std::path::Path;

use serde::Deserializer as _;
use serde::de::{self, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::{Columns, RowColumns};
use super::error::ReadError;
use super::table::{CandleRows, Rows, Table, TickRows, key};
use super::{number, time};

/// Reads a JSON array, row by row.
pub(crate) fn read(file: &Path, input: impl BufRead) -> Result<Table, ReadError> {
    let mut json = serde_json::Deserializer::from_reader(input);
    let mut reading = Reading { row: 0, rows: None, repeated: 0 };
    let read = json.deserialize_seq(&mut reading).and_then(|()| json.end());
    read.map_err(|error| ReadError::line(file, reading.row, format!("row {}: {error}", reading.row)))?;
    let rows = reading.rows.ok_or_else(|| ReadError::file(file, "the file has no rows"))?;
    Ok(Table { file: file.to_owned(), rows, repeated: reading.repeated })
}

struct Reading {
    row: u64,
    rows: Option<Rows>,
    repeated: u64,
}

impl<'de> Visitor<'de> for &mut Reading {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<Box<RawValue>>()? {
            self.row += 1;
            self.read(row.get()).map_err(de::Error::custom)?;
        }
        Ok(())
    }
}

impl Reading {
    fn read(&mut self, row: &str) -> Result<(), String> {
        let (columns, cells) = if row.starts_with('[') {
            let cells: Vec<&RawValue> = serde_json::from_str(row).map_err(|error| error.to_string())?;
            let cells: Vec<&str> = cells.into_iter().map(|cell| unquoted(cell.get())).collect();
            (of_freqtrade(&cells)?, cells)
        } else {
            let fields: BTreeMap<&str, &RawValue> =
                serde_json::from_str(row).map_err(|_| "expected an array or a plain object".to_owned())?;
            let columns = Columns::by_name(fields.keys().copied())?;
            (columns, fields.values().map(|cell| unquoted(cell.get())).collect())
        };
        let cell = |index: usize| cells.get(index).copied().unwrap_or_default();
        let at = time::nanos(cell(columns.time))?;
        match columns.row {
            RowColumns::Candle(indices) => {
                let mut prices = [0; 4];
                for (price, index) in prices.iter_mut().zip(indices) {
                    *price = number::price(cell(index))?;
                }
                match self.rows.get_or_insert_with(|| Rows::Candles(CandleRows::default())) {
                    Rows::Candles(rows) => self.repeated += u64::from(!rows.push(at, prices)?),
                    Rows::Ticks(_) => return Err("a candle among trades".to_owned()),
                }
            }
            RowColumns::Tick { price, qty, id } => {
                let fresh = || Rows::Ticks(TickRows { has_ids: true, ..TickRows::default() });
                match self.rows.get_or_insert_with(fresh) {
                    Rows::Ticks(rows) => {
                        let (key, is_id) = key(id.map(cell), qty.map(cell));
                        rows.has_ids &= is_id;
                        rows.push(at, number::price(cell(price))?, key)?;
                    }
                    Rows::Candles(_) => return Err("a trade among candles".to_owned()),
                }
            }
        }
        Ok(())
    }
}

/// The columns of freqtrade's arrays: `time, open, high, low, close, volume` and `time, id, type, side, price, amount, cost`.
fn of_freqtrade(cells: &[&str]) -> Result<Columns, String> {
    let is_side = cells.get(3).is_some_and(|cell| matches!(*cell, "buy" | "sell"));
    match cells.len() {
        5 | 6 => Ok(Columns { time: 0, row: RowColumns::Candle([1, 2, 3, 4]) }),
        7 if is_side => {
            Ok(Columns { time: 0, row: RowColumns::Tick { price: 4, qty: Some(5), id: Some(1) } })
        }
        other => Err(format!("expected a candle of 6 values or a trade of 7, got {other} values")),
    }
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}
