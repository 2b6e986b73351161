//! Orders of ours that the journal does not know: the store is a copy of an earlier time, and its bots went on after it
//! was taken. An order's id tells whose it is. What rests is canceled; what was executed is handed to its bot, which takes
//! it into its books before it acts, or booked on a bot at rest; what belongs to no bot is reported.

use std::collections::{BTreeSet, HashMap};

use actix::{Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Call, Execution, Lane, OrderReport};
use model::{
    AccountId, BotFailed, BotId, ClientOrderId, DomainEvent, EventData, EventId, OrderOrigin, Pair, Qty, Side,
};
use strategies::live::{LostOrder, Terms, purpose_of};

use super::late::{Journal, until_read};
use super::missed::Search;
use super::{ExchangeConnection, TakenUp, deliver};
use crate::change::Change;
use crate::clock;
use crate::failpoint::{self, Control};
use crate::live;
use crate::store::StoredBot;

/// Which orders are this store's own, and whose bots they may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours {
    pub(crate) account: AccountId,
    /// Of some bot of the store; `None` of a store without a name, as tests have.
    pub(crate) origin: Option<OrderOrigin>,
}

impl Ours {
    /// Whether an order's id says that a bot of this store made it.
    pub(super) fn is_ours(self, id: ClientOrderId) -> bool {
        // The negative control of the torture sends before it journals, which looks the same.
        let is_control = failpoint::control() == Some(Control::SendThenPersist);
        let tells = |own: OrderOrigin| id.origin().is_some_and(|(origin, _)| own.is_of_same_store(origin));
        !is_control && self.origin.is_some_and(tells)
    }
}

/// A lost order that was executed, and of which pair.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) pair: Pair,
    pub(super) order: LostOrder,
}

/// Lost orders of one bot, oldest first.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Relive(pub(crate) Vec<LostOrder>);

/// Lost orders of a bot that lives, or is about to.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Lacking {
    bot: BotId,
    orders: Vec<LostOrder>,
}

/// Lost orders that a bot cannot have made as its books stand.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Strays {
    pub(crate) bot: BotId,
    pub(crate) orders: Vec<LostOrder>,
}

/// What the venue has of an order of ours, as its bot is to take it in; `None` while it is open.
pub(super) fn lost(pair: &Pair, order: &OrderReport, executions: &[&Execution]) -> Option<Lost> {
    let executions = executions.iter().map(|told| live::execution(told, pair)).collect();
    let report = live::report(order, executions).filter(|report| report.end.is_some())?;
    let (role, reason) = purpose_of(report.client_id)?;
    if role.side() != order.side {
        return None;
    }
    let terms = match (order.price, order.stop_price) {
        (Some(limit), Some(stop)) => Terms::StopLimit { stop, limit },
        (Some(price), None) => Terms::Limit(price),
        _ => Terms::Market,
    };
    Some(Lost { pair: pair.clone(), order: LostOrder { role, reason, terms, qty: order.qty, report } })
}

/// The pair that the venue calls by this name: one of these, or one in a coin that they or most are priced in.
fn pair_of(symbol: &str, known: &BTreeSet<Pair>) -> Option<Pair> {
    const QUOTES: [&str; 11] =
        ["USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD", "BTC", "ETH", "BNB", "EUR", "TRY"];
    let is_it =
        |pair: &Pair| pair.as_str().len() == symbol.len() + 1 && pair.as_str().replace('/', "") == symbol;
    let listed = known.iter().find(|pair| is_it(pair)).cloned();
    listed.or_else(|| {
        let quotes = known.iter().map(Pair::quote).chain(QUOTES);
        let mut pairs =
            quotes.filter_map(|quote| format!("{}/{quote}", symbol.strip_suffix(quote)?).parse().ok());
        pairs.find(is_it)
    })
}

