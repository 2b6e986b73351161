//! What a bot's steps come to in the books: the trade, its orders and fills, and the events that tell of them.
//!
//! A bot's thread only notes what happened, as a [`Decision`] and a [`BotState`]; what that comes to is worked out
//! and put into words where it is written.

mod late;
mod live;
mod paper;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    AccountId, BotFailed, BotId, BotTurned, DomainEvent, EventData, EventId, Exchange, FeeRates, OrderKind,
    Pair, Quote, Timestamp, Trade, TradeId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use strategies::live::{LiveStep, Role};
use strategies::{BotDefinition, PaperBot, PaperStep};

use crate::change::{BotChange, BotStatus, BotTrouble, Change, Positions};
use crate::live::{Intent, OrderStamp};
use crate::rates::{Worth, valued};

pub use late::LateBooking;
pub(crate) use late::{booked_execution, rebook, revalue};
pub(crate) use live::{Dust, Engagement, LiveRun, StoredRun, engagement, has_orders_under_way};

/// Quote coins that count as US dollars.
pub(crate) const DOLLARS: [&str; 6] = ["USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD"];

/// Turns one bot's steps into [`Change`]s.
#[derive(Clone, Debug)]
pub struct Recorder {
    bot: Arc<Identity>,
    trade_id: Option<TradeId>,
    stopping: Option<Positions>,
    /// Whether it was stopped and lives once more, until it is flat.
    is_reawakened: bool,
    /// The rules that the open trade keeps, where its bot has others by now.
    kept: Option<Box<BotDefinition>>,
    /// What its quote coin is worth.
    worth: Worth,
}

/// What is told of a bot with everything it does.
#[derive(Clone, Debug)]
struct Identity {
    account_id: AccountId,
    bot_id: BotId,
    exchange: Exchange,
    pair: Pair,
    dry_run: bool,
    name: Box<str>,
    /// How its entries are worked.
    entries: OrderKind,
    /// What its levels are computed with; `None` until that is known.
    fees: Option<FeeRates>,
}

/// What a bot's row keeps so that it goes on after a crash.
#[derive(Clone, Debug, Serialize)]
pub struct BotState {
    /// The open trade.
    trade_id: Option<TradeId>,
    /// How it is being stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopping: Option<Positions>,
    /// The rules that the open trade keeps, where the bot has others by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<Box<RawValue>>,
    /// The machine and its books.
    #[serde(flatten)]
    machine: Machine,
}

/// A machine with its executor and books.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "it lies in the box of its BotState")]
pub(crate) enum Machine {
    Paper(PaperBot),
    Live(Box<LiveRun>),
}

impl From<&PaperBot> for Machine {
    fn from(paper: &PaperBot) -> Self {
        Self::Paper(paper.clone())
    }
}

impl From<&LiveRun> for Machine {
    fn from(run: &LiveRun) -> Self {
        Self::Live(Box::new(run.clone()))
    }
}

/// A [`BotState`] as it is read.
#[derive(Deserialize)]
struct StoredState<'a> {
    trade_id: Option<TradeId>,
    stopping: Option<Positions>,
    #[serde(borrow, default)]
    kept: Option<&'a RawValue>,
    #[serde(borrow)]
    paper: Option<&'a RawValue>,
    #[serde(borrow)]
    live: Option<&'a RawValue>,
}

