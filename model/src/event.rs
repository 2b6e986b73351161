//! What users are told of (contract §5).

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, BotId, EventId, ExitReason, Pair, Payout, PayoutId, PayoutStatus, Pct, Period, PlanLimits,
    Price, Qty, Quote, Side, Subscription, SubscriptionStatus, Tier, Timestamp, Trade, TradeId,
};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub enum EventKind {
    /// A bot began to run.
    #[serde(rename = "bot.started")]
    BotStarted,
    /// A bot stopped.
    #[serde(rename = "bot.stopped")]
    BotStopped,
    /// A trade's base order filled.
    #[serde(rename = "trade.opened")]
    TradeOpened,
    /// An open trade bought more, or sold a part; for endpoints that name it, `/stream` and `/events`.
    #[serde(rename = "trade.updated")]
    TradeUpdated,
    /// A trade is flat again.
    #[serde(rename = "trade.closed")]
    TradeClosed,
    /// A trade's stop was hit; its `trade.closed` follows.
    #[serde(rename = "trade.stoploss")]
    TradeStoploss,
    /// A bot cannot go on.
    #[serde(rename = "bot.error")]
    BotError,
    /// An account's plan changed.
    #[serde(rename = "subscription.changed")]
    SubscriptionChanged,
    /// A payout was made.
    #[serde(rename = "payout.processed")]
    PayoutProcessed,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [Self; 9] = [
        Self::BotStarted,
        Self::BotStopped,
        Self::TradeOpened,
        Self::TradeUpdated,
        Self::TradeClosed,
        Self::TradeStoploss,
        Self::BotError,
        Self::SubscriptionChanged,
        Self::PayoutProcessed,
    ];

    /// The kinds that go to an endpoint which names none: all but `trade.updated`, which came later (contract §5).
    pub const DEFAULT: [Self; 8] = [
        Self::BotStarted,
        Self::BotStopped,
        Self::TradeOpened,
        Self::TradeClosed,
        Self::TradeStoploss,
        Self::BotError,
        Self::SubscriptionChanged,
        Self::PayoutProcessed,
    ];

    /// The kinds that an endpoint which names these subscribes to; naming none subscribes to [`Self::DEFAULT`].
    pub const fn subscribed(named: &[Self]) -> &[Self] {
        if named.is_empty() { &Self::DEFAULT } else { named }
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BotStarted => "bot.started",
            Self::BotStopped => "bot.stopped",
            Self::TradeOpened => "trade.opened",
            Self::TradeUpdated => "trade.updated",
            Self::TradeClosed => "trade.closed",
            Self::TradeStoploss => "trade.stoploss",
            Self::BotError => "bot.error",
            Self::SubscriptionChanged => "subscription.changed",
            Self::PayoutProcessed => "payout.processed",
        }
    }
}

/// An event as it is stored with the change it tells of, and later delivered unchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainEvent {
    /// The same in every delivery.
    pub id: EventId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The bot it is about; events of one bot are delivered in order.
    pub bot_id: Option<BotId>,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub data: EventData,
}

impl DomainEvent {
    /// The body that is stored, signed and delivered.
    ///
    /// # Panics
    /// Never: every part is JSON.
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            id: EventId,
            event: EventKind,
            timestamp: Timestamp,
            data: &'a EventData,
        }
        let body = Body { id: self.id, event: self.data.kind(), timestamp: self.at, data: &self.data };
        serde_json::to_string(&body).expect("every part is JSON")
    }
}

/// What an event tells: the object under `data`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum EventData {
    /// A bot began to run.
    BotStarted(BotTurned),
    /// A bot stopped.
    BotStopped(BotTurned),
    /// A trade's base order filled.
    TradeOpened(TradeOpened),
    /// An open trade bought more, or sold a part.
    TradeUpdated(Box<TradeUpdated>),
    /// A trade is flat again.
    TradeClosed(Box<TradeClosed>),
    /// A trade's stop was hit.
    TradeStoploss(TradeStoploss),
    /// A bot cannot go on.
    BotError(BotFailed),
    /// An account's plan changed.
    SubscriptionChanged(SubscriptionChanged),
    /// A payout was made.
    PayoutProcessed(PayoutProcessed),
}

