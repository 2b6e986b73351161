//! Rows of recorded files, each to what happened in it. The format is found in the first rows.

use std::sync::Arc;

use model::{Price, Qty, Timestamp};
use serde_json::Value;

use super::{BookChange, Happening, Print, Top};
use crate::world::Level;

/// How a file's rows read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// `RECEIVED_NS {"stream":…,"data":…}`, or the same with a decimal time and a colon.
    Capture,
    /// `id,price,qty,quote,time,is_buyer_maker,is_best` of the venue's public dumps.
    DumpTrades,
    /// `id,price,qty,first,last,time,is_buyer_maker,is_best`.
    DumpAggTrades,
    /// `open_time,open,high,low,close,volume,close_time,…`.
    DumpKlines,
    /// Ours: `timestamp,price[,qty]`.
    PlainTicks,
    /// Ours: `timestamp,open,high,low,close,volume`.
    PlainCandles,
}

/// What a row held: a time, and what happened then, in order.
pub(crate) struct Row {
    pub(crate) at: Timestamp,
    pub(crate) happenings: Vec<Happening>,
    /// A book, or what changed in one.
    pub(crate) book: Option<Arc<BookChange>>,
    /// The symbol, the stream's name and its data, where the row is a recorded frame.
    pub(crate) frame: Option<(String, String, String)>,
}

impl Format {
    /// The format of a file, and whether its first row is a header.
    pub(crate) fn detect(first: &str) -> Option<(Self, bool)> {
        let first = first.trim_start_matches('\u{feff}').trim();
        if first.contains('{') && first.starts_with(|c: char| c.is_ascii_digit() || c == '{') {
            return Some((Self::Capture, false));
        }
        let lower = first.to_ascii_lowercase();
        let fields: Vec<&str> = lower.split(',').map(str::trim).collect();
        let has = |name: &str| fields.contains(&name);
        if fields.first().is_some_and(|field| field.parse::<f64>().is_err()) {
            let format = match () {
                () if has("timestamp") && has("price") => Self::PlainTicks,
                () if has("timestamp") && has("open") => Self::PlainCandles,
                () if has("open_time") => Self::DumpKlines,
                () if has("first_trade_id") || has("agg_trade_id") => Self::DumpAggTrades,
                () if has("price") && has("time") => Self::DumpTrades,
                () => return None,
            };
            return Some((format, true));
        }
        let format = match fields.len() {
            6 | 7 if fields.get(5).is_some_and(|field| field.starts_with(['t', 'f'])) => Self::DumpTrades,
            7 | 8 => Self::DumpAggTrades,
            11 | 12 => Self::DumpKlines,
            _ => return None,
        };
        Some((format, false))
    }

    /// Reads a row; `None` where it holds nothing to play.
    pub(crate) fn read(self, line: &str) -> Result<Option<Row>, String> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let field = |index: usize| {
            fields.get(index).copied().ok_or_else(|| format!("field {} is missing", index + 1))
        };
        match self {
            Self::Capture => capture(line),
            Self::DumpTrades => trade(field(0)?, field(1)?, field(2)?, field(4)?, field(5)?).map(Some),
            Self::DumpAggTrades => trade(field(0)?, field(1)?, field(2)?, field(5)?, field(6)?).map(Some),
            Self::PlainTicks => {
                let qty = fields.get(2).copied().filter(|qty| !qty.is_empty()).unwrap_or("1");
                trade("0", field(1)?, qty, field(0)?, "false").map(Some)
            }
            Self::DumpKlines | Self::PlainCandles => {
                candle(field(0)?, [field(1)?, field(2)?, field(3)?, field(4)?], field(5)?).map(Some)
            }
        }
    }
}

fn price(text: &str) -> Result<Price, String> {
    text.parse().map_err(|error| format!("price: {error}"))
}

fn qty(text: &str) -> Result<Qty, String> {
    text.parse().map_err(|error| format!("quantity: {error}"))
}

