//! The fleet: which bots live, and those that wait until their venue tells what their pair is like. Starting and
//! recovering are one path.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message, MessageResponse};
use model::{BotId, ExchangeId, Mark, Market, Pair};
use strategies::{PaperBot, Plan};

use super::bot::{Bot, Hand, LiveHand, NextRules, Parts, Regrid, Settled};
use super::deliver;
use super::feed::MarketFeed;
use crate::change::{BotStatus, BotTrouble, Change, Positions, Redefined};
use crate::clock;
use crate::error::EngineError;
use crate::health::Warnings;
use crate::ledger::{Durable, Ledger};
use crate::live::Gateway;
use crate::live::fees::FeeRates;
use crate::markets::{Listing, Markets};
use crate::meters::Meters;
use crate::rates::Rates;
use crate::record::Recorder;
use crate::start::Unreconciled;
use crate::store::StoredBot;
use crate::trailing::TrailingStops;

/// How long a bot waits in silence for its venue before its owner is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether the venue is to be asked again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest pause before a venue that does not say what a pair is like is asked again; it begins with one second and
/// doubles.
const LONGEST_ASK_PAUSE: Duration = Duration::from_secs(8);

/// How often it is asked again for a pair that it does not trade.
const ASK_SUSPENDED_EVERY: Duration = Duration::from_secs(10);

/// How often the venue is asked whether the rules of pairs that bots trade have changed.
const REFRESH_RULES_EVERY: Duration = Duration::from_mins(1);

/// The code of a bot whose venue does not tell what its pair is like; it goes on by itself once it does.
pub(crate) const UNREACHABLE: &str = "venue_unreachable";

/// The code of a bot whose venue does not trade its pair for now; it goes on by itself once it does.
pub(crate) const SUSPENDED: &str = "pair_suspended";

/// A bot that is at rest is to live. Answered once it is decided; it holds once that is durable. `None` where it lives
/// already, so that what was said of it holds no more.
#[derive(Message)]
#[rtype(result = "Result<Option<Durable>, EngineError>")]
pub(crate) struct Launch {
    pub(crate) bot: StoredBot,
    /// How its coins are to be disposed of where it is to live only for that.
    pub(crate) stopping: Option<Positions>,
    /// Which connection a live bot trades over; it is open.
    pub(crate) exchange_id: Option<ExchangeId>,
}

/// What trailing bots had slept through when the process ended; told before they are taken up.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Remember(pub(crate) HashMap<Pair, Vec<Mark>>);

/// Bots that lived when the process ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Recover(pub(crate) Vec<Recovered>);

/// One of them.
pub(crate) struct Recovered {
    pub(crate) bot: StoredBot,
    /// Which connection a live bot trades over, if it could be opened.
    pub(crate) exchange_id: Option<ExchangeId>,
    /// Held until a live bot's orders are accounted for.
    pub(crate) unreconciled: Option<Unreconciled>,
}

/// Where a bot is.
#[derive(Message)]
#[rtype(result = "Whereabouts")]
pub(crate) struct Find(pub(crate) BotId);

/// A bot that may be waiting for its venue waits no more; where it was.
#[derive(Message)]
#[rtype(result = "Whereabouts")]
pub(crate) struct Forget(pub(crate) BotId);

/// A bot that may be waiting for its venue has other rules; where it is.
#[derive(Message)]
#[rtype(result = "Whereabouts")]
pub(crate) struct Amend(pub(crate) Box<Redefined>);

/// Where a bot is.
#[derive(MessageResponse)]
pub(crate) enum Whereabouts {
    /// It lives, here.
    Lives(Addr<Bot>),
    /// It will live once its venue tells what its pair is like.
    Waits,
    /// It is at rest, or will be once what it did is durable.
    Absent,
}

/// Decisions of these paper bots are durable.
#[derive(Message)]
#[rtype(result = "()")]
struct Decided(Vec<BotId>);

/// A bot has ended; with its recorder when it did not say so itself.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Gone {
    pub(crate) id: BotId,
    pub(crate) crashed: Option<Recorder>,
}

/// What a venue said of a pair; `Err` when it said nothing.
#[derive(Message)]
#[rtype(result = "()")]
struct Listed {
    pair: Pair,
    market: Result<Listing, String>,
}

