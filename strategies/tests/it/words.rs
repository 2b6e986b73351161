//! What a live bot makes of its owner's words, whatever it was about: the venue answers when it is told to.

use model::{ClientOrderId, ExitReason, Pair, Price, PriceMove, Qty, Timestamp};
use strategies::Plan;
use strategies::live::{End, Execution, LiveBot, LiveOrder, LiveRules, LiveStep, Report, Role, Terms};

use super::{bot, market, price};

const FIELDS: &str =
    r#"{"dry_run":false,"max_open_trades":1,"stop_loss":-4,"take_profit":1,"dca":{"price_deviation":1}}"#;

fn plan(fields: &str) -> Plan {
    let mut market = market("0.01", "0.001", "0.001");
    market.min_notional = "5".parse().unwrap();
    Plan::new(&bot(fields), &market).unwrap()
}

fn rules(stop_on_venue: bool) -> LiveRules {
    let pair: Pair = "BTC/USDT".parse().unwrap();
    LiveRules { pair, stop_on_venue, entries: model::OrderKind::Market, origin: None }
}

/// A bot, what it has asked for, and what it has told.
pub(super) struct Desk {
    pub(super) bot: LiveBot,
    stop_on_venue: bool,
    ids: u128,
    second: i64,
    orders: Vec<LiveOrder>,
    /// One line a step since it was looked at last.
    said: Vec<String>,
    /// How many exits were reported as those of a part.
    parts: u32,
}

impl Desk {
    /// Before its first tick.
    pub(super) fn new(fields: &str, stop_on_venue: bool) -> Self {
        let bot = LiveBot::new(&plan(fields), rules(stop_on_venue));
        Self { bot, stop_on_venue, ids: 0, second: 0, orders: Vec::new(), said: Vec::new(), parts: 0 }
    }

    /// Holding 0.5 bought at 100, with its stop at the venue where it is to rest there.
    pub(super) fn holding(fields: &str, stop_on_venue: bool) -> Self {
        let mut desk = Self::new(fields, stop_on_venue);
        desk.tick("100");
        desk.fill("100");
        if stop_on_venue {
            desk.open();
        }
        desk.said.clear();
        desk
    }

    pub(super) fn act(
        &mut self,
        act: impl FnOnce(&mut LiveBot, &mut dyn FnMut() -> ClientOrderId, &mut Vec<LiveStep>),
    ) {
        let (mut steps, ids) = (Vec::new(), &mut self.ids);
        let mut mint = || {
            *ids += 1;
            ClientOrderId::from_u128(*ids)
        };
        act(&mut self.bot, &mut mint, &mut steps);
        for step in steps {
            let line = match &step {
                LiveStep::Place(order) => match order.terms {
                    Terms::StopLimit { stop, .. } => format!("rest {} under {stop}", order.qty),
                    Terms::Market | Terms::Limit(_) => format!("{:?} {}", order.role, order.qty),
                },
                LiveStep::Cancel(id) => format!("cancel {:?}", self.order(*id).role),
                LiveStep::Withdraw(id) => format!("withdraw {:?}", self.order(*id).role),
                LiveStep::Resolved { code, .. } => format!("{code} over"),
                LiveStep::Closed(trade) => format!("closed {}", trade.closing.unwrap().reason.as_str()),
                LiveStep::StopHit { stop, .. } => format!("stop {stop}"),
                LiveStep::Told { code, .. } => (*code).to_owned(),
                LiveStep::Opened => "opened".to_owned(),
                LiveStep::Filled(id) if self.order(*id).role == Role::Exit => {
                    self.parts += 1;
                    continue;
                }
                LiveStep::Ended(_) | LiveStep::Filled(_) => continue,
                LiveStep::Ask(_) | LiveStep::GaveUp { .. } => panic!("{step:?}"),
            };
            self.said.push(line);
            if let LiveStep::Place(order) = step {
                self.orders.push(order);
            }
        }
    }

    fn order(&self, id: ClientOrderId) -> &LiveOrder {
        self.orders.iter().find(|order| order.client_id == id).unwrap()
    }

