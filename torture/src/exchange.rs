//! The simulated exchange as a process of its own, and its ledger: what really happened.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::process::{Process, command};

/// The only key that may trade there.
pub(crate) const KEY: &str = "torture";
pub(crate) const SECRET: &str = "only-this-run-knows-it";

/// What the account begins with.
const START: &str = "USDT=1000000";

/// What is traded.
pub(crate) const PAIRS: [&str; 4] = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "LTC/USDT"];

/// What goes wrong, by the seed's dice.
const FAULTS: &[&str] = &[
    "--late-ack-rate=0.05",
    "--late-ack-ms=3000",
    "--duplicate-rate=0.1",
    "--reorder-rate=0.1",
    "--partial-fills=4",
    "--thin-rate=0.05",
    "--reject-rate=0.01",
    "--latency-ms=2",
];

/// What is not told, where queries tell of everything at once.
const SILENCE: &[&str] = &["--lose-ack-rate=0.05", "--drop-report-rate=0.05", "--drop-connection-every=8"];

/// What is not told where every order is hidden from queries for a minute: whose order is in doubt waits that long.
const HIDDEN: &[&str] = &[
    "--lose-ack-rate=0.05",
    "--drop-report-rate=0.05",
    "--drop-connection-every=45",
    "--hide-ms=60000",
    "--hide-rate=1",
];

/// How fast its market goes, and how far.
const MARKET: &[&str] = &["--random-walk", "--speed=20", "--volatility=15", "--fee=0.1"];

/// A market that moves a little sixty times a second.
const BUSY: &[&str] = &["--random-walk", "--speed=30", "--volatility=1", "--fee=0.1"];

/// A market that is moved by hand alone.
const STILL: &[&str] = &["--random-walk", "--speed=1", "--volatility=0", "--fee=0.1", "--partial-fills=3"];

/// What an exchange of a run is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// Much goes wrong.
    Faulty,
    /// Likewise, and every order is hidden from queries for a minute.
    Hiding,
    /// Nothing goes wrong.
    Well,
    /// Nothing goes wrong, and its market is fast.
    Busy,
    /// Nothing goes wrong, and its market stays where it is.
    Still,
}

/// A running exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Where it is.
    pub(crate) url: String,
    _process: Process,
}

impl Exchange {
    /// Starts it.
    pub(crate) fn start(binary: &Path, log: &Path, seed: u64, manner: Manner) -> Result<Self> {
        let mut arguments = vec!["venue", "--listen=127.0.0.1:0", "--control"];
        let (seed, credential) = (format!("--seed={seed}"), format!("--credential={KEY}:{SECRET}"));
        let (pairs, balance) = (format!("--pairs={}", PAIRS.join(",")), format!("--balance={START}"));
        arguments.extend([seed.as_str(), &credential, &pairs, &balance]);
        let (market, faults, silence): (_, &[_], &[_]) = match manner {
            Manner::Faulty => (MARKET, FAULTS, SILENCE),
            Manner::Hiding => (MARKET, FAULTS, HIDDEN),
            Manner::Well => (MARKET, &[], &[]),
            Manner::Busy => (BUSY, &[], &[]),
            Manner::Still => (STILL, &[], &[]),
        };
        arguments.extend([market, faults, silence].concat());
        let process = Process::start(command(binary, &arguments), log)?;
        let url = process.address().context("the exchange did not start")?;
        Ok(Self { url, _process: process })
    }

    /// The requests from an address that changed an order so far.
    pub(crate) async fn accepted(&self, http: &reqwest::Client, from: Ipv4Addr) -> Result<Vec<Value>> {
        let answer = http.get(format!("{}/venue/accepted?key={KEY}", self.url)).send().await?;
        let mut all: Vec<Value> = answer.error_for_status()?.json().await?;
        all.retain(|request| request.get("from").and_then(Value::as_str) == Some(&from.to_string()));
        Ok(all)
    }

    /// Lets user streams fall silent, or say what happens from now on.
    pub(crate) async fn tell_reports(&self, http: &reqwest::Client, told: bool) -> Result<()> {
        let body = json!({"told": told}).to_string();
        http.post(format!("{}/venue/reports", self.url)).body(body).send().await?.error_for_status()?;
        Ok(())
    }

    /// A pair's last price.
    pub(crate) async fn price(&self, http: &reqwest::Client, pair: &str) -> Result<Decimal> {
        let symbol = pair.replace('/', "");
        let answer = http.get(format!("{}/api/v3/ticker/price?symbol={symbol}", self.url)).send().await?;
        let told: Value = answer.error_for_status()?.json().await?;
        Ok(told.get("price").and_then(Value::as_str).unwrap_or_default().parse()?)
    }

    /// Somebody trades at about that price.
    pub(crate) async fn trade_at(&self, http: &reqwest::Client, pair: &str, price: Decimal) -> Result<()> {
        trade_at(&self.url, http, pair, price).await
    }

    /// Its ledger.
    pub(crate) async fn ledger(&self, http: &reqwest::Client) -> Result<Ledger> {
        let answer = http.get(format!("{}/venue/ledger?key={KEY}", self.url)).send().await?;
        Ledger::read(&answer.error_for_status()?.json().await?)
    }
}