/// A stored state that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored state cannot be read: {0}")]
pub struct StateError(#[from] serde_json::Error);

/// What one call of a machine did to a trade, as it happened.
#[derive(Clone, Debug)]
pub struct Decision {
    bot: Arc<Identity>,
    trade_id: TradeId,
    steps: Steps,
    /// US dollars for one quote coin when it was decided; of a decision that closes the trade.
    usd_rate: Option<Quote>,
}

/// What happened, in order.
#[derive(Clone, Debug)]
enum Steps {
    Paper(Vec<PaperStep>),
    Live(Vec<LiveStep>),
}

impl Recorder {
    /// For a bot that holds nothing yet.
    pub fn new(account_id: AccountId, bot_id: BotId, bot: &BotDefinition) -> Self {
        let bot = Identity {
            account_id,
            bot_id,
            exchange: bot.exchange,
            pair: bot.pair.clone(),
            dry_run: bot.dry_run,
            name: bot.name.as_str().into(),
            entries: bot.strategy.entries(),
            fees: None,
        };
        let worth = Worth::unfollowed(bot.pair.quote());
        Self { bot: Arc::new(bot), trade_id: None, stopping: None, is_reawakened: false, kept: None, worth }
    }

    /// What its quote coin is worth, from now on: what closed trades are valued by.
    pub(crate) fn value_by(&mut self, worth: Worth) {
        self.worth = worth;
    }

    /// Goes on with the trade of a stored state; what is returned is the machine's own. `None` where the bot was of
    /// the other kind then: on paper and now live, or the reverse.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn resume<'a>(&mut self, state: &'a str) -> Result<Option<&'a str>, StateError> {
        let state: StoredState<'a> = serde_json::from_str(state)?;
        let machine = if self.bot.dry_run { state.paper } else { state.live };
        if machine.is_some() {
            self.trade_id = state.trade_id;
            self.keep(state.kept.and_then(kept));
        }
        self.stopping = state.stopping;
        Ok(machine.map(RawValue::get))
    }

    /// Whose bot it is.
    pub(crate) fn account_id(&self) -> AccountId {
        self.bot.account_id
    }

    /// Notes whether it was stopped and lives once more, until it is flat: its end is no news.
    pub(crate) fn set_reawakened(&mut self, is_reawakened: bool) {
        self.is_reawakened = is_reawakened;
    }

    /// The open trade.
    pub fn trade_id(&self) -> Option<TradeId> {
        self.trade_id
    }

    /// How it is being stopped.
    pub(crate) fn stopping(&self) -> Option<Positions> {
        self.stopping
    }

    /// Notes how it is being stopped, or that it is not any more.
    pub(crate) fn set_stopping(&mut self, positions: Option<Positions>) {
        self.stopping = positions;
    }

    /// The rules that the open trade keeps, where its bot has others by now.
    pub(crate) fn kept(&self) -> Option<&BotDefinition> {
        self.kept.as_deref()
    }

    /// Notes which rules the open trade keeps; `None` where it follows its bot's.
    pub(crate) fn keep(&mut self, rules: Option<BotDefinition>) {
        if let Some(rules) = &rules {
            Arc::make_mut(&mut self.bot).entries = rules.strategy.entries();
        }
        self.kept = rules.map(Box::new);
    }

    /// Notes the fee rates that its levels are computed with from now on.
    pub(crate) fn pay(&mut self, fees: FeeRates) {
        Arc::make_mut(&mut self.bot).fees = Some(fees);
    }

    /// Takes over a new name.
    pub(crate) fn rename(&mut self, name: &str) {
        Arc::make_mut(&mut self.bot).name = name.into();
    }

    /// Takes over what a new definition tells of it.
    pub(crate) fn redefine(&mut self, bot: &BotDefinition) {
        let identity = Arc::make_mut(&mut self.bot);
        (identity.name, identity.entries) = (bot.name.as_str().into(), bot.strategy.entries());
    }

    /// Everything that one call of the machine did, as one change. `status` is the bot's own: a stopping bot is
    /// still stopping after a fill. This runs where bots decide: it notes, and leaves the rest to the writer.
    pub fn change(&mut self, paper: &PaperBot, steps: Vec<PaperStep>, status: BotStatus) -> Change {
        if !steps.is_empty() {
            self.trade_id.get_or_insert_with(TradeId::new);
        }
        let trade_id = self.trade_id;
        let mut usd_rate = None;
        if matches!(steps.last(), Some(PaperStep::Exited(_))) {
            (self.trade_id, self.kept) = (None, None);
            usd_rate = self.worth.usd();
        }
        let steps = Steps::Paper(steps);
        let decision = trade_id.map(|trade_id| Decision { bot: self.bot.clone(), trade_id, steps, usd_rate });
        let bot = Some(self.row(status, None, Some(self.state(paper.into()))));
        Change { bot, decision, ..Change::default() }
    }

    /// The same for a live bot, with the orders that may leave once this is durable, stamped with the venue's time.
    pub(crate) fn live_change(
        &mut self,
        run: &LiveRun,
        steps: Vec<LiveStep>,
        status: BotStatus,
        venue_time: Timestamp,
    ) -> Change {
        let is_begun =
            |step: &LiveStep| matches!(step, LiveStep::Place(order) if order.role == Role::Entry(0));
        if steps.iter().any(is_begun) {
            self.trade_id = None;
        }
        let trade_id = *self.trade_id.get_or_insert_with(TradeId::new);
        let intents = steps.iter().filter_map(|step| match step {
            LiveStep::Place(order) => Some(Intent::new(
                run.exchange_id,
                self.bot.bot_id,
                trade_id,
                &self.bot.pair,
                order,
                run.receipts.get(&order.client_id).copied().unwrap_or_default(),
                venue_time,
            )),
            _ => None,
        });
        let intents = intents.collect();
        let cancels = steps.iter().filter_map(|step| match step {
            LiveStep::Cancel(id) => {
                Some(OrderStamp { exchange_id: run.exchange_id, client_id: *id, at: venue_time })
            }
            _ => None,
        });
        let cancels = cancels.collect();
        let mut usd_rate = None;
        if steps.iter().any(|step| matches!(step, LiveStep::Closed(_))) {
            (self.trade_id, self.kept) = (None, None);
            usd_rate = self.worth.usd();
        }
        let steps = Steps::Live(steps);
        let decision = Some(Decision { bot: self.bot.clone(), trade_id, steps, usd_rate });
        let state = self.state(run.into());
        let bot = Some(self.row(status, None, Some(state)));
        Change { bot, decision, intents, cancels, ..Change::default() }
    }

    /// A bot's new status with nothing done, and what is told of it: `bot.started` for a running bot, `bot.stopped`
    /// for a stopped one, nothing for the others.
    pub(crate) fn turned(
        &self,
        machine: impl Into<Machine>,
        status: BotStatus,
        reason: &str,
        now: Timestamp,
    ) -> Change {
        let data = match status {
            BotStatus::Running => {
                Some(EventData::BotStarted(BotTurned::started(self.bot.bot_id, &self.bot.name, reason)))
            }
            BotStatus::Stopped if self.is_reawakened => None,
            BotStatus::Stopped => {
                Some(EventData::BotStopped(BotTurned::stopped(self.bot.bot_id, &self.bot.name, reason)))
            }
            BotStatus::Starting | BotStatus::Stopping | BotStatus::Error => None,
        };
        let events = Vec::from_iter(data.map(|data| self.bot.event(now, data)));
        let state = Some(self.state(machine.into()));
        Change { bot: Some(self.row(status, None, state)), events, ..Change::default() }
    }

    /// A bot that is stopped without having lived: what it goes on from stays as it was.
    pub(crate) fn let_go(&self, reason: &str, now: Timestamp) -> Change {
        let event = self
            .bot
            .event(now, EventData::BotStopped(BotTurned::stopped(self.bot.bot_id, &self.bot.name, reason)));
        let bot = Some(self.row(BotStatus::Stopped, None, None));
        Change { bot, events: vec![event], ..Change::default() }
    }

    /// A bot that cannot go on, as `bot.error` tells; what it goes on from stays as it was.
    pub(crate) fn failed(&self, trouble: BotTrouble, now: Timestamp) -> Change {
        let BotTrouble { code, message } = trouble.clone();
        let told =
            EventData::BotError(BotFailed { bot_id: Some(self.bot.bot_id), code, message, resolved: false });
        let events = vec![self.bot.event(now, told)];
        Change { bot: Some(self.row(BotStatus::Error, Some(trouble), None)), events, ..Change::default() }
    }

    /// Something that `bot.error` tells of a bot that goes on as it is, or that it is over.
    pub(crate) fn told(&self, trouble: BotTrouble, resolved: bool, now: Timestamp) -> Change {
        let BotTrouble { code, message } = trouble;
        let told = EventData::BotError(BotFailed { bot_id: Some(self.bot.bot_id), code, message, resolved });
        Change { events: vec![self.bot.event(now, told)], ..Change::default() }
    }

    /// A bot's new status and nothing else.
    pub(crate) fn row(
        &self,
        status: BotStatus,
        trouble: Option<BotTrouble>,
        state: Option<Box<BotState>>,
    ) -> BotChange {
        BotChange { id: self.bot.bot_id, account_id: self.bot.account_id, status, trouble, state }
    }

    fn state(&self, machine: Machine) -> Box<BotState> {
        let kept = self.kept.as_ref().map(|rules| rules.to_json());
        Box::new(BotState { trade_id: self.trade_id, stopping: self.stopping, kept, machine })
    }
}