    /// Time passes while nothing is traded.
    pub(super) fn wait(&mut self, seconds: i64) {
        self.second += seconds;
        let now = Timestamp::from_millis(self.second * 1_000);
        let is_due = self.bot.timer().is_some_and(|due| due <= now);
        self.bot.set_time(now);
        if is_due {
            self.act(|bot, mint, steps| bot.on_time(&mut || mint(), steps));
        }
    }

    pub(super) fn tick(&mut self, at: &str) {
        self.wait(1);
        self.print(at);
    }

    /// Somebody trades in this very second.
    pub(super) fn print(&mut self, at: &str) {
        let moved = PriceMove::tick(price(at), Timestamp::from_millis(self.second * 1_000));
        if self.bot.watch().is_left_by(moved.price, moved.at, moved.price) {
            self.act(|bot, mint, steps| bot.on_move(&moved, &mut || mint(), steps));
        }
    }

    fn close(&mut self) {
        self.act(|bot, mint, steps| bot.close(ExitReason::Manual, &mut || mint(), steps));
    }

    fn hold(&mut self) {
        self.act(|bot, mint, steps| bot.release(&mut || mint(), steps));
    }

    fn resume(&mut self) {
        self.act(|bot, mint, steps| bot.resume(&mut || mint(), steps));
    }

    fn drain(&mut self) {
        self.act(|bot, mint, steps| bot.drain(&mut || mint(), steps));
    }

    /// Its owner changes its rules.
    fn patch(&mut self, fields: &str, stop_on_venue: bool) {
        self.stop_on_venue = stop_on_venue;
        self.bot = self.bot.clone().replanned(&plan(fields), rules(stop_on_venue));
        self.act(|bot, mint, steps| bot.follow(&mut || mint(), steps));
    }

    /// The process ends, and another goes on.
    fn restart(&mut self, fields: &str) {
        let state = serde_json::to_string(&self.bot).unwrap();
        self.bot = LiveBot::restore(&plan(fields), rules(self.stop_on_venue), &state).unwrap();
        self.wait(0);
        self.act(|bot, mint, steps| bot.take_up(&mut || mint(), steps));
    }

    /// The venue tells of the latest order of a role.
    pub(super) fn report(&mut self, role: Role, end: Option<End>, filled: &str, at: Price) {
        let order = self.orders.iter().rfind(|order| order.role == role).unwrap().clone();
        let executed: Qty = filled.parse().unwrap();
        let execution = Execution {
            trade_id: i64::try_from(order.client_id.as_u128()).unwrap(),
            at: Timestamp::from_millis(self.second * 1_000),
            price: at,
            qty: executed,
            fee: (at * executed) * "0.001".parse().unwrap(),
            fee_asset: "USDT".into(),
            fee_price: None,
        };
        let executions = Vec::from_iter((!executed.is_zero()).then_some(execution));
        let report = Report { client_id: order.client_id, end, executed, executions };
        self.act(|bot, mint, steps| assert!(bot.on_report(&report, &mut || mint(), steps)));
    }

    /// The latest order filled, wholly.
    pub(super) fn fill(&mut self, at: &str) {
        let order = self.orders.last().unwrap().clone();
        self.report(order.role, Some(End::Filled), &order.qty.to_string(), price(at));
    }

    /// The latest order rests.
    fn open(&mut self) {
        let role = self.orders.last().unwrap().role;
        self.report(role, None, "0", Price::MIN);
    }

    /// The latest order of a role was taken back.
    fn canceled(&mut self, role: Role) {
        self.report(role, Some(End::Canceled), "0", Price::MIN);
    }

    /// The venue refused the latest order.
    fn refused(&mut self) {
        self.refused_with("not today");
    }

    fn refused_with(&mut self, words: &str) {
        let role = self.orders.last().unwrap().role;
        self.report(role, Some(End::Rejected(words.into())), "0", Price::MIN);
    }

