//! A live order as its bot knows it: what was asked for, what the venue told of it, and when it is settled.

use model::{ClientOrderId, ExitReason, Pair, Price, Qty, Quote, Side, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What an order is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An entry: 0 for the base order, then the safety orders.
    Entry(u32),
    /// More bought by its owner's hand, beside the ladder.
    Added,
    /// It sells what is held.
    Exit,
    /// It rests at the venue and sells what is held at the stop.
    Protection,
}

impl Role {
    /// A word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entry(_) => "entry",
            Self::Added => "added",
            Self::Exit => "exit",
            Self::Protection => "protection",
        }
    }

    /// Whether it buys.
    pub const fn is_entry(self) -> bool {
        matches!(self, Self::Entry(_) | Self::Added)
    }

    /// Which way it goes.
    pub const fn side(self) -> Side {
        match self {
            Self::Entry(_) | Self::Added => Side::Buy,
            Self::Exit | Self::Protection => Side::Sell,
        }
    }
}

/// How it is worked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terms {
    /// At whatever the book gives; what it does not give expires.
    Market,
    /// At this price or better; what the book does not give rests until it is taken back.
    Limit(Price),
    /// Once the price has fallen to `stop`, at `limit` or better.
    StopLimit {
        /// What triggers it.
        stop: Price,
        /// The least that is taken.
        limit: Price,
    },
}

/// One execution, as the venue told it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Execution {
    /// The venue's number for it: one execution has one, whichever way and however often it is told.
    pub trade_id: i64,
    /// When, by the venue's clock.
    pub at: Timestamp,
    /// What was paid.
    pub price: Price,
    /// How much, in base.
    pub qty: Qty,
    /// What it cost, in `fee_asset`.
    pub fee: Quote,
    /// The coin that the fee was taken in: base, quote or a third one.
    pub fee_asset: Box<str>,
    /// What one coin of a third one was worth in the trade's quote coin then. `None` where the fee was taken in base or
    /// quote, and where no price could be had: then the fee counts for nothing in the books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_price: Option<Quote>,
}

impl Execution {
    /// Whether its fee was taken in neither coin of the pair.
    pub fn is_fee_in_third_coin(&self, pair: &Pair) -> bool {
        !self.fee.is_zero() && &*self.fee_asset != pair.base() && &*self.fee_asset != pair.quote()
    }

    /// Whether its fee is not in the books, because nobody could tell what it was worth.
    pub fn lacks_fee_price(&self, pair: &Pair) -> bool {
        self.fee_price.is_none() && self.is_fee_in_third_coin(pair)
    }
}

/// How an order ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Filled whole.
    Filled,
    /// Taken back; what was filled counts.
    Canceled,
    /// Ended by the venue; what was filled counts.
    Expired,
    /// Refused, in the venue's words.
    Rejected(Box<str>),
    /// It is proven that the venue never got it.
    NeverArrived,
}

/// What the venue knows of an order, from an answer, a query or its stream: all three say the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What we call it.
    pub client_id: ClientOrderId,
    /// How it ended; `None` while it is open.
    pub end: Option<End>,
    /// How much of it has filled in all.
    pub executed: Qty,
    /// Some or all of its executions; told ones may be told again.
    pub executions: Vec<Execution>,
}

/// How far an order was asked not to fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Recall {
    /// Not at all.
    #[default]
    No,
    /// Not to leave if it has not left yet.
    Withdrawn,
    /// To be taken back wherever it is.
    Canceled,
}

