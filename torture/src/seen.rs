//! The oracle of what an owner sees: bots, trades, events and the portfolio as the API answers them, among themselves and
//! against the exchange's ledger. It reads no database.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::exchange::Ledger;
use crate::oracle::Violations;
use crate::user::{User, text};

/// Every kind of thing that can be wrong with it, as the report lists them.
pub(crate) const KINDS: [&str; 10] = [
    "API: fills missing",
    "API: fills phantom",
    "API: fills different",
    "API: orders without end",
    "API: trades reopened",
    "API: entries over the ladder",
    "API: profits off",
    "API: portfolio off",
    "API: events off",
    "API: bots off",
];

/// Everything that an owner can read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) bots: Vec<Value>,
    pub(crate) trades: Vec<Value>,
    events: Vec<Value>,
    shares: Vec<Value>,
}

impl Seen {
    /// Reads it, page by page.
    pub(crate) async fn read(user: &User) -> Result<Self> {
        let mut shares = Vec::new();
        let mut from = String::new();
        loop {
            let portfolio = user.get(&format!("/v1/portfolio?limit=100{from}")).await?;
            let page = portfolio.get("bots").cloned().unwrap_or_default();
            shares.extend(list(&page, "data").iter().cloned());
            match text(&page, "next_cursor") {
                "" => break,
                cursor => from = format!("&starting_after={cursor}"),
            }
        }
        Ok(Self {
            bots: user.all("/v1/bots").await?,
            trades: user.all("/v1/trades").await?,
            events: user.all("/v1/events").await?,
            shares,
        })
    }

    /// A trade.
    pub(crate) fn trade(&self, id: &str) -> Option<&Value> {
        self.trades.iter().find(|trade| text(trade, "id") == id)
    }

    /// Whether a bot's owner was told of a trouble between two moments, in ms since 1970.
    pub(crate) fn was_told(&self, bot: &str, code: &str, from: i64, to: i64) -> bool {
        self.events.iter().any(|event| {
            let field = |name: &str| event.pointer(name).and_then(Value::as_str);
            field("/data/code") == Some(code)
                && field("/data/bot_id") == Some(bot)
                && millis(text(event, "timestamp")).is_some_and(|at| (from..=to).contains(&at))
        })
    }

    /// Compares everything, once nothing is under way any more.
    pub(crate) fn judge(&self, ledger: &Ledger) -> Violations {
        let mut found = Violations::default();
        self.fills(ledger, &mut found);
        self.profits(&mut found);
        self.events(&mut found);
        found
    }

    /// The executions of live trades are those at the exchange, one for one, and every order has ended.
    fn fills(&self, ledger: &Ledger, found: &mut Violations) {
        let client_ids: HashMap<i64, &str> =
            ledger.orders.iter().map(|order| (order.id, order.client_id.as_str())).collect();
        let mut there: HashMap<i64, (&str, Decimal, Decimal, Decimal, &str)> = ledger
            .fills
            .iter()
            .map(|fill| {
                let client_id = client_ids.get(&fill.order_id).copied().unwrap_or_default();
                (fill.trade_id, (client_id, fill.price, fill.qty, fill.fee, fill.fee_asset.as_str()))
            })
            .collect();
        for trade in self.trades.iter().filter(|trade| !is(trade, "dry_run")) {
            for order in list(trade, "orders") {
                let (client_id, status) = (text(order, "client_order_id"), text(order, "status"));
                if !matches!(status, "filled" | "canceled" | "expired" | "rejected") {
                    let told = format!("{client_id} of {}: {status}", text(trade, "id"));
                    found.note("API: orders without end", told);
                }
                for fill in list(order, "fills") {
                    let seen = (
                        client_id,
                        number(fill, "price"),
                        number(fill, "qty"),
                        number(fill, "fee"),
                        text(fill, "fee_asset"),
                    );
                    let id = fill.get("venue_trade_id").and_then(Value::as_i64).unwrap_or_default();
                    match there.remove(&id) {
                        None => found.note("API: fills phantom", format!("{id}: {seen:?}")),
                        Some(really) if really == seen => {}
                        Some(really) => {
                            found.note(
                                "API: fills different",
                                format!("{id}: {really:?} is shown as {seen:?}"),
                            );
                        }
                    }
                }
            }
        }
        for (id, really) in there {
            found.note("API: fills missing", format!("{id}: {really:?}"));
        }
    }

