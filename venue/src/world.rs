//! The market as it stands, who trades on it, and what its streams say of each event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{Pair, Price, Qty, Timestamp};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::account::Account;
use crate::candles::Candles;
use crate::clock::Clock;
use crate::config::{Config, Faults, FeeAsset, Steps};
use crate::depth::RecordedBook;
use crate::fault::Dice;
use crate::filters::{AVERAGE_MINUTES, Rules};
use crate::hub::Hub;
use crate::keys::Key;
use crate::market::{Happening, Market, MarketEvent, Print, Top};
use crate::params::eight;

/// How many prints of a pair are kept.
const PRINTS: usize = 1_000;

/// How many levels the book has on each side.
const LEVELS: i64 = 20;

/// One level of a book: price and quantity.
pub(crate) type Level = (Decimal, Decimal);

/// Everything that requests read and change.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) steps: Steps,
    pub(crate) rules: Rules,
    pub(crate) fee: Decimal,
    pub(crate) fee_asset: FeeAsset,
    pub(crate) fee_coin: Option<String>,
    pub(crate) can_withdraw: bool,
    /// What goes wrong with orders.
    pub(crate) trouble: Trouble,
    /// Numbers given out so far: orders, fills, executions.
    pub(crate) numbers: Numbers,
    recorded: Vec<String>,
}

/// What may go wrong, and the dice that decide it.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) faults: Faults,
    pub(crate) dice: Arc<Dice>,
}

/// The last number of each kind.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    order: i64,
    fill: i64,
    execution: i64,
}

impl Numbers {
    pub(crate) fn order(&mut self) -> i64 {
        self.order += 1;
        self.order
    }

    pub(crate) fn fill(&mut self) -> i64 {
        self.fill += 1;
        self.fill
    }

    pub(crate) fn execution(&mut self) -> i64 {
        self.execution += 1;
        self.execution
    }
}

/// A pair as it stands.
#[derive(Debug)]
pub(crate) struct Symbol {
    pub(crate) pair: Pair,
    /// `BTCUSDT`.
    pub(crate) name: String,
    /// `btcusdt`, as streams begin.
    stream: String,
    pub(crate) last: Option<Price>,
    pub(crate) top: Option<Top>,
    pub(crate) prints: VecDeque<(Print, Timestamp)>,
    pub(crate) candles: Candles,
    pub(crate) day: Day,
    pub(crate) update_id: i64,
    next_print: i64,
    /// The book as a recording has it.
    recorded_book: RecordedBook,
    /// The book as it was told last: for the next difference.
    told_books: [ToldBook; 2],
    told_second: i64,
}

/// The book as a stream told it last, and up to which update.
#[derive(Debug, Default)]
struct ToldBook {
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
    update_id: i64,
}

/// What a pair has done since the market began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Day {
    pub(crate) open: Option<Price>,
    pub(crate) high: Option<Price>,
    pub(crate) low: Option<Price>,
    pub(crate) volume: Decimal,
    pub(crate) quote: Decimal,
    pub(crate) opened_at: Timestamp,
    pub(crate) closed_at: Timestamp,
    pub(crate) first_id: i64,
    pub(crate) last_id: i64,
    pub(crate) count: i64,
}

impl World {
    /// A market that has not begun, with everybody's first balances.
    pub(crate) fn new(config: &Config, market: &Market, dice: Arc<Dice>) -> Self {
        let symbol = |(pair, first): (&Pair, &Option<Price>)| {
            let name = format!("{}{}", pair.base(), pair.quote());
            let mut symbol = Symbol {
                pair: pair.clone(),
                stream: name.to_ascii_lowercase(),
                name,
                last: *first,
                top: None,
                prints: VecDeque::new(),
                candles: Candles::default(),
                day: Day::default(),
                update_id: 1,
                next_print: 1,
                recorded_book: RecordedBook::default(),
                told_books: Default::default(),
                told_second: i64::MIN,
            };
            symbol.top = first.and_then(|price| symbol.top_around(price, false, config.steps));
            symbol
        };
        Self {
            clock: Clock::default(),
            symbols: market.pairs.iter().zip(&market.first).map(symbol).collect(),
            accounts: Key::of(config).iter().map(|_| Account::new(&config.balances)).collect(),
            steps: config.steps,
            rules: Rules::default(),
            fee: config.fee.decimal(),
            fee_asset: config.fee_asset,
            fee_coin: config.fee_coin.clone(),
            can_withdraw: config.can_withdraw,
            trouble: Trouble { faults: config.faults.clone(), dice },
            numbers: Numbers::default(),
            recorded: market.recorded.clone(),
        }
    }

    /// The pair that a symbol names.
    pub(crate) fn symbol(&self, name: &str) -> Option<usize> {
        self.symbols.iter().position(|symbol| symbol.name == name)
    }