impl EventData {
    /// Which kind it is.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::BotStarted(_) => EventKind::BotStarted,
            Self::BotStopped(_) => EventKind::BotStopped,
            Self::TradeOpened(_) => EventKind::TradeOpened,
            Self::TradeUpdated(_) => EventKind::TradeUpdated,
            Self::TradeClosed(_) => EventKind::TradeClosed,
            Self::TradeStoploss(_) => EventKind::TradeStoploss,
            Self::BotError(_) => EventKind::BotError,
            Self::SubscriptionChanged(_) => EventKind::SubscriptionChanged,
            Self::PayoutProcessed(_) => EventKind::PayoutProcessed,
        }
    }
}

/// The data of `bot.started` and `bot.stopped`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct BotTurned {
    /// Which bot.
    pub bot_id: BotId,
    /// What its owner calls it.
    pub name: String,
    /// Who or what turned it: `user`, `recovered`, `drained`, `closed`.
    pub reason: String,
    /// The same in words.
    pub message: String,
}

impl BotTurned {
    /// A bot that began to run.
    pub fn started(bot_id: BotId, name: &str, reason: &str) -> Self {
        let message = match reason {
            "recovered" => format!("{name} runs again"),
            _ => format!("{name} started"),
        };
        Self { bot_id, name: name.to_owned(), reason: reason.to_owned(), message }
    }

    /// A bot that stopped.
    pub fn stopped(bot_id: BotId, name: &str, reason: &str) -> Self {
        let message = match reason {
            "drained" => format!("{name} stopped after its last trade had closed"),
            "closed" => format!("{name} sold what it held and stopped"),
            "suspended" => format!("{name} stopped: the account is suspended"),
            _ => format!("{name} stopped"),
        };
        Self { bot_id, name: name.to_owned(), reason: reason.to_owned(), message }
    }
}

/// The data of `bot.error`: a trouble that begins, or one that is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct BotFailed {
    /// Which bot; `null` of a trouble that is no bot's, as `history_gap`.
    #[schema(required)]
    pub bot_id: Option<BotId>,
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people, without secrets.
    pub message: String,
    /// Whether it is over: what was reported under this code does not last any more. Each cause is reported once while it
    /// lasts.
    pub resolved: bool,
}

/// The data of `trade.opened`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct TradeOpened {
    /// Whose trade.
    pub bot_id: BotId,
    /// Which trade.
    pub trade_id: TradeId,
    /// What.
    pub pair: Pair,
    /// Always a buy.
    pub side: Side,
    /// What was paid.
    pub price: Price,
    /// How much, in base.
    pub amount: Qty,
    /// Quote spent, the fee included.
    pub stake: Quote,
    /// When.
    pub opened_at: Timestamp,
    /// Whether on paper.
    pub dry_run: bool,
    /// The same in words.
    pub message: String,
}

impl TradeOpened {
    /// The [`TradeOpened::message`] of a base order.
    pub fn in_words(pair: &Pair, price: Price, amount: Qty, stake: Quote) -> String {
        let (base, quote) = (pair.base(), pair.quote());
        let (amount, stake) = (amount.decimal().normalize(), stake.decimal().normalize());
        format!("Bought {amount} {base} at {price} {quote}, for {stake} {quote} with the fee")
    }
}

/// What an open trade did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TradeUpdate {
    /// A safety order filled.
    Entry,
    /// A part of what it holds was sold.
    PartialExit,
    /// Its owner, or a signal, bought more beside the ladder.
    FundsAdded,
}

