//! Orders against the market that is played: what is refused, what rests, what fills and at which price.

use model::{Pair, Timestamp};
use rust_decimal::Decimal;

use crate::account::{Account, Execution};
use crate::book::{cost, shortened, total};
use crate::fault::Fault;
use crate::market::Print;
use crate::order::{Kind, Order, Side, Status, TimeInForce};
use crate::world::{Level, World};

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

impl World {
    /// Places an order: it fills, rests or waits for its trigger. Its index.
    pub(crate) fn place(
        &mut self,
        account: usize,
        request: OrderRequest,
        at: Timestamp,
    ) -> Result<usize, Fault> {
        self.check_count(account, at)?;
        let mut qty = self.check_filters(account, &request)?;
        self.check_matching(account, &request)?;
        let OrderRequest { symbol, side, kind, .. } = request;
        let mut offers = Vec::new();
        if kind == Kind::Market {
            offers = self.offers(symbol, side, qty, None)?;
            if let (Some(quote), Side::Buy) = (request.quote_qty, side) {
                offers = self.afforded(offers, quote);
                qty = total(&offers);
            }
            offers = shortened(offers, self.found(qty));
        }
        let worth = match (request.price, request.stop_price) {
            (Some(price), _) | (None, Some(price)) => price * qty,
            (None, None) => cost(&offers),
        };
        let (asset, reserved) = match side {
            Side::Buy => (self.coin(symbol, Pair::quote), self.with_fee(worth)),
            Side::Sell => (self.coin(symbol, Pair::base), qty),
        };
        let hidden_until = self.hidden_until(at);
        let owner = self.accounts.get_mut(account).ok_or_else(closed)?;
        if !owner.lock(&asset, reserved) {
            return Err(Fault::new(-2010, "Account has insufficient balance for requested action."));
        }
        let index = owner.add(Order {
            id: self.numbers.order(),
            client_id: request.client_id,
            symbol,
            side,
            kind,
            time_in_force: request.time_in_force,
            price: request.price.unwrap_or_default(),
            qty,
            quote_qty: request.quote_qty.unwrap_or_default(),
            stop_price: request.stop_price,
            executed: Decimal::ZERO,
            quote_executed: Decimal::ZERO,
            reserved,
            status: Status::New,
            is_working: !kind.is_stop(),
            hidden_until,
            fills: Vec::new(),
            created_at: at,
            updated_at: at,
        });
        owner.counts.add(at);
        self.tell(account, index, Execution::New, at);
        if kind == Kind::Market {
            self.take(account, index, &offers, true, at);
        } else if !kind.is_stop() {
            self.work(account, index, at);
        }
        Ok(index)
    }

    /// Refuses an order where the account has placed too many.
    pub(crate) fn check_count(&self, account: usize, at: Timestamp) -> Result<(), Fault> {
        self.accounts.get(account).map_or(Ok(()), |owner| owner.counts.check(at))
    }

    /// Counts an order that was asked for and not attempted.
    pub(crate) fn count_order(&mut self, account: usize, at: Timestamp) {
        if let Some(owner) = self.accounts.get_mut(account) {
            owner.counts.add(at);
        }
    }

    /// Makes an open order smaller and gives it a client id; the number of that execution.
    pub(crate) fn amend(
        &mut self,
        account: usize,
        index: usize,
        qty: Decimal,
        client_id: &str,
        at: Timestamp,
    ) -> Result<i64, Fault> {
        let refused = |message: &str| Fault::new(-2038, message);
        let unknown = || refused("Unknown order sent.");
        let order = self.order(account, index).filter(|order| order.status.is_open()).ok_or_else(unknown)?;
        let (symbol, side, price) = (order.symbol, order.side, order.price);
        let price = if order.kind.has_price() { price } else { order.stop_price.unwrap_or_default() };
        if qty == order.qty || qty <= order.executed {
            return Err(refused("The requested action would change no state; rejecting."));
        }
        if qty > order.qty {
            return Err(refused("Order amend (quantity increase) is not supported."));
        }
        let former = order.client_id.clone();
        if client_id != former && self.is_taken(account, symbol, client_id) {
            return Err(refused("Duplicate order sent."));
        }
        self.check_size(qty, Some(price), price)?;
        let left = qty - order.executed;
        let needed = if side == Side::Buy { self.with_fee(left * price) } else { left };
        let (base, quote) = (self.coin(symbol, Pair::base), self.coin(symbol, Pair::quote));
        let owner = self.accounts.get_mut(account).ok_or_else(closed)?;
        owner.rename(index, client_id);
        let order = owner.order_mut(index).ok_or_else(unknown)?;
        let over = order.reserved - needed.min(order.reserved);
        order.reserved -= over;
        (order.qty, order.updated_at) = (qty, at);
        owner.unlock(if side == Side::Buy { &quote } else { &base }, over);
        let number = self.tell(account, index, Execution::Replaced(&former), at);
        if let Some(owner) = self.accounts.get_mut(account) {
            owner.tell_balances(&[&base, &quote], at);
        }
        Ok(number)
    }

