//! Our own books, read from the database as they lie there: through SQL of this crate, none of the engine's.

use std::collections::HashSet;
use std::str::FromStr as _;

use anyhow::{Context as _, Result, bail};
use rust_decimal::Decimal;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// Everything of the server that the oracle looks at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Books {
    pub(crate) intents: Vec<Intent>,
    pub(crate) orders: Vec<BookedOrder>,
    pub(crate) fills: Vec<BookedFill>,
    pub(crate) trades: Vec<BookedTrade>,
    /// Of trades: kind and trade.
    pub(crate) events: Vec<(String, String)>,
    /// What the bots' owner was told went wrong: code and message.
    pub(crate) alarms: Vec<(String, String)>,
}

/// A row of the order journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Intent {
    pub(crate) client_id: String,
    pub(crate) trade: String,
    pub(crate) role: String,
    pub(crate) body: String,
}

/// An order of a trade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BookedOrder {
    pub(crate) client_id: String,
    pub(crate) trade: String,
    pub(crate) side: String,
    pub(crate) status: String,
}

/// An execution as it was booked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BookedFill {
    pub(crate) client_id: String,
    pub(crate) trade_id: i64,
    pub(crate) price: Decimal,
    pub(crate) qty: Decimal,
    pub(crate) fee: Decimal,
    pub(crate) fee_asset: String,
}

/// A trade, and the dust that it left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BookedTrade {
    pub(crate) id: String,
    pub(crate) bot: String,
    pub(crate) pair: String,
    pub(crate) is_closed: bool,
    pub(crate) stake: Decimal,
    pub(crate) profit: Option<Decimal>,
    pub(crate) dust_qty: Decimal,
    pub(crate) dust_cost: Decimal,
}

/// A trade that holds something, with its stop's price and the orders that sell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OpenTrade {
    pub(crate) id: String,
    pub(crate) bot: String,
    pub(crate) pair: String,
    pub(crate) stop: Decimal,
    /// What it bought, fees in the coin off it.
    pub(crate) amount: Decimal,
    pub(crate) sells: Vec<Sell>,
}

impl OpenTrade {
    /// Whether it is so little that the exchange takes no order for it: then nothing can guard it.
    pub(crate) fn is_dust(&self) -> bool {
        self.amount * self.stop < LEAST
    }
}

/// The least that the exchange takes an order for, in quote.
const LEAST: Decimal = Decimal::from_parts(5, 0, 0, false, 0);

/// An order that sells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sell {
    pub(crate) client_id: String,
    pub(crate) is_market: bool,
    /// Nothing more will happen to it, as far as the books know.
    pub(crate) has_ended: bool,
}

/// A bot's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BotRow {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) trouble: Option<String>,
}

