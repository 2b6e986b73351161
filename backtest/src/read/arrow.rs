//! Parquet and Feather, by the Arrow libraries.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::columns::{Columns, RowColumns};
use super::error::ReadError;
use super::table::{CandleRows, Rows, Table, TickRows, key};
use super::{number, time};

/// Reads a Parquet file.
pub(crate) fn parquet(file: &Path, handle: File) -> Result<Table, ReadError> {
    let failed = |error: parquet::errors::ParquetError| {
        ReadError::file(file, format!("the Parquet file cannot be read: {error}"))
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(handle).map_err(failed)?;
    let batches = builder.with_batch_size(8_192).build().map_err(failed)?;
    read(file, batches)
}

/// Reads a Feather file of version 2, which is the Arrow file format.
pub(crate) fn feather(file: &Path, handle: File) -> Result<Table, ReadError> {
    let buffered = std::io::BufReader::new(handle);
    let batches = arrow_ipc::reader::FileReader::try_new(buffered, None)
        .map_err(|error| ReadError::file(file, format!("the Feather file cannot be read: {error}")))?;
    read(file, batches)
}

fn read(
    file: &Path,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<Table, ReadError> {
    let mut rows: Option<Rows> = None;
    let (mut read, mut repeated) = (0_u64, 0_u64);
    for batch in batches {
        let batch = batch.map_err(|error| ReadError::file(file, format!("the file is damaged: {error}")))?;
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let columns = Columns::by_name(names).map_err(|reason| ReadError::file(file, reason))?;
        append(&batch, columns, &mut rows, &mut read, &mut repeated)
            .map_err(|reason| ReadError::line(file, read, format!("row {read}: {reason}")))?;
    }
    let rows = rows.ok_or_else(|| ReadError::file(file, "the file has no rows"))?;
    Ok(Table { file: file.to_owned(), rows, repeated })
}

/// Appends a batch; `read` counts the rows up to the one that is refused.
fn append(
    batch: &RecordBatch,
    columns: Columns,
    rows: &mut Option<Rows>,
    read: &mut u64,
    repeated: &mut u64,
) -> Result<(), String> {
    let at = batch.column(columns.time);
    match columns.row {
        RowColumns::Candle(prices) => {
            let prices = prices.map(|index| batch.column(index));
            let Rows::Candles(rows) = rows.get_or_insert_with(|| Rows::Candles(CandleRows::default())) else {
                return Ok(());
            };
            for row in 0..batch.num_rows() {
                *read += 1;
                let at = time_at(at, row)?;
                let mut four = [0; 4];
                for (price, column) in four.iter_mut().zip(prices) {
                    *price = price_at(column, row)?;
                }
                *repeated += u64::from(!rows.push(at, four)?);
            }
        }
        RowColumns::Tick { price, qty, id } => {
            let fresh = || Rows::Ticks(TickRows { has_ids: true, ..TickRows::default() });
            let Rows::Ticks(rows) = rows.get_or_insert_with(fresh) else { return Ok(()) };
            let price = batch.column(price);
            let text = |index: Option<usize>, row| index.and_then(|index| text_at(batch.column(index), row));
            for row in 0..batch.num_rows() {
                *read += 1;
                let (key, is_id) = key(text(id, row).as_deref(), text(qty, row).as_deref());
                rows.has_ids &= is_id;
                rows.push(time_at(at, row)?, price_at(price, row)?, key)?;
            }
        }
    }
    Ok(())
}

/// A row's value in the values of a dictionary, or the row itself.
fn looked_up(array: &dyn Array, row: usize) -> Option<(&dyn Array, usize)> {
    let Some(dictionary) = array.as_any_dictionary_opt() else { return Some((array, row)) };
    let values = dictionary.values();
    let key = *dictionary.normalized_keys().get(row)?;
    Some((values.as_ref(), key))
}

fn time_at(array: &dyn Array, row: usize) -> Result<i64, String> {
    if array.is_null(row) {
        return Err("the time is missing".to_owned());
    }
    let (array, row) = looked_up(array, row).ok_or("the dictionary is damaged")?;
    let scaled = |value: i64, by: i64| {
        let nanos = value.checked_mul(by).ok_or_else(|| format!("the time {value} is out of range"))?;
        time::in_range(nanos, &model::Timestamp::from_nanos(nanos).to_string())
    };
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(array.as_primitive::<TimestampSecondType>().value(row), 1_000_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(array.as_primitive::<TimestampMillisecondType>().value(row), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            scaled(array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            scaled(array.as_primitive::<TimestampNanosecondType>().value(row), 1)
        }
        DataType::Date32 => {
            scaled(i64::from(array.as_primitive::<Date32Type>().value(row)), 86_400_000_000_000)
        }
        DataType::Date64 => scaled(array.as_primitive::<Date64Type>().value(row), 1_000_000),
        DataType::Int64 => time::nanos_of(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => time::nanos_of(i64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::UInt32 => time::nanos_of(i64::from(array.as_primitive::<UInt32Type>().value(row))),
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            time::nanos_of(i64::try_from(value).map_err(|_| format!("the time {value} is out of range"))?)
        }
        DataType::Float64 => time::nanos_of_float(array.as_primitive::<Float64Type>().value(row)),
        other => match text_at(array, row) {
            Some(text) => time::nanos(text.trim()),
            None => Err(format!("a time of the type {other} is not read")),
        },
    }
}

fn price_at(array: &dyn Array, row: usize) -> Result<i64, String> {
    if array.is_null(row) {
        return Err("a price is missing".to_owned());
    }
    let (array, row) = looked_up(array, row).ok_or("the dictionary is damaged")?;
    match array.data_type() {
        DataType::Float64 => number::price_of_float(array.as_primitive::<Float64Type>().value(row)),
        // Its own shortest decimal: as a double it would carry digits that nobody wrote.
        DataType::Float32 => number::price(&array.as_primitive::<Float32Type>().value(row).to_string()),
        _ => match text_at(array, row) {
            Some(text) => number::price(text.trim()),
            None => Err(format!("a price of the type {} is not read", array.data_type())),
        },
    }
}

/// A value as text: strings, whole numbers and decimals.
fn text_at(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let (array, row) = looked_up(array, row)?;
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal32(..) => array.as_primitive::<Decimal32Type>().value_as_string(row),
        DataType::Decimal64(..) => array.as_primitive::<Decimal64Type>().value_as_string(row),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        _ => return None,
    })
}
