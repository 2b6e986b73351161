//! What a paper bot's steps come to.

use model::{
    ClientOrderId, DomainEvent, EventData, ExitReason, Fill, FillId, Order, OrderId, OrderKind, OrderStatus,
    Price, Side, Trade, TradeClosed, TradeOpened, TradeStatus, TradeStoploss, TradeUpdate, TradeUpdated,
};
use strategies::{Books, Entry, Exit, PaperBot, PaperStep};

use super::Decision;

impl Decision {
    /// What a paper bot's steps come to.
    pub(super) fn paper(&self, steps: &[PaperStep], after: &PaperBot) -> (Option<Trade>, Vec<DomainEvent>) {
        let (mut orders, mut closed) = (Vec::new(), None);
        for step in steps {
            match step {
                PaperStep::Entered(entry) => orders.push(self.bought(entry)),
                PaperStep::StopHit { .. } => {}
                PaperStep::Exited(books) => {
                    orders.extend(books.exit.map(|exit| self.sold(&exit)));
                    closed = Some(books);
                }
            }
        }
        let books = closed.unwrap_or_else(|| after.books());
        let trade = books.entries.first().map(|first| self.trade(first, books, after, orders));
        let events = self.paper_events(steps, books, trade.as_ref());
        (trade, events)
    }

    /// What is told of the steps that made a trade what it is now.
    fn paper_events(&self, steps: &[PaperStep], books: &Books, trade: Option<&Trade>) -> Vec<DomainEvent> {
        let is_stopped = books.exit.is_some_and(|exit| exit.reason == ExitReason::StopLoss);
        let mut events = Vec::new();
        for step in steps {
            match (step, trade) {
                (PaperStep::Entered(entry), _) if entry.index == 0 && !entry.by_hand => {
                    events.push(self.bot.event(entry.at, EventData::TradeOpened(self.opened(entry))));
                }
                (PaperStep::Entered(entry), Some(trade)) => {
                    let updated = Box::new(updated(trade, books, entry));
                    events.push(self.bot.event(entry.at, EventData::TradeUpdated(updated)));
                }
                (PaperStep::StopHit { stop, price, at }, _) if is_stopped => {
                    let hit = EventData::TradeStoploss(self.stop_hit(*stop, *price));
                    events.push(self.bot.event(*at, hit));
                }
                (PaperStep::Exited(books), Some(trade)) => {
                    let data = EventData::TradeClosed(Box::new(TradeClosed::from(trade)));
                    events.extend(books.exit.map(|exit| self.bot.event(exit.at, data)));
                }
                (PaperStep::Entered(_) | PaperStep::StopHit { .. } | PaperStep::Exited(_), _) => {}
            }
        }
        events
    }

    fn trade(&self, first: &Entry, books: &Books, paper: &PaperBot, orders: Vec<Order>) -> Trade {
        let profit = books.exit.map(|exit| books.profit(exit.price, model::Rate::ZERO));
        Trade {
            id: self.trade_id,
            bot_id: self.bot.bot_id,
            exchange: self.bot.exchange,
            pair: self.bot.pair.clone(),
            side: Side::Buy,
            status: if books.exit.is_some() { TradeStatus::Closed } else { TradeStatus::Open },
            dry_run: self.bot.dry_run,
            opened_at: first.at,
            closed_at: books.exit.map(|exit| exit.at),
            entry_price: books.average().round_dp(8).normalize(),
            exit_price: books.exit.map(|exit| exit.price),
            amount: books.amount(),
            stake: books.stake(),
            fees: books.fees(),
            unvalued_fees: 0,
            profit,
            profit_pct: profit.map(|profit| books.profit_pct(profit)),
            profit_usd: self.in_usd(profit),
            usd_rate: profit.and(self.usd_rate),
            exit_reason: books.exit.map(|exit| exit.reason),
            stop_price: paper.machine().stop_price(),
            take_profit_price: paper.machine().take_profit_price(),
            fee_rates: self.bot.fees,
            orders,
            standing: None,
        }
    }

    fn bought(&self, entry: &Entry) -> Order {
        let Entry { at, decided, price, qty, fee, .. } = *entry;
        let fee_asset = self.bot.pair.quote().to_owned();
        let kind = if entry.by_hand { OrderKind::Market } else { self.bot.entries };
        filled(
            Side::Buy,
            kind,
            decided,
            Fill { id: FillId::new(), at, price, qty, fee, fee_asset, fee_price: None, venue_trade_id: None },
        )
    }

    fn sold(&self, exit: &Exit) -> Order {
        let Exit { at, decided, price, qty, fee, .. } = *exit;
        let fee_asset = self.bot.pair.quote().to_owned();
        filled(
            Side::Sell,
            OrderKind::Market,
            decided,
            Fill { id: FillId::new(), at, price, qty, fee, fee_asset, fee_price: None, venue_trade_id: None },
        )
    }

    fn opened(&self, entry: &Entry) -> TradeOpened {
        let stake = entry.price * entry.qty + entry.fee;
        TradeOpened {
            bot_id: self.bot.bot_id,
            trade_id: self.trade_id,
            pair: self.bot.pair.clone(),
            side: Side::Buy,
            price: entry.price,
            amount: entry.qty,
            stake,
            opened_at: entry.at,
            dry_run: self.bot.dry_run,
            message: TradeOpened::in_words(&self.bot.pair, entry.price, entry.qty, stake),
        }
    }

    fn stop_hit(&self, stop_price: Price, price: Price) -> TradeStoploss {
        TradeStoploss {
            bot_id: self.bot.bot_id,
            trade_id: self.trade_id,
            pair: self.bot.pair.clone(),
            side: Side::Sell,
            stop_price,
            price,
            dry_run: self.bot.dry_run,
            message: TradeStoploss::in_words(&self.bot.pair, stop_price, price),
        }
    }
}

/// What a further entry did to its trade.
fn updated(trade: &Trade, books: &Books, entry: &Entry) -> TradeUpdated {
    let (what, index) = if entry.by_hand {
        let until = books.entries.iter().take_while(|other| *other != entry).filter(|other| other.by_hand);
        (TradeUpdate::FundsAdded, u32::try_from(until.count() + 1).unwrap_or(u32::MAX))
    } else {
        (TradeUpdate::Entry, entry.index)
    };
    TradeUpdated::new(trade, what, index, entry.price, entry.qty, entry.at)
}

fn filled(side: Side, kind: OrderKind, price: Price, fill: Fill) -> Order {
    Order {
        id: OrderId::new(),
        client_order_id: ClientOrderId::new(),
        side,
        kind: kind.into(),
        status: OrderStatus::Filled,
        price,
        qty: fill.qty,
        filled_qty: fill.qty,
        created_at: fill.at,
        fills: vec![fill],
        receipt: None,
    }
}
