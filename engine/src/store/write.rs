//! Changes to rows: many in one transaction, each statement with many rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;
use std::time::Duration;

use model::{
    AccountId, BotId, BotTurned, ClientOrderId, DomainEvent, EventData, EventId, ExitReason, FillId, Mark,
    OrderId, Pair, Price, SignalId, Timestamp, Trade, TradeClosed, TradeId, TradeOpened, TradeUpdated,
};
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::idempotency::keep;
use super::inbound::SIGNAL_DONE;
use super::ladders::{Ladders, add_ladders, count_bot, recount_bot};
use super::realized::{Realized, add_realized};
use super::repeat::write_once;
use super::rows::{Rows, Value, row};
use super::stats::FORGET_SUMS;
use super::subscriptions::write_billing;
use super::trip::Trip;
use super::writer::{PostgresWriter, SqliteWriter};
use super::{Store, StoreError};
use crate::answer::KeptAnswer;
use crate::billing::BillingChange;
use crate::change::{BotChange, BotStatus, Change, NewBot, Redefined};
use crate::live::{Intent, OrderStamp};
use crate::record::{Dust, LateBooking};
use crate::stream::BotTurn;

/// A statement that writes many rows at once. It is prepared for 1, 2, 4 … 1,024 rows and for no number between,
/// so that the database need not read it anew for every batch; what a batch lacks is filled up with rows of
/// nulls, and a row without an id is passed over.
pub(super) struct Statement {
    /// Up to the rows, which are called `v`.
    before: &'static str,
    /// How many values a row has.
    pub(super) columns: usize,
    /// What follows the rows.
    after: &'static str,
    sqlite: Texts,
    postgres: Texts,
}

/// A statement's text by the logarithm of its rows.
type Texts = [OnceLock<String>; Statement::SIZES];

/// How a database calls the values of a statement.
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    /// By place alone: it looks a numbered one up among all before it.
    Sqlite,
    /// By number.
    Postgres,
}

impl Statement {
    const SIZES: usize = 11;
    /// The most rows: with the widest table below what both databases can bind.
    pub(super) const MOST: usize = 1 << (Self::SIZES - 1);