    /// Moves a pair to a price at once, as if somebody had traded there: what the streams say of it.
    pub(crate) fn jump(
        &mut self,
        pair: usize,
        price: Price,
        qty: Qty,
        earliest: Timestamp,
        hub: &Hub,
    ) -> Vec<(String, String)> {
        let Some(symbol) = self.symbols.get_mut(pair) else { return Vec::new() };
        let is_buyer_maker = symbol.last.is_some_and(|last| price < last);
        symbol.top = symbol.top_around(price, is_buyer_maker, self.steps);
        // In the market's own time, which may run faster than the clock.
        let at = if symbol.day.count == 0 { self.clock.now() } else { symbol.day.closed_at.max(earliest) };
        let happening = Happening::Print(Print { id: 0, price, qty, is_buyer_maker });
        self.apply(MarketEvent { at, pair, happening, book: None, recorded: None }, hub)
    }

    /// Takes an event in: the book moves, orders fill, and what the streams that somebody hears say of it is
    /// returned, by stream.
    pub(crate) fn apply(&mut self, event: MarketEvent, hub: &Hub) -> Vec<(String, String)> {
        let mut frames = Vec::new();
        let Some(symbol) = self.symbols.get_mut(event.pair) else { return frames };
        symbol.update_id += 1;
        if let Some(change) = &event.book {
            symbol.recorded_book.take(change);
        }
        let is_recorded = |kind: &str| self.recorded.iter().any(|recorded| recorded == kind);
        let mut says = |kind: &str, data: &dyn Fn() -> Value| {
            let stream = format!("{}@{kind}", symbol.stream);
            if !is_recorded(kind) && hub.is_heard(&stream) {
                frames.push((stream, data().to_string()));
            }
        };
        match event.happening {
            Happening::Other => {}
            Happening::Top(top) => symbol.top = Some(top),
            Happening::Print(mut print) => {
                if print.id == 0 {
                    print.id = symbol.next_print;
                }
                symbol.next_print = print.id + 1;
                let (name, at, sent_at) = (symbol.name.as_str(), event.at, self.clock.now());
                says("trade", &|| trade(name, &print, at, sent_at));
                says("aggTrade", &|| agg_trade(name, &print, at, sent_at));
                symbol.candles.add(&print, at, name, |step, data| says(&format!("kline_{step}"), data));
                symbol.last = Some(print.price);
                symbol.day.add(&print, at);
                if symbol.prints.len() == PRINTS {
                    symbol.prints.pop_front();
                }
                symbol.prints.push_back((print, at));
                if !is_recorded("bookTicker") {
                    symbol.top = symbol.top_around(print.price, print.is_buyer_maker, self.steps);
                }
            }
        }
        let steps = self.steps;
        if let Some(symbol) = self.symbols.get_mut(event.pair) {
            symbol.tell_book(&event, steps, hub, &self.recorded, &mut frames);
        }
        if let Happening::Print(print) = event.happening {
            self.match_print(event.pair, &print, self.clock.now());
        }
        if let Some((stream, data)) = event.recorded
            && hub.is_heard(&stream)
        {
            frames.push((stream, sent_at(data, self.clock.now())));
        }
        frames
    }
}

impl Symbol {
    /// The best bid and ask about a price that somebody just paid.
    fn top_around(&self, price: Price, is_buyer_maker: bool, steps: Steps) -> Option<Top> {
        let tick = steps.tick_size.e8();
        let bid = if is_buyer_maker { price.e8() } else { price.e8() - tick };
        let bid = Price::from_e8(bid.max(1))?;
        let ask = Price::from_e8(bid.e8() + tick)?;
        let qty = |salt: i64| depth_qty(steps.lot_step, self.update_id + salt);
        Some(Top { bid, bid_qty: qty(0)?, ask, ask_qty: qty(1)? })
    }

    /// What was paid on average in the last minutes, weighted by quantity; the last price where nothing was.
    pub(crate) fn average_price(&self) -> Option<Decimal> {
        let length_ms = AVERAGE_MINUTES * 60_000;
        let recent = |(_, at): &&(Print, Timestamp)| self.day.closed_at.millis() - at.millis() <= length_ms;
        let (mut worth, mut qty) = (Decimal::ZERO, Decimal::ZERO);
        for (print, _) in self.prints.iter().rev().take_while(recent) {
            worth += print.price.decimal() * print.qty.decimal();
            qty += print.qty.decimal();
        }
        let average = worth.checked_div(qty).map(|average| average.round_dp(8));
        average.or_else(|| self.last.or(self.top.map(|top| top.bid)).map(Price::decimal))
    }

    /// The book with the last update that it holds, best levels first: the recorded one, else one that is made up.
    pub(crate) fn book(&self, steps: Steps) -> (i64, Vec<Level>, Vec<Level>) {
        match self.recorded_book.levels() {
            Some((bids, asks)) => (self.recorded_book.update_id, bids, asks),
            None => {
                let (bids, asks) = self.made_up_book(steps);
                (self.update_id, bids, asks)
            }
        }
    }

