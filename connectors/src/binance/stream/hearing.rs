//! What is heard, from one connection to the next: frames to events, and which symbols are silent.

use std::time::Duration;

use model::Pair;
use tokio::time::Instant;

use super::{Counters, StreamEvent};
use crate::binance::decode::{DecodeError, Decoder, Frame};
use crate::binance::subscriptions::{Subscriptions, SymbolId};

/// What outlives a connection.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    pub(super) subscriptions: Subscriptions,
    pub(super) counters: Counters,
    decoder: Decoder,
    symbols: Vec<Symbol>,
}

/// How one symbol was heard last.
#[derive(Debug)]
struct Symbol {
    heard_at: Instant,
    is_silence_told: bool,
    last_trade_id: Option<i64>,
}

/// What a frame means for its connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// All is well.
    Well,
    /// It cannot be read.
    Bad(DecodeError),
    /// The venue is about to close the connection.
    Shutdown,
}

impl Hearing {
    /// Wants a pair's trades; the symbol counts as heard now.
    pub(super) fn subscribe(&mut self, pair: &Pair, now: Instant) -> SymbolId {
        let id = self.subscriptions.add(pair);
        let known = self.symbols.get_mut(id.0 as usize);
        match known {
            Some(symbol) => (symbol.heard_at, symbol.is_silence_told) = (now, false),
            None => {
                self.symbols.push(Symbol { heard_at: now, is_silence_told: false, last_trade_id: None });
            }
        }
        id
    }

    /// Begins again on a new connection.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.counters.connects += 1;
        self.subscriptions.start_over();
        for symbol in &mut self.symbols {
            (symbol.heard_at, symbol.is_silence_told) = (now, false);
        }
    }

    /// The venue's id of a symbol's last trade.
    pub(super) fn last_trade_id(&self, id: SymbolId) -> Option<i64> {
        self.symbols.get(id.0 as usize)?.last_trade_id
    }

    /// Takes one text frame in.
    pub(super) fn hear(&mut self, frame: &[u8], now: Instant, events: &mut Vec<StreamEvent>) -> Heard {
        self.counters.frames += 1;
        match self.decoder.decode(frame, &self.subscriptions) {
            Ok(Frame::Trade { symbol: id, id: trade_id, tick, sent_at }) => {
                self.counters.ticks += 1;
                if let Some(symbol) = self.symbols.get_mut(id.0 as usize) {
                    *symbol = Symbol { heard_at: now, is_silence_told: false, last_trade_id: Some(trade_id) };
                }
                events.push(StreamEvent::Tick { symbol: id, tick, sent_at });
            }
            Ok(Frame::Refused(code)) => events.push(StreamEvent::Refused(code)),
            Ok(Frame::ServerShutdown) => return Heard::Shutdown,
            Ok(_) => {}
            // One symbol's impossible amount says nothing against the connection.
            Err(DecodeError::Amount(_)) => self.counters.bad_frames += 1,
            Err(error) => {
                self.counters.bad_frames += 1;
                return Heard::Bad(error);
            }
        }
        Heard::Well
    }

    /// Tells of every symbol that has been silent for this long and was not told of yet.
    pub(super) fn tell_silence(&mut self, now: Instant, limit: Duration, events: &mut Vec<StreamEvent>) {
        for (id, symbol) in (0..).map(SymbolId).zip(&mut self.symbols) {
            let is_silent = now - symbol.heard_at > limit && self.subscriptions.is_wanted(id);
            if is_silent && !symbol.is_silence_told {
                symbol.is_silence_told = true;
                events.push(StreamEvent::Stale(id));
            }
        }
    }
}
