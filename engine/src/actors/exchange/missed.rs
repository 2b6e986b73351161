//! Executions that nobody was told of: of orders that counted as over, or of bots that were not there, while the stream
//! was down. Once it is up again the account's executions are read, pair by pair; those of ours that are in no books go
//! the way of what the stream tells. Nobody waits for that, and it goes by what of the venue's limits is to spare.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Addr, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{
    Call, Execution, ExecutionsFrom, Lane, OrderReport, OrdersFrom, PAGE, UserReport,
};
use model::{ClientOrderId, ExchangeId, Pair, Timestamp};

use super::asking::OVERLAP_NS;
use super::client::VenueClient;
use super::late::{Journal, until_read};
use super::restored::{self, Lost, Ours};
use super::route::Route;
use super::socket::Heard;
use super::{ExchangeConnection, deliver};
use crate::clock;
use crate::markets::Markets;
use crate::meters::Meters;

/// How soon after the stream came up: what is under way is asked for first.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How soon after a search the next one may begin, however often the stream comes and goes.
const BETWEEN: Duration = Duration::from_secs(10);

/// How soon after one that failed.
const AGAIN: Duration = Duration::from_secs(30);

/// How soon while bots wait for it.
const AGAIN_RESTORING: Duration = Duration::from_secs(5);

/// How far the venue goes from a time that a page of executions begins at.
const DAY_S: u64 = 24 * 60 * 60;

/// How long a pair is searched after its last order.
const LATELY_S: u64 = 30 * DAY_S;

/// The most pairs of an earlier run that are searched, those traded last.
const MOST_PAIRS: u32 = 50;

/// What is searched, and when.
#[derive(Debug)]
pub(super) struct Missed {
    opened_at: Timestamp,
    /// When the next search begins; `None` while nothing can have been missed.
    due: Option<Instant>,
    began: Option<Instant>,
    is_searching: bool,
    /// Whether another search is to follow: the venue may not have shown yet what it had executed.
    is_once_more: bool,
    reach: Reach,
}

/// Where executions may have been missed.
#[derive(Clone, Debug, Default)]
struct Reach {
    /// The pairs that had orders lately, and the last execution of each that was sorted out.
    pairs: HashMap<Pair, i64>,
    /// What was executed earlier is known. `None` before the journal has told what an earlier run had.
    since: Option<Timestamp>,
}

impl Missed {
    /// Of a connection that opens now; it searches at once where the store lacks orders that it made.
    pub(super) fn new(is_restoring: bool) -> Self {
        let opened_at = clock::now();
        Self {
            opened_at,
            due: is_restoring.then(Instant::now),
            began: None,
            is_searching: false,
            is_once_more: false,
            reach: Reach::default(),
        }
    }

    /// An order of a pair leaves.
    pub(super) fn trade(&mut self, pair: &Pair) {
        if !self.reach.pairs.contains_key(pair) {
            self.reach.pairs.insert(pair.clone(), 0);
        }
    }

    /// The stream is up: it was down before.
    pub(super) fn listen(&mut self) {
        let soon = Instant::now() + SETTLED_AFTER;
        self.due = Some(self.began.map_or(soon, |began| soon.max(began + BETWEEN)));
        self.is_once_more = true;
    }
}

/// A search is over: how far it reached, or why it did not.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Searched(Result<Reach, VenueError>);

/// One search through an account's executions.
pub(super) struct Search {
    pub(super) exchange: ExchangeId,
    opened_at: Timestamp,
    pub(super) client: VenueClient,
    pub(super) journal: Journal,
    pub(super) markets: Arc<Markets>,
    meters: Arc<Meters>,
    pub(super) me: Addr<ExchangeConnection>,
    pub(super) ours: Ours,
    /// Whether the store is a copy of an earlier time: bots wait for this search.
    is_restoring: bool,
    /// Executed orders of ours that are in no books.
    lost: Vec<Lost>,
}

impl Search {
    /// Hands over what no books have; how far that is then sure to reach.
    async fn run(mut self, mut reach: Reach, absent_after: Duration) -> Result<Reach, VenueError> {
        let began = self.client.clock().now();
        let is_first = reach.since.is_none();
        let since = match reach.since {
            Some(since) => since,
            None => self.read_journal(&mut reach).await,
        };
        if is_first {
            let mut pairs: BTreeSet<Pair> = reach.pairs.keys().cloned().collect();
            self.cancel_orphans(&mut pairs, self.is_restoring).await?;
            for pair in pairs {
                reach.pairs.entry(pair).or_insert(0);
            }
        }
        for (pair, sorted) in &mut reach.pairs {
            self.search(pair, since, sorted).await?;
        }
        let lost = std::mem::take(&mut self.lost);
        self.hand_over(lost).await;
        let hidden_ns = i64::try_from(absent_after.as_nanos()).unwrap_or(i64::MAX);
        let sure = began.nanos().saturating_sub(hidden_ns).saturating_sub(OVERLAP_NS);
        reach.since = Some(since.max(Timestamp::from_nanos(sure)));
        Ok(reach)
    }

