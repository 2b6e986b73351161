//! The oracle: the exchange's ledger against our books, and nothing in between. It knows what must be equal, not how
//! the engine gets there.

use std::collections::{BTreeMap, HashMap, HashSet};

use rust_decimal::Decimal;

use crate::books::{BookedFill, Books};
use crate::exchange::{Ledger, VenueFill};

/// What is wrong: by kind, how often, with a few examples.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Violations(BTreeMap<&'static str, Vec<String>>);

/// Every kind there is, as the report lists them.
pub(crate) const KINDS: [&str; 20] = [
    "fills missing",
    "fills doubled",
    "fills phantom",
    "fills different",
    "orders doubled",
    "orders without intent",
    "orders other than intended",
    "orders left open",
    "orders without end",
    "balances off",
    "trades left open",
    "trades oversold",
    "profits off",
    "dust off",
    "events of trades off",
    "false alarms",
    "bots not stopped",
    "stops not executed",
    "stops not acted on",
    "trades without protection",
];

impl Violations {
    pub(crate) fn note(&mut self, kind: &'static str, what: String) {
        self.0.entry(kind).or_default().push(what);
    }

    /// Takes over what somebody else found.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, all) in other.0 {
            self.0.entry(kind).or_default().extend(all);
        }
    }

    /// Lets go of a kind that is none in this run.
    pub(crate) fn forget(&mut self, kind: &str) {
        self.0.remove(kind);
    }

    /// How many there are of a kind.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.get(kind).map_or(0, Vec::len)
    }

    /// Whether all is well.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each kind with its first examples.
    pub(crate) fn examples(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.0.iter().map(|(kind, all)| (*kind, all.get(..all.len().min(6)).unwrap_or_default()))
    }
}

/// Compares everything; called once all bots are stopped.
pub(crate) fn judge(ledger: &Ledger, books: &Books) -> Violations {
    let mut found = Violations::default();
    fills(ledger, books, &mut found);
    orders(ledger, books, &mut found);
    balances(ledger, books, &mut found);
    trades(books, &mut found);
    events(books, &mut found);
    alarms(books, &mut found);
    found
}

/// The multiset of fills at the exchange is that of our books.
fn fills(ledger: &Ledger, books: &Books, found: &mut Violations) {
    let client_ids: HashMap<i64, &str> =
        ledger.orders.iter().map(|order| (order.id, order.client_id.as_str())).collect();
    // The exchange counts executions in one row over all pairs: the number names one.
    let mut booked: HashMap<i64, Vec<&BookedFill>> = HashMap::new();
    for fill in &books.fills {
        booked.entry(fill.trade_id).or_default().push(fill);
    }
    for fill in &ledger.fills {
        let client_id = client_ids.get(&fill.order_id).copied().unwrap_or_default();
        let told =
            || format!("{} of {} {client_id}: {} @ {}", fill.trade_id, fill.symbol, fill.qty, fill.price);
        match booked.remove(&fill.trade_id).unwrap_or_default().as_slice() {
            [] => found.note("fills missing", told()),
            [one] if is_same(fill, client_id, one) => {}
            [one] => found.note("fills different", format!("{} is booked as {one:?}", told())),
            [_, more @ ..] => more.iter().for_each(|_| found.note("fills doubled", told())),
        }
    }
    for phantom in booked.into_values().flatten() {
        found.note("fills phantom", format!("{phantom:?}"));
    }
}

fn is_same(fill: &VenueFill, client_id: &str, booked: &BookedFill) -> bool {
    (booked.client_id.as_str(), booked.price, booked.qty, booked.fee, booked.fee_asset.as_str())
        == (client_id, fill.price, fill.qty, fill.fee, fill.fee_asset.as_str())
}

/// Every order at the exchange is in the journal, at whatever moment.
pub(crate) fn unjournaled(ledger: &Ledger, books: &Books, found: &mut Violations) {
    let journal: HashSet<&str> = books.intents.iter().map(|intent| intent.client_id.as_str()).collect();
    for order in ledger.orders.iter().filter(|order| !journal.contains(order.client_id.as_str())) {
        found.note("orders without intent", format!("{} {} {}", order.client_id, order.symbol, order.side));
    }
}

/// Every order at the exchange is one intent's, as it was intended, and ended; so did those of the books.
fn orders(ledger: &Ledger, books: &Books, found: &mut Violations) {
    let intents: HashMap<&str, &str> =
        books.intents.iter().map(|intent| (intent.client_id.as_str(), intent.body.as_str())).collect();
    let mut seen = HashSet::new();
    for order in &ledger.orders {
        let told =
            || format!("{} {} {} {} {}", order.client_id, order.symbol, order.side, order.kind, order.status);
        if !seen.insert(order.client_id.as_str()) {
            found.note("orders doubled", told());
        }
        match intents.get(order.client_id.as_str()) {
            None => found.note("orders without intent", told()),
            Some(body) => {
                let intended = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(name));
                let qty = intended("quantity=").and_then(|qty| qty.parse().ok());
                let is_intended = intended("symbol=") == Some(&order.symbol)
                    && intended("side=") == Some(&order.side)
                    && intended("type=") == Some(&order.kind)
                    && qty == Some(order.qty);
                if !is_intended {
                    found.note("orders other than intended", format!("{}: {body}", told()));
                }
            }
        }
        if order.is_open() {
            found.note("orders left open", told());
        }
    }
    for order in &books.orders {
        if matches!(order.status.as_str(), "intent" | "open" | "partially_filled" | "unknown") {
            found.note(
                "orders without end",
                format!("{} of {}: {}", order.client_id, order.trade, order.status),
            );
        }
    }
}

