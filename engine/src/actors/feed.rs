//! The market feed: one venue connection, its symbols' watch indexes, and whom they wake.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::SymbolId;
use connectors::binance::stream::{MarketStream, StreamConfig, StreamEvent};
use model::{Pair, PriceMove, Tick, Timestamp, Watch};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::bot::Bot;
use super::deliver;
use crate::clock;
use crate::ledger::Ledger;
use crate::markets::{LastPrice, Markets};
use crate::meters::Meters;
use crate::watch_index::{Slot, Wake, WatchIndex};

/// A bot begins to watch a pair; it is told its [`Place`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Join {
    /// What it watches.
    pub(crate) pair: Pair,
    /// Whom to wake.
    pub(crate) bot: Addr<Bot>,
    /// When.
    pub(crate) watch: Watch,
}

/// Where a bot's watch lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) symbol: SymbolId,
    pub(crate) slot: Slot,
}

/// A bot's place, told once.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Joined(pub(crate) Place);

/// A bot's watch was left.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Woken {
    /// By what.
    pub(crate) moved: PriceMove,
    /// At which tick; the new watch names it.
    pub(crate) seq: u64,
    /// When the tick was read from the socket, by our own clock.
    pub(crate) heard_at: Timestamp,
}

/// A bot's new watch.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Rewatch {
    pub(crate) place: Place,
    pub(crate) watch: Watch,
    /// The tick after which it was made; `None` when no tick made it: then it counts from now.
    pub(crate) made_at: Option<u64>,
}

/// A bot watches no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Leave(pub(crate) Place);

/// What the connection heard.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Heard(pub(crate) Vec<StreamEvent>);

/// One symbol.
struct Symbol {
    pair: Pair,
    index: WatchIndex,
    /// By slot.
    bots: Vec<Option<Addr<Bot>>>,
    watching: usize,
    last: Arc<LastPrice>,
    last_at: Timestamp,
}

/// What the connection is asked for.
enum Request {
    Subscribe(Pair),
    Unsubscribe(SymbolId),
}

/// The actor.
pub(crate) struct MarketFeed {
    config: StreamConfig,
    markets: Arc<Markets>,
    ledger: Ledger,
    meters: Arc<Meters>,
    is_connected: bool,
    ids: HashMap<Pair, SymbolId>,
    symbols: Vec<Symbol>,
    requests: Option<UnboundedSender<Request>>,
    woken: Vec<Wake>,
}

impl MarketFeed {
    /// A feed that connects once somebody joins.
    pub(crate) fn new(
        config: StreamConfig,
        markets: Arc<Markets>,
        ledger: Ledger,
        meters: Arc<Meters>,
    ) -> Self {
        Self {
            config,
            markets,
            ledger,
            meters,
            is_connected: true,
            ids: HashMap::new(),
            symbols: Vec::new(),
            requests: None,
            woken: Vec::new(),
        }
    }

    /// Without a connection: what is heard comes as messages, these pairs being its first symbols.
    pub(crate) fn unconnected(mut self, pairs: &[Pair]) -> Self {
        self.is_connected = false;
        for pair in pairs {
            self.symbol(pair);
        }
        self
    }

    /// The symbol of a pair, dense from 0 in the order of first asking, as the connection counts them.
    fn symbol(&mut self, pair: &Pair) -> SymbolId {
        if let Some(id) = self.ids.get(pair) {
            return *id;
        }
        let id = SymbolId(u32::try_from(self.symbols.len()).unwrap_or(u32::MAX));
        self.symbols.push(Symbol {
            pair: pair.clone(),
            index: WatchIndex::new(),
            bots: Vec::new(),
            watching: 0,
            last: self.markets.last(pair),
            last_at: Timestamp::MIN,
        });
        self.ids.insert(pair.clone(), id);
        id
    }

    fn ask(&self, request: Request) {
        if let Some(requests) = &self.requests {
            // The connection is gone only when the feed itself is stopping.
            let _ = requests.send(request);
        }
    }

    fn on_tick(&mut self, id: SymbolId, tick: Tick, heard: &mut HeardAt) {
        let Some(symbol) = self.symbols.get_mut(id.0 as usize) else { return };
        // Times never go back (contract §4), whatever the venue sends.
        symbol.last_at = symbol.last_at.max(tick.at);
        symbol.last.set(tick.price, symbol.last_at);
        symbol.index.on_tick(tick.price, symbol.last_at, &mut self.woken);
        symbol.note_mark(&self.ledger);
        for wake in self.woken.drain(..) {
            symbol.wake(wake, heard.get());
        }
    }
}

/// When a batch was read from the socket: the clock is looked at only once a bot is woken.
#[derive(Default)]
struct HeardAt(Option<Timestamp>);

impl HeardAt {
    fn get(&mut self) -> Timestamp {
        *self.0.get_or_insert_with(clock::now)
    }
}