/// Rules as a state keeps them.
fn kept(text: &RawValue) -> Option<BotDefinition> {
    BotDefinition::parse(&serde_json::from_str(text.get()).ok()?).ok()
}

/// The rules that a stored bot's open trade keeps, where the bot has others by now.
pub(crate) fn kept_rules(state: &str) -> Option<BotDefinition> {
    if !state.contains("\"kept\":") {
        return None;
    }
    serde_json::from_str::<StoredState<'_>>(state).ok()?.kept.and_then(kept)
}

/// A stored state whose open trade keeps these rules from now on, or follows its bot's.
///
/// # Errors
/// [`StateError`].
pub(crate) fn keeping(state: &str, rules: Option<&BotDefinition>) -> Result<String, StateError> {
    let mut fields: BTreeMap<&str, Box<RawValue>> = serde_json::from_str(state)?;
    match rules {
        Some(rules) => drop(fields.insert("kept", rules.to_json())),
        None => drop(fields.remove("kept")),
    }
    Ok(serde_json::to_string(&fields)?)
}

impl BotState {
    /// The text that [`Recorder::resume`] reads.
    ///
    /// # Panics
    /// Never: every part is JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("every part is JSON")
    }
}

impl Decision {
    /// The trade as it is now with its new orders, and the events in the order in which things happened; `after`
    /// is the bot as the decision left it.
    pub fn booked(&self, after: &BotState) -> (Option<Trade>, Vec<DomainEvent>) {
        match (&self.steps, &after.machine) {
            (Steps::Paper(steps), Machine::Paper(machine)) => self.paper(steps, machine),
            (Steps::Live(steps), Machine::Live(run)) => self.live(steps, run),
            (Steps::Paper(_), Machine::Live(_)) | (Steps::Live(_), Machine::Paper(_)) => (None, Vec::new()),
        }
    }