    pub(super) const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self {
            before,
            columns,
            after,
            sqlite: [const { OnceLock::new() }; _],
            postgres: [const { OnceLock::new() }; _],
        }
    }

    /// Its text for at least so many rows, and how many more than those.
    pub(super) fn text(&'static self, rows: usize, dialect: Dialect) -> (&'static str, usize) {
        let size = rows.next_power_of_two();
        let texts = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        let text = texts.get(size.ilog2() as usize);
        (text.map_or("", |text| text.get_or_init(|| self.sql(size, dialect))), size - rows)
    }

    fn sql(&self, size: usize, dialect: Dialect) -> String {
        let value = |number: usize| match dialect {
            Dialect::Sqlite => "?".to_owned(),
            Dialect::Postgres => format!("${number}"),
        };
        let row = |row: usize| {
            let values: Vec<String> =
                (1..=self.columns).map(|column| value(row * self.columns + column)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<String> = (0..size).map(row).collect();
        format!("{} FROM (VALUES {}) AS v {}", self.before, rows.join(", "), self.after)
    }
}

static CREATE_BOTS: Statement = Statement::new(
    "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at, capital)
     SELECT *",
    10,
    // Another process may have deleted the account.
    "WHERE v.column1 IS NOT NULL
         AND EXISTS (SELECT 1 FROM accounts WHERE accounts.id = v.column2 AND accounts.deleted_at IS NULL)",
);
static UPDATE_BOTS: Statement = Statement::new(
    "UPDATE bots SET status = v.column2, trouble_code = v.column3, trouble_message = v.column4,
         state = COALESCE(v.column5, bots.state)",
    5,
    "WHERE bots.id = v.column1",
);
static WRITE_TRADES: Statement = Statement::new(
    "INSERT INTO trades (id, account_id, bot_id, exchange, pair, status, dry_run, opened_at, closed_at, entry_price,
         exit_price, amount, stake, fees, profit, profit_pct, profit_usd, usd_rate, exit_reason, stop_price,
         take_profit_price, unvalued_fees, fee_rates) SELECT *",
    23,
    // A trade that is closed stays so, whoever writes.
    "WHERE v.column1 IS NOT NULL
     ON CONFLICT (id) DO UPDATE SET status = excluded.status, closed_at = excluded.closed_at,
         entry_price = excluded.entry_price, exit_price = excluded.exit_price, amount = excluded.amount,
         stake = excluded.stake, fees = excluded.fees, profit = excluded.profit, profit_pct = excluded.profit_pct,
         profit_usd = excluded.profit_usd, usd_rate = excluded.usd_rate, exit_reason = excluded.exit_reason, stop_price = excluded.stop_price,
         take_profit_price = excluded.take_profit_price, unvalued_fees = excluded.unvalued_fees,
         fee_rates = excluded.fee_rates
     WHERE trades.status <> 'closed' OR excluded.status = 'closed'",
);
static WRITE_ORDERS: Statement = Statement::new(
    "INSERT INTO orders (id, trade_id, client_order_id, side, kind, status, price, qty, filled_qty, created_at,
         receipt) SELECT *",
    11,
    // An order that has ended stays so, whoever writes.
    "WHERE v.column1 IS NOT NULL
     ON CONFLICT (id) DO UPDATE SET status = CASE
             WHEN orders.status IN ('filled', 'canceled', 'expired', 'rejected')
                 AND excluded.status NOT IN ('filled', 'canceled', 'expired', 'rejected') THEN orders.status
             ELSE excluded.status END,
         filled_qty = excluded.filled_qty, receipt = excluded.receipt
     WHERE orders.status <> excluded.status OR orders.filled_qty <> excluded.filled_qty
         OR orders.receipt IS DISTINCT FROM excluded.receipt",
);
static WRITE_FILLS: Statement = Statement::new(
    "INSERT INTO fills (id, order_id, at, price, qty, fee, fee_asset, fee_price, venue_trade_id) SELECT *",
    9,
    // An execution is told once and for all; what its fee's coin was worth may become known later, once.
    "WHERE v.column1 IS NOT NULL ON CONFLICT (id) DO UPDATE SET fee_price = excluded.fee_price
         WHERE fills.fee_price IS NULL AND excluded.fee_price IS NOT NULL",
);
static WRITE_INTENTS: Statement = Statement::new(
    "INSERT INTO intents (client_order_id, account_id, exchange_id, bot_id, trade_id, role, pair, body, decided_at,
         stamped_at, epoch) SELECT v.*, (SELECT epoch FROM fences WHERE node = 'main')",
    10,
    "WHERE v.column1 IS NOT NULL",
);
static STAMP_INTENTS: Statement = Statement::new(
    "UPDATE intents SET stamped_at = COALESCE(v.column2, stamped_at),
         cancel_stamped_at = COALESCE(v.column3, cancel_stamped_at)",
    3,
    "WHERE client_order_id = v.column1",
);
static WRITE_DUST: Statement = Statement::new(
    "INSERT INTO dust (trade_id, account_id, exchange_id, asset, qty, cost) SELECT *",
    6,
    "WHERE v.column1 IS NOT NULL ON CONFLICT (trade_id) DO UPDATE SET qty = excluded.qty, cost = excluded.cost",
);
static WRITE_EVENTS: Statement = Statement::new(
    "INSERT INTO events (id, account_id, bot_id, kind, body, at, sequence)
     SELECT v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7
         + COALESCE((SELECT last FROM event_sequences WHERE lane = COALESCE(v.column3, v.column2)), 0)",
    7,
    "WHERE v.column1 IS NOT NULL",
);
static COUNT_EVENTS: Statement = Statement::new(
    "INSERT INTO event_sequences (lane, last) SELECT *",
    2,
    "WHERE v.column1 IS NOT NULL ON CONFLICT (lane) DO UPDATE SET last = event_sequences.last + excluded.last",
);
static WRITE_MARKS: Statement = Statement::new(
    "INSERT INTO marks (pair, at, high) SELECT *",
    3,
    "WHERE v.column1 IS NOT NULL ON CONFLICT (pair, at) DO UPDATE SET high = excluded.high
         WHERE excluded.high > marks.high",
);