    /// No trade has more entries than its bot's ladder, where nobody adds to them by hand, and no bot more than one open
    /// trade.
    pub(crate) fn ladders(&self, found: &mut Violations) {
        let most: HashMap<&str, usize> =
            self.bots.iter().map(|bot| (text(bot, "id"), whole(bot, "max_open_trades"))).collect();
        let mut open: HashMap<&str, usize> = HashMap::new();
        for trade in &self.trades {
            let bot = text(trade, "bot_id");
            let buys = list(trade, "orders")
                .iter()
                .filter(|order| text(order, "side") == "buy" && !number(order, "filled_qty").is_zero());
            let (buys, most) = (buys.count(), most.get(bot).copied().unwrap_or(usize::MAX));
            if buys > most {
                found.note(
                    "API: entries over the ladder",
                    format!("{} of {bot}: {buys} of {most}", text(trade, "id")),
                );
            }
            *open.entry(bot).or_default() += usize::from(text(trade, "status") == "open");
        }
        for (bot, trades) in open.into_iter().filter(|(_, trades)| *trades > 1) {
            found.note("API: bots off", format!("{bot} has {trades} open trades"));
        }
    }

    /// A closed trade says when and for what, and a bot's share of the portfolio is the sum of its closed trades.
    fn profits(&self, found: &mut Violations) {
        let mut sums: BTreeMap<&str, (usize, Decimal)> = BTreeMap::new();
        for trade in self.trades.iter().filter(|trade| text(trade, "status") == "closed") {
            let id = text(trade, "id");
            if text(trade, "closed_at").is_empty() || text(trade, "exit_reason").is_empty() {
                found.note("API: profits off", format!("{id} is closed without time or reason"));
            }
            let (trades, profit) = sums.entry(text(trade, "bot_id")).or_default();
            *trades += 1;
            *profit += number(trade, "profit");
        }
        for share in &self.shares {
            let bot = text(share, "bot_id");
            let (trades, profit) = sums.remove(bot).unwrap_or_default();
            let seen = (whole(share, "trades"), number(share, "realized_profit"));
            if seen.0 != trades || (seen.1 - profit).abs() > Decimal::new(1, 6) {
                let told =
                    format!("{bot} shows {} trades, {}; its trades are {trades}, {profit}", seen.0, seen.1);
                found.note("API: portfolio off", told);
            }
        }
    }

    /// Each trade was told of as opened once, as closed once if it is, and a bot's events are numbered without gaps.
    fn events(&self, found: &mut Violations) {
        let mut told: HashMap<(&str, &str), usize> = HashMap::new();
        let mut numbers: HashMap<&str, HashSet<u64>> = HashMap::new();
        for event in &self.events {
            let kind = text(event, "event");
            let field = |name: &str| event.pointer(name).and_then(Value::as_str).unwrap_or_default();
            if kind.starts_with("trade.") {
                *told.entry((kind, field("/data/trade_id"))).or_default() += 1;
            }
            let sequence = event.get("sequence").and_then(Value::as_u64).unwrap_or_default();
            let bot = field("/data/bot_id");
            if !bot.is_empty() && !numbers.entry(bot).or_default().insert(sequence) {
                found.note("API: events off", format!("{bot} has two events {sequence}"));
            }
        }
        for (bot, numbers) in numbers {
            let last = numbers.iter().max().copied().unwrap_or_default();
            if u64::try_from(numbers.len()).unwrap_or_default() != last {
                found.note(
                    "API: events off",
                    format!("{bot} has {} events, the last is {last}", numbers.len()),
                );
            }
        }
        for trade in &self.trades {
            let id = text(trade, "id");
            let is_closed = text(trade, "status") == "closed";
            for (kind, expected) in [("trade.opened", 1), ("trade.closed", usize::from(is_closed))] {
                let times = told.remove(&(kind, id)).unwrap_or_default();
                if times != expected {
                    found.note("API: events off", format!("{kind} of {id}: {times}, not {expected}"));
                }
            }
        }
        for ((kind, id), times) in told {
            if matches!(kind, "trade.opened" | "trade.closed") {
                found.note("API: events off", format!("{kind} of {id}, which is no trade: {times}"));
            }
        }
    }
}

/// Looks at trades again and again: one that is closed stays closed.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    ids: HashSet<String>,
    reopened: HashSet<String>,
    /// How often it was looked.
    pub(crate) looks: usize,
}