/// A pair's grid has changed.
#[derive(Message)]
#[rtype(result = "()")]
struct Relisted {
    pair: Pair,
    market: Market,
}

/// A bot that lives, and what it trades.
struct Living {
    bot: Addr<Bot>,
    pair: Pair,
}

/// A bot whose pair is not known yet.
struct Waiting {
    recovered: Recovered,
    since: Instant,
    is_told: bool,
}

/// One plan for all bots with the same rules on the same market.
#[derive(Default)]
struct Plans(HashSet<Plan>);

impl Plans {
    fn shared(&mut self, plan: Plan) -> Plan {
        if let Some(known) = self.0.get(&plan) {
            return known.clone();
        }
        if self.0.len() == self.0.capacity() {
            self.0.retain(Plan::is_shared);
        }
        self.0.insert(plan.clone());
        plan
    }
}

/// The actor.
pub(crate) struct Fleet {
    feed: Addr<MarketFeed>,
    ledger: Ledger,
    markets: Arc<Markets>,
    meters: Arc<Meters>,
    rates: Rates,
    gateway: Gateway,
    stops: TrailingStops,
    live: HashMap<BotId, Living>,
    waiting: HashMap<BotId, Waiting>,
    asked: HashSet<Pair>,
    /// When the venue is asked again for pairs that it did not tell of, and the pause before that.
    retries: HashMap<Pair, (Instant, Duration)>,
    warnings: Warnings,
    plans: Plans,
    marks: HashMap<Pair, Vec<Mark>>,
}

impl Fleet {
    /// A fleet without bots.
    pub(crate) fn new(
        feed: Addr<MarketFeed>,
        ledger: Ledger,
        markets: Arc<Markets>,
        meters: Arc<Meters>,
        rates: Rates,
        gateway: Gateway,
        stops: TrailingStops,
    ) -> Self {
        Self {
            feed,
            ledger,
            markets,
            meters,
            rates,
            gateway,
            stops,
            live: HashMap::new(),
            waiting: HashMap::new(),
            asked: HashSet::new(),
            retries: HashMap::new(),
            warnings: Warnings::default(),
            plans: Plans::default(),
            marks: HashMap::new(),
        }
    }

    /// Brings a bot to life on its market. One that `goes_on` was only cut off: what it slept through counts.
    fn begin(
        &mut self,
        recovered: Recovered,
        market: &Market,
        stopping: Option<Positions>,
        goes_on: bool,
        me: &Addr<Self>,
    ) -> Result<Durable, EngineError> {
        let Recovered { bot, exchange_id, unreconciled } = recovered;
        let account = exchange_id.filter(|_| !bot.definition.dry_run);
        let (market, fees) = self.gateway.commissions().apply(account, &bot.definition.pair, *market);
        let mut recorder = Recorder::new(bot.account_id, bot.id, &bot.definition);
        recorder.pay(fees);
        recorder.value_by(self.rates.worth(bot.definition.pair.quote()));
        let stored = match &bot.state {
            None => None,
            Some(state) => recorder.resume(state).map_err(corrupt)?,
        };
        let own = self.plans.shared(Plan::new(&bot.definition, &market)?);
        let (plan, next_rules) = match recorder.kept() {
            None => (own, None),
            Some(kept) => {
                let next = NextRules { plan: own, definition: bot.definition.clone(), fees };
                (self.plans.shared(Plan::new(kept, &market)?), Some(next))
            }
        };
        let rules = recorder.kept().unwrap_or(&bot.definition);
        let mut hand = if bot.definition.dry_run {
            Hand::Paper(match stored {
                None => PaperBot::with_plan(&plan),
                Some(state) => PaperBot::restore(&plan, state).map_err(corrupt)?,
            })
        } else {
            let (id, connection) = exchange_id
                .and_then(|id| Some((id, self.gateway.connection(id)?)))
                .ok_or_else(|| EngineError::field("exchange_id", "its exchange connection cannot be used"))?;
            let fees = FeeRates::new(&self.rates, &bot.definition.pair);
            let line = (connection, self.gateway.clock().clone(), self.gateway.origin(bot.id));
            let hand = LiveHand::new(&plan, rules, id, line, fees, stored, unreconciled);
            Hand::Live(Box::new(hand.map_err(corrupt)?))
        };
        let marks = self.marks.get(&bot.definition.pair).map_or(&[][..], Vec::as_slice);
        if goes_on {
            for mark in marks {
                hand.recall(mark);
            }
        } else {
            let heard = self.markets.last(&bot.definition.pair).at();
            hand.count_from(marks.last().map_or(heard, |mark| mark.at.max(heard)));
        }
        if stopping.is_some() || !goes_on {
            recorder.set_stopping(stopping);
        }
        recorder.set_reawakened(stopping.is_some() && bot.status == BotStatus::Stopped);
        let status = if recorder.stopping().is_some() { BotStatus::Stopping } else { BotStatus::Running };
        let durable = if status == bot.status {
            Durable::ALREADY
        } else {
            let reason = if bot.status == BotStatus::Error { "recovered" } else { "user" };
            self.ledger.enqueue(recorder.turned(hand.machine(), status, reason, clock::now()))?
        };
        let pair = bot.definition.pair.clone();
        let parts = Parts { id: bot.id, hand, recorder, pair: pair.clone(), next_rules };
        let launched = Bot::launch(parts, &self.feed, &self.ledger, &self.meters, &self.stops, me);
        self.live.insert(bot.id, Living { bot: launched, pair });
        Ok(durable)
    }

