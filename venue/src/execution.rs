//! What an execution does to its order, to balances and to those who listen; and how an order ends.

use model::{Pair, Timestamp};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::account::{Account, Execution};
use crate::config::{Faults, FeeAsset};
use crate::order::{Fill, Side, Status};
use crate::world::{Level, World};

/// What fees may be paid in instead of what is received.
const BNB: &str = "BNB";

/// What a BNB counts for there, in quote.
const BNB_PRICE: Decimal = Decimal::from_parts(600, 0, 0, false, 0);

impl World {
    /// A triggered stop that buys may find the market dearer than its trigger, by which it reserved: what is free
    /// pays for it as well, and what cannot be paid is not taken.
    pub(crate) fn payable(&mut self, account: usize, index: usize, offers: Vec<Level>) -> Vec<Level> {
        let Some(order) = self.order(account, index) else { return offers };
        let (reserved, asset) = (order.reserved, self.coin(order.symbol, Pair::quote));
        let free = self.accounts.get_mut(account).map_or(Decimal::ZERO, |owner| owner.balance(&asset).free);
        self.afforded(offers, (reserved + free) / self.with_fee_factor())
    }

    /// One execution, at the time of the print that it stands beside: the market may be played at another pace than
    /// the clock's, or be one of long ago.
    pub(crate) fn fill(
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
        let at = self.market_time(symbol).unwrap_or(at);
        let (base, quote) = (self.coin(symbol, Pair::base), self.coin(symbol, Pair::quote));
        let (fee, fee_asset) = self.fee(account, side, &base, &quote, (price, qty));
        let (trade_id, factor) = (self.numbers.fill(), self.with_fee_factor());
        let Some(owner) = self.accounts.get_mut(account) else { return };
        let number = owner.fills.len();
        let Some(order) = owner.order_mut(index) else { return };
        let fill = Fill { trade_id, order_id, symbol, side, price, qty, fee, fee_asset, is_maker, at };
        let is_first = order.fills.is_empty();
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
        if is_first {
            owner.counts.first_fill(is_maker);
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

    /// The time of a pair's last print.
    fn market_time(&self, symbol: usize) -> Option<Timestamp> {
        self.symbols.get(symbol).filter(|symbol| symbol.day.count > 0).map(|symbol| symbol.day.closed_at)
    }

    /// What an execution costs, and in which asset.
    pub(crate) fn fee(
        &mut self,
        account: usize,
        side: Side,
        base: &str,
        quote: &str,
        (price, qty): Level,
    ) -> (Decimal, String) {
        let worth = price * qty;
        if let Some(in_coin) = self.fee_in_coin(account, quote, worth) {
            return in_coin;
        }
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

    /// The fee in the coin that was chosen for it, where that has a price and the account has enough.
    fn fee_in_coin(&mut self, account: usize, quote: &str, worth: Decimal) -> Option<(Decimal, String)> {
        let coin = self.fee_coin.clone()?;
        let price = self.last_price(&coin, quote)?;
        let fee = (worth * self.fee / price).trunc_with_scale(8);
        let has_enough = self.accounts.get_mut(account)?.balance(&coin).free >= fee;
        has_enough.then_some((fee, coin))
    }

    /// What was last paid for a coin in another.
    fn last_price(&self, base: &str, quote: &str) -> Option<Decimal> {
        let symbol = self.symbols.get(self.symbol(&format!("{base}{quote}"))?)?;
        Some(symbol.last?.decimal())
    }

    /// By what a buy's worth is multiplied to be reserved.
    pub(crate) fn with_fee_factor(&self) -> Decimal {
        let fee = if self.fee_asset == FeeAsset::Quote { self.fee } else { Decimal::ZERO };
        Decimal::ONE + fee
    }

    /// What a buy reserves.
    pub(crate) fn with_fee(&self, worth: Decimal) -> Decimal {
        let up = RoundingStrategy::AwayFromZero;
        (worth * self.with_fee_factor()).round_dp_with_strategy(8, up)
    }

    /// Until when an order that is taken now is hidden.
    pub(crate) fn hidden_until(&self, at: Timestamp) -> Timestamp {
        let Faults { hide, hide_rate, .. } = self.trouble.faults;
        if hide.is_zero() || !self.trouble.dice.happens("ordersHidden", hide_rate) {
            return Timestamp::MIN;
        }
        Timestamp::from_millis(at.millis() + i64::try_from(hide.as_millis()).unwrap_or(i64::MAX / 2))
    }

    /// Ends an order unfilled, or with what it filled, and gives back what is still reserved.
    pub(crate) fn end(
        &mut self,
        account: usize,
        index: usize,
        status: Status,
        told: Execution<'_>,
        at: Timestamp,
    ) {
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
}