    /// Adds the pairs that an earlier run traded; since when they may have executions that it was not told of. It heard
    /// of its last order's fate itself, or ended soon after that; what it counted as over may have filled before.
    async fn read_journal(&self, reach: &mut Reach) -> Timestamp {
        let earlier = back(self.opened_at, LATELY_S)..self.opened_at;
        let store = self.journal.store();
        let pairs = until_read(|| store.traded(self.exchange, earlier.clone(), MOST_PAIRS)).await;
        let last = pairs.iter().map(|(_, decided_at)| *decided_at).max();
        reach.pairs.extend(pairs.into_iter().map(|(pair, _)| (pair, 0)));
        if self.is_restoring {
            // Bots may have begun to trade since the copy was taken.
            let bots = until_read(|| store.all_bots(Some(self.ours.account))).await;
            let live = bots.into_iter().filter(|bot| !bot.definition.dry_run);
            reach.pairs.extend(live.map(|bot| (bot.definition.pair, 0)));
        }
        back(last.unwrap_or(self.opened_at), DAY_S)
    }

    /// Reads a pair's executions to the last; `sorted` is the last one that was sorted out before.
    async fn search(&mut self, pair: &Pair, since: Timestamp, sorted: &mut i64) -> Result<(), VenueError> {
        let mut from = ExecutionsFrom::Since(since);
        loop {
            let now = self.client.clock().now();
            let page = self.read(Call::executions(pair, from)).await?;
            self.sort_out(pair, &page, sorted).await?;
            let next_day = match from {
                ExecutionsFrom::Since(at) => Some(at.plus_seconds(DAY_S)).filter(|next| *next < now),
                _ => None,
            };
            from = match (page.last(), next_day) {
                (Some(last), next) if page.len() >= PAGE || next.is_some() => {
                    ExecutionsFrom::Id(last.trade_id + 1)
                }
                (None, Some(next)) => ExecutionsFrom::Since(next),
                _ => return Ok(()),
            };
        }
    }

    /// Hands over what of these executions is ours and in no books.
    async fn sort_out(
        &mut self,
        pair: &Pair,
        page: &[Execution],
        sorted: &mut i64,
    ) -> Result<(), VenueError> {
        let mut of: BTreeMap<i64, Vec<&Execution>> = BTreeMap::new();
        for execution in page {
            of.entry(execution.venue_order_id).or_default().push(execution);
        }
        for order in self.orders(pair, of.keys().copied().collect()).await? {
            let executions = of.remove(&order.venue_order_id).unwrap_or_default();
            let id = order.client_order_id.parse::<ClientOrderId>().ok();
            let booked = match id {
                Some(id) => self.booked(id).await,
                None => None,
            };
            let Some(booked) = booked else {
                if let Some(id) = id.filter(|id| self.ours.is_ours(*id))
                    && !self.is_known(id).await
                {
                    self.lose(pair, &order, &executions).await?;
                    continue;
                }
                // The owner's own: by hand, or by another program.
                let new = executions.iter().filter(|execution| execution.trade_id > *sorted).count();
                self.meters.count_foreign(new);
                continue;
            };
            for execution in executions.into_iter().filter(|one| !booked.contains(&one.trade_id)) {
                tracing::info!(connection = %self.exchange, order = %order.client_order_id, "an execution is in no books yet");
                let (order, execution) = (order.clone(), Some(execution.clone()));
                let user = UserReport { order, execution, what: "TRADE".to_owned(), reason: None };
                deliver(&self.me, Heard::Report(Box::new(user)));
            }
        }
        *sorted = page.last().map_or(*sorted, |last| last.trade_id.max(*sorted));
        Ok(())
    }

    /// Notes an executed order of ours that the journal does not know, once it is over.
    async fn lose(
        &mut self,
        pair: &Pair,
        order: &OrderReport,
        executions: &[&Execution],
    ) -> Result<(), VenueError> {
        if let Some(lost) = restored::lost(pair, order, executions) {
            self.lost.push(lost);
            return Ok(());
        }
        let Ok(id) = order.client_order_id.parse() else { return Ok(()) };
        self.cancel(pair, id).await?;
        let Some(ended) = self.read(Call::order(pair, id)).await? else { return Ok(()) };
        let from = ExecutionsFrom::Order(ended.venue_order_id);
        let executions = self.read(Call::executions(pair, from)).await?;
        let all: Vec<&Execution> = executions.iter().collect();
        match restored::lost(pair, &ended, &all) {
            Some(lost) => self.lost.push(lost),
            None => {
                tracing::error!(connection = %self.exchange, order = %id, "an order that the books do not know cannot be read");
            }
        }
        Ok(())
    }

