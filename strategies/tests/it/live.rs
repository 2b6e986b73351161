//! A live bot against a venue that fills in parts, refuses, loses, repeats and reorders what it tells.

use std::collections::{BTreeMap, BTreeSet};

use model::{ClientOrderId, ExitReason, OrderKind, Pair, Price, PriceMove, Qty, Quote, Side, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use strategies::live::{
    End, Execution, LiveBot, LiveOrder, LiveRules, LiveStep, LiveTrade, LostOrder, Report, Role, Terms,
};
use strategies::{Funds, Plan};

use super::{bot, market, price};

const FIELDS: &str = r#"{"dry_run":false,"max_open_trades":3,"stop_loss":-4,"take_profit":1,
    "dca":{"price_deviation":1}}"#;

fn plan(fields: &str) -> Plan {
    let mut market = market("0.01", "0.001", "0.001");
    market.min_notional = "5".parse().unwrap();
    Plan::new(&bot(fields), &market).unwrap()
}

pub(crate) fn rules(stop_on_venue: bool) -> LiveRules {
    LiveRules { pair: pair(), stop_on_venue, entries: OrderKind::Market, origin: None }
}

fn pair() -> Pair {
    "BTC/USDT".parse().unwrap()
}

fn qty(value: Decimal) -> Qty {
    Qty::new(value).unwrap()
}

/// An order as the venue has it.
struct Resting {
    order: LiveOrder,
    executions: Vec<Execution>,
    end: Option<End>,
}

impl Resting {
    fn left(&self) -> Decimal {
        self.order.qty.decimal() - self.executed().decimal()
    }

    fn executed(&self) -> Qty {
        self.executions.iter().map(|e| e.qty).sum()
    }

    fn report(&self) -> Report {
        Report {
            client_id: self.order.client_id,
            end: self.end.clone(),
            executed: self.executed(),
            executions: self.executions.clone(),
        }
    }
}

/// A venue with one account.
struct Venue {
    orders: BTreeMap<ClientOrderId, Resting>,
    refused: BTreeSet<ClientOrderId>,
    /// Journaled, and not yet sent.
    unsent: Vec<LiveOrder>,
    /// Said and not yet heard.
    reports: Vec<Report>,
    free: Decimal,
    locked: Decimal,
    next_trade: i64,
    price: Price,
    dice: u64,
}

impl Venue {
    fn new(seed: u64) -> Self {
        Self {
            orders: BTreeMap::new(),
            refused: BTreeSet::new(),
            unsent: Vec::new(),
            reports: Vec::new(),
            free: Decimal::ZERO,
            locked: Decimal::ZERO,
            next_trade: 1,
            price: price("100"),
            dice: seed | 1,
        }
    }

    /// One of so many, from the seed.
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    fn end(&mut self, id: ClientOrderId, end: End) {
        let resting = self.orders.get_mut(&id).unwrap();
        resting.end = Some(end);
        if resting.order.role.side() == Side::Sell {
            let left = resting.left();
            self.locked -= left;
            self.free += left;
        }
        let report = self.orders[&id].report();
        self.reports.push(report);
    }

    /// Entries may have to wait.
    fn place(&mut self, order: LiveOrder) {
        if order.role.is_entry() && self.roll(6) == 0 {
            return self.unsent.push(order);
        }
        self.take(order);
    }

    /// What waits is sent, or has waited too long.
    fn send_one(&mut self) {
        let Some(order) = self.unsent.pop() else { return };
        if self.roll(3) == 0 { self.drop_unsent(order.client_id, End::Expired) } else { self.take(order) }
    }

    fn withdraw(&mut self, id: ClientOrderId) {
        if self.unsent.extract_if(.., |order| order.client_id == id).count() > 0 {
            self.drop_unsent(id, End::Canceled);
        }
    }

    fn drop_unsent(&mut self, id: ClientOrderId, end: End) {
        self.refused.insert(id);
        let (executed, executions) = (Qty::ZERO, Vec::new());
        self.reports.push(Report { client_id: id, end: Some(end), executed, executions });
    }

    fn take(&mut self, order: LiveOrder) {
        let id = order.client_id;
        assert!(!self.orders.contains_key(&id) && !self.refused.contains(&id), "an id is used once");
        if self.roll(12) == 0 {
            // It never arrived: once that is proven, the engine says so.
            self.refused.insert(id);
            self.reports.push(Report {
                client_id: id,
                end: Some(End::NeverArrived),
                executed: Qty::ZERO,
                executions: Vec::new(),
            });
            return;
        }
        if self.roll(12) == 0 {
            self.refused.insert(id);
            let end = Some(End::Rejected("not today".into()));
            self.reports.push(Report { client_id: id, end, executed: Qty::ZERO, executions: Vec::new() });
            return;
        }
        if order.role.side() == Side::Sell {
            assert!(self.free >= order.qty.decimal(), "it sells what it has: {} of {}", order.qty, self.free);
            self.free -= order.qty.decimal();
            self.locked += order.qty.decimal();
        }
        let is_market = order.terms == Terms::Market;
        let is_marketable = matches!(order.terms, Terms::Limit(limit) if self.price <= limit);
        self.orders.insert(id, Resting { order, executions: Vec::new(), end: None });
        let report = self.orders[&id].report();
        self.reports.push(report);
        if is_market {
            let is_thin = self.roll(8) == 0;
            self.work(id, !is_thin);
            if self.orders[&id].end.is_none() {
                self.end(id, End::Expired);
            }
        } else if is_marketable && self.roll(3) == 0 {
            self.work(id, false);
        }
    }

