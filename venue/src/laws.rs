//! What holds after anything that anybody does, in any order: the books add up.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Price, Qty, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::account::Account;
use crate::call::Call;
use crate::config::{Config, Credential, Faults, FeeAsset};
use crate::fault::Dice;
use crate::hub::Hub;
use crate::market;
use crate::order::{Kind, Order, Side, Status, TimeInForce};
use crate::params::Params;
use crate::world::World;

/// What somebody does.
#[derive(Clone, Debug)]
enum Deed {
    Place { account: usize, symbol: usize, side: bool, kind: usize, time: usize, near: i64, lots: i64 },
    Spend { account: usize, symbol: usize, side: bool, quote: i64 },
    Cancel { account: usize, recent: usize },
    Amend { account: usize, recent: usize, per_mille: i64 },
    Replace { account: usize, recent: usize, stops: bool, lots: i64 },
    Print { symbol: usize, per_mille: i64, lots: i64 },
    Touch { account: usize, recent: usize, lots: i64 },
    Transfer { account: usize, asset: usize, amount: i64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let place =
        (0..2_usize, 0..2_usize, any::<bool>(), 0..Kind::ALL.len(), 0..3_usize, -60..60_i64, 1..60_000_i64);
    prop_oneof![
        8 => place.prop_map(|(account, symbol, side, kind, time, near, lots)| {
            Deed::Place { account, symbol, side, kind, time, near, lots }
        }),
        2 => (0..2_usize, 0..2_usize, any::<bool>(), 1..3_000_i64)
            .prop_map(|(account, symbol, side, quote)| Deed::Spend { account, symbol, side, quote }),
        2 => (0..2_usize, 0..10_usize).prop_map(|(account, recent)| Deed::Cancel { account, recent }),
        2 => (0..2_usize, 0..10_usize, 1..1_100_i64)
            .prop_map(|(account, recent, per_mille)| Deed::Amend { account, recent, per_mille }),
        2 => (0..2_usize, 0..10_usize, any::<bool>(), 1..60_000_i64)
            .prop_map(|(account, recent, stops, lots)| Deed::Replace { account, recent, stops, lots }),
        5 => (0..2_usize, 800..1_250_i64, 1..50_000_i64)
            .prop_map(|(symbol, per_mille, lots)| Deed::Print { symbol, per_mille, lots }),
        2 => (0..2_usize, 0..10_usize, 1..5_000_i64)
            .prop_map(|(account, recent, lots)| Deed::Touch { account, recent, lots }),
        1 => (0..2_usize, 0..3_usize, -500..500_i64)
            .prop_map(|(account, asset, amount)| Deed::Transfer { account, asset, amount }),
    ]
}

fn world(seed: u64, fee_asset: FeeAsset, partial_fills: u32, thin_rate: f64) -> World {
    let credential = |key: &str| Credential { key: key.to_owned(), secret: "secret".to_owned() };
    let holds = |asset: &str, amount: Decimal| (asset.to_owned(), amount);
    let config = Config {
        seed,
        fee_asset,
        credentials: vec![credential("one"), credential("two")],
        balances: vec![
            holds("USDT", 20_000.into()),
            holds("BTC", Decimal::ONE),
            holds("ETH", 5.into()),
            holds("BNB", Decimal::new(2, 3)),
        ],
        faults: Faults { partial_fills, thin_rate, ..Faults::default() },
        ..Config::default()
    };
    World::new(&config, &market::open(&config).unwrap(), Arc::new(Dice::new(seed)))
}

fn params(pairs: &[(&str, String)]) -> Params {
    Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn last(world: &World, symbol: usize) -> Decimal {
    world.symbols[symbol].last.unwrap().decimal()
}

fn text(side: bool) -> String {
    (if side { "BUY" } else { "SELL" }).to_owned()
}

/// Does it as a client would; refusals are fine.
fn act(world: &mut World, deed: &Deed, at: Timestamp) {
    let name = |world: &World, symbol: usize| world.symbols[symbol].name.clone();
    match *deed {
        Deed::Place { account, symbol, side, kind, time, near, lots } => {
            let kind = Kind::ALL[kind];
            let price = (last(world, symbol) * Decimal::new(1_000 + near, 3)).round_dp(2);
            let stop = (last(world, symbol) * Decimal::new(1_000 - near / 2, 3)).round_dp(2);
            let mut order = vec![
                ("symbol", name(world, symbol)),
                ("side", text(side)),
                ("type", kind.as_str().to_owned()),
                ("quantity", Decimal::new(lots, 5).to_string()),
            ];
            if kind.has_price() {
                order.push(("price", price.to_string()));
            }
            if kind.is_stop() {
                order.push(("stopPrice", stop.to_string()));
            }
            if kind.has_time_in_force() {
                order.push(("timeInForce", TimeInForce::ALL[time].as_str().to_owned()));
            }
            drop(Call::PlaceOrder.answer(world, account, &params(&order), at));
        }
        Deed::Spend { account, symbol, side, quote } => {
            let order = params(&[
                ("symbol", name(world, symbol)),
                ("side", text(side)),
                ("type", "MARKET".to_owned()),
                ("quoteOrderQty", quote.to_string()),
            ]);
            drop(Call::PlaceOrder.answer(world, account, &order, at));
        }
        Deed::Cancel { account, recent } => {
            let Some(order) = world.accounts[account].orders().iter().rev().nth(recent) else { return };
            let cancel = params(&[("symbol", name(world, order.symbol)), ("orderId", order.id.to_string())]);
            drop(Call::CancelOrder.answer(world, account, &cancel, at));
        }
        Deed::Amend { account, recent, per_mille } => {
            let Some(order) = world.accounts[account].orders().iter().rev().nth(recent) else { return };
            let qty = (order.qty * Decimal::new(per_mille, 3)).round_dp(5);
            let amend = params(&[
                ("symbol", name(world, order.symbol)),
                ("orderId", order.id.to_string()),
                ("newQty", qty.to_string()),
            ]);
            drop(Call::AmendOrder.answer(world, account, &amend, at));
        }
        Deed::Replace { account, recent, stops, lots } => {
            let Some(order) = world.accounts[account].orders().iter().rev().nth(recent) else { return };
            let mode = if stops { "STOP_ON_FAILURE" } else { "ALLOW_FAILURE" };
            let replace = params(&[
                ("symbol", name(world, order.symbol)),
                ("cancelReplaceMode", mode.to_owned()),
                ("cancelOrderId", order.id.to_string()),
                ("side", order.side.as_str().to_owned()),
                ("type", "LIMIT".to_owned()),
                ("timeInForce", "GTC".to_owned()),
                ("price", last(world, order.symbol).to_string()),
                ("quantity", Decimal::new(lots, 5).to_string()),
            ]);
            drop(Call::CancelReplace.answer(world, account, &replace, at));
        }
        Deed::Print { symbol, per_mille, lots } => {
            let price = Price::new((last(world, symbol) * Decimal::new(per_mille, 3)).round_dp(2)).unwrap();
            drop(world.jump(
                symbol,
                price,
                Qty::new(Decimal::new(lots, 5)).unwrap(),
                Timestamp::MIN,
                &Hub::default(),
            ));
        }
        Deed::Touch { account, recent, lots } => {
            let orders = world.accounts[account].orders().iter().rev();
            let Some(order) = orders.filter(|order| order.kind.has_price()).nth(recent) else { return };
            let (symbol, price) = (order.symbol, Price::new(order.price).unwrap());
            drop(world.jump(
                symbol,
                price,
                Qty::new(Decimal::new(lots, 5)).unwrap(),
                Timestamp::MIN,
                &Hub::default(),
            ));
        }
        Deed::Transfer { account, asset, amount } => {
            world.accounts[account].transfer(["USDT", "BTC", "ETH"][asset], Decimal::new(amount, 2), at);
        }
    }
}

/// What every balance must be, free and locked together.
fn expected(world: &World, account: &Account) -> BTreeMap<String, Decimal> {
    let mut held: BTreeMap<String, Decimal> = account.start.iter().cloned().collect();
    for moved in &account.transfers {
        *held.entry(moved.asset.clone()).or_default() += moved.delta;
    }
    for fill in &account.fills {
        let pair = &world.symbols[fill.symbol].pair;
        let sign = if fill.side == Side::Buy { Decimal::ONE } else { -Decimal::ONE };
        *held.entry(pair.base().to_owned()).or_default() += sign * fill.qty;
        *held.entry(pair.quote().to_owned()).or_default() -= sign * fill.qty * fill.price;
        *held.entry(fill.fee_asset.clone()).or_default() -= fill.fee;
    }
    held
}

/// The asset that an open order reserves, and how much of it: by its own terms, not by what the ledger says.
fn needed(world: &World, order: &Order) -> (String, Decimal) {
    let pair = &world.symbols[order.symbol].pair;
    if order.side == Side::Sell {
        return (pair.base().to_owned(), order.left());
    }
    let price = if order.kind.has_price() { order.price } else { order.stop_price.unwrap() };
    let fee = if world.fee_asset == FeeAsset::Quote { world.fee } else { Decimal::ZERO };
    (pair.quote().to_owned(), order.left() * price * (Decimal::ONE + fee))
}

/// What was told of balances on the way was possible as well.
fn check_told(told: &mut UnboundedReceiver<Value>) {
    while let Ok(event) = told.try_recv() {
        for balance in event["B"].as_array().into_iter().flatten() {
            for amount in [&balance["f"], &balance["l"]] {
                assert!(!amount.as_str().unwrap().starts_with('-'), "{event}");
            }
        }
    }
}

fn check(world: &World) {
    for account in &world.accounts {
        let mut held = expected(world, account);
        let mut locked: BTreeMap<String, Decimal> = BTreeMap::new();
        let mut open = Vec::new();
        for (index, order) in account.orders().iter().enumerate() {
            let filled: Decimal = account.fills_of(order).iter().map(|fill| fill.qty).sum();
            let worth: Decimal = account.fills_of(order).iter().map(|fill| fill.qty * fill.price).sum();
            assert_eq!((filled, worth), (order.executed, order.quote_executed), "{order:?}");
            assert!(order.executed <= order.qty);
            assert_eq!(order.status == Status::Filled, order.left().is_zero(), "{order:?}");
            if order.time_in_force == TimeInForce::Fok {
                assert!(order.executed.is_zero() || order.left().is_zero(), "{order:?}");
            }
            for fill in account.fills_of(order).iter().filter(|_| order.kind.has_price()) {
                let is_within = match order.side {
                    Side::Buy => fill.price <= order.price,
                    Side::Sell => fill.price >= order.price,
                };
                assert!(is_within, "{fill:?} of {order:?}");
            }
            if order.status.is_open() {
                let (asset, amount) = needed(world, order);
                *locked.entry(asset).or_default() += amount;
                open.push(index);
            } else {
                assert!(order.reserved.is_zero(), "{order:?}");
            }
        }
        assert_eq!(account.open_orders().map(|(index, _)| index).collect::<Vec<_>>(), open);
        // What is reserved is rounded up, by less than a unit for each order.
        let rounding = Decimal::new(i64::try_from(open.len()).unwrap(), 8);
        for (asset, balance) in &account.balances {
            assert!(balance.free >= Decimal::ZERO && balance.locked >= Decimal::ZERO, "{asset}: {balance:?}");
            assert_eq!(balance.free + balance.locked, held.remove(asset).unwrap_or_default(), "{asset}");
            let over = balance.locked - locked.remove(asset).unwrap_or_default();
            assert!((Decimal::ZERO..=rounding).contains(&over), "{asset}: {over} too much is locked");
        }
        assert!(held.values().chain(locked.values()).all(Decimal::is_zero));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_add_up_whatever_anybody_does(
        seed in any::<u64>(),
        fee_asset in prop_oneof![Just(FeeAsset::Received), Just(FeeAsset::Quote), Just(FeeAsset::Bnb)],
        partial_fills in 1..6_u32,
        thin_rate in prop_oneof![Just(0.0), Just(0.3)],
        deeds in prop::collection::vec(deed(), 1..120),
    ) {
        let mut world = world(seed, fee_asset, partial_fills, thin_rate);
        let (tell, mut told) = unbounded_channel();
        world.accounts.iter_mut().for_each(|account| account.listen(tell.clone()));
        for (number, deed) in deeds.iter().enumerate() {
            // Slow enough for the limit of orders.
            act(&mut world, deed, Timestamp::from_millis(1_000 * i64::try_from(number).unwrap()));
            check(&world);
            check_told(&mut told);
        }
    }
}

#[test]
fn random_deeds_reach_every_end_of_an_order() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    for seed in 0..20 {
        let deeds = prop::collection::vec(deed(), 120).new_tree(&mut runner).unwrap();
        let mut world = world(seed, FeeAsset::Received, 4, 0.3);
        for (second, deed) in (0..).zip(proptest::strategy::ValueTree::current(&deeds)) {
            act(&mut world, &deed, Timestamp::from_millis(1_000 * second));
        }
        for order in world.accounts.iter().flat_map(Account::orders) {
            *seen.entry((order.kind.as_str(), order.status.as_str())).or_insert(0) += 1;
        }
    }
    for kind in Kind::ALL {
        assert!(seen.contains_key(&(kind.as_str(), "FILLED")), "{kind:?}: {seen:?}");
    }
    for status in ["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"] {
        assert!(seen.keys().any(|(_, of)| *of == status), "{status}: {seen:?}");
    }
    assert!(seen.contains_key(&("STOP_LOSS", "EXPIRED")), "{seen:?}");
}
