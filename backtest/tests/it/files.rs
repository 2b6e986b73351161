//! Files of market history: the same rows in every format, and what is refused by name.

use std::io::Write as _;
use std::path::PathBuf;

use backtest::{History, read};
use tempfile::TempDir;

const CANDLES: &str = "timestamp,open,high,low,close,volume\n\
    1704067200,100,102,99,101,5\n\
    1704067260,101,101.5,98,98.5,7\n\
    1704067320,98.5,103,98.5,102,1\n";

/// A folder with files of these contents, named by their number.
fn files(contents: &[&[u8]]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = contents.iter().enumerate().map(|(index, content)| {
        let path = folder.path().join(format!("{index}"));
        std::fs::write(&path, content).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn read_text(text: &str) -> Result<History, String> {
    let (_folder, paths) = files(&[text.as_bytes()]);
    read(&paths).map(|(history, _)| history).map_err(|error| error.to_string())
}

#[track_caller]
fn check_like(text: &str, expected: &str) {
    assert_eq!(read_text(text).unwrap(), read_text(expected).unwrap(), "{text}");
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let error = read_text(text).unwrap_err();
    assert!(error.contains(expected), "{text:?} gave {error}");
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zip(text: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("data.csv", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn candles_are_alike_in_every_spelling() {
    let History::Candles(candles) = read_text(CANDLES).unwrap() else { panic!("no candles") };
    assert_eq!(candles.len(), 3);
    let [open, high, low, close] = candles.get(1).unwrap().prices().map(|price| price.to_string());
    assert_eq!([open, high, low, close], ["101", "101.5", "98", "98.5"]);

    check_like(&CANDLES.replace('\n', "\r\n"), CANDLES);
    check_like(&format!("\u{feff}{CANDLES}\n\n"), CANDLES);
    check_like(&CANDLES.replace('\n', ",\n"), CANDLES);
    check_like(&CANDLES.replace(',', " , "), CANDLES);
    check_like(&CANDLES.replace("98.5", "\"9.85e1\""), CANDLES);
    check_like(
        &CANDLES
            .replace("timestamp,open", "DateTime,OPEN")
            .replace("60,", "60000,")
            .replace("00,100,", "00000,100,")
            .replace("20,98", "20000,98"),
        CANDLES,
    );
    check_like(
        "close,low,note,high,open,date\n101,99,x,102,100,2024-01-01\n98.5,98,\"a, b\",101.5,101,2024-01-01 00:01:00\n\
         102,98.5,,103,98.5,2024-01-01T01:02:00+01:00\n",
        CANDLES,
    );
    check_like(
        "1704067200000000,100,102,99,101,5,1704067259999999,1,1,1,1,0\n\
         1704067260000000,101,101.5,98,98.5,7,1704067319999999,1,1,1,1,0\n\
         1704067320000000,98.5,103,98.5,102,1,1704067379999999,1,1,1,1,0\n",
        CANDLES,
    );
    check_like(
        "[[1704067200000,100,102,99,101,5],[1704067260000,101.0,101.5,98,98.5,7],[1704067320000,98.5,103,98.5,102,1]]",
        CANDLES,
    );
}

#[test]
fn trades_are_alike_in_every_dump() {
    let plain = "timestamp,price,qty\n1704067200000,100,1\n1704067200000,100.5,2\n1704067201000,99,1\n";
    let History::Ticks(ticks) = read_text(plain).unwrap() else { panic!("no trades") };
    assert_eq!(ticks.len(), 3);
    check_like(
        "7,100,1,100,1704067200000,True,True\n8,100.5,2,201,1704067200000,False,True\n9,99,1,99,1704067201000,True,True\n",
        plain,
    );
    check_like(
        "7,100,1,7,7,1704067200000,True,True\n8,100.5,2,8,8,1704067200000,False,True\n9,99,1,9,9,1704067201000,True,True\n",
        plain,
    );
    check_like(
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n\
         7,100,1,7,7,1704067200000,true\n8,100.5,2,8,8,1704067200000,false\n9,99,1,9,9,1704067201000,true\n",
        plain,
    );
}

#[test]
fn packed_files_are_told_by_their_content() {
    let expected = read_text(CANDLES).unwrap();
    for packed in [gzip(CANDLES), zip(CANDLES)] {
        let (_folder, paths) = files(&[&packed]);
        assert_eq!(read(&paths).unwrap().0, expected);
        let (_folder, paths) = files(&[&packed[..packed.len() - 20]]);
        assert!(read(&paths).is_err(), "a truncated file was read");
    }
}

#[test]
fn bad_rows_are_refused_with_their_line() {
    let row = |row: &str| format!("{CANDLES}{row}\n");
    check_refused(&row("1704067380,100,102,99"), ":5: expected 6 cells, got 4");
    check_refused(&row("1704067380,NaN,102,99,100,1"), ":5: open: expected a price above 0, got `NaN`");
    check_refused(&row("1704067380,100,102,-99,100,1"), ":5: low: expected a price above 0, got `-99`");
    check_refused(&row("1704067380,100,102,101,101,1"), ":5: the candle's low is above");
    check_refused(&row("1704067380,100,102,99,103,1"), ":5: the candle's high is below");
    check_refused(&row("1704067260,100,102,99,100,1"), ":5: the time goes back");
    check_refused(&row("1704067320,100,102,99,100,1"), ":5: a second row of the same time has other values");
    check_refused(&row("1704067380,1,5,2,0,1,5"), ":5: expected 6 cells, got 7");
    check_refused("timestamp,price\n1,5\n", ":2: the time 1 is before 1980");
}

#[test]
fn foreign_files_are_refused_by_name() {
    check_refused("", "the file is empty");
    check_refused("timestamp;price\n1704067200;1,5\n", "separated by semicolons");
    check_refused("1704067200,1,2,3\n", "has no header and 4 columns");
    check_refused("timestamp,bid,ask\n1704067200,1,2\n", "expected the columns timestamp,price");
    check_refused("timestamp,price,price\n1704067200,1,2\n", "`price` is there twice");
    check_refused("{\"a\":1}", "JSON objects are not read");
    check_refused("timestamp,price\n", "has no rows");
    let (_folder, paths) = files(&[b"\xff\xfet\0i\0"]);
    assert!(read(&paths).unwrap_err().to_string().contains("UTF-16"));
    let (_folder, paths) = files(&[b"PAR1 and no more"]);
    assert!(read(&paths).unwrap_err().to_string().contains("Parquet file cannot be read"));
}

#[test]
fn several_files_are_one_history_in_any_order() {
    let head = "timestamp,open,high,low,close\n";
    let candle = |minute: i64| format!("{},100,102,99,{}\n", 1_704_067_200 + 60 * minute, 100 + minute % 2);
    let part =
        |minutes: std::ops::Range<i64>| minutes.fold(head.to_owned(), |text, minute| text + &candle(minute));
    let (_folder, paths) = files(&[part(8..10).as_bytes(), part(0..4).as_bytes(), part(2..6).as_bytes()]);
    let (history, notes) = read(&paths).unwrap();
    assert_eq!(history.len(), 8);
    let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert!(notes[0].contains("2 rows are in both"), "{notes:?}");
    assert_eq!(notes[1], "1 gaps, 2 candles missing: 2 from 2024-01-01T00:06:00Z");

    let other = part(2..4).replace("102", "103");
    let (_folder, paths) = files(&[part(0..4).as_bytes(), other.as_bytes()]);
    assert!(read(&paths).unwrap_err().to_string().contains("other values"));
    let (_folder, paths) = files(&[part(0..4).as_bytes(), b"timestamp,price\n1704067200,1\n"]);
    assert!(read(&paths).unwrap_err().to_string().contains("do not mix"));
}

#[test]
fn trades_in_two_files_count_once_and_like_trades_of_one_file_each() {
    let one = "timestamp,price,qty\n1704067200,100,1\n1704067200,100,1\n1704067201,101,1\n";
    let two = "timestamp,price,qty\n1704067201,101,1\n1704067202,102,1\n";
    let (_folder, paths) = files(&[two.as_bytes(), one.as_bytes()]);
    assert_eq!(read(&paths).unwrap().0.len(), 4);
}

/// The recorded data; `None`, and said, where it is not here.
fn recorded(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BOTPRIMEX_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: the recorded data {} is not here", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn recorded_files_have_the_rows_that_their_sources_tell() {
    for (file, rows) in [
        ("freqtrade/UNITTEST_BTC-1m.feather", 13_681),
        ("freqtrade/UNITTEST_BTC-1m.json", 13_681),
        ("freqtrade/XRP_ETH-1m.feather", 2_469),
        ("freqtrade/XRP_ETH-trades.feather", 12_477),
        ("freqtrade/XRP_ETH-trades.json.gz", 12_477),
        ("freqtrade/public_trades_list.csv", 1_000),
        ("nautilus/btc-perp-20211231-20220201_1m.csv", 45_031),
        ("nautilus/btcusdt-trades.parquet", 2_001),
    ] {
        let Some(path) = recorded(&format!("data/{file}")) else { continue };
        let (history, _) = read(&[path]).unwrap();
        assert_eq!(history.len(), rows, "{file}");
    }
}

#[test]
fn the_same_market_in_two_formats_is_one_history() {
    let pair = ["feather", "json"].map(|ext| recorded(&format!("data/freqtrade/UNITTEST_BTC-1m.{ext}")));
    let [Some(feather), Some(json)] = pair else { return };
    assert_eq!(read(std::slice::from_ref(&feather)).unwrap().0, read(std::slice::from_ref(&json)).unwrap().0);
    assert_eq!(read(&[feather, json]).unwrap().0.len(), 13_681);
}