/// The data of `trade.updated`: a further entry, a partial exit, or funds added. The levels are those that the trade has
/// from then on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct TradeUpdated {
    /// Whose trade.
    pub bot_id: BotId,
    /// Which trade.
    pub trade_id: TradeId,
    /// What.
    pub pair: Pair,
    /// `buy`; `sell` for a partial exit.
    pub side: Side,
    /// What the trade did.
    pub kind: TradeUpdate,
    /// Of an entry, its place in the ladder: 1 for the first safety order. Of funds added and of partial exits, which one
    /// of the trade it is, from 1.
    pub index: u32,
    /// The average price of what was bought or sold.
    pub price: Price,
    /// How much was bought or sold, in base.
    pub amount: Qty,
    /// The average cost price of the trade, fee included.
    #[serde(with = "crate::number")]
    #[schema(value_type = crate::Number)]
    pub entry_price: rust_decimal::Decimal,
    /// Where the trade would stop.
    #[schema(required)]
    pub stop_price: Option<Price>,
    /// Where it would take its profit.
    #[schema(required)]
    pub take_profit_price: Option<Price>,
    /// When.
    pub updated_at: Timestamp,
    /// Whether on paper.
    pub dry_run: bool,
    /// The same in words.
    pub message: String,
}

impl TradeUpdated {
    /// What `what` did to a trade, which is as it stands after that.
    pub fn new(
        trade: &Trade,
        what: TradeUpdate,
        index: u32,
        price: Price,
        amount: Qty,
        at: Timestamp,
    ) -> Self {
        let side = if what == TradeUpdate::PartialExit { Side::Sell } else { Side::Buy };
        let (base, quote) = (trade.pair.base(), trade.pair.quote());
        let did = match what {
            TradeUpdate::Entry => format!("Safety order {index} bought"),
            TradeUpdate::PartialExit => "Sold a part:".to_owned(),
            TradeUpdate::FundsAdded => "Funds added: bought".to_owned(),
        };
        let entry_price = trade.entry_price;
        let message =
            format!("{did} {amount} {base} at {price} {quote}; the average is now {entry_price} {quote}");
        Self {
            bot_id: trade.bot_id,
            trade_id: trade.id,
            pair: trade.pair.clone(),
            side,
            kind: what,
            index,
            price,
            amount,
            entry_price,
            stop_price: trade.stop_price,
            take_profit_price: trade.take_profit_price,
            updated_at: at,
            dry_run: trade.dry_run,
            message,
        }
    }
}

/// The data of `trade.stoploss`; the trade's `trade.closed` follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct TradeStoploss {
    /// Whose trade.
    pub bot_id: BotId,
    /// Which trade.
    pub trade_id: TradeId,
    /// What.
    pub pair: Pair,
    /// Always a sell.
    pub side: Side,
    /// Where the stop stood.
    pub stop_price: Price,
    /// The price that reached it.
    pub price: Price,
    /// Whether on paper.
    pub dry_run: bool,
    /// The same in words.
    pub message: String,
}

impl TradeStoploss {
    /// The [`TradeStoploss::message`] of a stop that a price reached.
    pub fn in_words(pair: &Pair, stop_price: Price, price: Price) -> String {
        let quote = pair.quote();
        format!("The stop at {stop_price} {quote} was reached at {price} {quote}")
    }
}