    /// The levels of a made-up book about the best bid and ask: bids, asks.
    fn made_up_book(&self, steps: Steps) -> (Vec<Level>, Vec<Level>) {
        let Some(top) = self.top else { return (Vec::new(), Vec::new()) };
        let tick = steps.tick_size.e8();
        let side = |best: Price, best_qty: Qty, away: i64| -> Vec<Level> {
            let level = |index: i64| {
                let price = Price::from_e8(best.e8() + away * index * tick).filter(|price| price.e8() > 0)?;
                let qty =
                    if index == 0 { Some(best_qty) } else { depth_qty(steps.lot_step, price.e8() / tick) };
                Some((price.decimal().normalize(), qty?.decimal()))
            };
            (0..LEVELS).filter_map(level).collect()
        };
        (side(top.bid, top.bid_qty, -1), side(top.ask, top.ask_qty, 1))
    }

    /// What the streams of the book and the tickers say.
    fn tell_book(
        &mut self,
        event: &MarketEvent,
        steps: Steps,
        hub: &Hub,
        recorded: &[String],
        frames: &mut Vec<(String, String)>,
    ) {
        let prefix = self.stream.clone();
        let heard = |kind: &str| {
            let stream = format!("{prefix}@{kind}");
            let is_ours = !recorded.iter().any(|known| known == kind) && hub.is_heard(&stream);
            is_ours.then_some(stream)
        };
        let is_print = matches!(event.happening, Happening::Print(_));
        if is_print && let (Some(stream), Some(top)) = (heard("bookTicker"), self.top) {
            frames.push((stream, self.book_ticker(&top).to_string()));
        }
        let second = event.at.millis().div_euclid(1_000);
        let is_new_second = second > self.told_second;
        for (told, kind, is_due) in [(0, "depth@100ms", is_print), (1, "depth", is_new_second)] {
            if let Some(stream) = heard(kind).filter(|_| is_due) {
                let data = self.difference(told, event.at, steps);
                frames.push((stream, data.to_string()));
            }
        }
        for levels in [5, 10, 20] {
            for (kind, is_due) in
                [(format!("depth{levels}@100ms"), is_print), (format!("depth{levels}"), is_new_second)]
            {
                let heard = |kind: &str| {
                    let stream = format!("{}@{kind}", self.stream);
                    hub.is_heard(&stream).then_some(stream)
                };
                if let Some(stream) = heard(&kind).filter(|_| is_due) {
                    frames.push((stream, self.partial_book(steps, levels).to_string()));
                }
            }
        }
        if is_print && is_new_second {
            for (kind, data) in
                [("miniTicker", self.mini_ticker(event.at)), ("ticker", self.full_ticker(event.at))]
            {
                let stream = format!("{}@{kind}", self.stream);
                if hub.is_heard(&stream) {
                    frames.push((stream, data.to_string()));
                }
            }
        }
        if is_new_second {
            self.told_second = second;
        }
    }

    fn book_ticker(&self, top: &Top) -> Value {
        json!({"u": self.update_id, "s": self.name, "b": eight(top.bid.decimal()),
            "B": eight(top.bid_qty.decimal()), "a": eight(top.ask.decimal()), "A": eight(top.ask_qty.decimal())})
    }

    fn partial_book(&self, steps: Steps, levels: usize) -> Value {
        let (update_id, bids, asks) = self.book(steps);
        let shown = |side: &[Level]| side.iter().take(levels).map(shown_level).collect::<Value>();
        json!({"lastUpdateId": update_id, "bids": shown(&bids), "asks": shown(&asks)})
    }

    /// What has changed in the book since a stream told it last.
    fn difference(&mut self, told: usize, at: Timestamp, steps: Steps) -> Value {
        let (bids, asks) = self.made_up_book(steps);
        let (bids, asks) = (BTreeMap::from_iter(bids), BTreeMap::from_iter(asks));
        let changes = |old: &BTreeMap<Decimal, Decimal>, new: &BTreeMap<Decimal, Decimal>| -> Value {
            let gone =
                old.keys().filter(|price| !new.contains_key(price)).map(|price| (*price, Decimal::ZERO));
            let changed = new.iter().filter(|(price, qty)| old.get(price) != Some(qty));
            gone.chain(changed.map(|(price, qty)| (*price, *qty))).map(|level| shown_level(&level)).collect()
        };
        let Some(told) = self.told_books.get_mut(told) else { return Value::Null };
        // The first difference begins here; each later one where the one before it ended.
        let first = if told.update_id == 0 { self.update_id } else { told.update_id + 1 };
        let data = json!({"e": "depthUpdate", "E": at.millis(), "s": self.name, "U": first, "u": self.update_id,
            "b": changes(&told.bids, &bids), "a": changes(&told.asks, &asks)});
        *told = ToldBook { bids, asks, update_id: self.update_id };
        data
    }

