//! What a run comes to: its trades, its equity day by day, and the figures that people compare bots by (contract §6).
#![expect(clippy::float_arithmetic, reason = "ratios of daily returns are no money")]

use std::collections::BTreeMap;

use model::{ExitReason, Market, Pct, Price, Qty, Quote, Timestamp};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::Serialize;
use serde_json::value::RawValue;
use strategies::{Books, BotDefinition};

use crate::read::History;
use crate::run::Run;

const NANOS_A_DAY: i64 = 86_400_000_000_000;
const DAYS_A_YEAR: f64 = 365.0;

/// A finished backtest.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The definition, with every default filled in.
    pub bot: Box<RawValue>,
    /// Which history.
    pub data: Data,
    /// The figures.
    pub stats: Stats,
    /// The closed trades, oldest first.
    pub trades: Vec<Trade>,
    /// What was still held at the end.
    pub open_trades: Vec<Trade>,
    /// What bot and capital were worth together at each UTC day's last price; the last of them is the end.
    pub equity: Vec<(Timestamp, Quote)>,
}

/// Which history.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// Its first row.
    pub from: Timestamp,
    /// Its last row.
    pub to: Timestamp,
    /// How many public trades it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticks: Option<usize>,
    /// How many candles it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candles: Option<usize>,
}

/// The figures. Amounts are in quote, percents of the starting capital where nothing else is said.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// How many trades closed.
    pub trades: usize,
    /// How many percent of them made a profit.
    pub win_rate: Option<Pct>,
    /// What they made.
    pub profit: Quote,
    /// The same in percent.
    pub profit_pct: Option<Pct>,
    /// The same as `profit`.
    pub realized_profit: Quote,
    /// What the open trade would leave if it were sold at the last price, after the fee of selling.
    pub unrealized_profit: Quote,
    /// The starting capital.
    pub capital: Quote,
    /// The largest fall of equity from its highest point before, in percent of that.
    pub max_drawdown_pct: Pct,
    /// The same fall in quote.
    pub max_drawdown_quote: Quote,
    /// Mean over sample deviation of daily returns, times √365.
    pub sharpe: Option<f64>,
    /// Mean over the root mean square of negative daily returns, times √365.
    pub sortino: Option<f64>,
    /// Profit a year over the largest drawdown, both in percent.
    pub calmar: Option<f64>,
    /// What winning trades made over what losing ones lost; `None` without a loss.
    pub profit_factor: Option<Quote>,
    /// What a trade made on average.
    pub expectancy: Option<Quote>,
    /// How long a trade was open on average, in seconds.
    pub avg_duration_s: Option<i64>,
    /// The profit of the best trade, in percent of what it spent.
    pub best_pct: Option<Pct>,
    /// The profit of the worst.
    pub worst_pct: Option<Pct>,
    /// The share of the history's time with anything held, in percent.
    pub exposure_pct: Pct,
    /// Every fee that was paid.
    pub fees: Quote,
    /// What buying at the first price and holding to the last would have made, in percent.
    pub buy_and_hold_pct: Option<Pct>,
    /// The closed trades by the UTC month of their closing.
    pub months: Vec<Month>,
}

/// What the trades of a month made.
#[derive(Clone, Debug, Serialize)]
pub struct Month {
    /// As `2026-04`.
    pub month: String,
    /// In quote.
    pub profit: Quote,
    /// In percent of the starting capital.
    pub profit_pct: Option<Pct>,
    /// How many closed.
    pub trades: usize,
}

/// A trade.
#[derive(Clone, Debug, Serialize)]
pub struct Trade {
    /// Its first buy.
    pub opened_at: Option<Timestamp>,
    /// Its sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Its buys, oldest first.
    pub entries: Vec<Fill>,
    /// Its sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// What it made; of an open one what selling at the last price would leave.
    pub profit: Quote,
    /// The same in percent of what it spent.
    pub profit_pct: Pct,
}

/// A buy.
#[derive(Clone, Debug, Serialize)]
pub struct Fill {
    /// When.
    pub at: Timestamp,
    /// At what price.
    pub price: Price,
    /// How much, in base.
    pub qty: Qty,
    /// For what fee, in quote.
    pub fee: Quote,
}

/// A sale.
#[derive(Clone, Debug, Serialize)]
pub struct Exit {
    #[serde(flatten)]
    fill: Fill,
    /// Why.
    pub reason: ExitReason,
}

