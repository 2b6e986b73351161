//! `botprimex backtest`: a bot over a history, and a report of it.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use backtest::{History, Report, Run};
use model::{Market, OrderBounds, Rate};
use strategies::BotDefinition;

use crate::args::{BacktestArgs, Benchmark, MarketArgs};
use crate::config::UsageError;
use crate::output::{self, Format};

/// Runs a bot over a history and prints what it comes to.
///
/// # Errors
/// A bot or a file that cannot be read, and a bot that cannot trade on this market.
pub(crate) fn run(args: &BacktestArgs) -> anyhow::Result<()> {
    let bot = read_bot(&args.bot)?;
    let market = market(&args.market)?;
    let (history, notes) = backtest::read(&args.data)?;
    for note in notes {
        eprintln!("note: {note}");
    }
    let history = history.between(args.from, args.to);
    let Some(first) = history.first_price() else {
        anyhow::bail!("there is no row between --from and --to in the files given");
    };
    let done = simulate(&bot, &market, &history)?;
    let capital = match args.capital {
        Some(capital) => capital,
        None => strategies::ladder_funds(&bot, &market, first)
            .unwrap_or_else(|| strategies::ladder_stake(&bot, market.fee)),
    };
    if capital <= model::Quote::ZERO {
        return Err(UsageError::new(format!("--capital must be above 0, got {capital}")).into());
    }
    let report = Report::new(&bot, &market, &history, &done, capital);
    match args.format {
        Format::Json => output::bytes(format!("{}\n", report.to_json()).as_bytes()),
        Format::Table => output::bytes(table(&bot, &report, args.benchmark).as_bytes()),
    }
}

fn simulate(bot: &BotDefinition, market: &Market, history: &History) -> anyhow::Result<Run> {
    Ok(match history {
        History::Ticks(ticks) => backtest::run_ticks(bot, market, ticks)?,
        History::Candles(candles) => backtest::run_candles(bot, market, candles)?,
    })
}

/// A bot as it is traded here: on paper, whatever its `dry_run` says.
fn read_bot(path: &Path) -> anyhow::Result<BotDefinition> {
    let shown = path.display();
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("the bot cannot be read from stdin")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    }
    let fields = serde_json::from_str(&text).with_context(|| format!("{shown} is no JSON object"))?;
    let bot = BotDefinition::parse(&fields).with_context(|| format!("{shown} defines no bot"))?;
    Ok(BotDefinition { dry_run: true, ..bot })
}

fn market(args: &MarketArgs) -> anyhow::Result<Market> {
    let rate = |flag: &str, pct| {
        Rate::from_pct(pct)
            .map_err(|_| UsageError::new(format!("{flag} must be a percent from 0 to below 100, got {pct}")))
    };
    // Orders that rest are not simulated yet: every fill pays the taker's fee.
    args.maker_fee.map(|fee| rate("--maker-fee", fee)).transpose()?;
    Ok(Market {
        tick_size: args.tick_size,
        lot_step: args.lot_step,
        min_notional: args.min_notional,
        fee: rate("--fee", args.fee)?,
        slippage: rate("--slippage", args.slippage)?,
        bounds: OrderBounds::default(),
    })
}

/// The report for people.
fn table(bot: &BotDefinition, report: &Report, benchmark: Option<Benchmark>) -> String {
    let (data, stats) = (&report.data, &report.stats);
    let quote = bot.pair.quote();
    let text = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let pct = |value: Option<model::Pct>| text(value.map(|pct| format!("{} %", pct.decimal().round_dp(2))));
    let money = |value: model::Quote| format!("{} {quote}", value.decimal().round_dp(2));
    let ratio = |value: Option<f64>| text(value.map(|value| format!("{value:.2}")));
    let rows = data.ticks.map_or_else(
        || format!("{} candles", data.candles.unwrap_or_default()),
        |ticks| format!("{ticks} trades of the market"),
    );
    let mut lines = vec![
        ("Bot".to_owned(), format!("{} ({}, {})", bot.name, bot.pair, bot.strategy.as_str())),
        ("History".to_owned(), format!("{} to {}, {rows}", data.from, data.to)),
        ("Capital".to_owned(), money(stats.capital)),
        (String::new(), String::new()),
        ("Profit".to_owned(), format!("{} ({})", money(stats.profit), pct(stats.profit_pct))),
        ("Unrealized".to_owned(), money(stats.unrealized_profit)),
        ("Fees".to_owned(), money(stats.fees)),
        ("Trades".to_owned(), format!("{} closed, {} open", stats.trades, report.open_trades.len())),
        ("Win rate".to_owned(), pct(stats.win_rate)),
        ("Best, worst".to_owned(), format!("{}, {}", pct(stats.best_pct), pct(stats.worst_pct))),
        ("Expectancy".to_owned(), text(stats.expectancy.map(money))),
        ("Profit factor".to_owned(), text(stats.profit_factor.map(|f| f.decimal().round_dp(2).to_string()))),
        ("Average duration".to_owned(), text(stats.avg_duration_s.map(duration))),
        ("Exposure".to_owned(), pct(Some(stats.exposure_pct))),
        (
            "Largest drawdown".to_owned(),
            format!("{} ({})", money(stats.max_drawdown_quote), pct(Some(stats.max_drawdown_pct))),
        ),
        (
            "Sharpe, Sortino, Calmar".to_owned(),
            format!("{}, {}, {}", ratio(stats.sharpe), ratio(stats.sortino), ratio(stats.calmar)),
        ),
    ];
    if benchmark == Some(Benchmark::Hold) {
        lines.push(("Buy and hold".to_owned(), pct(stats.buy_and_hold_pct)));
    }
    if !stats.months.is_empty() {
        lines.push((String::new(), String::new()));
    }
    for month in &stats.months {
        let trades = if month.trades == 1 { "trade" } else { "trades" };
        let made = format!("{} ({}), {} {trades}", money(month.profit), pct(month.profit_pct), month.trades);
        lines.push((month.month.clone(), made));
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let line =
        |(name, value): &(String, String)| format!("{name:width$}  {value}").trim_end().to_owned() + "\n";
    lines.iter().map(line).collect()
}

fn duration(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
