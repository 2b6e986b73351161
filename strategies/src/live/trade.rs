//! A live trade's books: its orders with their executions, and what follows from them.

use model::{ClientOrderId, ExitReason, Pair, Pct, Price, Qty, Quote, Side, Timestamp};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use super::order::{Execution, LiveOrder, Role};

/// How a trade ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closing {
    /// Why.
    pub reason: ExitReason,
    /// When the last of it was sold, by the venue's clock.
    pub at: Timestamp,
}

/// The orders of one trade, and what follows from them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LiveTrade {
    /// Everything that was ordered for it, oldest first.
    pub orders: Vec<LiveOrder>,
    /// How much of what was bought is gone by its owner's own hand.
    #[serde(default)]
    pub missing: Qty,
    /// How it ended; `None` while it is open.
    #[serde(default)]
    pub closing: Option<Closing>,
}

impl LiveTrade {
    /// The books of a trade whose bot has gone on to another: from all that was bought and sold in it.
    pub fn recounted(
        bought: Vec<Execution>,
        sold: Vec<Execution>,
        missing: Qty,
        closing: Option<Closing>,
    ) -> Self {
        let of = |role, executions| {
            let id = ClientOrderId::from_u128(0);
            LiveOrder { executions, ..LiveOrder::ended(id, role, Qty::ZERO, Price::MIN, Timestamp::MIN) }
        };
        Self { orders: vec![of(Role::Entry(0), bought), of(Role::Exit, sold)], missing, closing }
    }

    fn executions(&self, side: Side) -> impl Iterator<Item = &Execution> {
        self.orders.iter().filter(move |order| order.role.side() == side).flat_map(|order| &order.executions)
    }

    /// Base that was received: fees that the venue took in the base coin are off it.
    pub fn received(&self, pair: &Pair) -> Qty {
        qty(self.executions(Side::Buy).map(|e| e.received(pair)).sum())
    }

    /// Quote that was spent, fees that the venue took in the quote coin or a third one included.
    pub fn stake(&self, pair: &Pair) -> Quote {
        quote(self.executions(Side::Buy).map(|e| spent(e, pair)).sum())
    }

    /// Base that was sold.
    pub fn sold(&self) -> Qty {
        self.executions(Side::Sell).map(|e| e.qty).sum()
    }

    /// Quote that came back, fees off it.
    pub fn proceeds(&self, pair: &Pair) -> Quote {
        let sold: Decimal = self.executions(Side::Sell).map(|e| e.proceeds(pair)).sum();
        quote(sold - self.fees_beyond(pair))
    }

    /// Base that is held.
    pub fn held(&self, pair: &Pair) -> Qty {
        qty(self.left(pair))
    }

    /// Base that was received and has not gone; below zero where fees of sells took more than that.
    fn left(&self, pair: &Pair) -> Decimal {
        let gone: Decimal = self.executions(Side::Sell).map(|e| e.gone(pair)).sum();
        self.received(pair).decimal() - gone - self.missing.decimal()
    }

    /// What fees of sells that were taken in base cost where the trade had nothing left to pay them with: the account's
    /// own coins, each at the price of its execution. What the trade had left pays for the last of them.
    fn fees_beyond(&self, pair: &Pair) -> Decimal {
        let mut beyond = (-self.left(pair)).max(Decimal::ZERO);
        let mut sells: Vec<&Execution> = self.executions(Side::Sell).collect();
        sells.sort_by_key(|execution| execution.trade_id);
        let cost = |execution: &Execution| {
            let taken = fee_in(execution, pair.base()).min(beyond);
            beyond -= taken;
            taken * execution.price.decimal()
        };
        sells.into_iter().map(cost).sum()
    }

    /// Fees in quote: those taken in quote, those taken in base at the price of their execution, and those taken in a
    /// third coin at what that was worth then.
    pub fn fees(&self, pair: &Pair) -> Quote {
        let all = self.orders.iter().flat_map(|order| &order.executions);
        let worth = |e: &Execution| fee_in_quote(e, pair) + fee_in(e, pair.base()) * e.price.decimal();
        quote(all.map(worth).sum())
    }

    /// How many executions have a fee that is not in the books, because nobody could tell what it was worth.
    pub fn unvalued_fees(&self, pair: &Pair) -> usize {
        let all = self.orders.iter().flat_map(|order| &order.executions);
        all.filter(|execution| execution.lacks_fee_price(pair)).count()
    }

    /// The average cost price A: what was spent over what was received; zero before the first buy.
    pub fn average(&self, pair: &Pair) -> Decimal {
        self.stake(pair).decimal().checked_div(self.received(pair).decimal()).unwrap_or_default()
    }

    /// The average price it was sold at, to eight decimals.
    pub fn exit_price(&self) -> Option<Price> {
        let worth: Decimal = self.executions(Side::Sell).map(|e| (e.price * e.qty).decimal()).sum();
        let average = worth.checked_div(self.sold().decimal())?;
        Price::new(average.round_dp_with_strategy(8, RoundingStrategy::ToZero)).ok()
    }

