//! The market feed: one venue connection, its symbols' watch indexes, and whom they wake.
//!
//! While a symbol's stream is silent, or the connection is down, the venue is asked for the price that live bots go
//! by. Bots on paper wait: what they fill at is a trade that somebody made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message};
use connectors::binance::SymbolId;
use connectors::binance::rest::VenueError;
use connectors::binance::stream::{MarketStream, StreamConfig, StreamEvent};
use model::{AccountId, Pair, Price, PriceMove, Tick, Timestamp, Watch};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::backlog::{Behind, CHECK_EVERY, MAX_BACKLOG, excess};
use super::bot::{Bot, TooBusy};
use super::deliver;
use crate::clock;
use crate::health::Warnings;
use crate::ledger::Ledger;
use crate::markets::{Asked, LastPrice, Markets};
use crate::meters::Meters;
use crate::silence::{Downtime, Patience, Silence};
use crate::watch_index::{Slot, Wake, WatchIndex};

/// A bot begins to watch a pair; it is told its [`Place`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Join {
    /// What it watches.
    pub(crate) pair: Pair,
    /// The account that it belongs to.
    pub(crate) account: AccountId,
    /// Whom to wake.
    pub(crate) bot: Addr<Bot>,
    /// When.
    pub(crate) watch: Watch,
    /// Whether it trades on a real account.
    pub(crate) is_live: bool,
}

/// Where a bot's watch lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) symbol: SymbolId,
    pub(crate) is_live: bool,
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
    pub(crate) since: Since,
}

/// From which tick on a new watch counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Since {
    /// After the tick that the bot decided on.
    Tick(u64),
    /// From the next one; where the bot has been woken and has not decided yet, its answer brings the watch.
    Unanswered,
    /// From the next one, whatever it has not decided on.
    Now,
}

/// A bot watches no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Leave(pub(crate) Place);

/// No price has been heard for long, or one is heard again; in words for its owner. The bot goes on.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Stale {
    pub(crate) message: Arc<str>,
    pub(crate) is_over: bool,
}

impl Stale {
    /// Its code in `bot.error`.
    pub(crate) const CODE: &'static str = "feed_stale";
}

/// What the venue said when it was asked for the prices of these symbols at that time.
#[derive(Message)]
#[rtype(result = "()")]
struct Told {
    symbols: Vec<SymbolId>,
    asked_at: Instant,
    result: Result<Asked, VenueError>,
}

/// Somebody values coins by a pair's price: it is kept current whether or not a bot watches.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Follow(pub(crate) Pair);

/// Somebody does no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Unfollow(pub(crate) Pair);

/// What the connection heard.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Heard(pub(crate) Vec<StreamEvent>);

/// One symbol.
struct Symbol {
    pair: Pair,
    paper: Watchers,
    live: Watchers,
    /// How many value coins by its price.
    following: usize,
    last: Arc<LastPrice>,
    silence: Silence,
}

/// The bots of a symbol that hear the same prices.
struct Watchers {
    index: WatchIndex,
    /// By slot.
    bots: Vec<Option<Watcher>>,
    watching: usize,
    last_at: Timestamp,
}

/// A bot that watches.
#[derive(Clone)]
struct Watcher {
    bot: Addr<Bot>,
    account: AccountId,
}

/// What the connection is asked for.
enum Request {
    Subscribe(Pair),
    Unsubscribe(SymbolId),
    Resubscribe(SymbolId),
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
    downtime: Downtime,
    /// When the log warns that the connection is down, and that the venue tells no prices.
    down_warnings: Warnings,
    price_warnings: Warnings,
    is_asking: bool,
    patience: Patience,
    /// The number of ticks since it was last looked how far bots are behind.
    uncounted: u64,
    /// Whether a tick was heard since silence was last looked after.
    was_heard: bool,
}

