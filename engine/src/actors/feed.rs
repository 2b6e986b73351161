//! The market feed: one venue connection, its symbols' watch indexes, and whom they wake.
//!
//! While a symbol's stream is silent or late, or the connection is down, the venue is asked for the price that live bots
//! go by. Bots on paper wait: what they fill at is a trade that somebody made.
//!
//! Bots on paper are told of every tick. For live bots what was received together is read to its end first: the last
//! price is decided on, the others count into what trails (contract section 4).

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
use super::exchange::VenueClock;
use crate::clock;
use crate::health::Warnings;
use crate::lag::{self, Lag, LagChange};
use crate::ledger::Ledger;
use crate::markets::{Asked, LastPrice, Markets};
use crate::meters::Meters;
use crate::silence::{Downtime, Patience, Silence};
use crate::watch_index::{RecentPrices, Slot, Wake, WatchIndex};

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
pub(crate) struct Joined {
    pub(crate) place: Place,
    /// What the ticks come to that it watches.
    pub(crate) recent: Arc<RecentPrices>,
    /// The tick after which it watches.
    pub(crate) seq: u64,
}

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
    /// From the next one, at its owner's or the venue's word; where the bot has been woken and has not decided yet, its
    /// answer brings the watch. What it slept through still counts into what trails.
    Word,
    /// After the tick that the bot had heard of when its owner or the venue had a word with it; where it has been woken
    /// and has not decided yet, its answer brings the watch.
    WordAfter(u64),
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
pub(crate) struct Heard {
    pub(crate) events: Vec<StreamEvent>,
    /// Whether more had been received by then.
    pub(crate) has_more: bool,
}

/// One symbol.
struct Symbol {
    pair: Pair,
    paper: Watchers,
    live: Watchers,
    /// How many value coins by its price.
    following: usize,
    last: Arc<LastPrice>,
    silence: Silence,
    lag: Lag,
    /// Of the newest tick that live bots have not decided on, how long ago it was sent.
    undecided: Option<Duration>,
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
    /// What lateness is measured by.
    clock: VenueClock,
    /// The symbols with ticks that live bots have not decided on, and since when decisions wait for what is not read yet.
    undecided: Vec<SymbolId>,
    deferred_since: Option<Instant>,
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
        clock: VenueClock,
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
            clock,
            undecided: Vec::new(),
            deferred_since: None,
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
            paper: Watchers::new(WatchIndex::new()),
            live: Watchers::new(WatchIndex::by_newest()),
            following: 0,
            last: self.markets.last(pair),
            silence: Silence::default(),
            lag: Lag::default(),
            undecided: None,
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

    /// Hears a tick: bots on paper are told, live ones once all is read that was received with it.
    fn on_tick(&mut self, id: SymbolId, tick: Tick, sent_at: Timestamp, heard: &mut HeardAt) {
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
        symbol.paper.on_tick(tick.price, &mut self.woken, heard);
        note_mark(&mut symbol.paper.index, &symbol.pair, &self.ledger);
        if symbol.live.watching == 0 {
            symbol.last.set(tick.price, symbol.paper.last_at);
            return;
        }
        let age = heard.age(&self.clock, sent_at);
        // While messages are late the venue is asked, and what it told is newer.
        if age <= lag::LATE || tick.at >= symbol.live.last_at {
            symbol.last.set(tick.price, symbol.paper.last_at);
        }
        // Nor is one of them the newest tick that live bots know of then.
        if age > lag::LATE && tick.at < symbol.live.last_at {
            symbol.live.index.count(tick.price, tick.at);
        } else {
            symbol.live.last_at = symbol.live.last_at.max(tick.at);
            symbol.live.index.pass(tick.price, symbol.live.last_at);
        }
        note_mark(&mut symbol.live.index, &symbol.pair, &self.ledger);
        match symbol.lag.hear(age, heard.moment()) {
            LagChange::None => {}
            LagChange::Began => {
                tracing::warn!(pair = %symbol.pair, ?age, "its stream is late");
                symbol.live.tell(&late(&symbol.pair, age));
                heard.is_late = true;
            }
            LagChange::Ended => {
                tracing::info!(pair = %symbol.pair, "its stream is in time again");
                symbol.live.tell(&fresh());
            }
        }
        if symbol.undecided.replace(age).is_none() {
            self.undecided.push(id);
        }
    }

