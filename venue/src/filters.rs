//! What an order must be like to be taken: the pair's filters, as the listing shows them, and what the matching engine
//! refuses.

use model::Price;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::account::Account;
use crate::config::Steps;
use crate::fault::Fault;
use crate::matching::{OrderRequest, closed, crosses, is_triggered};
use crate::order::Kind;
use crate::params::eight;
use crate::world::{Symbol, World};

/// The highest price.
const MAX_PRICE: i64 = 1_000_000;

/// The largest order, and the largest one without a price, in base.
const MAX_QTY: i64 = 9_000_000;
const MAX_MARKET_QTY: i64 = 100_000;

/// The largest order with a price, in quote.
const MAX_NOTIONAL: i64 = 9_000_000;

/// How far from the average price an order's may lie: a fifth of it to five times it.
const PRICE_BAND: i64 = 5;

/// How many orders of a pair an account may have open, and how many of those wait for a trigger or did.
const MOST_OPEN: usize = 200;
const MOST_ALGO: usize = 5;

/// Over how many minutes prices are averaged for the filters.
pub(crate) const AVERAGE_MINUTES: i64 = 5;

/// What a test may change of every pair's rules, beside the grid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    /// `TRADING`, or the word for why nothing is traded: `BREAK`, `HALT`.
    pub(crate) status: String,
    /// The smallest order, in base; the lot step where that is larger.
    pub(crate) min_qty: Decimal,
    /// The largest order, and the largest one without a price, in base.
    pub(crate) max_qty: Decimal,
    pub(crate) max_market_qty: Decimal,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            status: "TRADING".to_owned(),
            min_qty: Decimal::ZERO,
            max_qty: MAX_QTY.into(),
            max_market_qty: MAX_MARKET_QTY.into(),
        }
    }
}

/// The filters as the listing shows them.
pub(crate) fn listed(steps: Steps, rules: &Rules) -> Value {
    let lot = eight(steps.lot_step.decimal());
    let least = eight(rules.min_qty.max(steps.lot_step.decimal()));
    let tick = eight(steps.tick_size.decimal());
    let whole = |amount: i64| eight(amount.into());
    let (up, down) = (PRICE_BAND.to_string(), (Decimal::ONE / Decimal::from(PRICE_BAND)).to_string());
    json!([
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": whole(MAX_PRICE), "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": least, "maxQty": eight(rules.max_qty), "stepSize": lot},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "MARKET_LOT_SIZE", "minQty": whole(0), "maxQty": eight(rules.max_market_qty),
            "stepSize": whole(0)},
        {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2_000,
            "minTrailingBelowDelta": 10, "maxTrailingBelowDelta": 2_000},
        {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": up, "bidMultiplierDown": down,
            "askMultiplierUp": up, "askMultiplierDown": down, "avgPriceMins": AVERAGE_MINUTES},
        {"filterType": "NOTIONAL", "minNotional": eight(steps.min_notional.decimal()), "applyMinToMarket": true,
            "maxNotional": whole(MAX_NOTIONAL), "applyMaxToMarket": false, "avgPriceMins": AVERAGE_MINUTES},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MOST_OPEN},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": MOST_ALGO}
    ])
}

impl World {
    /// Checks an order against the pair's filters; how much of the base it is about.
    pub(crate) fn check_filters(&self, account: usize, request: &OrderRequest) -> Result<Decimal, Fault> {
        if self.rules.status != "TRADING" {
            return Err(closed());
        }
        let lot = self.steps.lot_step.decimal();
        let qty = match (request.qty, request.quote_qty) {
            (Some(qty), _) => qty,
            (None, Some(quote)) => (quote / self.taken_at(request.symbol, request.side)? / lot).floor() * lot,
            (None, None) => return Err(Fault::mandatory("quantity")),
        };
        let tick = self.steps.tick_size.decimal();
        for price in [request.price, request.stop_price].into_iter().flatten() {
            if price < tick || price > MAX_PRICE.into() || !(price % tick).is_zero() {
                return Err(Fault::filter("PRICE_FILTER"));
            }
        }
        let average = self.symbols.get(request.symbol).and_then(Symbol::average_price);
        let average = average.ok_or_else(closed)?;
        let band = Decimal::from(PRICE_BAND);
        if request.price.is_some_and(|price| price * band < average || price > average * band) {
            return Err(Fault::filter("PERCENT_PRICE_BY_SIDE"));
        }
        self.check_size(qty, request.price, average)?;
        let open = || {
            let open = self.accounts.get(account).into_iter().flat_map(Account::open_orders);
            open.map(|(_, order)| order).filter(|order| order.symbol == request.symbol)
        };
        if open().count() >= MOST_OPEN {
            return Err(Fault::filter("MAX_NUM_ORDERS"));
        }
        if request.kind.is_stop() && open().filter(|order| order.kind.is_stop()).count() >= MOST_ALGO {
            return Err(Fault::filter("MAX_NUM_ALGO_ORDERS"));
        }
        Ok(qty)
    }

    /// Checks how large an order is; one without a price is worth the average.
    pub(crate) fn check_size(
        &self,
        qty: Decimal,
        price: Option<Decimal>,
        average: Decimal,
    ) -> Result<(), Fault> {
        let lot = self.steps.lot_step.decimal();
        let rules = &self.rules;
        if qty < lot.max(rules.min_qty) || !(qty % lot).is_zero() || qty > rules.max_qty {
            return Err(Fault::filter("LOT_SIZE"));
        }
        if price.is_none() && qty > rules.max_market_qty {
            return Err(Fault::filter("MARKET_LOT_SIZE"));
        }
        let is_too_large = price.is_some_and(|price| price * qty > MAX_NOTIONAL.into());
        if is_too_large || price.unwrap_or(average) * qty < self.steps.min_notional.decimal() {
            return Err(Fault::filter("NOTIONAL"));
        }
        Ok(())
    }

    /// What the matching engine refuses of an order that passed the filters, but for too little balance.
    pub(crate) fn check_matching(&self, account: usize, request: &OrderRequest) -> Result<(), Fault> {
        let taken_at = self.taken_at(request.symbol, request.side)?;
        if self.is_taken(account, request.symbol, &request.client_id) {
            return Err(Fault::new(-2010, "Duplicate order sent."));
        }
        let would_take = |price: Decimal| crosses(request.side, price, taken_at);
        if request.kind == Kind::LimitMaker && request.price.is_some_and(would_take) {
            return Err(Fault::new(-2010, "Order would immediately match and take."));
        }
        let last =
            self.symbols.get(request.symbol).and_then(|symbol| symbol.last).map_or(taken_at, Price::decimal);
        if request.stop_price.is_some_and(|stop| is_triggered(request.kind, request.side, stop, last)) {
            return Err(Fault::new(-2010, "Stop price would trigger immediately."));
        }
        Ok(())
    }

    /// Whether an open order has a client id.
    pub(crate) fn is_taken(&self, account: usize, symbol: usize, client_id: &str) -> bool {
        let Some(owner) = self.accounts.get(account) else { return false };
        let mut named = owner.with_client_id(symbol, client_id);
        named.any(|index| owner.order(index).is_some_and(|order| order.status.is_open()))
    }
}
