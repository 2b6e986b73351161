//! What the venue says of orders, their executions and the account, read exactly.

use model::{Pair, Price, Qty, Quote, Side, Timestamp};
use rust_decimal::Decimal;

use super::request::side_word;
use crate::binance::error::{Effect, VenueError};
use crate::binance::subscriptions::symbol;

/// An order as the venue knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderReport {
    /// The venue's name of the pair, `BTCUSDT`.
    pub symbol: String,
    /// The venue's id, unique per symbol.
    pub venue_order_id: i64,
    /// The id that the order was placed with: ours, or another client's text.
    pub client_order_id: String,
    /// Which way.
    pub side: Side,
    /// How it is worked, in the venue's word: `LIMIT`, `MARKET`, `STOP_LOSS_LIMIT`.
    pub kind: String,
    /// Where it stands.
    pub status: VenueStatus,
    /// Its limit; `None` where the book decides.
    pub price: Option<Price>,
    /// What sets it off, for a stop.
    pub stop_price: Option<Price>,
    /// How much was asked for, in base.
    pub qty: Qty,
    /// How much of that has filled. It never shrinks from report to report of one order; which of two came later is
    /// told by it, not by their order of arrival.
    pub executed_qty: Qty,
    /// What that was worth, in quote, without fees; `None` where the venue does not know it any more.
    pub executed_quote: Option<Quote>,
    /// When it was placed, where the answer tells.
    pub created_at: Option<Timestamp>,
    /// When this was so, where the answer tells.
    pub updated_at: Option<Timestamp>,
    /// What filled it: only in the answer to its placing, empty everywhere else.
    pub fills: Vec<Execution>,
}

impl OrderReport {
    /// Whether it can be about an order of this pair and side.
    pub fn is_of(&self, pair: &Pair, side: Side) -> bool {
        self.symbol == symbol(pair) && self.side == side
    }

    /// The report, where it is about the order that these parameters name: the pair, the client id and, where an order
    /// is placed, the side. An answer about another order says nothing about the one that was asked for.
    pub(super) fn matching(self, parameters: &str, effect: Effect) -> Result<Self, VenueError> {
        let differs = |(name, value): &(&str, &str)| match *name {
            "symbol" => self.symbol != *value,
            "newClientOrderId" | "origClientOrderId" => self.client_order_id != *value,
            "side" => side_word(self.side) != *value,
            _ => false,
        };
        match parameters.split('&').filter_map(|pair| pair.split_once('=')).find(differs) {
            None => Ok(self),
            Some((name, _)) => {
                let message = format!("the answer is about another order: its {name} differs");
                Err(VenueError::unanswered(effect, message))
            }
        }
    }
}

/// Where an order stands at the venue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VenueStatus {
    /// On the book, or waiting to be set off.
    New,
    /// Accepted, and waiting for another order of its list.
    PendingNew,
    /// On the book, filled in part.
    PartiallyFilled,
    /// Filled whole.
    Filled,
    /// Taken back; what was filled counts.
    Canceled,
    /// Being taken back.
    PendingCancel,
    /// Refused.
    Rejected,
    /// Ended by the venue, also to keep it from trading with its own account; what was filled counts.
    Expired,
    /// A word that is not known here, and so never the end of an order.
    Other(String),
}

impl VenueStatus {
    /// Whether the order will not change any more.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Filled | Self::Canceled | Self::Rejected | Self::Expired => true,
            Self::New | Self::PendingNew | Self::PartiallyFilled | Self::PendingCancel | Self::Other(_) => {
                false
            }
        }
    }
}

/// One execution of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Execution {
    /// The venue's id, unique per symbol: what makes an execution the same one, however often it is told.
    pub trade_id: i64,
    /// The order's id at the venue.
    pub venue_order_id: i64,
    /// The order's client id; `None` in `myTrades`, which does not tell it.
    pub client_order_id: Option<String>,
    /// The venue's name of the pair.
    pub symbol: String,
    /// Which way.
    pub side: Side,
    /// What was paid.
    pub price: Price,
    /// How much, in base; above 0.
    pub qty: Qty,
    /// What it cost, in `fee_asset`; negative where it was a rebate.
    pub fee: Decimal,
    /// The coin that the fee was taken in; `None` where none was.
    pub fee_asset: Option<String>,
    /// When, by the venue's clock.
    pub at: Timestamp,
    /// Whether the order rested on the book.
    pub is_maker: bool,
}

/// What the account holds of one coin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Balance {
    /// The coin.
    pub asset: String,
    /// What may be used.
    pub free: Decimal,
    /// What open orders have set aside.
    pub locked: Decimal,
}

/// An account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Whether it may trade at all; what the key may do is in [`Restrictions`].
    pub can_trade: bool,
    /// What it holds; coins of which it has none are left out.
    pub balances: Vec<Balance>,
    /// The venue's number of the account, where it tells.
    pub uid: Option<i64>,
}

/// What a key may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a permission of its own at the venue")]
pub struct Restrictions {
    /// Read the account.
    pub can_read: bool,
    /// Place and take back spot orders.
    pub can_trade_spot: bool,
    /// Take money out.
    pub can_withdraw: bool,
    /// Move money to another account.
    pub can_transfer: bool,
    /// It works only from addresses that its owner listed.
    pub is_ip_bound: bool,
    /// When it stops to be able to trade, where it does.
    pub trades_until: Option<Timestamp>,
}

/// What happened to an order, from the user's own stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserReport {
    /// The order after it.
    pub order: OrderReport,
    /// The execution, where it was one.
    pub execution: Option<Execution>,
    /// The venue's word for what happened: `NEW`, `TRADE`, `CANCELED`, `REJECTED`, `EXPIRED`.
    pub what: String,
    /// Why it was refused or ended, in the venue's word, where it tells.
    pub reason: Option<String>,
}

/// A frame of the user's own stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserFrame {
    /// Something happened to an order.
    Report(Box<UserReport>),
    /// What the account now holds of the coins that changed.
    Balances {
        /// Those coins.
        balances: Vec<Balance>,
        /// When.
        at: Timestamp,
    },
    /// A deposit, a withdrawal or a transfer changed what the account holds.
    Moved {
        /// The coin.
        asset: String,
        /// By how much; negative where it went out.
        delta: Decimal,
        /// When.
        at: Timestamp,
    },
    /// The venue has ended the stream.
    Terminated,
    /// The venue is about to close the connection.
    ServerShutdown,
    /// Something else: new event types come without notice.
    Other,
}
