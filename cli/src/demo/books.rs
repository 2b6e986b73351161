//! Our books beside the venue's: every order, every fill, every coin.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use model::{Order, OrderStatus, Pair, Side, Trade};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;

/// What both books say, and where they differ.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) orders: Tally,
    pub(super) fills: Tally,
    /// Orders that are still open at the venue.
    pub(super) open_orders: usize,
    pub(super) balances: Vec<Coin>,
}

/// How many there are of a kind, and which of them are in one book alone.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    pub(super) ours: usize,
    pub(super) venue: usize,
    /// The venue's alone.
    pub(super) missing: usize,
    /// One that is there twice, in either book.
    pub(super) doubled: usize,
    /// Ours alone.
    pub(super) phantom: usize,
}

/// How much there is of a coin.
#[derive(Serialize, Debug)]
pub(super) struct Coin {
    pub(super) asset: String,
    /// What was paid in, and what our fills made of it.
    #[serde(with = "model::number")]
    pub(super) ours: Decimal,
    /// Free and locked at the venue.
    #[serde(with = "model::number")]
    pub(super) venue: Decimal,
}

impl Comparison {
    /// Compares our trades of a pair with the venue's ledger of an account into which `deposit` of the quote coin was
    /// paid. An order that came to nothing before its trade began is in no trade, and is not asked for.
    ///
    /// # Errors
    /// When the ledger is not what a ledger looks like.
    pub(super) fn of(
        trades: &[Trade],
        ledger: &Value,
        pair: &Pair,
        deposit: Decimal,
    ) -> anyhow::Result<Self> {
        let sent: Vec<&Order> =
            trades.iter().flat_map(|trade| &trade.orders).filter(|order| has_left(order)).collect();
        let ours: Vec<_> = sent.iter().map(|order| our_order(order)).collect();
        let known: BTreeSet<&String> = ours.iter().map(|(id, _)| id).collect();
        let venue = rows(ledger, "orders")?.iter().map(venue_order).collect::<anyhow::Result<Vec<_>>>()?;
        let is_open = |status: &str| matches!(status, "NEW" | "PARTIALLY_FILLED");
        let open_orders = venue.iter().filter(|(_, (_, status))| is_open(status)).count();
        let counts = |(id, (executed, status)): &(String, (Decimal, String))| {
            known.contains(id) || !executed.is_zero() || is_open(status)
        };
        let counted: Vec<_> = venue.into_iter().filter(counts).collect();
        let our_fills: Vec<_> = sent.iter().flat_map(|order| our_fills(order)).collect();
        let venue_fills =
            rows(ledger, "fills")?.iter().map(venue_fill).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            orders: Tally::of(&ours, &counted),
            fills: Tally::of(&our_fills, &venue_fills),
            open_orders,
            balances: coins(&sent, ledger, pair, deposit)?,
        })
    }

    /// Whether both books say the same, and nothing is under way.
    pub(super) fn agrees(&self) -> bool {
        let is_even = |tally: &Tally| tally.missing + tally.doubled + tally.phantom == 0;
        is_even(&self.orders)
            && is_even(&self.fills)
            && self.open_orders == 0
            && self.balances.iter().all(|coin| coin.ours == coin.venue)
    }
}

impl Tally {
    /// Of rows that begin with what they are called by. One of which the books tell differently is missing and phantom.
    fn of<Id: Ord, Row: Ord>(ours: &[(Id, Row)], venue: &[(Id, Row)]) -> Self {
        let extra = |rows: &[(Id, Row)]| {
            let ids: BTreeSet<&Id> = rows.iter().map(|(id, _)| id).collect();
            rows.len() - ids.len()
        };
        let (our_rows, venue_rows): (BTreeSet<_>, BTreeSet<_>) =
            (ours.iter().collect(), venue.iter().collect());
        Self {
            ours: ours.len(),
            venue: venue.len(),
            missing: venue_rows.difference(&our_rows).count(),
            doubled: extra(ours) + extra(venue),
            phantom: our_rows.difference(&venue_rows).count(),
        }
    }
}

/// Whether the venue must know an order: it was neither refused nor taken back before it was sent.
fn has_left(order: &Order) -> bool {
    let is_sent = order.receipt.is_some_and(|receipt| receipt.sent_at.is_some());
    (is_sent && order.status != OrderStatus::Rejected) || !order.fills.is_empty()
}

