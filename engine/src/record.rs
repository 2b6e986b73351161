//! What a bot's steps come to in the books: the trade, its orders and fills, and the events that tell of them.

use model::{
    AccountId, BotDefinition, BotId, ClientOrderId, DomainEvent, EventId, EventKind, Exchange, ExitReason,
    Fill, FillId, Order, OrderId, OrderKind, OrderStatus, Pair, Price, Qty, Quote, Side, Timestamp, Trade,
    TradeId, TradeStatus,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use strategies::{Books, Entry, Exit, PaperBot, PaperStep};

use crate::change::{BotChange, BotStatus, BotTrouble, Change, Positions};

/// Quote coins that count as US dollars.
pub(crate) const DOLLARS: [&str; 6] = ["USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD"];

/// Turns one bot's steps into [`Change`]s.
#[derive(Clone, Debug)]
pub struct Recorder {
    account_id: AccountId,
    bot_id: BotId,
    exchange: Exchange,
    pair: Pair,
    dry_run: bool,
    name: Box<str>,
    trade_id: Option<TradeId>,
    stopping: Option<Positions>,
}

/// What a bot's row keeps so that it goes on after a crash: the open trade's id, how it is being stopped, and the
/// machine's state.
#[derive(Serialize, Deserialize)]
struct State {
    trade_id: Option<TradeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopping: Option<Positions>,
    paper: Box<RawValue>,
}

/// A stored state that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored state cannot be read: {0}")]
pub struct StateError(#[from] serde_json::Error);

impl Recorder {
    /// For a bot that holds nothing yet.
    pub fn new(account_id: AccountId, bot_id: BotId, bot: &BotDefinition) -> Self {
        Self {
            account_id,
            bot_id,
            exchange: bot.exchange,
            pair: bot.pair.clone(),
            dry_run: bot.dry_run,
            name: bot.name.as_str().into(),
            trade_id: None,
            stopping: None,
        }
    }

    /// Goes on with the trade of a stored state; the machine's own state is what is returned.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn resume(&mut self, state: &str) -> Result<String, StateError> {
        let state: State = serde_json::from_str(state)?;
        self.trade_id = state.trade_id;
        self.stopping = state.stopping;
        Ok(state.paper.get().to_owned())
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
        self.name = name.into();
    }

    /// Everything that one call of the machine did, as one change: its new state, the trade, its new orders, and
    /// the events in the order in which things happened. `status` is the bot's own: a
    /// stopping bot is still stopping after a fill.
    ///
    /// # Errors
    /// Never for a machine's own state.
    pub fn change(
        &mut self,
        paper: &PaperBot,
        steps: &[PaperStep],
        status: BotStatus,
    ) -> Result<Change, StateError> {
        let mut change = Change::default();
        let mut orders = Vec::new();
        let mut closed = None;
        let stopped = steps.iter().any(
            |step| matches!(step, PaperStep::Exited(books) if books.exit.is_some_and(|exit| exit.reason == ExitReason::StopLoss)),
        );
        for step in steps {
            let trade_id = *self.trade_id.get_or_insert_with(TradeId::new);
            match step {
                PaperStep::Entered(entry) => {
                    orders.push(self.bought(entry));
                    if entry.index == 0 {
                        change.events.push(self.event(
                            EventKind::TradeOpened,
                            entry.at,
                            &self.opened(trade_id, entry),
                        )?);
                    }
                }
                PaperStep::StopHit { stop, price, at } if stopped => {
                    let hit = TradeStopHit {
                        bot_id: self.bot_id,
                        trade_id,
                        pair: &self.pair,
                        side: Side::Sell,
                        stop_price: *stop,
                        price: *price,
                        dry_run: self.dry_run,
                    };
                    change.events.push(self.event(EventKind::TradeStoploss, *at, &hit)?);
                }
                PaperStep::StopHit { .. } => {}
                PaperStep::Exited(books) => {
                    let Some(exit) = books.exit else { continue };
                    orders.push(self.sold(&exit));
                    closed = Some(books);
                }
            }
        }
        let books = closed.unwrap_or_else(|| paper.books());
        if let (Some(trade_id), Some(first)) = (self.trade_id, books.entries.first()) {
            let trade = self.trade(trade_id, first, books, paper, orders);
            if let Some(exit) = books.exit {
                change.events.push(self.event(EventKind::TradeClosed, exit.at, &TradeClosed::of(&trade))?);
                self.trade_id = None;
            }
            change.trade = Some(Box::new(trade));
        }
        change.bot = Some(self.row(status, None, Some(self.state(paper)?)));
        Ok(change)
    }

    /// A bot's new status with nothing done, and what is told of it: `bot.started` for a running bot, `bot.stopped`
    /// for a stopped one, nothing for the others.
    ///
    /// # Errors
    /// Never for a machine's own state.
    pub(crate) fn turned(
        &self,
        paper: &PaperBot,
        status: BotStatus,
        reason: &str,
        now: Timestamp,
    ) -> Result<Change, StateError> {
        let kind = match status {
            BotStatus::Running => Some(EventKind::BotStarted),
            BotStatus::Stopped => Some(EventKind::BotStopped),
            BotStatus::Starting | BotStatus::Stopping | BotStatus::Error => None,
        };
        let turned = BotTurned { bot_id: self.bot_id, name: &self.name, reason };
        let events = kind.map(|kind| self.event(kind, now, &turned)).transpose()?;
        let bot = Some(self.row(status, None, Some(self.state(paper)?)));
        Ok(Change { bot, events: Vec::from_iter(events), ..Change::default() })
    }

    /// A bot that is stopped without having lived: what it goes on from stays as it was.
    ///
    /// # Errors
    /// Never for a name.
    pub(crate) fn let_go(&self, reason: &str, now: Timestamp) -> Result<Change, StateError> {
        let turned = BotTurned { bot_id: self.bot_id, name: &self.name, reason };
        let event = self.event(EventKind::BotStopped, now, &turned)?;
        let bot = Some(self.row(BotStatus::Stopped, None, None));
        Ok(Change { bot, events: vec![event], ..Change::default() })
    }

    /// A bot that cannot go on, as `bot.error` tells; what it goes on from stays as it was.
    pub(crate) fn failed(&self, trouble: BotTrouble, now: Timestamp) -> Change {
        let told = BotFailed { bot_id: self.bot_id, code: &trouble.code, message: &trouble.message };
        let event = self.event(EventKind::BotError, now, &told);
        let events = Vec::from_iter(event.ok());
        Change { bot: Some(self.row(BotStatus::Error, Some(trouble), None)), events, ..Change::default() }
    }

    /// A bot's new status and nothing else.
    pub(crate) fn row(
        &self,
        status: BotStatus,
        trouble: Option<BotTrouble>,
        state: Option<String>,
    ) -> BotChange {
        BotChange { id: self.bot_id, account_id: self.account_id, status, trouble, state }
    }

    fn state(&self, paper: &PaperBot) -> Result<String, StateError> {
        let paper = RawValue::from_string(paper.state())?;
        Ok(serde_json::to_string(&State { trade_id: self.trade_id, stopping: self.stopping, paper })?)
    }

    fn trade(
        &self,
        id: TradeId,
        first: &Entry,
        books: &Books,
        paper: &PaperBot,
        orders: Vec<Order>,
    ) -> Trade {
        let profit = books.exit.map(|exit| books.profit(exit.price, model::Rate::ZERO));
        Trade {
            id,
            bot_id: self.bot_id,
            exchange: self.exchange,
            pair: self.pair.clone(),
            side: Side::Buy,
            status: if books.exit.is_some() { TradeStatus::Closed } else { TradeStatus::Open },
            dry_run: self.dry_run,
            opened_at: first.at,
            closed_at: books.exit.map(|exit| exit.at),
            entry_price: books.average().round_dp(8).normalize(),
            exit_price: books.exit.map(|exit| exit.price),
            amount: books.amount(),
            stake: books.stake(),
            fees: books.fees(),
            profit,
            profit_pct: profit.map(|profit| books.profit_pct(profit)),
            profit_usd: profit.filter(|_| DOLLARS.contains(&self.pair.quote())),
            exit_reason: books.exit.map(|exit| exit.reason),
            stop_price: paper.machine().stop_price(),
            take_profit_price: paper.machine().take_profit_price(),
            orders,
        }
    }

    fn bought(&self, entry: &Entry) -> Order {
        Self::filled(
            Side::Buy,
            entry.decided,
            Fill {
                id: FillId::new(),
                at: entry.at,
                price: entry.price,
                qty: entry.qty,
                fee: entry.fee,
                fee_asset: self.pair.quote().to_owned(),
            },
        )
    }

    fn sold(&self, exit: &Exit) -> Order {
        Self::filled(
            Side::Sell,
            exit.decided,
            Fill {
                id: FillId::new(),
                at: exit.at,
                price: exit.price,
                qty: exit.qty,
                fee: exit.fee,
                fee_asset: self.pair.quote().to_owned(),
            },
        )
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

    fn opened(&self, trade_id: TradeId, entry: &Entry) -> TradeOpened<'_> {
        TradeOpened {
            bot_id: self.bot_id,
            trade_id,
            pair: &self.pair,
            side: Side::Buy,
            price: entry.price,
            amount: entry.qty,
            stake: entry.price * entry.qty + entry.fee,
            opened_at: entry.at,
            dry_run: self.dry_run,
        }
    }

    fn event(
        &self,
        kind: EventKind,
        at: Timestamp,
        data: &impl Serialize,
    ) -> Result<DomainEvent, StateError> {
        let data = to_raw_value(data)?;
        Ok(DomainEvent {
            id: EventId::new(),
            account_id: self.account_id,
            bot_id: Some(self.bot_id),
            kind,
            at,
            data,
        })
    }
}

/// The data of `bot.started` and `bot.stopped`.
#[derive(Serialize)]
struct BotTurned<'a> {
    bot_id: BotId,
    name: &'a str,
    reason: &'a str,
}

