//! The local filters against a model of the venue's rules in whole numbers, and against what the venue really lists.

use connectors::binance::rest::{ListedMarket, listed};
use connectors::binance::trade::{FilterFault, OpenOrders, OrderRequest, Relation, RequestKind, TimeInForce};
use model::{ClientOrderId, Price, Qty, Side};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;

use super::recorded;

/// A symbol's rules, prices and quantities in units of 1e-8, factors in hundredths; 0 is off.
#[derive(Clone, Copy, Debug)]
struct Rules {
    price: [i64; 3],
    lot: [i64; 3],
    market_lot: [i64; 3],
    notional: [i64; 2],
    applies: [bool; 2],
    bid: [i64; 2],
    ask: [i64; 2],
    max_orders: u32,
    max_algo_orders: u32,
}

fn text(units: i64) -> String {
    Decimal::new(units, 8).to_string()
}

impl Rules {
    /// As the venue lists them.
    fn market(&self) -> ListedMarket {
        let factor = |hundredths: i64| Decimal::new(hundredths, 2).to_string();
        let lot = |name: &str, [min, max, step]: [i64; 3]| json!({"filterType": name, "minQty": text(min), "maxQty": text(max), "stepSize": text(step)});
        let [min, max, tick] = self.price;
        let filters = json!([
            {"filterType": "PRICE_FILTER", "minPrice": text(min), "maxPrice": text(max), "tickSize": text(tick)},
            lot("LOT_SIZE", self.lot),
            lot("MARKET_LOT_SIZE", self.market_lot),
            {"filterType": "NOTIONAL", "minNotional": text(self.notional[0]), "applyMinToMarket": self.applies[0],
                "maxNotional": text(self.notional[1]), "applyMaxToMarket": self.applies[1], "avgPriceMins": 5},
            {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierDown": factor(self.bid[0]),
                "bidMultiplierUp": factor(self.bid[1]), "askMultiplierDown": factor(self.ask[0]),
                "askMultiplierUp": factor(self.ask[1]), "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": self.max_orders},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": self.max_algo_orders},
        ]);
        let info = json!({"symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC",
            "quoteAsset": "USDT", "baseAssetPrecision": 8, "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS_LIMIT"], "filters": filters}]});
        listed(info.to_string().as_bytes()).unwrap().remove(0)
    }

    /// Which rules an order breaks, in whole numbers.
    fn broken(&self, order: &Asked, reference: i64, open: OpenOrders) -> Vec<&'static str> {
        let mut broken = Vec::new();
        let off = |value: i64, [min, max, step]: [i64; 3]| {
            (min > 0 && value < min) || (max > 0 && value > max) || value % step.max(1) != 0
        };
        if off(order.qty, self.lot) || order.qty == 0 {
            broken.push("LOT_SIZE");
        }
        if order.kind == 0 && off(order.qty, self.market_lot) {
            broken.push("MARKET_LOT_SIZE");
        }
        if order.kind > 0
            && (off(order.price, self.price) || (order.kind == 2 && off(order.stop, self.price)))
        {
            broken.push("PRICE_FILTER");
        }
        let [down, up] = if order.is_buy { self.bid } else { self.ask };
        if order.kind > 0 && (order.price * 100 < reference * down || order.price * 100 > reference * up) {
            broken.push("PERCENT_PRICE_BY_SIDE");
        }
        let price = if order.kind == 0 { reference } else { order.price };
        let worth = i128::from(price) * i128::from(order.qty);
        let bound = |index: usize| {
            let holds = self.notional[index] > 0 && (order.kind > 0 || self.applies[index]);
            holds.then(|| i128::from(self.notional[index]) * 100_000_000)
        };
        if bound(0).is_some_and(|min| worth < min) || bound(1).is_some_and(|max| worth > max) {
            broken.push("NOTIONAL");
        }
        if order.kind > 0 && open.orders >= self.max_orders {
            broken.push("MAX_NUM_ORDERS");
        }
        if order.kind == 2 && open.algo_orders >= self.max_algo_orders {
            broken.push("MAX_NUM_ALGO_ORDERS");
        }
        broken
    }
}

/// An order in units of 1e-8; kind 0 is market, 1 limit, 2 stop.
#[derive(Clone, Copy, Debug)]
struct Asked {
    is_buy: bool,
    kind: u8,
    qty: i64,
    price: i64,
    stop: i64,
}

impl Asked {
    fn request(&self) -> OrderRequest {
        let price = |units| Price::from_e8(units).unwrap();
        OrderRequest {
            pair: "BTC/USDT".parse().unwrap(),
            client_order_id: ClientOrderId::from_u128(1),
            side: if self.is_buy { Side::Buy } else { Side::Sell },
            qty: Qty::new(Decimal::new(self.qty, 8)).unwrap(),
            kind: match self.kind {
                0 => RequestKind::Market,
                1 => RequestKind::Limit { price: price(self.price), tif: TimeInForce::Gtc },
                _ => RequestKind::StopLossLimit { stop: price(self.stop), price: price(self.price) },
            },
        }
    }
}