/// A time in s, ms, µs or ns, by its size.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let whole = text.split('.').next().unwrap_or_default();
    let units: i64 = whole.parse().map_err(|_| format!("`{text}` is no time"))?;
    Ok(match units {
        i64::MIN..100_000_000_000 => Timestamp::from_millis(units.saturating_mul(1_000)),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millis(units),
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_micros(units),
        _ => Timestamp::from_nanos(units),
    })
}

fn trade(id: &str, at: &str, amount: &str, when: &str, is_maker: &str) -> Result<Row, String> {
    let print = Print {
        id: id.parse().map_err(|_| format!("`{id}` is no trade id"))?,
        price: price(at)?,
        qty: qty(amount)?,
        is_buyer_maker: is_maker.eq_ignore_ascii_case("true"),
    };
    Ok(Row { at: time(when)?, happenings: vec![Happening::Print(print)], book: None, frame: None })
}

/// A candle as four prints, in the order of contract §4, each a quarter of the volume.
fn candle(when: &str, prices: [&str; 4], volume: &str) -> Result<Row, String> {
    let [open, high, low, close] =
        [price(prices[0])?, price(prices[1])?, price(prices[2])?, price(prices[3])?];
    let path = if close >= open { [open, low, high, close] } else { [open, high, low, close] };
    let quarter = qty(volume)?.decimal() / rust_decimal::Decimal::from(4);
    let quarter = Qty::new(quarter.round_dp(8)).map_err(|error| error.to_string())?;
    let print = |price| Happening::Print(Print { id: 0, price, qty: quarter, is_buyer_maker: false });
    Ok(Row { at: time(when)?, happenings: path.map(print).to_vec(), book: None, frame: None })
}

/// A recorded frame with the time it was received at.
fn capture(line: &str) -> Result<Option<Row>, String> {
    let brace = line.find('{').ok_or("there is no frame")?;
    let (before, json) = line.split_at(brace);
    let received = before.trim().trim_end_matches(':').trim();
    let value: Value = serde_json::from_str(json.trim()).map_err(|error| format!("no JSON: {error}"))?;
    let data = value.get("data").unwrap_or(&value);
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    let millis = |key: &str| data.get(key).and_then(Value::as_i64);
    let Some(symbol) = text("s").map(str::to_owned) else { return snapshot(data, received) };
    let kind = text("e").map_or("bookTicker", |event| match event {
        "depthUpdate" => "depth@100ms",
        event => event,
    });
    let stream = match value.get("stream").and_then(Value::as_str) {
        Some(stream) => stream.to_owned(),
        None => format!("{}@{kind}", symbol.to_ascii_lowercase()),
    };
    let at = match millis("T").or_else(|| millis("E")) {
        Some(at) => time(&at.to_string())?,
        None if !received.is_empty() => time(received)?,
        None => return Ok(None),
    };
    let missing = |key: &str| format!("`{key}` is missing");
    let required = |key: &str| text(key).ok_or_else(|| missing(key));
    let happening = match kind {
        "trade" => Happening::Print(Print {
            id: millis("t").ok_or_else(|| missing("t"))?,
            price: price(required("p")?)?,
            qty: qty(required("q")?)?,
            is_buyer_maker: data.get("m").and_then(Value::as_bool).unwrap_or(false),
        }),
        "bookTicker" => Happening::Top(Top {
            bid: price(required("b")?)?,
            bid_qty: qty(required("B")?)?,
            ask: price(required("a")?)?,
            ask_qty: qty(required("A")?)?,
        }),
        _ => Happening::Other,
    };
    let book = match kind {
        "depth@100ms" => {
            let first = millis("U").ok_or_else(|| missing("U"))?;
            Some(Arc::new(BookChange {
                first: Some(first),
                last: millis("u").ok_or_else(|| missing("u"))?,
                bids: levels(data, "b")?,
                asks: levels(data, "a")?,
            }))
        }
        _ => None,
    };
    let frame = raw_data(json).unwrap_or_else(|| data.to_string());
    Ok(Some(Row { at, happenings: vec![happening], book, frame: Some((symbol, stream, frame)) }))
}