/// Somebody trades at about that price, at an exchange of that address.
pub(crate) async fn trade_at(url: &str, http: &reqwest::Client, pair: &str, price: Decimal) -> Result<()> {
    let body = json!({"symbol": pair.replace('/', ""), "price": price.round_dp(2).to_string()});
    let answer = http.post(format!("{url}/venue/price")).body(body.to_string()).send().await?;
    answer.error_for_status()?;
    Ok(())
}

/// What an account did at the exchange.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) orders: Vec<VenueOrder>,
    pub(crate) fills: Vec<VenueFill>,
    /// By how much each asset changed since the beginning.
    pub(crate) changes: BTreeMap<String, Decimal>,
    /// How often each fault happened.
    pub(crate) faults: BTreeMap<String, u64>,
}

/// An order as the exchange keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VenueOrder {
    pub(crate) id: i64,
    pub(crate) client_id: String,
    pub(crate) symbol: String,
    pub(crate) side: String,
    pub(crate) kind: String,
    pub(crate) qty: Decimal,
    pub(crate) status: String,
    /// When it came, in ms since 1970.
    pub(crate) at: i64,
}

/// An execution as the exchange keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VenueFill {
    pub(crate) trade_id: i64,
    pub(crate) order_id: i64,
    pub(crate) symbol: String,
    pub(crate) price: Decimal,
    pub(crate) qty: Decimal,
    pub(crate) fee: Decimal,
    pub(crate) fee_asset: String,
    /// When, in ms since 1970.
    pub(crate) at: i64,
}

impl Ledger {
    fn order(&self, client_id: &str) -> Option<&VenueOrder> {
        self.orders.iter().rev().find(|order| order.client_id == client_id)
    }

    /// Whether an order came.
    pub(crate) fn knows(&self, client_id: &str) -> bool {
        self.order(client_id).is_some()
    }

    /// Whether something may still happen to it.
    pub(crate) fn is_open(&self, client_id: &str) -> bool {
        self.order(client_id).is_some_and(VenueOrder::is_open)
    }

    /// Whether all of it was executed.
    pub(crate) fn is_filled(&self, client_id: &str) -> bool {
        self.order(client_id).is_some_and(|order| order.status == "FILLED")
    }

    fn read(answer: &Value) -> Result<Self> {
        let account = answer.pointer("/accounts/0").context("the ledger has no account")?;
        let list = |name: &str| account.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut changes: BTreeMap<String, Decimal> = BTreeMap::new();
        for (asset, held) in object(account, "balances")? {
            *changes.entry(asset).or_default() += number(&held, "free")? + number(&held, "locked")?;
        }
        for (asset, began) in object(account, "start")? {
            let began: Decimal = began.as_str().context("a start that is no text")?.parse()?;
            *changes.entry(asset).or_default() -= began;
        }
        for moved in list("transfers") {
            *changes.entry(text(&moved, "asset")?).or_default() -= number(&moved, "delta")?;
        }
        let faults = object(answer, "faults")?.into_iter();
        Ok(Self {
            orders: list("orders").iter().map(VenueOrder::read).collect::<Result<_>>()?,
            fills: list("fills").iter().map(VenueFill::read).collect::<Result<_>>()?,
            changes,
            faults: faults.filter_map(|(name, times)| Some((name, times.as_u64()?))).collect(),
        })
    }
}

impl VenueOrder {
    fn read(row: &Value) -> Result<Self> {
        Ok(Self {
            id: whole(row, "orderId")?,
            client_id: text(row, "clientOrderId")?,
            symbol: text(row, "symbol")?,
            side: text(row, "side")?,
            kind: text(row, "type")?,
            qty: number(row, "origQty")?,
            status: text(row, "status")?,
            at: whole(row, "time")?,
        })
    }

    /// Whether something may still happen to it.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.status.as_str(), "FILLED" | "CANCELED" | "EXPIRED" | "REJECTED")
    }
}

impl VenueFill {
    fn read(row: &Value) -> Result<Self> {
        Ok(Self {
            trade_id: whole(row, "id")?,
            order_id: whole(row, "orderId")?,
            symbol: text(row, "symbol")?,
            price: number(row, "price")?,
            qty: number(row, "qty")?,
            fee: number(row, "commission")?,
            fee_asset: text(row, "commissionAsset")?,
            at: whole(row, "time")?,
        })
    }
}

fn object(row: &Value, name: &str) -> Result<serde_json::Map<String, Value>> {
    row.get(name).and_then(Value::as_object).cloned().with_context(|| format!("no {name}"))
}

fn text(row: &Value, name: &str) -> Result<String> {
    Ok(row.get(name).and_then(Value::as_str).with_context(|| format!("no {name} in {row}"))?.to_owned())
}

fn whole(row: &Value, name: &str) -> Result<i64> {
    row.get(name).and_then(Value::as_i64).with_context(|| format!("no {name} in {row}"))
}

fn number(row: &Value, name: &str) -> Result<Decimal> {
    Ok(text(row, name)?.parse()?)
}