    /// Brings a bot to life that nobody waits for an answer about.
    fn begin_or_fail(&mut self, recovered: Recovered, market: &Market, me: &Addr<Self>) {
        let bot = recovered.bot.clone();
        let goes_on = bot.status != BotStatus::Starting;
        if let Err(error) = self.begin(recovered, market, None, goes_on, me) {
            let code = match error {
                EngineError::Invalid(_) => "definition_invalid",
                _ => "state_invalid",
            };
            self.fail(&bot, code, error.to_string());
        }
    }

    fn fail(&self, bot: &StoredBot, code: &str, message: String) {
        tracing::warn!(bot = %bot.id, code, message, "a bot cannot go on");
        let recorder = Recorder::new(bot.account_id, bot.id, &bot.definition);
        let trouble = BotTrouble { code: code.to_owned(), message };
        if self.ledger.record(recorder.failed(trouble, clock::now())).is_err() {
            tracing::error!(bot = %bot.id, "its error could not be recorded");
        }
    }

    fn wait(&mut self, recovered: Recovered, me: Addr<Self>) {
        let (id, pair) = (recovered.bot.id, recovered.bot.definition.pair.clone());
        let is_told = recovered.bot.status == BotStatus::Error;
        self.waiting.insert(id, Waiting { recovered, since: Instant::now(), is_told });
        self.note_waiting();
        self.ask(pair, me);
    }

    /// Publishes how many bots wait for their venue.
    fn note_waiting(&self) {
        self.markets.health().set_waiting_bots(self.waiting.len());
    }

    fn whereabouts(&self, id: BotId) -> Whereabouts {
        match self.live.get(&id) {
            Some(living) => Whereabouts::Lives(living.bot.clone()),
            None if self.waiting.contains_key(&id) => Whereabouts::Waits,
            None => Whereabouts::Absent,
        }
    }

    fn ask(&mut self, pair: Pair, me: Addr<Self>) {
        if !self.asked.insert(pair.clone()) {
            return;
        }
        let markets = self.markets.clone();
        self.markets.spawn(async move {
            let market = markets.listing(&pair).await.map_err(|error| error.to_string());
            deliver(&me, Listed { pair, market });
        });
    }
}

fn corrupt(error: impl std::fmt::Display) -> EngineError {
    EngineError::Conflict { code: "state_invalid", message: error.to_string() }
}

