//! Market frames to ticks.
//!
//! One decoder per connection, its buffers reused: after the first frames nothing is allocated per message.
//! A frame comes bare (`/ws`) or wrapped as `{"stream","data"}` (`/stream`); `bookTicker` has no `e` and
//! partial depth no symbol, so both are known by their shape.

use model::{Price, Tick, Timestamp};
use simd_json::prelude::{ValueAsScalar as _, ValueIntoString};
use simd_json::tape::Value;
use simd_json::{Buffers, Tape};

use super::fields;
use super::subscriptions::{Subscriptions, SymbolId};

/// The longest frame that is looked at: 1 MiB.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// What a frame said.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Frame {
    /// One public trade.
    Trade {
        /// Of which symbol.
        symbol: SymbolId,
        /// The venue's trade id.
        id: i64,
        /// Its price, quantity and time.
        tick: Tick,
        /// When the venue sent it; the trade's own time where the frame does not say.
        sent_at: Timestamp,
    },
    /// Trades of one taker order at one price.
    AggTrade {
        /// Of which symbol.
        symbol: SymbolId,
        /// The last trade's id.
        last_id: i64,
        /// Their price, quantity and time.
        tick: Tick,
    },
    /// The best bid and ask.
    BookTicker {
        /// Of which symbol.
        symbol: SymbolId,
        /// The best bid.
        bid: Price,
        /// The best ask.
        ask: Price,
    },
    /// A candle as it stands.
    Kline {
        /// Of which symbol.
        symbol: SymbolId,
        /// When it began.
        opened_at: Timestamp,
        /// Open, high, low and close.
        prices: [Price; 4],
        /// Whether it is final.
        closed: bool,
    },
    /// Changes to the book.
    Depth {
        /// Of which symbol.
        symbol: SymbolId,
        /// The first update id in it.
        first: i64,
        /// The last update id in it.
        last: i64,
    },
    /// A request was accepted.
    Acknowledged,
    /// A request was refused, with the venue's code.
    Refused(i64),
    /// The venue is about to close the connection.
    ServerShutdown,
    /// A symbol nobody here asked for.
    Unlisted,
    /// Something else: new event types come without notice.
    Other,
}

/// A frame that is not what it claims to be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Above [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes is above the limit of {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// A field that its event must have is missing or of another type.
    #[error("field `{0}` is missing or of another type")]
    Field(&'static str),
    /// A price or quantity that cannot be: zero, negative, not a number, beyond range.
    #[error("field `{0}` holds no possible amount")]
    Amount(&'static str),
}

/// Decodes one connection's frames.
#[derive(Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes one text frame.
    ///
    /// # Errors
    /// [`DecodeError`]; the decoder is as good as new afterwards.
    pub fn decode(&mut self, frame: &[u8], symbols: &Subscriptions) -> Result<Frame, DecodeError> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(DecodeError::TooLong(frame.len()));
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(frame);
        let mut tape = self.tape.take().unwrap_or_else(Tape::null).reset();
        let parsed = simd_json::fill_tape(&mut self.bytes, &mut self.buffers, &mut tape);
        let decoded = match parsed {
            Ok(()) => read(tape.as_value(), symbols),
            Err(error) => Err(DecodeError::NotJson(error.to_string())),
        };
        self.tape = Some(tape.reset());
        decoded
    }
}

/// A frame bare or wrapped.
fn read(root: Value<'_, '_>, symbols: &Subscriptions) -> Result<Frame, DecodeError> {
    let fields = Fields::of(root);
    match fields.data {
        Some(data) if fields.stream => read_event(&Fields::of(data), symbols),
        _ => read_event(&fields, symbols),
    }
}

fn read_event(event: &Fields<'_, '_>, symbols: &Subscriptions) -> Result<Frame, DecodeError> {
    let Some(kind) = event.kind.map(|kind| kind.into_string().unwrap_or_default()) else {
        return read_nameless(event, symbols);
    };
    match kind {
        "trade" => {
            let Some(symbol) = event.symbol(symbols)? else { return Ok(Frame::Unlisted) };
            let id = integer(event.t, "t")?;
            let tick = event.tick()?;
            let sent_at = event.sent.and_then(|at| at.as_i64()).map_or(tick.at, fields::time);
            Ok(Frame::Trade { symbol, id, tick, sent_at })
        }
        "aggTrade" => {
            let Some(symbol) = event.symbol(symbols)? else { return Ok(Frame::Unlisted) };
            let last_id = integer(event.l, "l")?;
            Ok(Frame::AggTrade { symbol, last_id, tick: event.tick()? })
        }
        "kline" => {
            let Some(symbol) = event.symbol(symbols)? else { return Ok(Frame::Unlisted) };
            let candle = Candle::of(event.k.ok_or(DecodeError::Field("k"))?);
            Ok(Frame::Kline {
                symbol,
                opened_at: fields::time(integer(candle.t, "t")?),
                prices: [
                    price(candle.o, "o")?,
                    price(candle.h, "h")?,
                    price(candle.l, "l")?,
                    price(candle.c, "c")?,
                ],
                closed: candle.x.and_then(|x| x.as_bool()).ok_or(DecodeError::Field("x"))?,
            })
        }
        "depthUpdate" => {
            let Some(symbol) = event.symbol(symbols)? else { return Ok(Frame::Unlisted) };
            Ok(Frame::Depth { symbol, first: integer(event.first, "U")?, last: integer(event.u, "u")? })
        }
        "serverShutdown" => Ok(Frame::ServerShutdown),
        _ => Ok(Frame::Other),
    }
}