/// An order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveOrder {
    /// What the venue is told to call it: minted once, before it is journaled.
    pub client_id: ClientOrderId,
    /// What it is for.
    pub role: Role,
    /// How it is worked.
    pub terms: Terms,
    /// How much, in base, on the lot grid.
    pub qty: Qty,
    /// Why it sells; a stop that rests knows when it is placed why it would. `None` of what buys, and of what no rule
    /// asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ExitReason>,
    /// The price decided at.
    pub decided: Price,
    /// When it was decided, by the market's clock.
    pub at: Timestamp,
    /// The price at or below which its step of the ladder is bought; `None` of what hangs on no price. It matters until
    /// the order has left, which no restart lets it do.
    #[serde(skip)]
    pub trigger: Option<Price>,
    /// What is known to have filled it, in the order of the venue's numbers.
    pub executions: Vec<Execution>,
    /// How much of it has filled in all; more than `executions` say while some of them were not told.
    pub executed: Qty,
    /// How it ended.
    pub end: Option<End>,
    /// Whether it was ever asked to be taken back.
    pub is_cancel_asked: bool,
    /// What was asked since the process began: whether the venue heard of an earlier request is not known.
    #[serde(skip)]
    pub(super) recall: Recall,
    /// Whether its bot has drawn its conclusions from its end.
    pub(super) is_booked: bool,
}

/// What a report changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Heard {
    /// It told of the first execution.
    pub(super) has_begun_to_fill: bool,
    /// It told of executions that were not known.
    pub(super) has_new_executions: bool,
    /// It told of the end for the first time.
    pub(super) has_ended: bool,
}

impl LiveOrder {
    /// An order whose bot has drawn its conclusions from its end long ago.
    pub(super) const fn ended(
        client_id: ClientOrderId,
        role: Role,
        qty: Qty,
        decided: Price,
        at: Timestamp,
    ) -> Self {
        Self {
            client_id,
            role,
            terms: Terms::Market,
            qty,
            reason: None,
            decided,
            at,
            trigger: None,
            executions: Vec::new(),
            executed: Qty::ZERO,
            end: Some(End::Canceled),
            is_cancel_asked: false,
            recall: Recall::No,
            is_booked: true,
        }
    }

    /// Takes a report in. The outcome does not depend on the order in which reports come, or how often: what is known of
    /// an execution stays, its fee's price with it.
    pub(super) fn hear(&mut self, report: &Report) -> Heard {
        let mut heard = Heard::default();
        let was_untouched = self.executions.is_empty();
        for execution in &report.executions {
            let place = self.executions.binary_search_by_key(&execution.trade_id, |known| known.trade_id);
            if let Err(place) = place {
                self.executions.insert(place, execution.clone());
                heard.has_new_executions = true;
            }
        }
        heard.has_begun_to_fill = was_untouched && heard.has_new_executions;
        // A report that is older than what is known takes nothing back.
        self.executed = self.executed.max(report.executed).max(self.told());
        if let Some(end) = &report.end {
            let was_misjudged = self.end == Some(End::NeverArrived) && *end != End::NeverArrived;
            if self.end.is_none() || was_misjudged {
                heard.has_ended = self.end.is_none();
                self.end = Some(end.clone());
            }
        }
        heard
    }

    /// Whether it is a limit order that buys.
    pub(super) fn rests_to_buy(&self) -> bool {
        self.role.is_entry() && matches!(self.terms, Terms::Limit(_))
    }

    /// How much of it is known by its executions.
    pub fn told(&self) -> Qty {
        self.executions.iter().map(|execution| execution.qty).sum()
    }

    /// Whether its executions are not all told: the venue must be asked for them.
    pub fn lacks_executions(&self) -> bool {
        let expected =
            if self.end == Some(End::Filled) { self.qty.max(self.executed) } else { self.executed };
        self.told() < expected
    }

    /// Whether nothing more will happen to it, and all that did is known.
    pub fn is_settled(&self) -> bool {
        self.end.is_some() && !self.lacks_executions()
    }

    /// What was spent, in quote, fees in quote or a third coin included.
    pub fn spent(&self, pair: &Pair) -> Quote {
        let spent = self.executions.iter().map(|execution| super::trade::spent(execution, pair)).sum();
        Quote::new(spent).unwrap_or_default()
    }

    /// Its average price, gross of fees, rounded down to eight decimals; `None` before it filled.
    pub fn average_price(&self) -> Option<Price> {
        let worth: Decimal = self.executions.iter().map(|e| (e.price * e.qty).decimal()).sum();
        let average = worth.checked_div(self.told().decimal())?;
        Price::new(average.round_dp_with_strategy(8, rust_decimal::RoundingStrategy::ToZero)).ok()
    }
}