    /// Fills an order in some parts, wholly or not.
    fn work(&mut self, id: ClientOrderId, wholly: bool) {
        let parts = 1 + self.roll(3);
        for part in 0..parts {
            let is_last = part + 1 == parts;
            let left = self.orders[&id].left();
            let lots = (left / Decimal::new(1, 3)).floor();
            let some = (lots * Decimal::from(1 + self.roll(9)) / Decimal::TEN).floor() * Decimal::new(1, 3);
            let filled = if is_last && wholly { left } else { some };
            if filled.is_zero() {
                continue;
            }
            let away = i64::try_from(self.roll(3)).unwrap() * 1_000_000;
            let resting = self.orders.get_mut(&id).unwrap();
            let is_buy = resting.order.role.side() == Side::Buy;
            let at =
                Price::from_e8(if is_buy { self.price.e8() + away } else { self.price.e8() - away }).unwrap();
            let terms = self.orders[&id].order.terms;
            let at = if let Terms::Limit(limit) = terms { at.min(limit) } else { at };
            let third = self.third_coin_fee(at.decimal() * filled);
            let (fee, coin, fee_price) = match third {
                Some((fee, fee_price)) => (fee, "BNB", fee_price),
                None if is_buy => (filled * Decimal::new(1, 3), "BTC", None),
                None => ((at.decimal() * filled * Decimal::new(1, 3)).round_dp(8), "USDT", None),
            };
            let resting = self.orders.get_mut(&id).unwrap();
            resting.executions.push(Execution {
                trade_id: self.next_trade,
                at: Timestamp::from_millis(self.next_trade),
                price: at,
                qty: qty(filled),
                fee: Quote::new(fee).unwrap(),
                fee_asset: coin.into(),
                fee_price,
            });
            self.next_trade += 1;
            if is_buy {
                self.free += if coin == "BTC" { filled - fee } else { filled };
            } else {
                self.locked -= filled;
            }
            let mut report = self.orders[&id].report();
            // The stream tells one execution at a time.
            let first = report.executions.len() - 1;
            report.executions.drain(..first);
            if self.orders[&id].left().is_zero() {
                self.end(id, End::Filled);
                report.end = Some(End::Filled);
            }
            self.reports.push(report);
        }
    }

    /// A fee in BNB, now and then, with what a BNB was worth; once in a while nobody can tell that.
    fn third_coin_fee(&mut self, worth: Decimal) -> Option<(Decimal, Option<Quote>)> {
        let roll = self.roll(12);
        let price = Decimal::new(60_000 + i64::try_from(roll).unwrap() * 7, 2);
        let fee = (worth * Decimal::new(75, 5) / price).round_dp(8);
        (roll < 4).then(|| (fee, (roll != 0).then(|| Quote::new(price).unwrap())))
    }

    fn cancel(&mut self, id: ClientOrderId) {
        match self.orders.get(&id) {
            Some(resting) if resting.end.is_none() => self.end(id, End::Canceled),
            Some(_) => self.ask(id),
            None => self.withdraw(id),
        }
    }

    fn ask(&mut self, id: ClientOrderId) {
        if let Some(resting) = self.orders.get(&id) {
            self.reports.push(resting.report());
        }
    }