/// The data of `bot.error`.
#[derive(Serialize)]
struct BotFailed<'a> {
    bot_id: BotId,
    code: &'a str,
    message: &'a str,
}

/// The data of `trade.opened`.
#[derive(Serialize)]
struct TradeOpened<'a> {
    bot_id: BotId,
    trade_id: TradeId,
    pair: &'a Pair,
    side: Side,
    price: Price,
    amount: Qty,
    stake: Quote,
    opened_at: Timestamp,
    dry_run: bool,
}

/// The data of `trade.stoploss`.
#[derive(Serialize)]
struct TradeStopHit<'a> {
    bot_id: BotId,
    trade_id: TradeId,
    pair: &'a Pair,
    side: Side,
    stop_price: Price,
    price: Price,
    dry_run: bool,
}

/// The data of `trade.closed`.
#[derive(Serialize)]
struct TradeClosed<'a> {
    bot_id: BotId,
    trade_id: TradeId,
    pair: &'a Pair,
    side: Side,
    profit: Option<Quote>,
    profit_pct: Option<model::Pct>,
    profit_usd: Option<Quote>,
    exit_reason: Option<ExitReason>,
    #[serde(with = "model::number")]
    entry_price: rust_decimal::Decimal,
    exit_price: Option<Price>,
    amount: Qty,
    opened_at: Timestamp,
    closed_at: Option<Timestamp>,
    dry_run: bool,
}