/// A step, a multiple of it as the least, and more as the most; each may be off.
fn grid(step: i64) -> impl Strategy<Value = [i64; 3]> {
    (0..4_i64, prop_oneof![Just(0), 5..30_i64], prop_oneof![4 => Just(step), 1 => Just(0)])
        .prop_map(move |(min, max, listed)| [min * step, max * step, listed])
}

fn rules() -> impl Strategy<Value = Rules> {
    let factors = || (50..99_i64, 101..200_i64).prop_map(|(down, up)| [down, up]);
    (
        (grid(1_000_000), grid(10_000), grid(20_000)),
        (0..20_i64, prop_oneof![Just(0), 20..90_i64], any::<[bool; 2]>()),
        (factors(), factors(), 1..4_u32, 1..3_u32),
    )
        .prop_map(
            |((price, lot, market_lot), (min, max, applies), (bid, ask, max_orders, max_algo_orders))| {
                Rules {
                    price,
                    lot,
                    market_lot,
                    notional: [min * 1_000, max * 1_000],
                    applies,
                    bid,
                    ask,
                    max_orders,
                    max_algo_orders,
                }
            },
        )
}

/// Near the grid, on it and off it.
fn orders() -> impl Strategy<Value = Asked> {
    let near = |step: i64, from: i64| (from..32_i64, prop_oneof![4 => Just(0_i64), 1 => 1..step]);
    let price = move || near(1_000_000, 1).prop_map(|(count, off)| count * 1_000_000 + off);
    (any::<bool>(), 0..3_u8, near(10_000, 0), price(), price()).prop_map(
        |(is_buy, kind, (count, off), price, stop)| Asked {
            is_buy,
            kind,
            qty: count * 10_000 + off,
            price,
            stop,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn an_order_is_refused_exactly_where_the_model_of_the_venue_refuses_it(
        rules in rules(),
        order in orders(),
        reference in 1_000_000..30_000_000_i64,
        (all, algo) in (0..4_u32, 0..4_u32),
    ) {
        let open = OpenOrders { orders: all, algo_orders: algo };
        let broken = rules.broken(&order, reference, open);
        let checked = rules.market().check(&order.request(), Price::from_e8(reference), open);
        match checked {
            Ok(()) => prop_assert!(broken.is_empty(), "{broken:?} was let through"),
            Err(fault) => prop_assert!(broken.contains(&fault.filter), "{fault} but {broken:?}"),
        }
    }
}

#[test]
fn a_fault_names_its_filter_its_value_and_its_bound() {
    let rules = Rules {
        price: [1_000_000, 0, 1_000_000],
        lot: [10_000, 900_000, 10_000],
        market_lot: [0, 0, 0],
        notional: [0, 0],
        applies: [true, true],
        bid: [50, 200],
        ask: [50, 200],
        max_orders: 1,
        max_algo_orders: 1,
    };
    let order = Asked { is_buy: true, kind: 1, qty: 10_001, price: 2_000_000, stop: 1 };
    let check = |order: Asked| {
        let fault = rules.market().check(&order.request(), None, OpenOrders::default());
        fault.map_err(|fault| fault.to_string())
    };
    let off = "LOT_SIZE: quantity 0.00010001 is no multiple of 0.00010000";
    assert_eq!(check(order), Err(off.to_owned()));
    let below = "PRICE_FILTER: price 0.005 is below 0.01000000";
    assert_eq!(check(Asked { qty: 10_000, price: 500_000, ..order }), Err(below.to_owned()));
    assert_eq!(check(Asked { qty: 10_000, ..order }), Ok(()));
    let mut market = rules.market();
    (market.trading, market.status) = (false, "HALT".to_owned());
    let fault = market.check(&order.request(), None, OpenOrders::default()).unwrap_err();
    let expected = FilterFault {
        filter: "status",
        what: "status",
        value: "HALT".to_owned(),
        relation: Relation::Not,
        bound: "TRADING".to_owned(),
    };
    assert_eq!(fault, expected);
}

#[test]
fn the_recorded_rules_are_held_whole() {
    let Some(file) = recorded("exchanges/fixtures/binance/instruments/gct_get_exchangeInfo.json") else {
        return;
    };
    let exchange: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let markets = listed(exchange[0]["response"].to_string().as_bytes()).unwrap();
    for market in &markets {
        let filters = &market.filters;
        assert!(filters.price.max.is_some() && filters.lot.max.is_some(), "{market:?}");
        assert!(filters.min_notional.is_some() && filters.max_orders.is_some(), "{market:?}");
        assert!(filters.max_algo_orders.is_some() && filters.bid_factors.is_some(), "{market:?}");
        assert!(filters.order_types.iter().any(|kind| kind == "STOP_LOSS_LIMIT"), "{market:?}");
    }
    assert_eq!(markets.len(), 25);
}