    /// Base that is the trade's: what was received, without what left by its owner's own hand.
    pub fn amount(&self, pair: &Pair) -> Qty {
        qty(self.received(pair).decimal() - self.missing.decimal())
    }

    /// What a closed trade leaves unsold, at what it cost, to eight decimals: too little for the venue to take, it
    /// passes to the account's dust and out of the trade's profit. Zero while the trade is open.
    pub fn dust_cost(&self, pair: &Pair) -> Quote {
        if self.closing.is_none() {
            return Quote::ZERO;
        }
        self.cost_of(self.held(pair), pair)
    }

    /// What was spent for what was sold, in quote: what its owner took out left the trade at what it cost.
    fn cost(&self, pair: &Pair) -> Quote {
        self.stake(pair) - self.dust_cost(pair) - self.cost_of(self.missing, pair)
    }

    /// What of the stake was spent for some of what was received, to eight decimals; all of it for all.
    fn cost_of(&self, some: Qty, pair: &Pair) -> Quote {
        cost_of(some, self.received(pair), self.stake(pair))
    }

    /// Profit in quote of a closed trade: what was sold brought, less what that had cost. The rest of the stake is in the
    /// account's dust, or its owner took it out.
    pub fn profit(&self, pair: &Pair) -> Quote {
        self.proceeds(pair) - self.cost(pair)
    }

    /// A profit as a percentage of all that was spent, to eight decimals (contract section 4).
    pub fn profit_pct(&self, pair: &Pair, profit: Quote) -> Pct {
        let share = profit.decimal().checked_div(self.stake(pair).decimal()).unwrap_or_default();
        Pct::new((share * Decimal::ONE_HUNDRED).round_dp(8).normalize()).unwrap_or_default()
    }

    /// When the first buy filled.
    pub fn opened_at(&self) -> Option<Timestamp> {
        self.executions(Side::Buy).map(|e| e.at).min()
    }

    /// When the last buy filled.
    pub(super) fn entered_at(&self) -> Option<Timestamp> {
        self.executions(Side::Buy).map(|e| e.at).max()
    }

    /// When the last sell filled.
    pub(super) fn sold_at(&self) -> Option<Timestamp> {
        self.executions(Side::Sell).map(|e| e.at).max()
    }

    /// Why the last of what was sold was.
    pub(super) fn sold_for(&self) -> Option<ExitReason> {
        let sells = self.orders.iter().filter(|order| order.role.side() == Side::Sell);
        let last = sells.max_by_key(|order| order.executions.last().map(|e| e.at))?;
        last.executions.last()?;
        Some(last.reason.unwrap_or(ExitReason::Manual))
    }

    /// Orders that are not settled.
    pub fn open_orders(&self) -> impl Iterator<Item = &LiveOrder> {
        self.orders.iter().filter(|order| !order.is_settled())
    }
}

impl Execution {
    /// Quote that a sell brought, fees off it.
    pub fn proceeds(&self, pair: &Pair) -> Decimal {
        (self.price * self.qty).decimal() - fee_in_quote(self, pair)
    }

    /// Base that a buy brought, a fee in base off it.
    pub fn received(&self, pair: &Pair) -> Decimal {
        self.qty.decimal() - fee_in(self, pair.base())
    }

    /// Base that went with a sell, a fee in base with it.
    pub fn gone(&self, pair: &Pair) -> Decimal {
        self.qty.decimal() + fee_in(self, pair.base())
    }
}

/// What of a stake was spent for some of what was received, to eight decimals; all of it for all.
pub fn cost_of(some: Qty, received: Qty, stake: Quote) -> Quote {
    if some >= received {
        return stake;
    }
    let average = stake.decimal().checked_div(received.decimal()).unwrap_or_default();
    quote((some.decimal() * average).round_dp(8).normalize())
}

/// What an execution cost, in quote.
pub(super) fn spent(execution: &Execution, pair: &Pair) -> Decimal {
    (execution.price * execution.qty).decimal() + fee_in_quote(execution, pair)
}

/// An execution's fee where it was taken in this coin.
fn fee_in(execution: &Execution, coin: &str) -> Decimal {
    if &*execution.fee_asset == coin { execution.fee.decimal() } else { Decimal::ZERO }
}

/// An execution's fee where it was taken in quote, or in a third coin whose price is known.
fn fee_in_quote(execution: &Execution, pair: &Pair) -> Decimal {
    let in_third = execution.fee_price.filter(|_| execution.is_fee_in_third_coin(pair));
    let worth = in_third.map_or(Decimal::ZERO, |price| execution.fee.decimal() * price.decimal());
    fee_in(execution, pair.quote()) + worth
}

fn qty(value: Decimal) -> Qty {
    Qty::new(value).unwrap_or_default()
}

fn quote(value: Decimal) -> Quote {
    Quote::new(value).unwrap_or_default()
}