impl Report {
    /// Works out what a run over a history comes to, begun with `capital`.
    pub fn new(bot: &BotDefinition, market: &Market, history: &History, run: &Run, capital: Quote) -> Self {
        let valued = |books: &Books, price: Price| books.profit(price, market.fee);
        let last = run.last.map_or(Price::MIN, |(_, price)| price);
        let trades: Vec<Trade> = run.trades.iter().map(|books| trade(books, valued(books, last))).collect();
        let open_trades: Vec<Trade> =
            run.open_trade.iter().map(|books| trade(books, valued(books, last))).collect();
        let (from, to) = span(history);
        let equity = equity(history, run, capital, valued);
        let (ticks, candles) = match history {
            History::Ticks(ticks) => (Some(ticks.len()), None),
            History::Candles(candles) => (None, Some(candles.len())),
        };
        let unrealized = open_trades.iter().map(|trade| trade.profit).sum();
        let stats = stats(&trades, unrealized, &equity, (from, to), history, run, capital);
        Self {
            bot: bot.to_json(),
            data: Data { from, to, ticks, candles },
            stats,
            trades,
            open_trades,
            equity,
        }
    }

    /// The report as one line of JSON.
    ///
    /// # Panics
    /// Never: every part is JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("every part is JSON")
    }
}

fn trade(books: &Books, profit: Quote) -> Trade {
    let entries = books.entries.iter().map(|entry| Fill {
        at: entry.at,
        price: entry.price,
        qty: entry.qty,
        fee: shown(entry.fee),
    });
    let exit = books.exit.map(|exit| Exit {
        fill: Fill { at: exit.at, price: exit.price, qty: exit.qty, fee: shown(exit.fee) },
        reason: exit.reason,
    });
    Trade {
        opened_at: books.entries.first().map(|entry| entry.at),
        closed_at: exit.as_ref().map(|exit| exit.fill.at),
        entries: entries.collect(),
        exit,
        profit: shown(profit),
        profit_pct: books.profit_pct(profit),
    }
}

fn shown(amount: Quote) -> Quote {
    Quote::new(amount.decimal().normalize()).unwrap_or(amount)
}

/// The first row's time and the last one's.
fn span(history: &History) -> (Timestamp, Timestamp) {
    let rows = history.len().saturating_sub(1);
    let at = |row| row_of(history, row).map_or(Timestamp::MIN, |(at, _)| at);
    (at(0), at(rows))
}

/// A row's time and last price.
fn row_of(history: &History, row: usize) -> Option<(Timestamp, Price)> {
    match history {
        History::Ticks(ticks) => ticks.get(row),
        History::Candles(candles) => candles.get(row).map(|candle| {
            let [.., close] = candle.prices();
            (candle.at, close)
        }),
    }
}

/// The last row of each UTC day.
fn day_ends(history: &History) -> Vec<(Timestamp, Price)> {
    let times: &[i64] = match history {
        History::Ticks(ticks) => &ticks.at,
        History::Candles(candles) => &candles.at,
    };
    let mut ends = Vec::new();
    let mut row = 0;
    while let Some(at) = times.get(row) {
        let midnight = (at.div_euclid(NANOS_A_DAY) + 1).saturating_mul(NANOS_A_DAY);
        let next = times.partition_point(|at| *at < midnight);
        ends.extend(row_of(history, next - 1));
        row = next;
    }
    ends
}

/// What bot and capital were worth at each day's end.
fn equity(
    history: &History,
    run: &Run,
    capital: Quote,
    valued: impl Fn(&Books, Price) -> Quote,
) -> Vec<(Timestamp, Quote)> {
    let mut ahead = run.trades.iter().chain(&run.open_trade).peekable();
    let mut realized = capital;
    let point = |(at, price): (Timestamp, Price)| {
        while let Some(closed) = ahead.next_if(|books| books.exit.is_some_and(|exit| exit.at <= at)) {
            realized += valued(closed, price);
        }
        let open = ahead.peek().map(|books| {
            let entries = books.entries.iter().take_while(|entry| entry.at <= at).copied().collect();
            valued(&Books { entries, exit: None }, price)
        });
        (at, shown(realized + open.unwrap_or(Quote::ZERO)))
    };
    day_ends(history).into_iter().map(point).collect()
}

