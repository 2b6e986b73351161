//! Trades that their owner, or a signal, closes or adds to.

use std::time::Duration;

use actix::MailboxError;
use model::{AccountId, BotId, ClientOrderId, ExitReason, Order, OrderStatus, Pair, Price, Timestamp, Trade};
use model::{TradeId, TradeStatus};
use serde::{Deserialize, Serialize};
use strategies::Funds;
use tokio::time::Instant;

use crate::actors::bot::{AddFunds, CloseTrade};
use crate::actors::fleet::Whereabouts;
use crate::answer::KeptAnswer;
use crate::change::Positions;
use crate::clock;
use crate::error::EngineError;
use crate::handle::{ANSWER, EngineHandle};
use crate::signals::Attached;
use crate::store::{Store, StoredBot};

/// How long a request waits for what it ordered to fill, and how often it is looked after.
const FILLS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(25);

/// A last price that is older than this is asked for again before anything is bought or sold at it on paper.
const FRESH: Duration = Duration::from_secs(10);

/// Who wants something done to a trade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// Its owner.
    Hand,
    /// A signal that its owner let in.
    Signal,
}

/// What a bot does once its trade was closed by hand or by a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It goes on: it buys again on the first trade of its pair once its cooldown is over.
    #[default]
    Continue,
    /// It stops.
    Stop,
}

impl By {
    /// What a trade that is closed so was closed for.
    const fn exit_reason(self) -> ExitReason {
        match self {
            Self::Hand => ExitReason::Manual,
            Self::Signal => ExitReason::Signal,
        }
    }
}

impl EngineHandle {
    /// Sells a trade at the market; one that is closed is left alone. A running bot then goes on, and begins its next trade
    /// by the rules that follow any other close, or stops; a stopped one sells and stays stopped. The trade as it stands after a
    /// few seconds at most: still open where the venue has not sold it all by then.
    ///
    /// # Errors
    /// [`EngineError::NotFound`]; [`EngineError::Conflict`] where its bot was deleted, or the venue has not told yet what
    /// became of its orders; [`EngineError::VenueSilent`] where it must be asked for a price and does not tell.
    pub async fn close_trade(
        &self,
        account: AccountId,
        id: TradeId,
        by: By,
        then: Then,
    ) -> Result<Trade, EngineError> {
        let trade = self.trade(account, id).await?;
        if trade.status == TradeStatus::Closed {
            return Ok(trade);
        }
        {
            let _alone = self.alone(trade.bot_id).await;
            let bot = self.owner_of(&trade, account).await?;
            let was_running = matches!(self.find(bot.id).await?, Whereabouts::Lives(_));
            if !was_running {
                // It lives once more, until it is flat.
                self.halt(account, bot.id, Positions::Close).await?;
            }
            // What lives on a real account sells by itself once its orders are accounted for.
            if was_running || trade.dry_run {
                let last = self.last_tick(&trade.pair, was_running).await?;
                self.sell(&trade, by, last, then).await?;
            }
        }
        self.looked_after(account, id, |trade| trade.status == TradeStatus::Closed).await
    }

    /// Tells a trade's bot to sell it. One that has just come to its end by itself, as what was told to close does, has
    /// done so.
    async fn sell(
        &self,
        trade: &Trade,
        by: By,
        last: (Price, Timestamp),
        then: Then,
    ) -> Result<(), EngineError> {
        let close = || CloseTrade { trade_id: trade.id, reason: by.exit_reason(), last, then };
        if let Some(answer) = self.tell(trade.bot_id, close).await? {
            answer?.wait_for_answer().await?;
        }
        Ok(())
    }

    /// Closes what a bot holds on paper at the last price, and stops it; by whoever has the bot alone. `is_heard`: its pair was listened to until now.
    ///
    /// # Errors
    /// [`EngineError::VenueSilent`] where no price can be had; then it is held as before.
    pub(crate) async fn close_paper(
        &self,
        account: AccountId,
        id: BotId,
        is_heard: bool,
    ) -> Result<(), EngineError> {
        let ask = move |store: Store| async move { store.open_trades(account, id).await };
        for trade in self.on_store(ask).await? {
            let last = self.last_tick(&trade.pair, is_heard).await?;
            // It lives once more, until it is flat.
            self.halt(account, id, Positions::Close).await?;
            self.sell(&trade, By::Hand, last, Then::Continue).await?;
        }
        Ok(())
    }

    /// Buys more for an open trade of a running bot, at the market and beside the ladder: its average, levels and
    /// books follow, its safety orders stay where they are. The trade as it stands after a few seconds at most.
    ///
    /// # Errors
    /// [`EngineError::NotFound`]; [`EngineError::Invalid`] for an amount that the venue would not take;
    /// [`EngineError::Conflict`] where the trade is not open, its bot does not run, another buy is under way, or the venue
    /// took nothing of it; [`EngineError::VenueSilent`] as for closing.
    pub async fn add_funds(
        &self,
        account: AccountId,
        id: TradeId,
        funds: Funds,
        by: By,
    ) -> Result<Trade, EngineError> {
        self.add_funds_with(account, id, funds, by, Attached::default()).await
    }