impl Symbol {
    /// Keeps what a trailing bot slept through, for after a restart.
    fn note_mark(&mut self, ledger: &Ledger) {
        if let Some(mark) = self.index.take_mark() {
            ledger.mark(&self.pair, mark);
        }
    }

    fn wake(&self, wake: Wake, heard_at: Timestamp) {
        if let Some(Some(bot)) = self.bots.get(wake.slot.0 as usize) {
            deliver(bot, Woken { moved: wake.moved, seq: wake.seq, heard_at });
        }
    }
}

impl Actor for MarketFeed {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1_024);
        if !self.is_connected {
            return;
        }
        let (requests, asked) = unbounded_channel();
        self.requests = Some(requests);
        actix_rt::spawn(listen(MarketStream::new(self.config.clone()), ctx.address(), asked));
    }
}

/// Keeps the connection, and hands what it hears to the feed; ends with it.
async fn listen(mut stream: MarketStream, feed: Addr<MarketFeed>, mut asked: UnboundedReceiver<Request>) {
    let mut wanted = 0_usize;
    loop {
        let mut heard = Vec::with_capacity(16);
        tokio::select! {
            biased;
            request = asked.recv() => match request {
                Some(Request::Subscribe(pair)) => {
                    stream.subscribe(&pair);
                    wanted += 1;
                }
                Some(Request::Unsubscribe(id)) => {
                    stream.unsubscribe(id);
                    wanted -= 1;
                }
                None => return,
            },
            () = stream.next_batch(&mut heard), if wanted > 0 => {}
        }
        let mut heard = Heard(heard);
        while !heard.0.is_empty() {
            heard = match feed.try_send(heard) {
                Ok(()) => Heard(Vec::new()),
                // The feed has its turn first; the socket's own buffer holds the venue back meanwhile.
                Err(actix::dev::SendError::Full(heard)) => {
                    tokio::task::yield_now().await;
                    heard
                }
                Err(actix::dev::SendError::Closed(_)) => return,
            };
        }
    }
}

impl Handler<Heard> for MarketFeed {
    type Result = ();

    fn handle(&mut self, Heard(events): Heard, _: &mut Self::Context) {
        let (mut ticks, mut heard) = (0, HeardAt::default());
        for event in events {
            match event {
                StreamEvent::Tick(id, tick) => {
                    ticks += 1;
                    self.on_tick(id, tick, &mut heard);
                }
                StreamEvent::Connected => tracing::info!("market data is connected"),
                StreamEvent::Disconnected { reason, retry_in } => {
                    tracing::warn!(%reason, ?retry_in, "market data is down");
                }
                StreamEvent::Stale(id) => {
                    let pair = self.symbols.get(id.0 as usize).map(|symbol| symbol.pair.to_string());
                    tracing::warn!(pair, "no trade was heard for a while");
                }
                StreamEvent::Refused(code) => tracing::error!(code, "the venue refused a subscription"),
            }
        }
        self.meters.count_ticks(ticks);
    }
}

impl Handler<Join> for MarketFeed {
    type Result = ();

    fn handle(&mut self, join: Join, _: &mut Self::Context) {
        let id = self.symbol(&join.pair);
        let Some(symbol) = self.symbols.get_mut(id.0 as usize) else { return };
        let slot = symbol.index.add();
        let index = slot.0 as usize;
        if symbol.bots.len() <= index {
            symbol.bots.resize(index + 1, None);
        }
        deliver(&join.bot, Joined(Place { symbol: id, slot }));
        if let Some(place) = symbol.bots.get_mut(index) {
            *place = Some(join.bot);
        }
        symbol.watching += 1;
        let now = symbol.index.seq();
        symbol.index.set(slot, &join.watch, now);
        if symbol.watching == 1 {
            self.ask(Request::Subscribe(join.pair));
        }
    }
}

impl Handler<Rewatch> for MarketFeed {
    type Result = ();

    fn handle(&mut self, new: Rewatch, _: &mut Self::Context) {
        let Some(symbol) = self.symbols.get_mut(new.place.symbol.0 as usize) else { return };
        let made_at = new.made_at.unwrap_or_else(|| symbol.index.seq());
        if let Some(wake) = symbol.index.set(new.place.slot, &new.watch, made_at) {
            symbol.wake(wake, clock::now());
        }
        symbol.note_mark(&self.ledger);
    }
}

impl Handler<Leave> for MarketFeed {
    type Result = ();

    fn handle(&mut self, Leave(place): Leave, _: &mut Self::Context) {
        let Some(symbol) = self.symbols.get_mut(place.symbol.0 as usize) else { return };
        let Some(bot @ Some(_)) = symbol.bots.get_mut(place.slot.0 as usize) else { return };
        *bot = None;
        symbol.index.remove(place.slot);
        symbol.watching -= 1;
        if symbol.watching == 0 {
            self.ask(Request::Unsubscribe(place.symbol));
        }
    }
}
