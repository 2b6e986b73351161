//! Which symbols a connection hears, and what it asks the venue for.

use std::collections::{HashMap, VecDeque};

use model::Pair;

/// A symbol of one connection, dense from 0, so that what is kept per symbol is a `Vec`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SymbolId(pub u32);

/// The most streams that the venue lets one connection hear (`web-socket-streams.md`, read 2026-07-21).
pub const MAX_STREAMS: usize = 1_024;

/// How many streams one request may name.
const STREAMS_PER_REQUEST: usize = 200;

/// How long the streams of one request may be together: the venue refuses requests beyond 4,096 bytes.
const STREAM_BYTES_PER_REQUEST: usize = 3_500;

/// The symbols of one connection. A symbol keeps its id when it is dropped and comes back.
#[derive(Debug, Default)]
pub struct Subscriptions {
    ids: HashMap<Box<str>, SymbolId>,
    slots: Vec<Slot>,
    wanted: usize,
    /// Symbols of which the venue may have to be told something.
    changed: VecDeque<SymbolId>,
    next_request: u64,
}

#[derive(Debug)]
struct Slot {
    pair: Pair,
    is_wanted: bool,
    /// What this connection last asked the venue for.
    is_asked: bool,
    /// Whether it stands among the changed.
    is_queued: bool,
}

impl Subscriptions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair; its id, whether or not it was there. Where [`MAX_STREAMS`] others are wanted it gets its id
    /// but is not wanted itself.
    pub fn add(&mut self, pair: &Pair) -> SymbolId {
        let symbol = symbol(pair);
        let known = self.ids.get(symbol.as_str()).copied();
        let id = known.unwrap_or_else(|| {
            let id = SymbolId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
            let slot = Slot { pair: pair.clone(), is_wanted: false, is_asked: false, is_queued: false };
            self.slots.push(slot);
            self.ids.insert(symbol.into(), id);
            id
        });
        if self.wanted < MAX_STREAMS {
            self.want(id, true);
        }
        id
    }

    /// Drops a pair; its frames still on the way are heard until the venue has answered.
    pub fn remove(&mut self, id: SymbolId) {
        self.want(id, false);
    }

    fn want(&mut self, id: SymbolId, is_wanted: bool) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        if slot.is_wanted == is_wanted {
            return;
        }
        slot.is_wanted = is_wanted;
        self.wanted = if is_wanted { self.wanted + 1 } else { self.wanted - 1 };
        if !slot.is_queued {
            slot.is_queued = true;
            self.changed.push_back(id);
        }
    }

    /// Takes the venue not to have been asked for a symbol that is subscribed to.
    pub fn ask_again(&mut self, id: SymbolId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize).filter(|slot| slot.is_wanted) else { return };
        slot.is_asked = false;
        if !slot.is_queued {
            slot.is_queued = true;
            self.changed.push_back(id);
        }
    }

    /// The id of a venue's symbol, `BTCUSDT`.
    pub fn id(&self, symbol: &str) -> Option<SymbolId> {
        self.ids.get(symbol).copied()
    }

    /// The pair of an id.
    pub fn pair(&self, id: SymbolId) -> Option<&Pair> {
        self.slots.get(id.0 as usize).map(|slot| &slot.pair)
    }

    /// How many ids have been given out.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// How many are subscribed to, at most [`MAX_STREAMS`].
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether an id is subscribed to.
    pub fn is_wanted(&self, id: SymbolId) -> bool {
        self.slots.get(id.0 as usize).is_some_and(|slot| slot.is_wanted)
    }

    /// Begins again on a new connection, of which nothing has been asked yet.
    pub fn start_over(&mut self) {
        self.changed.clear();
        for (id, slot) in (0..).map(SymbolId).zip(&mut self.slots) {
            (slot.is_asked, slot.is_queued) = (false, slot.is_wanted);
            if slot.is_wanted {
                self.changed.push_back(id);
            }
        }
    }

    /// Whether the venue may have to be told something.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The next request that brings the venue nearer to what is wanted: one `SUBSCRIBE` or `UNSUBSCRIBE` of as
    /// many trade streams as it may name. A pair that was added and dropped meanwhile is not mentioned.
    pub fn next_request(&mut self) -> Option<String> {
        let mut streams: Vec<String> = Vec::new();
        let mut bytes = 0;
        let mut subscribes = None;
        let mut later = VecDeque::new();
        for id in std::mem::take(&mut self.changed) {
            let Some(slot) = self.slots.get_mut(id.0 as usize) else { continue };
            let has_room = streams.len() < STREAMS_PER_REQUEST && bytes < STREAM_BYTES_PER_REQUEST;
            if slot.is_wanted == slot.is_asked {
                slot.is_queued = false;
            } else if has_room && *subscribes.get_or_insert(slot.is_wanted) == slot.is_wanted {
                (slot.is_asked, slot.is_queued) = (slot.is_wanted, false);
                let stream = stream(&slot.pair);
                bytes += stream.len() + 3;
                streams.push(stream);
            } else {
                later.push_back(id);
            }
        }
        self.changed = later;
        let method = if subscribes? { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        self.next_request += 1;
        let request = serde_json::json!({ "method": method, "params": streams, "id": self.next_request });
        Some(request.to_string())
    }
}