/// What the account has changed by is the sum of what was booked, to the last digit.
fn balances(ledger: &Ledger, books: &Books, found: &mut Violations) {
    let pairs: HashMap<&str, &str> =
        books.trades.iter().map(|trade| (trade.id.as_str(), trade.pair.as_str())).collect();
    let orders: HashMap<&str, (&str, &str)> = books
        .orders
        .iter()
        .map(|order| (order.client_id.as_str(), (order.trade.as_str(), order.side.as_str())))
        .collect();
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    for fill in &books.fills {
        let Some((trade, side)) = orders.get(fill.client_id.as_str()) else { continue };
        let Some((base, quote)) = pairs.get(trade).and_then(|pair| pair.split_once('/')) else { continue };
        let sign = if *side == "buy" { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
        *sums.entry(base).or_default() += sign * fill.qty;
        *sums.entry(quote).or_default() -= sign * fill.qty * fill.price;
        *sums.entry(&fill.fee_asset).or_default() -= fill.fee;
    }
    for asset in ledger.changes.keys().map(String::as_str).chain(sums.keys().copied()).collect::<HashSet<_>>()
    {
        let (there, here) = (
            ledger.changes.get(asset).copied().unwrap_or_default(),
            sums.get(asset).copied().unwrap_or_default(),
        );
        if there != here {
            found.note("balances off", format!("{asset} changed by {there}, our fills say {here}"));
        }
    }
}

/// What a trade's fills come to.
#[derive(Default)]
struct Sums {
    spent: Decimal,
    received: Decimal,
    sold: Decimal,
    proceeds: Decimal,
}

/// Each trade is closed, sold no more than it had, and earned what its fills say.
fn trades(books: &Books, found: &mut Violations) {
    let orders: HashMap<&str, (&str, &str)> = books
        .orders
        .iter()
        .map(|order| (order.client_id.as_str(), (order.trade.as_str(), order.side.as_str())))
        .collect();
    let mut fills: HashMap<&str, Vec<(&str, &BookedFill)>> = HashMap::new();
    for fill in &books.fills {
        if let Some((trade, side)) = orders.get(fill.client_id.as_str()) {
            fills.entry(trade).or_default().push((side, fill));
        }
    }
    for trade in &books.trades {
        let Some((base, quote)) = trade.pair.split_once('/') else { continue };
        let mut sums = Sums::default();
        for (side, fill) in fills.remove(trade.id.as_str()).unwrap_or_default() {
            let fee_in = |asset: &str| if fill.fee_asset == asset { fill.fee } else { Decimal::ZERO };
            if side == "buy" {
                sums.spent += fill.price * fill.qty + fee_in(quote);
                sums.received += fill.qty - fee_in(base);
            } else {
                sums.sold += fill.qty + fee_in(base);
                sums.proceeds += fill.price * fill.qty - fee_in(quote);
            }
        }
        if sums.sold > sums.received {
            found.note("trades oversold", format!("{} sold {} of {}", trade.id, sums.sold, sums.received));
        }
        if sums.spent != trade.stake {
            found.note(
                "profits off",
                format!("{} spent {}, its stake says {}", trade.id, sums.spent, trade.stake),
            );
        }
        if !trade.is_closed {
            found.note("trades left open", format!("{} of {}", trade.id, trade.bot));
            continue;
        }
        let left = sums.received - sums.sold;
        let cost = (left * sums.spent).checked_div(sums.received).unwrap_or_default();
        if left != trade.dust_qty || (cost - trade.dust_cost).abs() > Decimal::new(1, 8) {
            found.note(
                "dust off",
                format!(
                    "{} left {left} for {cost}, booked {} for {}",
                    trade.id, trade.dust_qty, trade.dust_cost
                ),
            );
        }
        let profit = sums.proceeds - sums.spent + trade.dust_cost;
        if trade.profit != Some(profit) {
            found.note("profits off", format!("{} earned {profit}, booked {:?}", trade.id, trade.profit));
        }
    }
}

/// Each trade was told of as opened once, and as closed once if it is.
fn events(books: &Books, found: &mut Violations) {
    let mut told: HashMap<(&str, &str), usize> = HashMap::new();
    for (kind, trade) in &books.events {
        *told.entry((kind, trade)).or_default() += 1;
    }
    let known: HashSet<&str> = books.trades.iter().map(|trade| trade.id.as_str()).collect();
    for trade in &books.trades {
        for (kind, expected) in [("trade.opened", 1), ("trade.closed", usize::from(trade.is_closed))] {
            let times = told.get(&(kind, trade.id.as_str())).copied().unwrap_or_default();
            if times != expected {
                found
                    .note("events of trades off", format!("{kind} of {}: {times}, not {expected}", trade.id));
            }
        }
    }
    for ((kind, trade), times) in told {
        if !known.contains(trade) {
            found.note("events of trades off", format!("{kind} of {trade}, which is no trade: {times}"));
        }
    }
}

/// Nobody touched the account by hand, and nothing filled after its trade.
fn alarms(books: &Books, found: &mut Violations) {
    for (code, message) in &books.alarms {
        if matches!(
            code.as_str(),
            "coins_missing" | "stop_canceled" | "fill_after_close" | "fill_late" | "internal"
        ) {
            found.note("false alarms", format!("{code}: {message}"));
        }
    }
}