    /// Likewise; `answer` is kept with what is bought, for whoever asks again.
    ///
    /// # Errors
    /// As [`EngineHandle::add_funds`].
    pub async fn add_funds_answering(
        &self,
        account: AccountId,
        id: TradeId,
        funds: Funds,
        answer: Option<KeptAnswer>,
    ) -> Result<Trade, EngineError> {
        self.add_funds_with(account, id, funds, By::Hand, Attached { signal: None, answer }).await
    }

    pub(crate) async fn add_funds_with(
        &self,
        account: AccountId,
        id: TradeId,
        funds: Funds,
        by: By,
        attached: Attached,
    ) -> Result<Trade, EngineError> {
        let trade = self.trade(account, id).await?;
        if trade.status == TradeStatus::Closed {
            let message = "the trade is closed: nothing can be added to it".to_owned();
            return Err(EngineError::Conflict { code: "trade_closed", message });
        }
        let ordered = {
            let _alone = self.alone(trade.bot_id).await;
            self.take_work()?;
            self.may_act(account).await?;
            let bot = self.owner_of(&trade, account).await?;
            let Whereabouts::Lives(running) = self.find(bot.id).await? else { return Err(not_running()) };
            let last = self.last_tick(&trade.pair, true).await?;
            let add = AddFunds { trade_id: id, funds, last, attached };
            let (durable, ordered) = match running.send(add).timeout(ANSWER).await {
                Err(MailboxError::Closed) => return Err(not_running()),
                answered => answered??,
            };
            durable.wait_for_answer().await?;
            tracing::info!(trade = %id, ?by, ?funds, "funds were added to a trade");
            ordered
        };
        let Some(ordered) = ordered else { return self.trade(account, id).await };
        let is_over = |trade: &Trade| ordered_as(trade, ordered).is_none_or(|order| has_ended(order.status));
        let trade = self.looked_after(account, id, is_over).await?;
        match ordered_as(&trade, ordered) {
            Some(order) if has_ended(order.status) && order.filled_qty.is_zero() => {
                let message =
                    "the venue took nothing of it: the bot's `add_refused` event tells why".to_owned();
                Err(EngineError::Conflict { code: "add_refused", message })
            }
            _ => Ok(trade),
        }
    }

    async fn owner_of(&self, trade: &Trade, account: AccountId) -> Result<StoredBot, EngineError> {
        self.stored(account, trade.bot_id).await.map_err(|error| match error {
            EngineError::NotFound(_) => EngineError::Conflict {
                code: "bot_deleted",
                message: "the trade's bot was deleted; what it held stayed where it was".to_owned(),
            },
            other => other,
        })
    }

    /// A pair's last price and its time: from the feed where that `is_heard` and fresh, else from the venue.
    async fn last_tick(&self, pair: &Pair, is_heard: bool) -> Result<(Price, Timestamp), EngineError> {
        let last = self.inner.markets.last(pair);
        if let (true, Some(price)) = (is_heard, last.get()) {
            let age = clock::now().since(last.at()).unsigned_abs();
            if u128::from(age) <= FRESH.as_nanos() {
                return Ok((price, last.at()));
            }
        }
        let (markets, asked) = (self.inner.markets.clone(), pair.clone());
        let told = self.inner.io.spawn(async move { markets.ask_prices(&[asked]).await });
        let told = told.await.ok().and_then(Result::ok);
        let told = told.and_then(|told| Some(((*told.prices.first()?)?, told.at)));
        told.ok_or_else(|| {
            let message = format!("the venue does not tell the price of {pair} just now: try again");
            EngineError::VenueSilent(message)
        })
    }

    /// A trade once it is as wanted, or as it is after a while.
    async fn looked_after(
        &self,
        account: AccountId,
        id: TradeId,
        is_wanted: impl Fn(&Trade) -> bool,
    ) -> Result<Trade, EngineError> {
        let deadline = Instant::now() + FILLS;
        loop {
            let trade = self.trade(account, id).await?;
            if is_wanted(&trade) || Instant::now() >= deadline {
                return Ok(trade);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn not_running() -> EngineError {
    let message = "the trade's bot does not run: start it first".to_owned();
    EngineError::Conflict { code: "bot_not_running", message }
}

fn ordered_as(trade: &Trade, id: ClientOrderId) -> Option<&Order> {
    trade.orders.iter().find(|order| order.client_order_id == id)
}

const fn has_ended(status: OrderStatus) -> bool {
    match status {
        OrderStatus::Filled | OrderStatus::Canceled | OrderStatus::Expired | OrderStatus::Rejected => true,
        OrderStatus::Intent | OrderStatus::Unknown | OrderStatus::Open | OrderStatus::PartiallyFilled => {
            false
        }
    }
}