/// How soon a full disk is tried again.
const FULL_WAIT: Duration = Duration::from_millis(500);

/// What many changes come to, as rows: the last word on every bot and trade, and all orders, fills and events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    changes: usize,
    news: News,
    created: Vec<Value>,
    redefined: Vec<Redefined>,
    deleted: Vec<(BotId, Timestamp)>,
    bots: Rows<BotId, 5>,
    trades: Rows<TradeId, 23>,
    orders: Rows<OrderId, 11>,
    fills: Rows<FillId, 9>,
    intents: Vec<Value>,
    /// The last stamps of requests about journaled orders: to place one again, and to take it back.
    stamps: BTreeMap<ClientOrderId, [Option<Timestamp>; 2]>,
    dust: Vec<Value>,
    events: Vec<Value>,
    /// The last event, of this batch or of those before it.
    last_event: Option<EventId>,
    answers: Vec<KeptAnswer>,
    /// How many events there are of each.
    lanes: BTreeMap<Lane, i64>,
    realized: Realized,
    ladders: Ladders,
    /// Whose closed trades do not add up to what they did.
    rebooked: Vec<BotId>,
    billing: Vec<BillingChange>,
    signals: Vec<SignalId>,
    marks: BTreeMap<(Pair, Timestamp), Price>,
}

/// Whose events are counted together: a bot's, or those of an account that are of none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Lane {
    Account(AccountId),
    Bot(BotId),
}

/// What somebody waits for in a batch until it is durable.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Whose webhooks are to hear of it.
    pub told: HashSet<AccountId>,
    /// Bots of which something is not as it was, in no order, some more than once.
    pub changed: Vec<BotId>,
    /// Bots with a closed trade that is not as it was.
    pub rebooked: Vec<BotId>,
    /// Bots that were written, whose they are, and where each is then.
    pub turned: Vec<(AccountId, BotTurn)>,
    /// Orders that may leave then.
    pub intents: Vec<Intent>,
    /// Orders that are taken back then.
    pub cancels: Vec<OrderStamp>,
    /// Orders that leave then with another stamp.
    pub restamped: Vec<OrderStamp>,
    /// Events that an operator reads of then.
    pub logged: Vec<DomainEvent>,
}

impl News {
    /// Writes what has happened into the log.
    pub(crate) fn log(&self) {
        self.logged.iter().for_each(log);
    }
}

impl Batch {
    /// How many changes it holds.
    pub(crate) fn len(&self) -> usize {
        self.changes
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes == 0 && self.marks.is_empty()
    }

    /// Adds marks that came after those it holds.
    pub(crate) fn mark(&mut self, marks: HashMap<Pair, Vec<Mark>>) {
        for (pair, marks) in marks {
            for Mark { at, high } in marks {
                let highest = self.marks.entry((pair.clone(), at)).or_insert(high);
                *highest = high.max(*highest);
            }
        }
    }

    /// What somebody waits for.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// An empty batch for what comes after this one.
    pub(crate) fn next(&self) -> Self {
        Self { last_event: self.last_event, ..Self::default() }
    }