    /// Lets live bots decide on the newest prices that were read, unless more is to be read first.
    fn decide(&mut self, has_more: bool, heard: &mut HeardAt) {
        if self.undecided.is_empty() {
            self.deferred_since = None;
            return;
        }
        let since = if has_more { Some(*self.deferred_since.get_or_insert(heard.moment())) } else { None };
        self.deferred_since = since;
        let may_wait = since.is_some_and(|since| heard.moment().duration_since(since) < lag::READ_WITHIN);
        let mut undecided = std::mem::take(&mut self.undecided);
        undecided.retain(|id| {
            let Some(symbol) = self.symbols.get_mut(id.0 as usize) else { return false };
            let waits = may_wait && symbol.undecided.is_some_and(|age| age > lag::BACKLOG);
            if !waits && symbol.undecided.take().is_some_and(|age| age <= lag::LATE) {
                symbol.live.decide(&mut self.woken, heard);
                note_mark(&mut symbol.live.index, &symbol.pair, &self.ledger);
            }
            waits
        });
        self.undecided = undecided;
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
        let is_asked_for =
            |symbol: &Symbol| symbol.is_asked_for() && (symbol.live.watching > 0 || symbol.following > 0);
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

/// When a batch was read from the socket: each clock is looked at once, and only where a live bot watches or one is woken.
#[derive(Default)]
struct HeardAt {
    wall: Option<Timestamp>,
    moment: Option<Instant>,
    venue: VenueTime,
    /// Whether a symbol's messages turned out to be late.
    is_late: bool,
}

/// What time it is by a venue's clock.
#[derive(Clone, Copy, Default)]
enum VenueTime {
    #[default]
    Unasked,
    /// The venue has not told its time yet.
    Unknown,
    Known(Timestamp),
}

impl HeardAt {
    fn wall(&mut self) -> Timestamp {
        *self.wall.get_or_insert_with(clock::now)
    }

    fn moment(&mut self) -> Instant {
        *self.moment.get_or_insert_with(Instant::now)
    }

    /// How long before the batch was read the venue sent a message; nothing where that is not known.
    fn age(&mut self, clock: &VenueClock, sent_at: Timestamp) -> Duration {
        if let VenueTime::Unasked = self.venue {
            self.venue = clock.told().map_or(VenueTime::Unknown, VenueTime::Known);
        }
        let age = match self.venue {
            VenueTime::Known(now) => now.since(sent_at),
            VenueTime::Unasked | VenueTime::Unknown => 0,
        };
        Duration::from_nanos(u64::try_from(age).unwrap_or_default())
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

fn late(pair: &Pair, age: Duration) -> Stale {
    let message = format!(
        "what is traded of {pair} is told {:.1} s late: until it comes in time the venue is asked for the price every few \
         seconds, and the bot decides by that",
        age.as_secs_f64()
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

    /// Whether the venue has to be asked for its price: its stream tells none, or tells it late.
    fn is_asked_for(&self) -> bool {
        self.silence.is_silent() || self.lag.is_late()
    }

    /// Takes in what the venue said of its price; nothing once the stream is heard again in time, which knows better.
    fn told(
        &mut self,
        told: Option<(Price, Timestamp)>,
        asked_at: Instant,
        patience: &Patience,
        woken: &mut Vec<Wake>,
    ) {
        if !self.is_asked_for() {
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
        let is_known = self.last.get() == Some(price);
        if is_known && self.lag.confirmed(asked_at, patience.live) {
            self.live.tell(&fresh());
        }
        // What was heard late is known, and not decided on yet.
        if is_known && (self.live.watching == 0 || self.live.index.tested_price() == Some(price)) {
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
    fn new(index: WatchIndex) -> Self {
        Self { index, bots: Vec::new(), watching: 0, last_at: Timestamp::MIN }
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
        self.wake_all(woken, heard);
    }

    /// Decides on the price that was heard last.
    fn decide(&mut self, woken: &mut Vec<Wake>, heard: &mut HeardAt) {
        self.index.decide(woken);
        self.wake_all(woken, heard);
    }

    fn wake_all(&self, woken: &mut Vec<Wake>, heard: &mut HeardAt) {
        for wake in woken.drain(..) {
            self.wake(wake, heard.wall());
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
        let mut heard = Heard { events: Vec::with_capacity(16), has_more: false };
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
            has_more = stream.next_batch(&mut heard.events), if wanted > 0 => heard.has_more = has_more,
        }
        while !heard.events.is_empty() {
            heard = match feed.try_send(heard) {
                Ok(()) => break,
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

    fn handle(&mut self, Heard { events, has_more }: Heard, ctx: &mut Self::Context) {
        let (mut ticks, mut heard) = (0, HeardAt::default());
        for event in events {
            match event {
                StreamEvent::Tick { symbol, tick, sent_at } => {
                    ticks += 1;
                    self.on_tick(symbol, tick, sent_at, &mut heard);
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
        self.decide(has_more, &mut heard);
        if heard.is_late {
            self.look(&ctx.address());
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
        if let Ok(Asked { at, told_within, .. }) = &result {
            self.clock.learn(*at, told_within.0, told_within.1);
        }
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
        let watchers = symbol.watchers(is_live);
        let slot = watchers.add(Watcher { bot: bot.clone(), account }, &watch);
        let (recent, seq) = (watchers.index.recent().clone(), watchers.index.seq());
        deliver(&bot, Joined { place: Place { symbol: id, is_live, slot }, recent, seq });
        // What the others were told holds for it as well.
        if is_live && symbol.silence.is_told() {
            deliver(&bot, live_stale(&pair));
        } else if is_live && symbol.lag.is_late() {
            deliver(&bot, late(&pair, lag::LATE));
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
        let (slot, watch) = (new.place.slot, &new.watch);
        let wake = match new.since {
            Since::Word | Since::WordAfter(_) if watchers.index.is_awaited(slot) => return,
            Since::Word => {
                watchers.index.amend(slot, watch);
                None
            }
            Since::Tick(seq) | Since::WordAfter(seq) => watchers.index.set(slot, watch, seq),
            Since::Now => watchers.index.set(slot, watch, watchers.index.seq()),
        };
        if let Some(wake) = wake {
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
            (symbol.silence, symbol.lag) = (Silence::default(), Lag::default());
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
