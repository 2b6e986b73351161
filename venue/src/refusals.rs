//! What this venue refuses for one of its rules, our own client has refused before it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use connectors::binance::rest::{ListedMarket, listed};
use connectors::binance::trade::{OpenOrders, OrderRequest, RequestKind, TimeInForce};
use model::{ClientOrderId, Pair, Price, Qty, Side, Timestamp};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;

use crate::call::Call;
use crate::config::{Config, Credential, Steps};
use crate::fault::Dice;
use crate::hub::Hub;
use crate::market;
use crate::params::Params;
use crate::world::World;

/// How many orders in all.
const ORDERS: usize = 100_000;

/// Tick, lot, least worth and a price about which the market moves.
const MARKETS: [[&str; 4]; 5] = [
    ["0.01", "0.00001", "5", "60000"],
    ["0.1", "0.001", "10", "2500"],
    ["0.0001", "0.1", "5", "0.5"],
    ["0.00000001", "1", "1", "0.00002"],
    ["1", "0.00000001", "100", "90000"],
];

/// After so many orders everything open is taken back: bots rest stops alone, of which the venue takes five.
const CLEAR_EVERY: usize = 120;

fn pair() -> Pair {
    "BTC/USDT".parse().unwrap()
}

fn world([tick_size, lot_step, min_notional, _]: [&str; 4]) -> World {
    let config = Config {
        credentials: vec![Credential { key: "one".to_owned(), secret: "secret".to_owned() }],
        balances: ["USDT", "BTC"].map(|asset| (asset.to_owned(), Decimal::from(10_i64.pow(15)))).to_vec(),
        steps: Steps {
            tick_size: tick_size.parse().unwrap(),
            lot_step: lot_step.parse().unwrap(),
            min_notional: min_notional.parse().unwrap(),
        },
        ..Config::default()
    };
    World::new(&config, &market::open(&config).unwrap(), Arc::new(Dice::new(1)))
}

/// As the client reads it.
fn market_of(world: &mut World) -> ListedMarket {
    let listing = Call::ExchangeInfo.answer(world, 0, &Params::default(), Timestamp::MIN).unwrap();
    let markets = listed(listing.to_string().as_bytes()).unwrap();
    markets.into_iter().find(|market| market.pair == pair()).unwrap()
}

/// An amount about `usual`: mostly on the grid, sometimes off it, sometimes far away or nothing at all.
fn amount(rng: &mut ChaCha8Rng, usual: Decimal, step: Decimal) -> Decimal {
    let per_mille = match rng.random_range(0..10) {
        0 => rng.random_range(1..400),
        1 => rng.random_range(3_000..9_000),
        2 => return Decimal::from(rng.random_range(0..3)) * step,
        3 => return usual * Decimal::from(rng.random_range(1_000..100_000_000_i64)),
        _ => rng.random_range(700..1_400),
    };
    let on_grid = (usual * Decimal::new(per_mille, 3) / step).round() * step;
    let off = if rng.random_ratio(1, 8) { step / Decimal::from(7) } else { Decimal::ZERO };
    (on_grid + off).round_dp(8)
}

fn order(rng: &mut ChaCha8Rng, last: Price, market: &ListedMarket) -> Option<OrderRequest> {
    let (tick, lot) = (market.tick_size.decimal(), market.lot_step.decimal());
    // Worth about what the venue takes at least, so that half of them are near that bound.
    let worth = market.min_notional.decimal() * Decimal::new(rng.random_range(900..3_000), 3);
    let usual = (worth / last.decimal() / lot).ceil() * lot;
    let side = if rng.random() { Side::Buy } else { Side::Sell };
    let price = |rng: &mut ChaCha8Rng| Price::new(amount(rng, last.decimal(), tick)).ok();
    let kind = match rng.random_range(0..3) {
        0 => RequestKind::Market,
        1 => {
            let tif = if rng.random() { TimeInForce::Gtc } else { TimeInForce::Ioc };
            RequestKind::Limit { price: price(rng)?, tif }
        }
        _ => RequestKind::StopLossLimit { stop: price(rng)?, price: price(rng)? },
    };
    let qty = Qty::new(amount(rng, usual, lot)).ok()?;
    let client_order_id = ClientOrderId::from_u128(rng.random());
    Some(OrderRequest { pair: pair(), client_order_id, side, qty, kind })
}

fn open(world: &World) -> OpenOrders {
    let orders = || world.accounts[0].open_orders().map(|(_, order)| order);
    let count = |count: usize| u32::try_from(count).unwrap();
    let stops = orders().filter(|order| order.kind.is_stop()).count();
    OpenOrders { orders: count(orders().count()), algo_orders: count(stops) }
}

/// How often what happened, by who refused an order and for which rule.
#[derive(Debug, Default)]
struct Tally {
    orders: usize,
    refused: BTreeMap<String, usize>,
    /// The venue refused what we let through at its own average price, which is a fault.
    missed: Vec<String>,
    /// The same at the last price, which is what the engine knows; by rule.
    missed_at_last: BTreeMap<String, usize>,
    /// The same at the venue's average, asked for before the trade before this order: what the engine cannot know.
    missed_at_stale: usize,
    /// How many of the orders hang on the average, so that it is asked for.
    hanging: usize,
    /// Only we refused, at the last price.
    ours_alone: BTreeMap<&'static str, usize>,
}