    /// Adds a change that came after those it holds.
    pub(crate) fn add(&mut self, change: Change) {
        let Change {
            created,
            redefined,
            bot,
            deleted,
            decision,
            intents,
            cancels,
            restamped,
            events,
            answer,
            billing,
            signal,
            late,
        } = change;
        self.changes += 1;
        self.stamp(restamped, cancels);
        self.news.changed.extend(redefined.as_ref().map(|new| new.id));
        self.news.changed.extend(deleted.map(|(_, id, _)| id));
        self.news.changed.extend(bot.as_ref().map(|bot| bot.id));
        self.news.rebooked.extend(late.as_ref().map(|late| late.trade.bot_id));
        if let Some(bot) = created {
            self.create(&bot);
        }
        self.redefined.extend(redefined.map(|new| *new));
        if let Some((account, id, at)) = deleted {
            self.deleted.push((id, at));
            self.news.turned.push((account, BotTurn { bot_id: id, status: None, trouble: None }));
        }
        self.answers.extend(answer);
        self.signals.extend(signal);
        self.billing.extend(billing.map(|change| *change));
        for event in events {
            self.tell(event);
        }
        if let Some(late) = late {
            self.book_again(*late);
        }
        let Some(bot) = bot else { return };
        if let Some((decision, after)) = decision.zip(bot.state.as_deref()) {
            let (trade, events) = decision.booked(after);
            for event in events {
                self.tell(event);
            }
            if let Some(trade) = trade {
                self.book(bot.account_id, &trade);
            }
            if let Some(dust) = decision.dust(after) {
                self.leave(dust);
            }
        }
        for intent in intents {
            self.intend(bot.account_id, intent);
        }
        self.turn(bot);
    }

    /// The rows that most changes consist of, to be written by one trip to the database; `None` where there are so many
    /// that the way there and back is little beside them.
    fn take_trip(&mut self) -> Option<Trip> {
        let mut trip = Trip::default();
        let bots = self.bots.len();
        let rows = [
            bots,
            self.trades.len(),
            self.orders.len(),
            self.fills.len(),
            self.intents.len() / WRITE_INTENTS.columns,
            self.stamps.len(),
            self.events.len() / WRITE_EVENTS.columns,
            self.lanes.len(),
        ];
        if rows.iter().any(|rows| *rows > Trip::MOST) || !self.created.is_empty() {
            return None;
        }
        trip.add(&UPDATE_BOTS, std::mem::take(&mut self.bots).into_values(), Some(bots));
        trip.add(&WRITE_TRADES, std::mem::take(&mut self.trades).into_values(), None);
        trip.add(&WRITE_ORDERS, std::mem::take(&mut self.orders).into_values(), None);
        trip.add(&WRITE_FILLS, std::mem::take(&mut self.fills).into_values(), None);
        trip.add(&WRITE_INTENTS, std::mem::take(&mut self.intents), None);
        trip.add(&STAMP_INTENTS, stamp_rows(std::mem::take(&mut self.stamps)).collect(), None);
        trip.add(&WRITE_EVENTS, std::mem::take(&mut self.events), None);
        trip.add(&COUNT_EVENTS, lane_rows(std::mem::take(&mut self.lanes)).collect(), None);
        Some(trip)
    }

    fn create(&mut self, bot: &NewBot) {
        let turn = BotTurn { bot_id: bot.id, status: Some(BotStatus::Stopped), trouble: None };
        self.news.turned.push((bot.account_id, turn));
        self.ladders.create(bot);
        self.created.extend(row![
            Value::shown(bot.id),
            Value::shown(bot.account_id),
            bot.definition.exchange.as_str(),
            Value::shown(&bot.definition.pair),
            bot.definition.strategy.as_str().to_owned(),
            bot.definition.dry_run,
            bot.definition.to_json().get().to_owned(),
            BotStatus::Stopped.as_str(),
            bot.created_at.nanos(),
            Value::shown(bot.capital),
        ]);
    }

    fn turn(&mut self, bot: BotChange) {
        let turn = BotTurn { bot_id: bot.id, status: Some(bot.status), trouble: bot.trouble.clone() };
        self.news.turned.push((bot.account_id, turn));
        let (code, message) = bot.trouble.map(|trouble| (trouble.code, trouble.message)).unzip();
        let state = bot.state.map(|state| state.text());
        let keeps_state = state.is_none();
        let mut row = row![Value::shown(bot.id), bot.status.as_str(), code, message, state];
        if keeps_state && let Some([.., before]) = self.bots.get_mut(&bot.id) {
            let [.., state] = &mut row;
            std::mem::swap(state, before);
        }
        self.bots.put(bot.id, row);
    }

