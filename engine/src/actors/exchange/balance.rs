//! Whether the account still has what its bots hold: somebody may have sold or moved coins by hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Addr, Context, Handler, Message};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Account, Balance, Call, Cost, Lane};
use model::{BotId, Qty};
use rust_decimal::Decimal;
use strategies::live::Role;

use super::route::Route;
use super::{ExchangeConnection, Tracked, deliver};

/// How often the account is counted while its bots hold something and the stream does not tell of what moves.
const COUNT_UNTOLD: Duration = Duration::from_secs(3);

/// How often while it does. A count weighs as much as twenty orders of the limit that all accounts share.
const COUNT_TOLD: Duration = Duration::from_secs(30);

/// How soon after it moved, by whatever hand, and how soon again while coins are short.
const COUNT_SOON: Duration = Duration::from_secs(2);

/// How soon after a count the next may begin, however much there is to find out.
const COUNT_BETWEEN: Duration = Duration::from_secs(1);

/// How much of the base coin a bot holds now.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Holds {
    pub(crate) id: BotId,
    pub(crate) held: Qty,
}

/// So much of what a bot holds is not on the account any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Missing(pub(crate) Qty);

/// More of a bot's base coin has become free on the account: so much in all.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Freed(pub(crate) Decimal);

/// What the account has.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Counted {
    /// What had changed when it was asked for.
    changes: u64,
    result: Result<Account, VenueError>,
}

/// What is known of the account.
#[derive(Debug, Default)]
pub(super) struct Balances {
    /// When it was counted last.
    began: Option<Instant>,
    /// When it is to be counted for a reason, sooner than it is anyway.
    wanted_at: Option<Instant>,
    is_counting: bool,
    /// How often what bots hold has changed.
    changes: u64,
    /// Coins that were short when they were counted last, and since when. Their bots are told once the venue has
    /// said since then of every order that it has not sold them.
    short: HashMap<String, Instant>,
    /// How much of a coin was free when that was told last.
    free: HashMap<String, Decimal>,
}

impl Balances {
    fn want(&mut self, at: Instant) {
        self.wanted_at = Some(self.wanted_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn is_due(&self, now: Instant, every: Duration) -> bool {
        self.began.is_none_or(|began| now >= began + every) || self.wanted_at.is_some_and(|at| now >= at)
    }
}

impl ExchangeConnection {
    /// The account has moved: it is counted soon.
    pub(super) fn count_soon(&mut self) {
        self.balances.want(Instant::now() + COUNT_SOON);
    }

    /// Something cannot wait for what the account has: it is counted at once, or as soon as it may be again.
    pub(super) fn count_now(&mut self) {
        let now = Instant::now();
        self.balances.want(self.balances.began.map_or(now, |began| now.max(began + COUNT_BETWEEN)));
    }

    /// Counts the account if it is time.
    pub(super) fn check_balances(&mut self, me: &Addr<Self>) {
        let is_held = self.bots.values().any(|attached| !attached.held.is_zero());
        let every = if self.is_told() { COUNT_TOLD } else { COUNT_UNTOLD };
        let now = Instant::now();
        // Until bots know what a restored store lacked, what they hold is not what the account has.
        let is_waiting = self.restoring.is_some() || !self.lost.is_empty();
        if is_waiting || !is_held || self.balances.is_counting || !self.balances.is_due(now, every) {
            return;
        }
        if self.budget().ask(Cost::ACCOUNT, Lane::Normal).is_err() {
            return;
        }
        (self.balances.is_counting, self.balances.began, self.balances.wanted_at) = (true, Some(now), None);
        let (client, me) = (self.client.clone(), me.clone());
        let changes = self.balances.changes;
        actix_rt::spawn(async move {
            let result = client.query(&Call::account(), Route::Rest, Lane::Normal).await;
            deliver(&me, Counted { changes, result });
        });
    }

    /// Tells the bots that hold a coin of which more has become free: somebody may have locked what they are to sell.
    pub(super) fn tell_freed(&mut self, balances: &[Balance]) {
        for Balance { asset, free, .. } in balances {
            let holders = self.bots.values().filter(|bot| !bot.held.is_zero() && bot.pair.base() == asset);
            let before = self.balances.free.insert(asset.clone(), *free);
            if before.is_none_or(|before| before < *free) {
                for holder in holders {
                    deliver(&holder.bot, Freed(*free));
                }
            }
        }
    }

    /// Tells the bots whose coins are not there, the newest first.
    fn compare(&mut self, account: &Account) {
        let mut coins: Vec<String> =
            self.bots.values().map(|attached| attached.pair.base().to_owned()).collect();
        coins.sort_unstable();
        coins.dedup();
        let now = Instant::now();
        for coin in coins {
            let open =
                self.orders.values_mut().filter(|order| order.pair.base() == coin && !order.is_settled());
            let open: Vec<&mut Tracked> = open.collect();
            let is_moving = open.iter().any(|order| order.role != Role::Protection);
            let held: Decimal = self
                .bots
                .values()
                .filter(|attached| attached.pair.base() == coin)
                .map(|attached| attached.held.decimal())
                .sum();
            let there = account.balances.iter().find(|balance| balance.asset == coin);
            let there = there.map_or(Decimal::ZERO, |balance| balance.free + balance.locked);
            if is_moving || there >= held {
                self.balances.short.remove(&coin);
                continue;
            }
            let since = *self.balances.short.entry(coin.clone()).or_insert(now);
            if since == now || open.iter().any(|order| order.found_at.is_none_or(|at| at <= since)) {
                for order in open {
                    order.ask_after(Duration::ZERO);
                }
                self.count_soon();
                continue;
            }
            self.balances.short.remove(&coin);
            self.tell_missing(&coin, held - there);
        }
    }

    fn tell_missing(&self, coin: &str, mut missing: Decimal) {
        let mut holders: Vec<(BotId, Qty)> = self.holders(coin).collect();
        holders.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        for (id, held) in holders {
            let gone = Qty::new(missing.min(held.decimal())).unwrap_or_default();
            missing -= gone.decimal();
            if let Some(attached) = self.bots.get(&id).filter(|_| !gone.is_zero()) {
                deliver(&attached.bot, Missing(gone));
            }
        }
    }

    fn holders(&self, coin: &str) -> impl Iterator<Item = (BotId, Qty)> {
        let holders = self.bots.iter().filter(move |(_, attached)| attached.pair.base() == coin);
        holders.map(|(id, attached)| (*id, attached.held))
    }
}

impl Handler<Holds> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, Holds { id, held }: Holds, _: &mut Context<Self>) {
        if let Some(attached) = self.bots.get_mut(&id)
            && attached.held != held
        {
            attached.held = held;
            self.balances.changes += 1;
            self.balances.short.remove(attached.pair.base());
        }
    }
}

impl Handler<Counted> for ExchangeConnection {
    type Result = ();

    fn handle(&mut self, counted: Counted, _: &mut Context<Self>) {
        self.balances.is_counting = false;
        match counted.result {
            // What changed while it was counted is counted again.
            Ok(_) if counted.changes != self.balances.changes => self.count_soon(),
            Ok(account) => {
                self.tell_freed(&account.balances);
                self.compare(&account);
                self.known.counted(self.id, Arc::new(account));
            }
            Err(error) => tracing::debug!(connection = %self.id, %error, "the account could not be counted"),
        }
    }
}
