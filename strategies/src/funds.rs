//! What may be added to a trade by hand.

use model::{Fault, Faults, Price, Qty, Quote};
use rust_decimal::Decimal;

use crate::exact::{self, Factor};
use crate::market_rules::{MAX_STAKE, MarketRules};

/// How much is to be bought by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Funds {
    /// For that much quote, as a stake: rounded up to the lot, the fee comes on top.
    Amount(Quote),
    /// That much of the base coin.
    Qty(Qty),
}

impl MarketRules {
    /// How much is bought at `price`, for a trade that has spent `spent` so far.
    ///
    /// # Errors
    /// A quantity off the venue's lots, less than the venue's minimum, or a trade that would spend beyond what any
    /// ladder may.
    pub fn added(&self, funds: Funds, price: Price, spent: Quote) -> Result<Qty, Faults> {
        let param = match funds {
            Funds::Amount(_) => "amount",
            Funds::Qty(_) => "qty",
        };
        let refused = |message: String| {
            Faults(vec![Fault { param: param.to_owned(), code: "parameter_invalid", message }])
        };
        let (lot, minimum) = (self.market.lot_step, self.market.min_notional);
        let qty = match funds {
            Funds::Amount(amount) => exact::quantity(&Factor::new(&amount.decimal().into()), price, lot),
            Funds::Qty(qty) => match qty.decimal().checked_rem(lot.decimal()) {
                Some(rest) if rest.is_zero() => Some(qty),
                _ => return Err(refused(format!("{qty} is no multiple of the venue's step of {lot}"))),
            },
        };
        let too_much = || refused(format!("a trade may not spend more than {MAX_STAKE} in all"));
        let qty = qty.ok_or_else(too_much)?;
        let worth = price.decimal().checked_mul(qty.decimal()).ok_or_else(too_much)?;
        let total = worth.checked_add(spent.decimal()).ok_or_else(too_much)?;
        if total > Decimal::from(MAX_STAKE) {
            return Err(too_much());
        }
        if worth.is_zero() || worth < minimum.decimal() {
            return Err(refused(format!("that comes to {worth}, the venue's minimum is {minimum}")));
        }
        let bounds = self.market.bounds;
        if qty < bounds.min_qty {
            return Err(refused(format!("that buys {qty}, the venue's minimum is {}", bounds.min_qty)));
        }
        if let Some(most) = bounds.max_market_qty.filter(|most| qty > *most) {
            return Err(refused(format!("that buys {qty}, the venue's maximum for one order is {most}")));
        }
        Ok(qty)
    }
}