    fn book(&mut self, account: AccountId, trade: &Trade) {
        self.realized.add(account, trade);
        self.list(account, trade);
    }

    /// A trade's books once more: what was counted of it before is taken off.
    fn book_again(&mut self, late: LateBooking) {
        let LateBooking { account_id, trade, before, dust } = late;
        self.rebooked.push(trade.bot_id);
        self.realized.correct(account_id, before.as_ref(), &trade);
        self.list(account_id, &trade);
        if let Some(dust) = dust {
            self.leave(dust);
        }
    }

    fn list(&mut self, account: AccountId, trade: &Trade) {
        let row = row![
            Value::shown(trade.id),
            Value::shown(account),
            Value::shown(trade.bot_id),
            trade.exchange.as_str(),
            Value::shown(&trade.pair),
            trade.status.as_str(),
            trade.dry_run,
            trade.opened_at.nanos(),
            trade.closed_at.map(Timestamp::nanos),
            Value::shown(trade.entry_price),
            Value::shown_if(trade.exit_price),
            Value::shown(trade.amount),
            Value::shown(trade.stake),
            Value::shown(trade.fees),
            Value::shown_if(trade.profit),
            Value::shown_if(trade.profit_pct),
            Value::shown_if(trade.profit_usd),
            Value::shown_if(trade.usd_rate),
            trade.exit_reason.map(ExitReason::as_str),
            Value::shown_if(trade.stop_price),
            Value::shown_if(trade.take_profit_price),
            i64::from(trade.unvalued_fees),
            trade.fee_rates.and_then(|rates| serde_json::to_string(&rates).ok()),
        ];
        self.trades.put(trade.id, row);
        for order in &trade.orders {
            let row = row![
                Value::shown(order.id),
                Value::shown(trade.id),
                Value::shown(order.client_order_id),
                order.side.as_str(),
                order.kind.as_str(),
                order.status.as_str(),
                Value::shown(order.price),
                Value::shown(order.qty),
                Value::shown(order.filled_qty),
                order.created_at.nanos(),
                order.receipt.and_then(|receipt| serde_json::to_string(&receipt).ok()),
            ];
            self.orders.put(order.id, row);
            for fill in &order.fills {
                let row = row![
                    Value::shown(fill.id),
                    Value::shown(order.id),
                    fill.at.nanos(),
                    Value::shown(fill.price),
                    Value::shown(fill.qty),
                    Value::shown(fill.fee),
                    fill.fee_asset.clone(),
                    Value::shown_if(fill.fee_price),
                    fill.venue_trade_id,
                ];
                self.fills.put(fill.id, row);
            }
        }
    }

    fn intend(&mut self, account: AccountId, intent: Intent) {
        self.intents.extend(row![
            Value::shown(intent.request.client_order_id),
            Value::shown(account),
            Value::shown(intent.exchange_id),
            Value::shown(intent.bot_id),
            Value::shown(intent.trade_id),
            intent.role.as_str(),
            Value::shown(&intent.request.pair),
            intent.body.clone(),
            intent.receipt.decided_at.unwrap_or(Timestamp::MIN).nanos(),
            intent.stamped_at.nanos(),
        ]);
        self.news.intents.push(intent);
    }

    fn stamp(&mut self, restamped: Vec<OrderStamp>, cancels: Vec<OrderStamp>) {
        for OrderStamp { client_id, at, .. } in &restamped {
            self.stamps.entry(*client_id).or_default()[0] = Some(*at);
        }
        for OrderStamp { client_id, at, .. } in &cancels {
            self.stamps.entry(*client_id).or_default()[1] = Some(*at);
        }
        self.news.restamped.extend(restamped);
        self.news.cancels.extend(cancels);
    }

    fn leave(&mut self, dust: Dust) {
        self.dust.extend(row![
            Value::shown(dust.trade_id),
            Value::shown(dust.account_id),
            Value::shown(dust.exchange_id),
            dust.asset,
            Value::shown(dust.qty),
            Value::shown(dust.cost),
        ]);
    }