impl<'a> TradeClosed<'a> {
    fn of(trade: &'a Trade) -> Self {
        Self {
            bot_id: trade.bot_id,
            trade_id: trade.id,
            pair: &trade.pair,
            side: Side::Sell,
            profit: trade.profit,
            profit_pct: trade.profit_pct,
            profit_usd: trade.profit_usd,
            exit_reason: trade.exit_reason,
            entry_price: trade.entry_price,
            exit_price: trade.exit_price,
            amount: trade.amount,
            opened_at: trade.opened_at,
            closed_at: trade.closed_at,
            dry_run: trade.dry_run,
        }
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

    fn tell(recorder: &mut Recorder, paper: &mut PaperBot, price: &str, second: i64) -> Change {
        let mut steps = Vec::new();
        let moved = PriceMove::tick(price.parse().unwrap(), Timestamp::from_millis(second * 1_000));
        paper.on_move(&moved, &mut steps).unwrap();
        recorder.change(paper, &steps, BotStatus::Running).unwrap()
    }

    fn kinds(change: &Change) -> Vec<&str> {
        change.events.iter().map(|event| event.kind.as_str()).collect()
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
        let trades = [opened, averaged, closed].map(|change| change.trade.unwrap());
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
        assert!(stopped.events[1].data.get().contains(r#""exit_reason":"stop_loss""#));
    }

    #[test]
    fn a_restart_goes_on_with_the_same_trade() {
        let (mut recorder, mut paper, definition, market) = bot();
        let opened = tell(&mut recorder, &mut paper, "100", 1);
        let state = opened.bot.unwrap().state.unwrap();
        let mut again = Recorder::new(AccountId::from_u128(1), BotId::from_u128(1), &definition);
        let machine = again.resume(&state).unwrap();
        let plan = strategies::Plan::new(&definition, &market).unwrap();
        let mut paper = PaperBot::restore(plan.into(), &machine).unwrap();
        let closed = tell(&mut again, &mut paper, "110", 2);
        assert_eq!(closed.trade.unwrap().id, opened.trade.unwrap().id);
        assert_eq!(kinds(&Change { events: closed.events, ..Change::default() }), ["trade.closed"]);
    }
}
