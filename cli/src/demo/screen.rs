//! What the demo shows: a welcome, a line per event, a status line that stays at the bottom, and a summary.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use engine::BotStats;
use model::{Pct, Price, Quote, Side, Timestamp, Trade};
use owo_colors::OwoColorize as _;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;

use super::account::SimAccount;
use super::books::{Coin, Comparison, Tally};
use super::latency::Stage;
use crate::output::{self, Format};

/// What came of it.
pub(super) struct Summary {
    pub(super) standing: Standing,
    pub(super) trades: Vec<Trade>,
    pub(super) took: Duration,
    /// Deliveries that were not believed.
    pub(super) refused: u64,
    pub(super) live: Option<Live>,
}

/// What came of signed orders.
pub(super) struct Live {
    pub(super) books: Comparison,
    pub(super) stages: Vec<Stage>,
}

/// A summary for programs; no amount goes through a float.
#[derive(Serialize)]
struct Shown<'a> {
    trades_closed: u64,
    wins: u64,
    stopped: usize,
    #[serde(with = "model::number")]
    profit: Decimal,
    #[serde(with = "model::number")]
    fees: Decimal,
    events: u64,
    webhooks_refused: u64,
    ticks: u64,
    seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    books: Option<Compared<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<&'a [Stage]>,
    trades: &'a [Trade],
}

#[derive(Serialize)]
struct Compared<'a> {
    agree: bool,
    orders: Tally,
    fills: Tally,
    open_orders: usize,
    balances: &'a [Coin],
}

impl<'a> Compared<'a> {
    fn of(books: &'a Comparison) -> Self {
        let Comparison { orders, fills, open_orders, balances } = books;
        Self { agree: books.agrees(), orders: *orders, fills: *fills, open_orders: *open_orders, balances }
    }
}

/// How things stand.
pub(super) struct Standing {
    pub(super) price: Option<Price>,
    pub(super) open_trade: Option<Trade>,
    pub(super) stats: BotStats,
    pub(super) ticks: u64,
    pub(super) ticks_per_second: u64,
    /// What the whole ladder needs.
    pub(super) capital: Quote,
}

/// Where it is shown. For people on stdout; for programs stdout keeps the summary alone.
pub(super) struct Screen {
    format: Format,
    definition: Value,
    is_coloured: bool,
    has_status: bool,
    events: u64,
    /// The latest time of the market that was shown.
    last_at: Option<Timestamp>,
}

impl Screen {
    pub(super) fn new(format: Format, definition: Value) -> Self {
        let is_coloured = match format {
            Format::Table => output::colours(std::io::stdout().is_terminal()),
            Format::Json => output::colours(std::io::stderr().is_terminal()),
        };
        let has_status = std::io::stderr().is_terminal();
        Self { format, definition, is_coloured, has_status, events: 0, last_at: None }
    }