    /// Cancels an open order.
    pub(crate) fn cancel(
        &mut self,
        account: usize,
        index: usize,
        cancel_id: &str,
        at: Timestamp,
    ) -> Result<(), Fault> {
        let unknown = || Fault::new(-2011, "Unknown order sent.");
        let order = self.order(account, index).ok_or_else(unknown)?;
        if !order.status.is_open() {
            return Err(unknown());
        }
        self.end(account, index, Status::Canceled, Execution::Canceled(cancel_id), at);
        Ok(())
    }

    /// Fills resting orders that a print reaches, and triggers stops.
    pub(crate) fn match_print(&mut self, symbol: usize, print: &Print, at: Timestamp) {
        for account in 0..self.accounts.len() {
            let open = self.accounts.get(account).into_iter().flat_map(Account::open_orders);
            let of_pair: Vec<usize> =
                open.filter(|(_, order)| order.symbol == symbol).map(|(index, _)| index).collect();
            for index in of_pair {
                self.match_order(account, index, print, at);
            }
        }
    }

    pub(crate) fn match_order(&mut self, account: usize, index: usize, print: &Print, at: Timestamp) {
        let price = print.price.decimal();
        let Some(order) = self.order(account, index) else { return };
        if !order.is_working {
            if is_triggered(order.kind, order.side, order.stop_price.unwrap_or_default(), price) {
                self.trigger(account, index, at);
            }
            return;
        }
        let (limit, left) = (order.price, order.left());
        let is_through = match order.side {
            Side::Buy => price < limit,
            Side::Sell => price > limit,
        };
        // Traded through, the whole order must have filled; at its price, as much as was traded there.
        if is_through {
            for part in self.parts(left) {
                self.fill(account, index, limit, part, true, at);
            }
        } else if price == limit {
            self.fill(account, index, limit, left.min(print.qty.decimal()), true, at);
        }
    }

    pub(crate) fn trigger(&mut self, account: usize, index: usize, at: Timestamp) {
        if let Some(order) = self.order_mut(account, index) {
            order.is_working = true;
            order.updated_at = at;
        }
        self.tell(account, index, Execution::New, at);
        self.work(account, index, at);
    }

    /// Takes what the book offers at once, then rests or ends.
    pub(crate) fn work(&mut self, account: usize, index: usize, at: Timestamp) {
        let Some(order) = self.order(account, index) else { return };
        let Order { symbol, side, kind, price, time_in_force, .. } = *order;
        let left = order.left();
        let limit = kind.has_price().then_some(price);
        let is_brief = limit.is_none() || time_in_force != TimeInForce::Gtc;
        let Ok(mut offers) = self.offers(symbol, side, left, limit) else { return };
        if is_brief && !offers.is_empty() {
            offers = shortened(offers, self.found(left));
        }
        if limit.is_none() && side == Side::Buy {
            offers = self.payable(account, index, offers);
        }
        if time_in_force == TimeInForce::Fok && total(&offers) < left {
            offers.clear();
        }
        self.take(account, index, &offers, is_brief, at);
    }

    /// Takes what is offered; what is left of a brief order expires.
    pub(crate) fn take(
        &mut self,
        account: usize,
        index: usize,
        offers: &[Level],
        is_brief: bool,
        at: Timestamp,
    ) {
        for (price, qty) in offers {
            self.fill(account, index, *price, *qty, false, at);
        }
        if is_brief && self.order(account, index).is_some_and(|order| order.status.is_open()) {
            self.end(account, index, Status::Expired, Execution::Expired, at);
        }
    }

    pub(crate) fn order(&self, account: usize, index: usize) -> Option<&Order> {
        self.accounts.get(account)?.order(index)
    }

    pub(crate) fn order_mut(&mut self, account: usize, index: usize) -> Option<&mut Order> {
        self.accounts.get_mut(account)?.order_mut(index)
    }

    /// A coin of a pair.
    pub(crate) fn coin(&self, symbol: usize, pick: fn(&Pair) -> &str) -> String {
        self.symbols.get(symbol).map(|symbol| pick(&symbol.pair).to_owned()).unwrap_or_default()
    }

    /// Tells an order's owner; the number of the execution.
    pub(crate) fn tell(
        &mut self,
        account: usize,
        index: usize,
        execution: Execution<'_>,
        at: Timestamp,
    ) -> i64 {
        let number = self.numbers.execution();
        if let Some(owner) = self.accounts.get_mut(account)
            && let Some(order) = owner.order(index).cloned()
            && let Some(symbol) = self.symbols.get(order.symbol)
        {
            owner.tell_order(&order, &symbol.name, execution, number, at);
        }
        number
    }
}

pub(crate) fn closed() -> Fault {
    Fault::new(-1013, "Market is closed.")
}

/// Whether a limit takes at once.
pub(crate) fn crosses(side: Side, limit: Decimal, taken_at: Decimal) -> bool {
    match side {
        Side::Buy => limit >= taken_at,
        Side::Sell => limit <= taken_at,
    }
}

/// Whether a price triggers a stop.
pub(crate) fn is_triggered(kind: Kind, side: Side, stop: Decimal, price: Decimal) -> bool {
    let falls = match kind {
        Kind::StopLoss | Kind::StopLossLimit => side == Side::Sell,
        Kind::TakeProfit | Kind::TakeProfitLimit => side == Side::Buy,
        Kind::Limit | Kind::Market | Kind::LimitMaker => return false,
    };
    if falls { price <= stop } else { price >= stop }
}