    /// How long the bot waits while nothing is traded until it does something, in seconds; at most a while.
    fn waits_for(&mut self, line: &str) -> i64 {
        let from = self.second;
        while !self.said().iter().any(|said| said == line) {
            assert!(self.second - from < 1_000, "it never says {line}");
            self.wait(1);
        }
        self.second - from
    }

    /// What was done and told since it was looked at last.
    pub(super) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }
}

#[test]
fn holding_ends_a_sale_whose_stop_is_still_being_taken_back() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.close();
    assert_eq!(desk.said(), ["cancel Protection"]);
    desk.hold();
    desk.canceled(Role::Protection);
    assert!(desk.said().is_empty() && desk.bot.is_quiet(), "nothing is sold");
    desk.resume();
    assert_eq!(desk.said(), ["rest 0.5 under 96.09"]);
    desk.open();
    // Its rules are in force again, on either side.
    desk.tick("101.20");
    desk.tick("96.09");
    assert_eq!(desk.said(), ["stop 96.09", "cancel Protection"]);
}

#[test]
fn holding_ends_a_sale_that_is_refused_again_and_again() {
    let mut desk = Desk::holding(FIELDS, false);
    desk.tick("101.40");
    for _ in 0..5 {
        desk.refused();
        desk.second += 3_600;
        desk.tick("101.40");
    }
    desk.refused();
    desk.said();
    desk.hold();
    assert!(desk.bot.is_quiet() && desk.said().is_empty());
    desk.second += 3_600;
    desk.tick("101.40");
    desk.resume();
    desk.tick("100");
    assert!(desk.said().is_empty(), "between its levels there is nothing to sell");
    desk.tick("101.40");
    assert_eq!(desk.said(), ["Exit 0.5"], "at once: what was refused before is forgotten");
}

#[test]
fn a_sale_that_has_left_is_booked_for_what_it_sold() {
    for word in [Desk::hold, Desk::resume] {
        // Whole.
        let mut desk = Desk::holding(FIELDS, false);
        desk.close();
        word(&mut desk);
        assert_eq!(desk.said(), ["Exit 0.5", "cancel Exit"], "should it not have left, it does not");
        desk.report(Role::Exit, None, "0.5", price("100"));
        assert!(!desk.bot.is_quiet(), "its end is still to be told");
        desk.fill("100");
        assert_eq!(desk.said(), ["closed manual"]);
        assert!(desk.bot.is_quiet() && !desk.bot.machine().is_holding());
        // In part.
        let mut desk = Desk::holding(FIELDS, false);
        desk.tick("101.40");
        word(&mut desk);
        desk.report(Role::Exit, Some(End::Expired), "0.2", price("101.40"));
        assert_eq!(desk.said(), ["Exit 0.5", "cancel Exit"]);
        assert!(desk.bot.is_quiet() && desk.bot.machine().is_holding());
        desk.resume();
        desk.tick("101.40");
        assert_eq!(desk.said(), ["Exit 0.3"], "its rules ask for the rest");
        desk.fill("101.40");
        assert_eq!(desk.said(), ["closed take_profit"]);
    }
}

#[test]
fn a_sale_that_had_not_left_is_no_sale() {
    for word in [Desk::hold, Desk::resume] {
        let mut desk = Desk::holding(FIELDS, true);
        desk.close();
        desk.canceled(Role::Protection);
        word(&mut desk);
        desk.canceled(Role::Exit);
        let said = desk.said();
        assert_eq!(said[..3], ["cancel Protection", "Exit 0.5", "cancel Exit"]);
        assert!(desk.bot.machine().is_holding());
        desk.resume();
        let rests = said.into_iter().skip(3).chain(desk.said()).collect::<Vec<_>>();
        assert_eq!(rests, ["rest 0.5 under 96.09"], "once, and not beside the sale");
    }
}