impl Actor for Fleet {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1_024);
        let me = ctx.address().downgrade();
        self.ledger.observe_paper(move |bots| {
            me.upgrade().map(|fleet| deliver(&fleet, Decided(bots.to_vec()))).is_some()
        });
        ctx.run_interval(LOOK_EVERY, |fleet, ctx| {
            let now = Instant::now();
            let pairs = fleet.waiting.values().map(|waiting| &waiting.recovered.bot.definition.pair);
            let is_due = |pair: &&Pair| fleet.retries.get(*pair).is_none_or(|(at, _)| *at <= now);
            let due: HashSet<Pair> = pairs.filter(is_due).cloned().collect();
            for pair in due {
                fleet.ask(pair, ctx.address());
            }
        });
        let me = ctx.address().downgrade();
        self.markets.observe(move |pair, market| {
            if let Some(fleet) = me.upgrade() {
                deliver(&fleet, Relisted { pair: pair.clone(), market });
            }
        });
        ctx.run_interval(REFRESH_RULES_EVERY, |fleet, _| {
            let pairs: HashSet<Pair> = fleet.live.values().map(|living| living.pair.clone()).collect();
            fleet.markets.refresh(pairs.into_iter().collect());
        });
    }
}

impl Handler<Launch> for Fleet {
    type Result = Result<Option<Durable>, EngineError>;

    fn handle(&mut self, launch: Launch, ctx: &mut Self::Context) -> Self::Result {
        let Launch { bot, stopping, exchange_id } = launch;
        match self.whereabouts(bot.id) {
            Whereabouts::Lives(_) => return Ok(None),
            Whereabouts::Waits => return Ok(Some(Durable::ALREADY)),
            Whereabouts::Absent => {}
        }
        if let Some(market) = self.markets.known(&bot.definition.pair) {
            let recovered = Recovered { bot, exchange_id, unreconciled: None };
            return self.begin(recovered, &market, stopping, false, &ctx.address()).map(Some);
        }
        if stopping.is_some() {
            // What waits begins to trade once it may.
            let message =
                format!("{} does not answer, so nothing can be sold: try again", bot.definition.exchange);
            return Err(EngineError::VenueSilent(message));
        }
        let recorder = Recorder::new(bot.account_id, bot.id, &bot.definition);
        let row = Some(recorder.row(BotStatus::Starting, None, None));
        let durable = self.ledger.enqueue(Change { bot: row, ..Change::default() })?;
        let bot = StoredBot { status: BotStatus::Starting, ..bot };
        self.wait(Recovered { bot, exchange_id, unreconciled: None }, ctx.address());
        Ok(Some(durable))
    }
}

impl Handler<Remember> for Fleet {
    type Result = ();

    fn handle(&mut self, Remember(marks): Remember, _: &mut Self::Context) {
        self.marks = marks;
    }
}

impl Handler<Recover> for Fleet {
    type Result = ();

    fn handle(&mut self, Recover(bots): Recover, ctx: &mut Self::Context) {
        for recovered in bots {
            match self.markets.known(&recovered.bot.definition.pair) {
                Some(market) => self.begin_or_fail(recovered, &market, &ctx.address()),
                None => self.wait(recovered, ctx.address()),
            }
        }
    }
}

impl Handler<Listed> for Fleet {
    type Result = ();

    fn handle(&mut self, listed: Listed, ctx: &mut Self::Context) {
        self.asked.remove(&listed.pair);
        let of_pair = |(id, waiting): (&BotId, &Waiting)| {
            (waiting.recovered.bot.definition.pair == listed.pair).then_some(*id)
        };
        let ids: Vec<BotId> = self.waiting.iter().filter_map(of_pair).collect();
        match listed.market {
            Err(error) => {
                let now = Instant::now();
                if self.warnings.is_due(now) {
                    let (exchange, bots) = (self.markets.health().exchange(), self.waiting.len());
                    tracing::warn!(%exchange, pair = %listed.pair, bots, error,
                        "the venue does not say what a pair is like; its bots wait until it does");
                }
                let pause = self.retries.get(&listed.pair).map_or(LOOK_EVERY, |(_, pause)| *pause * 2);
                let pause = pause.min(LONGEST_ASK_PAUSE);
                self.retries.insert(listed.pair.clone(), (now + pause, pause));
                for id in ids {
                    self.lose_patience(id, &error);
                }
            }
            Ok(Listing::Trading(market)) => {
                self.is_told_again(&listed.pair);
                self.retries.remove(&listed.pair);
                for id in ids {
                    if let Some(Waiting { recovered, .. }) = self.waiting.remove(&id) {
                        self.begin_or_fail(recovered, &market, &ctx.address());
                    }
                }
            }
            Ok(Listing::Suspended(word)) => {
                self.is_told_again(&listed.pair);
                self.suspend(&listed.pair, &ids, &format!("is not traded now ({word})"));
            }
            Ok(Listing::Absent) => {
                self.is_told_again(&listed.pair);
                self.suspend(&listed.pair, &ids, "is not listed");
            }
        }
        self.note_waiting();
    }
}