fn play(grid: [&str; 4], orders: usize, seed: u64, tally: &mut Tally) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = world(grid);
    let market = market_of(&mut world);
    let symbol = world.symbol("BTCUSDT").unwrap();
    let middle: Decimal = grid[3].parse().unwrap();
    let trade = |world: &mut World, rng: &mut ChaCha8Rng| {
        let per_mille = Decimal::new(rng.random_range(970..1_030), 3);
        let price = (middle * per_mille / market.tick_size.decimal()).round() * market.tick_size.decimal();
        // Large, so that what the made-up market began at soon counts for nothing.
        let qty = Qty::new(Decimal::from(1_000)).unwrap();
        drop(world.jump(symbol, Price::new(price).unwrap(), qty, Timestamp::MIN, &Hub::default()));
    };
    (0..200).for_each(|_| trade(&mut world, &mut rng));
    let mut number = 0;
    let mut stale = Price::new(world.symbols[symbol].average_price().unwrap()).unwrap();
    while number < orders {
        let last = world.symbols[symbol].last.unwrap();
        let Some(order) = order(&mut rng, last, &market) else { continue };
        number += 1;
        let average = Price::new(world.symbols[symbol].average_price().unwrap()).unwrap();
        let open = open(&world);
        let at_last = market.check(&order, Some(last), open);
        let at_average = market.check(&order, Some(average), open);
        // As the engine does it: the average is asked for where it decides, and only there.
        let hangs = market.filters.hangs_on_average(&order, last, open);
        let known = market.check(&order, Some(if hangs { average } else { last }), open);
        let at_stale = market.check(&order, Some(if hangs { stale } else { last }), open);
        tally.hanging += usize::from(hangs);
        // Slow enough for the limit of orders.
        let at = Timestamp::from_millis(i64::try_from(number).unwrap() * 2_000);
        let answer = Call::PlaceOrder.answer(&mut world, 0, &Params::from_form(&order.body()), at);
        let rule = answer.err().filter(|fault| fault.code == -1013).map(|fault| fault.msg);
        tally.orders += 1;
        if let Some(rule) = rule {
            *tally.refused.entry(rule.clone()).or_default() += 1;
            if at_average.is_ok() || known.is_ok() {
                tally.missed.push(format!("{rule}: {order:?}, average {average}"));
            }
            tally.missed_at_stale += usize::from(at_stale.is_ok());
            if at_last.is_ok() {
                *tally.missed_at_last.entry(rule).or_default() += 1;
            }
        } else if let Err(fault) = at_last {
            *tally.ours_alone.entry(fault.filter).or_default() += 1;
        }
        if number % 10 == 0 {
            stale = average;
            trade(&mut world, &mut rng);
        }
        if number % CLEAR_EVERY == 0 {
            let all = Params(BTreeMap::from([("symbol".to_owned(), "BTCUSDT".to_owned())]));
            drop(Call::CancelOpenOrders.answer(&mut world, 0, &all, at));
        }
    }
}

/// At the venue's own average price nothing slips through. At the last price, which moves by up to three per cent
/// about it here, only what hangs on the average may, and rarely.
#[test]
fn what_the_venue_refuses_for_a_rule_was_refused_before_it_was_asked() {
    let mut tally = Tally::default();
    for (seed, grid) in (1..).zip(MARKETS) {
        play(grid, ORDERS / MARKETS.len(), seed, &mut tally);
    }
    let sum = |counts: &mut dyn Iterator<Item = &usize>| counts.sum::<usize>();
    let refused = sum(&mut tally.refused.values());
    let missed = sum(&mut tally.missed_at_last.values());
    let alone = sum(&mut tally.ours_alone.values());
    let share = |count: usize| Decimal::from(count * 100) / Decimal::from(tally.orders);
    println!("{} orders, refused by the venue {:?}", tally.orders, tally.refused);
    let (hanging, stale) = (tally.hanging, tally.missed_at_stale);
    println!("the average decides {hanging}: {} %; let through with it 0", share(hanging));
    println!("let through where it is older than the last trade: {stale}, {} %", share(stale));
    println!("let through at the last price: {:?}, {} %", tally.missed_at_last, share(missed));
    println!("refused by us alone: {:?}, {} %", tally.ours_alone, share(alone));
    assert_eq!(tally.orders, ORDERS);
    assert!(tally.missed.is_empty(), "{} slipped through, as {}", tally.missed.len(), tally.missed[0]);
    // Every rule is met, and much is taken.
    for rule in ["LOT_SIZE", "MARKET_LOT_SIZE", "PRICE_FILTER", "PERCENT_PRICE_BY_SIDE", "NOTIONAL"] {
        assert!(tally.refused.keys().any(|told| told.ends_with(&format!(": {rule}"))), "{rule}");
    }
    assert!(tally.refused.keys().any(|told| told.contains("MAX_NUM_ALGO_ORDERS")));
    assert!((ORDERS / 10..ORDERS * 9 / 10).contains(&refused), "{refused}");
    assert!(tally.missed_at_last.keys().all(|rule| rule.contains("NOTIONAL") || rule.contains("PERCENT")));
    assert!(missed * 100 < ORDERS && alone * 100 < ORDERS, "{missed} and {alone}");
}