    /// Puts an event into the outbox. Its id was made where it was noted, which may be before those of events that are
    /// told before it: of a decision they are made only here. Then it gets a new one, as ids sort in the outbox's order.
    fn tell(&mut self, mut event: DomainEvent) {
        if self.last_event.is_some_and(|last| event.id <= last) {
            event.id = EventId::new();
        }
        self.last_event = Some(event.id);
        if is_logged(&event) {
            self.news.logged.push(event.clone());
        }
        self.news.told.insert(event.account_id);
        let lane = event.bot_id.map_or(Lane::Account(event.account_id), Lane::Bot);
        let place = self.lanes.entry(lane).or_default();
        *place += 1;
        self.events.extend(row![
            Value::shown(event.id),
            Value::shown(event.account_id),
            Value::shown_if(event.bot_id),
            event.data.kind().as_str(),
            event.body(),
            event.at.nanos(),
            *place,
        ]);
    }
}

/// Whether an operator reads of an event.
fn is_logged(event: &DomainEvent) -> bool {
    match event.data {
        EventData::BotStarted(_) | EventData::BotStopped(_) => true,
        _ => tracing::enabled!(tracing::Level::DEBUG),
    }
}

/// What an operator reads of an event: where bots are in their lives always, trades where asked for.
fn log(event: &DomainEvent) {
    match &event.data {
        EventData::BotStarted(BotTurned { bot_id, name, reason, .. }) => {
            tracing::info!(bot = %bot_id, account = %event.account_id, name, reason, "a bot runs");
        }
        EventData::BotStopped(BotTurned { bot_id, name, reason, .. }) => {
            tracing::info!(bot = %bot_id, account = %event.account_id, name, reason, "a bot has stopped");
        }
        EventData::TradeOpened(trade) => {
            let TradeOpened { bot_id, trade_id, pair, price, amount, dry_run, .. } = trade;
            tracing::debug!(bot = %bot_id, trade = %trade_id, %pair, %price, %amount, dry_run, "a trade opened");
        }
        EventData::TradeUpdated(trade) => {
            let TradeUpdated { bot_id, trade_id, message, .. } = &**trade;
            tracing::debug!(bot = %bot_id, trade = %trade_id, message, "a trade was updated");
        }
        EventData::TradeClosed(trade) => {
            let TradeClosed { bot_id, trade_id, pair, profit, exit_reason, dry_run, .. } = &**trade;
            tracing::debug!(bot = %bot_id, trade = %trade_id, %pair, ?profit, ?exit_reason, dry_run, "a trade closed");
        }
        // Logged where they are met.
        EventData::BotError(_)
        | EventData::TradeStoploss(_)
        | EventData::SubscriptionChanged(_)
        | EventData::PayoutProcessed(_) => {}
    }
}

/// A query with values bound to it, in order.
macro_rules! bound {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            use $crate::store::rows::Value;
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
                Value::Flag(flag) => query.bind(flag),
            };
        }
        query
    }};
}
pub(super) use bound;

/// Writes rows with a statement, on whichever database the transaction is; tells how many it touched.
macro_rules! write_rows {
    ($transaction:ident, $dialect:expr, $statement:expr, $values:expr) => {{
        let mut values = Vec::from_iter($values).into_iter();
        let nulls: Vec<$crate::store::rows::Value> =
            values.as_slice().iter().take($statement.columns).map($crate::store::rows::Value::null).collect();
        let mut touched = 0;
        while values.len() > 0 {
            let rows = $crate::store::write::Statement::MOST.min(values.len() / $statement.columns);
            let (text, missing) = $statement.text(rows, $dialect);
            let padding = nulls.iter().cycle().take(missing * $statement.columns);
            let padding = padding.map($crate::store::rows::Value::null);
            let row_values = values.by_ref().take(rows * $statement.columns).chain(padding);
            let query = $crate::store::write::bound!(sqlx::query(text), row_values);
            touched += query.execute(&mut *$transaction).await?.rows_affected();
        }
        touched
    }};
}
pub(super) use write_rows;

