//! A trade: a bot's first buy to flat (contract §3 and §4).

use serde::{Deserialize, Serialize};

use crate::{BotId, Exchange, Order, Pair, Pct, Price, Qty, Quote, Rate, Side, Standing, Timestamp, TradeId};

/// Whether a trade still holds coins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TradeStatus {
    /// It holds.
    Open,
    /// Flat again.
    Closed,
}

impl TradeStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Why a trade was closed (contract §4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The price reached the stop.
    StopLoss,
    /// The price reached the trailing stop, and that lay strictly above the stop.
    TrailingStop,
    /// The price reached the take-profit price.
    TakeProfit,
    /// The trade was armed at the take-profit price and the price fell back by the trailing distance.
    TrailingTakeProfit,
    /// The user asked for it.
    Manual,
    /// The strategy's own sign.
    Signal,
}

impl ExitReason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StopLoss => "stop_loss",
            Self::TrailingStop => "trailing_stop",
            Self::TakeProfit => "take_profit",
            Self::TrailingTakeProfit => "trailing_take_profit",
            Self::Manual => "manual",
            Self::Signal => "signal",
        }
    }
}

/// Where fee rates are from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeeSource {
    /// The venue tells them for the account and the pair.
    Account,
    /// The server's configuration: on paper, and where the venue does not tell.
    Configured,
}

/// The fee rates that a trade's levels are computed with, in percent of an order's worth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeeRates {
    /// Of an order that rested until it filled.
    pub maker: Pct,
    /// Of an order that filled at once.
    pub taker: Pct,
    /// Where they are from.
    pub source: FeeSource,
}

impl FeeRates {
    /// Of rates as fractions.
    pub fn new(maker: Rate, taker: Rate, source: FeeSource) -> Self {
        let pct = |rate: Rate| {
            let pct = rate.decimal() * rust_decimal::Decimal::ONE_HUNDRED;
            Pct::new(pct.normalize()).unwrap_or_default()
        };
        Self { maker: pct(maker), taker: pct(taker), source }
    }

    /// The taker's as a fraction.
    pub fn taker_rate(&self) -> Option<Rate> {
        Rate::from_pct(self.taker).ok()
    }
}

/// A trade as the API shows it; what is not known yet is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trade {
    /// Its id.
    pub id: TradeId,
    /// Whose it is.
    pub bot_id: BotId,
    /// Where.
    pub exchange: Exchange,
    /// What.
    pub pair: Pair,
    /// Always a buy first.
    pub side: Side,
    /// Open or closed.
    pub status: TradeStatus,
    /// Whether it was made on paper.
    pub dry_run: bool,
    /// The first buy's time.
    pub opened_at: Timestamp,
    /// When it was flat again.
    #[schema(required)]
    pub closed_at: Option<Timestamp>,
    /// The average cost price A, fee included, to 8 decimals; the trade's own books keep it exact.
    #[serde(with = "crate::number")]
    #[schema(value_type = crate::Number)]
    pub entry_price: rust_decimal::Decimal,
    /// The average price it was sold at.
    #[schema(required)]
    pub exit_price: Option<Price>,
    /// How much it holds, or held, in base, without what left a live account by its owner's own hand.
    pub amount: Qty,
    /// Quote spent, fees included.
    pub stake: Quote,
    /// Fees paid so far, in quote.
    pub fees: Quote,
    /// How many fills had a fee in a third coin that nobody could value: it stands in the fill and is neither in `fees` nor
    /// in `profit`. 0 but where the venue told no price; a closed trade's is valued, once, as soon as the venue tells what
    /// the price was then.
    pub unvalued_fees: u32,
    /// Profit in quote; unrealised, at the last price, while open. What left a live account by its owner's own hand takes
    /// its share of `stake` along, and makes neither profit nor loss.
    #[schema(required)]
    pub profit: Option<Quote>,
    /// Profit as a percentage of `stake`.
    #[schema(required)]
    pub profit_pct: Option<Pct>,
    /// Profit in US dollars: `profit · usd_rate`, to eight decimals where the quote coin is no dollar.
    #[schema(required)]
    pub profit_usd: Option<Quote>,
    /// US dollars for one quote coin: 1 where it is a dollar. Of a closed trade the venue's price at the moment of its
    /// close, kept and never reckoned anew; `null` where none could be had then. Of an open one the last price.
    #[schema(required)]
    pub usd_rate: Option<Quote>,
    /// Why it was closed.
    #[schema(required)]
    pub exit_reason: Option<ExitReason>,
    /// Where it would stop.
    #[schema(required)]
    pub stop_price: Option<Price>,
    /// Where it would take its profit.
    #[schema(required)]
    pub take_profit_price: Option<Price>,
    /// What its levels are computed with: the fees of its fills are those that were really paid. `null` for a trade that
    /// closed before this was kept.
    #[schema(required)]
    pub fee_rates: Option<FeeRates>,
    /// Everything that was ordered for it, oldest first.
    pub orders: Vec<Order>,
    /// How it stands against the market, where that was looked up: shown of open trades beside the other fields.
    #[serde(skip)]
    #[schema(ignore)]
    pub standing: Option<Box<Standing>>,
}