/// A whole book as it was asked for: it names no symbol, and no stream told it.
fn snapshot(data: &Value, received: &str) -> Result<Option<Row>, String> {
    let Some(last) = data.get("lastUpdateId").and_then(Value::as_i64).filter(|_| !received.is_empty()) else {
        return Ok(None);
    };
    let book = BookChange { first: None, last, bids: levels(data, "bids")?, asks: levels(data, "asks")? };
    let happenings = vec![Happening::Other];
    Ok(Some(Row { at: time(received)?, happenings, book: Some(Arc::new(book)), frame: None }))
}

/// One side of a book.
fn levels(data: &Value, side: &str) -> Result<Vec<Level>, String> {
    let rows = data.get(side).and_then(Value::as_array).ok_or_else(|| format!("`{side}` is missing"))?;
    let amount = |row: &Value, index: usize| {
        let text = row.get(index).and_then(Value::as_str).ok_or_else(|| format!("`{side}` has no levels"))?;
        model::number::parse(text).map_err(|error| error.to_string())
    };
    rows.iter().map(|row| Ok((amount(row, 0)?, amount(row, 1)?))).collect()
}

/// The data of a combined frame as it was sent, every digit and the order of its keys kept.
fn raw_data(json: &str) -> Option<String> {
    use std::collections::HashMap;

    use serde_json::value::RawValue;
    let fields: HashMap<String, &RawValue> = serde_json::from_str(json.trim()).ok()?;
    Some(fields.get("data").map_or_else(|| json.trim().to_owned(), |data| data.get().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: &str, expected: Format, prices: &[&str]) {
        let mut lines = rows.lines();
        let (format, is_header) = Format::detect(rows.lines().next().unwrap()).unwrap();
        assert_eq!(format, expected);
        if is_header {
            lines.next();
        }
        let mut found = Vec::new();
        for line in lines {
            for happening in format.read(line).unwrap().unwrap().happenings {
                let Happening::Print(print) = happening else { panic!() };
                found.push(print.price.to_string());
            }
        }
        assert_eq!(found, prices);
    }

    #[test]
    fn every_format_is_known_by_its_first_row() {
        check("timestamp,price\n1723161255,10.5\n1723161256,11", Format::PlainTicks, &["10.5", "11"]);
        check("timestamp,price,qty\n1723161255342,10.5,2", Format::PlainTicks, &["10.5"]);
        check(
            "timestamp,open,high,low,close,volume\n1723161255,10,12,9,11,4",
            Format::PlainCandles,
            &["10", "9", "12", "11"],
        );
        check("3735683259,61837.63,0.02,1236.75,1723161255342,true,true", Format::DumpTrades, &["61837.63"]);
        check(
            "id,price,qty,quote_qty,time,is_buyer_maker\n1,2,3,6,1723161255342,true",
            Format::DumpTrades,
            &["2"],
        );
        check("7,61837.63,0.02,1,2,1723161255342,true,true", Format::DumpAggTrades, &["61837.63"]);
        check(
            "1723161240000,10,12,9,8,4,1723161299999,40,7,2,20,0",
            Format::DumpKlines,
            &["10", "12", "9", "8"],
        );
        assert_eq!(Format::detect("a,b,c"), None);
    }

    #[test]
    fn a_recorded_frame_keeps_every_digit() {
        let line = r#"1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;
        let row = Format::Capture.read(line).unwrap().unwrap();
        let (symbol, stream, data) = row.frame.unwrap();
        assert_eq!((symbol.as_str(), stream.as_str()), ("BTCUSDT", "btcusdt@trade"));
        assert!(line.ends_with(&format!("{data}}}")), "{data}");
        assert_eq!(row.at, Timestamp::from_millis(1_723_161_255_342));
    }

    #[test]
    fn a_time_is_known_by_its_size() {
        for text in ["1723161255", "1723161255000", "1723161255000000", "1723161255000000000"] {
            assert_eq!(time(text), Ok(Timestamp::from_millis(1_723_161_255_000)), "{text}");
        }
    }

    #[test]
    fn a_bad_row_says_why() {
        for (line, why) in
            [("x,1", "`x` is no time"), ("1,0", "above 0"), ("1,NaN", "price"), ("1", "field 2")]
        {
            let error = Format::PlainTicks.read(line).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
