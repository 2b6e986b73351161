//! Opens a file and tells its format by its content.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::error::ReadError;
use super::table::Table;
use super::{arrow, csv, json};

const BUFFER: usize = 1 << 18;

/// Reads one file whole.
pub(crate) fn read(file: &Path) -> Result<Table, ReadError> {
    let failed = |error: std::io::Error| ReadError::file(file, error.to_string());
    let mut handle = File::open(file).map_err(failed)?;
    if handle.metadata().map_err(failed)?.is_dir() {
        return Err(ReadError::file(file, "expected a file, got a folder"));
    }
    let mut magic = Vec::new();
    handle.by_ref().take(8).read_to_end(&mut magic).map_err(failed)?;
    handle.rewind().map_err(failed)?;
    let table = match magic.as_slice() {
        [] => return Err(ReadError::file(file, "the file is empty")),
        [b'P', b'A', b'R', b'1', ..] => arrow::parquet(file, handle)?,
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => arrow::feather(file, handle)?,
        [b'F', b'E', b'A', b'1', ..] => {
            return Err(ReadError::file(file, "Feather version 1 is not read; write it as version 2"));
        }
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => zipped(file, handle)?,
        [0x1f, 0x8b, ..] => {
            let plain = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, handle));
            text(file, BufReader::with_capacity(BUFFER, plain))?
        }
        _ => text(file, BufReader::with_capacity(BUFFER, handle))?,
    };
    Ok(table)
}

/// Reads the one file in a zip archive.
fn zipped(file: &Path, handle: File) -> Result<Table, ReadError> {
    let failed =
        |error: zip::result::ZipError| ReadError::file(file, format!("the zip cannot be read: {error}"));
    let mut archive = zip::ZipArchive::new(BufReader::new(handle)).map_err(failed)?;
    let mut data = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(failed)?;
        if entry.is_file() {
            data.push(index);
        }
    }
    let [index] = data.as_slice() else {
        let reason = format!("expected a zip with one file, got one with {}", data.len());
        return Err(ReadError::file(file, reason));
    };
    let entry = archive.by_index(*index).map_err(failed)?;
    text(file, BufReader::with_capacity(BUFFER, entry))
}

/// Reads CSV or JSON.
fn text(file: &Path, mut input: impl BufRead) -> Result<Table, ReadError> {
    let start = input.fill_buf().map_err(|error| ReadError::file(file, error.to_string()))?;
    match start {
        [] => return Err(ReadError::file(file, "the file is empty")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(ReadError::file(file, "the file is in UTF-16; UTF-8 is read"));
        }
        [b'P', b'A', b'R', b'1', ..] | [b'A', b'R', b'R', b'O', b'W', b'1', ..] => {
            return Err(ReadError::file(
                file,
                "Parquet and Feather are read unpacked; unpack the file first",
            ));
        }
        [0xef, 0xbb, 0xbf, ..] => input.consume(3),
        _ => {}
    }
    let start = input.fill_buf().map_err(|error| ReadError::file(file, error.to_string()))?;
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => json::read(file, input),
        Some(b'{') => Err(ReadError::file(file, "JSON objects are not read; expected an array of rows")),
        _ if start.contains(&0) => {
            Err(ReadError::file(file, "the file is binary, of no format that is read"))
        }
        _ => csv::read(file, input),
    }
}