/// The data of `trade.closed`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct TradeClosed {
    /// Whose trade.
    pub bot_id: BotId,
    /// Which trade.
    pub trade_id: TradeId,
    /// What.
    pub pair: Pair,
    /// Always a sell.
    pub side: Side,
    /// How many fills had a fee in a third coin whose worth is not in the profit, because nobody could tell it; 0 nearly
    /// always.
    pub unvalued_fees: u32,
    /// Profit, in quote.
    #[schema(required)]
    pub profit: Option<Quote>,
    /// Profit as a percentage of what was spent.
    #[schema(required)]
    pub profit_pct: Option<Pct>,
    /// Profit in US dollars, as far as the quote coin had a known price when the trade closed.
    #[schema(required)]
    pub profit_usd: Option<Quote>,
    /// US dollars for one quote coin at that moment; 1 where it is a dollar.
    #[schema(required)]
    pub usd_rate: Option<Quote>,
    /// Why it was closed.
    #[schema(required)]
    pub exit_reason: Option<ExitReason>,
    /// The average cost price, fee included.
    #[serde(with = "crate::number")]
    #[schema(value_type = crate::Number)]
    pub entry_price: rust_decimal::Decimal,
    /// What it was sold at.
    #[schema(required)]
    pub exit_price: Option<Price>,
    /// How much, in base.
    pub amount: Qty,
    /// The first buy's time.
    pub opened_at: Timestamp,
    /// When it was flat.
    #[schema(required)]
    pub closed_at: Option<Timestamp>,
    /// Whether on paper.
    pub dry_run: bool,
    /// The same in words.
    pub message: String,
}

impl From<&Trade> for TradeClosed {
    fn from(trade: &Trade) -> Self {
        Self {
            bot_id: trade.bot_id,
            trade_id: trade.id,
            pair: trade.pair.clone(),
            side: Side::Sell,
            unvalued_fees: trade.unvalued_fees,
            profit: trade.profit,
            profit_pct: trade.profit_pct,
            profit_usd: trade.profit_usd,
            usd_rate: trade.usd_rate,
            exit_reason: trade.exit_reason,
            entry_price: trade.entry_price,
            exit_price: trade.exit_price,
            amount: trade.amount,
            opened_at: trade.opened_at,
            closed_at: trade.closed_at,
            dry_run: trade.dry_run,
            message: closed_in_words(trade),
        }
    }
}

/// How a trade ended, with what it left.
fn closed_in_words(trade: &Trade) -> String {
    let (base, quote) = (trade.pair.base(), trade.pair.quote());
    let price = trade.exit_price.map(|price| format!(" at {price} {quote}")).unwrap_or_default();
    let why = match trade.exit_reason {
        Some(ExitReason::StopLoss) => " at its stop",
        Some(ExitReason::TrailingStop) => " at its trailing stop",
        Some(ExitReason::TakeProfit) => " at its take profit",
        Some(ExitReason::TrailingTakeProfit) => " at its trailing take profit",
        Some(ExitReason::Manual) => " by hand",
        Some(ExitReason::Signal) => " on a signal",
        None => "",
    };
    let profit = trade.profit.map(|profit| {
        let word = if profit < Quote::ZERO { "loss" } else { "profit" };
        let pct = trade.profit_pct.map(|pct| format!(" ({pct} %)")).unwrap_or_default();
        format!(": a {word} of {} {quote}{pct}", profit.decimal().abs().normalize())
    });
    let amount = trade.amount.decimal().normalize();
    format!("Sold {amount} {base}{price}{why}{}", profit.unwrap_or_default())
}

/// The data of `subscription.changed`: told when plan, status, limits, the period's end or the cancel flag move.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct SubscriptionChanged {
    /// The plan from now on.
    pub plan: Tier,
    /// How it stands from now on.
    pub status: SubscriptionStatus,
    /// What the plan allows.
    pub limits: PlanLimits,
    /// What is paid for now.
    pub period: Period,
    /// Whether it ends with the period instead of going on.
    pub cancel_at_period_end: bool,
    /// What was in force before.
    pub previous: Subscription,
    /// The same in words.
    pub message: String,
}

impl SubscriptionChanged {
    /// The way from one to the other.
    pub fn new(previous: Subscription, now: Subscription) -> Self {
        let Subscription { plan, status, limits, period, cancel_at_period_end } = now;
        let message = if plan == previous.plan {
            format!("The subscription to {plan} is {}", status.as_str())
        } else {
            format!("The plan is {plan} now; it was {}", previous.plan)
        };
        Self { plan, status, limits, period, cancel_at_period_end, previous, message }
    }
}

