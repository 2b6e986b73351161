//! Which symbols a connection hears, and what it asks the venue for.

use std::collections::HashMap;

use model::Pair;

/// A symbol of one connection, dense from 0, so that what is kept per symbol is a `Vec`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SymbolId(pub u32);

/// The symbols of one connection. A symbol keeps its id when it is dropped and comes back.
#[derive(Debug, Default)]
pub struct Subscriptions {
    ids: HashMap<Box<str>, SymbolId>,
    pairs: Vec<(Pair, bool)>,
    next_request: u64,
}

/// How many streams one request may name: well inside the venue's frame limit.
const STREAMS_PER_REQUEST: usize = 100;

impl Subscriptions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair; its id, whether or not it was there.
    pub fn add(&mut self, pair: &Pair) -> SymbolId {
        let symbol = symbol(pair);
        if let Some(id) = self.ids.get(symbol.as_str()) {
            if let Some(slot) = self.pairs.get_mut(id.0 as usize) {
                slot.1 = true;
            }
            return *id;
        }
        let id = SymbolId(u32::try_from(self.pairs.len()).unwrap_or(u32::MAX));
        self.pairs.push((pair.clone(), true));
        self.ids.insert(symbol.into(), id);
        id
    }

    /// Drops a pair; its frames still on the way are heard until the venue has answered.
    pub fn remove(&mut self, id: SymbolId) {
        if let Some(slot) = self.pairs.get_mut(id.0 as usize) {
            slot.1 = false;
        }
    }

    /// The id of a venue's symbol, `BTCUSDT`.
    pub fn id(&self, symbol: &str) -> Option<SymbolId> {
        self.ids.get(symbol).copied()
    }

    /// The pair of an id.
    pub fn pair(&self, id: SymbolId) -> Option<&Pair> {
        self.pairs.get(id.0 as usize).map(|(pair, _)| pair)
    }

    /// How many ids have been given out.
    pub fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Whether an id is subscribed to.
    pub fn is_wanted(&self, id: SymbolId) -> bool {
        self.pairs.get(id.0 as usize).is_some_and(|(_, wanted)| *wanted)
    }

    /// The requests that subscribe to every pair again, after a reconnect.
    pub fn subscribe_all(&mut self) -> Vec<String> {
        let pairs: Vec<Pair> =
            self.pairs.iter().filter(|(_, wanted)| *wanted).map(|(pair, _)| pair.clone()).collect();
        self.requests("SUBSCRIBE", &pairs)
    }

    /// The requests for `method` (`SUBSCRIBE` or `UNSUBSCRIBE`) over these pairs' trade streams.
    pub fn requests(&mut self, method: &str, pairs: &[Pair]) -> Vec<String> {
        pairs
            .chunks(STREAMS_PER_REQUEST)
            .map(|chunk| {
                self.next_request += 1;
                let streams: Vec<String> = chunk.iter().map(stream).collect();
                let request =
                    serde_json::json!({ "method": method, "params": streams, "id": self.next_request });
                request.to_string()
            })
            .collect()
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

    #[test]
    fn a_symbol_keeps_its_id() {
        let mut subscriptions = Subscriptions::new();
        let btc = subscriptions.add(&"BTC/USDT".parse().unwrap());
        let eth = subscriptions.add(&"ETH/USDT".parse().unwrap());
        subscriptions.remove(btc);
        assert_eq!(
            subscriptions.subscribe_all(),
            [r#"{"id":1,"method":"SUBSCRIBE","params":["ethusdt@trade"]}"#]
        );
        assert_eq!(subscriptions.add(&"BTC/USDT".parse().unwrap()), btc);
        assert_ne!(btc, eth);
        assert_eq!(subscriptions.id("BTCUSDT"), Some(btc));
    }

    #[test]
    fn many_streams_are_asked_for_in_chunks() {
        let mut subscriptions = Subscriptions::new();
        for number in 0..250 {
            subscriptions.add(&format!("C{number}/USDT").parse().unwrap());
        }
        assert_eq!(subscriptions.subscribe_all().len(), 3);
    }
}
