//! Orders against the market that is played: what is refused, what rests, what fills and at which price.

use model::{Price, Timestamp};
use rust_decimal::Decimal;

use crate::account::Execution;
use crate::fault::Fault;
use crate::market::Print;
use crate::order::{Fill, Kind, Order, Side, Status, TimeInForce};
use crate::world::World;

/// What somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct OrderRequest {
    pub(crate) symbol: usize,
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) price: Option<Decimal>,
    pub(crate) qty: Option<Decimal>,
    pub(crate) quote_qty: Option<Decimal>,
    pub(crate) stop_price: Option<Decimal>,
    pub(crate) client_id: String,
}

/// How far from the market a price may lie, as factors of it.
const PRICE_BAND: (i64, i64) = (5, 5);

/// How many orders of a pair an account may have open.
const MOST_OPEN: usize = 200;

impl World {
    /// The best price for whoever takes.
    fn taken_at(&self, symbol: usize, side: Side) -> Result<Decimal, Fault> {
        let symbol = self.symbols.get(symbol).ok_or_else(closed)?;
        let top = symbol.top.ok_or_else(closed)?;
        Ok(match side {
            Side::Buy => top.ask.decimal(),
            Side::Sell => top.bid.decimal(),
        })
    }

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
        let open =
            owner.orders.iter().filter(|order| order.status.is_open() && order.symbol == request.symbol);
        let mut open = open.peekable();
        if open.clone().count() >= MOST_OPEN {
            return Err(Fault::filter("MAX_NUM_ORDERS"));
        }
        if open.any(|order| order.client_id == request.client_id) {
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

    /// Places an order: it fills, rests or waits for its trigger. Its id.
    pub(crate) fn place(
        &mut self,
        account: usize,
        request: OrderRequest,
        at: Timestamp,
    ) -> Result<i64, Fault> {
        let qty = self.check_order(account, &request)?;
        let taken_at = self.taken_at(request.symbol, request.side)?;
        let (asset, reserve) =
            self.reserve(request.symbol, request.side, qty, request.price.unwrap_or(taken_at));
        let owner = self.accounts.get_mut(account).ok_or_else(closed)?;
        if !owner.lock(&asset, reserve) {
            return Err(Fault::new(-2010, "Account has insufficient balance for requested action."));
        }
        let order = Order {
            id: self.numbers.order(),
            client_id: request.client_id,
            symbol: request.symbol,
            side: request.side,
            kind: request.kind,
            time_in_force: request.time_in_force,
            price: request.price.unwrap_or_default(),
            qty,
            quote_qty: request.quote_qty.unwrap_or_default(),
            stop_price: request.stop_price,
            executed: Decimal::ZERO,
            quote_executed: Decimal::ZERO,
            reserved: reserve,
            status: Status::New,
            is_working: !request.kind.is_stop(),
            created_at: at,
            updated_at: at,
        };
        let id = order.id;
        owner.orders.push(order);
        let index = owner.orders.len() - 1;
        self.tell(account, index, Execution::New, at);
        if !request.kind.is_stop() {
            self.work(account, index, at);
        }
        Ok(id)
    }

    /// Cancels an open order; its index.
    pub(crate) fn cancel(
        &mut self,
        account: usize,
        index: usize,
        cancel_id: &str,
        at: Timestamp,
    ) -> Result<(), Fault> {
        let unknown = || Fault::new(-2011, "Unknown order sent.");
        let order =
            self.accounts.get(account).and_then(|owner| owner.orders.get(index)).ok_or_else(unknown)?;
        if !order.status.is_open() {
            return Err(unknown());
        }
        self.end(account, index, Status::Canceled, Execution::Canceled(cancel_id), at);
        Ok(())
    }

    /// Fills resting orders that a print reaches, and triggers stops.
    pub(crate) fn match_print(&mut self, symbol: usize, print: &Print, at: Timestamp) {
        let price = print.price.decimal();
        for account in 0..self.accounts.len() {
            let orders = self.accounts.get(account).map_or(0, |owner| owner.orders.len());
            for index in 0..orders {
                let Some(order) = self.accounts.get(account).and_then(|owner| owner.orders.get(index)) else {
                    continue;
                };
                if order.symbol != symbol || !order.status.is_open() {
                    continue;
                }
                if !order.is_working {
                    let stop = order.stop_price.unwrap_or_default();
                    if is_triggered(order.kind, order.side, stop, price) {
                        self.trigger(account, index, at);
                    }
                    continue;
                }
                let limit = order.price;
                let (is_through, is_at) = match order.side {
                    Side::Buy => (price < limit, price == limit),
                    Side::Sell => (price > limit, price == limit),
                };
                let left = order.left();
                // Traded through, the whole order must have filled; at its price, as much as was traded there.
                let qty = if is_through { left } else { left.min(print.qty.decimal()) };
                if (is_through || is_at) && !qty.is_zero() {
                    self.fill(account, index, limit, qty, true, at);
                }
            }
        }
    }

    fn trigger(&mut self, account: usize, index: usize, at: Timestamp) {
        if let Some(order) = self.accounts.get_mut(account).and_then(|owner| owner.orders.get_mut(index)) {
            order.is_working = true;
            order.updated_at = at;
        }
        self.tell(account, index, Execution::New, at);
        self.work(account, index, at);
    }

    /// Takes what the book offers at once, then rests or ends.
    fn work(&mut self, account: usize, index: usize, at: Timestamp) {
        let Some(order) = self.accounts.get(account).and_then(|owner| owner.orders.get(index)) else {
            return;
        };
        let Ok(taken_at) = self.taken_at(order.symbol, order.side) else { return };
        let is_market = !order.kind.has_price();
        let (left, time_in_force) = (order.left(), order.time_in_force);
        if is_market || crosses(order.side, order.price, taken_at) {
            self.fill(account, index, taken_at, left, false, at);
        } else if time_in_force != TimeInForce::Gtc {
            self.end(account, index, Status::Expired, Execution::Expired, at);
        }
    }

    /// One execution.
    fn fill(
        &mut self,
        account: usize,
        index: usize,
        price: Decimal,
        qty: Decimal,
        is_maker: bool,
        at: Timestamp,
    ) {
        let (trade_id, fee_rate) = (self.numbers.fill(), self.fee);
        let Some(owner) = self.accounts.get_mut(account) else { return };
        let Some(order) = owner.orders.get_mut(index) else { return };
        let Some(symbol) = self.symbols.get(order.symbol) else { return };
        let (base, quote) = (symbol.pair.base(), symbol.pair.quote());
        let received = if order.side == Side::Buy { qty } else { qty * price };
        let fill = Fill {
            trade_id,
            order_id: order.id,
            symbol: order.symbol,
            side: order.side,
            price,
            qty,
            fee: (received * fee_rate).round_dp(8),
            fee_asset: if order.side == Side::Buy { base } else { quote }.to_owned(),
            is_maker,
            at,
        };
        order.executed += qty;
        order.quote_executed += price * qty;
        order.updated_at = at;
        order.status = if order.left().is_zero() { Status::Filled } else { Status::PartiallyFilled };
        // The last fill gives back whatever is left of what was reserved.
        let part = match order.side {
            Side::Buy => (order.price * qty).min(order.reserved),
            Side::Sell => qty,
        };
        let reserved = if order.status == Status::Filled { order.reserved } else { part };
        order.reserved -= reserved;
        let order = order.clone();
        owner.settle(&fill, base, quote, reserved);
        owner.fills.push(fill.clone());
        owner.tell_order(&order, &symbol.name, Execution::Trade(&fill), self.numbers.execution(), at);
        owner.tell_balances([base, quote], at);
    }

    /// Ends an order unfilled, or with what it filled, and gives back what is still reserved.
    fn end(&mut self, account: usize, index: usize, status: Status, told: Execution<'_>, at: Timestamp) {
        let Some(owner) = self.accounts.get_mut(account) else { return };
        let Some(order) = owner.orders.get_mut(index) else { return };
        order.status = status;
        order.updated_at = at;
        let (symbol, side) = (order.symbol, order.side);
        let reserved = std::mem::take(&mut order.reserved);
        let asset = self.reserve(symbol, side, Decimal::ZERO, Decimal::ZERO).0;
        if let Some(owner) = self.accounts.get_mut(account) {
            owner.unlock(&asset, reserved);
        }
        self.tell(account, index, told, at);
        if let (Some(owner), Some(symbol)) = (self.accounts.get_mut(account), self.symbols.get(symbol)) {
            owner.tell_balances([symbol.pair.base(), symbol.pair.quote()], at);
        }
    }

    /// What an order needs: the asset and how much of it.
    fn reserve(&self, symbol: usize, side: Side, qty: Decimal, price: Decimal) -> (String, Decimal) {
        let pair = self.symbols.get(symbol).map(|symbol| &symbol.pair);
        let asset =
            |pick: fn(&model::Pair) -> &str| pair.map(|pair| pick(pair).to_owned()).unwrap_or_default();
        match side {
            Side::Buy => (asset(model::Pair::quote), qty * price),
            Side::Sell => (asset(model::Pair::base), qty),
        }
    }

    fn tell(&mut self, account: usize, index: usize, execution: Execution<'_>, at: Timestamp) {
        let number = self.numbers.execution();
        let Some(owner) = self.accounts.get_mut(account) else { return };
        let Some(order) = owner.orders.get(index).cloned() else { return };
        let Some(symbol) = self.symbols.get(order.symbol) else { return };
        owner.tell_order(&order, &symbol.name, execution, number, at);
    }
}

fn closed() -> Fault {
    Fault::new(-1013, "Market is closed.")
}

/// Whether a limit takes at once.
fn crosses(side: Side, limit: Decimal, taken_at: Decimal) -> bool {
    match side {
        Side::Buy => limit >= taken_at,
        Side::Sell => limit <= taken_at,
    }
}

/// Whether a price triggers a stop.
fn is_triggered(kind: Kind, side: Side, stop: Decimal, price: Decimal) -> bool {
    let falls = match kind {
        Kind::StopLoss | Kind::StopLossLimit => side == Side::Sell,
        Kind::TakeProfit | Kind::TakeProfitLimit => side == Side::Buy,
        Kind::Limit | Kind::Market | Kind::LimitMaker => return false,
    };
    if falls { price <= stop } else { price >= stop }
}