/// The data of `payout.processed`: told once a payout has ended, and again should it end otherwise after all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct PayoutProcessed {
    /// Which payout.
    pub payout_id: PayoutId,
    /// For what: `manual`, `connect` (by Stripe), or the operator's own word.
    pub kind: String,
    /// How it ended.
    pub status: PayoutStatus,
    /// What arrives: gross without fees.
    pub amount: Quote,
    /// Before fees.
    pub gross: Quote,
    /// What it cost.
    pub fees: Quote,
    /// The same as `amount`.
    pub net: Quote,
    /// In which currency or coin.
    pub currency: String,
    /// Which time it is for.
    pub period: Period,
    /// When it ended so.
    pub processed_at: Timestamp,
    /// The same in words.
    pub message: String,
}

impl From<&Payout> for PayoutProcessed {
    fn from(payout: &Payout) -> Self {
        let net = payout.gross - payout.fees;
        Self {
            payout_id: payout.id,
            kind: payout.kind.clone(),
            status: payout.status,
            amount: net,
            gross: payout.gross,
            fees: payout.fees,
            net,
            currency: payout.currency.clone(),
            period: payout.period,
            processed_at: payout.processed_at,
            message: format!("Payout of {net} {}: {}", payout.currency, payout.status.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_the_contract_shows() {
        let event = DomainEvent {
            id: EventId::from_u128(7),
            account_id: AccountId::from_u128(1),
            bot_id: Some(BotId::from_u128(2)),
            at: Timestamp::from_millis(1_775_053_800_000),
            data: EventData::TradeClosed(Box::new(TradeClosed {
                bot_id: BotId::from_u128(2),
                trade_id: TradeId::from_u128(3),
                pair: "BTC/USDT".parse().unwrap(),
                side: Side::Sell,
                unvalued_fees: 0,
                profit: Some("1.20".parse().unwrap()),
                profit_pct: Some("2.40".parse().unwrap()),
                profit_usd: None,
                usd_rate: None,
                exit_reason: Some(ExitReason::TakeProfit),
                entry_price: "100.1".parse().unwrap(),
                exit_price: Some("102.5".parse().unwrap()),
                amount: "0.50".parse().unwrap(),
                opened_at: Timestamp::from_millis(1_775_053_700_000),
                closed_at: Some(Timestamp::from_millis(1_775_053_800_000)),
                dry_run: true,
                message: "Sold".to_owned(),
            })),
        };
        assert_eq!(
            event.body(),
            concat!(
                r#"{"id":"evt_00000000000000000000000000000007","event":"trade.closed","#,
                r#""timestamp":"2026-04-01T14:30:00Z","data":{"bot_id":"bot_00000000000000000000000000000002","#,
                r#""trade_id":"trade_00000000000000000000000000000003","pair":"BTC/USDT","side":"sell","#,
                r#""unvalued_fees":0,"profit":1.20,"profit_pct":2.40,"profit_usd":null,"usd_rate":null,"exit_reason":"take_profit","#,
                r#""entry_price":100.1,"exit_price":102.5,"amount":0.50,"opened_at":"2026-04-01T14:28:20Z","#,
                r#""closed_at":"2026-04-01T14:30:00Z","dry_run":true,"message":"Sold"}}"#
            )
        );
    }

    #[test]
    fn names_on_the_wire_are_one() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }

    #[test]
    fn an_endpoint_hears_of_updates_only_if_it_names_them() {
        let added: Vec<_> =
            EventKind::ALL.into_iter().filter(|kind| !EventKind::DEFAULT.contains(kind)).collect();
        assert_eq!(added, [EventKind::TradeUpdated]);
        assert_eq!(EventKind::subscribed(&[]), EventKind::DEFAULT);
        assert_eq!(EventKind::subscribed(&added), added);
    }
}