impl Handler<Relisted> for Fleet {
    type Result = ();

    fn handle(&mut self, Relisted { pair, market }: Relisted, _: &mut Self::Context) {
        for living in self.live.values().filter(|living| living.pair == pair) {
            deliver(&living.bot, Regrid(market));
        }
    }
}

impl Fleet {
    /// The venue says what pairs are like.
    fn is_told_again(&mut self, pair: &Pair) {
        if self.warnings.is_over() {
            tracing::info!(%pair, "the venue says again what pairs are like");
        }
    }

    /// The venue does not trade a pair, which may be over tomorrow: its bots wait, and their owners are told once.
    fn suspend(&mut self, pair: &Pair, ids: &[BotId], why: &str) {
        self.retries.insert(pair.clone(), (Instant::now() + ASK_SUSPENDED_EVERY, ASK_SUSPENDED_EVERY));
        for id in ids {
            let Some(waiting) = self.waiting.get_mut(id) else { continue };
            // The others are ready without it.
            waiting.recovered.unreconciled = None;
            if std::mem::replace(&mut waiting.is_told, true) {
                continue;
            }
            waiting.recovered.bot.status = BotStatus::Error;
            let bot = waiting.recovered.bot.clone();
            let exchange = bot.definition.exchange;
            self.fail(&bot, SUSPENDED, format!("{pair} {why} at {exchange}; the bot goes on once it is"));
        }
    }

    /// Tells a waiting bot's owner, once, when it has waited long enough.
    fn lose_patience(&mut self, id: BotId, error: &str) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        if waiting.is_told || waiting.since.elapsed() < PATIENCE {
            return;
        }
        waiting.is_told = true;
        waiting.recovered.bot.status = BotStatus::Error;
        let bot = waiting.recovered.bot.clone();
        let exchange = bot.definition.exchange;
        self.fail(
            &bot,
            UNREACHABLE,
            format!("{exchange} does not answer; the bot goes on once it does: {error}"),
        );
    }
}

impl Handler<Find> for Fleet {
    type Result = Whereabouts;

    fn handle(&mut self, Find(id): Find, _: &mut Self::Context) -> Self::Result {
        self.whereabouts(id)
    }
}

impl Handler<Forget> for Fleet {
    type Result = Whereabouts;

    fn handle(&mut self, Forget(id): Forget, _: &mut Self::Context) -> Self::Result {
        let found = self.whereabouts(id);
        self.waiting.remove(&id);
        self.note_waiting();
        found
    }
}

impl Handler<Amend> for Fleet {
    type Result = Whereabouts;

    fn handle(&mut self, Amend(redefined): Amend, _: &mut Self::Context) -> Self::Result {
        let Redefined { id, definition, state, .. } = *redefined;
        if let Some(waiting) = self.waiting.get_mut(&id) {
            let bot = &mut waiting.recovered.bot;
            bot.definition = definition;
            bot.state = state.or(bot.state.take());
        }
        self.whereabouts(id)
    }
}

impl Handler<Decided> for Fleet {
    type Result = ();

    fn handle(&mut self, Decided(bots): Decided, _: &mut Self::Context) {
        for living in bots.iter().filter_map(|id| self.live.get(id)) {
            deliver(&living.bot, Settled);
        }
    }
}

impl Handler<Gone> for Fleet {
    type Result = ();

    fn handle(&mut self, gone: Gone, _: &mut Self::Context) {
        self.live.remove(&gone.id);
        if let Some(recorder) = gone.crashed {
            tracing::error!(bot = %gone.id, "a bot's actor died");
            let message = "the bot stopped unexpectedly; its trade is kept as it was".to_owned();
            let trouble = BotTrouble { code: "internal".to_owned(), message };
            if self.ledger.record(recorder.failed(trouble, clock::now())).is_err() {
                tracing::error!(bot = %gone.id, "its error could not be recorded");
            }
        }
    }
}