fn stats(
    trades: &[Trade],
    unrealized: Quote,
    equity: &[(Timestamp, Quote)],
    (from, to): (Timestamp, Timestamp),
    history: &History,
    run: &Run,
    capital: Quote,
) -> Stats {
    let profits = || trades.iter().map(|trade| trade.profit.decimal());
    let profit: Decimal = profits().sum();
    let count = Decimal::from(trades.len());
    let wins = Decimal::from(profits().filter(|profit| *profit > Decimal::ZERO).count());
    let losses = -profits().filter(|profit| *profit < Decimal::ZERO).sum::<Decimal>();
    let gains: Decimal = profits().filter(|profit| *profit > Decimal::ZERO).sum();
    let held = |trade: &Trade| {
        let (opened, closed) = (trade.opened_at.unwrap_or(from), trade.closed_at.unwrap_or(to));
        closed.nanos() - opened.nanos()
    };
    let held_closed: i64 = trades.iter().map(held).sum();
    let still_held = run.open_trade.as_ref().and_then(|books| books.entries.first());
    let held_open = still_held.map_or(0, |entry| to.nanos() - entry.at.nanos());
    let length = to.nanos() - from.nanos();
    let fees: Decimal = run.trades.iter().chain(&run.open_trade).map(|books| books.fees().decimal()).sum();
    let (drawdown, drawdown_pct) = drawdown(equity);
    let returns = daily_returns(equity, capital);
    let profit_pct = percent(profit, capital.decimal());
    let first = history.first_price();
    let last = run.last.map(|(_, price)| price);
    let best = |best: fn(Pct, Pct) -> Pct| trades.iter().map(|trade| trade.profit_pct).reduce(best);
    Stats {
        trades: trades.len(),
        win_rate: percent(wins, count),
        profit: amount(profit),
        profit_pct,
        realized_profit: amount(profit),
        unrealized_profit: shown(unrealized),
        capital: shown(capital),
        max_drawdown_pct: drawdown_pct,
        max_drawdown_quote: drawdown,
        sharpe: returns.as_deref().and_then(strategies::sharpe),
        sortino: returns.as_deref().and_then(strategies::sortino),
        calmar: calmar(profit_pct, drawdown_pct, length),
        profit_factor: gains.checked_div(losses).map(|factor| amount(factor.round_dp(8))),
        expectancy: profit.checked_div(count).map(|each| amount(each.round_dp(8))),
        avg_duration_s: i64::try_from(trades.len())
            .ok()
            .and_then(|count| held_closed.checked_div(count))
            .map(|nanos| nanos / 1_000_000_000),
        best_pct: best(Pct::max),
        worst_pct: best(Pct::min),
        exposure_pct: percent(Decimal::from(held_closed + held_open), Decimal::from(length))
            .unwrap_or_default(),
        fees: amount(fees),
        buy_and_hold_pct: first
            .zip(last)
            .and_then(|(first, last)| percent(last.decimal() - first.decimal(), first.decimal())),
        months: months(trades, capital),
    }
}

fn amount(value: Decimal) -> Quote {
    Quote::new(value.normalize()).unwrap_or_default()
}

/// A part of a whole in percent, to eight decimals.
fn percent(part: Decimal, whole: Decimal) -> Option<Pct> {
    let share = part.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(whole)?;
    Pct::new(share.round_dp(8).normalize()).ok()
}

/// The largest fall of equity from its highest point before, in quote and in percent of that point. The largest in percent
/// and the largest in quote may be two.
fn drawdown(equity: &[(Timestamp, Quote)]) -> (Quote, Pct) {
    let (mut highest, mut fall, mut fall_pct) = (None::<Decimal>, Decimal::ZERO, Pct::default());
    for (_, value) in equity {
        let value = value.decimal();
        let top = highest.map_or(value, |highest| highest.max(value));
        highest = Some(top);
        fall = fall.max(top - value);
        if top > Decimal::ZERO {
            fall_pct = fall_pct.max(percent(top - value, top).unwrap_or_default());
        }
    }
    (amount(fall), fall_pct)
}

/// Each day's return, the first of the capital; `None` once a day began with nothing left.
fn daily_returns(equity: &[(Timestamp, Quote)], capital: Quote) -> Option<Vec<f64>> {
    let mut before = capital.decimal();
    let each = |(_, value): &(Timestamp, Quote)| {
        let began = std::mem::replace(&mut before, value.decimal());
        if began <= Decimal::ZERO {
            return None;
        }
        (value.decimal() - began).checked_div(began)?.to_f64()
    };
    equity.iter().map(each).collect()
}

#[expect(clippy::cast_precision_loss, reason = "years need no nanoseconds")]
fn calmar(profit_pct: Option<Pct>, drawdown_pct: Pct, length: i64) -> Option<f64> {
    let years = length as f64 / NANOS_A_DAY as f64 / DAYS_A_YEAR;
    let ratio = profit_pct?.decimal().to_f64()? / years / drawdown_pct.decimal().to_f64()?;
    ratio.is_finite().then_some(ratio)
}