/// An order by its client id: how much of it has filled, and how it stands in the venue's word.
fn our_order(order: &Order) -> (String, (Decimal, String)) {
    let status = match order.status {
        OrderStatus::Open => "NEW",
        OrderStatus::PartiallyFilled => "PARTIALLY_FILLED",
        OrderStatus::Filled => "FILLED",
        OrderStatus::Canceled => "CANCELED",
        OrderStatus::Expired => "EXPIRED",
        OrderStatus::Rejected => "REJECTED",
        OrderStatus::Intent | OrderStatus::Unknown => "not known",
    };
    (order.client_order_id.to_string(), (order.filled_qty.decimal(), status.to_owned()))
}

fn venue_order(row: &Value) -> anyhow::Result<(String, (Decimal, String))> {
    Ok((text(row, "clientOrderId")?, (amount(row, "executedQty")?, text(row, "status")?)))
}

/// A fill by the venue's number: price, quantity, fee and the fee's coin.
type FillRow = (Option<i64>, (Decimal, Decimal, Decimal, String));

fn our_fills(order: &Order) -> impl Iterator<Item = FillRow> {
    order.fills.iter().map(|fill| {
        let (price, qty, fee) = (fill.price.decimal(), fill.qty.decimal(), fill.fee.decimal());
        (fill.venue_trade_id, (price, qty, fee, fill.fee_asset.clone()))
    })
}

fn venue_fill(row: &Value) -> anyhow::Result<FillRow> {
    let (price, qty, fee) = (amount(row, "price")?, amount(row, "qty")?, amount(row, "commission")?);
    Ok((row.get("id").and_then(Value::as_i64), (price, qty, fee, text(row, "commissionAsset")?)))
}

/// Every coin that either book knows, the pair's first.
fn coins(sent: &[&Order], ledger: &Value, pair: &Pair, deposit: Decimal) -> anyhow::Result<Vec<Coin>> {
    let mut ours: BTreeMap<&str, Decimal> =
        BTreeMap::from([(pair.base(), Decimal::ZERO), (pair.quote(), deposit)]);
    for order in sent {
        for fill in &order.fills {
            let (qty, worth) = (fill.qty.decimal(), (fill.price * fill.qty).decimal());
            let (base, quote) = match order.side {
                Side::Buy => (qty, -worth),
                Side::Sell => (-qty, worth),
            };
            *ours.entry(pair.base()).or_default() += base;
            *ours.entry(pair.quote()).or_default() += quote;
            *ours.entry(&fill.fee_asset).or_default() -= fill.fee.decimal();
        }
    }
    let held = ledger.get("balances").and_then(Value::as_object).context("the ledger has no balances")?;
    let mut venue: BTreeMap<&str, Decimal> = BTreeMap::new();
    for (asset, balance) in held {
        venue.insert(asset, amount(balance, "free")? + amount(balance, "locked")?);
    }
    let all: BTreeSet<&str> = ours.keys().chain(venue.keys()).copied().collect();
    let of = |book: &BTreeMap<&str, Decimal>, asset: &str| {
        book.get(asset).copied().unwrap_or_default().normalize()
    };
    let coin =
        |asset: &str| Coin { asset: asset.to_owned(), ours: of(&ours, asset), venue: of(&venue, asset) };
    Ok(all.into_iter().map(coin).collect())
}

fn rows<'a>(ledger: &'a Value, name: &str) -> anyhow::Result<&'a Vec<Value>> {
    ledger.get(name).and_then(Value::as_array).with_context(|| format!("the ledger has no {name}"))
}

fn text(row: &Value, name: &str) -> anyhow::Result<String> {
    let found = row.get(name).and_then(Value::as_str);
    Ok(found.with_context(|| format!("a row of the ledger has no {name}"))?.to_owned())
}

fn amount(row: &Value, name: &str) -> anyhow::Result<Decimal> {
    Ok(model::number::parse(&text(row, name)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows by their number; the second word is what is told of it.
    #[track_caller]
    fn check(ours: &[(u8, u8)], venue: &[(u8, u8)], missing: usize, doubled: usize, phantom: usize) {
        let tally = Tally::of(ours, venue);
        assert_eq!((tally.missing, tally.doubled, tally.phantom), (missing, doubled, phantom));
        assert_eq!((tally.ours, tally.venue), (ours.len(), venue.len()));
    }

    #[test]
    fn what_is_in_one_book_alone_or_twice_is_counted() {
        check(&[(1, 0), (2, 0)], &[(2, 0), (1, 0)], 0, 0, 0);
        check(&[(1, 0)], &[(1, 0), (2, 0)], 1, 0, 0);
        check(&[(1, 0), (3, 0)], &[(1, 0)], 0, 0, 1);
        check(&[(1, 0), (1, 0)], &[(1, 0)], 0, 1, 0);
        check(&[(1, 0)], &[(1, 0), (1, 1)], 1, 1, 0);
        check(&[(1, 0)], &[(1, 1)], 1, 0, 1);
    }
}
