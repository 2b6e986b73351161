//! What the venue takes on a pair: how small and how large an order may be, and on which steps.

use model::{Market, OrderKind, Price, Qty};
use rust_decimal::Decimal;

use crate::error::StrategyError;
use crate::exact::{self, Factor};

/// The pair's grid and costs, and how a bot orders under them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MarketRules {
    /// The grid and the costs.
    pub(crate) market: Market,
    /// How its entries are worked.
    pub(crate) entries: OrderKind,
    /// Whether the venue may take its fee out of what was bought.
    pub(crate) is_live: bool,
}

/// The most quote that one trade may spend.
pub(crate) const MAX_STAKE: u64 = 1_000_000_000_000;

impl MarketRules {
    /// How much entry `index` buys with its stake at `price`.
    ///
    /// # Errors
    /// Where the venue takes no such order.
    pub(crate) fn entry(&self, index: u32, stake: &Factor, price: Price) -> Result<Qty, StrategyError> {
        let qty = exact::quantity(stake, price, self.market.lot_step);
        let worth = qty.and_then(|qty| price.decimal().checked_mul(qty.decimal()));
        let (Some(qty), Some(worth)) = (qty, worth) else { return Err(StrategyError::OutOfRange) };
        let (entry, minimum) = (index + 1, self.market.min_notional);
        if worth < minimum.decimal() {
            return Err(StrategyError::BelowMinimum { entry, worth, minimum });
        }
        self.in_bounds(entry, qty, self.entries).map(|()| qty)
    }

    /// Whether the venue takes one order of so much.
    ///
    /// # Errors
    /// [`StrategyError::TooFew`] and [`StrategyError::TooMany`] about entry number `entry`.
    pub(crate) fn in_bounds(&self, entry: u32, qty: Qty, kind: OrderKind) -> Result<(), StrategyError> {
        let bounds = self.market.bounds;
        if qty < bounds.min_qty {
            return Err(StrategyError::TooFew { entry, qty, minimum: bounds.min_qty });
        }
        let most = match kind {
            OrderKind::Market => bounds.max_market_qty,
            OrderKind::Limit => bounds.max_qty,
        };
        match most.filter(|most| qty > *most) {
            Some(maximum) => Err(StrategyError::TooMany { entry, qty, maximum }),
            None => Ok(()),
        }
    }

    /// What the next of the market orders sells that sell all of this: all of it where the venue takes that in one, else
    /// about as much as each of the others.
    pub(crate) fn part(&self, all: Qty) -> Qty {
        let most = self.market.bounds.max_market_qty.and_then(|most| self.in_lots(most.decimal()));
        let Some(most) = most.filter(|most| !most.is_zero() && all > *most) else { return all };
        let orders = all.decimal().checked_div(most.decimal()).unwrap_or_default().ceil();
        let (share, lot) = (all.decimal().checked_div(orders), self.market.lot_step.decimal());
        let lots = share.and_then(|share| Some(share.checked_div(lot)?.ceil()));
        lots.and_then(|lots| Qty::new((lots * lot).normalize()).ok()).unwrap_or(most).min(most)
    }

    /// How many market orders it takes to sell so much.
    pub(crate) fn parts(&self, all: Qty) -> Decimal {
        let most = self.market.bounds.max_market_qty.filter(|most| !most.is_zero());
        let orders = most.and_then(|most| all.decimal().checked_div(most.decimal()));
        orders.map_or(Decimal::ONE, |orders| orders.ceil())
    }

    /// What of so much one stop may sell that rests at the venue.
    pub(crate) fn stop_part(&self, all: Qty) -> Qty {
        let most = self.market.bounds.max_qty.and_then(|most| self.in_lots(most.decimal()));
        most.map_or(all, |most| all.min(most))
    }

    /// Whether the venue sells so much at this price, which is on the lot.
    pub(crate) fn is_sellable(&self, qty: Qty, price: Price) -> bool {
        !qty.is_zero() && qty >= self.market.bounds.min_qty && price * qty >= self.market.min_notional
    }

    /// The same on the pair's grid as it is now, at the fees of before.
    #[must_use]
    pub(crate) fn on_grid(self, market: &Market) -> Self {
        let Market { fee, slippage, .. } = self.market;
        Self { market: Market { fee, slippage, ..*market }, ..self }
    }

    /// Why what a base order buys could not be sold again at its own price, once the fee is taken out of it.
    pub(crate) fn unsellable(&self, bought: Qty, price: Price) -> Option<String> {
        let (received, minimum) = (self.received(bought)?, self.market.min_notional);
        let least = self.market.bounds.min_qty;
        if received < least {
            return Some(format!(
                "buys what comes to {received} once the fee is taken out of it, the venue's minimum is {least}"
            ));
        }
        let worth = price.decimal().checked_mul(received.decimal())?;
        (worth < minimum.decimal()).then(|| {
            format!(
                "buys what comes to {worth} once the fee is taken out of it, the venue's minimum is {minimum}"
            )
        })
    }

    /// What of a bought quantity can be sold where the fee was taken out of it.
    pub(crate) fn received(&self, bought: Qty) -> Option<Qty> {
        self.in_lots(bought.decimal() * (Decimal::ONE - self.market.fee.decimal()))
    }

    /// A quantity down to the lot.
    pub(crate) fn in_lots(&self, qty: Decimal) -> Option<Qty> {
        let lot = self.market.lot_step.decimal();
        Qty::new((qty.checked_div(lot)?.floor() * lot).normalize()).ok()
    }
}
