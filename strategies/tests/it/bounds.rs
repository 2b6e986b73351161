//! A live bot on a venue that bounds the size of an order, and that changes its rules while coins are held.

use model::{ClientOrderId, Market, OrderBounds, PriceMove, Timestamp};
use strategies::Plan;
use strategies::live::{LiveBot, LiveStep};

use super::live::{act, rules};
use super::{bot, market, price};

const FIELDS: &str = r#"{"dry_run":false,"stake_amount":77,"max_open_trades":2,"stop_loss":-4,"take_profit":5,
    "dca":{"price_deviation":1}}"#;

fn bounded(bounds: OrderBounds, lot: &str) -> Market {
    Market { bounds, ..market("0.01", lot, "0.001") }
}

fn qty(text: &str) -> model::Qty {
    text.parse().unwrap()
}

/// A bot, its orders' ids so far, and what it said.
struct Run {
    bot: LiveBot,
    ids: u128,
    second: i64,
}

impl Run {
    fn on(market: &Market, stop_on_venue: bool, fields: &str) -> Self {
        let plan = Plan::new(&bot(fields), market).unwrap();
        Self { bot: LiveBot::new(&plan, rules(stop_on_venue)), ids: 0, second: 0 }
    }

    fn tick(&mut self, at: &str) -> Vec<String> {
        let moved = self.moved(at);
        self.with(moved, |bot, mint, steps| bot.on_move(&moved, &mut || mint(), steps))
    }

    fn regrid(&mut self, market: &Market, at: &str) -> Vec<String> {
        let plan = self.bot.machine().plan().on_grid(market);
        self.bot = self.bot.clone().regridded(&plan);
        let moved = self.moved(at);
        self.with(moved, |bot, mint, steps| bot.follow(&mut || mint(), steps))
    }

    fn moved(&mut self, at: &str) -> PriceMove {
        self.second += 1;
        PriceMove::tick(price(at), Timestamp::from_millis(self.second * 1_000))
    }

    fn with(
        &mut self,
        moved: PriceMove,
        what: impl FnOnce(&mut LiveBot, &mut dyn FnMut() -> ClientOrderId, &mut Vec<LiveStep>),
    ) -> Vec<String> {
        let mut said = Vec::new();
        act(&mut self.bot, moved, &mut self.ids, &mut said, what);
        said
    }
}

#[test]
fn what_is_more_than_one_order_may_sell_is_sold_in_parts() {
    let bounds = OrderBounds { max_market_qty: Some(qty("8")), ..OrderBounds::default() };
    for stop_on_venue in [false, true] {
        let mut run = Run::on(&bounded(bounds, "0.1"), stop_on_venue, FIELDS);
        run.tick("10");
        run.tick("9.8");
        let said = run.tick("9.4");
        let sold: Vec<_> = said.iter().filter(|line| line.starts_with("Exit")).collect();
        assert_eq!(sold, ["Exit 7.8", "Exit 7.8"], "{said:?}");
        assert_eq!(said.last().map(String::as_str), Some("StopLoss"), "{said:?}");
        assert!(!run.bot.machine().is_holding());
    }
}

#[test]
fn a_grid_that_becomes_coarser_leaves_what_falls_below_it_as_dust() {
    let fields = FIELDS.replace("77", "53.3").replace("\"max_open_trades\":2", "\"max_open_trades\":1");
    let mut run = Run::on(&bounded(OrderBounds::default(), "0.01"), true, &fields);
    let said = run.tick("10");
    assert!(said.iter().any(|line| line.starts_with("rest 5.33 under")), "{said:?}");
    let said = run.regrid(&bounded(OrderBounds::default(), "0.1"), "10");
    assert!(said.iter().any(|line| line.starts_with("rest 5.3 under")), "{said:?}");
    let said = run.tick("9");
    assert!(said.contains(&"Exit 5.3".to_owned()), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("StopLoss"), "{said:?}");
}

#[test]
fn fewer_than_the_least_that_the_venue_sells_are_dust() {
    let fields = FIELDS.replace("77", "10").replace("\"max_open_trades\":2", "\"max_open_trades\":1");
    let mut run = Run::on(&bounded(OrderBounds::default(), "0.001"), false, &fields);
    run.tick("10");
    let least = OrderBounds { min_qty: qty("1.001"), ..OrderBounds::default() };
    run.regrid(&bounded(least, "0.001"), "10");
    let said = run.tick("9");
    assert!(said.iter().any(|line| line.contains("fewer than the venue's minimum of 1.001")), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("StopLoss"), "{said:?}");
}