impl Closed {
    /// Takes a list of trades.
    pub(crate) fn look(&mut self, trades: &[Value], found: &mut Violations) {
        self.looks += 1;
        for trade in trades {
            let id = text(trade, "id");
            if text(trade, "status") == "closed" {
                self.ids.insert(id.to_owned());
            } else if self.ids.contains(id) && self.reopened.insert(id.to_owned()) {
                found.note("API: trades reopened", id.to_owned());
            }
        }
    }
}

/// A time of an answer, in ms since 1970: `2026-04-01T12:00:00.123Z`.
pub(crate) fn millis(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let seconds = clock.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<i64>().ok()?))?;
    let fraction: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Days of a calendar that begins its years in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + seconds) * 1_000 + fraction)
}

/// The rows of a list; none where there is no such list.
pub(crate) fn list<'a>(row: &'a Value, name: &str) -> &'a [Value] {
    row.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// An exact number of an answer; 0 where there is none.
pub(crate) fn number(row: &Value, name: &str) -> Decimal {
    let Some(number) = row.get(name).and_then(Value::as_number) else { return Decimal::ZERO };
    let text = number.to_string();
    text.parse().or_else(|_| Decimal::from_scientific(&text)).unwrap_or_default()
}

fn whole(row: &Value, name: &str) -> usize {
    row.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

fn is(row: &Value, name: &str) -> bool {
    row.get(name).and_then(Value::as_bool).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trade(id: &str, status: &str, buys: usize) -> Value {
        let order = json!({"client_order_id": "c", "side": "buy", "status": "filled", "filled_qty": 1.5, "fills": []});
        json!({"id": id, "bot_id": "bot_1", "status": status, "dry_run": true, "orders": vec![order; buys],
            "closed_at": "2026-04-01T12:00:00Z", "exit_reason": "stop_loss", "profit": -1.25})
    }

    fn event(kind: &str, trade: &str, sequence: u64) -> Value {
        json!({"event": kind, "sequence": sequence, "timestamp": "2026-04-01T12:00:00.5Z",
            "data": {"bot_id": "bot_1", "trade_id": trade, "code": "order_unknown"}})
    }

    /// One bot of two entries whose only trade is closed.
    fn seen() -> Seen {
        Seen {
            bots: vec![json!({"id": "bot_1", "max_open_trades": 2})],
            trades: vec![trade("trade_1", "closed", 2)],
            events: vec![event("trade.closed", "trade_1", 2), event("trade.opened", "trade_1", 1)],
            shares: vec![json!({"bot_id": "bot_1", "trades": 1, "realized_profit": -1.25})],
        }
    }

    #[track_caller]
    fn check(seen: &Seen, expected: &[&str]) {
        let mut found = seen.judge(&Ledger::default());
        seen.ladders(&mut found);
        let kinds: Vec<&str> = found.examples().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn what_does_not_agree_is_found() {
        check(&seen(), &[]);
        check(
            &Seen { trades: vec![trade("trade_1", "closed", 3)], ..seen() },
            &["API: entries over the ladder"],
        );
        check(
            &Seen { trades: vec![trade("trade_1", "open", 2)], ..seen() },
            &["API: events off", "API: portfolio off"],
        );
        let mut twice = seen();
        twice.events.push(event("trade.closed", "trade_1", 4));
        check(&twice, &["API: events off"]);
        let shares = vec![json!({"bot_id": "bot_1", "trades": 1, "realized_profit": -1})];
        check(&Seen { shares, ..seen() }, &["API: portfolio off"]);
        let mut phantom = seen();
        phantom.trades[0]["dry_run"] = json!(false);
        phantom.trades[0]["orders"][0]["fills"] = json!([{"venue_trade_id": 7, "price": 2, "qty": 1}]);
        check(&phantom, &["API: fills phantom"]);
    }

    #[test]
    fn a_closed_trade_that_opens_again_is_found_once() {
        let (mut closed, mut found) = (Closed::default(), Violations::default());
        for status in ["open", "closed", "open", "closed", "open"] {
            closed.look(&[trade("trade_1", status, 1)], &mut found);
        }
        assert_eq!(found.count("API: trades reopened"), 1);
    }

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(millis("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(millis("2026-11-30T18:42:24.125Z"), Some(1_796_064_144_125));
        assert_eq!(millis("2024-02-29T00:00:00.5Z"), Some(1_709_164_800_500));
        assert_eq!(millis("soon"), None);
        let at = millis("2026-04-01T12:00:00.5Z").unwrap();
        assert!(
            seen().was_told("bot_1", "order_unknown", at, at)
                && !seen().was_told("bot_1", "order_unknown", at + 1, at + 9)
        );
    }
}