    /// The venue's numbers of what is booked of an order of ours over this connection; `None` where it is not one.
    async fn booked(&self, id: ClientOrderId) -> Option<BTreeSet<i64>> {
        let store = self.journal.store();
        let order = until_read(|| store.journaled(id)).await;
        order.filter(|order| order.exchange_id == self.exchange)?;
        Some(until_read(|| store.booked(id)).await)
    }

    /// The orders with these numbers.
    async fn orders(&self, pair: &Pair, mut wanted: BTreeSet<i64>) -> Result<Vec<OrderReport>, VenueError> {
        let mut found = Vec::with_capacity(wanted.len());
        while let Some(first) = wanted.pop_first() {
            let page = self.read(Call::orders_since(pair, OrdersFrom::Id(first))).await?;
            let is_wanted =
                |order: &OrderReport| order.venue_order_id == first || wanted.remove(&order.venue_order_id);
            found.extend(page.into_iter().filter(is_wanted));
        }
        Ok(found)
    }

    /// Asks once a question is to spare, unless nobody waits for its answer any more.
    pub(super) async fn read<T>(&self, call: Call<T>) -> Result<T, VenueError> {
        // Bots with open trades wait for it where the store is a copy.
        let lane = if self.is_restoring { Lane::Exit } else { Lane::Spare };
        while self.me.connected() {
            let Err(wait) = self.client.budget().ask(call.cost(), lane) else {
                return self.client.query(&call, Route::Rest, lane).await;
            };
            // Not for long at a time: the ledger ends once nobody has it any more.
            let soon = tokio::time::Instant::now() + Duration::from_secs(1);
            tokio::time::sleep_until(wait.until.min(soon)).await;
        }
        Err(VenueError::Retry { after: None, message: "the connection has ended".to_owned() })
    }
}

fn back(from: Timestamp, seconds: u64) -> Timestamp {
    let nanos = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    Timestamp::from_nanos(from.nanos().saturating_sub(nanos))
}

impl ExchangeConnection {
    /// Searches for what was missed, if it is time: once the bots have heard of what they had under way.
    pub(super) fn search_missed(&mut self, me: &Addr<Self>) {
        let now = Instant::now();
        let is_settled = self.restoring.is_some()
            || self.bots.values().all(|attached| attached.is_taken_up)
                && self.unreconciled.load(Ordering::Acquire) == 0;
        if self.missed.is_searching || !is_settled || self.missed.due.is_none_or(|due| due > now) {
            return;
        }
        (self.missed.is_searching, self.missed.due, self.missed.began) = (true, None, Some(now));
        let search = Search {
            exchange: self.id,
            opened_at: self.missed.opened_at,
            client: self.client.clone(),
            journal: self.journal.clone(),
            markets: self.markets.clone(),
            meters: self.share.meters().clone(),
            me: me.clone(),
            ours: self.ours,
            is_restoring: self.restoring.is_some(),
            lost: Vec::new(),
        };
        let (reach, absent_after, me) = (self.missed.reach.clone(), self.absent_after, me.clone());
        self.journal.spawn(async move {
            deliver(&me, Searched(search.run(reach, absent_after).await));
        });
    }
}

impl Handler<Searched> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Searched(result): Searched, _: &mut Context<Self>) {
        let missed = &mut self.missed;
        missed.is_searching = false;
        match result {
            Ok(reach) => {
                missed.reach.since = reach.since;
                missed.reach.pairs.extend(reach.pairs);
                if self.restoring.take().is_some() {
                    tracing::info!(connection = %self.id, "what the restored store lacked of the account is known");
                }
                if missed.due.is_none() && std::mem::take(&mut missed.is_once_more) {
                    missed.due = missed.began.map(|began| began + self.absent_after.max(BETWEEN));
                }
            }
            Err(error) => {
                tracing::warn!(connection = %self.id, %error, "an account's executions could not be read");
                if let VenueError::Auth { message, .. } = &error {
                    self.lock(message);
                }
                let again = if self.restoring.is_some() { AGAIN_RESTORING } else { AGAIN };
                self.missed.due.get_or_insert(Instant::now() + again);
            }
        }
        self.let_accounted_go();
    }
}