/// The database.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// Opens it beside the server, to read.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?;
            Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_with(options).await?))
        } else {
            Ok(Self::Postgres(PgPool::connect(url).await?))
        }
    }

    /// Rows whose columns are all texts.
    pub(crate) async fn rows<const N: usize>(&self, sql: &'static str) -> Result<Vec<[Option<String>; N]>> {
        use sqlx::Row as _;
        match self {
            Self::Sqlite(pool) => {
                let rows = sqlx::query(sql).fetch_all(pool).await.context(sql)?;
                let column = |row: &sqlx::sqlite::SqliteRow, place| row.try_get(place);
                rows.iter().map(|row| columns(|place| column(row, place))).collect()
            }
            Self::Postgres(pool) => {
                let rows = sqlx::query(sql).fetch_all(pool).await.context(sql)?;
                let column = |row: &sqlx::postgres::PgRow, place| row.try_get(place);
                rows.iter().map(|row| columns(|place| column(row, place))).collect()
            }
        }
    }

    /// The state of every bot.
    pub(crate) async fn bots(&self) -> Result<Vec<BotRow>> {
        let rows =
            self.rows("SELECT id, status, trouble_code || ': ' || trouble_message FROM bots ORDER BY id");
        let bot = |[id, status, trouble]: [Option<String>; 3]| {
            Ok(BotRow { id: known(id)?, status: known(status)?, trouble })
        };
        rows.await?.into_iter().map(bot).collect()
    }

    /// What is held now.
    pub(crate) async fn open_trades(&self) -> Result<Vec<OpenTrade>> {
        let sql = "SELECT t.id, t.bot_id, t.pair, t.stop_price, t.amount, o.client_order_id, o.kind, o.status
                   FROM trades t LEFT JOIN orders o ON o.trade_id = t.id AND o.side = 'sell'
                   WHERE t.status = 'open' AND t.stop_price IS NOT NULL ORDER BY t.id";
        let mut trades: Vec<OpenTrade> = Vec::new();
        for [id, bot, pair, stop, amount, order, kind, status] in self.rows(sql).await? {
            let id = known(id)?;
            if trades.last().is_none_or(|last| last.id != id) {
                let (bot, pair) = (known(bot)?, known(pair)?);
                let (stop, amount) = (known(stop)?.parse()?, known(amount)?.parse()?);
                trades.push(OpenTrade { id, bot, pair, stop, amount, sells: Vec::new() });
            }
            let told = order.zip(kind).zip(status).map(|((client_id, kind), status)| Sell {
                client_id,
                is_market: kind == "market",
                has_ended: matches!(status.as_str(), "filled" | "canceled" | "expired" | "rejected"),
            });
            if let Some(last) = trades.last_mut() {
                last.sells.extend(told);
            }
        }
        Ok(trades)
    }

    /// What a bot's owner was told went wrong with it: the codes.
    pub(crate) async fn alarms_of(&self, bot: &str) -> Result<Vec<String>> {
        let rows = self.rows("SELECT bot_id, body FROM events WHERE kind = 'bot.error' ORDER BY seq");
        let mut codes = Vec::new();
        for [of, body] in rows.await? {
            if of.as_deref() == Some(bot) {
                let body: serde_json::Value = serde_json::from_str(&known(body)?)?;
                let code = body.pointer("/data/code").and_then(serde_json::Value::as_str);
                codes.extend(code.map(str::to_owned));
            }
        }
        Ok(codes)
    }

    /// Everything of live bots.
    pub(crate) async fn read(&self) -> Result<Books> {
        let paper = self.rows("SELECT id FROM trades WHERE dry_run").await?;
        let paper: HashSet<String> = paper.into_iter().filter_map(|[id]: [Option<String>; 1]| id).collect();
        let mut books = Books {
            intents: self.intents().await?,
            orders: self.orders().await?,
            fills: self.fills().await?,
            trades: self.trades().await?,
            events: self.events().await?,
            alarms: self.alarms().await?,
        };
        books.orders.retain(|order| !paper.contains(&order.trade));
        books.trades.retain(|trade| !paper.contains(&trade.id));
        books.events.retain(|(_, trade)| !paper.contains(trade));
        Ok(books)
    }

    async fn intents(&self) -> Result<Vec<Intent>> {
        let rows = self.rows("SELECT client_order_id, trade_id, role, body FROM intents").await?;
        let intent = |[client_id, trade, role, body]: [Option<String>; 4]| {
            Ok(Intent {
                client_id: known(client_id)?,
                trade: known(trade)?,
                role: known(role)?,
                body: known(body)?,
            })
        };
        rows.into_iter().map(intent).collect()
    }

    async fn orders(&self) -> Result<Vec<BookedOrder>> {
        let rows = self.rows("SELECT client_order_id, trade_id, side, status FROM orders").await?;
        let order = |[client_id, trade, side, status]: [Option<String>; 4]| {
            Ok(BookedOrder {
                client_id: known(client_id)?,
                trade: known(trade)?,
                side: known(side)?,
                status: known(status)?,
            })
        };
        rows.into_iter().map(order).collect()
    }

    async fn fills(&self) -> Result<Vec<BookedFill>> {
        let sql =
            "SELECT o.client_order_id, CAST(f.venue_trade_id AS TEXT), f.price, f.qty, f.fee, f.fee_asset
                   FROM fills f JOIN orders o ON o.id = f.order_id WHERE f.venue_trade_id IS NOT NULL";
        let fill = |[client_id, trade_id, price, qty, fee, fee_asset]: [Option<String>; 6]| {
            Ok(BookedFill {
                client_id: known(client_id)?,
                trade_id: known(trade_id)?.parse()?,
                price: known(price)?.parse()?,
                qty: known(qty)?.parse()?,
                fee: known(fee)?.parse()?,
                fee_asset: known(fee_asset)?,
            })
        };
        self.rows(sql).await?.into_iter().map(fill).collect()
    }

    async fn trades(&self) -> Result<Vec<BookedTrade>> {
        let sql = "SELECT t.id, t.bot_id, t.pair, t.status, t.stake, t.profit, d.qty, d.cost
                   FROM trades t LEFT JOIN dust d ON d.trade_id = t.id";
        let trade = |[id, bot, pair, status, stake, profit, dust_qty, dust_cost]: [Option<String>; 8]| {
            Ok(BookedTrade {
                id: known(id)?,
                bot: known(bot)?,
                pair: known(pair)?,
                is_closed: known(status)? == "closed",
                stake: known(stake)?.parse()?,
                profit: profit.map(|profit| profit.parse()).transpose()?,
                dust_qty: dust_qty.map_or(Ok(Decimal::ZERO), |qty| qty.parse())?,
                dust_cost: dust_cost.map_or(Ok(Decimal::ZERO), |cost| cost.parse())?,
            })
        };
        self.rows(sql).await?.into_iter().map(trade).collect()
    }

    async fn events(&self) -> Result<Vec<(String, String)>> {
        let rows = self.rows("SELECT kind, body FROM events WHERE kind LIKE 'trade.%' ORDER BY seq").await?;
        let event = |[kind, body]: [Option<String>; 2]| {
            let body: serde_json::Value = serde_json::from_str(&known(body)?)?;
            let trade = body.pointer("/data/trade_id").and_then(serde_json::Value::as_str);
            Ok((known(kind)?, trade.context("an event of a trade that names none")?.to_owned()))
        };
        rows.into_iter().map(event).collect()
    }

    async fn alarms(&self) -> Result<Vec<(String, String)>> {
        let rows = self.rows("SELECT body, id FROM events WHERE kind = 'bot.error' ORDER BY seq").await?;
        let alarm = |[body, _]: [Option<String>; 2]| {
            let body: serde_json::Value = serde_json::from_str(&known(body)?)?;
            let word = |name| body.pointer(name).and_then(serde_json::Value::as_str).map(str::to_owned);
            let code = word("/data/code").context("an alarm without code")?;
            Ok((code, word("/data/message").unwrap_or_default()))
        };
        rows.into_iter().map(alarm).collect()
    }

    /// Lets it go.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

fn columns<const N: usize>(
    column: impl Fn(usize) -> sqlx::Result<Option<String>>,
) -> Result<[Option<String>; N]> {
    let mut columns = [const { None }; N];
    for (place, to) in columns.iter_mut().enumerate() {
        *to = column(place)?;
    }
    Ok(columns)
}

fn known(column: Option<String>) -> Result<String> {
    match column {
        Some(column) => Ok(column),
        None => bail!("a column is null that never is"),
    }
}