    /// A profit in US dollars at the rate of this moment.
    fn in_usd(&self, profit: Option<Quote>) -> Option<Quote> {
        valued(profit?, self.usd_rate?)
    }

    /// What a trade that it closed has left, too little to be sold.
    pub(crate) fn dust(&self, after: &BotState) -> Option<Dust> {
        match (&self.steps, &after.machine) {
            (Steps::Live(steps), Machine::Live(run)) => self.left(steps, run),
            _ => None,
        }
    }
}

impl Identity {
    fn event(&self, at: Timestamp, data: EventData) -> DomainEvent {
        DomainEvent { id: EventId::new(), account_id: self.account_id, bot_id: Some(self.bot_id), at, data }
    }
}

#[cfg(test)]
mod tests {
    use model::{Market, PriceMove, TradeStatus};

    use super::*;

    fn bot() -> (Recorder, PaperBot, BotDefinition, Market) {
        let body = r#"{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":2,"stop_loss":-10,"dry_run":true}"#;
        let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let market = Market {
            tick_size: "0.01".parse().unwrap(),
            lot_step: "0.001".parse().unwrap(),
            min_notional: "5".parse().unwrap(),
            fee: "0.001".parse().unwrap(),
            slippage: "0".parse().unwrap(),
            bounds: model::OrderBounds::default(),
        };
        let recorder = Recorder::new(AccountId::from_u128(1), BotId::from_u128(1), &definition);
        let paper = PaperBot::new(&definition, &market).unwrap();
        (recorder, paper, definition, market)
    }

    /// What a change comes to.
    struct Booked {
        trade: Option<Trade>,
        events: Vec<DomainEvent>,
        state: String,
    }

    fn tell(recorder: &mut Recorder, paper: &mut PaperBot, price: &str, second: i64) -> Booked {
        let mut steps = Vec::new();
        let moved = PriceMove::tick(price.parse().unwrap(), Timestamp::from_millis(second * 1_000));
        paper.on_move(&moved, &mut steps).unwrap();
        let change = recorder.change(paper, steps, BotStatus::Running);
        let state = change.bot.unwrap().state.unwrap();
        let decision = change.decision.unwrap();
        let (trade, events) = decision.booked(&state);
        Booked { trade, events, state: state.text() }
    }

    fn kinds(booked: &Booked) -> Vec<&str> {
        booked.events.iter().map(|event| event.data.kind().as_str()).collect()
    }

