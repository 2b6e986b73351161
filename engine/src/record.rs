//! What a bot's steps come to in the books: the trade, its orders and fills, and the events that tell of them.
//!
//! A bot's thread only notes what happened, as a [`Decision`] and a [`BotState`]; what that comes to is worked out
//! and put into words where it is written.

use std::sync::Arc;

use model::{
    AccountId, BotDefinition, BotFailed, BotId, BotTurned, ClientOrderId, DomainEvent, EventData, EventId,
    Exchange, ExitReason, Fill, FillId, Order, OrderId, OrderKind, OrderStatus, Pair, Price, Side, Timestamp,
    Trade, TradeClosed, TradeId, TradeOpened, TradeStatus, TradeStoploss,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use strategies::{Books, Entry, Exit, PaperBot, PaperStep};

use crate::change::{BotChange, BotStatus, BotTrouble, Change, Positions};

/// Quote coins that count as US dollars.
pub(crate) const DOLLARS: [&str; 6] = ["USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD"];

/// Turns one bot's steps into [`Change`]s.
#[derive(Clone, Debug)]
pub struct Recorder {
    bot: Arc<Identity>,
    trade_id: Option<TradeId>,
    stopping: Option<Positions>,
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
}

/// What a bot's row keeps so that it goes on after a crash.
#[derive(Clone, Debug, Serialize)]
pub struct BotState {
    /// The open trade.
    trade_id: Option<TradeId>,
    /// How it is being stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopping: Option<Positions>,
    /// The machine and its books.
    paper: PaperBot,
}

/// A [`BotState`] as it is read.
#[derive(Deserialize)]
struct StoredState<'a> {
    trade_id: Option<TradeId>,
    stopping: Option<Positions>,
    #[serde(borrow)]
    paper: &'a RawValue,
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
    steps: Vec<PaperStep>,
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
        };
        Self { bot: Arc::new(bot), trade_id: None, stopping: None }
    }

    /// Goes on with the trade of a stored state; the machine's own state is what is returned.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn resume<'a>(&mut self, state: &'a str) -> Result<&'a str, StateError> {
        let state: StoredState<'a> = serde_json::from_str(state)?;
        self.trade_id = state.trade_id;
        self.stopping = state.stopping;
        Ok(state.paper.get())
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

    /// Takes over a new name.
    pub(crate) fn rename(&mut self, name: &str) {
        Arc::make_mut(&mut self.bot).name = name.into();
    }

    /// Everything that one call of the machine did, as one change. `status` is the bot's own: a stopping bot is
    /// still stopping after a fill. This runs where bots decide: it notes, and leaves the rest to the writer.
    pub fn change(&mut self, paper: &PaperBot, steps: Vec<PaperStep>, status: BotStatus) -> Change {
        if !steps.is_empty() {
            self.trade_id.get_or_insert_with(TradeId::new);
        }
        let trade_id = self.trade_id;
        if matches!(steps.last(), Some(PaperStep::Exited(_))) {
            self.trade_id = None;
        }
        let decision = trade_id.map(|trade_id| Decision { bot: self.bot.clone(), trade_id, steps });
        Change { decision, bot: Some(self.row(status, None, Some(self.state(paper)))), ..Change::default() }
    }

    /// A bot's new status with nothing done, and what is told of it: `bot.started` for a running bot, `bot.stopped`
    /// for a stopped one, nothing for the others.
    pub(crate) fn turned(&self, paper: &PaperBot, status: BotStatus, reason: &str, now: Timestamp) -> Change {
        let data = match status {
            BotStatus::Running => Some(EventData::BotStarted(self.bot.turned(reason))),
            BotStatus::Stopped => Some(EventData::BotStopped(self.bot.turned(reason))),
            BotStatus::Starting | BotStatus::Stopping | BotStatus::Error => None,
        };
        let events = Vec::from_iter(data.map(|data| self.bot.event(now, data)));
        Change { bot: Some(self.row(status, None, Some(self.state(paper)))), events, ..Change::default() }
    }

    /// A bot that is stopped without having lived: what it goes on from stays as it was.
    pub(crate) fn let_go(&self, reason: &str, now: Timestamp) -> Change {
        let event = self.bot.event(now, EventData::BotStopped(self.bot.turned(reason)));
        let bot = Some(self.row(BotStatus::Stopped, None, None));
        Change { bot, events: vec![event], ..Change::default() }
    }

    /// A bot that cannot go on, as `bot.error` tells; what it goes on from stays as it was.
    pub(crate) fn failed(&self, trouble: BotTrouble, now: Timestamp) -> Change {
        let BotTrouble { code, message } = trouble.clone();
        let told = EventData::BotError(BotFailed { bot_id: self.bot.bot_id, code, message });
        let events = vec![self.bot.event(now, told)];
        Change { bot: Some(self.row(BotStatus::Error, Some(trouble), None)), events, ..Change::default() }
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

    fn state(&self, paper: &PaperBot) -> Box<BotState> {
        Box::new(BotState { trade_id: self.trade_id, stopping: self.stopping, paper: paper.clone() })
    }
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
    /// Whose trade.
    pub(crate) fn account_id(&self) -> AccountId {
        self.bot.account_id
    }

    /// Whether an event tells of it.
    pub(crate) fn is_told(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step, PaperStep::Entered(entry) if entry.index > 0))
    }

    /// The trade as it is now with its new orders, and the events in the order in which things happened; `after`
    /// is the bot as the decision left it.
    pub fn booked(&self, after: &BotState) -> (Option<Trade>, Vec<DomainEvent>) {
        let mut orders = Vec::new();
        let mut events = Vec::new();
        let mut closed = None;
        let stopped = self.steps.iter().any(
            |step| matches!(step, PaperStep::Exited(books) if books.exit.is_some_and(|exit| exit.reason == ExitReason::StopLoss)),
        );
        for step in &self.steps {
            match step {
                PaperStep::Entered(entry) => {
                    orders.push(self.bought(entry));
                    if entry.index == 0 {
                        events.push(self.bot.event(entry.at, EventData::TradeOpened(self.opened(entry))));
                    }
                }
                PaperStep::StopHit { stop, price, at } if stopped => {
                    let hit = EventData::TradeStoploss(self.stop_hit(*stop, *price));
                    events.push(self.bot.event(*at, hit));
                }
                PaperStep::StopHit { .. } => {}
                PaperStep::Exited(books) => {
                    orders.extend(books.exit.map(|exit| self.sold(&exit)));
                    closed = Some(books);
                }
            }
        }
        let books = closed.unwrap_or_else(|| after.paper.books());
        let trade = books.entries.first().map(|first| self.trade(first, books, &after.paper, orders));
        if let (Some(trade), Some(exit)) = (&trade, books.exit) {
            let data = EventData::TradeClosed(Box::new(TradeClosed::from(trade)));
            events.push(self.bot.event(exit.at, data));
        }
        (trade, events)
    }

    fn trade(&self, first: &Entry, books: &Books, paper: &PaperBot, orders: Vec<Order>) -> Trade {
        let profit = books.exit.map(|exit| books.profit(exit.price, model::Rate::ZERO));
        Trade {
            id: self.trade_id,
            bot_id: self.bot.bot_id,
            exchange: self.bot.exchange,
            pair: self.bot.pair.clone(),
            side: Side::Buy,
            status: if books.exit.is_some() { TradeStatus::Closed } else { TradeStatus::Open },
            dry_run: self.bot.dry_run,
            opened_at: first.at,
            closed_at: books.exit.map(|exit| exit.at),
            entry_price: books.average().round_dp(8).normalize(),
            exit_price: books.exit.map(|exit| exit.price),
            amount: books.amount(),
            stake: books.stake(),
            fees: books.fees(),
            profit,
            profit_pct: profit.map(|profit| books.profit_pct(profit)),
            profit_usd: profit.filter(|_| DOLLARS.contains(&self.bot.pair.quote())),
            exit_reason: books.exit.map(|exit| exit.reason),
            stop_price: paper.machine().stop_price(),
            take_profit_price: paper.machine().take_profit_price(),
            orders,
        }
    }

    fn bought(&self, entry: &Entry) -> Order {
        let Entry { at, decided, price, qty, fee, .. } = *entry;
        let fee_asset = self.bot.pair.quote().to_owned();
        filled(Side::Buy, decided, Fill { id: FillId::new(), at, price, qty, fee, fee_asset })
    }

    fn sold(&self, exit: &Exit) -> Order {
        let Exit { at, decided, price, qty, fee, .. } = *exit;
        let fee_asset = self.bot.pair.quote().to_owned();
        filled(Side::Sell, decided, Fill { id: FillId::new(), at, price, qty, fee, fee_asset })
    }

    fn opened(&self, entry: &Entry) -> TradeOpened {
        TradeOpened {
            bot_id: self.bot.bot_id,
            trade_id: self.trade_id,
            pair: self.bot.pair.clone(),
            side: Side::Buy,
            price: entry.price,
            amount: entry.qty,
            stake: entry.price * entry.qty + entry.fee,
            opened_at: entry.at,
            dry_run: self.bot.dry_run,
        }
    }

    fn stop_hit(&self, stop_price: Price, price: Price) -> TradeStoploss {
        TradeStoploss {
            bot_id: self.bot.bot_id,
            trade_id: self.trade_id,
            pair: self.bot.pair.clone(),
            side: Side::Sell,
            stop_price,
            price,
            dry_run: self.bot.dry_run,
        }
    }
}