#[test]
fn a_stop_that_fills_while_it_is_taken_back_to_hold_ends_the_trade() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.hold();
    desk.report(Role::Protection, Some(End::Filled), "0.5", price("96.05"));
    assert_eq!(desk.said(), ["cancel Protection", "stop 96.09", "closed stop_loss"]);
    // In part: the rest is kept.
    let mut desk = Desk::holding(FIELDS, true);
    desk.hold();
    desk.report(Role::Protection, None, "0.2", price("96.05"));
    desk.report(Role::Protection, Some(End::Canceled), "0.2", price("96.05"));
    assert_eq!(desk.said(), ["cancel Protection", "stop 96.09"]);
    assert!(desk.bot.is_quiet() && desk.bot.machine().is_holding());
}

#[test]
fn draining_takes_back_its_owners_word_and_no_rules() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.close();
    desk.drain();
    desk.canceled(Role::Protection);
    assert_eq!(desk.said(), ["cancel Protection", "rest 0.5 under 96.09"]);
    let mut desk = Desk::holding(FIELDS, true);
    desk.hold();
    desk.drain();
    desk.canceled(Role::Protection);
    assert_eq!(desk.said(), ["cancel Protection", "rest 0.5 under 96.09"]);
    let mut desk = Desk::holding(FIELDS, true);
    desk.tick("101.40");
    desk.drain();
    desk.canceled(Role::Protection);
    assert_eq!(desk.said(), ["cancel Protection", "Exit 0.5"]);
}

#[test]
fn a_restart_amid_a_sale_goes_on_selling() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.close();
    desk.restart(FIELDS);
    desk.canceled(Role::Protection);
    desk.fill("100");
    let said = desk.said();
    assert_eq!(said.first().unwrap(), "cancel Protection");
    assert_eq!(said[said.len() - 2..], ["Exit 0.5", "closed manual"]);
}

/// The rules that most of these begin with, with another stop.
fn stop_at(pct: &str) -> String {
    FIELDS.replace("-4", pct)
}

#[test]
fn the_stop_at_the_venue_follows_its_rules_either_way() {
    for (pct, level) in [("-20", "80.08"), ("-2", "98.09"), ("-3.95", "96.14"), ("-4.05", "96.04")] {
        let mut desk = Desk::holding(FIELDS, true);
        desk.patch(&stop_at(pct), true);
        assert_eq!(desk.said(), ["cancel Protection"], "{pct}");
        desk.canceled(Role::Protection);
        assert_eq!(desk.said(), [format!("rest 0.5 under {level}")]);
    }
    // What changes nothing of it leaves it where it is.
    let mut desk = Desk::holding(FIELDS, true);
    desk.patch(&FIELDS.replace(r#""take_profit":1"#, r#""take_profit":2"#), true);
    assert!(desk.said().is_empty());
}

#[test]
fn the_stop_at_the_venue_goes_and_comes_as_its_owner_wishes() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.patch(FIELDS, false);
    desk.canceled(Role::Protection);
    desk.tick("97");
    assert_eq!(desk.said(), ["cancel Protection"]);
    desk.patch(FIELDS, true);
    assert_eq!(desk.said(), ["rest 0.5 under 96.09"]);
    // However long ago and however often the venue refused it.
    desk.refused();
    desk.patch(&stop_at("-5"), true);
    assert_eq!(desk.said(), ["stop_refused", "rest 0.5 under 95.09"]);
}

#[test]
fn a_stop_that_is_raised_over_the_price_guards_from_where_it_rests_until_all_is_sold() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.act(|bot, mint, steps| {
        let moved = PriceMove::tick(price("97"), Timestamp::from_millis(5_000));
        bot.on_move(&moved, &mut || mint(), steps);
    });
    desk.patch(&stop_at("-2"), true);
    assert!(desk.said().is_empty());
    desk.tick("97");
    assert_eq!(desk.said(), ["stop 98.09", "cancel Protection"]);
}

#[test]
fn a_stop_that_fills_before_it_could_follow_is_a_stop() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.patch(&stop_at("-20"), true);
    desk.report(Role::Protection, Some(End::Filled), "0.5", price("96.05"));
    assert_eq!(desk.said(), ["cancel Protection", "stop 96.09", "closed stop_loss"]);
}

