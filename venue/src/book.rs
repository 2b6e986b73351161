//! What whoever takes gets out of the book, and how much of it the faults let him find.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::fault::Fault;
use crate::matching::{closed, crosses};
use crate::order::Side;
use crate::world::{Level, World};

impl World {
    /// The best price for whoever takes.
    pub(crate) fn taken_at(&self, symbol: usize, side: Side) -> Result<Decimal, Fault> {
        let symbol = self.symbols.get(symbol).ok_or_else(closed)?;
        let top = symbol.top.ok_or_else(closed)?;
        Ok(match side {
            Side::Buy => top.ask.decimal(),
            Side::Sell => top.bid.decimal(),
        })
    }

    /// What the book gives to whoever takes now, dearer and dearer. There is enough of it, within the limit.
    pub(crate) fn offers(
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
    pub(crate) fn parts(&self, qty: Decimal) -> Vec<Decimal> {
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
    pub(crate) fn found(&self, qty: Decimal) -> Decimal {
        let lot = self.steps.lot_step.decimal();
        let lots = (qty / lot).to_u64().unwrap_or_default();
        if lots > 1 && self.trouble.dice.happens("thinBooks", self.trouble.faults.thin_rate) {
            return lot * Decimal::from(self.trouble.dice.between(1, lots - 1));
        }
        qty
    }

    /// As much of the offers as an amount of quote pays for, in whole lots.
    pub(crate) fn afforded(&self, offers: Vec<Level>, mut quote: Decimal) -> Vec<Level> {
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
}

/// How much is offered in all.
pub(crate) fn total(offers: &[Level]) -> Decimal {
    offers.iter().map(|(_, qty)| qty).sum()
}

/// What all of the offers cost.
pub(crate) fn cost(offers: &[Level]) -> Decimal {
    offers.iter().map(|(price, qty)| price * qty).sum()
}

/// The first offers, up to a quantity.
pub(crate) fn shortened(offers: Vec<Level>, mut most: Decimal) -> Vec<Level> {
    let shorten = |(price, qty): Level| {
        let qty = qty.min(most);
        most -= qty;
        (!qty.is_zero()).then_some((price, qty))
    };
    offers.into_iter().filter_map(shorten).collect()
}