/// How much was bought and sold, for people.
fn amounts<'a>(lost: impl IntoIterator<Item = &'a LostOrder>, pair: &Pair) -> String {
    let (mut bought, mut sold) = (Qty::ZERO, Qty::ZERO);
    for order in lost {
        let qty: Qty = order.report.executions.iter().map(|execution| execution.qty).sum();
        match order.role.side() {
            Side::Buy => bought += qty,
            Side::Sell => sold += qty,
        }
    }
    let base = pair.base();
    match (bought.is_zero(), sold.is_zero()) {
        (false, true) => format!("bought {bought} {base}"),
        (true, _) => format!("sold {sold} {base}"),
        (false, false) => format!("bought {bought} {base} and sold {sold} {base}"),
    }
}

/// What a bot's owner is told of lost orders that were booked.
pub(crate) fn told_restored(lost: &[LostOrder], pair: &Pair) -> String {
    format!(
        "{} orders that the restored books did not know were found at the venue and booked: they {}",
        lost.len(),
        amounts(lost, pair)
    )
}

impl Search {
    /// Cancels what rests at the venue, was placed by this store, and is in no journal: of these pairs, or of all, which
    /// adds theirs.
    pub(super) async fn cancel_orphans(
        &self,
        pairs: &mut BTreeSet<Pair>,
        all: bool,
    ) -> Result<(), VenueError> {
        let mut open = Vec::new();
        if all {
            open = self.read(Call::open_orders(None)).await?;
        } else {
            for pair in pairs.iter() {
                open.extend(self.read(Call::open_orders(Some(pair))).await?);
            }
        }
        for order in open {
            let Ok(id) = order.client_order_id.parse::<ClientOrderId>() else { continue };
            if !self.ours.is_ours(id) || self.is_known(id).await {
                continue;
            }
            let Some(pair) = pair_of(&order.symbol, pairs) else {
                tracing::error!(connection = %self.exchange, order = %id, symbol = order.symbol, "an order of ours rests that the books do not know: cancel it by hand");
                continue;
            };
            tracing::warn!(connection = %self.exchange, order = %id, %pair, "an order rests that the books do not know: it is canceled");
            self.cancel(&pair, id).await?;
            pairs.insert(pair);
        }
        Ok(())
    }