    fn line(&self, text: &str) {
        // A status line that stands there gives way.
        if self.has_status {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
        let written = match self.format {
            Format::Table => writeln!(std::io::stdout(), "{text}"),
            Format::Json => writeln!(std::io::stderr(), "{text}"),
        };
        // A reader that went away is no reason to stop.
        let _ = written;
    }

    fn strong(&self, text: &str) -> String {
        if self.is_coloured { text.bold().to_string() } else { text.to_owned() }
    }

    fn faint(&self, text: &str) -> String {
        if self.is_coloured { text.dimmed().to_string() } else { text.to_owned() }
    }

    /// Green for a gain, red for a loss.
    fn gain(&self, text: &str, amount: Decimal) -> String {
        match (self.is_coloured, amount.is_sign_negative()) {
            (false, _) => text.to_owned(),
            (true, false) => text.green().to_string(),
            (true, true) => text.red().to_string(),
        }
    }

    /// What runs, and what to try.
    pub(super) fn welcome(&self, url: &str, key: &str, bot: &str, sim: Option<&SimAccount>) {
        let get = |path: &str| text(&self.definition, path);
        self.line("");
        self.line(&format!("  {}  one process, nothing leaves this machine", self.strong("BotPrimeX demo")));
        self.line("");
        self.line(&format!("  API      {url}"));
        self.line(&format!("  API key  {}", self.strong(key)));
        self.line(&format!("  bot      {} on {}", get("name"), get("pair")));
        self.line(&format!(
            "  rules    base order {} {}, up to {} entries, take profit {} %, stop {} %",
            get("stake_amount"),
            get("pair").split('/').nth(1).unwrap_or_default(),
            get("max_open_trades"),
            get("take_profit"),
            get("stop_loss"),
        ));
        if let Some(sim) = sim {
            let (deposit, quote) = (sim.deposit, sim.pair.quote());
            self.line(&format!("  orders   signed, on a simulated account with {deposit} {quote}"));
        }
        self.line("");
        self.line(&format!("  {}", self.faint("try, in another terminal:")));
        // Each line fits into 80 columns.
        self.line(&format!("  export API={url}/v1"));
        self.line(&format!("  export KEY={key}"));
        self.line(&format!("  export BOT={bot}"));
        for path in ["bots/$BOT", "trades", "portfolio"] {
            self.line(&format!("  curl -sH \"Authorization: Bearer $KEY\" $API/{path}"));
        }
        self.line("");
    }

    /// Says that the demo can be used now. Where stdout is for programs, it carries the summary alone.
    pub(super) fn ready(&self, url: &str) {
        match self.format {
            Format::Table => output::ready(url),
            Format::Json => self.line(&format!("READY {url}")),
        }
        let heading = format!("  {:<8}   {}", "market", "what the signed webhook told");
        self.line("");
        self.line(&self.faint(&heading));
    }

    /// One line for what a webhook told. Its time is the market's, which may run faster than the clock: of what is about
    /// the bot it is `market`, where the market had got to.
    pub(super) fn event(&mut self, event: &Value, market: Option<Timestamp>) {
        self.events += 1;
        let name = text(event, "event");
        let is_of_market = name.starts_with("trade.");
        let told = text(event, "timestamp").parse::<Timestamp>().ok().filter(|_| is_of_market);
        let time = told.or_else(|| market.max(self.last_at));
        self.last_at = self.last_at.max(time);
        let time = time.map(|time| time.to_string()).unwrap_or_default();
        let clock = time.split_once('T').map_or("", |(_, clock)| clock.get(..8).unwrap_or(clock));
        let data = event.get("data").cloned().unwrap_or_default();
        let get = |key: &str| text(&data, key);
        // With the cents that a whole number lacks, so that columns stand under each other.
        let price = |key: &str| {
            let told = amount(&data, key);
            format!("{told:.*}", usize::try_from(told.scale().max(2)).unwrap_or(2))
        };
        let pair = get("pair");
        let (base, quote) = pair.split_once('/').unwrap_or_default();
        let said = match name.as_str() {
            "trade.opened" => format!("bought {} {base} at {}", get("amount"), price("price")),
            "trade.updated" if get("kind") == "entry" => format!(
                "bought {} {base} at {}  {}",
                get("amount"),
                price("price"),
                self.faint(&format!("safety order {}", get("index")))
            ),
            "trade.updated" => wrapped(&get("message")),
            "trade.stoploss" => format!("stop {} reached at {}", price("stop_price"), price("price")),
            "trade.closed" => {
                let profit = amount(&data, "profit");
                let reason = get("exit_reason").replace('_', " ");
                let pct = format!("{:+.2} %", amount(&data, "profit_pct"));
                let how = if reason == "take profit" { pct } else { reason };
                let made = self.gain(&format!("{} ({how})", money(profit, quote)), profit);
                format!("sold   {} {base} at {}  {made}", get("amount"), price("exit_price"))
            }
            "bot.error" => wrapped(&format!("{}: {}", get("code"), get("message"))),
            _ => format!("{} {}", get("name"), self.faint(&get("reason"))),
        };
        let mark = match name.as_str() {
            "trade.opened" => "▲",
            "trade.updated" => "△",
            "trade.closed" => "▼",
            "trade.stoploss" | "bot.error" => "!",
            _ => "●",
        };
        self.line(&format!(
            "  {} {mark} {} {said}",
            self.faint(&format!("{clock:<8}")),
            self.strong(&format!("{name:<13}"))
        ));
    }

    /// The line at the bottom; only where somebody watches.
    pub(super) fn status(&self, standing: &Standing) {
        if !self.has_status {
            return;
        }
        let price = standing.price.map_or_else(|| "-".to_owned(), |price| format!("{:.2}", price.decimal()));
        let position = match &standing.open_trade {
            None => "flat".to_owned(),
            Some(trade) => {
                let pct = trade.profit_pct.map(Pct::decimal).unwrap_or_default();
                let entries = trade.standing.as_deref().map_or(0, |standing| standing.entries);
                let open = format!("{pct:+.2} %");
                format!("holds {} in {entries} ({})", trade.amount, self.gain(&open, pct))
            }
        };
        let profit = standing.stats.profit;
        let made = self.gain(&format!("{profit:+.2}"), profit);
        // A line that wrapped would not be wiped: what does not fit is not shown.
        let _ = write!(
            std::io::stderr(),
            "\r\x1b[2K\x1b[?7l  {} {price}  {position}  {} closed {made}  {} events  {} trades/s\x1b[?7h",
            text(&self.definition, "pair"),
            standing.stats.trades,
            self.events,
            standing.ticks_per_second,
        );
        let _ = std::io::stderr().flush();
    }

    /// What came of it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn summary(&self, summary: &Summary) -> anyhow::Result<()> {
        let Summary { standing, trades, took, refused, live } = summary;
        let stats = &standing.stats;
        let stops =
            trades.iter().filter(|trade| trade.exit_reason == Some(model::ExitReason::StopLoss)).count();
        if self.format == Format::Json {
            let books = live.as_ref().map(|live| Compared::of(&live.books));
            output::json(&Shown {
                trades_closed: stats.trades,
                wins: stats.wins,
                stopped: stops,
                profit: stats.profit,
                fees: stats.fees,
                events: self.events,
                webhooks_refused: *refused,
                ticks: standing.ticks,
                seconds: took.as_secs(),
                books,
                latency: live.as_ref().map(|live| live.stages.as_slice()),
                trades,
            })?;
            return Ok(());
        }
        let pair = text(&self.definition, "pair");
        let quote = pair.split('/').nth(1).unwrap_or_default();
        let open = standing.open_trade.as_ref();
        let unrealized = open.and_then(|trade| trade.profit).map(Quote::decimal).unwrap_or_default();
        let entries =
            trades.iter().flat_map(|trade| &trade.orders).filter(|order| order.side == Side::Buy).count();
        self.line("");
        self.line(&format!("  {}", self.strong("what came of it")));
        self.line(&format!("  trades closed    {} ({} won, {stops} at the stop)", stats.trades, stats.wins));
        self.line(&format!("  entries          {entries}"));
        let profit = self.gain(&money(stats.profit, quote), stats.profit);
        self.line(&format!(
            "  profit           {profit}, after {:.2} {quote} in fees",
            stats.fees.round_dp(2)
        ));
        if let Some(trade) = open {
            let open = self.gain(&money(unrealized, quote), unrealized);
            let base = pair.split('/').next().unwrap_or_default();
            self.line(&format!(
                "  still open       {open} on {} {base}, kept for the next start",
                trade.amount
            ));
            let total = stats.profit + unrealized;
            self.line(&format!("  in all           {}", self.gain(&money(total, quote), total)));
        }
        self.line(&format!(
            "  capital          {:.2} {quote} for the whole ladder",
            standing.capital.decimal().round_dp(2)
        ));
        self.line(&format!("  market           {} public trades heard", standing.ticks));
        self.line(&format!("  webhooks         {} verified, {refused} refused", self.events));
        self.line(&format!("  took             {:.1} s", took.as_secs_f32()));
        self.line("");
        if let Some(live) = live {
            self.books(&live.books);
            self.stages(&live.stages);
        }
        Ok(())
    }