fn months(trades: &[Trade], capital: Quote) -> Vec<Month> {
    let mut months: BTreeMap<String, (Decimal, usize)> = BTreeMap::new();
    for trade in trades {
        let Some(closed_at) = trade.closed_at else { continue };
        let month: String = closed_at.to_string().chars().take(7).collect();
        let sum = months.entry(month).or_default();
        sum.0 += trade.profit.decimal();
        sum.1 += 1;
    }
    let shown = |(month, (profit, trades)): (String, (Decimal, usize))| Month {
        month,
        profit: amount(profit),
        profit_pct: percent(profit, capital.decimal()),
        trades,
    };
    months.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Ticks;

    /// The contract's worked example (§4) over two days: a trade that averages down twice and takes its profit, and one that
    /// is open at the end.
    fn report(capital: &str) -> Value {
        let body = r#"{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
            "max_open_trades":3,"stop_loss":-10,"take_profit":2,"dry_run":true,
            "dca":{"price_deviation":2,"step_scale":1.5,"volume_scale":2}}"#;
        let bot = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let market = Market {
            tick_size: "0.01".parse().unwrap(),
            lot_step: "0.001".parse().unwrap(),
            min_notional: "5".parse().unwrap(),
            fee: "0.001".parse().unwrap(),
            slippage: "0".parse().unwrap(),
            bounds: model::OrderBounds::default(),
        };
        let mut ticks = Ticks::default();
        for (at, price) in [
            ("2026-03-31T12:00:00Z", "100"),
            ("2026-03-31T18:00:00Z", "98.09"),
            ("2026-03-31T20:00:00Z", "95.09"),
            ("2026-04-01T06:00:00Z", "99.17"),
            ("2026-04-01T12:00:00Z", "100"),
        ] {
            ticks.push(at.parse().unwrap(), price.parse().unwrap()).unwrap();
        }
        let run = crate::run_ticks(&bot, &market, &ticks).unwrap();
        let report = Report::new(&bot, &market, &History::Ticks(ticks), &run, capital.parse().unwrap());
        serde_json::from_str(&report.to_json()).unwrap()
    }

    #[test]
    fn a_report_is_what_its_fills_come_to() {
        let report = report("1000");
        // 0.5 @ 100, 0.51 @ 98.09, 1.052 @ 95.09; 2.062 sold @ 99.17, 0.1 % each way.
        let stake = 50.0 + 50.0259 + 100.03468;
        let profit: f64 = 2.062 * 99.17 * 0.999 - stake * 1.001;
        let stats = &report["stats"];
        let close = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-9;
        assert!(
            close(&stats["profit"], profit)
                && close(&stats["profit_pct"], (profit / 10.0 * 1e8).round() / 1e8),
            "{stats}"
        );
        assert_eq!(
            (&stats["trades"], &stats["win_rate"], &stats["profit_factor"]),
            (&json!(1), &json!(100), &Value::Null)
        );
        assert_eq!(stats["avg_duration_s"], 18 * 3600);
        // Held for 18 of 24 hours; the second trade began with the last row.
        assert_eq!(stats["exposure_pct"], 75);
        assert_eq!(stats["months"][0]["month"], "2026-04", "by the month of its closing");
        assert_eq!(report["trades"][0]["entries"].as_array().unwrap().len(), 3);
        assert_eq!(report["trades"][0]["exit"]["reason"], "take_profit");
        assert_eq!(report["open_trades"][0]["exit"], Value::Null);
        // The first day ends at 95.09 with all three entries held; each day's return is of the equity before it.
        let equity = report["equity"].as_array().unwrap();
        let first = 1000.0 + 2.062 * 95.09 * 0.999 - stake * 1.001;
        let last = 1000.0 + profit + 0.5 * 100.0 * 0.999 - 50.05;
        assert_eq!((equity.len(), &equity[0][0]), (2, &json!("2026-03-31T20:00:00Z")));
        assert!(close(&equity[0][1], first) && close(&equity[1][1], last), "{equity:?}");
        let (one, two) = (first / 1000.0 - 1.0, last / first - 1.0);
        let mean = f64::midpoint(one, two);
        let deviation = ((one - mean).powi(2) + (two - mean).powi(2)).sqrt();
        assert!(close(&stats["sharpe"], mean / deviation * 365.0_f64.sqrt()), "{stats}");
        let downside = (one.powi(2) / 2.0).sqrt();
        assert!(close(&stats["sortino"], mean / downside * 365.0_f64.sqrt()), "{stats}");
        assert_eq!(stats["buy_and_hold_pct"], 0);
        assert_eq!(
            stats["max_drawdown_pct"], 0,
            "over the points of equity, the first of which is the lowest"
        );
    }

    #[test]
    fn the_same_run_is_the_same_report() {
        assert_eq!(report("1000").to_string(), report("1000").to_string());
    }

    #[test]
    fn the_largest_fall_is_from_the_highest_point_before_it() {
        let equity = ["100", "120", "90", "130", "104"].map(|value| (Timestamp::MIN, value.parse().unwrap()));
        let (quote, pct) = drawdown(&equity);
        assert_eq!((quote.to_string(), pct.to_string()), ("30".to_owned(), "25".to_owned()));
    }
}