impl Identity {
    fn event(&self, at: Timestamp, data: EventData) -> DomainEvent {
        DomainEvent { id: EventId::new(), account_id: self.account_id, bot_id: Some(self.bot_id), at, data }
    }

    fn turned(&self, reason: &str) -> BotTurned {
        BotTurned { bot_id: self.bot_id, name: self.name.to_string(), reason: reason.to_owned() }
    }
}

fn filled(side: Side, price: Price, fill: Fill) -> Order {
    Order {
        id: OrderId::new(),
        client_order_id: ClientOrderId::new(),
        side,
        kind: OrderKind::Market,
        status: OrderStatus::Filled,
        price,
        qty: fill.qty,
        filled_qty: fill.qty,
        created_at: fill.at,
        fills: vec![fill],
    }
}

#[cfg(test)]
mod tests {
    use model::{Market, PriceMove};

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
        assert_eq!(decision.is_told(), !events.is_empty());
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
        assert!(averaged.events.is_empty());
        let closed = tell(&mut recorder, &mut paper, "110", 3);
        assert_eq!(kinds(&closed), ["trade.closed"]);
        let trades = [opened, averaged, closed].map(|booked| booked.trade.unwrap());
        assert!(trades.iter().all(|trade| trade.id == trades[0].id && trade.orders.len() == 1));
        let last = &trades[2];
        assert_eq!(last.status, TradeStatus::Closed);
        // 1.01 sold at 110 less 0.1 %, for 0.5 at 100 and 0.51 at 98.09 with 0.1 % on each.
        assert_eq!(last.profit.unwrap().decimal().normalize().to_string(), "10.8629741");
        assert_eq!(last.profit_usd, last.profit);
        assert_ne!(tell(&mut recorder, &mut paper, "100", 4).trade.unwrap().id, last.id);
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
        let machine = again.resume(&opened.state).unwrap();
        let plan = strategies::Plan::new(&definition, &market).unwrap();
        let mut paper = PaperBot::restore(plan.into(), machine).unwrap();
        let closed = tell(&mut again, &mut paper, "110", 2);
        assert_eq!(kinds(&closed), ["trade.closed"]);
        assert_eq!(closed.trade.unwrap().id, opened.trade.unwrap().id);
    }
}
