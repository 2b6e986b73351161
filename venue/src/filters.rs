//! What an order must be like to be taken.

use model::Price;
use rust_decimal::Decimal;

use crate::fault::Fault;
use crate::matching::{OrderRequest, closed, crosses, is_triggered};
use crate::order::Kind;
use crate::world::World;

/// How far from the market a price may lie, as factors of it.
const PRICE_BAND: (i64, i64) = (5, 5);

/// How many orders of a pair an account may have open.
const MOST_OPEN: usize = 200;

impl World {
    /// Checks an order against the pair's filters; how much of the base it is about.
    pub(crate) fn check_order(&self, account: usize, request: &OrderRequest) -> Result<Decimal, Fault> {
        let taken_at = self.taken_at(request.symbol, request.side)?;
        let lot = self.steps.lot_step.decimal();
        let qty = match (request.qty, request.quote_qty) {
            (Some(qty), _) => qty,
            (None, Some(quote)) => (quote / taken_at / lot).floor() * lot,
            (None, None) => return Err(Fault::mandatory("quantity")),
        };
        for price in [request.price, request.stop_price].into_iter().flatten() {
            if price.is_zero() || !(price % self.steps.tick_size.decimal()).is_zero() {
                return Err(Fault::filter("PRICE_FILTER"));
            }
        }
        if let Some(price) = request.price {
            let (down, up) = PRICE_BAND;
            if price * Decimal::from(down) < taken_at || price > taken_at * Decimal::from(up) {
                return Err(Fault::filter("PERCENT_PRICE_BY_SIDE"));
            }
        }
        if qty.is_zero() || !(qty % lot).is_zero() || qty > Decimal::from(9_000_000_000_i64) {
            return Err(Fault::filter("LOT_SIZE"));
        }
        if qty * request.price.unwrap_or(taken_at) < self.steps.min_notional.decimal() {
            return Err(Fault::filter("NOTIONAL"));
        }
        let owner = self.accounts.get(account).ok_or_else(closed)?;
        let open = owner.open_orders().filter(|(_, order)| order.symbol == request.symbol);
        if open.count() >= MOST_OPEN {
            return Err(Fault::filter("MAX_NUM_ORDERS"));
        }
        let mut named = owner.with_client_id(request.symbol, &request.client_id);
        let is_open = |index| owner.order(index).is_some_and(|order| order.status.is_open());
        if named.any(is_open) {
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
        Ok(qty)
    }
}