/// The statements of a batch, for whichever database the transaction is on.
macro_rules! write_batch {
    ($transaction:ident, $dialect:expr, $batch:ident) => {
        write_rows!($transaction, $dialect, CREATE_BOTS, $batch.created);
        for Redefined { id, definition, capital, state, .. } in $batch.redefined {
            let (mut was, mut is) = (Ladders::default(), Ladders::default());
            count_bot!($transaction, was, id, -1);
            let update = sqlx::query(
                "UPDATE bots SET exchange = $2, pair = $3, strategy = $4, dry_run = $5, definition = $6, capital = $7,
                     state = COALESCE($8, state)
                 WHERE id = $1",
            )
            .bind(id.to_string())
            .bind(definition.exchange.as_str())
            .bind(definition.pair.to_string())
            .bind(definition.strategy.as_str())
            .bind(definition.dry_run)
            .bind(definition.to_json().get().to_owned())
            .bind(capital.to_string())
            .bind(state);
            update.execute(&mut *$transaction).await?;
            count_bot!($transaction, is, id, 1);
            recount_bot!($transaction, $batch.ladders, id, was, is);
        }
        let bots = $batch.bots.len() as u64;
        if write_rows!($transaction, $dialect, UPDATE_BOTS, $batch.bots.into_values()) != bots {
            return Err(StoreError::UnknownBot);
        }
        for (id, at) in $batch.deleted {
            let (mut was, is) = (Ladders::default(), Ladders::default());
            count_bot!($transaction, was, id, -1);
            recount_bot!($transaction, $batch.ladders, id, was, is);
            let update = sqlx::query("UPDATE bots SET deleted_at = $2 WHERE id = $1");
            update.bind(id.to_string()).bind(at.nanos()).execute(&mut *$transaction).await?;
        }
        add_ladders!($transaction, $batch.ladders);
        write_rows!($transaction, $dialect, WRITE_TRADES, $batch.trades.into_values());
        add_realized!($transaction, $dialect, $batch.realized);
        for bot in &$batch.rebooked {
            for forget in FORGET_SUMS {
                sqlx::query(forget).bind(bot.to_string()).execute(&mut *$transaction).await?;
            }
        }
        write_rows!($transaction, $dialect, WRITE_ORDERS, $batch.orders.into_values());
        write_rows!($transaction, $dialect, WRITE_FILLS, $batch.fills.into_values());
        write_rows!($transaction, $dialect, WRITE_INTENTS, $batch.intents);
        write_rows!($transaction, $dialect, STAMP_INTENTS, stamp_rows($batch.stamps));
        write_rows!($transaction, $dialect, WRITE_DUST, $batch.dust);
        write_rows!($transaction, $dialect, WRITE_EVENTS, $batch.events);
        for signal in &$batch.signals {
            sqlx::query(SIGNAL_DONE).bind(signal.to_string()).execute(&mut *$transaction).await?;
        }
        for change in $batch.billing {
            write_billing!($transaction, change);
        }
        for answer in &$batch.answers {
            keep!(answer).execute(&mut *$transaction).await?;
        }
        write_rows!($transaction, $dialect, COUNT_EVENTS, lane_rows($batch.lanes));
        if !$batch.marks.is_empty() {
            let rows = $batch.marks.into_iter().flat_map(|((pair, at), high)| {
                row![pair.to_string(), at.nanos(), high.e8()]
            });
            write_rows!($transaction, $dialect, WRITE_MARKS, rows);
            sqlx::query(
                "DELETE FROM marks WHERE EXISTS (SELECT 1 FROM marks AS later
                     WHERE later.pair = marks.pair AND later.at > marks.at AND later.high >= marks.high)",
            )
            .execute(&mut *$transaction)
            .await?;
        }
    };
}