/// The venue's name of a pair: `BTCUSDT`.
pub(super) fn symbol(pair: &Pair) -> String {
    [pair.base(), pair.quote()].concat()
}

/// The stream of a pair's public trades: `btcusdt@trade`.
fn stream(pair: &Pair) -> String {
    format!("{}@trade", symbol(pair).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> Pair {
        text.parse().unwrap()
    }

    /// Every request that is due.
    fn requests(subscriptions: &mut Subscriptions) -> Vec<String> {
        std::iter::from_fn(|| subscriptions.next_request()).collect()
    }

    #[test]
    fn a_symbol_keeps_its_id() {
        let mut subscriptions = Subscriptions::new();
        let btc = subscriptions.add(&pair("BTC/USDT"));
        let eth = subscriptions.add(&pair("ETH/USDT"));
        subscriptions.remove(btc);
        assert_eq!(
            requests(&mut subscriptions),
            [r#"{"id":1,"method":"SUBSCRIBE","params":["ethusdt@trade"]}"#]
        );
        assert_eq!(subscriptions.add(&pair("BTC/USDT")), btc);
        assert_ne!(btc, eth);
        assert_eq!(subscriptions.id("BTCUSDT"), Some(btc));
    }

    #[test]
    fn the_venue_is_told_what_changed_and_all_of_it_on_a_new_connection() {
        let mut subscriptions = Subscriptions::new();
        let btc = subscriptions.add(&pair("BTC/USDT"));
        assert_eq!(requests(&mut subscriptions).len(), 1);
        assert!(!subscriptions.has_changes());
        subscriptions.remove(btc);
        subscriptions.add(&pair("ETH/USDT"));
        subscriptions.add(&pair("LTC/USDT"));
        let changes = [
            r#"{"id":2,"method":"UNSUBSCRIBE","params":["btcusdt@trade"]}"#,
            r#"{"id":3,"method":"SUBSCRIBE","params":["ethusdt@trade","ltcusdt@trade"]}"#,
        ];
        assert_eq!(requests(&mut subscriptions), changes);
        subscriptions.start_over();
        let all = r#"{"id":4,"method":"SUBSCRIBE","params":["ethusdt@trade","ltcusdt@trade"]}"#;
        assert_eq!(requests(&mut subscriptions), [all]);
    }

    #[test]
    fn what_may_have_been_forgotten_is_asked_for_once_more() {
        let mut subscriptions = Subscriptions::new();
        let btc = subscriptions.add(&pair("BTC/USDT"));
        assert_eq!(requests(&mut subscriptions).len(), 1);
        subscriptions.ask_again(btc);
        subscriptions.ask_again(btc);
        let again = [r#"{"id":2,"method":"SUBSCRIBE","params":["btcusdt@trade"]}"#];
        assert_eq!(requests(&mut subscriptions), again);
        subscriptions.remove(btc);
        assert_eq!(requests(&mut subscriptions).len(), 1);
        subscriptions.ask_again(btc);
        assert!(!subscriptions.has_changes());
    }

    #[test]
    fn many_streams_are_asked_for_in_chunks_that_the_venue_takes() {
        for (coin, chunks) in [("C", 3), ("AVERYLONGCOINNAME", 5)] {
            let mut subscriptions = Subscriptions::new();
            for number in 0..450 {
                subscriptions.add(&pair(&format!("{coin}{number}/USDT")));
            }
            let requests = requests(&mut subscriptions);
            assert_eq!(requests.len(), chunks);
            assert!(requests.iter().all(|request| request.len() <= 4_096));
        }
    }

    #[test]
    fn a_connection_wants_no_more_than_the_venue_allows() {
        let mut subscriptions = Subscriptions::new();
        for number in 0..MAX_STREAMS {
            subscriptions.add(&pair(&format!("C{number}/USDT")));
        }
        let beyond = subscriptions.add(&pair("BTC/USDT"));
        assert_eq!((beyond, subscriptions.is_wanted(beyond)), (SymbolId(1_024), false));
        subscriptions.remove(SymbolId(0));
        subscriptions.add(&pair("BTC/USDT"));
        assert!(subscriptions.is_wanted(beyond));
        assert_eq!(subscriptions.wanted(), MAX_STREAMS);
    }
}