#[test]
fn a_stop_trails_from_the_high_that_it_knows_once_its_owner_wishes() {
    let mut desk = Desk::holding(FIELDS, true);
    let trailing =
        |pct: &str| FIELDS.replace(r#""stop_loss""#, &format!(r#""trailing_stop":{pct},"stop_loss""#));
    desk.patch(&trailing("2"), true);
    desk.canceled(Role::Protection);
    desk.open();
    assert_eq!(desk.said(), ["cancel Protection", "rest 0.5 under 98"]);
    desk.tick("101.1");
    desk.canceled(Role::Protection);
    desk.open();
    assert_eq!(desk.said(), ["cancel Protection", "rest 0.5 under 99.07"]);
    // Wider: from the same high.
    desk.patch(&trailing("3"), true);
    desk.canceled(Role::Protection);
    desk.open();
    assert_eq!(desk.said(), ["cancel Protection", "rest 0.5 under 98.06"]);
    desk.fill("98.06");
    assert_eq!(desk.said(), ["closed trailing_stop"]);
    // Off: the stop alone is left, and its name.
    let mut desk = Desk::holding(&trailing("2"), true);
    desk.patch(FIELDS, true);
    desk.canceled(Role::Protection);
    desk.fill("96.05");
    assert_eq!(desk.said(), ["cancel Protection", "rest 0.5 under 96.09", "stop 96.09", "closed stop_loss"]);
}

#[test]
fn what_must_be_sold_is_tried_again_every_few_seconds_though_nothing_is_traded() {
    let mut desk = Desk::holding(FIELDS, false);
    desk.tick("101.40");
    desk.said();
    let (mut waited, mut told) = (Vec::new(), Vec::new());
    for refusal in 1..=100 {
        desk.refused_with(if refusal < 50 { "Market is closed." } else { "not today" });
        if desk.said.iter().any(|line| line == "exit_refused") {
            told.push(refusal);
        }
        waited.push(desk.waits_for("Exit 0.5"));
    }
    assert_eq!(waited[..6], [1, 2, 4, 5, 5, 5]);
    assert!(waited.iter().all(|seconds| *seconds <= 5));
    assert_eq!(told, [1, 50], "each cause once");
    // Once it is sold that is over, and the next one begins anew.
    desk.fill("101.40");
    assert_eq!(desk.said(), ["exit_refused over", "closed take_profit"]);
}

#[test]
fn a_sale_for_which_the_book_gave_nothing_backs_off_as_well() {
    let mut desk = Desk::holding(FIELDS, false);
    desk.tick("101.40");
    desk.said();
    let mut waited = Vec::new();
    for _ in 0..5 {
        desk.report(Role::Exit, Some(End::Expired), "0", Price::MIN);
        waited.push(desk.waits_for("Exit 0.5"));
    }
    assert_eq!(waited, [1, 2, 4, 5, 5]);
}

#[test]
fn a_restart_sells_at_once_what_was_refused_and_does_not_tell_again() {
    let mut desk = Desk::holding(FIELDS, false);
    desk.tick("101.40");
    desk.refused();
    assert_eq!(desk.said(), ["Exit 0.5", "exit_refused"]);
    desk.restart(FIELDS);
    assert_eq!(desk.said(), ["Exit 0.5"]);
    desk.refused();
    assert!(desk.said().is_empty());
    assert_eq!(desk.waits_for("Exit 0.5"), 2, "it was the second refusal");
}

#[test]
fn a_stop_that_the_venue_refuses_is_tried_ever_more_rarely_and_told_of_once() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.canceled(Role::Protection);
    assert_eq!(desk.said(), ["stop_canceled", "rest 0.5 under 96.09"]);
    let mut waited = Vec::new();
    for refusal in 0..8 {
        desk.refused();
        assert_eq!(desk.said.iter().any(|line| line == "stop_refused"), refusal == 0);
        waited.push(desk.waits_for("rest 0.5 under 96.09"));
    }
    assert_eq!(waited, [4, 8, 16, 32, 60, 60, 60, 60]);
    desk.open();
    assert_eq!(desk.said(), ["stop_refused over"]);
}