impl Store {
    /// Writes changes in one transaction, in order, and waits until it is durable.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is written.
    pub async fn commit(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        changes.into_iter().for_each(|change| batch.add(change));
        match self {
            Self::Sqlite { writer, .. } => {
                let mut write = writer.begin().await?;
                if let Some(trip) = batch.take_trip() {
                    trip.go(&mut write, None).await?;
                }
                fill_sqlite(&mut write, batch).await?;
                write.commit().await
            }
            Self::Postgres { writer, .. } => {
                let mut write = writer.begin_other_batch(!batch.events.is_empty()).await?;
                fill_postgres(&mut write, batch).await?;
                write.commit().await
            }
        }
    }

    /// Writes a batch of the ledger in one transaction, and waits until it is durable. Of one process only one is under
    /// way at a time.
    pub(crate) async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { writer, room, .. } => {
                // Only where the disk may turn out to be full is the batch needed once more.
                let again = room.is_short().then(|| batch.clone());
                let mut written = write_to_file(writer, batch, false).await;
                if let (Some(again), Err(error)) = (&again, &written)
                    && error.is_full()
                {
                    written = Box::pin(write_once_there_is_room(writer, again)).await;
                }
                written?;
                if let Some(fence) = writer.fence() {
                    fence.committed();
                }
                Ok(())
            }
            Self::Postgres { writer, .. } => write_once(writer, batch).await,
        }
    }
}

/// Writes a batch of the ledger to a file, unless it is repeated and was committed before.
async fn write_to_file(writer: &SqliteWriter, mut batch: Batch, is_repeated: bool) -> Result<(), StoreError> {
    let trip = batch.take_trip().unwrap_or_default();
    let mut write = writer.begin_batch().await?;
    if !writer.fill_batch(&mut write, trip, is_repeated).await? {
        return Ok(());
    }
    fill_sqlite(&mut write, batch).await?;
    write.commit().await
}

/// Writes a batch that found the disk full as soon as there is room, once.
async fn write_once_there_is_room(writer: &SqliteWriter, batch: &Batch) -> Result<(), StoreError> {
    tracing::error!(
        "the disk of the database is full: nothing is written, ordered or sold until there is room"
    );
    loop {
        tokio::time::sleep(FULL_WAIT).await;
        writer.renew().await?;
        match write_to_file(writer, batch.clone(), true).await {
            Err(error) if error.is_full() => {}
            written => {
                if written.is_ok() {
                    tracing::info!("the disk has room again");
                }
                return written;
            }
        }
    }
}

/// Writes a batch of the ledger, unless it is repeated and was committed before.
///
/// # Errors
/// [`StoreError`]; it may be committed all the same.
pub(super) async fn write_counted(
    writer: &PostgresWriter,
    batch: Batch,
    is_repeated: bool,
) -> Result<(), StoreError> {
    let Some(mut write) = writer.begin_batch(!batch.events.is_empty(), is_repeated).await? else {
        return Ok(());
    };
    fill_postgres(&mut write, batch).await?;
    write.commit().await
}

async fn fill_sqlite(connection: &mut SqliteConnection, mut batch: Batch) -> Result<(), StoreError> {
    write_batch!(connection, Dialect::Sqlite, batch);
    Ok(())
}

async fn fill_postgres(connection: &mut PgConnection, mut batch: Batch) -> Result<(), StoreError> {
    write_batch!(connection, Dialect::Postgres, batch);
    Ok(())
}

fn stamp_rows(stamps: BTreeMap<ClientOrderId, [Option<Timestamp>; 2]>) -> impl Iterator<Item = Value> {
    stamps.into_iter().flat_map(|(order, [placed, canceled])| {
        row![order.to_string(), placed.map(Timestamp::nanos), canceled.map(Timestamp::nanos)]
    })
}

fn lane_rows(lanes: BTreeMap<Lane, i64>) -> impl Iterator<Item = Value> {
    lanes.into_iter().flat_map(|(lane, events)| {
        let lane = match lane {
            Lane::Account(id) => Value::shown(id),
            Lane::Bot(id) => Value::shown(id),
        };
        row![lane, events]
    })
}

/// The wire name of an enum.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