    #[test]
    fn a_trade_is_told_from_its_first_buy_to_flat() {
        let (mut recorder, mut paper, ..) = bot();
        let opened = tell(&mut recorder, &mut paper, "100", 1);
        assert_eq!(kinds(&opened), ["trade.opened"]);
        let averaged = tell(&mut recorder, &mut paper, "98.09", 2);
        assert_eq!(kinds(&averaged), ["trade.updated"]);
        let told = averaged.events[0].body();
        for part in [
            r#""kind":"entry","index":1,"price":98.09,"amount":0.510,"entry_price":99.1345"#,
            r#""message":"Safety order 1 bought 0.510 BTC at 98.09 USDT; the average is now 99.13"#,
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let closed = tell(&mut recorder, &mut paper, "110", 3);
        assert_eq!(kinds(&closed), ["trade.closed"]);
        let trades = [opened, averaged, closed].map(|booked| booked.trade.unwrap());
        assert!(trades.iter().all(|trade| trade.id == trades[0].id && trade.orders.len() == 1));
        let last = &trades[2];
        assert_eq!(last.status, TradeStatus::Closed);
        // 1.01 sold at 110 less 0.1 %, for 0.5 at 100 and 0.51 at 98.09 with 0.1 % on each.
        assert_eq!(last.profit.unwrap().decimal().normalize().to_string(), "10.8629741");
        assert_eq!(last.profit_usd, last.profit);
        assert_eq!(last.usd_rate.unwrap().to_string(), "1");
        assert_ne!(tell(&mut recorder, &mut paper, "100", 4).trade.unwrap().id, last.id);
    }

    #[test]
    fn a_trade_in_a_coin_that_is_no_dollar_is_valued_by_the_rate_of_its_close_alone() {
        let (_, mut paper, mut definition, _) = bot();
        definition.pair = "BTC/ETH".parse().unwrap();
        let mut recorder = Recorder::new(AccountId::from_u128(1), BotId::from_u128(1), &definition);
        let rate = |price: &str| Worth::Coin(Arc::new(crate::rates::CoinRate::fixed(price.parse().unwrap())));
        recorder.value_by(rate("3000"));
        let opened = tell(&mut recorder, &mut paper, "100", 1).trade.unwrap();
        assert_eq!((opened.usd_rate, opened.profit_usd), (None, None));
        recorder.value_by(rate("3099.51"));
        let closed = tell(&mut recorder, &mut paper, "110", 3);
        let trade = closed.trade.unwrap();
        // 0.5 sold at 110 less 0.1 %, for 0.5 at 100 with 0.1 %: 4.895.
        assert_eq!(trade.usd_rate.unwrap().to_string(), "3099.51");
        assert_eq!(trade.profit_usd.unwrap().to_string(), "15172.10145");
        let told = closed.events[0].body();
        assert!(told.contains(r#""profit_usd":15172.10145,"usd_rate":3099.51,"#), "{told}");
        recorder.value_by(Worth::Unknown);
        tell(&mut recorder, &mut paper, "100", 5);
        let unvalued = tell(&mut recorder, &mut paper, "110", 6).trade.unwrap();
        assert!(unvalued.profit.is_some());
        assert_eq!((unvalued.usd_rate, unvalued.profit_usd), (None, None), "nothing is guessed");
    }

    #[test]
    fn a_stop_is_told_before_the_close_it_causes() {
        let (mut recorder, mut paper, ..) = bot();
        tell(&mut recorder, &mut paper, "100", 1);
        let stopped = tell(&mut recorder, &mut paper, "80", 2);
        assert_eq!(kinds(&stopped), ["trade.stoploss", "trade.closed"]);
        assert!(stopped.events[1].body().contains(r#""exit_reason":"stop_loss""#));
    }

    #[test]
    fn a_restart_goes_on_with_the_same_trade() {
        let (mut recorder, mut paper, definition, market) = bot();
        let opened = tell(&mut recorder, &mut paper, "100", 1);
        let mut again = Recorder::new(AccountId::from_u128(1), BotId::from_u128(1), &definition);
        let machine = again.resume(&opened.state).unwrap().unwrap();
        let plan = strategies::Plan::new(&definition, &market).unwrap();
        let mut paper = PaperBot::restore(&plan, machine).unwrap();
        let closed = tell(&mut again, &mut paper, "110", 2);
        assert_eq!(kinds(&closed), ["trade.closed"]);
        assert_eq!(closed.trade.unwrap().id, opened.trade.unwrap().id);
    }
}