#[test]
fn a_stop_that_is_cancelled_again_and_again_is_placed_ever_more_rarely() {
    let mut desk = Desk::holding(FIELDS, true);
    let mut waited = Vec::new();
    for loss in 0..5 {
        desk.canceled(Role::Protection);
        assert_eq!(desk.said.iter().any(|line| line == "stop_canceled"), loss == 0);
        waited.push(desk.waits_for("rest 0.5 under 96.09"));
        desk.open();
    }
    assert_eq!(waited, [0, 4, 8, 16, 32]);
    desk.wait(200);
    desk.canceled(Role::Protection);
    assert_eq!(desk.said(), ["stop_canceled", "rest 0.5 under 96.09"], "another hand, long after");
}

#[test]
fn a_trouble_of_a_trade_is_over_with_it() {
    let mut desk = Desk::holding(FIELDS, true);
    desk.canceled(Role::Protection);
    desk.refused();
    desk.said();
    desk.tick("101.40");
    desk.fill("101.40");
    assert_eq!(desk.said(), ["Exit 0.5", "stop_refused over", "closed take_profit"]);
}

#[test]
fn coins_that_become_free_are_sold_soon_where_they_are_enough() {
    let mut desk = Desk::holding(FIELDS, false);
    assert!(!desk.bot.could_sell_from("1".parse().unwrap()), "nothing is to be sold");
    desk.tick("101.40");
    assert!(!desk.bot.could_sell_from("1".parse().unwrap()), "a sale is under way");
    desk.said();
    for _ in 0..4 {
        desk.refused();
        desk.waits_for("Exit 0.5");
    }
    desk.refused();
    desk.said();
    assert!(!desk.bot.could_sell_from("0.499".parse().unwrap()), "too few");
    assert!(desk.bot.could_sell_from("0.5".parse().unwrap()));
    for _ in 0..3 {
        desk.act(|bot, mint, steps| bot.on_freed(&mut || mint(), steps));
        assert!(desk.said().is_empty(), "however often that is told, not twice a second");
    }
    assert_eq!(desk.waits_for("Exit 0.5"), 1, "it would have waited for five");
}

/// What its owner or the market does.
type Act = fn(&mut Desk);

#[test]
fn a_buy_that_has_not_left_does_not_leave_once_its_trade_is_to_end() {
    let ends: [(Act, &[&str]); 3] = [
        (Desk::close, &["withdraw Entry(1)", "Exit 0.5"]),
        (|desk| desk.tick("109.40"), &["withdraw Entry(1)", "Exit 0.5"]),
        (Desk::hold, &["withdraw Entry(1)", "cancel Entry(1)"]),
    ];
    for (end, expected) in ends {
        let mut desk = Desk::holding(LADDER, false);
        desk.tick("98");
        assert_eq!(desk.said(), ["Entry(1) 0.511"]);
        end(&mut desk);
        assert_eq!(desk.said(), expected);
        desk.wait(1);
        assert!(desk.said().is_empty(), "it is asked for once");
        // It had not left.
        desk.canceled(Role::Entry(1));
        if desk.orders.last().unwrap().role == Role::Exit {
            desk.fill("109.40");
            assert!(desk.said()[0].starts_with("closed"));
        }
        assert!(desk.bot.is_quiet());
    }
}

#[test]
fn a_buy_that_did_not_leave_waits_for_its_trigger_again() {
    let mut desk = Desk::holding(LADDER, false);
    desk.tick("98");
    let order = desk.orders.last().unwrap();
    assert_eq!((order.role, order.trigger), (Role::Entry(1), Some(price("98.09"))));
    assert_eq!(desk.orders[0].trigger, None, "the first hangs on no price");
    // The price had left its trigger.
    desk.canceled(Role::Entry(1));
    desk.tick("98.10");
    assert_eq!(desk.said(), ["Entry(1) 0.511"]);
    desk.tick("98.09");
    assert_eq!(desk.said(), ["Entry(1) 0.510"]);
    // It waited too long: the next ones come ever more rarely.
    for pause in [2, 4, 5, 5] {
        desk.report(Role::Entry(1), Some(End::Expired), "0", Price::MIN);
        for _ in 1..pause {
            desk.tick("98.09");
        }
        assert!(desk.said().is_empty(), "{pause}");
        desk.tick("98.09");
        assert_eq!(desk.said(), ["Entry(1) 0.510"], "{pause}");
    }
}