impl MarketFeed {
    /// A feed that connects once somebody joins.
    pub(crate) fn new(
        config: StreamConfig,
        markets: Arc<Markets>,
        ledger: Ledger,
        meters: Arc<Meters>,
        patience: Patience,
    ) -> Self {
        Self {
            config: StreamConfig { stale_after: patience.stream, ..config },
            patience,
            markets,
            ledger,
            meters,
            is_connected: true,
            ids: HashMap::new(),
            symbols: Vec::new(),
            requests: None,
            woken: Vec::new(),
            downtime: Downtime::default(),
            down_warnings: Warnings::default(),
            price_warnings: Warnings::default(),
            is_asking: false,
            uncounted: 0,
            was_heard: false,
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
            paper: Watchers::new(),
            live: Watchers::new(),
            following: 0,
            last: self.markets.last(pair),
            silence: Silence::default(),
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
        if symbol.silence.is_silent() {
            tracing::info!(pair = %symbol.pair, "its stream is heard again");
            if symbol.silence.is_told() {
                symbol.live.tell(&fresh());
            }
            symbol.silence.heard();
        }
        // Times never go back (contract §4), whatever the venue sends.
        symbol.paper.last_at = symbol.paper.last_at.max(tick.at);
        symbol.live.last_at = symbol.live.last_at.max(tick.at);
        symbol.last.set(tick.price, symbol.paper.last_at);
        for watchers in [&mut symbol.paper, &mut symbol.live] {
            watchers.on_tick(tick.price, &mut self.woken, heard);
            note_mark(&mut watchers.index, &symbol.pair, &self.ledger);
        }
    }

    /// Looks after silence: tells of it, and asks the venue for the prices that live bots go by.
    fn look(&mut self, me: &Addr<Self>) {
        let now = Instant::now();
        if std::mem::take(&mut self.was_heard) {
            self.markets.health().heard();
        }
        if self.downtime.is_due(now, &self.patience) {
            for symbol in &self.symbols {
                symbol.paper.tell(&paper_stale());
            }
        }
        let is_asked_for = |symbol: &Symbol| {
            symbol.silence.is_silent() && (symbol.live.watching > 0 || symbol.following > 0)
        };
        let asked = (0..).map(SymbolId).zip(&self.symbols).filter(|(_, symbol)| is_asked_for(symbol));
        let (symbols, pairs): (Vec<SymbolId>, Vec<Pair>) =
            asked.map(|(id, symbol)| (id, symbol.pair.clone())).unzip();
        if self.is_asking || symbols.is_empty() || !self.is_connected {
            return;
        }
        self.is_asking = true;
        let (markets, me) = (self.markets.clone(), me.clone());
        self.markets.spawn(async move {
            let result = markets.ask_prices(&pairs).await;
            deliver(&me, Told { symbols, asked_at: now, result });
        });
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

/// Keeps what a trailing bot slept through, for after a restart.
fn note_mark(index: &mut WatchIndex, pair: &Pair, ledger: &Ledger) {
    if let Some(mark) = index.take_mark() {
        ledger.mark(pair, mark);
    }
}

fn paper_stale() -> Stale {
    let message = "market data has been down for a minute; the bot goes on by itself once it is back";
    Stale { message: message.into(), is_over: false }
}

fn live_stale(pair: &Pair) -> Stale {
    let message = format!(
        "no price of {pair} is known: its stream is silent, and the venue does not tell when it is asked; the bot goes \
         on by itself once it does, and a stop that rests at the venue stands"
    );
    Stale { message: message.into(), is_over: false }
}

fn fresh() -> Stale {
    Stale { message: "prices are known again".into(), is_over: true }
}

impl Symbol {
    fn watchers(&mut self, is_live: bool) -> &mut Watchers {
        if is_live { &mut self.live } else { &mut self.paper }
    }

    /// Whether anybody wants to hear of it.
    fn is_wanted(&self) -> bool {
        self.paper.watching + self.live.watching + self.following > 0
    }

    /// Takes in what the venue said of its price; nothing once the stream is heard again, which knows better.
    fn told(
        &mut self,
        told: Option<(Price, Timestamp)>,
        asked_at: Instant,
        patience: &Patience,
        woken: &mut Vec<Wake>,
    ) {
        if !self.silence.is_silent() {
            return;
        }
        let Some((price, at)) = told else {
            if self.silence.unpriced(asked_at, Instant::now(), patience) {
                self.last.lose();
                self.live.tell(&live_stale(&self.pair));
            }
            return;
        };
        if self.silence.is_told() {
            self.live.tell(&fresh());
        }
        self.silence.priced();
        self.last.confirm();
        if self.last.get() == Some(price) {
            return;
        }
        self.live.last_at = self.live.last_at.max(at);
        self.last.set(price, self.live.last_at);
        self.live.on_tick(price, woken, &mut HeardAt::default());
        // No trade that bots on paper could go by after a restart.
        self.live.index.take_mark();
    }
}

impl Watchers {
    fn new() -> Self {
        Self { index: WatchIndex::new(), bots: Vec::new(), watching: 0, last_at: Timestamp::MIN }
    }

    fn add(&mut self, watcher: Watcher, watch: &Watch) -> Slot {
        let slot = self.index.add();
        let place = slot.0 as usize;
        if self.bots.len() <= place {
            self.bots.resize(place + 1, None);
        }
        if let Some(place) = self.bots.get_mut(place) {
            *place = Some(watcher);
        }
        self.watching += 1;
        let now = self.index.seq();
        self.index.set(slot, watch, now);
        slot
    }

    /// Whether somebody was there.
    fn remove(&mut self, slot: Slot) -> bool {
        let Some(watcher @ Some(_)) = self.bots.get_mut(slot.0 as usize) else { return false };
        *watcher = None;
        self.index.remove(slot);
        self.watching -= 1;
        true
    }

    fn on_tick(&mut self, price: Price, woken: &mut Vec<Wake>, heard: &mut HeardAt) {
        if self.watching == 0 {
            return;
        }
        self.index.on_tick(price, self.last_at, woken);
        for wake in woken.drain(..) {
            self.wake(wake, heard.get());
        }
    }

    fn wake(&self, wake: Wake, heard_at: Timestamp) {
        if let Some(Some(watcher)) = self.bots.get(wake.slot.0 as usize) {
            deliver(&watcher.bot, Woken { moved: wake.moved, seq: wake.seq, heard_at });
        }
    }

    fn tell(&self, stale: &Stale) {
        for watcher in self.bots.iter().flatten() {
            deliver(&watcher.bot, stale.clone());
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
        ctx.run_interval(self.patience.look_every, |feed, ctx| feed.look(&ctx.address()));
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
                Some(Request::Resubscribe(id)) => stream.resubscribe(id),
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

    fn handle(&mut self, Heard(events): Heard, ctx: &mut Self::Context) {
        let (mut ticks, mut heard) = (0, HeardAt::default());
        for event in events {
            match event {
                StreamEvent::Tick(id, tick) => {
                    ticks += 1;
                    self.on_tick(id, tick, &mut heard);
                }
                StreamEvent::Connected => {
                    let was_down = self.down_warnings.is_over();
                    tracing::info!(exchange = %self.markets.health().exchange(), was_down, "market data is connected");
                    self.markets.health().up();
                    if self.downtime.is_told() {
                        for symbol in &self.symbols {
                            symbol.paper.tell(&fresh());
                        }
                    }
                    self.downtime.up();
                }
                StreamEvent::Disconnected { reason, retry_in } => {
                    self.lost(&reason, retry_in);
                    for symbol in &mut self.symbols {
                        symbol.silence.broke();
                    }
                    self.look(&ctx.address());
                }
                StreamEvent::Stale(id) => self.fell_silent(id, &ctx.address()),
                StreamEvent::Refused(code) => tracing::error!(code, "the venue refused a subscription"),
            }
        }
        self.was_heard |= ticks > 0;
        self.meters.count_ticks(ticks);
        self.uncounted += ticks;
        if self.uncounted >= CHECK_EVERY {
            self.uncounted = 0;
            self.stop_what_is_too_busy();
        }
    }
}

impl MarketFeed {
    /// Stops paper bots that are too far behind.
    fn stop_what_is_too_busy(&self) {
        let is_long = |symbol: &Symbol| symbol.paper.index.backlog() as u64 >= CHECK_EVERY;
        let long = self.symbols.iter().enumerate().filter(|(_, symbol)| is_long(symbol));
        let behind = long.flat_map(|(symbol, of)| {
            of.paper.index.behind().filter_map(move |(slot, ticks)| {
                let Watcher { bot, account } = of.paper.bots.get(slot.0 as usize)?.as_ref()?;
                Some(Behind { account: *account, symbol, bot, ticks })
            })
        });
        for Behind { bot, ticks, .. } in excess(behind.collect(), MAX_BACKLOG) {
            deliver(bot, TooBusy { ticks });
        }
    }

    /// The connection is down, or could not be made again.
    fn lost(&mut self, reason: &str, retry_in: Duration) {
        let (now, exchange) = (Instant::now(), self.markets.health().exchange());
        if self.down_warnings.is_due(now) {
            tracing::warn!(%exchange, reason, ?retry_in, "market data is down; it is connected again as soon as it can be");
        } else {
            tracing::debug!(%exchange, reason, ?retry_in, "market data is still down");
        }
        self.downtime.down(now);
        self.markets.health().down();
    }

    fn fell_silent(&mut self, id: SymbolId, me: &Addr<Self>) {
        let Some(symbol) = self.symbols.get_mut(id.0 as usize) else { return };
        tracing::warn!(pair = %symbol.pair, "no trade was heard for a while");
        if symbol.silence.fell_silent() {
            self.ask(Request::Resubscribe(id));
        }
        self.look(me);
    }
}

impl Handler<Told> for MarketFeed {
    type Result = ();

    fn handle(&mut self, told: Told, _: &mut Self::Context) {
        self.is_asking = false;
        let Told { symbols, asked_at, result } = told;
        match &result {
            Ok(_) => drop(self.price_warnings.is_over()),
            Err(error) if self.price_warnings.is_due(Instant::now()) => {
                tracing::warn!(%error, "the venue does not tell prices when it is asked");
            }
            Err(error) => tracing::debug!(%error, "the venue still does not tell prices when it is asked"),
        }
        for (place, id) in symbols.into_iter().enumerate() {
            let told = result.as_ref().ok().and_then(|asked| {
                let price = asked.prices.get(place).copied().flatten()?;
                Some((price, asked.at))
            });
            if let Some(symbol) = self.symbols.get_mut(id.0 as usize) {
                symbol.told(told, asked_at, &self.patience, &mut self.woken);
            }
        }
    }
}

impl Handler<Join> for MarketFeed {
    type Result = ();

    fn handle(&mut self, join: Join, _: &mut Self::Context) {
        let Join { pair, account, bot, watch, is_live } = join;
        let id = self.want(&pair);
        let Some(symbol) = self.symbols.get_mut(id.0 as usize) else { return };
        let slot = symbol.watchers(is_live).add(Watcher { bot: bot.clone(), account }, &watch);
        deliver(&bot, Joined(Place { symbol: id, is_live, slot }));
        // What the others were told holds for it as well.
        if is_live && symbol.silence.is_told() {
            deliver(&bot, live_stale(&pair));
        } else if !is_live && self.downtime.is_told() {
            deliver(&bot, paper_stale());
        }
    }
}

impl Handler<Follow> for MarketFeed {
    type Result = ();

    fn handle(&mut self, Follow(pair): Follow, _: &mut Self::Context) {
        let id = self.want(&pair);
        if let Some(symbol) = self.symbols.get_mut(id.0 as usize) {
            symbol.following += 1;
        }
    }
}

impl Handler<Unfollow> for MarketFeed {
    type Result = ();

    fn handle(&mut self, Unfollow(pair): Unfollow, _: &mut Self::Context) {
        let id = self.symbol(&pair);
        if let Some(symbol) = self.symbols.get_mut(id.0 as usize) {
            symbol.following = symbol.following.saturating_sub(1);
        }
        self.let_go(id);
    }
}

impl Handler<Rewatch> for MarketFeed {
    type Result = ();

    fn handle(&mut self, new: Rewatch, _: &mut Self::Context) {
        let Some(symbol) = self.symbols.get_mut(new.place.symbol.0 as usize) else { return };
        let watchers = symbol.watchers(new.place.is_live);
        let made_at = match new.since {
            Since::Tick(seq) => seq,
            Since::Unanswered if watchers.index.is_awaited(new.place.slot) => return,
            Since::Unanswered | Since::Now => watchers.index.seq(),
        };
        if let Some(wake) = watchers.index.set(new.place.slot, &new.watch, made_at) {
            watchers.wake(wake, clock::now());
        }
        let watchers = if new.place.is_live { &mut symbol.live } else { &mut symbol.paper };
        note_mark(&mut watchers.index, &symbol.pair, &self.ledger);
    }
}

impl Handler<Leave> for MarketFeed {
    type Result = ();

    fn handle(&mut self, Leave(place): Leave, _: &mut Self::Context) {
        let Some(symbol) = self.symbols.get_mut(place.symbol.0 as usize) else { return };
        if symbol.watchers(place.is_live).remove(place.slot) {
            self.let_go(place.symbol);
        }
    }
}

impl MarketFeed {
    /// The symbol of a pair that somebody is about to listen to.
    fn want(&mut self, pair: &Pair) -> SymbolId {
        let id = self.symbol(pair);
        let is_down = self.downtime.is_down();
        if let Some(symbol) = self.symbols.get_mut(id.0 as usize).filter(|symbol| !symbol.is_wanted()) {
            symbol.silence = Silence::default();
            if is_down {
                symbol.silence.broke();
            }
            self.ask(Request::Subscribe(pair.clone()));
            self.markets.health().set_listening(true);
        }
        id
    }

    /// Somebody stopped listening to a symbol; it may have been the last.
    fn let_go(&self, id: SymbolId) {
        if let Some(symbol) = self.symbols.get(id.0 as usize).filter(|symbol| !symbol.is_wanted()) {
            symbol.last.lose();
            self.ask(Request::Unsubscribe(id));
            // Everything that was wanted may be let go of one after the other.
            self.markets.health().set_listening(self.symbols.iter().any(Symbol::is_wanted));
        }
    }
}