    /// Our books beside the venue's.
    fn books(&self, books: &Comparison) {
        self.line(&format!("  {}", self.strong("our books and the venue's")));
        for (what, tally) in [("orders", books.orders), ("fills", books.fills)] {
            let Tally { ours, venue, missing, doubled, phantom } = tally;
            let both = if ours == venue { ours.to_string() } else { format!("{ours} / {venue}") };
            let faults = format!("{missing} missing, {doubled} doubled, {phantom} phantom");
            self.line(&format!(
                "  {what:<16} {both:<8} {}",
                self.verdict(&faults, missing + doubled + phantom == 0)
            ));
        }
        for coin in &books.balances {
            let is_same = coin.ours == coin.venue;
            let told = if is_same { "the same".to_owned() } else { format!("{} at the venue", coin.venue) };
            self.line(&format!("  {:<16} {}  {}", coin.asset, coin.ours, self.verdict(&told, is_same)));
        }
        if books.open_orders > 0 {
            let told = format!("{} still open at the venue", books.open_orders);
            self.line(&format!("  {:<16} {}", "orders", self.verdict(&told, false)));
        }
        self.line("");
    }

    /// How long orders took on their way.
    fn stages(&self, stages: &[Stage]) {
        self.line(&format!(
            "  {} {:>9} {:>9} {:>7}",
            self.strong(&format!("{:<25}", "order latency")),
            "p50",
            "p99",
            "orders"
        ));
        for Stage { from, to, orders, p50, p99 } in stages {
            let way = format!("{from} → {to}");
            let shown = |span: &Duration| if span.is_zero() { "0".to_owned() } else { format!("{span:.1?}") };
            let (p50, p99) = (shown(p50), shown(p99));
            self.line(&format!("  {way:<25} {p50:>9} {p99:>9} {orders:>7}"));
        }
        self.line("");
    }

