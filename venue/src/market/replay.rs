//! Recorded files, read while they are played.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use model::{Pair, Price};

use super::formats::Format;
use super::{Happening, Market, MarketError, MarketEvent, Script};

/// How many events are looked at before the market begins, to know its pairs and streams.
const LOOK_AHEAD: usize = 2_000;

/// Coins that prices are in, longest names first.
const QUOTES: [&str; 14] =
    ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD", "EUR", "GBP", "TRY", "BRL", "JPY", "BTC", "ETH", "BNB"];

/// The pair of a symbol such as `BTCUSDT`.
fn pair_of(symbol: &str) -> Option<Pair> {
    let quote = QUOTES.iter().find(|quote| symbol.len() > quote.len() && symbol.ends_with(**quote))?;
    format!("{}/{quote}", symbol.strip_suffix(quote)?).parse().ok()
}

/// The pair in a file's name: the venue's dumps begin with the symbol.
fn pair_in_name(path: &Path) -> Option<Pair> {
    let name = path.file_name()?.to_str()?.to_ascii_uppercase();
    let symbol: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    pair_of(&symbol)
}

/// Opens the files and looks into the first of them.
pub(crate) fn open(files: &[PathBuf], pair: Option<&Pair>) -> Result<Market, MarketError> {
    let mut replay = Replay {
        files: files.to_vec().into(),
        pair: pair.cloned(),
        pairs: Vec::new(),
        rows: None,
        ahead: VecDeque::new(),
    };
    let mut seen = VecDeque::new();
    let mut recorded: Vec<String> = Vec::new();
    for event in replay.by_ref().take(LOOK_AHEAD) {
        let event = event?;
        if let Some((stream, _)) = &event.recorded {
            let kind = stream.split_once('@').map_or("", |(_, kind)| kind).to_owned();
            if !recorded.contains(&kind) {
                recorded.push(kind);
            }
        }
        seen.push_back(event);
    }
    if seen.is_empty() {
        return Err(MarketError::Empty(files.first().cloned().unwrap_or_default()));
    }
    let first = (0..replay.pairs.len()).map(|index| {
        seen.iter().filter(|event| event.pair == index).find_map(|event| match event.happening {
            Happening::Print(print) => Some(print.price),
            Happening::Top(_) | Happening::Other => None,
        })
    });
    let (first, pairs) = (first.collect(), replay.pairs.clone());
    replay.ahead = seen;
    // What joins later in a file is no pair of this market: everything that is listed is listed from the start.
    let script = Listed { listed: pairs.len(), replay };
    Ok(Market { pairs, first, recorded, waits: true, script: Box::new(script) })
}

/// The events of the pairs that are listed.
struct Listed {
    replay: Replay,
    listed: usize,
}

impl Script for Listed {
    fn next_event(&mut self) -> Option<Result<MarketEvent, MarketError>> {
        self.replay.find(|event| event.as_ref().map_or(true, |event| event.pair < self.listed))
    }

    fn go_on_from(&mut self, _: usize, _: Price) -> bool {
        false
    }
}

/// The events of all files.
struct Replay {
    files: VecDeque<PathBuf>,
    pair: Option<Pair>,
    pairs: Vec<Pair>,
    rows: Option<Rows>,
    ahead: VecDeque<MarketEvent>,
}

/// The rows of one file.
struct Rows {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: u64,
    format: Option<Format>,
    pair: Option<Pair>,
}

impl Rows {
    fn open(path: PathBuf, pair: Option<Pair>) -> Result<Self, MarketError> {
        let failed = |error| MarketError::File(path.clone(), error);
        let mut file = File::open(&path).map_err(failed)?;
        let mut magic = [0; 2];
        let is_gzip = file.read(&mut magic).map_err(failed)? == 2 && magic == [0x1f, 0x8b];
        file.rewind().map_err(failed)?;
        let reader: Box<dyn BufRead> = if is_gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        let pair = pair.or_else(|| pair_in_name(&path)).or_else(|| "BTC/USDT".parse().ok());
        Ok(Self { path, reader, line: 0, format: None, pair })
    }

    /// The next line that is not empty; `None` at the end.
    fn next_line(&mut self) -> Result<Option<String>, MarketError> {
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line);
            if read.map_err(|error| MarketError::File(self.path.clone(), error))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !line.trim().is_empty() {
                return Ok(Some(line.trim().to_owned()));
            }
        }
    }

    fn bad(&self, reason: impl Into<String>) -> MarketError {
        MarketError::Row { file: self.path.clone(), line: self.line, reason: reason.into() }
    }
}

impl Replay {
    fn index(&mut self, pair: Pair) -> usize {
        self.pairs.iter().position(|known| *known == pair).unwrap_or_else(|| {
            self.pairs.push(pair);
            self.pairs.len() - 1
        })
    }

    /// Reads one row's events; false at the end of everything.
    fn read(&mut self) -> Result<bool, MarketError> {
        let Some(rows) = &mut self.rows else {
            let Some(path) = self.files.pop_front() else { return Ok(false) };
            self.rows = Some(Rows::open(path, self.pair.clone())?);
            return Ok(true);
        };
        let Some(line) = rows.next_line()? else {
            self.rows = None;
            return Ok(true);
        };
        let format = match rows.format {
            Some(format) => format,
            None => {
                let known = Format::detect(&line);
                let (format, is_header) =
                    known.ok_or_else(|| rows.bad("this is no format that can be played"))?;
                rows.format = Some(format);
                if is_header {
                    return Ok(true);
                }
                format
            }
        };
        let row = format.read(&line).map_err(|reason| rows.bad(reason))?;
        let Some(row) = row else { return Ok(true) };
        let (pair, recorded) = match row.frame {
            Some((symbol, stream, data)) => (pair_of(&symbol), Some((stream, data))),
            None => (rows.pair.clone(), None),
        };
        let Some(pair) = pair else { return Ok(true) };
        let pair = self.index(pair);
        for happening in row.happenings {
            let (book, recorded) = (row.book.clone(), recorded.clone());
            self.ahead.push_back(MarketEvent { at: row.at, pair, happening, book, recorded });
        }
        Ok(true)
    }
}

impl Iterator for Replay {
    type Item = Result<MarketEvent, MarketError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return Some(Ok(event));
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // Nothing after a bad row is played.
                    (self.rows, self.files) = (None, VecDeque::new());
                    return Some(Err(error));
                }
            }
        }
    }
}