const LADDER: &str = r#"{"dry_run":false,"max_open_trades":4,"stop_loss":-20,"take_profit":9,
    "dca":{"price_deviation":2}}"#;

#[test]
fn every_safety_order_that_one_price_reached_is_bought_one_after_the_other() {
    let mut desk = Desk::holding(LADDER, false);
    desk.tick("95");
    assert_eq!(desk.said(), ["Entry(1) 0.527"]);
    desk.tick("100");
    desk.restart(LADDER);
    assert!(desk.said().is_empty(), "one at a time");
    desk.fill("95.01");
    // As much as the price that reached it asks for, as on paper; the third, 6 % under the first, was not reached.
    assert_eq!(desk.said(), ["Entry(2) 0.527"]);
    desk.fill("100");
    desk.tick("100");
    assert!(desk.said().is_empty());
}

#[test]
fn what_was_reached_is_forgotten_with_what_it_waited_for() {
    // The venue refuses the first: its trigger stands, and so does the next.
    let mut desk = Desk::holding(LADDER, false);
    desk.tick("95");
    desk.refused();
    desk.second += 10;
    desk.tick("100");
    assert_eq!(desk.said(), ["Entry(1) 0.527", "entry_refused"]);
    desk.tick("98");
    desk.fill("98");
    assert_eq!(desk.said(), ["Entry(1) 0.511", "entry_refused over"]);
    // Its owner thinks better of it.
    for word in [Desk::hold, Desk::close] {
        let mut desk = Desk::holding(LADDER, false);
        desk.tick("95");
        word(&mut desk);
        desk.fill("95");
        desk.resume();
        assert!(!desk.said().iter().any(|line| line.starts_with("Entry(2)")));
    }
}

#[test]
fn a_trade_that_is_held_after_a_little_of_it_was_sold_stays_open_however_small() {
    let mut desk = Desk::holding(FIELDS, false);
    desk.close();
    desk.hold();
    desk.act(|bot, mint, steps| {
        let moved = PriceMove::tick(price("9"), Timestamp::from_millis(5_000));
        bot.on_move(&moved, &mut || mint(), steps);
    });
    desk.report(Role::Exit, Some(End::Expired), "0.1", price("9"));
    assert_eq!(desk.said(), ["Exit 0.5", "cancel Exit"], "what is left is no dust");
    assert!(desk.bot.is_quiet() && desk.bot.machine().is_holding());
}

#[test]
fn a_sale_that_leaves_nothing_but_dust_is_the_end_of_the_trade_and_no_part_of_it() {
    // Reported before the bot acts again, as after a restart: the trade ends in a step of its own.
    let mut desk = Desk::holding(FIELDS, false);
    desk.close();
    desk.bot.set_still(true);
    desk.report(Role::Exit, Some(End::Filled), "0.5", price("100"));
    assert_eq!((desk.said(), desk.parts), (vec!["Exit 0.5".to_owned()], 0));
    desk.bot.set_still(false);
    desk.act(|bot, mint, steps| bot.take_up(&mut || mint(), steps));
    assert_eq!((desk.said(), desk.parts), (vec!["closed manual".to_owned()], 0));
    // A part is one where the rest can be sold.
    let mut desk = Desk::holding(FIELDS, false);
    desk.close();
    desk.report(Role::Exit, Some(End::Expired), "0.2", price("100"));
    assert_eq!((desk.said(), desk.parts), (vec!["Exit 0.5".to_owned(), "Exit 0.3".to_owned()], 1));
    desk.fill("100");
    assert_eq!((desk.said(), desk.parts), (vec!["closed manual".to_owned()], 1));
}