    /// Cancels an order that the journal does not know; one that is over by now is as good.
    pub(super) async fn cancel(&self, pair: &Pair, id: ClientOrderId) -> Result<(), VenueError> {
        let call = Call::cancel(pair, id);
        while let Err(wait) = self.client.budget().ask(call.cost(), Lane::Exit) {
            tokio::time::sleep_until(wait.until).await;
        }
        match self.client.cancel(&call, self.client.clock().now()).await {
            Ok(_) | Err(VenueError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the journal or the books have an order.
    pub(super) async fn is_known(&self, id: ClientOrderId) -> bool {
        until_read(|| self.journal.store().is_known(id)).await
    }

    /// Hands lost orders to those whose they are: oldest first, once.
    pub(super) async fn hand_over(&self, mut found: Vec<Lost>) {
        if found.is_empty() {
            return;
        }
        let at = |lost: &Lost| lost.order.report.executions.last().map(|last| (last.at, last.trade_id));
        found.sort_by_key(at);
        let bots = until_read(|| self.journal.store().all_bots(Some(self.ours.account))).await;
        let mut of: HashMap<BotId, Vec<Lost>> = HashMap::new();
        let mut strays = Vec::new();
        for lost in found {
            let owner = lost.order.report.client_id.origin().and_then(|(origin, _)| {
                let is_owner = |bot: &&StoredBot| {
                    origin.names(bot.id) && bot.definition.pair == lost.pair && !bot.definition.dry_run
                };
                bots.iter().find(is_owner)
            });
            match owner {
                Some(bot) => of.entry(bot.id).or_default().push(lost),
                None => strays.push(lost),
            }
        }
        for bot in bots {
            let Some(found) = of.remove(&bot.id) else { continue };
            let mut orders: Vec<LostOrder> = found.into_iter().map(|lost| lost.order).collect();
            for order in &mut orders {
                live::fees::value_past(&self.markets, &bot.definition.pair, &mut order.report.executions)
                    .await;
            }
            tracing::warn!(bot = %bot.id, orders = orders.len(), "orders that the books do not know are taken in");
            if bot.is_living() {
                deliver(&self.me, Lacking { bot: bot.id, orders });
                continue;
            }
            let pair = bot.definition.pair.clone();
            let left =
                self.journal.relive_at_rest(bot, orders, self.exchange, &self.markets, self.ours).await;
            strays.extend(left.into_iter().map(|order| Lost { pair: pair.clone(), order }));
        }
        self.report_gap(strays).await;
    }

    /// Reports, pair by pair, what was executed of orders that belong to no bot of the store.
    async fn report_gap(&self, strays: Vec<Lost>) {
        let mut of: HashMap<Pair, Vec<LostOrder>> = HashMap::new();
        for lost in strays {
            of.entry(lost.pair).or_default().push(lost.order);
        }
        for (pair, orders) in of {
            self.journal.report_gap(self.ours.account, None, &pair, &orders).await;
        }
    }
}

/// What an owner is told of orders that belong to no bot.
fn gap(orders: &[LostOrder], pair: &Pair) -> String {
    let ids: Vec<String> = orders.iter().map(|order| order.report.client_id.to_string()).collect();
    format!(
        "{} orders of {pair} that this server made are in no books since a backup was restored, and belong to no bot that it \
         has: they {}; look at the account ({})",
        orders.len(),
        amounts(orders, pair),
        ids.join(", ")
    )
}

impl Journal {
    /// Tells an owner, once, of orders that belong to no bot, or that the bot which they name cannot have made.
    pub(super) async fn report_gap(
        &self,
        account_id: AccountId,
        bot_id: Option<BotId>,
        pair: &Pair,
        orders: &[LostOrder],
    ) {
        let message = gap(orders, pair);
        tracing::warn!(account = %account_id, message, "the restored history has a gap");
        let data = BotFailed { bot_id, code: "history_gap".to_owned(), message, resolved: false };
        let data = EventData::BotError(data);
        let event = DomainEvent { id: EventId::new(), account_id, bot_id, at: clock::now(), data };
        self.record(Change { events: vec![event], ..Change::default() });
        let ids: Vec<ClientOrderId> = orders.iter().map(|order| order.report.client_id).collect();
        if let Err(error) = self.store().note_strays(&ids).await {
            tracing::error!(%error, "orders of no bot could not be noted: they are told of again");
        }
    }
}

impl ExchangeConnection {
    /// Hands a bot what it is to take into its books before it goes on.
    pub(super) fn relive(&mut self, bot: BotId) {
        if let Some(attached) = self.bots.get(&bot)
            && let Some(orders) = self.lost.remove(&bot)
        {
            deliver(&attached.bot, Relive(orders));
        }
    }

    /// Lets a bot go on, having told it what its books lack.
    pub(super) fn take_up(&mut self, bot: BotId) {
        self.relive(bot);
        if let Some(attached) = self.bots.get_mut(&bot) {
            attached.is_taken_up = true;
            deliver(&attached.bot, TakenUp);
        }
    }
}

impl Handler<Lacking> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Lacking { bot, mut orders }: Lacking, _: &mut Context<Self>) {
        // A search may find again what is not durable yet.
        orders.retain(|order| self.handed_over.insert(order.report.client_id));
        if orders.is_empty() {
            return;
        }
        self.lost.entry(bot).or_default().extend(orders);
        // One that has not been taken up hears of them right before it is.
        if self.bots.get(&bot).is_some_and(|attached| attached.is_taken_up) {
            self.relive(bot);
        }
    }
}

impl Handler<Strays> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Strays { bot, orders }: Strays, _: &mut Context<Self>) {
        let Some(attached) = self.bots.get(&bot) else { return };
        let (journal, account, pair) = (self.journal.clone(), self.ours.account, attached.pair.clone());
        self.journal.spawn(async move {
            journal.report_gap(account, Some(bot), &pair, &orders).await;
        });
    }
}