    fn mini_ticker(&self, at: Timestamp) -> Value {
        let day = &self.day;
        json!({"e": "24hrMiniTicker", "E": at.millis(), "s": self.name, "c": shown_price(self.last),
            "o": shown_price(day.open), "h": shown_price(day.high), "l": shown_price(day.low),
            "v": eight(day.volume), "q": eight(day.quote)})
    }

    fn full_ticker(&self, at: Timestamp) -> Value {
        let day = &self.day;
        let (change, percent, average) = day.change(self.last);
        let top = self.top;
        json!({"e": "24hrTicker", "E": at.millis(), "s": self.name, "p": eight(change), "P": format!("{percent:.3}"),
            "w": eight(average), "x": shown_price(day.open), "c": shown_price(self.last),
            "Q": eight(self.prints.back().map(|(print, _)| print.qty.decimal()).unwrap_or_default()),
            "b": shown_price(top.map(|top| top.bid)),
            "B": eight(top.map(|top| top.bid_qty.decimal()).unwrap_or_default()),
            "a": shown_price(top.map(|top| top.ask)),
            "A": eight(top.map(|top| top.ask_qty.decimal()).unwrap_or_default()), "o": shown_price(day.open),
            "h": shown_price(day.high), "l": shown_price(day.low), "v": eight(day.volume),
            "q": eight(day.quote), "O": day.opened_at.millis(), "C": day.closed_at.millis(), "F": day.first_id,
            "L": day.last_id, "n": day.count})
    }
}

impl Day {
    fn add(&mut self, print: &Print, at: Timestamp) {
        if self.open.is_none() {
            *self = Self {
                open: Some(print.price),
                high: Some(print.price),
                low: Some(print.price),
                opened_at: at,
                first_id: print.id,
                ..Self::default()
            };
        }
        self.high = self.high.max(Some(print.price));
        self.low = self.low.min(Some(print.price));
        self.volume += print.qty.decimal();
        self.quote += print.price.decimal() * print.qty.decimal();
        (self.closed_at, self.last_id, self.count) = (at, print.id, self.count + 1);
    }

    /// By how much the price has moved, in quote and in percent, and its average.
    pub(crate) fn change(&self, last: Option<Price>) -> (Decimal, Decimal, Decimal) {
        let open = self.open.map(Price::decimal).unwrap_or_default();
        let change = last.map(Price::decimal).unwrap_or_default() - open;
        let percent = (change * Decimal::ONE_HUNDRED).checked_div(open).unwrap_or_default();
        let average = self.quote.checked_div(self.volume).unwrap_or_default();
        (change, percent, average.round_dp(8))
    }
}

/// A level as the wire has it.
pub(crate) fn shown_level((price, qty): &Level) -> Value {
    json!([eight(*price), eight(*qty)])
}

/// A price as the wire has it; 0 where there is none.
pub(crate) fn shown_price(price: Option<Price>) -> String {
    eight(price.map(Price::decimal).unwrap_or_default())
}

/// A quantity that looks like one in a book and is the same for the same salt.
fn depth_qty(lot: Qty, salt: i64) -> Option<Qty> {
    let lots = 1_000 + salt.wrapping_mul(7_919).rem_euclid(90_000);
    Qty::new(lot.decimal() * Decimal::from(lots)).ok()
}

/// A recorded message as it is sent now: its event time is the venue's, by which whoever hears it knows how late it is,
/// and the time of what happened stays.
fn sent_at(mut data: String, now: Timestamp) -> String {
    const EVENT_TIME: &str = "\"E\":";
    if let Some(from) = data.find(EVENT_TIME).map(|found| found + EVENT_TIME.len()) {
        let digits = data.bytes().skip(from).take_while(u8::is_ascii_digit).count();
        data.replace_range(from..from + digits, &now.millis().to_string());
    }
    data
}

fn trade(symbol: &str, print: &Print, at: Timestamp, sent_at: Timestamp) -> Value {
    json!({"e": "trade", "E": sent_at.millis(), "s": symbol, "t": print.id, "p": eight(print.price.decimal()),
        "q": eight(print.qty.decimal()), "T": at.millis(), "m": print.is_buyer_maker, "M": true})
}

fn agg_trade(symbol: &str, print: &Print, at: Timestamp, sent_at: Timestamp) -> Value {
    json!({"e": "aggTrade", "E": sent_at.millis(), "s": symbol, "a": print.id, "p": eight(print.price.decimal()),
        "q": eight(print.qty.decimal()), "f": print.id, "l": print.id, "T": at.millis(),
        "m": print.is_buyer_maker, "M": true})
}
