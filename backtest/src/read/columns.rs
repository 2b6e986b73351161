//! Which columns of a file hold what.

/// Where a file's columns are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Columns {
    pub(crate) time: usize,
    pub(crate) row: RowColumns,
}

/// The columns beside the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RowColumns {
    /// Of public trades.
    Tick { price: usize, qty: Option<usize>, id: Option<usize> },
    /// Open, high, low and close of candles.
    Candle([usize; 4]),
}

const TIMES: [&str; 6] = ["timestamp", "date", "datetime", "time", "open_time", "transact_time"];
const QUANTITIES: [&str; 4] = ["qty", "quantity", "amount", "size"];
const IDS: [&str; 3] = ["id", "trade_id", "agg_trade_id"];

impl Columns {
    /// Finds the columns by their names, in any order and case.
    ///
    /// # Errors
    /// What is missing or there twice, and which columns there are.
    pub(crate) fn by_name<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let names: Vec<String> = names.into_iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let find = |wanted: &str| -> Result<Option<usize>, String> {
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == wanted);
            let first = found.next().map(|(index, _)| index);
            if found.next().is_some() {
                return Err(format!("the column `{wanted}` is there twice"));
            }
            Ok(first)
        };
        let first_of = |wanted: &[&str]| -> Result<Option<usize>, String> {
            for name in wanted {
                if let Some(index) = find(name)? {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        };
        let refused = || {
            format!(
                "expected the columns timestamp,price[,qty] or timestamp,open,high,low,close[,volume], got {}",
                shown(&names)
            )
        };
        let time = first_of(&TIMES)?.ok_or_else(refused)?;
        let candle = (find("open")?, find("high")?, find("low")?, find("close")?);
        let row = match (candle, find("price")?) {
            ((Some(open), Some(high), Some(low), Some(close)), None) => {
                RowColumns::Candle([open, high, low, close])
            }
            ((None, None, None, None), Some(price)) => {
                RowColumns::Tick { price, qty: first_of(&QUANTITIES)?, id: first_of(&IDS)? }
            }
            _ => return Err(refused()),
        };
        Ok(Self { time, row })
    }

    /// Finds the columns of a Binance dump without a header, from its first row.
    ///
    /// # Errors
    /// Where the row is of no such dump.
    pub(crate) fn of_binance_dump(cells: &[&str]) -> Result<Self, String> {
        let is_flag = |index: usize| {
            cells
                .get(index)
                .is_some_and(|cell| matches!(cell.to_ascii_lowercase().as_str(), "true" | "false"))
        };
        let columns = match cells.len() {
            12 => Some(Self { time: 0, row: RowColumns::Candle([1, 2, 3, 4]) }),
            6 | 7 if is_flag(5) => {
                Some(Self { time: 4, row: RowColumns::Tick { price: 1, qty: Some(2), id: Some(0) } })
            }
            7 | 8 if is_flag(6) => {
                Some(Self { time: 5, row: RowColumns::Tick { price: 1, qty: Some(2), id: Some(0) } })
            }
            _ => None,
        };
        columns.ok_or_else(|| {
            format!(
                "the file has no header and {} columns, and is none of Binance's dumps (klines, trades, aggTrades); add \
                 a header such as timestamp,open,high,low,close,volume",
                cells.len()
            )
        })
    }
}

fn shown(names: &[String]) -> String {
    let text: String = names.join(",").chars().take(200).collect();
    format!("`{text}`")
}