    /// Green where all is well, red where it is not.
    fn verdict(&self, text: &str, is_well: bool) -> String {
        self.gain(text, if is_well { Decimal::ONE } else { Decimal::NEGATIVE_ONE })
    }
}

/// What stands before the words of an event's line.
const MARGIN: usize = 27;

/// How wide the screen is taken to be.
const WIDTH: usize = 80;

/// Words of an event's line, in as many lines as they need.
fn wrapped(text: &str) -> String {
    let (mut told, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        let count = word.chars().count();
        if length > 0 && MARGIN + length + 1 + count > WIDTH {
            told.push('\n');
            told.push_str(&" ".repeat(MARGIN));
            length = 0;
        } else if length > 0 {
            told.push(' ');
            length += 1;
        }
        told.push_str(word);
        length += count;
    }
    told
}

/// An amount that was made or lost, in the quote coin: to two decimals, or to as many as it takes to show two digits of
/// a small one.
fn money(amount: Decimal, quote: &str) -> String {
    let decimals = (2..8).find(|decimals| amount.abs() >= Decimal::new(1, decimals - 1) || amount.is_zero());
    let decimals = decimals.unwrap_or(8);
    format!("{:+.*} {quote}", decimals as usize, amount.round_dp(decimals))
}

/// A field as people read it: a text without its quotes, a number with all its digits.
fn text(object: &Value, key: &str) -> String {
    match object.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn amount(object: &Value, key: &str) -> Decimal {
    object.get(key).and_then(|value| value.to_string().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_take_several_lines() {
        let text =
            "insufficient_balance: the account holds 12.4 USDT of the 50 that the order needs, and waits";
        let told = wrapped(text);
        assert!(
            told.lines().count() == 2 && told.lines().all(|line| line.chars().count() <= WIDTH),
            "{told}"
        );
        assert_eq!(told.split_whitespace().collect::<Vec<_>>(), text.split_whitespace().collect::<Vec<_>>());
        assert_eq!(wrapped("short"), "short");
    }

    #[test]
    fn an_amount_has_its_currency_and_no_more_decimals_than_people_read() {
        for (amount, shown) in [
            ("12.3456789", "+12.35 USDT"),
            ("-0.5", "-0.50 USDT"),
            ("0.12", "+0.12 USDT"),
            ("0.0123456", "+0.012 USDT"),
            ("-0.00001234", "-0.000012 USDT"),
            ("0", "+0.00 USDT"),
        ] {
            assert_eq!(money(amount.parse().unwrap(), "USDT"), shown);
        }
    }
}