    /// Moves the price, and fills or triggers what rests.
    fn trade_at(&mut self, price: Price) {
        self.price = price;
        let open = self.orders.iter().filter(|(_, resting)| resting.end.is_none());
        let hit: Vec<ClientOrderId> = open
            .filter(|(_, resting)| match resting.order.terms {
                Terms::StopLimit { stop, .. } => price <= stop,
                Terms::Limit(limit) => price <= limit,
                Terms::Market => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in hit {
            let wholly = self.roll(2) == 0;
            self.work(id, wholly);
        }
    }
}

/// A bot, its venue, and what it has closed.
struct World {
    bot: LiveBot,
    plan: Plan,
    venue: Venue,
    rules: LiveRules,
    closed: Vec<LiveTrade>,
    opened: usize,
    told: Vec<&'static str>,
    ids: u128,
}

impl World {
    fn new(seed: u64, fields: &str, stop_on_venue: bool) -> Self {
        Self::with_entries(seed, fields, stop_on_venue, OrderKind::Market)
    }

    fn with_entries(seed: u64, fields: &str, stop_on_venue: bool, entries: OrderKind) -> Self {
        let (plan, rules) = (plan(fields), LiveRules { entries, ..rules(stop_on_venue) });
        let bot = LiveBot::new(&plan.clone(), rules.clone());
        Self {
            bot,
            plan,
            venue: Venue::new(seed),
            rules,
            closed: Vec::new(),
            opened: 0,
            told: Vec::new(),
            ids: 0,
        }
    }

    fn with(
        &mut self,
        act: impl FnOnce(&mut LiveBot, &mut dyn FnMut() -> ClientOrderId, &mut Vec<LiveStep>),
    ) {
        let mut steps = Vec::new();
        let ids = &mut self.ids;
        let mut mint = || {
            *ids += 1;
            ClientOrderId::from_u128(*ids)
        };
        act(&mut self.bot, &mut mint, &mut steps);
        for step in steps {
            match step {
                LiveStep::Place(order) => self.venue.place(order),
                LiveStep::Cancel(id) => self.venue.cancel(id),
                LiveStep::Withdraw(id) => self.venue.withdraw(id),
                LiveStep::Ask(id) => self.venue.ask(id),
                LiveStep::Closed(trade) => self.closed.push(*trade),
                LiveStep::Opened => self.opened += 1,
                LiveStep::Told { code, .. } => self.told.push(code),
                LiveStep::Ended(_)
                | LiveStep::Filled(_)
                | LiveStep::StopHit { .. }
                | LiveStep::GaveUp { .. }
                | LiveStep::Resolved { .. } => {}
            }
        }
    }

    fn tick(&mut self, price: Price, second: i64) {
        self.venue.trade_at(price);
        let moved = PriceMove::tick(price, Timestamp::from_millis(second * 1_000));
        let is_due = self.bot.timer().is_some_and(|due| due <= moved.at);
        self.bot.set_time(moved.at);
        if is_due {
            self.with(|bot, mint, steps| bot.on_time(&mut || mint(), steps));
        }
        let watch = self.bot.watch();
        if watch.is_left_by(price, moved.at, price) {
            self.with(|bot, mint, steps| bot.on_move(&moved, &mut || mint(), steps));
        }
    }

    /// Its owner closes its trade, adds to it, or changes his mind.
    fn act_by_hand(&mut self) {
        match self.venue.roll(10) {
            0 | 1 => {
                if self.bot.machine().is_holding() {
                    self.with(|bot, mint, steps| bot.close(ExitReason::Manual, &mut || mint(), steps));
                }
            }
            2 => self.with(|bot, mint, steps| bot.release(&mut || mint(), steps)),
            3 | 4 => self.with(|bot, mint, steps| bot.resume(&mut || mint(), steps)),
            5 => self.with(|bot, mint, steps| bot.drain(&mut || mint(), steps)),
            _ => self.add_by_hand(),
        }
    }

    fn add_by_hand(&mut self) {
        let (last, amount) = (self.venue.price, 5 + self.venue.roll(100));
        let funds = Funds::Amount(model::Quote::new(amount.into()).unwrap());
        let qty = self.bot.added(funds, last).unwrap();
        let is_exiting = self.bot.open_orders().any(|order| order.role == Role::Exit);
        let is_free = self.bot.is_trading() && !is_exiting;
        let may = self.bot.machine().is_holding() && is_free;
        let is_entering = self.bot.open_orders().any(|order| order.role.is_entry());
        let mut added = Ok(());
        self.with(|bot, mint, steps| added = bot.add(qty, last, &mut || mint(), steps));
        assert_eq!(added.is_ok(), may && !is_entering, "{added:?}");
    }

    /// Lets the bot hear one of the reports that are under way, whichever, perhaps again later.
    fn hear_one(&mut self) {
        if self.venue.roll(3) == 0 {
            self.venue.send_one();
        }
        if self.venue.reports.is_empty() {
            return;
        }
        let sides = self.venue.reports.len() as u64;
        let which = usize::try_from(self.venue.roll(sides)).unwrap();
        let report = if self.venue.roll(4) == 0 {
            self.venue.reports[which].clone()
        } else {
            self.venue.reports.remove(which)
        };
        self.with(|bot, mint, steps| {
            bot.on_report(&report, &mut || mint(), steps);
        });
    }

    fn hear_all(&mut self) {
        for _ in 0..10_000 {
            if self.venue.reports.is_empty() && self.venue.unsent.is_empty() {
                return;
            }
            self.hear_one();
        }
        panic!("it never falls silent");
    }

    /// The process dies; what was said meanwhile is lost, and every open order is asked for.
    fn crash(&mut self) {
        let state = serde_json::to_string(&self.bot).unwrap();
        for order in std::mem::take(&mut self.venue.unsent) {
            self.venue.drop_unsent(order.client_id, End::NeverArrived);
        }
        let proven: Vec<Report> = self
            .venue
            .reports
            .drain(..)
            .filter(|report| self.venue.refused.contains(&report.client_id))
            .collect();
        self.bot = LiveBot::restore(&self.plan.clone(), self.rules.clone(), &state).unwrap();
        self.venue.reports = proven;
        for id in self.bot.open_orders().map(|order| order.client_id).collect::<Vec<_>>() {
            self.venue.ask(id);
        }
        self.with(|bot, mint, steps| bot.take_up(&mut || mint(), steps));
    }

    /// What a backup has: the bot as it is, and how many trades it has closed.
    fn save(&self) -> (String, usize) {
        (serde_json::to_string(&self.bot).unwrap(), self.closed.len())
    }

    /// The books come back to an earlier time, and take in what the venue has of ours since.
    fn lose_the_past(&mut self, (state, closed): (String, usize)) {
        for order in std::mem::take(&mut self.venue.unsent) {
            self.venue.drop_unsent(order.client_id, End::NeverArrived);
        }
        self.venue.reports.clear();
        self.closed.truncate(closed);
        self.bot = LiveBot::restore(&self.plan.clone(), self.rules.clone(), &state).unwrap();
        self.bot.set_still(true);
        let trades = self.closed.iter().chain([self.bot.trade()]);
        let known: BTreeSet<ClientOrderId> =
            trades.flat_map(|trade| &trade.orders).map(|order| order.client_id).collect();
        let orphans = self.venue.orders.iter();
        let orphans = orphans.filter(|(id, resting)| !known.contains(id) && resting.end.is_none());
        for id in orphans.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.venue.end(id, End::Canceled);
        }
        self.venue.reports.clear();
        for id in self.bot.open_orders().map(|order| order.client_id).collect::<Vec<_>>() {
            match self.venue.orders.get(&id) {
                Some(resting) => self.venue.reports.push(resting.report()),
                None => self.venue.drop_unsent(id, End::NeverArrived),
            }
        }
        for report in std::mem::take(&mut self.venue.reports) {
            self.with(|bot, mint, steps| {
                bot.on_report(&report, &mut || mint(), steps);
            });
        }
        let lost = self
            .venue
            .orders
            .iter()
            .filter(|(id, resting)| !known.contains(id) && !resting.executions.is_empty());
        let mut lost: Vec<LostOrder> = lost
            .map(|(_, resting)| LostOrder {
                role: resting.order.role,
                reason: resting.order.reason,
                terms: resting.order.terms,
                qty: resting.order.qty,
                report: resting.report(),
            })
            .collect();
        lost.sort_by_key(|lost| lost.report.executions.last().map(|last| last.trade_id));
        for order in lost {
            self.with(|bot, _, steps| bot.make_way(&order, steps));
            self.with(|bot, _, steps| assert!(bot.relive(&order, steps), "{order:?}"));
        }
        self.bot.set_still(false);
        self.with(|bot, mint, steps| bot.take_up(&mut || mint(), steps));
    }

    /// All executions that our books have, and all that the venue has.
    fn ledgers(&self) -> (Vec<Execution>, Vec<Execution>) {
        let trades = self.closed.iter().chain([self.bot.trade()]);
        let mut ours: Vec<_> =
            trades.flat_map(|trade| trade.orders.iter().flat_map(|order| order.executions.clone())).collect();
        let mut theirs: Vec<_> =
            self.venue.orders.values().flat_map(|resting| resting.executions.clone()).collect();
        ours.sort_by_key(|e| e.trade_id);
        theirs.sort_by_key(|e| e.trade_id);
        (ours, theirs)
    }
}

fn paths() -> impl Strategy<Value = Vec<i64>> {
    let moves = prop_oneof![9 => -80..80_i64, 1 => -400..400_i64];
    proptest::collection::vec(moves, 20..160).prop_map(|moves| {
        let mut cents = 10_000_i64;
        moves
            .iter()
            .map(|by| {
                cents = (cents + by).clamp(5_000, 20_000);
                cents
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn books_that_come_back_to_an_earlier_time_become_the_venues_again(
        seed in any::<u64>(), path in paths(), stop_on_venue in any::<bool>(), by_hand in any::<bool>(),
    ) {
        let mut world = World::new(seed, FIELDS, stop_on_venue);
        let mut saved = None;
        for (second, cents) in (1..).zip(&path) {
            world.tick(Price::from_e8(cents * 1_000_000).unwrap(), second);
            for _ in 0..world.venue.roll(5) {
                world.hear_one();
            }
            if by_hand && world.venue.roll(15) == 0 {
                world.act_by_hand();
            }
            if saved.is_none() && world.venue.roll(20) == 0 {
                saved = Some(world.save());
            } else if world.venue.roll(25) == 0 && let Some(saved) = saved.take() {
                world.lose_the_past(saved);
            }
        }
        world.hear_all();
        let (ours, theirs) = world.ledgers();
        prop_assert_eq!(ours, theirs);
        let pair = pair();
        let dust: Decimal = world.closed.iter().map(|trade| trade.held(&pair).decimal()).sum();
        prop_assert_eq!(world.venue.free + world.venue.locked, world.bot.held().decimal() + dust);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn our_books_equal_the_venues_whatever_it_does(
        seed in any::<u64>(), path in paths(), stop_on_venue in any::<bool>(), crashes in 0..4_u64,
        trailing in prop_oneof![Just("null"), Just("2")], by_hand in any::<bool>(),
        entries in prop_oneof![Just(OrderKind::Market), Just(OrderKind::Limit)],
    ) {
        let fields = FIELDS.replace("{\"dry_run\"", &format!("{{\"trailing_stop\":{trailing},\"dry_run\""));
        let mut world = World::with_entries(seed, &fields, stop_on_venue, entries);
        for (second, cents) in (1..).zip(&path) {
            world.tick(Price::from_e8(cents * 1_000_000).unwrap(), second);
            for _ in 0..world.venue.roll(5) {
                world.hear_one();
            }
            if by_hand && world.venue.roll(15) == 0 {
                world.act_by_hand();
            }
            if crashes > 0 && world.venue.roll(40 / crashes) == 0 {
                world.crash();
            }
        }
        world.hear_all();
        let (ours, theirs) = world.ledgers();
        prop_assert_eq!(ours, theirs);
        // What the account has is what the open trade holds and the dust of the closed ones.
        let pair = pair();
        let dust: Decimal = world.closed.iter().map(|trade| trade.held(&pair).decimal()).sum();
        prop_assert_eq!(world.venue.free + world.venue.locked, world.bot.held().decimal() + dust);
        for trade in &world.closed {
            // Prices stay above 49, and what is worth 5 or more can be sold.
            prop_assert!(trade.held(&pair).decimal() * Decimal::from(49) < Decimal::from(5), "only dust is left");
            let (profit, dust) = (trade.profit(&pair).decimal(), trade.dust_cost(&pair).decimal());
            prop_assert_eq!(profit - dust, trade.proceeds(&pair).decimal() - trade.stake(&pair).decimal());
            // The same by hand: what came in less what went out, less the fees in quote and those in BNB at its price.
            let mut by_hand = Decimal::ZERO;
            for order in &trade.orders {
                for e in &order.executions {
                    let worth = e.price.decimal() * e.qty.decimal();
                    by_hand += if order.role.side() == Side::Sell { worth } else { -worth };
                    by_hand -= match &*e.fee_asset {
                        "USDT" => e.fee.decimal(),
                        "BNB" => e.fee.decimal() * e.fee_price.unwrap_or_default().decimal(),
                        _ => Decimal::ZERO,
                    };
                }
            }
            prop_assert_eq!(profit - dust, by_hand);
            let share = profit / trade.stake(&pair).decimal() * Decimal::ONE_HUNDRED;
            prop_assert_eq!(trade.profit_pct(&pair, trade.profit(&pair)).decimal(), share.round_dp(8));
        }
        prop_assert!(world.opened >= world.closed.len());
        prop_assert!(!world.told.contains(&"stop_canceled"), "nobody takes anything back by hand");
    }
}

proptest! {
    // Five orders of coming each.
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_order_in_which_reports_come_changes_nothing(seed in any::<u64>(), parts in 1..12_usize) {
        // One order filled in parts: told one by one, in sum, again and in any order.
        let mut world = World::new(seed, FIELDS, false);
        let mut placed = None;
        let mut steps = Vec::new();
        let moved = PriceMove::tick(price("100"), Timestamp::from_millis(1));
        world.bot.on_move(&moved, &mut || ClientOrderId::from_u128(7), &mut steps);
        if let Some(LiveStep::Place(order)) = steps.pop() {
            placed = Some(order);
        }
        let order = placed.unwrap();
        let part = |n: usize| Execution {
            trade_id: i64::try_from(n).unwrap(),
            at: Timestamp::from_millis(5),
            price: price("100.01"),
            qty: qty(order.qty.decimal() / Decimal::from(parts as u64)),
            fee: "0.0001".parse().unwrap(),
            fee_asset: "BTC".into(),
            fee_price: None,
        };
        let all: Vec<Execution> = (0..parts).map(part).collect();
        let sum = |until: usize| all[..=until].iter().map(|e| e.qty).sum::<Qty>();
        let mut reports: Vec<Report> = (0..parts)
            .map(|n| Report {
                client_id: order.client_id,
                end: (n + 1 == parts).then_some(End::Canceled),
                executed: sum(n),
                executions: vec![all[n].clone()],
            })
            .collect();
        reports.extend(reports.clone());
        let tell = |bot: &LiveBot, reports: &[Report]| {
            let mut bot = bot.clone();
            for report in reports {
                bot.on_report(report, &mut || ClientOrderId::from_u128(8), &mut Vec::new());
            }
            serde_json::to_string(&bot).unwrap()
        };
        let expected = tell(&world.bot, &reports);
        for _ in 0..5 {
            for last in (1..reports.len()).rev() {
                let other = usize::try_from(world.venue.roll(last as u64 + 1)).unwrap();
                reports.swap(last, other);
            }
            prop_assert_eq!(tell(&world.bot, &reports), expected.clone());
        }
    }
}

/// A bot whose entries are limit orders, and what the last of its steps placed or took back.
struct Limited {
    bot: LiveBot,
    ids: u128,
}

impl Limited {
    fn new() -> Self {
        let rules = LiveRules { entries: OrderKind::Limit, ..rules(false) };
        Self { bot: LiveBot::new(&plan(FIELDS), rules), ids: 0 }
    }

    fn with(
        &mut self,
        second: i64,
        act: impl FnOnce(&mut LiveBot, &mut dyn FnMut() -> ClientOrderId, &mut Vec<LiveStep>),
    ) -> Vec<String> {
        let (ids, mut steps) = (&mut self.ids, Vec::new());
        let mut mint = || {
            *ids += 1;
            ClientOrderId::from_u128(*ids)
        };
        self.bot.set_time(Timestamp::from_millis(second * 1_000));
        act(&mut self.bot, &mut mint, &mut steps);
        let shown = |step: &LiveStep| match step {
            LiveStep::Place(order) => Some(format!("place {} {:?}", order.client_id.as_u128(), order.terms)),
            LiveStep::Cancel(id) => Some(format!("cancel {}", id.as_u128())),
            LiveStep::Opened => Some("opened".to_owned()),
            _ => None,
        };
        steps.iter().filter_map(shown).collect()
    }

    fn tick(&mut self, second: i64, text: &str) -> Vec<String> {
        let moved = PriceMove::tick(price(text), Timestamp::from_millis(second * 1_000));
        self.with(second, |bot, mint, steps| bot.on_move(&moved, &mut || mint(), steps))
    }

    fn time(&mut self, second: i64) -> Vec<String> {
        self.with(second, |bot, mint, steps| bot.on_time(&mut || mint(), steps))
    }

    fn report(&mut self, second: i64, id: u128, filled: &str, end: Option<End>) -> Vec<String> {
        let executed: Qty = filled.parse().unwrap();
        let execution = Execution {
            trade_id: i64::try_from(id).unwrap(),
            at: Timestamp::from_millis(second * 1_000),
            price: price("100"),
            qty: executed,
            fee: Quote::ZERO,
            fee_asset: "BTC".into(),
            fee_price: None,
        };
        let executions = if executed.is_zero() { Vec::new() } else { vec![execution] };
        let report = Report { client_id: ClientOrderId::from_u128(id), end, executed, executions };
        self.with(second, |bot, mint, steps| {
            bot.on_report(&report, &mut || mint(), steps);
        })
    }

    fn timer_s(&self) -> Option<i64> {
        self.bot.timer().map(|due| due.millis() / 1_000)
    }
}

fn limit(text: &str) -> Terms {
    Terms::Limit(price(text))
}

#[test]
fn what_is_left_of_a_limit_entry_is_taken_back_after_thirty_seconds() {
    let mut world = Limited::new();
    assert_eq!(world.tick(100, "100"), [format!("place 1 {:?}", limit("100"))]);
    assert_eq!(world.timer_s(), Some(130));
    assert_eq!(world.report(101, 1, "0.2", None), [""; 0]);
    assert_eq!((world.time(129), world.timer_s()), (Vec::new(), Some(130)));
    assert_eq!(world.time(130), ["cancel 1"]);
    assert_eq!((world.time(131), world.timer_s()), (Vec::new(), None), "once");
    // What was filled is the entry.
    assert_eq!(world.report(132, 1, "0.2", Some(End::Canceled)), ["opened"]);
    assert!(world.bot.machine().is_holding());
    assert_eq!(world.bot.held().to_string(), "0.2");
}

#[test]
fn a_step_whose_limit_entry_filled_nothing_waits_for_its_trigger_again() {
    let mut world = Limited::new();
    world.tick(100, "100");
    world.report(101, 1, "0.5", Some(End::Filled));
    assert_eq!(world.tick(110, "98.9"), [format!("place 2 {:?}", limit("98.9"))]);
    assert_eq!(world.tick(120, "99.5"), [""; 0]);
    assert_eq!(world.time(140), ["cancel 2"]);
    assert_eq!(world.report(141, 2, "0", Some(End::Canceled)), [""; 0]);
    assert_eq!(world.tick(150, "99.5"), [""; 0], "the trigger is at 99");
    assert_eq!(world.tick(160, "98.8"), [format!("place 3 {:?}", limit("98.8"))]);
}

#[test]
fn a_limit_entry_rests_no_longer_than_its_trade_or_the_process() {
    let mut world = Limited::new();
    world.tick(100, "100");
    world.report(101, 1, "0.5", Some(End::Filled));
    world.tick(110, "98.9");
    let state = serde_json::to_string(&world.bot).unwrap();
    // The take profit is reached while the safety order rests.
    let steps = world.tick(115, "102");
    assert_eq!(steps, ["cancel 2".to_owned(), format!("place 3 {:?}", Terms::Market)]);

    let rules = LiveRules { entries: OrderKind::Limit, ..rules(false) };
    world.bot = LiveBot::restore(&plan(FIELDS), rules, &state).unwrap();
    assert_eq!(world.with(116, |bot, mint, steps| bot.take_up(&mut || mint(), steps)), ["cancel 2"]);
}

/// Places, and fills at once and wholly, whatever is asked for; one line a step.
fn run(fields: &str, prices: &[&str], stop_on_venue: bool) -> Vec<String> {
    let mut bot = LiveBot::new(&plan(fields), rules(stop_on_venue));
    let (mut said, mut ids) = (Vec::new(), 0_u128);
    for (second, text) in (1..).zip(prices) {
        let moved = PriceMove::tick(price(text), Timestamp::from_millis(second * 1_000));
        act(&mut bot, moved, &mut ids, &mut said, |bot, mint, steps| {
            bot.on_move(&moved, &mut || mint(), steps);
        });
    }
    said
}

/// What comes of an act, if everything is filled at once and wholly.
pub(crate) fn act(
    bot: &mut LiveBot,
    moved: PriceMove,
    ids: &mut u128,
    said: &mut Vec<String>,
    act: impl FnOnce(&mut LiveBot, &mut dyn FnMut() -> ClientOrderId, &mut Vec<LiveStep>),
) {
    let mut mint = || {
        *ids += 1;
        ClientOrderId::from_u128(*ids)
    };
    let mut steps = Vec::new();
    act(bot, &mut mint, &mut steps);
    let mut done = 0;
    while let Some(step) = steps.get(done).cloned() {
        done += 1;
        let (report, line) = match step {
            LiveStep::Place(order) => {
                let is_resting = order.role == Role::Protection;
                let execution = Execution {
                    trade_id: i64::try_from(order.client_id.as_u128()).unwrap(),
                    at: moved.at,
                    price: moved.price,
                    qty: order.qty,
                    fee: (moved.price * order.qty) * "0.001".parse().unwrap(),
                    fee_asset: "USDT".into(),
                    fee_price: None,
                };
                let line = match order.terms {
                    Terms::StopLimit { stop, limit } => {
                        format!("rest {} under {stop} for {limit}", order.qty)
                    }
                    _ => format!("{:?} {}", order.role, order.qty),
                };
                let end = (!is_resting).then_some(End::Filled);
                let executions = if is_resting { Vec::new() } else { vec![execution] };
                let executed = executions.iter().map(|e| e.qty).sum();
                (Some(Report { client_id: order.client_id, end, executed, executions }), line)
            }
            LiveStep::Cancel(id) => {
                let end = Some(End::Canceled);
                let report = Report { client_id: id, end, executed: Qty::ZERO, executions: Vec::new() };
                (Some(report), "cancel".to_owned())
            }
            LiveStep::Closed(trade) => (None, format!("{:?}", trade.closing.unwrap().reason)),
            LiveStep::StopHit { stop, .. } => (None, format!("stop {stop}")),
            LiveStep::Told { code, message } => (None, format!("{code}: {message}")),
            LiveStep::Filled(_) => (None, "filled".to_owned()),
            other => (None, format!("{other:?}")),
        };
        if !line.starts_with("Ended") {
            said.push(line);
        }
        if let Some(report) = report {
            bot.on_report(&report, &mut mint, &mut steps);
        }
    }
}

#[test]
fn the_resting_stop_follows_the_average_and_makes_way_for_the_exit() {
    let said = run(FIELDS, &["100", "99", "102"], true);
    let expected = [
        "Entry(0) 0.500",
        "Opened",
        "rest 0.5 under 96.09 for 95.12",
        "Entry(1) 0.506",
        "filled",
        "cancel",
        "rest 1.006 under 95.61 for 94.65",
        "cancel",
        "Exit 1.006",
        "TakeProfit",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_stop_that_the_price_has_reached_is_sold_at_market() {
    let said = run(FIELDS, &["100", "95"], true);
    assert_eq!(said[3..], ["stop 96.09", "cancel", "Exit 0.5", "StopLoss"]);
}

#[test]
fn levels_lie_where_the_fees_that_were_paid_put_them() {
    // Paid in quote: as on paper. P₀ = 100.1, its stop 4 % under it.
    let fields = FIELDS.replace(r#""max_open_trades":3"#, r#""max_open_trades":1"#);
    let said = run(&fields, &["100", "96.10"], false);
    assert_eq!(said, ["Entry(0) 0.500", "Opened"]);
    let said = run(&fields, &["100", "96.10", "96.09"], false);
    assert_eq!(said[2..], ["stop 96.09", "Exit 0.5", "StopLoss"]);
}

/// What is told of buys that the venue refuses with these words, each tried again once its pause is over, and how long
/// the last pause was, in seconds.
fn refused(words: &str, times: usize) -> (Vec<&'static str>, i64) {
    let mut bot = LiveBot::new(&plan(FIELDS), rules(true));
    let (mut told, mut second, mut pause, mut ids) = (Vec::new(), 0, 0, 0_u128);
    for _ in 0..times {
        let mut mint = || {
            ids += 1;
            ClientOrderId::from_u128(ids)
        };
        let mut steps = Vec::new();
        second += pause;
        bot.set_time(Timestamp::from_millis(second * 1_000));
        bot.on_move(
            &PriceMove::tick(price("100"), Timestamp::from_millis(second * 1_000)),
            &mut mint,
            &mut steps,
        );
        let [LiveStep::Place(order)] = &steps[..] else { panic!("{steps:?}") };
        let (client_id, end) = (order.client_id, Some(End::Rejected(words.into())));
        let report = Report { client_id, end, executed: Qty::ZERO, executions: Vec::new() };
        steps.clear();
        bot.on_report(&report, &mut mint, &mut steps);
        told.extend(steps.iter().filter_map(|step| match step {
            LiveStep::Told { code, .. } => Some(*code),
            LiveStep::GaveUp { .. } => Some("gave up"),
            _ => None,
        }));
        pause = bot.timer().unwrap().millis() / 1_000 - second;
    }
    (told, pause)
}

#[test]
fn a_refusal_that_may_pass_pauses_buying_and_is_told_once() {
    for words in [
        "status 400: This action is disabled on this account.",
        "status 400: Account has insufficient balance for requested action.",
        "status 400: Market is closed.",
    ] {
        assert_eq!(refused(words, 3), (vec!["entry_refused"], 8), "{words}");
        assert_eq!(refused(words, 30), (vec!["entry_refused"], 300), "{words}");
    }
}

#[test]
fn a_refusal_that_cannot_pass_ends_a_bot_that_holds_nothing() {
    for words in
        ["FILTER: NOTIONAL", "status 400: Invalid symbol.", "status 401: Invalid API-key, IP, or permissions"]
    {
        assert_eq!(refused(words, 3).0, ["entry_refused", "gave up"], "{words}");
    }
}

/// A stake just above the venue's minimum of 5, and a stop under it.
const SMALL: &str = r#"{"dry_run":false,"stake_amount":5.2,"max_open_trades":1,"stop_loss":-10}"#;

#[test]
fn a_trade_below_the_minimum_is_left_as_dust_and_told_of() {
    let said = run(SMALL, &["100", "90"], false);
    let dust = "below_minimum: 0.052 BTC of the trade are worth less than the venue's minimum of 5: they cannot be sold, \
                and stay on the account as dust that has its cost";
    assert_eq!(said[2..], ["stop 90.09", dust, "StopLoss"]);
}

#[test]
fn a_stop_too_small_to_rest_at_the_venue_is_told_of_once() {
    let said = run(SMALL, &["100", "100", "101"], true);
    let told = "below_minimum: at its stop of 90.09 the trade is too small for the venue's minimum of 5: no stop rests at \
                the venue, and there the trade could not be sold";
    assert_eq!(said, ["Entry(0) 0.052", "Opened", told]);
}

#[test]
fn a_stake_that_could_not_be_sold_again_is_refused_to_a_live_bot() {
    let mut market = market("0.01", "0.001", "0.001");
    market.min_notional = "5".parse().unwrap();
    let refused = |fields: &str| Plan::new(&bot(fields), &market).unwrap().check_minimum(price("100")).err();
    let faults = refused(&SMALL.replace("5.2", "5")).unwrap();
    assert_eq!(
        faults.to_string(),
        "stake_amount: entry 1 buys what comes to 4.900 once the fee is taken out of it, the venue's minimum is 5: it could not be \
         sold"
    );
    assert_eq!(refused(SMALL), None);
    assert_eq!(
        refused(&SMALL.replace("5.2", "5").replace("false", "true")),
        None,
        "on paper the fee is in quote"
    );
    let warned = |stop: &str| {
        let preview =
            strategies::Preview::new(&bot(&SMALL.replace("-10", stop)), &market, price("100")).unwrap();
        preview.warnings.into_iter().map(|warning| warning.message).collect::<Vec<_>>()
    };
    assert_eq!(
        warned("-10"),
        [
            "at its stop of 90.09 a trade would be worth 4.59459, the venue's minimum is 5: it could not be sold there, and \
             its coins would stay on the account as dust"
        ]
    );
    assert!(warned("-1").is_empty());
}