/// Frames without `e`: answers to requests, best bid and ask, partial books.
fn read_nameless(event: &Fields<'_, '_>, symbols: &Subscriptions) -> Result<Frame, DecodeError> {
    if event.u.is_some() && event.s.is_some() && event.bid_qty.is_some() && event.ask_qty.is_some() {
        let Some(symbol) = event.symbol(symbols)? else { return Ok(Frame::Unlisted) };
        return Ok(Frame::BookTicker { symbol, bid: price(event.b, "b")?, ask: price(event.a, "a")? });
    }
    // Both forms have been seen: `{"code","msg","id"}` and `{"error":{"code","msg"},"id"}`.
    let code = event.error.map_or(event.code, |error| Fields::of(error).code);
    if let Some(code) = code.and_then(|code| code.as_i64()) {
        return Ok(Frame::Refused(code));
    }
    if event.result && event.has_id {
        return Ok(Frame::Acknowledged);
    }
    Ok(Frame::Other)
}

/// The fields of a frame that anything here reads, found in one pass. Names are the venue's, where they say
/// nothing else.
#[derive(Default)]
struct Fields<'tape, 'input> {
    stream: bool,
    result: bool,
    has_id: bool,
    data: Option<Value<'tape, 'input>>,
    code: Option<Value<'tape, 'input>>,
    error: Option<Value<'tape, 'input>>,
    kind: Option<Value<'tape, 'input>>,
    s: Option<Value<'tape, 'input>>,
    p: Option<Value<'tape, 'input>>,
    q: Option<Value<'tape, 'input>>,
    t: Option<Value<'tape, 'input>>,
    time: Option<Value<'tape, 'input>>,
    sent: Option<Value<'tape, 'input>>,
    l: Option<Value<'tape, 'input>>,
    k: Option<Value<'tape, 'input>>,
    u: Option<Value<'tape, 'input>>,
    first: Option<Value<'tape, 'input>>,
    b: Option<Value<'tape, 'input>>,
    bid_qty: Option<Value<'tape, 'input>>,
    a: Option<Value<'tape, 'input>>,
    ask_qty: Option<Value<'tape, 'input>>,
}

impl<'tape, 'input> Fields<'tape, 'input> {
    fn of(value: Value<'tape, 'input>) -> Self {
        let mut fields = Self::default();
        let Some(object) = value.as_object() else { return fields };
        for (name, value) in &object {
            match name {
                "e" => fields.kind = Some(value),
                "s" => fields.s = Some(value),
                "p" => fields.p = Some(value),
                "q" => fields.q = Some(value),
                "t" => fields.t = Some(value),
                "T" => fields.time = Some(value),
                "E" => fields.sent = Some(value),
                "l" => fields.l = Some(value),
                "k" => fields.k = Some(value),
                "u" => fields.u = Some(value),
                "U" => fields.first = Some(value),
                "b" => fields.b = Some(value),
                "B" => fields.bid_qty = Some(value),
                "a" => fields.a = Some(value),
                "A" => fields.ask_qty = Some(value),
                "stream" => fields.stream = true,
                "data" => fields.data = Some(value),
                "result" => fields.result = true,
                "id" => fields.has_id = true,
                "code" => fields.code = Some(value),
                "error" => fields.error = Some(value),
                _ => {}
            }
        }
        fields
    }

    fn symbol(&self, symbols: &Subscriptions) -> Result<Option<SymbolId>, DecodeError> {
        Ok(symbols.id(text(self.s, "s")?))
    }

    fn tick(&self) -> Result<Tick, DecodeError> {
        Ok(Tick {
            price: price(self.p, "p")?,
            qty: fields::qty(text(self.q, "q")?).ok_or(DecodeError::Amount("q"))?,
            at: fields::time(integer(self.time, "T")?),
        })
    }
}

/// The object under `k`.
#[derive(Default)]
struct Candle<'tape, 'input> {
    t: Option<Value<'tape, 'input>>,
    o: Option<Value<'tape, 'input>>,
    h: Option<Value<'tape, 'input>>,
    l: Option<Value<'tape, 'input>>,
    c: Option<Value<'tape, 'input>>,
    x: Option<Value<'tape, 'input>>,
}

impl<'tape, 'input> Candle<'tape, 'input> {
    fn of(value: Value<'tape, 'input>) -> Self {
        let mut candle = Self::default();
        let Some(object) = value.as_object() else { return candle };
        for (name, value) in &object {
            match name {
                "t" => candle.t = Some(value),
                "o" => candle.o = Some(value),
                "h" => candle.h = Some(value),
                "l" => candle.l = Some(value),
                "c" => candle.c = Some(value),
                "x" => candle.x = Some(value),
                _ => {}
            }
        }
        candle
    }
}

fn text<'input>(value: Option<Value<'_, 'input>>, name: &'static str) -> Result<&'input str, DecodeError> {
    value.and_then(ValueIntoString::into_string).ok_or(DecodeError::Field(name))
}

fn integer(value: Option<Value<'_, '_>>, name: &'static str) -> Result<i64, DecodeError> {
    value.and_then(|value| value.as_i64()).ok_or(DecodeError::Field(name))
}

fn price(value: Option<Value<'_, '_>>, name: &'static str) -> Result<Price, DecodeError> {
    fields::price(text(value, name)?).ok_or(DecodeError::Amount(name))
}
