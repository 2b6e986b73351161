//! Orders against the market that is played: what is refused, what rests, what fills and at which price.

use model::{Pair, Price, Timestamp};
use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::account::{Account, Execution};
use crate::config::{Faults, FeeAsset};
use crate::fault::Fault;
use crate::market::Print;
use crate::order::{Fill, Kind, Order, Side, Status, TimeInForce};
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

/// How far from the market a price may lie, as factors of it.
const PRICE_BAND: (i64, i64) = (5, 5);

/// What fees may be paid in instead of what is received.
const BNB: &str = "BNB";

/// What a BNB counts for there, in quote.
const BNB_PRICE: Decimal = Decimal::from_parts(600, 0, 0, false, 0);

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

    /// Places an order: it fills, rests or waits for its trigger. Its index.
    pub(crate) fn place(
        &mut self,
        account: usize,
        request: OrderRequest,
        at: Timestamp,
    ) -> Result<usize, Fault> {
        let mut qty = self.check_order(account, &request)?;
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
        self.tell(account, index, Execution::New, at);
        if kind == Kind::Market {
            self.take(account, index, &offers, true, at);
        } else if !kind.is_stop() {
            self.work(account, index, at);
        }
        Ok(index)
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

    fn match_order(&mut self, account: usize, index: usize, print: &Print, at: Timestamp) {
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

    fn trigger(&mut self, account: usize, index: usize, at: Timestamp) {
        if let Some(order) = self.order_mut(account, index) {
            order.is_working = true;
            order.updated_at = at;
        }
        self.tell(account, index, Execution::New, at);
        self.work(account, index, at);
    }

    /// Takes what the book offers at once, then rests or ends.
    fn work(&mut self, account: usize, index: usize, at: Timestamp) {
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
            offers = self.reserve_more(account, index, offers);
        }
        if time_in_force == TimeInForce::Fok && total(&offers) < left {
            offers.clear();
        }
        self.take(account, index, &offers, is_brief, at);
    }

    /// Takes what is offered; what is left of a brief order expires.
    fn take(&mut self, account: usize, index: usize, offers: &[Level], is_brief: bool, at: Timestamp) {
        for (price, qty) in offers {
            self.fill(account, index, *price, *qty, false, at);
        }
        if is_brief && self.order(account, index).is_some_and(|order| order.status.is_open()) {
            self.end(account, index, Status::Expired, Execution::Expired, at);
        }
    }

    /// What the book gives to whoever takes now, dearer and dearer. There is enough of it, within the limit.
    fn offers(
        &self,
        symbol: usize,
        side: Side,
        qty: Decimal,
        limit: Option<Decimal>,
    ) -> Result<Vec<Level>, Fault> {
        let mut price = self.taken_at(symbol, side)?;
        let mut offers = Vec::new();
        for (index, part) in self.parts(qty).into_iter().enumerate() {
            if index > 0 {
                let away = self.steps.tick_size.decimal() * Decimal::from(self.trouble.dice.between(1, 3));
                price += if side == Side::Buy { away } else { -away };
            }
            if price <= Decimal::ZERO || limit.is_some_and(|limit| !crosses(side, limit, price)) {
                break;
            }
            offers.push((price, part));
        }
        Ok(offers)
    }

    /// Cuts a quantity into as many executions as the dice say, each of whole lots.
    fn parts(&self, qty: Decimal) -> Vec<Decimal> {
        let lot = self.steps.lot_step.decimal();
        let mut lots = (qty / lot).to_u64().unwrap_or_default();
        let most = u64::from(self.trouble.faults.partial_fills).min(lots);
        if most <= 1 {
            return vec![qty];
        }
        let count = self.trouble.dice.between(1, most);
        let mut left = qty;
        let mut parts = Vec::new();
        for others in (1..count).rev() {
            let fair = lots / (others + 1);
            let part = self.trouble.dice.between(1, (2 * fair).clamp(1, lots - others));
            lots -= part;
            let part = lot * Decimal::from(part);
            left -= part;
            parts.push(part);
        }
        parts.push(left);
        parts
    }

    /// How much of a quantity the book has: all, or fewer lots where the dice find it thin.
    fn found(&self, qty: Decimal) -> Decimal {
        let lot = self.steps.lot_step.decimal();
        let lots = (qty / lot).to_u64().unwrap_or_default();
        if lots > 1 && self.trouble.dice.happens("thinBooks", self.trouble.faults.thin_rate) {
            return lot * Decimal::from(self.trouble.dice.between(1, lots - 1));
        }
        qty
    }

    /// As much of the offers as an amount of quote pays for, in whole lots.
    fn afforded(&self, offers: Vec<Level>, mut quote: Decimal) -> Vec<Level> {
        let lot = self.steps.lot_step.decimal();
        let afford = |(price, qty): Level| {
            let mut qty = qty.min((quote / price / lot).floor() * lot);
            // A quotient may have been rounded up.
            if qty * price > quote {
                qty -= lot;
            }
            quote -= qty * price;
            (qty > Decimal::ZERO).then_some((price, qty))
        };
        offers.into_iter().filter_map(afford).collect()
    }

    /// A triggered stop that buys may find the market dearer than its trigger: what is free is reserved as well,
    /// and what cannot be paid is not taken.
    fn reserve_more(&mut self, account: usize, index: usize, offers: Vec<Level>) -> Vec<Level> {
        let Some(order) = self.order(account, index) else { return offers };
        let reserved = order.reserved;
        let asset = self.coin(order.symbol, Pair::quote);
        let free = self.accounts.get_mut(account).map_or(Decimal::ZERO, |owner| owner.balance(&asset).free);
        let offers = self.afforded(offers, (reserved + free) / self.with_fee_factor());
        let more = (self.with_fee(cost(&offers)) - reserved).clamp(Decimal::ZERO, free);
        if let Some(owner) = self.accounts.get_mut(account)
            && owner.lock(&asset, more)
            && let Some(order) = owner.order_mut(index)
        {
            order.reserved += more;
        }
        offers
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
        let Some(order) = self.order(account, index).filter(|_| !qty.is_zero()) else { return };
        let (order_id, symbol, side) = (order.id, order.symbol, order.side);
        let (base, quote) = (self.coin(symbol, Pair::base), self.coin(symbol, Pair::quote));
        let (fee, fee_asset) = self.fee(account, side, &base, &quote, (price, qty));
        let (trade_id, factor) = (self.numbers.fill(), self.with_fee_factor());
        let Some(owner) = self.accounts.get_mut(account) else { return };
        let number = owner.fills.len();
        let Some(order) = owner.order_mut(index) else { return };
        let fill = Fill { trade_id, order_id, symbol, side, price, qty, fee, fee_asset, is_maker, at };
        order.fills.push(number);
        order.executed += qty;
        order.quote_executed += price * qty;
        order.updated_at = at;
        let is_whole = order.left().is_zero();
        order.status = if is_whole { Status::Filled } else { Status::PartiallyFilled };
        let part = match order.side {
            Side::Buy if order.kind.has_price() => order.price * qty * factor,
            Side::Buy => price * qty * factor,
            Side::Sell => qty,
        };
        // The last fill gives back whatever is left of what was reserved.
        let reserved = if is_whole { order.reserved } else { part.min(order.reserved) };
        order.reserved -= reserved;
        if is_whole {
            owner.close(index);
        }
        owner.settle(&fill, &base, &quote, reserved);
        owner.fills.push(fill.clone());
        self.tell(account, index, Execution::Trade(&fill), at);
        if let Some(owner) = self.accounts.get_mut(account) {
            let both = [base.as_str(), &quote];
            let third = Some(fill.fee_asset.as_str()).filter(|asset| !both.contains(asset));
            owner.tell_balances(&both.into_iter().chain(third).collect::<Vec<_>>(), at);
        }
    }

    /// What an execution costs, and in which asset.
    fn fee(
        &mut self,
        account: usize,
        side: Side,
        base: &str,
        quote: &str,
        (price, qty): Level,
    ) -> (Decimal, String) {
        let worth = price * qty;
        let in_bnb = (worth * self.fee / BNB_PRICE).trunc_with_scale(8);
        let has_bnb = |owner: &mut Account| owner.balance(BNB).free >= in_bnb;
        match self.fee_asset {
            // Never more than was reserved for it.
            FeeAsset::Quote => ((worth * self.fee).trunc_with_scale(8), quote.to_owned()),
            FeeAsset::Bnb if self.accounts.get_mut(account).is_some_and(has_bnb) => (in_bnb, BNB.to_owned()),
            FeeAsset::Bnb | FeeAsset::Received => match side {
                Side::Buy => ((qty * self.fee).round_dp(8), base.to_owned()),
                Side::Sell => ((worth * self.fee).round_dp(8), quote.to_owned()),
            },
        }
    }

    /// By what a buy's worth is multiplied to be reserved.
    fn with_fee_factor(&self) -> Decimal {
        let fee = if self.fee_asset == FeeAsset::Quote { self.fee } else { Decimal::ZERO };
        Decimal::ONE + fee
    }

    /// What a buy reserves.
    fn with_fee(&self, worth: Decimal) -> Decimal {
        let up = RoundingStrategy::AwayFromZero;
        (worth * self.with_fee_factor()).round_dp_with_strategy(8, up)
    }

    /// Until when an order that is taken now is hidden.
    fn hidden_until(&self, at: Timestamp) -> Timestamp {
        let Faults { hide, hide_rate, .. } = self.trouble.faults;
        if hide.is_zero() || !self.trouble.dice.happens("ordersHidden", hide_rate) {
            return Timestamp::MIN;
        }
        Timestamp::from_millis(at.millis() + i64::try_from(hide.as_millis()).unwrap_or(i64::MAX / 2))
    }

    /// Ends an order unfilled, or with what it filled, and gives back what is still reserved.
    fn end(&mut self, account: usize, index: usize, status: Status, told: Execution<'_>, at: Timestamp) {
        let Some(order) = self.order_mut(account, index) else { return };
        order.status = status;
        order.updated_at = at;
        let (symbol, side) = (order.symbol, order.side);
        let reserved = std::mem::take(&mut order.reserved);
        let (base, quote) = (self.coin(symbol, Pair::base), self.coin(symbol, Pair::quote));
        if let Some(owner) = self.accounts.get_mut(account) {
            owner.close(index);
            owner.unlock(if side == Side::Buy { &quote } else { &base }, reserved);
        }
        self.tell(account, index, told, at);
        if let Some(owner) = self.accounts.get_mut(account) {
            owner.tell_balances(&[&base, &quote], at);
        }
    }

    fn order(&self, account: usize, index: usize) -> Option<&Order> {
        self.accounts.get(account)?.order(index)
    }

    fn order_mut(&mut self, account: usize, index: usize) -> Option<&mut Order> {
        self.accounts.get_mut(account)?.order_mut(index)
    }

    /// A coin of a pair.
    fn coin(&self, symbol: usize, pick: fn(&Pair) -> &str) -> String {
        self.symbols.get(symbol).map(|symbol| pick(&symbol.pair).to_owned()).unwrap_or_default()
    }

    fn tell(&mut self, account: usize, index: usize, execution: Execution<'_>, at: Timestamp) {
        let number = self.numbers.execution();
        let Some(owner) = self.accounts.get_mut(account) else { return };
        let Some(order) = owner.order(index).cloned() else { return };
        let Some(symbol) = self.symbols.get(order.symbol) else { return };
        owner.tell_order(&order, &symbol.name, execution, number, at);
    }
}

/// How much is offered in all.
fn total(offers: &[Level]) -> Decimal {
    offers.iter().map(|(_, qty)| qty).sum()
}

/// What all of the offers cost.
fn cost(offers: &[Level]) -> Decimal {
    offers.iter().map(|(price, qty)| price * qty).sum()
}

/// The first offers, up to a quantity.
fn shortened(offers: Vec<Level>, mut most: Decimal) -> Vec<Level> {
    let shorten = |(price, qty): Level| {
        let qty = qty.min(most);
        most -= qty;
        (!qty.is_zero()).then_some((price, qty))
    };
    offers.into_iter().filter_map(shorten).collect()
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
